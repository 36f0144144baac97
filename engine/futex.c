/* futex.c - sleep on a word, and wake who sleeps there.
 *
 * Happy path: the caller read the word, found nothing to do and says what it
 * saw; the kernel puts it to sleep only if the word still says so. It may wake
 * for no reason (a signal, another's word), so callers look again. Never fails.
 * Any thread of this process. */
#include "engine/engine.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(atomic_uint) == 4, "the kernel looks at 32 bits");

void hf_futex_wait(atomic_uint *word, uint32_t seen, uint64_t ns)
{
    struct timespec limit = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, ns ? &limit : NULL, NULL, 0);
}

void hf_futex_wake(atomic_uint *word, int how_many)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, how_many, NULL, NULL, 0);
}
