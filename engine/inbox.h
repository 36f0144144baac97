/* inbox.h - actors for which so much waits that outside senders are refused.
 *
 * An actor's shard knows how many messages wait for it, about; those whose type sets
 * .inbox_max are entered in a set of the engine when it is reached and taken out at
 * seven eighths. Who sends from outside asks the set; while it is empty, which is nearly
 * always, that is one load. Turns are never refused. */
#ifndef ENGINE_INBOX_H
#define ENGINE_INBOX_H

#include "engine/mailbox.h"

#include <pthread.h>

struct hf_shard;
typedef struct hf_engine hf_engine;

enum { HF_INBOX_BUCKETS = 1024 };
typedef struct hf_full hf_full;
typedef struct hf_inboxes {
    pthread_rwlock_t lock;
    atomic_uint      count;
    hf_full         *buckets[HF_INBOX_BUCKETS];
} hf_inboxes;

int  hf_inboxes_init(hf_engine *engine);
void hf_inboxes_done(hf_engine *engine);

/* Is anybody in the set? Any thread. */
#define hf_inboxes_any(engine)                                                     \
    (atomic_load_explicit(&(engine)->inboxes.count, memory_order_relaxed) != 0)

/* May somebody outside send this? HF_EINBOX, which names actor and limit. Any thread. */
int  hf_inbox_ask(hf_engine *engine, const hf_entry *letter);
#define hf_inbox_admit(engine, letter)                                             \
    (hf_inboxes_any(engine) ? hf_inbox_ask(engine, letter) : HF_OK)

/* More waits, or less: is it full now? The rest is the shard's thread's. */
void hf_inbox_look(struct hf_shard *shard, hf_mailbox *box);
/* The actor has rows that nobody counted: count them, no further than to its limit. */
int  hf_inbox_count(struct hf_shard *shard, hf_actor *actor);

#endif
