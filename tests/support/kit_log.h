/* kit_log.h - what the tests of the test kit share: actors that note what happened, and when
 * by the test's clock. */
#ifndef SUPPORT_KIT_LOG_H
#define SUPPORT_KIT_LOG_H

#include "engine/holdfast_test.h"
#include "tests/support/ring.h"

enum { HOUR = 3600 * 1000, DAY = 24 * HOUR };
#define BEGIN UINT64_C(1767225600000)

static hf_test *test;

#define ok ring_ok

/* ---- What happened, and when */

enum { LOG_MAX = 400 };

typedef struct happened {
    char     what[24];
    uint64_t at;
} happened;

static happened   log_of[LOG_MAX];
static atomic_int logged;
static atomic_int fails; /* so many times more */

static inline void note(const char *what)
{
    int i = atomic_fetch_add(&logged, 1);
    if (i < LOG_MAX) {
        (void)snprintf(log_of[i].what, sizeof log_of[i].what, "%.23s", what);
        log_of[i].at = hf_test_now(test) - BEGIN;
    }
}

static inline void is_noted(int i, const char *what, uint64_t at)
{
    assert_true(i < atomic_load(&logged));
    assert_string_equal(log_of[i].what, what);
    if (log_of[i].at != at)
        fail_msg("%s at %llu, not %llu", what, (unsigned long long)log_of[i].at,
                 (unsigned long long)at);
}

static inline void forget_all(void)
{
    atomic_store(&logged, 0);
    atomic_store(&fails, 0);
}

/* ---- Actors */

static inline uint32_t count_in(const hf_turn *turn)
{
    uint32_t count = 0;
    hf_bytes state = hf_state(turn);
    if (state.data)
        memcpy(&count, state.data, sizeof count);
    return count;
}

static inline int add_one(hf_turn *turn)
{
    uint32_t count = count_in(turn) + 1;
    hf_save(turn, hf_view(&count, sizeof count));
    return HF_OK;
}

static inline int by_kind(hf_turn *turn, const hf_message *msg)
{
    note(msg->kind);
    if (strcmp(msg->kind, "fail") == 0 && atomic_fetch_sub(&fails, 1) > 0)
        return hf_fail(turn, 1, "not yet");
    if (strcmp(msg->kind, "wake") == 0)
        hf_set_alarm(turn, "ring", HOUR, hf_str(""));
    if (strcmp(msg->kind, "ring") == 0 && count_in(turn) < 5)
        hf_set_alarm(turn, "ring", HOUR, hf_str(""));
    if (strcmp(msg->kind, "at") == 0)
        hf_set_alarm_at(turn, "noon", BEGIN + 36 * (uint64_t)HOUR, hf_str(""));
    if (strcmp(msg->kind, "later") == 0)
        hf_send_letter(turn, HF_LETTER(.to = "pool/1", .kind = "late", .delay_ms = 2 * HOUR));
    if (strcmp(msg->kind, "for-ever") == 0)
        hf_send(turn, msg->to, "for-ever", hf_str(""));
    if (strcmp(msg->kind, "echo") == 0)
        hf_reply(turn, msg->body);
    return add_one(turn);
}

static inline int flush_it(void *user, const hf_image *images, size_t count)
{
    (void)user;
    (void)images;
    (void)count;
    note("flush");
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "shard", .handle = by_kind, .tries = 12, .retry_ms = 60000, .retry_ms_max = HOUR },
    { .name = "pool", .handle = by_kind, .threads = 2, .retry_ms = HOUR, .retry_ms_max = HOUR },
    { .name = "slow", .handle = by_kind, .rate = 2, .rate_ms = HOUR },
    { .name = "kept", .handle = by_kind, .flush = flush_it, .flush_ms = HOUR },
    { 0 },
};

static inline void begin(void)
{
    forget_all();
    ok(hf_test_open(&test, HF_OPTIONS(.types = types, .shards = 2, .window = 64 << 10,
                                      .store_max = 256 << 20)));
}

static inline void end(void)
{
    ok(hf_test_close(test));
    test = NULL;
}

static inline void tell(const char *to, const char *kind)
{
    ok(hf_tell(hf_test_engine(test), to, kind, hf_str("")));
}

/* ---- Peeking */

static atomic_int peeked;
static uint32_t   peek_count;

static inline void on_peek(void *user, int err, hf_bytes state)
{
    (void)user;
    assert_int_equal(err, HF_OK);
    peek_count = 0;
    if (state.data)
        memcpy(&peek_count, state.data, sizeof peek_count);
    atomic_fetch_add(&peeked, 1);
}

static inline uint32_t count_of(const char *actor)
{
    int before = atomic_load(&peeked);
    ok(hf_peek(hf_test_engine(test), actor, on_peek, NULL));
    ok(hf_test_run(test));
    assert_int_equal(atomic_load(&peeked), before + 1); /* idle: callbacks were called */
    return peek_count;
}

/* A test that failed leaves one open. */
static inline int put_away(void **state)
{
    (void)state;
    int err = hf_test_close(test);
    test = NULL;
    return err;
}

#endif
