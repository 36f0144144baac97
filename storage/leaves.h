/* leaves.h - walk the rows of a table along its pages, without LMDB in between.
 *
 * A walk along millions of rows waits for memory more than for anything else. A cursor
 * of LMDB can't be told what comes next; here the branch above says which pages do, and
 * what will be looked at of them is asked for early. One thread, one snapshot. */
#ifndef STORAGE_LEAVES_H
#define STORAGE_LEAVES_H

#include "storage/store.h"

enum { HF_LEAVES_DEPTH = 32 };

typedef struct hf_leaves {
    hf_tree  tree;
    const uint8_t *map;
    uint64_t pages;  /* in the file */
    hf_table table;
    uint32_t depth;  /* levels of the tree; 0: there are no rows */
    uint32_t wanted; /* rows of this page that were looked into, not only passed */
    bool     whole;  /* so it is worth while to ask for all of the next */
    struct {
        const uint8_t *page;
        uint32_t       at, count;
    } level[HF_LEAVES_DEPTH]; /* the root first, the leaf last */
} hf_leaves;

/* False: the table can't be walked like this, or not at all: a cursor tells. The
 * transaction only reads, and outlives it. */
bool hf_leaves_open(hf_leaves *leaves, hf_txn *txn, hf_table table);

/* The first row whose key is not below this one, and the one after the row told last.
 * HF_ENOTFOUND: there is none. HF_ECORRUPT: a page on the way can't be what it must be.
 * Key and value live as long as the transaction. Set `wanted` where a value is read. */
int hf_leaves_seek(hf_leaves *leaves, hf_bytes key, hf_bytes *found, hf_bytes *value);
int hf_leaves_next(hf_leaves *leaves, hf_bytes *key, hf_bytes *value);

#endif
