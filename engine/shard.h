/* shard.h - one thread's share of the actors.
 *
 * An actor belongs to the shard its hash falls to; its turns run there, one
 * after another, with no lock. A shard follows the chain of committed records
 * and takes messages only while its own uncommitted bytes are below a cap. */
#ifndef ENGINE_SHARD_H
#define ENGINE_SHARD_H

#include "engine/batch.h"
#include "engine/mailbox.h"

#include "storage/overlay.h"

#include <pthread.h>

typedef struct hf_turn hf_turn;

/* Bytes of its own; then it takes no more. While space is short what it ends would wait
 * behind what it sends. */
enum { HF_UNCOMMITTED_MAX = 2 << 20, HF_UNCOMMITTED_TIGHT = 16 << 10 };

/* Which batch lies below which position: for what the fold makes unneeded. */
typedef struct hf_mile {
    uint64_t batch, end;
} hf_mile;

/* A message that killed the process too often, buried in that batch. */
enum { HF_BURIALS = 16 };
typedef struct hf_burial {
    uint64_t id, batch;
} hf_burial;

/* What another thread wants done on the shard's. */
typedef struct hf_errand {
    struct hf_errand *next;
    void (*run)(struct hf_shard *shard, struct hf_errand *errand);
} hf_errand;

typedef struct hf_shard {
    _Alignas(64) hf_engine *engine; /* no line of its neighbour's */
    uint32_t        index;
    pthread_t       thread;
    bool            started;
    /* any thread */
    atomic_uint     bell;          /* rung when there may be work */
    atomic_bool     asleep, stop;
    pthread_mutex_t lock;
    hf_batch       *settled, **settled_end; /* its own, committed, in order */
    hf_parcel      *finished;      /* turns of pools that are settled */
    hf_errand      *errands, **errands_end;
    atomic_uint     errand_count;  /* not run yet */
    hf_errand       halt;          /* while the engine closes */
    atomic_int      halts;         /* 0: not asked, 1: asked, 2: it runs no turn any more */
    /* written by the shard, read by any */
    _Atomic uint64_t quiet;        /* the bell (+ 1) at which it had nothing to do and
                                      nothing on its way; 0: it is busy */
    _Atomic uint64_t calm;         /* the same, of an engine under test: what rests until */
    _Atomic uint64_t next_ns;      /* this time is nothing to do; kit.h */
    _Atomic uint64_t activity;     /* changes whenever it does something */
    _Atomic uint64_t pulled;       /* everything below was taken or lies in tables */
    _Atomic uint64_t released;     /* points into no record below */
    _Atomic uint64_t passed_bytes; /* of the log, since the start */
    _Atomic uint64_t residents, resident_bytes;
    /* the shard's thread */
    hf_actors       actors;
    hf_record      *at;            /* being read */
    uint32_t        at_run, at_index, at_run_left;
    uint32_t        at_offset;
    bool            at_done;       /* `at` is read to its end */
    uint64_t        folded;        /* what it knows of hf_log_folded */
    uint64_t        spills;        /* times rows came into the table unseen */
    bool            rows_possible; /* the inbox table may hold rows */
    hf_batch       *batch;         /* being filled; NULL: none */
    uint64_t        batch_number, committed, folded_batch;
    hf_mile        *miles;
    uint32_t        mile_first, mile_count, mile_slots;
    struct hf_image_place *images; /* where batches put theirs; NULL: none did; images.c */
    uint64_t        uncommitted;   /* bytes submitted and not settled */
    hf_burial       burials[HF_BURIALS]; /* not committed yet */
    uint32_t        burial_count;
    uint64_t        start;         /* first position of this run */
    hf_rowbuf       row;           /* rows that are looked at are made here */
    size_t          near_inbox, near_state; /* where in the past they were found last */
    hf_mailbox     *boxes;         /* all of them */
    hf_line         ready;         /* actors to run */
    hf_line        *held;          /* and those that their type's limit holds, one a type;
                                      NULL: no type has one */
    uint32_t        era;           /* of the turn that was admitted last: limit.c */
    uint32_t        now_ms;        /* coarse clock for who stands in line */
    uint32_t        ahead;         /* letters taken out of the log and not run, about */
    uint64_t        words_end;     /* some mailbox waits until it has read up to there */
    hf_parcel     **timers;        /* heap by due_ns */
    uint32_t        timer_count, timer_room;
    uint32_t        parcels;       /* alive; the heap has room for so many */
    uint32_t        runs_outside;  /* its parcels in pools or committing */
    uint32_t        rests;         /* resting parcels that are not held by a pause */
    bool            scanning;      /* looks for actors with rows */
    uint32_t        scan_kind;
    hf_key          scan_key;
    uint32_t        seconds;       /* coarse clock for idle_ms */
    struct hf_rowset *row_sets, **row_buckets; /* one bucket, or row_mask + 1; rowed.c */
    uint32_t        row_mask, row_count;
    struct hf_dirty_marks *dirty;  /* NULL: no type flushes; dirty.c */
    /* ids of messages that were cancelled; NULL: none ever was; cancel.c */
    struct hf_endset *doomed;
    struct hf_alarms *alarms;      /* what is due later: alarms.h */
    bool            reads_on;      /* it staged many words about that, which it has yet to read
                                      in the log: nothing runs before it has */
    hf_turn        *turn;          /* reused */
    struct hf_census *census;      /* its row of each type: census.h */
    struct hf_strike_slot *slot;
} hf_shard;

int  hf_shards_make(hf_engine *engine);  /* before the journal's thread, which asks them */
int  hf_shards_start(hf_engine *engine);
/* It closes: how many may still run a turn, and how many of these are in one? */
uint32_t hf_shards_halt(hf_engine *engine, uint32_t *in_turns);
void hf_shards_stop(hf_engine *engine);  /* lets running turns end */
void hf_shards_done(hf_engine *engine);  /* frees; after the journal ended, too */
void hf_shards_wake(hf_engine *engine);
/* There is news, and nobody may take a shard for idle until it has looked;
 * hf_shards_wake follows. */
void hf_shards_stir(hf_engine *engine);
bool hf_shard_is_quiet(const hf_shard *shard); /* any thread */
uint64_t hf_shards_lag(const hf_engine *engine);      /* bytes of log not passed by all */
void     hf_shards_tell_log(hf_engine *engine); /* what they have read and remember; the
                                                   journal's thread */
uint64_t hf_shards_released(const hf_engine *engine); /* position */

void hf_shard_ring(hf_shard *shard);
void hf_shard_send_errand(hf_shard *shard, hf_errand *errand); /* any thread */

/* rounds.c: its thread */
void *hf_rounds_main(void *shard);

/* dispatch.c */
int   hf_dispatch_line(hf_shard *shard); /* some turns of those who stand in line */
void  hf_dispatch_ready(hf_shard *shard, hf_mailbox *mailbox); /* let it run */
int   hf_dispatch_mailbox(hf_shard *shard, hf_actor *actor, hf_mailbox **mailbox);
/* The message as a parcel, not in its mailbox yet. NULL: out of memory. */
hf_parcel *hf_dispatch_parcel(hf_shard *shard, hf_actor *actor, const hf_entry *message);
void  hf_dispatch_parcel_drop(hf_shard *shard, hf_parcel *parcel); /* it never got there */
void  hf_dispatch_rest(hf_shard *shard, hf_parcel *parcel, uint64_t due_ns); /* sets the timer */
void  hf_dispatch_parcel_done(hf_shard *shard, hf_parcel *parcel); /* ended: forget it */

/* A letter's message; its entry was checked before. */
void  hf_dispatch_decode(const hf_letter_in *letter, hf_entry *message);
/* One message, one turn, of a type without threads. letter or parcel says where
 * it came from. HF_ENOMEM: nothing of it happened. */
int   hf_dispatch_turn(hf_shard *shard, hf_actor *actor, const hf_entry *message,
                       const hf_letter_in *letter, hf_parcel *parcel);
bool  hf_shard_may_take(const hf_shard *shard);

/* pull.c: take messages from the log, some turns or all that is there */
int   hf_pull(hf_shard *shard);

/* timers.c */
void  hf_timers_remove(hf_shard *shard, hf_parcel *parcel);
void  hf_timers_wake(hf_shard *shard);

/* outbox.c
 * The open batch; NULL: out of memory. Submits it when it is large. */
hf_batch *hf_shard_batch(hf_shard *shard);
void      hf_shard_submit(hf_shard *shard);
void      hf_outbox_settled(hf_shard *shard, hf_batch *list);
/* Below which position the batch lies, of those that are not folded. UINT64_MAX: unknown. */
uint64_t  hf_outbox_end(const hf_shard *shard, uint64_t batch);

/* images.c: which states in the log are not the newest. A turn that saved or forgot stands;
 * a batch is committed. */
void      hf_images_saved(hf_actor *actor, const hf_turn *turn);
void      hf_images_settled(hf_shard *shard, const hf_batch *batch);

/* resident.c: actors in and out of memory */
int  hf_resident_load(hf_shard *shard, uint64_t hash, const char *address, size_t len,
                      hf_actor **actor);
void hf_resident_sweep(hf_shard *shard);
void hf_resident_fold(hf_shard *shard, uint64_t folded); /* the fold got this far */
void hf_resident_release(hf_shard *shard); /* nothing of it points below that any more */
void hf_resident_close(hf_shard *shard); /* all threads ended; asleep hooks */
/* Has the fold passed what hf_actor.batch says? */
bool hf_resident_is_folded(const hf_shard *shard, uint64_t batch);
/* Is it on disk? */
bool hf_resident_is_committed(const hf_shard *shard, uint64_t batch);
/* Changed by a batch whose end is known: stays in memory until that is folded. */
void hf_resident_changed(const hf_shard *shard, hf_actor *actor, uint64_t end);

/* paging.c: messages out of the inbox table
 *
 * A snapshot of the tables with the past laid over them; end it with hf_txn_abort. */
int  hf_paging_look(hf_shard *shard, size_t *near, hf_overlay *overlay);
int  hf_paging_check(hf_shard *shard, hf_actor *actor); /* sets actor->rows */
int  hf_paging_fill(hf_shard *shard, hf_actor *actor);  /* into mailbox->paged */
void hf_paging_scan(hf_shard *shard); /* find some actors with rows, make them ready */
void hf_paging_scan_again(hf_shard *shard);

#endif
