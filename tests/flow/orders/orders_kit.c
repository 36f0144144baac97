/* orders_kit.c - the orders on the test kit: an order whose payment fails for hours is
 * undone, one whose payment service comes back in time is paid, and both are, to the cent,
 * whatever commit the machine stops at. The ledger is another machine: it never stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "examples/orders/command.h"
#include "examples/orders/order.h"
#include "examples/orders/shop.h"
#include "examples/orders/tally.h"

#include "engine/holdfast_test.h"

enum { MINUTE = 60 * 1000, HOUR = 60 * MINUTE, TOTAL = 2 * 690 };

static hf_test   *test;
static order_shop shop;
static char       folder[64], path[96];

static void ok_at(int err, const char *what, int line)
{
    if (err)
        fail_msg("line %d: %s: %s (%s)", line, what, hf_strerror(err), hf_detail());
}
#define ok(call) ok_at(call, #call, __LINE__)

static void open_shop(void)
{
    char why[LEDGER_WHY];
    const hf_type types[] = {
        { .name = "order", .handle = order_handle, .undo = order_undo, .failed = order_failed,
          .threads = 2, .tries = 4, .retry_ms = HOUR, .retry_ms_max = HOUR, .user = &shop },
        { .name = "tally", .handle = tally_handle, .user = &shop },
        { 0 },
    };

    (void)snprintf(folder, sizeof folder, "/tmp/orders-kit-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/ledger.db", folder);
    memset(&shop, 0, sizeof shop);
    pthread_mutex_init(&shop.lock, NULL);
    shop.services.times = floor_open();
    assert_non_null(shop.services.times);
    if (!ledger_open(&shop.services.books, path, why))
        fail_msg("%s", why);
    ok(hf_test_open(&test, HF_OPTIONS(.types = types, .shards = 2)));
}

/* Also after a test that failed. */
static int close_shop(void **state)
{
    char command[128];

    (void)state;
    int err = hf_test_close(test);
    test = NULL;
    if (shop.services.books) {
        ledger_close(shop.services.books);
        floor_close(shop.services.times);
        pthread_mutex_destroy(&shop.lock);
        (void)snprintf(command, sizeof command, "rm -rf %s", folder);
        err = system(command) ? 1 : err;
    }
    memset(&shop, 0, sizeof shop);
    return err;
}

/* Told until it is known to be there: the order knows what it was told before. */
static void place(void)
{
    static const char line[] =
        "{\"order\":\"O1\",\"customer\":\"CUST-001\",\"merchant\":\"MRCN-002\","
        "\"payment\":\"CARD-1\",\"items\":[{\"id\":\"IT-005\",\"qty\":2}]}";
    place_order command;
    char why[WHY_SIZE];
    msgpack_sbuffer bytes;
    msgpack_packer packer;
    int err;

    assert_int_equal(command_parse(line, strlen(line), &command, why), 0);
    msgpack_sbuffer_init(&bytes);
    msgpack_packer_init(&packer, &bytes, msgpack_sbuffer_write);
    command_pack(&packer, &command);
    while ((err = hf_tell(hf_test_engine(test), "order/O1", "place",
                          hf_view(bytes.data, bytes.size))) == HF_EUNKNOWN)
        ok(hf_test_run(test));
    msgpack_sbuffer_destroy(&bytes);
    ok(err);
}

static int64_t ask_ledger(const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return value;
}

static void balances(bool paid)
{
    assert_int_equal(ask_ledger("select count(*) from orders where state = 'paid'"), paid);
    assert_int_equal(ask_ledger("select count(*) from orders where state = 'new'"), 0);
    assert_int_equal(ask_ledger("select count(*) from invoices where state = 'open'"), paid);
    assert_int_equal(ask_ledger("select coalesce(sum(amount), 0) from payments"),
                     paid ? TOTAL : 0);
    assert_int_equal(ask_ledger("select count(*) from payments"), paid);
    assert_int_equal(ask_ledger("select count(*) from notifications where text like '%is paid%'"),
                     paid ? 2 : 0);
    assert_int_equal(ask_ledger(
                         "select count(*) from notifications where text like '%costs nothing%'"),
                     paid ? 0 : 1);
    ok(hf_tell(hf_test_engine(test), TALLY_ACTOR, "report", hf_str("")));
    ok(hf_test_run(test));
    assert_true(shop.reported);
    assert_int_equal(shop.tally.paid, paid);
    assert_int_equal(shop.tally.dead, !paid);
}

/* Tries at 0, 1, 2 and 3 hours; then it is undone, which needs the payment service, too. */
static bool ends_well(bool paid, uint32_t commit, hf_test_moment moment)
{
    open_shop();
    ok(hf_test_run(test));
    ok(hf_test_crash_at(test, commit, moment));
    shop.services.down[SERVICE_PAYMENT] = true;
    place();
    ok(hf_test_advance(test, (paid ? 2 : 4) * HOUR + MINUTE));
    assert_int_equal(ask_ledger("select count(*) from invoices where state = 'open'"), 1);
    assert_int_equal(ask_ledger("select count(*) from payments"), 0);
    shop.services.down[SERVICE_PAYMENT] = false;
    ok(hf_test_advance(test, 12 * HOUR));
    bool crashed = hf_test_crashes(test) > 0;
    ok(hf_test_crash_at(test, 0, moment));
    balances(paid);
    assert_int_equal(close_shop(NULL), 0);
    return crashed;
}

static void at_every_commit(bool paid)
{
    assert_false(ends_well(paid, 0, HF_TEST_BEFORE));
    for (int moment = HF_TEST_BEFORE; moment <= HF_TEST_AFTER; moment++) {
        uint32_t commit = 1;
        while (commit < 200 && ends_well(paid, commit, (hf_test_moment)moment))
            commit++;
        print_message("%u commits\n", commit - 1);
        assert_in_range(commit, 15, 199);
    }
}

static void an_order_that_can_not_be_paid_is_undone(void **state)
{
    (void)state;
    at_every_commit(false);
}

static void an_order_is_paid_once_its_payment_works_again(void **state)
{
    (void)state;
    at_every_commit(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_order_that_can_not_be_paid_is_undone, close_shop),
        cmocka_unit_test_teardown(an_order_is_paid_once_its_payment_works_again, close_shop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
