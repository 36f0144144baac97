/* replay.c - the log of a store back into the window.
 *
 * Happy path: walk the log table in one snapshot, oldest first, and let the log
 * adopt each record; what was done is marked on the way. A damaged record ends
 * it: nothing damaged is ever delivered, and nothing behind it is believed.
 * The log's owner's thread, before the engine starts. */
#include "recovery/replay.h"

#include "storage/error.h"
#include "storage/kept.h"
#include "storage/testpoint.h"

#include <stdio.h>

enum { AHEAD = 32 << 20 };

static int adopt(hf_log *log, hf_bytes key, hf_bytes value)
{
    if (key.len != 8)
        return hf_error(HF_ECORRUPT, "a log record has a key of %zu bytes", key.len);
    return hf_log_adopt(log, hf_get64_key(key.data), value);
}

static int point_to_salvage(hf_log *log, int err)
{
    char what[512];
    if (err != HF_ECORRUPT)
        return err;
    snprintf(what, sizeof what, "%s", hf_error_detail());
    return hf_error(err, "%s: %s; `holdfast salvage` brings back what is sound",
                    hf_disk_path(hf_log_disk(log)), what);
}

/* A second cursor goes before the one that adopts. Large records lie anywhere in the file:
 * their pages are asked for early. Small ones share a page with their neighbours in the log,
 * which the machine finds by itself. */
typedef struct scout {
    const hf_disk *disk;
    hf_cursor     *cursor;
    hf_bytes       key, value;
    bool           more;   /* there is one to look at */
    uint64_t       ahead;  /* bytes asked for and not adopted yet */
} scout;

static void begin_scout(scout *s, hf_txn *txn, hf_log *log)
{
    *s = (scout){ .disk = hf_log_disk(log) };
    s->more = !hf_cursor_open(txn, HF_IN_LOG, &s->cursor)
        && !hf_kept_seek(txn, s->cursor, &s->key, &s->value);
}

static void scout_on(scout *s)
{
    while (s->more && s->ahead < AHEAD) {
        s->ahead += s->value.len;
        if (s->value.len >= hf_disk_page(s->disk))
            hf_disk_want(s->value);
        s->more = !hf_cursor_next(s->cursor, &s->key, &s->value);
    }
}

static int adopt_all(hf_log *log, hf_txn *txn, hf_cursor *cursor)
{
    scout s;
    hf_bytes key, value;
    begin_scout(&s, txn, log);
    int err = hf_kept_seek(txn, cursor, &key, &value);
    for (; !err; err = hf_cursor_next(cursor, &key, &value)) {
        scout_on(&s);
        HF_TESTPOINT("replay.record");
        if ((err = adopt(log, key, value)))
            break;
        s.ahead -= value.len < s.ahead ? value.len : s.ahead;
    }
    hf_cursor_close(s.cursor);
    return err;
}

int hf_replay(hf_log *log)
{
    hf_txn *txn;
    hf_cursor *cursor;
    int err = hf_txn_read(hf_log_disk(log), &txn);
    if (err)
        return err;
    err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
    if (!err) {
        err = adopt_all(log, txn, cursor);
        hf_cursor_close(cursor);
    }
    hf_txn_abort(txn);
    return err == HF_ENOTFOUND ? HF_OK : point_to_salvage(log, err);
}
