/* watch.c - look at what the threads run, from outside.
 *
 * Happy path: each thread that runs turns has a slot with the id of its message.
 * A pool's also notes when it began. On a shard a turn is too short for that:
 * there, a turn that is seen twice has lasted since it was seen first, for the
 * shard counts its rounds. So running turns cost nothing for being watched, and
 * a shard's are known to the second.
 *
 * Fails for want of memory only. C cannot kill a thread: a turn that lasts too
 * long is told so, and reported. The loop's thread, and those that answer. */
#include "engine/watch.h"

#include "engine/pool.h"
#include "engine/turn.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

typedef struct hf_watched {
    hf_turn              *turn;
    const hf_strike_slot *slot;
    const hf_shard       *shard;    /* NULL: of a pool */
    uint64_t              id, mark; /* the turn it was in when last looked at */
    uint64_t              since_ns;
    bool                  reported;
} hf_watched;

static uint32_t find_threads(const hf_engine *engine, hf_watched *threads)
{
    uint32_t count = 0;
    hf_watched one = { 0 };
    for (uint32_t i = 0; i < engine->shard_count; i++, count++) {
        const hf_shard *shard = &engine->shards[i];
        if (threads)
            threads[count] = (hf_watched){ .turn = shard->turn, .slot = shard->slot,
                                           .shard = shard };
    }
    for (uint32_t i = 0; i < engine->types.count; i++) {
        const hf_pool *pool = engine->types.kinds[i].pool;
        for (uint32_t n = 0; pool && hf_pool_thread_at(pool, n, &one.turn, &one.slot); n++, count++)
            if (threads)
                threads[count] = one;
    }
    return count;
}

int hf_watch_init(hf_watch *watch, hf_engine *engine)
{
    uint32_t count = find_threads(engine, NULL);
    watch->threads = hf_mem_zero(count, sizeof *watch->threads);
    if (!watch->threads || pthread_mutex_init(&watch->lock, NULL)) {
        hf_mem_free(watch->threads);
        watch->threads = NULL;
        return hf_error(HF_ENOMEM, "a watch over turns");
    }
    watch->engine = engine;
    watch->count = find_threads(engine, watch->threads);
    return HF_OK;
}

void hf_watch_done(hf_watch *watch)
{
    if (watch->threads)
        pthread_mutex_destroy(&watch->lock);
    hf_mem_free(watch->threads);
    watch->threads = NULL;
}

/* Does it run a turn? Notes since when. */
static bool look_at(hf_watched *w, uint64_t now)
{
    uint64_t mark = w->shard ? atomic_load(&w->shard->activity)
                             : atomic_load(&w->turn->began_ns);
    uint64_t id = hf_strike_slot_id(w->slot);
    if (id && (id != w->id || mark != w->mark)) {
        w->mark = mark;
        w->since_ns = w->shard || !mark ? now : mark;
        w->reported = false;
    }
    w->id = id;
    return id != 0;
}

/* The type of what it runs; NULL when it has only just begun. */
static const hf_kind_of *too_long_for(const hf_watched *w, uint64_t now)
{
    const hf_kind_of *kind = atomic_load_explicit(&w->turn->watched, memory_order_relaxed);
    uint64_t lasted = now > w->since_ns ? now - w->since_ns : 0;
    if (!kind || kind->is.stuck_ms == HF_NEVER)
        return NULL;
    return lasted >= (uint64_t)kind->is.stuck_ms * 1000000 ? kind : NULL;
}

static int by_id(const void *pa, const void *pb)
{
    const hf_running *a = pa, *b = pb;
    return (a->id > b->id) - (a->id < b->id);
}

uint32_t hf_watch_look(hf_watch *watch, hf_running **out)
{
    uint64_t now = hf_clock_mono_ns(), wall_ms = hf_clock_wall_ms();
    uint32_t count = 0;
    hf_running *running = hf_mem_zero(watch->count, sizeof *running);
    *out = running;
    if (!running)
        return 0;
    pthread_mutex_lock(&watch->lock);
    for (uint32_t i = 0; i < watch->count; i++) {
        hf_watched *w = &watch->threads[i];
        if (!look_at(w, now))
            continue;
        uint64_t lasted = now > w->since_ns ? now - w->since_ns : 0;
        running[count++] = (hf_running){ w->id, wall_ms - lasted / 1000000,
                                         too_long_for(w, now) != NULL };
    }
    pthread_mutex_unlock(&watch->lock);
    qsort(running, count, sizeof *running, by_id);
    return count;
}

/* Is this one to be reported now? Copies what is said about it. */
static bool is_news(hf_watch *watch, uint32_t number, uint64_t now, hf_watched *news,
                    const hf_kind_of **kind)
{
    hf_watched *w = &watch->threads[number];
    pthread_mutex_lock(&watch->lock);
    *kind = look_at(w, now) && !w->reported ? too_long_for(w, now) : NULL;
    if (*kind)
        w->reported = true;
    *news = *w;
    pthread_mutex_unlock(&watch->lock);
    return *kind != NULL;
}

void hf_watch_stop(hf_watch *watch, uint64_t id)
{
    pthread_mutex_lock(&watch->lock);
    for (uint32_t i = 0; i < watch->count; i++)
        if (hf_strike_slot_id(watch->threads[i].slot) == id)
            atomic_store(&watch->threads[i].turn->cancel, id);
    pthread_mutex_unlock(&watch->lock);
}

void hf_watch_tick(hf_watch *watch)
{
    uint64_t now = hf_clock_mono_ns();
    for (uint32_t i = 0; i < watch->count; i++) {
        const hf_kind_of *kind;
        hf_watched w;
        if (!is_news(watch, i, now, &w, &kind))
            continue;
        atomic_store(&w.turn->cancel, w.id);
        hf_engine_log(watch->engine, HF_WARN,
                      "message %llu of type \"%s\" runs for %.1f s, longer than stuck_ms (%u): "
                      "`holdfast show %llu`",
                      (unsigned long long)w.id, kind->is.name, (double)(now - w.since_ns) / 1e9,
                      kind->is.stuck_ms, (unsigned long long)w.id);
    }
}
