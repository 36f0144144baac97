/* breaker.c - when a type's turns are held back, and when one is tried.
 *
 * Happy path: turns go well, nothing is counted but the window's shares. Enough
 * failures open it; turns that were running then say nothing any more. When its
 * time is over one turn may begin; what that says closes it or opens it again.
 * A probe that says nothing (snoozed, buried) opens it again, too: there is never
 * more than one a break_ms. Nothing here fails. Any thread, under the type's lock. */
#include "engine/breaker.h"

#include "storage/codec.h"
#include "storage/error.h"

#include <string.h>

enum { ROW_VERSION = 1, NS_A_MS = 1000000 };

static uint32_t rule(uint32_t value)
{
    return value == HF_NEVER ? 0 : value;
}

void hf_breaker_init(hf_breaker *b, const hf_type *type)
{
    memset(b, 0, sizeof *b);
    b->after = rule(type->break_after);
    b->percent = rule(type->break_percent);
    b->slice_ns = (uint64_t)type->break_window_ms * NS_A_MS / HF_BREAKER_SLICES;
    b->break_ms = type->break_ms;
    b->era = 1;
}

bool hf_breaker_is_set(const hf_breaker *b)
{
    return b->after || b->percent;
}

bool hf_breaker_may(const hf_breaker *b, uint64_t now_ns)
{
    return b->state == HF_BREAKER_CLOSED
        || (b->state == HF_BREAKER_OPEN && now_ns >= b->until_ns);
}

uint32_t hf_breaker_begin(hf_breaker *b, uint64_t now_ns)
{
    (void)now_ns;
    if (b->state == HF_BREAKER_OPEN) {
        b->state = HF_BREAKER_PROBES;
        b->era++;
    }
    return b->era;
}

static void open_it(hf_breaker *b, uint64_t now_ns)
{
    b->state = HF_BREAKER_OPEN;
    b->era++;
    b->until_ns = now_ns + (uint64_t)b->break_ms * NS_A_MS;
    memset(b->slices, 0, sizeof b->slices);
}

static void close_it(hf_breaker *b)
{
    b->state = HF_BREAKER_CLOSED;
    b->era++;
    b->row = 0;
    memset(b->slices, 0, sizeof b->slices);
}

/* Note it in its slice; are too many of the window's turns failures? */
static bool too_many(hf_breaker *b, bool failed, uint64_t now_ns)
{
    if (!b->percent)
        return false;
    uint64_t number = now_ns / (b->slice_ns ? b->slice_ns : 1) + 1, all = 0, bad = 0;
    uint32_t at = (uint32_t)(number % HF_BREAKER_SLICES);
    if (b->slices[at].number != number) {
        b->slices[at].number = number;
        b->slices[at].well = b->slices[at].failed = 0;
    }
    b->slices[at].failed += failed;
    b->slices[at].well += !failed;
    for (uint32_t i = 0; i < HF_BREAKER_SLICES; i++) {
        if (b->slices[i].number + HF_BREAKER_SLICES <= number)
            continue;
        bad += b->slices[i].failed;
        all += (uint64_t)b->slices[i].failed + b->slices[i].well;
    }
    return all >= HF_BREAKER_LEAST && bad * 100 >= all * b->percent;
}

static bool ended_closed(hf_breaker *b, bool failed, uint64_t now_ns)
{
    uint32_t before = b->row;
    if (failed && b->row < UINT32_MAX)
        b->row++;
    else if (!failed)
        b->row = 0;
    bool many = too_many(b, failed, now_ns);
    if (failed && (many || (b->after && b->row >= b->after))) {
        open_it(b, now_ns);
        return true;
    }
    return b->after && b->row != before;
}

bool hf_breaker_ended(hf_breaker *b, uint32_t era, hf_turn_says says, uint64_t now_ns)
{
    if (era != b->era || b->state == HF_BREAKER_OPEN)
        return false; /* it began before the state changed */
    if (b->state == HF_BREAKER_CLOSED)
        return says != HF_SAYS_NOTHING && ended_closed(b, says == HF_SAYS_FAILED, now_ns);
    if (says == HF_SAYS_WELL) {
        close_it(b);
        return true;
    }
    b->row += says == HF_SAYS_FAILED && b->row < UINT32_MAX;
    open_it(b, now_ns);
    return true;
}

/* ---- What the store keeps */

bool hf_breaker_put(const hf_breaker *b, uint64_t now_ns, uint64_t now_ms,
                    uint8_t row[HF_BREAKER_ROW])
{
    uint64_t left = b->until_ns > now_ns ? (b->until_ns - now_ns + NS_A_MS - 1) / NS_A_MS : 0;
    bool open = b->state != HF_BREAKER_CLOSED;
    memset(row, 0, HF_BREAKER_ROW);
    row[0] = ROW_VERSION;
    row[1] = open;
    hf_put32(row + 4, b->row);
    hf_put64(row + 8, open ? now_ms + left : 0);
    return open || b->row;
}

int hf_breaker_get(hf_breaker *b, hf_bytes row, uint64_t now_ns, uint64_t now_ms)
{
    const uint8_t *bytes = row.data;
    if (row.len < 1 || bytes[0] == 0)
        return hf_error(HF_ECORRUPT, "a breaker can't be read");
    if (bytes[0] != ROW_VERSION)
        return hf_error(HF_EVERSION, "a breaker has version %u, this library reads %d", bytes[0],
                        ROW_VERSION);
    if (row.len != HF_BREAKER_ROW)
        return hf_error(HF_ECORRUPT, "a breaker of %zu bytes", row.len);
    uint64_t until = hf_get64(bytes + 8), left = until > now_ms ? until - now_ms : 0;
    b->row = hf_get32(bytes + 4);
    if (!bytes[1])
        return HF_OK;
    b->state = HF_BREAKER_OPEN;
    b->era++;
    /* The wall clock may have been set back meanwhile. */
    b->until_ns = now_ns + (left < b->break_ms ? left : b->break_ms) * NS_A_MS;
    return HF_OK;
}
