/* requeue.c - a message that an operator sent on its way again.
 *
 * Happy path: the change is committed; the message, or what its retry says, is
 * copied and taken to its shard, which puts it into the actor's mailbox at its
 * old place, or wakes it there. Fails for want of memory: it is in the store and
 * goes on after the next open; the log says so. */
#include "engine/alarms.h"
#include "engine/answer.h"
#include "engine/timebase.h"
#include "engine/turn.h"

#include "storage/clock.h"
#include "storage/memory.h"

typedef struct requeue_errand {
    hf_errand errand;
    size_t    size;
    uint8_t   bytes[];
} requeue_errand;

static hf_parcel *parcel_of(const hf_actor *actor, uint64_t id)
{
    hf_parcel *p = actor->mailbox ? actor->mailbox->parcels : NULL;
    while (p && p->e.id != id)
        p = p->next;
    return p;
}

/* By engine time. */
static uint64_t due_ns(const hf_shard *shard, uint64_t due_ms)
{
    uint64_t now = hf_timebase_now(shard->engine);
    return hf_clock_mono_ns() + (due_ms > now ? (due_ms - now) * 1000000 : 0);
}

/* It rests here: due now, or when the retry says, with the tries that the retry says. */
static int wake_resting(hf_shard *shard, hf_parcel *p, const hf_entry *retry)
{
    if (p->now != HF_PARCEL_RESTS)
        return HF_OK;
    (void)hf_parcel_annotate(p, retry->notes); /* the store has them in any case */
    p->e.attempt = retry->attempt;
    p->e.due = retry->due;
    hf_dispatch_rest(shard, p, due_ns(shard, retry->due));
    hf_dispatch_ready(shard, p->actor->mailbox);
    return HF_OK;
}

static int enter_requeued(hf_shard *shard, hf_actor *actor, const hf_entry *message)
{
    hf_mailbox *box;
    int err = hf_dispatch_mailbox(shard, actor, &box);
    hf_parcel *p = err ? NULL : hf_dispatch_parcel(shard, actor, message);
    if (!p)
        return HF_ENOMEM;
    p->requeued = true;
    hf_mailbox_insert(box, p);
    hf_dispatch_rest(shard, p, due_ns(shard, message->due));
    hf_dispatch_ready(shard, box);
    return HF_OK;
}

static int enter(hf_shard *shard, const hf_entry *e)
{
    if (e->op == HF_OP_SEND)
        return hf_alarms_force(shard, e);
    hf_actor *actor = hf_actors_find(&shard->actors, e->hash, e->to, e->to_len);
    int err = actor ? HF_OK : hf_resident_load(shard, e->hash, e->to, e->to_len, &actor);
    if (err || !actor)
        return err;
    hf_parcel *p = parcel_of(actor, e->id);
    if (p)
        return wake_resting(shard, p, e);
    return e->op == HF_OP_REQUEUE ? enter_requeued(shard, actor, e) : HF_OK;
}

static void run_errand(hf_shard *shard, hf_errand *errand)
{
    requeue_errand *r = (requeue_errand *)errand;
    hf_entry e;
    hf_entry_decode(r->bytes, r->size, &e);
    int err = enter(shard, &e);
    if (err)
        hf_engine_log(shard->engine, HF_ERROR, "%s: requeued, goes on after the next open: %s",
                      e.to, hf_strerror(err));
    hf_mem_free(r);
}

void hf_dispatch_requeued(hf_engine *engine, const hf_entry *entry)
{
    size_t size = hf_entry_size(entry);
    requeue_errand *r = hf_mem_alloc(sizeof *r + size);
    if (!r) {
        hf_engine_log(engine, HF_ERROR, "%s: requeued, goes on after the next open: no memory",
                      entry->to);
        return;
    }
    r->errand = (hf_errand){ .run = run_errand };
    r->size = hf_entry_encode(entry, r->bytes);
    uint32_t shard = hf_address_shard(entry->hash, engine->shard_count);
    hf_shard_send_errand(&engine->shards[shard], &r->errand);
}
