/* services.c - the services, as far away as one likes.
 *
 * Happy path of a call: half the latency for the way there, the change in the
 * ledger, half the latency for the way back. So a process that is killed in the
 * middle may have changed something and not know it, as over a network.
 *
 * How it fails: at fail_rate, the request or the answer gets lost, half of the
 * time each; a service that is down takes its latency and does nothing. Both
 * are REPLY_FAILED. The ledger may refuse. Any thread. */
#include "examples/orders/services.h"

#include <stdio.h>
#include <time.h>

const char *const service_names[SERVICES] = { "customer", "merchant", "promotion", "product",
                                              "order",    "invoice",  "payment" };

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
    struct timespec until = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        ;
}

/* 0 .. 1; a generator for each thread, so that none waits for another. */
static double chance(void)
{
    static _Thread_local uint64_t seed;

    if (seed == 0)
        seed = now_ns() ^ (uint64_t)(uintptr_t)&seed;
    seed += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

/* The way there. REPLY_OK: it has arrived. */
static reply request(call *via, service to)
{
    const services *at = via->at;
    bool lost = chance() < at->fail_rate;

    via->began = now_ns();
    via->no_answer = lost && chance() < 0.5;
    sleep_until(via->began + (uint64_t)at->latency_ms * 500000u);
    if (at->down[to])
        snprintf(via->why, sizeof via->why, "the %s service is down", service_names[to]);
    else if (lost && !via->no_answer)
        snprintf(via->why, sizeof via->why, "the %s service was not reached",
                 service_names[to]);
    else
        return REPLY_OK;
    return REPLY_FAILED;
}

/* The way back. */
static reply answer(call *via, service to, reply outcome)
{
    uint64_t took;

    sleep_until(now_ns() + (uint64_t)via->at->latency_ms * 500000u);
    took = now_ns() - via->began;
    floor_add(via->at->times, via->order, via->began, took);
    if (outcome == REPLY_OK && via->no_answer) {
        snprintf(via->why, sizeof via->why, "the %s service did not answer",
                 service_names[to]);
        return REPLY_FAILED;
    }
    return outcome;
}

/* What a call does at `service`, if the request arrives. */
#define CALL(service, what)                  \
    reply outcome = request(via, service);   \
    if (outcome == REPLY_OK)                 \
        outcome = what;                      \
    return answer(via, service, outcome)

reply customer_get(call *via, const char *id, catalogue_row *row)
{
    CALL(SERVICE_CUSTOMER, ledger_find(via->at->books, "customer", id, row, via->why));
}

reply merchant_get(call *via, const char *id, catalogue_row *row)
{
    CALL(SERVICE_MERCHANT, ledger_find(via->at->books, "merchant", id, row, via->why));
}

reply promotion_get(call *via, const char *id, catalogue_row *row)
{
    CALL(SERVICE_PROMOTION, ledger_find(via->at->books, "promotion", id, row, via->why));
}

reply product_get(call *via, const char *id, catalogue_row *row)
{
    CALL(SERVICE_PRODUCT, ledger_find(via->at->books, "product", id, row, via->why));
}

reply customer_notify(call *via, const char *key, const char *id, const char *text)
{
    CALL(SERVICE_CUSTOMER,
         ledger_notify(via->at->books, key, via->order, "customer", id, text, via->why));
}

reply merchant_notify(call *via, const char *key, const char *id, const char *text)
{
    CALL(SERVICE_MERCHANT,
         ledger_notify(via->at->books, key, via->order, "merchant", id, text, via->why));
}

reply order_create(call *via, const char *key, const char *customer, const char *merchant,
                   int64_t total)
{
    CALL(SERVICE_ORDER, ledger_create_order(via->at->books, key, via->order, customer, merchant,
                                            total, via->why));
}

reply order_flag_paid(call *via, const char *key)
{
    CALL(SERVICE_ORDER, ledger_flag_paid(via->at->books, key, via->order, via->why));
}

reply order_cancel(call *via, const char *key, const char *of)
{
    CALL(SERVICE_ORDER, ledger_cancel_order(via->at->books, key, of, via->order, via->why));
}

reply invoice_create(call *via, const char *key, const amounts *sums, char id[LEDGER_ID])
{
    CALL(SERVICE_INVOICE,
         ledger_create_invoice(via->at->books, key, via->order, sums, id, via->why));
}

reply invoice_void(call *via, const char *key, const char *of)
{
    CALL(SERVICE_INVOICE, ledger_void_invoice(via->at->books, key, of, via->why));
}

reply payment_pay(call *via, const char *key, const char *invoice, int64_t amount,
                  const char *card, char receipt[LEDGER_ID])
{
    CALL(SERVICE_PAYMENT, ledger_pay(via->at->books, key, via->order, invoice, amount, card,
                                     receipt, via->why));
}

reply payment_refund(call *via, const char *key, const char *of)
{
    CALL(SERVICE_PAYMENT, ledger_refund(via->at->books, key, of, via->why));
}
