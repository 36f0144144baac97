/* view.c - read a store without being its writer.
 *
 * Happy path: begin a snapshot, adopt the log's records where they lie, sort
 * their facts as a fold would, and lay them over the tables.
 * Damage in the log or in a row that is touched ends the walk with HF_ECORRUPT.
 * One thread; nothing is written. */
#include "storage/view.h"

#include "storage/assert.h"
#include "storage/due.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/kept.h"
#include "storage/memory.h"
#include "storage/sharing.h"

struct hf_view_of {
    hf_txn      *txn;
    hf_window    window;
    hf_survivors survivors;
    const hf_survivors *facts; /* these, or those of whom it is the twin */
    hf_rowbuf    buf;
    uint64_t     seed, folding, next;
};

static int mark_entries(hf_view_of *view, hf_record *r)
{
    const uint8_t *first = r->data + hf_record_entries_at(r->runs), *end = r->data + r->size;
    const uint8_t *at = first;
    for (uint32_t i = 0; i < r->count; i++) {
        hf_entry e;
        size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
        if (!size || !hf_sharing_resolve(first, at, &e))
            return hf_error(HF_ECORRUPT, "entry %llu of the log can't be read",
                            (unsigned long long)(r->base + i));
        r->live += hf_entry_waits(&e) ? 1 : 0;
        r->keep = 1;
        uint32_t marked = 0;
        if (e.op == HF_OP_DONE)
            marked = hf_window_mark(&view->window, e.hash, e.count);
        else if (e.op == HF_OP_ACK || e.op == HF_OP_DEAD)
            marked = hf_window_mark(&view->window, e.place, 1);
        if (marked == HF_WINDOW_WRONG)
            return hf_error(HF_ECORRUPT, "the log ends a message that is none");
        at += size;
    }
    return HF_OK;
}

static int adopt(hf_view_of *view, hf_bytes key, hf_bytes value)
{
    hf_record_head head;
    if (key.len != 8)
        return hf_error(HF_ECORRUPT, "a log record has a key of %zu bytes", key.len);
    uint64_t position = hf_get64_key(key.data);
    int err = hf_record_check(value.data, value.len, position, &head);
    if (err)
        return err;
    hf_record *r = hf_window_record(&view->window, position,
                                    (uint8_t *)(uintptr_t)value.data, 0, &head);
    if (!r)
        return hf_error(HF_ENOMEM, "the window");
    err = mark_entries(view, r);
    if (!err)
        err = hf_window_push(&view->window, r);
    if (err)
        hf_record_free(&view->window, r);
    else if (view->next < position + head.count)
        view->next = position + head.count;
    return err;
}

static int load_log(hf_view_of *view)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    int err = hf_cursor_open(view->txn, HF_IN_LOG, &cursor);
    if (err)
        return err;
    for (err = hf_kept_seek(view->txn, cursor, &key, &value); !err;
         err = hf_cursor_next(cursor, &key, &value))
        if ((err = adopt(view, key, value)))
            break;
    hf_cursor_close(cursor);
    if (err != HF_ENOTFOUND)
        return err;
    hf_record **records = hf_mem_alloc((view->window.count + 1) * sizeof(*records));
    if (!records)
        return hf_error(HF_ENOMEM, "the window");
    for (uint32_t i = 0; i < view->window.count; i++)
        records[i] = hf_window_at(&view->window, i);
    err = hf_survivors_collect(&view->survivors, records, view->window.count, view->folding);
    hf_mem_free(records);
    return err;
}

int hf_view_open(hf_view_of **out, hf_disk *disk)
{
    hf_view_of *view = hf_mem_zero(1, sizeof *view);
    if (!view)
        return hf_error(HF_ENOMEM, "a view");
    hf_window_init(&view->window, 0);
    view->facts = &view->survivors;
    int err = hf_txn_read(disk, &view->txn);
    if (!err)
        err = hf_meta_get(view->txn, "seed", 0, &view->seed);
    if (!err)
        err = hf_meta_get(view->txn, "folding", 0, &view->folding);
    if (!err)
        err = hf_meta_get(view->txn, "next", 1, &view->next);
    if (!err)
        err = load_log(view);
    if (err) {
        hf_view_close(view);
        return err;
    }
    *out = view;
    return HF_OK;
}

int hf_view_twin(hf_view_of **out, const hf_view_of *of, hf_disk *disk)
{
    hf_view_of *view = hf_mem_zero(1, sizeof *view);
    if (!view)
        return hf_error(HF_ENOMEM, "a view");
    hf_window_init(&view->window, 0);
    view->facts = of->facts;
    view->seed = of->seed;
    view->folding = of->folding;
    view->next = of->next;
    int err = hf_txn_read(disk, &view->txn);
    if (!err && hf_txn_moment(view->txn) != hf_txn_moment(of->txn))
        err = hf_error(HF_EAGAIN, "a commit came between");
    if (err) {
        hf_view_close(view);
        return err;
    }
    *out = view;
    return HF_OK;
}

void hf_view_close(hf_view_of *view)
{
    if (!view)
        return;
    hf_survivors_done(&view->survivors);
    hf_window_done(&view->window);
    hf_rowbuf_done(&view->buf);
    hf_txn_abort(view->txn);
    hf_mem_free(view);
}

static hf_overlay overlay_of(hf_view_of *view)
{
    return (hf_overlay){ .txn = view->txn, .facts = view->facts, .buf = &view->buf };
}

int hf_view_walk(hf_view_of *view, hf_table table, hf_bytes from, hf_view_fn each, void *user)
{
    return hf_view_walk_past(view, table, from, each, NULL, user);
}

int hf_view_walk_past(hf_view_of *view, hf_table table, hf_bytes from, hf_view_fn each,
                      hf_view_skip skip, void *user)
{
    hf_overlay overlay = overlay_of(view);
    overlay.skip = skip;
    return hf_overlay_walk(&overlay, table, from, each, user);
}

int hf_view_get(hf_view_of *view, hf_table table, hf_bytes key, hf_bytes *payload)
{
    hf_overlay overlay = overlay_of(view);
    return hf_overlay_get(&overlay, table, key, payload);
}

enum { STOP = 1 };

typedef struct inbox_walk {
    hf_key      actor;
    uint64_t    after;
    hf_entry_fn each;
    void       *user;
} inbox_walk;

static int take_message(void *user, hf_bytes key, hf_bytes payload)
{
    inbox_walk *w = user;
    hf_entry e;
    const uint8_t *bytes = payload.data;
    /* Another actor whose key begins alike has the same 64-bit hash: pass over. */
    if (key.len < 8
        || memcmp(key.data, w->actor.bytes, w->actor.len < key.len ? w->actor.len : key.len))
        return STOP;
    uint64_t place = hf_get64_key((const uint8_t *)key.data + key.len - 8);
    if (key.len != w->actor.len + 8 || place <= w->after)
        return HF_OK;
    if (payload.len < 8 || !hf_entry_decode(bytes + 8, payload.len - 8, &e)
        || e.flags & HF_ENTRY_SHARES)
        return hf_error(HF_ECORRUPT, "message at %llu can't be read", (unsigned long long)place);
    e.place = place;
    e.id = e.id ? e.id : place;
    e.sent = e.sent ? e.sent : hf_get64(bytes);
    return w->each(w->user, &e);
}

int hf_view_inbox(hf_view_of *view, const char *actor, uint64_t after, hf_entry_fn each, void *user)
{
    inbox_walk w = { .after = after, .each = each, .user = user };
    hf_key from;
    size_t len = strlen(actor);
    uint64_t hash = hf_address_hash(view->seed, actor, len);
    hf_key_actor(&w.actor, actor, len, hash);
    hf_key_place(&from, actor, len, hash, after);
    int err = hf_view_walk(view, HF_IN_INBOX, hf_key_bytes(&from), take_message, &w);
    return err == STOP ? HF_OK : err;
}

int hf_view_form(hf_view_of *view, const char *actor, hf_bytes *image, uint64_t *position,
                 uint32_t *version)
{
    hf_key key;
    hf_bytes payload;
    size_t len = strlen(actor);
    hf_key_actor(&key, actor, len, hf_address_hash(view->seed, actor, len));
    int err = hf_view_get(view, HF_IN_STATE, hf_key_bytes(&key), &payload);
    if (err)
        return err;
    if (payload.len < 8)
        return hf_error(HF_ECORRUPT, "the state of %s is cut short", actor);
    *position = hf_state_position(hf_get64(payload.data));
    *version = hf_state_version(hf_get64(payload.data));
    *image = hf_view((const uint8_t *)payload.data + 8, payload.len - 8);
    return HF_OK;
}

int hf_view_state(hf_view_of *view, const char *actor, hf_bytes *image, uint64_t *position)
{
    uint32_t version;
    return hf_view_form(view, actor, image, position, &version);
}

int hf_view_log(hf_view_of *view, hf_entry_fn each, void *user)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < view->window.count; i++) {
        const hf_record *r = hf_window_at(&view->window, i);
        const uint8_t *first = r->data + hf_record_entries_at(r->runs), *end = r->data + r->size;
        const uint8_t *at = first;
        for (uint32_t n = 0; !err && n < r->count; n++) {
            hf_entry e;
            size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
            bool whole = hf_sharing_resolve(first, at, &e);
            HF_ASSERT(size && whole);
            at += size;
            if (hf_entry_is_message(e.op))
                hf_due_place(&e, r->base + n);
            e.sent = e.sent ? e.sent : r->time_ms;
            err = each(user, &e);
        }
    }
    return err;
}

hf_txn *hf_view_txn(const hf_view_of *view)
{
    return view->txn;
}

const hf_survivors *hf_view_facts(const hf_view_of *view)
{
    return view->facts;
}

uint64_t hf_view_time(const hf_view_of *view)
{
    return hf_window_time(&view->window, hf_clock_wall_ms());
}

uint64_t hf_view_seed(const hf_view_of *view)
{
    return view->seed;
}

uint64_t hf_view_next(const hf_view_of *view)
{
    return view->next;
}
