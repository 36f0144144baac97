/* topic.c - subscriptions, and copies for all subscribers.
 *
 * Happy path: a subscription is a row (subscriber, topic) and an item in memory. It is
 * entered in memory first, counts once its row is committed, and is found from the next
 * publication on. Who publishes puts one message for each subscriber into his own batch:
 * all of them commit with it or none does. In each segment the body stands once, in front
 * of the messages that share it.
 *
 * Fails: a topic's name that can't be, too many bytes for one batch, no memory. A
 * subscription that isn't committed is taken out again. Two changes of one subscription
 * never overlap, or disk and memory could end up with different ones. Any thread; the
 * journal's takes none of these locks. */
#include "engine/topic.h"

#include "engine/letter.h"
#include "engine/turn.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum {
    SHARE_MIN  = 64,  /* smaller bodies are cheaper as they are */
    SHARDS_MAX = 256,
    BUCKETS    = 64,
};

/* ---- Names */

/* "@name" to its name; a key of an address has the same letters. */
static int read_name(const char *topic, bool starred, const char **name, size_t *len)
{
    char address[2 + HF_NAME_MAX + 1] = "t/";
    size_t all = topic ? strnlen(topic, HF_NAME_MAX + 2) : 0;
    if (all < 2 || topic[0] != '@' || all > HF_NAME_MAX + 1)
        return hf_error(HF_EINVAL, "\"%.128s\" is no topic (@name, at most %d bytes)",
                        topic ? topic : "NULL", HF_NAME_MAX + 1);
    memcpy(address + 2, topic + 1, all);
    if (!hf_address_ok(address, all + 1))
        return hf_error(HF_EINVAL, "topic \"%.140s\" is no UTF-8, or has control characters",
                        topic);
    if (!starred && topic[all - 1] == '*')
        return hf_error(HF_EINVAL, "\"%s\": a star at the end is for subscribers", topic);
    *name = topic + 1;
    *len = all - 1;
    return HF_OK;
}

/* ---- Topics in memory; under the lock */

static hf_topic *find_topic(const hf_engine *engine, const char *name, size_t len)
{
    const hf_topics *t = &engine->topics;
    uint64_t hash = hf_address_hash(engine->seed, name, len);
    hf_topic *at = t->bucket_count ? t->buckets[hash & (t->bucket_count - 1)] : NULL;
    while (at && !(at->hash == hash && at->len == len && memcmp(at->name, name, len) == 0))
        at = at->next;
    return at;
}

/* Without memory the chains just get longer, once there are any. */
static int spread(hf_topics *t)
{
    uint32_t count = t->bucket_count ? t->bucket_count * 2 : BUCKETS;
    if (t->topic_count < t->bucket_count)
        return HF_OK;
    hf_topic **wider = hf_mem_zero(count, sizeof *wider);
    if (!wider)
        return t->bucket_count ? HF_OK : hf_error(HF_ENOMEM, "topics");
    for (uint32_t i = 0; i < t->bucket_count; i++) {
        for (hf_topic *at = t->buckets[i], *next; at; at = next) {
            next = at->next;
            hf_topic **to = &wider[at->hash & (count - 1)];
            at->next = *to;
            *to = at;
        }
    }
    hf_mem_free(t->buckets);
    t->buckets = wider;
    t->bucket_count = count;
    return HF_OK;
}

static bool has_star(const char *name, size_t len)
{
    return name[len - 1] == '*';
}

static hf_topic *make_topic(hf_engine *engine, const char *name, size_t len)
{
    hf_topics *t = &engine->topics;
    hf_topic *topic = spread(t) ? NULL : hf_mem_zero(1, sizeof *topic + len);
    if (!topic)
        return NULL;
    topic->hash = hf_address_hash(engine->seed, name, len);
    topic->len = (uint8_t)len;
    memcpy(topic->name, name, len);
    hf_topic **bucket = &t->buckets[topic->hash & (t->bucket_count - 1)];
    topic->next = *bucket;
    *bucket = topic;
    t->topic_count++;
    if (has_star(name, len))
        t->stars[len - 1]++;
    return topic;
}

static void drop_if_empty(hf_topics *t, hf_topic *topic)
{
    if (topic->count)
        return;
    hf_topic **link = &t->buckets[topic->hash & (t->bucket_count - 1)];
    while (*link != topic)
        link = &(*link)->next;
    *link = topic->next;
    t->topic_count--;
    if (has_star(topic->name, topic->len))
        t->stars[topic->len - 1]--;
    hf_mem_free(topic->who);
    hf_mem_free(topic);
}

static int compare(const hf_subscriber *s, uint64_t hash, const char *address, size_t len)
{
    if (s->hash != hash)
        return s->hash < hash ? -1 : 1;
    int order = memcmp(s->address, address, s->len < len ? s->len : len);
    return order ? order : (s->len > len) - (s->len < len);
}

/* Where it is, or belongs. */
static uint32_t seek(const hf_topic *topic, uint64_t hash, const char *address, size_t len)
{
    uint32_t low = 0, high = topic->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (compare(topic->who[mid], hash, address, len) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static hf_subscriber *find(const hf_topic *topic, uint64_t hash, const char *address, size_t len)
{
    uint32_t at = topic ? seek(topic, hash, address, len) : 0;
    return topic && at < topic->count && compare(topic->who[at], hash, address, len) == 0
        ? topic->who[at] : NULL;
}

static int insert(hf_topic *topic, uint32_t at, uint64_t hash, const char *address, size_t len,
                  bool active)
{
    if (topic->count == topic->room) {
        uint32_t room = topic->room ? topic->room * 2 : 4;
        void *who = hf_mem_grow(topic->who, room * sizeof(*topic->who));
        if (!who)
            return hf_error(HF_ENOMEM, "subscribers of @%.*s", (int)topic->len, topic->name);
        topic->who = who;
        topic->room = room;
    }
    hf_subscriber *s = hf_mem_alloc(sizeof *s + len + 1);
    if (!s)
        return hf_error(HF_ENOMEM, "subscribers of @%.*s", (int)topic->len, topic->name);
    s->hash = hash;
    s->active = active;
    s->len = (uint8_t)len;
    memcpy(s->address, address, len);
    s->address[len] = 0;
    memmove(topic->who + at + 1, topic->who + at, (topic->count - at) * sizeof(*topic->who));
    topic->who[at] = s;
    topic->count++;
    return HF_OK;
}

static void take_out(hf_topics *t, hf_topic *topic, uint64_t hash, const char *address, size_t len)
{
    uint32_t at = seek(topic, hash, address, len);
    hf_mem_free(topic->who[at]);
    topic->count--;
    memmove(topic->who + at, topic->who + at + 1, (topic->count - at) * sizeof(*topic->who));
    drop_if_empty(t, topic);
}

/* `loaded`: it counts, and is put in order later. */
static int enter(hf_engine *engine, const char *name, size_t name_len, uint64_t hash,
                 const char *address, size_t len, bool loaded)
{
    hf_topic *topic = find_topic(engine, name, name_len);
    bool made = topic == NULL;
    if (made)
        topic = make_topic(engine, name, name_len);
    if (!topic)
        return hf_error(HF_ENOMEM, "topic @%.*s", (int)name_len, name);
    uint32_t at = loaded ? topic->count : seek(topic, hash, address, len);
    int err = insert(topic, at, hash, address, len, loaded);
    if (err && made)
        drop_if_empty(&engine->topics, topic);
    return err;
}

/* ---- Subscribing */

typedef struct subscription {
    hf_engine  *engine;
    const char *name, *actor;
    size_t      name_len, len;
    uint64_t    hash;
} subscription;

static int check(subscription *s, const char *topic, const char *actor, bool wanted)
{
    size_t type;
    int err = hf_engine_check(s->engine);
    if (!err)
        err = hf_engine_may_wait(s->engine);
    if (!err)
        err = read_name(topic, true, &s->name, &s->name_len);
    if (err)
        return err;
    s->len = actor ? strnlen(actor, HF_ADDRESS_MAX + 1) : 0;
    if (!hf_address_split(actor ? actor : "", s->len, &type))
        return hf_error(HF_EINVAL, "\"%.255s\" is no address (type/key, at most %d bytes)",
                        actor ? actor : "NULL", HF_ADDRESS_MAX);
    /* Who is no more defined may still be taken off. */
    if (wanted && !hf_types_named(&s->engine->types, actor, type))
        return hf_error(HF_ENOTYPE, "%s", actor);
    s->actor = actor;
    s->hash = hf_address_hash(s->engine->seed, actor, s->len);
    return HF_OK;
}

static int commit(const subscription *s, bool wanted)
{
    char name[1 + HF_NAME_MAX + 1];
    hf_batch *batch = hf_batch_new(s->engine);
    if (!batch)
        return hf_error(HF_ENOMEM, "a batch");
    name[0] = HF_SHELF_TOPIC;
    memcpy(name + 1, s->name, s->name_len + 1);
    hf_entry e = { .op = wanted ? HF_OP_PUT : HF_OP_DROP, .to = s->actor,
                   .to_len = (uint8_t)s->len, .hash = s->hash, .name = name,
                   .name_len = (uint8_t)(s->name_len + 1) };
    batch->outside = true;
    int err = hf_segment_add(hf_batch_facts(batch), &e);
    if (!err)
        err = hf_journal_admit(s->engine, hf_batch_bytes(batch), HF_NEVER);
    if (!err)
        err = hf_journal_wait(s->engine, batch);
    hf_batch_free(batch);
    return err;
}

/* In memory, not counting yet: nothing may fail once it is committed. */
static int prepare(const subscription *s)
{
    pthread_rwlock_wrlock(&s->engine->topics.lock);
    int err = enter(s->engine, s->name, s->name_len, s->hash, s->actor, s->len, false);
    pthread_rwlock_unlock(&s->engine->topics.lock);
    return err;
}

/* What is on disk now is so in memory from here on. */
static void settle(const subscription *s, bool stands)
{
    hf_topics *t = &s->engine->topics;
    pthread_rwlock_wrlock(&t->lock);
    hf_topic *topic = find_topic(s->engine, s->name, s->name_len);
    hf_subscriber *who = find(topic, s->hash, s->actor, s->len);
    if (stands != who->active)
        atomic_fetch_add(&t->count, stands ? 1 : UINT64_MAX);
    who->active = stands;
    if (!stands)
        take_out(t, topic, s->hash, s->actor, s->len);
    pthread_rwlock_unlock(&t->lock);
}

static bool stands_now(const subscription *s)
{
    hf_topics *t = &s->engine->topics;
    pthread_rwlock_rdlock(&t->lock);
    bool stands = find(find_topic(s->engine, s->name, s->name_len), s->hash, s->actor, s->len);
    pthread_rwlock_unlock(&t->lock);
    return stands;
}

static int change_it(hf_engine *engine, const char *topic, const char *actor, bool wanted)
{
    subscription s = { .engine = engine };
    hf_error_clear();
    int err = check(&s, topic, actor, wanted);
    if (err)
        return err;
    pthread_mutex_t *order = &engine->topics.order[s.hash % HF_TOPIC_ORDERS];
    pthread_mutex_lock(order);
    if (stands_now(&s) != wanted) {
        err = wanted ? prepare(&s) : HF_OK;
        if (!err) {
            err = commit(&s, wanted);
            if (!err || wanted)
                settle(&s, wanted && !err);
        }
    }
    pthread_mutex_unlock(order);
    return err;
}

static int change(hf_engine *engine, const char *topic, const char *actor, bool wanted)
{
    hf_engine_enter(engine);
    int err = change_it(engine, topic, actor, wanted);
    hf_engine_leave(engine);
    return err;
}

int hf_subscribe(hf_engine *engine, const char *topic, const char *actor)
{
    return change(engine, topic, actor, true);
}

int hf_unsubscribe(hf_engine *engine, const char *topic, const char *actor)
{
    return change(engine, topic, actor, false);
}

/* ---- Publishing; under the lock for reading */

typedef struct publication {
    hf_engine  *engine;
    hf_batch   *batch;
    const char *topic;            /* "@name" */
    hf_entry    message;
    const hf_topic *lists[HF_NAME_MAX + 2];
    uint32_t    list_count;
    uint32_t    copies;
    uint32_t    of_shard[SHARDS_MAX];
    uint32_t    body_at[SHARDS_MAX]; /* in its segment, + 1; 0: not there yet */
    uint64_t    limit, *bytes;
} publication;

static void add_list(publication *p, const hf_topic *topic)
{
    if (topic)
        p->lists[p->list_count++] = topic;
}

/* Its own, and those of all beginnings somebody put a star behind. */
static void find_lists(publication *p, const char *name, size_t len)
{
    const hf_topics *t = &p->engine->topics;
    char pattern[HF_NAME_MAX + 2];
    add_list(p, find_topic(p->engine, name, len));
    for (size_t n = 0; n <= len && n < HF_NAME_MAX; n++) {
        if (!t->stars[n])
            continue;
        memcpy(pattern, name, n);
        pattern[n] = '*';
        add_list(p, find_topic(p->engine, pattern, n + 1));
    }
}

static bool is_in_earlier(const publication *p, uint32_t list, const hf_subscriber *s)
{
    for (uint32_t i = 0; i < list; i++) {
        const hf_subscriber *same = find(p->lists[i], s->hash, s->address, s->len);
        if (same && same->active)
            return true;
    }
    return false;
}

typedef int (*each_fn)(publication *p, const hf_subscriber *s, uint32_t shard);

/* Everyone once, however many of his subscriptions match. */
static int each_subscriber(publication *p, each_fn each)
{
    int err = HF_OK;
    for (uint32_t list = 0; list < p->list_count && !err; list++) {
        const hf_topic *topic = p->lists[list];
        for (uint32_t i = 0; i < topic->count && !err; i++) {
            const hf_subscriber *s = topic->who[i];
            if (s->active && !(list && is_in_earlier(p, list, s)))
                err = each(p, s, hf_address_shard(s->hash, p->engine->shard_count));
        }
    }
    return err;
}

static int count_one(publication *p, const hf_subscriber *s, uint32_t shard)
{
    (void)s;
    p->of_shard[shard]++;
    p->copies++;
    return HF_OK;
}

static int add_entry(publication *p, hf_segment *segment, const hf_entry *e)
{
    uint32_t before = segment->len;
    int err = hf_segment_add(segment, e);
    *p->bytes += segment->len - before;
    if (!err && *p->bytes > p->limit)
        err = hf_error(HF_ETOOBIG, "%s has %u subscribers: a batch may hold %llu MiB", p->topic,
                       p->copies, (unsigned long long)(p->limit >> 20));
    return err;
}

static int add_body(publication *p, hf_segment *segment, uint32_t *at)
{
    hf_entry body = { .op = HF_OP_BODY, .to = p->topic, .to_len = (uint8_t)strlen(p->topic),
                      .data = p->message.data };
    *at = segment->len + 1;
    return add_entry(p, segment, &body);
}

static int copy_for(publication *p, const hf_subscriber *s, uint32_t shard)
{
    hf_segment *segment = &p->batch->segments[shard];
    hf_entry e = p->message;
    int err = HF_OK;
    e.to = s->address;
    e.to_len = s->len;
    e.hash = s->hash;
    if (p->of_shard[shard] > 1 && e.data.len >= SHARE_MIN) {
        if (!p->body_at[shard])
            err = add_body(p, segment, &p->body_at[shard]);
        e.data = hf_view(NULL, 0);
        e.flags |= HF_ENTRY_SHARES;
        e.back = segment->len - (p->body_at[shard] - 1);
    }
    return err ? err : add_entry(p, segment, &e);
}

int hf_topic_letter(const hf_engine *engine, const hf_letter *letter, hf_entry *e)
{
    if (letter->dedupe)
        return hf_error(HF_EINVAL, "a letter with .dedupe goes to an actor, not to %s", letter->to);
    return hf_letter_contents(engine, letter, e);
}

int hf_topic_send(hf_engine *engine, hf_batch *batch, const char *topic, const hf_entry *message,
                  uint64_t limit, uint64_t *bytes, uint32_t *copies)
{
    hf_topics *t = &engine->topics;
    publication p = { .engine = engine, .batch = batch, .topic = topic, .message = *message,
                      .limit = limit, .bytes = bytes };
    const char *name;
    size_t len;
    int err = read_name(topic, false, &name, &len);
    if (err || !atomic_load_explicit(&t->count, memory_order_acquire))
        return err;
    pthread_rwlock_rdlock(&t->lock);
    find_lists(&p, name, len);
    (void)each_subscriber(&p, count_one);
    err = each_subscriber(&p, copy_for);
    pthread_rwlock_unlock(&t->lock);
    *copies += p.copies;
    return err;
}

/* ---- Opening */

static int damaged(void)
{
    return hf_error(HF_ECORRUPT, "a subscription can't be read");
}

/* Key: type 00 hash(8) key 00 't' name. */
static int load_row(void *user, hf_bytes key, hf_bytes payload)
{
    hf_engine *engine = user;
    char address[HF_ADDRESS_MAX + 1], name[HF_NAME_MAX + 1];
    const uint8_t *bytes = key.data, *end = bytes + key.len;
    const uint8_t *type_end = memchr(bytes, 0, key.len);
    uint64_t hash;
    (void)payload;
    if (!type_end || end - type_end < 10)
        return damaged();
    const uint8_t *zero = memchr(type_end + 9, 0, (size_t)(end - type_end - 9));
    size_t len = zero ? hf_address_of_key(address, bytes, (size_t)(zero - bytes), &hash) : 0;
    size_t name_len = zero ? (size_t)(end - zero) - 1 : 0;
    if (!len || !hf_address_ok(address, len) || name_len < 2 || name_len > HF_ROW_NAME_MAX
        || zero[1] != HF_SHELF_TOPIC)
        return damaged();
    memcpy(name, zero + 2, name_len - 1);
    int err = enter(engine, name, name_len - 1, hash, address, len, true);
    if (!err)
        atomic_fetch_add(&engine->topics.count, 1);
    return err;
}

static int compare_two(const void *pa, const void *pb)
{
    const hf_subscriber *const *a = pa, *const *b = pb;
    return compare(*a, (*b)->hash, (*b)->address, (*b)->len);
}

/* They came type by type. */
static void sort_all(hf_topics *t)
{
    for (uint32_t i = 0; i < t->bucket_count; i++)
        for (hf_topic *topic = t->buckets[i]; topic; topic = topic->next)
            qsort(topic->who, topic->count, sizeof(*topic->who), compare_two);
}

/* Publishers come and go all the time: who subscribes must not wait till there is none. */
static int init(hf_topics *t)
{
    pthread_rwlockattr_t attr;
    int err = pthread_rwlockattr_init(&attr);
    if (err)
        return hf_error(HF_ENOMEM, "topics");
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    err = pthread_rwlock_init(&t->lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    for (int i = 0; i < HF_TOPIC_ORDERS && !err; i++)
        err = pthread_mutex_init(&t->order[i], NULL);
    t->ready = !err;
    return err ? hf_error(HF_ENOMEM, "topics") : HF_OK;
}

int hf_topics_load(hf_engine *engine)
{
    hf_txn *txn;
    hf_rowbuf row = { 0 };
    int err = init(&engine->topics);
    if (!err)
        err = hf_txn_read(engine->disk, &txn);
    if (err)
        return err;
    hf_overlay tables = { .txn = txn, .facts = hf_log_past(engine->log), .buf = &row };
    err = hf_overlay_walk(&tables, HF_IN_TOPICS, hf_view(NULL, 0), load_row, engine);
    sort_all(&engine->topics);
    hf_txn_abort(txn);
    hf_rowbuf_done(&row);
    return err;
}

void hf_topics_done(hf_engine *engine)
{
    hf_topics *t = &engine->topics;
    for (uint32_t i = 0; i < t->bucket_count; i++) {
        for (hf_topic *topic = t->buckets[i], *next; topic; topic = next) {
            next = topic->next;
            for (uint32_t n = 0; n < topic->count; n++)
                hf_mem_free(topic->who[n]);
            hf_mem_free(topic->who);
            hf_mem_free(topic);
        }
    }
    hf_mem_free(t->buckets);
    for (int i = 0; t->ready && i < HF_TOPIC_ORDERS; i++)
        (void)pthread_mutex_destroy(&t->order[i]);
    if (t->ready)
        (void)pthread_rwlock_destroy(&t->lock);
}
