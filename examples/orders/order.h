/* order.h - the aggregate: one actor for each order, "order/ORD-1". */
#ifndef ORDERS_ORDER_H
#define ORDERS_ORDER_H

#include <holdfast.h>

/* For hf_type: threads of its own (it calls services), strikes HF_NEVER (it is
 * killed from outside), user = the shop. */
int  order_handle(hf_turn *turn, const hf_message *msg);
int  order_undo(hf_turn *turn, const hf_message *msg, const hf_step *step);
void order_failed(hf_turn *turn, const hf_message *msg);

#endif
