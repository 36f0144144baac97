/* kept.h - records of the log that are folded and were not deleted yet: the history.
 *
 *     first record        meta.tail                    head
 *        | kept: history      | the window: the truth      |
 *
 * A fold ends by setting `meta.tail` behind the records it folded instead of deleting
 * them; what is kept is deleted later, oldest first, when it is too much, too old, or
 * space is short: then it goes before anybody is refused. It belongs to nothing else:
 * replay, views and the window's accounts begin at the tail. No `tail`, or one below the
 * first record: nothing is kept. A reader that does not know of the tail and begins with
 * the first record finds the same truth, only slower, since entries are absolute and
 * `meta.folding` lies above. */
#ifndef STORAGE_KEPT_H
#define STORAGE_KEPT_H

#include "storage/store.h"
#include "storage/window.h"

enum { HF_KEPT_PARTS = 64 };

/* Some records side by side. */
typedef struct hf_kept_part {
    uint64_t end; /* their positions lie below */
    uint64_t bytes, messages, records;
    uint64_t time_ms; /* of the newest */
} hf_kept_part;

typedef struct hf_kept {
    hf_kept_part parts[HF_KEPT_PARTS]; /* oldest first; neighbours are put together */
    uint32_t     count;
    uint64_t     bytes, messages, records;
} hf_kept;

/* How much may stay. */
typedef struct hf_kept_limit {
    uint64_t bytes, messages;
    uint64_t since_ms; /* nothing older */
} hf_kept_limit;

/* What lies below the tail of the store; damage is no matter. */
int  hf_kept_load(hf_kept *kept, hf_txn *txn, uint64_t tail);
void hf_kept_add(hf_kept *kept, const hf_record *record);

/* Is it more than may stay, together with what will be added? */
bool hf_kept_exceeds(const hf_kept *kept, const hf_kept_limit *limit, uint64_t bytes,
                     uint64_t messages);
/* Delete the oldest record; takes its cost from the budget. */
int  hf_kept_drop(hf_kept *kept, hf_txn *txn, uint64_t *budget);

/* The first record that is no history: where replay and views begin. */
int  hf_kept_tail(hf_txn *txn, uint64_t *tail);
/* A cursor there. HF_ENOTFOUND: the log is empty. */
int  hf_kept_seek(hf_txn *txn, hf_cursor *cursor, hf_bytes *key, hf_bytes *value);

static inline uint64_t hf_kept_cost(uint64_t bytes)
{
    return 128 + bytes / 16;
}

#endif
