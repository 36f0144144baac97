/* actor_topics.c - the topics an actor is subscribed to, for `actor`.
 *
 * Happy path: its rows in the table of subscriptions lie together; each is told as
 * "@name", up to the limit. Fails on a damaged row, and for want of memory. Any thread. */
#include "recovery/actor_topics.h"

#include "storage/error.h"

enum { STOP = 1 };

typedef struct topic_list {
    hf_actor_topics *topics;
    hf_key           shelf;
    uint64_t         limit;
} topic_list;

static int meet_topic(void *user, hf_bytes key, hf_bytes payload)
{
    topic_list *l = user;
    char name[1 + HF_NAME_MAX];
    size_t before = l->shelf.len, len = key.len - before;
    (void)payload;
    if (key.len <= before || memcmp(key.data, l->shelf.bytes, before) != 0
        || l->topics->told == l->limit)
        return STOP;
    if (len > HF_NAME_MAX)
        return hf_error(HF_ECORRUPT, "a subscription can't be read");
    name[0] = '@';
    memcpy(name + 1, (const uint8_t *)key.data + before, len);
    hf_out_map(&l->topics->out, NULL);
    hf_out_text(&l->topics->out, "topic", hf_view(name, 1 + len));
    hf_out_end(&l->topics->out);
    l->topics->told++;
    return l->topics->out.err;
}

int hf_actor_topics_read(hf_actor_topics *topics, hf_view_of *view, const char *actor,
                         uint64_t limit)
{
    topic_list l = { .topics = topics, .limit = limit };
    size_t len = strlen(actor);
    hf_key_actor(&l.shelf, actor, len, hf_address_hash(hf_view_seed(view), actor, len));
    l.shelf.bytes[l.shelf.len++] = 0;
    l.shelf.bytes[l.shelf.len++] = HF_SHELF_TOPIC;
    int err = hf_view_walk(view, HF_IN_TOPICS, hf_key_bytes(&l.shelf), meet_topic, &l);
    return err == STOP ? HF_OK : err;
}

void hf_actor_topics_put(hf_actor_topics *topics, hf_out *out)
{
    hf_out_array(out, "topics");
    if (topics->told)
        hf_out_raw(out, NULL, hf_out_bytes(&topics->out));
    out->open[out->depth - 1].count = (uint32_t)topics->told;
    hf_out_end(out);
}
