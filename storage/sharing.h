/* sharing.h - messages to a topic: one body in front of many of them.
 *
 *    BODY "@news" data   SEND back=48   SEND back=112   …
 *
 * A SEND with HF_ENTRY_SHARES has no data of its own: its body is that of the BODY
 * `back` bytes before it, in the same record. Whoever takes such a SEND out of its record
 * (a row, a parcel, a dead letter) makes it a message on its own: resolved here, it is
 * encoded with its body. */
#ifndef STORAGE_SHARING_H
#define STORAGE_SHARING_H

#include "storage/entry.h"

#include <stdbool.h>

/* `entry` was decoded at `at`, in a record whose entries begin at `start`: if it shares a
 * body it has that from now on, and shares no more. False: there is no body there, the
 * record is damaged. */
bool hf_sharing_find(const uint8_t *start, const uint8_t *at, hf_entry *entry);

static inline bool hf_sharing_resolve(const uint8_t *start, const uint8_t *at, hf_entry *entry)
{
    return !(entry->flags & HF_ENTRY_SHARES) || hf_sharing_find(start, at, entry);
}

/* Bytes of data that an entry stands for, of a record that was checked. */
uint32_t hf_sharing_weight(const uint8_t *at);

static inline uint32_t hf_entry_weight(const uint8_t *at)
{
    return at[1] & HF_ENTRY_SHARES ? hf_sharing_weight(at) : hf_get32(at + 4);
}

/* Must the fold see it? Messages it finds by their end; a BODY goes with its messages. */
static inline bool hf_entry_keeps(const hf_entry *e)
{
    if (e->op == HF_OP_SEND)
        return (e->flags & HF_ENTRY_DELAYED) != 0;
    return e->op != HF_OP_DONE && e->op != HF_OP_BODY && e->op != HF_OP_VOID;
}

#endif
