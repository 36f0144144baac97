/* tallies.c - a hash table of counts.
 *
 * Happy path: find or add, count, sort once at the end. Fails only for want of
 * memory. One thread. */
#include "recovery/tallies.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

static int grow(hf_tallies *t)
{
    size_t room = t->room ? t->room * 2 : 64, slots = room * 2;
    hf_tally *items = hf_mem_grow(t->items, room * sizeof *items);
    if (!items)
        return HF_ENOMEM;
    t->items = items;
    uint32_t *table = hf_mem_zero(slots, sizeof *table);
    if (!table)
        return HF_ENOMEM;
    hf_mem_free(t->slots);
    t->slots = table;
    t->room = room;
    t->mask = slots - 1;
    for (size_t i = 0; i < t->count; i++) {
        size_t at = t->items[i].hash & t->mask;
        while (table[at])
            at = (at + 1) & t->mask;
        table[at] = (uint32_t)(i + 1);
    }
    return HF_OK;
}

hf_tally *hf_tallies_of(hf_tallies *t, const char *name, size_t len)
{
    if (t->count == t->room && grow(t))
        return NULL;
    uint64_t hash = hf_address_hash(0, name, len);
    size_t at = hash & t->mask;
    for (; t->slots[at]; at = (at + 1) & t->mask) {
        hf_tally *one = &t->items[t->slots[at] - 1];
        if (one->hash == hash && one->len == len && memcmp(one->name, name, len) == 0)
            return one;
    }
    char *copy = hf_mem_alloc(len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, name, len);
    copy[len] = 0;
    t->items[t->count] = (hf_tally){ .name = copy, .len = len, .hash = hash };
    t->slots[at] = (uint32_t)++t->count;
    return &t->items[t->count - 1];
}

/* By the upper bits: who walks in the order of keys, looks here in order, too. */
static size_t slot_of(uint64_t hash, size_t mask)
{
    return (size_t)(hash >> (unsigned)__builtin_clzll(mask));
}

static void see(uint64_t *table, size_t mask, uint64_t hash)
{
    size_t at = slot_of(hash, mask);
    while (table[at])
        at = (at + 1) & mask;
    table[at] = hash;
}

int hf_tallies_see(hf_tallies *t, uint64_t hash, bool *fresh)
{
    hash |= hash == 0; /* 0 is an empty slot */
    if (t->seen_count * 2 >= t->seen_mask) {
        size_t mask = t->seen_mask ? t->seen_mask * 2 + 1 : 1023;
        uint64_t *table = hf_mem_zero(mask + 1, sizeof *table);
        if (!table)
            return hf_error(HF_ENOMEM, "a list of actors");
        for (size_t i = 0; t->seen && i <= t->seen_mask; i++)
            if (t->seen[i])
                see(table, mask, t->seen[i]);
        hf_mem_free(t->seen);
        t->seen = table;
        t->seen_mask = mask;
    }
    size_t at = slot_of(hash, t->seen_mask);
    while (t->seen[at] && t->seen[at] != hash)
        at = (at + 1) & t->seen_mask;
    *fresh = !t->seen[at];
    t->seen[at] = hash;
    t->seen_count += *fresh;
    return HF_OK;
}

bool hf_tallies_saw(const hf_tallies *t, uint64_t hash)
{
    hash |= hash == 0;
    if (!t->seen)
        return false;
    size_t at = slot_of(hash, t->seen_mask);
    while (t->seen[at] && t->seen[at] != hash)
        at = (at + 1) & t->seen_mask;
    return t->seen[at] != 0;
}

/* When it failed: its death, or the last of the times that are kept. */
static void note_failure(hf_tally *t, const hf_sight *s)
{
    uint64_t at = s->died > 1 ? s->died : 0;
    hf_bytes times = s->e.times;
    if (!at && times.len >= 8)
        at = hf_get64((const uint8_t *)times.data + times.len / 8 * 8 - 8);
    if (!at)
        return;
    if (!t->first || at < t->first)
        t->first = at;
    if (at > t->last)
        t->last = at;
}

void hf_tally_add(hf_tally *t, const hf_sight *s)
{
    t->by[s->msg.status]++;
    t->stuck += s->stuck;
    if (s->msg.status != HF_DEAD && s->msg.sent && (!t->oldest || s->msg.sent < t->oldest))
        t->oldest = s->msg.sent;
    if (s->msg.id > t->newest)
        t->newest = s->msg.id;
    note_failure(t, s);
}

static void add_up(hf_tally *t, const hf_tally *o)
{
    for (int status = 0; status < HF_DONE; status++)
        t->by[status] += o->by[status];
    if (o->oldest && (!t->oldest || o->oldest < t->oldest))
        t->oldest = o->oldest;
    if (o->first && (!t->first || o->first < t->first))
        t->first = o->first;
    if (o->last > t->last)
        t->last = o->last;
    if (o->newest > t->newest)
        t->newest = o->newest;
    t->actors += o->actors;
    t->stuck += o->stuck;
}

int hf_tallies_merge(hf_tallies *t, const hf_tallies *other)
{
    for (size_t i = 0; i < other->count; i++) {
        hf_tally *one = hf_tallies_of(t, other->items[i].name, other->items[i].len);
        if (!one)
            return hf_error(HF_ENOMEM, "a list of groups");
        add_up(one, &other->items[i]);
    }
    return HF_OK;
}

static uint64_t backlog(const hf_tally *t)
{
    return t->by[HF_WAITING] + t->by[HF_RETRYING] + t->by[HF_HELD] + t->by[HF_PAUSED]
        + t->by[HF_DEAD];
}

static int compare(const void *pa, const void *pb)
{
    const hf_tally *a = pa, *b = pb;
    uint64_t x = backlog(a), y = backlog(b);
    if (x != y)
        return x > y ? -1 : 1;
    int order = memcmp(a->name, b->name, a->len < b->len ? a->len : b->len);
    return order ? order : (a->len > b->len) - (a->len < b->len);
}

void hf_tallies_sort(hf_tallies *t)
{
    if (t->count)
        qsort(t->items, t->count, sizeof *t->items, compare);
}

void hf_tallies_done(hf_tallies *t)
{
    for (size_t i = 0; i < t->count; i++)
        hf_mem_free(t->items[i].name);
    hf_mem_free(t->items);
    hf_mem_free(t->slots);
    hf_mem_free(t->seen);
    memset(t, 0, sizeof *t);
}
