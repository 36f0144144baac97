/* dedupe_sweep.c - ids that may be used again leave the table.
 *
 * Happy path: once a second the loop looks at some rows of the table, some hundred or
 * as many as a pass of an hour needs, and drops those that are over, in a batch that
 * waits for no one. When a pass is through, the next begins as soon as a row can be
 * over and the fold has come past what the last one dropped. Fails for want of memory
 * or room: tried again. The loop's thread. */
#include "engine/engine.h"
#include "engine/timebase.h"

#include "storage/error.h"

enum { ROWS_MIN = 256, ROWS_MAX = 64 << 10, TICKS_A_PASS = 4096, PAUSE_MS = 60000 };

typedef struct sweep {
    hf_dedupe *d;
    hf_batch  *batch;
    uint64_t   now_ms;
    uint32_t   left;
} sweep;

enum { FULL = 1 };

static int drop_row(sweep *by, hf_bytes key, const hf_taken *taken)
{
    char address[HF_ADDRESS_MAX + 1], word[HF_NAME_MAX + 1];
    const uint8_t *bytes = key.data, *zero = memrchr(bytes, 0, key.len);
    size_t len = zero ? (size_t)(zero - bytes) : 0, word_len = zero ? key.len - len - 1 : 0;
    hf_entry e = { .op = HF_OP_DROP, .flags = HF_ENTRY_DEDUPE, .id = taken->id, .error = "",
                   .from = "", .answer = "", .dedupe = "" };
    e.to_len = len ? (uint8_t)hf_address_of_key(address, bytes, len, &e.hash) : 0;
    if (!e.to_len || !word_len || word_len > HF_NAME_MAX)
        return HF_OK;
    memcpy(word, zero + 1, word_len);
    word[word_len] = 0;
    e.to = address;
    e.name = word;
    e.name_len = (uint8_t)word_len;
    return hf_segment_add(hf_batch_facts(by->batch), &e);
}

static int see_row(void *user, hf_bytes key, hf_bytes payload)
{
    sweep *by = user;
    hf_taken taken;
    int err = HF_OK;
    if (!by->left--)
        return FULL;
    if (hf_taken_of_row(payload, &taken))
        return HF_ECORRUPT;
    if (hf_taken_is_over(taken.time_ms, by->now_ms))
        err = drop_row(by, key, &taken);
    else if (taken.time_ms < by->d->eldest)
        by->d->eldest = taken.time_ms;
    if (err || key.len >= sizeof by->d->swept.bytes)
        return err;
    memcpy(by->d->swept.bytes, key.data, key.len);
    by->d->swept.bytes[key.len] = 0; /* the least key behind it */
    by->d->swept.len = key.len + 1;
    return HF_OK;
}

static void swept_settled(hf_batch *batch, int err)
{
    if (!err)
        atomic_store(&batch->engine->dedupe.dropped_end, batch->end);
    hf_batch_free(batch);
}

static void end_pass(hf_dedupe *d, uint64_t now_ms)
{
    d->swept.len = 0;
    d->sweep_at = now_ms + PAUSE_MS;
    if (d->eldest != UINT64_MAX && d->eldest + HF_TAKEN_MS > d->sweep_at)
        d->sweep_at = d->eldest + HF_TAKEN_MS;
}

static int look(hf_engine *engine, sweep *by)
{
    hf_dedupe *d = by->d;
    hf_overlay tables = { .buf = &d->sweep_buf };
    uint64_t rows = 0;
    int err = hf_log_look(engine->log, &tables.txn, &tables.facts);
    if (err)
        return err;
    err = hf_txn_count(tables.txn, HF_IN_DEDUPE, &rows);
    uint64_t many = rows / TICKS_A_PASS;
    by->left = many < ROWS_MIN ? ROWS_MIN : many < ROWS_MAX ? (uint32_t)many : ROWS_MAX;
    if (!d->swept.len)
        d->eldest = UINT64_MAX;
    hf_key from = d->swept;
    if (!err && (rows || tables.facts))
        err = hf_overlay_walk(&tables, HF_IN_DEDUPE, hf_key_bytes(&from), see_row, by);
    hf_txn_abort(tables.txn);
    if (!err)
        end_pass(d, by->now_ms);
    return err == FULL ? HF_OK : err;
}

void hf_dedupe_sweep(hf_engine *engine)
{
    hf_dedupe *d = &engine->dedupe;
    sweep by = { .d = d, .now_ms = hf_timebase_now(engine) };
    bool begins = !d->swept.len;
    if (by.now_ms < d->sweep_at || atomic_load(&engine->phase) != HF_LIVE
        || atomic_load_explicit(&engine->tight, memory_order_relaxed)
        || (begins && hf_log_folded(engine->log) < atomic_load(&d->dropped_end)))
        return;
    by.batch = hf_batch_new(engine);
    if (!by.batch)
        return;
    int err = look(engine, &by);
    if (err == HF_ECORRUPT) {
        hf_engine_log(engine, HF_ERROR, "used ids can't be walked (%s): they stay",
                      hf_error_detail());
        d->sweep_at = UINT64_MAX;
    }
    by.batch->settled = swept_settled;
    by.batch->rides = true;
    if (hf_batch_is_empty(by.batch) || hf_journal_submit(engine, by.batch))
        hf_batch_free(by.batch);
}
