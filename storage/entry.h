/* entry.h - one fact in the log: a message sent, done, a state saved, …
 *
 * On disk an entry begins on a 16-byte boundary of its record:
 *
 *    0  op(1) flags(1) to(1) name(1) data(4) hash(8)
 *   16  data: body, image, step's result          (aligned for any C type)
 *    …  the first body, if it was edited: `data` counts its bytes, too
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

#include "storage/address.h"
#include "storage/codec.h"

#include "engine/holdfast.h"

typedef enum hf_op {
    HF_OP_SEND = 1, /* to, name = kind, data = body; id = place = position */
    HF_OP_DONE,     /* ids first .. first + count - 1, all inside the window */
    HF_OP_ACK,      /* to, id, place: done; HF_ENTRY_PURGES: its steps go, too */
    HF_OP_SAVE,     /* to, data = image, version of its form */
    HF_OP_FORGET,   /* to */
    HF_OP_RETRY,    /* to, id, place: attempt, due, err, error, phase */
    HF_OP_DEAD,     /* a whole message, err, error, died: inbox -> dead */
    HF_OP_REQUEUE,  /* a whole message, id, place: dead -> inbox */
    HF_OP_PURGE,    /* id: dead -> gone */
    HF_OP_ALARM,    /* to, name, due, data = body; generation = position */
    HF_OP_CANCEL,   /* to, name */
    HF_OP_DUE,      /* alarm of `generation` becomes a message at this place; of a delayed
                       letter: whole, with its own id, which is the generation */
    HF_OP_STEP,     /* id, name, generation, place = number, phase, data = result */
    HF_OP_PAUSE,    /* to = what */
    HF_OP_RESUME,   /* to = what */
    HF_OP_PUT,      /* to, name = shelf and key, data = value; HF_ENTRY_DEDUPE: of dedupe */
    HF_OP_DROP,     /* to, name: no such row; HF_ENTRY_DEDUPE: of dedupe */
    HF_OP_BODY,     /* to = topic, data: shared by the SENDs behind it, HF_ENTRY_SHARES */
    HF_OP_VOID,     /* was a SEND that the journal took out: nothing */
    HF_OPS
} hf_op;

enum {
    HF_ENTRY_HEAD   = 16,
    HF_ENTRY_EXTRA  = 1, /* flags: has extra fields */
    HF_ENTRY_STEPS  = 2, /* flags: steps of this message exist */
    HF_ENTRY_PURGES = 4, /* flags of an ACK: its steps go with it */
    HF_ENTRY_SHARES = 8, /* flags of a SEND: its body is that of the BODY `back` bytes before */
    HF_ENTRY_CONFLATES = 16, /* flags of a message: a newer one of its kind replaces it */
    HF_ENTRY_CONFLICT = 128, /* flags of a SEND: its word was taken by another; to be buried */
    HF_ENTRY_DEDUPE = 32, /* flags of PUT, DROP: the table is dedupe, not rows */
    HF_ENTRY_DELAYED = 64, /* flags of a SEND: waits in alarm_names until it is due */
    HF_ERROR_MAX    = 1000, /* bytes of an error text */
    HF_ANSWER_MAX   = 127 + 1 + 255, /* a kind, 00, an address */
    HF_NOTE_MAX     = 1000, /* bytes of a hf_progress */
    HF_TIMES_MAX    = 32,   /* attempts whose time is kept, the last ones */
    HF_NOTES_MAX    = 4096, /* bytes of what operators did to a message, the last of it */
};

typedef struct hf_entry {
    uint8_t     op;
    uint8_t     flags;
    uint8_t     to_len, name_len;
    uint32_t    count;       /* DONE */
    uint64_t    hash;        /* of to; DONE: first id */
    const char *to, *name;   /* NUL-terminated, "" when absent */
    hf_bytes    data;
    /* the rarer ones: texts, "" when absent, */
    const char *error, *from;
    /* the kind that the reply is to have, at `from`; or kind 00 whom to tell */
    const char *answer;
    const char *dedupe;      /* the sender's word for it */
    /* and from here on all zeros when absent, without a gap: entry.c looks at them as one */
    uint64_t    id, place, due, sent, died, generation;
    uint64_t    expires;     /* Unix ms: dead from then on if not begun */
    uint64_t    about;       /* the asker's word, which comes back with the answer */
    uint64_t    ask;         /* an outside caller waits for the reply: its number, this run's */
    uint64_t    join;        /* its end is told to `from`, which counts them under this number */
    uint64_t    parent;      /* id of the message whose turn sent it; 0: from outside */
    uint64_t    took;        /* of ACK, RETRY, DEAD: ms that the turn lasted, if it had a thread */
    hf_bytes    times;       /* u64 Unix milliseconds of failed attempts */
    hf_bytes    notes;       /* what operators did to it: note.h */
    /* of a message that was edited: its first body; data NULL: it was not */
    hf_bytes    first;
    uint32_t    error_len, from_len, answer_len, dedupe_len;
    uint32_t    attempt, phase;
    int         err;
    uint32_t    cause, reason;
    uint32_t    urgency;     /* 0 .. 9 */
    uint32_t    back;        /* HF_ENTRY_SHARES: bytes back to the BODY */
    uint32_t    replaced;    /* letters of its kind that it took the place of */
    uint32_t    version;     /* of a state's form, 0 .. 255; stays the last: entry.c */
} hf_entry;

/* Bytes of the entry on disk, a multiple of 16. */
size_t hf_entry_size(const hf_entry *entry);

/* Write it at `at` (hf_entry_size bytes). Returns the size. */
size_t hf_entry_encode(const hf_entry *entry, uint8_t *at);

/* A SEND with no flags and none of the rarer fields, which most messages are. */
typedef struct hf_plain {
    const char *to, *name;   /* name_len 0: none */
    hf_bytes    data;
    uint64_t    hash;        /* of to */
    uint8_t     to_len, name_len;
} hf_plain;

/* The same bytes as of an hf_entry that says as much, sooner. */
size_t hf_plain_size(const hf_plain *plain);
size_t hf_plain_encode(const hf_plain *plain, uint8_t *at);

/* Read it back; `entry` points into `at`. Returns its size, or 0 if these are
 * not the bytes of an entry (then nothing of it may be used). */
size_t hf_entry_decode(const uint8_t *at, size_t left, hf_entry *entry);

/* Causes that no handler sees; the public ones come before. */
enum {
    HF_CAUSE_ENDED = HF_GONE + 1, /* a child with `join` ended; data: "done" or "dead" */
};

/* HF_JOINED says in `about` how many ended well, and in its lower half how many are dead. */
static inline uint32_t hf_entry_joined(const hf_entry *entry)
{
    return entry->cause == HF_JOINED ? (uint32_t)(entry->about >> 32) : 0;
}
static inline uint32_t hf_entry_lost(const hf_entry *entry)
{
    return entry->cause == HF_JOINED ? (uint32_t)entry->about : 0;
}

/* Shelves: the first byte of a row's name says whose it is. */
enum {
    HF_SHELF_USER  = 'u', /* hf_put */
    HF_SHELF_TOPIC = 't', /* a subscription of this actor; the topic's name */
    HF_SHELF_LIMIT = 'l', /* breaker and rate of a type, at the actor "type/-" */
    HF_SHELF_FLUSH = 'f', /* a forgotten actor that is not flushed yet, at "type/-" */
    HF_SHELF_SCHEDULE = 's', /* hf_every */
    HF_SHELF_PAUSES = 'o', /* the pauses and resumes by operators, at the actor "-/-" */
    HF_SHELF_JOIN  = 'j', /* how many of a join are still on their way */
};

#define HF_FLUSH_ROW "lflush" /* of a type, at "type/-": what is flushed */

/* What `reason` says. */
enum {
    HF_DUE_WALL   = 1, /* of ALARM and a delayed SEND: due by the wall clock, not by ours */
    HF_DUE_PASSED = 2, /* of a DUE: its time has come, whatever a clock says later */
};

/* Is it a message on its own, whose place is its position? */
static inline int hf_entry_is_message(uint8_t op)
{
    return op == HF_OP_SEND || op == HF_OP_DUE;
}

/* Most entries of most logs are messages and images without flags and extra fields: their
 * bytes, told by the head, if hf_entry_decode would find them sound; 0: let it look. */
static inline size_t hf_entry_simple(const uint8_t *at, size_t left)
{
    if (left < HF_ENTRY_HEAD || (at[0] != HF_OP_SEND && at[0] != HF_OP_SAVE) || at[1] || !at[2]
        || at[3] > HF_NAME_MAX)
        return 0;
    size_t to = HF_ENTRY_HEAD + (size_t)hf_get32(at + 4), name = to + at[2] + 1u;
    size_t end = at[3] ? name + at[3] + 1u : name;
    size_t size = (end + 15) & ~(size_t)15;
    return size <= left && at[to] && !at[name - 1] && !at[end - 1] ? size : 0;
}

/* The same of messages alone. */
static inline size_t hf_entry_plain(const uint8_t *at, size_t left)
{
    return left && at[0] == HF_OP_SEND ? hf_entry_simple(at, left) : 0;
}

static inline const char *hf_entry_plain_to(const uint8_t *at)
{
    return (const char *)at + HF_ENTRY_HEAD + hf_get32(at + 4);
}

/* The same of an entry of the log, where a delayed letter does not wait in the inbox yet. */
static inline int hf_entry_waits(const hf_entry *e)
{
    return e->op == HF_OP_DUE || (e->op == HF_OP_SEND && !(e->flags & HF_ENTRY_DELAYED));
}

#endif
