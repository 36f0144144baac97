/* limit.h - types whose turns are held: by a breaker, or by their rate.
 *
 * A type has one limit, shared by all shards and its pool. A shard asks before it
 * begins a turn; who may not stands in the shard's line of that type until it may.
 * A turn that ended tells what it says about the type's breaker, and a change goes
 * to disk with the turn that made it. */
#ifndef ENGINE_LIMIT_H
#define ENGINE_LIMIT_H

#include "engine/breaker.h"
#include "engine/rate.h"
#include "engine/shard.h"
#include "engine/turn.h"

#include "recovery/question.h"

#include <pthread.h>

struct hf_limit {
    pthread_mutex_t lock;
    hf_engine      *engine;
    hf_kind_of     *kind;
    hf_breaker      breaker;
    hf_rate         rate;
    bool            sealed;      /* no turn begins until the store knows that some will */
    bool            unwritten;   /* the store does not know how the breaker stands */
    bool            told;        /* hf_limit_told has something to do: */
    bool            asked;       /* somebody was refused and does not know until when */
    hf_breaker_state was;        /* and how the breaker stood before */
};

/* After the log was started. What an earlier run left is taken over; HF_ECORRUPT. */
int  hf_limits_load(hf_engine *engine);
int  hf_limits_start(hf_engine *engine); /* when the journal runs: what changed meanwhile */
void hf_limits_close(hf_engine *engine); /* no turn begins any more: how many did lately */
void hf_limits_done(hf_engine *engine);

/* A row of the type in the store, "type/-"; data NULL: none. HF_ENOMEM. */
#define HF_LIMIT_BREAKER "lbreaker"
#define HF_LIMIT_RATE    "lrate"
int  hf_limit_stage(const hf_kind_of *kind, hf_batch *batch, const char *name, hf_bytes row);

/* The shard's thread. May a turn of this actor begin? True: it counts as one that will
 * (shard->era is what it has to carry; of a type without threads it has begun).
 * False: its mailbox stands in line. */
bool hf_limit_admit(hf_shard *shard, hf_mailbox *mailbox);
/* Let go on as many of those in line as may. */
void hf_limits_wake(hf_shard *shard);
/* when some may; never: UINT64_MAX */
uint64_t hf_limits_next(const hf_shard *shard, uint64_t now_ns);

/* A pool's thread: it begins, or, false, must go back: the type was closed since. */
bool hf_limit_begin(hf_limit *limit, uint32_t era);

/* What a turn that has run says; before outcome.c has dealt with it. */
hf_turn_says hf_limit_says(const hf_turn *turn, bool stands);
/* It ended. Stages what has to be known with it; the batch has to be submitted before
 * anyone else's if that is so (true), and then hf_limit_told. */
bool hf_limit_ended(hf_limit *limit, uint32_t era, hf_turn_says says, hf_batch *batch);
void hf_limit_told(hf_limit *limit);
/* Both, and the shard's batch submitted between them if need be. */
void hf_limit_ended_here(hf_shard *shard, hf_kind_of *kind, hf_turn_says says);

/* Is its breaker not closed? Then nothing of it is on its way. */
bool hf_limit_breaks(hf_limit *limit);
/* For whoever asks; false: the type has no limit. */
bool hf_limit_look(hf_limit *limit, hf_limited *out);

#endif
