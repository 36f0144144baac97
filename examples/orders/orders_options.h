/* orders_options.h - what one can say to `orders` on its command line. */
#ifndef ORDERS_ORDERS_OPTIONS_H
#define ORDERS_ORDERS_OPTIONS_H

#include "examples/orders/services.h"

typedef struct orders_options {
    const char *store, *ledger;
    const char *input;          /* a file, "-", or NULL: the orders that ship */
    uint32_t    workers, latency_ms, tries, retry_ms, retry_max_ms;
    double      fail_rate;
    bool        down[SERVICES];
    bool        json, verbose;
} orders_options;

/* 0: go on. Otherwise *exit_code says how to end; all has been said. */
int orders_options_read(orders_options *options, int argc, char **argv, int *exit_code);

#endif
