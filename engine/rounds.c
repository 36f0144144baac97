/* rounds.c - a shard's thread: round after round, until it is told to stop.
 *
 * Happy path: look what other threads left, let go what was waiting for its time, run
 * those who stand in line, take messages out of the log, and hand in what came of it.
 * With nothing left to do it sleeps until its bell rings or something is due. Fails for
 * want of memory: a little later everything is tried again. */
#include "engine/turn.h"

#include "engine/alarms.h"
#include "engine/kit.h"
#include "engine/limit.h"
#include "engine/pause.h"
#include "engine/pool.h"
#include "engine/timebase.h"

#include "storage/clock.h"

/* ---- What other threads left for us */

enum { READY_MOST = 256 }; /* actors with work in line: the scan looks for no more */

static void run_errands(hf_shard *shard, hf_errand *list)
{
    while (list) {
        hf_errand *next = list->next;
        list->run(shard, list);
        atomic_fetch_sub(&shard->errand_count, 1);
        list = next;
    }
}

static bool collect_mail(hf_shard *shard)
{
    pthread_mutex_lock(&shard->lock);
    hf_batch *settled = shard->settled;
    hf_parcel *finished = shard->finished;
    hf_errand *errands = shard->errands;
    shard->settled = NULL;
    shard->settled_end = &shard->settled;
    shard->finished = NULL;
    shard->errands = NULL;
    shard->errands_end = &shard->errands;
    pthread_mutex_unlock(&shard->lock);
    bool any = settled || finished || errands;
    hf_outbox_settled(shard, settled);
    while (finished) {
        hf_parcel *next = finished->queued;
        hf_pool_take_back(shard, finished);
        finished = next;
    }
    run_errands(shard, errands);
    return any;
}

/* ---- The loop */

static bool has_work(const hf_shard *shard)
{
    bool scans = shard->scanning && (!shard->reads_on || shard->ready.count < READY_MOST);
    if ((shard->ready.count && !shard->reads_on) || scans
        || (shard->alarms->busy && !shard->alarms->held))
        return true;
    return !shard->at_done || atomic_load_explicit(&shard->at->next, memory_order_acquire) != NULL;
}

static bool is_quiet(const hf_shard *shard)
{
    return !has_work(shard) && !shard->reads_on && !shard->alarms->busy && !shard->uncommitted
           && !shard->batch && !shard->runs_outside && !hf_pauses_rests(shard);
}

static void rest_a_while(hf_shard *shard, uint32_t bell, bool failed)
{
    uint64_t ns = 1000000000;
    if (shard->timer_count) {
        uint64_t now = hf_clock_mono_ns(), due = shard->timers[0]->due_ns;
        ns = due > now ? (due - now < ns ? due - now : ns) : 1;
    }
    if (shard->held && hf_shard_may_take(shard)) {
        uint64_t now = hf_clock_mono_ns(), due = hf_limits_next(shard, now);
        ns = due > now ? (due - now < ns ? due - now : ns) : 1;
    }
    ns = hf_alarms_rest(shard, ns);
    if (failed && ns > 10000000)
        ns = 10000000;
    atomic_store(&shard->quiet, is_quiet(shard) ? (uint64_t)bell + 1 : 0);
    if (atomic_load_explicit(&shard->engine->kit, memory_order_acquire))
        hf_kit_rests(shard, failed || has_work(shard) ? 0 : (uint64_t)bell + 1);
    atomic_store(&shard->asleep, true);
    if (atomic_load(&shard->bell) == bell
        && !(has_work(shard) && hf_shard_may_take(shard) && !failed)
        && (failed || (!shard->alarms->cooling && !hf_alarms_learn(shard))))
        hf_futex_wait(&shard->bell, bell, ns);
    atomic_store(&shard->asleep, false);
    atomic_store(&shard->quiet, 0);
    atomic_store_explicit(&shard->calm, 0, memory_order_relaxed);
}

static int one_round(hf_shard *shard)
{
    uint64_t folded = hf_log_folded(shard->engine->log);
    int err = HF_OK;
    atomic_fetch_add_explicit(&shard->activity, 1, memory_order_relaxed);
    if (shard->alarms->cooling)
        hf_alarms_cool(shard);
    else if (folded > shard->folded
        || (folded == shard->folded && atomic_load_explicit(&shard->released, memory_order_relaxed)
                                           < folded))
        hf_resident_fold(shard, folded);
    hf_timers_wake(shard);
    if (shard->alarms->used)
        err = hf_alarms_fire(shard);
    if (shard->held && hf_shard_may_take(shard))
        hf_limits_wake(shard);
    if (!err && shard->ready.count && !shard->reads_on)
        err = hf_dispatch_line(shard);
    if (!err && shard->scanning && shard->ready.count < READY_MOST && hf_shard_may_take(shard))
        hf_paging_scan(shard);
    if (!err)
        err = hf_pull(shard);
    if (shard->reads_on)
        hf_alarms_settle(shard);
    return err;
}

void *hf_rounds_main(void *user)
{
    hf_shard *shard = user;
    uint64_t seconds = 0;
    int err;
    while (!atomic_load(&shard->stop)) {
        uint32_t bell = atomic_load(&shard->bell);
        shard->now_ms = (uint32_t)(hf_clock_mono_ns() / 1000000);
        bool mail = collect_mail(shard);
        err = one_round(shard);
        if (err)
            hf_engine_log(shard->engine, HF_ERROR, "shard %u: %s", shard->index, hf_strerror(err));
        if (hf_clock_mono_ns() / 1000000000 != seconds) {
            seconds = hf_clock_mono_ns() / 1000000000;
            shard->seconds = (uint32_t)seconds;
            hf_resident_sweep(shard);
            if (!shard->index)
                hf_timebase_watch(shard->engine);
        }
        bool more = (has_work(shard) && hf_shard_may_take(shard)) || mail;
        if (more && !err)
            continue;
        hf_shard_submit(shard);
        rest_a_while(shard, bell, err != HF_OK);
    }
    (void)collect_mail(shard); /* errands are run, or somebody waits for ever */
    hf_shard_submit(shard);
    return NULL;
}
