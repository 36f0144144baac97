/* test_rows.c - transactions, rows and cursors of a store, against a model. */
#include "tests/support/stores.h"

#include "storage/random.h"

#include <pthread.h>

#define ROWS  10000
#define STEPS 60000

/* ---- Rows */

static void test_get_put_del(void **state)
{
    (void)state;
    hf_disk *disk = open_ok("rows");
    hf_txn *txn, *other;
    hf_bytes value;
    char big[600] = { 0 };
    uint64_t count;
    hf_cursor *cursor;

    assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
    assert_int_equal(hf_txn_write(disk, &other), HF_EBUSY);
    assert_int_equal(hf_txn_get(txn, HF_IN_INBOX, hf_str("a"), &value), HF_ENOTFOUND);
    assert_int_equal(hf_txn_del(txn, HF_IN_INBOX, hf_str("a")), HF_ENOTFOUND);
    assert_int_equal(hf_txn_put(txn, HF_IN_INBOX, hf_str("a"), hf_str("one")), HF_OK);
    assert_int_equal(hf_txn_put(txn, HF_IN_INBOX, hf_str("a"), hf_str("two")), HF_OK);
    assert_int_equal(hf_txn_put(txn, HF_IN_INBOX, hf_str("b"), hf_view(NULL, 0)), HF_OK);
    assert_int_equal(hf_txn_put(txn, HF_IN_INBOX, hf_view("", 0), hf_str("x")), HF_EINVAL);
    assert_int_equal(hf_txn_put(txn, HF_IN_INBOX, hf_view(big, 512), hf_str("x")), HF_EINVAL);
    assert_int_equal(hf_txn_put(txn, HF_IN_INBOX, hf_view(big, 511), hf_str("x")), HF_OK);
    assert_int_equal(hf_cursor_open(txn, HF_IN_DEAD, &cursor), HF_OK);
    assert_int_equal(hf_cursor_next(cursor, NULL, NULL), HF_ENOTFOUND);
    assert_int_equal(hf_cursor_prev(cursor, NULL, NULL), HF_ENOTFOUND);
    assert_int_equal(hf_cursor_last(cursor, NULL, NULL), HF_ENOTFOUND);
    assert_int_equal(hf_cursor_del(cursor), HF_EINVAL);
    assert_int_equal(hf_cursor_put(cursor, hf_str("k"), hf_str("v")), HF_OK);
    assert_int_equal(hf_cursor_get(cursor, hf_str("z"), &value), HF_ENOTFOUND);
    assert_int_equal(hf_cursor_del(cursor), HF_EINVAL);
    assert_int_equal(hf_cursor_get(cursor, hf_str("k"), &value), HF_OK);
    assert_int_equal(hf_cursor_del(cursor), HF_OK);
    assert_int_equal(hf_cursor_del(cursor), HF_EINVAL);
    hf_cursor_close(cursor);
    assert_int_equal(hf_txn_commit(txn), HF_OK);

    assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
    assert_int_equal(hf_txn_get(txn, HF_IN_INBOX, hf_str("a"), &value), HF_OK);
    assert_int_equal(value.len, 3);
    assert_memory_equal(value.data, "two", 3);
    assert_int_equal(hf_txn_get(txn, HF_IN_INBOX, hf_str("b"), &value), HF_OK);
    assert_int_equal(value.len, 0);
    assert_int_equal(hf_txn_count(txn, HF_IN_INBOX, &count), HF_OK);
    assert_int_equal(count, 3);

    /* A reader keeps its moment, an aborted writer leaves nothing. */
    assert_int_equal(hf_txn_write(disk, &other), HF_OK);
    assert_int_equal(hf_txn_del(other, HF_IN_INBOX, hf_str("a")), HF_OK);
    hf_txn_abort(other);
    assert_int_equal(hf_txn_write(disk, &other), HF_OK);
    assert_int_equal(hf_txn_del(other, HF_IN_INBOX, hf_str("b")), HF_OK);
    assert_int_equal(hf_txn_commit(other), HF_OK);
    assert_int_equal(hf_txn_get(txn, HF_IN_INBOX, hf_str("b"), &value), HF_OK);
    assert_int_equal(hf_txn_commit(txn), HF_OK);
    assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
    assert_int_equal(hf_txn_get(txn, HF_IN_INBOX, hf_str("a"), &value), HF_OK);
    assert_int_equal(hf_txn_get(txn, HF_IN_INBOX, hf_str("b"), &value), HF_ENOTFOUND);
    hf_txn_abort(txn);
    hf_txn_abort(NULL);
    hf_disk_close(disk);
}

static void test_append(void **state)
{
    (void)state;
    static const size_t lengths[] = { 1, 100, 2000, 5000, 100000, 3000000 };
    hf_disk *disk = open_ok("append");
    number_key key;
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes found, value;
    void *room;

    assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
    for (uint64_t i = 0; i < 60; i++) {
        size_t len = lengths[i % 6];
        assert_int_equal(hf_txn_append(txn, HF_IN_LOG, key_of(&key, 1000 * i), len, &room), HF_OK);
        memset(room, (int)i, len);
    }
    assert_int_equal(hf_txn_append(txn, HF_IN_LOG, key_of(&key, 5), 1, &room), HF_EINVAL);
    assert_int_equal(hf_txn_append(txn, HF_IN_LOG, key_of(&key, 59000), 1, &room), HF_EINVAL);
    assert_int_equal(hf_txn_commit(txn), HF_OK);
    hf_disk_close(disk);

    disk = open_ok("append");
    assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
    assert_int_equal(hf_cursor_open(txn, HF_IN_LOG, &cursor), HF_OK);
    uint64_t i = 0;
    for (; hf_cursor_next(cursor, &found, &value) == HF_OK; i++) {
        const uint8_t *bytes = value.data;
        assert_int_equal(number_of(found), 1000 * i);
        assert_int_equal(value.len, lengths[i % 6]);
        assert_int_equal(bytes[0], i);
        assert_int_equal(bytes[value.len - 1], i);
    }
    assert_int_equal(i, 60);
    hf_cursor_close(cursor);
    hf_txn_abort(txn);
    hf_disk_close(disk);
}

/* ---- Cursors */

/* Delete every third row while walking: each row is met once, in order. */
static void test_delete_while_walking(void **state)
{
    (void)state;
    hf_disk *disk = open_ok("walk");
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes key, value;
    uint64_t met = 0;

    assert_int_equal(put_many(disk, 0, ROWS, 37), HF_OK);
    for (unsigned pass = 0; pass < 3; pass++) {
        uint64_t last = 0, deleted = 0;
        met = 0;
        assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
        assert_int_equal(hf_cursor_open(txn, HF_IN_STATE, &cursor), HF_OK);
        for (; hf_cursor_next(cursor, &key, &value) == HF_OK; met++) {
            uint64_t n = number_of(key);
            assert_true(met == 0 || n > last);
            last = n;
            if (pass == 2 || n % 3 == pass) {
                assert_int_equal(hf_cursor_del(cursor), HF_OK);
                deleted++;
            }
        }
        hf_cursor_close(cursor);
        assert_int_equal(hf_txn_commit(txn), HF_OK);
        assert_int_equal(met, rows_of(disk) + deleted);
    }
    assert_int_equal(met, ROWS - 3334 - 3333);
    assert_int_equal(rows_of(disk), 0);
    hf_disk_close(disk);
}

/* The model: which rows there are, how long they are, where the cursor is. */
static uint16_t lengths[ROWS]; /* 0: no such row */
static long     at;            /* stands on it, or behind it when it is deleted */

static long next_of(long n)
{
    for (n++; n < ROWS && !lengths[n]; n++)
        ;
    return n;
}

static long prev_of(long n)
{
    for (n--; n >= 0 && !lengths[n]; n--)
        ;
    return n;
}

static void found_is(int err, long n, hf_bytes key, hf_bytes value)
{
    if (n < 0 || n >= ROWS) {
        assert_int_equal(err, HF_ENOTFOUND);
        at = -1;
        return;
    }
    assert_int_equal(err, HF_OK);
    assert_int_equal(number_of(key), n);
    assert_int_equal(value.len, lengths[n]);
    at = n;
}

static void step(hf_cursor *cursor)
{
    static const char filler[1200];
    number_key number;
    hf_bytes key = { 0 }, value = { 0 };
    long n = (long)(hf_random() % ROWS);

    unsigned what = (unsigned)(hf_random() % 100);
    if (at < 0 || what < 6) {
        int err = hf_cursor_seek(cursor, key_of(&number, (uint64_t)n), &key, &value);
        found_is(err, lengths[n] ? n : next_of(n), key, value);
    } else if (what < 40) {
        long want = next_of(at); /* before the call: it may change `at` */
        found_is(hf_cursor_next(cursor, &key, &value), want, key, value);
    } else if (what < 50) {
        long want = prev_of(at);
        found_is(hf_cursor_prev(cursor, &key, &value), want, key, value);
    } else if (what < 75 && lengths[at]) {
        assert_int_equal(hf_cursor_del(cursor), HF_OK);
        lengths[at] = 0;
    } else if (what < 97) {
        n = what < 90 ? (at + (long)(hf_random() % 5)) % ROWS : n;
        size_t len = 1 + hf_random() % (what % 4 ? 100 : sizeof filler);
        assert_int_equal(hf_cursor_put(cursor, key_of(&number, (uint64_t)n), hf_view(filler, len)),
                         HF_OK);
        lengths[n] = (uint16_t)len;
        at = n;
    } else {
        int err = hf_cursor_get(cursor, key_of(&number, (uint64_t)n), &value);
        found_is(err, lengths[n] ? n : -1, hf_view(number.bytes, 8), value);
    }
}

static void test_model(void **state)
{
    (void)state;
    hf_disk *disk = open_ok("model");
    hf_txn *txn;
    hf_cursor *cursor, *other;

    hf_random_seed(20260101);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
        assert_int_equal(hf_cursor_open(txn, HF_IN_STATE, &other), HF_OK);
        assert_int_equal(hf_cursor_open(txn, HF_IN_STATE, &cursor), HF_OK);
        at = -1;
        for (int s = 0; s < STEPS / 30; s++)
            step(cursor);
        hf_cursor_close(cursor);
        hf_cursor_close(other);
        assert_int_equal(hf_txn_commit(txn), HF_OK);
        uint64_t rows = 0;
        for (int n = 0; n < ROWS; n++)
            rows += lengths[n] > 0;
        assert_int_equal(rows_of(disk), rows);
    }
    hf_disk_close(disk);
}

/* ---- Many readers */

static hf_disk *shared;

static void *read_often(void *user)
{
    uint64_t *wrong = user, rows;
    hf_txn *txns[3];
    for (int i = 0; i < 2000; i++) {
        for (int t = 0; t < 3; t++) {
            if (hf_txn_read(shared, &txns[t]))
                return user;
            *wrong += hf_txn_count(txns[t], HF_IN_STATE, &rows) || rows % 10 != 0;
        }
        for (int t = 0; t < 3; t++)
            hf_txn_abort(txns[t]);
    }
    *wrong += 1000000; /* came to the end */
    return user;
}

static void test_many_readers(void **state)
{
    (void)state;
    pthread_t thread[8];
    uint64_t wrong[8] = { 0 };

    shared = open_ok("readers");
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_often, &wrong[i]), 0);
    for (uint64_t i = 0; i < 200; i++)
        assert_int_equal(put_many(shared, 10 * i, 10, 20), HF_OK);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(wrong[i], 1000000);
    }

    /* More at once than there are places for. */
    hf_txn *txns[600];
    int open = 0, err = HF_OK;
    while (open < 600 && (err = hf_txn_read(shared, &txns[open])) == HF_OK)
        open++;
    assert_int_equal(err, HF_EAGAIN);
    assert_true(open > 400);
    while (open)
        hf_txn_abort(txns[--open]);
    assert_int_equal(rows_of(shared), 2000);
    hf_disk_close(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_put_del), cmocka_unit_test(test_append),
        cmocka_unit_test(test_delete_while_walking),
        cmocka_unit_test(test_model),       cmocka_unit_test(test_many_readers),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
