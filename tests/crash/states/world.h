/* world.h - what a store should hold: a model, simple enough to be right.
 *
 * Changes are staged into a group of the log and happen in the model when the
 * group has been committed, never before. */
#ifndef STATES_WORLD_H
#define STATES_WORLD_H

#include "tests/crash/states/content.h"

#include "storage/log.h"

enum { ACTORS = 7, NAMES = 3, ROWS = 4, PAUSABLES = 4 };

typedef enum letter_at { LETTER_WAITING, LETTER_DEAD, LETTER_GONE } letter_at;

typedef struct letter {
    letter_at at;
    bool      named;     /* was requeued: its SEND says no more that it waits */
    bool      has_steps; /* rows of steps exist */
    bool      flagged;   /* its row says so */
    uint64_t  touched;   /* by this operation */
    uint64_t  id, place, sent, due, generation, died, body;
    uint32_t  attempt, phase, len, actor;
    int       err;
    char      error[24], kind[16];
} letter;

typedef struct held { /* a state, an alarm, a pause, a row */
    bool     set;
    uint64_t touched, due, version, bytes;
    uint8_t  form; /* of a state */
    uint32_t len;
} held;

typedef struct step_row {
    bool     gone;
    uint64_t id, generation, number, bytes;
    uint32_t phase, len;
    char     name[16];
} step_row;

typedef struct world {
    letter   *letters;
    size_t    letter_count, letter_room;
    step_row *steps;
    size_t    step_count, step_room;
    held      states[ACTORS], alarms[ACTORS][NAMES], pauses[PAUSABLES];
    held      rows[ACTORS][ROWS];
    uint64_t  seed; /* of the hashes of addresses */
} world;

typedef struct change {
    uint8_t  op;
    bool     in_sends; /* which segment its entry lies in */
    uint32_t index;    /* there */
    size_t   letter;
    letter new;
    uint32_t actor, name;
    held     held;
    step_row step;
} change;

typedef struct stage {
    uint64_t   op;  /* number of the operation */
    uint64_t   now; /* what the clock says when it is committed */
    uint64_t   folded;
    hf_segment sends, facts;
    hf_group   group;
    change    *changes;
    size_t     count, room;
} stage;

extern const char *const world_actors[ACTORS];

void   world_free(world *w);
void   world_content(const world *w, content *c);
size_t world_pick(const world *w, letter_at at, uint64_t op, uint64_t chance); /* SIZE_MAX: none */

void stage_begin(stage *s, uint64_t op, uint64_t now, uint64_t folded);
void stage_ready(stage *s);            /* all is staged: the group is complete */
void stage_commit(stage *s, world *w); /* the group is on disk */
void stage_free(stage *s);

/* One change each; what it concerns is chosen by `chance`, and nothing is staged
 * when there is nothing to choose. */
void stage_send(stage *s, world *w, uint64_t chance, uint32_t body_max);
void stage_done(stage *s, world *w, uint64_t chance);
void stage_save(stage *s, world *w, uint64_t chance, uint32_t body_max);
void stage_forget(stage *s, world *w, uint64_t chance);
void stage_alarm(stage *s, world *w, uint64_t chance, uint32_t body_max);
void stage_cancel(stage *s, world *w, uint64_t chance);
void stage_fire(stage *s, world *w, uint64_t chance);
void stage_retry(stage *s, world *w, uint64_t chance);
void stage_dead(stage *s, world *w, uint64_t chance);
void stage_requeue(stage *s, world *w, uint64_t chance);
void stage_purge(stage *s, world *w, uint64_t chance);
void stage_step(stage *s, world *w, uint64_t chance, uint32_t body_max);
void stage_pause(stage *s, world *w, uint64_t chance);
void stage_resume(stage *s, world *w, uint64_t chance);
void stage_put(stage *s, world *w, uint64_t chance, uint32_t body_max);

#endif
