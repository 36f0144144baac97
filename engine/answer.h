/* answer.h - the living engine's answers to questions and changes. */
#ifndef ENGINE_ANSWER_H
#define ENGINE_ANSWER_H

#include "engine/control.h"
#include "engine/engine.h"
#include "engine/watch.h"

typedef struct hf_answers {
    hf_engine      *engine;
    hf_watch       *watch;
    pthread_mutex_t changing; /* one change at a time, from its snapshot to its commit */
} hf_answers;

void hf_answers_init(hf_answers *answers, hf_engine *engine, hf_watch *watch);
void hf_answers_done(hf_answers *answers);

/* A hf_control_answer; user: hf_answers. Any thread that may wait for the disk. */
int hf_answer(void *answers, bool change, const char *name, hf_bytes arguments,
              hf_control_row row, void *to);

/* ---- What the dispatch side provides (dispatch.c or beside it) */

/* A REQUEUE or RETRY that an operator asked for was just committed: the message
 * may go on now. `entry` is that entry (a REQUEUE is the whole message, a RETRY
 * names id and place and says attempt and due); copy what is kept. Any thread. */
void hf_dispatch_requeued(hf_engine *engine, const hf_entry *entry);

#endif
