/* cancel.c - take messages out of inboxes: for good, or for another body.
 *
 * Happy path: each shard holds the messages: an id in its set keeps a letter from being
 * begun, wherever it is, a parcel that rests goes on resting. When what the shard had
 * staged is on disk the store says which of them still wait; the shard buries those as if
 * their handler had, with all that follows from a death in the same commit. Their letters
 * are passed over when they are met; once the fold has moved the death into the tables
 * nobody can meet them any more. One that has steps to undo becomes a parcel again that
 * undoes them; one that an operator edited (a REQUEUE) a parcel with its new body, where
 * it stood. A delayed letter has its new words noted, and they are what goes off.
 *
 * Fails: a shard in a long turn does not answer, then nothing happens; without memory a
 * message is let go. What a thread has in its hands is only asked to stop. The errands run
 * on the shards' threads, the rest on one that answers. */
#include "engine/cancel.h"

#include "engine/alarms.h"
#include "engine/endset.h"
#include "engine/expiry.h"
#include "engine/suspect.h"
#include "engine/timebase.h"
#include "engine/turn.h"
#include "engine/urgency.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>
#include <time.h>

enum { WAIT_MS = 3000 }; /* for a shard in a turn */

#define FROZEN (UINT64_MAX / 2) /* ns: rests until somebody says otherwise */

/* ---- On the shard */

static uint64_t doom_of(const hf_shard *shard, uint64_t id)
{
    return shard->doomed ? hf_endset_batch(shard->doomed, id) : 0;
}

static hf_parcel *parcel_of(const hf_actor *actor, uint64_t id)
{
    hf_parcel *p = actor->mailbox ? actor->mailbox->parcels : NULL;
    while (p && p->e.id != id)
        p = p->next;
    return p;
}

static int find_actor(hf_shard *shard, const hf_entry *m, hf_actor **out)
{
    *out = hf_actors_find(&shard->actors, m->hash, m->to, m->to_len);
    return *out ? HF_OK : hf_resident_load(shard, m->hash, m->to, m->to_len, out);
}

int hf_cancel_letter(hf_shard *shard, hf_mailbox *box, hf_letters *from, const hf_entry *m)
{
    uint64_t doom = doom_of(shard, m->id);
    if (!doom)
        return HF_GOES_ON;
    if (doom == HF_END_KEPT) { /* until it is known what becomes of it */
        hf_parcel *p = hf_dispatch_parcel(shard, box->actor, m);
        if (!p)
            return HF_ENOMEM;
        hf_mailbox_insert(box, p);
        hf_dispatch_rest(shard, p, FROZEN);
    }
    if (box->actor->taken < m->place)
        box->actor->taken = m->place;
    hf_urgency_pop(box, from);
    return HF_OK;
}

void hf_cancel_done(hf_shard *shard)
{
    if (shard->doomed)
        hf_endset_free(shard->doomed);
    hf_mem_free(shard->doomed);
    shard->doomed = NULL;
}

/* True: a thread has it. */
static int hold(hf_shard *shard, const hf_entry *m, bool *runs)
{
    hf_actor *actor;
    int err = find_actor(shard, m, &actor);
    hf_parcel *p = !err && actor ? parcel_of(actor, m->id) : NULL;
    *runs = p && p->now != HF_PARCEL_RESTS;
    if (err || *runs) {
        if (p && m->op != HF_OP_REQUEUE)
            atomic_store(&p->stop, true);
        return err;
    }
    err = hf_endset_reserve(shard->doomed, 1);
    if (!err && m->op == HF_OP_SEND && m->flags & HF_ENTRY_DELAYED)
        err = hf_alarms_force(shard, m);
    if (err)
        return err;
    hf_endset_put(shard->doomed, m->id, HF_END_KEPT);
    if (p)
        hf_dispatch_rest(shard, p, FROZEN);
    return HF_OK;
}

static void let_go(hf_shard *shard, const hf_entry *m)
{
    hf_actor *actor = hf_actors_find(&shard->actors, m->hash, m->to, m->to_len);
    hf_parcel *p = actor ? parcel_of(actor, m->id) : NULL;
    if (doom_of(shard, m->id) == HF_END_KEPT)
        hf_endset_put(shard->doomed, m->id, 0);
    if (!p || p->now != HF_PARCEL_RESTS || p->due_ns != FROZEN)
        return;
    uint64_t now = hf_timebase_now(shard->engine), due = p->e.due;
    hf_dispatch_rest(shard, p, hf_clock_mono_ns() + (due > now ? (due - now) * 1000000 : 0));
    hf_dispatch_ready(shard, actor->mailbox);
}

/* Its record may be gone once the death is committed, and a page is not read again. */
static void drop_letter(hf_mailbox *box, hf_letters *l, uint64_t id)
{
    uint32_t mask = l->slots - 1, at = 0;
    while (at < l->count && l->items[(l->first + at) & mask].id != id)
        at++;
    if (at == l->count)
        return;
    hf_letter_in found = l->items[(l->first + at) & mask];
    for (; at; at--)
        l->items[(l->first + at) & mask] = l->items[(l->first + at - 1) & mask];
    l->items[l->first & mask] = found;
    hf_urgency_pop(box, l);
}

/* It has begun steps: they are undone first. */
static int undo_first(hf_shard *shard, hf_actor *actor, hf_parcel *p, bool fresh,
                      const hf_entry *m, hf_batch *batch)
{
    hf_mailbox *box;
    uint32_t phase = p->e.phase;
    int err = hf_dispatch_mailbox(shard, actor, &box);
    if (!err)
        err = hf_parcel_note(p, m->err, m->error, hf_clock_wall_ms());
    if (!err)
        err = hf_parcel_annotate(p, m->notes);
    p->e.phase = 1;
    p->e.due = 0;
    if (!err)
        err = hf_outcome_retry(batch, &p->e);
    if (err) {
        p->e.phase = phase;
        return err;
    }
    if (fresh) {
        p->requeued = true; /* its steps may lie anywhere */
        hf_mailbox_insert(box, p);
    }
    hf_dispatch_rest(shard, p, hf_clock_mono_ns());
    hf_dispatch_ready(shard, box);
    return HF_OK;
}

static int bury_now(hf_shard *shard, hf_actor *actor, hf_parcel *p, const hf_entry *m,
                    hf_batch *batch)
{
    hf_turn *turn = shard->turn;
    hf_entry was = p->e;
    turn->parcel = p;
    hf_turn_begin(turn, actor->kind, batch, &p->e, NULL);
    p->e.phase = 0;
    p->e.err = m->err;
    p->e.error = m->error;
    p->e.error_len = m->error_len;
    p->e.notes = m->notes;
    int err = hf_outcome_bury(turn, &p->e);
    if (err) {
        hf_turn_cut(turn);
        p->e = was;
    }
    if (turn->scratch || turn->rows)
        hf_turn_end(turn);
    turn->parcel = NULL;
    return err;
}

/* Not read yet: its record must not go while the shard reads it. */
static bool is_ahead(const hf_shard *shard, const hf_entry *m)
{
    return m->place >= shard->at->base + (shard->at_done ? shard->at->count : shard->at_index)
        && m->place >= shard->folded;
}

/* HF_EAGAIN: it will soon be where it can be buried. */
static int bury(hf_shard *shard, const hf_entry *m)
{
    hf_actor *actor;
    int err = find_actor(shard, m, &actor);
    if (err || !actor)
        return err;
    hf_parcel *p = parcel_of(actor, m->id);
    bool fresh = !p;
    if (fresh ? doom_of(shard, m->id) != HF_END_KEPT : p->now != HF_PARCEL_RESTS)
        return HF_OK;
    if (fresh && is_ahead(shard, m))
        return HF_EAGAIN;
    hf_batch *batch = hf_shard_batch(shard);
    if (batch && fresh)
        p = hf_dispatch_parcel(shard, actor, m);
    if (!batch || !p)
        return HF_ENOMEM;
    bool undoes = actor->kind->is.undo && actor->kind->pooled && m->flags & HF_ENTRY_STEPS;
    err = undoes ? undo_first(shard, actor, p, fresh, m, batch)
                 : bury_now(shard, actor, p, m, batch);
    if (err) {
        if (fresh)
            hf_dispatch_parcel_drop(shard, p);
        return err;
    }
    if (hf_suspects_any(shard->engine))
        hf_suspect_ended(shard->engine, m->id);
    actor->batch = batch->sequence;
    if (doom_of(shard, m->id))
        hf_endset_put(shard->doomed, m->id, batch->sequence);
    if (actor->mailbox) {
        drop_letter(actor->mailbox, &actor->mailbox->paged, m->id);
        drop_letter(actor->mailbox, &actor->mailbox->letters, m->id);
        hf_dispatch_ready(shard, actor->mailbox);
    }
    if (!undoes && fresh)
        hf_dispatch_parcel_drop(shard, p);
    else if (!undoes)
        hf_dispatch_parcel_done(shard, p);
    if (hf_batch_bytes(batch) >= shard->engine->batch_bytes)
        hf_shard_submit(shard);
    return HF_OK;
}

/* ---- Another body */

/* In the store it takes the old one's place; there is not one more of them. */
static int stage_edit(hf_batch *batch, const hf_entry *m)
{
    hf_segment *facts = hf_batch_facts(batch);
    int err = hf_segment_add(facts, m);
    if (!err)
        facts->requeues--;
    return err;
}

/* A parcel keeps what is known of its steps. */
static void rewrite(hf_shard *shard, hf_parcel *p, hf_parcel *from)
{
    uint8_t *bytes = p->bytes;
    p->bytes = from->bytes;
    p->e = from->e;
    from->bytes = bytes;
    hf_dispatch_parcel_drop(shard, from);
}

/* HF_EAGAIN: it will soon be where it can be edited. HF_ENOTFOUND: a delayed letter has
 * just become a message. */
static int edit(hf_shard *shard, const hf_entry *m)
{
    hf_actor *actor;
    hf_mailbox *box;
    hf_batch *batch = hf_shard_batch(shard);
    if (!batch)
        return HF_ENOMEM;
    if (m->flags & HF_ENTRY_DELAYED)
        return hf_alarms_reword(shard, m, batch);
    int err = find_actor(shard, m, &actor);
    hf_parcel *p = err || !actor ? NULL : parcel_of(actor, m->id);
    if (err || !actor || (p ? p->now != HF_PARCEL_RESTS : doom_of(shard, m->id) != HF_END_KEPT))
        return err;
    if (!p && is_ahead(shard, m))
        return HF_EAGAIN;
    hf_parcel *fresh = hf_dispatch_parcel(shard, actor, m);
    if (!fresh)
        return HF_ENOMEM;
    err = hf_dispatch_mailbox(shard, actor, &box);
    if (!err)
        err = stage_edit(batch, &fresh->e);
    if (err) {
        hf_dispatch_parcel_drop(shard, fresh);
        return err;
    }
    if (p) {
        rewrite(shard, p, fresh);
    } else {
        fresh->requeued = true; /* its steps may lie anywhere */
        hf_mailbox_insert(box, fresh);
        hf_dispatch_rest(shard, fresh, FROZEN);
        hf_endset_put(shard->doomed, m->id, batch->sequence);
        drop_letter(box, &box->paged, m->id);
        drop_letter(box, &box->letters, m->id);
    }
    actor->batch = batch->sequence;
    if (hf_batch_bytes(batch) >= shard->engine->batch_bytes)
        hf_shard_submit(shard);
    return HF_OK;
}

/* ---- Errands: to all shards at once */

typedef enum part { HOLD, BURY, LET_GO, AWAIT } part;
typedef enum progress { SENT, TAKEN, DONE, GIVEN_UP } progress;

typedef struct cancel_errand {
    hf_errand       errand;
    atomic_int      progress;
    part            part;
    int             err;
    const hf_entry *items;
    bool           *runs;   /* HOLD: one an item */
    uint32_t        count;
    uint64_t        batch;  /* the newest that the shard submitted; AWAIT: is it on disk? */
} cancel_errand;

static int do_one(hf_shard *shard, cancel_errand *r, uint32_t i)
{
    const hf_entry *m = &r->items[i];
    if (hf_address_shard(m->hash, shard->engine->shard_count) != shard->index)
        return HF_OK;
    if (r->part == HOLD)
        return hold(shard, m, &r->runs[i]);
    if (r->part == BURY)
        return m->op == HF_OP_REQUEUE ? edit(shard, m) : bury(shard, m);
    let_go(shard, m);
    return HF_OK;
}

static int prepare(hf_shard *shard, part what)
{
    if (what == HOLD && !shard->doomed) {
        shard->doomed = hf_mem_zero(1, sizeof *shard->doomed);
        if (!shard->doomed)
            return hf_error(HF_ENOMEM, "a cancel");
    }
    if (what == HOLD)
        hf_endset_trim(shard->doomed, 0, shard->folded_batch);
    return HF_OK;
}

static void run_errand(hf_shard *shard, hf_errand *errand)
{
    cancel_errand *r = (cancel_errand *)errand;
    int sent = SENT;
    if (!atomic_compare_exchange_strong(&r->progress, &sent, TAKEN)) {
        hf_mem_free(r); /* nobody waits for it any more */
        return;
    }
    if (r->part == AWAIT) {
        r->err = shard->committed < r->batch ? HF_EAGAIN : HF_OK;
        atomic_store(&r->progress, DONE);
        return;
    }
    r->err = prepare(shard, r->part);
    for (uint32_t i = 0; !r->err && i < r->count; i++)
        r->err = do_one(shard, r, i);
    hf_shard_submit(shard);
    r->batch = shard->batch ? shard->batch->sequence - 1 : shard->batch_number;
    atomic_store(&r->progress, DONE);
}

/* What came of it; frees it unless its shard has to. */
static int wait_for(cancel_errand *r, uint64_t until_ns, uint64_t *batch)
{
    while (atomic_load(&r->progress) != DONE) {
        struct timespec pause = { 0, 200000 };
        int sent = SENT;
        if (r->part == HOLD && hf_clock_mono_ns() > until_ns
            && atomic_compare_exchange_strong(&r->progress, &sent, GIVEN_UP))
            return hf_error(HF_ETIMEDOUT, "a turn that lasts long holds up a shard");
        (void)nanosleep(&pause, NULL);
    }
    int err = r->err;
    *batch = r->batch;
    hf_mem_free(r);
    return err;
}

static int send_all(hf_cancel *c, part what, const hf_entry *items, uint32_t count, bool *runs)
{
    hf_engine *engine = c->engine;
    cancel_errand **sent = hf_mem_zero(engine->shard_count, sizeof *sent);
    uint64_t until_ns = hf_clock_mono_ns() + (uint64_t)WAIT_MS * 1000000;
    int err = sent ? HF_OK : hf_error(HF_ENOMEM, "a cancel");
    for (uint32_t i = 0; !err && i < engine->shard_count; i++) {
        if (c->silent[i])
            continue;
        sent[i] = hf_mem_zero(1, sizeof **sent);
        if (!sent[i]) {
            err = hf_error(HF_ENOMEM, "a cancel");
            break;
        }
        *sent[i] = (cancel_errand){ .errand = { .run = run_errand }, .part = what,
                                    .items = items, .runs = runs, .count = count,
                                    .batch = c->batches[i] };
        hf_shard_send_errand(&engine->shards[i], &sent[i]->errand);
    }
    for (uint32_t i = 0; sent && i < engine->shard_count; i++) {
        int one = sent[i] ? wait_for(sent[i], until_ns, &c->batches[i]) : HF_OK;
        c->silent[i] |= one == HF_ETIMEDOUT;
        err = err ? err : one;
    }
    hf_mem_free(sent);
    return err;
}

/* The same part until all of it is done: what they did before they pass over. */
static int send_until(hf_cancel *c, part what, const hf_entry *items, uint32_t count)
{
    int err;
    while ((err = send_all(c, what, items, count, NULL)) == HF_EAGAIN) {
        struct timespec pause = { 0, 500000 };
        if ((err = hf_engine_check(c->engine)))
            break;
        (void)nanosleep(&pause, NULL);
    }
    return err;
}

/* ---- Who answers */

static int add_items(hf_entry *items, uint32_t *count, const hf_segment *from)
{
    const uint8_t *at = from->data, *end = at ? at + from->len : at;
    while (at < end) {
        size_t size = hf_entry_decode(at, (size_t)(end - at), &items[*count]);
        if (!size)
            return hf_error(HF_ECORRUPT, "an entry of a change can't be read");
        *count += 1;
        at += size;
    }
    return HF_OK;
}

static int by_number(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static void note_asked(hf_cancel *c, hf_watch *watch, const bool *runs)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (runs[i]) {
            c->asked[c->asked_count++] = c->items[i].id;
            if (c->items[i].op != HF_OP_REQUEUE)
                hf_watch_stop(watch, c->items[i].id);
        }
    qsort(c->asked, c->asked_count, sizeof *c->asked, by_number);
}

int hf_cancel_begin(hf_cancel *c, hf_engine *engine, hf_watch *watch, const hf_segment *waiting,
                    const hf_segment *delayed)
{
    uint32_t most = waiting->count + delayed->count;
    *c = (hf_cancel){ .engine = engine };
    if (!most)
        return HF_OK;
    c->items = hf_mem_zero(most, sizeof *c->items);
    c->asked = hf_mem_zero(most, sizeof *c->asked);
    c->batches = hf_mem_zero(engine->shard_count, sizeof *c->batches);
    bool *runs = hf_mem_zero(most, sizeof *runs);
    c->silent = hf_mem_zero(engine->shard_count, sizeof *c->silent);
    int err = c->items && c->asked && c->silent && c->batches && runs
                  ? HF_OK
                  : hf_error(HF_ENOMEM, "a cancel");
    if (!err)
        err = add_items(c->items, &c->count, waiting);
    if (!err)
        err = add_items(c->items, &c->count, delayed);
    c->held = !err;
    if (!err)
        err = send_all(c, HOLD, c->items, c->count, runs);
    if (!err)
        note_asked(c, watch, runs);
    if (!err)
        err = send_until(c, AWAIT, NULL, 0);
    hf_mem_free(runs);
    return err;
}

int hf_cancel_end(hf_cancel *c, const hf_segment *ending)
{
    hf_entry *items = NULL;
    uint32_t count = 0;
    int err = HF_OK;
    if (c->held && ending && ending->count) {
        items = hf_mem_zero(ending->count, sizeof *items);
        err = items ? add_items(items, &count, ending) : hf_error(HF_ENOMEM, "a cancel");
        if (!err)
            err = send_until(c, BURY, items, count);
    }
    if (c->held) {
        int let = send_all(c, LET_GO, c->items, c->count, NULL);
        err = err ? err : let;
    }
    if (!err && count)
        err = send_until(c, AWAIT, NULL, 0);
    hf_mem_free(items);
    hf_mem_free(c->items);
    hf_mem_free(c->asked);
    hf_mem_free(c->silent);
    hf_mem_free(c->batches);
    *c = (hf_cancel){ .engine = c->engine };
    return err;
}
