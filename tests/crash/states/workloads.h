/* workloads.h - small lives of a store, recorded: what was done, and what must be
 * there after each operation. */
#ifndef STATES_WORKLOADS_H
#define STATES_WORKLOADS_H

#include "tests/crash/states/recorder.h"
#include "tests/crash/states/world.h"

#include <limits.h>

/* What an operation may be. The first ones are changes that share a group. */
typedef enum deed {
    DO_SEND,
    DO_DONE,
    DO_SAVE,
    DO_FORGET,
    DO_ALARM,
    DO_CANCEL,
    DO_FIRE,
    DO_RETRY,
    DO_DEAD,
    DO_REQUEUE,
    DO_PURGE,
    DO_STEP,
    DO_PAUSE,
    DO_RESUME,
    DO_PUT, /* a row, or the end of one */
    CHANGES,
    DO_FOLD = CHANGES, /* go on folding in a commit of its own */
    DO_FOLD_ALL,
    DO_READ,  /* hold a view while groups are appended and folded */
    DO_CLOSE, /* cleanly, and open again */
    DO_DIE,   /* forget everything in memory, and open again */
    DEEDS
} deed;

typedef struct workload {
    const char *name;
    uint32_t    ops; /* operations in the short size */
    uint32_t    window, slice, body;
    uint64_t    store_max, reserve;
    bool        creation; /* its making is part of it */
    bool        large;    /* its commits have many units: all subsets of up to 8 only */
    bool        tightens; /* it must come to the end of its room */
    bool        folds;    /* a fold must come to its end */
    bool        packs;    /* each fold packs */
    uint8_t     weight[DEEDS];
} workload;

extern const workload workloads[];
extern const unsigned workload_count;

typedef struct moment { /* after an operation */
    uint64_t sum;
    char    *text;
    uint64_t next; /* position that the next entry would have got */
} moment;

typedef struct crash_run {
    const workload *load;
    uint64_t        seed, chance, op;
    char            store[PATH_MAX];
    hf_disk        *disk;
    hf_log         *log;
    world           world;
    stage           stage;
    content         wanted, found;
    tape            tape;
    moment         *moments;
    size_t          moment_count, moment_room;
    uint8_t         uuid[16];
    uint32_t        folds, tight;
} crash_run;

/* Live it under `root`, an empty directory. False: the store itself went wrong, and
 * it was printed how. ops 0: as many as the workload says. */
bool crash_run_record(crash_run *run, const workload *load, uint64_t seed, uint32_t ops,
                      const char *root);
void crash_run_free(crash_run *run);

hf_disk_options workload_disk(const workload *load);
hf_log_options  workload_log(const workload *load);

/* The clock that everything here runs by. */
void     workload_clock(uint64_t ms);
uint64_t workload_now(void);

void print_difference(const char *wanted, const char *found);

#endif
