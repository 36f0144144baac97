/* test_nth_history.c - history, repacking and words that were taken, while calls fail or rows
 * are false: what was acknowledged stays as it is, and what can't be read is said. */
#include "tests/unit/hurt_store.h"
#include "tests/unit/nth_more.h"

#include "recovery/replay.h"

#include "storage/annals.h"
#include "storage/kept.h"
#include "storage/repack.h"
#include "storage/taken.h"

static const int lmdb_errors[] = { EIO, ENOMEM, LMDB_CORRUPTED, ENOSPC, LMDB_MAP_FULL };
enum { ERRORS = 5 };

static const hf_log_options much = { .window = 256 << 10, .shards = 2, .history = 500,
                                     .history_ms = UINT64_MAX };
static const hf_log_options little = { .window = 256 << 10, .shards = 2, .history = 10,
                                       .history_ms = 3600000 };

static core        c;
static const char *path; /* of the store */

static hf_disk *open_store(void)
{
    hf_disk *disk;
    CORE_OK(open_small(&disk, path));
    return disk;
}

/* ---- Folding with a history */

/* Open, fold, close: nothing that a reader sees changes by it. */
static int life(hf_disk *disk, const hf_log_options *options)
{
    hf_log *log = NULL;
    int err = hf_log_open(&log, disk, options);
    if (err)
        return err;
    err = hf_replay(log);
    if (!err)
        err = hf_log_start(log);
    if (!err)
        err = hf_log_fold_all(log);
    int closed = hf_log_close(log, !err);
    return err ? err : closed;
}

static void live_once(int kind, int n, int error)
{
    core_open(&c, path, NULL, n % 2 ? &much : &little);
    (void)full_fill(&c);
    core_close(&c, false);
    uint64_t sum = full_sum_at(path);
    hf_disk *disk = open_store();
    nth_on(kind, NULL, n, error);
    int err = life(disk, n % 2 ? &little : &much);
    nth_off();
    if (err && !*hf_error_detail())
        fail_msg("%d without a detail", err);
    if (err && kind == NTH_MEMORY && err != HF_ENOMEM)
        fail_msg("%d, not HF_ENOMEM: %s", err, hf_error_detail());
    hf_disk_close(disk);
    assert_true(full_sum_at(path) == sum);
}

static void test_folding(void **state)
{
    (void)state;
    core_remove(path);
    nth.hit = true;
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP)
        live_once(NTH_MEMORY, n, 0);
    for (int n = 1; n == 1 || (nth.hit && n < 3000); n += 3 * NTH_STEP)
        live_once(NTH_LMDB, n, lmdb_errors[n % ERRORS]);
    core_open(&c, path, NULL, NULL);
    CORE_OK(hf_log_fold_all(c.log));
    core_close(&c, true);
    hurt_verify(path);
}

static int append_one(core *to)
{
    hf_group group = { 0 };
    hf_segment sends = { .shard = 0 };
    hf_entry e = full_entry(to, HF_OP_SEND, "paid/7", 0, "place", "body");
    int err = hf_segment_add(&sends, &e);
    if (!err)
        err = hf_group_add(&group, &sends);
    if (!err)
        err = hf_log_append(to->log, &group);
    hf_group_free(&group);
    hf_segment_done(&sends);
    return err;
}

/* A commit that also drops records of a history that is to be shorter from now on. */
static void shorten_once(int kind, int n, int error)
{
    core_remove(path);
    core_open(&c, path, NULL, &much);
    (void)full_fill(&c);
    CORE_OK(hf_log_fold_all(c.log));
    core_close(&c, true);
    uint64_t sum = full_sum_at(path);
    core_open(&c, path, NULL, &little);
    nth_on(kind, NULL, n, error);
    int err = append_one(&c);
    nth_off();
    (void)hf_log_close(c.log, false);
    hf_disk_close(c.disk);
    uint64_t now = full_sum_at(path);
    if (err == HF_OK && now == sum)
        fail_msg("call %d: it was taken, and is not there", n);
    if (err && err != HF_EUNKNOWN && now != sum)
        fail_msg("call %d: %d (%s), and yet it is there", n, err, hf_error_detail());
}

static void test_shortening(void **state)
{
    (void)state;
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP)
        shorten_once(NTH_MEMORY, n, 0);
    for (int n = 1; n == 1 || nth.hit; n += 3 * NTH_STEP)
        shorten_once(NTH_LMDB, n, n % 2 ? ENOMEM : LMDB_MAP_FULL);
    hurt_verify(path);
}

/* ---- Telling of it */

static int count_annal(void *user, const hf_annal *a)
{
    ++*(uint64_t *)user;
    return a->position ? HF_OK : HF_ECORRUPT;
}

static int tell_all(uint64_t *count)
{
    hf_disk *disk = open_store();
    hf_txn *txn;
    *count = 0;
    int err = hf_txn_read(disk, &txn);
    if (!err) {
        err = hf_annals_walk(txn, 0, UINT32_MAX, count_annal, count);
        hf_txn_abort(txn);
    }
    hf_disk_close(disk);
    return err;
}

static int find_one(uint64_t position)
{
    hf_disk *disk = open_store();
    hf_annal annal;
    hf_txn *txn;
    CORE_OK(hf_txn_read(disk, &txn));
    int err = hf_annals_find(txn, position, &annal);
    hf_txn_abort(txn);
    hf_disk_close(disk);
    return err;
}

static void with_history(void)
{
    core_remove(path);
    core_open(&c, path, NULL, &much);
    (void)full_fill(&c);
    CORE_OK(hf_log_fold_all(c.log));
    (void)full_fill(&c);
    core_close(&c, false);
}

static void test_annals(void **state)
{
    uint64_t want, count;
    (void)state;
    with_history();
    assert_int_equal(tell_all(&want), HF_OK);
    assert_true(want > 100);
    for (int n = 1; n == 1 || nth.hit; n += 3 * NTH_STEP) {
        hf_disk *disk = open_store();
        hf_annal annal;
        hf_txn *txn;
        CORE_OK(hf_txn_read(disk, &txn));
        count = 0;
        nth_on(NTH_LMDB, NULL, n, ENOMEM);
        int err = hf_annals_walk(txn, 0, UINT32_MAX, count_annal, &count);
        bool hit = nth.hit;
        nth_on(NTH_LMDB, NULL, n, ENOMEM);
        int found = hf_annals_find(txn, 3, &annal);
        if (found != (nth.hit ? HF_ENOMEM : HF_OK))
            fail_msg("call %d: %d %s", n, found, hf_error_detail());
        nth_off();
        nth.hit = hit;
        assert_true(err ? hit : count == want);
        hf_txn_abort(txn);
        hf_disk_close(disk);
    }
    assert_int_equal(find_one(3), HF_OK);
    assert_int_equal(find_one(UINT64_C(1) << 50), HF_ENOTFOUND);
}

/* What is false in the history is passed over, in the log it is an error. */
static void test_false_annals(void **state)
{
    static const hf_record_head last = { .flags = HF_RECORD_LAST };
    uint64_t want, count;
    hf_record_head head = last;
    hf_key key;
    (void)state;
    with_history();
    assert_int_equal(tell_all(&want), HF_OK);
    hf_entry e = hurt_fact(hurt_number("store", "seed"), HF_OP_SEND, "order/1");
    e.flags = HF_ENTRY_SHARES; /* of nothing */
    e.back = 16;
    head.group = 1;
    hurt_record("store", 1, &head, &e, 1);
    assert_int_equal(tell_all(&count), HF_OK);
    assert_in_range(count, want - 5, want - 1);
    assert_int_equal(find_one(1), HF_ENOTFOUND);
    hf_key_number(&key, 2);
    hurt_put("store", HF_IN_LOG, &key, "x", 1);
    assert_int_equal(tell_all(&count), HF_OK);
    assert_int_equal(find_one(2), HF_ENOTFOUND);
    head.group = UINT64_C(1) << 40;
    hurt_record("store", head.group, &head, &e, 1);
    assert_int_equal(tell_all(&count), HF_ECORRUPT);
    assert_non_null(strstr(hf_error_detail(), "can't be read"));
    with_history();
    hf_key_text(&key, "four");
    hurt_put("store", HF_IN_LOG, &key, "x", 1);
    assert_int_equal(find_one(UINT64_C(1) << 62), HF_ENOTFOUND);
}

/* ---- The account of what is kept */

static void test_kept(void **state)
{
    hf_kept kept;
    hf_key key;
    hf_txn *txn;
    uint64_t budget = 1 << 20, tail;
    (void)state;
    with_history();
    hf_key_number(&key, 1);
    hurt_put("store", HF_IN_LOG, &key, "x", 1); /* shorter than any record */
    hf_disk *disk = open_store();
    CORE_OK(hf_txn_write(disk, &txn));
    CORE_OK(hf_kept_tail(txn, &tail));
    CORE_OK(hf_kept_load(&kept, txn, tail));
    uint64_t records = kept.records;
    assert_true(records > 10 && kept.count);
    CORE_OK(hf_kept_load(&kept, txn, 3)); /* one that reaches beyond the tail ends there */
    assert_true(kept.count && kept.parts[kept.count - 1].end <= 3);
    for (int n = 1; n < 4; n++) {
        nth_on(NTH_LMDB, NULL, n, ENOMEM);
        int err = hf_kept_load(&kept, txn, tail);
        nth_off();
        if (err != HF_ENOMEM && kept.records != records)
            fail_msg("call %d: %d, %llu records", n, err, (unsigned long long)kept.records);
    }
    CORE_OK(hf_kept_load(&kept, txn, tail));
    while (kept.count)
        CORE_OK(hf_kept_drop(&kept, txn, &budget));
    assert_int_equal(kept.bytes + kept.messages + kept.records, 0);
    kept = (hf_kept){ .count = 1, .records = 5, .bytes = 9, .parts = { { .end = 1 } } };
    CORE_OK(hf_kept_drop(&kept, txn, &budget)); /* somebody else was quicker */
    assert_int_equal(kept.records, 0);
    kept = (hf_kept){ .count = 1, .records = 5, .bytes = 9, .messages = 7 };
    kept.parts[0] = (hf_kept_part){ .end = UINT64_MAX, .records = 5, .bytes = 9, .messages = 7 };
    nth_on(NTH_LMDB, "mdb_cursor_get", 1, ENOMEM);
    assert_int_equal(hf_kept_drop(&kept, txn, &budget), HF_ENOMEM);
    nth_off();
    assert_int_equal(kept.records, 5);
    CORE_OK(hf_kept_drop(&kept, txn, &budget)); /* it says less than the record has: to zero */
    assert_int_equal(kept.records, 4);
    assert_int_equal(kept.bytes, 0);
    hf_txn_abort(txn);
    hf_disk_close(disk);
}

/* ---- Words that were taken */

static size_t taken_value(uint8_t *at, uint64_t id)
{
    hf_taken taken = { .id = id, .time_ms = 5, .outcome = HF_TAKEN_SILENT };
    return hf_taken_encode(&taken, at);
}

static void put_word(const void *data, size_t len)
{
    hf_entry e = full_entry(&c, HF_OP_PUT, "order/1", 0, "word", "");
    e.flags = HF_ENTRY_DEDUPE;
    e.data = hf_view(data, len);
    core_put(&c, HF_FACTS, &e);
}

static hf_key word_key(void)
{
    hf_key key;
    uint64_t seed = hurt_number("store", "seed");
    hf_key_actor(&key, "order/1", 7, hf_address_hash(seed, "order/1", 7));
    memcpy(key.bytes + key.len, "\0word", 5);
    key.len += 5;
    return key;
}

static uint64_t who_has_the_word(void)
{
    hf_key key = word_key();
    hf_bytes payload;
    hf_taken taken = { 0 };
    hf_txn *txn;
    hf_disk *disk = open_store();
    CORE_OK(hf_txn_read(disk, &txn));
    CORE_OK(hf_row_get(txn, HF_IN_DEDUPE, &key, &payload));
    CORE_OK(hf_taken_of_row(payload, &taken));
    hf_txn_abort(txn);
    hf_disk_close(disk);
    return taken.id;
}

static void test_words(void **state)
{
    uint8_t value[HF_TAKEN_SIZE];
    hf_key key;
    (void)state;
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    put_word(value, taken_value(value, 77));
    put_word(value, taken_value(value, 33)); /* of an older letter: too late */
    CORE_OK(hf_log_fold_all(c.log));
    put_word(value, taken_value(value, 44)); /* than the row says */
    CORE_OK(hf_log_fold_all(c.log));
    core_close(&c, true);
    assert_int_equal(who_has_the_word(), 77);
    static const char *const rows[] = { "short", "12345678 short, too" };
    for (size_t i = 0; i < 2; i++) {
        key = word_key();
        hurt_put("store", HF_IN_DEDUPE, &key, rows[i], strlen(rows[i]));
        core_open(&c, path, NULL, NULL);
        put_word(value, taken_value(value, 99));
        assert_int_equal(hf_log_fold_all(c.log), HF_ECORRUPT);
        assert_non_null(strstr(hf_error_detail(), "cut short"));
        (void)hf_log_close(c.log, false);
        hf_disk_close(c.disk);
    }
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    put_word("short", 5);
    assert_int_equal(hf_log_fold_all(c.log), HF_ECORRUPT);
    (void)hf_log_close(c.log, false);
    hf_disk_close(c.disk);
}

/* ---- Letters whose rows are false */

static void test_false_letters(void **state)
{
    uint8_t bytes[512];
    (void)state;
    for (int i = 0; i < 3; i++) {
        hf_key key;
        core_remove(path);
        core_open(&c, path, NULL, NULL);
        uint64_t id = core_send(&c, "order/1", "", hf_str("x"));
        CORE_OK(hf_log_fold_all(c.log));
        core_close(&c, true);
        uint64_t seed = hurt_number("store", "seed");
        hf_entry e = hurt_fact(seed, HF_OP_SEND, "order/1");
        e.flags = HF_ENTRY_SHARES;
        e.back = 16;
        size_t len = hurt_entry(bytes, 8, 1, &e);
        hf_key_place(&key, e.to, e.to_len, e.hash, id);
        hurt_put("store", HF_IN_INBOX, &key, i ? (const void *)bytes : "short",
                 i == 0 ? 5 : i == 1 ? len : len - 16);
        core_open(&c, path, NULL, NULL);
        full_retry(&c, "order/1", id, 2, 9000);
        assert_int_equal(hf_log_fold_all(c.log), HF_ECORRUPT);
        assert_int_equal(hf_log_state(c.log), HF_ECORRUPT);
        (void)hf_log_close(c.log, false);
        hf_disk_close(c.disk);
    }
}

/* ---- Rows put closer together */

static void test_repack(void **state)
{
    enum { ROWS = 400 };
    number_key number;
    hf_txn *txn;
    (void)state;
    core_remove(path);
    hf_disk *disk = open_store();
    assert_int_equal(put_many(disk, 0, ROWS, 90), HF_OK);
    for (int kind = NTH_MEMORY; kind <= NTH_LMDB; kind++)
        for (int n = 1; n == 1 || nth.hit; n += NTH_STEP) {
            hf_repack r = { 0 };
            CORE_OK(hf_txn_write(disk, &txn));
            r.first.len = key_of(&number, 10).len;
            memcpy(r.first.bytes, number.bytes, 8);
            nth_on(kind, NULL, n, ENOMEM);
            int err = hf_repack_upto(&r, txn, HF_IN_STATE, key_of(&number, 100));
            if (!err)
                err = hf_repack_run(&r, txn, HF_IN_STATE);
            nth_off();
            assert_int_equal(err, nth.hit ? HF_ENOMEM : HF_OK);
            hf_repack_done(&r);
            if (err)
                hf_txn_abort(txn);
            else
                CORE_OK(hf_txn_commit(txn));
            assert_int_equal(rows_of(disk), ROWS);
        }
    hf_disk_close(disk);
}

int main(void)
{
    static char store[160];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folding),       cmocka_unit_test(test_shortening),
        cmocka_unit_test(test_annals),
        cmocka_unit_test(test_false_annals),  cmocka_unit_test(test_kept),
        cmocka_unit_test(test_words),         cmocka_unit_test(test_false_letters),
        cmocka_unit_test(test_repack),
    };
    nth.pretend = true;
    (void)snprintf(hurt_here, sizeof hurt_here, "%s", core_directory("nth-history", true));
    (void)snprintf(store, sizeof store, "%s", hurt_path("store"));
    path = store;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(hurt_here);
    return failed;
}
