/* loop.c - the engine's own libuv loop, on a thread of its own.
 *
 * Happy path: the loop is made with the control socket on it, then its thread
 * runs it; stopping rings a bell on the loop, which closes everything on it, so
 * that it ends. Fails as the socket does. Start and stop: the engine's opener. */
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
    hf_control *control;
    hf_answers  answers;
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
    uv_close((uv_handle_t *)async, NULL);
}

/* On a loop that does not run: close what is on it, and it. */
static void undo(struct hf_loop *l)
{
    hf_control_close(l->control);
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    HF_ASSERT(uv_loop_close(&l->loop) == 0);
    hf_answers_done(&l->answers);
    hf_mem_free(l);
}

int hf_loop_start(hf_engine *engine)
{
    struct hf_loop *l = hf_mem_zero(1, sizeof *l);
    if (!l || uv_loop_init(&l->loop)) {
        hf_mem_free(l);
        return hf_error(HF_ENOMEM, "the loop");
    }
    hf_answers_init(&l->answers, engine);
    int err = hf_control_open(&l->control, &l->loop, hf_disk_path(engine->disk), hf_answer,
                              &l->answers);
    if (err) {
        undo(l);
        return err;
    }
    if (uv_async_init(&l->loop, &l->stop, on_stop)) {
        undo(l);
        return hf_error(HF_ENOMEM, "the loop");
    }
    l->stop.data = l;
    err = hf_thread_start(&l->thread, "hf-loop", run, l);
    if (err) {
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
