/* life.h - what became of a message, out of the log: window and history.
 *
 * Everything lent lives as long as the snapshot. */
#ifndef RECOVERY_LIFE_H
#define RECOVERY_LIFE_H

#include "recovery/question.h"

#include "storage/annals.h"

enum {
    HF_LIFE_FAILS    = 32,  /* attempts, the last ones */
    HF_LIFE_STEPS    = 64,
    HF_LIFE_CHILDREN = 100, /* messages that its turns sent */
    HF_LIFE_PARENTS  = 10,
};

typedef struct hf_failure {
    uint64_t at, took;
    int      err;
    hf_bytes error;
} hf_failure;

typedef struct hf_life {
    uint64_t id, place;
    bool     sent_known, ended, purged;
    hf_annal sent;      /* its SEND or DUE */
    hf_entry whole;     /* the newest entry that holds all of it */
    uint64_t end_ms, end_group, took;
    uint32_t attempts;  /* that failed, by the newest entry that says so */
    uint32_t fail_count, step_count;
    hf_failure  fails[HF_LIFE_FAILS];
    hf_bytes notes;
    hf_entry steps[HF_LIFE_STEPS]; /* the newest of each */
    hf_entry children[HF_LIFE_CHILDREN];
    uint64_t child_times[HF_LIFE_CHILDREN];
    uint64_t child_count; /* all of them */
} hf_life;

/* Read what the log says of it; nothing is no error. */
int hf_life_read(hf_life *life, hf_txn *txn, uint64_t id);

/* The fields of the open map. `times`: of failed attempts, as the message has them. */
void hf_life_put_attempts(const hf_life *life, hf_out *out, const hf_sight *sight);
void hf_life_put_steps(const hf_life *life, hf_out *out);
/* What it came from, nearest first, and what it sent. */
int  hf_life_put_kin(const hf_life *life, hf_scan *scan, hf_out *out, uint64_t parent);

#endif
