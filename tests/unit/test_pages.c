/* test_pages.c - the data file read page by page shows what LMDB shows, and whatever
 * is damaged in it is said, never believed. */
#include "storage/pages.h"

#include "storage/random.h"

#include "tests/support/stores.h"

#include <fcntl.h>
#include <string.h>

enum { ROWS = 3000, LARGE_ROWS = 40, DAMAGES = 1000 };

typedef struct sum {
    uint64_t rows, bytes, hash, last;
    bool     ordered;
} sum;

static void add(sum *s, hf_bytes key, hf_bytes value)
{
    const uint8_t *bytes = value.data;
    uint64_t number = number_of(key);
    s->ordered = s->ordered && (!s->rows || number > s->last);
    s->last = number;
    s->rows++;
    s->bytes += value.len;
    s->hash = (s->hash ^ number) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < value.len; i += 97)
        s->hash = (s->hash ^ bytes[i]) * UINT64_C(0x100000001b3);
}

typedef struct counted {
    sum      rows;
    uint64_t bad;
} counted;

static int add_row(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    counted *c = user;
    assert_true(page >= 2);
    add(&c->rows, key, value);
    return HF_OK;
}

static sum seen_by_lmdb(hf_disk *disk)
{
    sum s = { .ordered = true };
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes key, value;
    assert_int_equal(hf_txn_read(disk, &txn), HF_OK);
    assert_int_equal(hf_cursor_open(txn, HF_IN_STATE, &cursor), HF_OK);
    while (hf_cursor_next(cursor, &key, &value) == HF_OK)
        add(&s, key, value);
    hf_cursor_close(cursor);
    hf_txn_abort(txn);
    return s;
}

static void complain(void *user, uint64_t page, const char *why)
{
    counted *c = user;
    assert_true(why && *why);
    (void)page;
    c->bad++;
}

static counted seen_by_pages(const char *file)
{
    hf_pages *pages;
    hf_pages_tree tree;
    counted c = { .rows = { .ordered = true } };
    assert_int_equal(hf_pages_open(&pages, file), HF_OK);
    assert_int_equal(hf_pages_table(pages, 0, "state", &tree), HF_OK);
    assert_int_equal(hf_pages_walk(pages, &tree, add_row, complain, &c), HF_OK);
    assert_int_equal(tree.rows, c.rows.rows);
    hf_pages_close(pages);
    return c;
}

static hf_disk *make(const char *name)
{
    hf_disk *disk = open_ok(name);
    assert_int_equal(put_many(disk, 0, ROWS, 60), HF_OK);
    assert_int_equal(put_many(disk, ROWS, LARGE_ROWS, 7000), HF_OK);
    assert_int_equal(del_many(disk, 100, 500), HF_OK);
    assert_int_equal(put_many(disk, 50, 30, 200), HF_OK);
    return disk;
}

static void test_same_as_lmdb(void **state)
{
    (void)state;
    hf_disk *disk = make("same");
    sum wanted = seen_by_lmdb(disk);
    counted found = seen_by_pages(path_of("same/data.mdb"));
    hf_disk_close(disk);
    assert_int_equal(wanted.rows, ROWS + LARGE_ROWS - 500);
    assert_int_equal(found.rows.rows, wanted.rows);
    assert_int_equal(found.rows.bytes, wanted.bytes);
    assert_true(found.rows.hash == wanted.hash && found.rows.ordered);
    assert_int_equal(found.bad, 0);
}

static void test_refusals(void **state)
{
    hf_pages *pages;
    hf_pages_tree tree;
    (void)state;
    assert_int_equal(hf_pages_open(&pages, path_of("nothing")), HF_ENOTFOUND);
    write_file(path_of("text"), "this is no data file");
    assert_int_equal(hf_pages_open(&pages, path_of("text")), HF_ECORRUPT);
    assert_null(pages);
    hf_disk_close(make("plain"));
    assert_int_equal(hf_pages_open(&pages, path_of("plain/data.mdb")), HF_OK);
    assert_int_equal(hf_pages_table(pages, 0, "nosuch", &tree), HF_ENOTFOUND);
    assert_true(hf_pages_root_of(pages, 0).txn > hf_pages_root_of(pages, 1).txn);
    hf_pages_close(pages);
}

/* ---- Damage */

typedef struct image {
    uint8_t *bytes;
    size_t   len;
} image;

static image read_image(const char *file)
{
    FILE *f = fopen(file, "rb");
    assert_non_null(f);
    (void)fseek(f, 0, SEEK_END);
    image i = { NULL, (size_t)ftell(f) };
    rewind(f);
    i.bytes = malloc(i.len);
    assert_non_null(i.bytes);
    assert_int_equal(fread(i.bytes, 1, i.len, f), i.len);
    fclose(f);
    return i;
}

static void write_image(const char *file, const uint8_t *bytes, size_t len)
{
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int count_row(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    (void)page;
    sum *s = &((counted *)user)->rows;
    for (size_t i = 0; i < key.len; i++) /* all of it may be touched */
        s->hash += ((const uint8_t *)key.data)[i];
    for (size_t i = 0; i < value.len; i++)
        s->hash += ((const uint8_t *)value.data)[i];
    s->rows++;
    return HF_OK;
}

/* Read all there is; returns the rows found by walks and, below, among orphans. */
static uint64_t read_all(const char *file, uint64_t *bad, uint64_t *orphans)
{
    static const char *const names[] = { "log", "inbox", "state", "meta" };
    hf_pages *pages;
    hf_pages_tree tree;
    counted c = { .bad = 0 }, o = { .bad = 0 };
    *bad = *orphans = 0;
    if (hf_pages_open(&pages, file))
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!hf_pages_table(pages, 0, names[i], &tree))
            assert_int_equal(hf_pages_walk(pages, &tree, count_row, complain, &c), HF_OK);
    assert_int_equal(hf_pages_orphans(pages, count_row, &o), HF_OK);
    hf_pages_close(pages);
    *bad = c.bad;
    *orphans = o.rows.rows;
    return c.rows.rows;
}

static void damage(image *copy, const image *from, uint64_t kind)
{
    memcpy(copy->bytes, from->bytes, from->len);
    copy->len = from->len;
    uint64_t at = hf_random() % from->len;
    switch (kind) {
    case 0: copy->bytes[at] = (uint8_t)(copy->bytes[at] ^ 1u << hf_random() % 8); break;
    case 1: /* what a page says about itself is where it hurts */
        at = at / 4096 * 4096 + hf_random() % 48;
        copy->bytes[at % from->len] = (uint8_t)hf_random();
        break;
    case 2: memset(copy->bytes + at, 0, from->len - at < 4096 ? from->len - at : 4096); break;
    case 3: copy->len = at + 1; break;
    default:
        for (size_t i = at; i < from->len && i < at + 512; i++)
            copy->bytes[i] = (uint8_t)hf_random();
        break;
    }
}

static void test_damage(void **state)
{
    uint64_t bad, orphans, noticed = 0;
    (void)state;
    hf_disk_close(make("hurt"));
    image whole = read_image(path_of("hurt/data.mdb")), copy = { malloc(whole.len), whole.len };
    assert_non_null(copy.bytes);
    uint64_t rows = read_all(path_of("hurt/data.mdb"), &bad, &orphans);
    assert_true(rows > ROWS - 500 && !bad);
    hf_random_seed(7);
    for (uint64_t i = 0; i < DAMAGES; i++) {
        damage(&copy, &whole, i % 5);
        write_image(path_of("copy"), copy.bytes, copy.len);
        noticed += read_all(path_of("copy"), &bad, &orphans) != rows || bad;
    }
    assert_true(noticed > DAMAGES / 10);
    free(whole.bytes);
    free(copy.bytes);
}

/* A branch that leads nowhere: what it led to is found among the orphans. */
static void test_orphans(void **state)
{
    uint64_t bad, orphans, before_bad, before;
    (void)state;
    hf_disk_close(make("lost"));
    const char *file = path_of("lost/data.mdb");
    image whole = read_image(file);
    uint64_t rows = read_all(file, &before_bad, &before);
    hf_pages *pages;
    hf_pages_tree tree;
    assert_int_equal(hf_pages_open(&pages, file), HF_OK);
    assert_int_equal(hf_pages_table(pages, 0, "state", &tree), HF_OK);
    size_t root_at = (size_t)tree.root * hf_pages_size(pages);
    hf_pages_close(pages);
    assert_true(tree.depth > 1);
    memset(whole.bytes + root_at, 0xee, 4096);
    write_image(file, whole.bytes, whole.len);
    uint64_t left = read_all(file, &bad, &orphans);
    assert_true(left < rows && bad == 1);
    assert_true(left + orphans >= rows + before);
    free(whole.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_lmdb),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_orphans),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
