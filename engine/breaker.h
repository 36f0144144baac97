/* breaker.h - a type whose turns fail is held back for a while, then tried with one.
 *
 * closed ── failures in a row, or a share of a window's turns ──► open
 * open   ── break_ms later, one turn begins ──► probes
 * probes ── it went well ──► closed; it did not ──► open again
 *
 * A turn says something only to the state it began in: it carries that state's
 * era. Who calls has the type's lock. Pure: no store, no engine. */
#ifndef ENGINE_BREAKER_H
#define ENGINE_BREAKER_H

#include "engine/holdfast.h"

#include <stdbool.h>

enum { HF_BREAKER_SLICES = 20, HF_BREAKER_LEAST = 20, HF_BREAKER_ROW = 16 };

typedef enum hf_breaker_state {
    HF_BREAKER_CLOSED, HF_BREAKER_OPEN, HF_BREAKER_PROBES
} hf_breaker_state;

/* What a turn says about what it calls. Snoozed, buried, held for want of room: nothing. */
typedef enum hf_turn_says { HF_SAYS_NOTHING, HF_SAYS_WELL, HF_SAYS_FAILED } hf_turn_says;

typedef struct hf_breaker {
    uint32_t after, percent;   /* 0: no such rule */
    uint64_t slice_ns;         /* of the window */
    uint32_t break_ms;
    hf_breaker_state state;
    uint32_t row;              /* failures, one after the other */
    uint32_t era;              /* other in each state */
    uint64_t until_ns;         /* open: no turn before */
    struct {
        uint64_t number;
        uint32_t well, failed;
    } slices[HF_BREAKER_SLICES];
} hf_breaker;

void     hf_breaker_init(hf_breaker *breaker, const hf_type *type);
bool     hf_breaker_is_set(const hf_breaker *breaker); /* does the type have one? */
bool     hf_breaker_may(const hf_breaker *breaker, uint64_t now_ns);
/* A turn begins, which may; the era it has to carry. */
uint32_t hf_breaker_begin(hf_breaker *breaker, uint64_t now_ns);
/* It ended. True: what the store has to know changed. */
bool     hf_breaker_ended(hf_breaker *breaker, uint32_t era, hf_turn_says says, uint64_t now_ns);

/* What the store keeps: version(1) open(1) 0(2) row(4) until, Unix ms(8). False: it need
 * keep nothing. get: HF_ECORRUPT, HF_EVERSION. */
bool hf_breaker_put(const hf_breaker *breaker, uint64_t now_ns, uint64_t now_ms,
                    uint8_t row[HF_BREAKER_ROW]);
int  hf_breaker_get(hf_breaker *breaker, hf_bytes row, uint64_t now_ns, uint64_t now_ms);

#endif
