/* order_steps.c - the list a placed order goes through.
 *
 * Happy path: look up who and what (reads: no steps), then the steps in the
 * order of the table below, each with its own idempotency key. The sums are
 * those of the first step once it is done: a price that changes between two
 * attempts changes no order.
 *
 * How it fails: a reply that is not REPLY_OK, with the reason in call.why.
 * Runs on a thread of the order type. */
#include "examples/orders/order_steps.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- Looking up */

/* sum += price * qty, unless that is more money than there is. */
static bool add_item(order_job *job, int64_t price, uint32_t qty)
{
    int64_t cost;

    return price >= 0 && !__builtin_mul_overflow(price, (int64_t)qty, &cost)
        && !__builtin_add_overflow(job->sums.subtotal, cost, &job->sums.subtotal)
        && job->sums.subtotal < INT64_MAX / 100;
}

/* Percent is rounded down to the cent; nothing gets cheaper than free. */
static void take_off(amounts *sums, const catalogue_row *promotion)
{
    int64_t off = sums->subtotal * promotion->percent / 100 + promotion->price;

    sums->discount = off < 0 ? 0 : off > sums->subtotal ? sums->subtotal : off;
}

reply order_look_up(order_job *job)
{
    const place_order *command = &job->command;
    catalogue_row row, promotion = { .price = 0 };
    reply said = customer_get(&job->call, command->customer, &row);

    if (said == REPLY_OK)
        said = merchant_get(&job->call, command->merchant, &row);
    if (said == REPLY_OK && *command->promo)
        said = promotion_get(&job->call, command->promo, &promotion);
    job->sums = (amounts){ .subtotal = 0 };
    for (uint32_t i = 0; said == REPLY_OK && i < command->count; i++) {
        said = product_get(&job->call, command->items[i].id, &row);
        if (said == REPLY_OK && !add_item(job, row.price, command->items[i].qty)) {
            snprintf(job->call.why, sizeof job->call.why, "the sum is beyond all bounds");
            said = REPLY_REFUSED;
        }
    }
    if (said == REPLY_OK) {
        take_off(&job->sums, &promotion);
        job->sums.total = job->sums.subtotal - job->sums.discount;
    }
    return said;
}

/* ---- The steps */

static reply create_order(order_job *job, const char *key, char result[RESULT_SIZE])
{
    const amounts *sums = &job->sums;

    snprintf(result, RESULT_SIZE, "subtotal=%" PRId64 " discount=%" PRId64 " total=%" PRId64,
             sums->subtotal, sums->discount, sums->total);
    return order_create(&job->call, key, job->command.customer, job->command.merchant, sums->total);
}

static bool recall_sums(order_job *job, const char *result)
{
    amounts *sums = &job->sums;

    return sscanf(result, "subtotal=%" SCNd64 " discount=%" SCNd64 " total=%" SCNd64,
                  &sums->subtotal, &sums->discount, &sums->total) == 3;
}

/* The last of all undoing: there is no order any more, and the customer knows.
 * Each service has its own keys, so both calls may use the same one. */
static reply cancel_order(order_job *job, const char *key, const char *of)
{
    char text[2 * ID_SIZE];
    reply said = order_cancel(&job->call, key, of);

    if (said != REPLY_OK)
        return said;
    snprintf(text, sizeof text, "Order %s could not be done and costs nothing.",
             job->command.order);
    return customer_notify(&job->call, key, job->command.customer, text);
}

static reply tell_merchant(order_job *job, const char *key, char result[RESULT_SIZE])
{
    snprintf(result, RESULT_SIZE, "Order %s came in.", job->command.order);
    return merchant_notify(&job->call, key, job->command.merchant, result);
}

static reply create_invoice(order_job *job, const char *key, char result[RESULT_SIZE])
{
    reply said = invoice_create(&job->call, key, &job->sums, job->invoice);

    snprintf(result, RESULT_SIZE, "%s", job->invoice);
    return said;
}

static bool recall_invoice(order_job *job, const char *result)
{
    snprintf(job->invoice, sizeof job->invoice, "%s", result);
    return *result;
}

static reply void_invoice(order_job *job, const char *key, const char *of)
{
    return invoice_void(&job->call, key, of);
}

static reply tell_customer(order_job *job, const char *key, char result[RESULT_SIZE])
{
    snprintf(result, RESULT_SIZE, "Invoice %s over %" PRId64 ".%02" PRId64 ".", job->invoice,
             job->sums.total / 100, job->sums.total % 100);
    return customer_notify(&job->call, key, job->command.customer, result);
}

static reply pay(order_job *job, const char *key, char result[RESULT_SIZE])
{
    char receipt[LEDGER_ID] = "";
    reply said = payment_pay(&job->call, key, job->invoice, job->sums.total,
                              job->command.payment, receipt);

    snprintf(result, RESULT_SIZE, "%s", receipt);
    return said;
}

static reply refund(order_job *job, const char *key, const char *of)
{
    return payment_refund(&job->call, key, of);
}

static reply flag_paid(order_job *job, const char *key, char result[RESULT_SIZE])
{
    snprintf(result, RESULT_SIZE, "paid");
    return order_flag_paid(&job->call, key);
}

static reply tell_merchant_paid(order_job *job, const char *key, char result[RESULT_SIZE])
{
    snprintf(result, RESULT_SIZE, "Order %s is paid.", job->command.order);
    return merchant_notify(&job->call, key, job->command.merchant, result);
}

static reply tell_customer_paid(order_job *job, const char *key, char result[RESULT_SIZE])
{
    snprintf(result, RESULT_SIZE, "Invoice %s is paid.", job->invoice);
    return customer_notify(&job->call, key, job->command.customer, result);
}

const order_step order_steps[] = {
    { "order", create_order, recall_sums, cancel_order },
    { "tell-merchant", tell_merchant, NULL, NULL },
    { "invoice", create_invoice, recall_invoice, void_invoice },
    { "tell-customer", tell_customer, NULL, NULL },
    { "payment", pay, NULL, refund },
    { "paid", flag_paid, NULL, NULL },
    { "tell-merchant-paid", tell_merchant_paid, NULL, NULL },
    { "tell-customer-paid", tell_customer_paid, NULL, NULL },
};
const size_t order_step_count = sizeof order_steps / sizeof *order_steps;

const order_step *order_step_find(const char *name)
{
    for (size_t i = 0; i < order_step_count; i++)
        if (strcmp(order_steps[i].name, name) == 0)
            return &order_steps[i];
    return NULL;
}
