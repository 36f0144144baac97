/* shop.h - what all parts of the program share: hf_type.user of every type. */
#ifndef ORDERS_SHOP_H
#define ORDERS_SHOP_H

#include "examples/orders/services.h"

#include <pthread.h>

typedef struct order_tally {
    uint64_t paid, dead; /* dead: undone or not */
} order_tally;

typedef struct order_shop {
    services        services;
    bool            verbose;
    pthread_mutex_t lock;
    order_tally           tally;    /* as last reported; under lock */
    bool            reported; /* under lock */
} order_shop;

#endif
