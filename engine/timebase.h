/* timebase.h - engine time: what delays are counted in.
 *
 * Unix milliseconds like the wall clock, but they never run backwards and no setting of
 * the wall clock moves them: they go on with the monotonic clock from what it was at the
 * open. Over a restart the wall clock bridges them, unless it stands before the newest
 * record of the store. Absolute times (`at`) go by the wall clock alone. */
#ifndef ENGINE_TIMEBASE_H
#define ENGINE_TIMEBASE_H

#include "engine/engine.h"

/* The log is open; nothing runs yet. */
void hf_timebase_open(hf_engine *engine);

/* Any thread. */
uint64_t hf_timebase_now(const hf_engine *engine);

/* A time of this clock as the one on the wall will show it, if nobody sets it any more; to
 * the second, so that it is told the same every time. 0 is 0. */
uint64_t hf_timebase_told(const hf_engine *engine, uint64_t time);

/* When something is due that is to wait so long, or until then, into due and reason of its
 * entry; true: that time has come already. Never too early, never past HF_DUE_MAX. */
bool hf_timebase_after(const hf_engine *engine, uint64_t delay_ms, hf_entry *entry);
bool hf_timebase_at(uint64_t at, hf_entry *entry);

/* delay_ms, at and expires_ms of a letter, into its SEND. HF_EINVAL. */
int  hf_timebase_letter(const hf_engine *engine, const hf_letter *letter, hf_entry *entry);

/* Once a second, on one shard's thread: was the wall clock set? Says so in the log. */
void hf_timebase_watch(hf_engine *engine);

#endif
