/* conflict.c - a turn sent a letter under an id that another letter was taken under.
 *
 * Happy path: when the journal saw that, the turn had long ended well, so the letter is
 * neither dropped nor handled: its shard makes it a dead letter, which says why, tells
 * .dead_to, and waits for an operator. Requeued it is handled. Fails for want of memory:
 * tried again. The shard's thread. */
#include "engine/conflate.h"
#include "engine/turn.h"
#include "engine/urgency.h"

#include "storage/clock.h"

#include <stdio.h>

int hf_conflict_bury(hf_shard *shard, hf_mailbox *box, hf_letters *from)
{
    char why[64 + HF_NAME_MAX];
    hf_turn *turn = shard->turn;
    hf_actor *actor = box->actor;
    hf_batch *batch = hf_shard_batch(shard);
    hf_entry e;
    hf_dispatch_decode(hf_letters_front(from), &e);
    hf_parcel *p = batch ? hf_dispatch_parcel(shard, actor, &e) : NULL;
    if (!p)
        return HF_ENOMEM;
    (void)snprintf(why, sizeof why, "the id \"%s\" was used for another message", e.dedupe);
    turn->parcel = p;
    hf_turn_begin(turn, actor->kind, batch, &p->e, NULL);
    p->e.flags &= (uint8_t)~HF_ENTRY_CONFLICT;
    p->e.dedupe = ""; /* it is the other one's */
    p->e.dedupe_len = 0;
    int err = hf_parcel_note(p, HF_ECONFLICT, why, hf_clock_wall_ms());
    if (!err)
        err = hf_outcome_bury(turn, &p->e);
    if (err) {
        hf_turn_cut(turn);
    } else {
        actor->batch = batch->sequence;
        if (actor->taken < p->e.place)
            actor->taken = p->e.place;
        hf_urgency_pop(box, from);
    }
    turn->parcel = NULL;
    hf_dispatch_parcel_drop(shard, p);
    if (turn->scratch || turn->rows)
        hf_turn_end(turn);
    return err;
}
