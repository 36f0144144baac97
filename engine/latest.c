/* latest.c - kinds of letters that wait, by name and by the place of their oldest.
 *
 * Happy path: a letter finds its kind, or founds it, and is noted there with its place;
 * what the fold makes rows is forgotten, to be found again as such. Fails only for want
 * of memory: then nothing was noted. The shard's thread. */
#include "engine/latest.h"

#include "engine/urgency.h"

#include "storage/error.h"
#include "storage/memory.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BUCKETS_MIN = 8 };

int hf_conflated_of(hf_mailbox *box, struct hf_conflated **out)
{
    if (!box->conflated) {
        struct hf_conflated *c = hf_mem_zero(1, sizeof *c);
        hf_latest **buckets = hf_mem_zero(BUCKETS_MIN, sizeof(*buckets));
        if (!c || !buckets) {
            hf_mem_free(c);
            hf_mem_free(buckets);
            return hf_error(HF_ENOMEM, "a mailbox");
        }
        c->buckets = buckets;
        c->mask = BUCKETS_MIN - 1;
        c->looked = box->actor->taken;
        box->conflated = c;
    }
    *out = box->conflated;
    return HF_OK;
}

/* ---- Kinds, by name and by the place of their oldest */

static hf_latest *find(const struct hf_conflated *c, uint64_t hash, const hf_entry *e)
{
    hf_latest *l = c->buckets[hash & c->mask];
    while (l && (l->hash != hash || l->kind_len != e->name_len
                 || memcmp(l->kind, e->name, e->name_len) != 0))
        l = l->next;
    return l;
}

hf_latest *hf_latest_find(const struct hf_conflated *c, const hf_entry *e)
{
    return find(c, XXH3_64bits(e->name, e->name_len), e);
}

static void heap_set(struct hf_conflated *c, uint32_t at, hf_latest *l)
{
    c->heap[at] = l;
    l->heap = at;
}

static void heap_up(struct hf_conflated *c, hf_latest *l)
{
    uint32_t at = l->heap;
    for (; at && c->heap[(at - 1) / 2]->front > l->front; at = (at - 1) / 2)
        heap_set(c, at, c->heap[(at - 1) / 2]);
    heap_set(c, at, l);
}

static void heap_down(struct hf_conflated *c, hf_latest *l)
{
    uint32_t at = l->heap;
    for (uint32_t child; (child = at * 2 + 1) < c->count; at = child) {
        if (child + 1 < c->count && c->heap[child + 1]->front < c->heap[child]->front)
            child++;
        if (c->heap[child]->front >= l->front)
            break;
        heap_set(c, at, c->heap[child]);
    }
    heap_set(c, at, l);
}

static int make_room(struct hf_conflated *c)
{
    if (c->count == c->heap_room) {
        uint32_t room = c->heap_room ? c->heap_room * 2 : 4;
        void *heap = hf_mem_grow(c->heap, room * sizeof(*c->heap));
        if (!heap)
            return hf_error(HF_ENOMEM, "a mailbox");
        c->heap = heap;
        c->heap_room = room;
    }
    uint32_t slots = (c->mask + 1) * 2;
    hf_latest **wider = c->count > c->mask ? hf_mem_zero(slots, sizeof(*wider)) : NULL;
    for (uint32_t i = 0; wider && i < c->count; i++) {
        hf_latest *l = c->heap[i];
        l->next = wider[l->hash & (slots - 1)];
        wider[l->hash & (slots - 1)] = l;
    }
    if (wider) { /* without memory the chains just grow longer */
        hf_mem_free(c->buckets);
        c->buckets = wider;
        c->mask = slots - 1;
    }
    return HF_OK;
}

int hf_latest_of(struct hf_conflated *c, const hf_entry *e, hf_latest **out)
{
    uint64_t hash = XXH3_64bits(e->name, e->name_len);
    if ((*out = find(c, hash, e)))
        return HF_OK;
    int err = make_room(c);
    hf_latest *l = err ? NULL : hf_mem_zero(1, sizeof *l + e->name_len + 1u);
    if (!l)
        return hf_error(HF_ENOMEM, "a mailbox");
    memcpy(l->kind, e->name, e->name_len);
    l->kind_len = e->name_len;
    l->hash = hash;
    l->front = UINT64_MAX;
    l->next = c->buckets[hash & c->mask];
    c->buckets[hash & c->mask] = l;
    heap_set(c, c->count++, l);
    *out = l;
    return HF_OK;
}

void hf_latest_remove(hf_mailbox *box, hf_latest *l)
{
    struct hf_conflated *c = box->conflated;
    hf_latest **link = &c->buckets[l->hash & c->mask], *last = c->heap[--c->count];
    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    if (last != l) {
        heap_set(c, l->heap, last);
        heap_up(c, last);
        heap_down(c, last);
    }
    if (c->crowded == l)
        c->crowded = NULL;
    c->waiting -= l->count + (l->held != NULL);
    hf_urgency_leave(box, l->urgency);
    hf_mem_free(l->members);
    hf_mem_free(l);
}

/* ---- Letters come */

void hf_latest_front(struct hf_conflated *c, hf_latest *l, uint64_t place)
{
    if (place >= l->front)
        return;
    l->front = place;
    heap_up(c, l);
}

void hf_latest_newest(hf_mailbox *box, hf_latest *l, const hf_letter_in *letter, uint32_t urgency)
{
    uint64_t recent = hf_recency(letter->id, letter->place);
    if (l->letters && recent < l->recent)
        return;
    l->recent = recent;
    l->letter = *letter;
    hf_urgency_leave(box, l->urgency);
    l->urgency = urgency;
    hf_urgency_enter(box, urgency);
}

int hf_latest_add(hf_mailbox *box, const hf_entry *e, const hf_letter_in *letter)
{
    struct hf_conflated *c = box->conflated;
    hf_latest *l;
    int err = hf_latest_of(c, e, &l);
    if (!err && l->count == l->room) {
        uint32_t room = l->room ? l->room * 2 : 4;
        hf_member *members = hf_mem_grow(l->members, room * sizeof *members);
        if (members) {
            l->members = members;
            l->room = room;
        } else {
            err = hf_error(HF_ENOMEM, "a mailbox");
        }
    }
    if (err)
        return err;
    hf_latest_newest(box, l, letter, e->urgency);
    l->members[l->count++] = (hf_member){ letter->id, letter->place };
    l->letters += 1u + e->replaced;
    c->waiting++;
    hf_latest_front(c, l, letter->place);
    if (l->count >= HF_LATEST_CROWD)
        c->crowded = l;
    return HF_OK;
}

bool hf_conflate_unlooked(const hf_mailbox *box)
{
    return box->conflated->unlooked;
}

uint64_t hf_conflate_front(const hf_mailbox *box)
{
    const struct hf_conflated *c = box->conflated;
    return c && c->count ? c->heap[0]->front : UINT64_MAX;
}

uint64_t hf_conflate_waiting(const hf_mailbox *box)
{
    return box->conflated ? box->conflated->waiting : 0;
}

bool hf_conflate_is_empty(const hf_mailbox *box)
{
    return !box->conflated || (!box->conflated->count && !box->conflated->unlooked);
}

/* ---- The fold */

/* Letters of the window that are rows now come back as such. */
static bool drop_members(struct hf_conflated *c, hf_latest *l, uint64_t folded)
{
    uint32_t kept = 0, count = l->count;
    l->front = l->held ? l->held->e.place : UINT64_MAX;
    l->recent = l->held ? hf_recency(l->held->e.id, l->held->e.place) : 0;
    hf_letter_in newest = { NULL, NULL, l->held ? l->held->e.id : 0,
                            l->held ? l->held->e.place : 0, 0 };
    for (uint32_t i = 0; i < count; i++) {
        hf_member m = l->members[i];
        if (m.place > c->looked && m.place < folded)
            continue;
        l->members[kept++] = m;
        l->front = m.place < l->front ? m.place : l->front;
        if (hf_recency(m.id, m.place) < l->recent)
            continue;
        l->recent = hf_recency(m.id, m.place);
        newest = m.place == l->letter.place ? l->letter
                                            : (hf_letter_in){ NULL, NULL, m.id, m.place, 0 };
    }
    l->letter = newest;
    l->count = kept;
    l->letters -= count - kept;
    c->waiting -= count - kept;
    return kept < count;
}

bool hf_conflate_fold(hf_shard *shard, hf_mailbox *box, uint64_t folded, bool overtaken)
{
    struct hf_conflated *c = box->conflated;
    bool dropped = false;
    for (uint32_t i = 0; i < c->count; i++)
        dropped |= drop_members(c, c->heap[i], folded);
    for (uint32_t i = c->count; i--;) /* all are in order below i */
        if (!c->heap[i]->count && !c->heap[i]->held)
            hf_latest_remove(box, c->heap[i]);
    for (uint32_t i = c->count / 2 + 1; i--;)
        if (i < c->count)
            heap_down(c, c->heap[i]);
    if (dropped)
        c->unlooked = true;
    /* Rows that nobody paged in yet, or asked for, are still to be looked at. */
    bool paged = !overtaken && !box->actor->rows && box->actor->checked == shard->spills;
    if (!c->unlooked && paged && c->looked + 1 < folded)
        c->looked = folded - 1;
    hf_endset_trim(&c->ends, c->looked, shard->folded_batch);
    return dropped;
}

void hf_conflate_free(hf_mailbox *box)
{
    struct hf_conflated *c = box->conflated;
    if (!c)
        return;
    if (box->actor->taken < c->most)
        box->actor->taken = c->most;
    while (c->count) {
        hf_latest *l = c->heap[--c->count];
        hf_parcel_free(l->held);
        hf_mem_free(l->members);
        hf_mem_free(l);
    }
    hf_endset_free(&c->ends);
    hf_mem_free(c->heap);
    hf_mem_free(c->buckets);
    hf_mem_free(c);
    box->conflated = NULL;
}
