/* thread.c - start a thread of the engine's own.
 *
 * Happy path: block every signal, start the thread, which inherits that, and put
 * the caller's mask back. Fails when the system gives no thread. Any thread. */
#include "engine/thread.h"

#include "storage/error.h"

#include <signal.h>
#include <string.h>

int hf_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(thread, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err)
        return hf_error(HF_ENOMEM, "cannot start thread %s: %s", name, strerror(err));
    (void)pthread_setname_np(*thread, name);
    return HF_OK;
}
