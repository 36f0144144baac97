/* pool.h - threads of a type's own, which may sleep and wait. */
#ifndef ENGINE_POOL_H
#define ENGINE_POOL_H

#include "engine/shard.h"
#include "engine/strike.h"

int  hf_pools_start(hf_engine *engine);
/* No new turns; returns how many still run. */
uint32_t hf_pools_halt(hf_engine *engine);
void hf_pools_stop(hf_engine *engine); /* waits for the threads; frees */

/* One of its threads, for the watch; false: there are no more. */
bool hf_pool_thread_at(const hf_pool *pool, uint32_t number, hf_turn **turn,
                       const hf_strike_slot **slot);

/* Run this parcel's turn soon; a shard's thread. */
void hf_pool_queue(hf_pool *pool, hf_parcel *parcel);
/* It waits there for a thread, maybe: sooner. */
void hf_pool_raise(hf_pool *pool, hf_parcel *parcel, uint32_t urgency);

/* Its turn is settled: back on the shard's thread. */
void hf_pool_take_back(hf_shard *shard, hf_parcel *parcel);

#endif
