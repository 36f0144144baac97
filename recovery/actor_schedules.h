/* actor_schedules.h - what comes round for an actor. */
#ifndef RECOVERY_ACTOR_SCHEDULES_H
#define RECOVERY_ACTOR_SCHEDULES_H

#include "recovery/question.h"

typedef struct hf_actor_schedules {
    hf_out   out;  /* elements of an array; end with hf_out_done */
    uint64_t told;
} hf_actor_schedules;

int  hf_actor_schedules_read(hf_actor_schedules *schedules, const hf_scan *scan, const char *actor,
                             uint64_t limit);
void hf_actor_schedules_put(hf_actor_schedules *schedules, hf_out *out); /* `schedules` */

#endif
