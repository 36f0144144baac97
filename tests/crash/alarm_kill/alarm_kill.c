/* alarm_kill.c - alarms over a while, in a process that is killed meanwhile.
 *
 *     alarm_kill [ALARMS] [SECONDS] [KILLS]      20000 alarms over 2 s, 3 kills
 *
 * Happy path: a child sets the alarms; then it is killed at random moments and begun
 * again, each time by SIGKILL. Each actor keeps a bit for each of its alarms in its state.
 * When all have come, every bit must be set, and none a second time. The seed is printed,
 * and may be given as SEED. Exit code 1 says what is wrong. One thread, the engine's apart. */
#include "engine/holdfast.h"

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

enum { EACH = 1000, TURN_SETS = 100, NAME = 24 };

typedef struct counts {
    atomic_uint ready;           /* all are set */
    atomic_uint fired;           /* turns, with those that were lost again */
    atomic_uint actors, bits, doubles; /* as the states say in the end */
} counts;

typedef struct image {
    unsigned char bits[EACH / 8];
    uint32_t      doubles;
} image;

static counts  *seen;
static uint32_t alarms = 20000, seconds = 2, kills = 3;
static char     root[64];

static void nap(uint64_t ms)
{
    struct timespec pause = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
    (void)nanosleep(&pause, NULL);
}

/* ---- The actor */

static void set_some(hf_turn *turn, uint32_t first)
{
    for (uint32_t i = first; i < first + TURN_SETS; i++) {
        char name[NAME];
        (void)snprintf(name, sizeof name, "%u", i % EACH);
        hf_set_alarm(turn, name, 500 + (uint64_t)i * seconds * 1000 / alarms, hf_str(""));
    }
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    image now = { { 0 }, 0 };
    hf_bytes state = hf_state(turn);
    if (state.len == sizeof now)
        memcpy(&now, state.data, sizeof now);
    if (msg->cause == HF_ALARM) {
        uint32_t bit = (uint32_t)atoi(msg->kind);
        now.doubles += (now.bits[bit / 8] >> bit % 8) & 1;
        now.bits[bit / 8] = (unsigned char)(now.bits[bit / 8] | 1 << bit % 8);
        hf_save(turn, hf_view(&now, sizeof now));
        atomic_fetch_add(&seen->fired, 1);
    } else if (strcmp(msg->kind, "sum") == 0) {
        for (uint32_t i = 0; i < EACH; i++)
            atomic_fetch_add(&seen->bits, (unsigned)now.bits[i / 8] >> i % 8 & 1u);
        atomic_fetch_add(&seen->doubles, now.doubles);
        atomic_fetch_add(&seen->actors, 1);
    } else {
        set_some(turn, (uint32_t)atoi(msg->kind));
    }
    return HF_OK;
}

static const hf_type types[] = { { .name = "a", .handle = handle, .strikes = HF_NEVER }, { 0 } };

static int fail(const char *what, int err)
{
    fprintf(stderr, "alarm_kill: %s: %s: %s\n", what, hf_strerror(err), hf_detail());
    return 1;
}

static int tell_all(hf_engine *engine, uint32_t step, const char *kind)
{
    for (uint32_t i = 0; i < alarms; i += step) {
        char to[NAME], number[NAME];
        (void)snprintf(to, sizeof to, "a/%u", i / EACH);
        (void)snprintf(number, sizeof number, "%u", i);
        int err = HF_EAGAIN;
        while (err == HF_EAGAIN) {
            err = hf_post(engine, HF_LETTER(.to = to, .kind = kind ? kind : number), 1, NULL, NULL);
            if (err == HF_EAGAIN)
                (void)hf_sync(engine, 1000);
        }
        if (err)
            return err;
    }
    return hf_drain(engine, HF_NEVER);
}

static bool all_came(hf_engine *engine)
{
    hf_stats stats = HF_STATS;
    return hf_stat(engine, &stats) || (!stats.alarms && !stats.waiting);
}

/* A life: the first sets, the last waits for all, any may be killed. */
static int live(bool first, bool last)
{
    hf_engine *engine = NULL;
    char path[80];
    (void)snprintf(path, sizeof path, "%s/store", root);
    int err = hf_open(&engine, path, HF_OPTIONS(.types = types, .window = 8 << 20,
                                                .log = hf_log_stderr));
    if (err)
        return fail("opening", err);
    if (first)
        err = tell_all(engine, TURN_SETS, NULL);
    if (err)
        return fail("setting", err);
    atomic_store(&seen->ready, 1);
    while (!last || !all_came(engine))
        nap(20);
    err = hf_drain(engine, HF_NEVER);
    if (!err)
        err = tell_all(engine, EACH, "sum");
    int closed = hf_close(engine, HF_NEVER);
    return err || closed ? fail("ending", err ? err : closed) : 0;
}

/* ---- Its killer */

static pid_t begin(bool first, bool last)
{
    atomic_store(&seen->ready, 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(live(first, last));
    while (pid > 0 && !atomic_load(&seen->ready) && !waitpid(pid, NULL, WNOHANG))
        nap(1);
    return pid;
}

static int run(unsigned seed)
{
    uint64_t part = ((uint64_t)seconds * 1000 + 500) / (kills + 1);
    int status = 1;
    for (uint32_t i = 0; i < kills; i++) {
        pid_t pid = begin(i == 0, false);
        nap(part / 2 + (uint64_t)rand_r(&seed) % part);
        (void)kill(pid, SIGKILL);
        if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status))
            return fail("a life ended by itself", HF_EUNKNOWN);
    }
    pid_t pid = begin(kills == 0, true);
    if (waitpid(pid, &status, 0) != pid || status)
        return fail("the last life", HF_EUNKNOWN);
    unsigned bits = atomic_load(&seen->bits), doubles = atomic_load(&seen->doubles);
    printf("%u alarms, %u kills: %u came, %u twice; %u turns\n", alarms, kills, bits, doubles,
           atomic_load(&seen->fired));
    return bits != alarms || doubles || atomic_load(&seen->actors) != alarms / EACH;
}

int main(int argc, char **argv)
{
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    alarms = argc > 1 ? (uint32_t)atoi(argv[1]) / EACH * EACH : alarms;
    seconds = argc > 2 ? (uint32_t)atoi(argv[2]) : seconds;
    kills = argc > 3 ? (uint32_t)atoi(argv[3]) : kills;
    seen = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    (void)snprintf(root, sizeof root, "/tmp/holdfast-alarms-XXXXXX");
    if (seen == MAP_FAILED || !alarms || !mkdtemp(root))
        return perror("alarm_kill"), 1;
    printf("SEED=%u\n", seed);
    int code = run(seed);
    if (code) {
        printf("FAILED; its store is in %s\n", root);
        return code;
    }
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command) ? 1 : 0;
}
