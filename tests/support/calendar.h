/* calendar.h - both clocks go with the system's, from a known day on; a test puts them forward,
 * or sets the one on the wall. */
#ifndef TESTS_CALENDAR_H
#define TESTS_CALENDAR_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define BASE UINT64_C(1774656000000) /* 2026-03-28 00:00 UTC */
#define HOUR INT64_C(3600000)

/* ms that both are put forward by, and that somebody set the wall clock by. */
static _Atomic int64_t ahead, set_by;
static uint64_t        began; /* by the monotonic one */

static inline uint64_t mono(void *user)
{
    struct timespec now;
    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec
           + (uint64_t)atomic_load(&ahead) * 1000000;
}

static inline uint64_t wall(void *user)
{
    return BASE + (mono(user) - began) / 1000000 + (uint64_t)atomic_load(&set_by);
}

#endif
