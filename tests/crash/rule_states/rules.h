/* rules.h - small lives, each around one rule of the engine, for every crash there is.
 *
 * A rule is a file: types of actors that keep what they saw in their states, a life
 * that marks what it begins and what was acknowledged, and a check of what a store at
 * rest holds. The harness records the life, builds each state that a crash may have
 * left, opens it with an engine, lets that come to rest, closes it, and checks; then
 * once more, which must change nothing. */
#ifndef RULES_H
#define RULES_H

#include "tests/crash/states/recorder.h"

#include "engine/holdfast.h"

#include <stdarg.h>
#include <stdbool.h>

enum { RULE_MARKS = 4096 };

/* What a client knew when the machine stopped. */
typedef struct rule_moment {
    bool begun[RULE_MARKS], acked[RULE_MARKS];
} rule_moment;

typedef struct rule_look rule_look;

typedef struct rule {
    const char    *name;
    const hf_type *types;
    /* Live: the engine is open, and is closed afterwards unless rule_close was called.
     * Recorded; chance is drawn with rule_dice. */
    void (*act)(void);
    /* Come to rest after a crash; NULL: hf_drain. Returns NULL, or what is wrong. */
    const char *(*settle)(hf_engine *engine);
    /* The store is closed. NULL, or what is wrong (see rule_wrong). `crashed`: false
     * when nothing crashed and all was done. */
    const char *(*check)(rule_look *look, const rule_moment *known);
    uint64_t window; /* 0: 64 KiB */
} rule;

extern const rule *const rules[];
extern const unsigned    rule_count;

/* ---- In act */
hf_engine *rule_engine(void);
void       rule_open(void);
void       rule_close(void);
uint64_t   rule_dice(void);
void       rule_begin(uint32_t mark); /* before the call */
void       rule_ack(uint32_t mark);   /* it returned: this must survive */
/* Both around one call that must succeed. */
#define RULE_DO(mark, call)                \
    do {                                   \
        rule_begin(mark);                  \
        if (rule_worked(#call, (call)))    \
            rule_ack(mark);                \
    } while (0)
bool rule_worked(const char *call, int err); /* false: said, and the life is bad */
/* Anywhere, any thread: this life or state is bad. The first word stays. */
void rule_broken(const char *format, ...) HF_PRINTF(1, 2);

/* ---- In check */
const char *rule_wrong(const char *format, ...) HF_PRINTF(1, 2);
/* The actor's state, "" when it has none; lent until the next call. */
hf_bytes rule_state(rule_look *look, const char *actor);
uint32_t rule_waiting(rule_look *look, const char *actor); /* messages in its inbox */
uint32_t rule_dead(rule_look *look, const char *actor);    /* its dead letters; NULL: all */

/* ---- For actors: a state that is a list of numbers, in the order they came. */
int      rule_note(hf_turn *turn, uint32_t number);
uint32_t rule_number(hf_bytes body, uint32_t at); /* of a list or body; UINT32_MAX: none */
uint32_t rule_times(hf_bytes list, uint32_t number); /* how often it is in it */
hf_bytes rule_body(const uint32_t *number);

#endif
