/* rules_plain.c - the rule of all rules: told once, handled once, in order.
 *
 * One actor is told numbers; it notes each and passes it on to another. What was
 * acknowledged is there, what is there was told, in order, with nothing missing
 * between; and the second actor knows exactly what the first one does. */
#include "tests/crash/rule_states/rules.h"

enum { TOLD = 12 };

static int first(hf_turn *turn, const hf_message *msg)
{
    hf_send(turn, "second/0", "on", msg->body);
    return rule_note(turn, rule_number(msg->body, 0));
}

static int second(hf_turn *turn, const hf_message *msg)
{
    return rule_note(turn, rule_number(msg->body, 0));
}

static const hf_type types[] = {
    { .name = "first", .handle = first, .strikes = HF_NEVER },
    { .name = "second", .handle = second, .strikes = HF_NEVER },
    { 0 },
};

static void act(void)
{
    for (uint32_t i = 1; i <= TOLD; i++)
        RULE_DO(i, hf_tell(rule_engine(), "first/0", "go", rule_body(&i)));
}

static const char *check(rule_look *look, const rule_moment *known)
{
    hf_bytes one = rule_state(look, "first/0");
    uint32_t count = 0;
    for (; rule_number(one, count) != UINT32_MAX; count++)
        if (rule_number(one, count) != count + 1 || !known->begun[count + 1])
            return rule_wrong("first/0 noted %u after %u", rule_number(one, count), count);
    for (uint32_t i = count + 1; i <= TOLD; i++)
        if (known->acked[i])
            return rule_wrong("%u was acknowledged and is lost", i);
    hf_bytes two = rule_state(look, "second/0");
    return two.len == one.len ? NULL : rule_wrong("second/0 knows %zu bytes, first/0 %zu", two.len,
                                                  one.len);
}

const rule rule_plain = { .name = "plain", .types = types, .act = act, .check = check };
