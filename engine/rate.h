/* rate.h - so many turns of a type begin in any rate_ms, and no more.
 *
 * A sliding window: who wants to begin a turn reserves it first, and it counts
 * from then on until rate_ms after it began. So what waits for a thread meanwhile
 * is no burst later. Who calls has the type's lock. Pure: no store, no engine. */
#ifndef ENGINE_RATE_H
#define ENGINE_RATE_H

#include "engine/holdfast.h"

#include <stdbool.h>

enum { HF_RATE_SLOTS = 512, HF_RATE_EXACT = 256, HF_RATE_ROW = 16 };

typedef struct hf_rate {
    uint32_t rate;             /* 0: no limit */
    uint64_t window_ns, slice_ns;
    uint32_t reserved;         /* will begin */
    uint32_t begun;            /* in the last window_ns */
    uint32_t first, used;      /* of the slots */
    struct {
        uint64_t first, last;  /* when turns of it began */
        uint32_t count;
    } slots[HF_RATE_SLOTS];    /* a ring, oldest first */
} hf_rate;

void hf_rate_init(hf_rate *rate, const hf_type *type);
/* How many may be reserved now. */
uint32_t hf_rate_room(hf_rate *rate, uint64_t now_ns);
/* When there will be room; UINT64_MAX: when one that is reserved has begun. */
uint64_t hf_rate_next(const hf_rate *rate, uint64_t now_ns);
void hf_rate_reserve(hf_rate *rate);
void hf_rate_release(hf_rate *rate); /* it did not begin */
void hf_rate_begin(hf_rate *rate, uint64_t now_ns); /* one that is reserved */

/* What the store keeps: version(1) closed(1) 0(2) begun(4) the last at, Unix ms(8). While
 * an engine has the store it says only that: after a crash nobody knows what began last.
 * get: HF_ECORRUPT, HF_EVERSION. */
void hf_rate_put(hf_rate *rate, bool closed, uint64_t now_ns, uint64_t now_ms,
                 uint8_t row[HF_RATE_ROW]);
int  hf_rate_get(hf_rate *rate, hf_bytes row, uint64_t now_ns, uint64_t now_ms, bool *closed);

#endif
