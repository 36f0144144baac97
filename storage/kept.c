/* kept.c - the history: which folded records are still there, and deleting them.
 *
 * Happy path: the end of a fold adds its records to the account; each later commit may
 * delete some of the oldest. The account is kept in a few parts, so it takes no memory
 * that could be missing; deleting walks the table itself. A transaction that fails takes
 * the caller's copy of the account back. The log's owner's thread. */
#include "storage/kept.h"

#include "storage/error.h"
#include "storage/row.h"

enum { LARGE = 16 << 10 };

/* Two neighbours become one: the pair that is smallest then. */
static void merge(hf_kept *k)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i + 1 < k->count; i++)
        if (k->parts[i].records + k->parts[i + 1].records
            < k->parts[best].records + k->parts[best + 1].records)
            best = i;
    hf_kept_part *a = &k->parts[best], *b = a + 1;
    b->bytes += a->bytes;
    b->messages += a->messages;
    b->records += a->records;
    memmove(a, b, (k->count - best - 1) * sizeof *a);
    k->count--;
}

static void add(hf_kept *k, const hf_kept_part *one)
{
    if (k->count == HF_KEPT_PARTS)
        merge(k);
    k->parts[k->count++] = *one;
    k->bytes += one->bytes;
    k->messages += one->messages;
    k->records += one->records;
}

void hf_kept_add(hf_kept *k, const hf_record *r)
{
    hf_kept_part one = { .end = r->base + (r->count ? r->count : 1), .bytes = r->size,
                         .messages = r->messages, .records = 1, .time_ms = r->time_ms };
    add(k, &one);
}

/* What its head says, unchecked: it decides only how long the record stays. */
static hf_kept_part part_of(hf_bytes key, hf_bytes value)
{
    const uint8_t *at = value.data;
    hf_kept_part one = { .end = hf_get64_key(key.data) + 1, .bytes = value.len, .records = 1 };
    if (value.len < HF_RECORD_HEAD)
        return one;
    one.end += hf_get32(at + 8) ? hf_get32(at + 8) - 1 : 0;
    one.time_ms = hf_get64(at + 16);
    uint64_t runs = hf_get32(at + 32), room = (value.len - HF_RECORD_HEAD) / HF_RUN_SIZE;
    for (uint32_t i = 0; i < runs && i < room; i++) {
        hf_run run = hf_record_run(at, i);
        one.messages += run.shard == HF_FACTS ? 0 : run.count;
    }
    return one;
}

/* The heads of large records lie in pages of their own, anywhere. */
static void want_heads(hf_cursor *cursor, uint64_t tail)
{
    hf_bytes key, value;
    for (int err = hf_cursor_first(cursor, &key, &value); !err;
         err = hf_cursor_next(cursor, &key, &value)) {
        if (key.len != 8 || hf_get64_key(key.data) >= tail)
            break;
        if (value.len > LARGE)
            hf_disk_want(hf_view(value.data, HF_RECORD_HEAD));
    }
}

int hf_kept_load(hf_kept *k, hf_txn *txn, uint64_t tail)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    memset(k, 0, sizeof *k);
    int err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
    if (err)
        return err;
    want_heads(cursor, tail);
    for (err = hf_cursor_first(cursor, &key, &value); !err;
         err = hf_cursor_next(cursor, &key, &value)) {
        if (key.len != 8 || hf_get64_key(key.data) >= tail)
            break;
        hf_kept_part one = part_of(key, value);
        if (one.end > tail)
            one.end = tail;
        add(k, &one);
    }
    hf_cursor_close(cursor);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

bool hf_kept_exceeds(const hf_kept *k, const hf_kept_limit *limit, uint64_t bytes,
                     uint64_t messages)
{
    if (k->bytes + bytes > limit->bytes || k->messages + messages > limit->messages)
        return true;
    return k->count && k->parts[0].time_ms < limit->since_ms;
}

static uint64_t less(uint64_t from, uint64_t what)
{
    return from > what ? from - what : 0;
}

/* The account follows: what its parts say adds up. */
static void take_off(hf_kept *k, const hf_kept_part *one)
{
    hf_kept_part *p = &k->parts[0];
    bool last = p->records <= 1 || one->end >= p->end;
    uint64_t bytes = last || one->bytes > p->bytes ? p->bytes : one->bytes;
    uint64_t messages = last || one->messages > p->messages ? p->messages : one->messages;
    uint64_t records = last ? p->records : 1;
    p->bytes -= bytes;
    p->messages -= messages;
    p->records -= records;
    k->bytes = less(k->bytes, bytes);
    k->messages = less(k->messages, messages);
    k->records = less(k->records, records);
    if (last)
        memmove(p, p + 1, --k->count * sizeof *p);
}

int hf_kept_drop(hf_kept *k, hf_txn *txn, uint64_t *budget)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    int err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
    if (err)
        return err;
    err = hf_cursor_first(cursor, &key, &value);
    if (!err && key.len == 8 && hf_get64_key(key.data) < k->parts[k->count - 1].end) {
        hf_kept_part one = part_of(key, value);
        uint64_t cost = hf_kept_cost(one.bytes);
        err = hf_cursor_del(cursor);
        *budget -= cost < *budget ? cost : *budget;
        take_off(k, &one);
    } else if (!err || err == HF_ENOTFOUND) { /* somebody else was quicker */
        memset(k, 0, sizeof *k);
        err = HF_OK;
    }
    hf_cursor_close(cursor);
    return err;
}

int hf_kept_tail(hf_txn *txn, uint64_t *tail)
{
    return hf_meta_get(txn, "tail", 0, tail);
}

int hf_kept_seek(hf_txn *txn, hf_cursor *cursor, hf_bytes *key, hf_bytes *value)
{
    uint64_t tail;
    hf_key from;
    int err = hf_kept_tail(txn, &tail);
    if (err)
        return err;
    hf_key_number(&from, tail);
    return hf_cursor_seek(cursor, hf_key_bytes(&from), key, value);
}
