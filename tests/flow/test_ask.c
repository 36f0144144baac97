/* test_ask.c - who asks from outside is told once, after the commit. */
#include "tests/support/askers.h"

#include "engine/engine.h"

#include <pthread.h>

enum { ASKS = 1000, THREADS = 8 };

static void test_answers(void **state)
{
    static const char *const actors[] = { "q/1", "pool/1" };
    (void)state;
    hf_engine *e = ring_open("answers", plain_types);
    for (int i = 0; i < 2; i++) {
        told t;
        ring_ok(ask(e, actors[i], "echo", "hello", &t));
        is_told(&t, HF_OK, "hello");
        assert_false(t.null);
        ring_ok(ask(e, actors[i], "nothing", "hello", &t));
        is_told(&t, HF_OK, "");
        assert_true(t.null);
        ring_ok(ask(e, actors[i], "empty", "hello", &t));
        is_told(&t, HF_OK, "");
        assert_false(t.null);
        ring_ok(ask(e, actors[i], "bury", "", &t));
        is_told(&t, HF_EDEAD, "no such luck");
        atomic_store(&tries, 0);
        ring_ok(ask(e, actors[i], "third", "", &t));
        is_told(&t, HF_OK, "at last");
        assert_int_equal(atomic_load(&tries), 3);
        ring_ok(ask(e, actors[i], "twice", "", &t)); /* fails the turn, until it is dead */
        wait_for(&t);
        assert_int_equal(t.err, HF_EDEAD);
        assert_non_null(strstr(t.text, "replied before"));
        ring_ok(ask(e, actors[i], "large", "", &t));
        wait_for(&t);
        assert_int_equal(t.err, HF_EDEAD);
        ring_ok(hf_tell(e, actors[i], "echo", hf_str("nobody asked")));
    }
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(open_asks(e), 0);
    ring_ok(hf_close(e, 10000));
}

static void test_arguments(void **state)
{
    char longer[140];
    told t = { .err = 0 };
    (void)state;
    memset(longer, 'k', sizeof longer);
    longer[139] = 0;
    hf_engine *e = ring_open("arguments", plain_types);
    ring_err(hf_ask(NULL, HF_LETTER(.to = "q/1"), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, NULL, 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "q/1"), 1000, NULL, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.kind = "k"), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "q/1", .kind = longer), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "no/1"), 1000, note_answer, &t), HF_ENOTYPE);
    ring_err(hf_ask(e, HF_LETTER(.to = "@t"), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "q/1", .conflate = 1), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "q/1", .answer = "a"), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_mail(e, HF_LETTER(.to = "q/1", .answer = "a"), 1, NULL), HF_EINVAL);
    ring_err(hf_mail(e, HF_LETTER(.to = "q/1", .about = 5), 1, NULL), HF_EINVAL);
    assert_int_equal(open_asks(e), 0);
    assert_int_equal(atomic_load(&t.calls), 0);
    /* of an older, shorter letter */
    hf_letter old = { .size = offsetof(hf_letter, dedupe), .to = "q/1", .kind = "echo",
                      .body = hf_str("old"), .answer = "garbage", .conflate = 1 };
    ring_ok(hf_ask(e, &old, HF_NEVER, note_answer, &t));
    is_told(&t, HF_OK, "old");
    ring_ok(hf_close(e, 10000));
    assert_int_equal(atomic_load(&t.calls), 1);
}

/* ---- Many, and callbacks that ask again */

static hf_engine *crowd_engine;
static told       crowd[THREADS][ASKS];
static atomic_int crowd_failed;

static void *ask_many(void *user)
{
    told *mine = user;
    for (int i = 0; i < ASKS; i++) {
        char to[32], body[32];
        (void)snprintf(to, sizeof to, "%s/%d", i % 3 ? "q" : "pool", i % 17);
        (void)snprintf(body, sizeof body, "%d", i);
        int err;
        while ((err = ask(crowd_engine, to, i % 10 == 9 ? "bury" : "echo", body, &mine[i]))
               == HF_EAGAIN)
            usleep(100);
        if (err)
            atomic_fetch_add(&crowd_failed, 1);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    pthread_t threads[THREADS];
    (void)state;
    crowd_engine = ring_open("crowd", plain_types);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, crowd[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd_failed), 0);
    for (int n = 0; n < THREADS; n++)
        for (int i = 0; i < ASKS; i++) {
            char body[32];
            (void)snprintf(body, sizeof body, "%d", i);
            if (i % 10 == 9)
                is_told(&crowd[n][i], HF_EDEAD, "no such luck");
            else
                is_told(&crowd[n][i], HF_OK, body);
        }
    ring_ok(hf_drain(crowd_engine, 10000));
    ring_ok(hf_close(crowd_engine, 10000));
    for (int n = 0; n < THREADS; n++)
        for (int i = 0; i < ASKS; i++)
            assert_int_equal(atomic_load(&crowd[n][i].calls), 1);
}

typedef struct chain {
    hf_engine *engine;
    atomic_int left, wrong;
} chain;

static void ask_next(void *user, int err, hf_bytes answer)
{
    chain *c = user;
    if (err || answer.len != 4)
        atomic_fetch_add(&c->wrong, 1);
    if (atomic_fetch_sub(&c->left, 1) > 1
        && hf_ask(c->engine, HF_LETTER(.to = "q/1", .kind = "echo", .body = hf_str("next")), 10000,
                  ask_next, c))
        atomic_fetch_add(&c->wrong, 1);
}

static void test_callback_asks(void **state)
{
    chain c = { .engine = ring_open("again", plain_types) };
    (void)state;
    atomic_store(&c.left, 50);
    ring_ok(hf_ask(c.engine, HF_LETTER(.to = "pool/1", .kind = "echo", .body = hf_str("next")),
                   10000, ask_next, &c));
    ring_until(&c.left, 0);
    assert_int_equal(atomic_load(&c.wrong), 0);
    ring_ok(hf_close(c.engine, 10000));
}

/* ---- Time */

static void test_timeouts(void **state)
{
    told t, later, race[64];
    (void)state;
    atomic_store(&gate, 0);
    hf_engine *e = ring_open("timeouts", plain_types);
    memset(&t, 0, sizeof t);
    memset(&later, 0, sizeof later);
    ring_ok(hf_ask(e, HF_LETTER(.to = "pool/1", .kind = "wait"), 10000, note_answer, &later));
    ring_ok(hf_ask(e, HF_LETTER(.to = "pool/2", .kind = "wait"), 50, note_answer, &t));
    is_told(&t, HF_ETIMEDOUT, "");
    assert_int_equal(atomic_load(&later.calls), 0);
    assert_int_equal(open_asks(e), 1);
    atomic_store(&gate, 1); /* the message goes on all the same */
    is_told(&later, HF_OK, "waited");
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&t.calls), 1);
    /* no time at all; and answers that race it */
    for (uint32_t i = 0; i < 64; i++) {
        memset(&race[i], 0, sizeof race[i]);
        ring_ok(hf_ask(e, HF_LETTER(.to = "q/1", .kind = "echo", .body = hf_str("r")), i / 8,
                       note_answer, &race[i]));
    }
    for (uint32_t i = 0; i < 64; i++) {
        wait_for(&race[i]);
        assert_true(race[i].err == HF_ETIMEDOUT || race[i].err == HF_OK);
    }
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(open_asks(e), 0);
    ring_ok(hf_close(e, 10000));
    for (uint32_t i = 0; i < 64; i++)
        assert_int_equal(atomic_load(&race[i].calls), 1);
}

/* ---- Closing, and the next run */

static void test_close_and_reopen(void **state)
{
    static told waits[20];
    told t;
    (void)state;
    atomic_store(&gate, 0);
    hf_engine *e = ring_open("closes", plain_types);
    ring_ok(hf_pause(e, "q", NULL, NULL));
    for (int i = 0; i < 20; i++)
        ring_ok(ask(e, "q/1", "echo", "later", &waits[i]));
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(atomic_load(&waits[i].calls), 1);
        assert_int_equal(waits[i].err, HF_ECLOSED);
    }
    e = ring_open("closes", plain_types);
    for (int i = 0; i < 20; i++)
        ring_ok(ask(e, "q/2", "echo", "mine", &waits[i])); /* numbers of this run */
    ring_ok(ask(e, "pool/1", "nothing", "", &t));
    is_told(&t, HF_OK, "");
    ring_ok(hf_resume(e, "q"));
    ring_ok(hf_drain(e, 10000));
    for (int i = 0; i < 20; i++)
        is_told(&waits[i], HF_OK, "mine");
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < 20; i++)
        assert_int_equal(atomic_load(&waits[i].calls), 1);
}

static void test_engine_stops(void **state)
{
    told t, never;
    (void)state;
    hf_engine *e = ring_open("stops", plain_types);
    ring_ok(hf_pause(e, "q", NULL, NULL));
    ring_ok(ask(e, "q/1", "echo", "x", &t));
    ring_ok(hf_sync(e, 10000));
    hf_engine_stop(e, HF_EIO, "a test");
    is_told(&t, HF_EUNKNOWN, "");
    ring_err(ask(e, "q/1", "echo", "x", &never), HF_EUNKNOWN);
    ring_ok(hf_close(e, 10000));
    assert_int_equal(atomic_load(&never.calls), 0);
    assert_int_equal(atomic_load(&t.calls), 1);
}

/* ---- Forward: the asker goes with it */

static const hf_type chain_types[] = {
    { .name = "a", .handle = pass_on, .next = "b", .tries = 1 },
    { .name = "b", .handle = pass_on, .next = "c", .threads = 2, .tries = 1 },
    { .name = "c", .handle = at_end, .retry_ms = 5 },
    { .name = "t", .handle = handle }, { 0 } };

static void test_forward(void **state)
{
    told t;
    (void)state;
    hf_engine *e = ring_open("forward", chain_types);
    ring_ok(ask(e, "a/1", "go", "x", &t));
    is_told(&t, HF_OK, "go of b/1");
    ring_ok(ask(e, "a/1", "fails", "x", &t));
    is_told(&t, HF_OK, "fails of b/1");
    ring_ok(ask(e, "a/1", "bury", "x", &t));
    is_told(&t, HF_EDEAD, "at the end");
    ring_ok(ask(e, "a/1", "silent", "x", &t));
    is_told(&t, HF_OK, "");
    ring_ok(ask(e, "a/1", "first", "x", &t));
    is_told(&t, HF_OK, "from the first");
    ring_ok(ask(e, "a/1", "both", "x", &t));
    wait_for(&t);
    assert_int_equal(t.err, HF_EDEAD);
    assert_non_null(strstr(t.text, "went on with hf_forward"));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(open_asks(e), 0);
    ring_ok(hf_close(e, 10000));
}

/* ---- HF_PENDING: another thread replies */

static void *finish_later(void *user)
{
    hf_turn *turn = user;
    usleep(2000);
    hf_reply(turn, hf_str("pending"));
    (void)hf_finish(turn, HF_OK);
    return NULL;
}

static int pend(hf_turn *turn, const hf_message *msg)
{
    pthread_t thread;
    (void)msg;
    if (pthread_create(&thread, NULL, finish_later, turn))
        return HF_ENOMEM;
    pthread_detach(thread);
    return HF_PENDING;
}

static int hook_replies(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return hf_fail(turn, 7, "as it must");
}

static void failed(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    hf_reply(turn, hf_str("from the hook"));
}

static void test_pending_and_hooks(void **state)
{
    static const hf_type types[] = {
        { .name = "p", .handle = pend, .threads = 2 },
        { .name = "h", .handle = hook_replies, .failed = failed, .tries = 2, .retry_ms = 1 },
        { 0 } };
    told t[40];
    (void)state;
    hf_engine *e = ring_open("pending", types);
    for (int i = 0; i < 40; i++)
        ring_ok(ask(e, i % 2 ? "p/1" : "p/2", "k", "", &t[i]));
    for (int i = 0; i < 40; i++)
        is_told(&t[i], HF_OK, "pending");
    ring_ok(ask(e, "h/1", "k", "", &t[0]));
    is_told(&t[0], HF_EDEAD, "as it must");
    ring_ok(hf_close(e, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_callback_asks),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_close_and_reopen),
        cmocka_unit_test(test_engine_stops),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_pending_and_hooks),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
