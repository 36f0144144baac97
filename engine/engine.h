/* engine.h - the engine from inside: its parts, and who may touch them.
 *
 *   send.c ──► journal.c ──► dispatch.c ──► turn.c ──► batch.c ──► journal.c
 *
 * Fields are grouped by the thread that owns them. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "engine/callback.h"
#include "engine/journal.h"
#include "engine/pause.h"
#include "engine/shard.h"
#include "engine/strike.h"
#include "engine/type.h"

#include "recovery/replay.h"

typedef enum hf_phase { HF_OPENING, HF_LIVE, HF_CLOSING, HF_STOPPED } hf_phase;

typedef struct hf_counters {
    _Atomic uint64_t accepted, committed, failed, retried, dead, commits, bytes;
    _Atomic uint64_t waiting;  /* messages in the store that are not done or dead */
    _Atomic uint64_t held;     /* of them: their type is not defined, or they are paused */
    _Atomic uint64_t running;  /* turns on pools, and unfinished ones */
    _Atomic uint64_t alarms;
} hf_counters;

struct hf_engine {
    /* as hf_open made them */
    hf_disk    *disk;
    hf_types    types;
    hf_options  options;       /* defaults filled in */
    uint64_t    seed;          /* of address hashes */
    char        key_prefix[17]; /* first half of every message key */
    uint32_t    shard_count;
    hf_shard   *shards;
    uint64_t    opened_ms;
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
    _Atomic uint64_t published; /* all below it may be seen by the shards */
    atomic_bool tight;         /* turns that send are held: no room */
    _Atomic uint64_t alone;    /* hash of the only actor that may run; 0: all */
    _Atomic uint64_t alone_since; /* ns; see suspect.c */
    _Atomic uint64_t was_alone;   /* id of a suspect that could not be alone in time */
    atomic_uint suspects;      /* messages that may have killed the process */
    hf_counters count;
    hf_shelf    shelf;
    hf_callbacks callbacks;
    hf_strikes  strikes;
    hf_pauses   pauses;
    hf_callback stopped;       /* the stopped hook */
    int         stopped_err;
    struct hf_loop *loop;
    struct hf_sorter *sorter;
};

/* Every public call begins with this: HF_EFORK in a child, HF_ECLOSED,
 * HF_EUNKNOWN when the engine stopped. */
int  hf_engine_check(const hf_engine *engine);

/* Stop by ourselves: nothing more is answered or released. Any thread. */
void hf_engine_stop(hf_engine *engine, int err, const char *why);

/* The log hook, formatted. Any thread; never in storage/ or recovery/. */
void hf_engine_log(hf_engine *engine, hf_level level, const char *format, ...) HF_PRINTF(3, 4);

/* Run the fold's sorting on a thread of its own (hf_log_options.offload). */
int  hf_sorter_start(struct hf_sorter **sorter);
void hf_sorter_run(void *sorter, void (*work)(void *), void *arg);
void hf_sorter_stop(struct hf_sorter *sorter); /* waits for what runs; NULL is fine */

/* Sleep while *word == seen, at most `ns` (0: for ever). And wake. */
void hf_futex_wait(atomic_uint *word, uint32_t seen, uint64_t ns);
void hf_futex_wake(atomic_uint *word, int how_many);

#endif
