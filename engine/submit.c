/* submit.c - hand batches to the journal, and wait for what becomes of them.
 *
 * Happy path: a batch is queued and the journal woken; a caller that waits
 * sleeps at the gate, which opens once for all of a group. What *rides* wakes
 * nobody for 10 ms. Refused when the engine closes or has stopped; a caller may
 * wait for room, a turn's batch never does. Any thread. */
#include "engine/engine.h"

#include "engine/ask.h"

#include "storage/clock.h"
#include "storage/error.h"

#include <time.h>

enum {
    RIDE_NS   = 10 * 1000 * 1000,
    QUEUE_MAX = 16 << 20, /* bytes from outside on their way */
};

/* In the words of the thread that asked: what the journal says is its own thread's. */
static int say(const hf_engine *engine, int err)
{
    const char *path = hf_disk_path(engine->disk);
    switch (err) {
    case HF_OK: return HF_OK;
    case HF_EUNKNOWN: return hf_error(err, "the engine stopped; see last-stop in %s", path);
    case HF_EFULL: return hf_error(err, "%s has no room that is surely ours", path);
    case HF_ECLOSED: return hf_error(err, "%s", path);
    default: return hf_error(err, "the journal of %s", path);
    }
}

static void wake_locked(hf_journal *j, const hf_batch *batch)
{
    if (batch->rides && !j->urgent) {
        bool first = !j->ride_until;
        if (first)
            j->ride_until = hf_clock_mono_ns() + RIDE_NS;
        if (!first || !j->asleep)
            return;
    } else {
        j->urgent = true;
        atomic_fetch_add_explicit(&j->knocks, 1, memory_order_release);
    }
    if (j->asleep)
        pthread_cond_signal(&j->wake);
}

int hf_journal_submit(hf_engine *engine, hf_batch *batch)
{
    hf_journal *j = &engine->journal;
    int phase = atomic_load(&engine->phase), err = HF_OK;
    pthread_mutex_lock(&j->lock);
    if (phase == HF_STOPPED)
        err = HF_EUNKNOWN;
    else if (batch->outside && phase == HF_CLOSING)
        err = HF_ECLOSED;
    else if (j->stop)
        err = HF_ECLOSED;
    if (!err) {
        atomic_fetch_add(&j->inflight, 1);
        batch->gate = j->gathering & 1;
        if (batch->outside) {
            hf_batch_enlist(&j->outside_end, batch);
            j->outside_bytes += hf_batch_bytes(batch);
            j->submitted++;
        } else {
            hf_batch_enlist(&j->turns_end, batch);
        }
        wake_locked(j, batch);
    }
    pthread_mutex_unlock(&j->lock);
    return say(engine, err);
}

void hf_journal_kick(hf_engine *engine)
{
    hf_journal *j = &engine->journal;
    pthread_mutex_lock(&j->lock);
    if (j->outside || j->turns) {
        j->urgent = true;
        if (j->asleep)
            pthread_cond_signal(&j->wake);
    }
    pthread_mutex_unlock(&j->lock);
}

int hf_journal_admit(hf_engine *engine, uint64_t bytes, uint32_t timeout_ms)
{
    hf_journal *j = &engine->journal;
    struct timespec until = hf_clock_after((uint64_t)timeout_ms * 1000000);
    int err = HF_OK;
    pthread_mutex_lock(&j->lock);
    while (j->outside_bytes && j->outside_bytes + bytes > QUEUE_MAX && !err) {
        if (atomic_load(&engine->phase) != HF_LIVE)
            break; /* submitting will say so */
        if (!timeout_ms)
            err = HF_EAGAIN;
        else if (timeout_ms == HF_NEVER)
            pthread_cond_wait(&j->moved, &j->lock);
        else if (pthread_cond_timedwait(&j->moved, &j->lock, &until))
            err = HF_ETIMEDOUT;
    }
    pthread_mutex_unlock(&j->lock);
    return err;
}

int hf_journal_sync(hf_engine *engine, uint32_t timeout_ms)
{
    hf_journal *j = &engine->journal;
    struct timespec until = hf_clock_after((uint64_t)timeout_ms * 1000000);
    int err = HF_OK;
    pthread_mutex_lock(&j->lock);
    uint64_t mine = j->submitted;
    while (!err && j->settled < mine) {
        if (timeout_ms == HF_NEVER)
            pthread_cond_wait(&j->moved, &j->lock);
        else if (pthread_cond_timedwait(&j->moved, &j->lock, &until))
            err = j->settled < mine ? HF_ETIMEDOUT : HF_OK;
    }
    pthread_mutex_unlock(&j->lock);
    return err ? err : hf_engine_check(engine);
}

/* ---- A caller that waits */

typedef struct hf_call {
    atomic_int  done;
    int         err;
} hf_call;

static void call_settled(hf_batch *batch, int err)
{
    hf_call *call = batch->owner;
    call->err = err;
    atomic_store_explicit(&call->done, 1, memory_order_release);
}

int hf_journal_wait(hf_engine *engine, hf_batch *batch)
{
    hf_journal *j = &engine->journal;
    hf_call call = { .err = HF_OK };
    atomic_init(&call.done, 0);
    batch->owner = &call;
    batch->settled = call_settled;
    batch->rides = false;
    batch->waited = true;
    int err = hf_journal_submit(engine, batch);
    if (err)
        return err;
    atomic_uint *gate = &j->gate[batch->gate];
    /* It opens for everyone of a group at once; whoever was not settled sleeps on. */
    for (;;) {
        uint32_t seen = atomic_load_explicit(gate, memory_order_acquire);
        if (atomic_load_explicit(&call.done, memory_order_acquire))
            break;
        hf_futex_wait(gate, seen, 0);
    }
    return say(engine, call.err);
}

/* ---- Settling, on the journal's thread */

static void settle(hf_batch *batch, int err)
{
    atomic_uint *inflight = &batch->engine->journal.inflight;
    if (batch->note_count)
        hf_asks_word_settled(batch, err);
    if (batch->replies)
        hf_replies_release(batch, err);
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

uint32_t hf_journal_settle(hf_engine *engine, hf_batch *list, int err)
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
