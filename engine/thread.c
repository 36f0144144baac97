/* thread.c - start a thread of the engine's own.
 *
 * Happy path: block the signals that others send, start the thread, which inherits
 * that, and put the caller's mask back. Faults of the thread itself stay open: blocked
 * they would end the process before the host's own handlers see them.
 * Fails when the system gives no thread. Any thread. */
#include "engine/thread.h"

#include "storage/error.h"

#include <signal.h>
#include <string.h>

int hf_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
    static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS };
    sigset_t others, before;
    sigfillset(&others);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&others, faults[i]);
    (void)pthread_sigmask(SIG_SETMASK, &others, &before);
    int err = pthread_create(thread, NULL, run, arg);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err)
        return hf_error(HF_ENOMEM, "cannot start thread %s: %s", name, strerror(err));
    (void)pthread_setname_np(*thread, name);
    return HF_OK;
}
