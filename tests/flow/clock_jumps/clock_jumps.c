/* clock_jumps.c - a process whose wall clock is set while it works, by libfaketime.
 *
 *     clock_jumps [ROUNDS]     a few jumps; then so often all of them [0]
 *
 * Happy path: it starts itself again with libfaketime before it, whose offset stands in a
 * file that is rewritten between steps; the monotonic clock is left alone. Alarms, delayed
 * messages, retries and schedules run meanwhile, each step reopens the store, too: also in
 * 1970 and beyond 2038. What goes by a delay must come when its time has passed on the
 * monotonic clock, once; what goes by a time of day once that has come; every jump is
 * counted; and a process that waits must not use the processor.
 *
 * Exit code 77, "SKIP": no libfaketime. Main's thread, handlers on the engine's. */
#include "engine/holdfast.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define HOUR  INT64_C(3600)
#define YEARS (INT64_C(3653) * 24 * HOUR)

enum { DELAYS = 60, LAST_MS = 3000, GRACE_MS = 20000, REST_MS = 1500 };

static char        root[64], offsets[96];
static int         wrongs;
static atomic_long early, twice, retries, beats, hours;
static atomic_int  came[2][DELAYS]; /* letters, alarms */
static atomic_int  soon, noon;      /* absolute ones */
static uint64_t    set_ns;

static uint64_t mono_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void nap(uint64_t ms)
{
    struct timespec pause = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };
    (void)nanosleep(&pause, NULL);
}

#define MUST(true_or_not) must((true_or_not), #true_or_not, __LINE__)
static void must(bool fine, const char *what, int line)
{
    if (fine)
        return;
    fprintf(stderr, "clock_jumps.c:%d: not so: %s (%s)\n", line, what, hf_detail());
    wrongs++;
}

/* Wait until `seen` is `wanted`, a long time if need be. */
static bool reaches(atomic_int *seen, int wanted)
{
    for (int i = 0; i < GRACE_MS && atomic_load(seen) < wanted; i++)
        nap(1);
    return atomic_load(seen) >= wanted;
}

/* ---- The clock */

static void set_clock(int64_t seconds)
{
    char fresh[110], text[40];
    int len = snprintf(text, sizeof text, "%+" PRId64 "\n", seconds);
    (void)snprintf(fresh, sizeof fresh, "%s.new", offsets);
    int fd = open(fresh, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, (size_t)len) != len || close(fd) || rename(fresh, offsets)) {
        perror(fresh);
        exit(1);
    }
}

/* ---- Actors */

static void note(atomic_int *slot, uint64_t due_ns)
{
    if (mono_ns() < due_ns)
        atomic_fetch_add(&early, 1);
    if (atomic_fetch_add(slot, 1))
        atomic_fetch_add(&twice, 1);
}

static uint64_t delay_ms(int n)
{
    return 100 + (uint64_t)(n * (LAST_MS - 100) / DELAYS);
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    uint64_t due_ns = 0;
    int n = atoi(msg->kind + 1);
    if (msg->body.len == sizeof due_ns)
        memcpy(&due_ns, msg->body.data, sizeof due_ns);
    switch (*msg->kind) {
    case 'l': note(&came[0][n], due_ns); break;
    case 'a': note(&came[1][n], due_ns); break;
    case 'n': note(msg->kind[1] == 's' ? &soon : &noon, 0); break;
    case 'b': atomic_fetch_add(&beats, 1); break;
    case 'h': atomic_fetch_add(&hours, 1); break;
    case 'r': /* fails once, and comes again later */
        if (msg->attempt == 1)
            return hf_fail(turn, 1, "once");
        atomic_fetch_add(&retries, 1);
        break;
    case 's':
        for (int i = 0; i < DELAYS; i++) {
            char name[8];
            due_ns = set_ns + delay_ms(i) * 1000000;
            (void)snprintf(name, sizeof name, "a%d", i);
            hf_set_alarm(turn, name, delay_ms(i), hf_view(&due_ns, sizeof due_ns));
        }
        hf_set_alarm_at(turn, "ns", wall_ms() + 500, hf_str(""));
        hf_set_alarm_at(turn, "nn", wall_ms() + 1800000, hf_str(""));
        hf_set_alarm(turn, "z", 3000000, hf_str("")); /* 50 minutes: never */
        hf_every(turn, "b", "every 100ms", 1, hf_str(""));
        hf_every(turn, "h", "*/20 * * * *", 2, hf_str(""));
        break;
    default: must(false, msg->kind, __LINE__);
    }
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "shop", .handle = handle, .retry_ms = 2500, .tries = 3 },
    { .name = "pool", .handle = handle, .retry_ms = 2500, .tries = 3, .threads = 2 },
    { 0 },
};

static void quiet(void *user, hf_level level, const char *line)
{
    (void)user;
    if (level >= HF_ERROR)
        fprintf(stderr, "%s\n", line);
}

static hf_engine *open_store(void)
{
    char path[80];
    hf_engine *engine = NULL;
    (void)snprintf(path, sizeof path, "%s/store", root);
    MUST(hf_open(&engine, path, HF_OPTIONS(.types = types, .shards = 2, .window = 256 << 10,
                                           .store_max = 64 << 20, .log = quiet)) == HF_OK);
    if (!engine)
        exit(1);
    return engine;
}

/* ---- One step */

static void begin(hf_engine *engine)
{
    atomic_store(&soon, 0);
    atomic_store(&noon, 0);
    atomic_store(&retries, 0);
    memset(came, 0, sizeof came);
    set_ns = mono_ns();
    for (int i = 0; i < DELAYS; i++) {
        char kind[8];
        uint64_t due_ns = set_ns + delay_ms(i) * 1000000;
        (void)snprintf(kind, sizeof kind, "l%d", i);
        MUST(hf_mail(engine, HF_LETTER(.to = i % 2 ? "shop/1" : "pool/1", .kind = kind,
                                       .delay_ms = delay_ms(i),
                                       .body = hf_view(&due_ns, sizeof due_ns)), 1, NULL) == HF_OK);
    }
    MUST(hf_tell(engine, "shop/2", "set", hf_str("")) == HF_OK);
    MUST(hf_tell(engine, "shop/3", "r", hf_str("")) == HF_OK);
    MUST(hf_tell(engine, "pool/3", "r", hf_str("")) == HF_OK);
}

static void all_come(void)
{
    for (int i = 0; i < DELAYS; i++)
        for (int k = 0; k < 2; k++)
            if (!reaches(&came[k][i], 1))
                must(false, k ? "an alarm is lost" : "a delayed message is lost", i);
    for (int i = 0; i < GRACE_MS && atomic_load(&retries) < 2; i++)
        nap(1);
    MUST(atomic_load(&retries) == 2);
    MUST(mono_ns() - set_ns < (uint64_t)(LAST_MS + GRACE_MS) * 1000000);
    MUST(atomic_load(&early) == 0);
    MUST(atomic_load(&twice) == 0);
}

/* What a process uses that has little to do: a schedule of ten ticks a second. */
static void rests(const char *when)
{
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    nap(REST_MS);
    getrusage(RUSAGE_SELF, &after);
    long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec
               - before.ru_stime.tv_sec) * 1000000
        + after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec
        - before.ru_stime.tv_usec;
    printf("%-28s cpu %4.1f %%\n", when, (double)us / REST_MS / 10);
    if (us > REST_MS * 1000 / 5)
        must(false, "it is busy while it waits", __LINE__);
}

static uint64_t jumps(hf_engine *engine)
{
    hf_stats stats = HF_STATS;
    MUST(hf_stat(engine, &stats) == HF_OK);
    return stats.clock_jumps;
}

/* Jump while all that runs, and end as the clock then is. */
static void jump(const char *what, int64_t from, int64_t to, bool reopen)
{
    set_clock(from);
    hf_engine *engine = open_store();
    begin(engine);
    MUST(reaches(&soon, 1)); /* half a second later, by the clock on the wall */
    MUST(atomic_load(&noon) == 0);
    nap(1100);               /* the clock was looked at, at least once */
    uint64_t seen = jumps(engine);
    long were = atomic_load(&hours);
    set_clock(to);
    for (int i = 0; i < GRACE_MS && jumps(engine) == seen; i++)
        nap(1);
    MUST(jumps(engine) == seen + 1);
    if (reopen) {
        MUST(hf_close(engine, 20000) == HF_OK);
        engine = open_store();
    }
    if (to > from) {
        MUST(reaches(&noon, 1));
        for (int i = 0; i < GRACE_MS && atomic_load(&hours) < were + 2; i++)
            nap(1);
        MUST(atomic_load(&hours) <= were + 3 && atomic_load(&hours) >= were + 2);
    }
    all_come();
    long beat = atomic_load(&beats);
    rests(what);
    MUST(atomic_load(&beats) > beat);
    if (to <= from)
        MUST(atomic_load(&noon) == 0);
    MUST(hf_close(engine, 20000) == HF_OK);
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf %s/store", root);
    MUST(system(command) == 0);
}

static int64_t to_1970(void)
{
    set_clock(0);
    return -(int64_t)(wall_ms() / 1000) + 100000;
}

static void few_jumps(void)
{
    jump("an hour forward", 0, HOUR, false);
    jump("ten years back", YEARS, 0, false);
    jump("into 1970", 0, to_1970(), true);
}

static void all_jumps(void)
{
    int64_t long_ago = to_1970(), beyond = 4 * YEARS;
    for (int reopen = 0; reopen < 2; reopen++) {
        jump("an hour forward", 0, HOUR, reopen);
        jump("an hour back", HOUR, 0, reopen);
        jump("ten years forward", 0, YEARS, reopen);
        jump("ten years back", YEARS, 0, reopen);
    }
    jump("into 1970", 0, long_ago, false);
    jump("out of 1970", long_ago, 0, true);
    jump("beyond 2038 and on", beyond, beyond + HOUR, true);
    set_clock(0);
}

/* ---- Under libfaketime */

static int start_again(char **argv)
{
    glob_t found;
    int err = glob("/usr/lib/*/faketime/libfaketimeMT.so.1", 0, NULL, &found);
    if (err)
        err = glob("/usr/lib*/faketime/libfaketimeMT.so.1", 0, NULL, &found);
    if (err) {
        puts("SKIP: no libfaketime");
        return getenv("HF_REQUIRE_ALL") ? 1 : 77;
    }
    (void)snprintf(root, sizeof root, "/tmp/holdfast-jumps-XXXXXX");
    if (!mkdtemp(root))
        return perror(root), 1;
    (void)snprintf(offsets, sizeof offsets, "%s/offset", root);
    set_clock(0);
    setenv("LD_PRELOAD", found.gl_pathv[0], 1);
    setenv("FAKETIME_TIMESTAMP_FILE", offsets, 1);
    setenv("FAKETIME_NO_CACHE", "1", 1);
    setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    setenv("FAKETIME_FORCE_MONOTONIC_FIX", "0", 1); /* it makes waits end at once */
    setenv("NO_FAKE_STAT", "1", 1);
    setenv("HF_JUMPS", root, 1);
    globfree(&found);
    execv("/proc/self/exe", argv);
    return perror("exec"), 1;
}

int main(int argc, char **argv)
{
    const char *was = getenv("HF_JUMPS");
    if (!was)
        return start_again(argv);
    unsetenv("LD_PRELOAD"); /* of what we start */
    (void)snprintf(root, sizeof root, "%s", was);
    (void)snprintf(offsets, sizeof offsets, "%s/offset", root);
    few_jumps();
    for (int i = argc > 1 ? atoi(argv[1]) : 0; i > 0 && !wrongs; i--)
        all_jumps();
    char command[100];
    (void)snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command) || wrongs ? 1 : 0;
}
