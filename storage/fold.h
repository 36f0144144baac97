/* fold.h - move what is left of the oldest records into the tables.
 *
 *   idle -> collecting -> writing (a slice a commit) -> deleting -> idle
 *
 * The truth is always: tables, then every record from tail to head applied to
 * them. So slices may be applied partly, or twice after a crash; the records
 * are deleted, ascending, only in or after the commit of the last slice; or kept as
 * history, below `meta.tail` (kept.h).
 * `meta.folding` says below which position rows may have been written. */
#ifndef STORAGE_FOLD_H
#define STORAGE_FOLD_H

#include "storage/fate.h"
#include "storage/kept.h"
#include "storage/repack.h"

typedef enum hf_fold_stage { HF_FOLD_IDLE, HF_FOLD_COLLECTING, HF_FOLD_WRITING,
                             HF_FOLD_DELETING } hf_fold_stage;

enum {
    HF_FOLD_ROW      = 112,  /* what a row costs when many share a page */
    HF_FOLD_ROW_MOST = 4096 /* and when each has one to itself */
};

typedef struct hf_fold_progress {
    hf_fold_stage stage;
    bool          sparing; /* only rows that go are looked at */
    uint32_t      table;   /* being written, in the order of writing */
    size_t        next;    /* item of it */
    uint32_t      deleted; /* records */
    uint64_t      left_bytes, left_messages; /* of those that are not */
    bool          over;    /* none has to go any more, and the tail says so */
    uint64_t      spent;   /* of the budgets so far */
} hf_fold_progress;

typedef struct hf_fold {
    hf_fold_progress now, before; /* before: as it was when the slice began */
    hf_survivors     survivors;
    hf_record      **records;     /* the sealed ones */
    uint32_t         count;
    uint64_t         end;         /* first position not sealed */
    uint64_t         applied;     /* what folding was when these were sealed */
    atomic_int       collected;   /* 0: not yet, 1: survivors are there, < 0: error */
    bool             gated;       /* the first record goes only after the commit that wrote
                                     the last row: see past.c */
    bool             spares;      /* rows that go are deleted before others are written */
    hf_kept         *kept;        /* records that stay when they are folded; NULL: none do */
    hf_kept_limit    limit;       /* how much of that */
    uint32_t         row_cost;    /* bytes of a budget that a row takes besides its data */
    hf_rowbuf        buf;
    hf_repack        repack;      /* of the table of states */
    bool             packs;       /* its rows are put closer together this time */
    bool             roomy;       /* may be: there is plenty of room */
    uint64_t         rows;        /* written or deleted, since the start */
} hf_fold;

void hf_fold_init(hf_fold *fold);
void hf_fold_done(hf_fold *fold); /* not while collecting on another thread */

/* Begin with the sealed records (array copied). HF_FOLD_COLLECTING then; call
 * hf_fold_collect on any thread. */
int  hf_fold_begin(hf_fold *fold, hf_record *const *records, uint32_t count, uint64_t end,
                   uint64_t applied);
void hf_fold_collect(void *fold); /* takes a hf_fold; sets `collected` */

/* Write about `budget` bytes' worth in this transaction. HF_OK also when the
 * survivors are not collected yet. Then commit, and hf_fold_keep or, if the
 * commit failed, hf_fold_undo. */
int  hf_fold_slice(hf_fold *fold, hf_txn *txn, uint64_t budget);
void hf_fold_keep(hf_fold *fold);
void hf_fold_undo(hf_fold *fold);

/* About how much budget the rest of it takes; 0 while that is not known. */
uint64_t hf_fold_left(const hf_fold *fold);

/* All records are deleted, or below the tail, and that is committed. */
bool hf_fold_is_over(const hf_fold *fold);
void hf_fold_end(hf_fold *fold); /* back to idle */

#endif
