/* journal.c - the one way in, and the only thread that writes.
 *
 * Happy path of a round: take all batches that wait, write them as one transaction, and
 * then, strictly in this order, wake the callers that wait, let the shards see the new
 * messages, hand the turns' batches back. While one sync runs the next group gathers. A batch
 * that *rides* (a bare acknowledgement or save) starts no round of its own for 10 ms.
 *
 * Fails: no room - callers get HF_EFULL, turns are kept and tried again as the fold frees
 * pages; no memory - the same with HF_ENOMEM; anything else - the engine stops (HF_EUNKNOWN to
 * whoever waits). It never waits for anyone: what it hands over lands in queues without end. */
#include "engine/engine.h"

#include "engine/ask.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    TIGHT_NS      = 20 * 1000 * 1000, /* short of room: how often to look again */
    WORDS_NS      = 2000 * 1000 * 1000, /* an operator's word waits for room for so long */
    REST_NS       = 1000 * 1000 * 1000, /* idle for so long: memory goes back */
    FEW_BYTES     = 16 << 10,       /* in one commit while space is short */
    STUCK_NS      = 10 * 1000 * 1000,
    IDLE_SLICE    = 512 << 10,      /* while nobody waits for the fold */
};

int hf_journal_init(hf_journal *j)
{
    pthread_condattr_t attr;
    memset(j, 0, sizeof *j);
    j->outside_end = &j->outside;
    j->turns_end = &j->turns;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    int err = pthread_mutex_init(&j->lock, NULL);
    err = err ? err : pthread_cond_init(&j->wake, &attr);
    err = err ? err : pthread_cond_init(&j->moved, &attr);
    pthread_condattr_destroy(&attr);
    return err ? hf_error(HF_ENOMEM, "the journal") : HF_OK;
}

void hf_journal_done(hf_journal *j)
{
    hf_group_free(&j->group);
    pthread_cond_destroy(&j->moved);
    pthread_cond_destroy(&j->wake);
    pthread_mutex_destroy(&j->lock);
}

/* ---- A round */

typedef struct round {
    hf_engine *engine;
    hf_batch  *outside, *turns;
    uint64_t   outside_bytes, started;
    uint64_t   released;  /* by the shards, before the turns were taken */
    bool       pressed;   /* outsiders wait for the fold */
} round;

/* Tell who asks whether to wait: senders at the door, turns that send. */
static bool has_room(hf_engine *engine)
{
    bool room = hf_log_room(engine->log);
    atomic_store_explicit(&engine->parcel, hf_log_parcel(engine->log), memory_order_relaxed);
    atomic_store_explicit(&engine->tight, !room, memory_order_relaxed);
    return room;
}

/* Take what waits: all turns, and outsiders up to a limit. Under the lock. */
static void take(hf_engine *engine, round *r)
{
    hf_journal *j = &engine->journal;
    hf_batch **end = &r->outside;
    /* What shards released later they may still name in what they submitted. */
    r->released = hf_shards_released(engine);
    r->turns = j->turns;
    j->turns = NULL;
    j->turns_end = &j->turns;
    uint64_t allowed = j->outside ? hf_pace_allowance(engine, r->turns) : 0;
    if (allowed) {
        while (j->outside && (r->outside_bytes < allowed || !r->outside)) {
            hf_batch *b = j->outside;
            j->outside = b->next;
            r->outside_bytes += hf_batch_bytes(b);
            hf_batch_enlist(&end, b);
        }
    }
    if (!j->outside)
        j->outside_end = &j->outside;
    j->gathering++;
    j->urgent = j->outside != NULL;
    j->ride_until = 0;
    j->busy = true;
}

static void settle_outside(round *r, int err)
{
    hf_journal *j = &r->engine->journal;
    if (!r->outside)
        return;
    uint32_t count = hf_journal_settle(r->engine, r->outside, err);
    r->outside = NULL;
    pthread_mutex_lock(&j->lock);
    j->settled += count;
    j->outside_bytes -= r->outside_bytes;
    pthread_cond_broadcast(&j->moved);
    pthread_mutex_unlock(&j->lock);
    r->outside_bytes = 0;
}

static int add_batch(hf_group *g, hf_batch *b)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i <= b->shards; i++)
        if (b->segments[i].count)
            err = hf_group_add(g, &b->segments[i]);
    for (uint32_t i = 0; !err && i < b->done_count; i++)
        err = hf_group_done(g, b->done[i].first, b->done[i].count);
    for (uint32_t i = 0; !err && i < b->named_count; i++)
        err = hf_group_named(g, b->named[i]);
    return err;
}

static int write_round(round *r)
{
    hf_engine *engine = r->engine;
    hf_group *g = &engine->journal.group;
    int err = HF_OK;
    hf_group_clear(g);
    for (hf_batch *b = r->turns; b && !err; b = b->next)
        err = add_batch(g, b);
    for (hf_batch *b = r->outside; b && !err; b = b->next)
        err = add_batch(g, b);
    g->leaves = r->turns != NULL;
    g->calm = !r->outside && !r->pressed && hf_pace_calm(engine);
    hf_shards_tell_log(engine);
    hf_pace_hurry(engine, g->bytes);
    HF_TESTPOINT("journal.gathered");
    return err ? err : hf_engine_append(engine, g);
}

static void count_list(hf_engine *engine, hf_batch *b, uint64_t end)
{
    hf_counters *c = &engine->count;
    uint64_t accepted = 0, turns = 0, dead = 0, bytes = 0;
    for (; b; b = b->next) {
        accepted += b->sends;
        turns += b->turns;
        dead += b->dead;
        bytes += hf_batch_bytes(b);
        b->end = end;
    }
    atomic_fetch_add_explicit(&c->dead, dead, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->accepted, accepted, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->committed, turns, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->bytes, bytes, memory_order_relaxed);
}

static void committed(round *r)
{
    hf_engine *engine = r->engine;
    hf_journal *j = &engine->journal;
    hf_log_stats stats;
    HF_TESTPOINT("journal.committed");
    atomic_fetch_add_explicit(&engine->count.commits, 1, memory_order_relaxed);
    hf_histogram_add(&engine->journal.latency, (hf_clock_mono_ns() - r->started) / 1000);
    hf_log_stat(engine->log, &stats);
    j->worked_ns = hf_clock_mono_ns();
    if (r->outside)
        hf_pace_took(j, j->worked_ns - r->started);
    count_list(engine, r->outside, stats.next);
    count_list(engine, r->turns, stats.next);
    atomic_store_explicit(&engine->count.waiting, stats.waiting, memory_order_relaxed);
    /* Before anyone is told: who then drains must not find the shards idle still. */
    atomic_store(&engine->published, stats.next);
    atomic_store_explicit(&engine->urgent, stats.urgent, memory_order_relaxed);
    hf_shards_stir(engine); /* who is answered may ask at once whether all is done */
    settle_outside(r, HF_OK);
    hf_journal_settle(engine, r->turns, HF_OK);
    atomic_store(&engine->settled, stats.next);
    r->turns = NULL;
    hf_shards_wake(engine);
}

/* A turn that waits for its step cannot end, nor the engine close, until it is told. */
static void let_go(round *r, int err)
{
    hf_batch *keep = NULL, **end = &keep, *waits = NULL, **waits_end = &waits;
    for (hf_batch *b = r->turns, *next; b; b = next) {
        next = b->next;
        if (b->waited)
            hf_batch_enlist(&waits_end, b);
        else
            hf_batch_enlist(&end, b);
    }
    r->turns = keep;
    hf_journal_settle(r->engine, waits, err);
}

/* Operators' words may find room in a moment: a reader passes, the fold gets on. Not for ever. */
static void keep_words(round *r)
{
    hf_journal *j = &r->engine->journal;
    uint64_t now = hf_clock_mono_ns();
    if (!j->words_until)
        j->words_until = now + WORDS_NS;
    if (!r->outside || now > j->words_until || atomic_load(&r->engine->phase) == HF_CLOSING)
        return;
    j->words = r->outside;
    r->outside = NULL;
    r->outside_bytes = 0;
}

/* No room, or no memory: who is left of the outsiders is told, turns are kept for later. */
static void refused(round *r, int err)
{
    hf_engine *engine = r->engine;
    bool alone = r->outside == NULL;
    settle_outside(r, err);
    if (err == HF_ENOMEM && !alone && r->turns) {
        err = write_round(r);
        if (!err) {
            committed(r);
            return;
        }
    }
    if (err != HF_EFULL && err != HF_ENOMEM)
        return;
    if (atomic_load(&engine->phase) == HF_CLOSING)
        let_go(r, err);
    if (!engine->journal.starved && r->turns)
        hf_engine_log(engine, HF_ERROR, "%s: turns wait for room (%s)",
                      hf_disk_path(engine->disk), hf_strerror(err));
    engine->journal.starved = r->turns != NULL;
    engine->journal.stuck = r->turns;
    r->turns = NULL;
}

static void fail_round(round *r, int err)
{
    hf_engine_stop(r->engine, err, hf_error_detail());
    settle_outside(r, HF_EUNKNOWN);
    hf_journal_settle(r->engine, r->turns, HF_EUNKNOWN);
    r->turns = NULL;
}

/* Outsiders' sends wait for better times while the store has no sure room. */
static void refuse_sends(round *r)
{
    if (!r->outside)
        return;
    hf_batch *keep = NULL, **end = &keep, *refuse = NULL, **refuse_end = &refuse;
    uint64_t kept = 0, refused_bytes = 0;
    for (hf_batch *b = r->outside, *next; b; b = next) {
        next = b->next;
        if (b->sends) {
            refused_bytes += hf_batch_bytes(b);
            hf_batch_enlist(&refuse_end, b);
        } else {
            kept += hf_batch_bytes(b);
            hf_batch_enlist(&end, b);
        }
    }
    r->outside = refuse;
    r->outside_bytes = refused_bytes;
    hf_error(HF_EFULL, "%s has no room that is surely ours", hf_disk_path(r->engine->disk));
    settle_outside(r, HF_EFULL);
    r->outside = keep;
    r->outside_bytes = kept;
}

static int write_one(hf_engine *engine, hf_batch *batch)
{
    round one = { .engine = engine, .started = hf_clock_mono_ns() };
    batch->next = NULL;
    *(batch->outside ? &one.outside : &one.turns) = batch;
    one.outside_bytes = batch->outside ? hf_batch_bytes(batch) : 0;
    int err = write_round(&one);
    if (!err)
        committed(&one);
    return err;
}

/* An owner's batches stay in order, and those with a dedupe: must it wait for these? */
static bool must_follow(const hf_batch *kept, const hf_batch *batch)
{
    while (kept && kept->owner != batch->owner && !(kept->note_count && batch->note_count))
        kept = kept->next;
    return kept != NULL;
}

/* One batch a commit: while space is short no more may fit. The rest stays in the list. */
static int write_each(hf_engine *engine, hf_batch **list)
{
    hf_batch *kept = NULL, **end = &kept;
    int result = HF_OK;
    for (hf_batch *b = *list, *next; b; b = next) {
        next = b->next;
        bool may = (!result || result == HF_EFULL) && !must_follow(kept, b);
        int err = may ? write_one(engine, b) : HF_OK;
        if (!may || err)
            hf_batch_enlist(&end, b);
        result = err ? err : result;
    }
    *list = kept;
    return result;
}

/* Some batches a commit, as long as they fit; then one by one. */
static int write_few(hf_engine *engine, hf_batch **list)
{
    uint64_t most = FEW_BYTES;
    while (*list) {
        round some = { .engine = engine, .started = hf_clock_mono_ns(), .turns = *list };
        hf_batch **end = list;
        for (uint64_t bytes = 0; *end && (end == list || bytes < most); end = &(*end)->next)
            bytes += hf_batch_bytes(*end);
        hf_batch *rest = *end;
        *end = NULL;
        int err = write_round(&some);
        if (err) {
            *end = rest;
            return err == HF_EFULL ? write_each(engine, list) : err;
        }
        committed(&some);
        *list = rest;
    }
    return HF_OK;
}

/* While space is short: no sends from outside; then what frees room or is an operator's
 * word. That neither waits for turns that find no room nor is it given up before they
 * were tried, which may free some. */
static int write_short(round *r)
{
    hf_engine *engine = r->engine;
    refuse_sends(r);
    int err = write_each(engine, &r->outside);
    if (!err || err == HF_EFULL)
        err = write_few(engine, &r->turns);
    if (r->outside && (!err || err == HF_EFULL)) {
        int again = write_each(engine, &r->outside);
        err = again ? again : err;
    }
    r->outside_bytes = hf_batches_bytes(r->outside);
    keep_words(r);
    return err;
}

/* Calls that use an id again for something else; see dedupe.c. */
static int refuse_conflicts(round *r)
{
    hf_batch *list, *next;
    int err = hf_dedupe_gather(r->engine, r->turns, &r->outside, &list);
    for (; list; list = next) {
        round one = { .engine = r->engine, .outside = list, .outside_bytes = hf_batch_bytes(list) };
        next = list->next;
        list->next = NULL;
        r->outside_bytes -= one.outside_bytes;
        settle_outside(&one, list->refusal);
    }
    if (err) { /* what turns say can't be judged: nothing is written */
        settle_outside(r, err);
        r->engine->journal.stuck = r->turns;
        r->turns = NULL;
    }
    return err;
}

static void write_or_refuse(round *r)
{
    hf_engine *engine = r->engine;
    int err = has_room(engine) ? HF_OK : HF_EFULL;
    if (err)
        refuse_sends(r);
    if (refuse_conflicts(r) || (!r->outside && !r->turns))
        return;
    r->started = hf_clock_mono_ns();
    if (!err) {
        err = write_round(r);
        if (!err)
            committed(r);
    }
    if (err == HF_EFULL)
        err = write_short(r);
    if (err == HF_EFULL || err == HF_ENOMEM)
        refused(r, err);
    if (err && hf_log_state(engine->log))
        fail_round(r, err);
}

/* Put back what found no room before, in front of what came since. */
static void put_back(hf_batch **list, hf_batch **kept)
{
    hf_batch **end = kept;
    while (*end)
        end = &(*end)->next;
    *end = *list;
    *list = *kept;
    *kept = NULL;
}

static bool are_stuck(const hf_journal *j)
{
    return j->stuck || j->words;
}

static void release(hf_engine *engine, const round *r)
{
    if (!engine->journal.stuck)
        hf_log_release(engine->log, r->released);
}

static void go_on_folding(hf_engine *engine, const round *r)
{
    if (!r->pressed)
        hf_pace_hurry(engine, 0);
    int err = hf_log_fold(engine->log, r->pressed ? UINT64_MAX : IDLE_SLICE);
    engine->journal.poor = err == HF_ENOMEM;
    if (err && hf_log_state(engine->log))
        hf_engine_stop(engine, err, hf_error_detail());
    else if (err == HF_EFULL || atomic_load_explicit(&engine->tight, memory_order_relaxed))
        (void)has_room(engine); /* else nobody might ask again, while all wait for it */
    release(engine, r);
}

static uint32_t one_round(hf_engine *engine, round *r)
{
    hf_journal *j = &engine->journal;
    put_back(&r->turns, &j->stuck);
    if (!j->words)
        j->words_until = 0;
    r->outside_bytes += hf_batches_bytes(j->words);
    put_back(&r->outside, &j->words);
    uint32_t count = hf_batches_count(r->outside) + hf_batches_count(r->turns);
    if (hf_log_state(engine->log)) {
        settle_outside(r, HF_EUNKNOWN);
        hf_journal_settle(r->engine, r->turns, HF_EUNKNOWN);
    } else if (count) {
        write_or_refuse(r);
        release(engine, r);
    }
    pthread_mutex_lock(&j->lock);
    j->busy = false;
    pthread_mutex_unlock(&j->lock);
    return count;
}

uint32_t hf_journal_step(hf_engine *engine)
{
    round r = { .engine = engine };
    pthread_mutex_lock(&engine->journal.lock);
    take(engine, &r);
    pthread_mutex_unlock(&engine->journal.lock);
    uint32_t count = one_round(engine, &r);
    if (!count && !hf_log_state(engine->log))
        go_on_folding(engine, &r);
    return count;
}

/* Is there anything to write now? What rides waits only for a journal that has nothing
 * else to do: not while others wait for the shards, or the fold for a commit. */
static bool has_reason(hf_engine *engine, bool folding)
{
    hf_journal *j = &engine->journal;
    if (j->stop || (j->turns && (j->outside || folding)))
        return true;
    if (j->urgent && (j->turns || hf_pace_bytes(engine)))
        return true;
    return j->ride_until && hf_clock_mono_ns() >= j->ride_until;
}

/* Sleep until there is a reason for a round. Under the lock. */
static bool wait_for_work(hf_engine *engine, bool folding, bool crowded, bool collecting)
{
    hf_journal *j = &engine->journal;
    uint64_t now = hf_clock_mono_ns(), until = 0;
    if (has_reason(engine, folding) && !are_stuck(j))
        return true;
    if (folding && !collecting && (j->outside || crowded) && !are_stuck(j))
        return false; /* they wait for nothing else */
    if (are_stuck(j) || j->outside)
        until = now + STUCK_NS / 10;
    else if (folding)
        until = now + 200000;
    if (j->ride_until && (!until || j->ride_until < until))
        until = j->ride_until;
    j->asleep = true;
    if (!until && atomic_load_explicit(&engine->tight, memory_order_relaxed))
        until = now + TIGHT_NS;
    if (!until && !j->rested)
        until = now + REST_NS;
    if (until) {
        struct timespec at = hf_clock_after(until - now);
        pthread_cond_timedwait(&j->wake, &j->lock, &at);
    } else {
        pthread_cond_wait(&j->wake, &j->lock);
    }
    j->asleep = false;
    return are_stuck(j) || has_reason(engine, folding);
}

/* LMDB allocates and frees the pages of each transaction. glibc would give the larger ones back
 * to the kernel every time, but keeps blocks up to the size of one that was freed once. */
static void keep_large_blocks(void)
{
    void *volatile block = malloc(16 << 20);
    free(block);
}

/* Held turns hand in nothing, so nobody else would notice that there is room again. */
static void look_for_room(hf_engine *engine, const round *r)
{
    go_on_folding(engine, r);
    if (!hf_log_state(engine->log))
        (void)has_room(engine);
}

/* Idle for a while: what is kept for reuse goes back to the system. */
static void rest(hf_engine *engine)
{
    hf_journal *j = &engine->journal;
    if (j->rested || hf_clock_mono_ns() - j->worked_ns < REST_NS)
        return;
    hf_pace_hurry(engine, 0);
    hf_log_rest(engine->log);
    malloc_trim(0);
    j->rested = true;
}

static void *journal_main(void *user)
{
    hf_engine *engine = user;
    hf_journal *j = &engine->journal;
    keep_large_blocks();
    j->haste.levels = engine->options.priority;
    for (;;) {
        hf_log_stats stats;
        hf_shards_tell_log(engine);
        hf_log_stat(engine->log, &stats);
        bool crowded = hf_pace_crowded(engine);
        bool folding = (stats.folding || stats.weight >= stats.start)
            && !hf_log_state(engine->log);
        pthread_mutex_lock(&j->lock);
        bool work = wait_for_work(engine, folding, crowded, stats.collecting);
        bool stop = j->stop && !j->outside && !j->turns;
        uint32_t knocks = atomic_load_explicit(&j->knocks, memory_order_relaxed);
        round r = { .engine = engine };
        if (work && !stop)
            take(engine, &r);
        else if (!j->turns)
            r.released = hf_shards_released(engine);
        r.pressed = j->outside != NULL || crowded;
        pthread_mutex_unlock(&j->lock);
        if (stop)
            break;
        uint32_t count = work ? one_round(engine, &r) : 0;
        if (!hf_log_state(engine->log) && ((folding && !count) || are_stuck(j)))
            go_on_folding(engine, &r);
        else if (!count && atomic_load_explicit(&engine->tight, memory_order_relaxed))
            look_for_room(engine, &r);
        else if (!count)
            rest(engine);
        j->rested = j->rested && !count;
        if (count)
            hf_pace_linger(j, knocks);
    }
    hf_journal_settle(engine, j->stuck, HF_ECLOSED);
    hf_journal_settle(engine, j->words, HF_ECLOSED);
    j->stuck = j->words = NULL;
    return NULL;
}

int hf_journal_start(hf_engine *engine)
{
    (void)has_room(engine); /* before any turn asks */
    int err = hf_thread_start(&engine->journal.thread, "hf-journal", journal_main, engine);
    engine->journal.started = !err;
    return err;
}

void hf_journal_stop(hf_engine *engine)
{
    hf_journal *j = &engine->journal;
    if (!j->started)
        return;
    pthread_mutex_lock(&j->lock);
    j->stop = true;
    j->urgent = true;
    pthread_cond_signal(&j->wake);
    pthread_mutex_unlock(&j->lock);
    pthread_join(j->thread, NULL);
    j->started = false;
}
