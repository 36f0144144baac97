/* kit.h - what the test kit knows of an engine, and puts into it. */
#ifndef ENGINE_KIT_H
#define ENGINE_KIT_H

#include "engine/engine.h"

/* Of an engine that is under test; the others have none. */
typedef struct hf_kit {
    _Atomic uint64_t plan; /* commits until the machine stops · 2, + 1: after it; 0: none */
    atomic_bool      down; /* it has stopped */
} hf_kit;

/* ---- kit_rest.c
 *
 * A shard is about to sleep; bell as `calm` has it, 0: there is something to do. */
void hf_kit_rests(hf_shard *shard, uint64_t bell);
/* Is there nothing to do before `*next_ns`, by the monotonic clock? UINT64_MAX: never. */
bool hf_kit_is_idle(hf_engine *engine, uint64_t *next_ns);

#endif
