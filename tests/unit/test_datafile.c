/* test_datafile.c - data files made by hand, as they seldom are: two meta pages and the tree of
 * the free list, which say whether all pages are there. */
#include "tests/unit/disk_odds.h"

#include "storage/datafile.h"

enum { PAGE = 4096, PAGES = 24, LAST = 30 }; /* 7 pages are not there: 24 … 30 */

static uint8_t image[PAGES * PAGE];

static void put16(size_t at, unsigned v)
{
    image[at] = (uint8_t)v;
    image[at + 1] = (uint8_t)(v >> 8);
}

static void put32(size_t at, uint32_t v)
{
    put16(at, v & 0xffff);
    put16(at + 2, v >> 16);
}

static void put64(size_t at, uint64_t v)
{
    put32(at, (uint32_t)v);
    put32(at + 4, (uint32_t)(v >> 32));
}

static void meta(unsigned page, uint64_t free_list)
{
    size_t at = page * (size_t)PAGE;
    put16(at + 10, 0x08);
    put32(at + 16, 0xBEEFC0DE);
    put32(at + 20, 1);
    put64(at + 32, 1 << 20);
    put32(at + 40, PAGE);
    put64(at + 80, free_list);
    put64(at + 136, LAST);
    put64(at + 144, 5 + page);
}

/* Page `page` has one node at 200: of a leaf a free list of `count` pages from `first`;
 * of a branch, the page `first`. */
static void tree(unsigned page, unsigned flags, uint64_t first, uint64_t count)
{
    size_t at = page * (size_t)PAGE;
    put16(at + 10, flags);
    put16(at + 12, 18);
    put16(at + 16, 200);
    if (flags == 0x01) {
        put16(at + 200, (unsigned)first);
        return;
    }
    put16(at + 200, (unsigned)(8 + 8 * count));
    put16(at + 206, 8);
    put64(at + 216, count);
    for (uint64_t i = 0; i < count; i++)
        put64(at + 224 + 8 * i, first + i);
}

static void fresh_image(void)
{
    memset(image, 0, sizeof image);
    meta(0, 2);
    meta(1, 2);
    tree(2, 0x01, 3, 0);
    tree(3, 0x02, 22, 9); /* 22, 23 are there, 24 … 30 are not: all is well */
}

static int check_image(size_t bytes)
{
    hf_datafile file;
    FILE *out = fopen(path_of("data.mdb"), "w");
    assert_non_null(out);
    assert_int_equal(fwrite(image, 1, bytes, out), bytes);
    assert_int_equal(fclose(out), 0);
    hf_error_clear();
    int err = hf_datafile_check(root, &file);
    if (!err)
        assert_true(file.page_size == PAGE && file.pages == LAST + 1 && file.map_size == 1 << 20);
    return err;
}

static void refused_image(int err, const char *words)
{
    assert_int_equal(check_image(sizeof image), err);
    says(words);
    fresh_image();
}

static void test_data_file_by_hand(void **state)
{
    (void)state;
    fresh_image();
    assert_int_equal(check_image(sizeof image), HF_OK);
    NTH_EACH(n, NTH_FILE, EIO) {
        int err = check_image(sizeof image);
        nth_off();
        if (err && err != HF_EIO && err != HF_ECORRUPT)
            fail_msg("%d: %s", err, hf_error_detail());
    }
    NTH_EACH(n, NTH_MEMORY, 0) {
        int err = check_image(sizeof image);
        nth_off();
        assert_int_equal(err, nth.hit ? HF_ENOMEM : HF_OK);
        assert_true(!err || *hf_error_detail());
    }
    put16(10, 0); refused_image(HF_ECORRUPT, "meta page 0 is not one");
    put16(PAGE + 10, 0); refused_image(HF_ECORRUPT, "meta page 1 is not one");
    put32(16, 1); refused_image(HF_ECORRUPT, "meta page 0 is not one");
    put32(20, 2); refused_image(HF_EVERSION, "data version 2");
    put32(40, 256); refused_image(HF_ECORRUPT, "page size makes no sense");
    put32(40, 1 << 17); refused_image(HF_ECORRUPT, "page size makes no sense");
    put32(40, 4095); refused_image(HF_ECORRUPT, "page size makes no sense");
    put32(PAGE + 40, 8192); refused_image(HF_ECORRUPT, "page size makes no sense");
    put64(PAGE + 136, 0); refused_image(HF_ECORRUPT, "number of pages makes no sense");
    put64(PAGE + 136, UINT64_C(1) << 48); refused_image(HF_ECORRUPT, "number of pages");
    put64(PAGE + 80, UINT64_MAX); refused_image(HF_ECORRUPT, "truncated"); /* no free list */
    put64(PAGE + 80, 1); refused_image(HF_ECORRUPT, "truncated");
    put64(PAGE + 80, PAGES); refused_image(HF_ECORRUPT, "truncated");
    assert_int_equal(check_image(PAGE + PAGE / 2), HF_ECORRUPT); /* one page is whole */
    says("truncated");
    assert_int_equal(check_image(100), HF_ECORRUPT);
    says("within its first two pages");
    assert_int_equal(check_image(0), HF_ECORRUPT);
    says("is empty");
    assert_int_equal(unlink(path_of("data.mdb")), 0);
    assert_int_equal(hf_datafile_check(root, &(hf_datafile){ 0 }), HF_ECORRUPT);
    says("is missing");
}

static void test_free_list_by_hand(void **state)
{
    (void)state;
    const size_t branch = 2 * PAGE, leaf = 3 * PAGE;
    fresh_image();
    tree(3, 0x02, 22, 8); refused_image(HF_ECORRUPT, "truncated"); /* 30 is not on it */
    tree(3, 0x02, 25, 9); refused_image(HF_ECORRUPT, "truncated"); /* nor 24; 31 … are none */
    put16(branch + 10, 0x04); refused_image(HF_ECORRUPT, "is not one");
    put16(branch + 12, 8); refused_image(HF_ECORRUPT, "is not one");
    put16(branch + 12, 5000); refused_image(HF_ECORRUPT, "is not one");
    put16(branch + 16, 4090); refused_image(HF_ECORRUPT, "leaves its page");
    put16(leaf + 206, 4000); refused_image(HF_ECORRUPT, "leaves its page");
    put16(branch + 200, 2); refused_image(HF_ECORRUPT, "too deep"); /* itself */
    put16(branch + 200, 1); refused_image(HF_ECORRUPT, "truncated");
    put16(leaf + 200, 16); refused_image(HF_ECORRUPT, "longer than its record");
    put16(leaf + 200, 4); refused_image(HF_ECORRUPT, "longer than its record");
    put64(leaf + 216, UINT64_MAX / 8); refused_image(HF_ECORRUPT, "longer than its record");
    /* A long list has pages of its own. */
    put16(leaf + 204, 1);
    put64(leaf + 216, 4);
    put64(4 * PAGE + 16, 1);
    put64(4 * PAGE + 24, 24);
    put16(leaf + 200, 8 * 1000);
    refused_image(HF_ECORRUPT, "truncated"); /* only 24 is on it */
    put16(leaf + 204, 1);
    put64(leaf + 216, 4);
    put64(4 * PAGE + 16, 900); /* more than is read at once */
    for (size_t i = 0; i < 7; i++)
        put64(4 * PAGE + 24 + 8 * (800 + i), 24 + i);
    put16(leaf + 200, 8 * 1000);
    assert_int_equal(check_image(sizeof image), HF_OK);
    put64(leaf + 216, PAGES);
    refused_image(HF_ECORRUPT, "truncated"); /* where it begins is not there */
    put16(leaf + 204, 1);
    put64(leaf + 216, PAGES - 1);
    put64((PAGES - 1) * (size_t)PAGE + 16, 900);
    put16(leaf + 200, 8 * 1000);
    refused_image(HF_ECORRUPT, "truncated"); /* where it ends is not there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ODD(test_data_file_by_hand),
        ODD(test_free_list_by_hand),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
