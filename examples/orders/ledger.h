/* ledger.h - what the seven services remember: one SQLite database.
 *
 * Every change comes with an idempotency key and is applied once however often
 * it is asked for, as a payment provider does. A key that comes back with other
 * content is refused. What one call changes is one transaction.
 *
 * Any thread; the calls take turns on one connection. */
#ifndef ORDERS_LEDGER_H
#define ORDERS_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LEDGER_WHY = 256, LEDGER_ID = 64 };

/* What comes back from a call. */
typedef enum reply {
    REPLY_OK,
    REPLY_REFUSED, /* and will be, however often one asks */
    REPLY_FAILED   /* this time; it may or may not have taken effect */
} reply;

typedef struct ledger ledger;

/* A row of the catalogue. A promotion takes `percent` off, and `price` cents. */
typedef struct catalogue_row {
    char    name[128];
    int64_t price;
    int64_t percent;
} catalogue_row;

typedef struct amounts {
    int64_t subtotal, discount, total; /* cents */
} amounts;

typedef struct ledger_totals {
    int64_t orders, paid, undone; /* undone: cancelled, and not placed again */
} ledger_totals;

/* Open it; the first time, make the tables and fill the catalogue. Returns
 * false and says why. */
bool ledger_open(ledger **books, const char *path, char why[LEDGER_WHY]);
void ledger_close(ledger *books); /* NULL is fine */

bool ledger_count(ledger *books, ledger_totals *totals, char why[LEDGER_WHY]);

/* kind: "customer", "merchant", "promotion", "product". */
reply ledger_find(ledger *books, const char *kind, const char *id, catalogue_row *row,
                  char why[LEDGER_WHY]);

reply ledger_create_order(ledger *books, const char *key, const char *order, const char *customer,
                          const char *merchant, int64_t total, char why[LEDGER_WHY]);
reply ledger_flag_paid(ledger *books, const char *key, const char *order, char why[LEDGER_WHY]);

/* Of the order that was created with `of`; if that never arrived, it never
 * will: the order is noted as cancelled. */
reply ledger_cancel_order(ledger *books, const char *key, const char *of, const char *order,
                          char why[LEDGER_WHY]);

reply ledger_create_invoice(ledger *books, const char *key, const char *order,
                            const amounts *sums, char id[LEDGER_ID], char why[LEDGER_WHY]);
reply ledger_void_invoice(ledger *books, const char *key, const char *of, char why[LEDGER_WHY]);

reply ledger_pay(ledger *books, const char *key, const char *order, const char *invoice,
                 int64_t amount, const char *card, char receipt[LEDGER_ID],
                 char why[LEDGER_WHY]);

/* The payment made with `of` goes back, as a row of its own with the amount
 * below zero; nothing, if it was never made. */
reply ledger_refund(ledger *books, const char *key, const char *of, char why[LEDGER_WHY]);

/* who: "customer" or "merchant". */
reply ledger_notify(ledger *books, const char *key, const char *order, const char *who,
                    const char *to, const char *text, char why[LEDGER_WHY]);

/* How an order stands, as its actor says; status "": it says nothing any more. Rows are
 * only replaced by newer versions. One transaction. */
typedef struct book_row {
    const char *order;
    char        status[16];
    int64_t     version;
} book_row;
reply ledger_keep_book(ledger *books, const book_row *rows, size_t count, char why[LEDGER_WHY]);

/* The catalogue that ships with the program, as SQL; see catalogue.c. */
extern const char catalogue_sql[];

#endif
