/* loop.c - the engine's own libuv loop, on a thread of its own.
 *
 * Happy path: the loop is made with the control socket and a clock on it, then
 * its thread runs it; once a second it looks for turns that last too long, and when an
 * ask is out of time it says so.
 * Stopping rings a bell on the loop, which closes everything on it, so that it
 * ends. Fails as the socket does. Start and stop: the engine's opener. */
#include "engine/loop.h"

#include "engine/answer.h"
#include "engine/ask.h"
#include "engine/control.h"
#include "engine/thread.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <uv.h>

struct hf_loop {
    uv_loop_t   loop;
    uv_async_t  stop;
    uv_timer_t  clock;
    uv_timer_t  alarm;  /* the next ask is out of time */
    uv_async_t  sooner; /* earlier than the alarm is set to */
    hf_control *control;
    hf_answers  answers;
    hf_watch    watch;
    pthread_t   thread;
};

static void *run(void *user)
{
    struct hf_loop *l = user;
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void close_handles(struct hf_loop *l)
{
    uv_close((uv_handle_t *)&l->clock, NULL);
    uv_close((uv_handle_t *)&l->alarm, NULL);
    uv_close((uv_handle_t *)&l->sooner, NULL);
    uv_close((uv_handle_t *)&l->stop, NULL);
}

static void on_stop(uv_async_t *async)
{
    struct hf_loop *l = async->data;
    hf_control_close(l->control);
    l->control = NULL;
    close_handles(l);
}

static void on_alarm(uv_timer_t *alarm);

/* Tell the asks whose time is up, and set the alarm to the next one's. */
static void mind_asks(struct hf_loop *l)
{
    uint64_t next = hf_asks_expire(l->answers.engine), now = hf_clock_mono_ns();
    uv_update_time(&l->loop);
    if (next != UINT64_MAX)
        (void)uv_timer_start(&l->alarm, on_alarm, next > now ? (next - now) / 1000000 + 1 : 0, 0);
}

static void on_alarm(uv_timer_t *alarm)
{
    mind_asks(alarm->data);
}

static void on_sooner(uv_async_t *async)
{
    mind_asks(async->data);
}

static void wake_alarm(void *user)
{
    (void)uv_async_send(&((struct hf_loop *)user)->sooner);
}

static void on_second(uv_timer_t *clock)
{
    struct hf_loop *l = clock->data;
    hf_watch_tick(&l->watch);
    hf_dedupe_sweep(l->watch.engine);
}

/* On a loop that does not run: close what is on it, and it. */
static void undo(struct hf_loop *l)
{
    hf_control_close(l->control);
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    HF_ASSERT(uv_loop_close(&l->loop) == 0);
    hf_answers_done(&l->answers);
    hf_watch_done(&l->watch);
    hf_mem_free(l);
}

/* Mostly there is no descriptor left. */
static int refused(int failed)
{
    return hf_error(failed == UV_ENOMEM ? HF_ENOMEM : HF_EIO, "the loop: %s", uv_strerror(failed));
}

/* Clocks and bells. What fails leaves the rest for undo. */
static int add_handles(struct hf_loop *l)
{
    int failed = uv_async_init(&l->loop, &l->stop, on_stop);
    if (failed)
        return refused(failed);
    failed = uv_async_init(&l->loop, &l->sooner, on_sooner);
    if (failed) {
        uv_close((uv_handle_t *)&l->stop, NULL);
        return refused(failed);
    }
    (void)uv_timer_init(&l->loop, &l->alarm); /* which cannot fail */
    (void)uv_timer_init(&l->loop, &l->clock);
    (void)uv_timer_start(&l->clock, on_second, 1000, 1000);
    l->clock.data = l->alarm.data = l->sooner.data = l->stop.data = l;
    return HF_OK;
}

int hf_loop_start(hf_engine *engine)
{
    struct hf_loop *l = hf_mem_zero(1, sizeof *l);
    int failed = l ? uv_loop_init(&l->loop) : UV_ENOMEM;
    if (failed) {
        hf_mem_free(l);
        return refused(failed);
    }
    hf_answers_init(&l->answers, engine, &l->watch);
    int err = hf_watch_init(&l->watch, engine);
    if (!err)
        err = hf_control_open(&l->control, &l->loop, hf_disk_path(engine->disk), hf_answer,
                              &l->answers);
    if (!err)
        err = add_handles(l);
    if (err) {
        undo(l);
        return err;
    }
    err = hf_thread_start(&l->thread, "hf-loop", run, l);
    if (err) {
        close_handles(l);
        undo(l);
        return err;
    }
    engine->loop = l;
    hf_asks_watch(engine, wake_alarm, l);
    return HF_OK;
}

void hf_loop_stop(hf_engine *engine)
{
    struct hf_loop *l = engine->loop;
    if (!l)
        return;
    engine->loop = NULL;
    hf_asks_watch(engine, NULL, NULL);
    (void)uv_async_send(&l->stop);
    pthread_join(l->thread, NULL);
    undo(l);
}
