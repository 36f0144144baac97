/* bench_memory.c - `holdfast bench memory`: what an idle resident actor costs.
 *
 * Each actor gets one message that saves a state, and then idles. What a window
 * holds is not an actor's: therefore three windows' worth of large messages to
 * one other actor go through the engine before the first reading and again
 * before the second, so that the window holds nothing of the actors and all
 * buffers have grown alike, and freed memory is handed back to the system both
 * times. The difference, divided by the actors, is the figure. The engine is
 * asked whether all of them are still in memory, and after a reopen whether
 * every state is there. Handlers run on the engine's threads. */
#include "tools/bench.h"
#include "tools/times.h"

enum { COUNTED_WITHIN_MS = 5000 };

static uint32_t state_bytes; /* set before hf_open */

static int handle(hf_turn *turn, const hf_message *msg)
{
    return bench_state_turn(turn, msg, state_bytes);
}

static int handle_flush(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

static uint64_t settled_rss(void)
{
    cli_sleep_ms(2000); /* after a second without work the engine gives memory back */
    return bench_rss_anon();
}

static int keep_residents(void *user, hf_bytes row)
{
    cli_value value;
    if (cli_field(row, "residents", &value) && value.kind == CLI_UINT)
        *(uint64_t *)user = value.number;
    return HF_OK;
}

/* How many actors the engine has in memory; UINT64_MAX if it does not say. It
 * counts them once a second, so fewer may only mean that it has not yet. */
static uint64_t residents(const bench *run)
{
    hf_store *store = NULL;
    uint64_t count = UINT64_MAX, until = cli_now_ns() + COUNTED_WITHIN_MS * UINT64_C(1000000);
    if (hf_store_open(&store, run->store, 5000) != HF_OK)
        return count;
    do {
        count = UINT64_MAX;
        if (hf_query(store, "stats", hf_view(NULL, 0), keep_residents, &count) != HF_OK)
            count = UINT64_MAX;
        if (count < run->actors)
            cli_sleep_ms(100);
    } while (count < run->actors && cli_now_ns() < until);
    hf_store_close(store);
    return count;
}

static int measure(bench *run, hf_engine *engine, uint64_t before)
{
    int err = bench_push_out(engine, "f");
    uint64_t base = settled_rss();
    if (err == HF_OK)
        err = bench_send_each(engine, "m", run->actors, run->body, NULL);
    if (err == HF_OK)
        err = bench_drain(engine);
    if (err == HF_OK)
        err = bench_push_out(engine, "f");
    if (err == CLI_INTERRUPTED || err == HF_EAGAIN)
        return CLI_INTERRUPTED;
    if (err != HF_OK)
        return bench_failed("bench memory", err);
    uint64_t raw = bench_rss_anon(), after = settled_rss();
    uint64_t in_memory = residents(run);
    double each = ((double)after - (double)base) / (double)run->actors;
    if (in_memory != UINT64_MAX && in_memory < run->actors)
        return bench_wrong("actors still in memory", in_memory, run->actors);
    if (in_memory != UINT64_MAX)
        bench_put_uint(run, "residents", in_memory);
    bench_put_uint(run, "rss_anon_bytes", raw > before ? raw - before : 0);
    bench_put_uint(run, "rss_anon_base_bytes", base > before ? base - before : 0);
    bench_put_real(run, "bytes_per_actor", each);
    bench_put_real(run, "bytes_beyond_state", each - (double)run->state);
    return CLI_OK;
}

int bench_memory(bench *run)
{
    const hf_type types[] = {
        { .name = "m", .handle = handle, .idle_ms = HF_NEVER },
        { .name = "f", .handle = handle_flush },
        { 0 },
    };
    hf_engine *engine = NULL;
    state_bytes = run->state;
    uint64_t before = settled_rss();
    int err = hf_open(&engine, run->store,
                      HF_OPTIONS(.types = types, .shards = run->shards, .log = hf_log_stderr));
    if (err != HF_OK)
        return bench_failed("hf_open", err);
    int code = measure(run, engine, before);
    err = bench_close(engine);
    if (code != CLI_OK || err != HF_OK)
        return code != CLI_OK ? code : bench_failed("hf_close", err);
    return bench_state_check(run, "m", run->actors);
}
