/* order_book.h - how every order stands, kept in the ledger from the actors' states.
 *
 * What can be told from a state, and may come a moment later, is kept so: the database need
 * not be asked in a turn, and a hundred changes are one write. The table `orders` is not:
 * it is what a service outside did when it was called, once for each key, with a call that
 * undoes it, and an order that was cancelled and placed again has two rows there. Written
 * from a state it would say what ought to have been done, and hide what was done twice. */
#ifndef ORDERS_ORDER_BOOK_H
#define ORDERS_ORDER_BOOK_H

#include <holdfast.h>

/* hf_type.flush of orders; user = the shop. */
int order_book_write(void *user, const hf_image *images, size_t count);

#endif
