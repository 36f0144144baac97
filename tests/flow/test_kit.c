/* test_kit.c - the test kit: time that stands still and jumps, machines that stop at a
 * commit, stores that are gone afterwards. */
#include "engine/holdfast_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { HOUR = 3600 * 1000, DAY = 24 * HOUR };
#define BEGIN UINT64_C(1767225600000)

static hf_test *test;

static void ok_at(int err, const char *what, int line)
{
    if (err)
        fail_msg("line %d: %s: %s (%s)", line, what, hf_strerror(err), hf_detail());
}
#define ok(call) ok_at(call, #call, __LINE__)

/* ---- What happened, and when, by the test's clock */
enum { LOG_MAX = 400 };
typedef struct happened {
    char     what[24];
    uint64_t at;
} happened;

static happened        log_of[LOG_MAX];
static atomic_int      logged;
static atomic_int      fails; /* so many times more */

static void note(const char *what)
{
    int i = atomic_fetch_add(&logged, 1);
    if (i < LOG_MAX) {
        (void)snprintf(log_of[i].what, sizeof log_of[i].what, "%s", what);
        log_of[i].at = hf_test_now(test) - BEGIN;
    }
}

static void is_noted(int i, const char *what, uint64_t at)
{
    assert_true(i < atomic_load(&logged));
    assert_string_equal(log_of[i].what, what);
    if (log_of[i].at != at)
        fail_msg("%s at %llu, not %llu", what, (unsigned long long)log_of[i].at,
                 (unsigned long long)at);
}

static void forget_all(void)
{
    atomic_store(&logged, 0);
    atomic_store(&fails, 0);
}

/* ---- Actors */

static uint32_t count_in(const hf_turn *turn)
{
    uint32_t count = 0;
    hf_bytes state = hf_state(turn);
    if (state.data)
        memcpy(&count, state.data, sizeof count);
    return count;
}

static int add_one(hf_turn *turn)
{
    uint32_t count = count_in(turn) + 1;
    hf_save(turn, hf_view(&count, sizeof count));
    return HF_OK;
}

static int by_kind(hf_turn *turn, const hf_message *msg)
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

static int flush_it(void *user, const hf_image *images, size_t count)
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

static void begin(void)
{
    forget_all();
    ok(hf_test_open(&test, HF_OPTIONS(.types = types, .shards = 2, .window = 64 << 10,
                                      .store_max = 256 << 20)));
}

static void end(void)
{
    ok(hf_test_close(test));
    test = NULL;
}

static void tell(const char *to, const char *kind)
{
    ok(hf_tell(hf_test_engine(test), to, kind, hf_str("")));
}

/* ---- Peeking */
static atomic_int peeked;
static uint32_t   peek_count;

static void on_peek(void *user, int err, hf_bytes state)
{
    (void)user;
    assert_int_equal(err, HF_OK);
    peek_count = 0;
    if (state.data)
        memcpy(&peek_count, state.data, sizeof peek_count);
    atomic_fetch_add(&peeked, 1);
}

static uint32_t count_of(const char *actor)
{
    int before = atomic_load(&peeked);
    ok(hf_peek(hf_test_engine(test), actor, on_peek, NULL));
    ok(hf_test_run(test));
    assert_int_equal(atomic_load(&peeked), before + 1); /* idle: callbacks were called */
    return peek_count;
}

/* ---- Tests */

static void time_stands_still(void **state)
{
    (void)state;
    begin();
    assert_int_equal(hf_test_now(test), BEGIN);
    usleep(30000);
    tell("shard/1", "once");
    ok(hf_test_run(test));
    assert_int_equal(hf_test_now(test), BEGIN);
    is_noted(0, "once", 0);
    ok(hf_test_advance(test, 0));
    assert_int_equal(hf_test_now(test), BEGIN);
    ok(hf_test_advance(test, 12345));
    assert_int_equal(hf_test_now(test), BEGIN + 12345);
    ok(hf_test_advance(test, 365 * (uint64_t)DAY));
    assert_int_equal(hf_test_now(test), BEGIN + 12345 + 365 * (uint64_t)DAY);
    assert_int_equal(atomic_load(&logged), 1);
    end();
}

static void bad_calls_are_refused(void **state)
{
    hf_test *other = (hf_test *)&other;
    (void)state;
    assert_int_equal(hf_test_open(NULL, HF_OPTIONS(.types = types)), HF_EINVAL);
    assert_int_equal(hf_test_open(&other, NULL), HF_EINVAL);
    assert_null(other);
    assert_int_equal(hf_test_open(&other, HF_OPTIONS(.types = NULL)), HF_EINVAL);
    assert_int_equal(hf_test_open(&other, HF_OPTIONS(.types = types, .window = 1)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), "window"));
    struct uv_loop_s *loop = (struct uv_loop_s *)(uintptr_t)8;
    assert_int_equal(hf_test_open(&other, HF_OPTIONS(.types = types, .loop = loop)), HF_EINVAL);
    assert_int_equal(hf_test_run(NULL), HF_EINVAL);
    assert_int_equal(hf_test_advance(NULL, 1), HF_EINVAL);
    assert_int_equal(hf_test_crash(NULL), HF_EINVAL);
    assert_int_equal(hf_test_crash_at(NULL, 1, HF_TEST_BEFORE), HF_EINVAL);
    assert_null(hf_test_engine(NULL));
    assert_null(hf_test_path(NULL));
    assert_int_equal(hf_test_now(NULL), 0);
    assert_int_equal(hf_test_crashes(NULL), 0);
    ok(hf_test_close(NULL));
    begin();
    assert_int_equal(hf_test_open(&other, HF_OPTIONS(.types = types)), HF_EBUSY);
    assert_int_equal(hf_test_crash_at(test, 1, (hf_test_moment)7), HF_EINVAL);
    assert_int_equal(hf_test_advance(test, UINT64_MAX), HF_EINVAL);
    assert_int_equal(hf_test_advance(test, 36526 * (uint64_t)DAY), HF_EINVAL);
    assert_int_equal(hf_test_now(test), BEGIN);
    end();
}

static void the_store_is_gone_afterwards(void **state)
{
    char path[4096];
    (void)state;
    assert_int_equal(setenv("TMPDIR", "/nowhere/at/all", 1), 0);
    assert_int_equal(hf_test_open(&test, HF_OPTIONS(.types = types)), HF_EIO);
    assert_int_equal(unsetenv("TMPDIR"), 0);
    begin();
    (void)snprintf(path, sizeof path, "%s", hf_test_path(test));
    assert_memory_equal(path, "/tmp/", 5);
    assert_int_equal(access(path, F_OK), 0);
    end();
    assert_int_not_equal(access(path, F_OK), 0);
    *strrchr(path, '/') = 0;
    assert_int_not_equal(access(path, F_OK), 0);
}

static void tables_of_types_are_copied(void **state)
{
    char    name[] = "mine";
    hf_type mine[] = { { .name = name, .handle = by_kind }, { 0 } };
    (void)state;
    forget_all();
    ok(hf_test_open(&test, HF_OPTIONS(.types = mine, .shards = 1)));
    memset(name, 0, sizeof name);
    memset(mine, 0, sizeof mine);
    ok(hf_test_crash(test));
    tell("mine/1", "hello");
    ok(hf_test_run(test));
    is_noted(0, "hello", 0);
    end();
}

static void retries_of_hours_take_no_time(void **state)
{
    static const uint64_t at[] = { 0, 1, 3, 7, 15, 31, 63, 123, 183, 243 }; /* minutes */
    const char *const actors[] = { "shard/1", "pool/1" };
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        begin();
        atomic_store(&fails, 9);
        tell(actors[kind], "fail");
        ok(hf_test_run(test));
        assert_int_equal(atomic_load(&logged), 1);
        usleep(10000);
        ok(hf_test_run(test));
        assert_int_equal(atomic_load(&logged), 1);
        ok(hf_test_advance(test, DAY));
        assert_int_equal(atomic_load(&logged), 10);
        for (int i = 0; i < 10; i++)
            is_noted(i, "fail", kind ? (uint64_t)i * HOUR : at[i] * 60000);
        assert_int_equal(hf_test_now(test), BEGIN + DAY);
        assert_int_equal(count_of(actors[kind]), 1);
        end();
    }
}

static void a_jump_stops_at_each_due_time(void **state)
{
    (void)state;
    begin();
    tell("shard/1", "wake");  /* every hour, six times */
    tell("pool/2", "at");     /* at noon of the next day */
    tell("shard/3", "later"); /* pool/1, in two hours */
    ok(hf_mail(hf_test_engine(test),
               HF_LETTER(.to = "shard/4", .kind = "own", .delay_ms = 90 * 60000), 1, NULL));
    ok(hf_test_run(test));
    assert_int_equal(atomic_load(&logged), 3);
    ok(hf_test_advance(test, HOUR - 1));
    assert_int_equal(atomic_load(&logged), 3);
    ok(hf_test_advance(test, 1));
    assert_int_equal(atomic_load(&logged), 4);
    is_noted(3, "ring", HOUR);
    ok(hf_test_advance(test, 3 * DAY));
    is_noted(4, "own", HOUR + HOUR / 2);
    assert_int_equal(log_of[5].at, 2 * HOUR);
    assert_int_equal(log_of[6].at, 2 * HOUR);
    assert_string_not_equal(log_of[5].what, log_of[6].what); /* the two of that hour */
    is_noted(7, "ring", 3 * HOUR);
    is_noted(8, "ring", 4 * HOUR);
    is_noted(9, "ring", 5 * HOUR);
    is_noted(10, "noon", 36 * HOUR);
    assert_int_equal(atomic_load(&logged), 11);
    assert_int_equal(count_of("shard/1"), 6);
    end();
}

static void rates_and_flushes_go_by_the_clock(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 5; i++)
        tell("slow/1", "slow");
    ok(hf_test_run(test));
    assert_int_equal(atomic_load(&logged), 2);
    ok(hf_test_advance(test, HOUR - 1));
    assert_int_equal(atomic_load(&logged), 2);
    ok(hf_test_advance(test, 1));
    assert_int_equal(atomic_load(&logged), 4);
    ok(hf_test_advance(test, 5 * HOUR));
    assert_int_equal(atomic_load(&logged), 5);
    assert_int_equal(log_of[4].at, 2 * HOUR);
    forget_all();
    tell("kept/1", "save");
    tell("kept/2", "save");
    ok(hf_test_run(test));
    assert_int_equal(atomic_load(&logged), 2);
    ok(hf_test_advance(test, HOUR - 1000));
    assert_int_equal(atomic_load(&logged), 2);
    ok(hf_test_advance(test, 1000));
    assert_int_equal(atomic_load(&logged), 3);
    assert_string_equal(log_of[2].what, "flush");
    ok(hf_test_advance(test, 9 * HOUR));
    assert_int_equal(atomic_load(&logged), 3);
    tell("kept/1", "save");
    ok(hf_test_run(test)); /* flushed by hf_test_close */
    end();
    assert_int_equal(atomic_load(&logged), 5);
    assert_string_equal(log_of[4].what, "flush");
}

static atomic_int answered;
static int        answer_err;

static void on_answer(void *user, int err, hf_bytes body)
{
    (void)user;
    (void)body;
    answer_err = err;
    atomic_fetch_add(&answered, 1);
}

static void asks_are_answered_or_out_of_time(void **state)
{
    (void)state;
    begin();
    atomic_store(&answered, 0);
    const hf_letter *echo = HF_LETTER(.to = "pool/1", .kind = "echo", .body = hf_str("hello"));
    ok(hf_ask(hf_test_engine(test), echo, 1000, on_answer, NULL));
    ok(hf_test_run(test));
    assert_int_equal(atomic_load(&answered), 1);
    assert_int_equal(answer_err, HF_OK);
    atomic_store(&fails, 1);
    const hf_letter *fail = HF_LETTER(.to = "pool/1", .kind = "fail");
    ok(hf_ask(hf_test_engine(test), fail, HOUR / 2, on_answer, NULL));
    ok(hf_test_run(test));
    ok(hf_test_advance(test, HOUR / 2 - 1));
    assert_int_equal(atomic_load(&answered), 1);
    ok(hf_test_advance(test, 1));
    assert_int_equal(atomic_load(&answered), 2);
    assert_int_equal(answer_err, HF_ETIMEDOUT);
    end();
}

static void what_is_not_committed_is_gone(void **state)
{
    (void)state;
    begin();
    tell("shard/1", "one");
    ok(hf_test_run(test));
    hf_engine *before = hf_test_engine(test);
    assert_non_null(before);
    ok(hf_test_crash(test));
    assert_int_equal(hf_test_crashes(test), 1);
    ok(hf_test_run(test));
    assert_int_equal(count_of("shard/1"), 1);
    assert_int_equal(atomic_load(&logged), 1); /* done, and not again */
    atomic_store(&fails, 1);
    tell("shard/2", "fail");
    ok(hf_test_run(test));
    ok(hf_test_advance(test, 30000));
    ok(hf_test_crash(test));
    assert_int_equal(hf_test_now(test), BEGIN + 30000);
    ok(hf_test_run(test));
    assert_int_equal(atomic_load(&logged), 2); /* its retry rests on */
    ok(hf_test_advance(test, 30000));
    is_noted(2, "fail", 60000);
    assert_int_equal(hf_test_crashes(test), 2);
    end();
}

/* One message, told by us: is it there after a crash at its commit? */
static void a_told_message_is_there_or_not(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++) {
        begin();
        ok(hf_test_run(test));
        ok(hf_test_crash_at(test, 1, after ? HF_TEST_AFTER : HF_TEST_BEFORE));
        assert_int_equal(hf_tell(hf_test_engine(test), "shard/1", "one", hf_str("")), HF_EUNKNOWN);
        assert_int_equal(hf_tell(hf_test_engine(test), "shard/1", "two", hf_str("")), HF_EUNKNOWN);
        assert_int_equal(hf_test_crashes(test), 0);
        ok(hf_test_run(test));
        assert_int_equal(hf_test_crashes(test), 1);
        assert_int_equal(atomic_load(&logged), after);
        assert_int_equal(count_of("shard/1"), after);
        ok(hf_test_crash_at(test, 1, HF_TEST_BEFORE));
        ok(hf_test_crash_at(test, 0, HF_TEST_BEFORE));
        tell("shard/1", "three");
        ok(hf_test_run(test));
        assert_int_equal(hf_test_crashes(test), 1);
        end();
    }
}

/* ---- A transfer: from one account to the other by way of a pool, told until it is known
 * to be there, under one id */

static int transfer(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "take") == 0)
        hf_send(turn, "courier/1", "carry", hf_str(""));
    else if (strcmp(msg->kind, "carry") == 0 && msg->attempt == 1)
        return hf_fail(turn, 1, "not at home");
    else if (strcmp(msg->kind, "carry") == 0)
        hf_send(turn, "account/b", "give", hf_str(""));
    return add_one(turn);
}

static const hf_type transfer_types[] = {
    { .name = "account", .handle = transfer },
    { .name = "courier", .handle = transfer, .threads = 1, .retry_ms = HOUR },
    { 0 },
};

static bool transfer_crashes_at(uint32_t commit, hf_test_moment moment)
{
    const hf_letter *take = HF_LETTER(.to = "account/a", .kind = "take", .dedupe = "no 1");
    hf_receipt       receipt;
    int              err;
    ok(hf_test_open(&test, HF_OPTIONS(.types = transfer_types, .shards = 2)));
    ok(hf_test_run(test));
    ok(hf_test_crash_at(test, commit, moment));
    while ((err = hf_mail(hf_test_engine(test), take, 1, &receipt)) == HF_EUNKNOWN)
        ok(hf_test_run(test));
    if (err != HF_EDUPLICATE)
        ok(err);
    ok(hf_test_advance(test, DAY));
    bool crashed = hf_test_crashes(test) > 0;
    ok(hf_test_crash_at(test, 0, moment));
    assert_int_equal(count_of("account/a"), 1);
    assert_int_equal(count_of("courier/1"), 1);
    assert_int_equal(count_of("account/b"), 1);
    end();
    return crashed;
}

static void a_transfer_happens_once_whatever_commit_it_crashes_at(void **state)
{
    (void)state;
    for (int moment = HF_TEST_BEFORE; moment <= HF_TEST_AFTER; moment++) {
        uint32_t commit = 1;
        while (commit < 100 && transfer_crashes_at(commit, (hf_test_moment)moment))
            commit++;
        assert_in_range(commit, 4, 99);
    }
}

/* ---- What never rests */

static atomic_bool held;

static int hold(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    note("hold");
    while (atomic_load(&held))
        usleep(1000);
    return add_one(turn);
}

static int calls_the_kit(hf_turn *turn, const hf_message *msg)
{
    char said[64];
    (void)msg;
    (void)snprintf(said, sizeof said, "%d %d %d %d", hf_test_run(test), hf_test_advance(test, 1),
                   hf_test_crash(test), hf_test_close(test));
    hf_save(turn, hf_str(said));
    note(said);
    return HF_OK;
}

static const hf_type odd_types[] = {
    { .name = "hold", .handle = hold, .threads = 1 },
    { .name = "ever", .handle = by_kind },
    { .name = "calls", .handle = calls_the_kit },
    { .name = "blocks", .handle = calls_the_kit, .threads = 1 },
    { 0 },
};

static void turns_may_not_wait_for_turns(void **state)
{
    (void)state;
    forget_all();
    ok(hf_test_open(&test, HF_OPTIONS(.types = odd_types)));
    tell("calls/1", "go");
    ok(hf_test_run(test));
    tell("blocks/1", "go");
    ok(hf_test_run(test));
    is_noted(0, "-15 -15 -15 -15", 0);
    is_noted(1, "-15 -15 -15 -15", 0);
    end();
}

static void a_turn_that_runs_ends_before_the_store_is_opened_again(void **state)
{
    (void)state;
    forget_all();
    ok(hf_test_open(&test, HF_OPTIONS(.types = odd_types)));
    atomic_store(&held, true);
    tell("hold/1", "go");
    while (!atomic_load(&logged))
        usleep(1000);
    assert_int_equal(hf_test_crash(test), HF_ETIMEDOUT);
    assert_int_equal(hf_test_crashes(test), 0);
    assert_int_equal(hf_tell(hf_test_engine(test), "hold/1", "go", hf_str("")), HF_EUNKNOWN);
    atomic_store(&held, false);
    ok(hf_test_run(test));
    assert_int_equal(hf_test_crashes(test), 1);
    assert_int_equal(atomic_load(&logged), 2); /* it ran again: nothing of it was there */
    assert_int_equal(count_of("hold/1"), 1);
    end();
}

static void what_never_rests_is_told(void **state)
{
    (void)state;
    forget_all();
    ok(hf_test_open(&test, HF_OPTIONS(.types = odd_types)));
    tell("ever/1", "for-ever");
    assert_int_equal(hf_test_run(test), HF_ETIMEDOUT);
    ok(hf_pause(hf_test_engine(test), "ever", NULL, NULL));
    ok(hf_test_run(test)); /* what is paused does not count */
    end();
}

/* ---- Much of it, in a small window */

static void much_goes_through_the_tables(void **state)
{
    char to[32];
    (void)state;
    begin();
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(to, sizeof to, "shard/%d", i);
        ok(hf_mail(hf_test_engine(test),
                   HF_LETTER(.to = to, .kind = "much", .delay_ms = 1000 + (uint64_t)(i % 10) * HOUR),
                   1, NULL));
        if (i == 1500)
            ok(hf_test_crash(test));
    }
    ok(hf_test_run(test));
    assert_int_equal(atomic_load(&logged), 0);
    for (int hour = 0; hour < 10; hour++) {
        ok(hf_test_advance(test, hour ? HOUR : 1000));
        assert_int_equal(atomic_load(&logged), (hour + 1) * 300);
    }
    end();
}

/* A test that failed leaves one open. */
static int put_away(void **state)
{
    (void)state;
    int err = hf_test_close(test);
    test = NULL;
    return err;
}

int main(void)
{
#define IT(name) cmocka_unit_test_teardown(name, put_away)
    const struct CMUnitTest tests[] = {
        IT(time_stands_still),
        IT(bad_calls_are_refused),
        IT(the_store_is_gone_afterwards),
        IT(tables_of_types_are_copied),
        IT(retries_of_hours_take_no_time),
        IT(a_jump_stops_at_each_due_time),
        IT(rates_and_flushes_go_by_the_clock),
        IT(asks_are_answered_or_out_of_time),
        IT(what_is_not_committed_is_gone),
        IT(a_told_message_is_there_or_not),
        IT(a_transfer_happens_once_whatever_commit_it_crashes_at),
        IT(turns_may_not_wait_for_turns),
        IT(a_turn_that_runs_ends_before_the_store_is_opened_again),
        IT(what_never_rests_is_told),
        IT(much_goes_through_the_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
