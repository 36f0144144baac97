/* actor.c - find, add and forget the actors in memory.
 *
 * An open-addressed table of pointers; the top 16 bits of a slot hold bits of
 * the hash, so that a look-up touches the actor itself only when it is the
 * right one. Removal closes the gap, so there are no tombstones. Fails only
 * for want of memory. The shard's thread. */
#include "engine/actor.h"

#include "storage/assert.h"
#include "storage/memory.h"

#include <stddef.h>

enum { SLOTS_MIN = 256, ROOM_MOST = 192 };

static uint64_t slot_of(const hf_actor *actor)
{
    return (uint64_t)(uintptr_t)actor | (actor->hash & ~HF_SLOT_POINTER);
}

static hf_actor *actor_of(uint64_t slot)
{
    return (hf_actor *)(uintptr_t)(slot & HF_SLOT_POINTER);
}

int hf_actors_init(hf_actors *a)
{
    memset(a, 0, sizeof *a);
    hf_cells_init(&a->cells);
    a->slots = hf_mem_zero(SLOTS_MIN, sizeof *a->slots);
    a->mask = SLOTS_MIN - 1;
    return a->slots ? HF_OK : HF_ENOMEM;
}

/* Behind its address an actor has room for a state like the last one that was made: then
 * a turn touches one place in memory, not two. */
static size_t room_at(size_t len)
{
    return (offsetof(hf_actor, address) + len + 1 + 7) & ~(size_t)7;
}

static size_t size_of(size_t len, size_t room)
{
    return room ? room_at(len) + room : offsetof(hf_actor, address) + len + 1;
}

static bool is_apart(const hf_actor *actor)
{
    return actor->state && actor->state != (const uint8_t *)actor + room_at(actor->len);
}

static void drop_state(hf_actors *a, hf_actor *actor)
{
    if (is_apart(actor))
        hf_cells_give(&a->cells, actor->state, actor->state_len);
    actor->state = NULL;
}

static void free_actor(hf_actors *a, hf_actor *actor)
{
    drop_state(a, actor);
    hf_cells_give(&a->cells, actor, size_of(actor->len, actor->room));
}

void hf_actors_done(hf_actors *a)
{
    for (hf_actor *actor = a->newest, *older; actor; actor = older) {
        older = actor->older;
        free_actor(a, actor);
    }
    hf_cells_done(&a->cells);
    hf_mem_free(a->slots);
    memset(a, 0, sizeof *a);
}

hf_actor *hf_actors_find(const hf_actors *a, uint64_t hash, const char *address, size_t len)
{
    uint64_t tag = hash & ~HF_SLOT_POINTER;
    for (uint32_t i = (uint32_t)hash & a->mask; a->slots[i]; i = (i + 1) & a->mask) {
        if ((a->slots[i] & ~HF_SLOT_POINTER) != tag)
            continue;
        hf_actor *actor = actor_of(a->slots[i]);
        if (actor->hash == hash && actor->len == len && memcmp(actor->address, address, len) == 0)
            return actor;
    }
    return NULL;
}

static void place(uint64_t *slots, uint32_t mask, uint64_t hash, uint64_t slot)
{
    uint32_t i = (uint32_t)hash & mask;
    while (slots[i])
        i = (i + 1) & mask;
    slots[i] = slot;
}

static int grow(hf_actors *a)
{
    uint32_t slots = (a->mask + 1) * 2;
    uint64_t *wider = hf_mem_zero(slots, sizeof *wider);
    if (!wider)
        return HF_ENOMEM;
    hf_mem_huge(wider, slots * sizeof *wider);
    for (uint32_t i = 0; i <= a->mask; i++)
        if (a->slots[i])
            place(wider, slots - 1, actor_of(a->slots[i])->hash, a->slots[i]);
    hf_mem_free(a->slots);
    a->slots = wider;
    a->mask = slots - 1;
    return HF_OK;
}

static void link_newest(hf_actors *a, hf_actor *actor)
{
    actor->newer = NULL;
    actor->older = a->newest;
    if (a->newest)
        a->newest->newer = actor;
    else
        a->oldest = actor;
    a->newest = actor;
}

static void unlink_actor(hf_actors *a, hf_actor *actor)
{
    if (actor->newer)
        actor->newer->older = actor->older;
    else
        a->newest = actor->older;
    if (actor->older)
        actor->older->newer = actor->newer;
    else
        a->oldest = actor->newer;
}

hf_actor *hf_actors_add(hf_actors *a, uint64_t hash, const char *address, size_t len)
{
    if (a->count >= (a->mask + 1) / 4 * 3 && grow(a))
        return NULL;
    size_t size = size_of(len, a->hint);
    hf_actor *actor = hf_cells_take(&a->cells, size);
    if (!actor)
        return NULL;
    memset(actor, 0, size);
    actor->room = a->hint;
    HF_ASSERT(((uintptr_t)actor & ~HF_SLOT_POINTER) == 0);
    actor->hash = hash;
    actor->len = (uint8_t)len;
    memcpy(actor->address, address, len);
    place(a->slots, a->mask, hash, slot_of(actor));
    link_newest(a, actor);
    a->count++;
    a->bytes += size_of(len, 0) + 32;
    return actor;
}

void hf_actors_remove(hf_actors *a, hf_actor *actor)
{
    uint32_t i = (uint32_t)actor->hash & a->mask;
    while (a->slots[i] != slot_of(actor))
        i = (i + 1) & a->mask;
    /* Move up whoever would no longer be found across the gap. */
    for (uint32_t gap = i;;) {
        i = (i + 1) & a->mask;
        if (!a->slots[i]) {
            a->slots[gap] = 0;
            break;
        }
        uint32_t home = (uint32_t)actor_of(a->slots[i])->hash & a->mask;
        if (((i - home) & a->mask) >= ((i - gap) & a->mask)) {
            a->slots[gap] = a->slots[i];
            gap = i;
        }
    }
    unlink_actor(a, actor);
    a->count--;
    a->bytes -= size_of(actor->len, 0) + 32 + actor->state_len;
    free_actor(a, actor);
}

void hf_actors_touch(hf_actors *a, hf_actor *actor)
{
    if (a->newest == actor)
        return;
    unlink_actor(a, actor);
    link_newest(a, actor);
}

int hf_actor_set_state(hf_actors *a, hf_actor *actor, hf_bytes state)
{
    if (!state.data) {
        a->bytes -= actor->state_len;
        drop_state(a, actor);
        actor->state_len = 0;
        return HF_OK;
    }
    if (!actor->state || state.len != actor->state_len) {
        bool inside = actor->room && state.len <= actor->room;
        uint8_t *room = inside ? (uint8_t *)actor + room_at(actor->len)
                               : hf_cells_take(&a->cells, state.len);
        if (!room)
            return HF_ENOMEM;
        if (!actor->state)
            a->hint = state.len <= ROOM_MOST ? (uint8_t)state.len : 0;
        drop_state(a, actor);
        actor->state = room;
        a->bytes += state.len - actor->state_len;
        actor->state_len = (uint32_t)state.len;
    }
    if (state.len)
        memcpy(actor->state, state.data, state.len);
    return HF_OK;
}
