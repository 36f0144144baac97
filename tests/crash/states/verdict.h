/* verdict.h - open what a crash left, compare, and go on with it. */
#ifndef STATES_VERDICT_H
#define STATES_VERDICT_H

#include "tests/crash/states/workloads.h"

typedef struct question {
    const crash_run *run;
    const char      *root; /* where the directory was built */
    uint64_t         acked, begun;
    uint64_t         chance;
    bool             go_on; /* write, fold, reopen, compare again */
    bool             say;   /* print what differs */
} question;

/* NULL: as it should be. Otherwise what is wrong, until the next call. */
const char *verdict(const question *q);

#endif
