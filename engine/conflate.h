/* conflate.h - of letters that replace each other only the newest is handled.
 *
 * Letters with .conflate do not stand in their actor's mailbox one by one. They are
 * gathered by kind: the newest one stands where the oldest of them stood, and when its
 * time comes the others are acknowledged and it takes the oldest one's place on disk, a
 * REQUEUE that tells how many it replaced, all in one batch. From then on it is a
 * message like any other; while it is not begun a newer one may replace it, too.
 *
 * Rows of the inbox are looked through to their end before the first is taken, so that
 * none is passed over. The shard's thread. */
#ifndef ENGINE_CONFLATE_H
#define ENGINE_CONFLATE_H

#include "engine/shard.h"

/* No parcel, no letter in a ring: of this entry the fast path knows nothing. */
enum { HF_ENTRY_APART = HF_ENTRY_CONFLATES | HF_ENTRY_CONFLICT };

/* A letter of the window with that flag came: keep it, in the ring if it must not be
 * replaced. HF_ENOMEM. */
int  hf_conflate_letter(hf_shard *shard, hf_mailbox *box, const hf_letter_in *letter);
/* A row was found in the inbox. *kept: leave it to us. HF_ENOMEM. */
int  hf_conflate_row(hf_shard *shard, hf_actor *actor, const hf_entry *row, bool *kept);

/* Are there rows that were not looked through? Look at some; damage sets the actor aside. */
bool hf_conflate_unlooked(const hf_mailbox *box);
int  hf_conflate_look(hf_shard *shard, hf_mailbox *box);

/* The place of the first that waits; UINT64_MAX: none does. */
uint64_t hf_conflate_front(const hf_mailbox *box);
/* Make a parcel of it, which enters the mailbox, and stage what it replaces. */
int  hf_conflate_take(hf_shard *shard, hf_mailbox *box, hf_parcel **parcel);
/* It was not begun after all: it may still be replaced. */
void hf_conflate_back(hf_mailbox *box, hf_parcel *parcel);

uint64_t hf_conflate_waiting(const hf_mailbox *box); /* letters */
bool     hf_conflate_is_empty(const hf_mailbox *box);
/* The fold moved the boundary: letters below it are rows now; true: some were ours.
 * overtaken: and rows that we never saw. */
bool     hf_conflate_fold(hf_shard *shard, hf_mailbox *box, uint64_t folded, bool overtaken);
void     hf_conflate_free(hf_mailbox *box); /* its actor's `taken` passes what was ended */

/* conflict.c: a turn's letter whose id was used for another one is a dead letter. */
int  hf_conflict_bury(hf_shard *shard, hf_mailbox *box, hf_letters *from);

#endif
