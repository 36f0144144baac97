/* expiry.c - messages that end without a turn.
 *
 * Happy path: none of them: a message has no time to be over, and is not an alarm's. One
 * that expired becomes a dead letter as if it were buried, but its hook is not called: it
 * never ran. The message of an alarm that was cancelled or set again since is done; one
 * that has begun steps goes on all the same, they have to end or be undone.
 * Fails for want of memory: the message stays. The shard's thread. */
#include "engine/expiry.h"

#include "engine/alarms.h"
#include "engine/suspect.h"
#include "engine/timebase.h"
#include "engine/urgency.h"

#include "storage/clock.h"
#include "storage/error.h"

static void take(hf_actor *actor, const hf_batch *batch, const hf_entry *m)
{
    actor->batch = batch->sequence;
    if (actor->taken < m->place)
        actor->taken = m->place;
}

/* What was cancelled, or has its steps undone, is never handled; is there nobody to undo
 * them, it is dead. */
static bool is_over(const hf_actor *actor, const hf_entry *m)
{
    return m->phase && !(actor->kind->pooled && actor->kind->is.undo);
}

static int bury(hf_shard *shard, hf_mailbox *box, hf_letters *from, const hf_entry *m)
{
    static const char why[] = "expired";
    hf_turn *turn = shard->turn;
    hf_batch *batch = hf_shard_batch(shard);
    hf_parcel *p = batch ? hf_dispatch_parcel(shard, box->actor, m) : NULL;
    if (!p)
        return HF_ENOMEM;
    turn->parcel = p;
    hf_turn_begin(turn, box->actor->kind, batch, &p->e, NULL);
    if (!m->phase) { /* else it has its reason */
        p->e.err = HF_EDEAD;
        p->e.error = why;
        p->e.error_len = sizeof why - 1;
    }
    p->e.phase = 0;
    int err = hf_outcome_bury(turn, &p->e);
    if (err) {
        hf_turn_cut(turn);
    } else {
        take(box->actor, batch, m);
        hf_urgency_pop(box, from);
    }
    turn->parcel = NULL;
    hf_dispatch_parcel_drop(shard, p);
    return err;
}

/* Does an alarm's message still count? */
static int look(hf_shard *shard, const hf_entry *m, bool *counts)
{
    *counts = true;
    if (m->op != HF_OP_DUE || hf_due_is_letter(m) || m->phase || m->flags & HF_ENTRY_STEPS)
        return HF_OK;
    return hf_alarms_count(shard, m, counts);
}

int hf_expiry_letter(hf_shard *shard, hf_mailbox *box, hf_letters *from,
                     const hf_letter_in *letter, const hf_entry *m)
{
    bool counts;
    if (is_over(box->actor, m))
        return bury(shard, box, from, m);
    int err = look(shard, m, &counts);
    if (err)
        return err;
    if (counts && (!m->expires || hf_timebase_now(shard->engine) < m->expires))
        return HF_GOES_ON;
    if (counts)
        return bury(shard, box, from, m);
    hf_batch *batch = hf_shard_batch(shard);
    if (!batch)
        return HF_ENOMEM;
    if (!letter->page && letter->place >= shard->folded)
        err = hf_batch_done(batch, letter->place);
    else
        err = hf_outcome_ack(batch, m);
    if (err)
        return err;
    take(box->actor, batch, m);
    hf_urgency_pop(box, from);
    return HF_OK;
}

/* One that was edited before it was begun still has its time, and so has the newest of those
 * that replace each other. */
static bool is_late(hf_shard *shard, hf_parcel *p)
{
    static const char why[] = "expired";
    bool fresh = p->e.op == HF_OP_REQUEUE || p->e.flags & HF_ENTRY_CONFLATES;
    if (!fresh || p->e.attempt || !p->e.expires
        || hf_timebase_now(shard->engine) < p->e.expires)
        return false;
    p->e.err = HF_EDEAD;
    p->e.error = why;
    p->e.error_len = sizeof why - 1;
    return true;
}

static int bury_parcel(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    hf_turn *turn = shard->turn;
    hf_batch *batch = hf_shard_batch(shard);
    uint32_t phase = p->e.phase;
    if (!batch)
        return HF_ENOMEM;
    turn->parcel = p;
    hf_turn_begin(turn, box->actor->kind, batch, &p->e, NULL);
    p->e.phase = 0;
    int err = hf_outcome_bury(turn, &p->e);
    turn->parcel = NULL;
    if (err) {
        p->e.phase = phase;
        hf_turn_cut(turn);
        return err;
    }
    take(box->actor, batch, &p->e);
    hf_dispatch_parcel_done(shard, p);
    return HF_OK;
}

int hf_expiry_parcel(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    bool counts;
    if (is_over(box->actor, &p->e) || is_late(shard, p))
        return bury_parcel(shard, box, p);
    int err = look(shard, &p->e, &counts);
    if (err || counts)
        return err ? err : HF_GOES_ON;
    hf_batch *batch = hf_shard_batch(shard);
    if (!batch || (err = hf_outcome_ack(batch, &p->e)))
        return HF_ENOMEM;
    take(box->actor, batch, &p->e);
    hf_dispatch_parcel_done(shard, p);
    return HF_OK;
}

/* It killed the process too often. Steps it began are undone first. */
int hf_expiry_suspect(hf_shard *shard, hf_mailbox *box, hf_parcel *p)
{
    static const char why[] = "killed the process";
    hf_turn *turn = shard->turn;
    hf_batch *batch = hf_shard_batch(shard);
    bool undo = box->actor->kind->is.undo && !p->e.phase;
    if (!batch)
        return HF_ENOMEM;
    p->shard = shard;
    turn->parcel = p;
    hf_turn_begin(turn, box->actor->kind, batch, &p->e, NULL);
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
