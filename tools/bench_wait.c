/* bench_wait.c - `holdfast bench wait`: senders that wait for the disk.
 *
 * Each thread calls hf_tell, one after another, and times each call. In five
 * rounds this takes turns with bare LMDB commits of one small record on the
 * same disk, so that both see the same weather. Afterwards the handlers must
 * have seen each message once. Threads: the senders', the engine's, and the
 * caller's, which commits to the bare LMDB while the engine idles. */
#include "tools/bench.h"
#include "tools/times.h"

#include <pthread.h>
#include <stdlib.h>

enum { ROUNDS = 5, SETTLE_MS = 50 };

typedef struct wait_sender {
    bench      *run;
    hf_engine  *engine;
    uint32_t    number;
    uint64_t    end_ns;
    uint64_t    told; /* over all rounds */
    int         err;
    pthread_t   thread;
    bench_times times;
} wait_sender;

typedef struct wait_sums {
    bench_times times, lmdb;
    double      seconds, lmdb_seconds;
    uint64_t    told, commits, written;
} wait_sums;

static int handle(hf_turn *turn, const hf_message *msg)
{
    const bench_body *body = msg->body.data;
    bench_slot *slot = bench_slot_mine();
    (void)turn;
    slot->handled++;
    slot->sum += body->number;
    return HF_OK;
}

static void *sender_thread(void *argument)
{
    wait_sender *sender = argument;
    bench_block block = { 0 };
    bench_block_init(&block, 1, sender->run->body, NULL);
    bench_block_address(&block, 0, "w", sender->number);
    bench_body *body = bench_block_body(&block, 0);
    body->sender = body->actor = sender->number;
    uint64_t now = cli_now_ns();
    while (now < sender->end_ns && !cli_interrupted()) {
        body->number = sender->told + 1;
        sender->err = hf_tell(sender->engine, block.letters->to, NULL, block.letters->body);
        uint64_t then = cli_now_ns();
        if (sender->err != HF_OK)
            break;
        bench_times_add(&sender->times, then - now);
        sender->told++;
        now = then;
    }
    bench_block_free(&block);
    return NULL;
}

static int one_round(bench *run, wait_sender *senders, wait_sums *sums)
{
    uint64_t start = cli_now_ns();
    uint32_t started = 0;
    int err = HF_OK;
    for (; started < run->threads; started++) {
        senders[started].end_ns = start + run->ms * 1000000 / ROUNDS;
        if (pthread_create(&senders[started].thread, NULL, sender_thread, &senders[started]) != 0)
            break;
    }
    if (started < run->threads)
        err = HF_ENOMEM;
    for (uint32_t i = 0; i < started; i++) {
        (void)pthread_join(senders[i].thread, NULL);
        if (err == HF_OK)
            err = senders[i].err;
    }
    sums->seconds += (double)(cli_now_ns() - start) / 1e9;
    return err;
}

static int bare_round(bench *run, bench_lmdb *lmdb, wait_sums *sums)
{
    uint64_t start;
    cli_sleep_ms(SETTLE_MS); /* acknowledgements still ride */
    start = cli_now_ns();
    int code = bench_lmdb_run(lmdb, run->body, run->ms / ROUNDS / 2 + 1, &sums->lmdb);
    sums->lmdb_seconds += (double)(cli_now_ns() - start) / 1e9;
    return code;
}

static int rounds(bench *run, hf_engine *engine, wait_sender *senders, wait_sums *sums,
                  bench_lmdb *lmdb)
{
    for (uint32_t i = 0; i < run->threads; i++) {
        senders[i].run = run;
        senders[i].engine = engine;
        senders[i].number = i;
    }
    for (int round = 0; round < ROUNDS; round++) {
        hf_stats before = HF_STATS, after = HF_STATS;
        int code = bare_round(run, lmdb, sums);
        if (code != CLI_OK)
            return code;
        uint64_t written = bench_written();
        int err = hf_stat(engine, &before);
        if (err == HF_OK)
            err = one_round(run, senders, sums);
        if (err == HF_OK)
            err = hf_stat(engine, &after);
        if (err != HF_OK)
            return bench_failed("hf_tell", err);
        sums->commits += after.commits - before.commits;
        sums->written += bench_written() - written;
        if (cli_interrupted())
            return CLI_INTERRUPTED;
    }
    for (uint32_t i = 0; i < run->threads; i++) {
        sums->told += senders[i].told;
        bench_times_merge(&sums->times, &senders[i].times);
    }
    return CLI_OK;
}

static void put_figures(bench *run, const wait_sums *sums)
{
    double rate = (double)sums->told / sums->seconds;
    double bare_rate = (double)sums->lmdb.count / sums->lmdb_seconds;
    double p50 = bench_times_us(&sums->times, 0.5), bare_p50 = bench_times_us(&sums->lmdb, 0.5);
    bench_put_real(run, "turns_per_s", rate);
    bench_put_real(run, "p50_us", p50);
    bench_put_real(run, "p99_us", bench_times_us(&sums->times, 0.99));
    bench_put_real(run, "commits_per_s", (double)sums->commits / sums->seconds);
    bench_put_real(run, "bytes_per_turn",
                   sums->told == 0 ? 0 : (double)sums->written / (double)sums->told);
    bench_put_real(run, "lmdb_commit_p50_us", bare_p50);
    bench_put_real(run, "lmdb_commits_per_s", bare_rate);
    bench_put_real(run, "p50_ratio", bare_p50 > 0 ? p50 / bare_p50 : 0);
    bench_put_real(run, "rate_ratio", bare_rate > 0 ? rate / bare_rate : 0);
    bench_put_real(run, "seconds", sums->seconds);
}

/* Every number of every sender once: the sum of 1 .. told, over all of them. */
static int check(bench *run, const wait_sender *senders)
{
    bench_slot slots = bench_slots_sum();
    uint64_t told = 0, sum = 0;
    for (uint32_t i = 0; i < run->threads; i++) {
        told += senders[i].told;
        sum += senders[i].told * (senders[i].told + 1) / 2;
    }
    if (slots.handled != told)
        return bench_wrong("messages handled", slots.handled, told);
    if (slots.sum != sum)
        return bench_wrong("sum of their numbers", slots.sum, sum);
    return CLI_OK;
}

static int run_rounds(bench *run, wait_sender *senders, wait_sums *sums, bench_lmdb *lmdb)
{
    const hf_type types[] = { { .name = "w", .handle = handle }, { 0 } };
    const hf_options *options =
        HF_OPTIONS(.types = types, .shards = run->shards, .log = hf_log_stderr);
    hf_engine *engine = NULL;
    int err = hf_open(&engine, run->store, options);
    if (err != HF_OK)
        return bench_failed("hf_open", err);
    int code = rounds(run, engine, senders, sums, lmdb);
    err = bench_close(engine);
    if (code != CLI_OK || err != HF_OK)
        return code != CLI_OK ? code : bench_failed("hf_close", err);
    /* Messages told just before the close may be handled only now. */
    engine = NULL;
    err = hf_open(&engine, run->store, options);
    if (err == HF_OK)
        err = bench_drain(engine);
    int closed = bench_close(engine);
    if (err == CLI_INTERRUPTED)
        return CLI_INTERRUPTED;
    err = err != HF_OK ? err : closed;
    return err == HF_OK ? check(run, senders) : bench_failed("reopening", err);
}

int bench_wait(bench *run)
{
    wait_sender *senders = cli_alloc(run->threads * sizeof *senders);
    wait_sums *sums = cli_alloc(sizeof *sums);
    bench_lmdb *lmdb = NULL;
    bench_watch watch;
    uint64_t before = bench_rss_anon();
    int code = bench_lmdb_open(&lmdb, run->probe);
    if (code == CLI_OK)
        code = bench_watch_start(&watch);
    if (code == CLI_OK) {
        code = run_rounds(run, senders, sums, lmdb);
        uint64_t most = bench_watch_stop(&watch);
        put_figures(run, sums);
        bench_put_uint(run, "rss_anon_bytes", most > before ? most - before : 0);
        bench_put_uint(run, "checked", sums->told);
    }
    bench_lmdb_close(lmdb);
    free(senders);
    free(sums);
    return code;
}
