/* one_run.h - one run: one scenario, one fault, in a child. */
#ifndef FAULTS_ONE_RUN_H
#define FAULTS_ONE_RUN_H

#include "tests/crash/faults/faults_world.h"
#include "tests/crash/faults/points.h"

typedef struct run {
    uint32_t          scenario;
    const fault_plan *plan;  /* NULL: only count what is met */
    uint32_t          nth;
    bool              for_good;
} run;

typedef struct verdict {
    bool        hit;
    const char *known;       /* it died, as is known */
    char        why[600];    /* "": all is well */
    double      seconds;
} verdict;

/* Shared with children; `directory` is this driver's own. */
void run_begin(const char *directory, const char *templates);
void run_templates(void);    /* made once, before drivers fork */
void run_one(const run *r, verdict *v);
void run_name(const run *r, char *text, size_t size);
/* Where the last fault fell, symbols and lines, to stdout. */
void run_print_trace(void);

extern bool run_is_slow; /* no time limits: under a debugger */

#endif
