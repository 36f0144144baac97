/* fuzz_replay.c - a store whose log holds any bytes, sealed as records.
 *
 * The input is cut into up to four records, which replace what the log holds. Then
 * both readers of a log have to cope: hf_replay takes it over or refuses it, and
 * hf_view_open, the reader without a writer, says the same. Every table, message and
 * state can be walked; what was taken over can be folded, and then the log is empty.
 * The store is a small one in memory, emptied after each input. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_seal.h"

#include "recovery/replay.h"
#include "storage/error.h"
#include "storage/row.h"
#include "storage/view.h"
#include "tests/support/core.h"

enum { RECORDS = 4, LMDB_NO_SYNC = 0x10000 };

static hf_disk    *disk;
static const char *directory;

static void remove_store(void)
{
    hf_disk_close(disk);
    core_remove(directory);
}

/* It is empty: no seed, no next, what a first open leaves. */
static void make_store(void)
{
    static const hf_disk_options options = { .store_max = 64u << 20, .reserve = 16u << 20,
                                             .lmdb_unsafe = LMDB_NO_SYNC };
    static char path[600];
    directory = core_directory("fuzz-replay", true);
    (void)snprintf(path, sizeof path, "%s/store", directory);
    CORE_OK(hf_disk_open(&disk, path, &options));
    (void)atexit(remove_store);
}

/* All rows but the store's own numbers, for the next input. */
static void empty_store(void)
{
    hf_txn *txn;
    CORE_OK(hf_txn_write(disk, &txn));
    for (int table = 0; table < HF_TABLES; table++) {
        hf_cursor *cursor;
        hf_bytes key, value;
        uint8_t copy[512];
        if (table == HF_IN_META)
            continue;
        CORE_OK(hf_cursor_open(txn, (hf_table)table, &cursor));
        int err = hf_cursor_first(cursor, &key, &value);
        for (; !err; err = hf_cursor_first(cursor, &key, &value)) {
            FUZZ_CHECK(key.len <= sizeof copy);
            memcpy(copy, key.data, key.len);
            CORE_OK(hf_txn_del(txn, (hf_table)table, hf_view(copy, key.len)));
        }
        FUZZ_CHECK(err == HF_ENOTFOUND);
        hf_cursor_close(cursor);
    }
    CORE_OK(hf_meta_put(txn, "folding", 0));
    CORE_OK(hf_meta_put(txn, "next", 1));
    CORE_OK(hf_txn_commit(txn));
}

/* [position(2) size(2) record]…: seal each and put it into the log. */
static void put_log(const uint8_t *data, size_t size)
{
    hf_txn *txn;
    hf_key key;
    uint64_t position = 1000;
    CORE_OK(hf_txn_write(disk, &txn));
    for (int i = 0; i < RECORDS && size >= 4 + HF_RECORD_HEAD; i++) {
        size_t len = hf_get16(data + 2);
        position += 1 + hf_get16(data);
        data += 4;
        size -= 4;
        len = len < HF_RECORD_HEAD || len > size || i == RECORDS - 1 ? size : len;
        uint8_t *record = fuzz_copy(data, len);
        fuzz_seal(record, len, position);
        hf_key_number(&key, position);
        CORE_OK(hf_txn_put(txn, HF_IN_LOG, hf_key_bytes(&key), hf_view(record, len)));
        free(record);
        data += len;
        size -= len;
    }
    CORE_OK(hf_txn_commit(txn));
}

/* Whoever reads such a log says that it is damaged, and nothing else. */
static void fine_or_damaged(int err)
{
    if (err && err != HF_ECORRUPT)
        core_fail("%d: %s", err, hf_error_detail());
}

typedef struct seen {
    hf_view_of *view;
    uint64_t    rows, sum;
} seen;

static int see_row(void *user, hf_bytes key, hf_bytes payload)
{
    seen *s = user;
    const uint8_t *bytes = payload.data;
    FUZZ_CHECK(key.len > 0 && key.len <= sizeof((hf_key *)0)->bytes);
    for (size_t i = 0; i < payload.len; i++)
        s->sum += bytes[i];
    s->rows++;
    return HF_OK;
}

static int see_message(void *user, const hf_entry *e)
{
    seen *s = user;
    FUZZ_CHECK(e->to[e->to_len] == 0 && e->name[e->name_len] == 0);
    s->rows++;
    return HF_OK;
}

static int see_entry(void *user, const hf_entry *e)
{
    seen *s = user;
    hf_bytes image;
    uint64_t version;
    if (e->op == HF_OP_SEND) {
        fine_or_damaged(hf_view_inbox(s->view, e->to, 0, see_message, s));
    } else if (e->op == HF_OP_SAVE) {
        int err = hf_view_state(s->view, e->to, &image, &version);
        fine_or_damaged(err == HF_ENOTFOUND ? HF_OK : err);
    }
    return HF_OK;
}

/* Look at everything; HF_OK or why not. */
static int look(void)
{
    static const hf_table tables[] = { HF_IN_INBOX, HF_IN_STATE, HF_IN_ALARM_NAMES, HF_IN_DEAD,
                                       HF_IN_STEPS, HF_IN_PAUSES, HF_IN_ROWS, HF_IN_DEDUPE,
                                       HF_IN_TOPICS };
    seen s = { 0 };
    int err = hf_view_open(&s.view, disk);
    if (err)
        return err;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        fine_or_damaged(hf_view_walk(s.view, tables[i], hf_view(NULL, 0), see_row, &s));
    CORE_OK(hf_view_log(s.view, see_entry, &s));
    hf_view_close(s.view);
    return HF_OK;
}

/* As at an open; HF_OK or why it is refused. */
static int take_over(void)
{
    hf_log *log;
    uint64_t rows = 1;
    hf_txn *txn;
    CORE_OK(hf_log_open(&log, disk, &(hf_log_options){ .window = 1 << 16 }));
    int err = hf_replay(log);
    if (!err) {
        CORE_OK(hf_log_start(log));
        int folded = hf_log_fold_all(log);
        fine_or_damaged(folded);
        if (!folded) {
            CORE_OK(hf_txn_read(disk, &txn));
            CORE_OK(hf_txn_count(txn, HF_IN_LOG, &rows));
            hf_txn_abort(txn);
            FUZZ_CHECK(rows == 0);
        }
    }
    CORE_OK(hf_log_close(log, false));
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!disk)
        make_store();
    put_log(data, size);
    int looked = look(), taken = take_over();
    fine_or_damaged(looked);
    fine_or_damaged(taken);
    FUZZ_CHECK(looked != HF_OK || taken == HF_OK);
    if (!taken)
        (void)look(); /* what lies in the tables now is read again, too */
    empty_store();
    return 0;
}
