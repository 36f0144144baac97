/* backlog.c - how many messages wait in a store that is being opened.
 *
 * Happy path: all rows of the inbox, and the messages of the replayed window
 * that are not done. A fold that was cut short has left rows of messages that
 * lie in the window as well, and the window ends and requeues messages that lie
 * in the table: those are looked up one by one. Fails for want of memory, or as
 * reading fails. The opener's thread. */
#include "engine/engine.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

typedef struct requeued {
    uint64_t id, position;
} requeued;

typedef struct backlog {
    hf_engine *engine;
    hf_txn    *txn;
    uint64_t   tail;       /* where the window begins */
    uint64_t   folding;    /* messages below may have rows already */
    uint64_t   waiting;
    requeued  *again;
    uint32_t   count, room;
} backlog;

static bool has_row(const backlog *b, const hf_entry *e, uint64_t place)
{
    hf_key key;
    hf_bytes payload;
    hf_key_place(&key, e->to, e->to_len, e->hash, place);
    return hf_row_get(b->txn, HF_IN_INBOX, &key, &payload) != HF_ENOTFOUND;
}

static int by_id(const void *pa, const void *pb)
{
    const requeued *a = pa, *b = pb;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return (a->position > b->position) - (a->position < b->position);
}

/* Was it requeued before this position, and is that the last word so far? */
static bool came_again(const backlog *b, uint64_t id, uint64_t position)
{
    uint32_t low = 0, high = b->count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (b->again[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < b->count && b->again[low].id == id && b->again[low].position < position;
}

static int note_requeue(backlog *b, const hf_entry *e, uint64_t position)
{
    if (b->count == b->room) {
        uint32_t room = b->room ? b->room * 2 : 256;
        requeued *grown = hf_mem_grow(b->again, room * sizeof *grown);
        if (!grown)
            return hf_error(HF_ENOMEM, "messages of the window");
        b->again = grown;
        b->room = room;
    }
    b->again[b->count++] = (requeued){ e->id, position };
    if (e->place >= b->tail || !has_row(b, e, e->place))
        b->waiting++;
    return HF_OK;
}

static void count_entry(backlog *b, const hf_record *r, uint32_t index, const hf_entry *e)
{
    uint64_t position = r->base + index;
    if (hf_entry_is_message(e->op)) {
        bool row = position < b->folding && has_row(b, e, position);
        b->waiting += !hf_record_is_done(r, index);
        b->waiting -= row; /* counted among the rows */
    } else if (e->op == HF_OP_ACK || e->op == HF_OP_DEAD) {
        /* Maybe it never had a row: it was done before the fold had looked. */
        bool row = e->id < b->tail && has_row(b, e, e->place);
        b->waiting -= row || came_again(b, e->id, position);
    }
}

static int count_window(backlog *b, bool requeues)
{
    const hf_window *w = hf_log_window(b->engine->log);
    int err = HF_OK;
    for (uint32_t i = 0; i < w->count; i++) {
        const hf_record *r = hf_window_at(w, i);
        if (!r->keep) { /* nothing but messages */
            b->waiting += requeues ? 0 : r->live;
            continue;
        }
        const uint8_t *at = r->data + hf_record_entries_at(r->runs), *end = r->data + r->size;
        for (uint32_t n = 0; !err && n < r->count; n++) {
            hf_entry e;
            at += hf_entry_decode(at, (size_t)(end - at), &e);
            if (!requeues)
                count_entry(b, r, n, &e);
            else if (e.op == HF_OP_REQUEUE)
                err = note_requeue(b, &e, r->base + n);
        }
    }
    return err;
}

int hf_backlog_count(hf_engine *engine)
{
    backlog b = { .engine = engine, .tail = hf_log_folded(engine->log) };
    int err = hf_txn_read(engine->disk, &b.txn);
    if (err)
        return err;
    err = hf_txn_count(b.txn, HF_IN_INBOX, &b.waiting);
    if (!err)
        err = hf_meta_get(b.txn, "folding", 0, &b.folding);
    if (!err)
        err = count_window(&b, true);
    if (!err && b.count)
        qsort(b.again, b.count, sizeof *b.again, by_id);
    if (!err)
        err = count_window(&b, false);
    hf_txn_abort(b.txn);
    hf_mem_free(b.again);
    atomic_store(&engine->count.waiting, b.waiting);
    return err;
}
