/* clock.h - the only source of time; a test may put its own in. */
#ifndef STORAGE_CLOCK_H
#define STORAGE_CLOCK_H

#include <stdint.h>
#include <time.h>

typedef struct hf_clock {
    uint64_t (*wall_ms)(void *user); /* Unix time, milliseconds */
    uint64_t (*mono_ns)(void *user); /* never runs backwards */
    void    *user;
} hf_clock;

uint64_t hf_clock_wall_ms(void);
uint64_t hf_clock_mono_ns(void);

/* For how long a caller waits: CLOCK_MONOTONIC, whatever clock was put in. */
uint64_t hf_clock_real_ns(void);

/* A moment so many ns from now, for waits on CLOCK_MONOTONIC; always the system's. */
struct timespec hf_clock_after(uint64_t ns);

/* From now on time comes from `clock` (copied); NULL: the system's. Call it
 * while nothing of Holdfast runs. */
void hf_clock_use(const hf_clock *clock);

#endif
