/* overlay.h - tables with the facts of some records laid over them.
 *
 * Says of every row what a fold of those records would leave: a row that stands
 * in the table, in the records, or in both. What the fold has written already
 * comes out the same. */
#ifndef STORAGE_OVERLAY_H
#define STORAGE_OVERLAY_H

#include "storage/fate.h"

typedef struct hf_overlay {
    hf_txn             *txn;   /* the tables at one moment, */
    const hf_survivors *facts; /* what lies over them; NULL: nothing */
    hf_rowbuf          *buf;   /* rows are made in it */
    size_t             *hint;  /* NULL, or: an index near which `from` may be; updated */
    hf_bytes            within; /* only rows whose keys begin so; empty: all */
    bool                keys;  /* only keys matter: payloads may be empty, and damaged */
    /* NULL, or: true of a row of the table as it lies there, unchecked, that the walk need
     * not show. Rows that facts speak of are shown in any case. `user`: the walk's. Such a
     * walk goes along leaves.h: the transaction only reads. */
    bool (*skip)(void *user, hf_bytes key, hf_bytes value);
} hf_overlay;

/* Walk the rows of a table as they truly are, in key order, from the first
 * whose key is >= `from` (any length, may be empty). each: HF_OK goes on,
 * anything else ends the walk and is returned. Not for HF_IN_LOG, HF_IN_ALARMS.
 * key, payload: lent until each returns. */
typedef int (*hf_overlay_fn)(void *user, hf_bytes key, hf_bytes payload);
int hf_overlay_walk(const hf_overlay *overlay, hf_table table, hf_bytes from, hf_overlay_fn each,
                    void *user);

/* One row: HF_OK or HF_ENOTFOUND. The payload lives until `buf` is used again. */
int hf_overlay_get(const hf_overlay *overlay, hf_table table, hf_bytes key, hf_bytes *payload);

#endif
