/* bench_load.c - senders at full speed, with probes for the latency.
 *
 * Happy path: open the engine, give each actor a first message if asked, let
 * senders post blocks of 1,000 letters that were prepared beforehand, warm up,
 * read hf_stat at both ends of the measured time, stop, drain, close. A turn
 * counts when hf_stats.committed does: its acknowledgement is on disk.
 *
 * Latency comes from probes (bench_probe.c). Probes and echoes are turns too.
 *
 * Threads: one for each sender, the engine's, and the caller's, which probes. */
#include "tools/bench.h"
#include "tools/times.h"

#include <pthread.h>
#include <stdlib.h>

enum { BLOCKS = 4, WARM_UP_MS_MOST = 1000 };

typedef struct load_sender {
    bench_load *load;
    uint32_t    number;
    uint64_t    seed;
    pthread_t   thread;
    bench_block blocks[BLOCKS];
    uint32_t   *actors; /* of each letter of each block */
    uint32_t   *last;   /* by actor: the last number sent to it */
} load_sender;

/* ---- Senders */

static void pick_actors(load_sender *sender, size_t block)
{
    const bench_load *load = sender->load;
    uint32_t *actors = sender->actors + block * BENCH_BLOCK;
    for (size_t i = 0; i < BENCH_BLOCK; i++) {
        actors[i] = bench_below(&sender->seed, load->run->actors);
        bench_block_address(&sender->blocks[block], i, load->type, actors[i]);
        bench_block_body(&sender->blocks[block], i)->actor = actors[i];
    }
}

/* Ordered loads number what each actor gets; others go to new actors at random
 * each time, so that no part of a million actors is favoured. */
static void refresh(load_sender *sender, size_t block)
{
    if (!sender->load->ordered) {
        pick_actors(sender, block);
        return;
    }
    const uint32_t *actors = sender->actors + block * BENCH_BLOCK;
    for (size_t i = 0; i < BENCH_BLOCK; i++)
        bench_block_body(&sender->blocks[block], i)->number = ++sender->last[actors[i]];
}

static void *sender_thread(void *argument)
{
    load_sender *sender = argument;
    bench_load *load = sender->load;
    for (size_t block = 0; !atomic_load(&load->stop); block = (block + 1) % BLOCKS) {
        refresh(sender, block);
        int err = bench_post(load->engine, sender->blocks[block].letters, BENCH_BLOCK,
                             &load->stop);
        int none = HF_OK;
        if (err == HF_OK)
            (void)atomic_fetch_add(&load->accepted, BENCH_BLOCK);
        else if (err != HF_EAGAIN)
            (void)atomic_compare_exchange_strong(&load->err, &none, err);
        if (err != HF_OK)
            break;
    }
    return NULL;
}

static load_sender *prepare_senders(bench_load *load)
{
    const bench *run = load->run;
    load_sender *senders = cli_alloc(run->threads * sizeof *senders);
    for (uint32_t i = 0; i < run->threads; i++) {
        load_sender *sender = &senders[i];
        sender->load = load;
        sender->number = i;
        sender->seed = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
        sender->actors = cli_alloc((size_t)BLOCKS * BENCH_BLOCK * sizeof *sender->actors);
        if (load->ordered)
            sender->last = cli_alloc(run->actors * sizeof *sender->last);
        for (size_t block = 0; block < BLOCKS; block++) {
            bench_block_init(&sender->blocks[block], BENCH_BLOCK, run->body, NULL);
            pick_actors(sender, block);
            for (size_t j = 0; j < BENCH_BLOCK; j++)
                bench_block_body(&sender->blocks[block], j)->sender = i;
        }
    }
    return senders;
}

static void free_senders(load_sender *senders, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (size_t block = 0; block < BLOCKS; block++)
            bench_block_free(&senders[i].blocks[block]);
        free(senders[i].actors);
        free(senders[i].last);
    }
    free(senders);
}

/* ---- Measuring */

typedef struct load_point {
    uint64_t ns, written;
    hf_stats stats;
} load_point;

static int take_point(bench_load *load, load_point *point)
{
    point->stats = (hf_stats)HF_STATS;
    int err = hf_stat(load->engine, &point->stats);
    point->ns = cli_now_ns();
    point->written = bench_written();
    return err;
}

static void put_figures(bench_load *load, const load_point *from, const load_point *to)
{
    bench *run = load->run;
    double seconds = (double)(to->ns - from->ns) / 1e9;
    uint64_t turns = to->stats.committed - from->stats.committed;
    uint64_t written = to->written - from->written;
    bench_probe_figures latency = bench_probes_take();
    if (from->written == 0 || written == 0)
        written = to->stats.bytes - from->stats.bytes;
    bench_put_real(run, "turns_per_s", (double)turns / seconds);
    bench_put_real(run, "p50_us", latency.p50_us);
    bench_put_real(run, "p99_us", latency.p99_us);
    bench_put_uint(run, "samples", latency.samples);
    bench_put_real(run, "commits_per_s",
                   (double)(to->stats.commits - from->stats.commits) / seconds);
    bench_put_uint(run, "commit_p50_us", to->stats.commit_p50_us);
    bench_put_uint(run, "commit_p99_us", to->stats.commit_p99_us);
    bench_put_real(run, "bytes_per_turn", turns == 0 ? 0 : (double)written / (double)turns);
    bench_put_real(run, "seconds", seconds);
}

/* Senders run already: warm up, measure, stop them. */
static int measure(bench_load *load)
{
    bench *run = load->run;
    load_point from, to;
    uint64_t start = cli_now_ns();
    bench_probes probes = { .engine = load->engine, .stop = &load->stop, .err = &load->err };
    uint64_t warm_ms = run->ms / 5 < WARM_UP_MS_MOST ? run->ms / 5 : WARM_UP_MS_MOST;
    if (!bench_probes_until(&probes, start + warm_ms * 1000000))
        return HF_OK;
    int err = take_point(load, &from);
    if (err != HF_OK)
        return err;
    bench_probes_count(probes.due_ns, from.ns + run->ms * 1000000);
    if (!bench_probes_until(&probes, from.ns + run->ms * 1000000))
        return HF_OK;
    err = take_point(load, &to);
    if (err != HF_OK)
        return err;
    atomic_store(&load->stop, true);
    /* The last probes of the measured time come home while it drains. */
    err = bench_drain(load->engine);
    if (err == HF_OK)
        put_figures(load, &from, &to);
    return err;
}

static int run_senders(bench_load *load, load_sender *senders)
{
    uint32_t started = 0;
    while (started < load->run->threads
           && pthread_create(&senders[started].thread, NULL, sender_thread, &senders[started]) == 0)
        started++;
    int err = started == load->run->threads ? measure(load) : HF_ENOMEM;
    atomic_store(&load->stop, true);
    for (uint32_t i = 0; i < started; i++)
        (void)pthread_join(senders[i].thread, NULL);
    if (err == HF_OK)
        err = atomic_load(&load->err);
    if (err == HF_OK)
        err = cli_interrupted() ? CLI_INTERRUPTED : bench_drain(load->engine);
    return err;
}

static int fill(bench_load *load)
{
    const bench *run = load->run;
    if (!load->fill)
        return HF_OK;
    int err = bench_send_each(load->engine, load->type, run->actors, run->body, NULL);
    if (err == HF_OK)
        err = bench_drain(load->engine);
    if (err == HF_OK)
        (void)atomic_fetch_add(&load->accepted, run->actors);
    return err;
}

static int open_engine(bench_load *load)
{
    const uint32_t history_ms = load->run->history == 0 ? HF_NOW : 0;
    const hf_type types[] = {
        { .name = load->type, .handle = load->handle, .idle_ms = HF_NEVER,
          .strikes = HF_NEVER, .history_ms = history_ms, .user = load },
        { .name = "probe", .handle = bench_probe_turn, .strikes = HF_NEVER,
          .history_ms = history_ms },
        { .name = "echo", .handle = bench_echo_turn, .strikes = HF_NEVER,
          .history_ms = history_ms },
        { 0 },
    };
    return hf_open(&load->engine, load->run->store,
                   HF_OPTIONS(.types = types, .shards = load->run->shards,
                              .history = load->run->history, .log = hf_log_stderr));
}

int bench_load_run(bench_load *load)
{
    bench *run = load->run;
    load_sender *senders = prepare_senders(load);
    bench_watch watch;
    load->actors = run->actors;
    uint64_t before = bench_rss_anon();
    int code = bench_watch_start(&watch);
    if (code != CLI_OK)
        return code;
    int err = open_engine(load);
    if (err == HF_OK)
        err = fill(load);
    if (err == HF_OK)
        err = run_senders(load, senders);
    if (load->engine != NULL) {
        int closed = bench_close(load->engine);
        err = err == HF_OK ? closed : err;
    }
    uint64_t most = bench_watch_stop(&watch);
    bench_put_uint(run, "rss_anon_bytes", most > before ? most - before : 0);
    load->handled = bench_slots_sum().handled;
    free_senders(senders, run->threads);
    if (err == CLI_INTERRUPTED)
        return CLI_INTERRUPTED;
    return err == HF_OK ? CLI_OK : bench_failed(run->name, err);
}
