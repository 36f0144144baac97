/* outdate.h - what engine/images.c does in an engine: of each actor's states in the window
 * all but the newest are marked, once that is committed. For tests of the store alone. */
#ifndef SUPPORT_OUTDATE_H
#define SUPPORT_OUTDATE_H

#include "storage/log.h"
#include "storage/record.h"

static inline const uint8_t *outdate_first(const hf_record *r)
{
    return r->data + hf_record_entries_at(r->runs);
}

/* Is there a state of that actor, or its end, behind entry `index` of record `number`? */
static inline bool outdate_is_old(const hf_window *w, uint32_t number, uint32_t index,
                                  const hf_entry *state)
{
    for (uint32_t i = number; i < w->count; i++) {
        const hf_record *r = hf_window_at(w, i);
        const uint8_t *at = r->data ? outdate_first(r) : NULL;
        for (uint32_t n = 0; at && n < r->count; n++) {
            hf_entry e;
            at += hf_entry_decode(at, (size_t)(r->data + r->size - at), &e);
            bool behind = i > number || n > index;
            if (behind && (e.op == HF_OP_SAVE || e.op == HF_OP_FORGET)
                && e.to_len == state->to_len && memcmp(e.to, state->to, e.to_len) == 0)
                return true;
        }
    }
    return false;
}

static inline void outdate_all(const hf_log *log)
{
    const hf_window *w = hf_log_window(log);
    for (uint32_t i = 0; i < w->count; i++) {
        hf_record *r = hf_window_at(w, i);
        const uint8_t *at = r->data && r->keep ? outdate_first(r) : NULL;
        for (uint32_t n = 0; at && n < r->count; n++) {
            hf_entry e;
            at += hf_entry_decode(at, (size_t)(r->data + r->size - at), &e);
            if (e.op == HF_OP_SAVE && outdate_is_old(w, i, n, &e))
                hf_record_outdate(r->stale, n);
        }
    }
}

#endif
