/* ring_rows.c - an actor's own rows beside the same table in its state.
 *
 * Both commit with the turn or not at all: whatever was killed or failed, each turn finds
 * the rows that its state tells of, reads what it put itself, and walks them in order. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdio.h>

enum { SHELVES = 4, CELLS = 16, VALUE_MAX = 2500 };

/* What lies under each key, by a number; 0: no row. */
typedef struct board {
    uint64_t cells[CELLS];
} board;

static hf_bytes key_of(uint32_t cell, char text[16])
{
    (void)snprintf(text, 16, "row %02u%s", cell, cell % 3 ? "" : "\xff long");
    return hf_str(text);
}

static hf_bytes value_of(uint64_t number, uint8_t room[VALUE_MAX])
{
    uint64_t hash = ring_hash(number, 5);
    size_t len = hash % 8 ? hash / 8 % 90 : hash / 8 % VALUE_MAX;
    memset(room, (int)(hash >> 40) & 0xff, len);
    memcpy(room, &number, len < sizeof number ? len : sizeof number);
    return hf_view(room, len);
}

static bool is_value(hf_bytes value, uint64_t number)
{
    uint8_t room[VALUE_MAX];
    hf_bytes right = value_of(number, room);
    return value.data && value.len == right.len && memcmp(value.data, room, right.len) == 0;
}

/* ---- What the turn finds is what its state tells */

typedef struct stroll {
    const board *table;
    uint32_t     next;
    const char  *who;
} stroll;

static int step_on(void *user, hf_bytes key, hf_bytes value)
{
    stroll *s = user;
    char text[16];
    while (s->next < CELLS && !s->table->cells[s->next])
        s->next++;
    hf_bytes right = key_of(s->next, text);
    if (s->next >= CELLS || key.len != right.len || memcmp(key.data, text, key.len) != 0)
        ring_broken("%s: a row that should not be there, at %u", s->who, s->next);
    else if (!is_value(value, s->table->cells[s->next]))
        ring_broken("%s: row %u has another value", s->who, s->next);
    s->next++;
    return HF_OK;
}

static void look(hf_turn *turn, const board *table, uint64_t dice, const char *who)
{
    char text[16];
    hf_bytes value;
    uint32_t one = (uint32_t)dice % CELLS, from = (uint32_t)(dice >> 8) % (CELLS + 1);
    int err = hf_get(turn, key_of(one, text), &value);
    if (err && err != HF_ENOTFOUND)
        ring_broken("%s: hf_get: %d %s", who, err, hf_detail());
    else if (table->cells[one] ? err || !is_value(value, table->cells[one]) : !err)
        ring_broken("%s: hf_get of row %u answers %d, number %llx is there", who, one, err,
                    (unsigned long long)table->cells[one]);
    if (from == CELLS)
        return;
    stroll s = { table, from, who };
    err = hf_walk(turn, key_of(from, text), step_on, &s);
    while (s.next < CELLS && !table->cells[s.next])
        s.next++;
    if (err || s.next < CELLS)
        ring_broken("%s: hf_walk: %d, row %u did not come", who, err, s.next);
}

static void change(hf_turn *turn, board *table, uint64_t *dice)
{
    char text[16];
    uint8_t room[VALUE_MAX];
    for (uint64_t n = ring_roll(dice) % 5; n; n--) {
        uint64_t what = ring_roll(dice);
        uint32_t cell = (uint32_t)(what >> 8) % CELLS;
        table->cells[cell] = what % 4 ? what : 0;
        hf_put(turn, key_of(cell, text), what % 4 ? value_of(what, room) : hf_view(NULL, 0));
    }
}

int ring_shelf_handle(hf_turn *turn, const hf_message *msg)
{
    board s = { { 0 } };
    uint64_t dice;
    if (hf_state(turn).len == sizeof s)
        memcpy(&s, hf_state(turn).data, sizeof s);
    memcpy(&dice, msg->body.data, sizeof dice);
    bool fails = dice % 4 == 0 && msg->attempt <= 1 + dice / 4 % 2;
    dice = ring_hash(dice, msg->attempt);
    look(turn, &s, dice, msg->to);
    if (dice % 16 == 0) {
        hf_forget(turn);
        memset(&s, 0, sizeof s);
    }
    change(turn, &s, &dice);
    look(turn, &s, dice, msg->to);
    hf_save(turn, hf_view(&s, sizeof s));
    return fails ? hf_fail(turn, 5, "not yet") : HF_OK;
}

static void tell(hf_engine *engine, uint32_t shelf, uint64_t what)
{
    char to[24];
    (void)snprintf(to, sizeof to, "%s/%u", shelf % 2 ? "vault" : "shelf", shelf);
    (void)ring_taken(hf_post(engine, HF_LETTER(.to = to, .body = hf_view(&what, sizeof what)), 1,
                             NULL, NULL),
                     "a word to a shelf");
}

static void act(hf_engine *engine, uint32_t sender, uint64_t *dice)
{
    (void)sender;
    uint32_t shelf = (uint32_t)(ring_roll(dice) % SHELVES);
    tell(engine, shelf, ring_roll(dice));
}

/* The last look at each. */
static void rest(hf_engine *engine)
{
    for (uint32_t i = 0; i < SHELVES; i++)
        tell(engine, i, 1);
    if (hf_drain(engine, RING_PATIENCE))
        ring_broken("hf_drain of shelves: %s", hf_detail());
}

const ring_rule ring_rows = { NULL, act, rest, NULL };
