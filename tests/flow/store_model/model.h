/* model.h - what a store should hold, in plain arrays, and the driver beside it. */
#ifndef STORE_MODEL_MODEL_H
#define STORE_MODEL_MODEL_H

#include "tests/support/core.h"

enum { ACTORS = 7, NAMES = 3, PAUSABLE = 4, TIMES = 3, ROWS = 9 };

extern const char *const model_actors[ACTORS];
extern const char *const model_names[NAMES];
extern const char *const model_pausable[PAUSABLE];
extern const hf_bytes model_rows[ROWS]; /* in the order of their keys; any bytes */

/* Bytes that follow from a seed. */
typedef struct blob {
    uint32_t len;
    uint64_t seed;
} blob;

typedef struct letter {
    enum { WAITS, IS_DEAD, IS_GONE, IS_DELAYED } where;
    bool     ended;   /* its SEND or DUE is over: only its address and id reach it */
    bool     touched; /* by the group that is being made */
    int      actor;
    uint64_t id, place, sent, due, died, generation;
    uint32_t attempt, phase, cause, reason;
    int      err;
    uint8_t  flags;
    uint32_t times;   /* how many */
    bool     delayed;   /* its SEND waits for its time, nobody ends that */
    bool     was_due;
    uint64_t alarm;     /* generation of the alarm that it came of, until that is over */
    int      name;      /* of that alarm */
    const char *kind, *from, *error;
    blob     body;
} letter;

typedef struct image {
    bool     there;
    blob     bytes;
    uint64_t version;
    uint32_t form;
} image;

typedef struct alarm_set {
    bool     there;
    bool     fired;  /* and its message has not ended */
    uint64_t due, generation;
    blob     body;
} alarm_set;

typedef struct step_row {
    uint64_t id, generation, number;
    uint32_t phase;
    int      name;
    blob     result;
} step_row;

typedef struct model {
    letter   *letters; /* in the order of their places */
    uint32_t  letter_count, letter_room;
    image     states[ACTORS];
    image     rows[ACTORS][ROWS];
    alarm_set alarms[ACTORS][NAMES];
    step_row *steps;   /* sorted */
    uint32_t  step_count, step_room;
    uint64_t  paused[PAUSABLE]; /* since; 0: not */
} model;

/* One change that a group makes, with the entry that says so. */
typedef struct change {
    uint8_t  op;
    uint8_t  flags;
    int      actor, name;
    uint32_t letter;   /* index of the one it concerns */
    letter   made;     /* what it is afterwards */
    uint64_t due, generation, number;
    uint32_t phase;
    blob     bytes;
    uint32_t segment, index; /* where its entry lies */
    uint64_t position;
} change;

/* One run: the store, the model, and where chance stands. */
typedef struct run {
    core           core;
    model          model;
    hf_log_options options;
    uint64_t       random, seed;
    uint64_t       now;       /* the clock */
    uint64_t       next;      /* no position below may be given again */
    uint64_t       opened;    /* folded at the open */
    hf_record     *reader;    /* follows the chain, if options.readers */
    void         (*work)(void *);
    void          *work_arg;  /* collecting that is put off */
    char           path[256];
} run;

static inline uint32_t chance(run *r, uint32_t below)
{
    return (uint32_t)(core_random(&r->random) >> 33) % below;
}

/* model.c */
void    model_free(model *m);
void    model_apply(model *m, const change *c, uint64_t now);
void    model_end(model *m, letter *l); /* done, without a trace */
hf_bytes model_fill(blob b, uint8_t *scratch);
bool    model_same(blob b, hf_bytes bytes);
hf_bytes model_times(uint32_t count);
enum { BLOB_MAX = 160 << 10 };

/* acts.c: make a random group, append it, and let the model follow. */
void acts_group(run *r);

/* compare.c: the view says what the model says; after a full fold the tables do. */
void compare_view(run *r);
void compare_window(run *r);
void compare_tables(run *r);

_Noreturn void run_fail(const run *r, const char *format, ...) HF_PRINTF(2, 3);

#endif
