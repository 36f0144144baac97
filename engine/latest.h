/* latest.h - the letters of a mailbox that replace each other, by kind.
 *
 * A hash table of the kinds, and a heap by the place of the oldest of each. The shard's
 * thread; for what is done with it see conflate.h. */
#ifndef ENGINE_LATEST_H
#define ENGINE_LATEST_H

#include "engine/conflate.h"
#include "engine/endset.h"

enum { HF_LATEST_CROWD = 1024 }; /* so many of a kind are too many */

typedef struct hf_member {
    uint64_t id, place;
} hf_member;

/* The letters of one kind that wait. */
typedef struct hf_latest {
    struct hf_latest *next;     /* of its bucket */
    uint64_t       hash;
    uint64_t       front;    /* the lowest place of all */
    uint64_t       recent;   /* of the newest: its place or id, whichever came later */
    hf_letter_in   letter;   /* the newest; entry NULL: a row, or `held` */
    hf_parcel     *held;     /* those that were replaced already, as one */
    hf_member     *members;  /* the rest */
    uint32_t       count, room;
    uint64_t       letters;  /* in all, replaced ones too */
    uint32_t       heap;     /* index */
    uint32_t       urgency;
    uint32_t       kind_len;
    char           kind[];
} hf_latest;

struct hf_conflated {
    hf_latest **buckets, **heap;
    uint32_t  mask, count, heap_room;
    uint64_t  waiting;       /* letters */
    uint64_t  looked;        /* rows up to there were looked at */
    bool      unlooked;      /* and there may be more */
    hf_latest *crowded;
    hf_endset ends;
    uint64_t  most;          /* the highest place that was ended */
};

/* The mailbox's, made if it has none. HF_ENOMEM. */
int  hf_conflated_of(hf_mailbox *box, struct hf_conflated **conflated);

static inline uint64_t hf_recency(uint64_t id, uint64_t place)
{
    return id > place ? id : place;
}

hf_latest *hf_latest_find(const struct hf_conflated *conflated, const hf_entry *letter);
/* The same; made if there is none. HF_ENOMEM. */
int  hf_latest_of(struct hf_conflated *conflated, const hf_entry *letter, hf_latest **latest);
void hf_latest_remove(hf_mailbox *box, hf_latest *latest); /* `held` is the caller's */
/* It is the newest, if it is newer; it stands first, if it is older. */
void hf_latest_newest(hf_mailbox *box, hf_latest *latest, const hf_letter_in *letter,
                      uint32_t urgency);
void hf_latest_front(struct hf_conflated *conflated, hf_latest *latest, uint64_t place);
int  hf_latest_add(hf_mailbox *box, const hf_entry *e, const hf_letter_in *letter); /* HF_ENOMEM */

#endif
