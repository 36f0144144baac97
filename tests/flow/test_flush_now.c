/* test_flush_now.c - .flush_ms = HF_NOW: replies leave after the row is written, also those
 * to who asks again, and not while the database fails. */
#include "tests/support/flushing.h"

static atomic_int answered, early;

static void on_answer(void *user, int err, hf_bytes answer)
{
    uint64_t value;
    int number = *(int *)user;
    if (err == HF_ECLOSED)
        return;
    memcpy(&value, answer.data, sizeof value);
    if (err || db->rows[number].count < value)
        atomic_fetch_add(&early, 1);
    atomic_fetch_add(&answered, 1);
}

static void replies_wait_for_the_row(void **state)
{
    (void)state;
    static int numbers[] = { 1, 2 };
    hf_engine *engine = start("now", now);
    atomic_store(&answered, 0);
    ring_ok(hf_drain(engine, 10000));
    for (int i = 0; i < 200; i++) {
        const char *to = i & 1 ? "p/2" : "c/1";
        if (i == 100)
            atomic_store(&db->slow_ms, 3);
        ring_ok(hf_ask(engine, HF_LETTER(.to = to), 20000, on_answer, &numbers[i & 1]));
        if (i % 10 == 9)
            ring_until(&answered, i + 1);
    }
    ring_until(&answered, 200);
    assert_int_equal(atomic_load(&early), 0);
    expect(1, 3, 100);
    atomic_store(&db->slow_ms, 0);
    ring_ok(hf_close(engine, 10000));
}

static void no_reply_while_the_row_fails(void **state)
{
    (void)state;
    static int number = 1;
    hf_engine *engine = start("nowfail", now);
    atomic_store(&answered, 0);
    ring_ok(hf_drain(engine, 10000));
    atomic_store(&db->fail, 1 << 20);
    ring_ok(hf_ask(engine, HF_LETTER(.to = "c/1"), 20000, on_answer, &number));
    for (int i = 0; i < 5000 && stats_of(engine).flush_failed < 3; i++)
        usleep(1000);
    assert_true(stats_of(engine).flush_failed >= 3);
    assert_int_equal(atomic_load(&answered), 0);
    atomic_store(&db->fail, 0);
    ring_until(&answered, 1);
    ring_ok(hf_close(engine, 10000));
}

/* Who asks again under the same word waits for the row as the first one does. */
static void no_second_reply_either(void **state)
{
    (void)state;
    static int number = 1;
    hf_engine *engine = start("nowtwice", now);
    atomic_store(&answered, 0);
    atomic_store(&early, 0);
    ring_ok(hf_drain(engine, 10000));
    atomic_store(&db->fail, 1 << 20);
    uint64_t failed = stats_of(engine).flush_failed;
    for (int i = 1; i < 4; i++) {
        ring_ok(
            hf_ask(engine, HF_LETTER(.to = "c/1", .dedupe = "once"), 20000, on_answer, &number));
        for (int n = 0; n < 10000 && stats_of(engine).flush_failed < failed + (uint64_t)i * 3; n++)
            usleep(1000);
        assert_int_equal(atomic_load(&answered), 0);
    }
    atomic_store(&db->fail, 0);
    ring_until(&answered, 3);
    /* And long afterwards. */
    ring_ok(hf_ask(engine, HF_LETTER(.to = "c/1", .dedupe = "once"), 20000, on_answer, &number));
    ring_until(&answered, 4);
    assert_int_equal(atomic_load(&early), 0);
    expect(1, 2, 1);
    ring_ok(hf_close(engine, 10000));
}

/* Nor after the next open, while what the last run left is looked for: many times, who asks
 * must come just then. */
static void nor_after_an_open(void **state)
{
    (void)state;
    static int number = 1;
    const hf_letter *letter = HF_LETTER(.to = "c/1", .dedupe = "once");
    hf_engine *engine = start("nowopened", now);
    atomic_store(&answered, 0);
    atomic_store(&early, 0);
    atomic_store(&db->fail, 1 << 20);
    ring_ok(hf_mail(engine, letter, 1, NULL));
    for (int n = 0; n < 30000 && !stats_of(engine).flush_failed; n++)
        usleep(1000);
    for (int i = 0; i < 20; i++) {
        ring_ok(hf_close(engine, 20));
        engine = start("nowopened", now);
        ring_ok(hf_ask(engine, letter, 40000, on_answer, &number));
        for (int n = 0; n < 30000 && stats_of(engine).flush_failed < 1; n++)
            usleep(1000);
        assert_int_equal(atomic_load(&answered), 0);
    }
    atomic_store(&db->fail, 0);
    ring_until(&answered, 1);
    assert_int_equal(atomic_load(&early), 0);
    ring_ok(hf_close(engine, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(replies_wait_for_the_row, clear),
        cmocka_unit_test_setup(no_reply_while_the_row_fails, clear),
        cmocka_unit_test_setup(no_second_reply_either, clear),
        cmocka_unit_test_setup(nor_after_an_open, clear),
    };
    return cmocka_run_group_tests(tests, make_database, ring_remove_root);
}
