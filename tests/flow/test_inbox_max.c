/* test_inbox_max.c - too much waits for an actor: outsiders are refused, turns are not;
 * in memory, in the tables, after a reopen, on shards and in pools. */
#include "tests/support/ring.h"

#include <string.h>

static atomic_int turns, go;

static int count_turn(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static int hold(hf_turn *turn, const hf_message *msg)
{
    while (!atomic_load(&go))
        usleep(500);
    return count_turn(turn, msg);
}

static int burst(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    for (int i = 0; i < 500; i++)
        hf_send(turn, "a/full", "", hf_str("x"));
    return HF_OK;
}

static const hf_type TYPES[] = { { .name = "a", .handle = count_turn, .inbox_max = 80 },
                                 { .name = "p", .handle = hold, .threads = 1, .inbox_max = 80 },
                                 { .name = "b", .handle = burst },
                                 { .name = "big", .handle = count_turn, .inbox_max = 5000 },
                                 { .name = "free", .handle = count_turn }, { 0 } };

static hf_engine *open_small(const char *name)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = TYPES, .shards = 2,
                                                   .window = 64 << 10, .store_max = 256 << 20)));
    return e;
}

/* Send until refused; each is seen by the shard before the next. */
static int fill(hf_engine *e, const char *to, int most)
{
    for (int i = 0; i < most; i++) {
        int err = hf_tell(e, to, "", hf_str("x"));
        if (err) {
            assert_int_equal(err, HF_EINBOX);
            return i;
        }
        ring_ok(hf_drain(e, 10000));
    }
    return most;
}

static void test_refused_whole(void **state)
{
    (void)state;
    hf_engine *e = open_small("whole");
    atomic_store(&turns, 0);
    ring_ok(hf_pause(e, "a/full", NULL, NULL));
    assert_int_equal(fill(e, "a/full", 200), 80);
    ring_err(hf_tell(e, "a/full", "", hf_str("")), HF_EINBOX);
    assert_non_null(strstr(hf_detail(), "a/full"));
    assert_non_null(strstr(hf_detail(), "80"));
    const hf_letter two[] = { { .size = sizeof *two, .to = "a/other" }, { .to = "a/full" } };
    ring_err(hf_mail(e, two, 2, NULL), HF_EINBOX);
    ring_err(hf_post(e, two, 2, NULL, NULL), HF_EINBOX);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 0);
    ring_ok(hf_tell(e, "a/other", "", hf_str("")));
    ring_ok(hf_tell(e, "free/1", "", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 2);
    ring_ok(hf_tell(e, "b/1", "", hf_str(""))); /* a turn's own are taken */
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_resume(e, "a/full"));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 2 + 80 + 500);
    ring_ok(hf_tell(e, "a/full", "", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 2 + 80 + 500 + 1);
    ring_ok(hf_close(e, HF_NEVER));
}

/* Some wait in the window, most in the tables; and again after a reopen. */
static void test_tables_and_reopen(void **state)
{
    (void)state;
    enum { A_CALL = 100 };
    static hf_letter letters[A_CALL];
    static const char body[400];
    hf_engine *e = open_small("tables");
    atomic_store(&turns, 0);
    ring_ok(hf_pause(e, "big/1", NULL, NULL));
    int taken = 0, err = HF_OK;
    for (int i = 0; i < A_CALL; i++)
        letters[i] = (hf_letter){ .size = sizeof *letters, .to = "big/1",
                                  .body = hf_view(body, sizeof body) };
    while (taken < 20000 && !(err = hf_mail(e, letters, A_CALL, NULL))) {
        taken += A_CALL;
        ring_ok(hf_drain(e, 10000));
    }
    assert_int_equal(err, HF_EINBOX);
    assert_true(taken >= 4900 && taken <= 5600);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_small("tables");
    int more = fill(e, "big/1", 200); /* known at the latest with the first */
    assert_true(more <= 1);
    ring_ok(hf_resume(e, "big/1"));
    ring_ok(hf_drain(e, 20000));
    assert_int_equal(atomic_load(&turns), taken + more);
    ring_ok(hf_tell(e, "big/1", "", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_close(e, HF_NEVER));
}

/* A slow actor of a pool: free again at seven eighths, not before. */
static void test_slow_pool(void **state)
{
    (void)state;
    hf_engine *e = open_small("pool");
    int taken = 0, err = HF_OK;
    atomic_store(&turns, 0);
    atomic_store(&go, 0);
    while (taken < 200 && !(err = hf_tell(e, "p/1", "", hf_str("")))) {
        taken++;
        usleep(3000);
    }
    assert_int_equal(err, HF_EINBOX);
    assert_true(taken >= 80 && taken <= 85);
    atomic_store(&go, 1);
    for (int i = 0; i < 1000 && (err = hf_tell(e, "p/1", "", hf_str(""))); i++)
        usleep(1000);
    ring_ok(err);
    assert_true(atomic_load(&turns) >= 10);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), taken + 1);
    ring_ok(hf_close(e, HF_NEVER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_whole),
        cmocka_unit_test(test_tables_and_reopen),
        cmocka_unit_test(test_slow_pool),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
