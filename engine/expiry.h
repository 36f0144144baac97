/* expiry.h - a message whose turn comes: does it still want one? */
#ifndef ENGINE_EXPIRY_H
#define ENGINE_EXPIRY_H

#include "engine/turn.h"

enum { HF_GOES_ON = 1 };

/* The letter at the front, not begun yet: HF_GOES_ON, or it ended here: its time was over
 * (dead), its alarm was cancelled or set again (done). HF_ENOMEM: neither. */
int hf_expiry_letter(hf_shard *shard, hf_mailbox *box, hf_letters *from,
                     const hf_letter_in *letter, const hf_entry *message);

/* The same of one that was begun: its time does not matter any more. */
int hf_expiry_parcel(hf_shard *shard, hf_mailbox *box, hf_parcel *parcel);

/* It killed the process too often: bury it, or begin to undo its steps. */
int hf_expiry_suspect(hf_shard *shard, hf_mailbox *box, hf_parcel *parcel);

#endif
