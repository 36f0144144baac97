/* explore.h - every state that a crash may have left, tried by forked workers.
 *
 * A tape is played event by event into a crashdisk. At each point where what the disk
 * may hold has changed, all choices of the units that are not surely there are built,
 * or some of them if there are too many; who runs the exploration judges each. */
#ifndef STATES_EXPLORE_H
#define STATES_EXPLORE_H

#include "tests/crash/states/crashdisk.h"

#include <limits.h>

enum { EXPLORE_WORKERS = 16 };

typedef struct explorer explorer;

typedef struct explore_job {
    const tape *tape;
    const char *base; /* states are built below it */
    uint64_t    seed;
    uint64_t    all;    /* every subset of up to so many units, */
    uint64_t    random; /* else so many of them */
    uint64_t    go_on;  /* work on in every so manyth state; 0: never */
    uint64_t    workers;
    unsigned    hang_seconds;
    bool        clear; /* nothing of the state before may lie about */
    bool        one;   /* only this one: */
    uint64_t    point, state;

    /* Each is called in a worker. Are there states to be tried yet? */
    bool (*ready)(const explorer *x);
    void (*play)(explorer *x, const tape_event *event); /* NULL: nothing but the disk */
    /* The state lies in x->root: NULL, or what is wrong with it. */
    const char *(*judge)(explorer *x, uint64_t chance, bool go_on);
    void (*complain)(explorer *x, const char *bad, uint64_t chance);
    /* In the parent: a worker died while it tried this state. */
    void (*died)(uint64_t point, uint64_t state, const char *of_what);
    void *user;
} explore_job;

struct explorer {
    const explore_job *job;
    crashdisk          disk;
    uint64_t           point, state; /* numbers of the current ones */
    uint64_t           worker, chance;
    char               root[PATH_MAX];
    uint8_t           *choice;
    size_t             choice_room;
};

typedef struct explore_sum {
    uint64_t states, worked_on;
    uint64_t points, sampled; /* of them not all subsets were tried */
    bool     fine;
} explore_sum;

/* Once a process, before anything else here. */
void explore_init(void);

/* False in sum.fine: a state was bad, and complain or died has said so. If the
 * harness itself has no room or so, the process ends with status 2. */
explore_sum explore_run(const explore_job *job);

void explore_want_choice(explorer *x); /* room for the units there are */
void explorer_free(explorer *x);

/* A copy of the current state in that folder, whose chance this is; NULL: none is wanted. */
void explorer_keep(explorer *x, uint64_t chance, const char *folder);

/* ---- Options: numbers and words with two dashes before their name */
typedef struct explore_option {
    const char  *name;
    uint64_t    *number; /* one of them */
    const char **word;
} explore_option;

/* False: there is none of that name, or its value is no number. */
bool explore_option_set(const explore_option *options, size_t count, const char *name,
                        const char *text);

#endif
