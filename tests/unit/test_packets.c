/* test_packets.c - the stream of a backup: what comes back is what was written, whatever
 * the file system does in between; and whatever else is read instead is known as such. */
#include "tests/support/core.h"
#include "tests/unit/nth_more.h"

#include "recovery/packet.h"

#include "storage/codec.h"
#include "storage/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <zstd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- zstd, which may fail, too */

static bool no_context, no_pressing;

ZSTD_CCtx *ZSTD_createCCtx(void)
{
    return no_context ? NULL : NTH_REAL(ZSTD_createCCtx)();
}

ZSTD_DCtx *ZSTD_createDCtx(void)
{
    return no_context ? NULL : NTH_REAL(ZSTD_createDCtx)();
}

size_t ZSTD_compressStream2(ZSTD_CCtx *zstd, ZSTD_outBuffer *out, ZSTD_inBuffer *in,
                            ZSTD_EndDirective how)
{
    return no_pressing ? (size_t)-64 /* memory_allocation */
                       : NTH_REAL(ZSTD_compressStream2)(zstd, out, in, how);
}

static int fd;

static int begin(void **state)
{
    (void)state;
    fd = memfd_create("packet", MFD_CLOEXEC);
    return fd >= 0 ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    nth_off();
    no_context = no_pressing = false;
    return close(fd);
}

static void says(const char *words)
{
    if (!strstr(hf_error_detail(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, hf_error_detail());
}

/* ---- Writing and reading a backup of some rows */

enum { ROWS = 300, LARGE = 3 << 20 };

static const hf_packet_about about = { .format = 1, .uuid = { 1, 2, 3 }, .time_ms = 99,
                                       .bytes = 4096 };
static uint8_t noise[LARGE];

static hf_bytes value_of(int i)
{
    return hf_view(noise + i, i == 7 ? LARGE - 7 : (size_t)i * 37 % 5000);
}

static int write_rows(void)
{
    hf_packer *packer;
    int err = hf_packer_open(&packer, fd, &about);
    for (int i = 0; !err && i < ROWS; i++)
        err = hf_packer_row(packer, (hf_table)(i % HF_TABLES),
                            hf_view(noise + i, (size_t)(1 + i)), value_of(i));
    if (!err)
        err = hf_packer_end(packer);
    hf_packer_close(packer);
    return err;
}

static int read_rows(int *count)
{
    hf_unpacker *unpacker;
    hf_packet_about got;
    hf_table table;
    hf_bytes key, value;
    *count = 0;
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    int err = hf_unpacker_open(&unpacker, fd, NULL, NULL, &got);
    if (!err)
        assert_memory_equal(got.uuid, about.uuid, 16);
    while (!err && !(err = hf_unpacker_row(unpacker, &table, &key, &value))) {
        hf_bytes want = value_of(*count);
        assert_int_equal(table, *count % HF_TABLES);
        assert_int_equal(key.len, 1 + *count);
        assert_int_equal(value.len, want.len);
        assert_true(!want.len || memcmp(value.data, want.data, want.len) == 0);
        ++*count;
    }
    hf_unpacker_close(unpacker);
    return err;
}

static void test_round(void **state)
{
    int count;
    (void)state;
    CORE_OK(write_rows());
    assert_int_equal(read_rows(&count), HF_ENOTFOUND);
    assert_int_equal(count, ROWS);
    hf_packer_close(NULL);
    hf_unpacker_close(NULL);
}

/* An interrupted call goes on; another one ends it, and says what stands in the way. */
static void test_writes_that_fail(void **state)
{
    static const struct {
        int error, err;
    } rows[] = { { EINTR, HF_OK }, { ENOSPC, HF_EFULL }, { EDQUOT, HF_EFULL },
                 { EFBIG, HF_EFULL }, { EIO, HF_EIO } };
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        for (int n = 1, hit = 1; hit; n++) {
            assert_int_equal(ftruncate(fd, 0), 0);
            assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
            nth_on(NTH_FILE, "write", n, rows[i].error);
            int err = write_rows(), count;
            hit = nth.hit;
            nth_off();
            assert_int_equal(err, hit ? rows[i].err : HF_OK);
            if (err)
                says(strerror(rows[i].error));
            else
                assert_int_equal(read_rows(&count), HF_ENOTFOUND);
        }
    }
}

static void test_reads_that_fail(void **state)
{
    (void)state;
    CORE_OK(write_rows());
    for (int error = 0; error < 2; error++) {
        for (int n = 1, hit = 1; hit; n++) {
            int count;
            nth_on(NTH_FILE, "read", n, error ? EIO : EINTR);
            int err = read_rows(&count);
            hit = nth.hit;
            nth_off();
            assert_int_equal(err, hit && error ? HF_EIO : HF_ENOTFOUND);
            assert_true(err == HF_EIO || count == ROWS);
        }
    }
}

static void test_no_memory(void **state)
{
    int count;
    (void)state;
    no_context = true;
    assert_int_equal(write_rows(), HF_ENOMEM);
    assert_int_equal(read_rows(&count), HF_ENOMEM);
    no_context = false;
    no_pressing = true;
    assert_int_equal(write_rows(), HF_ENOMEM);
    says("compressing a backup");
    no_pressing = false;
    NTH_EACH(n, NTH_MEMORY, 0) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        int err = write_rows();
        nth_off();
        assert_int_equal(err, nth.hit ? HF_ENOMEM : HF_OK);
    }
    NTH_EACH(n, NTH_MEMORY, 0) {
        int err = read_rows(&count);
        nth_off();
        assert_int_equal(err, nth.hit ? HF_ENOMEM : HF_ENOTFOUND);
    }
}

static void test_too_large_a_row(void **state)
{
    hf_packer *packer;
    (void)state;
    CORE_OK(hf_packer_open(&packer, fd, &about));
    assert_int_equal(hf_packer_row(packer, HF_IN_META, hf_view(noise, 513), hf_str("")),
                     HF_ECORRUPT);
    says("too large");
    assert_int_equal(hf_packer_row(packer, HF_IN_META, hf_str("k"),
                                   hf_view(noise, (size_t)UINT32_MAX + 1)), HF_ECORRUPT);
    no_pressing = true;
    assert_int_equal(hf_packer_end(packer), HF_ENOMEM);
    hf_packer_close(packer);
}

/* ---- Streams made by hand */

static struct {
    uint8_t  bytes[8192]; /* rows and trailer, not compressed */
    size_t   len;
    uint64_t sum;
} made;

static void make_head(uint8_t head[HF_PACKET_HEAD], uint32_t version)
{
    memset(head, 0, HF_PACKET_HEAD);
    memcpy(head, HF_PACKET_MAGIC, 8);
    hf_put32(head + 8, version);
    hf_put32(head + 12, 1);
    memcpy(head + 16, about.uuid, 16);
    made.sum = XXH3_64bits(head, 56);
    hf_put64(head + 56, made.sum);
    made.len = 0;
}

static void make_row(uint8_t table, size_t key_len, const char *value)
{
    uint8_t *at = made.bytes + made.len;
    size_t len = strlen(value);
    memset(at, 0, 8 + key_len);
    at[0] = table;
    hf_put16(at + 2, (uint16_t)key_len);
    hf_put32(at + 4, (uint32_t)len);
    memcpy(at + 8 + key_len, value, len);
    made.sum = XXH3_64bits_withSeed(at, 8 + key_len, made.sum);
    made.sum = XXH3_64bits_withSeed(value, len, made.sum);
    made.len += 8 + key_len + len;
}

/* So many tables, of which the first has so many rows. */
static void make_trailer(uint16_t tables, uint64_t rows, uint32_t behind)
{
    uint8_t *at = made.bytes + made.len;
    memset(at, 0, 8 + (size_t)tables * 8);
    at[0] = 255;
    hf_put16(at + 2, tables);
    hf_put32(at + 4, behind ? behind : tables * 8u + 8);
    hf_put64(at + 8, rows);
    hf_put64(at + 8 + (size_t)tables * 8,
             XXH3_64bits_withSeed(at, 8 + (size_t)tables * 8, made.sum));
    made.len += 8 + (size_t)tables * 8 + 8;
}

/* Head, what was made as one frame (an empty block at its end), something behind. */
static void put_stream(const uint8_t head[HF_PACKET_HEAD], bool ends, const char *behind)
{
    static uint8_t room[16384];
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_inBuffer in = { made.bytes, made.len, 0 };
    ZSTD_outBuffer out = { room, sizeof room, 0 };
    assert_int_equal(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_flush), 0);
    if (ends)
        assert_int_equal(ZSTD_compressStream2(zstd, &out, &in, ZSTD_e_end), 0);
    (void)ZSTD_freeCCtx(zstd);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(write(fd, head, HF_PACKET_HEAD), HF_PACKET_HEAD);
    assert_int_equal(write(fd, room, out.pos), (ssize_t)out.pos);
    assert_int_equal(write(fd, behind, strlen(behind)), (ssize_t)strlen(behind));
}

static int read_all(void)
{
    hf_unpacker *unpacker;
    hf_packet_about got;
    hf_table table;
    hf_bytes key, value;
    hf_error_clear();
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    int err = hf_unpacker_open(&unpacker, fd, NULL, NULL, &got);
    while (!err)
        err = hf_unpacker_row(unpacker, &table, &key, &value);
    hf_unpacker_close(unpacker);
    return err;
}

static void test_made_by_hand(void **state)
{
    static const struct {
        uint16_t    tables;
        uint8_t     table;
        size_t      key_len;
        uint64_t    rows;
        uint32_t    behind;
        bool        ends;
        const char *after, *more; /* in the frame, behind it */
        int         err;
        const char *words;
    } of[] = {
        { HF_TABLES, 0, 8, 1, 0, true, "", "", HF_ENOTFOUND, "" },
        { HF_TABLES - 1, 0, 8, 1, 0, true, "", "", HF_ENOTFOUND, "" }, /* of an older one */
        { HF_TABLES, 0, 8, 2, 0, true, "", "", HF_ECORRUPT, "checksum" },
        { 1, 1, 8, 0, 0, true, "", "", HF_ECORRUPT, "checksum" }, /* rows of none of its tables */
        { HF_TABLES + 1, 0, 8, 1, 0, true, "", "", HF_EVERSION, "13 tables" },
        { HF_TABLES, 0, 8, 1, 5, true, "", "", HF_ECORRUPT, "its end" },
        { HF_TABLES, HF_TABLES, 8, 1, 0, true, "", "", HF_EVERSION, "a table 12" },
        { HF_TABLES, 0, 513, 1, 0, true, "", "", HF_ECORRUPT, "a key of 513 bytes" },
        { HF_TABLES, 0, 8, 1, 0, false, "", "", HF_ECORRUPT, "cut short" },
        { HF_TABLES, 0, 8, 1, 0, true, "x", "", HF_ECORRUPT, "something follows" },
        { HF_TABLES, 0, 8, 1, 0, true, "", "x", HF_ECORRUPT, "something follows" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        uint8_t head[HF_PACKET_HEAD];
        make_head(head, HF_PACKET_VERSION);
        make_row(of[i].table, of[i].key_len, "value");
        make_trailer(of[i].tables, of[i].rows, of[i].behind);
        memcpy(made.bytes + made.len, of[i].after, strlen(of[i].after));
        made.len += strlen(of[i].after);
        put_stream(head, of[i].ends, of[i].more);
        int err = read_all();
        if (err != of[i].err)
            fail_msg("%zu: %d (%s)", i, err, hf_error_detail());
        says(of[i].words);
    }
}

static void test_heads(void **state)
{
    uint8_t head[HF_PACKET_HEAD];
    (void)state;
    make_head(head, HF_PACKET_VERSION + 1);
    put_stream(head, true, "");
    assert_int_equal(read_all(), HF_EVERSION);
    make_head(head, HF_PACKET_VERSION);
    head[40]++;
    put_stream(head, true, "");
    assert_int_equal(read_all(), HF_ECORRUPT);
    says("its head");
    head[0]++;
    put_stream(head, true, "");
    assert_int_equal(read_all(), HF_ECORRUPT);
    says("no backup of a store");
}

/* Cut anywhere, or with any byte changed, it is damaged, and known to be. */
static void test_cut_and_changed(void **state)
{
    uint8_t head[HF_PACKET_HEAD], byte;
    (void)state;
    make_head(head, HF_PACKET_VERSION);
    make_row(0, 8, "some value that is told apart from others");
    make_trailer(HF_TABLES, 1, 0);
    put_stream(head, true, "");
    off_t whole = lseek(fd, 0, SEEK_END);
    for (off_t at = 0; at < whole; at++) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        int err = read_all();
        assert_true(err == HF_ECORRUPT || err == HF_EVERSION || err == HF_ENOMEM
                    || (err == HF_ENOTFOUND && at > HF_PACKET_HEAD)); /* a hint for zstd */
        byte ^= 0x20;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(read_all(), HF_ENOTFOUND);
    for (off_t at = whole - 1; at >= 0; at--) {
        assert_int_equal(ftruncate(fd, at), 0);
        assert_int_equal(read_all(), HF_ECORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round, begin, end),
        cmocka_unit_test_setup_teardown(test_writes_that_fail, begin, end),
        cmocka_unit_test_setup_teardown(test_reads_that_fail, begin, end),
        cmocka_unit_test_setup_teardown(test_no_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_too_large_a_row, begin, end),
        cmocka_unit_test_setup_teardown(test_made_by_hand, begin, end),
        cmocka_unit_test_setup_teardown(test_heads, begin, end),
        cmocka_unit_test_setup_teardown(test_cut_and_changed, begin, end),
    };
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)core_random(&seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
