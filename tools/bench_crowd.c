/* bench_crowd.c - `holdfast bench crowd`: does one actor's backlog slow others?
 *
 * Happy path: find the peak of `--actors` actors, then send to them at a fifth
 * of it, by the clock, and take the latency of probes (bench_probe.c): once
 * alone, and once more after `--pending` messages were sent to a single actor
 * whose type has one thread and whose handler sleeps 10 ms. With `--flood type` they
 * go to as many actors of that type, and the others are of ten types. Handlers check
 * that numbers come in order and without a gap. Afterwards the store must hold what
 * the crowd's actor did not handle, and nothing of the others.
 *
 * Threads: one sends, the caller's probes, the engine's handle. */
#include "tools/bench.h"
#include "tools/times.h"

#include <pthread.h>
#include <stdlib.h>

enum { OTHERS = 10 }; /* with --flood type: so many other types */
enum { SLEEP_MS = 10, TICK_MS = 1, PEAK_MS_MOST = 2000, SHARE = 5, LATE_MS = 60000 };

typedef struct crowd {
    bench      *run;
    hf_engine  *engine;
    atomic_bool stop;
    atomic_int  err;
    uint64_t    rate;     /* letters a second; 0: as many as go */
    uint64_t    accepted; /* by the others, all in all */
    uint32_t   *sent;     /* last number, by actor; the sender's */
    uint32_t   *seen;     /* and the handlers' */
    _Atomic uint64_t handled_by_crowd;
    atomic_bool out_of_order;
} crowd;

/* ---- Handlers */

static int handle_other(hf_turn *turn, const hf_message *msg)
{
    const crowd *c = msg->user;
    const bench_body *body = msg->body.data;
    bench_slot *slot = bench_slot_mine();
    (void)turn;
    slot->wrong += body->number != ++c->seen[body->actor];
    slot->handled++;
    return HF_OK;
}

static int handle_crowd(hf_turn *turn, const hf_message *msg)
{
    crowd *c = msg->user;
    const bench_body *body = msg->body.data;
    (void)turn;
    cli_sleep_ms(SLEEP_MS);
    if (body->number != atomic_fetch_add(&c->handled_by_crowd, 1) + 1 && !c->run->flood_type)
        atomic_store(&c->out_of_order, true);
    return HF_OK;
}

/* ---- The others' sender */

static const char *const others[OTHERS] = { "o0", "o1", "o2", "o3", "o4",
                                            "o5", "o6", "o7", "o8", "o9" };

static size_t prepare(crowd *c, bench_block *block, size_t count, uint32_t *next)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t actor = *next;
        bench_block_address(block, i, c->run->flood_type ? others[actor % OTHERS] : "o", actor);
        *bench_block_body(block, i) = (bench_body){ .actor = actor, .number = ++c->sent[actor] };
        *next = actor + 1 == c->run->actors ? 0 : actor + 1;
    }
    return count;
}

static void *sender_thread(void *argument)
{
    crowd *c = argument;
    bench_block block = { 0 };
    uint32_t next = 0;
    uint64_t start = cli_now_ns(), sent = 0;
    bench_block_init(&block, BENCH_BLOCK, c->run->body, NULL);
    while (!atomic_load(&c->stop)) {
        uint64_t due = UINT64_MAX;
        if (c->rate != 0)
            due = (uint64_t)((double)(cli_now_ns() - start) / 1e9 * (double)c->rate);
        if (due <= sent) {
            cli_sleep_ms(TICK_MS);
            continue;
        }
        size_t count = due - sent < BENCH_BLOCK ? (size_t)(due - sent) : BENCH_BLOCK;
        int err = bench_post(c->engine, block.letters, prepare(c, &block, count, &next), &c->stop);
        int none = HF_OK;
        if (err == HF_OK)
            sent += count;
        else if (err != HF_EAGAIN)
            (void)atomic_compare_exchange_strong(&c->err, &none, err);
        if (err != HF_OK) /* what was not taken will not be missed */
            for (size_t i = 0; i < count; i++)
                c->sent[bench_block_body(&block, i)->actor]--;
    }
    c->accepted += sent;
    bench_block_free(&block);
    return NULL;
}

/* All that was sent to the others has been handled. */
static int settle(crowd *c)
{
    uint64_t until = cli_now_ns() + LATE_MS * UINT64_C(1000000);
    while (bench_slots_sum().handled < c->accepted) {
        if (cli_interrupted())
            return CLI_INTERRUPTED;
        if (cli_now_ns() > until)
            return HF_ETIMEDOUT;
        cli_sleep_ms(5);
    }
    return HF_OK;
}

/* Send for `ms` at c->rate, with probes; *turns: how many were sent a second. */
static int send_for(crowd *c, uint64_t ms, double *turns)
{
    pthread_t sender;
    bench_probes probes = { .engine = c->engine, .stop = &c->stop, .err = &c->err };
    uint64_t start = cli_now_ns(), before = c->accepted;
    atomic_store(&c->stop, false);
    if (pthread_create(&sender, NULL, sender_thread, c) != 0)
        return HF_ENOMEM;
    bool fine = bench_probes_until(&probes, start + ms / SHARE * 1000000); /* warm-up */
    bench_probes_count(probes.due_ns, start + ms * 1000000);
    fine = fine && bench_probes_until(&probes, start + ms * 1000000);
    atomic_store(&c->stop, true);
    (void)pthread_join(sender, NULL);
    int err = atomic_load(&c->err);
    if (err == HF_OK && !fine)
        return CLI_INTERRUPTED;
    if (err == HF_OK)
        err = settle(c);
    *turns = (double)(c->accepted - before) / ((double)(cli_now_ns() - start) / 1e9);
    cli_sleep_ms(50); /* the last echoes */
    return err;
}

/* ---- The crowd */

static int send_crowd(crowd *c)
{
    const bench *run = c->run;
    bench_block block = { 0 };
    int err = HF_OK;
    bench_block_init(&block, BENCH_BLOCK, run->body, NULL);
    for (size_t i = 0; i < BENCH_BLOCK; i++)
        bench_block_address(&block, i, "c", 0);
    for (uint64_t at = 0; err == HF_OK && at < run->pending;) {
        size_t count = run->pending - at < BENCH_BLOCK ? (size_t)(run->pending - at) : BENCH_BLOCK;
        for (size_t i = 0; i < count; i++) {
            *bench_block_body(&block, i) = (bench_body){ .number = at + i + 1 };
            if (run->flood_type)
                bench_block_address(&block, i, "c", (uint32_t)((at + i) % run->actors));
        }
        err = bench_post(c->engine, block.letters, count, NULL);
        at += count;
    }
    bench_block_free(&block);
    return err == HF_OK ? hf_sync(c->engine, HF_NEVER) : err;
}

static int measure(crowd *c)
{
    bench *run = c->run;
    double peak = 0, turns;
    uint64_t ms = run->ms / 2 < PEAK_MS_MOST ? run->ms / 2 : PEAK_MS_MOST;
    int err = send_for(c, ms, &peak);
    if (err != HF_OK)
        return err;
    c->rate = (uint64_t)(peak / SHARE) + 1;
    err = send_for(c, run->ms, &turns);
    bench_probe_figures base = bench_probes_take();
    uint64_t start = cli_now_ns();
    if (err == HF_OK)
        err = send_crowd(c);
    double filled = (double)(cli_now_ns() - start) / 1e9;
    if (err == HF_OK)
        err = send_for(c, run->ms, &turns);
    bench_probe_figures beside = bench_probes_take();
    if (err != HF_OK)
        return err == HF_EAGAIN ? CLI_INTERRUPTED : err;
    bench_put_real(run, "peak_turns_per_s", peak);
    bench_put_real(run, "turns_per_s", turns);
    bench_put_real(run, "base_p50_us", base.p50_us);
    bench_put_real(run, "base_p99_us", base.p99_us);
    bench_put_real(run, "p50_us", beside.p50_us);
    bench_put_real(run, "p99_us", beside.p99_us);
    bench_put_uint(run, "samples", beside.samples);
    bench_put_real(run, "p99_ratio", base.p99_us > 0 ? beside.p99_us / base.p99_us : 0);
    bench_put_real(run, "fill_s", filled);
    return HF_OK;
}

/* ---- Checks */

typedef struct backlog {
    uint64_t crowd, others;
} backlog;

static int count_waiting(void *user, hf_bytes row)
{
    backlog *b = user;
    hf_bytes type = cli_field_text(row, "type");
    uint64_t waiting = cli_field_uint(row, "waiting") + cli_field_uint(row, "retrying")
                       + cli_field_uint(row, "delayed") + cli_field_uint(row, "dead");
    if (type.len == 1 && *(const char *)type.data == 'c')
        b->crowd += waiting;
    else
        b->others += waiting;
    return HF_OK;
}

static int check(const crowd *c)
{
    const bench *run = c->run;
    hf_store *store = NULL;
    backlog found = { 0 };
    bench_slot slots = bench_slots_sum();
    uint64_t handled = atomic_load(&c->handled_by_crowd);
    if (slots.handled != c->accepted)
        return bench_wrong("messages the others handled", slots.handled, c->accepted);
    if (slots.wrong != 0 || atomic_load(&c->out_of_order))
        return bench_wrong("messages out of order", slots.wrong + 1, 0);
    int err = hf_store_open(&store, run->store, 5000);
    if (err == HF_OK)
        err = hf_query(store, "ls", hf_view(NULL, 0), count_waiting, &found);
    hf_store_close(store);
    if (err != HF_OK)
        return bench_failed("looking into the store", err);
    if (found.crowd != run->pending - handled)
        return bench_wrong("messages that still wait", found.crowd, run->pending - handled);
    if (found.others != 0)
        return bench_wrong("messages of the others that wait", found.others, 0);
    return CLI_OK;
}

static int run_crowd(crowd *c)
{
    bench *run = c->run;
    hf_type types[OTHERS + 5] = {
        { .name = "o", .handle = handle_other, .strikes = HF_NEVER, .user = c },
        { .name = "c", .handle = handle_crowd, .threads = 1, .strikes = HF_NEVER, .user = c },
        { .name = "probe", .handle = bench_probe_turn, .strikes = HF_NEVER },
        { .name = "echo", .handle = bench_echo_turn, .strikes = HF_NEVER },
    };
    for (uint32_t i = 0; i < OTHERS; i++) {
        types[4 + i] = types[0];
        types[4 + i].name = others[i];
    }
    bench_watch watch;
    uint64_t before = bench_rss_anon();
    int code = bench_watch_start(&watch);
    if (code != CLI_OK)
        return code;
    int err = hf_open(&c->engine, run->store,
                      HF_OPTIONS(.types = types, .shards = run->shards, .log = hf_log_stderr));
    if (err == HF_OK)
        err = measure(c);
    int closed = bench_close(c->engine);
    uint64_t most = bench_watch_stop(&watch);
    bench_put_uint(run, "crowd_turns", atomic_load(&c->handled_by_crowd));
    bench_put_uint(run, "rss_anon_bytes", most > before ? most - before : 0);
    if (err == CLI_INTERRUPTED)
        return CLI_INTERRUPTED;
    err = err != HF_OK ? err : closed;
    return err == HF_OK ? check(c) : bench_failed(run->name, err);
}

int bench_crowd(bench *run)
{
    crowd c = { .run = run, .sent = cli_alloc(run->actors * sizeof *c.sent),
                .seen = cli_alloc(run->actors * sizeof *c.seen) };
    int code = run_crowd(&c);
    if (code == CLI_OK)
        bench_put_uint(run, "checked", c.accepted + run->pending);
    free(c.sent);
    free(c.seen);
    return code;
}
