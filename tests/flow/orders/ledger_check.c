/* ledger_check.c - does the ledger balance? Looks from outside, by SQL.
 *
 *     ledger_check LEDGER ORDERS.ndjson
 *
 * For every order of the file it works out the total to the cent from the
 * catalogue, and then wants one of three:
 *   paid    one order, paid; one open invoice over the total; one payment of
 *           the total for that invoice, not refunded; what was refunded before
 *           a requeue is balanced; all four notifications once each
 *   undone  every order row cancelled, no open invoice, every payment refunded,
 *           the customer told
 *   dead    nothing of it anywhere
 * Prints {"paid":..,"dead":..,"undone":..}; says on stderr what is wrong with
 * which order, and exits with 1 if anything is. */
#include "examples/orders/command.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

static sqlite3 *db;
static unsigned paid, dead, undone, wrong;

static void complain(const char *order, const char *what)
{
    fprintf(stderr, "%s: %s\n", order, what);
    wrong++;
}

/* The first number of the first row of a query with up to two texts. */
static int64_t ask(const char *sql, const char *one, const char *two)
{
    sqlite3_stmt *statement;
    int64_t value = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL)) {
        fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
        exit(1);
    }
    if (sqlite3_bind_parameter_count(statement) >= 1)
        sqlite3_bind_text(statement, 1, one, -1, SQLITE_STATIC);
    if (sqlite3_bind_parameter_count(statement) >= 2)
        sqlite3_bind_text(statement, 2, two, -1, SQLITE_STATIC);
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    else if (rc != SQLITE_DONE)
        complain("ledger", sqlite3_errmsg(db));
    sqlite3_finalize(statement);
    return value;
}

/* -1: something in it is not in the catalogue. */
static int64_t total_of(const place_order *command)
{
    int64_t sum = 0, percent = 0, off = 0;

    for (uint32_t i = 0; i < command->count; i++) {
        int64_t price = ask("select price from catalogue where kind = 'product' and id = ?1",
                            command->items[i].id, NULL);
        if (price < 0)
            return -1;
        sum += price * command->items[i].qty;
    }
    if (*command->promo) {
        percent = ask("select percent from catalogue where kind = 'promotion' and id = ?1",
                      command->promo, NULL);
        off = ask("select price from catalogue where kind = 'promotion' and id = ?1",
                  command->promo, NULL);
        if (percent < 0)
            return -1;
    }
    off += sum * percent / 100;
    return off > sum ? 0 : sum - off;
}

/* What the books say of one order. */
struct books {
    int64_t fresh, paid, cancelled;             /* rows of orders */
    int64_t open, void_;                        /* of invoices */
    int64_t kept, refunded, net;                /* of payments */
    int64_t told_merchant, told_customer, told_cancelled;
};

static struct books read_books(const char *order)
{
    return (struct books){
        ask("select count(*) from orders where order_id = ?1 and state = 'new'", order, NULL),
        ask("select count(*) from orders where order_id = ?1 and state = 'paid'", order, NULL),
        ask("select count(*) from orders where order_id = ?1 and state = 'cancelled'", order,
            NULL),
        ask("select count(*) from invoices where order_id = ?1 and state = 'open'", order, NULL),
        ask("select count(*) from invoices where order_id = ?1 and state = 'void'", order, NULL),
        ask("select count(*) from payments p where order_id = ?1 and refund_of is null and not"
            " exists (select 1 from payments r where r.refund_of = p.key and r.amount = -p.amount)",
            order, NULL),
        ask("select count(*) from payments where order_id = ?1 and refund_of is not null", order,
            NULL),
        ask("select ifnull(sum(amount), 0) from payments where order_id = ?1", order, NULL),
        ask("select count(*) from notifications where order_id = ?1 and who = 'merchant'", order,
            NULL),
        ask("select count(*) from notifications where order_id = ?1 and who = 'customer' and text"
            " not like '%costs nothing%'", order, NULL),
        ask("select count(*) from notifications where order_id = ?1 and who = 'customer' and text"
            " like '%costs nothing%'", order, NULL),
    };
}

static void check_paid(const char *order, const struct books *books, int64_t total)
{
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)total);
    if (books->paid != 1 || books->fresh)
        complain(order, "not exactly one order that is paid");
    if (books->open != 1)
        complain(order, "not exactly one open invoice");
    if (books->kept != 1)
        complain(order, "not exactly one payment");
    if (books->net != total)
        complain(order, "what was paid is not the total");
    if (ask("select count(*) from orders where order_id = ?1 and state = 'paid' and total = ?2",
            order, text) != 1)
        complain(order, "the order's total is wrong");
    if (ask("select count(*) from invoices i join payments p on p.invoice_id = printf('INV-%06d',"
            " i.rowid) and p.order_id = i.order_id and p.amount = i.total where i.order_id = ?1"
            " and i.state = 'open' and i.total = ?2", order, text) != 1)
        complain(order, "invoice and payment are not over the total");
    if (books->cancelled == 0
        && (books->void_ || books->refunded || books->told_cancelled || books->told_merchant != 2
            || books->told_customer != 2))
        complain(order, "something was undone, or not told exactly once");
    if (ask("select count(*) from order_book where order_id = ?1 and status = 'paid'", order,
            NULL) != 1)
        complain(order, "paid, but the order book says otherwise");
    paid++;
}

static void check_undone(const char *order, const struct books *books)
{
    if (books->fresh || books->open)
        complain(order, "neither paid nor undone: it is still open");
    if (books->kept || books->net)
        complain(order, "a payment without refund");
    if (books->cancelled == 0)
        complain(order, "something happened, but no order was cancelled");
    if (books->told_cancelled == 0)
        complain(order, "the customer was not told that it was cancelled");
    if (ask("select count(*) from order_book where order_id = ?1 and status = 'dead'", order,
            NULL) != 1)
        complain(order, "undone, but the order book says otherwise");
    undone++;
}

static unsigned check_book(const char *order)
{
    if (ask("select count(*) from order_book where order_id = ?1 and status <> 'dead'", order,
            NULL) != 0)
        complain(order, "dead, but the order book says otherwise");
    return 1;
}

static void check_order(const place_order *command)
{
    struct books books = read_books(command->order);
    int64_t total = total_of(command);

    if (books.paid)
        check_paid(command->order, &books, total);
    else if (books.fresh || books.cancelled || books.open || books.void_ || books.kept
             || books.refunded || books.told_merchant || books.told_customer
             || books.told_cancelled)
        check_undone(command->order, &books);
    else
        dead += check_book(command->order);
}

static void check_all(FILE *file)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    place_order command;
    char why[WHY_SIZE];

    ask("create temp table expected (order_id text primary key)", NULL, NULL);
    while ((len = getline(&line, &size, file)) > 0) {
        if (command_parse(line, (size_t)len, &command, why))
            continue;
        ask("insert or ignore into expected values (?1)", command.order, NULL);
        if (sqlite3_changes(db) == 1) /* the first of this number counts */
            check_order(&command);
    }
    free(line);
}

static void check_whole(void)
{
    if (ask("select count(*) from pragma_integrity_check where integrity_check <> 'ok'", NULL,
            NULL) != 0)
        complain("ledger", "SQLite's integrity check fails");
    if (ask("select count(*) from (select order_id from orders union select order_id from invoices"
            " union select order_id from payments union select order_id from notifications) where"
            " order_id not in (select order_id from expected)", NULL, NULL) != 0)
        complain("ledger", "orders that nobody placed");
    if (ask("select count(*) from order_book where order_id not in (select order_id from expected)",
            NULL, NULL) != 0)
        complain("order book", "orders that nobody placed");
    if (ask("select (select ifnull(sum(amount), 0) from payments) - (select ifnull(sum(total), 0)"
            " from orders where state = 'paid')", NULL, NULL) != 0)
        complain("ledger", "payments and paid orders do not balance");
}

int main(int argc, char **argv)
{
    FILE *file;

    if (argc != 3) {
        fprintf(stderr, "usage: ledger_check LEDGER ORDERS.ndjson\n");
        return 2;
    }
    file = fopen(argv[2], "r");
    if (!file || sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE, NULL)) {
        fprintf(stderr, "ledger_check: cannot open %s\n", file ? argv[1] : argv[2]);
        return 1;
    }
    sqlite3_busy_timeout(db, 10000);
    check_all(file);
    check_whole();
    printf("{\"paid\":%u,\"dead\":%u,\"undone\":%u}\n", paid, dead, undone);
    fclose(file);
    sqlite3_close(db);
    return wrong ? 1 : 0;
}
