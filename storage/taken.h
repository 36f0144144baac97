/* taken.h - rows of the table dedupe: which letter was taken under a sender's word.
 *
 * The SEND that carries the word is itself the fact; a PUT says the same with what came
 * of it, a DROP that it was long ago. Of facts about one word the one of the newest
 * letter counts, and of one letter the last. A value is
 *   id(8) taken, engine time in ms(8) sum of kind and body(16) outcome(1), then the reply */
#ifndef STORAGE_TAKEN_H
#define STORAGE_TAKEN_H

#include "storage/fate.h"

enum {
    HF_TAKEN_SIZE      = 33,
    HF_TAKEN_REPLY_MAX = 64 << 10, /* larger ones are not kept */
    HF_TAKEN_MS        = 24 * 3600 * 1000,
};

typedef enum hf_taken_outcome {
    HF_TAKEN_OPEN,    /* it is not done, or nobody said what came of it */
    HF_TAKEN_REPLIED,
    HF_TAKEN_SILENT,  /* done without a reply */
    HF_TAKEN_TOOBIG,  /* replied with more than is kept */
    HF_TAKEN_DEAD,
} hf_taken_outcome;

typedef struct hf_taken {
    uint64_t id, time_ms;
    uint8_t  sum[16];
    uint8_t  outcome;
    hf_bytes reply;
} hf_taken;

void   hf_taken_sum(uint8_t sum[16], hf_bytes kind, hf_bytes body);
/* Room for HF_TAKEN_SIZE + reply.len. Returns the size. */
size_t hf_taken_encode(const hf_taken *taken, uint8_t *at);
int    hf_taken_decode(hf_bytes value, hf_taken *taken); /* HF_ECORRUPT */
/* Of a whole row, which begins with a position. */
int    hf_taken_of_row(hf_bytes payload, hf_taken *taken);

/* May the word be used again? By engine time, so that nobody who sets the clock makes it free,
 * or keeps it. */
static inline bool hf_taken_is_over(uint64_t time_ms, uint64_t now_ms)
{
    return now_ms > time_ms && now_ms - time_ms >= HF_TAKEN_MS;
}

/* Is this message, which has a word, the one that is taken under it? */
static inline bool hf_taken_counts(const hf_entry *e)
{
    return e->op == HF_OP_SEND && !(e->flags & HF_ENTRY_CONFLICT);
}

/* In this table a SEND goes by its word, not by its kind. */
static inline void hf_taken_name(hf_table table, hf_entry *e)
{
    if (table == HF_IN_DEDUPE && e->op == HF_OP_SEND) {
        e->name = e->dedupe;
        e->name_len = (uint8_t)e->dedupe_len;
    }
}

/* hf_fate_of for this table. */
int hf_taken_fate(const hf_survivors *s, size_t from, size_t to, const hf_key *key,
                  hf_fate_load load, void *user, hf_rowbuf *buf, hf_fate *fate);

#endif
