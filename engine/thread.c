/* thread.c - start a thread of the engine's own.
 *
 * Happy path: block the signals that others send, start the thread, which inherits
 * that, and put the caller's mask back. Faults of the thread itself stay open: blocked
 * they would end the process before the host's own handlers see them.
 * Fails when the system gives no thread. Any thread.
 *
 * Priorities are Linux's: nice values belong to threads there, 0 is the calling one, and who
 * is no root may go down to what RLIMIT_NICE says. */
#include "engine/thread.h"

#include "storage/error.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

enum { NICE_LEAST = -20 };

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

/* The lowest nice value that the calling thread may have. */
static int lowest_nice(void)
{
    struct rlimit limit;
    bool some = !getrlimit(RLIMIT_NICE, &limit) && limit.rlim_cur <= 40;
    return some ? 20 - (int)limit.rlim_cur : NICE_LEAST;
}

void hf_thread_hurry(hf_haste *haste, bool hurry)
{
    if (hurry == haste->hurries || !haste->levels)
        return;
    haste->hurries = hurry;
    if (!hurry) {
        (void)setpriority(PRIO_PROCESS, 0, haste->usual);
        return;
    }
    int now = haste->usual = getpriority(PRIO_PROCESS, 0);
    int want = haste->levels < (uint32_t)(now - NICE_LEAST) ? now - (int)haste->levels
                                                            : NICE_LEAST;
    if (!setpriority(PRIO_PROCESS, 0, want))
        return;
    int lowest = lowest_nice();
    if (lowest < now)
        (void)setpriority(PRIO_PROCESS, 0, lowest > want ? lowest : want);
}
