/* rebuild.h - a new store out of the rows of another: restore, salvage, compact. */
#ifndef RECOVERY_REBUILD_H
#define RECOVERY_REBUILD_H

#include "recovery/lineage.h"

#include "storage/row.h"

typedef struct hf_rebuild hf_rebuild;

typedef struct hf_rebuild_plan {
    const char *to;
    bool        renew;   /* a uuid and positions of its own; else it stays that very store */
    bool        replace; /* the store at `to`, whose lock the caller holds */
    uint8_t     uuid[16]; /* of the store that the rows are from */
    uint64_t    bytes;   /* about so many they are; 0: not known */
    /* Hands in all rows, meta among them. */
    int       (*source)(void *user, hf_rebuild *rebuild);
    /* All is there, meta too: what else is to be done before it gets its name. */
    int       (*finish)(void *user, hf_disk *disk);
    void       *user;
} hf_rebuild_plan;

/* Of the caller: nothing is at plan->to afterwards, or a whole store. */
int hf_rebuild_store(const hf_rebuild_plan *plan);

/* A row as it is: its checksum counts for its table and key. Quickest in key order, but
 * any order will do; of two with the same key the later one stands. */
int hf_rebuild_row(hf_rebuild *rebuild, hf_table table, hf_bytes key, hf_bytes value);
/* What came under that key, lent until the next row; HF_ENOTFOUND. */
int hf_rebuild_find(hf_rebuild *rebuild, hf_table table, hf_bytes key, hf_bytes *value);
/* The highest key below this one that came; HF_ENOTFOUND. */
int hf_rebuild_below(hf_rebuild *rebuild, hf_table table, hf_bytes key, hf_key *below);
/* A position that was given: all that are given from now on lie far above. */
void hf_rebuild_given(hf_rebuild *rebuild, uint64_t position);

/* A row by itself: is it sound? HF_ECORRUPT, HF_EVERSION. */
int hf_rebuild_check(hf_table table, hf_bytes key, hf_bytes value);

#endif
