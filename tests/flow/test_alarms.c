/* test_alarms.c - alarms: set, replaced, cancelled, also when they went off already; in their
 * own turns, and forgotten. */
#include "tests/support/later.h"

/* ---- Alarms */

static void test_alarms_with_bad_names(void **state)
{
    static const char *const kinds[] = { "no-name", "odd-name", "long-name", "large" };
    (void)state;
    forget_all();
    hf_engine *engine = ring_open("names", types);
    for (int i = 0; i < 4; i++)
        ring_ok(hf_tell(engine, "shop/1", kinds[i], BODY("")));
    ring_ok(hf_drain(engine, 10000));
    assert_int_equal(stats_of(engine).dead, 4);
    ring_ok(hf_close(engine, 5000));
}

static void set_replace_cancel(const char *store, const char *to)
{
    forget_all();
    hf_engine *engine = ring_open(store, types);
    uint64_t start = now_ms();
    ring_ok(hf_tell(engine, to, "set", BODY("wake")));
    ring_ok(hf_tell(engine, to, "set", BODY("other")));
    ring_ok(hf_tell(engine, to, "set", BODY("wake"))); /* replaces the first */
    ring_ok(hf_tell(engine, to, "cancel", BODY("other")));
    ring_ok(hf_tell(engine, to, "cancel", BODY("nothing")));
    ring_ok(hf_tell(engine, to, "set-cancel", BODY("third")));
    wait_for(7);
    assert_string_equal(order, "set set set cancel cancel set-cancel wake ");
    assert_int_equal(last_cause, HF_ALARM);
    assert_true(now_ms() - start >= 100);
    wait_for_alarms(engine, 0);
    ring_ok(hf_tell(engine, to, "set-late", BODY("wake")));
    ring_ok(hf_tell(engine, to, "set-now", BODY("wake"))); /* sooner than what stood there */
    wait_for(10);
    usleep(200000);
    ring_ok(hf_drain(engine, 5000));
    assert_int_equal(atomic_load(&turns), 10);
    ring_ok(hf_close(engine, 5000));
}

static void test_set_replace_cancel(void **state)
{
    (void)state;
    set_replace_cancel("set", "shop/1");
    set_replace_cancel("set-pool", "pool/1");
}

static void in_its_own_turn(const char *store, const char *to)
{
    forget_all();
    hf_engine *engine = ring_open(store, types);
    ring_ok(hf_tell(engine, to, "again", BODY("")));
    wait_for(5); /* set by its own turn, four times */
    ring_ok(hf_tell(engine, to, "set-now", BODY("fails-once")));
    /* It fails, is tried again, and what the failed attempt set is void. */
    wait_for(8);
    assert_int_equal(atomic_load(&failures), 1);
    ring_ok(hf_tell(engine, to, "set-now", BODY("dies")));
    ring_until(&notes, 6); /* five of `again`, and that it is dead */
    wait_for(10);
    atomic_store(&go, 1);
    hf_store *look;
    ring_ok(hf_store_open(&look, ring_path(store), 5000));
    ring_ok(hf_requeue(look, last_id)); /* a dead letter is not void, though its alarm is over */
    wait_for(11);
    hf_store_close(look);
    ring_ok(hf_drain(engine, 5000));
    assert_int_equal(stats_of(engine).waiting, 0);
    ring_ok(hf_close(engine, 5000));
}

static void test_in_its_own_turn(void **state)
{
    (void)state;
    in_its_own_turn("own", "shop/1");
    in_its_own_turn("own-pool", "pool/1");
}

/* An alarm went off, its message waits behind others; then a message says that it is not
 * wanted any more, or wanted later. folds: what went off became a row before. */
static void void_when_fired(const char *store, const char *to, const char *word, bool folds,
                            bool opens)
{
    forget_all();
    hf_engine *engine = open_small(store, 1);
    ring_ok(hf_tell(engine, to, "set-soon", BODY("wake")));
    ring_ok(hf_drain(engine, 5000));
    ring_ok(hf_pause(engine, to, NULL, NULL));
    ring_ok(hf_tell(engine, to, word, BODY("wake")));
    for (int i = 0; i < 5000 && stats_of(engine).waiting < 2; i++)
        usleep(1000);
    assert_int_equal(stats_of(engine).waiting, 2);
    if (folds)
        fold_all(engine);
    if (opens) {
        ring_ok(hf_close(engine, 5000));
        engine = open_small(store, 1);
    }
    ring_ok(hf_resume(engine, to));
    ring_ok(hf_drain(engine, 5000));
    bool set = strcmp(word, "set") == 0;
    wait_for(set ? 3 : 2);
    ring_ok(hf_drain(engine, 5000)); /* its turn is committed, too */
    assert_int_equal(stats_of(engine).waiting, 0);
    ring_ok(hf_tell(engine, to, "end", BODY("")));
    ring_ok(hf_drain(engine, 5000));
    assert_string_equal(order, set ? "set-soon set wake end " : "set-soon cancel end ");
    ring_ok(hf_close(engine, 5000));
}

static void test_void_when_fired(void **state)
{
    static const char *const stores[] = { "void0", "void1", "void2", "void3" };
    char name[40];
    (void)state;
    for (int i = 0; i < 16; i++) {
        (void)snprintf(name, sizeof name, "%s-%d", stores[i % 4], i);
        void_when_fired(name, i & 1 ? "pool/1" : "shop/1", i & 2 ? "cancel" : "set", i & 4, i & 8);
    }
}

/* The same while the actor runs: on a pool an alarm can go off meanwhile. */
static int hold_and_cancel(hf_turn *turn, const hf_message *msg)
{
    if (says(msg, "hold")) {
        while (!atomic_load(&go))
            usleep(500);
        hf_cancel_alarm(turn, "wake");
        return HF_OK;
    }
    return work(turn, msg);
}

static void test_cancel_while_it_goes_off(void **state)
{
    static const hf_type held[] = {
        { .name = "pool", .handle = hold_and_cancel, .threads = 1 },
        { 0 },
    };
    (void)state;
    forget_all();
    hf_engine *engine = ring_open("meanwhile", held);
    ring_ok(hf_tell(engine, "pool/1", "set", BODY("wake")));
    ring_ok(hf_tell(engine, "pool/1", "hold", BODY("")));
    ring_until(&turns, 1);
    for (int i = 0; i < 5000 && stats_of(engine).alarms; i++)
        usleep(1000);
    atomic_store(&go, 1);
    ring_ok(hf_drain(engine, 5000));
    assert_string_equal(order, "set ");
    ring_ok(hf_close(engine, 5000));
}

static void forgets(const char *store, const char *to, bool folds)
{
    forget_all();
    hf_engine *engine = open_small(store, 2);
    ring_ok(hf_tell(engine, to, "set-late", BODY("a")));
    ring_ok(hf_tell(engine, to, "set-late", BODY("b")));
    ring_ok(hf_mail(engine, HF_LETTER(.to = to, .kind = "letter", .delay_ms = 300), 1, NULL));
    ring_ok(hf_tell(engine, "shop/other", "set", BODY("other")));
    if (folds)
        fold_all(engine);
    ring_ok(hf_tell(engine, to, "set-late", BODY("c")));
    ring_ok(hf_tell(engine, to, "forget", BODY("")));
    ring_ok(hf_tell(engine, to, "set-forget", BODY("d")));
    ring_ok(hf_tell(engine, to, "forget-set", BODY("e")));
    wait_for(10);
    assert_non_null(strstr(order, "letter ")); /* messages are not forgotten */
    assert_non_null(strstr(order, "other "));
    assert_non_null(strstr(order, " e "));
    assert_null(strstr(order, " c "));
    assert_null(strstr(order, " d "));
    ring_ok(hf_close(engine, 5000));
    engine = open_small(store, 2);
    ring_ok(hf_drain(engine, 5000));
    wait_for_alarms(engine, 0);
    ring_ok(hf_close(engine, 5000));
}

static void test_forget(void **state)
{
    (void)state;
    forgets("forget", "shop/1", false);
    forgets("forget-pool", "pool/1", false);
    forgets("forget-rows", "shop/1", true);
    forgets("forget-rows-pool", "pool/1", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alarms_with_bad_names),
        cmocka_unit_test(test_set_replace_cancel),
        cmocka_unit_test(test_in_its_own_turn),
        cmocka_unit_test(test_void_when_fired),
        cmocka_unit_test(test_cancel_while_it_goes_off),
        cmocka_unit_test(test_forget),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
