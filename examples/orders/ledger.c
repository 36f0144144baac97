/* ledger.c - the books of the services, in SQLite.
 *
 * Happy path of a change: one prepared `insert ... on conflict(key) do nothing`
 * or `update ... where ..._key is null`; then the row that has the key is read
 * back and compared: the same content is the same answer, whether it was applied
 * now or before, other content is refused. WAL and synchronous=full: a call that
 * was answered is on disk.
 *
 * How it fails: whatever SQLite cannot do (disk full, locked by another
 * program) is REPLY_FAILED with its words, and may be asked again.
 *
 * One connection and a mutex: the calls are short, their latency is slept
 * outside of here (services.c). Any thread. */
#include "examples/orders/ledger.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char schema[] =
    "create table catalogue (kind text not null, id text not null, name text not null,"
    " price integer not null, percent integer not null, primary key (kind, id));"
    "create table orders (key text primary key, order_id text not null, customer text,"
    " merchant text, total integer, state text not null check (state in ('new', 'paid',"
    " 'cancelled')), paid_key text, cancel_key text);"
    /* A shop's order number is given once; only a cancelled one may come again. */
    "create unique index one_order on orders (order_id) where state <> 'cancelled';"
    "create table invoices (key text primary key, order_id text not null, subtotal integer not"
    " null, discount integer not null, total integer not null check (total = subtotal - discount"
    " and total >= 0), state text not null check (state in ('open', 'void')), void_key text);"
    "create table payments (key text primary key, order_id text not null, invoice_id text not"
    " null, amount integer not null, card text not null, refund_of text unique);"
    "create table notifications (key text primary key, order_id text not null, who text not null,"
    " recipient text not null, text text not null);";

/* Made later than the others: by order_book.c, from the actors' states. */
static const char book_schema[] =
    "create table if not exists order_book (order_id text primary key, status text not null,"
    " version integer not null)";

#define STATEMENTS(X)                                                                             \
    X(FIND, "select name, price, percent from catalogue where kind = ?1 and id = ?2")             \
    X(ORDER_ADD, "insert into orders (key, order_id, customer, merchant, total, state)"           \
      " values (?1, ?2, ?3, ?4, ?5, 'new') on conflict (key) do nothing")                         \
    X(ORDER_GET, "select order_id = ?2 and customer = ?3 and merchant = ?4 and total = ?5 and"    \
      " state <> 'cancelled' from orders where key = ?1")                                         \
    X(ORDER_PAID, "update orders set state = 'paid', paid_key = ?1 where order_id = ?2 and"       \
      " state = 'new'")                                                                           \
    X(ORDER_IS_PAID, "select paid_key = ?1 from orders where order_id = ?2 and state = 'paid'")   \
    X(ORDER_CANCEL, "insert into orders (key, order_id, state, cancel_key)"                       \
      " values (?2, ?3, 'cancelled', ?1) on conflict (key) do update set state = 'cancelled',"    \
      " cancel_key = ?1 where cancel_key is null")                                                \
    X(INVOICE_ADD, "insert into invoices (key, order_id, subtotal, discount, total, state)"       \
      " values (?1, ?2, ?3, ?4, ?5, 'open') on conflict (key) do nothing")                        \
    X(INVOICE_GET, "select order_id = ?2 and subtotal = ?3 and discount = ?4 and total = ?5 and"  \
      " state = 'open', rowid from invoices where key = ?1")                                      \
    X(INVOICE_VOID, "update invoices set state = 'void', void_key = ?1 where key = ?2 and"        \
      " void_key is null")                                                                        \
    X(PAYMENT_ADD, "insert into payments (key, order_id, invoice_id, amount, card)"               \
      " values (?1, ?2, ?3, ?4, ?5) on conflict (key) do nothing")                                \
    X(PAYMENT_GET, "select order_id = ?2 and invoice_id = ?3 and amount = ?4 and card = ?5, rowid"\
      " from payments where key = ?1")                                                            \
    X(PAYMENT_BACK, "insert into payments (key, order_id, invoice_id, amount, card, refund_of)"   \
      " select ?1, order_id, invoice_id, -amount, card, key from payments where key = ?2"         \
      " on conflict do nothing")                                                                  \
    X(NOTE_ADD, "insert into notifications (key, order_id, who, recipient, text)"                 \
      " values (?1, ?2, ?3, ?4, ?5) on conflict (key) do nothing")                                \
    X(BOOK_PUT, "insert into order_book (order_id, status, version) values (?1, ?2, ?3)"          \
      " on conflict (order_id) do update set status = excluded.status, version ="                 \
      " excluded.version where version < excluded.version")                                       \
    X(COUNT, "select count(distinct order_id), count(distinct case when state = 'paid' then"      \
      " order_id end), count(distinct order_id) - count(distinct case when state <> 'cancelled'"  \
      " then order_id end) from orders")

enum statement {
#define STATEMENT_NAME(name, sql) name,
    STATEMENTS(STATEMENT_NAME)
#undef STATEMENT_NAME
    STATEMENT_COUNT
};

static const char *const statement_sql[] = {
#define STATEMENT_SQL(name, sql) sql,
    STATEMENTS(STATEMENT_SQL)
#undef STATEMENT_SQL
};

struct ledger {
    pthread_mutex_t lock;
    sqlite3        *db;
    sqlite3_stmt   *statements[STATEMENT_COUNT];
};

/* ---- Opening */

static bool fail(sqlite3 *db, const char *what, char why[LEDGER_WHY])
{
    snprintf(why, LEDGER_WHY, "%s: %s", what, db ? sqlite3_errmsg(db) : "out of memory");
    return false;
}

static int64_t pragma(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    int64_t value = -1;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK
        && sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

enum { LEDGER_ID_NUMBER = 0x4f524452, LEDGER_VERSION = 1 }; /* "ORDR" */

/* Make the tables, all or none, unless they are there. */
static bool fill(sqlite3 *db, char why[LEDGER_WHY])
{
    char marks[96];

    if (sqlite3_exec(db, "begin immediate", NULL, NULL, NULL))
        return fail(db, "begin", why);
    if (pragma(db, "pragma application_id") == LEDGER_ID_NUMBER)
        return sqlite3_exec(db, "commit", NULL, NULL, NULL) == SQLITE_OK || fail(db, "commit", why);
    if (pragma(db, "select count(*) from sqlite_master") != 0) {
        sqlite3_exec(db, "rollback", NULL, NULL, NULL);
        snprintf(why, LEDGER_WHY, "it is a database of something else");
        return false;
    }
    snprintf(marks, sizeof marks, "pragma application_id = %d; pragma user_version = %d; commit",
             LEDGER_ID_NUMBER, LEDGER_VERSION);
    if (sqlite3_exec(db, schema, NULL, NULL, NULL)
        || sqlite3_exec(db, catalogue_sql, NULL, NULL, NULL)
        || sqlite3_exec(db, marks, NULL, NULL, NULL))
        return fail(db, "tables", why);
    return true;
}

static bool prepare(ledger *books, char why[LEDGER_WHY])
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(books->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &books->statements[i], NULL))
            return fail(books->db, "tables", why);
    return true;
}

static bool open_database(ledger *books, const char *path, char why[LEDGER_WHY])
{
    if (sqlite3_open_v2(path, &books->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                        | SQLITE_OPEN_NOMUTEX, NULL))
        return fail(books->db, "open", why);
    sqlite3_busy_timeout(books->db, 10000);
    if (sqlite3_exec(books->db, "pragma journal_mode = wal; pragma synchronous = full", NULL, NULL,
                     NULL))
        return fail(books->db, "open", why);
    if (!fill(books->db, why))
        return false;
    if (sqlite3_exec(books->db, book_schema, NULL, NULL, NULL))
        return fail(books->db, "tables", why);
    return prepare(books, why);
}

bool ledger_open(ledger **books, const char *path, char why[LEDGER_WHY])
{
    ledger *made = calloc(1, sizeof *made);

    *books = NULL;
    if (!made)
        return fail(NULL, "open", why);
    pthread_mutex_init(&made->lock, NULL);
    if (!open_database(made, path, why)) {
        ledger_close(made);
        return false;
    }
    *books = made;
    return true;
}

void ledger_close(ledger *books)
{
    if (!books)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(books->statements[i]);
    sqlite3_close(books->db);
    pthread_mutex_destroy(&books->lock);
    free(books);
}

/* ---- One call: lock, bind, step, unlock */

/* What is bound: texts (NULL ends them), then numbers. */
typedef struct ledger_values {
    const char *text[6];
    int64_t     number[3];
    int         numbers;
    int         number_at; /* place of the first number */
} ledger_values;

/* The lock is held. Place n is the nth text; numbers
 * stand where number_at says and push later texts back. */
static sqlite3_stmt *start(ledger *books, enum statement which, const ledger_values *values)
{
    sqlite3_stmt *statement = books->statements[which];
    int place = 1, texts = 0;

    while (place <= sqlite3_bind_parameter_count(statement)) {
        int number = place - values->number_at;
        if (values->numbers && number >= 0 && number < values->numbers)
            sqlite3_bind_int64(statement, place++, values->number[number]);
        else
            sqlite3_bind_text(statement, place++, values->text[texts++], -1, SQLITE_STATIC);
    }
    return statement;
}

static reply finish(ledger *books, sqlite3_stmt *statement, int rc, char why[LEDGER_WHY])
{
    reply answer = REPLY_OK;

    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        snprintf(why, LEDGER_WHY, "%s", sqlite3_errmsg(books->db));
        answer = rc == SQLITE_CONSTRAINT ? REPLY_REFUSED : REPLY_FAILED;
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return answer;
}

static reply change(ledger *books, enum statement which, const ledger_values *values,
                    char why[LEDGER_WHY])
{
    sqlite3_stmt *statement = start(books, which, values);

    return finish(books, statement, sqlite3_step(statement), why);
}

/* Does the row with this key say the same? *row: its number. */
static reply compare(ledger *books, enum statement which, const ledger_values *values, int64_t *row,
                     char why[LEDGER_WHY])
{
    sqlite3_stmt *statement = start(books, which, values);
    int rc = sqlite3_step(statement);
    int same = rc == SQLITE_ROW && sqlite3_column_int(statement, 0) == 1;

    if (rc == SQLITE_ROW && row)
        *row = sqlite3_column_int64(statement, 1);
    reply answer = finish(books, statement, rc, why);
    if (answer == REPLY_OK && !same) {
        snprintf(why, LEDGER_WHY, "its key was used for something else, or undone");
        answer = REPLY_REFUSED;
    }
    return answer;
}

/* Add under a key, or find that it was added before. */
static reply add(ledger *books, enum statement put, enum statement get, const ledger_values *values,
                 int64_t *row, char why[LEDGER_WHY])
{
    reply answer;

    pthread_mutex_lock(&books->lock);
    answer = change(books, put, values, why);
    if (answer == REPLY_OK)
        answer = compare(books, get, values, row, why);
    pthread_mutex_unlock(&books->lock);
    return answer;
}

static reply once(ledger *books, enum statement which, const ledger_values *values,
                  char why[LEDGER_WHY])
{
    reply answer;

    pthread_mutex_lock(&books->lock);
    answer = change(books, which, values, why);
    pthread_mutex_unlock(&books->lock);
    return answer;
}

/* ---- The calls */

bool ledger_count(ledger *books, ledger_totals *totals, char why[LEDGER_WHY])
{
    sqlite3_stmt *statement;
    int rc;

    pthread_mutex_lock(&books->lock);
    statement = start(books, COUNT, &(ledger_values){ .numbers = 0 });
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        totals->orders = sqlite3_column_int64(statement, 0);
        totals->paid = sqlite3_column_int64(statement, 1);
        totals->undone = sqlite3_column_int64(statement, 2);
    }
    bool counted = finish(books, statement, rc, why) == REPLY_OK;
    pthread_mutex_unlock(&books->lock);
    return counted;
}

reply ledger_find(ledger *books, const char *kind, const char *id, catalogue_row *row,
                  char why[LEDGER_WHY])
{
    sqlite3_stmt *statement;
    reply answer;
    int rc;

    pthread_mutex_lock(&books->lock);
    statement = start(books, FIND, &(ledger_values){ .text = { kind, id } });
    rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        snprintf(row->name, sizeof row->name, "%s",
                 (const char *)sqlite3_column_text(statement, 0));
        row->price = sqlite3_column_int64(statement, 1);
        row->percent = sqlite3_column_int64(statement, 2);
    }
    answer = finish(books, statement, rc, why);
    pthread_mutex_unlock(&books->lock);
    if (answer != REPLY_OK || rc == SQLITE_ROW)
        return answer;
    snprintf(why, LEDGER_WHY, "unknown %s %s", kind, id);
    return REPLY_REFUSED;
}

reply ledger_create_order(ledger *books, const char *key, const char *order, const char *customer,
                          const char *merchant, int64_t total, char why[LEDGER_WHY])
{
    ledger_values values = { { key, order, customer, merchant }, { total }, 1, 5 };
    reply answer = add(books, ORDER_ADD, ORDER_GET, &values, NULL, why);

    if (answer == REPLY_REFUSED && strstr(why, "UNIQUE"))
        snprintf(why, LEDGER_WHY, "there is such an order already, from somewhere else");
    return answer;
}

reply ledger_flag_paid(ledger *books, const char *key, const char *order, char why[LEDGER_WHY])
{
    return add(books, ORDER_PAID, ORDER_IS_PAID, &(ledger_values){ .text = { key, order } }, NULL,
               why);
}

reply ledger_cancel_order(ledger *books, const char *key, const char *of, const char *order,
                          char why[LEDGER_WHY])
{
    return once(books, ORDER_CANCEL, &(ledger_values){ .text = { key, of, order } }, why);
}

reply ledger_create_invoice(ledger *books, const char *key, const char *order,
                            const amounts *sums, char id[LEDGER_ID], char why[LEDGER_WHY])
{
    ledger_values values = {
        { key, order }, { sums->subtotal, sums->discount, sums->total }, 3, 3
    };
    int64_t row = 0;
    reply answer = add(books, INVOICE_ADD, INVOICE_GET, &values, &row, why);

    snprintf(id, LEDGER_ID, "INV-%06lld", (long long)row);
    return answer;
}

reply ledger_void_invoice(ledger *books, const char *key, const char *of, char why[LEDGER_WHY])
{
    return once(books, INVOICE_VOID, &(ledger_values){ .text = { key, of } }, why);
}

reply ledger_pay(ledger *books, const char *key, const char *order, const char *invoice,
                 int64_t amount, const char *card, char receipt[LEDGER_ID],
                 char why[LEDGER_WHY])
{
    ledger_values values = { { key, order, invoice, card }, { amount }, 1, 4 };
    int64_t row = 0;
    reply answer = add(books, PAYMENT_ADD, PAYMENT_GET, &values, &row, why);

    snprintf(receipt, LEDGER_ID, "PAY-%06lld", (long long)row);
    return answer;
}

reply ledger_refund(ledger *books, const char *key, const char *of, char why[LEDGER_WHY])
{
    return once(books, PAYMENT_BACK, &(ledger_values){ .text = { key, of } }, why);
}

reply ledger_notify(ledger *books, const char *key, const char *order, const char *who,
                    const char *to, const char *text, char why[LEDGER_WHY])
{
    return once(books, NOTE_ADD, &(ledger_values){ .text = { key, order, who, to, text } }, why);
}

reply ledger_keep_book(ledger *books, const book_row *rows, size_t count, char why[LEDGER_WHY])
{
    reply answer = REPLY_OK;

    pthread_mutex_lock(&books->lock);
    if (sqlite3_exec(books->db, "begin immediate", NULL, NULL, NULL)) {
        fail(books->db, "begin", why);
        answer = REPLY_FAILED;
    }
    for (size_t i = 0; i < count && answer == REPLY_OK; i++) {
        ledger_values values = { { rows[i].order, rows[i].status }, { rows[i].version }, 1, 3 };
        answer = change(books, BOOK_PUT, &values, why);
    }
    if (answer == REPLY_OK && sqlite3_exec(books->db, "commit", NULL, NULL, NULL)) {
        fail(books->db, "commit", why);
        answer = REPLY_FAILED;
    }
    if (answer != REPLY_OK)
        sqlite3_exec(books->db, "rollback", NULL, NULL, NULL);
    pthread_mutex_unlock(&books->lock);
    return answer;
}
