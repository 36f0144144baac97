/* test_cli_json.c - JSON to msgpack and back without loss. */
#include "tools/json.h"
#include "tools/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* JSON that must come back exactly as it went in. */
static void test_round(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null", "true", "0", "-1", "18446744073709551615", "-9223372036854775808", "1.5", "0.1",
        "1e+300", "\"\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"", "[]", "{}", "[[],[[]],{}]",
        "{\"a\":1,\"b\":[true,null,{\"c\":\"d\"}]}", "{\"$bin\":\"AAEC\"}", "{\"$bin\":\"\"}",
        "[{\"$ext\":[-3,\"AAAA\"]},{\"$ext\":[5,\"\"]}]", "{\"$str\":\"/w==\"}",
        "{\"$float\":\"-inf\"}", "{\"$map\":[[1,2],[[],{\"$bin\":\"AA==\"}]]}",
        "{\"$map\":[[\"$bin\",1]]}", "{\"$bin\":1,\"a\":2}", "{\"$text\":\"hello\"}",
        "{\"$hex\":\"00ff\"}",
        "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,[1,2]]",
        ("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,\"i\":9,\"j\":10,"
         "\"k\":11,\"l\":12,\"m\":13,\"n\":14,\"o\":15,\"p\":16}"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        cli_buffer bytes = { 0 }, again = { 0 };
        size_t at = 0;
        const char *why = "";
        if (!cli_json_body(&bytes, hf_str(texts[i]), &at, &why))
            fail_msg("%s: byte %zu: %s", texts[i], at, why);
        cli_render_body(&again, cli_buffer_bytes(&bytes));
        cli_buffer_byte(&again, 0);
        assert_string_equal((const char *)again.data, texts[i]);
        cli_buffer_free(&bytes);
        cli_buffer_free(&again);
    }
}

static void expect(const char *json, const char *bytes, size_t len)
{
    cli_buffer out = { 0 };
    size_t at;
    const char *why;
    assert_true(cli_json_pack(&out, hf_str(json), &at, &why));
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data, bytes, len);
    cli_buffer_free(&out);
}

static void test_bytes(void **state)
{
    (void)state;
    expect(" [ 1 , \"a\" ] ", "\x92\x01\xa1" "a", 4);
    expect("\"\\u00e9\\ud83d\\ude00\\n\\/\"", "\xa8\xc3\xa9\xf0\x9f\x98\x80\n/", 9);
    expect("-32", "\xe0", 1);
    expect("-33", "\xd0\xdf", 2);
    expect("256", "\xcd\x01\x00", 3);
    expect("1e0", "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", 9);
    expect("{\"$bin\":\"AAE=\"}", "\xc4\x02\x00\x01", 4);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t      at;
    } bad[] = {
        { "", 0 },
        { "  ", 2 },
        { "[1,}", 3 },
        { "[1 2]", 3 },
        { "{\"a\":1,}", 7 },
        { "{\"a\" 1}", 5 },
        { "{a:1}", 1 },
        { "[1]]", 3 },
        { "01", 0 },
        { "1.", 0 },
        { "+1", 0 },
        { "nul", 0 },
        { "18446744073709551616", 0 },
        { "-9223372036854775809", 0 },
        { "1e999", 0 },
        { "\"a", 0 },
        { "\"\\x\"", 2 },
        { "\"\\ud800\"", 7 },
        { "\"\\udc00\"", 3 },
        { "\"a\nb\"", 2 },
        { "\"\xff\"", 0 },
        { "{\"$bin\":\"AAE\"}", 0 },
        { "{\"$bin\":\"AAF=\"}", 0 }, /* bits left over */
        { "{\"$ext\":[300,\"\"]}", 0 },
        { "{\"$other\":1}", 0 },
        { "[{\"$text\":\"inside\"}]", 1 },
        { "{\"$text\":1}", 9 },
        { "{\"$text\":\"a\"} 1", 14 },
        { "[", 1 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cli_buffer out = { 0 };
        size_t at = 99;
        const char *why = NULL;
        cli_buffer_byte(&out, 0x2a);
        if (cli_json_body(&out, hf_str(bad[i].json), &at, &why))
            fail_msg("taken: %s", bad[i].json);
        if (at != bad[i].at)
            fail_msg("%s: byte %zu, not %zu (%s)", bad[i].json, at, bad[i].at, why);
        assert_non_null(why);
        assert_int_equal(out.len, 1); /* as it was */
        cli_buffer_free(&out);
    }
}

static void test_depth(void **state)
{
    (void)state;
    char deep[2 * CLI_DEPTH_MAX + 3];
    cli_buffer out = { 0 };
    size_t at;
    const char *why;
    memset(deep, '[', CLI_DEPTH_MAX);
    memset(deep + CLI_DEPTH_MAX, ']', CLI_DEPTH_MAX);
    assert_true(cli_json_pack(&out, hf_view(deep, 2 * CLI_DEPTH_MAX), &at, &why));
    memset(deep, '[', CLI_DEPTH_MAX + 1);
    memset(deep + CLI_DEPTH_MAX + 1, ']', CLI_DEPTH_MAX + 1);
    assert_false(cli_json_pack(&out, hf_view(deep, 2 * CLI_DEPTH_MAX + 2), &at, &why));
    assert_int_equal(at, CLI_DEPTH_MAX);
    cli_buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
