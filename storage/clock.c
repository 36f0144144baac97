/* clock.c - the only source of time.
 *
 * Normally the system's: CLOCK_REALTIME for what people see, CLOCK_MONOTONIC
 * for how long something takes. A test puts its own clock in and moves it by
 * hand. Neither clock can fail on Linux. Any thread may ask; the clock is
 * changed only while nothing of Holdfast runs, so no lock is needed. */
#include "storage/clock.h"

#include "storage/assert.h"

#include <time.h>

static uint64_t system_wall_ms(void *user)
{
    struct timespec now;

    (void)user;
    HF_ASSERT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint64_t system_mono_ns(void *user)
{
    struct timespec now;

    (void)user;
    HF_ASSERT(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static const hf_clock system_clock = { .wall_ms = system_wall_ms, .mono_ns = system_mono_ns };
static hf_clock       used = { .wall_ms = system_wall_ms, .mono_ns = system_mono_ns };

uint64_t hf_clock_wall_ms(void)
{
    return used.wall_ms(used.user);
}

uint64_t hf_clock_mono_ns(void)
{
    return used.mono_ns(used.user);
}

uint64_t hf_clock_real_ns(void)
{
    return system_mono_ns(NULL);
}

void hf_clock_use(const hf_clock *clock)
{
    used = clock ? *clock : system_clock;
}

struct timespec hf_clock_after(uint64_t ns)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t sum = (uint64_t)t.tv_nsec + ns;
    t.tv_sec += (time_t)(sum / 1000000000);
    t.tv_nsec = (long)(sum % 1000000000);
    return t;
}
