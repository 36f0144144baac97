/* ring_rules.h - rules with actors of their own, each in a file of its own.
 *
 * What such an actor must find is in its own state, which commits with what it does, so
 * that a kill needs no bookkeeping; where somebody outside must remember, too, he does so in
 * memory that outlives the child. */
#ifndef RING_RULES_H
#define RING_RULES_H

#include "tests/flow/ring_model/ring_ledger.h"

typedef struct ring_rule {
    void (*begin)(void);                        /* a seed begins; NULL: nothing to forget */
    void (*act)(hf_engine *engine, uint32_t sender, uint64_t *dice); /* a sender's thread */
    void (*rest)(hf_engine *engine);            /* the last life: what must come yet, comes */
    void (*check)(void);                        /* after the last life */
} ring_rule;

extern const ring_rule ring_alarms, ring_delays, ring_ticks, ring_rows, ring_topics,
    ring_conflation, ring_limits, ring_answers, ring_images;
extern const ring_rule *const ring_rules[]; /* ends with NULL */

/* Their handlers, for ring_types. */
int ring_clock_handle(hf_turn *turn, const hf_message *msg);
int ring_tick_handle(hf_turn *turn, const hf_message *msg);
int ring_shelf_handle(hf_turn *turn, const hf_message *msg);
int ring_reader_handle(hf_turn *turn, const hf_message *msg);
int ring_herald_handle(hf_turn *turn, const hf_message *msg);
int ring_gauge_handle(hf_turn *turn, const hf_message *msg);
int ring_limited_handle(hf_turn *turn, const hf_message *msg);

/* ---- Rules that the actors of the ring keep besides */

/* ring_delays.c: a letter's times and urgency; and when it comes. */
ring_time ring_time_of(uint32_t sender, uint32_t actor, uint32_t seq);
void      ring_dress(hf_letter *letter, uint32_t sender, uint32_t actor, uint32_t seq);
void      ring_came(const ring_letter *l, const hf_message *msg);

/* ring_answers.c */
typedef struct ring_joined {
    uint64_t salt;
    uint16_t count, actors[3], seqs[3], pad;
} ring_joined;
void ring_ask_back(hf_letter *letter, ring_memory *m, uint32_t sender, uint32_t actor,
                   uint32_t seq);
void ring_join(hf_turn *turn, ring_memory *m, const ring_joined *j);
void ring_reply(hf_turn *turn, const ring_letter *l);
void ring_progress(hf_turn *turn, const ring_letter *l);
bool ring_is_told_back(const hf_message *msg, ring_memory *m, uint32_t self);
void ring_ask(hf_engine *engine, const hf_letter *letter, uint32_t sender, uint32_t actor,
              uint32_t seq);

/* ring_images.c */
int ring_flush(void *user, const hf_image *images, size_t count);
int ring_upgrade(hf_turn *turn, uint32_t version, hf_bytes state, hf_bytes *now);

/* ring_store.c: is the store sound that nobody has open; after the last life also: is it
 * empty but for the dead? */
void ring_look(const char *path, bool last);

/* Memory that children share and that is zero again: `old`, or new. */
void *ring_share(void *old, size_t size);

uint64_t ring_roll(uint64_t *dice);
uint64_t ring_wall_ms(void);
uint64_t ring_mono_ms(void);

/* True: it was taken. False: it certainly was not. All else is wrong. */
bool ring_taken(int err, const char *call);

/* Tell actor `to` `kind` once: it must be taken. */
void ring_tell(hf_engine *engine, const char *to, const char *kind, hf_bytes body);

/* Look, until done(engine) says so, at most half a minute. */
void ring_until(hf_engine *engine, bool (*done)(hf_engine *engine), const char *what);

#endif
