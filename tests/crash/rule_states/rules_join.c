/* rules_join.c - a parent is told once that its children have ended, and how.
 *
 * A parent is told numbers; for each it sends some children, of which one is buried, and
 * joins them. What was acknowledged was joined once, after the last, with all counted;
 * nothing of a join is left when all is at rest. */
#include "tests/crash/rule_states/rules.h"

#include <stdio.h>
#include <string.h>

enum { ORDERS = 5, CHILDREN = 4, JOINED = 1000 };

static int parent(hf_turn *turn, const hf_message *msg)
{
    char to[16];
    uint32_t number = rule_number(msg->body, 0);
    if (msg->cause == HF_JOINED) {
        if (msg->joined != CHILDREN - 1 || msg->lost != 1)
            rule_broken("%s: %u joined, %u lost", msg->to, msg->joined, msg->lost);
        return rule_note(turn, JOINED + number);
    }
    hf_join(turn, "all", msg->body);
    for (uint32_t i = 0; i < CHILDREN; i++) {
        (void)snprintf(to, sizeof to, "child/%u", i);
        hf_send_letter(turn, HF_LETTER(.to = to, .kind = i ? "good" : "bad", .body = msg->body,
                                       .join = 1));
    }
    return rule_note(turn, number);
}

static int child(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "bad") == 0)
        return hf_bury(turn, "a bad one");
    return rule_note(turn, rule_number(msg->body, 0));
}

static const hf_type types[] = {
    { .name = "shard", .handle = parent, .strikes = HF_NEVER },
    { .name = "pool", .handle = parent, .threads = 1, .strikes = HF_NEVER },
    { .name = "child", .handle = child, .strikes = HF_NEVER },
    { 0 },
};

static const char *const parents[] = { "shard/0", "pool/0" };

static void act(void)
{
    for (uint32_t i = 1; i <= ORDERS; i++)
        for (uint32_t p = 0; p < 2; p++)
            RULE_DO(i * 2 + p, hf_tell(rule_engine(), parents[p], "go", rule_body(&i)));
}

static const char *check(rule_look *look, const rule_moment *known)
{
    uint32_t orders = 0;
    for (uint32_t p = 0; p < 2; p++) {
        for (uint32_t i = 1; i <= ORDERS; i++) {
            hf_bytes list = rule_state(look, parents[p]);
            uint32_t begun = rule_times(list, i), joined = rule_times(list, JOINED + i);
            if (begun > 1 || joined != begun)
                return rule_wrong("%s took %u %u times, joined it %u times", parents[p], i, begun,
                                  joined);
            if (begun < known->acked[i * 2 + p] || begun > known->begun[i * 2 + p])
                return rule_wrong("%s has %u %u times", parents[p], i, begun);
            orders += begun;
        }
        if (rule_waiting(look, parents[p]))
            return rule_wrong("%s has messages left", parents[p]);
    }
    uint32_t dead = rule_dead(look, "child/0");
    return dead == orders ? NULL : rule_wrong("%u children are dead, of %u orders", dead, orders);
}

const rule rule_join = { .name = "join", .types = types, .act = act, .check = check };
