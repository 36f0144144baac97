/* engine.h - the engine from inside: its parts, and who may touch them.
 *
 *   send.c ──► journal.c ──► dispatch.c ──► turn.c ──► batch.c ──► journal.c
 *
 * Fields are grouped by the thread that owns them. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "engine/callback.h"
#include "engine/dedupe.h"
#include "engine/inbox.h"
#include "engine/journal.h"
#include "engine/pause.h"
#include "engine/shard.h"
#include "engine/strike.h"
#include "engine/topic.h"
#include "engine/type.h"

#include "recovery/replay.h"

typedef enum hf_phase { HF_OPENING, HF_LIVE, HF_CLOSING, HF_STOPPED } hf_phase;

typedef struct hf_counters {
    _Atomic uint64_t accepted, committed, failed, retried, dead, commits, bytes;
    _Atomic uint64_t waiting;  /* messages in the store that are not done or dead */
    _Atomic uint64_t held;     /* of them: their type is not defined, or they are paused */
    _Atomic uint64_t running;  /* turns on pools, and unfinished ones */
    _Atomic uint64_t alarms;
    _Atomic uint64_t clock_jumps;
} hf_counters;

struct hf_engine {
    /* as hf_open made them */
    hf_disk    *disk;
    hf_types    types;
    hf_options  options;       /* defaults filled in */
    uint64_t    seed;          /* of address hashes */
    char        key_prefix[17]; /* first half of every message key */
    struct hf_prefixes *ancestors; /* of keys of before a restore; NULL: there was none */
    uint32_t    shard_count;
    hf_shard   *shards;
    uint64_t    opened_ms;
    uint64_t    time_base;     /* engine time when the monotonic clock stood at time_mono, */
    uint64_t    time_mono;     /* ns: timebase.h */
    uint64_t    wall_ahead;    /* the first shard's: of engine time, when it looked last */
    uint64_t    first_id;      /* messages from here on are of this run */
    uint8_t    *old_steps;     /* STEP entries of the window that was replayed */
    size_t      old_steps_len;
    /* the journal's thread */
    hf_log     *log;
    hf_journal  journal;
    /* any thread */
    _Atomic(int) phase;        /* hf_phase */
    uint32_t    batch_turns, batch_bytes; /* a shard's batch goes when it holds so much */
    atomic_bool crowded;       /* the window is full: shards wait for the fold */
    _Atomic uint64_t settled;   /* what is committed below was handed back: flush.c */
    bool        flushes;        /* some type does; as opened */
    _Atomic uint64_t published; /* all below it may be seen by the shards */
    atomic_bool rowed;         /* some actor may have rows in the tables */
    atomic_bool alarmed;       /* some actor has, or had, an alarm */
    atomic_bool tight;         /* no room: who sends is held, see hold.c, */
    _Atomic uint64_t parcel;   /* and who sends more than this */
    bool        limited;       /* some type has a breaker or a rate; as opened */
    _Atomic uint64_t urgent;   /* all urgent messages of the log lie below; 0: there were none */
    _Atomic uint64_t alone;    /* hash of the only actor that may run; 0: all */
    _Atomic uint64_t alone_since; /* ns; see suspect.c */
    _Atomic uint64_t was_alone;   /* id of a suspect that could not be alone in time */
    atomic_uint suspects;      /* messages that may have killed the process */
    hf_counters count;
    atomic_uint callers;       /* calls that may wait, of all threads: hf_close waits for them */
    struct hf_census *census;  /* the same of each type: census.h */
    hf_shelf    shelf;
    hf_callbacks callbacks;
    struct hf_asks *asks;      /* callers that wait for a reply; ask.c */
    struct hf_peeks *peeks;    /* and for a state; peek.c */
    pthread_mutex_t notes_lock;
    struct hf_turn_note *notes; /* of turns that run; progress.c */
    hf_strikes  strikes;
    hf_pauses   pauses;
    hf_dedupe   dedupe;
    hf_inboxes  inboxes;
    hf_topics   topics;
    hf_callback stopped;       /* the stopped hook */
    int         stopped_err;
    struct hf_loop *loop;
    struct hf_sorter *sorter;
    _Atomic(struct hf_kit *) kit; /* it is under test: kit.h; NULL: it is not */
};

/* hf_log_append; of an engine under test the machine may stop there: kit_rest.c. */
int  hf_kit_append(hf_engine *engine, hf_group *group);
static inline int hf_engine_append(hf_engine *engine, hf_group *group)
{
    if (atomic_load_explicit(&engine->kit, memory_order_acquire))
        return hf_kit_append(engine, group);
    return hf_log_append(engine->log, group);
}

/* Every public call begins with this: HF_EFORK in a child, HF_ECLOSED,
 * HF_EUNKNOWN when the engine stopped. */
int  hf_engine_check(const hf_engine *engine);

/* What may wait, for the disk or for turns, stands between these two: whoever waits still
 * needs the engine when he is woken. */
void hf_engine_enter(hf_engine *engine);
void hf_engine_leave(hf_engine *engine);

/* HF_EDEADLOCK in a shard's turn and in a callback. */
int  hf_engine_may_wait(const hf_engine *engine);

/* Stop by ourselves: nothing more is answered or released. Any thread. */
void hf_engine_stop(hf_engine *engine, int err, const char *why);

/* The log hook, formatted. Any thread; never in storage/ or recovery/. */
void hf_engine_log(hf_engine *engine, hf_level level, const char *format, ...) HF_PRINTF(3, 4);

/* The calling thread is in a hook that may not call the engine: every call answers
 * HF_EDEADLOCK meanwhile. */
void hf_engine_hook(bool inside);
/* HF_EDEADLOCK on a thread that is in one. */
int  hf_engine_hooked(void);

/* Run the fold's sorting on a thread of its own (hf_log_options.offload). */
int  hf_sorter_start(struct hf_sorter **sorter);
void hf_sorter_run(void *sorter, void (*work)(void *), void *arg);
void hf_sorter_stop(struct hf_sorter *sorter); /* waits for what runs; NULL is fine */

/* Sleep while *word == seen, at most `ns` (0: for ever). And wake. */
void hf_futex_wait(atomic_uint *word, uint32_t seen, uint64_t ns);
void hf_futex_wake(atomic_uint *word, int how_many);

#endif
