/* lives.h - the processes that open the store: one works until the power goes, one
 * finds out afterwards what is left. They know the store only through holdfast.h. */
#ifndef POWERCUT_LIVES_H
#define POWERCUT_LIVES_H

#include "tests/crash/powercut/volatile_disk.h"
#include "tests/support/numbers.h"

typedef struct world {
    numbers       book;
    volatile_disk disk;
    atomic_bool   opened;     /* since the image was made, hf_open has returned HF_OK */
    atomic_bool   working;    /* and in this life */
    uint32_t      lmdb_flags; /* a mutant's: LMDB without some of its syncs */
} world;

extern world *lives_world; /* shared memory */

/* Each starts a process; -1: no process. */
pid_t lives_work(const char *store);   /* until somebody kills it */
pid_t lives_verify(const char *store); /* exit status 0 says nothing: look in the book */

#endif
