/* shard.c - start, wake and stop the shards.
 *
 * Happy path: one thread each, following the chain of records from its start;
 * anyone rings the bell when there may be work. Stopping lets the running turn
 * end and hands in what it staged. Fails at start for want of memory. */
#include "engine/cancel.h"
#include "engine/census.h"
#include "engine/alarms.h"
#include "engine/flush.h"
#include "engine/rows.h"

#include "engine/thread.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>

static int init_shard(hf_engine *engine, uint32_t index)
{
    hf_shard *shard = &engine->shards[index];
    hf_log_stats stats;
    hf_log_stat(engine->log, &stats);
    shard->engine = engine;
    shard->index = index;
    shard->settled_end = &shard->settled;
    shard->errands_end = &shard->errands;
    shard->at = hf_log_start_of_chain(engine->log);
    shard->at_done = true;
    /* What an earlier run left is read as rows, wherever it lies. */
    shard->folded = hf_log_past(engine->log) ? stats.next : hf_log_folded(engine->log);
    shard->start = stats.next;
    atomic_init(&shard->released, hf_log_past(engine->log) ? 0 : shard->folded);
    atomic_init(&shard->pulled, shard->at->base + shard->at->count);
    shard->turn = hf_turn_new(engine, false);
    shard->slot = hf_strikes_slot(&engine->strikes);
    pthread_mutex_init(&shard->lock, NULL);
    if (engine->limited)
        shard->held = hf_mem_zero(engine->types.count, sizeof *shard->held);
    int err = hf_actors_init(&shard->actors);
    if (err || !shard->turn || !shard->slot || (engine->limited && !shard->held))
        return hf_error(HF_ENOMEM, "shard %u", index);
    shard->census = shard->turn->census = engine->census + index * engine->types.count;
    return HF_OK;
}

/* Are there rows at all? Then somebody has to look for them. */
static int look_for_rows(hf_engine *engine)
{
    hf_txn *txn;
    uint64_t rows;
    int err = hf_txn_read(engine->disk, &txn);
    if (err)
        return err;
    const hf_survivors *past = hf_log_past(engine->log);
    err = hf_txn_count(txn, HF_IN_INBOX, &rows);
    if (!err && past)
        rows += past->table[HF_IN_INBOX].count;
    hf_txn_abort(txn);
    for (uint32_t i = 0; !err && rows && i < engine->shard_count; i++) {
        engine->shards[i].rows_possible = true;
        hf_paging_scan_again(&engine->shards[i]);
    }
    return err;
}

int hf_shards_make(hf_engine *engine)
{
    int err = hf_census_make(engine);
    engine->shards = hf_mem_apart(engine->shard_count, sizeof *engine->shards);
    if (err || !engine->shards)
        return hf_error(HF_ENOMEM, "shards");
    for (uint32_t i = 0; !err && i < engine->shard_count; i++)
        err = init_shard(engine, i);
    for (uint32_t i = 0; !err && i < engine->shard_count; i++)
        err = hf_alarms_make(&engine->shards[i]);
    if (!err)
        err = hf_rows_look(engine);
    return err ? err : look_for_rows(engine);
}

int hf_shards_start(hf_engine *engine)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < engine->shard_count; i++) {
        char name[24];
        snprintf(name, sizeof name, "hf-shard-%u", i);
        err = hf_thread_start(&engine->shards[i].thread, name, hf_rounds_main,
                              &engine->shards[i]);
        engine->shards[i].started = !err;
    }
    return err;
}

void hf_shard_ring(hf_shard *shard)
{
    atomic_fetch_add(&shard->bell, 1);
    if (atomic_load(&shard->asleep))
        hf_futex_wake(&shard->bell, 1);
}

void hf_shard_send_errand(hf_shard *shard, hf_errand *errand)
{
    atomic_fetch_add(&shard->errand_count, 1);
    pthread_mutex_lock(&shard->lock);
    errand->next = NULL;
    *shard->errands_end = errand;
    shard->errands_end = &errand->next;
    pthread_mutex_unlock(&shard->lock);
    hf_shard_ring(shard);
}

void hf_shards_stir(hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->shard_count; i++)
        atomic_fetch_add(&engine->shards[i].bell, 1);
}

bool hf_shard_is_quiet(const hf_shard *shard)
{
    return atomic_load(&shard->quiet) == (uint64_t)atomic_load(&shard->bell) + 1;
}

void hf_shards_wake(hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->shard_count; i++)
        hf_shard_ring(&engine->shards[i]);
}

/* Between turns, and after the engine began to close: it takes no more. */
static void halt(hf_shard *shard, hf_errand *errand)
{
    (void)errand;
    atomic_store(&shard->halts, 2);
}

uint32_t hf_shards_halt(hf_engine *engine, uint32_t *in_turns)
{
    uint32_t left = 0;
    *in_turns = 0;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        hf_shard *shard = &engine->shards[i];
        int not_asked = 0;
        if (atomic_compare_exchange_strong(&shard->halts, &not_asked, 1)) {
            shard->halt.run = halt;
            hf_shard_send_errand(shard, &shard->halt);
        }
        if (atomic_load(&shard->halts) == 2)
            continue;
        left++;
        *in_turns += hf_strike_slot_id(shard->slot) != 0;
    }
    return left;
}

void hf_shards_stop(hf_engine *engine)
{
    for (uint32_t i = 0; engine->shards && i < engine->shard_count; i++) {
        hf_shard *shard = &engine->shards[i];
        atomic_store(&shard->stop, true);
        hf_shard_ring(shard);
        if (shard->started)
            pthread_join(shard->thread, NULL);
        shard->started = false;
    }
}

static void free_batches(hf_batch *list)
{
    while (list) {
        hf_batch *next = list->next;
        hf_batch_free(list);
        list = next;
    }
}

static void done_shard(hf_shard *shard)
{
    if (!shard->engine)
        return;
    hf_resident_close(shard);
    for (hf_mailbox *box = shard->boxes, *next; box; box = next) {
        next = box->next_box;
        for (hf_parcel *p = box->parcels; p; p = p->next)
            hf_batch_free(p->batch);
        hf_mailbox_free(box);
    }
    hf_alarms_done(shard);
    hf_dirty_done(shard);
    hf_cancel_done(shard);
    hf_rows_done(shard);
    hf_actors_done(&shard->actors);
    free_batches(shard->settled);
    hf_batch_free(shard->batch);
    hf_turn_free(shard->turn);
    if (shard->slot)
        hf_strikes_slot_free(&shard->engine->strikes, shard->slot);
    hf_mem_free(shard->timers);
    hf_mem_free(shard->held);
    hf_mem_free(shard->miles);
    hf_mem_free(shard->images);
    hf_rowbuf_done(&shard->row);
    pthread_mutex_destroy(&shard->lock);
}

void hf_shards_done(hf_engine *engine)
{
    for (uint32_t i = 0; engine->shards && i < engine->shard_count; i++)
        done_shard(&engine->shards[i]);
    hf_mem_free(engine->shards);
    engine->shards = NULL;
    hf_census_done(engine);
}

uint64_t hf_shards_lag(const hf_engine *engine)
{
    uint64_t slowest = UINT64_MAX;
    for (uint32_t i = 0; engine->shards && i < engine->shard_count; i++) {
        uint64_t passed = atomic_load_explicit(&engine->shards[i].passed_bytes,
                                               memory_order_relaxed);
        slowest = passed < slowest ? passed : slowest;
    }
    hf_log_stats stats;
    hf_log_stat(engine->log, &stats);
    return slowest < stats.written ? stats.written - slowest : 0;
}

uint64_t hf_shards_released(const hf_engine *engine)
{
    uint64_t position = UINT64_MAX;
    for (uint32_t i = 0; engine->shards && i < engine->shard_count; i++) {
        uint64_t released = atomic_load_explicit(&engine->shards[i].released,
                                                 memory_order_acquire);
        position = released < position ? released : position;
    }
    return position == UINT64_MAX ? 0 : position;
}

/* The position all have come past. */
static uint64_t pulled_by_all(const hf_engine *engine)
{
    uint64_t position = UINT64_MAX;
    for (uint32_t i = 0; engine->shards && i < engine->shard_count; i++) {
        uint64_t pulled = atomic_load_explicit(&engine->shards[i].pulled, memory_order_relaxed);
        position = pulled < position ? pulled : position;
    }
    return position;
}

void hf_shards_tell_log(hf_engine *engine)
{
    hf_log_hold(engine->log, pulled_by_all(engine));
    hf_log_burden(engine->log, hf_alarms_burden(engine));
}
