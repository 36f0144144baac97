/* entry.h - one fact in the log: a message sent, done, a state saved, …
 *
 * On disk an entry begins on a 16-byte boundary of its record:
 *
 *    0  op(1) flags(1) to(1) name(1) data(4) hash(8)
 *   16  data: body, image, step's result          (aligned for any C type)
 *    …  to 00  name 00                             each only if its length > 0
 *    …  if flags & 1: extra(2) and so many bytes of fields, tag(1) first:
 *       tag < 64: a number(8);  tag >= 64: length(2), bytes, 00
 *    …  zeros up to the next 16-byte boundary
 *
 * `hash` is the address's; DONE, which names no address, keeps its first id
 * there and the count in `data`. All numbers little-endian. Entries are
 * absolute ("attempt = 3"), so applying one twice changes nothing.
 *
 * An entry's position is its record's key plus its index; a SEND's position is
 * the message's id. Tables keep messages as the same bytes. */
#ifndef STORAGE_ENTRY_H
#define STORAGE_ENTRY_H

#include "storage/codec.h"

#include "engine/holdfast.h"

typedef enum hf_op {
    HF_OP_SEND = 1, /* to, name = kind, data = body; id = place = position */
    HF_OP_DONE,     /* ids first .. first + count - 1, all inside the window */
    HF_OP_ACK,      /* to, id, place: done; HF_ENTRY_PURGES: its steps go, too */
    HF_OP_SAVE,     /* to, data = image; version = position */
    HF_OP_FORGET,   /* to */
    HF_OP_RETRY,    /* to, id, place: attempt, due, err, error, phase */
    HF_OP_DEAD,     /* a whole message, err, error, died: inbox -> dead */
    HF_OP_REQUEUE,  /* a whole message, id, place: dead -> inbox */
    HF_OP_PURGE,    /* id: dead -> gone */
    HF_OP_ALARM,    /* to, name, due, data = body; generation = position */
    HF_OP_CANCEL,   /* to, name */
    HF_OP_DUE,      /* alarm of `generation` becomes a message; id = position */
    HF_OP_STEP,     /* id, name, generation, place = number, phase, data = result */
    HF_OP_PAUSE,    /* to = what */
    HF_OP_RESUME,   /* to = what */
    HF_OPS
} hf_op;

enum {
    HF_ENTRY_HEAD   = 16,
    HF_ENTRY_EXTRA  = 1, /* flags: has extra fields */
    HF_ENTRY_STEPS  = 2, /* flags: steps of this message exist */
    HF_ENTRY_PURGES = 4, /* flags of an ACK: its steps go with it */
    HF_ERROR_MAX    = 1000, /* bytes of an error text */
    HF_TIMES_MAX    = 32,   /* attempts whose time is kept, the last ones */
};

typedef struct hf_entry {
    uint8_t     op;
    uint8_t     flags;
    uint8_t     to_len, name_len;
    uint32_t    count;       /* DONE */
    uint64_t    hash;        /* of to; DONE: first id */
    const char *to, *name;   /* NUL-terminated, "" when absent */
    hf_bytes    data;
    /* the rarer ones; 0 or "" when absent */
    uint64_t    id, place, due, sent, died, generation;
    uint32_t    attempt, phase;
    int         err;
    uint32_t    cause, reason;
    const char *error, *from;
    uint32_t    error_len, from_len;
    hf_bytes    times;       /* u64 Unix milliseconds of failed attempts */
} hf_entry;

/* Bytes of the entry on disk, a multiple of 16. */
size_t hf_entry_size(const hf_entry *entry);

/* Write it at `at` (hf_entry_size bytes). Returns the size. */
size_t hf_entry_encode(const hf_entry *entry, uint8_t *at);

/* Read it back; `entry` points into `at`. Returns its size, or 0 if these are
 * not the bytes of an entry (then nothing of it may be used). */
size_t hf_entry_decode(const uint8_t *at, size_t left, hf_entry *entry);

/* Is it a message on its own, whose id is its position? */
static inline int hf_entry_is_message(uint8_t op)
{
    return op == HF_OP_SEND || op == HF_OP_DUE;
}

#endif
