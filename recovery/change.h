/* change.h - turn a change that was asked for into entries of the log.
 *
 * The same plan serves a store nobody has open and the living engine: what is
 * changed is read from one snapshot, what is to be written are `facts`. Whoever
 * plans keeps every other change out until the plan is committed. */
#ifndef RECOVERY_CHANGE_H
#define RECOVERY_CHANGE_H

#include "recovery/pen.h"
#include "recovery/question.h"

#include "storage/log.h"

/* What a letter brings along that it had in another store. */
typedef struct hf_letter_more {
    uint64_t    sent, died;  /* died: it comes in dead */
    uint32_t    attempt;
    int         err;
    const char *error, *from; /* NULL: none */
    hf_bytes    first;       /* first body; data NULL: it was not edited */
} hf_letter_more;

/* Put it into the SEND. */
void hf_letter_dress(const hf_letter_more *more, hf_entry *entry);

typedef struct hf_plan {
    char       what[HF_ADDRESS_MAX + 1]; /* pause, resume: "" is everything */
    bool       pauses, resumes;
    hf_segment facts;      /* RETRY, REQUEUE, DEAD, PURGE, PAUSE, RESUME; may be empty */
    hf_segment delayed;    /* letters that a living engine is to let go now */
    hf_segment ending;     /* messages that it is to bury; a REQUEUE: that it is to edit */
    uint64_t  *asked;      /* those it would bury, but they run */
    uint32_t   asked_count;
    hf_letter *letters;    /* send */
    struct hf_letter_more *more; /* what else is known of each */
    char      *texts;      /* theirs */
    uint32_t   count;      /* of letters */
    uint64_t   wait_ms;    /* pause: for running turns */
    hf_pen     pen;        /* who changes it; see pen.h */
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

/* Other bodies for messages (change_edit.c). */
int  hf_plan_edit(hf_plan *plan, hf_inquiry *inquiry, hf_bytes arguments);

/* The letters of a `send` (letters.c): HF_EINVAL, HF_ETOOBIG, HF_ENOMEM. */
int  hf_plan_letters(hf_plan *plan, hf_bytes arguments);

/* Make the change in a store that nobody has open. HF_EBUSY: somebody has. */
int  hf_change_disk(const char *path, const char *change, hf_bytes arguments, hf_row_fn done,
                    void *user);

#endif
