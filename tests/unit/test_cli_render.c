/* test_cli_render.c - bytes of a store as JSON, and msgpack that lies. */
#include "tools/render.h"
#include "tools/times.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

typedef void (*render_fn)(cli_buffer *out, hf_bytes bytes);

static void expect(render_fn render, const char *bytes, size_t len, const char *must)
{
    cli_buffer out = { 0 };
    render(&out, hf_view(bytes, len));
    cli_buffer_byte(&out, 0);
    assert_string_equal((const char *)out.data, must);
    cli_buffer_free(&out);
}
#define BODY(bytes, must) expect(cli_render_body, bytes, sizeof bytes - 1, must)
#define READABLE(bytes, must) expect(cli_render_readable, bytes, sizeof bytes - 1, must)

static void test_values(void **state)
{
    (void)state;
    BODY("\xc0", "null");
    BODY("\xc3", "true");
    BODY("\x07", "7");
    BODY("\xff", "-1");
    BODY("\xd0\x80", "-128");
    BODY("\xd2\x80\x00\x00\x00", "-2147483648");
    BODY("\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615");
    BODY("\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808");
    BODY("\xd3\x00\x00\x00\x00\x00\x00\x00\x05", "5");
    BODY("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "1.0");
    BODY("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1");
    BODY("\xca\x3f\x80\x00\x00", "1.0");
    BODY("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "{\"$float\":\"inf\"}");
    BODY("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "{\"$float\":\"nan\"}");
    BODY("\xa3" "a\"\n", "\"a\\\"\\n\"");
    BODY("\xa1\x1b", "\"\\u001b\"");
    BODY("\xa1\xff", "{\"$str\":\"/w==\"}");
    BODY("\xc4\x03\x00\x01\x02", "{\"$bin\":\"AAEC\"}");
    BODY("\xd4\xfd\x09", "{\"$ext\":[-3,\"CQ==\"]}");
}

static void test_containers(void **state)
{
    (void)state;
    BODY("\x90", "[]");
    BODY("\x80", "{}");
    BODY("\x93\x01\x92\x02\x90\x80", "[1,[2,[]],{}]");
    BODY("\x82\xa1" "a\x01\xa1" "b\x81\xa1" "c\x91\x02", "{\"a\":1,\"b\":{\"c\":[2]}}");
    BODY("\x81\x01\x02", "{\"$map\":[[1,2]]}");
    BODY("\x82\xa1" "a\x01\xa1" "a\x92\x02\x03", "{\"$map\":[[\"a\",1],[\"a\",[2,3]]]}");
    BODY("\x81\xa4$bin\x01", "{\"$map\":[[\"$bin\",1]]}");
    BODY("\x82\xa4$bin\x01\xa1" "a\x02", "{\"$bin\":1,\"a\":2}");
}

static void test_not_msgpack(void **state)
{
    (void)state;
    BODY("", "{\"$text\":\"\"}");
    BODY("hello", "{\"$text\":\"hello\"}");
    BODY("two\nlines", "{\"$text\":\"two\\nlines\"}");
    BODY("\x00\xff", "{\"$hex\":\"00ff\"}");
    READABLE("hello", "hello");
    READABLE("\x1b[31mred", "0x1b5b33316d726564");
    READABLE("\x81\xa1q\x07", "{\"q\":7}");
    READABLE("two\nlines", "two\\nlines");
}

/* C1 control characters are UTF-8, and some terminals obey them. */
static void test_nothing_reaches_the_terminal(void **state)
{
    (void)state;
    expect(cli_render_safe, "a\x1b[2J", 5, "a\\x1b[2J");
    expect(cli_render_safe, "\xc2\x9b" "2J", 4, "\\x9b2J");
    expect(cli_render_safe, "\xc3\xa9", 2, "\xc3\xa9");
    expect(cli_render_safe, "\xff", 1, "\\xff");
    READABLE("\xa3\xc2\x9b" "A", "\"\\x9bA\"");
}

static void test_lies(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t      len;
    } lies[] = {
        { "\xdd\xff\xff\xff\xff", 5 },         /* 2^32 elements */
        { "\xdf\xff\xff\xff\xff", 5 },         /* 2^32 pairs */
        { "\xdf\x80\x00\x00\x00\x01", 6 },
        { "\xc6\xff\xff\xff\xff", 5 },         /* 4 GiB of binary */
        { "\xdb\x00\x00\x00\x02" "a", 6 },     /* one byte short */
        { "\xc9\xff\xff\xff\xff\x01", 6 },
        { "\xc1", 1 },                         /* never used */
        { "\x91", 1 },
        { "\x81\xa1" "a", 3 },                 /* a key without a value */
        { "\xcf\x00", 2 },
        { "\x01\x02", 2 },                     /* two values */
        { "\x92\xdc\xff\xff\x01", 5 },
        { "", 0 },
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        /* on the heap and not one byte longer, so that a sanitizer sees a step too far */
        size_t len = lies[i].len;
        uint8_t *bytes = malloc(len == 0 ? 1 : len);
        cli_buffer out = { 0 };
        assert_non_null(bytes);
        memcpy(bytes, lies[i].bytes, len);
        if (cli_msgpack_valid(hf_view(bytes, len)))
            fail_msg("lie %zu was believed", i);
        assert_false(cli_render_json(&out, hf_view(bytes, len)));
        assert_int_equal(out.len, 0);
        cli_value value;
        assert_false(cli_field(hf_view(bytes, len), "a", &value));
        cli_buffer_free(&out);
        free(bytes);
    }
}

static void test_depth(void **state)
{
    (void)state;
    uint8_t deep[CLI_DEPTH_MAX + 2];
    memset(deep, 0x91, sizeof deep);
    deep[CLI_DEPTH_MAX] = 0x01;
    assert_true(cli_msgpack_valid(hf_view(deep, CLI_DEPTH_MAX + 1)));
    deep[CLI_DEPTH_MAX] = 0x91;
    deep[CLI_DEPTH_MAX + 1] = 0x01;
    assert_false(cli_msgpack_valid(hf_view(deep, CLI_DEPTH_MAX + 2)));
}

/* Whatever the bytes, nothing is read beyond them and what was shown as msgpack
 * is valid. Seeded: the same bytes each time. */
static void test_noise(void **state)
{
    (void)state;
    uint64_t seed = 88172645463325252U;
    size_t valid = 0;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes[i] = (uint8_t)(seed >> 32);
        }
        size_t len = seed % sizeof bytes;
        cli_buffer out = { 0 };
        cli_render_readable(&out, hf_view(bytes, len));
        for (size_t i = 0; i < out.len; i++)
            assert_true(out.data[i] >= 0x20 && out.data[i] != 0x7f);
        valid += cli_msgpack_valid(hf_view(bytes, len));
        cli_buffer_free(&out);
    }
    assert_true(valid > 100); /* or the loop saw nothing */
}

static void test_rows(void **state)
{
    (void)state;
    cli_buffer row = { 0 }, out = { 0 };
    cli_pack_map(&row, 4);
    cli_pack_text(&row, "sent");
    cli_pack_uint(&row, UINT64_C(1772360430456));
    cli_pack_text(&row, "body");
    cli_pack_bin(&row, hf_str("\x81\xa1q\x07"));
    cli_pack_text(&row, "state");
    cli_pack_uint(&row, 3);
    cli_pack_text(&row, "steps");
    cli_pack_array(&row, 1);
    cli_pack_map(&row, 1);
    cli_pack_text(&row, "result");
    cli_pack_bin(&row, hf_str("paid"));
    assert_true(cli_render_row(&out, cli_buffer_bytes(&row)));
    cli_buffer_byte(&out, 0);
    assert_string_equal((const char *)out.data,
                        "{\"sent\":\"2026-03-01T10:20:30.456Z\",\"body\":{\"q\":7},\"state\":3,"
                        "\"steps\":[{\"result\":{\"$text\":\"paid\"}}]}");
    assert_int_equal(cli_field_uint(cli_buffer_bytes(&row), "state"), 3);
    assert_int_equal(cli_field_uint(cli_buffer_bytes(&row), "nothing"), 0);
    cli_buffer_free(&row);
    cli_buffer_free(&out);
}

static void test_times(void **state)
{
    (void)state;
    char text[CLI_TIME_ROOM];
    uint64_t ms = 0;
    assert_true(cli_time_iso(text, 0));
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    assert_true(cli_time_iso(text, UINT64_C(253402300799999)));
    assert_false(cli_time_iso(text, UINT64_MAX));
    cli_time_relative(text, 1000, 1000);
    assert_string_equal(text, "now");
    cli_time_relative(text, 0, 3 * 3600000 + 5);
    assert_string_equal(text, "3h ago");
    cli_time_relative(text, 5500, 0);
    assert_string_equal(text, "in 5s");
    assert_true(cli_time_duration("1h30m", 1000, &ms));
    assert_int_equal(ms, 5400000);
    assert_true(cli_time_duration("250ms", 1000, &ms));
    assert_int_equal(ms, 250);
    assert_true(cli_time_duration("5", 1000, &ms));
    assert_int_equal(ms, 5000);
    assert_false(cli_time_duration("", 1000, &ms));
    assert_false(cli_time_duration("1h5", 1000, &ms));
    assert_false(cli_time_duration("-5s", 1000, &ms));
    assert_false(cli_time_duration("99999999999999999999s", 1000, &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_containers),
        cmocka_unit_test(test_not_msgpack), cmocka_unit_test(test_nothing_reaches_the_terminal),
        cmocka_unit_test(test_lies),       cmocka_unit_test(test_depth),
        cmocka_unit_test(test_noise),      cmocka_unit_test(test_rows),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
