/* test_cli_where.c - selections: what they take, where they complain. */
#include "recovery/holdfast_recovery.h"
#include "recovery/where.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const hf_message order = {
    .id = 4711,
    .to = "order/42/a",
    .from = "shop/1",
    .kind = "place",
    .status = HF_DEAD,
    .attempt = 5,
    .due = UINT64_C(1772360430456), /* 2026-03-01T10:20:30.456Z */
    .error = "payment \"late\"",
    .sent = 1000,
    .body = { "\x84\xa5total\x64\xa1" "a\x81\xa1" "b\x92\xff\xa1" "x\xa2on\xc3\xa4void\xc0", 27 },
};

static bool selects(const char *text, uint64_t died)
{
    hf_where *where = NULL;
    assert_int_equal(hf_where_parse(&where, text, NULL), HF_OK);
    bool match = hf_where_match(where, &order, died);
    hf_where_free(where);
    return match;
}

static void test_selects(void **state)
{
    (void)state;
    static const char *const yes[] = {
        "id = 4711", "id=4711", "type = order", "type='order'", "actor = order/42/a",
        "kind = place", "status = dead", "attempts = 5", "from = shop/1",
        "error = \"payment \\\"late\\\"\"", "error = 'payment \"late\"'",
        "due = 1772360430456", "due = 2026-03-01", "due = 2026-03-01T10:20:30Z",
        "due = 2026-03-01T10:20:30.456Z", "  type = order\tand\n status = dead and id = 4711 ",
        "died = 7", "type != orders", "attempts >= 5", "attempts > 4", "attempts <= 5",
        "attempts < 6", "attempts in (1, 5)", "type in (a,order)", "not type = a",
        "not (type = a or status = held)", "type = a or status = dead", "error ~ late",
        "(type = a or type = order) and (status = dead)", "urgency = 0", "strikes = 0",
        "type = order or type = a and status = held", "sent < 2026-03-01", "age > 1h30m",
        "due > 2026-02-28", "due >= 2026-03-01", "due <= 2026-03-01", "due < 2026-03-02",
        "body.total >= 100", "body.total = 100", "body.total=100.0", "body.a.b[1] = x",
        "body.a.b[0] < 0", "body.on = true", "body.none != 1", "not body.none = 1",
        "body.total in (1,100)", "body.a.b[1] ~ x", "body.void = null",
    };
    static const char *const no[] = {
        "id = 4712", "type = orders", "type = orde", "actor = order/42", "kind = ''",
        "status = waiting", "attempts = 4", "from = ''", "error = payment",
        "due = 2026-03-02", "due = 2026-02-28", "due = 2026-03-01T10:20:31Z",
        "attempts != 5", "attempts > 5", "attempts < 5", "attempts in (1,2)", "not status = dead",
        "type = a or status = held", "(type = a or type = order) and status = held",
        "age < 1h", "sent > 2026-03-01", "due > 2026-03-01", "due < 2026-03-01", "error ~ x",
        "body.total < 100", "body.none = 1", "body.none < 1", "body.a.b[2] = x", "body.a = x",
        "body.total = x", "body[0] = 1", "body.total.x = 1", "not (type = order or type = a)",
        "due = 2026-03-01T10:20:30.457Z", "type = order and status = held", "died = 8",
    };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (!selects(yes[i], 7))
            fail_msg("does not select: %s", yes[i]);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        if (selects(no[i], 7))
            fail_msg("selects: %s", no[i]);
    }
    assert_true(selects(NULL, 0));
    assert_true(hf_where_match(NULL, &order, 0));
    assert_false(selects("died = 0", 0)); /* it did not die */
}

static void test_complains(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t      column;
        const char *says;
    } bad[] = {
        { "", 0, "field" },
        { "   ", 3, "field" },
        { "stat = dead", 0, "'stat'" },
        { "status", 6, "'='" },
        { "status dead", 7, "'='" },
        { "status =", 8, "value" },
        { "status = ", 9, "value" },
        { "status = and", 9, "value" },
        { "status == dead", 8, "quotes" },
        { "attempts = >5", 11, "quotes" },
        { "status = deed", 9, "waiting" },
        { "id = 12x", 5, "number" },
        { "id = 18446744073709551616", 5, "number" },
        { "attempts = 4294967296", 11, "number" },
        { "due = 2026-13-01", 6, "time" },
        { "due = 2026-03-01T10:20:30", 6, "time" },
        { "due = 2026-03-01T10:20:30ZZ", 6, "time" },
        { "error = \"late", 8, "closing" },
        { "error = 'a'b", 11, "space" },
        { "type = a b", 9, "'and'" },
        { "type = a and", 12, "field" },
        { "type = a and and", 13, "'and'" },
        { "type = a andtype = b", 9, "'and'" },
        { "error ! late", 6, "'!='" },
        { "attempts ~ 5", 9, "texts" },
        { "status < dead", 7, "'in'" },
        { "type in a", 8, "'('" },
        { "type in (a b)", 11, "','" },
        { "type in (a,", 11, "value" },
        { "type in (a", 10, "')'" },
        { "(type = a", 9, "')'" },
        { "type = a)", 8, "quotes" },
        { "not", 3, "field" },
        { "type = a or", 11, "field" },
        { "type = a or or", 12, "'or'" },
        { "age > 5", 6, "5m" },
        { "age > 5w", 6, "5m" },
        { "body = 1", 4, "body.NAME" },
        { "body. = 1", 5, "missing" },
        { "body.a[x] = 1", 7, "missing" },
        { "body.a[1 = 1", 8, "']'" },
        { "urgency = high", 10, "number" }, { "strikes = many", 10, "number" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t column = 99;
        if (hf_where_check(bad[i].text, &column) != HF_EINVAL)
            fail_msg("taken: %s", bad[i].text);
        if (column != bad[i].column)
            fail_msg("%s: column %zu, not %zu", bad[i].text, column, bad[i].column);
        if (strstr(hf_detail(), bad[i].says) == NULL)
            fail_msg("%s: detail is: %s", bad[i].text, hf_detail());
    }
}

static void test_number_of_terms(void **state)
{
    (void)state;
    char text[33 * 16] = "";
    for (int i = 0; i < 32; i++)
        strcat(text, i == 0 ? "id = 1" : " and id = 1");
    assert_int_equal(hf_where_check(text, NULL), HF_OK);
    strcat(text, " and id = 1");
    assert_int_equal(hf_where_check(text, NULL), HF_EINVAL);
}

static void test_fixes(void **state)
{
    (void)state;
    hf_where *where = NULL;
    hf_bytes text;
    uint64_t number;
    assert_int_equal(hf_where_parse(&where, "status = dead and type = order and due = 5", NULL),
                     HF_OK);
    assert_true(hf_where_fixes(where, HF_BY_STATUS, NULL, &number));
    assert_int_equal(number, HF_DEAD);
    assert_true(hf_where_fixes(where, HF_BY_TYPE, &text, NULL));
    assert_int_equal(text.len, 5);
    assert_memory_equal(text.data, "order", 5);
    assert_false(hf_where_fixes(where, HF_BY_ACTOR, &text, &number));
    assert_false(hf_where_fixes(where, HF_BY_DUE, &text, &number));
    hf_where_free(where);
    /* Only what nothing can be selected without. */
    static const char *const loose[] = { "type = a or type = b", "not type = a", "type != a",
                                         "type in (a, b)", "type ~ a",
                                         "id = 1 and (type = a or id = 2)" };
    for (size_t i = 0; i < sizeof loose / sizeof *loose; i++) {
        assert_int_equal(hf_where_parse(&where, loose[i], NULL), HF_OK);
        assert_false(hf_where_fixes(where, HF_BY_TYPE, &text, &number));
        hf_where_free(where);
    }
    assert_int_equal(hf_where_parse(&where, "(type in (a)) and not id = 1", NULL), HF_OK);
    assert_true(hf_where_fixes(where, HF_BY_TYPE, &text, &number));
    assert_false(hf_where_fixes(where, HF_BY_ID, &text, &number));
    hf_where_free(where);
    assert_false(hf_where_fixes(NULL, HF_BY_TYPE, &text, &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selects),
        cmocka_unit_test(test_complains),
        cmocka_unit_test(test_number_of_terms),
        cmocka_unit_test(test_fixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
