/* batch.h - everything that changes the store, on its way to the journal.
 *
 * A batch is one indivisible change: what a call from outside sends, or what
 * one or more turns did. It is filled by one thread, submitted, and handed back
 * (`settled`) by the journal, in the order of commits. */
#ifndef ENGINE_BATCH_H
#define ENGINE_BATCH_H

#include "storage/log.h"

#include <pthread.h>

typedef struct hf_batch  hf_batch;
typedef struct hf_engine hf_engine;

/* On the journal's thread, after the commit (HF_OK) or its failure: short, and
 * it never waits. The batch is the receiver's again. */
typedef void (*hf_settled_fn)(hf_batch *batch, int err);

struct hf_batch {
    hf_batch     *next;
    hf_engine    *engine;
    hf_settled_fn settled;
    void         *owner;      /* shard, parcel, waiting call, … */
    uint64_t      sequence;   /* the owner's numbering */
    uint64_t      end;        /* once settled: it lies below this position */
    hf_segment   *segments;   /* one a shard, then the facts */
    uint32_t      shards;
    hf_range     *done;       /* messages still in the window that are done */
    uint32_t      done_count, done_room;
    const struct hf_letter_more *more; /* what letters bring along; lent */
    hf_bytes      signature;  /* of an operator, on letters that are added; lent */
    uint64_t      ask;        /* who waits for the reply to what it sends; 0: nobody */
    struct hf_response *replies; /* for callers outside, newest first; reply.c */
    uint64_t      reply_bytes;
    uint64_t     *named;      /* messages ended by an entry that names them */
    uint32_t      named_count, named_room;
    uint64_t     *replaced;   /* images that are older than those in it; images.c */
    uint32_t      replaced_count, replaced_room;
    struct hf_dedupe_note *notes; /* of letters with .dedupe; dedupe.c */
    uint32_t      note_count, note_room, decided; /* the journal decided on so many */
    int           refusal;    /* HF_ECONFLICT or so: nothing of it is taken */
    uint32_t      turns;      /* that it acknowledges */
    uint32_t      dead;       /* messages that it buries */
    uint32_t      sends;      /* messages in it */
    uint32_t      fired;      /* DUEs in it */
    bool          waited;     /* somebody sleeps at the gate until it is settled */
    uint32_t      gate;       /* which: 0 or 1 */
    bool          rides;      /* needs no commit of its own */
    bool          outside;    /* from a caller, who is told when it can't be taken */
};

/* Empty batches kept for reuse, so that a busy sender neither allocates nor
 * touches fresh pages for each call. Any thread. */
typedef struct hf_shelf {
    pthread_mutex_t lock;
    hf_batch       *batches;
    uint32_t        count;
} hf_shelf;
int  hf_shelf_init(hf_shelf *shelf);
void hf_shelf_done(hf_shelf *shelf);

/* An empty one, from the engine's shelf if it can be; NULL: out of memory. */
hf_batch *hf_batch_new(hf_engine *engine);
void      hf_batch_free(hf_batch *batch); /* back on the shelf; NULL is fine */

/* Put it at the end of a list. */
static inline void hf_batch_enlist(hf_batch ***end, hf_batch *batch)
{
    batch->next = NULL;
    **end = batch;
    *end = &batch->next;
}

static inline hf_segment *hf_batch_facts(hf_batch *batch)
{
    return &batch->segments[batch->shards];
}

/* The message at that place, which a shard ran from the log, is done: extends the last
 * range. Named: an entry in the batch says so. */
int  hf_batch_done(hf_batch *batch, uint64_t place);
int  hf_batch_named(hf_batch *batch, uint64_t place);
uint64_t hf_batch_bytes(const hf_batch *batch);
bool hf_batch_is_empty(const hf_batch *batch);

/* Undoing what a failed turn staged. */
typedef struct hf_batch_mark {
    uint32_t len, count, messages, requeues, keeps;
} hf_batch_mark;
static inline hf_batch_mark hf_segment_mark(const hf_segment *s)
{
    return (hf_batch_mark){ s->len, s->count, s->messages, s->requeues, s->keeps };
}
static inline void hf_segment_cut(hf_segment *s, hf_batch_mark m)
{
    s->len = m.len;
    s->count = m.count;
    s->messages = m.messages;
    s->requeues = m.requeues;
    s->keeps = m.keeps;
}

#endif
