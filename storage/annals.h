/* annals.h - what the log says, entry by entry, history included.
 *
 * For who tells the life of a message: in the order of the log, with the time and the
 * group of each entry. A record of the history (kept.h) that is damaged is passed over. */
#ifndef STORAGE_ANNALS_H
#define STORAGE_ANNALS_H

#include "storage/entry.h"
#include "storage/store.h"

typedef struct hf_annal {
    hf_entry e;        /* of a message: with its id and place */
    uint64_t position;
    uint64_t time_ms;  /* when its group was written */
    uint64_t group;    /* position of that */
} hf_annal;

/* Entries from the record that holds `from` on, or the first one; only those
 * whose op has its bit set in `ops`. each: HF_OK goes on, anything else ends the walk and is
 * returned. Entries are lent until each returns. HF_ECORRUPT, HF_EIO, ... */
enum { HF_ANNALS_PLAIN = 1 }; /* in `ops`: SENDs without extra fields, too */
typedef int (*hf_annal_fn)(void *user, const hf_annal *annal);
int hf_annals_walk(hf_txn *txn, uint64_t from, uint32_t ops, hf_annal_fn each, void *user);

/* The entry at that position, lent as long as the snapshot; HF_ENOTFOUND. */
int hf_annals_find(hf_txn *txn, uint64_t position, hf_annal *annal);

#endif
