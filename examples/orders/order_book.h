/* order_book.h - how every order stands, kept in the ledger from the actors' states. */
#ifndef ORDERS_ORDER_BOOK_H
#define ORDERS_ORDER_BOOK_H

#include <holdfast.h>

/* hf_type.flush of orders; user = the shop. */
int order_book_write(void *user, const hf_image *images, size_t count);

#endif
