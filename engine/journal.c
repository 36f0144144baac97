/* journal.c - the one way in, and the only thread that writes.
 *
 * Happy path of a round: take all batches that wait, write them as one
 * transaction, and then, strictly in this order, wake the callers that wait,
 * let the shards see the new messages, hand the turns' batches back. While one
 * sync runs the next group gathers. A batch that *rides* (a bare
 * acknowledgement or save) starts no round of its own for 10 ms.
 *
 * Fails: no room - callers get HF_EFULL, turns are kept and tried again as the
 * fold frees pages; no memory - the same with HF_ENOMEM; anything else - the
 * engine stops (HF_EUNKNOWN to whoever waits). The journal never waits for
 * anyone: what it hands over lands in queues that cannot be full. */
#include "engine/engine.h"

#include "engine/thread.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    LINGER_NS     = 60 * 1000,
    PACE_NS       = 20 * 1000 * 1000,
    TIGHT_NS      = 20 * 1000 * 1000, /* short of room: how often to look again */
    REST_NS       = 1000 * 1000 * 1000, /* idle for so long: memory goes back */
    GROUP_MAX     = 4 << 20,        /* bytes in one commit: outsiders get what turns leave, */
    GROUP_MIN     = 512 << 10,      /* but this much */
    STUCK_NS      = 10 * 1000 * 1000,
    IDLE_SLICE    = 512 << 10,      /* while nobody waits for the fold */
};

#if defined(__x86_64__) || defined(__i386__)
#define HF_RELAX() __builtin_ia32_pause()
#else
#define HF_RELAX() ((void)0)
#endif

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

/* How many bytes of outsiders may come in now. While shards lag they come slower and
 * fewer: what isn't worked on before the window is folded costs many times as much.
 * With twice the budget in the window nobody comes in. */
static uint64_t pace(hf_engine *engine)
{
    hf_journal *j = &engine->journal;
    uint64_t window = engine->options.window, lag = hf_shards_lag(engine);
    uint64_t since = hf_clock_mono_ns() - j->paced_ns;
    hf_log_stats stats;
    hf_log_stat(engine->log, &stats);
    if (atomic_load_explicit(&engine->tight, memory_order_relaxed) || j->poor
        || atomic_load(&engine->phase) != HF_LIVE)
        return GROUP_MAX; /* to be refused at once, not to wait for room */
    if (stats.bytes > stats.limit)
        return 0;
    if (lag < window / 8)
        return stats.folding ? GROUP_MAX / 4 : GROUP_MAX;
    if (lag < window / 4)
        return since > PACE_NS / 4 ? GROUP_MAX / 2 : 0;
    return since > PACE_NS ? GROUP_MAX / 2 : 0;
}

static uint64_t bytes_of(const hf_batch *list)
{
    uint64_t bytes = 0;
    for (; list; list = list->next)
        bytes += hf_batch_bytes(list);
    return bytes;
}

/* The same, beside what the turns of this round bring. */
static uint64_t allowance(hf_engine *engine, const hf_batch *turns)
{
    uint64_t allowed = pace(engine), taken = allowed ? bytes_of(turns) : 0;
    uint64_t rest = taken + GROUP_MIN < GROUP_MAX ? GROUP_MAX - taken : GROUP_MIN;
    return allowed < rest ? allowed : rest;
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
    uint64_t allowed = j->outside ? allowance(engine, r->turns) : 0;
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

static void settle(hf_batch *batch, int err)
{
    atomic_uint *inflight = &batch->engine->journal.inflight;
    batch->settled(batch, err);
    atomic_fetch_sub_explicit(inflight, 1, memory_order_release);
}

/* Wake all that sleep at the gates of these batches' groups, at once. */
static void open_gates(hf_journal *j, const bool waited[2])
{
    for (int i = 0; i < 2; i++) {
        if (!waited[i])
            continue;
        atomic_fetch_add_explicit(&j->gate[i], 1, memory_order_release);
        hf_futex_wake(&j->gate[i], INT32_MAX);
    }
}

static uint32_t settle_list(hf_engine *engine, hf_batch *list, int err)
{
    bool waited[2] = { false, false };
    uint32_t count = 0;
    while (list) {
        hf_batch *next = list->next;
        if (list->waited)
            waited[list->gate] = true;
        settle(list, err);
        list = next;
        count++;
    }
    open_gates(&engine->journal, waited);
    return count;
}

static void settle_outside(round *r, int err)
{
    hf_journal *j = &r->engine->journal;
    if (!r->outside)
        return;
    uint32_t count = settle_list(r->engine, r->outside, err);
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
    hf_log_hold(engine->log, hf_shards_pulled(engine));
    HF_TESTPOINT("journal.gathered");
    return err ? err : hf_log_append(engine->log, g);
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
    atomic_fetch_add_explicit(&c->waiting, accepted - turns - dead, memory_order_relaxed);
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
        j->paced_ns = j->worked_ns;
    count_list(engine, r->outside, stats.next);
    count_list(engine, r->turns, stats.next);
    /* Before anyone is told: who then drains must not find the shards idle still. */
    atomic_store(&engine->published, stats.next);
    hf_shards_stir(engine); /* who is answered may ask at once whether all is done */
    settle_outside(r, HF_OK);
    settle_list(engine, r->turns, HF_OK);
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
    settle_list(r->engine, waits, err);
}

/* No room, or no memory: outsiders are told, turns are kept for later. */
static void refused(round *r, int err)
{
    hf_engine *engine = r->engine;
    bool alone = r->outside == NULL;
    settle_outside(r, err);
    if (!alone && r->turns) {
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
    settle_list(r->engine, r->turns, HF_EUNKNOWN);
    r->turns = NULL;
}

/* Outsiders' sends wait for better times while the store has no sure room. */
static void refuse_sends(round *r)
{
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

/* One turn's batch a commit: while space is short no more may fit. */
static int write_singly(round *r)
{
    int err = HF_OK;
    while (!err && r->turns) {
        round one = { .engine = r->engine, .turns = r->turns, .started = hf_clock_mono_ns() };
        hf_batch *rest = r->turns->next;
        one.turns->next = NULL;
        err = write_round(&one);
        if (err)
            one.turns->next = rest;
        else
            committed(&one);
        r->turns = err ? one.turns : rest;
    }
    return err;
}

static void write_or_refuse(round *r)
{
    hf_engine *engine = r->engine;
    bool room = hf_log_room(engine->log);
    atomic_store_explicit(&engine->tight, !room, memory_order_relaxed);
    if (!room && r->outside)
        refuse_sends(r);
    if (!r->outside && !r->turns)
        return;
    int err = room ? HF_OK : write_singly(r);
    r->started = hf_clock_mono_ns();
    if (!err && (r->outside || r->turns)) {
        err = write_round(r);
        if (!err)
            committed(r);
    }
    if (err == HF_EFULL || err == HF_ENOMEM)
        refused(r, err);
    if (err && hf_log_state(engine->log))
        fail_round(r, err);
}

/* Put back what found no room before, in front of what came since. */
static void unstick(hf_journal *j, round *r)
{
    hf_batch *stuck = j->stuck;
    if (!stuck)
        return;
    hf_batch *last = stuck;
    while (last->next)
        last = last->next;
    last->next = r->turns;
    r->turns = stuck;
    j->stuck = NULL;
}

static void release(hf_engine *engine, const round *r)
{
    if (!engine->journal.stuck)
        hf_log_release(engine->log, r->released);
}

/* Turns bring more than is folded: shards take nothing for a while, or the window
 * would grow beyond all bounds. They stop much later than outsiders, since what they end
 * needs no row, and never while space is short: then it is what helps. */
static bool mind_the_window(hf_engine *engine)
{
    hf_log_stats stats;
    hf_log_stat(engine->log, &stats);
    bool over = stats.bytes > stats.limit + engine->options.window * 4 && !stats.tight
        && !hf_log_state(engine->log);
    bool was = atomic_load_explicit(&engine->crowded, memory_order_relaxed);
    if (over != was)
        atomic_store(&engine->crowded, over);
    if (was && !over)
        hf_shards_wake(engine);
    return over;
}

static void go_on_folding(hf_engine *engine, const round *r)
{
    int err = hf_log_fold(engine->log, r->pressed ? UINT64_MAX : IDLE_SLICE);
    engine->journal.poor = err == HF_ENOMEM;
    if (err && hf_log_state(engine->log))
        hf_engine_stop(engine, err, hf_error_detail());
    release(engine, r);
}

static uint32_t count_batches(const hf_batch *b)
{
    uint32_t n = 0;
    for (; b; b = b->next)
        n++;
    return n;
}

static uint32_t one_round(hf_engine *engine, round *r)
{
    hf_journal *j = &engine->journal;
    unstick(j, r);
    uint32_t count = count_batches(r->outside) + count_batches(r->turns);
    if (hf_log_state(engine->log)) {
        settle_outside(r, HF_EUNKNOWN);
        settle_list(r->engine, r->turns, HF_EUNKNOWN);
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
    if (j->urgent && (j->turns || pace(engine)))
        return true;
    return j->ride_until && hf_clock_mono_ns() >= j->ride_until;
}

/* Sleep until there is a reason for a round. Under the lock. */
static bool wait_for_work(hf_engine *engine, bool folding, bool crowded, bool collecting)
{
    hf_journal *j = &engine->journal;
    uint64_t now = hf_clock_mono_ns(), until = 0;
    if (has_reason(engine, folding) && !j->stuck)
        return true;
    if (folding && !collecting && (j->outside || crowded) && !j->stuck)
        return false; /* they wait for nothing else */
    if (j->stuck || j->outside)
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
    return j->stuck || has_reason(engine, folding);
}

/* LMDB allocates and frees the pages of each transaction. glibc would give the
 * larger ones back to the kernel every time; having freed one large block it
 * keeps blocks up to that size, and we don't touch fresh pages in each commit. */
static void keep_large_blocks(void)
{
    void *volatile block = malloc(16 << 20);
    free(block);
}

/* Held turns hand in nothing, so nobody else would notice that there is room again. */
static void look_for_room(hf_engine *engine, const round *r)
{
    go_on_folding(engine, r);
    bool room = !hf_log_state(engine->log) && hf_log_room(engine->log);
    atomic_store_explicit(&engine->tight, !room, memory_order_relaxed);
}

/* Idle for a while: what is kept for reuse goes back to the system. */
static void rest(hf_engine *engine)
{
    hf_journal *j = &engine->journal;
    if (j->rested || hf_clock_mono_ns() - j->worked_ns < REST_NS)
        return;
    hf_log_rest(engine->log);
    malloc_trim(0);
    j->rested = true;
}

/* Whoever was just answered often has more to say at once: be awake for it a moment,
 * since waking takes longer than that. */
static void linger(const hf_journal *j, uint32_t knocks)
{
    uint64_t until = hf_clock_mono_ns() + LINGER_NS;
    while (atomic_load_explicit(&j->knocks, memory_order_relaxed) == knocks
           && hf_clock_mono_ns() < until)
        for (int i = 0; i < 32; i++)
            HF_RELAX();
}

static void *journal_main(void *user)
{
    hf_engine *engine = user;
    hf_journal *j = &engine->journal;
    keep_large_blocks();
    for (;;) {
        hf_log_stats stats;
        hf_log_stat(engine->log, &stats);
        bool crowded = mind_the_window(engine);
        bool folding = (stats.folding || stats.bytes >= stats.start)
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
        if (!hf_log_state(engine->log) && ((folding && !count) || j->stuck))
            go_on_folding(engine, &r);
        else if (!count && atomic_load_explicit(&engine->tight, memory_order_relaxed))
            look_for_room(engine, &r);
        else if (!count)
            rest(engine);
        if (!count)
            continue;
        j->rested = false;
        linger(j, knocks);
    }
    settle_list(engine, j->stuck, HF_ECLOSED);
    j->stuck = NULL;
    return NULL;
}

int hf_journal_start(hf_engine *engine)
{
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
