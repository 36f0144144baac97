/* pause.h - actors, types or everything, held by an operator's word. */
#ifndef ENGINE_PAUSE_H
#define ENGINE_PAUSE_H

#include "engine/actor.h"

#include "recovery/pausing.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct hf_engine hf_engine;
struct hf_shard;

typedef struct hf_pauses {
    pthread_rwlock_t lock;
    char           **what;      /* "type", "type/key" or "*" */
    uint32_t         count, room;
    atomic_uint      any;       /* count, readable without the lock */
    pthread_mutex_t  order;     /* of changes: from the commit until memory follows, or disk
                                   and memory could end up with different ones */
} hf_pauses;

int  hf_pauses_load(hf_engine *engine); /* those in the store */
void hf_pauses_done(hf_engine *engine);

bool hf_pauses_hold_slow(hf_engine *engine, const hf_actor *actor);

/* Is any of the shard's resting parcels not paused? */
bool hf_pauses_rests(const struct hf_shard *shard);

/* Memory follows what an entry in the store says (PAUSE or RESUME was committed). */
int  hf_pauses_add(hf_engine *engine, const char *what);
void hf_pauses_remove(hf_engine *engine, const char *what);

/* Is the calling thread in what hf_pause of this engine tells? */
bool hf_pauses_inside(const hf_engine *engine);

#define hf_pauses_hold(engine, actor)                                              \
    (atomic_load_explicit(&(engine)->pauses.any, memory_order_relaxed)             \
     && hf_pauses_hold_slow((engine), (actor)))

#endif
