/* dispatch.c - a shard's thread: take messages from the log, run turns.
 *
 * Happy path: the next committed record holds a run of messages for this shard;
 * each goes to an idle actor: a look-up and a call, its acknowledgement joins
 * the open batch. Actors that wait for something have a mailbox; those that may
 * go on stand in the ready list and get a few turns each, round and round.
 *
 * Fails: a turn that fails leaves a parcel that rests until its time; without
 * memory the shard stops taking and tries again; a damaged state or row sets
 * its actor aside. The shard never waits for another thread but when it has
 * nothing to do, and takes no more while too much of its own is uncommitted. */
#include "engine/turn.h"

#include "engine/pause.h"
#include "engine/pool.h"
#include "engine/suspect.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

enum {
    TURNS_EACH  = 64,        /* of one mailbox before the next */
};

/* ---- Mailboxes and the ready list */

void hf_dispatch_ready(hf_shard *shard, hf_mailbox *box)
{
    if (box->ready)
        return;
    box->ready = true;
    box->next_ready = NULL;
    *shard->ready_end = box;
    shard->ready_end = &box->next_ready;
    shard->ready_count++;
}

int hf_dispatch_mailbox(hf_shard *shard, hf_actor *actor, hf_mailbox **out)
{
    hf_mailbox *box = actor->mailbox;
    if (!box) {
        box = hf_mailbox_new(actor);
        if (!box)
            return HF_ENOMEM;
        box->next_box = shard->boxes;
        if (shard->boxes)
            shard->boxes->prev_box = box;
        shard->boxes = box;
        actor->mailbox = box;
    }
    *out = box;
    return HF_OK;
}

static void drop_mailbox(hf_shard *shard, hf_mailbox *box)
{
    if (box->prev_box)
        box->prev_box->next_box = box->next_box;
    else
        shard->boxes = box->next_box;
    if (box->next_box)
        box->next_box->prev_box = box->prev_box;
    box->actor->mailbox = NULL;
    hf_mailbox_free(box);
}

/* ---- Turns of shard types */

static uint64_t due_ns_of(uint64_t due_ms)
{
    uint64_t now = hf_clock_wall_ms();
    return hf_clock_mono_ns() + (due_ms > now ? (due_ms - now) * 1000000 : 0);
}

/* What the turn saved is the actor's state from now on. */
static int take_state(hf_shard *shard, const hf_turn *turn, hf_actor *actor)
{
    if (turn->forgot)
        return hf_actor_set_state(&shard->actors, actor, hf_view(NULL, 0));
    if (!turn->saved)
        return HF_OK;
    const uint8_t *save = hf_batch_facts(turn->batch)->data + turn->save_at;
    return hf_actor_set_state(&shard->actors, actor,
                              hf_view(save + HF_ENTRY_HEAD, hf_get32(save + 4)));
}

/* The turn stands: what it saved is the actor's state, its message is done. */
static int keep_turn(hf_shard *shard, hf_turn *turn, hf_actor *actor, const hf_letter_in *letter)
{
    hf_batch *batch = turn->batch;
    int err = HF_OK;
    if (letter && !letter->page && letter->place >= shard->folded)
        err = hf_batch_done(batch, letter->id);
    else
        err = hf_outcome_ack(batch, turn->e);
    if (!err)
        err = take_state(shard, turn, actor);
    if (err)
        return err;
    batch->turns++;
    actor->batch = batch->sequence;
    return HF_OK;
}

/* The turn failed: its message becomes a parcel that rests, or it is dead. */
static int leave_turn(hf_shard *shard, hf_turn *turn, hf_actor *actor, hf_parcel *p)
{
    hf_mailbox *box;
    uint64_t due_ms = 0;
    int err = hf_dispatch_mailbox(shard, actor, &box);
    bool fresh = p == NULL;
    if (!err && fresh && !(p = hf_dispatch_parcel(shard, actor, turn->e)))
        err = HF_ENOMEM;
    if (err)
        return err;
    err = hf_outcome_failed(turn, p, &due_ms);
    if (!err)
        err = take_state(shard, turn, actor); /* the failed hook's */
    if (err) {
        if (fresh)
            hf_dispatch_parcel_drop(shard, p);
        return err;
    }
    actor->batch = turn->batch->sequence;
    if (fresh)
        hf_mailbox_insert(box, p);
    if (due_ms) {
        hf_dispatch_rest(shard, p, due_ns_of(due_ms));
    } else {
        hf_dispatch_parcel_done(shard, p);
        hf_dispatch_ready(shard, box);
    }
    return HF_OK;
}

/* No room for what it sends: the same turn again later, no try burnt. */
static int hold_turn(hf_shard *shard, hf_turn *turn, hf_actor *actor, hf_parcel *p)
{
    hf_mailbox *box;
    hf_turn_cut(turn);
    int err = hf_dispatch_mailbox(shard, actor, &box);
    if (!err && !p) {
        p = hf_dispatch_parcel(shard, actor, turn->e);
        if (!p)
            return HF_ENOMEM;
        hf_mailbox_insert(box, p);
    }
    if (!err)
        hf_dispatch_rest(shard, p, hf_clock_mono_ns() + 50000000);
    return err;
}

/* One message, one turn. letter or parcel says where it came from. */
int hf_dispatch_turn(hf_shard *shard, hf_actor *actor, const hf_entry *e,
                    const hf_letter_in *letter, hf_parcel *p)
{
    hf_engine *engine = shard->engine;
    hf_turn *turn = shard->turn;
    hf_batch *batch = hf_shard_batch(shard);
    if (!batch)
        return HF_ENOMEM;
    shard->slot->hash = e->hash;
    shard->slot->id = e->id;
    turn->parcel = p;
    hf_turn_begin(turn, actor->kind, batch, e, hf_view(actor->state, actor->state_len));
    bool stands = hf_turn_run(turn);
    int err;
    if (stands && turn->sends && atomic_load_explicit(&engine->tight, memory_order_relaxed)) {
        err = hold_turn(shard, turn, actor, p);
    } else if (stands) {
        err = keep_turn(shard, turn, actor, letter);
        if (!err && p)
            hf_dispatch_parcel_done(shard, p);
    } else {
        err = leave_turn(shard, turn, actor, p);
    }
    if (err)
        hf_turn_cut(turn);
    else if (actor->taken < e->place)
        actor->taken = e->place;
    if (turn->scratch)
        hf_turn_end(turn);
    shard->slot->id = 0;
    if (hf_suspects_any(engine))
        hf_suspect_ended(engine, e->id);
    if (!err && (batch->turns >= engine->batch_turns || hf_batch_facts(batch)->len >= engine->batch_bytes
                 || batch->sends >= engine->batch_turns / 8))
        hf_shard_submit(shard);
    return err;
}

enum { BLOCKED = 1 };

/* It killed the process too often. Steps it began are undone first. */
static int bury_suspect(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    static const char why[] = "killed the process";
    hf_turn *turn = shard->turn;
    hf_batch *batch = hf_shard_batch(shard);
    bool undo = box->actor->kind->is.undo && !p->e.phase;
    if (!batch)
        return HF_ENOMEM;
    p->shard = shard;
    turn->parcel = p;
    hf_turn_begin(turn, box->actor->kind, batch, &p->e, hf_view(NULL, 0));
    p->e.attempt++;
    int err = undo ? hf_parcel_note(p, HF_EDEAD, why, hf_clock_wall_ms())
                   : hf_outcome_dead(turn, p, why);
    if (!err && undo) {
        p->e.phase = 1;
        err = hf_outcome_retry(batch, &p->e);
    }
    if (err) {
        p->e.attempt--;
        hf_turn_cut(turn);
        return err;
    }
    box->actor->batch = batch->sequence;
    if (box->actor->taken < p->e.place)
        box->actor->taken = p->e.place;
    if (undo) {
        hf_suspect_ended(shard->engine, p->e.id);
        hf_dispatch_rest(shard, p, hf_clock_mono_ns());
        return HF_OK;
    }
    hf_suspect_buried(shard, p->e.id, batch->sequence);
    hf_dispatch_parcel_done(shard, p);
    return HF_OK;
}

/* ---- Letters */

void hf_dispatch_decode(const hf_letter_in *letter, hf_entry *e)
{
    /* Checked when it was paged in, or written by ourselves. */
    size_t size = hf_entry_decode(letter->entry, SIZE_MAX, e);
    HF_ASSERT(size);
    e->id = letter->id;
    e->place = letter->place;
    if (!e->sent)
        e->sent = letter->time_ms;
}

static int start_on_pool(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    p->shard = shard;
    p->now = HF_PARCEL_RUNS;
    p->more = box->letters.count || box->paged.count || box->actor->rows;
    box->running++;
    shard->runs_outside++;
    if (box->actor->taken < p->e.place)
        box->actor->taken = p->e.place;
    hf_pool_queue(box->actor->kind->pool, p);
    return HF_OK;
}

/* Hand the letter at the front to the actor's pool. */
static int start_letter(hf_shard *shard, hf_mailbox *box, hf_letters *from)
{
    hf_entry e;
    hf_dispatch_decode(hf_letters_front(from), &e);
    hf_parcel *p = hf_dispatch_parcel(shard, box->actor, &e);
    if (!p)
        return HF_ENOMEM;
    hf_mailbox_insert(box, p);
    hf_letters_pop(from);
    return start_on_pool(shard, box, p);
}

/* A row that still waits for its retry: it rests in memory from now on. */
static int rest_letter(hf_shard *shard, hf_mailbox *box, hf_letters *from, const hf_entry *e)
{
    hf_parcel *p = hf_dispatch_parcel(shard, box->actor, e);
    if (!p)
        return HF_ENOMEM;
    hf_mailbox_insert(box, p);
    if (box->actor->taken < e->place)
        box->actor->taken = e->place;
    hf_letters_pop(from);
    hf_dispatch_rest(shard, p, due_ns_of(e->due));
    return HF_OK;
}

/* It may have killed the process: does it wait, die, or (BLOCKED) run? */
static int check_parcel(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    uint64_t wait_ns;
    switch (hf_suspect_judge(shard->engine, box->actor->kind, &p->e, &wait_ns)) {
    case HF_MAY_RUN:   return BLOCKED;
    case HF_MUST_WAIT: hf_dispatch_rest(shard, p, hf_clock_mono_ns() + wait_ns); return HF_OK;
    default:           return bury_suspect(shard, box, p);
    }
}

static int check_letter(hf_shard *shard, hf_mailbox *box, hf_letters *from, const hf_entry *e)
{
    if (!hf_strikes_find(&shard->engine->strikes, e->id))
        return BLOCKED;
    int err = rest_letter(shard, box, from, e); /* as a parcel it is judged */
    if (!err)
        hf_dispatch_ready(shard, box);
    return err;
}

static int run_letter(hf_shard *shard, hf_mailbox *box, hf_letters *from)
{
    hf_letter_in letter = *hf_letters_front(from);
    hf_entry e;
    hf_dispatch_decode(&letter, &e);
    if (e.due && e.due > hf_clock_wall_ms())
        return rest_letter(shard, box, from, &e);
    if (hf_suspects_any(shard->engine)) {
        int checked = check_letter(shard, box, from, &e);
        if (checked != BLOCKED)
            return checked;
    }
    if (box->actor->kind->pooled)
        return start_letter(shard, box, from);
    int err = hf_dispatch_turn(shard, box->actor, &e, &letter, NULL);
    if (!err)
        hf_letters_pop(from);
    return err;
}

/* ---- Mailboxes */

/* The first parcel that may run; BLOCKED if one that may not holds up the rest. */
static int next_parcel(const hf_mailbox *box, hf_parcel **out)
{
    uint64_t now = 0;
    *out = NULL;
    for (hf_parcel *p = box->parcels; p; p = p->next) {
        if (p->now != HF_PARCEL_RESTS) {
            if (box->actor->kind->is.workers <= 1)
                return BLOCKED;
            continue;
        }
        now = now ? now : hf_clock_mono_ns();
        if (p->due_ns <= now) {
            *out = p;
            return HF_OK;
        }
        if (!box->actor->kind->is.overtake && box->actor->kind->is.workers <= 1)
            return BLOCKED;
    }
    return HF_OK;
}

static int run_parcel(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    if (p->heap)
        hf_timers_remove(shard, p);
    if (hf_suspects_any(shard->engine)) {
        int checked = check_parcel(shard, box, p);
        if (checked != BLOCKED)
            return checked;
    }
    if (box->actor->kind->pooled)
        return start_on_pool(shard, box, p);
    hf_entry e = p->e;
    return hf_dispatch_turn(shard, box->actor, &e, NULL, p);
}

/* A requeued message may belong before what was paged in. */
static bool comes_first(const hf_mailbox *box, const hf_parcel *p)
{
    const hf_letters *l = box->paged.count ? &box->paged : &box->letters;
    return !l->count || p->e.place < l->items[l->first].place;
}

/* One step of one actor; BLOCKED: nothing to do for it now. */
static int step_mailbox(hf_shard *shard, hf_mailbox *box)
{
    hf_actor *actor = box->actor;
    hf_parcel *p;
    if (actor->damaged || hf_pauses_hold(shard->engine, actor)
        || (actor->kind->pooled && box->running >= actor->kind->is.workers))
        return BLOCKED;
    int err = next_parcel(box, &p);
    if (err)
        return err;
    /* Rows first: `taken` must never pass one that was not looked at. */
    if (!box->paged.count && actor->rows) {
        err = hf_paging_fill(shard, actor);
        if (err || (!box->paged.count && actor->rows))
            return err; /* a page of rows that have ended; look further */
        if (actor->damaged)
            return BLOCKED;
    }
    if (p && comes_first(box, p))
        return run_parcel(shard, box, p);
    if (box->paged.count)
        return run_letter(shard, box, &box->paged);
    if (box->letters.count)
        return run_letter(shard, box, &box->letters);
    return BLOCKED;
}

static int run_mailbox(hf_shard *shard, hf_mailbox *box)
{
    int err = HF_OK;
    bool may = true;
    for (int i = 0; !err && i < TURNS_EACH && may; i++) {
        may = !hf_suspects_any(shard->engine)
            || hf_suspects_let_run(shard->engine, box->actor->hash);
        if (may)
            err = step_mailbox(shard, box);
    }
    if (err == BLOCKED && hf_mailbox_is_empty(box) && !box->ready)
        drop_mailbox(shard, box);
    else if (err != BLOCKED)
        hf_dispatch_ready(shard, box);
    return err == BLOCKED ? HF_OK : err;
}

bool hf_shard_may_take(const hf_shard *shard)
{
    return shard->uncommitted < HF_UNCOMMITTED_MAX && !atomic_load(&shard->stop)
        && !atomic_load_explicit(&shard->engine->crowded, memory_order_relaxed)
        && atomic_load_explicit(&shard->engine->phase, memory_order_relaxed) == HF_LIVE;
}

static int run_ready(hf_shard *shard)
{
    int err = HF_OK;
    for (uint32_t n = shard->ready_count; n && !err && hf_shard_may_take(shard); n--) {
        hf_mailbox *box = shard->ready;
        shard->ready = box->next_ready;
        if (!shard->ready)
            shard->ready_end = &shard->ready;
        shard->ready_count--;
        box->ready = false;
        err = run_mailbox(shard, box);
        if (err == BLOCKED) { /* somebody else must run alone first */
            hf_dispatch_ready(shard, box);
            err = HF_OK;
        }
    }
    return err;
}

/* ---- What other threads left for us */

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
    if (shard->ready_count || shard->scanning)
        return true;
    return !shard->at_done || atomic_load_explicit(&shard->at->next, memory_order_acquire) != NULL;
}

static bool is_quiet(const hf_shard *shard)
{
    return !has_work(shard) && !shard->uncommitted && !shard->batch && !shard->runs_outside
        && !hf_pauses_rests(shard);
}

static void rest_a_while(hf_shard *shard, uint32_t bell, bool failed)
{
    uint64_t ns = 1000000000;
    if (shard->timer_count) {
        uint64_t now = hf_clock_mono_ns(), due = shard->timers[0]->due_ns;
        ns = due > now ? (due - now < ns ? due - now : ns) : 1;
    }
    if (failed && ns > 10000000)
        ns = 10000000;
    atomic_store(&shard->quiet, is_quiet(shard) ? (uint64_t)bell + 1 : 0);
    atomic_store(&shard->asleep, true);
    if (atomic_load(&shard->bell) == bell && !(has_work(shard) && hf_shard_may_take(shard) && !failed))
        hf_futex_wait(&shard->bell, bell, ns);
    atomic_store(&shard->asleep, false);
    atomic_store(&shard->quiet, 0);
}

static int one_round(hf_shard *shard)
{
    uint64_t folded = hf_log_folded(shard->engine->log);
    int err = HF_OK;
    atomic_fetch_add_explicit(&shard->activity, 1, memory_order_relaxed);
    if (folded > shard->folded
        || (folded == shard->folded && atomic_load_explicit(&shard->released, memory_order_relaxed)
                                           < folded))
        hf_resident_fold(shard, folded);
    hf_timers_wake(shard);
    if (shard->ready_count)
        err = run_ready(shard);
    if (!err && shard->scanning && shard->ready_count < 256 && hf_shard_may_take(shard))
        hf_paging_scan(shard);
    if (!err)
        err = hf_pull(shard);
    return err;
}

void *hf_dispatch_main(void *user)
{
    hf_shard *shard = user;
    uint64_t seconds = 0;
    int err;
    while (!atomic_load(&shard->stop)) {
        uint32_t bell = atomic_load(&shard->bell);
        bool mail = collect_mail(shard);
        err = one_round(shard);
        if (err)
            hf_engine_log(shard->engine, HF_ERROR, "shard %u: %s", shard->index, hf_strerror(err));
        if (hf_clock_mono_ns() / 1000000000 != seconds) {
            seconds = hf_clock_mono_ns() / 1000000000;
            shard->seconds = (uint32_t)seconds;
            hf_resident_sweep(shard);
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
