/* command.h - PlaceOrder: what a customer asks for.
 *
 * It comes as one line of JSON, waits as msgpack in the order's inbox (so that
 * every tool can show it), and is worked on as this struct. */
#ifndef ORDERS_COMMAND_H
#define ORDERS_COMMAND_H

#include <holdfast_msgpack.h>
#include <stdbool.h>

enum {
    ID_SIZE = 64,     /* of an id, with its final NUL */
    ITEMS_MAX = 100,
    QTY_MAX = 10000,
    WHY_SIZE = 160
};

typedef struct line_item {
    char     id[ID_SIZE];
    uint32_t qty;
} line_item;

typedef struct place_order {
    char      order[ID_SIZE], customer[ID_SIZE], merchant[ID_SIZE], payment[ID_SIZE];
    char      promo[ID_SIZE]; /* "": none */
    uint32_t  count;          /* of items, at least 1 */
    line_item items[ITEMS_MAX];
} place_order;

/* 0; or -1, and `why` holds a sentence that says what is wrong. */
int command_parse(const char *line, size_t len, place_order *command, char why[WHY_SIZE]);
int command_unpack(const msgpack_object *map, place_order *command, char why[WHY_SIZE]);

void command_pack(msgpack_packer *packer, const place_order *command);
bool command_equal(const place_order *a, const place_order *b);

#endif
