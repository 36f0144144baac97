/* fate.h - what becomes of one row when the facts about it are applied.
 *
 * The one place that says what SEND, ACK, SAVE, ALARM, … mean to the tables.
 * The fold does what it says; a reader shows it. */
#ifndef STORAGE_FATE_H
#define STORAGE_FATE_H

#include "storage/survivors.h"

typedef enum hf_verdict {
    HF_FATE_NONE, /* the facts cancel out: the row is not touched */
    HF_FATE_PUT,  /* the row is `payload` now */
    HF_FATE_GONE  /* there is no such row any more */
} hf_verdict;

/* Fetch the row's payload as it stands in the table: HF_OK, HF_ENOTFOUND, … */
typedef int (*hf_fate_load)(void *user, hf_table table, const hf_key *key, hf_bytes *payload);

typedef struct hf_fate {
    hf_verdict verdict;
    size_t     len;              /* of the payload, at buf->bytes + 1 */
    uint64_t   due, generation;  /* alarm_names: of what is set now; due 0: it was due */
} hf_fate;

/* Items [from, to) concern the row `key` (hf_survivors_run). Not for steps,
 * which are applied one by one. */
int hf_fate_of(const hf_survivors *s, hf_table table, size_t from, size_t to, const hf_key *key,
               hf_fate_load load, void *user, hf_rowbuf *buf, hf_fate *fate);

/* Payload of alarm_names: when it is due as hf_due_time says it (0: it was, and its message
 * waits), and which setting it is. */
int hf_fate_alarm(hf_bytes payload, uint64_t *due, uint64_t *generation);

#endif
