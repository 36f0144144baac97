/* timebase.c - engine time, and what letters say about time.
 *
 * Happy path: at the open the wall clock and the monotonic one are read together; from
 * then on engine time is a sum. Each record tells how far the wall clock was from it when
 * it was written, so that the next open goes on from there, whoever set the clock before. Delays
 * become absolute when they are staged, rounded up, so that nothing is early. Fails only for a
 * letter with two times. Any thread, but for the watch, which belongs to the first shard. */
#include "engine/timebase.h"

#include "storage/clock.h"
#include "storage/due.h"
#include "storage/error.h"

enum { JUMP_MS = 500 }; /* more than any clock drifts in the time between two looks */

void hf_timebase_open(hf_engine *engine)
{
    const hf_window *w = hf_log_window(engine->log);
    const hf_record *last = w->count ? hf_window_at(w, w->count - 1) : NULL;
    uint64_t seen = last ? last->time_ms : 0;
    engine->time_mono = hf_clock_mono_ns(); /* never ahead of the wall clock */
    uint64_t wall = hf_clock_wall_ms();
    if (seen > wall) {
        hf_engine_log(engine, HF_WARN, "%s: the wall clock stands %llu s before the newest record; "
                      "delays go on from that", hf_disk_path(engine->disk),
                      (unsigned long long)((seen - wall) / 1000));
        atomic_fetch_add(&engine->count.clock_jumps, 1);
        wall = seen;
    }
    engine->time_base = last ? wall + (uint64_t)last->skew_ms : wall;
    hf_log_keep_time(engine->log, engine->time_base, engine->time_mono);
    engine->wall_ahead = hf_clock_wall_ms() - engine->time_base;
}

uint64_t hf_timebase_now(const hf_engine *engine)
{
    return engine->time_base + (hf_clock_mono_ns() - engine->time_mono) / 1000000;
}

uint64_t hf_timebase_told(const hf_engine *engine, uint64_t time)
{
    int64_t by = (int64_t)(hf_clock_wall_ms() - hf_timebase_now(engine));
    if (!time)
        return 0;
    by = (by >= 0 ? by + 500 : by - 500) / 1000 * 1000;
    return by < 0 && time <= (uint64_t)-by ? 1 : time + (uint64_t)by;
}

bool hf_timebase_after(const hf_engine *engine, uint64_t delay_ms, hf_entry *e)
{
    uint64_t ns = hf_clock_mono_ns() - engine->time_mono, now = engine->time_base + ns / 1000000;
    e->reason = 0;
    /* A part of this millisecond may be over. */
    e->due = delay_ms && ns % 1000000 ? now + 1 : now;
    e->due = delay_ms > HF_DUE_MAX - e->due ? HF_DUE_MAX : e->due + delay_ms;
    return !delay_ms;
}

bool hf_timebase_at(uint64_t at, hf_entry *e)
{
    e->reason = HF_DUE_WALL;
    e->due = at > HF_DUE_MAX ? HF_DUE_MAX : at;
    return at <= hf_clock_wall_ms();
}

int hf_timebase_letter(const hf_engine *engine, const hf_letter *letter, hf_entry *e)
{
    bool now = true;
    if (letter->delay_ms && letter->at)
        return hf_error(HF_EINVAL, "a letter with .delay_ms and .at");
    if (letter->expires_ms) {
        hf_entry end = { .op = HF_OP_SEND };
        (void)hf_timebase_after(engine, letter->expires_ms, &end);
        e->expires = end.due;
    }
    if (letter->delay_ms)
        now = hf_timebase_after(engine, letter->delay_ms, e);
    else if (letter->at)
        now = hf_timebase_at(letter->at, e);
    if (now) {
        e->due = 0;
        e->reason = 0;
        return HF_OK;
    }
    e->flags |= HF_ENTRY_DELAYED;
    e->sent = hf_clock_wall_ms(); /* its row does not know when the record was written */
    return HF_OK;
}

void hf_timebase_watch(hf_engine *engine)
{
    uint64_t ahead = hf_clock_wall_ms() - hf_timebase_now(engine);
    int64_t jump = (int64_t)(ahead - engine->wall_ahead);
    engine->wall_ahead = ahead;
    if (jump <= JUMP_MS && jump >= -JUMP_MS)
        return;
    atomic_fetch_add(&engine->count.clock_jumps, 1);
    hf_engine_log(engine, HF_WARN, "%s: the wall clock was set %s by %lld ms; what is due at a "
                  "time of day follows it, delays do not", hf_disk_path(engine->disk),
                  jump > 0 ? "forward" : "back", (long long)(jump > 0 ? jump : -jump));
    hf_shards_wake(engine); /* they look at their alarms again */
}
