/* flush_store.c - what the store knows of what was flushed.
 *
 * Happy path: at open each type that flushes reads its row at "type/-": all states saved
 * below the watermark are flushed; and, when the last run said so at its end, all others,
 * too. Before the first turn of a run the row says that this is over. A turn that forgets
 * leaves a tombstone there with the actor's address, since no row of the actor would tell.
 * A type that flushes no more is remembered by its row: what it saves is flushed when it
 * does so again.
 * Fails like any look into the store. hf_open's and hf_close's thread; turns. */
#include "engine/ask.h"
#include "engine/dirty.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>

enum { ROW_SIZE = 16, ROW_VERSION = 1 }; /* version(1) closed(1) 0(6) watermark(8) */

/* A row of the type, "type/-". */
static void type_entry(const hf_engine *engine, const hf_kind_of *kind, char to[HF_TYPE_MAX + 3],
                       const char *name, hf_entry *e)
{
    (void)snprintf(to, HF_TYPE_MAX + 3, "%s/-", kind->is.name);
    size_t len = kind->name_len + 2;
    *e = (hf_entry){ .to = to, .to_len = (uint8_t)len, .name = name,
                     .name_len = (uint8_t)strlen(name), .error = "", .from = "", .answer = "",
                     .dedupe = "", .hash = hf_address_hash(engine->seed, to, len) };
}

/* ---- Writing */

int hf_flush_stage_row(const hf_kind_of *kind, hf_batch *batch, uint64_t watermark, bool closed)
{
    char to[HF_TYPE_MAX + 3];
    uint8_t row[ROW_SIZE] = { ROW_VERSION, closed };
    hf_entry e;
    type_entry(batch->engine, kind, to, HF_FLUSH_ROW, &e);
    hf_put64(row + 8, watermark);
    e.op = HF_OP_PUT;
    e.data = hf_view(row, sizeof row);
    return hf_segment_add(hf_batch_facts(batch), &e);
}

static void tomb_name(hf_tomb tomb, char name[HF_TOMB_NAME + 1])
{
    (void)snprintf(name, HF_TOMB_NAME + 1, "%c%016llx%016llx", HF_SHELF_FLUSH,
                   (unsigned long long)tomb.run, (unsigned long long)tomb.number);
}

int hf_flush_stage_drop(const hf_kind_of *kind, hf_batch *batch, hf_tomb tomb)
{
    char to[HF_TYPE_MAX + 3], name[HF_TOMB_NAME + 1];
    hf_entry e;
    tomb_name(tomb, name);
    type_entry(batch->engine, kind, to, name, &e);
    e.op = HF_OP_DROP;
    return hf_segment_add(hf_batch_facts(batch), &e);
}

void hf_flush_forget(hf_turn *turn)
{
    char to[HF_TYPE_MAX + 3], name[HF_TOMB_NAME + 1];
    hf_entry e;
    uint64_t number = atomic_fetch_add(&turn->kind->flush->tombs, 1) + 1;
    tomb_name((hf_tomb){ turn->engine->first_id, number }, name);
    type_entry(turn->engine, turn->kind, to, name, &e);
    e.op = HF_OP_PUT;
    e.data = hf_view(turn->e->to, turn->e->to_len);
    hf_segment *facts = hf_batch_facts(turn->batch);
    uint32_t index = facts->count;
    if (turn->tomb) { /* it forgot before: one is enough, but both are staged */
        int err = hf_flush_stage_drop(turn->kind, turn->batch,
                                      (hf_tomb){ turn->engine->first_id, turn->tomb });
        if (err) {
            hf_turn_fail(turn, err);
            return;
        }
        index++;
    }
    if (!hf_turn_stage(turn, facts, &e))
        return;
    turn->save_index = index;
    turn->tomb = number;
}

/* ---- Opening */

static int read_row(const hf_engine *engine, const hf_overlay *tables, const hf_kind_of *kind,
                    hf_bytes *row)
{
    char to[HF_TYPE_MAX + 3];
    hf_entry e;
    hf_key key;
    hf_bytes payload;
    type_entry(engine, kind, to, HF_FLUSH_ROW, &e);
    hf_key_name(&key, &e);
    *row = hf_view(NULL, 0);
    int err = hf_overlay_get(tables, HF_IN_ROWS, hf_key_bytes(&key), &payload);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    if (payload.len < 8 + ROW_SIZE)
        return hf_error(HF_ECORRUPT, "what type \"%s\" flushed is cut short", kind->is.name);
    *row = hf_view((const uint8_t *)payload.data + 8, payload.len - 8);
    uint32_t version = ((const uint8_t *)row->data)[0];
    return version == ROW_VERSION
               ? HF_OK
               : hf_error(HF_EVERSION, "what type \"%s\" flushed is in version %u", kind->is.name,
                          version);
}

static int init(hf_flush *f, hf_engine *engine, hf_kind_of *kind)
{
    pthread_condattr_t attr;
    f->engine = engine;
    f->kind = kind;
    f->now = kind->is.flush_ms == HF_NOW;
    f->came_end = &f->came;
    f->waiting_end = &f->waiting;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int err = pthread_mutex_init(&f->lock, NULL);
    err = err ? err : pthread_cond_init(&f->wake, &attr);
    pthread_condattr_destroy(&attr);
    return err ? HF_ENOMEM : HF_OK;
}

static int load_type(hf_engine *engine, const hf_overlay *tables, hf_kind_of *kind)
{
    hf_bytes row;
    int err = read_row(engine, tables, kind, &row);
    if (err)
        return err;
    bool closed = row.data && ((const uint8_t *)row.data)[1];
    uint64_t watermark = row.data ? hf_get64((const uint8_t *)row.data + 8) : 0;
    if (!kind->is.flush) {
        kind->stale_flush = closed;
        kind->flushed = watermark;
        return HF_OK;
    }
    hf_flush *f = hf_mem_zero(1, sizeof *f);
    if (!f || init(f, engine, kind)) {
        hf_mem_free(f);
        return hf_error(HF_ENOMEM, "what type \"%s\" flushes", kind->is.name);
    }
    f->fresh = !row.data;
    f->was_closed = closed;
    f->from = f->written = watermark;
    f->through = engine->first_id;
    atomic_init(&f->walking, !closed);
    kind->flush = f;
    engine->flushes = true;
    return HF_OK;
}

int hf_flushes_load(hf_engine *engine)
{
    hf_txn *txn;
    hf_rowbuf buf = { 0 };
    int err = hf_txn_read(engine->disk, &txn);
    if (err)
        return err;
    hf_overlay tables = { .txn = txn, .facts = hf_log_past(engine->log), .buf = &buf };
    for (uint32_t i = 0; !err && i < engine->types.count; i++)
        err = load_type(engine, &tables, &engine->types.kinds[i]);
    hf_txn_abort(txn);
    hf_rowbuf_done(&buf);
    return err;
}

static void staged(hf_batch *batch, int err)
{
    (void)err; /* then the engine stopped, and the row says less than is true */
    hf_batch_free(batch);
}

static int submit(hf_engine *engine, hf_batch *batch, int err)
{
    batch->settled = staged;
    if (!err && !hf_batch_is_empty(batch)) {
        err = hf_journal_submit(engine, batch);
        batch = err ? batch : NULL;
    }
    hf_batch_free(batch);
    return err;
}

int hf_flushes_begin(hf_engine *engine)
{
    hf_batch *batch = hf_batch_new(engine);
    int err = HF_OK;
    if (!batch)
        return hf_error(HF_ENOMEM, "what is to be flushed");
    for (uint32_t i = 0; !err && i < engine->types.count; i++) {
        const hf_kind_of *kind = &engine->types.kinds[i];
        const hf_flush *f = kind->flush;
        if (f ? f->fresh || f->was_closed : kind->stale_flush)
            err = hf_flush_stage_row(kind, batch, f ? f->from : kind->flushed, false);
    }
    return submit(engine, batch, err);
}

/* ---- Closing */

static void say_closed(hf_engine *engine)
{
    hf_batch *batch = hf_batch_new(engine);
    int err = HF_OK;
    for (uint32_t i = 0; batch && !err && i < engine->types.count; i++) {
        const hf_flush *f = engine->types.kinds[i].flush;
        if (f && f->finished && !atomic_load(&f->frozen))
            err = hf_flush_stage_row(f->kind, batch, atomic_load(&engine->settled), true);
    }
    if (batch)
        (void)submit(engine, batch, err);
}

static void stop_thread(hf_flush *f)
{
    pthread_mutex_lock(&f->lock);
    f->stop = true;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
    if (f->started)
        pthread_join(f->thread, NULL);
    f->started = false;
}

void hf_flushes_stop(hf_engine *engine, bool clean)
{
    for (uint32_t i = 0; i < engine->types.count; i++)
        if (engine->types.kinds[i].flush)
            stop_thread(engine->types.kinds[i].flush);
    if (clean && engine->flushes)
        say_closed(engine);
}

static void free_list(hf_dirty *list)
{
    for (hf_dirty *next; list; list = next) {
        next = list->next;
        hf_dirty_free(list);
    }
}

static void free_flush(hf_flush *f)
{
    for (uint32_t i = 0; i < f->desk_count; i++) {
        hf_flush_desk *d = &f->desks[i];
        free_list(d->first);
        free_list(d->came);
        hf_dirty_free(d->spare);
        hf_mem_free(d->buckets);
        hf_mem_free(d->drops);
    }
    free_list(f->came);
    for (uint32_t i = 0; i < f->hand_count; i++)
        hf_dirty_free(f->hand[i]);
    for (hf_response *r = f->waiting, *next; r; r = next) {
        next = r->next;
        hf_mem_free(r);
    }
    hf_mem_free(f->hand);
    hf_mem_free(f->images);
    hf_mem_free(f->drops);
    hf_mem_free(f->desks);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
    hf_mem_free(f);
}

void hf_flushes_done(hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->types.count; i++) {
        if (engine->types.kinds[i].flush)
            free_flush(engine->types.kinds[i].flush);
        engine->types.kinds[i].flush = NULL;
    }
}
