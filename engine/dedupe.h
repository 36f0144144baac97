/* dedupe.h - an actor takes one letter of an id in 24 hours.
 *
 * Whoever stages a letter with .dedupe hangs a note on its batch; the journal, which
 * alone sees all batches in order, looks at the notes while it gathers a group: was the
 * word taken before? A SEND that says the same again becomes a VOID, which is nothing;
 * a call from outside that says something else is refused, and a turn's letter that does
 * is marked, to be buried by the shard that meets it.
 *
 * What this window took is in a map here, what lies behind it in the table dedupe. */
#ifndef ENGINE_DEDUPE_H
#define ENGINE_DEDUPE_H

#include "engine/batch.h"

#include "storage/taken.h"

typedef struct hf_dedupe_row hf_dedupe_row; /* a word that was taken */

/* A letter with a word, or what came of one. Made by who stages it. */
typedef struct hf_dedupe_note {
    hf_dedupe_row *row;     /* the map's, once it was taken over */
    const hf_dedupe_row *first; /* a duplicate's */
    uint32_t       shard, offset, index; /* of the entry: segment, where in it */
    uint32_t       letter;  /* number in its call */
    bool           reply;   /* a PUT */
    bool           taken, duplicate, conflict;
    uint64_t       id;      /* of the first, once settled; 0: see `first` */
} hf_dedupe_note;

typedef struct hf_dedupe {
    pthread_mutex_t lock;      /* of the map; held for moments only */
    hf_dedupe_row **buckets;
    uint32_t        mask, count;
    hf_dedupe_row  *oldest, **newest_end; /* as they were committed */
    hf_rowbuf       buf;       /* the journal's */
    size_t          near;
    bool            ready;
    /* the loop's: rows that are over */
    hf_key          swept;     /* goes on behind it; empty: from the start */
    uint64_t        sweep_at;  /* engine time: no row is over before */
    uint64_t        eldest;    /* of this walk */
    _Atomic uint64_t dropped_end; /* what was dropped lies below this position */
    hf_rowbuf       sweep_buf;
} hf_dedupe;

int  hf_dedupe_init(hf_engine *engine);
void hf_dedupe_done(hf_engine *engine);

/* The SEND was just added to the batch's segment `shard`, as the `letter`th of its call.
 * HF_ENOMEM. */
int  hf_dedupe_note_send(hf_batch *batch, const hf_entry *send, uint32_t shard, uint32_t letter);
/* Stage what came of a message that has a word: who sends it again learns that.
 * A reply of more than HF_TAKEN_REPLY_MAX is not kept. HF_ENOMEM. */
int  hf_dedupe_note_end(hf_batch *batch, const hf_entry *message, hf_taken_outcome outcome,
                        hf_bytes reply);
/* Notes from `count` on never were. */
void hf_dedupe_cut(hf_batch *batch, uint32_t count);

/* The journal's thread, before a group is written: decide on each note. Takes what must
 * be refused (batch->refusal says why) out of `outside` and returns it as a list. */
int  hf_dedupe_gather(hf_engine *engine, hf_batch *turns, hf_batch **outside,
                      hf_batch **refused);
/* And when what became of the batch is known, before anyone is told. */
void hf_dedupe_settled(hf_batch *batch, int err);

/* After that: put the ids of the first ones into the receipts. */
void hf_dedupe_receipts(const hf_batch *batch, hf_receipt *receipts);
/* Was the letter a duplicate? Of which message? */
bool hf_dedupe_was_taken(const hf_batch *batch, uint32_t letter, uint64_t *id);
/* HF_ECONFLICT, with what there is to say about it. */
int  hf_dedupe_explain(const hf_batch *batch);

/* What is known of a word of an actor: HF_OK, HF_ENOTFOUND (never used, or that is over), an
 * error. *reply: to be freed with hf_mem_free; taken->reply points into it. Any thread. */
int  hf_dedupe_find(hf_engine *engine, const char *to, size_t to_len, const char *word,
                    hf_taken *taken, uint8_t **reply);

/* Once a second, on the loop's thread: some rows that are over go. */
void hf_dedupe_sweep(hf_engine *engine);

#endif
