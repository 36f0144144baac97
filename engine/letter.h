/* letter.h - check what somebody wants to send, and make the entry of it. */
#ifndef ENGINE_LETTER_H
#define ENGINE_LETTER_H

#include "engine/engine.h"

/* The entry points into the letter; `shard` is whose actor it goes to. Errors:
 * HF_EINVAL (address, kind; detail says which), HF_ENOTYPE, HF_ETOOBIG. */
int hf_letter_entry(const hf_engine *engine, const hf_letter *letter, hf_entry *entry,
                    uint32_t *shard);

#endif
