/* repack.h - put rows of a table closer together, while the fold comes past them. */
#ifndef STORAGE_REPACK_H
#define STORAGE_REPACK_H

#include "storage/row.h"

typedef struct hf_repack {
    hf_rowbuf buf;
    uint64_t  rows;             /* that the table had when it was looked at last */
    uint64_t  seen, seen_bytes; /* written since: rows, and bytes of key and value */
    bool      always;           /* it pays */
    uint32_t  rest;             /* folds before it pays again */
    hf_key    first, last;      /* the run of rows to be packed next */
} hf_repack;

void hf_repack_done(hf_repack *repack);

/* A row was written. */
static inline void hf_repack_saw(hf_repack *repack, size_t bytes)
{
    repack->seen++;
    repack->seen_bytes += bytes;
}

/* The fold begins to write so many rows of the table: is it worth while to put all its
 * rows closer? Only if it does not grow just now, since new rows would split pages again. */
int hf_repack_pays(hf_repack *repack, hf_txn *txn, hf_table table, uint64_t writes, bool *pays);

/* The next run of rows goes to the end of the page where `wanted` stands, or would. Asked
 * before the fold writes it. */
int hf_repack_upto(hf_repack *repack, hf_txn *txn, hf_table table, hf_bytes wanted);

/* Pack the run: from the end of the one before, or the table's begin. It has a few hundred
 * rows, or some thousand of them are packed. No cursor on the table may be used further. */
int hf_repack_run(hf_repack *repack, hf_txn *txn, hf_table table);

#endif
