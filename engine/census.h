/* census.h - how many messages of each type came, were handled, failed, died.
 *
 * A row of its own for each shard and type, and one for the threads of pools, so that
 * counting shares no memory with another thread of a shard; summed when somebody asks. */
#ifndef ENGINE_CENSUS_H
#define ENGINE_CENSUS_H

#include "engine/turn.h"

typedef struct hf_census {
    _Atomic uint64_t came;    /* met by their shard: what a fold overtook is not counted */
    _Atomic uint64_t done;    /* turns that stood */
    _Atomic uint64_t failed;  /* turns that did not */
    _Atomic uint64_t retried, dead;
    uint64_t         none[3]; /* a cache line each */
} hf_census;

int  hf_census_make(hf_engine *engine); /* before the shards; HF_ENOMEM */
void hf_census_done(hf_engine *engine);
/* The sums of one type. Any thread. */
void hf_census_sum(const hf_engine *engine, uint32_t type, hf_census *sum);

/* Only its own thread writes it: no locked instruction. */
static inline void hf_census_add(_Atomic uint64_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Of the turn's type, where its thread counts; by atomic_fetch_add: a pool has several. */
static inline hf_census *hf_census_of(const hf_turn *turn)
{
    return &turn->census[turn->kind->index];
}

#endif
