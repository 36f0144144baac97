/* testpoint.c - what happens at a test point, in builds that have them.
 *
 * Without HF_TESTPOINTS this file is empty. With it, a pass asks first whether
 * the environment says HF_KILL_AT=name:n and this is the nth pass of that name:
 * then the process dies by SIGKILL on the spot, as a crash would have it. Else
 * the hook of the test is called, on the thread that passes; it may sleep, count
 * or change what its test owns.
 *
 * HF_KILL_AT that cannot be read aborts: a kill that never comes would let a
 * crash test pass for nothing. Any thread; there is no lock, which would hide
 * races from the sanitizer. */
#include "storage/testpoint.h"

#include <stddef.h>

#ifdef HF_TESTPOINTS
#include "storage/assert.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic(hf_testpoint_fn) hook;
static void                    *hook_user; /* written before `hook`, read after it */

static pthread_once_t kill_read = PTHREAD_ONCE_INIT;
static char           kill_name[128]; /* "": nowhere */
static atomic_long    kill_after;     /* passes left */

static void read_kill_at(void)
{
    const char *text = getenv("HF_KILL_AT");
    const char *colon = text ? strrchr(text, ':') : NULL;
    char *end = NULL;

    if (!text || !*text)
        return;
    long after = colon ? strtol(colon + 1, &end, 10) : 0;
    size_t len = colon ? (size_t)(colon - text) : 0;
    if (after < 1 || *end || len == 0 || len >= sizeof kill_name) {
        fprintf(stderr, "holdfast: HF_KILL_AT=%s is not name:n\n", text);
        abort();
    }
    memcpy(kill_name, text, len);
    atomic_store_explicit(&kill_after, after, memory_order_relaxed);
}

void hf_testpoint(const char *name)
{
    pthread_once(&kill_read, read_kill_at);
    if (kill_name[0] && strcmp(name, kill_name) == 0
        && atomic_fetch_sub_explicit(&kill_after, 1, memory_order_relaxed) == 1)
        kill(getpid(), SIGKILL);

    hf_testpoint_fn call = atomic_load_explicit(&hook, memory_order_acquire);
    if (call)
        call(hook_user, name);
}

void hf_testpoint_hook(hf_testpoint_fn call, void *user)
{
    hook_user = user;
    atomic_store_explicit(&hook, call, memory_order_release);
}
#endif
