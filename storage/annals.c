/* annals.c - read the log by position, what is folded and kept included.
 *
 * Happy path: find the record that holds a position with one look-up, go on entry by
 * entry. Below the tail a record that can't be believed is passed over, for nothing
 * depends on it; from the tail on it is damage. Any thread, in its own snapshot. */
#include "storage/annals.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/kept.h"
#include "storage/record.h"
#include "storage/row.h"
#include "storage/sharing.h"

typedef struct walk {
    uint64_t    from;
    uint32_t    ops;
    hf_annal_fn each;
    void       *user;
} walk;

static int corrupt(uint64_t position)
{
    return hf_error(HF_ECORRUPT, "entry %llu of the log can't be read",
                    (unsigned long long)position);
}

/* Most entries are none of those asked for: their head says so, and how long they are. */
static size_t skip_plain(const uint8_t *at, size_t left, uint32_t ops)
{
    if (left < HF_ENTRY_HEAD || at[0] >= HF_OPS || at[1] & HF_ENTRY_EXTRA
        || (ops >> at[0] & 1 && (at[0] != HF_OP_SEND || ops & HF_ANNALS_PLAIN)))
        return 0;
    if (at[0] == HF_OP_DONE)
        return HF_ENTRY_HEAD;
    size_t size = HF_ENTRY_HEAD + (size_t)hf_get32(at + 4) + (at[2] ? at[2] + 1u : 0)
        + (at[3] ? at[3] + 1u : 0);
    size = (size + 15) & ~(size_t)15;
    return size <= left ? size : 0;
}

static int walk_record(const walk *w, uint64_t base, hf_bytes value)
{
    hf_record_head head;
    hf_annal a;
    int err = hf_record_check(value.data, value.len, base, &head);
    if (err)
        return err;
    const uint8_t *first = (const uint8_t *)value.data + hf_record_entries_at(head.runs);
    const uint8_t *at = first, *end = (const uint8_t *)value.data + head.size;
    for (uint32_t i = 0; !err && i < head.count; i++) {
        size_t size = skip_plain(at, (size_t)(end - at), w->ops);
        if (!size) {
            size = hf_entry_decode(at, (size_t)(end - at), &a.e);
            if (!size || !hf_sharing_resolve(first, at, &a.e))
                return corrupt(base + i);
            a.position = base + i;
            a.time_ms = head.time_ms;
            a.group = head.group;
            if (hf_entry_is_message(a.e.op))
                hf_due_place(&a.e, a.position);
            if (w->ops >> a.e.op & 1 && a.position >= w->from)
                err = w->each(w->user, &a);
        }
        at += size;
    }
    return err;
}

/* The record that may hold the position: the last one that does not begin behind it. */
static int seek(hf_cursor *cursor, uint64_t position, hf_bytes *key, hf_bytes *value)
{
    hf_key from;
    hf_key_number(&from, position);
    int err = hf_cursor_seek(cursor, hf_key_bytes(&from), key, value);
    if (!err && key->len == 8 && hf_get64_key(key->data) == position)
        return HF_OK;
    if (err && err != HF_ENOTFOUND)
        return err;
    err = err ? hf_cursor_last(cursor, key, value) : hf_cursor_prev(cursor, key, value);
    if (err == HF_ENOTFOUND) /* the first record lies behind it, or there is none */
        err = hf_cursor_first(cursor, key, value);
    return err;
}

int hf_annals_walk(hf_txn *txn, uint64_t from, uint32_t ops, hf_annal_fn each, void *user)
{
    walk w = { from, ops, each, user };
    hf_cursor *cursor;
    hf_bytes key, value;
    uint64_t tail;
    int err = hf_kept_tail(txn, &tail);
    if (!err)
        err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
    if (err)
        return err;
    for (err = seek(cursor, from, &key, &value); !err;
         err = hf_cursor_next(cursor, &key, &value)) {
        uint64_t base = key.len == 8 ? hf_get64_key(key.data) : 0;
        int one = walk_record(&w, base, value);
        if (one && !((one == HF_ECORRUPT || one == HF_EVERSION) && base < tail)) {
            err = one;
            break;
        }
    }
    hf_cursor_close(cursor);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

enum { FOUND = 0x5708 }; /* ends a walk; no code of ours */

static int take(void *user, const hf_annal *a)
{
    *(hf_annal *)user = *a;
    return FOUND;
}

int hf_annals_find(hf_txn *txn, uint64_t position, hf_annal *annal)
{
    walk w = { position, UINT32_MAX, take, annal };
    hf_cursor *cursor;
    hf_bytes key, value;
    int err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
    if (err)
        return err;
    err = seek(cursor, position, &key, &value);
    uint64_t base = !err && key.len == 8 ? hf_get64_key(key.data) : 0;
    if (!err)
        err = walk_record(&w, base, value);
    hf_cursor_close(cursor);
    if (err == FOUND && annal->position == position)
        return HF_OK;
    return !err || err == FOUND || err == HF_ECORRUPT || err == HF_EVERSION ? HF_ENOTFOUND : err;
}
