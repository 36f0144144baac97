/* random.c - the only source of chance.
 *
 * Unseeded, every number comes straight from getrandom(2): no state of ours
 * that a fork could duplicate, so no two processes ever draw the same uuid.
 * Seeded (tests), numbers are splitmix64 of a counter that all threads share:
 * one atomic addition, and the same seed gives the same sequence.
 *
 * getrandom can only fail in a way we cannot live with (the kernel has no
 * generator), so that is asserted, not reported. Any thread. */
#include "storage/random.h"

#include "storage/assert.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>

static atomic_bool          seeded;
static atomic_uint_fast64_t counter;

static uint64_t splitmix64(void)
{
    const uint64_t step = 0x9e3779b97f4a7c15;
    uint64_t z = atomic_fetch_add_explicit(&counter, step, memory_order_relaxed) + step;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static void from_kernel(unsigned char *out, size_t len)
{
    while (len > 0) {
        ssize_t got = getrandom(out, len, 0);
        if (got < 0) {
            HF_ASSERT(errno == EINTR);
            continue;
        }
        out += got;
        len -= (size_t)got;
    }
}

uint64_t hf_random(void)
{
    uint64_t number;

    hf_random_bytes(&number, sizeof number);
    return number;
}

void hf_random_bytes(void *out, size_t len)
{
    unsigned char *at = out;

    if (!atomic_load_explicit(&seeded, memory_order_acquire)) {
        from_kernel(at, len);
        return;
    }
    while (len > 0) {
        uint64_t number = splitmix64();
        size_t part = len < sizeof number ? len : sizeof number;
        memcpy(at, &number, part);
        at += part;
        len -= part;
    }
}

void hf_random_seed(uint64_t seed)
{
    atomic_store_explicit(&counter, seed, memory_order_relaxed);
    atomic_store_explicit(&seeded, true, memory_order_release);
}
