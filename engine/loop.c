/* loop.c - the engine's own libuv loop, on a thread of its own.
 *
 * Happy path: the loop is made with the control socket and a clock on it, then
 * its thread runs it; once a second it looks for turns that last too long.
 * Stopping rings a bell on the loop, which closes everything on it, so that it
 * ends. Fails as the socket does. Start and stop: the engine's opener. */
#include "engine/loop.h"

#include "engine/answer.h"
#include "engine/control.h"
#include "engine/thread.h"

#include "storage/assert.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <uv.h>

struct hf_loop {
    uv_loop_t   loop;
    uv_async_t  stop;
    uv_timer_t  clock;
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

static void on_stop(uv_async_t *async)
{
    struct hf_loop *l = async->data;
    hf_control_close(l->control);
    l->control = NULL;
    uv_close((uv_handle_t *)&l->clock, NULL);
    uv_close((uv_handle_t *)async, NULL);
}

static void on_second(uv_timer_t *clock)
{
    struct hf_loop *l = clock->data;
    hf_watch_tick(&l->watch);
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

/* Clock and bell. What fails leaves the rest for undo. */
static int add_handles(struct hf_loop *l)
{
    if (uv_timer_init(&l->loop, &l->clock))
        return hf_error(HF_ENOMEM, "the loop");
    int failed = uv_timer_start(&l->clock, on_second, 1000, 1000);
    if (!failed)
        failed = uv_async_init(&l->loop, &l->stop, on_stop);
    l->clock.data = l->stop.data = l;
    if (!failed)
        return HF_OK;
    uv_close((uv_handle_t *)&l->clock, NULL);
    return hf_error(HF_ENOMEM, "the loop");
}

int hf_loop_start(hf_engine *engine)
{
    struct hf_loop *l = hf_mem_zero(1, sizeof *l);
    if (!l || uv_loop_init(&l->loop)) {
        hf_mem_free(l);
        return hf_error(HF_ENOMEM, "the loop");
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
        uv_close((uv_handle_t *)&l->clock, NULL);
        uv_close((uv_handle_t *)&l->stop, NULL);
        undo(l);
        return err;
    }
    engine->loop = l;
    return HF_OK;
}

void hf_loop_stop(hf_engine *engine)
{
    struct hf_loop *l = engine->loop;
    if (!l)
        return;
    engine->loop = NULL;
    (void)uv_async_send(&l->stop);
    pthread_join(l->thread, NULL);
    undo(l);
}
