/* test_leaves.c - a walk along the pages shows what a cursor shows, and believes nothing. */
#include "storage/leaves.h"

#include "storage/random.h"

#include "tests/support/stores.h"

enum { ROWS = 5000, LARGE_ROWS = 30, SEEKS = 500, DAMAGES = 3000 };

static uint64_t below(uint64_t most)
{
    return hf_random() % most;
}

static hf_disk *make(const char *name)
{
    hf_disk *disk = open_ok(name);
    assert_int_equal(put_many(disk, 10, ROWS, 60), HF_OK);
    assert_int_equal(put_many(disk, 2000, LARGE_ROWS, 7000), HF_OK); /* in pages of their own */
    assert_int_equal(del_many(disk, 100, 500), HF_OK);
    assert_int_equal(put_many(disk, 50, 300, 200), HF_OK);
    return disk;
}

static void same(hf_bytes a, hf_bytes b)
{
    assert_int_equal(a.len, b.len);
    assert_ptr_equal(a.data, b.data);
}

/* From this key to the end, or so many rows. */
static void compare_from(hf_txn *txn, uint64_t number, int most)
{
    hf_cursor *cursor;
    hf_leaves leaves;
    hf_bytes key, value, key_there, value_there;
    number_key from;
    assert_int_equal(hf_cursor_open(txn, HF_IN_STATE, &cursor), HF_OK);
    assert_true(hf_leaves_open(&leaves, txn, HF_IN_STATE));
    int err = hf_cursor_seek(cursor, key_of(&from, number), &key, &value);
    assert_int_equal(hf_leaves_seek(&leaves, key_of(&from, number), &key_there, &value_there), err);
    while (!err && most-- > 0) {
        same(key, key_there);
        same(value, value_there);
        leaves.wanted += most % 3 == 0;
        err = hf_cursor_next(cursor, &key, &value);
        assert_int_equal(hf_leaves_next(&leaves, &key_there, &value_there), err);
    }
    if (err)
        assert_int_equal(hf_leaves_next(&leaves, &key_there, &value_there), HF_ENOTFOUND);
    hf_cursor_close(cursor);
}

static void test_as_a_cursor(void **state)
{
    (void)state;
    hf_txn *txn;
    hf_disk *disk = make("walked");
    assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
    compare_from(txn, 0, INT32_MAX);
    for (int i = 0; i < SEEKS; i++)
        compare_from(txn, below(ROWS + 100), 100);
    compare_from(txn, ROWS + 9, 10);
    compare_from(txn, ROWS + 10, 10);
    compare_from(txn, UINT64_MAX, 10);
    hf_txn_abort(txn);
    hf_disk_close(disk);
}

/* One page, and none. */
static void test_small(void **state)
{
    (void)state;
    for (int rows = 0; rows < 3; rows++) {
        hf_txn *txn;
        hf_disk *disk = open_ok("small");
        assert_int_equal(put_many(disk, 5, (uint64_t)rows, 9), HF_OK);
        assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
        for (uint64_t from = 0; from < 9; from++)
            compare_from(txn, from, 10);
        hf_txn_abort(txn);
        hf_disk_close(disk);
    }
}

/* A copy of all pages, in which anything may stand. */
static void test_damaged(void **state)
{
    (void)state;
    hf_txn *txn;
    hf_disk *disk = make("damaged");
    hf_leaves sound;
    unsigned refused = 0, ended = 0;
    assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
    assert_true(hf_leaves_open(&sound, txn, HF_IN_STATE));
    size_t bytes = (size_t)(sound.pages * sound.tree.page_size);
    uint8_t *copy = malloc(bytes);
    assert_non_null(copy);
    for (int i = 0; i < DAMAGES; i++) {
        hf_leaves leaves = sound;
        hf_bytes key, value;
        memcpy(copy, sound.map, bytes);
        leaves.map = copy;
        leaves.level[0].page = copy + (sound.level[0].page - sound.map);
        for (uint64_t n = 1 + below(4); n > 0; n--) {
            /* Heads of pages, what says where rows are, and rows. */
            uint64_t page = 2 + below(sound.pages - 2);
            if (below(4) == 0)
                page = (uint64_t)(sound.level[0].page - sound.map) / sound.tree.page_size;
            uint64_t at = below(below(2) ? 80 : sound.tree.page_size);
            copy[page * sound.tree.page_size + at] = (uint8_t)below(256);
        }
        uint64_t rows = 0, sum = 0;
        int err = hf_leaves_seek(&leaves, hf_view("", 0), &key, &value);
        for (; !err && rows < 2 * ROWS; rows++) {
            for (size_t b = 0; b < value.len; b += 61)
                sum += ((const uint8_t *)value.data)[b];
            sum += key.len ? ((const uint8_t *)key.data)[key.len - 1] : 0;
            leaves.wanted += rows & 1;
            err = hf_leaves_next(&leaves, &key, &value);
        }
        assert_true(err == HF_OK || err == HF_ECORRUPT || err == HF_ENOTFOUND);
        refused += err == HF_ECORRUPT;
        ended += err == HF_ENOTFOUND;
        assert_true(sum + 1 > 0);
    }
    assert_true(refused > DAMAGES / 50 && ended > DAMAGES / 10);
    free(copy);
    hf_txn_abort(txn);
    hf_disk_close(disk);
}

int main(void)
{
    hf_random_seed(7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_a_cursor),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
