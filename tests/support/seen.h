/* seen.h - what the handlers of a test of the ring saw. */
#ifndef SUPPORT_SEEN_H
#define SUPPORT_SEEN_H

#include "tests/support/ring.h"

#include <pthread.h>
#include <string.h>

/* What the handlers saw; each test begins with it empty. */
static struct seen {
    atomic_int  turns, fails, notes, undone;
    atomic_int  go;             /* what a handler waits for */
    atomic_int  errors[4];      /* what calls in a turn answered */
    char        order[256];     /* kinds, in the order of turns */
    hf_message  last;
    char        to[64], kind[64], key[40], body[64], error[200], note[400];
    size_t      note_len;
    uint64_t    delay;
    hf_engine  *engine;
} seen;

static inline void forget_all(void)
{
    memset(&seen, 0, sizeof seen);
}

static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;

static inline int note(const hf_message *msg)
{
    pthread_mutex_lock(&seen_lock);
    seen.last = *msg;
    snprintf(seen.to, sizeof seen.to, "%s", msg->to);
    snprintf(seen.kind, sizeof seen.kind, "%s", msg->kind);
    snprintf(seen.key, sizeof seen.key, "%s", msg->key);
    snprintf(seen.body, sizeof seen.body, HF_FMT, HF_ARG(msg->body));
    snprintf(seen.error, sizeof seen.error, "%s", msg->error);
    size_t len = strlen(seen.order);
    snprintf(seen.order + len, sizeof seen.order - len, "%s ", msg->kind);
    pthread_mutex_unlock(&seen_lock);
    atomic_fetch_add(&seen.turns, 1);
    return HF_OK;
}

static inline int just_note(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    return note(msg);
}

#endif
