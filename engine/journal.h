/* journal.h - the one way in: batches become commits, strictly in order. */
#ifndef ENGINE_JOURNAL_H
#define ENGINE_JOURNAL_H

#include "engine/batch.h"
#include "engine/histogram.h"
#include "engine/thread.h"

#include <pthread.h>

typedef struct hf_journal {
    /* any thread, under lock */
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    pthread_cond_t  moved;      /* settled grew, or there is room again */
    hf_batch       *outside, **outside_end;
    hf_batch       *turns, **turns_end;
    uint64_t        ride_until; /* when what rides goes at the latest, ns; 0: nothing rides */
    uint64_t        outside_bytes; /* queued or being written */
    uint64_t        submitted, settled; /* outside batches, for hf_sync */
    uint32_t        gathering;  /* number of the group that is being gathered */
    bool            asleep, urgent, stop, busy;
    /* the journal's thread */
    pthread_t       thread;
    bool            started;
    hf_group        group;
    hf_batch       *stuck;      /* turns that found no room: again before others */
    hf_batch       *words;      /* operators' words that found none: neither refused yet, */
    uint64_t        words_until; /* nor kept for longer than this, ns */
    uint64_t        paced_ns;   /* when outsiders were last let in */
    /* bytes that a group may hold less than the most: commits take long */
    uint64_t        group_less;
    uint64_t        worked_ns;  /* the last commit */
    bool            rested;     /* gave memory back since then */
    bool            starved;    /* told the log that there is no room */
    bool            poor;       /* no memory to fold with */
    hf_haste        haste;
    /* any thread */
    atomic_uint     gate[2];    /* senders of even and odd groups sleep here */
    atomic_uint     inflight;   /* batches submitted and not settled */
    atomic_uint     knocks;     /* counts submissions that don't ride */
    hf_histogram    latency;    /* of commits, microseconds */
} hf_journal;

int  hf_journal_init(hf_journal *journal);
void hf_journal_done(hf_journal *journal);
int  hf_journal_start(hf_engine *engine);
/* Settle what is queued (stop != 0: with that error instead), end the thread. */
void hf_journal_stop(hf_engine *engine);

/* Hand over a batch; never waits. Turns are always taken; a batch from outside
 * only if the engine runs: HF_ECLOSED, HF_EUNKNOWN. */
int  hf_journal_submit(hf_engine *engine, hf_batch *batch);

/* The same, and wait until it is settled. Returns what became of it. */
int  hf_journal_wait(hf_engine *engine, hf_batch *batch);

/* Is there room for so many bytes from outside? Waits up to timeout_ms. */
int  hf_journal_admit(hf_engine *engine, uint64_t bytes, uint32_t timeout_ms);

/* Wait until all that outsiders handed in so far is settled. */
int  hf_journal_sync(hf_engine *engine, uint32_t timeout_ms);

/* Let what rides go now. */
void hf_journal_kick(hf_engine *engine);

/* Hand all of a list back, then open the gates, each at once. Returns how many. */
uint32_t hf_journal_settle(hf_engine *engine, hf_batch *list, int err);

/* pace.c: bytes of outsiders that may come in now; the same beside what these turns
 * bring; must shards wait for the fold? */
uint64_t hf_pace_bytes(hf_engine *engine);
uint64_t hf_pace_allowance(hf_engine *engine, const hf_batch *turns);
bool     hf_pace_crowded(hf_engine *engine);
uint64_t hf_batches_bytes(const hf_batch *list);
uint32_t hf_batches_count(const hf_batch *list);
bool     hf_pace_calm(const hf_engine *engine); /* no outsider came of late */
void     hf_pace_took(hf_journal *journal, uint64_t ns); /* a commit with outsiders did */
void     hf_pace_hurry(hf_engine *engine, uint64_t bytes); /* of the next commit */
void     hf_pace_linger(const hf_journal *journal, uint32_t knocks);

/* One round of the journal without its thread, for tests: gathers what is
 * queued and commits it. Returns the batches settled. */
uint32_t hf_journal_step(hf_engine *engine);

#endif
