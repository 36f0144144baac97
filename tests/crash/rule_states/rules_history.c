/* rules_history.c - what is kept of the folded log is never replayed and never in the way.
 *
 * One actor counts what it is told; the window is so small that each life folds several
 * times, and what was folded stays as history. Whenever the machine stops - also between
 * a fold's last row and its tail, or while old history is deleted - no message comes twice,
 * none is lost, and what was buried stays buried once. */
#include "tests/crash/rule_states/rules.h"

#include <string.h>

enum { TOLD = 40, BODY = 4000 };

static int count(hf_turn *turn, const hf_message *msg)
{
    uint32_t number = rule_number(msg->body, 0);
    if (number % 10 == 3)
        return hf_bury(turn, "a three");
    return rule_note(turn, number);
}

static const hf_type types[] = {
    { .name = "count", .handle = count, .strikes = HF_NEVER },
    { 0 },
};

static void act(void)
{
    static uint32_t body[BODY / 4];
    for (uint32_t i = 1; i <= TOLD; i++) {
        body[0] = i;
        RULE_DO(i, hf_tell(rule_engine(), "count/0", "go", hf_view(body, sizeof body)));
        if (i == TOLD / 2) {
            rule_close();
            rule_open();
        }
    }
}

static const char *check(rule_look *look, const rule_moment *known)
{
    uint32_t dead = rule_dead(look, "count/0"), threes = 0, last = 0;
    hf_bytes list = rule_state(look, "count/0");
    uint32_t seen = 0;
    for (; rule_number(list, seen) != UINT32_MAX; seen++) {
        uint32_t number = rule_number(list, seen);
        if (number <= last || !known->begun[number])
            return rule_wrong("count/0 noted %u after %u", number, last);
        last = number;
    }
    for (uint32_t i = 1; i <= TOLD; i++) {
        bool noted = rule_times(list, i) == 1, three = i % 10 == 3;
        threes += three && known->acked[i];
        if (known->acked[i] && !three && !noted)
            return rule_wrong("%u was acknowledged and is lost", i);
    }
    if (dead < threes || dead > (TOLD + 6) / 10)
        return rule_wrong("%u letters are dead, %u were told", dead, threes);
    return rule_waiting(look, "count/0") ? rule_wrong("something waits") : NULL;
}

const rule rule_history = { .name = "history", .types = types, .act = act, .check = check };
