/* ring_kill.c - an engine that is killed, and started again.
 *
 *     ring_kill [kills]       SIGKILL at random moments
 *     ring_kill points N      at every test point, the 1st, 2nd, 4th, 8th ... of N passes
 *     ring_kill abort N       a handler that calls abort() on one message, .strikes = N
 *
 * Senders in a child tell numbered messages, actors count them (numbers.h): none may
 * be missing that was acknowledged, none come twice or before an earlier one. */
#include "engine/holdfast.h"
#include "storage/clock.h"
#include "tests/support/core.h"
#include "tests/support/numbers.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A life's length at most; an open takes longer under the thread sanitizer. */
#ifdef __SANITIZE_THREAD__
#define LIFE_US 1000000
#else
#define LIFE_US 60000
#endif

enum { VICTIMS = 1000, VICTIM = 500 };

typedef struct ledger {
    numbers     numbers;
    /* the abort variant */
    uint8_t     acked[VICTIMS];
    uint32_t    told, strikes;
    _Atomic uint64_t jumped; /* minutes */
    uint32_t    pooled; /* where the one that kills runs */
    atomic_uint done[VICTIMS];
    atomic_uint dead;
    atomic_bool finished;
} ledger;

static ledger *book;

static void live(const char *path)
{
    hf_engine *engine;
    if (numbers_open(&engine, path))
        _exit(1);
    numbers_send(engine);
    for (;;)
        pause();
}

static void end(const char *path)
{
    hf_engine *engine;
    if (numbers_open(&engine, path))
        _exit(1);
    numbers_end(engine);
}

static pid_t start(const char *path, void (*run)(const char *))
{
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        core_fail("fork");
    if (!child) {
        run(path);
        _exit(0);
    }
    return child;
}

static void run_kills(const char *path, uint32_t kills)
{
    uint64_t dice = (uint64_t)getpid();
    int status;
    for (uint32_t i = 0; i < kills && !atomic_load(&book->numbers.broken); i++) {
        pid_t child = start(path, live);
        usleep((useconds_t)(core_random(&dice) % LIFE_US));
        kill(child, SIGKILL);
        if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
            numbers_broken("the child ended by itself with %d", status);
    }
    pid_t child = start(path, end);
    if (waitpid(child, &status, 0) != child || status)
        numbers_broken("the last child ended with %d", status);
    uint32_t acked = numbers_acked();
    printf("%u kills, %u messages acknowledged\n", kills, acked);
    if (!acked)
        numbers_broken("nothing was acknowledged");
}

/* ---- At every test point */

#ifdef HF_TESTPOINTS
typedef struct point {
    const char *name;
    bool        closing;  /* passed by one who opens, works off and closes */
    bool        creating; /* passed once in the life of a store */
} point;

static const point points[] = {
    { "store.create.nest", false, true },   { "store.create.marker", false, true },
    { "store.create.data", false, true },   { "store.create.synced", false, true },
    { "store.create.renamed", false, true },
    { "replay.record", false, false },      { "journal.gathered", false, false },
    { "log.written", false, false },        { "store.commit", false, false },
    { "store.committed", false, false },    { "log.committed", false, false },
    { "journal.committed", false, false },  { "log.folded", false, false },
    { "fold.delete", false, false },        { "turn.begin", false, false },
    { "turn.ran", false, false },           { "shard.submit", false, false },
    { "close.begun", true, false },         { "close.threads", true, false },
    { "close.clean", true, false },
};

/* A life that ends at the nth pass of the point; if it does not come there, by us. */
static bool live_to(const char *path, const point *at, uint32_t n)
{
    char where[64];
    int status;
    snprintf(where, sizeof where, "%s:%u", at->name, n);
    setenv("HF_KILL_AT", where, 1);
    pid_t child = start(path, at->closing ? end : live);
    unsetenv("HF_KILL_AT");
    for (int ms = 0; ms < 2000; ms++) {
        pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child) {
            bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            if (!killed && !(at->closing && status == 0))
                numbers_broken("at %s the child ended by itself with %d", where, status);
            return killed;
        }
        usleep(1000);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return false;
}

static void check_all(const char *path)
{
    int status;
    pid_t child = start(path, end);
    if (waitpid(child, &status, 0) != child || status)
        numbers_broken("the last child ended with %d", status);
}

static void run_points(const char *directory, const char *path, uint32_t most)
{
    uint32_t kills = 0;
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        uint32_t reached = 0;
        for (uint32_t n = 1; n <= (points[i].creating ? 1 : most); n *= 2) {
            if (atomic_load(&book->numbers.broken))
                return;
            if (points[i].creating) {
                core_remove(directory);
                (void)core_directory("ring_kill", true);
                numbers_forget();
            }
            reached += live_to(path, &points[i], n);
        }
        if (!reached)
            numbers_broken("nobody came to %s", points[i].name);
        check_all(path);
        kills += reached;
    }
    printf("%u kills at %zu points, %u messages acknowledged\n", kills,
           sizeof points / sizeof *points, numbers_acked());
}
#else
static void run_points(const char *directory, const char *path, uint32_t most)
{
    (void)directory;
    (void)path;
    (void)most;
    core_fail("this build has no test points");
}
#endif

/* ---- One message that kills the process */

static int maybe_abort(hf_turn *turn, const hf_message *msg)
{
    uint32_t n;
    (void)turn;
    memcpy(&n, msg->body.data, sizeof n);
    if (n == VICTIM)
        abort();
    atomic_fetch_add(&book->done[n], 1); /* may be more than once: it is outside */
    return HF_OK;
}

static int bury_it(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    static const char why[] = "killed the process";
    const char *at = msg->body.data;
    bool said = false;
    for (size_t i = 0; !said && i + sizeof why - 1 <= msg->body.len; i++)
        said = memcmp(at + i, why, sizeof why - 1) == 0;
    if (!said)
        numbers_broken("a message is dead, but not because it killed the process");
    atomic_fetch_add(&book->dead, 1);
    return HF_OK;
}

/* Time jumps while nothing goes on: a message that struck waits for minutes. */
static uint64_t later_ms(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000
        + atomic_load(&book->jumped) * 60000u;
}

static uint64_t mono_ns(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec
        + atomic_load(&book->jumped) * UINT64_C(60000000000);
}

static void live_with_victim(const char *path)
{
    const hf_type types[] = {
        { .name = "calm", .handle = maybe_abort, .strikes = book->strikes, .dead_to = "grave/all" },
        { .name = "slow", .handle = maybe_abort, .threads = 4, .strikes = book->strikes,
          .dead_to = "grave/all" },
        { .name = "grave", .handle = bury_it },
        { 0 },
    };
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    hf_clock_use(&(hf_clock){ later_ms, mono_ns, NULL });
    hf_engine *engine;
    int err = hf_open(&engine, path, HF_OPTIONS(.types = types, .shards = 2, .window = 64 << 10,
                                                .store_max = 256 << 20));
    if (err) {
        numbers_broken("hf_open: %d %s", err, hf_detail());
        _exit(1);
    }
    while (book->told < VICTIMS) {
        char to[32];
        uint32_t n = book->told++;
        snprintf(to, sizeof to, "%s/%u", n % 37 % 2 == book->pooled ? "slow" : "calm", n % 37);
        err = hf_tell(engine, to, "n", hf_view(&n, sizeof n));
        if (err)
            numbers_broken("hf_tell: %d %s", err, hf_detail());
        else
            book->acked[n] = 1;
    }
    err = HF_ETIMEDOUT;
    for (int i = 0; i < 30 && err == HF_ETIMEDOUT; i++) {
        err = hf_drain(engine, 500);
        if (err)
            atomic_fetch_add(&book->jumped, 1);
    }
    hf_stats stats = HF_STATS;
    hf_stat(engine, &stats);
    if (err || stats.waiting)
        numbers_broken("hf_drain: %d, %llu wait", err, (unsigned long long)stats.waiting);
    err = hf_close(engine, HF_NEVER);
    if (err)
        numbers_broken("hf_close: %d %s", err, hf_detail());
    atomic_store(&book->finished, true);
}

static void run_abort(const char *path, uint32_t strikes)
{
    uint32_t lives = 0;
    int status;
    book->strikes = strikes;
    book->pooled = strikes % 2 == VICTIM % 37 % 2;
    while (!atomic_load(&book->finished) && !atomic_load(&book->numbers.broken) && lives++ < 20) {
        pid_t child = start(path, live_with_victim);
        if (waitpid(child, &status, 0) != child)
            core_fail("waitpid");
        if (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT))
            numbers_broken("the child ended with %d", status);
    }
    uint32_t missing = 0;
    for (uint32_t i = 0; i < VICTIMS; i++)
        missing += i != VICTIM && book->acked[i] && !atomic_load(&book->done[i]);
    printf(".strikes = %u: %u lives, %u dead, %u not done\n", strikes, lives,
           atomic_load(&book->dead), missing);
    if (missing || atomic_load(&book->dead) != 1 || !atomic_load(&book->finished))
        numbers_broken("one was to die, all others to be done");
    if (lives > strikes + 4)
        numbers_broken("it took %u lives", lives);
}

int main(int argc, char **argv)
{
    char path[300];
    bool aborts = argc > 2 && strcmp(argv[1], "abort") == 0;
    book = mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (book == MAP_FAILED)
        core_fail("no memory to share");
    numbers_book = &book->numbers;
    const char *directory = core_directory("ring_kill", true);
    snprintf(path, sizeof path, "%s/store", directory);
    if (aborts) {
        run_abort(path, (uint32_t)atoi(argv[2]));
    } else if (argc > 2 && strcmp(argv[1], "points") == 0) {
        run_points(directory, path, (uint32_t)atoi(argv[2]));
    } else {
        run_kills(path, argc > 1 ? (uint32_t)atoi(argv[1]) : 20);
    }
    if (atomic_load(&book->numbers.broken))
        core_fail("%s (store in %s)", book->numbers.why, path);
    core_remove(directory);
    return 0;
}
