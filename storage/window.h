/* window.h - the part of the log that is not folded yet, in memory.
 *
 * A deque of records in the order of their positions. Each keeps which of its
 * messages are done. A record whose messages are all done and that holds
 * nothing else for the fold gives its bytes back at once; one that holds but facts for
 * the fold is read where the disk has it (lend.c); the rest go when the fold has moved
 * what is left of them into the tables.
 *
 *        tail                sealed                      head
 *         | folding now …      | waiting for the next fold |
 *
 * One thread (the journal's, or a test's) owns the window. Others follow the
 * chain `next` from a record they know and read `data`, which never changes;
 * they count themselves in `passed` when they need a record no more. */
#ifndef STORAGE_WINDOW_H
#define STORAGE_WINDOW_H

#include "storage/record.h"

#include "storage/entry.h"
#include "storage/slabs.h"

#include <stdatomic.h>

typedef struct hf_record {
    _Atomic(struct hf_record *) next;
    struct hf_record *idle; /* next in the list of those with nothing left */
    const uint8_t *data;    /* NULL: nothing of it is needed any more */
    uint64_t       base;    /* position of its first entry */
    uint64_t       time_ms;
    int64_t        skew_ms; /* what engine time was beyond that */
    uint64_t      *done;    /* a bit an entry; written by the owner only */
    uint64_t      *stale;   /* the same: a state that was saved again, by whoever knows */
    uint32_t       count, size, runs;
    uint32_t       messages; /* that it brought */
    uint32_t       live;    /* messages not done */
    uint32_t       keep;    /* other entries that the fold must see */
    atomic_uint    passed;  /* readers that need it no more */
    bool           borrowed; /* data belongs to somebody else */
    bool           plain;    /* of an earlier run, nothing but plain messages in it */
    bool           past;     /* of an earlier run: its bytes stay till it is folded */
    bool           pointed;  /* who came past may point to what is no message: alarms */
    size_t         room;    /* bytes allocated for data */
} hf_record;

typedef struct hf_window {
    hf_record **records;    /* ring of `slots`, a power of two */
    uint32_t    slots, first, count;
    uint32_t    sealed;     /* how many from the tail are being folded */
    hf_record  *idle, **idle_end; /* nothing left; wait for their readers */
    hf_record  *told, **told_end; /* facts are left; the same */
    uint64_t    bytes;      /* of all records on disk */
    uint64_t    sealed_bytes;
    uint64_t    held;       /* bytes in memory */
    uint64_t    lent;       /* of records that are read where the disk has them */
    uint32_t    readers;    /* how many must pass a record; 0: none follow */
    hf_slabs    slabs;      /* where most data lies */
} hf_window;

void hf_window_init(hf_window *window, uint32_t readers);
void hf_window_done(hf_window *window); /* frees all; the struct is the caller's */

static inline hf_record *hf_window_at(const hf_window *window, uint32_t index)
{
    return window->records[(window->first + index) & (window->slots - 1)];
}

/* Engine time, going on from the newest record; Unix ms but for what somebody set the wall
 * clock by while an engine ran. */
static inline uint64_t hf_window_time(const hf_window *window, uint64_t wall_ms)
{
    if (!window->count)
        return wall_ms;
    const hf_record *last = hf_window_at(window, window->count - 1);
    return (wall_ms > last->time_ms ? wall_ms : last->time_ms) + (uint64_t)last->skew_ms;
}

/* A chunk for a record of `size` bytes; NULL: out of memory. */
uint8_t *hf_window_chunk(hf_window *window, size_t size, size_t *room);
void     hf_window_chunk_free(hf_window *window, uint8_t *chunk, size_t room);

/* A new record at the head, whose data is handed over. It is not linked to the
 * one before until hf_window_link: readers must not see it before its commit. */
hf_record *hf_window_record(hf_window *window, uint64_t base, uint8_t *data, size_t room,
                            const hf_record_head *head);
void       hf_record_free(hf_window *window, hf_record *record);

/* So many pushes can't fail then. HF_ENOMEM. */
int        hf_window_reserve(hf_window *window, uint32_t more);

/* Put it at the head; live and keep are set. */
int        hf_window_push(hf_window *window, hf_record *record);

/* The record that holds `position`, or NULL: it left the window, or the
 * position was never given. */
hf_record *hf_window_find(const hf_window *window, uint64_t position);

/* Mark messages done; positions outside the window are passed over. Returns how many
 * were newly marked, or HF_WINDOW_WRONG: more than there were messages. */
#define HF_WINDOW_WRONG UINT32_MAX
uint32_t hf_window_mark(hf_window *window, uint64_t first, uint32_t count);

static inline bool hf_record_is_done(const hf_record *record, uint32_t index)
{
    /* A reader may look at one bit while the owner sets others beside it. */
    return __atomic_load_n(&record->done[index >> 6], __ATOMIC_RELAXED) >> (index & 63) & 1;
}

/* Any thread that may point into the record: a newer state of the same actor is committed,
 * so the fold may leave this one out. */
static inline void hf_record_outdate(uint64_t *stale, uint32_t index)
{
    (void)__atomic_fetch_or(&stale[index >> 6], (uint64_t)1 << (index & 63), __ATOMIC_RELAXED);
}

static inline bool hf_record_is_stale(const hf_record *record, uint32_t index)
{
    return __atomic_load_n(&record->stale[index >> 6], __ATOMIC_RELAXED) >> (index & 63) & 1;
}

uint32_t hf_record_stale_count(const hf_record *record);

/* Give back the bytes of records of which nothing is left; cheap. */
void hf_window_trim(hf_window *window);

/* The oldest unsealed record that nobody reads any more but the fold, and of which only
 * facts are left; NULL: none. It is returned once, and may be lent bytes that are the same
 * and stay until it is retired. */
hf_record *hf_window_told(hf_window *window);
void       hf_window_lend(hf_window *window, hf_record *record, const uint8_t *data);

/* Each entry that is more than a message or its end, oldest first: states, steps,
 * pauses, retries, … Records of messages alone are passed over. */
typedef int (*hf_fact_fn)(void *user, const hf_entry *entry, uint64_t position);
int hf_window_facts(const hf_window *window, hf_fact_fn each, void *user);

/* Nothing goes on just now: empty slabs go back to the system. */
void hf_window_rest(hf_window *window);

/* Seal records from the tail until at most `keep_bytes` stay unsealed and none below
 * `must`, but none that reaches beyond `hold`. */
void hf_window_seal(hf_window *window, uint64_t keep_bytes, uint64_t hold, uint64_t must);
void hf_window_unseal(hf_window *window);

/* Take the first `count` sealed records out of the window (they stay chained for readers)
 * and hand them to `each`. */
void hf_window_pop(hf_window *window, uint32_t count, void (*each)(void *, hf_record *),
                   void *user);

/* First position not in the window's past: base of the first record, or `next`. */
uint64_t hf_window_tail(const hf_window *window, uint64_t next);

#endif
