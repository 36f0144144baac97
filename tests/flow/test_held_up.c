/* test_held_up.c - several threads at once, and what one of them may hold up: an urgent
 * letter behind words about alarms, words of pause and resume, hf_close behind a turn. */
#include "tests/support/ring.h"

#include <pthread.h>
#include <time.h>

static atomic_int runs, began, may_go;

static void nap(void)
{
    struct timespec pause = { 0, 1000000 };
    nanosleep(&pause, NULL);
}

/* Until the test says so; a test that never does is to fail soon, too. */
static void wait_to_go(void)
{
    atomic_fetch_add(&began, 1);
    for (int i = 0; i < 5000 && !atomic_load(&may_go); i++)
        nap();
}

static int on_message(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    atomic_fetch_add(&runs, 1);
    if (strcmp(msg->kind, "wait") == 0)
        wait_to_go();
    return HF_OK;
}

static int on_alarming(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "set") == 0) {
        hf_set_alarm(turn, "later", 3600 * 1000, hf_str(""));
        wait_to_go();
    }
    atomic_fetch_add(&runs, 1);
    return HF_OK;
}

static void wait_for(const atomic_int *what, int count)
{
    while (atomic_load(what) < count)
        nap();
}

static void reset(void)
{
    atomic_store(&runs, 0);
    atomic_store(&began, 0);
    atomic_store(&may_go, 0);
}

/* It is the most urgent, and its actor has to hear first what its last turn said. */
static void test_urgent_behind_words_of_alarms(void **state)
{
    static const hf_type types[] = { { .name = "pool", .handle = on_alarming, .threads = 1 },
                                     { .name = NULL } };
    (void)state;
    hf_engine *engine = ring_open("urgent", types);
    for (int i = 0; i < 4; i++) {
        reset();
        ring_ok(hf_tell(engine, "pool/1", "set", hf_str("")));
        wait_for(&began, 1);
        ring_ok(hf_mail(engine, HF_LETTER(.to = "pool/1", .kind = "go", .urgency = 3), 1, NULL));
        for (int n = 0; n < 30; n++) /* it lies in the mailbox by then */
            nap();
        atomic_store(&may_go, 1);
        ring_ok(hf_drain(engine, 30000));
        assert_int_equal(atomic_load(&runs), 2);
    }
    ring_ok(hf_close(engine, 60000));
}

/* ---- Pause and resume */

static hf_engine *paused_engine;
static pthread_barrier_t both;

static void *resume(void *user)
{
    int *err = user;
    pthread_barrier_wait(&both);
    *err = hf_resume(paused_engine, "plain");
    return NULL;
}

static bool goes_on(hf_engine *engine)
{
    int before = atomic_load(&runs);
    ring_ok(hf_tell(engine, "plain/1", "k", hf_str("")));
    ring_ok(hf_drain(engine, 30000));
    return atomic_load(&runs) > before;
}

/* Whichever came last, the store and the engine must say the same of it. */
static void test_pause_and_resume_at_once(void **state)
{
    static const hf_type types[] = { { .name = "plain", .handle = on_message }, { .name = NULL } };
    (void)state;
    reset();
    pthread_barrier_init(&both, NULL, 2);
    for (int i = 0; i < 15; i++) {
        pthread_t thread;
        int err = HF_EUNKNOWN;
        paused_engine = ring_open("pauses", types);
        ring_ok(hf_resume(paused_engine, "plain"));
        assert_int_equal(pthread_create(&thread, NULL, resume, &err), 0);
        pthread_barrier_wait(&both);
        ring_ok(hf_pause(paused_engine, "plain", NULL, NULL));
        pthread_join(thread, NULL);
        assert_int_equal(err, HF_OK);
        bool went = goes_on(paused_engine);
        ring_ok(hf_close(paused_engine, 60000));
        paused_engine = ring_open("pauses", types);
        assert_int_equal(goes_on(paused_engine), went);
        ring_ok(hf_close(paused_engine, 60000));
    }
    pthread_barrier_destroy(&both);
}

/* ---- Closing */

/* A turn on a shard that lasts longer than hf_close may: it says so, and begins no other. */
static void test_close_behind_a_turn_on_a_shard(void **state)
{
    static const hf_type types[] = { { .name = "plain", .handle = on_message }, { .name = NULL } };
    (void)state;
    reset();
    hf_engine *engine = ring_open("close", types);
    ring_ok(hf_pause(engine, "plain", NULL, NULL));
    ring_ok(hf_tell(engine, "plain/1", "wait", hf_str("")));
    for (int i = 0; i < 5; i++)
        ring_ok(hf_tell(engine, "plain/1", "more", hf_str("")));
    ring_ok(hf_resume(engine, "plain"));
    wait_for(&began, 1);
    ring_err(hf_close(engine, 10), HF_ETIMEDOUT);
    ring_err(hf_tell(engine, "plain/1", "k", hf_str("")), HF_ECLOSED);
    atomic_store(&may_go, 1);
    ring_ok(hf_close(engine, 60000));
    assert_int_equal(atomic_load(&runs), 1);
    engine = ring_open("close", types);
    ring_ok(hf_drain(engine, 30000));
    assert_int_equal(atomic_load(&runs), 6); /* each once */
    ring_ok(hf_close(engine, 60000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urgent_behind_words_of_alarms),
        cmocka_unit_test(test_pause_and_resume_at_once),
        cmocka_unit_test(test_close_behind_a_turn_on_a_shard),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
