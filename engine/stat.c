/* stat.c - hf_stat: the engine's counters. Any thread; never waits. */
#include "engine/alarms.h"
#include "engine/ask.h"
#include "engine/flush.h"

#include "storage/error.h"

int hf_stat(hf_engine *engine, hf_stats *out)
{
    hf_error_clear();
    if (!engine || !out || out->size < offsetof(hf_stats, accepted))
        return hf_error(HF_EINVAL, "hf_stat needs a hf_stats made with HF_STATS");
    int err = hf_disk_forked(engine->disk);
    if (!err) /* at hf_close the half of it is gone by then */
        err = hf_engine_hooked();
    if (err)
        return err;
    hf_counters *c = &engine->count;
    uint64_t dirty, flushed, failed;
    hf_flushes_count(engine, &dirty, &flushed, &failed);
    hf_stats stats = {
        .size = out->size,
        .accepted = atomic_load(&c->accepted),
        .committed = atomic_load(&c->committed),
        .failed = atomic_load(&c->failed),
        .retried = atomic_load(&c->retried),
        .dead = atomic_load(&c->dead),
        .commits = atomic_load(&c->commits),
        .bytes = atomic_load(&c->bytes),
        .waiting = atomic_load(&c->waiting),
        .running = atomic_load(&c->running),
        .alarms = hf_alarms_tally(engine),
        .commit_p50_us = hf_histogram_at(&engine->journal.latency, 500),
        .commit_p99_us = hf_histogram_at(&engine->journal.latency, 990),
        .asks = hf_asks_count(engine),
        .dirty = dirty,
        .flushed = flushed,
        .flush_failed = failed,
        .clock_jumps = atomic_load(&c->clock_jumps),
    };
    memcpy(out, &stats, out->size < sizeof stats ? out->size : sizeof stats);
    return HF_OK;
}
