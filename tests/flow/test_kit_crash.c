/* test_kit_crash.c - the test kit: machines that stop, at once or at a commit; what was
 * committed is there afterwards, and nothing else. */
#include "tests/support/kit_log.h"

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
    hf_receipt receipt;
    int err;
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

/* ---- A turn that runs while the machine stops */

static atomic_bool held;

static int hold(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    note("hold");
    while (atomic_load(&held))
        usleep(1000);
    return add_one(turn);
}

static const hf_type hold_types[] = { { .name = "hold", .handle = hold, .threads = 1 }, { 0 } };

static void a_turn_that_runs_ends_before_the_store_is_opened_again(void **state)
{
    (void)state;
    forget_all();
    ok(hf_test_open(&test, HF_OPTIONS(.types = hold_types)));
    atomic_store(&held, true);
    tell("hold/1", "go");
    while (!atomic_load(&logged))
        usleep(1000);
    ok(hf_test_patience(test, 200));
    assert_int_equal(hf_test_crash(test), HF_ETIMEDOUT);
    assert_int_equal(hf_test_crashes(test), 0);
    ok(hf_test_patience(test, 20000));
    assert_int_equal(hf_tell(hf_test_engine(test), "hold/1", "go", hf_str("")), HF_EUNKNOWN);
    atomic_store(&held, false);
    ok(hf_test_run(test));
    assert_int_equal(hf_test_crashes(test), 1);
    assert_int_equal(atomic_load(&logged), 2); /* it ran again: nothing of it was there */
    assert_int_equal(count_of("hold/1"), 1);
    end();
}

int main(void)
{
#define IT(name) cmocka_unit_test_teardown(name, put_away)
    const struct CMUnitTest tests[] = {
        IT(what_is_not_committed_is_gone),
        IT(a_told_message_is_there_or_not),
        IT(a_transfer_happens_once_whatever_commit_it_crashes_at),
        IT(a_turn_that_runs_ends_before_the_store_is_opened_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
