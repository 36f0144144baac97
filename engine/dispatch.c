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
#include "engine/census.h"

#include "engine/conflate.h"
#include "engine/inbox.h"
#include "engine/limit.h"
#include "engine/alarms.h"
#include "engine/cancel.h"
#include "engine/expiry.h"
#include "engine/flush.h"
#include "engine/schedule.h"
#include "engine/pause.h"
#include "engine/pool.h"
#include "engine/rows.h"
#include "engine/suspect.h"
#include "engine/timebase.h"
#include "engine/urgency.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/sharing.h"
#include "storage/testpoint.h"

enum {
    TURNS_EACH  = 64,        /* of one mailbox before the next */
};

/* ---- Mailboxes and the ready list */

void hf_dispatch_ready(hf_shard *shard, hf_mailbox *box)
{
    if (box->in) {
        if (box->level < box->urgency)
            hf_line_raise(box);
        return;
    }
    hf_line *line = &shard->ready;
    uint32_t kind = box->actor->kind->index;
    if (shard->held && shard->held[kind].count)
        line = &shard->held[kind]; /* behind those who came before */
    hf_line_put(line, box, shard->now_ms);
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

static uint64_t due_ns_of(const hf_shard *shard, uint64_t due_ms)
{
    uint64_t now = hf_timebase_now(shard->engine);
    return hf_clock_mono_ns() + (due_ms > now ? (due_ms - now) * 1000000 : 0);
}

/* What the turn saved is the actor's state from now on. */
static int take_state(hf_shard *shard, const hf_turn *turn, hf_actor *actor)
{
    if (!turn->saved && !turn->forgot)
        return HF_OK;
    int err = actor->kind->flush ? hf_dirty_ready(shard, actor) : HF_OK;
    const uint8_t *save = hf_batch_facts(turn->batch)->data + turn->save_at;
    hf_bytes state = { NULL, 0 };
    if (turn->saved)
        state = hf_view(save + HF_ENTRY_HEAD, hf_get32(save + 4));
    if (!err)
        err = hf_actor_set_state(&shard->actors, actor, state);
    if (!err && turn->saved)
        actor->version = (uint8_t)actor->kind->is.version;
    if (!err && actor->kind->flush) {
        hf_dirty_turn(shard, actor, turn);
        hf_flush_hold(turn);
    }
    return err;
}

/* The turn stands: what it saved is the actor's state, its message is done. */
static int keep_turn(hf_shard *shard, hf_turn *turn, hf_actor *actor, const hf_letter_in *letter)
{
    hf_batch *batch = turn->batch;
    int err = HF_OK;
    if (letter && !letter->page && letter->place >= shard->folded)
        err = hf_batch_done(batch, letter->place);
    else
        err = hf_outcome_ack(batch, turn->e);
    if (!err && turn->alarms)
        err = hf_alarms_ready(shard, turn);
    if (!err)
        err = take_state(shard, turn, actor);
    if (err)
        return err;
    if (turn->alarms)
        hf_alarms_staged(shard, turn, batch->sequence);
    if (turn->rows)
        hf_rows_keep(shard, actor, turn->rows, batch->sequence);
    if (turn->saved || turn->forgot)
        hf_images_saved(actor, turn);
    batch->turns++;
    hf_census_add(&hf_census_of(turn)->done);
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
    if (!err && turn->alarms)
        err = hf_alarms_ready(shard, turn);
    if (!err)
        err = take_state(shard, turn, actor); /* the failed hook's */
    if (err) {
        if (fresh)
            hf_dispatch_parcel_drop(shard, p);
        return err;
    }
    if (turn->alarms)
        hf_alarms_staged(shard, turn, turn->batch->sequence);
    actor->batch = turn->batch->sequence;
    if (turn->rows)
        hf_rows_keep(shard, actor, turn->rows, actor->batch);
    if (fresh)
        hf_mailbox_insert(box, p);
    if (due_ms) {
        hf_dispatch_rest(shard, p, due_ns_of(shard, due_ms));
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

/* A note of a child runs no code of the user's: it is no turn to a limit, and needs no
 * pool. */
static bool is_limited(const hf_actor *actor, const hf_entry *e)
{
    return actor->kind->limit && !hf_entry_is_ours(e);
}

/* One message, one turn. letter or parcel says where it came from. */
int hf_dispatch_turn(hf_shard *shard, hf_actor *actor, const hf_entry *e,
                    const hf_letter_in *letter, hf_parcel *p)
{
    hf_engine *engine = shard->engine;
    hf_turn *turn = shard->turn;
    hf_batch *batch = hf_shard_batch(shard);
    bool limited = is_limited(actor, e); /* what e points to may end with its parcel */
    if (!batch) {
        if (limited)
            hf_limit_ended_here(shard, actor->kind, HF_SAYS_NOTHING);
        return HF_ENOMEM;
    }
    shard->slot->hash = e->hash;
    shard->slot->id = e->id;
    turn->parcel = p;
    hf_turn_begin(turn, actor->kind, batch, e, actor);
    bool stands = hf_turn_run(turn);
    hf_turn_says says = hf_limit_says(turn, stands);
    int err;
    if (stands && hf_turn_must_wait(turn)) {
        err = hold_turn(shard, turn, actor, p);
        says = HF_SAYS_NOTHING;
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
    if (turn->scratch || turn->rows)
        hf_turn_end(turn);
    shard->slot->id = 0;
    if (hf_suspects_any(engine))
        hf_suspect_ended(engine, e->id);
    if (limited)
        hf_limit_ended_here(shard, actor->kind, err ? HF_SAYS_NOTHING : says);
    bool tight = atomic_load_explicit(&engine->tight, memory_order_relaxed);
    if (!err && batch == shard->batch
        && (shard->reads_on /* what is to be read must be on its way */
            || batch->turns >= engine->batch_turns
            || hf_batch_facts(batch)->len >= engine->batch_bytes
            || batch->segments[shard->index].len >= engine->batch_bytes /* alarms, too */
            || (turn->sends && hf_batch_bytes(batch) >= engine->batch_bytes)
            || batch->sends >= (tight ? 1 : engine->batch_turns / 8)))
        hf_shard_submit(shard);
    return err;
}

enum { BLOCKED = 1 };

/* ---- Letters */

void hf_dispatch_decode(const hf_letter_in *letter, hf_entry *e)
{
    /* Checked when it was paged in, or written by ourselves. */
    size_t size = hf_entry_decode(letter->entry, SIZE_MAX, e);
    HF_ASSERT(size);
    if (e->flags & HF_ENTRY_SHARES) {
        bool whole = hf_sharing_find(letter->entry - e->back, letter->entry, e);
        HF_ASSERT(whole);
    }
    e->id = letter->id;
    e->place = letter->place;
    if (!e->sent)
        e->sent = letter->time_ms;
}

static int start_on_pool(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    /* Notes of its children ran here: they commit before it does. */
    if (shard->batch && box->actor->batch == shard->batch->sequence)
        hf_shard_submit(shard);
    p->shard = shard;
    p->era = shard->era;
    p->now = HF_PARCEL_RUNS;
    p->more = box->letters.count || box->paged.count || box->actor->rows;
    p->rows_left = hf_rows_lend(shard, box->actor);
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
    if (!p) {
        if (box->actor->kind->limit)
            hf_limit_ended_here(shard, box->actor->kind, HF_SAYS_NOTHING);
        return HF_ENOMEM;
    }
    hf_mailbox_insert(box, p);
    hf_urgency_pop(box, from);
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
    hf_urgency_pop(box, from);
    hf_dispatch_rest(shard, p, due_ns_of(shard, e->due));
    return HF_OK;
}

/* It may have killed the process: does it wait, die, or (BLOCKED) run? */
static int check_parcel(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    uint64_t wait_ns;
    switch (hf_suspect_judge(shard->engine, box->actor->kind, &p->e, &wait_ns)) {
    case HF_MAY_RUN:   return BLOCKED;
    case HF_MUST_WAIT: hf_dispatch_rest(shard, p, hf_clock_mono_ns() + wait_ns); return HF_OK;
    default:           return hf_expiry_suspect(shard, box, p);
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
    if (shard->doomed) {
        int wants = hf_cancel_letter(shard, box, from, &e);
        if (wants != HF_GOES_ON)
            return wants;
    }
    if (e.due && e.reason != HF_DUE_PASSED && e.due > hf_timebase_now(shard->engine))
        return rest_letter(shard, box, from, &e);
    if (e.op != HF_OP_SEND || e.expires || e.phase) {
        int wants = hf_expiry_letter(shard, box, from, &letter, &e);
        if (wants != HF_GOES_ON)
            return wants;
    }
    if (hf_suspects_any(shard->engine)) {
        int checked = check_letter(shard, box, from, &e);
        if (checked != BLOCKED)
            return checked;
    }
    if (e.flags & HF_ENTRY_CONFLICT)
        return hf_conflict_bury(shard, box, from);
    if (is_limited(box->actor, &e) && !hf_limit_admit(shard, box))
        return BLOCKED;
    if (shard->ahead)
        shard->ahead--;
    if (box->actor->kind->pooled && !hf_entry_is_ours(&e))
        return start_letter(shard, box, from);
    int err = hf_dispatch_turn(shard, box->actor, &e, &letter, NULL);
    if (!err)
        hf_urgency_pop(box, from);
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
    if (p->e.op == HF_OP_DUE || p->e.phase || p->e.expires) {
        int wants = hf_expiry_parcel(shard, box, p);
        if (wants != HF_GOES_ON)
            return wants;
    }
    if (hf_suspects_any(shard->engine)) {
        int checked = check_parcel(shard, box, p);
        if (checked != BLOCKED)
            return checked;
    }
    if (is_limited(box->actor, &p->e) && !hf_limit_admit(shard, box))
        return BLOCKED;
    if (box->actor->kind->pooled && !hf_entry_is_ours(&p->e))
        return start_on_pool(shard, box, p);
    hf_entry e = p->e;
    return hf_dispatch_turn(shard, box->actor, &e, NULL, p);
}

/* A requeued message may belong before what was paged in. */
static bool comes_first(const hf_mailbox *box, const hf_parcel *p)
{
    const hf_letters *l = box->paged.count ? &box->paged : &box->letters;
    return (!l->count || p->e.place < l->items[l->first].place)
        && p->e.place < hf_conflate_front(box);
}

/* Letters that replace each other stand where the oldest of them stood. */
static bool newest_first(const hf_mailbox *box)
{
    const hf_letters *l = box->paged.count ? &box->paged : &box->letters;
    uint64_t front = hf_conflate_front(box);
    return front != UINT64_MAX && (!l->count || front < l->items[l->first].place);
}

static int run_newest(hf_shard *shard, hf_mailbox *box)
{
    hf_parcel *p;
    int err = hf_conflate_take(shard, box, &p);
    if (err)
        return err;
    err = run_parcel(shard, box, p);
    if (err == BLOCKED)
        hf_conflate_back(box, p);
    return err;
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
    if (err || (box->words_end && !hf_alarms_know(shard, box)))
        return err; /* what its turn said of alarms comes first */
    /* Rows first: `taken` must never pass one that was not looked at. */
    if (!box->paged.count && actor->rows) {
        err = hf_paging_fill(shard, actor);
        if (err || (!box->paged.count && actor->rows))
            return err; /* a page of rows that have ended; look further */
        if (actor->damaged)
            return BLOCKED;
    }
    if (box->conflated && hf_conflate_unlooked(box))
        return hf_conflate_look(shard, box);
    if (p && comes_first(box, p))
        return run_parcel(shard, box, p);
    if (box->conflated && newest_first(box))
        return run_newest(shard, box);
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
        if (may && (shard->reads_on || hf_urgency_calls(shard)
                    || atomic_load_explicit(&shard->engine->phase, memory_order_relaxed)
                           != HF_LIVE))
            break;
        if (may)
            err = step_mailbox(shard, box);
    }
    if (box->full)
        hf_inbox_look(shard, box);
    if (err == BLOCKED && hf_mailbox_is_empty(box) && !box->in)
        drop_mailbox(shard, box);
    else if (err != BLOCKED)
        hf_dispatch_ready(shard, box);
    return err == BLOCKED ? HF_OK : err;
}

bool hf_shard_may_take(const hf_shard *shard)
{
    bool tight = atomic_load_explicit(&shard->engine->tight, memory_order_relaxed);
    return shard->uncommitted < (tight ? HF_UNCOMMITTED_TIGHT : HF_UNCOMMITTED_MAX)
           && !atomic_load(&shard->stop)
           && !atomic_load_explicit(&shard->engine->crowded, memory_order_relaxed)
           && atomic_load_explicit(&shard->engine->phase, memory_order_relaxed) == HF_LIVE;
}

int hf_dispatch_line(hf_shard *shard)
{
    int err = HF_OK;
    for (uint32_t n = shard->ready.count; n && !err && hf_shard_may_take(shard)
         && !shard->reads_on && !hf_urgency_calls(shard); n--) {
        hf_mailbox *box = hf_line_take(&shard->ready, shard->now_ms);
        err = run_mailbox(shard, box);
        if (err == BLOCKED) { /* somebody else must run alone first */
            hf_dispatch_ready(shard, box);
            err = HF_OK;
        }
    }
    return err;
}
