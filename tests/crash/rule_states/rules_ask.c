/* rules_ask.c - a question that an actor asked is answered once.
 *
 * An actor is told numbers, notes each and asks about it: an actor on a shard, one on
 * threads, or one that forwards. A quarter of the questions is answered, a quarter ends
 * without a reply, a quarter dies, a quarter is answered at the second attempt. At rest
 * each number that was noted was answered exactly once, in the way it had to be; what was
 * acknowledged was noted. */
#include "tests/crash/rule_states/rules.h"

#include <string.h>

enum { TOLD = 12, ANSWERED = 1000, WRONG = 2000 };

static int asks(hf_turn *turn, const hf_message *msg)
{
    static const char *const whom[] = { "knows/0", "slow/0", "passes/0" };
    uint32_t number = rule_number(msg->body, 0);
    if (msg->cause == HF_SENT) {
        hf_send_letter(turn, HF_LETTER(.to = whom[number % 3], .kind = "question",
                                       .body = rule_body(&number), .answer = "answer",
                                       .about = number));
        return rule_note(turn, number);
    }
    number = (uint32_t)msg->about;
    bool gone = number % 4 == 2, empty = number % 4 == 1;
    bool right = (msg->cause == HF_GONE) == gone && strcmp(msg->kind, "answer") == 0
        && (gone || (empty ? msg->body.len == 0 : rule_number(msg->body, 0) == number));
    return rule_note(turn, (right ? ANSWERED : WRONG) + number);
}

static int knows(hf_turn *turn, const hf_message *msg)
{
    uint32_t number = rule_number(msg->body, 0);
    switch (number % 4) {
    case 0: hf_reply(turn, msg->body); return HF_OK;
    case 1: return HF_OK;
    case 2: return hf_bury(turn, "not to be known");
    default:
        hf_reply(turn, msg->attempt > 1 ? msg->body : hf_str("not this"));
        return msg->attempt > 1 ? HF_OK : HF_ENOMEM;
    }
}

static int passes(hf_turn *turn, const hf_message *msg)
{
    hf_forward(turn, "question", msg->body);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "asks", .handle = asks, .strikes = HF_NEVER },
    { .name = "knows", .handle = knows, .strikes = HF_NEVER, .retry_ms = 1 },
    { .name = "slow", .handle = knows, .strikes = HF_NEVER, .retry_ms = 1, .threads = 1 },
    { .name = "passes", .handle = passes, .strikes = HF_NEVER, .next = "knows" },
    { 0 },
};

static void act(void)
{
    for (uint32_t i = 1; i <= TOLD; i++)
        RULE_DO(i, hf_tell(rule_engine(), "asks/0", "go", rule_body(&i)));
}

static const char *check(rule_look *look, const rule_moment *known)
{
    hf_bytes list = rule_state(look, "asks/0");
    for (uint32_t i = 1; i <= TOLD; i++) {
        uint32_t noted = rule_times(list, i), answered = rule_times(list, ANSWERED + i);
        if (rule_times(list, WRONG + i))
            return rule_wrong("question %u was answered in another way", i);
        if (noted > 1 || answered != noted)
            return rule_wrong("question %u was asked %u and answered %u times", i, noted, answered);
        if (known->acked[i] && !noted)
            return rule_wrong("%u was acknowledged and is lost", i);
        if (noted && !known->begun[i])
            return rule_wrong("%u comes from nowhere", i);
    }
    return NULL;
}

const rule rule_ask = { .name = "ask", .types = types, .act = act, .check = check };
