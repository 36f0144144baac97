/* suspect.h - messages that were running when the process died.
 *
 * A message found running at two deaths in a row runs alone; only a death then
 * is a strike. Asked before each turn while there are suspects, and told after. */
#ifndef ENGINE_SUSPECT_H
#define ENGINE_SUSPECT_H

#include "engine/engine.h"

typedef enum hf_suspicion {
    HF_MAY_RUN,
    HF_MUST_WAIT,  /* *wait_ns: how long, then ask again */
    HF_MUST_DIE,   /* it struck too often: bury it */
} hf_suspicion;

void hf_suspects_init(hf_engine *engine); /* after hf_strikes_open */

/* May this message start its turn now? A shard's thread. */
hf_suspicion hf_suspect_judge(hf_engine *engine, const hf_kind_of *kind, const hf_entry *message,
                              uint64_t *wait_ns);

/* Its turn came back, or it was buried: it did not kill us. Any thread. */
void hf_suspect_ended(hf_engine *engine, uint64_t id);

/* It is buried in this batch of the shard: it ends with the commit, for a death
 * before that must not start its case anew. A shard's thread. */
void hf_suspect_buried(hf_shard *shard, uint64_t id, uint64_t batch);
void hf_suspects_committed(hf_shard *shard);

/* May this actor run now, or is somebody else to run alone? Any thread. */
bool hf_suspects_let_run(hf_engine *engine, uint64_t hash);

#define hf_suspects_any(engine)                                                    \
    (atomic_load_explicit(&(engine)->suspects, memory_order_relaxed) != 0)

#endif
