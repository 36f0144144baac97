/* test_callback.c - callbacks in order, on our thread or on the host's loop. */
#include "engine/engine.h"
#include "engine/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

enum { SENDERS = 4, EACH = 5000 };

typedef struct call {
    hf_callback    link;
    hf_callbacks  *callbacks;
    uint64_t       sender, number;
} call;

static uint64_t    made, last_of[SENDERS];
static bool        disordered, not_inside;
static pthread_t   made_on;

static void run(hf_callback *callback)
{
    call *c = (call *)callback;
    made++;
    made_on = pthread_self();
    disordered |= c->number != last_of[c->sender] + 1;
    last_of[c->sender] = c->number;
    not_inside |= !hf_callbacks_inside(c->callbacks);
    free(c);
}

static void reset(void)
{
    made = 0;
    memset(last_of, 0, sizeof last_of);
    disordered = not_inside = false;
}

static call *new_call(hf_callbacks *callbacks, uint64_t sender, uint64_t number)
{
    call *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    *c = (call){ { NULL, run }, callbacks, sender, number };
    return c;
}

typedef struct sender {
    hf_callbacks *callbacks;
    uint64_t      number;
} sender;

static void *send_all(void *user)
{
    sender *s = user;
    for (uint64_t i = 1; i <= EACH; i++) {
        hf_callbacks_reserve(s->callbacks);
        hf_callbacks_reserve(s->callbacks);
        hf_callbacks_cancel(s->callbacks); /* this call failed after all */
        hf_callbacks_queue(s->callbacks, &new_call(s->callbacks, s->number, i)->link);
    }
    return NULL;
}

static void start_senders(pthread_t *threads, sender *senders, hf_callbacks *callbacks)
{
    for (uint64_t i = 0; i < SENDERS; i++) {
        senders[i] = (sender){ callbacks, i };
        assert_int_equal(hf_thread_start(&threads[i], "sender", send_all, &senders[i]), HF_OK);
    }
}

static void test_own_thread(void **state)
{
    (void)state;
    hf_callbacks callbacks = { NULL };
    pthread_t threads[SENDERS];
    sender senders[SENDERS];
    reset();
    assert_int_equal(hf_callbacks_start(&callbacks, NULL), HF_OK);
    start_senders(threads, senders, &callbacks);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_false(hf_callbacks_inside(&callbacks));
    hf_callbacks_stop(&callbacks);
    assert_null(callbacks.queue);
    assert_int_equal(made, SENDERS * EACH);
    assert_false(disordered);
    assert_false(not_inside);
    assert_false(pthread_equal(made_on, pthread_self()));
    hf_callbacks_stop(&callbacks);
}

static void test_loop_ends_when_nothing_is_due(void **state)
{
    (void)state;
    uv_loop_t loop;
    hf_callbacks callbacks = { NULL };
    pthread_t threads[SENDERS];
    sender senders[SENDERS];
    reset();
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(hf_callbacks_start(&callbacks, &loop), HF_OK);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* nothing is due: returns */

    hf_callbacks_reserve(&callbacks); /* one is due all the time: uv_run waits for it */
    start_senders(threads, senders, &callbacks);
    while (made < SENDERS * EACH)
        assert_int_not_equal(uv_run(&loop, UV_RUN_ONCE), 0);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_not_equal(uv_loop_alive(&loop), 0);
    hf_callbacks_cancel(&callbacks);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_false(disordered);
    assert_false(not_inside);
    assert_true(pthread_equal(made_on, pthread_self()));

    hf_callbacks_reserve(&callbacks); /* queued, and made by stop */
    hf_callbacks_queue(&callbacks, &new_call(&callbacks, 0, EACH + 1)->link);
    hf_callbacks_stop(&callbacks);
    assert_int_equal(made, SENDERS * EACH + 1);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0); /* no handle of ours is left */
}

static void *queue_late(void *user)
{
    hf_callbacks *callbacks = user;
    usleep(30000);
    hf_callbacks_queue(callbacks, &new_call(callbacks, 0, 1)->link);
    return NULL;
}

/* Accepted on the loop's thread, answered much later by another one. */
static void test_loop_waits_for_what_is_due(void **state)
{
    (void)state;
    uv_loop_t loop;
    hf_callbacks callbacks = { NULL };
    pthread_t thread;
    reset();
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(hf_callbacks_start(&callbacks, &loop), HF_OK);
    hf_callbacks_reserve(&callbacks);
    assert_int_equal(hf_thread_start(&thread, "late", queue_late, &callbacks), HF_OK);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* returns once it was made */
    assert_int_equal(made, 1);
    pthread_join(thread, NULL);
    hf_callbacks_stop(&callbacks);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- The sorter and the futex */

static atomic_uint word;

static void work(void *arg)
{
    usleep(1000);
    atomic_fetch_add((atomic_uint *)arg, 1);
    hf_futex_wake(&word, 1);
}

static void test_sorter(void **state)
{
    (void)state;
    struct hf_sorter *sorter = NULL;
    hf_sorter_stop(sorter);
    assert_int_equal(hf_sorter_start(&sorter), HF_OK);
    atomic_store(&word, 0);
    for (unsigned i = 0; i < 50; i++) {
        hf_sorter_run(sorter, work, &word);
        while (atomic_load(&word) == i)
            hf_futex_wait(&word, i, 0);
        assert_int_equal(atomic_load(&word), i + 1);
    }
    hf_sorter_run(sorter, work, &word);
    hf_sorter_stop(sorter); /* waits for it */
    assert_int_equal(atomic_load(&word), 51);
}

static void test_futex_gives_up(void **state)
{
    (void)state;
    struct timespec before, after;
    atomic_store(&word, 5);
    hf_futex_wait(&word, 4, 0); /* it says something else: at once */
    clock_gettime(CLOCK_MONOTONIC, &before);
    hf_futex_wait(&word, 5, 20000000);
    clock_gettime(CLOCK_MONOTONIC, &after);
    double ms = (double)(after.tv_sec - before.tv_sec) * 1e3
        + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
    assert_true(ms >= 19 && ms < 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_thread),
        cmocka_unit_test(test_loop_ends_when_nothing_is_due),
        cmocka_unit_test(test_loop_waits_for_what_is_due),
        cmocka_unit_test(test_sorter),
        cmocka_unit_test(test_futex_gives_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
