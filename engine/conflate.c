/* conflate.c - gather letters by kind, hand over the newest.
 *
 * Happy path: a letter joins those of its kind; a heap knows whose oldest stands first.
 * Taken, the newest becomes a parcel at the oldest one's place. So that neither memory
 * nor disk fills up behind an actor that is slow or paused, so many of one kind are
 * replaced at once, as soon as they are there.
 *
 * Fails for want of memory: then all is as it was. A damaged row sets the actor aside.
 * The shard's thread. */
#include "engine/conflate.h"

#include "engine/latest.h"
#include "engine/suspect.h"
#include "engine/turn.h"
#include "engine/urgency.h"

#include "storage/assert.h"
#include "storage/error.h"
#include "storage/memory.h"

/* Did an earlier run begin it? Then what its steps did must go on, or be undone. */
static int has_steps(const hf_shard *shard, const hf_entry *e, bool *yes)
{
    const hf_engine *engine = shard->engine;
    const uint8_t *at = engine->old_steps, *end = at + engine->old_steps_len;
    hf_txn *txn;
    hf_cursor *cursor;
    hf_key from;
    hf_bytes key, value;
    *yes = false;
    while (at < end && !*yes) {
        hf_entry step;
        at += hf_entry_decode(at, (size_t)(end - at), &step);
        *yes = step.id == e->id;
    }
    int err = *yes ? HF_OK : hf_txn_read(engine->disk, &txn);
    if (err || *yes)
        return err;
    hf_key_step(&from, e->id, 0, 0);
    err = hf_cursor_open(txn, HF_IN_STEPS, &cursor);
    if (!err) {
        err = hf_cursor_seek(cursor, hf_key_bytes(&from), &key, &value);
        *yes = !err && key.len == 24 && memcmp(key.data, from.bytes, 8) == 0;
        hf_cursor_close(cursor);
    }
    hf_txn_abort(txn);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* May a newer one take its place? Not what was begun, in this run or before. */
static int may_replace(const hf_shard *shard, const hf_actor *actor, const hf_entry *e, bool *yes)
{
    const hf_engine *engine = shard->engine;
    bool steps = false;
    *yes = (e->flags & HF_ENTRY_CONFLATES) && !(e->flags & (HF_ENTRY_CONFLICT | HF_ENTRY_STEPS))
        && !e->attempt && !e->phase && (!e->due || e->reason == HF_DUE_PASSED);
    if (!*yes || !actor->kind->pooled || e->id >= engine->first_id)
        return HF_OK;
    int err = has_steps(shard, e, &steps);
    *yes = !steps;
    return err;
}

enum { LOOK_ROWS = 256 };

static int relieve(hf_shard *shard, hf_mailbox *box);

int hf_conflate_letter(hf_shard *shard, hf_mailbox *box, const hf_letter_in *letter)
{
    struct hf_conflated *c;
    hf_entry e;
    bool ours;
    hf_dispatch_decode(letter, &e);
    int err = may_replace(shard, box->actor, &e, &ours);
    if (err || !ours)
        return err ? err : hf_letters_push(&box->letters, letter);
    err = hf_conflated_of(box, &c);
    hf_letter_in own = *letter;
    own.id = e.id;
    if (!err)
        err = hf_latest_add(box, &e, &own);
    if (!err && c->crowded)
        (void)relieve(shard, box); /* later, if not now */
    return err;
}

/* Is it here already? */
static bool is_known(const hf_mailbox *box, const hf_entry *e)
{
    const struct hf_conflated *c = box->conflated;
    const hf_latest *l = hf_latest_find(c, e);
    for (const hf_parcel *p = box->parcels; p; p = p->next)
        if (p->e.id == e->id)
            return true;
    return (l && l->held && l->held->e.id == e->id) || hf_endset_has(&c->ends, e->place);
}

int hf_conflate_row(hf_shard *shard, hf_actor *actor, const hf_entry *row, bool *kept)
{
    struct hf_conflated *c;
    hf_mailbox *box;
    int err = hf_dispatch_mailbox(shard, actor, &box);
    if (!err)
        err = hf_conflated_of(box, &c);
    if (!err)
        err = may_replace(shard, actor, row, kept);
    if (err)
        return err;
    if (*kept) {
        c->unlooked |= row->place > c->looked;
        return HF_OK;
    }
    /* Whoever looks later must not think otherwise. */
    err = hf_endset_reserve(&c->ends, 1);
    if (!err && row->place > c->looked)
        hf_endset_put(&c->ends, row->place, HF_END_KEPT);
    return err;
}

/* ---- Looking through the rows */

typedef struct look {
    hf_shard   *shard;
    hf_mailbox *box;
    hf_key      key;  /* the actor's */
    uint32_t    rows;
} look;

enum { STOP = 1, FULL = 2 };

static int see_row(void *user, hf_bytes key, hf_bytes payload)
{
    look *by = user;
    struct hf_conflated *c = by->box->conflated;
    hf_entry e;
    bool ours;
    if (key.len != by->key.len + 8 || memcmp(key.data, by->key.bytes, by->key.len) != 0
        || hf_get64_key((const uint8_t *)key.data + by->key.len) >= by->shard->folded)
        return STOP;
    if (by->rows++ == LOOK_ROWS)
        return FULL;
    int err = hf_row_message_in(HF_IN_INBOX, key, payload, &e);
    if (!err)
        err = may_replace(by->shard, by->box->actor, &e, &ours);
    hf_letter_in letter = { NULL, NULL, e.id, e.place, e.sent };
    if (!err && ours && !is_known(by->box, &e))
        err = hf_latest_add(by->box, &e, &letter);
    if (!err)
        c->looked = e.place;
    return err;
}

int hf_conflate_look(hf_shard *shard, hf_mailbox *box)
{
    struct hf_conflated *c = box->conflated;
    hf_actor *actor = box->actor;
    look by = { .shard = shard, .box = box };
    hf_overlay tables;
    hf_key from;
    int err = hf_paging_look(shard, &shard->near_inbox, &tables);
    if (err)
        return err;
    hf_key_actor(&by.key, actor->address, actor->len, actor->hash);
    hf_key_place(&from, actor->address, actor->len, actor->hash, c->looked + 1);
    tables.within = hf_key_bytes(&by.key);
    err = hf_overlay_walk(&tables, HF_IN_INBOX, hf_key_bytes(&from), see_row, &by);
    hf_txn_abort(tables.txn);
    if (err == HF_OK || err == STOP) {
        c->unlooked = false;
        if (c->looked + 1 < shard->folded)
            c->looked = shard->folded - 1;
    }
    if (err == HF_ECORRUPT || err == HF_EVERSION) {
        actor->damaged = true;
        hf_engine_log(shard->engine, HF_ERROR, "%s is set aside: a message is damaged (%s)",
                      actor->address, hf_error_detail());
    } else if (err && err != STOP && err != FULL) {
        return err;
    }
    return c->crowded ? relieve(shard, box) : HF_OK;
}

/* ---- The newest one takes the others' place */

/* The newest letter, as a parcel at the place of the oldest. */
static int make_parcel(hf_shard *shard, hf_actor *actor, const hf_latest *l, hf_parcel **out)
{
    hf_overlay tables = { .txn = NULL };
    hf_bytes payload;
    hf_entry e;
    hf_key key;
    int err = HF_OK;
    bool is_held = l->held && hf_recency(l->held->e.id, l->held->e.place) >= l->recent;
    if (is_held) {
        e = l->held->e;
    } else if (l->letter.entry) {
        hf_dispatch_decode(&l->letter, &e);
    } else {
        err = hf_paging_look(shard, &shard->near_inbox, &tables);
        if (err)
            return err;
        hf_key_place(&key, actor->address, actor->len, actor->hash, l->letter.place);
        err = hf_overlay_get(&tables, HF_IN_INBOX, hf_key_bytes(&key), &payload);
        if (!err)
            err = hf_row_message_in(HF_IN_INBOX, hf_key_bytes(&key), payload, &e);
        if (err == HF_ENOTFOUND)
            err = hf_error(HF_ECORRUPT, "message %llu is not there",
                           (unsigned long long)l->letter.id);
    }
    if (!err) {
        e.place = l->front;
        e.replaced = (uint32_t)(l->letters - 1);
        *out = hf_dispatch_parcel(shard, actor, &e);
        if (!*out)
            err = HF_ENOMEM;
    }
    hf_txn_abort(tables.txn);
    return err;
}

static int end_letter(hf_shard *shard, hf_batch *batch, const hf_actor *actor, const hf_member *m)
{
    hf_entry e = { .to = actor->address, .to_len = actor->len, .hash = actor->hash, .id = m->id,
                   .place = m->place };
    if (m->place >= shard->folded)
        return hf_batch_done(batch, m->place);
    return hf_outcome_ack(batch, &e);
}

static int stage_parcel(hf_batch *batch, const hf_parcel *p)
{
    hf_entry e = p->e;
    e.op = HF_OP_REQUEUE;
    e.flags &= (uint8_t)~HF_ENTRY_DELAYED;
    return hf_segment_add(hf_batch_facts(batch), &e);
}

static int stage_all(hf_shard *shard, hf_batch *batch, hf_actor *actor, const hf_latest *l,
                     const hf_parcel *p)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < l->count; i++)
        err = end_letter(shard, batch, actor, &l->members[i]);
    if (!err && l->held)
        err = hf_outcome_ack(batch, &l->held->e);
    return err ? err : stage_parcel(batch, p);
}

/* All of it in the open batch, or nothing. */
static int stage(hf_shard *shard, hf_actor *actor, const hf_latest *l, const hf_parcel *p)
{
    hf_batch *batch = hf_shard_batch(shard);
    if (!batch)
        return HF_ENOMEM;
    hf_batch_mark mark = hf_segment_mark(hf_batch_facts(batch));
    uint32_t done = batch->done_count, named = batch->named_count;
    uint32_t last = done ? batch->done[done - 1].count : 0;
    int err = stage_all(shard, batch, actor, l, p);
    if (!err) {
        actor->batch = batch->sequence;
        return HF_OK;
    }
    hf_segment_cut(hf_batch_facts(batch), mark);
    batch->done_count = done;
    if (done)
        batch->done[done - 1].count = last;
    batch->named_count = named;
    return err;
}

/* It ran when the process died, and never runs again. */
static void acquit(hf_engine *engine, const hf_latest *l, const hf_parcel *newest)
{
    for (uint32_t i = 0; hf_suspects_any(engine) && i < l->count; i++)
        if (l->members[i].id != newest->e.id)
            hf_suspect_ended(engine, l->members[i].id);
}

static void note_ends(struct hf_conflated *c, const hf_latest *l, uint64_t batch)
{
    for (uint32_t i = 0; i < l->count; i++) {
        uint64_t place = l->members[i].place;
        c->most = place > c->most ? place : c->most;
        if (place > c->looked)
            hf_endset_put(&c->ends, place, place == l->front ? HF_END_KEPT : batch);
    }
}

/* What waits of a kind becomes one parcel, which is held. */
static int replace(hf_shard *shard, hf_mailbox *box, hf_latest *l)
{
    struct hf_conflated *c = box->conflated;
    hf_parcel *p = NULL;
    if (!l->count)
        return HF_OK;
    bool alone = l->count == 1 && !l->held;
    int err = hf_endset_reserve(&c->ends, l->count);
    if (!err)
        err = make_parcel(shard, box->actor, l, &p);
    if (err)
        return err;
    if (!alone && (err = stage(shard, box->actor, l, p))) {
        hf_dispatch_parcel_drop(shard, p);
        return err;
    }
    note_ends(c, l, shard->batch_number);
    acquit(shard->engine, l, p);
    c->waiting -= l->count - !l->held;
    atomic_fetch_sub(&shard->engine->count.waiting, l->count - !l->held);
    if (l->held)
        hf_dispatch_parcel_drop(shard, l->held);
    l->held = p;
    l->letter = (hf_letter_in){ .id = p->e.id, .place = p->e.place };
    l->count = 0;
    return HF_OK;
}

static int relieve(hf_shard *shard, hf_mailbox *box)
{
    hf_latest *l = box->conflated->crowded;
    box->conflated->crowded = NULL;
    int err = replace(shard, box, l);
    if (!err && shard->batch && hf_batch_bytes(shard->batch) >= shard->engine->batch_bytes)
        hf_shard_submit(shard);
    return err;
}

/* ---- Taking */

int hf_conflate_take(hf_shard *shard, hf_mailbox *box, hf_parcel **parcel)
{
    hf_latest *l = box->conflated->heap[0];
    int err = replace(shard, box, l);
    if (err == HF_ECORRUPT || err == HF_EVERSION) {
        box->actor->damaged = true;
        hf_engine_log(shard->engine, HF_ERROR, "%s is set aside: a message is damaged (%s)",
                      box->actor->address, hf_error_detail());
    }
    if (err)
        return err;
    /* What a pool's turn says of it must come after that. */
    if (box->actor->kind->pooled)
        hf_shard_submit(shard);
    *parcel = l->held;
    hf_mailbox_insert(box, l->held);
    hf_latest_remove(box, l);
    return HF_OK;
}

void hf_conflate_back(hf_mailbox *box, hf_parcel *p)
{
    hf_latest *l;
    if (p->heap || p->now != HF_PARCEL_RESTS || p->e.attempt
        || hf_latest_of(box->conflated, &p->e, &l))
        return; /* it stays a parcel */
    hf_mailbox_remove(box, p);
    hf_letter_in letter = { NULL, NULL, p->e.id, p->e.place, p->e.sent };
    hf_latest_newest(box, l, &letter, p->e.urgency);
    l->held = p;
    l->letters = 1u + p->e.replaced;
    box->conflated->waiting++;
    hf_latest_front(box->conflated, l, p->e.place);
}
