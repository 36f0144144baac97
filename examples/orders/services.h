/* services.h - the seven services an order needs, as its actor sees them.
 *
 * customer, merchant, promotion, product, order, invoice, payment: replace
 * services.c by calls over a network and nothing else has to change. Here they
 * are a ledger in SQLite, behind calls that take a while and may fail, before
 * or after they took effect.
 *
 * Any thread; a `call` is used by one thread at a time. */
#ifndef ORDERS_SERVICES_H
#define ORDERS_SERVICES_H

#include "examples/orders/floor.h"
#include "examples/orders/ledger.h"

typedef enum service {
    SERVICE_CUSTOMER, SERVICE_MERCHANT, SERVICE_PROMOTION, SERVICE_PRODUCT,
    SERVICE_ORDER, SERVICE_INVOICE, SERVICE_PAYMENT, SERVICES
} service;

extern const char *const service_names[SERVICES];

typedef struct services {
    ledger     *books;
    floor_sums *times;          /* what each call took goes here */
    uint32_t    latency_ms;     /* of each call */
    double      fail_rate;      /* 0 .. 1 */
    bool        down[SERVICES]; /* this one never answers */
} services;

/* Who calls, and how the last call went. */
typedef struct call {
    services   *at;
    const char *order;
    char        why[LEDGER_WHY]; /* when it was not REPLY_OK */
    uint64_t    began;           /* the rest is services.c's */
    bool        no_answer;
} call;

/* Looking up changes nothing. */
reply customer_get(call *via, const char *id, catalogue_row *row);
reply merchant_get(call *via, const char *id, catalogue_row *row);
reply promotion_get(call *via, const char *id, catalogue_row *row);
reply product_get(call *via, const char *id, catalogue_row *row);

/* What changes something has a key; undoing has its own key and names that of
 * what it undoes. */
reply customer_notify(call *via, const char *key, const char *id, const char *text);
reply merchant_notify(call *via, const char *key, const char *id, const char *text);
reply order_create(call *via, const char *key, const char *customer, const char *merchant,
                   int64_t total);
reply order_flag_paid(call *via, const char *key);
reply order_cancel(call *via, const char *key, const char *of);
reply invoice_create(call *via, const char *key, const amounts *sums, char id[LEDGER_ID]);
reply invoice_void(call *via, const char *key, const char *of);
reply payment_pay(call *via, const char *key, const char *invoice, int64_t amount,
                  const char *card, char receipt[LEDGER_ID]);
reply payment_refund(call *via, const char *key, const char *of);

#endif
