/* census.c - how many messages of each type came, were handled, failed, died.
 *
 * Happy path: shards count in rows of their own, pools in one that they share, a
 * question sums them. Fails for want of memory when the engine is opened, only.
 * Any thread. */
#include "engine/census.h"

#include "storage/error.h"
#include "storage/memory.h"

int hf_census_make(hf_engine *engine)
{
    size_t types = engine->types.count ? engine->types.count : 1;
    engine->census = hf_mem_apart((engine->shard_count + 1) * types, sizeof *engine->census);
    return engine->census ? HF_OK : hf_error(HF_ENOMEM, "counts of types");
}

void hf_census_done(hf_engine *engine)
{
    hf_mem_free(engine->census);
    engine->census = NULL;
}

void hf_census_sum(const hf_engine *engine, uint32_t type, hf_census *sum)
{
    uint64_t came = 0, done = 0, failed = 0, retried = 0, dead = 0;
    for (uint32_t i = 0; i <= engine->shard_count; i++) {
        const hf_census *c = &engine->census[i * engine->types.count + type];
        came += atomic_load_explicit(&c->came, memory_order_relaxed);
        done += atomic_load_explicit(&c->done, memory_order_relaxed);
        failed += atomic_load_explicit(&c->failed, memory_order_relaxed);
        retried += atomic_load_explicit(&c->retried, memory_order_relaxed);
        dead += atomic_load_explicit(&c->dead, memory_order_relaxed);
    }
    atomic_init(&sum->came, came);
    atomic_init(&sum->done, done);
    atomic_init(&sum->failed, failed);
    atomic_init(&sum->retried, retried);
    atomic_init(&sum->dead, dead);
}
