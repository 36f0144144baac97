/* mailbox.c - rings of letters, lists of parcels.
 *
 * Happy path: letters are pushed as the shard passes them in the log or pages
 * them in, popped as they run. Parcels are few. Fails only for want of memory.
 * The shard's thread. */
#include "engine/mailbox.h"

#include "engine/conflate.h"
#include "engine/rows.h"
#include "engine/urgency.h"

#include "storage/address.h"
#include "storage/memory.h"

static int grow(hf_letters *l)
{
    uint32_t slots = l->slots ? l->slots * 2 : 2; /* most mailboxes stay tiny */
    hf_letter_in *items = hf_mem_alloc(slots * sizeof *items);
    if (!items)
        return HF_ENOMEM;
    for (uint32_t i = 0; i < l->count; i++)
        items[i] = l->items[(l->first + i) & (l->slots - 1)];
    hf_mem_free(l->items);
    l->items = items;
    l->slots = slots;
    l->first = 0;
    return HF_OK;
}

int hf_letters_push(hf_letters *l, const hf_letter_in *letter)
{
    if (l->count == l->slots && grow(l))
        return HF_ENOMEM;
    l->items[(l->first + l->count++) & (l->slots - 1)] = *letter;
    return HF_OK;
}

hf_letter_in *hf_letters_front(hf_letters *l)
{
    return l->count ? &l->items[l->first] : NULL;
}

void hf_letters_pop(hf_letters *l)
{
    hf_page_drop(l->items[l->first].page);
    l->first = (l->first + 1) & (l->slots - 1);
    l->count--;
}

uint32_t hf_letters_below(const hf_letters *l, uint64_t place)
{
    uint32_t low = 0, high = l->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (l->items[(l->first + mid) & (l->slots - 1)].place < place)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void free_letters(hf_letters *l)
{
    while (l->count)
        hf_letters_pop(l);
    hf_mem_free(l->items);
    memset(l, 0, sizeof *l);
}

void hf_letters_cut(hf_letters *l, uint32_t count)
{
    l->first = (l->first + count) & (l->slots - 1);
    l->count -= count;
    if (!l->count)
        free_letters(l);
}

void hf_page_drop(hf_page *page)
{
    if (page && --page->uses == 0)
        hf_mem_free(page);
}

hf_mailbox *hf_mailbox_new(hf_actor *actor)
{
    hf_mailbox *box = hf_mem_zero(1, sizeof *box);
    if (box)
        box->actor = actor;
    return box;
}

void hf_mailbox_free(hf_mailbox *box)
{
    if (!box)
        return;
    while (box->parcels) {
        hf_parcel *next = box->parcels->next;
        hf_parcel_free(box->parcels);
        box->parcels = next;
    }
    free_letters(&box->paged);
    free_letters(&box->letters);
    hf_conflate_free(box);
    hf_mem_free(box->urgent);
    hf_mem_free(box);
}

bool hf_mailbox_is_empty(const hf_mailbox *box)
{
    return !box->parcels && !box->paged.count && !box->letters.count && !box->actor->rows
        && hf_conflate_is_empty(box);
}

hf_parcel *hf_parcel_new(hf_actor *actor, const hf_entry *message)
{
    hf_parcel *p = hf_mem_zero(1, sizeof *p);
    size_t size = hf_entry_size(message);
    uint8_t *bytes = hf_mem_alloc(size);
    if (!p || !bytes) {
        hf_mem_free(p);
        hf_mem_free(bytes);
        return NULL;
    }
    hf_entry_encode(message, bytes);
    hf_entry_decode(bytes, size, &p->e);
    p->e.id = message->id;
    p->e.place = message->place;
    p->e.sent = message->sent;
    p->bytes = bytes;
    p->actor = actor;
    return p;
}

void hf_parcel_free(hf_parcel *p)
{
    if (!p)
        return;
    hf_steps_free(p->steps);
    hf_rows_end(p->rows);
    hf_mem_free(p->bytes);
    hf_mem_free(p->trouble);
    hf_mem_free(p->notes);
    hf_mem_free(p);
}

int hf_parcel_note(hf_parcel *p, int err, const char *error, uint64_t now_ms)
{
    size_t len = strlen(error), times = p->e.times.len;
    if (len > HF_ERROR_MAX)
        len = HF_ERROR_MAX;
    size_t skip = times >= HF_TIMES_MAX * 8 ? times - (HF_TIMES_MAX - 1) * 8 : 0;
    uint8_t *trouble = hf_mem_alloc(len + 1 + times + 8);
    if (!trouble)
        return HF_ENOMEM;
    memcpy(trouble, error, len);
    trouble[len] = 0;
    uint8_t *at = trouble + len + 1;
    if (times)
        memcpy(at, (const uint8_t *)p->e.times.data + skip, times - skip);
    hf_put64(at + times - skip, now_ms);
    hf_mem_free(p->trouble);
    p->trouble = trouble;
    p->e.err = err;
    p->e.error = (const char *)trouble;
    p->e.error_len = (uint32_t)len;
    p->e.times = hf_view(at, times - skip + 8);
    return HF_OK;
}

int hf_parcel_annotate(hf_parcel *p, hf_bytes notes)
{
    if (!notes.len)
        return HF_OK;
    uint8_t *copy = hf_mem_alloc(notes.len);
    if (!copy)
        return HF_ENOMEM;
    memcpy(copy, notes.data, notes.len);
    hf_mem_free(p->notes);
    p->notes = copy;
    p->e.notes = hf_view(copy, notes.len);
    return HF_OK;
}

void hf_mailbox_insert(hf_mailbox *box, hf_parcel *parcel)
{
    hf_parcel **link = &box->parcels;
    while (*link && (*link)->e.place < parcel->e.place)
        link = &(*link)->next;
    parcel->next = *link;
    *link = parcel;
    if (parcel->e.urgency)
        hf_urgency_enter(box, parcel->e.urgency);
}

void hf_mailbox_remove(hf_mailbox *box, hf_parcel *parcel)
{
    hf_parcel **link = &box->parcels;
    while (*link && *link != parcel)
        link = &(*link)->next;
    if (*link)
        *link = parcel->next;
    parcel->next = NULL;
    if (parcel->e.urgency)
        hf_urgency_leave(box, parcel->e.urgency);
}
