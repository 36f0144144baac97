/* pausing.c - read the pauses of a store and find what covers an actor.
 *
 * Happy path: load all rows once (they are few), then look up. Fails for want
 * of memory or when a row is damaged. One thread. */
#include "recovery/pausing.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>

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
    hf_bytes notes = e->notes;
    hf_note note;
    one->uid = 0;
    one->user[0] = 0;
    if (hf_note_next(&notes, &note) && note.user.len <= HF_PEN_USER) {
        one->uid = note.uid;
        memcpy(one->user, note.user.data, note.user.len);
        one->user[note.user.len] = 0;
    }
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
    hf_out_words(out, "user", one->user);
    hf_out_words(out, "reason", one->reason);
    hf_out_end(out);
}

/* ---- The list of pauses and resumes: a row of its own, at an address no actor has */

static const char list_owner[] = "-/-", list_name[] = "opauses";

static int read_list(hf_view_of *view, hf_key *key, hf_bytes *list)
{
    hf_bytes payload;
    size_t len = sizeof list_owner - 1;
    hf_entry e = { .to = list_owner, .to_len = (uint8_t)len, .name = list_name,
                   .name_len = sizeof list_name - 1,
                   .hash = hf_address_hash(hf_view_seed(view), list_owner, len) };
    hf_key_name(key, &e);
    *list = hf_view(NULL, 0);
    int err = hf_view_get(view, HF_IN_ROWS, hf_key_bytes(key), &payload);
    if (!err && payload.len >= 8)
        *list = hf_view((const uint8_t *)payload.data + 8, payload.len - 8);
    /* A damaged list, which the checkup names, must not hide what an actor waits for. */
    return err == HF_ENOTFOUND || err == HF_ECORRUPT ? HF_OK : err;
}

int hf_pausing_list(hf_view_of *view, const hf_pen *pen, const char *what, uint8_t *list,
                    hf_entry *entry)
{
    hf_pen about = *pen;
    char change[16 + HF_ADDRESS_MAX];
    hf_bytes old;
    hf_key key;
    int err = read_list(view, &key, &old);
    if (err)
        return err;
    size_t len = old.len <= HF_PEN_LIST ? old.len : 0;
    if (len)
        memcpy(list, old.data, len);
    (void)snprintf(change, sizeof change, "%s %s", pen->change, what);
    about.change = change;
    len = hf_pen_append(&about, list, len, HF_PEN_LIST);
    size_t owner = sizeof list_owner - 1;
    *entry = (hf_entry){ .op = HF_OP_PUT, .to = list_owner, .to_len = (uint8_t)owner,
                         .name = list_name, .name_len = sizeof list_name - 1,
                         .hash = hf_address_hash(hf_view_seed(view), list_owner, owner),
                         .error = "", .from = "", .data = hf_view(list, len) };
    return HF_OK;
}

/* "pause order/42": does it cover the actor? Leaves the first word. */
static bool covers(hf_note *note, const char *actor)
{
    const char *text = note->change.data, *space = memchr(text, ' ', note->change.len);
    if (!space)
        return false;
    const char *what = space + 1;
    size_t len = note->change.len - (size_t)(what - text), all = strlen(actor);
    note->change.len = (size_t)(space - text);
    bool is_type = len == hf_address_type_len(actor, all);
    return !len || ((len == all || is_type) && memcmp(what, actor, len) == 0);
}

int hf_out_pausings(hf_out *out, hf_view_of *view, const char *actor)
{
    hf_bytes list;
    hf_note note;
    hf_key key;
    bool any = false;
    int err = read_list(view, &key, &list);
    while (!err && hf_note_next(&list, &note)) {
        const char *text = note.change.data;
        size_t len = note.change.len;
        if (!covers(&note, actor))
            continue;
        if (!any)
            hf_out_array(out, "pauses");
        any = true;
        hf_out_map(out, NULL);
        hf_out_note(out, &note);
        hf_out_text(out, "what", hf_view(text + note.change.len + 1, len - note.change.len - 1));
        hf_out_end(out);
    }
    if (any)
        hf_out_end(out);
    return err;
}
