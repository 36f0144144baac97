/* urgency.h - who is served first: lines of actors, and of a pool's messages.
 *
 * A line holds its members by urgency, 0 to 9, first come first within one. Served is
 * who has most of: a step for each level of urgency, a step for each second it waited;
 * so nobody waits for ever. An actor is as urgent as the most urgent of its messages,
 * wherever in its mailbox that is: they run in their order, but sooner. */
#ifndef ENGINE_URGENCY_H
#define ENGINE_URGENCY_H

#include "engine/mailbox.h"

#include <stdbool.h>

enum { HF_URGENCY_STEP_MS = 1000, HF_URGENCY_AHEAD = 64 << 10 };

struct hf_shard;

/* ---- Actors. The shard's thread. */

void        hf_line_put(hf_line *line, hf_mailbox *mailbox, uint32_t now_ms); /* is in none */
hf_mailbox *hf_line_take(hf_line *line, uint32_t now_ms);  /* who is served; NULL: nobody */
void        hf_line_raise(hf_mailbox *mailbox); /* it became more urgent while in one */

/* A message entered the mailbox, or left it. */
void hf_urgency_enter(hf_mailbox *mailbox, uint32_t urgency);
void hf_urgency_leave(hf_mailbox *mailbox, uint32_t urgency);
void hf_urgency_letter(hf_mailbox *mailbox, const hf_letter_in *letter); /* enters */
void hf_urgency_pop(hf_mailbox *mailbox, hf_letters *letters); /* its first leaves, and is popped */

/* Do urgent messages lie at or behind this place of the log, which no shard has looked
 * at? Then it takes messages out of the log without running them. */
#define hf_urgency_presses(engine, place)                                          \
    (atomic_load_explicit(&(engine)->urgent, memory_order_relaxed) > (place))
/* Should the shard look there before it runs anything else? */
bool hf_urgency_calls(const struct hf_shard *shard);

/* ---- A pool's queue. Under its lock. */

typedef struct hf_queue {
    hf_parcel *first[HF_URGENCIES], *last[HF_URGENCIES];
    uint32_t   levels;         /* a bit for each that has members */
} hf_queue;

void       hf_queue_put(hf_queue *queue, hf_parcel *parcel, uint32_t urgency, uint32_t now_ms);
hf_parcel *hf_queue_take(hf_queue *queue, uint32_t now_ms); /* NULL: empty */
hf_parcel *hf_queue_next(const hf_queue *queue, const hf_parcel *after); /* most urgent first */
void       hf_queue_remove(hf_queue *queue, hf_parcel *parcel);
/* Become more urgent, if it is in a queue. */
void       hf_queue_raise(hf_queue *queue, hf_parcel *parcel, uint32_t urgency);

#endif
