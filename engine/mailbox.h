/* mailbox.h - what waits for one actor, and what it is busy with.
 *
 * In the order of their places:
 *   parcels   messages that were begun: they run on a pool, wait for a retry,
 *             or were requeued; each is a copy that owns its bytes
 *   paged     rows read from the inbox table
 *   letters   messages that lie in the window; entries point into its records
 * There may be more rows in the table between paged and letters
 * (actor->rows). Owned by the shard's thread. */
#ifndef ENGINE_MAILBOX_H
#define ENGINE_MAILBOX_H

#include "engine/actor.h"

#include <stdatomic.h>

/* Rows of the inbox, copied out of one snapshot. */
typedef struct hf_page {
    uint32_t uses;      /* letters that point into it */
    uint8_t  bytes[];   /* aligned for entries */
} hf_page;

/* A message that was not begun. */
typedef struct hf_letter_in {
    const uint8_t *entry;
    hf_page       *page;   /* NULL: entry lies in the window */
    uint64_t       id, place;
    uint64_t       time_ms;
} hf_letter_in;

typedef struct hf_letters {
    hf_letter_in *items;
    uint32_t      first, count, slots; /* a power of two */
} hf_letters;

typedef enum hf_parcel_now {
    HF_PARCEL_RESTS, /* waits for its time: a retry, a snooze, a strike */
    HF_PARCEL_RUNS,  /* in a handler, or between HF_PENDING and hf_finish */
} hf_parcel_now;

/* How the turn of a parcel on a pool ended. */
typedef enum hf_parcel_end {
    HF_END_DONE, HF_END_RESTS, HF_END_DEAD,
    HF_END_HELD /* nothing of it stands, no try is burnt: again soon */
} hf_parcel_end;

/* A message that was begun. */
typedef struct hf_parcel {
    struct hf_parcel *next;      /* of its mailbox, by place */
    struct hf_parcel *queued, *queued_before; /* of a pool's queue, or a shard's list */
    uint32_t          queued_ms, era; /* since when; what its type's breaker was like */
    uint8_t           queue_level;
    bool              is_queued; /* in its pool's queue */
    hf_actor         *actor;
    struct hf_shard  *shard;
    hf_entry          e;         /* the message; points into bytes */
    uint8_t          *bytes;
    uint8_t          *trouble;   /* error text and times, after a failure */
    uint8_t          *notes;     /* what an operator did since it became a parcel */
    struct hf_batch  *batch;     /* of its last turn on a pool, until taken back */
    hf_parcel_end     end;       /* and how that ended */
    uint64_t          due_ms;
    struct hf_steps  *steps;     /* what is known of its steps; step.c */
    const struct hf_rowset *rows_left; /* on a pool: rows its actor put before; rows.c */
    struct hf_turn_rows *rows;   /* and what its turn there staged */
    uint32_t          save_at, save_index; /* as the turn has them */
    uint64_t          tomb;
    bool              saved, forgot;
    bool              alarms;    /* it set or cancelled some */
    uint64_t          due_ns;    /* when it may go on, engine time */
    uint32_t          heap;      /* index in the shard's timers + 1; 0: none */
    hf_parcel_now     now;
    bool              more;      /* others wait behind it */
    bool              requeued;  /* in this run, from the dead */
    atomic_bool       stop;      /* its next turn, or the one that runs, is asked to stop */
} hf_parcel;

/* Actors that wait to be served: urgency.h */
enum { HF_URGENCIES = 10 };
typedef struct hf_line {
    hf_mailbox *first[HF_URGENCIES], *last[HF_URGENCIES];
    uint32_t    count, levels;   /* levels: a bit for each that has members */
} hf_line;

struct hf_mailbox {
    hf_actor   *actor;
    struct hf_line *in;          /* where it stands: to run, or held; NULL: nowhere */
    hf_mailbox *next_ready, *prev_ready; /* there */
    hf_mailbox *prev_box, *next_box; /* all mailboxes of the shard */
    hf_parcel  *parcels;
    hf_letters  paged, letters;
    struct hf_conflated *conflated; /* letters that replace each other; NULL: none; conflate.c */
    uint32_t    unread;          /* rows that were not paged in, about; inbox.c */
    bool        full;            /* outside senders are told so */
    uint32_t    running;         /* parcels that run or commit */
    uint64_t    words_end;       /* a pool's turn set or cancelled alarms: the shard has to
                                    read up to there first; 0: it need not */
    uint32_t   *urgent;          /* how many of each urgency wait; NULL: none ever did */
    uint32_t    since_ms;        /* stands there since */
    uint8_t     urgency, level;  /* the highest of those; where it stands */
    bool        paused, counted; /* counted: as held in the engine's counters */
};

int   hf_letters_push(hf_letters *letters, const hf_letter_in *letter);
hf_letter_in *hf_letters_front(hf_letters *letters); /* NULL: empty */
void  hf_letters_pop(hf_letters *letters);
/* How many lie below that place; and without these, which have no pages. */
uint32_t hf_letters_below(const hf_letters *letters, uint64_t place);
void  hf_letters_cut(hf_letters *letters, uint32_t count);
void  hf_page_drop(hf_page *page); /* one use less; NULL is fine */

hf_mailbox *hf_mailbox_new(hf_actor *actor);
void        hf_mailbox_free(hf_mailbox *mailbox); /* with its parcels and letters */
bool        hf_mailbox_is_empty(const hf_mailbox *mailbox);

/* A copy of the message; id, place and time filled in. NULL: out of memory. */
hf_parcel *hf_parcel_new(hf_actor *actor, const hf_entry *message);
void       hf_parcel_free(hf_parcel *parcel);
void       hf_steps_free(struct hf_steps *steps); /* step.c; NULL is fine */
/* What its last failure left: copied. */
int        hf_parcel_note(hf_parcel *parcel, int err, const char *error, uint64_t now_ms);
/* What operators did to it: copied. */
int        hf_parcel_annotate(hf_parcel *parcel, hf_bytes notes);
void       hf_mailbox_insert(hf_mailbox *mailbox, hf_parcel *parcel); /* by place */
void       hf_mailbox_remove(hf_mailbox *mailbox, hf_parcel *parcel);

#endif
