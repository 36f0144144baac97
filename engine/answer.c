/* answer.c - answer from the store, with what only the engine knows laid over.
 *
 * Happy path of a question: recovery/ answers it from a snapshot of our own disk
 * and asks us who runs, what is defined, how the counters stand. Of a change:
 * recovery/ plans it from a snapshot, we commit the plan as a batch and then let
 * memory follow. Changes come one at a time, so none is planned on what another
 * is about to change; what turns commit meanwhile an entry cannot harm: the facts
 * about a message that is done do nothing.
 *
 * Worker threads of the control socket. */
#include "engine/answer.h"

#include "engine/ask.h"
#include "engine/cancel.h"
#include "engine/census.h"
#include "engine/flush.h"
#include "engine/letter.h"
#include "engine/limit.h"
#include "engine/timebase.h"

#include "recovery/change.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* What runs, as it was when the question came. */
typedef struct facts {
    hf_engine  *engine;
    uint32_t    count;
    hf_running *running;
    hf_cancel   cancel;
} facts;

static int compare(const void *id, const void *running)
{
    const uint64_t *a = id;
    const hf_running *b = running;
    return (*a > b->id) - (*a < b->id);
}

static const char *type_name(void *user, uint32_t number)
{
    const hf_types *types = &((facts *)user)->engine->types;
    return number < types->count ? types->kinds[number].is.name : NULL;
}

static uint64_t engine_time(void *user)
{
    return hf_timebase_now(((facts *)user)->engine);
}

static bool defines(void *user, const char *address, size_t len)
{
    return hf_types_find(&((facts *)user)->engine->types, address, len) != NULL;
}

/* A thread has it, though its turn may not have begun. */
static bool is_asked(const hf_cancel *cancel, uint64_t id)
{
    uint32_t from = 0, to = cancel->asked_count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (cancel->asked[middle] == id)
            return true;
        if (cancel->asked[middle] < id)
            from = middle + 1;
        else
            to = middle;
    }
    return false;
}

static bool runs(void *user, const hf_entry *message, uint64_t *since, bool *stuck)
{
    const facts *f = user;
    const hf_running *r = NULL;
    if (f->count)
        r = bsearch(&message->id, f->running, f->count, sizeof *r, compare);
    *since = r ? r->since_ms : 0;
    *stuck = r && r->stuck;
    return r != NULL || is_asked(&f->cancel, message->id);
}

/* ---- Is it in memory? Only its shard's thread can say. */

enum { RESIDENT_WAIT_MS = 100 }; /* a shard in a long turn does not answer */

typedef struct resident_errand {
    hf_errand  errand;
    atomic_int users;  /* who asks, and the shard; the last one frees it */
    atomic_int answer; /* 0: none yet, 1: it is not, 2: it is */
    uint64_t   hash;
    size_t     len;
    char       address[];
} resident_errand;

static void leave_errand(resident_errand *r)
{
    if (atomic_fetch_sub(&r->users, 1) == 1)
        hf_mem_free(r);
}

static void look_for_actor(hf_shard *shard, hf_errand *errand)
{
    resident_errand *r = (resident_errand *)errand;
    const hf_actor *actor = hf_actors_find(&shard->actors, r->hash, r->address, r->len);
    atomic_store(&r->answer, actor ? 2 : 1);
    leave_errand(r);
}

static bool resident(void *user, const char *address, bool *is)
{
    hf_engine *engine = ((facts *)user)->engine;
    size_t len = strlen(address);
    resident_errand *r = hf_mem_zero(1, sizeof *r + len + 1);
    if (!r)
        return false;
    r->errand.run = look_for_actor;
    r->hash = hf_address_hash(engine->seed, address, len);
    r->len = len;
    memcpy(r->address, address, len + 1);
    atomic_init(&r->users, 2);
    hf_shard_send_errand(&engine->shards[hf_address_shard(r->hash, engine->shard_count)],
                         &r->errand);
    for (int i = 0; !atomic_load(&r->answer) && i < RESIDENT_WAIT_MS * 5; i++) {
        struct timespec pause = { 0, 200000 };
        (void)nanosleep(&pause, NULL);
    }
    int answer = atomic_load(&r->answer);
    leave_errand(r);
    *is = answer == 2;
    return answer != 0;
}

static bool suspect(void *user, uint64_t id, uint32_t *strikes, uint64_t *until)
{
    const hf_suspect *s = hf_strikes_find(&((facts *)user)->engine->strikes, id);
    if (!s)
        return false;
    *strikes = s->strikes;
    *until = s->until_ms;
    return true;
}

static size_t note(void *user, uint64_t id, uint8_t text[HF_NOTE_MAX])
{
    return hf_progress_of(((facts *)user)->engine, id, text);
}

static uint64_t history(void *user, const char *address, size_t len)
{
    const facts *f = user;
    const hf_kind_of *kind = hf_types_find(&f->engine->types, address, len);
    if (!kind || kind->is.history_ms == HF_NEVER)
        return UINT64_MAX;
    return kind->is.history_ms == HF_NOW ? 0 : kind->is.history_ms;
}

static bool full(void *user)
{
    return atomic_load(&((facts *)user)->engine->tight);
}

static bool limit(void *user, const char *address, size_t len, hf_limited *out)
{
    const hf_kind_of *kind = hf_types_find(&((facts *)user)->engine->types, address, len);
    return kind && hf_limit_look(kind->limit, out);
}

/* By powers of two: [bound, how many took less, and not less than the bound before]. */
static void put_latency(const hf_engine *engine, hf_out *row)
{
    const hf_histogram *h = &engine->journal.latency;
    hf_out_array(row, "commit_us");
    for (uint32_t power = 0; power < HF_HISTOGRAM_POWERS; power++) {
        uint64_t count = hf_histogram_below(h, power);
        if (!count)
            continue;
        hf_out_array(row, NULL);
        hf_out_uint(row, NULL, UINT64_C(1) << power);
        hf_out_uint(row, NULL, count);
        hf_out_end(row);
    }
    hf_out_end(row);
    hf_out_uint(row, "commit_us_sum", hf_histogram_sum(h));
}

static void put_types(const facts *f, hf_out *row)
{
    const hf_engine *engine = f->engine;
    uint64_t stuck = 0;
    for (uint32_t i = 0; i < f->count; i++)
        stuck += f->running[i].stuck;
    hf_out_uint(row, "turns", f->count);
    hf_out_uint(row, "stuck", stuck);
    hf_out_array(row, "types");
    for (uint32_t i = 0; i < engine->types.count; i++) {
        hf_census sum;
        hf_census_sum(engine, i, &sum);
        hf_out_map(row, NULL);
        hf_out_text(row, "type", hf_str(engine->types.kinds[i].is.name));
        hf_out_uint(row, "came", atomic_load(&sum.came));
        hf_out_uint(row, "done", atomic_load(&sum.done));
        hf_out_uint(row, "failed", atomic_load(&sum.failed));
        hf_out_uint(row, "retried", atomic_load(&sum.retried));
        hf_out_uint(row, "dead", atomic_load(&sum.dead));
        hf_out_end(row);
    }
    hf_out_end(row);
}

static void put_stats(void *user, hf_out *row)
{
    hf_engine *engine = ((facts *)user)->engine;
    hf_counters *c = &engine->count;
    uint64_t residents = 0, bytes = 0, dirty, flushed, failed;
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        residents += atomic_load(&engine->shards[i].residents);
        bytes += atomic_load(&engine->shards[i].resident_bytes);
    }
    hf_out_text(row, "version", hf_str(hf_version()));
    hf_out_time(row, "started", engine->opened_ms);
    hf_out_uint(row, "accepted", atomic_load(&c->accepted));
    hf_out_uint(row, "committed", atomic_load(&c->committed));
    hf_out_uint(row, "failed", atomic_load(&c->failed));
    hf_out_uint(row, "retried", atomic_load(&c->retried));
    hf_out_uint(row, "dead", atomic_load(&c->dead));
    hf_out_uint(row, "commits", atomic_load(&c->commits));
    hf_out_uint(row, "bytes", atomic_load(&c->bytes));
    hf_out_uint(row, "commit_p50_us", hf_histogram_at(&engine->journal.latency, 500));
    hf_out_uint(row, "commit_p99_us", hf_histogram_at(&engine->journal.latency, 990));
    hf_out_uint(row, "waiting", atomic_load(&c->waiting));
    hf_out_uint(row, "running", atomic_load(&c->running));
    hf_out_uint(row, "clock_jumps", atomic_load(&c->clock_jumps));
    hf_flushes_count(engine, &dirty, &flushed, &failed);
    if (engine->flushes) {
        hf_out_uint(row, "dirty", dirty);
        hf_out_uint(row, "flushed", flushed);
        hf_out_uint(row, "flush_failed", failed);
    }
    hf_out_uint(row, "residents", residents);
    hf_out_uint(row, "resident_bytes", bytes);
    hf_out_uint(row, "window_max_bytes", engine->options.window);
    put_latency(engine, row);
    put_types(user, row);
}

static int gather(facts *f, const hf_answers *answers)
{
    f->engine = answers->engine;
    hf_mem_free(f->running);
    f->count = hf_watch_look(answers->watch, &f->running);
    return f->running ? HF_OK : hf_error(HF_ENOMEM, "an answer");
}

/* ---- Changes */

enum { LOOKS = 500 }; /* for delayed letters to come */

/* Wait until no turn runs of what was paused, at most wait_ms; tells how many do. */
static int wait_for_turns(hf_answers *answers, hf_inquiry *inquiry, facts *f, hf_plan *plan)
{
    uint64_t start = hf_clock_mono_ns(), step_ms = 2, running = 0;
    int err = HF_OK;
    for (;;) {
        err = gather(f, answers);
        if (!err && f->count)
            err = hf_plan_running(inquiry, plan->what, &running);
        else
            running = 0;
        uint64_t waited = (hf_clock_mono_ns() - start) / 1000000;
        if (err || !running || waited >= plan->wait_ms
            || atomic_load(&answers->engine->phase) != HF_LIVE)
            break;
        uint64_t left = plan->wait_ms - waited;
        struct timespec pause = { 0, (long)(left < step_ms ? left : step_ms) * 1000000 };
        (void)nanosleep(&pause, NULL);
        step_ms = step_ms < 64 ? step_ms * 2 : step_ms; /* each look may be long */
    }
    hf_plan_paused(plan, running);
    return err;
}

static int commit_facts(hf_engine *engine, hf_plan *plan)
{
    if (!plan->facts.count)
        return HF_OK;
    hf_batch *batch = hf_batch_new(engine);
    if (!batch)
        return hf_error(HF_ENOMEM, "a batch");
    batch->outside = true;
    hf_segment *ours = hf_batch_facts(batch), swap = *ours;
    *ours = plan->facts;
    int err = hf_journal_wait(engine, batch);
    plan->facts = *ours;
    *ours = swap;
    hf_batch_free(batch);
    return err;
}

/* What was committed is true: now memory follows. */
static int follow(hf_engine *engine, const hf_plan *plan)
{
    const char *what = *plan->what ? plan->what : HF_PAUSE_ALL;
    const uint8_t *at = plan->facts.data, *end = at ? at + plan->facts.len : at;
    int err = HF_OK;
    for (hf_entry e; at < end; at += hf_entry_size(&e)) {
        if (!hf_entry_decode(at, (size_t)(end - at), &e))
            return hf_error(HF_ECORRUPT, "an entry of a change can't be read");
        if (e.op == HF_OP_REQUEUE || e.op == HF_OP_RETRY)
            hf_dispatch_requeued(engine, &e);
    }
    at = plan->delayed.data;
    end = at ? at + plan->delayed.len : at;
    for (hf_entry e; at < end && hf_entry_decode(at, (size_t)(end - at), &e);
         at += hf_entry_size(&e))
        hf_dispatch_requeued(engine, &e);
    if (plan->pauses)
        err = hf_pauses_add(engine, what);
    if (plan->resumes)
        hf_pauses_remove(engine, what);
    return err;
}

static int compare_ids(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* What comes in dead waits to be buried. */
static int gather_dead(void *user, const hf_sight *s)
{
    hf_entry e = s->e;
    e.op = HF_OP_SEND;
    e.phase = 0;
    return s->msg.status != HF_DEAD && e.died ? hf_segment_add(user, &e) : HF_OK;
}

/* Not only when its actor goes on. If it fails they are buried then. */
static void bury_dead(hf_answers *answers, hf_inquiry *inquiry, facts *f, const hf_plan *plan,
                      const hf_receipt *receipts)
{
    hf_segment dead = { 0 }, none = { 0 };
    hf_scan scan;
    uint64_t *ids = hf_mem_zero(plan->count, sizeof *ids);
    size_t count = 0;
    for (uint32_t i = 0; ids && i < plan->count; i++)
        if (plan->more[i].died && receipts[i].err != HF_EDUPLICATE)
            ids[count++] = receipts[i].id;
    int err = count ? hf_scan_open(&scan, inquiry) : HF_ENOTFOUND;
    if (!err) {
        qsort(ids, count, sizeof *ids, compare_ids);
        err = hf_scan_some(&scan, ids, count, gather_dead, &dead);
        hf_scan_close(&scan);
    }
    if (!err && dead.count)
        err = hf_cancel_begin(&f->cancel, answers->engine, answers->watch, &dead, &none);
    if (dead.count)
        (void)hf_cancel_end(&f->cancel, err ? NULL : &dead);
    hf_segment_done(&dead);
    hf_mem_free(ids);
}

static int send_letters(hf_answers *answers, hf_inquiry *inquiry, facts *f, hf_plan *plan)
{
    hf_engine *engine = answers->engine;
    hf_receipt *receipts = hf_mem_zero(plan->count, sizeof *receipts);
    if (!receipts)
        return hf_error(HF_ENOMEM, "receipts");
    hf_entry note = { .op = HF_OP_SEND };
    hf_pen_sign(&plan->pen, &note);
    int err = hf_letters_mail(engine, plan->letters, plan->count, receipts, note.notes,
                              plan->more);
    if (!err)
        bury_dead(answers, inquiry, f, plan, receipts);
    if (!err)
        hf_plan_sent(plan, receipts);
    hf_mem_free(receipts);
    return err;
}

/* Once nothing can begin what is to be cancelled, look once more: what waits now is buried.
 * Letters that waited for their time come into the inbox first. */
static int plan_again(hf_answers *answers, hf_inquiry *inquiry, facts *f, hf_bytes arguments,
                      hf_plan *plan)
{
    int err = HF_OK;
    for (int i = 0; !err && i < LOOKS; i++) {
        hf_plan_done(plan);
        err = gather(f, answers);
        if (!err)
            err = hf_plan_make(plan, inquiry, "cancel", arguments);
        if (err || !plan->delayed.count)
            return err;
        struct timespec pause = { 0, 4000000 };
        (void)nanosleep(&pause, NULL);
    }
    return err ? err : hf_error(HF_ETIMEDOUT, "a delayed message does not come: no room?");
}

static int make_cancel(hf_answers *answers, hf_inquiry *inquiry, facts *f, hf_bytes arguments,
                       hf_plan *plan)
{
    hf_engine *engine = answers->engine;
    int err = hf_plan_make(plan, inquiry, "cancel", arguments);
    if (err)
        return err;
    for (uint32_t i = 0; i < plan->asked_count; i++)
        hf_watch_stop(answers->watch, plan->asked[i]);
    if (!plan->ending.count && !plan->delayed.count)
        return commit_facts(engine, plan);
    err = hf_cancel_begin(&f->cancel, engine, answers->watch, &plan->ending, &plan->delayed);
    hf_plan first = *plan; /* the cancel points into it */
    memset(plan, 0, sizeof *plan);
    if (!err)
        err = plan_again(answers, inquiry, f, arguments, plan);
    if (!err)
        err = commit_facts(engine, plan);
    int end = hf_cancel_end(&f->cancel, err ? NULL : &plan->ending);
    hf_plan_done(&first);
    return err ? err : end;
}

/* A type of ours may take smaller bodies than a store does. */
static int check_bodies(const hf_engine *engine, const hf_plan *plan)
{
    const hf_segment *lists[] = { &plan->ending, &plan->facts };
    for (int i = 0; i < 2; i++) {
        const uint8_t *at = lists[i]->data, *end = at ? at + lists[i]->len : at;
        for (hf_entry e; at < end && hf_entry_decode(at, (size_t)(end - at), &e);
             at += hf_entry_size(&e))
            if (e.data.len > engine->options.body_max)
                return hf_error(HF_ETOOBIG, "%zu bytes for message %llu, options.body_max is %u",
                                e.data.len, (unsigned long long)e.id, engine->options.body_max);
    }
    return HF_OK;
}

/* Hold them, look once more, and write what waits now with its new body. */
static int edit_once(hf_answers *answers, hf_inquiry *inquiry, facts *f, hf_bytes arguments,
                     hf_plan *plan)
{
    hf_engine *engine = answers->engine;
    hf_segment none = { 0 };
    int err = hf_plan_make(plan, inquiry, "edit", arguments);
    if (!err)
        err = check_bodies(engine, plan);
    if (err || !plan->ending.count)
        return err ? err : commit_facts(engine, plan);
    err = hf_cancel_begin(&f->cancel, engine, answers->watch, &plan->ending, &none);
    hf_plan first = *plan; /* the cancel points into it */
    memset(plan, 0, sizeof *plan);
    if (!err)
        err = gather(f, answers);
    if (!err)
        err = hf_plan_make(plan, inquiry, "edit", arguments);
    if (!err)
        err = commit_facts(engine, plan);
    int end = hf_cancel_end(&f->cancel, err ? NULL : &plan->ending);
    hf_plan_done(&first);
    return err ? err : end;
}

static int make_edit(hf_answers *answers, hf_inquiry *inquiry, facts *f, hf_bytes arguments,
                     hf_plan *plan)
{
    int err = HF_ENOTFOUND;
    for (int i = 0; err == HF_ENOTFOUND && i < LOOKS; i++) { /* one has just come due */
        struct timespec pause = { 0, 4000000 };
        if (i) {
            hf_plan_done(plan);
            memset(plan, 0, sizeof *plan);
            (void)nanosleep(&pause, NULL);
            if ((err = gather(f, answers)))
                return err;
        }
        err = edit_once(answers, inquiry, f, arguments, plan);
    }
    return err == HF_ENOTFOUND ? hf_error(HF_ETIMEDOUT, "a delayed message does not come: no room?")
                               : err;
}

static int make_change(hf_answers *answers, hf_inquiry *inquiry, facts *f, const char *name,
                       hf_bytes arguments, hf_plan *plan)
{
    hf_engine *engine = answers->engine;
    if (strcmp(name, "cancel") == 0)
        return make_cancel(answers, inquiry, f, arguments, plan);
    if (strcmp(name, "edit") == 0)
        return make_edit(answers, inquiry, f, arguments, plan);
    int err = hf_plan_make(plan, inquiry, name, arguments);
    if (err)
        return err;
    if (plan->count)
        return send_letters(answers, inquiry, f, plan);
    bool words = plan->pauses || plan->resumes;
    if (words) /* the program pauses and resumes, too */
        pthread_mutex_lock(&engine->pauses.order);
    err = commit_facts(engine, plan);
    if (!err && (plan->facts.count || plan->delayed.count) && follow(engine, plan))
        err = hf_error(HF_EUNKNOWN, "on disk, but this engine cannot follow: %s",
                       hf_error_detail());
    if (words)
        pthread_mutex_unlock(&engine->pauses.order);
    return err;
}

static int change_store(hf_answers *answers, hf_inquiry *inquiry, facts *f, const char *name,
                        hf_bytes arguments)
{
    hf_plan plan;
    memset(&plan, 0, sizeof plan);
    pthread_mutex_lock(&answers->changing);
    int err = make_change(answers, inquiry, f, name, arguments, &plan);
    pthread_mutex_unlock(&answers->changing);
    bool done = !err && (plan.facts.count || plan.count);
    if (!err && plan.pauses)
        err = wait_for_turns(answers, inquiry, f, &plan);
    if (!err)
        err = plan.row.err ? plan.row.err
                           : inquiry->each(inquiry->user, hf_out_bytes(&plan.row));
    if (err == HF_ENOMEM && done) /* it cannot be told */
        err = hf_error(HF_EUNKNOWN, "out of memory after the commit");
    hf_plan_done(&plan);
    return err;
}

/* ---- Both */

void hf_answers_init(hf_answers *answers, hf_engine *engine, hf_watch *watch)
{
    answers->engine = engine;
    answers->watch = watch;
    pthread_mutex_init(&answers->changing, NULL);
}

void hf_answers_done(hf_answers *answers)
{
    pthread_mutex_destroy(&answers->changing);
}

int hf_answer(void *user, bool change, const char *name, hf_bytes arguments, hf_control_row row,
              void *to)
{
    hf_answers *answers = user;
    hf_engine *engine = answers->engine;
    facts f = { 0 };
    int err = change ? hf_engine_check(engine) : HF_OK;
    if (!err)
        err = gather(&f, answers);
    if (err)
        return err;
    hf_living living = { .user = &f, .type = type_name, .defines = defines, .runs = runs,
                         .resident = resident, .suspect = suspect, .note = note,
                         .now = engine_time, .full = full, .history = history, .limit = limit,
                         .stats = put_stats };
    hf_inquiry inquiry = { .disk = engine->disk, .living = &living, .source = "engine",
                           .pid = (uint64_t)getpid(), .uid = hf_control_uid(to),
                           .each = row, .user = to };
    err = change ? change_store(answers, &inquiry, &f, name, arguments)
                 : hf_inquire(&inquiry, name, arguments);
    hf_mem_free(f.running);
    return err;
}
