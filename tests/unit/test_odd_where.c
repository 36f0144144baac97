/* test_odd_where.c - selections at the limits of what they may say, and bodies of every
 * kind that msgpack knows, and some that it does not. */
#include "tests/support/core.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/where.h"

#include "storage/clock.h"
#include "storage/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char text[20000];

static void is_refused(const char *where, size_t column, const char *words)
{
    size_t at = 77777;
    hf_where *made = NULL;
    assert_int_equal(hf_where_parse(&made, where, &at), HF_EINVAL);
    assert_null(made);
    assert_int_equal(hf_where_check(where, NULL), HF_EINVAL);
    if (!strstr(hf_error_detail(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, hf_error_detail());
    if (at != column)
        fail_msg("%.60s: at %zu, not %zu", where, at, column);
}

static void is_fine(const char *where)
{
    hf_where *made = NULL;
    if (hf_where_parse(&made, where, NULL))
        fail_msg("%.60s: %s", where, hf_error_detail());
    hf_where_free(made);
}

/* `first`, then so many of `more`, then `last`. */
static const char *many(const char *first, size_t count, const char *more, const char *last)
{
    size_t at = (size_t)snprintf(text, sizeof text, "%s", first);
    for (size_t i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s", more);
    (void)snprintf(text + at, sizeof text - at, "%s", last);
    return text;
}

/* ---- Limits */

static void test_limits(void **state)
{
    (void)state;
    is_fine(many("id in (0", 255, ",1", ")"));
    is_refused(many("id in (0", 256, ",1", ")"), 519, "more than 256 values");
    is_fine(many("", 16, "(", "id=1))))))))))))))))"));
    is_refused(many("", 17, "(", "id=1)))))))))))))))))"), 16, "more than 16 brackets");
    is_fine(many("", 16, "not ", "id=1"));
    is_refused(many("", 17, "not ", "id=1"), 64, "more than 16 brackets");
    is_fine(many("not not not id=1", 24, " and not not not id=1", ""));
    is_refused(many("not not not id=1", 25, " and not not not id=1", ""), 540, "too long");
    is_refused(many("id=1", 32, " or id=1", ""), 256, "32");
    is_fine(many("body.", 100, "x", "=1"));
    is_refused(many("body.", 101, "x", "=1"), 106, "too long");
    is_fine("body[999999999]=1");
    is_refused("body[9999999999]=1", 15, "too long");
    is_refused("body[]=1", 5, "missing here");
    is_refused("body[1=1", 6, "']'");
}

static void test_times_that_are_none(void **state)
{
    static const char *const none[] = {
        "1969-12-31", "2026-00-01", "2026-13-01", "2026-01-00", "2026-01-32",
        "2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "2026-01-01T23:59:60Z",
        "2026-01-01T23:59:59.1234Z", "2026-01-01T23:59:59", "2026-01-01T23:59:59Zx",
    };
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        (void)snprintf(text, sizeof text, "sent = '%s'", none[i]);
        is_refused(text, 7, "a time is");
    }
    is_fine("sent = '2026-01-01T23:59:59.123Z'");
    is_fine("age > 4294967295ms");
    is_refused("age > 4294967296ms", 6, "an age is");
    is_refused("age > 5", 6, "an age is");
    is_refused("age > ''", 6, "an age is");
}

static void test_contains(void **state)
{
    static const char *const fields[] = { "type", "actor", "kind", "error", "from", "body.a" };
    static const char *const numbers[] = { "id", "attempts", "died", "age", "status" };
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        (void)snprintf(text, sizeof text, "%s ~ 'x'", fields[i]);
        is_fine(text);
    }
    for (size_t i = 0; i < 5; i++) {
        (void)snprintf(text, sizeof text, "%s ~ 'x'", numbers[i]);
        hf_where *made = NULL;
        assert_int_equal(hf_where_parse(&made, text, NULL), HF_EINVAL);
    }
}

/* ---- Messages */

static hf_message message(const void *body, size_t len)
{
    return (hf_message){ .id = 5, .key = "", .to = "order/1", .from = "", .kind = "",
                         .error = "", .body = hf_view(body, len), .sent = 1000 };
}

static void takes(const char *where, const hf_message *msg, bool does)
{
    hf_where *made = NULL;
    if (hf_where_parse(&made, where, NULL))
        fail_msg("%s: %s", where, hf_error_detail());
    if (hf_where_match(made, msg, 0) != does)
        fail_msg("%s: %s", where, does ? "not taken" : "taken");
    hf_where_free(made);
}

#define BODY(bytes) message(bytes, sizeof bytes - 1)

static void test_values_of_bodies(void **state)
{
    static const struct {
        const char *bytes;
        size_t      len;
        const char *is, *is_not;
    } of[] = {
        { "\x81\xa1" "a\xc4\x03" "bin", 8, "body.a = bin", "body.a ~ z" },
        { "\x81\xa1" "a\xc3", 4, "body.a = true", "body.a = false" },
        { "\x81\xa1" "a\xc2", 4, "body.a = false", "body.a = true" },
        { "\x81\xa1" "a\xc0", 4, "body.a = null", "body.a = ''" },
        { "\x81\xa1" "a\xca\x3f\xc0\0\0", 8, "body.a = 1.5", "body.a > 1.5" },
        { "\x81\xa1" "a\xcb\xbf\xf8\0\0\0\0\0\0", 12, "body.a = -1.5", "body.a >= 0" },
        { "\x81\xa1" "a\xca\x7f\xc0\0\0", 8, "body.a != 1", "body.a < 1" }, /* no number */
        { "\x81\xa1" "a\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 12,
          "body.a = 18446744073709551615", "body.a = 18446744073709551614" },
        { "\x81\xa1" "a\xff", 4, "body.a = -1", "body.a = 1" },
        { "\x81\xa1" "a\x90", 4, "body.a != x", "body.a = x" }, /* a list is no value */
        { "\x81\xa1" "a\x05", 4, "body.a != ''", "body.a = ''" },
        { "\x81\xa1" "a\x05", 4, "body.a != '5x'", "body.a = '0x5'" },
        { "\x82\x05\x06\xa1" "a\x01", 6, "body.a = 1", "body.b = 1" },   /* a number's key */
        { "\x82\xa1" "b\x06\xa1" "a\x01", 7, "body.a = 1", "body.ab = 1" },
        { "\x82\xa2" "ab\x06\xa1" "a\x01", 8, "body.a = 1", "body.a = 6" },
        { "\x81\xa1" "b\x91\x81\xa1" "a\x07", 8, "body.b[0].a = 7", "body.b[1].a = 7" },
        { "\x92\x91\x01\x07", 4, "body[1] = 7", "body[2] = 7" },
        { "\x92\x91\x01\x07", 4, "body[0][0] = 1", "body.a = 1" },
        { "\x81\xa1" "b\x07", 4, "body.a != 7", "body[0] = 7" },
        { "", 0, "body.a != 7", "body.a = 7" },
        { "\x81\xa1", 2, "body.a != 7", "body.a = 7" }, /* cut short */
        { "\xc1", 1, "body.a != 7", "body[0] = 7" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        hf_message msg = message(of[i].bytes, of[i].len);
        takes(of[i].is, &msg, true);
        takes(of[i].is_not, &msg, false);
    }
    hf_message number = BODY("\x81\xa1" "a\x05");
    takes(many("body.a != '", 64, "1", "'"), &number, true); /* longer than any number */
    takes(many("body.a < '", 60, "9", "'"), &number, true);
}

static void test_texts(void **state)
{
    hf_message msg = BODY("");
    (void)state;
    takes("kind ~ ''", &msg, true);
    takes("kind ~ 'a'", &msg, false);
    takes("actor ~ 'r/1'", &msg, true);
    takes("actor ~ 'r/2'", &msg, false);
    takes("kind = ''", &msg, true);
    takes("kind < 'a'", &msg, true);
    takes("type = order", &msg, true);
    msg.sent = hf_clock_wall_ms() + 3600000; /* the clock was set since */
    takes("age = 0s", &msg, true);
    takes("age > 0s", &msg, false);
}

/* ---- What a scan may make use of */

static hf_where *parsed(const char *where)
{
    hf_where *made = NULL;
    CORE_OK(hf_where_parse(&made, where, NULL));
    return made;
}

static void test_asks(void **state)
{
    (void)state;
    hf_where *where = parsed("type = a and strikes > 1");
    assert_true(hf_where_asks(where, HF_BY_STRIKES));
    assert_true(hf_where_asks(where, HF_BY_TYPE));
    assert_false(hf_where_asks(where, HF_BY_KIND));
    assert_false(hf_where_asks(NULL, HF_BY_TYPE));
    hf_message msg = BODY("");
    assert_false(hf_where_match_struck(where, &msg, 0, 2));
    msg.to = "a/1";
    assert_true(hf_where_match_struck(where, &msg, 0, 2));
    assert_false(hf_where_match_struck(where, &msg, 0, 1));
    hf_where_free(where);
}

static void test_fixes(void **state)
{
    static const hf_where_field never[] = { HF_BY_DIED, HF_BY_DUE, HF_BY_SENT, HF_BY_AGE,
                                            HF_BY_BODY };
    uint64_t number = 0;
    hf_bytes value;
    (void)state;
    hf_where *where = parsed("died = 5 and due = 5 and sent = 5 and age = 5s and body.a = 5 "
                             "and id = 7 and type = a and type = b");
    for (size_t i = 0; i < 5; i++)
        assert_false(hf_where_fixes(where, never[i], &value, &number));
    assert_true(hf_where_fixes(where, HF_BY_ID, NULL, &number));
    assert_int_equal(number, 7);
    assert_true(hf_where_fixes(where, HF_BY_TYPE, &value, NULL));
    assert_memory_equal(value.data, "a", 1);
    assert_false(hf_where_fixes(where, HF_BY_ACTOR, &value, NULL));
    assert_false(hf_where_fixes(NULL, HF_BY_ID, NULL, &number));
    hf_where_free(where);
    where = parsed("id != 7 and (attempts = 1 or kind = x) and type in (a, b)");
    assert_false(hf_where_fixes(where, HF_BY_ID, NULL, &number));
    assert_false(hf_where_fixes(where, HF_BY_ATTEMPTS, NULL, &number));
    assert_false(hf_where_fixes(where, HF_BY_TYPE, &value, NULL));
    hf_where_free(where);
}

static void test_plain(void **state)
{
    static const struct {
        const char *where;
        bool        plain;
        hf_status   status;
    } of[] = {
        { "type = a", true, HF_DONE },
        { "status = dead", true, HF_DEAD },
        { "status = waiting and type = a", true, HF_WAITING },
        { "type = a and type = b", false, HF_DONE },
        { "status != dead", false, HF_DONE },
        { "status in (dead, waiting)", false, HF_DONE },
        { "type = a or type = b", false, HF_DONE },
        { "not type = a", false, HF_DONE },
        { "kind = a", false, HF_DONE },
    };
    hf_status status;
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        hf_where *where = parsed(of[i].where);
        assert_true(hf_where_plain(where, &status) == of[i].plain);
        if (of[i].plain)
            assert_int_equal(status, of[i].status);
        hf_where_free(where);
    }
    assert_true(hf_where_plain(NULL, &status));
    assert_int_equal(status, HF_DONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_times_that_are_none),
        cmocka_unit_test(test_contains),         cmocka_unit_test(test_values_of_bodies),
        cmocka_unit_test(test_texts),            cmocka_unit_test(test_asks),
        cmocka_unit_test(test_fixes),            cmocka_unit_test(test_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
