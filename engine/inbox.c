/* inbox.c - refuse outsiders while too much waits for an actor.
 *
 * Happy path: the shard sees the actor's mailbox grow to its limit and enters it in the
 * set; a sender finds it there and is told HF_EINBOX; when it has shrunk again the shard
 * takes it out. What lies in the tables after an open is counted when the actor comes
 * into memory, at the latest with the first message sent to it.
 *
 * Without memory an actor is just not entered. Asking: any thread; else the shard's. */
#include "engine/inbox.h"

#include "engine/conflate.h"
#include "engine/engine.h"

#include "storage/error.h"
#include "storage/memory.h"

struct hf_full {
    struct hf_full *next;
    uint64_t        hash;
    uint32_t        limit;
    uint8_t         len;
    char            address[];
};

int hf_inboxes_init(hf_engine *engine)
{
    return pthread_rwlock_init(&engine->inboxes.lock, NULL) ? hf_error(HF_ENOMEM, "inboxes")
                                                            : HF_OK;
}

void hf_inboxes_done(hf_engine *engine)
{
    hf_inboxes *in = &engine->inboxes;
    for (uint32_t i = 0; i < HF_INBOX_BUCKETS; i++) {
        for (hf_full *f = in->buckets[i], *next; f; f = next) {
            next = f->next;
            hf_mem_free(f);
        }
    }
    pthread_rwlock_destroy(&in->lock);
}

/* Under the lock. */
static hf_full **find(hf_inboxes *in, uint64_t hash, const char *address, uint8_t len)
{
    hf_full **link = &in->buckets[hash % HF_INBOX_BUCKETS];
    while (*link && ((*link)->hash != hash || (*link)->len != len
                     || memcmp((*link)->address, address, len) != 0))
        link = &(*link)->next;
    return link;
}

int hf_inbox_ask(hf_engine *engine, const hf_entry *e)
{
    hf_inboxes *in = &engine->inboxes;
    pthread_rwlock_rdlock(&in->lock);
    const hf_full *f = *find(in, e->hash, e->to, e->to_len);
    uint32_t limit = f ? f->limit : 0;
    pthread_rwlock_unlock(&in->lock);
    if (!limit)
        return HF_OK;
    return hf_error(HF_EINBOX, "for %s wait as many messages as .inbox_max allows, %u", e->to,
                    limit);
}

static bool enter(hf_inboxes *in, const hf_actor *actor)
{
    hf_full *f = hf_mem_zero(1, sizeof *f + actor->len);
    if (!f)
        return false;
    f->hash = actor->hash;
    f->limit = actor->kind->is.inbox_max;
    f->len = actor->len;
    memcpy(f->address, actor->address, actor->len);
    pthread_rwlock_wrlock(&in->lock);
    hf_full **bucket = &in->buckets[actor->hash % HF_INBOX_BUCKETS];
    f->next = *bucket;
    *bucket = f;
    atomic_fetch_add(&in->count, 1);
    pthread_rwlock_unlock(&in->lock);
    return true;
}

static void leave(hf_inboxes *in, const hf_actor *actor)
{
    pthread_rwlock_wrlock(&in->lock);
    hf_full **link = find(in, actor->hash, actor->address, actor->len), *f = *link;
    if (f) {
        *link = f->next;
        atomic_fetch_sub(&in->count, 1);
    }
    pthread_rwlock_unlock(&in->lock);
    hf_mem_free(f);
}

void hf_inbox_look(hf_shard *shard, hf_mailbox *box)
{
    hf_inboxes *in = &shard->engine->inboxes;
    uint64_t limit = box->actor->kind->is.inbox_max;
    uint64_t waiting = (uint64_t)box->letters.count + box->paged.count + hf_conflate_waiting(box)
        + (box->actor->rows ? box->unread : 0);
    if (!box->full && waiting >= limit) {
        box->full = enter(in, box->actor);
    } else if (box->full && waiting <= limit - (limit + 7) / 8) {
        leave(in, box->actor);
        box->full = false;
    }
}

typedef struct count {
    hf_key   key;
    uint64_t folded;
    uint32_t rows, limit;
} count;

enum { STOP = 1 };

static int count_row(void *user, hf_bytes key, hf_bytes payload)
{
    count *c = user;
    (void)payload;
    if (key.len != c->key.len + 8 || memcmp(key.data, c->key.bytes, c->key.len) != 0
        || hf_get64_key((const uint8_t *)key.data + c->key.len) >= c->folded)
        return STOP;
    return ++c->rows < c->limit ? HF_OK : STOP;
}

int hf_inbox_count(hf_shard *shard, hf_actor *actor)
{
    count c = { .limit = actor->kind->is.inbox_max, .folded = shard->folded };
    hf_overlay tables;
    hf_key from;
    int err = hf_paging_look(shard, &shard->near_inbox, &tables);
    if (err)
        return err;
    hf_key_actor(&c.key, actor->address, actor->len, actor->hash);
    hf_key_place(&from, actor->address, actor->len, actor->hash, actor->taken + 1);
    tables.within = hf_key_bytes(&c.key);
    tables.keys = true;
    err = hf_overlay_walk(&tables, HF_IN_INBOX, hf_key_bytes(&from), count_row, &c);
    hf_txn_abort(tables.txn);
    if (err && err != STOP)
        return err;
    hf_mailbox *box;
    err = hf_dispatch_mailbox(shard, actor, &box);
    if (err)
        return err;
    box->unread = c.rows;
    hf_inbox_look(shard, box);
    return HF_OK;
}
