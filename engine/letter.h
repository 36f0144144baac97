/* letter.h - check what somebody wants to send, and make the entry of it. */
#ifndef ENGINE_LETTER_H
#define ENGINE_LETTER_H

#include "engine/engine.h"

#include <string.h>

/* The entry points into the letter; `shard` is whose actor it goes to. Errors:
 * HF_EINVAL (address, kind; detail says which), HF_ENOTYPE, HF_ETOOBIG. */
int hf_letter_entry(const hf_engine *engine, const hf_letter *letter, hf_entry *entry,
                    uint32_t *shard);

/* The same without an address: to, hash and shard are the caller's. */
int hf_letter_contents(const hf_engine *engine, const hf_letter *letter, hf_entry *entry);

/* A letter as we know it: the caller's may be of an older, shorter struct. */
static inline const hf_letter *hf_letter_whole(const hf_letter *letter, hf_letter *copy)
{
    if (!letter->size || letter->size >= sizeof *letter)
        return letter;
    memset(copy, 0, sizeof *copy);
    memcpy(copy, letter, letter->size);
    return copy;
}

/* hf_mail with the note of an operator (recovery/pen.h) on each letter, and what it brings
 * along from another store (`more`, one a letter; NULL: nothing). */
struct hf_letter_more;
int hf_letters_mail(hf_engine *engine, const hf_letter *letters, size_t count,
                    hf_receipt *receipts, hf_bytes signature, const struct hf_letter_more *more);

/* Add letters from outside to a batch: all, or the batch is of no use. */
int hf_letters_add(hf_engine *engine, hf_batch *batch, const hf_letter *letters, size_t count);

#endif
