/* writer.h - what log.c, folding.c and packing.c share: the log from inside. */
#ifndef STORAGE_WRITER_H
#define STORAGE_WRITER_H

#include "storage/log.h"

/* A part of a segment of facts that fits, as a record, in one page of the disk. */
enum { HF_PIECE = 4096 - 16 - HF_RECORD_HEAD - HF_RUN_SIZE };
typedef struct hf_piece {
    hf_segment  part;
    hf_segment *whole; /* if it is the first */
} hf_piece;

struct hf_log {
    hf_disk       *disk;
    hf_log_options options;
    hf_window      window;
    hf_fold        fold;
    hf_kept        kept, kept_before; /* kept_before: as the last commit left it */
    bool           forgets;      /* the kept past has to go, room is short */
    uint64_t       seed, next;
    uint64_t       time_base, time_mono; /* see hf_log_keep_time */
    uint64_t       waiting;      /* messages */
    bool           borrows;      /* adopted records stay where they lie: past.c */
    uint64_t       folding;      /* meta.folding */
    uint64_t       hold;         /* see hf_log_hold */
    uint64_t       burden;       /* see hf_log_burden */
    uint64_t       releasable;   /* see hf_log_release */
    hf_survivors   past;         /* see past.c */
    uint64_t       past_end;     /* first position behind it; 0: there is none */
    uint64_t       past_bytes;
    _Atomic(const hf_survivors *) past_now; /* while readers need it */
    hf_record     *last;         /* newest record, or the stub before the first */
    hf_record     *stub;
    hf_record    **retired;      /* out of the window, maybe still in use */
    uint32_t       retired_count, retired_room;
    hf_record    **fresh;        /* of the group being written */
    uint32_t       fresh_count, fresh_room;
    hf_segment   **sorted;
    uint32_t       sorted_room;
    hf_piece      *pieces;
    uint32_t       piece_count, piece_room;
    hf_segment     facts;        /* DONE and ACK entries made here */
    uint64_t       unchecked;    /* bytes appended since space was looked at */
    uint64_t       checked_ns;
    uint64_t       slice_max;    /* so that a commit does not take long */
    bool           calm;         /* nobody sends from outside */
    uint64_t       plain_ns;     /* what one takes without a slice, or with a small one */
    bool           tight, roomy; /* room is short; there is plenty */
    uint64_t       ample;        /* then: so much more may the log hold, if lent */
    double         replaced;     /* the part of its rows that were saved again */
    bool           blocked;      /* a row found no pages: see hf_folding_commit */
    uint64_t       blocked_at;   /* what `next` was then */
    bool           hurries;      /* the group that is written has urgent messages */
    uint64_t       urgent;       /* all of them lie below; 0: there were none */
    int            dead;
    uint64_t       commits, folds, written;
    _Atomic uint64_t folded;
};

void hf_log_free_retired(hf_log *log);

/* history.c: how much of the past stays. */
int  hf_history_open(hf_log *log, hf_txn *txn);    /* what is there */
int  hf_history_start(hf_log *log, hf_txn *txn);   /* note how much shall stay */
void hf_history_limit(hf_log *log);                /* before a slice of the fold */
int  hf_history_slice(hf_log *log, hf_txn *txn, const uint64_t *next); /* what has to go goes, a
                                                      little a commit; next: its position */
int  hf_history_forget(hf_log *log);               /* all of it, for room: commits of its own */

/* past.c */
int  hf_past_begin(hf_log *log);
void hf_past_withdraw(hf_log *log);
void hf_past_done(hf_log *log); /* nobody reads it any more */

/* lend.c: after a commit */
void hf_lend_told(hf_log *log);

/* Begin to fold what is sealed; not collected yet. */
int      hf_folding_begin(hf_log *log);
/* Seal what is to be folded next, if it is time (or `all`), and collect it. */
int      hf_folding_seal(hf_log *log, bool all);
int      hf_folding_recollect(hf_log *log);    /* once more, if memory was short */
bool     hf_folding_waits(const hf_log *log);  /* for the collecting */
void     hf_folding_keep(hf_log *log);         /* after a commit with a slice */
int      hf_folding_commit(hf_log *log, uint64_t budget); /* a slice of its own */
int      hf_folding_turn(hf_log *log);         /* make freed pages usable */
void     hf_folding_squeezed(hf_log *log);     /* the disk said that it is full */
/* How much the fold may do in a commit that adds `bytes`; how long that took. */
uint64_t hf_folding_slice(const hf_log *log, uint64_t bytes);
void     hf_folding_took(hf_log *log, uint64_t budget, uint64_t ns);
/* Bytes in the window at which folding begins, and at which outsiders have to wait. */
uint64_t hf_folding_start(const hf_log *log);
uint64_t hf_folding_headroom(const hf_log *log); /* what is kept free for work when all is full */
/* What the window costs: its bytes on disk, and what readers remember of it. */
uint64_t hf_folding_weight(const hf_log *log);
bool     hf_folding_crowds(const hf_log *log);
bool     hf_folding_roomy(hf_log *log); /* may the store grow by some windows? Sets ample */
uint64_t hf_folding_limit(const hf_log *log);

/* Make the DONE and ACK entries of the group (into log->facts), sort all its
 * segments (into log->sorted), write them as records (into log->fresh). */
int hf_pack_done(hf_log *log, const hf_group *group);
int hf_pack_sort(hf_log *log, const hf_group *group, uint32_t *count);
int hf_pack_write(hf_log *log, hf_txn *txn, uint32_t count, uint64_t *next, uint64_t waiting);

#endif
