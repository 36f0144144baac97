/* order_steps.h - what happens outside for an order, step by step, and how each
 * step is undone. */
#ifndef ORDERS_ORDER_STEPS_H
#define ORDERS_ORDER_STEPS_H

#include "examples/orders/command.h"
#include "examples/orders/services.h"

enum { RESULT_SIZE = 128 };

/* One order while it is worked on. */
typedef struct order_job {
    call        call;
    place_order command;
    amounts     sums;
    char        invoice[LEDGER_ID];
} order_job;

/* A step changes something at a service. `run` does it and says what came of
 * it; `recall` takes from the result of an earlier attempt what later steps
 * need; `undo` takes it back (of: the key it was done with). The last two may
 * be NULL. */
typedef struct order_step {
    const char *name;
    reply (*run)(order_job *job, const char *key, char result[RESULT_SIZE]);
    bool  (*recall)(order_job *job, const char *result);
    reply (*undo)(order_job *job, const char *key, const char *of);
} order_step;

extern const order_step order_steps[];
extern const size_t     order_step_count;

/* The step of that name, NULL if there is none. */
const order_step *order_step_find(const char *name);

/* Ask customer, merchant, promotion and products, and work out the sums. */
reply order_look_up(order_job *job);

#endif
