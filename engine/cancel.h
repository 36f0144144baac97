/* cancel.h - messages that an operator takes out of their actors' inboxes. */
#ifndef ENGINE_CANCEL_H
#define ENGINE_CANCEL_H

#include "engine/mailbox.h"
#include "engine/watch.h"

struct hf_segment;

typedef struct hf_cancel {
    hf_engine *engine;
    hf_entry  *items;    /* messages that no turn may begin with now */
    uint32_t   count;
    uint64_t  *asked;    /* ids of those that run all the same, ascending */
    uint32_t   asked_count;
    bool       held;     /* they are told to hold them */
    bool      *silent;   /* shards that did not answer */
    uint64_t  *batches;  /* of each shard, that must be on disk */
} hf_cancel;

/* Hold them: no turn begins with one from now on, and what was staged of them is on disk.
 * Those that a thread has are asked to stop (not those that are to be edited). Letters that wait
 * for their time are sent on their way. HF_ETIMEDOUT: a shard does not answer, nothing happened.
 * End it with hf_cancel_end. A thread that may wait for the disk; one cancel at a time. */
int  hf_cancel_begin(hf_cancel *cancel, hf_engine *engine, hf_watch *watch,
                     const struct hf_segment *waiting, const struct hf_segment *delayed);
/* Bury these of them, as the store has them now (NULL: none), with error and err that they
 * bring; let go of the others. Those that are a REQUEUE have that body from now on, and may
 * go on; HF_ENOTFOUND: a delayed one has just become a message, look again. On disk when it returns
 * HF_OK. */
int  hf_cancel_end(hf_cancel *cancel, const struct hf_segment *ending);

/* A letter at the front while shard->doomed: HF_GOES_ON, or it was taken away. */
int  hf_cancel_letter(struct hf_shard *shard, hf_mailbox *box, hf_letters *from,
                      const hf_entry *message);
void hf_cancel_done(struct hf_shard *shard);

#endif
