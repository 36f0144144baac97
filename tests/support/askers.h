/* askers.h - what the tests of hf_ask share: what an asker was told, and actors that answer,
 * fail, wait or pass a question on. */
#ifndef SUPPORT_ASKERS_H
#define SUPPORT_ASKERS_H

#include "tests/support/ring.h"

#include <string.h>

/* ---- What an asker was told */

typedef struct told {
    atomic_int calls;
    int        err;
    bool       null;
    size_t     len;
    char       text[128];
} told;

static inline void note_answer(void *user, int err, hf_bytes answer)
{
    told *t = user;
    t->err = err;
    t->null = answer.data == NULL;
    t->len = answer.len;
    memcpy(t->text, answer.data ? answer.data : "", answer.len < 127 ? answer.len : 127);
    t->text[answer.len < 127 ? answer.len : 127] = 0;
    atomic_fetch_add(&t->calls, 1);
}

static inline void wait_for(told *t)
{
    ring_until(&t->calls, 1);
}

#define is_told(t, code, words)                                                      \
    do {                                                                             \
        wait_for(t);                                                                 \
        assert_int_equal((t)->err, code);                                            \
        assert_string_equal((t)->text, words);                                       \
    } while (0)

/* ---- Actors: "q" on the shards, "pool" on threads; the kind says what they do */

static atomic_int gate, tries;

static inline int handle(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "echo") == 0)
        hf_reply(turn, msg->body);
    if (strcmp(msg->kind, "empty") == 0)
        hf_reply(turn, hf_view(NULL, 0));
    if (strcmp(msg->kind, "twice") == 0) {
        hf_reply(turn, hf_str("1"));
        hf_reply(turn, hf_str("2"));
    }
    if (strcmp(msg->kind, "large") == 0)
        hf_reply(turn, hf_view("", SIZE_MAX / 2));
    if (strcmp(msg->kind, "bury") == 0)
        return hf_bury(turn, "no such luck");
    if (strcmp(msg->kind, "third") == 0) {
        atomic_fetch_add(&tries, 1);
        hf_reply(turn, hf_str(msg->attempt == 3 ? "at last" : "too early"));
        return msg->attempt == 3 ? HF_OK : hf_fail(turn, 5, "not yet");
    }
    if (strcmp(msg->kind, "wait") == 0) {
        while (!atomic_load(&gate))
            usleep(500);
        hf_reply(turn, hf_str("waited"));
    }
    return HF_OK;
}

static const hf_type plain_types[] = {
    { .name = "q", .handle = handle, .retry_ms = 5, .tries = 4 },
    { .name = "pool", .handle = handle, .threads = 4, .retry_ms = 5, .tries = 4 }, { 0 } };

static inline int ask(hf_engine *e, const char *to, const char *kind, const char *body, told *t)
{
    memset(t, 0, sizeof *t);
    return hf_ask(e, HF_LETTER(.to = to, .kind = kind, .body = hf_str(body)), 20000, note_answer,
                  t);
}

static inline uint64_t open_asks(hf_engine *e)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    return stats.asks;
}

/* ---- Actors that pass a question on: the asker goes with it */

static inline int pass_on(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "first") == 0)
        hf_reply(turn, hf_str("from the first"));
    hf_forward(turn, msg->kind, msg->body);
    if (strcmp(msg->kind, "both") == 0)
        hf_reply(turn, hf_str("no"));
    hf_forward(turn, "more", msg->body); /* nobody goes with this one */
    return HF_OK;
}

static inline int at_end(hf_turn *turn, const hf_message *msg)
{
    char text[64];
    if (strcmp(msg->kind, "more") == 0)
        return HF_OK;
    if (strcmp(msg->kind, "bury") == 0)
        return hf_bury(turn, "at the end");
    if (strcmp(msg->kind, "silent") == 0)
        return HF_OK;
    if (strcmp(msg->kind, "fails") == 0 && msg->attempt < 3)
        return hf_fail(turn, 1, "again");
    (void)snprintf(text, sizeof text, "%s of %s", msg->kind, msg->from);
    hf_reply(turn, hf_str(text));
    return HF_OK;
}

#endif
