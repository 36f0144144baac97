/* rate.c - count the turns of a type that began in the last rate_ms.
 *
 * Happy path: reserve, begin, and rate_ms later it counts no more. Above 256 turns
 * those that begin close together share a slot and leave with the last of them: a
 * 256th of the window later at most, never too early. Nothing here fails. Any
 * thread, under the type's lock. */
#include "engine/rate.h"

#include "storage/assert.h"
#include "storage/codec.h"
#include "storage/error.h"

#include <string.h>

enum { ROW_VERSION = 1, NS_A_MS = 1000000 };

void hf_rate_init(hf_rate *r, const hf_type *type)
{
    memset(r, 0, sizeof *r);
    r->rate = type->rate == HF_NEVER ? 0 : type->rate;
    r->window_ns = (uint64_t)type->rate_ms * NS_A_MS;
    r->slice_ns = r->rate > HF_RATE_EXACT ? r->window_ns / HF_RATE_EXACT : 0;
}

static void forget_old(hf_rate *r, uint64_t now_ns)
{
    while (r->used && r->slots[r->first].last + r->window_ns <= now_ns) {
        r->begun -= r->slots[r->first].count;
        r->first = (r->first + 1) % HF_RATE_SLOTS;
        r->used--;
    }
}

uint32_t hf_rate_room(hf_rate *r, uint64_t now_ns)
{
    forget_old(r, now_ns);
    uint64_t taken = (uint64_t)r->reserved + r->begun;
    return taken < r->rate ? r->rate - (uint32_t)taken : 0;
}

uint64_t hf_rate_next(const hf_rate *r, uint64_t now_ns)
{
    if ((uint64_t)r->reserved + r->begun < r->rate)
        return now_ns;
    return r->used ? r->slots[r->first].last + r->window_ns : UINT64_MAX;
}

void hf_rate_reserve(hf_rate *r)
{
    r->reserved++;
}

void hf_rate_release(hf_rate *r)
{
    HF_ASSERT(r->reserved);
    r->reserved--;
}

/* As if so many had begun then. */
static void assume(hf_rate *r, uint32_t count, uint64_t at_ns)
{
    uint32_t last = (r->first + r->used - 1) % HF_RATE_SLOTS;
    if (r->used && (at_ns - r->slots[last].first < r->slice_ns || r->used == HF_RATE_SLOTS)) {
        r->slots[last].last = at_ns;
        r->slots[last].count += count;
    } else {
        last = (r->first + r->used++) % HF_RATE_SLOTS;
        r->slots[last].first = r->slots[last].last = at_ns;
        r->slots[last].count = count;
    }
    r->begun += count;
}

void hf_rate_begin(hf_rate *r, uint64_t now_ns)
{
    hf_rate_release(r);
    forget_old(r, now_ns);
    assume(r, 1, now_ns);
}

/* ---- What the store keeps */

void hf_rate_put(hf_rate *r, bool closed, uint64_t now_ns, uint64_t now_ms,
                 uint8_t row[HF_RATE_ROW])
{
    forget_old(r, now_ns);
    uint64_t last = r->used ? r->slots[(r->first + r->used - 1) % HF_RATE_SLOTS].last : now_ns;
    uint64_t ago_ms = now_ns > last ? (now_ns - last) / NS_A_MS : 0;
    memset(row, 0, HF_RATE_ROW);
    row[0] = ROW_VERSION;
    row[1] = closed;
    hf_put32(row + 4, closed ? r->begun : 0);
    hf_put64(row + 8, closed ? now_ms - ago_ms : 0);
}

int hf_rate_get(hf_rate *r, hf_bytes row, uint64_t now_ns, uint64_t now_ms, bool *closed)
{
    const uint8_t *bytes = row.data;
    if (row.len < 1 || bytes[0] == 0)
        return hf_error(HF_ECORRUPT, "a rate can't be read");
    if (bytes[0] != ROW_VERSION)
        return hf_error(HF_EVERSION, "a rate has version %u, this library reads %d", bytes[0],
                        ROW_VERSION);
    if (row.len != HF_RATE_ROW)
        return hf_error(HF_ECORRUPT, "a rate of %zu bytes", row.len);
    uint32_t begun = hf_get32(bytes + 4);
    uint64_t at = hf_get64(bytes + 8);
    *closed = bytes[1];
    if (!*closed) { /* it ended in a crash: all of them may have begun just now */
        begun = r->rate;
        at = now_ms;
    }
    /* The wall clock may have been set back meanwhile. */
    uint64_t ago = (at + 1 < now_ms ? now_ms - at - 1 : 0) * NS_A_MS;
    if (begun && ago < r->window_ns)
        assume(r, begun, now_ns > ago ? now_ns - ago : 0);
    return HF_OK;
}
