/* rules_topics.c - what is published reaches all subscribers, or none, each once.
 *
 * Actors subscribe, one of them twice over, one leaves again; numbers are published from
 * outside and by an actor's turn. Whoever stayed has noted the same numbers in the same
 * order, nothing acknowledged is missing, and who left has none of what came later. What
 * was subscribed is still so after a crash. */
#include "tests/crash/rule_states/rules.h"

#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

enum { SUBSCRIBERS = 6, LEAVER = 4, ISSUES = 10, LEFT_AFTER = 4, BY_TURN = 7,
       JOIN = 100, LEAVE = 200 }; /* marks; an issue's is its number */

static uint64_t loaded; /* subscriptions that the engine knew after the crash */

typedef struct issue { /* long enough to be shared */
    uint32_t number, rest[40];
} issue;

static issue issue_of(uint32_t number)
{
    issue i = { .number = number };
    for (uint32_t n = 0; n < 40; n++)
        i.rest[n] = number * n;
    return i;
}

static int subscriber(hf_turn *turn, const hf_message *msg)
{
    issue wanted = issue_of(rule_number(msg->body, 0));
    if (msg->body.len != sizeof wanted || memcmp(msg->body.data, &wanted, sizeof wanted) != 0)
        rule_broken("%s was told %zu other bytes", msg->to, msg->body.len);
    return rule_note(turn, wanted.number);
}

static int publisher(hf_turn *turn, const hf_message *msg)
{
    hf_send(turn, "@a/b", "n", msg->body);
    return rule_note(turn, rule_number(msg->body, 0));
}

static const hf_type types[] = {
    { .name = "sub", .handle = subscriber, .strikes = HF_NEVER },
    { .name = "pub", .handle = publisher, .strikes = HF_NEVER },
    { 0 },
};

static void act(void)
{
    hf_engine *e = rule_engine();
    char who[16];
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        (void)snprintf(who, sizeof who, "sub/%u", i);
        RULE_DO(JOIN + i, hf_subscribe(e, i % 2 ? "@a/*" : "@a/b", who));
    }
    RULE_DO(JOIN + SUBSCRIBERS, hf_subscribe(e, "@*", "sub/0"));
    for (uint32_t i = 1; i <= ISSUES; i++) {
        issue text = issue_of(i);
        RULE_DO(i, hf_tell(e, i == BY_TURN ? "pub/0" : "@a/b", "n", hf_view(&text, sizeof text)));
        if (i == LEFT_AFTER) {
            (void)hf_drain(e, 10000);
            RULE_DO(LEAVE, hf_unsubscribe(e, "@a/b", "sub/4"));
        }
        if (i == BY_TURN)
            (void)hf_drain(e, 10000); /* or later ones may come before it */
    }
}

static const char *settle(hf_engine *engine)
{
    loaded = atomic_load(&engine->topics.count);
    return hf_drain(engine, 20000) ? rule_wrong("it does not come to rest") : NULL;
}

static const char *check_list(rule_look *look, const rule_moment *known, uint32_t who)
{
    char address[16];
    uint32_t last = who == LEAVER ? LEFT_AFTER : ISSUES, count = 0;
    (void)snprintf(address, sizeof address, "sub/%u", who);
    hf_bytes list = rule_state(look, address);
    for (; rule_number(list, count) != UINT32_MAX; count++)
        if (rule_number(list, count) != count + 1 || count >= last || !known->begun[count + 1])
            return rule_wrong("%s noted %u after %u", address, rule_number(list, count), count);
    for (uint32_t i = count + 1; i <= last; i++)
        if (known->acked[i])
            return rule_wrong("%u was acknowledged, %s does not have it", i, address);
    return NULL;
}

static const char *check(rule_look *look, const rule_moment *known)
{
    uint64_t most = 0, least = 0;
    size_t len = 0;
    for (uint32_t i = 0; i <= SUBSCRIBERS; i++) {
        most += known->begun[JOIN + i];
        least += known->acked[JOIN + i];
    }
    least -= known->begun[LEAVE];
    most -= known->acked[LEAVE];
    if (loaded < least || loaded > most)
        return rule_wrong("%llu subscriptions, not %llu to %llu", (unsigned long long)loaded,
                          (unsigned long long)least, (unsigned long long)most);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        char address[16];
        const char *wrong = check_list(look, known, i);
        if (wrong)
            return wrong;
        (void)snprintf(address, sizeof address, "sub/%u", i);
        size_t mine = i == LEAVER ? 0 : rule_state(look, address).len;
        len = i ? len : mine;
        if (i != LEAVER && mine != len)
            return rule_wrong("%s has %zu bytes, sub/0 %zu", address, mine, len);
    }
    return NULL;
}

const rule rule_topics = { .name = "topics", .types = types, .act = act, .settle = settle,
                           .check = check };
