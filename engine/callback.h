/* callback.h - user callbacks, on a thread of their own or on the host's loop.
 *
 * A place in the queue is reserved when the call is accepted, so queueing one
 * never waits and never fails. */
#ifndef ENGINE_CALLBACK_H
#define ENGINE_CALLBACK_H

#include "engine/holdfast.h"

#include <stdbool.h>

/* One callback that will be made: embedded in whatever it concerns. */
typedef struct hf_callback {
    struct hf_callback *next;
    void (*run)(struct hf_callback *callback); /* makes the call, frees itself */
} hf_callback;

typedef struct hf_callback_queue hf_callback_queue;
typedef struct hf_callbacks {
    hf_callback_queue *queue; /* NULL before start */
} hf_callbacks;

/* On a new thread, or, with a loop, on its thread (call it there). */
int  hf_callbacks_start(hf_callbacks *callbacks, struct uv_loop_s *loop);

/* A callback will be queued later: while one is due the host's loop stays alive.
 * Each reserve is followed by one queue, or by one cancel if the call it was for
 * failed after all. Any thread; never waits, never fails. */
void hf_callbacks_reserve(hf_callbacks *callbacks);
void hf_callbacks_cancel(hf_callbacks *callbacks);

/* Make this call soon, in the order of queueing; its place was reserved. Any
 * thread; never waits. */
void hf_callbacks_queue(hf_callbacks *callbacks, hf_callback *callback);

/* Make all that are queued, then end. With a loop: runs what is queued now and
 * closes the handle; the host's next uv_run gets rid of it. Nothing may be
 * reserved or queued any more. NULL queue is fine. */
void hf_callbacks_stop(hf_callbacks *callbacks);

/* None is queued, or being made. What is reserved only does not count. */
bool hf_callbacks_rest(const hf_callbacks *callbacks);

/* Is the calling thread making a callback of this engine right now? */
bool hf_callbacks_inside(const hf_callbacks *callbacks);

#endif
