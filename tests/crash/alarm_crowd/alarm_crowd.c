/* alarm_crowd.c - many alarms in a store whose process was killed: what they cost.
 *
 *     alarm_crowd ALARMS ACTORS overdue|future [MEBIBYTES MILLISECONDS]
 *
 * Happy path: a child sets the alarms, some by engine time and some by the wall clock, sets
 * every tenth again, cancels every tenth, and is killed by SIGKILL. Then the store is opened.
 * `overdue`: two hours later, by the clock of this test; each alarm must come once, in its
 * newest setting and an actor's in the order of their time, those cancelled never. `future`: at
 * once, one more is set, and must be the only one that comes. It prints how long the open took,
 * when the first turn and the first alarm came, and the most anonymous memory that the child and
 * this process had; with limits it fails beyond them. Exit code 1 says what is wrong. One thread,
 * the engine's apart. */
#include "engine/holdfast.h"
#include "storage/clock.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TURN_SETS = 100, HOUR_MS = 3600000, AGAIN = 7, CANCELLED = 3 };

typedef struct order {
    uint32_t first, count;
    uint32_t pass; /* 0: set; 1: set some again, cancel some */
} order;

typedef struct shared {
    _Atomic uint64_t child_kb;
} shared;

static shared          *seen;
static unsigned char   *came;     /* by number */
static uint64_t        *came_due; /* the last of an actor's, by each of the clocks */
static uint32_t         alarms, actors;
static _Atomic uint64_t fired, wrong, turns, first_ns;
static _Atomic uint64_t most_kb;
static atomic_bool      enough;
static uint64_t         later_ms; /* what the clock is set by */
static char             root[64], path[80];

static uint64_t mono_ns(void *user)
{
    struct timespec now;
    (void)user;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t wall_ms(void *user)
{
    struct timespec now;
    (void)user;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + later_ms;
}

static uint64_t ms_since(uint64_t ns)
{
    return (mono_ns(NULL) - ns) / 1000000;
}

/* ---- Memory */

static uint64_t anonymous_kb(void)
{
    char line[200];
    unsigned long long kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %llu", &kb) == 1)
            break;
    if (f)
        (void)fclose(f);
    return kb;
}

static void *watch(void *user)
{
    _Atomic uint64_t *most = user;
    while (!atomic_load(&enough)) {
        uint64_t kb = anonymous_kb();
        if (kb > atomic_load(most))
            atomic_store(most, kb);
        (void)usleep(5000);
    }
    return NULL;
}

/* ---- The actor */

static uint32_t disorder(uint32_t number)
{
    return number * 2654435761u >> 8;
}

static void change(hf_turn *turn, uint32_t number, uint32_t pass)
{
    char name[24];
    uint32_t body[2] = { number, pass };
    uint64_t far = HOUR_MS + disorder(number) % HOUR_MS / 2;
    (void)snprintf(name, sizeof name, "%u", number);
    if (pass && number % 10 == CANCELLED)
        hf_cancel_alarm(turn, name);
    else if (pass && number % 10 != AGAIN)
        return;
    else if (number % 2)
        hf_set_alarm(turn, name, far, hf_view(body, sizeof body));
    else
        hf_set_alarm_at(turn, name, wall_ms(NULL) + far, hf_view(body, sizeof body));
}

static void fire(const hf_message *msg)
{
    uint32_t body[2] = { 0, 0 };
    uint64_t none = 0;
    if (msg->body.len == sizeof body)
        memcpy(body, msg->body.data, sizeof body);
    (void)atomic_compare_exchange_strong(&first_ns, &none, mono_ns(NULL));
    uint32_t last = body[0] < alarms && body[0] % 10 == AGAIN ? 1 : 0;
    if (body[0] > alarms || body[1] != last || came[body[0]]++ || body[0] % 10 == CANCELLED)
        atomic_fetch_add(&wrong, 1);
    uint64_t *due = &came_due[body[0] % actors * 2 + body[0] % 2];
    if (body[0] < alarms && *due > msg->due) /* what is overdue comes in its order */
        atomic_fetch_add(&wrong, 1);
    *due = msg->due;
    atomic_fetch_add(&fired, 1);
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    order o = { 0, 0, 0 };
    if (msg->cause == HF_ALARM)
        return fire(msg), HF_OK;
    if (msg->body.len == sizeof o)
        memcpy(&o, msg->body.data, sizeof o);
    for (uint32_t i = 0; i < o.count; i++) /* an actor's are so many numbers apart */
        change(turn, o.first + i * actors, o.pass);
    if (strcmp(msg->kind, "soon") == 0) {
        uint32_t body[2] = { alarms, 0 };
        hf_set_alarm(turn, "soon", 100, hf_view(body, sizeof body));
    }
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static const hf_type types[] = { { .name = "a", .handle = handle, .strikes = HF_NEVER }, { 0 } };

static int fail(const char *what, int err)
{
    fprintf(stderr, "alarm_crowd: %s: %s: %s\n", what, hf_strerror(err), hf_detail());
    return 1;
}

static int start(hf_engine **engine)
{
    return hf_open(engine, path, HF_OPTIONS(.types = types, .log = hf_log_stderr));
}

/* ---- The child */

static int post(hf_engine *engine, const order *o)
{
    char to[24];
    int err = HF_EAGAIN;
    (void)snprintf(to, sizeof to, "a/%u", o->first % actors);
    while (err == HF_EAGAIN) {
        err = hf_post(engine, HF_LETTER(.to = to, .kind = "set", .body = hf_view(o, sizeof *o)), 1,
                      NULL, NULL);
        if (err == HF_EAGAIN)
            (void)hf_sync(engine, 1000);
    }
    return err;
}

static int set_all(hf_engine *engine, uint32_t pass)
{
    uint32_t each = alarms / actors;
    int err = HF_OK;
    for (uint32_t done = 0; !err && done < each; done += TURN_SETS)
        for (uint32_t actor = 0; !err && actor < actors; actor++) {
            uint32_t count = each - done < TURN_SETS ? each - done : TURN_SETS;
            order o = { done * actors + actor, count, pass };
            err = post(engine, &o);
        }
    return err ? err : hf_drain(engine, HF_NEVER);
}

static _Noreturn void child(void)
{
    pthread_t watcher;
    hf_engine *engine = NULL;
    int err = pthread_create(&watcher, NULL, watch, &seen->child_kb) ? HF_ENOMEM : HF_OK;
    if (!err)
        err = start(&engine);
    if (!err)
        err = set_all(engine, 0);
    if (!err)
        err = set_all(engine, 1);
    if (!err)
        (void)raise(SIGKILL);
    _exit(fail("setting", err));
}

static int fill(void)
{
    int status = 0;
    uint64_t began = mono_ns(NULL);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        child();
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
        return fail("the process that sets alarms", HF_EUNKNOWN);
    printf("set in %llu ms, %llu MiB\n", (unsigned long long)ms_since(began),
           (unsigned long long)atomic_load(&seen->child_kb) / 1024);
    return 0;
}

/* ---- Afterwards */

static uint64_t must_stay(void)
{
    uint64_t stay = 0;
    for (uint32_t i = 0; i < alarms; i++)
        stay += i % 10 != CANCELLED;
    return stay;
}

static int check_all(hf_engine *engine, bool overdue)
{
    hf_stats stats = HF_STATS;
    uint64_t cancelled = 0;
    for (uint32_t i = 0; i < alarms; i++) {
        cancelled += i % 10 == CANCELLED;
        if (overdue && !came[i] && i % 10 != CANCELLED)
            atomic_fetch_add(&wrong, 1);
    }
    int err = hf_stat(engine, &stats);
    printf("%llu came, %llu wrong; %llu are set\n", (unsigned long long)atomic_load(&fired),
           (unsigned long long)atomic_load(&wrong), (unsigned long long)stats.alarms);
    if (err)
        return fail("counting", err);
    return atomic_load(&wrong) || stats.alarms != (overdue ? 0 : must_stay())
        || atomic_load(&fired) != (overdue ? alarms - cancelled : 1);
}

/* The count of those that are set is about right until there was time to look. */
static void wait_for_all(hf_engine *engine, bool overdue)
{
    hf_stats stats = HF_STATS;
    uint64_t before = 0, still = mono_ns(NULL);
    while (ms_since(still) < 10000) {
        (void)hf_stat(engine, &stats);
        if (overdue ? !stats.alarms && !stats.waiting
                    : atomic_load(&fired) != 0 && stats.alarms == must_stay())
            break;
        if (atomic_load(&fired) != before || stats.waiting)
            still = mono_ns(NULL);
        before = atomic_load(&fired);
        (void)usleep(2000);
    }
}

static int look(bool overdue, uint64_t most_mb, uint64_t most_ms)
{
    pthread_t watcher;
    hf_engine *engine = NULL;
    uint64_t base = anonymous_kb(), began = mono_ns(NULL);
    if (pthread_create(&watcher, NULL, watch, (void *)&most_kb))
        return fail("a thread", HF_ENOMEM);
    int err = start(&engine);
    uint64_t open_ms = ms_since(began);
    if (!err)
        err = hf_tell(engine, "a/0", overdue ? "first" : "soon", hf_str(""));
    while (!err && !atomic_load(&turns))
        (void)usleep(500);
    uint64_t turn_ms = ms_since(began);
    if (err)
        return fail("opening", err);
    wait_for_all(engine, overdue);
    uint64_t all_ms = ms_since(began);
    err = hf_drain(engine, HF_NEVER);
    int code = err ? fail("draining", err) : check_all(engine, overdue);
    err = hf_close(engine, HF_NEVER);
    atomic_store(&enough, true);
    (void)pthread_join(watcher, NULL);
    uint64_t alarm_ms = (atomic_load(&first_ns) - began) / 1000000;
    uint64_t mb = (atomic_load(&most_kb) - base) / 1024,
             child_mb = atomic_load(&seen->child_kb) / 1024;
    printf("open %llu ms, first turn %llu ms, first alarm %llu ms, the last %llu ms, %llu MiB\n",
           (unsigned long long)open_ms, (unsigned long long)turn_ms, (unsigned long long)alarm_ms,
           (unsigned long long)all_ms, (unsigned long long)mb);
    if (err)
        return fail("closing", err);
    if ((most_mb && (mb > most_mb || child_mb > most_mb)) || (most_ms && turn_ms > most_ms))
        return fprintf(stderr, "alarm_crowd: beyond its limits\n"), 1;
    return code;
}

int main(int argc, char **argv)
{
    bool overdue = argc > 3 && strcmp(argv[3], "overdue") == 0;
    actors = argc > 2 ? (uint32_t)atoi(argv[2]) : 0;
    alarms = actors ? (uint32_t)atoi(argv[1]) / actors * actors : 0;
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)snprintf(root, sizeof root, "%s/holdfast-crowd-XXXXXX",
                   getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (seen == MAP_FAILED || !alarms || !mkdtemp(root))
        return fprintf(stderr,
                       "alarm_crowd ALARMS ACTORS overdue|future [MEBIBYTES MILLISECONDS]\n"),
               2;
    (void)snprintf(path, sizeof path, "%s/store", root);
    int code = fill();
    came = calloc(alarms + 1, 1);
    came_due = calloc(actors * 2, sizeof *came_due);
    if (!came || !came_due)
        return 1;
    memset(came, 0, alarms + 1);
    memset(came_due, 0, actors * 2 * sizeof *came_due);
    later_ms = overdue ? 2 * HOUR_MS : 0;
    hf_clock_use(&(hf_clock){ wall_ms, mono_ns, NULL });
    if (!code)
        code = look(overdue, argc > 4 ? strtoull(argv[4], NULL, 10) : 0,
                    argc > 5 ? strtoull(argv[5], NULL, 10) : 0);
    free(came);
    free(came_due);
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return code ? code : system(command) ? 1 : 0;
}
