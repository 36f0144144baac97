/* orders_parts.c - the parts of examples/orders that need no engine: lines,
 * commands, the ledger's keys, the services' failures, the floor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "examples/orders/command.h"
#include "examples/orders/services.h"

/* ---- Lines */

#define GOOD "{\"order\":\"ORD-1\",\"customer\":\"CUST-001\",\"merchant\":\"MRCN-001\"," \
             "\"payment\":\"CARD-001\",\"promo\":\"PROM-001\","                           \
             "\"items\":[{\"id\":\"IT-001\",\"qty\":1},{\"qty\":2,\"id\":\"IT-002\"}]}"
#define BASE "\"order\":\"O\",\"customer\":\"C\",\"merchant\":\"M\",\"payment\":\"P\""
#define ITEM "\"items\":[{\"id\":\"I\",\"qty\":1}]"

static void a_line_is_an_order(void **state)
{
    static const char *const good[] = {
        GOOD, "  " GOOD "\t\r", "{" BASE "," ITEM "}", "{" ITEM "," BASE "}",
        "{" BASE ",\"promo\":null," ITEM "}", "{" BASE ",\"promo\":\"\"," ITEM "}",
        "{ \"order\" : \"O\\u00fc\\n\" ,\"customer\":\"C\"}",
    };
    place_order command;
    char why[WHY_SIZE];

    (void)state;
    assert_int_equal(command_parse(GOOD, strlen(GOOD), &command, why), 0);
    assert_string_equal(command.order, "ORD-1");
    assert_string_equal(command.promo, "PROM-001");
    assert_int_equal(command.count, 2);
    assert_string_equal(command.items[1].id, "IT-002");
    assert_int_equal(command.items[1].qty, 2);
    for (size_t i = 0; i + 1 < sizeof good / sizeof *good; i++)
        assert_int_equal(command_parse(good[i], strlen(good[i]), &command, why), 0);
    assert_string_equal(command.promo, "");
    /* JSON as it should be, but no order number with a line feed in it */
    assert_int_equal(command_parse(good[6], strlen(good[6]), &command, why), -1);
    assert_string_equal(why, "\"order\" holds a control character");
}

static void escapes_are_what_they_stand_for(void **state)
{
    static const char line[] = "{\"order\":\"\\u0041\\/\\\"\\\\\\ud83d\\ude00\\u00e9\xc3\xa9\","
                               "\"customer\":\"C\",\"merchant\":\"M\",\"payment\":\"P\"," ITEM "}";
    place_order command;
    char why[WHY_SIZE];

    (void)state;
    assert_int_equal(command_parse(line, strlen(line), &command, why), 0);
    assert_string_equal(command.order, "A/\"\\\xf0\x9f\x98\x80\xc3\xa9\xc3\xa9");
}

static void what_is_no_order_is_refused_with_a_reason(void **state)
{
    static const struct bad {
        const char *line, *why;
    } bad[] = {
        { "", "'{' is missing" },
        { "hello", "'{' is missing" },
        { "[]", "'{' is missing" },
        { "{}", "\"order\" is missing" },
        { "{" BASE "}", "\"items\" is missing" },
        { "{" BASE ",\"items\":[]}", "\"items\" is missing or empty" },
        { "{" BASE ",\"items\":{}}", "'[' is missing" },
        { "{" BASE "," ITEM "} x", "something follows" },
        { "{" BASE "," ITEM "," ITEM "}", "comes twice" },
        { "{" BASE ",\"order\":\"O\"," ITEM "}", "comes twice" },
        { "{" BASE ",\"promos\":\"X\"," ITEM "}", "an order has no \"promos\"" },
        { "{" BASE "," ITEM ",}", "a text in \"\" is wanted" },
        { "{" BASE "," ITEM, "',' is missing" },
        { "{" BASE ",\"items\":[{\"id\":\"I\"}]}", "item I has no qty" },
        { "{" BASE ",\"items\":[{\"id\":\"I\",\"qty\":0}]}", "item I has no qty" },
        { "{" BASE ",\"items\":[{\"qty\":1}]}", "an item has no \"id\"" },
        { "{" BASE ",\"items\":[{\"id\":\"I\",\"qty\":-1}]}", "a whole number is wanted" },
        { "{" BASE ",\"items\":[{\"id\":\"I\",\"qty\":1.5}]}", "a whole number is wanted" },
        { "{" BASE ",\"items\":[{\"id\":\"I\",\"qty\":1e3}]}", "a whole number is wanted" },
        { "{" BASE ",\"items\":[{\"id\":\"I\",\"qty\":01}]}", "a whole number is wanted" },
        { "{" BASE ",\"items\":[{\"id\":\"I\",\"qty\":\"1\"}]}", "a whole number is wanted" },
        { "{" BASE ",\"items\":[{\"id\":\"I\",\"qty\":10001}]}", "number is too large" },
        { "{" BASE ",\"items\":[{\"id\":\"I\",\"qty\":99999999999999999999999}]}", "too large" },
        { "{\"order\":1}", "a text in \"\" is wanted" },
        { "{\"order\":null}", "a text in \"\" is wanted" },
        { "{\"order\":\"O}", "string without an end" },
        { "{\"order\":\"\\x\"}", "unknown escape" },
        { "{\"order\":\"\\u12g4\"}", "four hex digits" },
        { "{\"order\":\"\\u0000\"}", "\\u0000 is not allowed" },
        { "{\"order\":\"\\ud800\"}", "half a surrogate pair" },
        { "{\"order\":\"\\udc00\\ud800\"}", "half a surrogate pair" },
        { "{\"order\":\"\\ud800\\u0041\"}", "half a surrogate pair" },
        { "{\"order\":\"\xff\"}", "damaged UTF-8" },
        { "{\"order\":\"\xc0\xaf\"}", "damaged UTF-8" },
        { "{\"order\":\"\xed\xa0\x80\"}", "damaged UTF-8" },
        { "{\"order\":\"\xf4\x90\x80\x80\"}", "damaged UTF-8" },
        { "{\"order\":\"a\tb\"}", "control character" },
        { "{\"order\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
          "text is too long" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        place_order command;
        char why[WHY_SIZE] = "";
        assert_int_equal(command_parse(bad[i].line, strlen(bad[i].line), &command, why), -1);
        if (!strstr(why, bad[i].why))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].line, why, bad[i].why);
    }
}

/* Every cut and many damages of a good line: judged, and never read beyond
 * their end (run this under the address sanitizer). */
static void damaged_lines_do_no_harm(void **state)
{
    const size_t len = strlen(GOOD);
    uint64_t seed = 7;
    place_order command;
    char why[WHY_SIZE];

    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        char *line = malloc(cut + 1);
        memcpy(line, GOOD, cut);
        assert_int_equal(command_parse(line, cut, &command, why), -1);
        free(line);
    }
    for (int i = 0; i < 200000; i++) {
        char line[sizeof GOOD];
        memcpy(line, GOOD, sizeof line);
        for (int change = 0; change <= i % 3; change++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            line[(seed >> 33) % len] = (char)(seed >> 56);
        }
        if (command_parse(line, len, &command, why) == 0)
            assert_in_range(command.count, 1, ITEMS_MAX);
    }
}

static void a_command_survives_msgpack(void **state)
{
    place_order sent, got;
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    msgpack_unpacked value;
    char why[WHY_SIZE];

    (void)state;
    assert_int_equal(command_parse(GOOD, strlen(GOOD), &sent, why), 0);
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    command_pack(&packer, &sent);
    msgpack_unpacked_init(&value);
    assert_int_equal(msgpack_unpack_next(&value, buffer.data, buffer.size, NULL),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(command_unpack(&value.data, &got, why), 0);
    assert_true(command_equal(&sent, &got));
    got.items[1].qty++;
    assert_false(command_equal(&sent, &got));
    value.data.via.map.size = 3; /* as if the rest were not there */
    assert_int_equal(command_unpack(&value.data, &got, why), -1);
    assert_string_equal(why, "\"payment\" is missing");
    msgpack_unpacked_destroy(&value);
    msgpack_sbuffer_destroy(&buffer);
}

/* ---- The ledger */

static char    ledger_path[] = "orders-parts-XXXXXX";
static ledger *books;

static int open_books(void **state)
{
    char why[LEDGER_WHY];

    (void)state;
    snprintf(ledger_path, sizeof ledger_path, "orders-parts-XXXXXX");
    int fd = mkstemp(ledger_path);
    return fd < 0 || close(fd) || !ledger_open(&books, ledger_path, why);
}

static int close_books(void **state)
{
    char path[sizeof ledger_path + 8];

    (void)state;
    ledger_close(books);
    unlink(ledger_path);
    snprintf(path, sizeof path, "%s-wal", ledger_path);
    unlink(path);
    snprintf(path, sizeof path, "%s-shm", ledger_path);
    unlink(path);
    return 0;
}

static ledger_totals totals(void)
{
    ledger_totals totals = { -1, -1, -1 };
    char why[LEDGER_WHY];

    assert_true(ledger_count(books, &totals, why));
    return totals;
}

static void the_catalogue_is_there_and_stays(void **state)
{
    catalogue_row row;
    char why[LEDGER_WHY];

    (void)state;
    assert_int_equal(ledger_find(books, "product", "IT-001", &row, why), REPLY_OK);
    assert_int_equal(row.price, 8999);
    assert_int_equal(ledger_find(books, "promotion", "PROM-001", &row, why), REPLY_OK);
    assert_int_equal(row.percent, 10);
    assert_int_equal(ledger_find(books, "customer", "CUST-9", &row, why), REPLY_REFUSED);
    assert_string_equal(why, "unknown customer CUST-9");
    assert_int_equal(ledger_find(books, "product", "CUST-001", &row, why), REPLY_REFUSED);
    ledger_close(books);
    assert_true(ledger_open(&books, ledger_path, why));
    assert_int_equal(ledger_find(books, "merchant", "MRCN-004", &row, why), REPLY_OK);
}

static void a_key_is_applied_once(void **state)
{
    const amounts sums = { 1000, 100, 900 }, others = { 1000, 0, 1000 };
    char first[LEDGER_ID], again[LEDGER_ID], why[LEDGER_WHY];

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(ledger_create_order(books, "k1", "O1", "C", "M", 900, why), REPLY_OK);
    assert_int_equal(ledger_create_order(books, "k1", "O1", "C", "M", 901, why), REPLY_REFUSED);
    assert_int_equal(ledger_create_order(books, "k1b", "O1", "C", "M", 900, why), REPLY_REFUSED);
    assert_string_equal(why, "there is such an order already, from somewhere else");
    assert_int_equal(totals().orders, 1);

    assert_int_equal(ledger_create_invoice(books, "k2", "O1", &sums, first, why), REPLY_OK);
    assert_int_equal(ledger_create_invoice(books, "k2", "O1", &sums, again, why), REPLY_OK);
    assert_string_equal(first, again);
    assert_int_equal(ledger_create_invoice(books, "k2", "O1", &others, again, why), REPLY_REFUSED);

    assert_int_equal(ledger_pay(books, "k3", "O1", first, 900, "CARD", first, why), REPLY_OK);
    assert_string_equal(first, "PAY-000001");
    assert_int_equal(ledger_pay(books, "k3", "O1", "INV-000001", 900, "CARD", again, why),
                     REPLY_OK);
    assert_string_equal(first, again);
    assert_int_equal(ledger_pay(books, "k3", "O1", "INV-000001", 901, "CARD", again, why),
                     REPLY_REFUSED);

    assert_int_equal(ledger_flag_paid(books, "k4", "O1", why), REPLY_OK);
    assert_int_equal(ledger_flag_paid(books, "k4", "O1", why), REPLY_OK);
    assert_int_equal(ledger_flag_paid(books, "k4", "O2", why), REPLY_REFUSED);
    assert_int_equal(totals().paid, 1);
    assert_int_equal(totals().undone, 0);
}

static void what_is_undone_stays_undone(void **state)
{
    const amounts sums = { 500, 0, 500 };
    char id[LEDGER_ID], why[LEDGER_WHY];

    (void)state;
    assert_int_equal(ledger_create_order(books, "k1", "O1", "C", "M", 500, why), REPLY_OK);
    assert_int_equal(ledger_create_invoice(books, "k2", "O1", &sums, id, why), REPLY_OK);
    assert_int_equal(ledger_pay(books, "k3", "O1", id, 500, "CARD", id, why), REPLY_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ledger_refund(books, "u3", "k3", why), REPLY_OK);
        assert_int_equal(ledger_void_invoice(books, "u2", "k2", why), REPLY_OK);
        assert_int_equal(ledger_cancel_order(books, "u1", "k1", "O1", why), REPLY_OK);
    }
    assert_int_equal(totals().undone, 1);
    assert_int_equal(ledger_create_invoice(books, "k2", "O1", &sums, id, why), REPLY_REFUSED);
    assert_int_equal(ledger_create_order(books, "k1", "O1", "C", "M", 500, why), REPLY_REFUSED);

    /* Undone before it arrived: it never will. A requeue has new keys. */
    assert_int_equal(ledger_cancel_order(books, "u9", "k9", "O9", why), REPLY_OK);
    assert_int_equal(ledger_create_order(books, "k9", "O9", "C", "M", 500, why), REPLY_REFUSED);
    assert_int_equal(ledger_refund(books, "u8", "never", why), REPLY_OK);
    assert_int_equal(totals().undone, 2);
    assert_int_equal(ledger_create_order(books, "k1.2", "O1", "C", "M", 500, why), REPLY_OK);
    assert_int_equal(totals().undone, 1);
    assert_int_equal(totals().orders, 2);
}

static void a_foreign_file_is_no_ledger(void **state)
{
    ledger *other;
    char why[LEDGER_WHY];
    FILE *file;

    (void)state;
    ledger_close(books);
    books = NULL;
    file = fopen(ledger_path, "w");
    for (int i = 0; i < 200; i++)
        fprintf(file, "this is no database\n");
    fclose(file);
    assert_false(ledger_open(&other, ledger_path, why));
    assert_non_null(strstr(why, "not a database"));
    assert_null(other);
    assert_false(ledger_open(&other, "/nowhere/at/all.db", why));
    assert_non_null(strstr(why, "unable to open"));
}

/* ---- The services */

static void failing_services_still_apply_a_key_once(void **state)
{
    services shop = { .books = books, .times = floor_open(), .fail_rate = 0.6 };
    call via = { .at = &shop, .order = "O1" };
    int lost = 0, unheard = 0;

    (void)state;
    for (int i = 0; i < 200; i++) {
        char key[16];
        reply said;
        snprintf(key, sizeof key, "n%d", i);
        while ((said = customer_notify(&via, key, "C", "hello")) == REPLY_FAILED) {
            lost += strstr(via.why, "was not reached") != NULL;
            unheard += strstr(via.why, "did not answer") != NULL;
        }
        assert_int_equal(said, REPLY_OK);
    }
    assert_true(lost > 30 && unheard > 30);
    shop.fail_rate = 0;
    shop.down[SERVICE_PAYMENT] = true;
    assert_int_equal(payment_refund(&via, "k", "of"), REPLY_FAILED);
    assert_string_equal(via.why, "the payment service is down");
    assert_int_equal(customer_notify(&via, "n0", "C", "hello"), REPLY_OK);
    floor_close(shop.times);
}

static void a_call_takes_its_latency_and_is_measured(void **state)
{
    services shop = { .books = books, .times = floor_open(), .latency_ms = 20 };
    call via = { .at = &shop, .order = "O1" };
    catalogue_row row;

    (void)state;
    assert_int_equal(floor_began(shop.times), 0);
    assert_int_equal(customer_get(&via, "CUST-001", &row), REPLY_OK);
    assert_int_equal(product_get(&via, "IT-9", &row), REPLY_REFUSED);
    assert_true(floor_began(shop.times) > 0);
    assert_true(floor_seconds(shop.times, 20) >= 0.040);
    floor_close(shop.times);
}

/* ---- The floor */

static void the_floor_is_a_list_schedule(void **state)
{
    floor_sums *sums = floor_open();
    char order[16];

    (void)state;
    assert_true(floor_seconds(sums, 3) == 0);
    floor_add(sums, "a", 5, 3000000000u); /* a: 4 s, b: 2 s, c: 3 s, d: 1 s */
    floor_add(sums, "b", 9, 2000000000u);
    floor_add(sums, "a", 3, 1000000000u);
    floor_add(sums, "c", 9, 3000000000u);
    floor_add(sums, "d", 9, 1000000000u);
    assert_int_equal(floor_began(sums), 3);
    assert_true(floor_seconds(sums, 1) == 10);
    assert_true(floor_seconds(sums, 2) == 5); /* a d | b c: a 0-4, d 4-5, b 0-2, c 2-5 */
    assert_true(floor_seconds(sums, 3) == 4); /* a | b d | c */
    assert_true(floor_seconds(sums, 20) == 4);
    floor_close(sums);

    sums = floor_open();
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 5000; i++) { /* the table has to grow */
            snprintf(order, sizeof order, "ORD-%d", i);
            floor_add(sums, order, 1, 500000000u);
        }
    assert_true(floor_seconds(sums, 50) == 100);
    floor_close(sums);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_an_order),
        cmocka_unit_test(escapes_are_what_they_stand_for),
        cmocka_unit_test(what_is_no_order_is_refused_with_a_reason),
        cmocka_unit_test(damaged_lines_do_no_harm),
        cmocka_unit_test(a_command_survives_msgpack),
        cmocka_unit_test_setup_teardown(the_catalogue_is_there_and_stays, open_books, close_books),
        cmocka_unit_test_setup_teardown(a_key_is_applied_once, open_books, close_books),
        cmocka_unit_test_setup_teardown(what_is_undone_stays_undone, open_books, close_books),
        cmocka_unit_test_setup_teardown(a_foreign_file_is_no_ledger, open_books, close_books),
        cmocka_unit_test_setup_teardown(failing_services_still_apply_a_key_once, open_books,
                                        close_books),
        cmocka_unit_test_setup_teardown(a_call_takes_its_latency_and_is_measured, open_books,
                                        close_books),
        cmocka_unit_test(the_floor_is_a_list_schedule),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
