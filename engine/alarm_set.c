/* alarm_set.c - what a shard remembers of alarms and delayed letters.
 *
 * Happy path: found by actor and name, by actor, in a heap by due time, in a list by
 * position; an alarm is in as many of these as concern it. Fails only for want of memory,
 * in adding one and in making room. Under the lock of the set. */
#include "engine/alarms.h"

#include "storage/error.h"
#include "storage/memory.h"

enum { BUCKETS_MIN = 64 };

int hf_alarm_set_init(hf_alarms *a)
{
    memset(a, 0, sizeof *a);
    if (pthread_mutex_init(&a->lock, NULL))
        return hf_error(HF_ENOMEM, "alarms");
    a->queues[1].reach.due = HF_DUE_BY_WALL;
    return HF_OK;
}

void hf_alarm_set_done(hf_alarms *a)
{
    for (int q = 0; q < 2; q++) {
        for (uint32_t i = 0; i < a->queues[q].count; i++)
            if (a->queues[q].heap[i]->letter && !a->queues[q].heap[i]->listed)
                hf_mem_free(a->queues[q].heap[i]);
        hf_mem_free(a->queues[q].heap);
    }
    for (hf_alarm *one = a->first, *next; one; one = next) {
        next = one->behind;
        if (one->letter)
            hf_mem_free(one);
    }
    for (uint32_t i = 0; a->names && i <= a->mask; i++)
        for (hf_alarm *one = a->names[i], *next; one; one = next) {
            next = one->next_name;
            hf_mem_free(one);
        }
    hf_mem_free(a->names);
    hf_mem_free(a->actors);
    hf_mem_free(a->forced);
    hf_mem_free(a->lost);
    hf_mem_free(a->spent);
    pthread_mutex_destroy(&a->lock);
}

/* ---- By name, and by actor */

static uint64_t hash_of(const uint8_t *bytes, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash ^ hash >> 29;
}

hf_alarm *hf_alarm_set_find(const hf_alarms *a, hf_bytes key)
{
    if (!a->names)
        return NULL;
    hf_alarm *one = a->names[hash_of(key.data, key.len) & a->mask];
    while (one && (one->key_len != key.len || memcmp(one->key, key.data, key.len) != 0))
        one = one->next_name;
    return one;
}

hf_alarm *hf_alarm_set_of_actor(const hf_alarms *a, hf_bytes actor)
{
    return a->actors ? a->actors[hash_of(actor.data, actor.len) & a->mask] : NULL;
}

static void enter(hf_alarm **names, hf_alarm **actors, uint32_t mask, hf_alarm *one)
{
    hf_alarm **name = &names[hash_of(one->key, one->key_len) & mask];
    hf_alarm **actor = &actors[hash_of(one->key, one->actor_len) & mask];
    one->next_name = *name;
    *name = one;
    one->next_actor = *actor;
    one->actor_link = actor;
    if (*actor)
        (*actor)->actor_link = &one->next_actor;
    *actor = one;
}

static int grow(hf_alarms *a)
{
    uint32_t count = a->names ? (a->mask + 1) * 2 : BUCKETS_MIN;
    hf_alarm **names = hf_mem_zero(count, sizeof(*names));
    hf_alarm **actors = hf_mem_zero(count, sizeof(*actors));
    if (!names || !actors) {
        hf_mem_free(names);
        hf_mem_free(actors);
        return HF_ENOMEM;
    }
    for (uint32_t i = 0; a->names && i <= a->mask; i++)
        for (hf_alarm *one = a->names[i], *next; one; one = next) {
            next = one->next_name;
            enter(names, actors, count - 1, one);
        }
    hf_mem_free(a->names);
    hf_mem_free(a->actors);
    a->names = names;
    a->actors = actors;
    a->mask = count - 1;
    return HF_OK;
}

static size_t actor_part(const hf_key *key)
{
    size_t type = 0;
    while (type < key->len && key->bytes[type])
        type++;
    size_t from = type + 1 + 8; /* the hash may hold zeros */
    const uint8_t *end = from < key->len ? memchr(key->bytes + from, 0, key->len - from) : NULL;
    return end ? (size_t)(end - key->bytes) : key->len;
}

hf_alarm *hf_alarm_set_add(hf_alarms *a, const hf_key *key, bool letter)
{
    if (!letter && (!a->names || a->named > a->mask) && grow(a))
        return NULL;
    hf_alarm *one = hf_mem_zero(1, sizeof *one + key->len);
    if (!one)
        return NULL;
    one->letter = letter;
    one->key_len = (uint16_t)key->len;
    one->actor_len = (uint16_t)actor_part(key);
    memcpy(one->key, key->bytes, key->len);
    if (!letter) {
        enter(a->names, a->actors, a->mask, one);
        a->named++;
    }
    return one;
}

void hf_alarm_set_remove(hf_alarms *a, hf_alarm *one)
{
    hf_alarm_set_pull(a, one);
    hf_alarm_set_unlist(a, one);
    if (!one->letter) {
        hf_alarm **link = &a->names[hash_of(one->key, one->key_len) & a->mask];
        while (*link != one)
            link = &(*link)->next_name;
        *link = one->next_name;
        *one->actor_link = one->next_actor;
        if (one->next_actor)
            one->next_actor->actor_link = one->actor_link;
        a->named--;
    }
    hf_mem_free(one);
}

/* ---- By due time */

bool hf_alarm_is_below(const hf_alarm *one, uint64_t due, uint64_t generation)
{
    return one->due != due ? one->due < due : one->generation < generation;
}

static bool is_before(const hf_alarm *a, const hf_alarm *b)
{
    return hf_alarm_is_below(a, b->due, b->generation);
}

static void put(hf_alarm_queue *q, uint32_t at, hf_alarm *one)
{
    q->heap[at] = one;
    one->heap = at + 1;
}

static void rise(hf_alarm_queue *q, uint32_t at)
{
    hf_alarm *one = q->heap[at];
    for (; at && is_before(one, q->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(q, at, q->heap[(at - 1) / 2]);
    put(q, at, one);
}

static void sink(hf_alarm_queue *q, uint32_t at)
{
    hf_alarm *one = q->heap[at];
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= q->count)
            break;
        if (child + 1 < q->count && is_before(q->heap[child + 1], q->heap[child]))
            child++;
        if (!is_before(q->heap[child], one))
            break;
        put(q, at, q->heap[child]);
        at = child;
    }
    put(q, at, one);
}

int hf_alarm_set_room(hf_alarms *a)
{
    for (int i = 0; i < 2; i++) {
        hf_alarm_queue *q = &a->queues[i];
        if (q->count < q->room)
            continue;
        uint32_t room = q->room ? q->room * 2 : 64;
        void *heap = hf_mem_grow(q->heap, room * sizeof(*q->heap));
        if (!heap)
            return hf_error(HF_ENOMEM, "%u alarms", room);
        q->heap = heap;
        q->room = room;
    }
    return HF_OK;
}

void hf_alarm_set_push(hf_alarms *a, hf_alarm *one)
{
    hf_alarm_queue *q = hf_alarm_queue_of(a, one->due);
    q->heap[q->count++] = one;
    rise(q, q->count - 1);
    q->cold += one->cold;
}

void hf_alarm_set_pull(hf_alarms *a, hf_alarm *one)
{
    hf_alarm_queue *q = hf_alarm_queue_of(a, one->due);
    if (!one->heap)
        return;
    uint32_t at = one->heap - 1;
    hf_alarm *last = q->heap[--q->count];
    one->heap = 0;
    q->cold -= one->cold;
    if (last == one)
        return;
    put(q, at, last);
    rise(q, at);
    sink(q, last->heap - 1);
}

/* ---- By position */

/* A word of the window, with all that is allocated for it, and as much again for what its
 * entry and the fold that sorts it take: then twice the budget is not exceeded. */
static uint64_t weight_of(const hf_alarm *one)
{
    return 5 * (sizeof *one + one->key_len);
}

void hf_alarm_set_list(hf_alarms *a, hf_alarm *one)
{
    hf_alarm_set_unlist(a, one);
    one->before = a->last;
    one->behind = NULL;
    if (a->last)
        a->last->behind = one;
    else
        a->first = one;
    a->last = one;
    a->unsure = a->unsure ? a->unsure : one;
    one->listed = true;
    atomic_fetch_add_explicit(&a->burden, weight_of(one), memory_order_relaxed);
    atomic_store_explicit(&a->newest, one->position + 1, memory_order_relaxed);
}

void hf_alarm_set_unlist(hf_alarms *a, hf_alarm *one)
{
    if (!one->listed)
        return;
    if (a->unsure == one)
        a->unsure = one->behind;
    if (one->before)
        one->before->behind = one->behind;
    else
        a->first = one->behind;
    if (one->behind)
        one->behind->before = one->before;
    else
        a->last = one->before;
    one->before = one->behind = NULL;
    one->listed = false;
    atomic_fetch_sub_explicit(&a->burden, weight_of(one), memory_order_relaxed);
}

void hf_alarm_set_forget(hf_alarms *a, hf_alarm *one)
{
    if (!one->staged) {
        hf_alarm_set_remove(a, one);
        return;
    }
    hf_alarm_set_pull(a, one);
    hf_alarm_set_unlist(a, one);
    one->now = HF_ALARM_NONE;
    one->entry = NULL;
    one->cold = false;
    one->generation = one->due = 0;
}

/* ---- Rows */

int hf_alarm_set_row(hf_alarms *a, hf_bytes name, uint64_t due, uint64_t generation)
{
    uint64_t id;
    size_t actor_len;
    bool letter = hf_due_letter_of(name, &id, &actor_len);
    hf_alarm *one = letter ? NULL : hf_alarm_set_find(a, name);
    if (one && (one->entry || one->generation >= generation))
        return HF_OK; /* the window knows better */
    if (hf_alarm_set_room(a))
        return HF_ENOMEM;
    if (!one) {
        hf_key key = { .len = name.len };
        memcpy(key.bytes, name.data, name.len);
        one = hf_alarm_set_add(a, &key, letter);
    }
    if (!one)
        return hf_error(HF_ENOMEM, "alarms");
    hf_alarm_set_pull(a, one);
    one->now = HF_ALARM_SET;
    one->cold = true;
    one->due = due;
    one->generation = one->position = generation;
    hf_alarm_set_push(a, one);
    return HF_OK;
}

bool hf_alarm_is_forced(const hf_alarms *a, uint64_t id)
{
    for (uint32_t i = 0; i < a->forced_count; i++)
        if (a->forced[i] == id)
            return true;
    return false;
}
