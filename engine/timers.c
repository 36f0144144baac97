/* timers.c - parcels that rest until their time: a heap by due_ns.
 *
 * Happy path: a parcel is made with room for it in the heap, rest puts it in, wake lets
 * the actors of those that are due run. Only making one can fail, for want of memory:
 * what was begun can always be put to rest. The shard's thread. */
#include "engine/shard.h"

#include "engine/engine.h"

#include "storage/clock.h"
#include "storage/memory.h"

static void heap_set(hf_shard *shard, uint32_t at, hf_parcel *p)
{
    shard->timers[at] = p;
    p->heap = at + 1;
}

static void heap_up(hf_shard *shard, uint32_t at)
{
    hf_parcel *p = shard->timers[at];
    while (at && shard->timers[(at - 1) / 2]->due_ns > p->due_ns) {
        heap_set(shard, at, shard->timers[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(shard, at, p);
}

static void heap_down(hf_shard *shard, uint32_t at)
{
    hf_parcel *p = shard->timers[at];
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= shard->timer_count)
            break;
        if (child + 1 < shard->timer_count
            && shard->timers[child + 1]->due_ns < shard->timers[child]->due_ns)
            child++;
        if (shard->timers[child]->due_ns >= p->due_ns)
            break;
        heap_set(shard, at, shard->timers[child]);
        at = child;
    }
    heap_set(shard, at, p);
}

void hf_timers_remove(hf_shard *shard, hf_parcel *p)
{
    uint32_t at = p->heap - 1;
    p->heap = 0;
    hf_parcel *last = shard->timers[--shard->timer_count];
    if (last == p)
        return;
    heap_set(shard, at, last);
    heap_up(shard, at);
    heap_down(shard, last->heap - 1);
}

hf_parcel *hf_dispatch_parcel(hf_shard *shard, hf_actor *actor, const hf_entry *message)
{
    if (shard->parcels == shard->timer_room) {
        uint32_t room = shard->timer_room ? shard->timer_room * 2 : 64;
        void *timers = hf_mem_grow(shard->timers, room * sizeof(*shard->timers));
        if (!timers)
            return NULL;
        shard->timers = timers;
        shard->timer_room = room;
    }
    hf_parcel *p = hf_parcel_new(actor, message);
    if (!p)
        return NULL;
    p->shard = shard;
    shard->parcels++;
    return p;
}

void hf_dispatch_rest(hf_shard *shard, hf_parcel *p, uint64_t due_ns)
{
    if (p->heap)
        hf_timers_remove(shard, p);
    p->now = HF_PARCEL_RESTS;
    p->due_ns = due_ns;
    shard->timers[shard->timer_count++] = p;
    heap_up(shard, shard->timer_count - 1);
}

void hf_dispatch_parcel_drop(hf_shard *shard, hf_parcel *p)
{
    shard->parcels--;
    hf_parcel_free(p);
}

void hf_dispatch_parcel_done(hf_shard *shard, hf_parcel *p)
{
    if (p->heap)
        hf_timers_remove(shard, p);
    hf_mailbox_remove(p->actor->mailbox, p);
    hf_dispatch_parcel_drop(shard, p);
}

void hf_timers_wake(hf_shard *shard)
{
    uint64_t now = shard->timer_count ? hf_clock_mono_ns() : 0;
    while (shard->timer_count && shard->timers[0]->due_ns <= now) {
        hf_parcel *p = shard->timers[0];
        hf_timers_remove(shard, p);
        hf_dispatch_ready(shard, p->actor->mailbox);
    }
}
