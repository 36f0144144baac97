/* test_close_callers.c - hf_close while other threads wait in calls: it ends after them. */
#include "tests/support/ring.h"

#include "engine/engine.h"

enum { TELLERS = 16, ROUNDS = 20 };

static hf_engine *engine;
static atomic_int inside, go, ended;
static int said, closed_inside;

static int handle(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

static int stand(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_store(&inside, 2);
    while (!atomic_load(&go))
        usleep(1000);
    return HF_OK;
}

static const hf_type TYPES[] = { { .name = "a", .handle = handle },
                                 { .name = "p", .handle = stand, .threads = 1 }, { 0 } };

static int tell_slowly(void *user, const hf_message *msg)
{
    (void)user;
    (void)msg;
    closed_inside = hf_close(engine, 0);
    atomic_store(&inside, 1);
    while (!atomic_load(&go))
        usleep(1000);
    return HF_OK;
}

static void *pauser(void *user)
{
    (void)user;
    said = hf_pause(engine, "a", tell_slowly, NULL);
    return NULL;
}

static void test_who_is_told(void **state)
{
    pthread_t thread;
    (void)state;
    engine = ring_open("told", TYPES);
    ring_ok(hf_pause(engine, "a", NULL, NULL));
    ring_ok(hf_tell(engine, "a/1", "waits", hf_str("")));
    assert_int_equal(pthread_create(&thread, NULL, pauser, NULL), 0);
    ring_until(&inside, 1);
    assert_int_equal(closed_inside, HF_EDEADLOCK);
    ring_err(hf_close(engine, 50), HF_ETIMEDOUT);
    assert_non_null(strstr(hf_detail(), "calls of other threads"));
    ring_err(hf_tell(engine, "a/1", "late", hf_str("")), HF_ECLOSED);
    atomic_store(&go, 1);
    pthread_join(thread, NULL);
    ring_ok(said);
    ring_ok(hf_close(engine, 20000));
}

static int count_told(void *user, const hf_message *msg)
{
    (void)user;
    (void)msg;
    atomic_fetch_add(&ended, 1);
    return HF_OK;
}

static void *pauser_of_running(void *user)
{
    (void)user;
    said = hf_pause(engine, "p", count_told, NULL);
    return NULL;
}

/* What runs still is not told as if it waited: hf_pause could not wait for it. */
static void test_a_turn_runs(void **state)
{
    pthread_t thread;
    (void)state;
    atomic_store(&go, 0);
    atomic_store(&ended, 0);
    engine = ring_open("runs", TYPES);
    ring_ok(hf_tell(engine, "p/1", "runs", hf_str("")));
    ring_until(&inside, 2);
    assert_int_equal(pthread_create(&thread, NULL, pauser_of_running, NULL), 0);
    while (!atomic_load(&engine->pauses.any))
        usleep(100);
    ring_err(hf_close(engine, 50), HF_ETIMEDOUT);
    pthread_join(thread, NULL);
    ring_err(said, HF_ECLOSED);
    assert_int_equal(atomic_load(&ended), 0);
    atomic_store(&go, 1);
    ring_ok(hf_close(engine, 20000));
}

static void *teller(void *user)
{
    (void)user;
    int err = hf_tell(engine, "a/1", "one", hf_str("body"));
    atomic_fetch_add(&ended, 1);
    return (void *)(intptr_t)(err && err != HF_ECLOSED);
}

/* Who is woken by the last commit may come back late; what he looks at then is still there
 * (an address sanitizer says if not). */
static void test_who_was_woken(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t threads[TELLERS];
        engine = ring_open("woken", TYPES);
        atomic_store(&ended, 0);
        for (int i = 0; i < TELLERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, teller, NULL), 0);
        while ((int)atomic_load(&engine->callers) + atomic_load(&ended) < TELLERS)
            usleep(50);
        ring_ok(hf_close(engine, 20000));
        for (int i = 0; i < TELLERS; i++) {
            void *wrong;
            pthread_join(threads[i], &wrong);
            assert_null(wrong);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_who_is_told),
                                        cmocka_unit_test(test_a_turn_runs),
                                        cmocka_unit_test(test_who_was_woken) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
