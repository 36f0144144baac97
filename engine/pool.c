/* pool.c - run turns on threads that may block.
 *
 * Happy path: a shard queues a parcel; a thread of the type runs its handler,
 * puts the end of the message and all it staged into a batch of its own and
 * submits it; when that is committed the parcel goes back to its shard, which
 * lets the actor's next message start. So a turn that can reach outside starts
 * only after the actor's previous commit.
 *
 * Fails: without memory, or when there is no room for what a turn sends, the
 * turn is held: run again soon, no try burnt. Pool threads. */
#include "engine/pool.h"
#include "engine/census.h"

#include "engine/flush.h"
#include "engine/limit.h"
#include "engine/rows.h"
#include "engine/step.h"
#include "engine/suspect.h"
#include "engine/timebase.h"
#include "engine/urgency.h"
#include "engine/thread.h"
#include "engine/turn.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <time.h>

typedef struct hf_pool_thread {
    hf_pool        *pool;
    pthread_t       thread;
    uint32_t        number;
    hf_turn        *turn;
    hf_strike_slot *slot;
} hf_pool_thread;

struct hf_pool {
    hf_engine      *engine;
    hf_kind_of     *kind;
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    hf_queue        queue;
    bool            halted, stop;
    uint32_t        running;     /* turns */
    hf_pool_thread *threads;
    uint32_t        thread_count; /* that were started */
};

void hf_pool_queue(hf_pool *pool, hf_parcel *p)
{
    pthread_mutex_lock(&pool->lock);
    hf_queue_put(&pool->queue, p, p->actor->mailbox->urgency, p->shard->now_ms);
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

void hf_pool_raise(hf_pool *pool, hf_parcel *p, uint32_t urgency)
{
    pthread_mutex_lock(&pool->lock);
    hf_queue_raise(&pool->queue, p, urgency);
    pthread_mutex_unlock(&pool->lock);
}

static void give_back(hf_parcel *p)
{
    hf_shard *shard = p->shard;
    pthread_mutex_lock(&shard->lock);
    p->queued = shard->finished;
    shard->finished = p;
    pthread_mutex_unlock(&shard->lock);
    hf_shard_ring(shard);
}

static void parcel_settled(hf_batch *batch, int err)
{
    hf_parcel *p = batch->owner;
    if (!err)
        give_back(p); /* else the engine stopped: it stays as it is until close */
}

/* ---- A turn */

static int end_turn(hf_turn *turn, hf_parcel *p, bool stands)
{
    if (stands && hf_turn_must_wait(turn)) {
        hf_turn_cut(turn);
        p->end = HF_END_HELD;
        return HF_OK;
    }
    int err;
    if (!stands || turn->undoing) {
        err = hf_step_outcome(turn, p, stands);
    } else {
        /* Begun before the last open, maybe: whatever steps there are go with it. */
        if (p->e.id < turn->engine->first_id)
            p->e.flags |= HF_ENTRY_STEPS;
        err = hf_outcome_ack(turn->batch, &p->e);
        turn->batch->turns = 1;
        atomic_fetch_add_explicit(&hf_census_of(turn)->done, 1, memory_order_relaxed);
        p->end = HF_END_DONE;
    }
    if (err)
        return err;
    p->rows = turn->rows; /* the actor's from now on */
    turn->rows = NULL;
    p->saved = turn->saved;
    p->forgot = turn->forgot;
    p->alarms = turn->alarms != 0;
    p->save_at = turn->save_at;
    p->save_index = turn->save_index;
    p->tomb = turn->tomb;
    if (turn->kind->flush && (turn->saved || turn->forgot))
        hf_flush_hold(turn);
    return HF_OK;
}

/* It did not begin: for want of memory, or since its type was closed meanwhile. */
static void send_back(hf_limit *limit, hf_parcel *p)
{
    if (limit && !p->batch && hf_limit_begin(limit, p->era)) {
        (void)hf_limit_ended(limit, p->era, HF_SAYS_NOTHING, NULL);
        hf_limit_told(limit);
    } else if (limit) {
        p->end = HF_END_RESTS; /* its shard knows when */
        p->due_ms = 0;
    }
    give_back(p);
}

static void run_parcel(hf_pool_thread *t, hf_parcel *p)
{
    hf_engine *engine = t->pool->engine;
    hf_turn *turn = t->turn;
    hf_batch *batch = hf_batch_new(engine);
    p->batch = batch;
    hf_limit *limit = t->pool->kind->limit;
    p->end = HF_END_HELD;
    p->saved = p->forgot = p->alarms = false;
    if (!batch || (limit && !hf_limit_begin(limit, p->era))) {
        send_back(limit, p);
        return;
    }
    atomic_store(&turn->began_ns, hf_clock_mono_ns());
    t->slot->hash = p->e.hash;
    t->slot->id = p->e.id;
    turn->parcel = p;
    turn->msg.worker = t->number;
    hf_turn_begin(turn, t->pool->kind, batch, &p->e, p->actor);
    if (atomic_exchange(&p->stop, false))
        atomic_store(&turn->cancel, p->e.id);
    bool stands = hf_step_run(turn, p);
    p->e.took = (hf_clock_mono_ns() - atomic_load(&turn->began_ns)) / 1000000;
    hf_turn_says says = hf_limit_says(turn, stands);
    int err = end_turn(turn, p, stands);
    if (err) { /* no memory to say how it ended: it did not happen */
        hf_turn_cut(turn);
        p->end = HF_END_HELD;
    }
    if (limit) /* until hf_limit_told nobody else tells how the breaker stands */
        (void)hf_limit_ended(limit, p->era, p->end == HF_END_HELD ? HF_SAYS_NOTHING : says, batch);
    t->slot->id = 0;
    if (hf_suspects_any(engine))
        hf_suspect_ended(engine, p->e.id);
    hf_turn_end(turn);
    turn->parcel = NULL;
    batch->owner = p;
    batch->settled = parcel_settled;
    batch->rides = p->end == HF_END_DONE && !batch->sends && !batch->replies && !p->more;
    if (hf_batch_is_empty(batch))
        give_back(p);
    else
        (void)hf_journal_submit(engine, batch);
    if (limit)
        hf_limit_told(limit);
}

/* The first that may run: all may, but when a suspect runs alone. Under the lock. */
static hf_parcel *take_parcel(hf_pool *pool)
{
    uint32_t now_ms = pool->queue.levels > 1 ? (uint32_t)(hf_clock_mono_ns() / 1000000) : 0;
    if (!hf_suspects_any(pool->engine))
        return hf_queue_take(&pool->queue, now_ms);
    hf_parcel *p = hf_queue_next(&pool->queue, NULL);
    while (p && !hf_suspects_let_run(pool->engine, p->e.hash))
        p = hf_queue_next(&pool->queue, p);
    if (p)
        hf_queue_remove(&pool->queue, p);
    return p;
}

static void wait_for_parcel(hf_pool *pool)
{
    if (!pool->queue.levels || pool->halted) {
        pthread_cond_wait(&pool->wake, &pool->lock);
        return;
    }
    struct timespec soon = hf_clock_after(5000000);
    pthread_cond_timedwait(&pool->wake, &pool->lock, &soon);
}

static void *pool_main(void *user)
{
    hf_pool_thread *t = user;
    hf_pool *pool = t->pool;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stop) {
        hf_parcel *p = pool->halted ? NULL : take_parcel(pool);
        if (!p) {
            wait_for_parcel(pool);
            continue;
        }
        pool->running++;
        pthread_mutex_unlock(&pool->lock);
        atomic_fetch_add(&pool->engine->count.running, 1);
        run_parcel(t, p);
        atomic_fetch_sub(&pool->engine->count.running, 1);
        pthread_mutex_lock(&pool->lock);
        pool->running--;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* ---- Back on the shard */

static void take_state(hf_shard *shard, const hf_parcel *p)
{
    int err = HF_OK;
    if (p->saved) {
        const uint8_t *save = hf_batch_facts(p->batch)->data + p->save_at;
        err = hf_actor_set_state(&shard->actors, p->actor,
                                 hf_view(save + HF_ENTRY_HEAD, hf_get32(save + 4)));
        p->actor->version = (uint8_t)p->actor->kind->is.version;
    } else if (p->forgot) {
        err = hf_actor_set_state(&shard->actors, p->actor, hf_view(NULL, 0));
    }
    if (p->actor->kind->flush && (p->saved || p->forgot))
        hf_dirty_parcel(shard, p->actor, p);
    if (!err)
        return;
    /* On disk, but not in memory: nothing of this actor may run on the old one. */
    p->actor->damaged = true;
    hf_engine_log(shard->engine, HF_ERROR, "%s is set aside until the next open: out of memory",
                  p->actor->address);
}

void hf_pool_take_back(hf_shard *shard, hf_parcel *p)
{
    hf_mailbox *box = p->actor->mailbox;
    uint64_t now_ms = hf_timebase_now(shard->engine), wait = 50;
    box->running--;
    shard->runs_outside--;
    if (p->batch && p->batch->end) {
        hf_resident_changed(shard, p->actor, p->batch->end);
        take_state(shard, p);
        if (p->alarms && box->words_end < p->batch->end)
            box->words_end = p->batch->end;
        if (p->alarms && shard->words_end < p->batch->end)
            shard->words_end = p->batch->end;
        if (p->rows)
            hf_rows_keep(shard, p->actor, p->rows, p->actor->batch);
    }
    hf_rows_end(p->rows);
    p->rows = NULL;
    hf_batch_free(p->batch);
    p->batch = NULL;
    p->now = HF_PARCEL_RESTS;
    p->due_ns = 0;
    if (p->end == HF_END_RESTS)
        wait = p->due_ms > now_ms ? p->due_ms - now_ms : 0;
    if (p->end == HF_END_DONE || p->end == HF_END_DEAD)
        hf_dispatch_parcel_done(shard, p);
    else
        hf_dispatch_rest(shard, p, hf_clock_mono_ns() + wait * 1000000);
    hf_dispatch_ready(shard, box);
}

/* ---- Life */

static int start_threads(hf_pool *pool)
{
    uint32_t count = pool->kind->is.threads;
    pool->threads = hf_mem_zero(count, sizeof *pool->threads);
    if (!pool->threads)
        return hf_error(HF_ENOMEM, "threads of %s", pool->kind->is.name);
    for (uint32_t i = 0; i < count; i++) {
        hf_pool_thread *t = &pool->threads[i];
        t->pool = pool;
        t->number = i + 1;
        t->turn = hf_turn_new(pool->engine, true);
        t->slot = hf_strikes_slot(&pool->engine->strikes);
        if (!t->turn || !t->slot)
            return hf_error(HF_ENOMEM, "threads of %s", pool->kind->is.name);
        int err = hf_thread_start(&t->thread, pool->kind->is.name, pool_main, t);
        if (err)
            return err;
        pool->thread_count++;
    }
    return HF_OK;
}

/* Nobody's setting of the clock may keep it asleep. */
static void init_wake(hf_pool *pool)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->wake, &attr);
    pthread_condattr_destroy(&attr);
}

int hf_pools_start(hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->types.count; i++) {
        hf_kind_of *kind = &engine->types.kinds[i];
        if (!kind->pooled)
            continue;
        hf_pool *pool = hf_mem_zero(1, sizeof *pool);
        if (!pool)
            return hf_error(HF_ENOMEM, "threads of %s", kind->is.name);
        pool->engine = engine;
        pool->kind = kind;
        pthread_mutex_init(&pool->lock, NULL);
        init_wake(pool);
        kind->pool = pool;
        int err = start_threads(pool);
        if (err)
            return err;
    }
    return HF_OK;
}

bool hf_pool_thread_at(const hf_pool *pool, uint32_t number, hf_turn **turn,
                       const hf_strike_slot **slot)
{
    if (number >= pool->thread_count)
        return false;
    *turn = pool->threads[number].turn;
    *slot = pool->threads[number].slot;
    return true;
}

uint32_t hf_pools_halt(hf_engine *engine)
{
    uint32_t running = 0;
    for (uint32_t i = 0; i < engine->types.count; i++) {
        hf_pool *pool = engine->types.kinds[i].pool;
        if (!pool)
            continue;
        pthread_mutex_lock(&pool->lock);
        pool->halted = true;
        running += pool->running;
        pthread_mutex_unlock(&pool->lock);
    }
    return running;
}

static void stop_pool(hf_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i].thread, NULL);
    for (uint32_t i = 0; pool->threads && i < pool->kind->is.threads; i++) {
        hf_turn_free(pool->threads[i].turn);
        if (pool->threads[i].slot)
            hf_strikes_slot_free(&pool->engine->strikes, pool->threads[i].slot);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    hf_mem_free(pool->threads);
    hf_mem_free(pool);
}

void hf_pools_stop(hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->types.count; i++) {
        if (engine->types.kinds[i].pool)
            stop_pool(engine->types.kinds[i].pool);
        engine->types.kinds[i].pool = NULL;
    }
}
