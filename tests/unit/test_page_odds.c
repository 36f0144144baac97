/* test_page_odds.c - pages of a data file made by hand, as no LMDB writes them: what is wrong
 * with each is said, nothing outside of it is read, and what is sound beside it is found. */
#include "tests/support/stores.h"
#include "tests/unit/nth_call.h"

#include "storage/codec.h"
#include "storage/pages.h"

enum { PAGE = 4096, HEAD = 16, NODE = 8, MORE = 64, SMALL = 50, LARGE_ROWS = 3 };
enum { BRANCH = 1, LEAF = 2, LARGE = 4, META = 8, BIG = 1, TREE = 2 };
enum { /* in the two first pages */
    FREE_AT = 16 + 24, TABLES_AT = FREE_AT + 48, LAST_AT = TABLES_AT + 48, TXN_AT = LAST_AT + 8
};

static uint8_t *image; /* of the file, with room for more pages behind it */
static size_t   there;
static char     file[128];

/* ---- The file */

static void write_pages(size_t count)
{
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(image, PAGE, count, f), count);
    assert_int_equal(fclose(f), 0);
}

static int take_image(void **state)
{
    (void)state;
    hf_disk *disk = open_ok("store");
    assert_int_equal(put_many(disk, 0, SMALL, 30), HF_OK);
    assert_int_equal(put_many(disk, 1000, LARGE_ROWS, 7000), HF_OK);
    hf_disk_close(disk);
    (void)snprintf(file, sizeof file, "%s", path_of("file"));
    FILE *f = fopen(path_of("store/data.mdb"), "rb");
    assert_non_null(f);
    there = (size_t)size_of(path_of("store/data.mdb")) / PAGE;
    image = calloc(there + MORE, PAGE);
    assert_non_null(image);
    assert_int_equal(fread(image, PAGE, there, f), there);
    (void)fclose(f);
    return 0;
}

static int drop_image(void **state)
{
    char command[200];
    (void)state;
    nth_off();
    free(image);
    (void)snprintf(command, sizeof command, "rm -rf %s", path_of("store"));
    return system(command);
}

static uint8_t *page_at(size_t number)
{
    return image + number * PAGE;
}

static hf_pages *open_pages(void)
{
    hf_pages *pages;
    write_pages(there);
    assert_int_equal(hf_pages_open(&pages, file), HF_OK);
    return pages;
}

/* Of the two roots the one that counts. */
static uint8_t *newest(void)
{
    return hf_get64(page_at(0) + TXN_AT) > hf_get64(page_at(1) + TXN_AT) ? page_at(0) : page_at(1);
}

static uint8_t *new_page(uint16_t flags)
{
    uint8_t *page = page_at(there);
    memset(page, 0, PAGE);
    hf_put64(page, there++);
    hf_put16(page + 10, flags);
    hf_put16(page + 12, HEAD);
    hf_put16(page + 14, PAGE);
    return page;
}

/* A row more, at the end that is free yet. */
static void add_node(uint8_t *page, const void *key, uint16_t key_len, const void *value,
                     uint32_t len, uint16_t flags)
{
    uint16_t lower = hf_get16(page + 12), upper = hf_get16(page + 14);
    upper = (uint16_t)(upper - (uint32_t)NODE - key_len - len);
    hf_put16(page + lower, upper);
    hf_put16(page + 12, (uint16_t)(lower + 2));
    hf_put16(page + 14, upper);
    hf_put16(page + upper, (uint16_t)len);
    hf_put16(page + upper + 2, (uint16_t)(len >> 16));
    hf_put16(page + upper + 4, flags);
    hf_put16(page + upper + 6, key_len);
    memcpy(page + upper + NODE, key, key_len);
    if (len)
        memcpy(page + upper + NODE + key_len, value, len);
}

static void add_branch(uint8_t *page, uint64_t child)
{
    uint16_t lower = hf_get16(page + 12), upper = (uint16_t)(hf_get16(page + 14) - NODE);
    hf_put16(page + lower, upper);
    hf_put16(page + 12, (uint16_t)(lower + 2));
    hf_put16(page + 14, upper);
    hf_put16(page + upper, (uint16_t)child);
    hf_put16(page + upper + 2, (uint16_t)(child >> 16));
    hf_put16(page + upper + 4, (uint16_t)(child >> 32));
    hf_put16(page + upper + 6, 0);
}

/* ---- What is seen */

typedef struct seen {
    uint64_t rows, bytes, bad, pages;
    char     why[100];
} seen;

static int see_row(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    seen *s = user;
    const uint8_t *bytes = value.data;
    assert_true(page >= 2 && key.len <= 511);
    s->rows++;
    for (size_t i = 0; i < value.len; i++)
        s->bytes += 1u + bytes[i];
    return HF_OK;
}

static void see_bad(void *user, uint64_t page, const char *why)
{
    seen *s = user;
    (void)page;
    s->bad++;
    (void)snprintf(s->why, sizeof s->why, "%s", why);
}

static seen walk(hf_pages *pages, uint64_t from)
{
    hf_pages_tree tree = { .root = from };
    seen s = { 0 };
    assert_int_equal(hf_pages_walk(pages, &tree, see_row, see_bad, &s), HF_OK);
    return s;
}

static void walk_says(uint64_t from, uint64_t rows, const char *why)
{
    hf_pages *pages = open_pages();
    seen s = walk(pages, from);
    assert_int_equal(s.rows, rows);
    assert_string_equal(s.why, why);
    hf_pages_close(pages);
}

static seen walk_state(void)
{
    hf_pages_tree tree;
    seen s = { 0 };
    hf_pages *pages = open_pages();
    assert_int_equal(hf_pages_table(pages, 0, "state", &tree), HF_OK);
    assert_int_equal(hf_pages_walk(pages, &tree, see_row, see_bad, &s), HF_OK);
    hf_pages_close(pages);
    return s;
}

/* ---- Roots */

static void test_roots(void **state)
{
    static const struct {
        size_t   at;
        uint32_t number;
    } odds[] = {
        { 10, 0 },       { 16, 0 },        { 20, 2 },           { FREE_AT, 0 },
        { FREE_AT, 256 }, { FREE_AT, 131072 }, { FREE_AT, 5000 }, { LAST_AT, 0 },
    };
    hf_pages *pages;
    (void)state;
    uint8_t *meta = newest(), whole[2 * PAGE];
    memcpy(whole, image, sizeof whole);
    for (size_t i = 0; i < sizeof odds / sizeof *odds; i++) {
        hf_put32(meta + odds[i].at, odds[i].number);
        pages = open_pages();
        assert_int_equal(hf_pages_size(pages), PAGE);
        assert_true(hf_pages_root_of(pages, 0).sound);
        assert_false(hf_pages_root_of(pages, 1).sound);
        hf_pages_close(pages);
        memcpy(image, whole, sizeof whole);
    }
    hf_put32(page_at(0) + 16, 0); /* the first one is lost; what looks like the second is not */
    memcpy(page_at(0) + 512, whole + PAGE, 200);
    pages = open_pages();
    assert_int_equal(hf_pages_size(pages), PAGE);
    assert_true(hf_pages_root_of(pages, 0).sound);
    hf_pages_close(pages);
    hf_put32(page_at(1) + 16, 0);
    write_pages(there);
    assert_int_equal(hf_pages_open(&pages, file), HF_ECORRUPT);
    assert_int_equal(hf_pages_open_rootless(&pages, file), HF_OK);
    assert_int_equal(hf_pages_size(pages), PAGE);
    seen s = { 0 };
    assert_int_equal(hf_pages_orphans(pages, see_row, &s), HF_OK);
    assert_true(s.rows >= SMALL + LARGE_ROWS);
    hf_pages_close(pages);
}

static void test_no_page_at_all(void **state)
{
    hf_pages *pages;
    (void)state;
    for (size_t i = 2; i < 6; i++) { /* they say which they are, and are of no use */
        memset(page_at(i), 0, PAGE);
        hf_put64(page_at(i), i);
        hf_put16(page_at(i) + 10, META);
    }
    write_pages(6);
    memset(page_at(0), 0, PAGE);
    memset(page_at(1), 0, PAGE);
    write_pages(6);
    assert_int_equal(hf_pages_open_rootless(&pages, file), HF_ECORRUPT);
    assert_int_equal(truncate(file, 4 << 20), 0); /* no end of nothing */
    assert_int_equal(hf_pages_open_rootless(&pages, file), HF_ECORRUPT);
    assert_null(pages);
}

/* ---- A file that can't be read, or not at once */

static void test_reading(void **state)
{
    hf_pages *pages;
    (void)state;
    seen want = walk_state(), s;
    assert_int_equal(want.rows, SMALL + LARGE_ROWS);
    for (int n = 1; n == 1 || nth.hit; n++) { /* a signal is no error */
        nth_on(NTH_FILE, "pread", n, EINTR);
        s = walk_state();
        nth_off();
        assert_true(s.rows == want.rows && s.bytes == want.bytes && !s.bad);
    }
    nth_on(NTH_FILE, "fstat", 1, EIO);
    assert_int_equal(hf_pages_open(&pages, file), HF_EIO);
    nth_on(NTH_FILE, "open", 1, EACCES);
    assert_int_equal(hf_pages_open(&pages, file), HF_EIO);
    nth_off();
    assert_null(pages);
}

/* No memory is no damage: nobody is told that rows are lost. */
static void test_memory(void **state)
{
    hf_pages *pages;
    hf_pages_tree tree;
    (void)state;
    int calls = 0;
    for (int n = 1; n == 1 || nth.hit; n++, calls++) {
        seen s = { 0 };
        write_pages(there);
        nth_on(NTH_MEMORY, NULL, n, 0);
        int err = hf_pages_open(&pages, file);
        if (!err)
            err = hf_pages_table(pages, 0, "state", &tree);
        if (!err)
            err = hf_pages_walk(pages, &tree, see_row, see_bad, &s);
        nth_off();
        assert_int_equal(err, nth.hit ? HF_ENOMEM : HF_OK);
        assert_int_equal(s.bad, 0);
        assert_true(err || s.rows == SMALL + LARGE_ROWS);
        hf_pages_close(pages);
    }
    assert_true(calls > 5);
}

/* ---- Leaves and branches */

static void test_leaves(void **state)
{
    (void)state;
    uint8_t *leaf = new_page(LEAF);
    add_node(leaf, "key", 3, "xy", 2, BIG); /* a large value, says a row with no room for it */
    walk_says(there - 1, 0, "a row lies outside its page");
    leaf = new_page(LEAF);
    add_node(leaf, "key", 3, "value", 5, 0);
    add_node(leaf, "next", 4, "value", 5, 0);
    walk_says(there - 1, 2, "");
    hf_put16(leaf + 12, HEAD - 2); /* an index that ends before it begins */
    walk_says(there - 1, 0, "its index is damaged");
    hf_put16(leaf + 12, HEAD + 3);
    walk_says(there - 1, 0, "its index is damaged");
    hf_put16(leaf + 12, HEAD + 4);
    hf_put16(leaf + 10, LEAF | BRANCH);
    walk_says(there - 1, 0, "it is of another kind");
}

/* Each leads to the page behind it. */
static void add_branches(int count)
{
    for (int i = 0; i < count; i++) {
        uint8_t *page = new_page(BRANCH);
        add_branch(page, there);
    }
}

static void test_deep(void **state)
{
    (void)state;
    uint64_t first = there;
    add_branches(33);
    walk_says(first, 0, "the tree is too deep");
    uint64_t shallow = there;
    add_branches(20);
    add_node(new_page(LEAF), "key", 3, "value", 5, 0);
    walk_says(shallow, 1, "");
}

static int count_page(void *user, uint64_t page)
{
    (void)page;
    ++*(uint64_t *)user;
    return HF_OK;
}

static void test_trees(void **state)
{
    static const uint8_t tree[48];
    hf_pages_tree found;
    uint64_t trees = 0;
    (void)state;
    uint8_t *leaf = new_page(LEAF);
    add_node(leaf, "log", 3, "short", 5, TREE);
    add_node(leaf, "loo", 3, tree, 48, TREE);
    add_node(leaf, "logs", 4, tree, 48, TREE);
    hf_pages *pages = open_pages();
    hf_pages_take_tree(pages, there - 1);
    assert_int_equal(hf_pages_table(pages, 0, "log", &found), HF_ENOTFOUND);
    assert_int_equal(hf_pages_table(pages, 0, "logs", &found), HF_OK);
    hf_pages_close(pages);
    pages = open_pages();
    assert_int_equal(hf_pages_trees(pages, "logs", count_page, &trees), HF_OK);
    assert_int_equal(trees, 1);
    trees = 0;
    assert_int_equal(hf_pages_trees(pages, "log", count_page, &trees), HF_OK);
    assert_true(trees >= 1); /* those of the store, not the short one */
    hf_pages_close(pages);
}

/* ---- Free pages */

static int end_it(void *user, uint64_t page)
{
    (void)user, (void)page;
    return HF_ECLOSED;
}

static int see_free(void *user, uint64_t page)
{
    seen *s = user;
    s->pages += page;
    return HF_OK;
}

static void test_free_lists(void **state)
{
    uint8_t list[24] = { 2 }; /* two of them */
    seen s = { 0 };
    (void)state;
    hf_put64(list + 8, 70);
    hf_put64(list + 16, 60);
    uint8_t *leaf = new_page(LEAF);
    add_node(leaf, "12345678", 8, "short", 5, 0);
    add_node(leaf, "1234567", 7, list, 24, 0);
    add_node(leaf, "12345679", 8, list, 16, 0); /* one is missing */
    add_node(leaf, "12345680", 8, list, 24, 0);
    hf_put64(newest() + FREE_AT + 40, there - 1);
    hf_pages *pages = open_pages();
    assert_int_equal(hf_pages_free(pages, see_free, see_bad, &s, &s), HF_OK);
    assert_int_equal(s.bad, 3);
    assert_string_equal(s.why, "a list of free pages is damaged");
    assert_int_equal(s.pages, 130);
    hf_pages_close(pages);
    pages = open_pages();
    assert_int_equal(hf_pages_free(pages, end_it, see_bad, &s, &s), HF_ECLOSED);
    hf_pages_close(pages);
}

/* ---- Large values */

static uint64_t first_run(void)
{
    for (size_t i = 2; i < there; i++)
        if (hf_get64(page_at(i)) == i && hf_get16(page_at(i) + 10) == LARGE)
            return i;
    fail_msg("there is no large value");
    return 0;
}

/* It says that it has more pages than it needs: that may be, up to where others begin. */
static void test_runs_that_shrank(void **state)
{
    (void)state;
    seen want = walk_state();
    uint64_t run = first_run();
    uint32_t pages = hf_get32(page_at(run) + 12);
    hf_put32(page_at(run) + 12, pages + 1);
    seen s = walk_state();
    assert_true(s.rows == want.rows && s.bytes == want.bytes);
    uint8_t next[8];
    memcpy(next, page_at(run + pages), 8);
    memset(page_at(run + pages), 0xff, 8); /* what lies behind it is no page by itself */
    s = walk_state();
    assert_true(s.rows >= want.rows - 1);
    memcpy(page_at(run + pages), next, 8);
    hf_put32(page_at(run) + 12, (uint32_t)there);
    s = walk_state();
    assert_int_equal(s.rows, want.rows - 1);
    assert_string_equal(s.why, "a large value is not where it should be");
}

static int count_run(void *user, uint64_t page, hf_bytes bytes)
{
    seen *s = user;
    s->pages = page;
    s->rows++;
    s->bytes += bytes.len;
    return HF_OK;
}

static uint64_t runs(void)
{
    seen s = { 0 };
    hf_pages *pages = open_pages();
    assert_int_equal(hf_pages_runs(pages, count_run, &s), HF_OK);
    hf_pages_close(pages);
    return s.rows;
}

static void test_runs_by_themselves(void **state)
{
    static const uint32_t odds[] = { 0, UINT32_MAX, UINT32_MAX / PAGE };
    (void)state;
    uint64_t run = first_run(), count = runs();
    uint32_t pages = hf_get32(page_at(run) + 12);
    assert_in_range(count, LARGE_ROWS, 2 * LARGE_ROWS);
    for (size_t i = 0; i < sizeof odds / sizeof *odds; i++) {
        hf_put32(page_at(run) + 12, odds[i]);
        assert_int_equal(runs(), count - 1);
    }
    hf_put32(page_at(run) + 12, pages);
    nth_on(NTH_MEMORY, NULL, 3, 0); /* the file, its bits, the first value */
    seen s = { 0 };
    hf_pages *all = open_pages();
    assert_int_equal(hf_pages_runs(all, count_run, &s), HF_ENOMEM);
    nth_off();
    assert_int_equal(s.rows, 0);
    hf_pages_close(all);
}

int main(void)
{
#define PAGES(test) cmocka_unit_test_setup_teardown(test, take_image, drop_image)
    const struct CMUnitTest tests[] = {
        PAGES(test_roots),       PAGES(test_no_page_at_all),   PAGES(test_reading),
        PAGES(test_memory),      PAGES(test_leaves),           PAGES(test_deep),
        PAGES(test_trees),       PAGES(test_free_lists),       PAGES(test_runs_that_shrank),
        PAGES(test_runs_by_themselves),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
