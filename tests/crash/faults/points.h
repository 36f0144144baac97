/* points.h - the table of what fails how. */
#ifndef FAULTS_POINTS_H
#define FAULTS_POINTS_H

#include "tests/crash/faults/inject.h"

typedef struct fault_plan {
    fault_kind  kind;
    int         error;
    unsigned    modules; /* who is hit */
    int         how;
    const char *name;    /* of the error */
} fault_plan;

extern const fault_plan fault_plans[];
extern const uint32_t   fault_plan_count;

bool fault_plan_once(const fault_plan *plan);   /* never for good: that is no fault but an end */
bool fault_plan_unseen(const fault_plan *plan); /* every call must answer HF_OK */

/* Is it known that the library that is `module` ends the process then? NULL: no. */
const char *fault_known_death(const fault_plan *plan, int module);
/* Does libuv 1.44 lose its epoll descriptor then? */
bool fault_known_leak(int kind);

#endif
