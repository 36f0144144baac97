/* aftermath.c - single messages after a restart.
 *
 * The window that was replayed may say of a message that it ended, that it
 * waits for a retry, or that it was requeued. For messages that lie in the
 * window the done bits know the first; the rest is kept here, sorted by id,
 * until the fold has moved all of it into the tables.
 *
 * Happy path: load once, ask while the old window is delivered and paged.
 * Fails for want of memory: the engine then does not start. The shard's thread. */
#include "engine/turn.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

typedef struct hf_after {
    uint64_t       id, position;
    const uint8_t *entry;
} hf_after;

static int compare(const void *pa, const void *pb)
{
    const hf_after *a = pa, *b = pb;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return (a->position > b->position) - (a->position < b->position);
}

static bool concerns(const hf_shard *shard, const hf_entry *e)
{
    if (e->op != HF_OP_ACK && e->op != HF_OP_DEAD && e->op != HF_OP_RETRY
        && e->op != HF_OP_REQUEUE)
        return false;
    return hf_address_shard(e->hash, shard->engine->shard_count) == shard->index;
}

static int add(hf_shard *shard, uint32_t *room, const hf_after *after)
{
    if (shard->aftermath_count == *room) {
        uint32_t more = *room ? *room * 2 : 1024;
        void *grown = hf_mem_grow(shard->aftermath, more * sizeof *shard->aftermath);
        if (!grown)
            return hf_error(HF_ENOMEM, "messages of the window");
        shard->aftermath = grown;
        *room = more;
    }
    shard->aftermath[shard->aftermath_count++] = *after;
    return HF_OK;
}

static int collect(hf_shard *shard)
{
    hf_record *r = atomic_load_explicit(&shard->at->next, memory_order_acquire);
    uint32_t room = 0;
    for (; r && r->replayed; r = atomic_load_explicit(&r->next, memory_order_acquire)) {
        const uint8_t *at = r->data + hf_record_entries_at(r->runs), *end = r->data + r->size;
        for (uint32_t i = 0; i < r->count; i++) {
            hf_entry e;
            size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
            hf_after after = { e.id, r->base + i, at };
            int err = concerns(shard, &e) ? add(shard, &room, &after) : HF_OK;
            if (err)
                return err;
            at += size;
        }
    }
    return HF_OK;
}

static void apply_retry(hf_entry *message, const hf_entry *retry)
{
    message->attempt = retry->attempt;
    message->due = retry->due;
    message->err = retry->err;
    message->error = retry->error;
    message->error_len = retry->error_len;
    message->times = retry->times;
    message->phase = retry->phase;
    message->generation = retry->generation;
    message->flags = (uint8_t)(message->flags | (retry->flags & HF_ENTRY_STEPS));
}

/* The message as a parcel of its actor's mailbox; it rests until its time. */
static int enter(hf_shard *shard, hf_actor *actor, const hf_entry *message)
{
    hf_mailbox *box;
    uint64_t now = hf_clock_wall_ms();
    uint64_t wait = message->due > now ? (message->due - now) * 1000000 : 0;
    int err = hf_dispatch_mailbox(shard, actor, &box);
    hf_parcel *p = err ? NULL : hf_parcel_new(actor, message);
    if (!p)
        return hf_error(HF_ENOMEM, "%s", actor->address);
    p->shard = shard;
    hf_mailbox_insert(box, p);
    err = hf_dispatch_rest(shard, p, hf_clock_mono_ns() + wait);
    if (err)
        hf_dispatch_parcel_done(shard, p);
    else
        hf_dispatch_ready(shard, box);
    return err;
}

static int enter_requeued(hf_shard *shard, hf_entry *message)
{
    hf_actor *actor = hf_actors_find(&shard->actors, message->hash, message->to, message->to_len);
    int err = actor ? HF_OK : hf_resident_load(shard, message->hash, message->to, message->to_len,
                                               &actor);
    return err || !actor ? err : enter(shard, actor, message);
}

/* All facts about one message, oldest first: keep the newest; a requeued one
 * that has not ended since waits in its mailbox from the start. */
static int settle(hf_shard *shard, const hf_after *first, uint32_t count)
{
    hf_entry e, message;
    bool requeued = false;
    for (uint32_t i = 0; i < count; i++) {
        hf_entry_decode(first[i].entry, SIZE_MAX, &e);
        if (e.op == HF_OP_REQUEUE) {
            message = e;
            requeued = true;
        } else if (e.op == HF_OP_RETRY && requeued) {
            apply_retry(&message, &e);
        } else {
            requeued = false;
        }
    }
    return requeued ? enter_requeued(shard, &message) : HF_OK;
}

int hf_aftermath_load(hf_shard *shard)
{
    int err = collect(shard);
    uint32_t kept = 0;
    if (shard->aftermath_count)
        qsort(shard->aftermath, shard->aftermath_count, sizeof *shard->aftermath, compare);
    for (uint32_t i = 0, n; !err && i < shard->aftermath_count; i += n) {
        for (n = 1; i + n < shard->aftermath_count; n++)
            if (shard->aftermath[i + n].id != shard->aftermath[i].id)
                break;
        err = settle(shard, &shard->aftermath[i], n);
        shard->aftermath[kept++] = shard->aftermath[i + n - 1];
    }
    shard->aftermath_count = kept;
    return err;
}

const uint8_t *hf_aftermath_find(const hf_shard *shard, uint64_t id)
{
    uint32_t low = 0, high = shard->aftermath_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (shard->aftermath[mid].id == id)
            return shard->aftermath[mid].entry;
        if (shard->aftermath[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

void hf_aftermath_apply(const hf_shard *shard, hf_entry *message)
{
    const uint8_t *after = hf_aftermath_find(shard, message->id);
    hf_entry retry;
    if (!after || after[0] != HF_OP_RETRY)
        return;
    hf_entry_decode(after, SIZE_MAX, &retry);
    apply_retry(message, &retry);
}

void hf_aftermath_trim(hf_shard *shard, uint64_t folded)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < shard->aftermath_count; i++)
        if (shard->aftermath[i].position >= folded)
            shard->aftermath[kept++] = shard->aftermath[i];
    shard->aftermath_count = kept;
    if (kept)
        return;
    hf_mem_free(shard->aftermath);
    shard->aftermath = NULL;
}
