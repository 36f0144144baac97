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
static reply request(call *this, service to)
{
    const services *at = this->at;
    bool            lost = chance() < at->fail_rate;

    this->began = now_ns();
    this->no_answer = lost && chance() < 0.5;
    sleep_until(this->began + (uint64_t)at->latency_ms * 500000u);
    if (at->down[to])
        snprintf(this->why, sizeof this->why, "the %s service is down", service_names[to]);
    else if (lost && !this->no_answer)
        snprintf(this->why, sizeof this->why, "the %s service was not reached",
                 service_names[to]);
    else
        return REPLY_OK;
    return REPLY_FAILED;
}

/* The way back. */
static reply answer(call *this, service to, reply outcome)
{
    uint64_t took;

    sleep_until(now_ns() + (uint64_t)this->at->latency_ms * 500000u);
    took = now_ns() - this->began;
    floor_add(this->at->times, this->order, this->began, took);
    if (outcome == REPLY_OK && this->no_answer) {
        snprintf(this->why, sizeof this->why, "the %s service did not answer",
                 service_names[to]);
        return REPLY_FAILED;
    }
    return outcome;
}

/* What this call does at `service`, if the request arrives. */
#define CALL(service, what)                    \
    reply outcome = request(this, service);      \
    if (outcome == REPLY_OK)                   \
        outcome = what;                        \
    return answer(this, service, outcome)

reply customer_get(call *this, const char *id, catalogue_row *row)
{
    CALL(SERVICE_CUSTOMER, ledger_find(this->at->books, "customer", id, row, this->why));
}

reply merchant_get(call *this, const char *id, catalogue_row *row)
{
    CALL(SERVICE_MERCHANT, ledger_find(this->at->books, "merchant", id, row, this->why));
}

reply promotion_get(call *this, const char *id, catalogue_row *row)
{
    CALL(SERVICE_PROMOTION, ledger_find(this->at->books, "promotion", id, row, this->why));
}

reply product_get(call *this, const char *id, catalogue_row *row)
{
    CALL(SERVICE_PRODUCT, ledger_find(this->at->books, "product", id, row, this->why));
}

reply customer_notify(call *this, const char *key, const char *id, const char *text)
{
    CALL(SERVICE_CUSTOMER,
         ledger_notify(this->at->books, key, this->order, "customer", id, text, this->why));
}

reply merchant_notify(call *this, const char *key, const char *id, const char *text)
{
    CALL(SERVICE_MERCHANT,
         ledger_notify(this->at->books, key, this->order, "merchant", id, text, this->why));
}

reply order_create(call *this, const char *key, const char *customer, const char *merchant,
                   int64_t total)
{
    CALL(SERVICE_ORDER, ledger_create_order(this->at->books, key, this->order, customer, merchant,
                                            total, this->why));
}

reply order_flag_paid(call *this, const char *key)
{
    CALL(SERVICE_ORDER, ledger_flag_paid(this->at->books, key, this->order, this->why));
}

reply order_cancel(call *this, const char *key, const char *of)
{
    CALL(SERVICE_ORDER, ledger_cancel_order(this->at->books, key, of, this->order, this->why));
}

reply invoice_create(call *this, const char *key, const amounts *sums, char id[LEDGER_ID])
{
    CALL(SERVICE_INVOICE,
         ledger_create_invoice(this->at->books, key, this->order, sums, id, this->why));
}

reply invoice_void(call *this, const char *key, const char *of)
{
    CALL(SERVICE_INVOICE, ledger_void_invoice(this->at->books, key, of, this->why));
}

reply payment_pay(call *this, const char *key, const char *invoice, int64_t amount,
                  const char *card, char receipt[LEDGER_ID])
{
    CALL(SERVICE_PAYMENT, ledger_pay(this->at->books, key, this->order, invoice, amount, card,
                                     receipt, this->why));
}

reply payment_refund(call *this, const char *key, const char *of)
{
    CALL(SERVICE_PAYMENT, ledger_refund(this->at->books, key, of, this->why));
}
