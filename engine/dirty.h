/* dirty.h - actors that were changed and not flushed, from inside: flush.c, dirty.c,
 * flush_walk.c, flush_store.c. */
#ifndef ENGINE_DIRTY_H
#define ENGINE_DIRTY_H

#include "engine/flush.h"

enum {
    HF_FLUSH_IMAGES = 16384,   /* in one call, about */
    HF_FLUSH_BYTES  = 8 << 20,
    HF_TOMB_NAME    = 33,      /* 'f', two numbers in hex */
};

/* Names a tombstone; number 0: none. */
typedef struct hf_tomb {
    uint64_t run, number;
} hf_tomb;

/* One changed actor: in its desk's line, then, with its image, on its way to the type's
 * thread, which frees it when it is flushed. */
typedef struct hf_dirty {
    struct hf_dirty *next, *link;  /* in line; in its bucket */
    uint64_t         hash;
    uint64_t         since_ns;     /* first change */
    uint64_t         first;        /* no change of it lies below; 0: not committed yet */
    uint64_t         version;      /* of the newest change, once `batch` is 0 */
    uint64_t         batch;        /* that is to be committed first */
    uint32_t         index;        /* in its facts */
    uint32_t         state_len;
    uint8_t         *state;
    hf_tomb          tomb;
    uint8_t          len;
    bool             gone;         /* forgotten */
    bool             late;         /* its image is made, and waits for the commit */
    char             address[];
} hf_dirty;

/* A tombstone that is needed no more once that batch is committed. */
typedef struct hf_tomb_drop {
    hf_tomb  tomb;
    uint64_t batch;
} hf_tomb_drop;

/* What a shard has of a type. The shard's thread, but what says otherwise. */
typedef struct hf_flush_desk {
    hf_errand        errand;       /* first */
    struct hf_flush *flush;
    hf_shard        *shard;
    hf_dirty        *first, **end;
    hf_dirty       **buckets;
    uint32_t         mask, count;
    hf_dirty        *spare;
    uint32_t         spare_len;
    _Atomic uint64_t since_ns;     /* of the first in line; 0: none. Any thread reads */
    uint64_t         settled;      /* with the errand: what lies below was told to us */
    uint64_t         floor;        /* and with the one before */
    hf_tomb_drop    *drops;
    uint32_t         drop_count, drop_room;
    /* the answer, while it is made */
    hf_dirty        *came, **came_end;
    uint32_t         late_count;
    uint32_t         image_count;
    uint64_t         image_bytes;
    bool             answering;
    bool             take;         /* with the errand: the line, too, not only the walk */
    /* flush_walk.c */
    int              walk;         /* 0: tombstones, 1: states, 2: done */
    hf_key           walk_key;
    size_t           near_rows, near_states;
} hf_flush_desk;

/* Which entries wait for which batch of the shard's. */
typedef struct hf_dirty_mark {
    hf_dirty *entry;
    uint64_t  batch;
    uint32_t  index;
    uint32_t  type;
} hf_dirty_mark;
typedef struct hf_dirty_marks {
    hf_dirty_mark *items;
    uint32_t       first, count, room;
} hf_dirty_marks;

/* What a type has. */
typedef struct hf_flush {
    hf_engine       *engine;
    hf_kind_of      *kind;
    pthread_t        thread;
    bool             started;
    bool             now;          /* HF_NOW */
    bool             fresh;        /* the store has no row of it, */
    bool             was_closed;   /* or says that all was flushed: so it must be told */
    uint64_t         from;         /* the watermark at open */
    uint32_t         desk_count;
    hf_flush_desk   *desks;
    /* any thread */
    _Atomic uint64_t dirty, flushed, failed;
    atomic_uint      parked;       /* replies */
    atomic_bool      walking;      /* not all is known that is dirty */
    atomic_bool      frozen;       /* something could not be noted: the watermark stays */
    _Atomic uint64_t tombs;        /* given so far */
    /* any thread, under lock */
    pthread_mutex_t  lock;
    pthread_cond_t   wake;
    bool             stop, closing, hurry, finished;
    bool             runs;         /* a round */
    uint32_t         answers;      /* that are still to come */
    hf_dirty        *came, **came_end;
    hf_tomb         *drops;        /* whose DROP is to be written */
    uint32_t         drop_count, drop_room;
    uint64_t         low;          /* what was saved below has come, */
    bool             left, busy;   /* more is in line; something is not committed */
    struct hf_response *waiting, **waiting_end;
    /* its own thread */
    hf_dirty       **hand;         /* to be flushed */
    uint32_t         hand_count, hand_room;
    uint64_t         hand_bytes;
    hf_image        *images;
    uint32_t         image_room;
    uint64_t         written;      /* the watermark in the store */
    uint64_t         through;      /* all below is flushed, of this run */
    _Atomic uint64_t again_ns;     /* not before, after a failure */
    uint32_t         failures;     /* in a row */
} hf_flush;

void hf_dirty_free(hf_dirty *entry);
hf_dirty *hf_dirty_new(const char *address, size_t len, uint64_t hash); /* NULL: no memory */
/* The desk's entry of that actor, or NULL. */
hf_dirty *hf_dirty_find(const hf_flush_desk *desk, uint64_t hash, const char *address, size_t len);
/* Put it in line; it is not there yet. */
void hf_dirty_line(hf_flush_desk *desk, hf_dirty *entry);
/* Room for one more drop, and that. */
int  hf_dirty_drop_ready(hf_flush_desk *desk, uint32_t count);
void hf_dirty_drop(hf_flush_desk *desk, hf_tomb tomb, uint64_t batch);
/* It has its image: goes with the answer. */
void hf_dirty_came(hf_flush_desk *desk, hf_dirty *entry);
bool hf_dirty_is_full(const hf_flush_desk *desk);

/* Look on for what an earlier run left. HF_ENOMEM, …: again later. */
int  hf_flush_walk(hf_flush_desk *desk);

/* The desk's answer is complete. The shard's thread. */
void hf_flush_answer(hf_flush_desk *desk, uint64_t low, bool left, bool busy);
/* Somebody was changed, who was not. Any thread. */
void hf_flush_ring(hf_flush *flush);

/* Stage the type's row, and the end of a tombstone. HF_ENOMEM. */
int  hf_flush_stage_row(const hf_kind_of *kind, hf_batch *batch, uint64_t watermark, bool closed);
int  hf_flush_stage_drop(const hf_kind_of *kind, hf_batch *batch, hf_tomb tomb);

#endif
