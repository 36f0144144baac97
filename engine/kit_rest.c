/* kit_rest.c - an engine under test: is there anything to do, when will there be; and the
 * commit at which its machine stops.
 *
 * Happy path: a shard that is about to sleep says that it has nothing to do, and until
 * when. Whoever wants to know whether the engine rests asks all its parts, twice, and
 * whether any of them stirred meanwhile. A machine that stops is a failed write: the
 * engine stops by itself, as it does after those. */
#include "engine/kit.h"

#include "engine/alarms.h"
#include "engine/ask.h"
#include "engine/flush.h"
#include "engine/limit.h"

#include "storage/clock.h"
#include "storage/error.h"

/* ---- The crash */

static int stop(hf_engine *engine, hf_kit *kit)
{
    atomic_store(&kit->down, true);
    return hf_log_die(engine->log, hf_error(HF_EUNKNOWN, "the test stopped the machine"));
}

/* This commit's part of the plan; 0: it is none of it, 1: before it, 2: after it. */
static int count_down(hf_kit *kit)
{
    uint64_t plan = atomic_load(&kit->plan), left;
    do {
        if (!plan)
            return 0;
        left = plan >= 4 ? plan - 2 : 0;
    } while (!atomic_compare_exchange_weak(&kit->plan, &plan, left));
    return left ? 0 : 1 + (int)(plan & 1);
}

int hf_kit_append(hf_engine *engine, hf_group *group)
{
    hf_kit *kit = atomic_load(&engine->kit);
    if (atomic_load(&kit->down))
        return stop(engine, kit);
    int stops = count_down(kit);
    if (stops == 1)
        return stop(engine, kit);
    int err = hf_log_append(engine->log, group);
    return stops && !err ? stop(engine, kit) : err;
}

/* ---- Rest */

void hf_kit_rests(hf_shard *shard, uint64_t bell)
{
    uint64_t next = shard->timer_count ? shard->timers[0]->due_ns : UINT64_MAX;
    uint64_t limits = hf_limits_next(shard, hf_clock_mono_ns()), alarms = hf_alarms_next(shard);
    bool busy = shard->alarms->busy || shard->uncommitted || shard->batch || shard->runs_outside;
    next = limits < next ? limits : next;
    next = alarms < next ? alarms : next;
    atomic_store(&shard->next_ns, next);
    atomic_store(&shard->calm, busy ? 0 : bell);
}

static uint64_t activity(const hf_engine *engine)
{
    uint64_t sum = atomic_load(&engine->count.commits);
    for (uint32_t i = 0; i < engine->shard_count; i++)
        sum += atomic_load(&engine->shards[i].activity);
    return sum;
}

static void sooner(uint64_t *next, uint64_t due)
{
    *next = due < *next ? due : *next;
}

/* Asks and flushes that are due are woken by being asked. */
static bool looks_idle(hf_engine *engine, uint64_t *next)
{
    bool idle = !atomic_load(&engine->journal.inflight) && !atomic_load(&engine->count.running);
    *next = UINT64_MAX;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        const hf_shard *shard = &engine->shards[i];
        idle = idle && !atomic_load(&shard->errand_count)
            && atomic_load(&shard->calm) == (uint64_t)atomic_load(&shard->bell) + 1;
        sooner(next, atomic_load(&shard->next_ns));
    }
    sooner(next, hf_flushes_next(engine));
    sooner(next, hf_asks_next(engine));
    return idle && hf_callbacks_rest(&engine->callbacks) && *next > hf_clock_mono_ns();
}

bool hf_kit_is_idle(hf_engine *engine, uint64_t *next)
{
    uint64_t before = activity(engine);
    return looks_idle(engine, next) && activity(engine) == before && looks_idle(engine, next)
        && atomic_load(&engine->phase) == HF_LIVE;
}
