/* change.h - turn a change that was asked for into entries of the log.
 *
 * The same plan serves a store nobody has open and the living engine: what is
 * changed is read from one snapshot, what is to be written are `facts`. Whoever
 * plans keeps every other change out until the plan is committed. */
#ifndef RECOVERY_CHANGE_H
#define RECOVERY_CHANGE_H

#include "recovery/question.h"

#include "storage/log.h"

typedef struct hf_plan {
    char       what[HF_ADDRESS_MAX + 1]; /* pause, resume: "" is everything */
    bool       pauses, resumes;
    hf_segment facts;      /* RETRY, REQUEUE, DEAD, PURGE, PAUSE, RESUME; may be empty */
    hf_segment delayed;    /* letters that a living engine is to let go now */
    hf_segment ending;     /* messages that it is to bury */
    uint64_t  *asked;      /* those it would bury, but they run */
    uint32_t   asked_count;
    hf_letter *letters;    /* send */
    char      *texts;      /* theirs */
    uint32_t   count;      /* of letters */
    uint64_t   wait_ms;    /* pause: for running turns */
    hf_out     row;        /* the result; of a pause its map is still open, of a
                              send not begun */
} hf_plan;

/* Errors: HF_EINVAL and those of a question. Free it in every case. */
int  hf_plan_make(hf_plan *plan, hf_inquiry *inquiry, const char *change, hf_bytes arguments);
void hf_plan_done(hf_plan *plan);

/* The result of a send. */
void hf_plan_sent(hf_plan *plan, const hf_receipt *receipts);
/* The result of a pause: how many turns still run, and how to count them. */
void hf_plan_paused(hf_plan *plan, uint64_t running);
int  hf_plan_running(hf_inquiry *inquiry, const char *what, uint64_t *running);

/* What is asked for by ids (change_ids.c): requeue, purge, cancel, undo. HF_ENOTFOUND:
 * none of these. */
int  hf_plan_ids(hf_plan *plan, hf_inquiry *inquiry, const char *change, hf_bytes arguments);

/* The letters of a `send` (letters.c): HF_EINVAL, HF_ETOOBIG, HF_ENOMEM. */
int  hf_plan_letters(hf_plan *plan, hf_bytes arguments);

/* Make the change in a store that nobody has open. HF_EBUSY: somebody has. */
int  hf_change_disk(const char *path, const char *change, hf_bytes arguments, hf_row_fn done,
                    void *user);

#endif
