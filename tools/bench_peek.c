/* bench_peek.c - `holdfast bench peek`: how many states one thread can look at.
 *
 * Each actor gets a message that saves a state, and the engine is closed. A second
 * engine has no actor in memory: one thread peeks at actors chosen at random, whose
 * states are in the log of the first. Then other messages push them into the table, and
 * a third engine is asked; and once more after every actor was woken by a message. Each
 * answer must come once and be that actor's, and peeking must write nothing. At last
 * as many rows as large are read at random from a bare LMDB.
 *
 * Threads: the caller's asks, the engine's answers on its callback thread. */
#include "tools/bench.h"
#include "tools/times.h"

#include <sched.h>
#include <stdlib.h>

enum { LATE_MS = 60000, MANY = 256 };

typedef struct peeks {
    bench           *run;
    hf_engine       *engine;
    uint64_t         asked;
    _Atomic uint64_t answered;
    uint64_t         wrong; /* the callback thread's, until all are answered */
} peeks;

static uint32_t state_bytes; /* set before hf_open */
static peeks *asking;        /* answers belong to it; `user` is the actor */

static int handle(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "wake") == 0)
        return HF_OK;
    return bench_state_turn(turn, msg, state_bytes);
}

static int handle_flush(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

/* The state says: saved once, by the message with the actor's number plus one. */
static void take(void *user, int err, hf_bytes state)
{
    uint64_t words[2] = { 0, 0 };
    if (err == HF_OK && state.len == state_bytes)
        memcpy(words, state.data, sizeof words);
    asking->wrong += words[0] != 1 || words[1] != (uintptr_t)user + 1;
    atomic_store_explicit(&asking->answered,
                          atomic_load_explicit(&asking->answered, memory_order_relaxed) + 1,
                          memory_order_release);
}

/* ---- The engine */

static int open_engine(peeks *p)
{
    const hf_type types[] = {
        { .name = "k", .handle = handle, .idle_ms = HF_NEVER },
        { .name = "f", .handle = handle_flush },
        { 0 },
    };
    return hf_open(&p->engine, p->run->store,
                   HF_OPTIONS(.types = types, .shards = p->run->shards, .log = hf_log_stderr));
}

static int reopen(peeks *p)
{
    int err = bench_close(p->engine);
    p->engine = NULL;
    return err == HF_OK ? open_engine(p) : err;
}

/* ---- Peeking */

static int settle(const peeks *p)
{
    uint64_t until = cli_now_ns() + LATE_MS * UINT64_C(1000000);
    while (atomic_load_explicit(&p->answered, memory_order_acquire) < p->asked) {
        if (cli_interrupted())
            return CLI_INTERRUPTED;
        if (cli_now_ns() > until)
            return HF_ETIMEDOUT;
        cli_sleep_ms(1);
    }
    return HF_OK;
}

/* Peek until `ms` have passed; *rate: answers a second, until the last one came. */
static int peek_for(peeks *p, uint64_t ms, double *rate)
{
    uint64_t seed = UINT64_C(0x9e3779b97f4a7c15), start = cli_now_ns(), before = p->asked;
    bench_block block = { 0 };
    int err = HF_OK;
    bench_block_init(&block, 1, BENCH_STATE_LEAST, NULL);
    while (err == HF_OK && cli_now_ns() < start + ms * 1000000) {
        for (int i = 0; i < MANY && err == HF_OK; i++) {
            uint32_t actor = bench_below(&seed, p->run->actors);
            bench_block_address(&block, 0, "k", actor);
            while ((err = hf_peek(p->engine, block.addresses, take, (void *)(uintptr_t)actor))
                   == HF_EAGAIN)
                (void)sched_yield();
            p->asked += err == HF_OK;
        }
        if (cli_interrupted())
            err = CLI_INTERRUPTED;
    }
    bench_block_free(&block);
    int late = settle(p);
    *rate = (double)(p->asked - before) / ((double)(cli_now_ns() - start) / 1e9);
    return err != HF_OK ? err : late;
}

/* The same, and nothing may be committed meanwhile. */
static int peek_only(peeks *p, double *rate)
{
    hf_stats before = HF_STATS, after = HF_STATS;
    int err = hf_stat(p->engine, &before);
    if (err == HF_OK)
        err = peek_for(p, p->run->ms / 4 + 1, rate);
    if (err == HF_OK)
        err = hf_stat(p->engine, &after);
    if (err == HF_OK && after.committed != before.committed) {
        (void)bench_wrong("turns while peeking", after.committed - before.committed, 0);
        p->wrong++;
    }
    return err;
}

static int measure(peeks *p, double rates[3])
{
    int err = open_engine(p);
    if (err == HF_OK)
        err = bench_send_each(p->engine, "k", p->run->actors, p->run->body, NULL);
    if (err == HF_OK)
        err = bench_drain(p->engine);
    if (err == HF_OK)
        err = reopen(p);
    if (err == HF_OK)
        err = peek_only(p, &rates[0]);
    if (err == HF_OK)
        err = bench_push_out(p->engine, "f");
    if (err == HF_OK)
        err = reopen(p);
    if (err == HF_OK)
        err = peek_only(p, &rates[1]);
    if (err == HF_OK)
        err = bench_send_each(p->engine, "k", p->run->actors, BENCH_STATE_LEAST, "wake");
    if (err == HF_OK)
        err = bench_drain(p->engine);
    return err == HF_OK ? peek_only(p, &rates[2]) : err;
}

static int run_peeks(peeks *p)
{
    double rates[3] = { 0, 0, 0 };
    int err = measure(p, rates), closed = bench_close(p->engine);
    if (err == CLI_INTERRUPTED || err == HF_EAGAIN)
        return CLI_INTERRUPTED;
    if (err != HF_OK || closed != HF_OK)
        return bench_failed("peeking", err != HF_OK ? err : closed);
    bench_put_real(p->run, "peeks_per_s", rates[2]);
    bench_put_real(p->run, "table_peeks_per_s", rates[1]);
    bench_put_real(p->run, "log_peeks_per_s", rates[0]);
    bench_put_uint(p->run, "peeks", p->asked);
    return p->wrong == 0 ? CLI_OK : bench_wrong("answers that are not the actor's", p->wrong, 0);
}

/* The bare LMDB: the same count of rows, of the same size. */
static int floor_of(bench *run)
{
    bench_lmdb *lmdb = NULL;
    double gets = 0;
    int code = bench_lmdb_open(&lmdb, run->probe);
    if (code == CLI_OK)
        code = bench_lmdb_look(lmdb, run->actors, run->state, run->ms / 4 + 1, &gets);
    bench_lmdb_close(lmdb);
    if (code == CLI_OK)
        bench_put_real(run, "lmdb_gets_per_s", gets);
    return code;
}

int bench_peek(bench *run)
{
    peeks p = { .run = run };
    state_bytes = run->state;
    asking = &p;
    int code = run_peeks(&p);
    if (code == CLI_OK)
        code = floor_of(run);
    return code == CLI_OK ? bench_state_check(run, "k", run->actors) : code;
}
