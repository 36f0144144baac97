/* tally.c - how many orders are paid, and how many dead.
 *
 * Happy path: "move" takes one from what an order was and adds one to what it
 * is now, "report" copies the numbers to where main can read them. Both run on
 * a shard: short, and never blocking (the lock is held for three assignments).
 *
 * How it fails: what is no "move" or "report" is buried. */
#include "examples/orders/tally.h"

#include "examples/orders/shop.h"

typedef struct counter {
    const char *name;
    size_t      offset;
} counter;

static const counter counters[] = {
    { "paid", offsetof(order_tally, paid) },
    { "dead", offsetof(order_tally, dead) },
};
enum { COUNTERS = sizeof counters / sizeof *counters };

static uint64_t *at(order_tally *tally, size_t i)
{
    return (uint64_t *)(void *)((char *)tally + counters[i].offset);
}

void tally_move(hf_turn *turn, const char *was, const char *now)
{
    msgpack_packer *packer = hf_packer(turn);

    if (strcmp(was, now) == 0)
        return;
    msgpack_pack_map(packer, 2);
    hf_pack_text(packer, "was", hf_str(was));
    hf_pack_text(packer, "now", hf_str(now));
    hf_send(turn, TALLY_ACTOR, "move", hf_packed(packer));
}

static int load(hf_turn *turn, order_tally *tally)
{
    hf_bytes state = hf_state(turn);
    msgpack_object map;

    memset(tally, 0, sizeof *tally);
    if (!state.data)
        return HF_OK;
    int err = hf_unpack(turn, state, &map);
    for (size_t i = 0; !err && i < COUNTERS; i++)
        err = hf_uint(&map, counters[i].name, at(tally, i));
    return err;
}

static void save(hf_turn *turn, order_tally *tally)
{
    msgpack_packer *packer = hf_packer(turn);

    msgpack_pack_map(packer, COUNTERS);
    for (size_t i = 0; i < COUNTERS; i++)
        hf_pack_uint(packer, counters[i].name, *at(tally, i));
    hf_save(turn, hf_packed(packer));
}

static bool is(hf_bytes text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

static int move(hf_turn *turn, const hf_message *msg, order_tally *tally)
{
    msgpack_object map;

    if (hf_unpack(turn, msg->body, &map))
        return hf_bury(turn, "no map: %s", hf_detail());
    hf_bytes was = hf_text(&map, "was"), now = hf_text(&map, "now");
    for (size_t i = 0; i < COUNTERS; i++) {
        uint64_t *count = at(tally, i);
        if (was.len && is(was, counters[i].name) && *count)
            *count -= 1;
        if (now.len && is(now, counters[i].name))
            *count += 1;
    }
    save(turn, tally);
    return HF_OK;
}

int tally_handle(hf_turn *turn, const hf_message *msg)
{
    order_shop *shop = msg->user;
    order_tally tally;
    int err = load(turn, &tally);

    if (err)
        return hf_fail(turn, err, "the tally's state: %s", hf_detail());
    if (strcmp(msg->kind, "move") == 0)
        return move(turn, msg, &tally);
    if (strcmp(msg->kind, "report") != 0)
        return hf_bury(turn, "a tally does not understand \"%s\"", msg->kind);
    pthread_mutex_lock(&shop->lock);
    shop->tally = tally;
    shop->reported = true;
    pthread_mutex_unlock(&shop->lock);
    return HF_OK;
}
