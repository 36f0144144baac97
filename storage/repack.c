/* repack.c - put rows of a table closer together.
 *
 * Happy path: the rows of some pages that the fold has just written are read, deleted, and
 * put back in order. LMDB splits a page in halves when a row comes between others, but fills it
 * when rows come one behind the other; so a table into which actors came at random takes
 * half of its pages afterwards. The fewer pages, the fewer the next fold copies.
 *
 * Fails for want of memory, or of room; the transaction is then aborted, which changes
 * nothing. The writer's thread. */
#include "storage/repack.h"

#include "storage/error.h"

enum {
    PAGE         = 4096,     /* of the file; larger ones are packed less well */
    ROWS_MOST    = 4096,     /* in one run, */
    BYTES_MOST   = 1 << 20,  /* about */
    ROW_STAYS    = 1024,     /* a larger one stays where it is */
    ROW_EXTRA    = 10,       /* what LMDB adds to each */
    ROW_LARGE    = 512,      /* fewer of these share a page, and gaps cost less */
    TABLE_SMALL  = 1 << 20,  /* bytes, not worth it */
    FILL_LOW     = 75,       /* percent of its pages that its rows fill */
    GROWTH_CALM  = 500,      /* no more than a 500th more rows since the last time: a new one
                                splits a page that is full */
    REST         = 8,        /* folds before it is done again */
};

int hf_repack_pays(hf_repack *r, hf_txn *txn, hf_table table, uint64_t writes, bool *pays)
{
    uint64_t rows, bytes, before = r->rows, row = r->seen ? r->seen_bytes / r->seen : 0;
    int err = hf_txn_size(txn, table, &rows, &bytes);
    *pays = false;
    if (err)
        return err;
    r->first.bytes[0] = 0; /* from the first row on */
    r->first.len = 1;
    r->rows = rows;
    r->seen = r->seen_bytes = 0;
    bool settled = rows - before <= rows / GROWTH_CALM || before > rows;
    bool loose = rows * (row + ROW_EXTRA) * 100 < bytes * FILL_LOW;
    /* Else most of its pages would not be written now. */
    bool most = writes >= rows / 4;
    r->rest -= r->rest > 0;
    *pays = r->always
            || (!r->rest && row && row <= ROW_LARGE && bytes >= TABLE_SMALL && settled && loose
                && most);
    if (*pays)
        r->rest = REST;
    return HF_OK;
}

/* Copied one behind the other: length of key and value(4 each), key, value. */
static int copy_row(hf_repack *r, hf_bytes key, hf_bytes value)
{
    size_t need = r->buf.len + 8 + key.len + value.len;
    int err = hf_rowbuf_need(&r->buf, need);
    if (err)
        return err;
    uint8_t *at = r->buf.bytes + r->buf.len;
    hf_put32(at, (uint32_t)key.len);
    hf_put32(at + 4, (uint32_t)value.len);
    memcpy(at + 8, key.data, key.len);
    memcpy(at + 8 + key.len, value.data, value.len);
    r->buf.len = need;
    return HF_OK;
}

/* Whole pages only: what is put before rows that stay would split their page in halves. A
 * page that the transaction has not written yet lies in the map, where pages do; of others
 * the end is guessed, and a little room is lost. */
static uintptr_t page_of(hf_bytes value)
{
    return (uintptr_t)value.data / PAGE;
}

int hf_repack_upto(hf_repack *r, hf_txn *txn, hf_table table, hf_bytes wanted)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    int err = hf_cursor_open(txn, table, &cursor);
    if (err)
        return err;
    r->last.len = 0;
    err = hf_cursor_seek(cursor, wanted, &key, &value);
    uintptr_t page = err ? 0 : page_of(value);
    for (uint32_t n = 0; !err && n < ROWS_MOST && page_of(value) == page; n++) {
        if (key.len > HF_KEY_MAX) { /* LMDB believes what a damaged page says of it */
            err = hf_error(HF_ECORRUPT, "a key of %zu bytes in table %s; see holdfast salvage",
                           key.len, hf_table_name(table));
            break;
        }
        memcpy(r->last.bytes, key.data, key.len);
        r->last.len = key.len;
        err = hf_cursor_next(cursor, &key, &value);
    }
    hf_cursor_close(cursor);
    if (err == HF_ENOTFOUND && !r->last.len) { /* it will be the last row itself */
        memcpy(r->last.bytes, wanted.data, wanted.len);
        r->last.len = wanted.len;
    }
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static int read_run(hf_repack *r, hf_cursor *cursor)
{
    hf_bytes key, value, last = hf_key_bytes(&r->last);
    int err = hf_cursor_seek(cursor, hf_key_bytes(&r->first), &key, &value);
    r->buf.len = 0;
    for (uint32_t n = 0; !err && n < ROWS_MOST && hf_key_compare(key, last) <= 0; n++) {
        if (r->buf.len > BYTES_MOST)
            break;
        err = value.len > ROW_STAYS ? HF_OK : copy_row(r, key, value);
        if (!err)
            err = hf_cursor_next(cursor, &key, &value);
    }
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* Each row that was read: is put, or deleted without a cursor. */
static int each_row(const hf_repack *r, hf_txn *txn, hf_table table, hf_cursor *cursor)
{
    int err = HF_OK;
    for (size_t at = 0; !err && at < r->buf.len;) {
        const uint8_t *row = r->buf.bytes + at;
        hf_bytes key = hf_view(row + 8, hf_get32(row));
        hf_bytes value = hf_view(row + 8 + key.len, hf_get32(row + 4));
        err = cursor ? hf_cursor_put(cursor, key, value) : hf_txn_del(txn, table, key);
        at += 8 + key.len + value.len;
    }
    return err;
}

int hf_repack_run(hf_repack *r, hf_txn *txn, hf_table table)
{
    hf_cursor *cursor;
    int err = hf_cursor_open(txn, table, &cursor);
    if (err)
        return err;
    err = read_run(r, cursor);
    hf_cursor_close(cursor);
    if (!err)
        err = each_row(r, txn, table, NULL);
    if (!err)
        err = hf_cursor_open(txn, table, &cursor);
    if (err)
        return err;
    err = each_row(r, txn, table, cursor);
    hf_cursor_close(cursor);
    r->first = r->last; /* the next run begins behind it, */
    r->first.bytes[r->first.len++] = 0; /* at the next key there can be */
    return err;
}

void hf_repack_done(hf_repack *r)
{
    hf_rowbuf_done(&r->buf);
}
