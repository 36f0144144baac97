/* ring_rules.c - what the rules share: the list, chance, time, memory. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

const ring_rule *const ring_rules[] = { &ring_alarms, &ring_ticks, &ring_rows, &ring_topics,
                                        &ring_conflation, &ring_limits, &ring_images,
                                        &ring_answers, &ring_delays, NULL };

void *ring_share(void *old, size_t size)
{
    if (old) {
        memset(old, 0, size);
        return old;
    }
    void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED)
        abort();
    return m;
}

uint64_t ring_roll(uint64_t *dice)
{
    return ring_hash((*dice)++, 3);
}

static uint64_t clock_ms(clockid_t which)
{
    struct timespec t;
    (void)clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t ring_wall_ms(void)
{
    return clock_ms(CLOCK_REALTIME);
}

uint64_t ring_mono_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

bool ring_taken(int err, const char *call)
{
    if (err && err != HF_EAGAIN && err != HF_EFULL && err != HF_ECLOSED)
        ring_broken("%s: %d %s (%s)", call, err, hf_strerror(err), hf_detail());
    return !err;
}

void ring_tell(hf_engine *engine, const char *to, const char *kind, hf_bytes body)
{
    int err = hf_tell(engine, to, kind, body);
    if (err)
        ring_broken("telling %s %s: %d %s", to, kind, err, hf_detail());
}

/* Counted by looks, not by a clock: whoever stopped this process for a while stopped both. */
void ring_until(hf_engine *engine, bool (*done)(hf_engine *engine), const char *what)
{
    for (uint32_t looks = 0; !atomic_load(&ring->broken) && !done(engine); looks++) {
        if (looks > 15000)
            ring_broken("after half a minute not all came: %s", what);
        (void)usleep(2000);
    }
}
