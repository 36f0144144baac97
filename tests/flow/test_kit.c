/* test_kit.c - the test kit: time that stands still and jumps, stores that are gone
 * afterwards, and what may not be asked of it. */
#include "tests/support/kit_log.h"

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
    assert_int_equal(hf_test_patience(NULL, 1), HF_EINVAL);
    assert_null(hf_test_engine(NULL));
    assert_null(hf_test_path(NULL));
    assert_int_equal(hf_test_now(NULL), 0);
    assert_int_equal(hf_test_crashes(NULL), 0);
    ok(hf_test_close(NULL));
    begin();
    assert_int_equal(hf_test_open(&other, HF_OPTIONS(.types = types)), HF_EBUSY);
    assert_int_equal(hf_test_crash_at(test, 1, (hf_test_moment)7), HF_EINVAL);
    assert_int_equal(hf_test_patience(test, 0), HF_EINVAL);
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
    char name[] = "mine";
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

/* ---- What never rests */

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

static void what_never_rests_is_told(void **state)
{
    (void)state;
    forget_all();
    ok(hf_test_open(&test, HF_OPTIONS(.types = odd_types)));
    tell("ever/1", "for-ever");
    ok(hf_test_patience(test, 300));
    assert_int_equal(hf_test_run(test), HF_ETIMEDOUT);
    ok(hf_test_patience(test, HF_NEVER));
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
                   HF_LETTER(.to = to, .kind = "much",
                             .delay_ms = 1000 + (uint64_t)(i % 10) * HOUR),
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
        IT(turns_may_not_wait_for_turns),
        IT(what_never_rests_is_told),
        IT(much_goes_through_the_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
