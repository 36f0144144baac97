/* slabs.c - memory in large pieces, some units at a time.
 *
 * Happy path: the first slab with enough free units side by side gives them; what comes
 * back may join its neighbours at once. Slabs that become empty are kept for a while,
 * since giving memory back and faulting it in anew costs more than using it.
 * Fails only for want of memory. One thread.
 *
 * Under the address sanitizer each piece is a block of its own, so that using one that
 * was given back is found. */
#include "storage/slabs.h"

#include "storage/assert.h"
#include "storage/memory.h"

#include <string.h>
#include <sys/mman.h>

enum { SMALL = 4 }; /* so many slabs are not worth a huge page each */

void hf_slabs_init(hf_slabs *s, uint32_t keep)
{
    memset(s, 0, sizeof *s);
    s->keep = keep;
}

void hf_slabs_done(hf_slabs *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        hf_mem_unmap(s->list[i].base, HF_SLAB);
    hf_mem_free(s->list);
    memset(s, 0, sizeof *s);
}

static uint32_t units_of(size_t size)
{
    return (uint32_t)(hf_slabs_room(size) / HF_SLAB_UNIT);
}

static uint64_t mask_of(uint32_t units)
{
    return units == 64 ? UINT64_MAX : ((uint64_t)1 << units) - 1;
}

/* The bits at which so many free units begin. */
static uint64_t places_for(uint64_t used, uint32_t units)
{
    uint64_t begins = ~used;
    for (uint32_t have = 1; have < units && begins;) {
        uint32_t more = units - have < have ? units - have : have;
        begins &= begins >> more;
        have += more;
    }
    return begins;
}

static hf_slab *add_slab(hf_slabs *s)
{
    if (s->count == s->room) {
        uint32_t room = s->room ? s->room * 2 : 8;
        void *list = hf_mem_grow(s->list, room * sizeof *s->list);
        if (!list)
            return NULL;
        s->list = list;
        s->room = room;
    }
    uint8_t *base = hf_mem_map(HF_SLAB, s->count >= SMALL);
    if (!base)
        return NULL;
    s->list[s->count] = (hf_slab){ .base = base };
    s->empty++;
    return &s->list[s->count++];
}

void *hf_slabs_take(hf_slabs *s, size_t size)
{
    uint32_t units = units_of(size);
    uint64_t places = 0;
    hf_slab *slab = NULL;
    HF_ASSERT(units && units <= 64);
    if (HF_SLABS_APART)
        return hf_mem_aligned(HF_SLAB_UNIT, hf_slabs_room(size));
    for (uint32_t i = 0; i < s->count && !places; i++) {
        slab = &s->list[i];
        places = places_for(slab->used, units);
    }
    if (!places) {
        slab = add_slab(s);
        if (!slab)
            return NULL;
        places = 1;
    }
    uint32_t at = (uint32_t)__builtin_ctzll(places);
    s->empty -= !slab->used;
    slab->used |= mask_of(units) << at;
    return slab->base + (size_t)at * HF_SLAB_UNIT;
}

static void drop_slab(hf_slabs *s, uint32_t index)
{
    hf_mem_unmap(s->list[index].base, HF_SLAB);
    s->list[index] = s->list[--s->count];
    s->empty--;
}

void hf_slabs_give(hf_slabs *s, void *memory, size_t size)
{
    if (HF_SLABS_APART) {
        hf_mem_free(memory);
        return;
    }
    uint8_t *base = (uint8_t *)((uintptr_t)memory & ~(uintptr_t)(HF_SLAB - 1));
    uint32_t i = 0, at = (uint32_t)(((uintptr_t)memory & (HF_SLAB - 1)) / HF_SLAB_UNIT);
    uint64_t mask = mask_of(units_of(size)) << at;
    while (i < s->count && s->list[i].base != base)
        i++;
    HF_ASSERT(i < s->count && (s->list[i].used & mask) == mask);
    s->list[i].used &= ~mask;
    if (s->list[i].used)
        return;
    s->empty++;
    if (s->empty > s->keep)
        drop_slab(s, i);
}

void hf_slabs_rest(hf_slabs *s)
{
    for (uint32_t i = s->count; i-- > 0;)
        if (!s->list[i].used)
            drop_slab(s, i);
}
