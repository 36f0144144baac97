/* pausing.c - read the pauses of a store and find what covers an actor.
 *
 * Happy path: load all rows once (they are few), then look up. Fails for want
 * of memory or when a row is damaged. One thread. */
#include "recovery/pausing.h"

#include "storage/error.h"
#include "storage/memory.h"

static int add(hf_pausings *p, const hf_entry *e, uint64_t since)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 16;
        void *items = hf_mem_grow(p->items, room * sizeof *p->items);
        if (!items)
            return hf_error(HF_ENOMEM, "pauses");
        p->items = items;
        p->room = room;
    }
    hf_pausing *one = &p->items[p->count];
    one->reason = hf_mem_alloc(e->data.len + 1);
    if (!one->reason)
        return hf_error(HF_ENOMEM, "pauses");
    if (e->data.len)
        memcpy(one->reason, e->data.data, e->data.len);
    one->reason[e->data.len] = 0;
    one->since = since;
    memset(one->what, 0, sizeof one->what);
    if (strcmp(e->to, HF_PAUSE_ALL) != 0)
        memcpy(one->what, e->to, e->to_len);
    p->count++;
    return HF_OK;
}

static int take_row(void *user, hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    (void)key;
    if (payload.len < 8 || !hf_entry_decode((const uint8_t *)payload.data + 8, payload.len - 8, &e))
        return hf_error(HF_ECORRUPT, "a pause can't be read");
    return add(user, &e, hf_get64(payload.data));
}

int hf_pausings_load(hf_pausings *p, hf_view_of *view)
{
    return hf_view_walk(view, HF_IN_PAUSES, hf_view(NULL, 0), take_row, p);
}

void hf_pausings_done(hf_pausings *p)
{
    for (size_t i = 0; i < p->count; i++)
        hf_mem_free(p->items[i].reason);
    hf_mem_free(p->items);
    memset(p, 0, sizeof *p);
}

static const hf_pausing *find(const hf_pausings *p, const char *what, size_t len)
{
    for (size_t i = 0; i < p->count; i++)
        if (strlen(p->items[i].what) == len && memcmp(p->items[i].what, what, len) == 0)
            return &p->items[i];
    return NULL;
}

const hf_pausing *hf_pausings_find(const hf_pausings *p, const char *address, size_t len)
{
    if (!p->count)
        return NULL;
    const hf_pausing *one = find(p, "", 0);
    if (!one)
        one = find(p, address, hf_address_type_len(address, len));
    return one ? one : find(p, address, len);
}

const hf_pausing *hf_pausings_exact(const hf_pausings *p, const char *what)
{
    return find(p, what, strlen(what));
}

int hf_pausing_check(const char *what)
{
    size_t len = strnlen(what, HF_ADDRESS_MAX + 1);
    if (len == 0 || hf_address_type_ok(what, len) || hf_address_ok(what, len))
        return HF_OK;
    return hf_error(HF_EINVAL, "\"%.300s\" is neither a type nor an actor", what);
}

void hf_out_pausing(hf_out *out, const hf_pausing *one)
{
    if (!one)
        return;
    hf_out_map(out, "pause");
    hf_out_text(out, "what", hf_str(one->what));
    hf_out_time(out, "since", one->since);
    hf_out_words(out, "reason", one->reason);
    hf_out_end(out);
}
