/* rules_rows.c - an actor's rows and its state change together or not at all.
 *
 * An actor is told numbers, notes each in its state and puts a row for it, takes away the
 * one four numbers ago and puts the newest under "last". Every turn, and one after the
 * crash, looks whether its rows are exactly those that its state asks for. Some turns put
 * rubbish first and fail. Once in a while it forgets everything. */
#include "tests/crash/rule_states/rules.h"

#include <stdio.h>
#include <string.h>

enum { TOLD = 10, KEPT = 4, WIDE = 90 };

static const char *const actors[] = { "book/0", "desk/0" };

static uint32_t newest(hf_bytes list)
{
    return list.len >= 4 ? rule_number(list, (uint32_t)(list.len / 4) - 1) : 0;
}

static hf_bytes row_key(char key[16], uint32_t number)
{
    (void)snprintf(key, 16, "n%08u", number);
    return hf_str(key);
}

typedef struct shelf {
    const char *who;
    uint32_t    next, last; /* the row that comes now, and the newest number; 0: none */
} shelf;

/* First "last", then those of the numbers. */
static int see(void *user, hf_bytes key, hf_bytes value)
{
    shelf *s = user;
    char wanted[16];
    bool is_last = key.len == 4 && memcmp(key.data, "last", 4) == 0;
    hf_bytes name = row_key(wanted, s->next);
    if (is_last && rule_number(value, 0) != s->last)
        rule_broken("%s: its last row is %u, not %u", s->who, rule_number(value, 0), s->last);
    if (is_last)
        return HF_OK;
    if (key.len != name.len || memcmp(key.data, name.data, key.len) != 0 || value.len != WIDE
        || rule_number(value, 0) != s->next)
        rule_broken("%s: a row " HF_FMT " where %s should be", s->who, HF_ARG(key), wanted);
    s->next++;
    return HF_OK;
}

/* What the state asks for: its newest numbers, and "last". */
static void look_at_all(hf_turn *turn, const hf_message *msg)
{
    hf_bytes list = hf_state(turn), found;
    uint32_t count = (uint32_t)(list.len / 4), last = newest(list);
    shelf s = { msg->to, last + 1 - (count < KEPT ? count : KEPT), last };
    int err = hf_walk(turn, hf_str(""), see, &s);
    if (err || s.next != last + 1)
        rule_broken("%s: its rows end before %u (%d)", msg->to, s.next, err);
    err = hf_get(turn, hf_str("last"), &found);
    if (err != (last ? HF_OK : HF_ENOTFOUND))
        rule_broken("%s: \"last\" answers %d, its state ends with %u", msg->to, err, last);
}

static int keep(hf_turn *turn, const hf_message *msg)
{
    uint32_t number = rule_number(msg->body, 0), wide[(WIDE + 3) / 4] = { number };
    hf_bytes list = hf_state(turn), found;
    char key[16];
    look_at_all(turn, msg);
    if (strcmp(msg->kind, "look") == 0)
        return HF_OK;
    if (number % 3 == 0 && msg->attempt == 1) {
        hf_put(turn, hf_str("last"), hf_str("rubbish"));
        hf_put(turn, row_key(key, number + 1), hf_str("rubbish"));
        return hf_fail(turn, 7, "not yet");
    }
    if (number == 7) { /* from here on as if nothing had been */
        hf_forget(turn);
        hf_save(turn, rule_body(&number));
    } else if (rule_note(turn, number)) {
        return HF_ENOMEM;
    } else if (list.len / 4 >= KEPT) {
        hf_put(turn, row_key(key, number - KEPT), hf_view(NULL, 0));
    }
    hf_put(turn, row_key(key, number), hf_view(wide, WIDE));
    hf_put(turn, hf_str("last"), rule_body(&number));
    if (hf_get(turn, row_key(key, number), &found) || found.len != WIDE)
        rule_broken("%s: what it put is not there", msg->to);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "book", .handle = keep, .retry_ms = 1, .strikes = HF_NEVER },
    { .name = "desk", .handle = keep, .retry_ms = 1, .strikes = HF_NEVER, .threads = 1 },
    { 0 },
};

static void act(void)
{
    for (uint32_t i = 1; i <= TOLD; i++)
        for (uint32_t a = 0; a < 2; a++)
            RULE_DO(i * 2 + a, hf_tell(rule_engine(), actors[a], "go", rule_body(&i)));
}

static const char *settle(hf_engine *engine)
{
    uint32_t none = 0;
    for (int again = 0; again < 2; again++) {
        if (hf_drain(engine, 20000))
            return rule_wrong("it does not come to rest: %s", hf_detail());
        for (uint32_t a = 0; !again && a < 2; a++)
            if (hf_tell(engine, actors[a], "look", rule_body(&none)))
                return rule_wrong("it can't be told: %s", hf_detail());
    }
    return NULL;
}

static const char *check(rule_look *look, const rule_moment *known)
{
    for (uint32_t a = 0; a < 2; a++) {
        hf_bytes list = rule_state(look, actors[a]);
        uint32_t last = newest(list), count = (uint32_t)(list.len / 4);
        uint32_t first = last >= 7 ? 7 : 1;
        for (uint32_t i = 0; i < count; i++)
            if (rule_number(list, i) != first + i || !known->begun[(first + i) * 2 + a])
                return rule_wrong("%s noted %u at %u", actors[a], rule_number(list, i), i);
        if (last && count != last - first + 1)
            return rule_wrong("%s noted %u numbers up to %u", actors[a], count, last);
        for (uint32_t i = last + 1; i <= TOLD; i++)
            if (known->acked[i * 2 + a])
                return rule_wrong("%s: %u was acknowledged and is lost", actors[a], i);
        if (rule_dead(look, actors[a]))
            return rule_wrong("%s has dead letters", actors[a]);
    }
    return NULL;
}

const rule rule_rows = { .name = "rows", .types = types, .act = act, .settle = settle,
                         .check = check };
