/* tally.h - the actor that counts how orders ended: "tally/orders".
 *
 * An order tells it in the same commit that ends the order, so the count is
 * exact whatever was killed when. */
#ifndef ORDERS_TALLY_H
#define ORDERS_TALLY_H

#include <holdfast_msgpack.h>

#define TALLY_ACTOR "tally/orders"

/* How an order stands: "paid", "dead", or "" before it ended. */
void tally_move(hf_turn *turn, const char *was, const char *now);

/* The type's handler; kinds "move" and "report" (shop->tally is set). */
int tally_handle(hf_turn *turn, const hf_message *msg);

#endif
