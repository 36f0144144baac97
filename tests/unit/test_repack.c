/* test_repack.c - rows put closer together: the same rows, fewer pages. */
#include "storage/repack.h"
#include "tests/support/stores.h"

enum { ROWS = 1 << 14, VALUE = 70 };

/* Rows come in any order, as actors do: each number once. */
static uint64_t nth(uint64_t i)
{
    i ^= i >> 7;
    i = i * 11117 % ROWS;
    i ^= i >> 8;
    return i * 5197 % ROWS;
}

static hf_disk *open_wide(const char *name)
{
    hf_disk_options options = { .store_max = MIB(400), .reserve = MIB(16) };
    hf_disk *disk = NULL;
    assert_int_equal(hf_disk_open(&disk, path_of(name), &options), HF_OK);
    return disk;
}

static void scatter(hf_disk *disk, size_t len)
{
    hf_txn *txn;
    assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
    for (uint64_t i = 0; i < ROWS; i++) {
        uint8_t value[1100];
        number_key key;
        memset(value, (int)(nth(i) & 0xff), sizeof value);
        assert_int_equal(hf_txn_put(txn, HF_IN_STATE, key_of(&key, nth(i)),
                                    hf_view(value, len + nth(i) % 7)), HF_OK);
    }
    assert_int_equal(hf_txn_commit(txn), HF_OK);
}

/* All rows are there, as they were. */
static void check(hf_txn *txn, size_t len)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    uint64_t n = 0;
    assert_int_equal(hf_cursor_open(txn, HF_IN_STATE, &cursor), HF_OK);
    while (hf_cursor_next(cursor, &key, &value) == HF_OK) {
        const uint8_t *bytes = value.data;
        assert_int_equal(number_of(key), n);
        assert_int_equal(value.len, len + n % 7);
        for (size_t i = 0; i < value.len; i++)
            assert_int_equal(bytes[i], n & 0xff);
        n++;
    }
    hf_cursor_close(cursor);
    assert_int_equal(n, ROWS);
}

static uint64_t bytes_now(hf_txn *txn)
{
    uint64_t rows, bytes;
    assert_int_equal(hf_txn_size(txn, HF_IN_STATE, &rows, &bytes), HF_OK);
    assert_int_equal(rows, ROWS);
    return bytes;
}

/* From the end of the last run to the page of that row; `first` as if that had ended there. */
static void pack_to(hf_repack *r, hf_txn *txn, uint64_t last)
{
    number_key key;
    assert_int_equal(hf_repack_upto(r, txn, HF_IN_STATE, key_of(&key, last)), HF_OK);
    assert_int_equal(hf_repack_run(r, txn, HF_IN_STATE), HF_OK);
}

static void pack(hf_repack *r, hf_txn *txn, uint64_t first, uint64_t last)
{
    number_key key;
    (void)key_of(&key, first);
    memcpy(r->first.bytes, key.bytes, 8);
    r->first.len = 8;
    pack_to(r, txn, last);
}

static void test_closer(void **state)
{
    hf_disk *disk = open_wide("closer");
    hf_repack r = { .first = { .len = 1 } };
    hf_txn *txn;
    (void)state;
    scatter(disk, VALUE);
    assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
    uint64_t before = bytes_now(txn);
    for (uint64_t at = 0; at < ROWS; at += 430)
        pack_to(&r, txn, at + 429);
    check(txn, VALUE);
    uint64_t after = bytes_now(txn);
    if (after * 100 > before * 80)
        fail_msg("%llu bytes of pages became %llu", (unsigned long long)before,
                 (unsigned long long)after);
    hf_txn_abort(txn);
    assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
    check(txn, VALUE);
    assert_int_equal(bytes_now(txn), before);
    hf_txn_abort(txn);
    hf_repack_done(&r);
    hf_disk_close(disk);
}

static void test_anywhere(void **state)
{
    static const size_t lens[] = { 10, 390, 1020 }; /* some of the last stay where they are */
    hf_repack r = { .rows = 0 };
    (void)state;
    for (size_t which = 0; which < 3; which++) {
        hf_disk *disk = open_wide(which == 2 ? "stay" : which ? "large" : "small");
        hf_txn *txn;
        uint64_t seed = 5 + which;
        scatter(disk, lens[which]);
        for (int round = 0; round < 6; round++) {
            assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
            for (int i = 0; i < 25; i++) {
                seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
                uint64_t first = (seed >> 33) % (ROWS + 50), count = (seed >> 20) % 700;
                pack(&r, txn, first, first + count);
            }
            check(txn, lens[which]);
            assert_int_equal(hf_txn_commit(txn), HF_OK);
        }
        assert_int_equal(rows_of(disk), ROWS);
        hf_disk_close(disk);
    }
    hf_repack_done(&r);
}

static bool pays(hf_repack *r, hf_txn *txn, uint64_t writes)
{
    bool does = false;
    for (int i = 0; i < 10; i++)
        hf_repack_saw(r, 8 + VALUE + 3);
    assert_int_equal(hf_repack_pays(r, txn, HF_IN_STATE, writes, &does), HF_OK);
    return does;
}

static void test_when_it_pays(void **state)
{
    hf_disk *disk = open_wide("pays");
    hf_repack r = { .rows = 0 };
    hf_txn *txn;
    bool does;
    (void)state;
    scatter(disk, VALUE);
    assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
    uint64_t fill = ROWS * (uint64_t)(8 + VALUE + 3 + 10) * 100 / bytes_now(txn);
    assert_int_equal(hf_repack_pays(&r, txn, HF_IN_STATE, ROWS, &does), HF_OK);
    assert_false(does); /* nobody knows how large its rows are */
    r.rows = ROWS / 2;
    assert_false(pays(&r, txn, ROWS)); /* it grew */
    assert_false(pays(&r, txn, ROWS / 5)); /* few of them are written */
    assert_true(fill < 75);
    assert_true(pays(&r, txn, ROWS));
    for (int i = 0; i < 7; i++)
        assert_false(pays(&r, txn, ROWS)); /* it was done just now */
    assert_true(pays(&r, txn, ROWS));
    r.rest = 0;
    for (uint64_t at = 0; at < ROWS; at += 430)
        pack_to(&r, txn, at + 429);
    assert_false(pays(&r, txn, ROWS)); /* they are close already */
    hf_txn_abort(txn);
    hf_repack_done(&r);
    hf_disk_close(disk);
}

/* A damaged page may say that a key is longer than any of ours. */
static void test_long_key(void **state)
{
    hf_disk *disk = open_wide("long");
    hf_repack r = { .first = { .len = 1 } };
    uint8_t long_one[480];
    hf_txn *txn;
    (void)state;
    memset(long_one, 0x7f, sizeof long_one);
    hf_bytes key = hf_view(long_one, sizeof long_one);
    assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
    assert_int_equal(hf_txn_put(txn, HF_IN_STATE, key, hf_view("row", 3)), HF_OK);
    assert_int_equal(hf_repack_upto(&r, txn, HF_IN_STATE, hf_view(long_one, 8)), HF_ECORRUPT);
    hf_txn_abort(txn);
    hf_repack_done(&r);
    hf_disk_close(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closer),
        cmocka_unit_test(test_anywhere),
        cmocka_unit_test(test_when_it_pays),
        cmocka_unit_test(test_long_key),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
