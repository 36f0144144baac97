/* test_flush.c - states are kept elsewhere, too: what reaches .flush, and when, what a failure,
 * a forgotten actor, a slow database or a closed engine makes of it. */
#include "tests/support/flushing.h"

static void many_changes_are_few_images(void **state)
{
    (void)state;
    hf_engine *engine = start("few", slow);
    for (int i = 0; i < 20; i++)
        tell_all(engine, 0, 50, "");
    wait_committed(engine, 1000);
    assert_int_equal(atomic_load(&db->calls), 0);
    assert_int_equal(stats_of(engine).dirty, 50);
    ring_ok(hf_drain(engine, 20000));
    expect(0, 50, 20);
    hf_stats stats = stats_of(engine);
    assert_int_equal(stats.dirty, 0);
    assert_int_equal(stats.flushed, 50);
    assert_int_equal(atomic_load(&db->largest), 50);
    ring_ok(hf_close(engine, 10000));
}

static void a_change_waits_for_flush_ms(void **state)
{
    (void)state;
    static const hf_type types[] = {
        { .name = "c", .handle = count, .flush = flush, .flush_ms = 400 }, { 0 } };
    hf_engine *engine = start("wait", types);
    usleep(50000); /* what an earlier run left was looked for */
    uint64_t began = now_ms();
    tell(engine, 1, "");
    ring_until(&db->images, 1);
    assert_in_range(now_ms() - began, 300, 9000);
    tell(engine, 1, "");
    wait_committed(engine, 2);
    ring_ok(hf_close(engine, 10000)); /* does not wait for it */
    expect(1, 2, 2);
}

static void what_fails_comes_again(void **state)
{
    (void)state;
    hf_engine *engine = start("again", fast);
    atomic_store(&db->fail, 3);
    tell_all(engine, 0, 10, "");
    for (int i = 0; i < 2000 && atomic_load(&db->calls) < 2; i++)
        usleep(1000);
    tell_all(engine, 5, 15, "");
    ring_ok(hf_drain(engine, 20000));
    expect(0, 5, 1);
    expect(5, 10, 2);
    expect(10, 15, 1);
    assert_int_equal(stats_of(engine).flush_failed, 3);
    assert_int_equal(atomic_load(&db->warned), 1);
    ring_ok(hf_close(engine, 10000));
}

static void the_forgotten_are_told(void **state)
{
    (void)state;
    hf_engine *engine = start("forget", fast);
    tell_all(engine, 0, 20, "");
    ring_ok(hf_drain(engine, 20000));
    tell_all(engine, 0, 10, "forget");
    tell_all(engine, 10, 15, "both");
    tell_all(engine, 15, 20, "twice");
    ring_ok(hf_drain(engine, 20000));
    expect(0, 10, 0);
    expect(10, 15, 2);
    expect(15, 20, 0);
    assert_int_equal(atomic_load(&db->gone), 15);
    tell_all(engine, 0, 5, "");
    ring_ok(hf_drain(engine, 20000));
    expect(0, 5, 1);
    ring_ok(hf_close(engine, 10000));
    int before = atomic_load(&db->gone);
    engine = start("forget", fast);
    ring_ok(hf_drain(engine, 20000));
    assert_int_equal(atomic_load(&db->gone), before); /* that is over */
    ring_ok(hf_close(engine, 10000));
}

static void failed_turns_change_nothing(void **state)
{
    (void)state;
    hf_engine *engine = start("failed", fast);
    tell(engine, 1, "");
    tell(engine, 1, "fail");
    ring_ok(hf_drain(engine, 20000));
    expect(1, 2, 1);
    ring_ok(hf_close(engine, 10000));
}

static void a_type_that_begins_to_flush_hands_over_all(void **state)
{
    (void)state;
    hf_engine *engine = start("first", plain);
    tell_all(engine, 0, ACTORS, "");
    ring_ok(hf_drain(engine, 60000));
    ring_ok(hf_close(engine, 10000));
    assert_int_equal(atomic_load(&db->calls), 0);
    engine = start("first", slow);
    ring_ok(hf_drain(engine, 60000));
    expect(0, ACTORS, 1);
    ring_ok(hf_close(engine, 10000));
    engine = start("first", plain); /* a pause in which it does not flush */
    tell_all(engine, 7, 9, "");
    ring_ok(hf_drain(engine, 60000));
    ring_ok(hf_close(engine, 10000));
    expect(0, ACTORS, 1);
    engine = start("first", slow);
    ring_ok(hf_drain(engine, 60000));
    expect(7, 9, 2);
    assert_int_equal(atomic_load(&db->images), ACTORS + 2);
    ring_ok(hf_close(engine, 10000));
}

static void close_flushes_or_leaves_it(void **state)
{
    (void)state;
    hf_engine *engine = start("close", slow);
    tell_all(engine, 0, 100, "");
    wait_committed(engine, 100);
    ring_ok(hf_close(engine, 30000));
    expect(0, 100, 1);
    engine = start("close", slow);
    atomic_store(&db->fail, 1 << 20);
    tell_all(engine, 0, 100, "");
    wait_committed(engine, 100);
    uint64_t began = now_ms();
    ring_ok(hf_close(engine, 300));
    assert_in_range(now_ms() - began, 250, 30000);
    atomic_store(&db->fail, 0);
    memset((void *)db->rows, 0, sizeof db->rows); /* the calls that failed did nothing */
    engine = start("close", slow);
    ring_ok(hf_drain(engine, 30000));
    expect(0, 100, 2);
    ring_ok(hf_close(engine, 10000));
}

/* No room for anything that is sent: what was changed is handed over all the same, and if
 * that fails the engine is closed when its time is over. */
static void close_flushes_a_full_store(void **state)
{
    static const hf_type full[] = {
        { .name = "c", .handle = count, .flush = flush, .flush_ms = 600000, .strikes = HF_NEVER },
        { .name = "hoard", .handle = count },
        { 0 },
    };
    static char large[20000];
    hf_letter letter = { .size = sizeof letter, .to = "hoard/1",
                         .body = hf_view(large, sizeof large) };
    (void)state;
    for (uint64_t round = 1; round <= 3; round++) {
        hf_engine *engine = start("full", full);
        int err = HF_OK;
        if (round == 2) { /* room for the next ones */
            ring_ok(hf_resume(engine, "hoard"));
            ring_ok(hf_drain(engine, 60000));
        }
        ring_ok(hf_pause(engine, "hoard", NULL, NULL));
        atomic_store(&db->fail, round == 2 ? 1 << 20 : 0);
        if (round < 3)
            tell_all(engine, 0, 100, "");
        for (int i = 0; i < 10000 && stats_of(engine).dirty < (round < 3 ? 100 : 0); i++)
            usleep(1000);
        for (int i = 0; i < 100000 && err != HF_EFULL; i++)
            err = hf_mail(engine, &letter, 1, NULL);
        assert_int_equal(err, HF_EFULL);
        uint64_t began = now_ms();
        ring_ok(hf_close(engine, round == 2 ? 500 : 30000));
        assert_true(now_ms() - began < 30000);
        if (round == 2)
            memset((void *)db->rows, 0, sizeof db->rows); /* the calls that failed did nothing */
        else
            expect(0, 100, round == 1 ? 1 : 2);
    }
}

/* Hot actors, a slow database that fails now and then, actors that leave memory. */
static void versions_only_grow(void **state)
{
    (void)state;
    hf_engine *engine = start("grow", fast);
    atomic_store(&db->slow_ms, 5);
    for (int i = 0; i < 60; i++) {
        if (i % 10 == 0)
            atomic_store(&db->fail, 1);
        tell_all(engine, i * 20, i * 20 + 40, "");
        for (int n = 0; n < 5; n++)
            tell_all(engine, 2900, 2950, "");
        tell_all(engine, 2950, 2960, i & 1 ? "forget" : "");
    }
    ring_ok(hf_drain(engine, 60000));
    expect(0, 20, 1);
    expect(20, 1200, 2);
    expect(1200, 1220, 1);
    expect(2900, 2950, 300);
    expect(2950, 2960, 0);
    atomic_store(&db->slow_ms, 0);
    ring_ok(hf_close(engine, 10000));
}

/* ---- Refused */

static atomic_int refused;

static int refuses(void *user, const hf_image *images, size_t count)
{
    if (hf_drain(live, 10) == HF_EDEADLOCK && hf_close(live, 10) == HF_EDEADLOCK
        && hf_pause(live, NULL, NULL, NULL) == HF_EDEADLOCK)
        atomic_store(&refused, 1);
    return flush(user, images, count);
}

static void bad_types_are_refused(void **state)
{
    (void)state;
    static const hf_type workers[] = {
        { .name = "c", .handle = count, .flush = flush, .threads = 2, .workers = 2 }, { 0 } };
    static const hf_type never[] = {
        { .name = "c", .handle = count, .flush = flush, .flush_ms = HF_NEVER }, { 0 } };
    hf_engine *engine;
    ring_err(hf_open(&engine, ring_path("bad"), HF_OPTIONS(.types = workers)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), ".workers"));
    ring_err(hf_open(&engine, ring_path("bad"), HF_OPTIONS(.types = never)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), ".flush_ms"));
}

static void a_flush_may_not_wait_for_itself(void **state)
{
    (void)state;
    static const hf_type types[] = {
        { .name = "c", .handle = count, .flush = refuses, .flush_ms = 1 }, { 0 } };
    hf_engine *engine = start("refuse", types);
    tell(engine, 1, "");
    ring_until(&refused, 1);
    ring_ok(hf_close(engine, 10000));
}

static void paused_types_are_flushed(void **state)
{
    (void)state;
    hf_engine *engine = start("paused", slow);
    tell(engine, 1, "");
    wait_committed(engine, 1);
    ring_ok(hf_pause(engine, "c", NULL, NULL));
    ring_ok(hf_drain(engine, 20000));
    expect(1, 2, 1);
    ring_ok(hf_close(engine, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(many_changes_are_few_images, clear),
        cmocka_unit_test_setup(a_change_waits_for_flush_ms, clear),
        cmocka_unit_test_setup(what_fails_comes_again, clear),
        cmocka_unit_test_setup(the_forgotten_are_told, clear),
        cmocka_unit_test_setup(failed_turns_change_nothing, clear),
        cmocka_unit_test_setup(a_type_that_begins_to_flush_hands_over_all, clear),
        cmocka_unit_test_setup(close_flushes_or_leaves_it, clear),
        cmocka_unit_test_setup(close_flushes_a_full_store, clear),
        cmocka_unit_test_setup(versions_only_grow, clear),
        cmocka_unit_test_setup(bad_types_are_refused, clear),
        cmocka_unit_test_setup(a_flush_may_not_wait_for_itself, clear),
        cmocka_unit_test_setup(paused_types_are_flushed, clear),
    };
    return cmocka_run_group_tests(tests, make_database, ring_remove_root);
}
