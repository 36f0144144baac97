/* peek.h - the last committed state of actors, without waking them. */
#ifndef ENGINE_PEEK_H
#define ENGINE_PEEK_H

#include "engine/engine.h"

int  hf_peeks_make(hf_engine *engine); /* before the shards start */
/* Tell who still waits that the engine closed. Shards and journal have ended. */
void hf_peeks_stop(hf_engine *engine);
void hf_peeks_free(hf_engine *engine); /* after the callbacks stopped */

/* Does anyone wait for a commit of this shard? And: more of them were made. Its thread. */
bool hf_peeks_wait(const hf_shard *shard);
void hf_peeks_settled(hf_shard *shard);

#endif
