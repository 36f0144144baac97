/* test_actor_rows.c - an actor's own table, rule by rule: what a turn put is there at once
 * and gone if it fails, limits, walks, threads. Large tables and damage:
 * test_large_rows.c; random operations against a model: test_rows_model.c. */
#include "tests/support/turns.h"

#include <pthread.h>

/* ---- In one turn */

static void test_one_turn(void **state)
{
    (void)state;
    hf_engine *e = open_it("one");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(e, kinds_of_turn[i], put_some), 0);
        assert_int_equal(run(e, kinds_of_turn[i], see_some), 0);
    }
    /* Nobody else's, though its address begins alike. */
    assert_int_equal(run(e, "a/12", see_nothing), 0);
    assert_int_equal(run(e, "a/1/2", see_nothing), 0);
    assert_int_equal(run(e, "p/12", see_nothing), 0);
    ring_ok(hf_close(e, 10000));
    e = open_it("one");
    for (int i = 0; i < 2; i++)
        assert_int_equal(run(e, kinds_of_turn[i], see_some), 0);
    assert_int_equal(run(e, "a/12", see_nothing), 0);
    ring_ok(hf_close(e, 10000));
}

/* ---- Turns that fail leave nothing but what the failed hook put */

static int fail_after(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    CHECK(is(turn, "x", "three"));
    hf_put(turn, hf_str("x"), hf_str("never"));
    hf_put(turn, hf_str("y"), hf_view(NULL, 0));
    hf_put(turn, hf_str("new"), hf_str("never"));
    return hf_fail(turn, 9, "on purpose");
}

static int bury_after(hf_turn *turn, const hf_message *msg)
{
    (void)fail_after(turn, msg);
    return hf_bury(turn, "buried");
}

static int snooze_once(hf_turn *turn, const hf_message *msg)
{
    if (with++ == 0) {
        (void)fail_after(turn, msg);
        return hf_snooze(turn, 1);
    }
    return see_some(turn, msg);
}

static int see_note(hf_turn *turn, const hf_message *msg)
{
    CHECK(is(turn, "~failed", with ? "on purpose" : "buried"));
    CHECK(is(turn, "new", NULL));
    CHECK(rows_in(turn) == 4);
    return see_some(turn, msg);
}

static void test_failing(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *to = kinds_of_turn[i];
        hf_engine *e = open_it(i ? "failpool" : "fail");
        assert_int_equal(run(e, to, put_some), 0);
        with = 0;
        assert_int_equal(run(e, to, snooze_once), 0);
        assert_int_equal(with, 2);
        assert_int_equal(run(e, to, fail_after), 1);
        with = 1;
        assert_int_equal(run(e, to, see_note), 0);
        assert_int_equal(run(e, to, bury_after), 1);
        with = 0;
        assert_int_equal(run(e, to, see_note), 0);
        ring_ok(hf_close(e, 10000));
        e = open_it(i ? "failpool" : "fail");
        assert_int_equal(run(e, to, see_note), 0);
        ring_ok(hf_close(e, 10000));
    }
}

/* ---- Limits */

static char long_key[129];

static int bad(hf_turn *turn, const hf_message *msg)
{
    static uint8_t big[(1 << 20) + 1];
    hf_bytes value = hf_str("x");
    (void)msg;
    hf_put(turn, hf_str("fine"), hf_str("but lost"));
    switch (with) {
    case 0: hf_put(turn, hf_str(""), value); break;
    case 1: hf_put(turn, hf_view(long_key, 128), value); break;
    case 2: hf_put(turn, hf_view(NULL, 3), value); break;
    case 3: hf_put(turn, hf_str("k"), hf_view(big, sizeof big)); break;
    case 4: CHECK(hf_get(turn, hf_str(""), &value) == HF_EINVAL); break;
    case 5: CHECK(hf_get(turn, hf_view(long_key, 128), &value) == HF_EINVAL); break;
    case 6: CHECK(hf_walk(turn, hf_str(""), NULL, NULL) == HF_EINVAL); break;
    default:
        for (int i = 0; i < 17; i++)
            hf_put(turn, key_of(i), hf_view(big, 1 << 20));
    }
    CHECK(hf_get(turn, hf_str("fine"), &value) != HF_OK); /* it fails already */
    CHECK(hf_walk(turn, hf_str(""), count_rows, &with) != HF_OK);
    return HF_OK;
}

static int use_limits(hf_turn *turn, const hf_message *msg)
{
    static uint8_t big[1 << 20];
    hf_bytes value;
    int count = 0;
    (void)msg;
    CHECK(is(turn, "fine", NULL));
    hf_put(turn, hf_view(long_key, 127), hf_view(big, sizeof big));
    hf_put(turn, hf_view("", 1), hf_str("key of one zero"));
    CHECK(hf_get(turn, hf_view(long_key, 127), &value) == HF_OK && value.len == sizeof big);
    /* Nothing comes behind the longest key, whatever is asked for. */
    CHECK(hf_walk(turn, hf_view(long_key, 128), count_rows, &count) == HF_OK && count == 1);
    CHECK(hf_walk(turn, hf_view(long_key, 127), count_rows, &count) == HF_OK && count == 3);
    return HF_OK;
}

static int by_workers(hf_turn *turn, const hf_message *msg)
{
    hf_bytes value;
    (void)msg;
    switch (with) {
    case 0: hf_put(turn, hf_str("k"), hf_str("v")); return HF_OK;
    case 1: CHECK(hf_get(turn, hf_str("k"), &value) == HF_EINVAL); return HF_OK;
    case 2: CHECK(hf_walk(turn, hf_str(""), count_rows, &with) == HF_EINVAL); return HF_OK;
    default: hf_forget(turn); return HF_OK; /* there is nothing, that is all */
    }
}

static void test_limits(void **state)
{
    (void)state;
    memset(long_key, 'k', sizeof long_key);
    hf_engine *e = open_it("limits");
    for (int i = 0; i < 2; i++) {
        const char *to = kinds_of_turn[i];
        for (int how = 0; how < 8; how++) {
            with = how;
            assert_int_equal(run(e, to, bad), 1);
            assert_non_null(strstr(error, how == 3 || how == 7 ? "larger" : "invalid"));
        }
        assert_int_equal(run(e, to, use_limits), 0);
    }
    for (int how = 0; how < 4; how++) {
        with = how;
        assert_int_equal(run(e, "w/1", by_workers), how < 3);
    }
    ring_ok(hf_close(e, 10000));
}

/* ---- Walking */

static int put_hundred(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    for (int i = 0; i < 100; i++)
        hf_put(turn, key_of(i), key_of(i * 2));
    return HF_OK;
}

typedef struct inner {
    hf_turn *turn;
    int      seen, inside;
} inner;

static int look_inside(void *user, hf_bytes key, hf_bytes value)
{
    inner *w = user;
    (void)value;
    w->seen++;
    CHECK(hf_walk(w->turn, key, count_rows, &w->inside) == HF_OK);
    return w->seen == 10 ? 4242 : HF_OK;
}

static int walk_some(hf_turn *turn, const hf_message *msg)
{
    int count = 0;
    inner w = { turn, 0, 0 };
    (void)msg;
    CHECK(rows_in(turn) == 100);
    CHECK(hf_walk(turn, key_of(90), count_rows, &count) == HF_OK && count == 10);
    CHECK(hf_walk(turn, hf_str("k9"), count_rows, &count) == HF_OK && count == 10);
    CHECK(hf_walk(turn, key_of(50), look_inside, &w) == 4242); /* and the turn stands */
    CHECK(w.seen == 10 && w.inside == 50 + 49 + 48 + 47 + 46 + 45 + 44 + 43 + 42 + 41);
    hf_put(turn, hf_str("walked"), hf_str("yes"));
    return HF_OK;
}

static void test_walk_and_forget(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *to = kinds_of_turn[i], *name = i ? "walkpool" : "walk";
        hf_engine *e = open_it(name);
        assert_int_equal(run(e, to, put_hundred), 0);
        assert_int_equal(run(e, to, walk_some), 0);
        assert_int_equal(run(e, to, put_hundred), 0);
        ring_ok(hf_close(e, 10000));
        e = open_it(name);
        with = 1;
        assert_int_equal(run(e, to, forget_it), 1);
        with = 0;
        assert_int_equal(run(e, to, forget_it), 0);
        assert_int_equal(run(e, to, see_after), 0);
        ring_ok(hf_close(e, 10000));
        e = open_it(name);
        assert_int_equal(run(e, to, see_after), 0);
        ring_ok(hf_close(e, 10000));
    }
}

/* ---- A pending turn reads and puts from whatever thread finishes it */

static void *finish(void *user)
{
    hf_turn *turn = user;
    CHECK(is(turn, "x", "three"));
    hf_put(turn, hf_str("pending"), hf_str("done"));
    CHECK(rows_in(turn) == 4);
    CHECK(hf_finish(turn, HF_OK) == HF_OK);
    return NULL;
}

static int begin_pending(hf_turn *turn, const hf_message *msg)
{
    pthread_t thread;
    (void)msg;
    CHECK(pthread_create(&thread, NULL, finish, turn) == 0);
    CHECK(pthread_detach(thread) == 0);
    return HF_PENDING;
}

static int see_pending(hf_turn *turn, const hf_message *msg)
{
    CHECK(is(turn, "pending", "done"));
    return see_some(turn, msg);
}

static void test_pending(void **state)
{
    (void)state;
    hf_engine *e = open_it("pending");
    assert_int_equal(run(e, "p/1", put_some), 0);
    assert_int_equal(run(e, "p/1", begin_pending), 0);
    assert_int_equal(run(e, "p/1", see_pending), 0);
    ring_ok(hf_close(e, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_turn), cmocka_unit_test(test_failing),
        cmocka_unit_test(test_limits),   cmocka_unit_test(test_walk_and_forget),
        cmocka_unit_test(test_pending),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
