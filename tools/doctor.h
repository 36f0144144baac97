/* doctor.h - findings about a store and the place where it lies. */
#ifndef TOOLS_DOCTOR_H
#define TOOLS_DOCTOR_H

#include "tools/context.h"

typedef enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_BAD } doctor_level;

typedef struct doctor {
    cli_context *context;
    uint64_t     counts[3]; /* by level */
} doctor;

/* One finding: what was looked at, how it is, a sentence that says what to do. */
void doctor_find(doctor *d, const char *check, doctor_level level, const char *format, ...)
    HF_PRINTF(4, 5);
/* "1.5 MiB"; lent until the fourth call after this one. */
const char *doctor_bytes(uint64_t bytes);

/* doctor_place.c: what can be seen of the directory. `row`: of the question `stats`; may
 * be empty. */
void doctor_permissions(doctor *d);
void doctor_file_system(doctor *d);
void doctor_sync(doctor *d);
void doctor_clock(doctor *d, hf_bytes row);
void doctor_strikes(doctor *d);

#endif
