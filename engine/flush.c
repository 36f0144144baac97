/* flush.c - hand changed states to their type's flush: one thread a type.
 *
 * Happy path of a round: when the first change is flush_ms old, ask each shard's desk
 * for images; when all have answered, one call with everything; then the watermark goes
 * into the store with the next commit, and replies that waited for it (HF_NOW) go.
 * Images come only when their SAVE is committed, and before the round we noted a
 * position below which everything was told to the shards: so what is not in the
 * answers or still in line there lies above it.
 *
 * Fails: anything but HF_OK from the call, and all of it is handed over again after a
 * pause, merged with what was changed meanwhile; the type's retry_ms and retry_ms_max
 * say how long. Nothing is asked for while a call's worth is at hand. When the engine
 * stopped by itself no call is made any more. The type's thread. */
#include "engine/dirty.h"

#include "engine/ask.h"
#include "engine/thread.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

enum {
    MS       = 1000000,
    LEAD_NS  = 20 * MS,  /* it begins so much earlier, at most: an answer takes a commit */
    BREATH_NS = 2 * MS,  /* between looks for what an earlier run left */
    CLOSE_NS = MS / 2,
    FULL_NS  = 1000 * MS, /* how long closing waits for room */
};

static _Thread_local bool inside;

bool hf_flush_inside(void)
{
    return inside;
}

/* ---- For others */

void hf_flush_ring(hf_flush *f)
{
    pthread_mutex_lock(&f->lock);
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

/* The drops whose tombstones are committed. Under the lock. */
static void take_drops(hf_flush *f, hf_flush_desk *d)
{
    uint32_t n = 0, kept;
    while (n < d->drop_count && d->drops[n].batch <= d->shard->committed)
        n++;
    if (f->drop_count + n > f->drop_room) {
        uint32_t room = (f->drop_count + n) * 2;
        void *drops = hf_mem_grow(f->drops, room * sizeof *f->drops);
        if (!drops)
            return; /* the next time */
        f->drops = drops;
        f->drop_room = room;
    }
    for (uint32_t i = 0; i < n; i++)
        f->drops[f->drop_count++] = d->drops[i].tomb;
    kept = d->drop_count - n;
    if (n && kept)
        memmove(d->drops, d->drops + n, kept * sizeof *d->drops);
    d->drop_count = kept;
}

void hf_flush_answer(hf_flush_desk *d, uint64_t low, bool left, bool busy)
{
    hf_flush *f = d->flush;
    pthread_mutex_lock(&f->lock);
    if (d->came) {
        *f->came_end = d->came;
        f->came_end = d->came_end;
        d->came = NULL;
        d->came_end = &d->came;
    }
    take_drops(f, d);
    f->low = low < f->low ? low : f->low;
    f->left |= left;
    f->busy |= busy;
    f->answers--;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

void hf_flush_hold(const hf_turn *turn)
{
    if (!turn->kind->flush->now)
        return;
    for (hf_response *r = turn->batch->replies; r != turn->replied; r = r->next) {
        r->flush = turn->kind->flush;
        r->position = turn->save_index;
    }
}

static void park(hf_flush *f, hf_response *r)
{
    r->next = NULL;
    pthread_mutex_lock(&f->lock);
    *f->waiting_end = r;
    f->waiting_end = &r->next;
    atomic_fetch_add(&f->parked, 1);
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

void hf_flush_park(hf_response *r, hf_batch *batch)
{
    r->position += hf_batch_facts(batch)->base;
    park(r->flush, r);
}

bool hf_flush_park_known(hf_engine *engine, const char *to, size_t len, hf_response *r)
{
    const hf_kind_of *kind = hf_types_find(&engine->types, to, len);
    if (!kind || !kind->flush || !kind->flush->now)
        return false;
    r->position = atomic_load(&engine->published); /* somewhere below lies the SAVE */
    r->position -= r->position > 0;
    r->known = true;
    park(kind->flush, r);
    return true;
}

/* ---- What is at hand */

static int room_at_hand(hf_flush *f, uint32_t more)
{
    uint32_t need = f->hand_count + more;
    if (need > f->hand_room) {
        void *hand = hf_mem_grow(f->hand, need * 2 * sizeof(hf_dirty *));
        if (!hand)
            return HF_ENOMEM;
        f->hand = hand;
        f->hand_room = need * 2;
    }
    if (need > f->image_room) {
        void *images = hf_mem_grow(f->images, need * 2 * sizeof(hf_image));
        if (!images)
            return HF_ENOMEM;
        f->images = images;
        f->image_room = need * 2;
    }
    return HF_OK;
}

/* By actor, an actor's newest first. */
static int compare(const void *a, const void *b)
{
    const hf_dirty *x = *(hf_dirty *const *)a, *y = *(hf_dirty *const *)b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    int order = strcmp(x->address, y->address);
    if (order)
        return order;
    return x->version == y->version ? 0 : x->version > y->version ? -1 : 1;
}

/* A drop; without room for it the tombstone stays until it is looked for again. */
static void add_drop(hf_flush *f, hf_tomb tomb)
{
    if (!tomb.number)
        return;
    pthread_mutex_lock(&f->lock);
    if (f->drop_count == f->drop_room) {
        uint32_t room = f->drop_room * 2 + 16;
        void *drops = hf_mem_grow(f->drops, room * sizeof *f->drops);
        if (drops) {
            f->drops = drops;
            f->drop_room = room;
        }
    }
    if (f->drop_count < f->drop_room)
        f->drops[f->drop_count++] = tomb;
    pthread_mutex_unlock(&f->lock);
}

static void let_go(hf_flush *f, hf_dirty *e)
{
    add_drop(f, e->tomb);
    f->hand_bytes -= e->state_len;
    hf_dirty_free(e);
    atomic_fetch_sub(&f->dirty, 1);
}

/* What came joins what is at hand: the newest of each actor. */
static int merge(hf_flush *f)
{
    uint32_t count = 0, kept = 0;
    for (const hf_dirty *e = f->came; e; e = e->next)
        count++;
    if (!count)
        return HF_OK;
    if (room_at_hand(f, count))
        return HF_ENOMEM;
    for (hf_dirty *e = f->came; e; e = e->next) {
        f->hand[f->hand_count++] = e;
        f->hand_bytes += e->state_len;
    }
    f->came = NULL;
    f->came_end = &f->came;
    qsort(f->hand, f->hand_count, sizeof(hf_dirty *), compare);
    for (uint32_t i = 0; i < f->hand_count; i++) {
        hf_dirty *e = f->hand[i], *last = kept ? f->hand[kept - 1] : NULL;
        if (last && last->hash == e->hash && strcmp(last->address, e->address) == 0)
            let_go(f, e);
        else
            f->hand[kept++] = e;
    }
    f->hand_count = kept;
    return HF_OK;
}

/* ---- A round */

static bool stopped(const hf_flush *f)
{
    return atomic_load(&f->engine->phase) == HF_STOPPED;
}

/* Ask all desks and wait for their answers. False: we are to end. */
static bool ask_desks(hf_flush *f, bool take)
{
    uint64_t settled = atomic_load(&f->engine->settled);
    bool walked = true;
    pthread_mutex_lock(&f->lock);
    f->answers = f->desk_count;
    f->low = settled;
    f->left = f->busy = false;
    pthread_mutex_unlock(&f->lock);
    for (uint32_t i = 0; i < f->desk_count; i++) {
        f->desks[i].settled = settled;
        f->desks[i].take = take;
        hf_shard_send_errand(f->desks[i].shard, &f->desks[i].errand);
    }
    pthread_mutex_lock(&f->lock);
    while (f->answers && !f->stop)
        pthread_cond_wait(&f->wake, &f->lock);
    bool go_on = !f->answers && !f->stop;
    pthread_mutex_unlock(&f->lock);
    for (uint32_t i = 0; go_on && i < f->desk_count; i++)
        walked = walked && f->desks[i].walk == 2;
    if (go_on && walked && !f->came)
        atomic_store(&f->walking, false);
    return go_on;
}

static void call_failed(hf_flush *f, int err)
{
    f->failures++;
    atomic_fetch_add(&f->failed, 1);
    uint64_t pause_ms = hf_outcome_pause(&f->kind->is, f->failures);
    f->again_ns = hf_clock_mono_ns() + pause_ms * MS;
    if (f->failures == 1)
        hf_engine_log(f->engine, HF_WARN, "type \"%s\": its flush of %u actors failed (%d%s%s), "
                      "again in %" PRIu64 " ms", f->kind->is.name, f->hand_count, err,
                      err < 0 ? ": " : "", err < 0 ? hf_strerror(err) : "", pause_ms);
}

static bool call(hf_flush *f)
{
    for (uint32_t i = 0; i < f->hand_count; i++) {
        const hf_dirty *e = f->hand[i];
        f->images[i] = (hf_image){ .actor = e->address, .version = e->version,
                                   .state = e->gone ? hf_view(NULL, 0)
                                                    : hf_view(e->state, e->state_len) };
    }
    HF_TESTPOINT("flush.begin");
    inside = true;
    int err = f->kind->is.flush(f->kind->is.user, f->images, f->hand_count);
    inside = false;
    HF_TESTPOINT("flush.done");
    if (err) {
        call_failed(f, err);
        return false;
    }
    if (f->failures)
        hf_engine_log(f->engine, HF_WARN, "type \"%s\": its flush works again, after %u failures",
                      f->kind->is.name, f->failures);
    f->failures = 0;
    f->again_ns = 0;
    return true;
}

static void row_staged(hf_batch *batch, int err)
{
    (void)err; /* then the engine stopped, and the row says less than is true */
    hf_batch_free(batch);
}

/* The store learns what is flushed; with the next commit, there is no hurry. */
static void write_row(hf_flush *f, uint64_t low)
{
    hf_batch *batch = NULL;
    int err = HF_OK;
    bool more = low > f->written && !atomic_load(&f->walking) && !atomic_load(&f->frozen);
    pthread_mutex_lock(&f->lock);
    if (more || f->drop_count)
        batch = hf_batch_new(f->engine);
    for (uint32_t i = 0; batch && !err && i < f->drop_count; i++)
        err = hf_flush_stage_drop(f->kind, batch, f->drops[i]);
    if (batch && !err)
        f->drop_count = 0;
    pthread_mutex_unlock(&f->lock);
    if (batch && !err && more)
        err = hf_flush_stage_row(f->kind, batch, low, false);
    if (!batch || err) {
        hf_batch_free(batch);
        return; /* the next time */
    }
    batch->settled = row_staged;
    batch->rides = true;
    if (hf_journal_submit(f->engine, batch))
        hf_batch_free(batch);
    else if (more)
        f->written = low;
}

/* Replies of turns whose states are flushed now. */
static void release(hf_flush *f)
{
    hf_response *go = NULL, **end = &go, *next;
    bool walking = atomic_load(&f->walking);
    pthread_mutex_lock(&f->lock);
    for (hf_response **link = &f->waiting, *r; (r = *link);) {
        if (r->position >= f->through || (r->known && walking)) {
            link = &r->next;
            continue;
        }
        *link = r->next;
        r->next = NULL;
        *end = r;
        end = &r->next;
    }
    f->waiting_end = &f->waiting;
    while (*f->waiting_end)
        f->waiting_end = &(*f->waiting_end)->next;
    pthread_mutex_unlock(&f->lock);
    for (hf_response *r = go; r; r = next) {
        next = r->next;
        hf_asks_end(f->engine, r->ask, r->err, r);
        atomic_fetch_sub(&f->parked, 1);
    }
}

/* All that came and was at hand is flushed. */
static void flushed(hf_flush *f, bool took, bool was_settled)
{
    uint32_t count = f->hand_count;
    for (uint32_t i = 0; i < count; i++) {
        add_drop(f, f->hand[i]->tomb);
        hf_dirty_free(f->hand[i]);
    }
    f->hand_count = 0;
    f->hand_bytes = 0;
    pthread_mutex_lock(&f->lock);
    uint64_t low = f->low;
    bool left = f->left, all = f->closing && was_settled && !left && !f->busy;
    pthread_mutex_unlock(&f->lock);
    f->through = low > f->through ? low : f->through;
    write_row(f, low);
    release(f);
    atomic_fetch_add(&f->flushed, count);
    atomic_fetch_sub(&f->dirty, count); /* last: who drains looks at it */
    if (left && took && !count)
        f->again_ns = hf_clock_mono_ns() + 10 * MS; /* no memory for images, or damage */
    else if (atomic_load(&f->walking))
        f->again_ns = hf_clock_mono_ns() + BREATH_NS;
    if (!all || atomic_load(&f->dirty) || atomic_load(&f->walking) || atomic_load(&f->parked))
        return;
    pthread_mutex_lock(&f->lock);
    f->finished = true;
    pthread_cond_broadcast(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

static void one_round(hf_flush *f, bool take)
{
    bool was_settled = !atomic_load(&f->engine->journal.inflight);
    bool room = f->hand_count < HF_FLUSH_IMAGES && f->hand_bytes < HF_FLUSH_BYTES;
    bool ask = room && !f->came;
    if (ask && !ask_desks(f, take))
        return;
    int err = merge(f);
    if (err) { /* it has come, and is merged when there is memory */
        f->again_ns = hf_clock_mono_ns() + 10 * MS;
        return;
    }
    if (stopped(f))
        return;
    if (!f->hand_count || call(f))
        flushed(f, take, was_settled && ask);
}

/* ---- When */

/* Until the next round, ns; UINT64_MAX: nothing is to be done. take: of what was changed,
 * too, not only of what an earlier run left. Under the lock. */
static uint64_t until_round(const hf_flush *f, bool *take)
{
    uint64_t now = hf_clock_mono_ns(), due = UINT64_MAX;
    uint64_t period = f->now ? 0 : (uint64_t)f->kind->is.flush_ms * MS;
    uint64_t lead = period / 8 < LEAD_NS ? period / 8 : LEAD_NS;
    if (stopped(f) || f->finished)
        return UINT64_MAX;
    bool at_once = f->hand_count || f->came || atomic_load(&f->parked) || f->closing
        || (f->hurry && atomic_load(&f->dirty));
    for (uint32_t i = 0; !at_once && i < f->desk_count; i++) {
        uint64_t since = atomic_load(&f->desks[i].since_ns);
        if (since && since + period - lead < due)
            due = since + period - lead;
    }
    *take = at_once || due <= now;
    due = at_once || atomic_load(&f->walking) ? now : due;
    if (due < f->again_ns)
        due = f->again_ns;
    return due == UINT64_MAX ? due : due > now ? due - now : 0;
}

static void *flush_main(void *user)
{
    hf_flush *f = user;
    pthread_mutex_lock(&f->lock);
    while (!f->stop) {
        bool take;
        uint64_t wait = until_round(f, &take);
        if (wait == UINT64_MAX) {
            f->hurry = false;
            pthread_cond_wait(&f->wake, &f->lock);
            continue;
        }
        if (wait) {
            struct timespec at = hf_clock_after(wait);
            pthread_cond_timedwait(&f->wake, &f->lock, &at);
            continue;
        }
        bool closing = f->closing;
        f->runs = true;
        pthread_mutex_unlock(&f->lock);
        one_round(f, take);
        if (closing && !f->again_ns)
            f->again_ns = hf_clock_mono_ns() + CLOSE_NS;
        pthread_mutex_lock(&f->lock);
        f->runs = false;
        if (f->again_ns < hf_clock_mono_ns())
            f->again_ns = 0;
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int hf_flushes_start(hf_engine *engine)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < engine->types.count; i++) {
        hf_flush *f = engine->types.kinds[i].flush;
        if (!f)
            continue;
        err = hf_thread_start(&f->thread, "hf-flush", flush_main, f);
        f->started = !err;
    }
    return err;
}

/* ---- Draining and closing */

bool hf_flushes_rest(hf_engine *engine)
{
    bool rest = true;
    for (uint32_t i = 0; engine->flushes && i < engine->types.count; i++) {
        hf_flush *f = engine->types.kinds[i].flush;
        if (!f || (!atomic_load(&f->dirty) && !atomic_load(&f->walking)
                   && !atomic_load(&f->parked)))
            continue;
        rest = false;
        pthread_mutex_lock(&f->lock);
        if (!f->hurry)
            pthread_cond_broadcast(&f->wake);
        f->hurry = true;
        pthread_mutex_unlock(&f->lock);
    }
    return rest;
}

uint64_t hf_flushes_next(hf_engine *engine)
{
    uint64_t next = UINT64_MAX, now = hf_clock_mono_ns();
    for (uint32_t i = 0; engine->flushes && i < engine->types.count; i++) {
        hf_flush *f = engine->types.kinds[i].flush;
        bool take;
        if (!f)
            continue;
        pthread_mutex_lock(&f->lock);
        if (!f->runs && !f->failures)
            f->again_ns = 0;
        uint64_t wait = f->runs ? 0 : until_round(f, &take);
        if (!wait)
            pthread_cond_broadcast(&f->wake);
        pthread_mutex_unlock(&f->lock);
        if (wait != UINT64_MAX && now + wait < next)
            next = now + wait;
    }
    return next;
}

static bool has_finished(hf_flush *f)
{
    pthread_mutex_lock(&f->lock);
    bool finished = f->finished;
    if (!f->closing) {
        f->closing = true;
        f->again_ns = 0; /* whatever failed before is tried once more at once */
        pthread_cond_broadcast(&f->wake);
    }
    pthread_mutex_unlock(&f->lock);
    return finished;
}

/* While the store is full turns may stay uncommitted for ever: then nothing moves. */
static bool moves(hf_engine *engine, uint64_t *was, uint64_t *since_ns)
{
    uint64_t dirty, flushed_count, failed, now = hf_clock_mono_ns();
    hf_flushes_count(engine, &dirty, &flushed_count, &failed);
    uint64_t is = flushed_count + atomic_load(&engine->settled);
    if (!*since_ns || is != *was || !atomic_load(&engine->tight))
        *since_ns = now;
    *was = is;
    return now - *since_ns < FULL_NS;
}

void hf_flushes_close(hf_engine *engine, uint64_t until_ns)
{
    uint64_t left = 0, was = 0, since_ns = 0;
    for (;;) {
        bool all = true;
        for (uint32_t i = 0; i < engine->types.count; i++)
            if (engine->types.kinds[i].flush)
                all = has_finished(engine->types.kinds[i].flush) && all;
        if (all || atomic_load(&engine->phase) != HF_CLOSING)
            return;
        if (hf_clock_mono_ns() >= until_ns || !moves(engine, &was, &since_ns))
            break;
        struct timespec pause = { 0, CLOSE_NS };
        hf_journal_kick(engine);
        (void)nanosleep(&pause, NULL);
    }
    hf_flushes_count(engine, &left, &(uint64_t){ 0 }, &(uint64_t){ 0 });
    hf_engine_log(engine, HF_WARN, "closing: %" PRIu64 " actors are not flushed, or not known to "
                  "be; they are after the next open", left);
}

void hf_flushes_count(const hf_engine *engine, uint64_t *dirty, uint64_t *flushed_count,
                      uint64_t *failed)
{
    *dirty = *flushed_count = *failed = 0;
    for (uint32_t i = 0; engine->flushes && i < engine->types.count; i++) {
        const hf_flush *f = engine->types.kinds[i].flush;
        *dirty += f ? atomic_load(&f->dirty) : 0;
        *flushed_count += f ? atomic_load(&f->flushed) : 0;
        *failed += f ? atomic_load(&f->failed) : 0;
    }
}
