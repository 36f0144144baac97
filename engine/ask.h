/* ask.h - who waits for a reply, and replies on their way.
 *
 * A caller from outside who asks is an open ask with a number of this run. The
 * number travels in the entry of the message; a reply hangs on the batch of the
 * turn that made it and finds the ask by the number once that is committed. An
 * actor that asks gets an ordinary message: that is all reply.c's. */
#ifndef ENGINE_ASK_H
#define ENGINE_ASK_H

#include "engine/turn.h"

enum {
    HF_ASKS_MAX  = 1 << 20, /* open at once */
};

/* ---- Open asks: ask.c. Any thread */

int  hf_asks_make(hf_engine *engine);
void hf_asks_free(hf_engine *engine); /* after the callbacks stopped */
/* Whoever still waits is told `err`, once, and nobody may ask any more. */
void hf_asks_stop(hf_engine *engine, int err);
uint64_t hf_asks_count(const hf_engine *engine);

/* wake is called when hf_asks_expire must be called earlier than it last said; NULL: no
 * more. Under a lock: it must not come back here. */
void hf_asks_watch(hf_engine *engine, void (*wake)(void *user), void *user);
/* Tell those whose time is up; returns when the next one's is, ns; UINT64_MAX: none. */
uint64_t hf_asks_expire(hf_engine *engine);
/* When it has something to tell, as hf_asks_expire; that time has come: wakes it. */
uint64_t hf_asks_next(hf_engine *engine);

/* The ask `number` is over, if it is still open; takes the reply, which may be NULL. */
void hf_asks_end(hf_engine *engine, uint64_t number, int err, struct hf_response *reply);
/* Letters with words, or what came of some, are settled: those that sent one again may be
 * told. The journal's thread. */
void hf_asks_word_settled(hf_batch *batch, int err);
void hf_asks_note(hf_engine *engine, uint64_t number, hf_bytes note);

/* ---- Replies: reply.c */

typedef struct hf_response {
    struct hf_response *next;  /* of its batch, newest first */
    uint64_t         ask;
    struct hf_flush *flush; /* tells it, when that is through its position; NULL: nobody */
    uint64_t         position; /* in its batch, then in the log */
    bool             known;    /* of a turn before, maybe of an earlier run: it waits until all
                                  that that one left is flushed */
    int              err;   /* HF_OK or HF_EDEAD */
    bool             given; /* else the turn ended without one */
    size_t           len;
    uint8_t          bytes[]; /* aligned for any C type, once hf_response_bytes asks */
} hf_response;
hf_bytes hf_response_bytes(const hf_response *reply);
/* reply NULL: none was given. Freed with hf_mem_free; NULL: out of memory. */
hf_response *hf_response_new(uint64_t ask, int err, const hf_bytes *reply);

/* The batch is settled: tell those that asked, or nobody. The journal's thread. */
void hf_replies_release(hf_batch *batch, int err);
/* Those that came after `mark` never were; NULL: all. */
void hf_replies_cut(hf_batch *batch, const hf_response *mark);

/* Check .answer and .about of a letter, and fill them into its entry. */
int  hf_ask_letter(const hf_letter *letter, hf_entry *entry);
/* This entry is the forwarded message: whoever asked waits for its end from now on. */
void hf_ask_hand_on(hf_turn *turn, hf_entry *entry);
/* The turn ended well: who asked must not wait for ever. May fail the turn. */
void hf_ask_turn_ends(hf_turn *turn);
/* The message is being buried in the turn's batch. HF_ENOMEM. */
int  hf_ask_gone(hf_turn *turn, const hf_entry *message);

/* ---- Notes of long turns: progress.c */

/* The newest note of the turn that runs message `id`; 0: none. Any thread. */
size_t hf_progress_of(hf_engine *engine, uint64_t id, uint8_t note[HF_NOTE_MAX]);
void hf_progress_over(hf_turn *turn); /* its turn ended */
void hf_progress_free(hf_turn *turn);

#endif
