/* copying.h - how far a backup, restore or compaction is: rows for whoever asked. */
#ifndef RECOVERY_COPYING_H
#define RECOVERY_COPYING_H

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include "storage/store.h"

typedef struct hf_copying {
    hf_row_fn each; /* NULL: nobody asked */
    void     *user;
    uint64_t  rows[HF_TABLES];
    uint64_t  bytes, told, total; /* of keys and values; total: about, 0: not known */
    hf_out    row;
} hf_copying;

/* A row was copied. Tells how far it is every few MiB; what `each` returned. */
int hf_copying_row(hf_copying *copying, hf_table table, hf_bytes key, hf_bytes value);
/* How far it is, now. */
int hf_copying_tell(hf_copying *copying);
/* The closing row, with counts by table: opens its map; add fields, then tell. All is done
 * then: want of memory is HF_EUNKNOWN. */
void hf_copying_sum(hf_copying *copying);
int  hf_copying_tell_sum(hf_copying *copying);

/* Every row of every table, in one moment, checked and told. */
typedef int (*hf_copying_to)(void *user, hf_table table, hf_bytes key, hf_bytes value);
int hf_copying_all(hf_copying *copying, hf_txn *txn, hf_copying_to to, void *user);

/* Bytes of the data file of the store at `path`; 0: not known. */
uint64_t hf_copying_file_bytes(const char *path);

#endif
