/* flush.h - types whose states are kept elsewhere, too: write-behind.
 *
 * Every turn of such a type that saves or forgets makes its actor dirty: an entry at
 * the desk of its type and shard (dirty.c). A thread of the type's own (flush.c) asks
 * the desks, by errand, for what is dirty, when the first change is flush_ms old, and
 * hands all images over in one call; what fails is handed over again, merged with what
 * is newer. An image leaves its shard only when its SAVE is committed, and has that
 * SAVE's position as its version.
 *
 * What the store knows (flush_store.c): a watermark a type, "all that was saved below
 * it is flushed"; a tombstone for each forgotten actor until that is flushed. After a
 * crash the states above the watermark are looked for, slice by slice (flush_walk.c). */
#ifndef ENGINE_FLUSH_H
#define ENGINE_FLUSH_H

#include "engine/turn.h"

/* ---- Shards: dirty.c */

/* Before the turn's state is taken over: there is memory to note it. HF_ENOMEM. */
int  hf_dirty_ready(hf_shard *shard, const hf_actor *actor);
/* The turn, in the shard's open batch, changed the actor. After hf_dirty_ready. */
void hf_dirty_turn(hf_shard *shard, hf_actor *actor, const hf_turn *turn);
/* The parcel's turn, which is committed, did. */
void hf_dirty_parcel(hf_shard *shard, hf_actor *actor, const hf_parcel *parcel);
/* A batch of the shard's is committed (end not 0) or never will be. */
void hf_dirty_settled(hf_shard *shard, hf_batch *batch);
void hf_dirty_done(hf_shard *shard);

/* ---- Turns */

/* hf_forget in a turn of such a type: a tombstone in the turn's batch. */
void hf_flush_forget(hf_turn *turn);
/* It saved or forgot: with HF_NOW its replies wait until that is flushed. */
void hf_flush_hold(const hf_turn *turn);
/* A reply whose turn is committed at `batch`. The journal's thread. */
void hf_flush_park(struct hf_response *reply, hf_batch *batch);
/* The reply of an earlier turn of actor `to`, told once more: with HF_NOW it, too, waits for
 * the row. False: it need not. */
bool hf_flush_park_known(hf_engine *engine, const char *to, size_t len,
                         struct hf_response *reply);

/* ---- The engine */

int  hf_flushes_load(hf_engine *engine);  /* once the log is open; HF_ECORRUPT, … */
int  hf_flushes_make(hf_engine *engine);  /* once there are shards */
int  hf_flushes_begin(hf_engine *engine); /* when the journal runs, before any turn */
int  hf_flushes_start(hf_engine *engine); /* and when the shards do */
/* No turn runs any more: flush what is dirty, until hf_clock_mono_ns() is `until_ns`. */
void hf_flushes_close(hf_engine *engine, uint64_t until_ns);
void hf_flushes_stop(hf_engine *engine, bool clean); /* waits for a call that runs */
void hf_flushes_done(hf_engine *engine); /* after the shards ended */
/* Is everything flushed? If not, it is hurried. */
bool hf_flushes_rest(hf_engine *engine);
/* When the next round begins, ns; now or in the past: it is woken, or it runs. What waits
 * for nothing but to let others breathe does not: for a clock that stands still. */
uint64_t hf_flushes_next(hf_engine *engine);
/* Actors that are changed and not flushed, images flushed, calls that failed. */
void hf_flushes_count(const hf_engine *engine, uint64_t *dirty, uint64_t *flushed,
                      uint64_t *failed);
/* Is the calling thread in a flush? */
bool hf_flush_inside(void);

#endif
