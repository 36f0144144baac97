/* ring_kill.c - an engine that is killed, and started again.
 *
 *     ring_kill [kills]       SIGKILL at random moments
 *     ring_kill abort N       a handler that calls abort() on one message, .strikes = N
 *
 * Senders in a child tell numbered messages and note in memory shared with us
 * what each hf_tell answered. The actors count and hash what they see in their
 * state, and tell a second actor, which does the same. None may be missing that
 * was acknowledged, none come twice or before an earlier one. */
#include "engine/holdfast.h"
#include "storage/clock.h"
#include "tests/support/core.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SENDERS = 2, ACTORS = 8, NUMBERS = 4000000, VICTIMS = 1000, VICTIM = 500 };

typedef struct ledger {
    atomic_bool broken;
    char        why[300];
    _Atomic uint32_t next[SENDERS];
    uint8_t     acked[SENDERS][NUMBERS];
    /* the abort variant */
    uint32_t    told, strikes;
    _Atomic uint64_t jumped; /* minutes */
    uint32_t    pooled; /* where the one that kills runs */
    atomic_uint done[VICTIMS];
    atomic_uint dead;
    atomic_bool finished;
} ledger;

static ledger *book;

static void broken(const char *format, ...) HF_PRINTF(1, 2);
static void broken(const char *format, ...)
{
    va_list args;
    if (atomic_exchange(&book->broken, true))
        return;
    va_start(args, format);
    vsnprintf(book->why, sizeof book->why, format, args);
    va_end(args);
}

/* ---- Counting actors */

typedef struct number {
    uint32_t sender, n;
} number;

typedef struct memory {
    uint64_t count, hash;
    uint32_t last[SENDERS];
} memory;

typedef struct echo {
    uint64_t count, hash;
} echo;

static uint64_t mix(uint64_t hash, number n)
{
    uint64_t state = hash ^ ((uint64_t)n.sender << 32 | n.n);
    return core_random(&state);
}

/* Numbers that this actor did not get must not have been acknowledged. */
static void check_gap(const char *to, uint32_t sender, uint32_t last, uint32_t n)
{
    for (uint32_t i = last ? last + ACTORS : n % ACTORS ? n % ACTORS : ACTORS; i < n; i += ACTORS)
        if (book->acked[sender][i])
            broken("%s did not get %u of sender %u", to, i, sender);
}

static int count(hf_turn *turn, const hf_message *msg)
{
    memory m = { 0 };
    number n;
    char second[64];
    if (hf_state(turn).len)
        memcpy(&m, hf_state(turn).data, sizeof m);
    if (strcmp(msg->kind, "end") == 0) {
        for (uint32_t s = 0; s < SENDERS; s++)
            check_gap(msg->to, s, m.last[s],
                      (uint32_t)atomic_load(&book->next[s]) / ACTORS * ACTORS + ACTORS
                          + (uint32_t)atoi(strchr(msg->to, '/') + 1));
        snprintf(second, sizeof second, "second/%s", strchr(msg->to, '/') + 1);
        hf_send(turn, second, "end", hf_view(&m, sizeof m));
        return HF_OK;
    }
    memcpy(&n, msg->body.data, sizeof n);
    if (n.n <= m.last[n.sender])
        broken("%s got %u of sender %u after %u", msg->to, n.n, n.sender, m.last[n.sender]);
    else
        check_gap(msg->to, n.sender, m.last[n.sender], n.n);
    m.last[n.sender] = n.n;
    m.count++;
    m.hash = mix(m.hash, n);
    hf_save(turn, hf_view(&m, sizeof m));
    hf_forward(turn, "n", hf_view(&n, sizeof n));
    return n.n % 97 == 0 && msg->attempt == 1 ? hf_fail(turn, 1, "the first time") : HF_OK;
}

static int count_again(hf_turn *turn, const hf_message *msg)
{
    echo e = { 0 };
    if (hf_state(turn).len)
        memcpy(&e, hf_state(turn).data, sizeof e);
    if (strcmp(msg->kind, "end") == 0) {
        memory m;
        memcpy(&m, msg->body.data, sizeof m);
        if (m.count != e.count || m.hash != e.hash)
            broken("%s saw %llu, the first %llu", msg->to, (unsigned long long)e.count,
                   (unsigned long long)m.count);
        return HF_OK;
    }
    number n;
    memcpy(&n, msg->body.data, sizeof n);
    e.count++;
    e.hash = mix(e.hash, n);
    hf_save(turn, hf_view(&e, sizeof e));
    return HF_OK;
}

static const hf_type counting[] = {
    { .name = "count", .handle = count, .next = "second", .retry_ms = 1, .strikes = HF_NEVER },
    { .name = "slow", .handle = count, .threads = 2, .next = "second", .retry_ms = 1,
      .strikes = HF_NEVER },
    { .name = "second", .handle = count_again, .strikes = HF_NEVER },
    { 0 },
};

static void address(uint32_t actor, char to[32])
{
    snprintf(to, 32, "%s/%u", actor % 4 == 3 ? "slow" : "count", actor);
}

static hf_engine *open_it(const char *path, const hf_type *types)
{
    hf_engine *engine;
    int err = hf_open(&engine, path, HF_OPTIONS(.types = types, .shards = 2, .window = 64 << 10,
                                                .store_max = 256 << 20));
    if (err) {
        broken("hf_open: %d %s", err, hf_detail());
        _exit(1);
    }
    return engine;
}

typedef struct sender {
    hf_engine *engine;
    uint32_t   number;
} sender;

static void *send_numbers(void *user)
{
    const sender *s = user;
    for (;;) {
        char to[32];
        number n = { s->number, atomic_fetch_add(&book->next[s->number], 1) + 1 };
        if (n.n >= NUMBERS)
            return NULL;
        address(n.n % ACTORS, to);
        int err = hf_tell(s->engine, to, "n", hf_view(&n, sizeof n));
        if (!err)
            book->acked[s->number][n.n] = 1;
        else
            broken("hf_tell: %d %s", err, hf_detail());
    }
}

static _Noreturn void live(const char *path)
{
    hf_engine *engine = open_it(path, counting);
    pthread_t threads[SENDERS];
    sender senders[SENDERS];
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (sender){ engine, i };
        if (pthread_create(&threads[i], NULL, send_numbers, &senders[i]))
            abort();
    }
    for (;;)
        pause();
}

static void end(const char *path)
{
    hf_engine *engine = open_it(path, counting);
    char to[32];
    int err = hf_drain(engine, 60000);
    for (uint32_t i = 0; !err && i < ACTORS; i++) {
        address(i, to);
        err = hf_tell(engine, to, "end", hf_str(""));
    }
    if (!err)
        err = hf_drain(engine, 60000);
    if (!err)
        err = hf_close(engine, HF_NEVER);
    if (err)
        broken("the end: %d %s", err, hf_detail());
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

static void live_on(const char *path)
{
    live(path);
}

static void run_kills(const char *path, uint32_t kills)
{
    uint64_t dice = (uint64_t)getpid();
    int status;
    for (uint32_t i = 0; i < kills && !atomic_load(&book->broken); i++) {
        pid_t child = start(path, live_on);
        usleep((useconds_t)(core_random(&dice) % 60000));
        kill(child, SIGKILL);
        if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
            broken("the child ended by itself with %d", status);
    }
    pid_t child = start(path, end);
    if (waitpid(child, &status, 0) != child || status)
        broken("the last child ended with %d", status);
    uint32_t acked = 0;
    for (uint32_t s = 0; s < SENDERS; s++)
        for (uint32_t i = 0; i < NUMBERS; i++)
            acked += book->acked[s][i];
    printf("%u kills, %u messages acknowledged\n", kills, acked);
    if (!acked)
        broken("nothing was acknowledged");
}

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
        broken("a message is dead, but not because it killed the process");
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
    hf_engine *engine = open_it(path, types);
    while (book->told < VICTIMS) {
        char to[32];
        uint32_t n = book->told++;
        snprintf(to, sizeof to, "%s/%u", n % 37 % 2 == book->pooled ? "slow" : "calm", n % 37);
        int err = hf_tell(engine, to, "n", hf_view(&n, sizeof n));
        if (err)
            broken("hf_tell: %d %s", err, hf_detail());
        else
            book->acked[0][n] = 1;
    }
    int err = HF_ETIMEDOUT;
    for (int i = 0; i < 30 && err == HF_ETIMEDOUT; i++) {
        err = hf_drain(engine, 500);
        if (err)
            atomic_fetch_add(&book->jumped, 1);
    }
    hf_stats stats = HF_STATS;
    hf_stat(engine, &stats);
    if (err || stats.waiting)
        broken("hf_drain: %d, %llu wait", err, (unsigned long long)stats.waiting);
    err = hf_close(engine, HF_NEVER);
    if (err)
        broken("hf_close: %d %s", err, hf_detail());
    atomic_store(&book->finished, true);
}

static void run_abort(const char *path, uint32_t strikes)
{
    uint32_t lives = 0;
    int status;
    book->strikes = strikes;
    book->pooled = strikes % 2 == VICTIM % 37 % 2;
    while (!atomic_load(&book->finished) && !atomic_load(&book->broken) && lives++ < 20) {
        pid_t child = start(path, live_with_victim);
        if (waitpid(child, &status, 0) != child)
            core_fail("waitpid");
        if (status && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT))
            broken("the child ended with %d", status);
    }
    uint32_t missing = 0;
    for (uint32_t i = 0; i < VICTIMS; i++)
        missing += i != VICTIM && book->acked[0][i] && !atomic_load(&book->done[i]);
    printf(".strikes = %u: %u lives, %u dead, %u not done\n", strikes, lives,
           atomic_load(&book->dead), missing);
    if (missing || atomic_load(&book->dead) != 1 || !atomic_load(&book->finished))
        broken("one was to die, all others to be done");
    if (lives > strikes + 4)
        broken("it took %u lives", lives);
}

int main(int argc, char **argv)
{
    char path[300];
    bool aborts = argc > 2 && strcmp(argv[1], "abort") == 0;
    book = mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (book == MAP_FAILED)
        core_fail("no memory to share");
    const char *directory = core_directory("ring_kill", true);
    snprintf(path, sizeof path, "%s/store", directory);
    if (aborts) {
        run_abort(path, (uint32_t)atoi(argv[2]));
    } else {
        run_kills(path, argc > 1 ? (uint32_t)atoi(argv[1]) : 20);
    }
    if (atomic_load(&book->broken))
        core_fail("%s (store in %s)", book->why, path);
    core_remove(directory);
    return 0;
}
