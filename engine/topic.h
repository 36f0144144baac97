/* topic.h - who gets a copy of what is sent to "@name". */
#ifndef ENGINE_TOPIC_H
#define ENGINE_TOPIC_H

#include "engine/batch.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef struct hf_subscriber {
    uint64_t hash;
    bool     active;   /* its subscription is committed */
    uint8_t  len;
    char     address[];
} hf_subscriber;

/* Everyone who asked for the same thing: a name, or a beginning and a star. */
typedef struct hf_topic {
    struct hf_topic *next;     /* in its bucket */
    uint64_t         hash;
    hf_subscriber  **who;      /* as hashes ascend: shard by shard */
    uint32_t         count, room;
    uint8_t          len;
    char             name[];
} hf_topic;

enum { HF_TOPIC_ORDERS = 64 };

typedef struct hf_topics {
    _Atomic uint64_t count;    /* of subscriptions, all topics together */
    bool             ready;
    pthread_rwlock_t lock;     /* over all that follows, but `order` */
    hf_topic       **buckets;
    uint32_t         bucket_count, topic_count;
    uint32_t         stars[HF_NAME_MAX + 1]; /* topics with a star behind so many bytes */
    pthread_mutex_t  order[HF_TOPIC_ORDERS]; /* one change of a subscription at a time */
} hf_topics;

/* At open: what the tables and the window say. */
int  hf_topics_load(hf_engine *engine);
void hf_topics_done(hf_engine *engine);

static inline bool hf_topic_named(const char *to)
{
    return to && to[0] == '@';
}

/* What is in a letter to a topic, as hf_letter_contents. HF_EINVAL besides: .dedupe. */
int  hf_topic_letter(const hf_engine *engine, const hf_letter *letter, hf_entry *message);

/* A copy of `message`, which has no `to` yet, for each subscriber of "@name" into the
 * batch; adds to *bytes what it took and to *copies how many. HF_EINVAL, HF_ETOOBIG
 * (*bytes above limit; what was added stays), HF_ENOMEM. Any thread. */
int  hf_topic_send(hf_engine *engine, hf_batch *batch, const char *topic, const hf_entry *message,
                   uint64_t limit, uint64_t *bytes, uint32_t *copies);

#endif
