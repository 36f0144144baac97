/* command.c - a line of JSON, a msgpack map, a struct: the same PlaceOrder.
 *
 * Happy path: command_parse reads the members of the object in any order,
 * command_unpack the fields of the map; both then ask command_check whether it
 * is an order at all.
 *
 * How it fails: -1 and a sentence. A member that an order does not have is
 * wrong, too: "promos" would otherwise cost the customer the promotion. */
#include "examples/orders/command.h"

#include "examples/orders/order_json.h"

#include <stdio.h>

/* The texts of a command, by the name they have in JSON and msgpack. */
static const struct field {
    const char *name;
    size_t      offset;
    bool        needed;
} fields[] = {
    { "order", offsetof(place_order, order), true },
    { "customer", offsetof(place_order, customer), true },
    { "merchant", offsetof(place_order, merchant), true },
    { "payment", offsetof(place_order, payment), true },
    { "promo", offsetof(place_order, promo), false },
};
enum { FIELDS = sizeof fields / sizeof *fields };

static char *text_of(place_order *command, const struct field *field)
{
    return (char *)command + field->offset;
}

static int wrong(char why[WHY_SIZE], const char *format, const char *what)
{
    snprintf(why, WHY_SIZE, format, what); /* NOLINT: every format here is ours */
    return -1;
}

/* Ids become part of an actor's address: no control characters. */
static bool printable(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    for (; *at; at++)
        if (*at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0))
            return false;
    return true;
}

static int command_check(place_order *command, char why[WHY_SIZE])
{
    for (size_t i = 0; i < FIELDS; i++) {
        const char *text = text_of(command, &fields[i]);
        if (fields[i].needed && !*text)
            return wrong(why, "\"%s\" is missing", fields[i].name);
        if (!printable(text))
            return wrong(why, "\"%s\" holds a control character", fields[i].name);
    }
    if (command->count == 0)
        return wrong(why, "\"%s\" is missing or empty", "items");
    for (uint32_t i = 0; i < command->count; i++) {
        if (!*command->items[i].id || !printable(command->items[i].id))
            return wrong(why, "an item has no %s", "\"id\"");
        if (command->items[i].qty == 0)
            return wrong(why, "item %s has no qty", command->items[i].id);
    }
    return 0;
}

/* ---- JSON */

static int parse_item(json_reader *json, line_item *item)
{
    char name[ID_SIZE];
    uint64_t qty;
    int first = 1, more, seen = 0;

    if (json_expect(json, '{'))
        return -1;
    while ((more = json_more(json, '}', &first)) > 0) {
        if (json_string(json, name, sizeof name) || json_expect(json, ':'))
            return -1;
        int bit = strcmp(name, "id") == 0 ? 1 : strcmp(name, "qty") == 0 ? 2 : 0;
        if (bit == 0 || seen & bit)
            return json_wrong(json, bit ? "a member comes twice" : "an item has only id and qty");
        seen |= bit;
        if (bit == 1 ? json_string(json, item->id, sizeof item->id)
                     : json_uint(json, QTY_MAX, &qty))
            return -1;
        if (bit == 2)
            item->qty = (uint32_t)qty;
    }
    return more;
}

static int parse_items(json_reader *json, place_order *command)
{
    int first = 1, more;

    if (json_expect(json, '['))
        return -1;
    while ((more = json_more(json, ']', &first)) > 0) {
        if (command->count == ITEMS_MAX)
            return json_wrong(json, "more than 100 items");
        if (parse_item(json, &command->items[command->count++]))
            return -1;
    }
    return more;
}

/* One member of the order. `seen` has a bit for each that has come. */
static int parse_member(json_reader *json, place_order *command, unsigned *seen)
{
    char name[ID_SIZE], what[ID_SIZE + 32];
    size_t i = 0;

    if (json_string(json, name, sizeof name) || json_expect(json, ':'))
        return -1;
    while (i < FIELDS && strcmp(name, fields[i].name) != 0)
        i++;
    if (i == FIELDS && strcmp(name, "items") != 0) {
        snprintf(what, sizeof what, "an order has no \"%s\"", printable(name) ? name : "?");
        return json_wrong(json, what);
    }
    if (*seen & 1u << i)
        return json_wrong(json, "a member comes twice");
    *seen |= 1u << i;
    if (i == FIELDS)
        return parse_items(json, command);
    if (!fields[i].needed && json_null(json))
        return 0;
    return json_string(json, text_of(command, &fields[i]), ID_SIZE);
}

int command_parse(const char *line, size_t len, place_order *command, char why[WHY_SIZE])
{
    json_reader json;
    unsigned seen = 0;
    int first = 1, more;

    memset(command, 0, sizeof *command);
    json_init(&json, line, len);
    more = json_expect(&json, '{') ? -1 : 1;
    while (more > 0 && (more = json_more(&json, '}', &first)) > 0)
        if (parse_member(&json, command, &seen))
            more = -1;
    if (more < 0 || json_end(&json))
        return wrong(why, "%s", json.why);
    return command_check(command, why);
}

/* ---- msgpack */

static bool take_text(const msgpack_object *map, const char *name, char out[ID_SIZE])
{
    hf_bytes text = hf_text(map, name);

    if (text.len >= ID_SIZE || (text.len && memchr(text.data, 0, text.len)))
        return false;
    if (text.len)
        memcpy(out, text.data, text.len);
    return true;
}

int command_unpack(const msgpack_object *map, place_order *command, char why[WHY_SIZE])
{
    const msgpack_object *items = hf_field(map, "items");

    memset(command, 0, sizeof *command);
    for (size_t i = 0; i < FIELDS; i++)
        if (!take_text(map, fields[i].name, text_of(command, &fields[i])))
            return wrong(why, "\"%s\" is too long", fields[i].name);
    if (items && (items->type != MSGPACK_OBJECT_ARRAY || items->via.array.size > ITEMS_MAX))
        return wrong(why, "\"%s\" is no list, or too long", "items");
    for (uint32_t i = 0; items && i < items->via.array.size; i++) {
        const msgpack_object *item = &items->via.array.ptr[i];
        uint64_t qty;
        if (!take_text(item, "id", command->items[i].id))
            return wrong(why, "an item's %s is too long", "\"id\"");
        if (hf_uint(item, "qty", &qty) || qty > QTY_MAX)
            return wrong(why, "item %s has no sensible qty", command->items[i].id);
        command->items[i].qty = (uint32_t)qty;
        command->count++;
    }
    return command_check(command, why);
}

void command_pack(msgpack_packer *packer, const place_order *command)
{
    bool promo = *command->promo;

    msgpack_pack_map(packer, promo ? 6 : 5);
    hf_pack_text(packer, "order", hf_str(command->order));
    hf_pack_text(packer, "customer", hf_str(command->customer));
    hf_pack_text(packer, "merchant", hf_str(command->merchant));
    hf_pack_text(packer, "payment", hf_str(command->payment));
    if (promo)
        hf_pack_text(packer, "promo", hf_str(command->promo));
    msgpack_pack_str(packer, 5);
    msgpack_pack_str_body(packer, "items", 5);
    msgpack_pack_array(packer, command->count);
    for (uint32_t i = 0; i < command->count; i++) {
        msgpack_pack_map(packer, 2);
        hf_pack_text(packer, "id", hf_str(command->items[i].id));
        hf_pack_uint(packer, "qty", command->items[i].qty);
    }
}

bool command_equal(const place_order *a, const place_order *b)
{
    if (strcmp(a->order, b->order) != 0 || strcmp(a->customer, b->customer) != 0
        || strcmp(a->merchant, b->merchant) != 0 || strcmp(a->payment, b->payment) != 0
        || strcmp(a->promo, b->promo) != 0 || a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i].id, b->items[i].id) != 0 || a->items[i].qty != b->items[i].qty)
            return false;
    return true;
}
