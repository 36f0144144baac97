/* callback.c - make the user's callbacks, in order, where the user wants them.
 *
 * Happy path: a call is accepted and reserves; later, on any thread, its
 * callback is linked into the list; our thread, or the host's loop woken through
 * a uv_async_t, takes the whole list and makes one call after the other.
 *
 * The async handle is referenced only while a callback is due (reserved, or
 * queued and not made), so an idle engine never keeps the host's uv_run from
 * ending. A handle may be referenced on its loop's thread only: there it happens
 * at once, elsewhere the handle is woken and does it itself.
 *
 * Only starting can fail. Once reserved a callback is made. */
#include "engine/callback.h"

#include "engine/thread.h"
#include "storage/assert.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <uv.h>

struct hf_callback_queue {
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    hf_callback    *first, **end;
    uint64_t        due;    /* reserved, or queued and not made yet */
    uint64_t        queued; /* of them */
    uint64_t        making; /* and of these, that are being made */
    bool            stop;
    pthread_t       thread; /* that makes them: ours or the loop's */
    uv_async_t     *door;   /* NULL: a thread of our own */
    uv_async_t      async;
};

/* Callbacks that this thread is in the middle of; a nested uv_run may stack them. */
typedef struct frame {
    const hf_callback_queue *queue;
    const struct frame      *outer;
} frame;

static _Thread_local const frame *inside;

static void make_all(hf_callback_queue *queue, hf_callback *first, uint64_t count)
{
    frame here = { queue, inside };
    inside = &here;
    while (first) {
        hf_callback *callback = first;
        first = callback->next; /* it frees itself */
        callback->run(callback);
    }
    inside = here.outer;
    pthread_mutex_lock(&queue->lock);
    queue->due -= count;
    queue->making -= count;
    pthread_mutex_unlock(&queue->lock);
}

/* Under lock: all that is queued now. */
static hf_callback *take_all(hf_callback_queue *queue, uint64_t *count)
{
    hf_callback *first = queue->first;
    *count = queue->queued;
    queue->making += queue->queued;
    queue->first = NULL;
    queue->end = &queue->first;
    queue->queued = 0;
    return first;
}

/* ---- A thread of our own */

static void *make(void *user)
{
    hf_callback_queue *queue = user;
    uint64_t count;
    pthread_mutex_lock(&queue->lock);
    while (queue->first || !queue->stop) {
        if (!queue->first) {
            pthread_cond_wait(&queue->wake, &queue->lock);
            continue;
        }
        hf_callback *first = take_all(queue, &count);
        pthread_mutex_unlock(&queue->lock);
        make_all(queue, first, count);
        pthread_mutex_lock(&queue->lock);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* ---- The host's loop */

/* On the loop's thread. Who reserves or cancels in between wakes us again. */
static void hold_loop(hf_callback_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool due = queue->due > 0;
    pthread_mutex_unlock(&queue->lock);
    if (due)
        uv_ref((uv_handle_t *)queue->door);
    else
        uv_unref((uv_handle_t *)queue->door);
}

/* What is queued while these calls are made wakes the handle again, so the loop
 * has its turn in between. */
static void on_wake(uv_async_t *async)
{
    hf_callback_queue *queue = async->data;
    uint64_t count;
    pthread_mutex_lock(&queue->lock);
    hf_callback *first = take_all(queue, &count);
    pthread_mutex_unlock(&queue->lock);
    make_all(queue, first, count);
    hold_loop(queue);
}

static void release(hf_callback_queue *queue)
{
    pthread_cond_destroy(&queue->wake);
    pthread_mutex_destroy(&queue->lock);
    hf_mem_free(queue);
}

static void on_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static int open_door(hf_callback_queue *queue, uv_loop_t *loop)
{
    int failed = uv_async_init(loop, &queue->async, on_wake);
    if (failed)
        return hf_error(failed == UV_ENOMEM ? HF_ENOMEM : HF_EIO, "uv_async_init: %s",
                        uv_strerror(failed));
    queue->async.data = queue;
    queue->door = &queue->async;
    queue->thread = pthread_self();
    uv_unref((uv_handle_t *)queue->door);
    return HF_OK;
}

/* Tell whoever makes the calls that something changed. `due` went from or to 0:
 * the loop must be held, or let go. */
static void call_for(hf_callback_queue *queue, bool work)
{
    if (!queue->door) {
        if (work)
            pthread_cond_signal(&queue->wake);
    } else if (!work && pthread_equal(queue->thread, pthread_self())) {
        hold_loop(queue);
    } else {
        (void)uv_async_send(queue->door);
    }
}

/* ---- What the engine calls */

int hf_callbacks_start(hf_callbacks *callbacks, struct uv_loop_s *loop)
{
    hf_callback_queue *queue = hf_mem_zero(1, sizeof *queue);
    if (!queue)
        return hf_error(HF_ENOMEM, "the queue of callbacks");
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->wake, NULL);
    queue->end = &queue->first;
    int err = loop ? open_door(queue, loop)
                   : hf_thread_start(&queue->thread, "hf-callbacks", make, queue);
    if (err) {
        release(queue);
        return err;
    }
    callbacks->queue = queue;
    return HF_OK;
}

void hf_callbacks_reserve(hf_callbacks *callbacks)
{
    hf_callback_queue *queue = callbacks->queue;
    pthread_mutex_lock(&queue->lock);
    bool first = queue->due++ == 0;
    pthread_mutex_unlock(&queue->lock);
    if (first)
        call_for(queue, false);
}

void hf_callbacks_cancel(hf_callbacks *callbacks)
{
    hf_callback_queue *queue = callbacks->queue;
    pthread_mutex_lock(&queue->lock);
    HF_ASSERT(queue->due > queue->queued);
    bool last = --queue->due == 0;
    pthread_mutex_unlock(&queue->lock);
    if (last)
        call_for(queue, false);
}

void hf_callbacks_queue(hf_callbacks *callbacks, hf_callback *callback)
{
    hf_callback_queue *queue = callbacks->queue;
    callback->next = NULL;
    pthread_mutex_lock(&queue->lock);
    HF_ASSERT(queue->due > queue->queued); /* it was reserved */
    bool first = queue->first == NULL;
    *queue->end = callback;
    queue->end = &callback->next;
    queue->queued++;
    /* Under the lock: once it is free, stop may have made this call and be gone. */
    if (first)
        call_for(queue, true);
    pthread_mutex_unlock(&queue->lock);
}

void hf_callbacks_stop(hf_callbacks *callbacks)
{
    hf_callback_queue *queue = callbacks->queue;
    if (!queue)
        return;
    pthread_mutex_lock(&queue->lock);
    queue->stop = true;
    pthread_cond_signal(&queue->wake);
    pthread_mutex_unlock(&queue->lock);
    if (!queue->door) {
        pthread_join(queue->thread, NULL);
        release(queue);
    } else {
        while (queue->first)
            on_wake(queue->door);
        uv_ref((uv_handle_t *)queue->door); /* so that uv_run waits for on_closed */
        uv_close((uv_handle_t *)queue->door, on_closed);
    }
    callbacks->queue = NULL;
}

bool hf_callbacks_rest(const hf_callbacks *callbacks)
{
    hf_callback_queue *queue = callbacks->queue;
    pthread_mutex_lock(&queue->lock);
    bool rest = !queue->queued && !queue->making;
    pthread_mutex_unlock(&queue->lock);
    return rest;
}

bool hf_callbacks_inside(const hf_callbacks *callbacks)
{
    for (const frame *at = inside; at; at = at->outer)
        if (at->queue == callbacks->queue)
            return true;
    return false;
}
