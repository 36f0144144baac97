/* limit_store.c - what the store keeps of breakers and rates, and who has one.
 *
 * Happy path: at open each type with a limit reads its rows at "type/-": a breaker
 * that is open stays so until its time. Of a rate the store says either how many
 * turns began last, when the engine was closed, or only that some may have: then
 * none begins for one rate_ms. Before the first turn of a run that is what it says,
 * and turns wait for that commit. A row whose type has no such limit any more goes.
 * Fails like any look into the store. hf_open's and hf_close's thread. */
#include "engine/limit.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>

int hf_limit_stage(const hf_kind_of *kind, hf_batch *batch, const char *name, hf_bytes row)
{
    char to[HF_TYPE_MAX + 3];
    size_t len = kind->name_len + 2;
    (void)snprintf(to, sizeof to, "%s/-", kind->is.name);
    hf_entry e = { .op = row.data ? HF_OP_PUT : HF_OP_DROP, .to = to, .to_len = (uint8_t)len,
                   .hash = hf_address_hash(batch->engine->seed, to, len), .name = name,
                   .name_len = (uint8_t)strlen(name), .data = row, .error = "", .from = "",
                   .answer = "", .dedupe = "" };
    return hf_segment_add(hf_batch_facts(batch), &e);
}

/* ---- Opening */

static int read_row(const hf_engine *engine, const hf_overlay *tables, const hf_kind_of *kind,
                    const char *name, hf_bytes *row)
{
    char to[HF_TYPE_MAX + 3];
    size_t len = kind->name_len + 2;
    hf_key key;
    hf_bytes payload;
    (void)snprintf(to, sizeof to, "%s/-", kind->is.name);
    hf_entry e = { .to = to, .to_len = (uint8_t)len, .name = name,
                   .name_len = (uint8_t)strlen(name),
                   .hash = hf_address_hash(engine->seed, to, len) };
    *row = hf_view(NULL, 0);
    hf_key_name(&key, &e);
    int err = hf_overlay_get(tables, HF_IN_ROWS, hf_key_bytes(&key), &payload);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    if (payload.len < 8)
        return hf_error(HF_ECORRUPT, "a limit of type \"%s\" is cut short", kind->is.name);
    *row = hf_view((const uint8_t *)payload.data + 8, payload.len - 8);
    return HF_OK;
}

static int load_breaker(hf_engine *engine, const hf_overlay *tables, hf_kind_of *kind)
{
    hf_bytes row;
    hf_limit *l = kind->limit;
    int err = read_row(engine, tables, kind, HF_LIMIT_BREAKER, &row);
    if (err || !row.data)
        return err;
    if (!l || !hf_breaker_is_set(&l->breaker)) {
        kind->stale_breaker = true;
        return HF_OK;
    }
    return hf_breaker_get(&l->breaker, row, hf_clock_mono_ns(), hf_clock_wall_ms());
}

static int load_rate(hf_engine *engine, const hf_overlay *tables, hf_kind_of *kind)
{
    hf_bytes row;
    hf_limit *l = kind->limit;
    bool closed = false;
    int err = read_row(engine, tables, kind, HF_LIMIT_RATE, &row);
    if (err)
        return err;
    if (!l || !l->rate.rate) {
        kind->stale_rate = row.data != NULL;
        return HF_OK;
    }
    if (row.data)
        err = hf_rate_get(&l->rate, row, hf_clock_mono_ns(), hf_clock_wall_ms(), &closed);
    if (!err && row.data && !closed)
        hf_engine_log(engine, HF_INFO, "type \"%s\": the last run did not say how many turns "
                      "began: none begins for %u ms", kind->is.name, kind->is.rate_ms);
    l->sealed = closed || !row.data;
    return err;
}

static int make_limit(hf_engine *engine, hf_kind_of *kind)
{
    hf_breaker breaker;
    hf_breaker_init(&breaker, &kind->is);
    bool rates = kind->is.rate && kind->is.rate != HF_NEVER;
    if (!hf_breaker_is_set(&breaker) && !rates)
        return HF_OK;
    hf_limit *l = hf_mem_zero(1, sizeof *l);
    if (!l || pthread_mutex_init(&l->lock, NULL)) {
        hf_mem_free(l);
        return hf_error(HF_ENOMEM, "limits of %s", kind->is.name);
    }
    l->engine = engine;
    l->kind = kind;
    l->breaker = breaker;
    hf_rate_init(&l->rate, &kind->is);
    kind->limit = l;
    kind->apart = true;
    return HF_OK;
}

int hf_limits_load(hf_engine *engine)
{
    hf_txn *txn;
    hf_rowbuf buf = { 0 };
    int err = hf_txn_read(engine->disk, &txn);
    if (err)
        return err;
    hf_overlay tables = { .txn = txn, .facts = hf_log_past(engine->log), .buf = &buf };
    for (uint32_t i = 0; !err && i < engine->types.count; i++) {
        hf_kind_of *kind = &engine->types.kinds[i];
        err = make_limit(engine, kind);
        if (!err)
            err = load_breaker(engine, &tables, kind);
        if (!err)
            err = load_rate(engine, &tables, kind);
        engine->limited |= kind->limit != NULL;
    }
    hf_txn_abort(txn);
    hf_rowbuf_done(&buf);
    return err;
}

/* The store knows that turns begin: they may. */
static void started(hf_batch *batch, int err)
{
    hf_engine *engine = batch->engine;
    for (uint32_t i = 0; !err && i < engine->types.count; i++) {
        hf_limit *l = engine->types.kinds[i].limit;
        if (!l)
            continue;
        pthread_mutex_lock(&l->lock);
        l->sealed = false;
        pthread_mutex_unlock(&l->lock);
    }
    hf_batch_free(batch);
    if (!err)
        hf_shards_wake(engine);
}

static int stage_start(hf_kind_of *kind, hf_batch *batch)
{
    uint8_t row[HF_RATE_ROW];
    int err = HF_OK;
    if (kind->stale_breaker) {
        hf_engine_log(batch->engine, HF_WARN, "type \"%s\": has no breaker any more, what it "
                      "held goes on", kind->is.name);
        err = hf_limit_stage(kind, batch, HF_LIMIT_BREAKER, hf_view(NULL, 0));
    }
    if (!err && kind->stale_rate)
        err = hf_limit_stage(kind, batch, HF_LIMIT_RATE, hf_view(NULL, 0));
    if (!err && kind->limit && kind->limit->sealed) {
        hf_rate_put(&kind->limit->rate, false, 0, 0, row);
        err = hf_limit_stage(kind, batch, HF_LIMIT_RATE, hf_view(row, sizeof row));
    }
    return err;
}

int hf_limits_start(hf_engine *engine)
{
    hf_batch *batch = hf_batch_new(engine);
    if (!batch)
        return hf_error(HF_ENOMEM, "limits");
    batch->settled = started;
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < engine->types.count; i++)
        err = stage_start(&engine->types.kinds[i], batch);
    if (!err && !hf_batch_is_empty(batch)) {
        err = hf_journal_submit(engine, batch);
        batch = err ? batch : NULL;
    }
    hf_batch_free(batch);
    return err;
}

/* ---- Closing */

static void closed(hf_batch *batch, int err)
{
    (void)err; /* then the next run knows only that turns began */
    hf_batch_free(batch);
}

void hf_limits_close(hf_engine *engine)
{
    hf_batch *batch = engine->limited ? hf_batch_new(engine) : NULL;
    uint64_t now = hf_clock_mono_ns();
    int err = HF_OK;
    if (!batch)
        return;
    batch->settled = closed;
    for (uint32_t i = 0; !err && i < engine->types.count; i++) {
        hf_limit *l = engine->types.kinds[i].limit;
        uint8_t row[HF_RATE_ROW];
        if (!l || !l->rate.rate)
            continue;
        hf_rate_put(&l->rate, true, now, hf_clock_wall_ms(), row);
        err = hf_limit_stage(l->kind, batch, HF_LIMIT_RATE, hf_view(row, sizeof row));
    }
    if (err || hf_batch_is_empty(batch) || hf_journal_submit(engine, batch))
        hf_batch_free(batch);
}

void hf_limits_done(hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->types.count; i++) {
        hf_limit *l = engine->types.kinds[i].limit;
        if (!l)
            continue;
        pthread_mutex_destroy(&l->lock);
        hf_mem_free(l);
        engine->types.kinds[i].limit = NULL;
    }
}
