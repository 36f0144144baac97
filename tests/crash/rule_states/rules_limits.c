/* rules_limits.c - what a breaker or a rate holds is handled once, in order, in the end.
 *
 * Of every three numbers one fails at first, which opens the breaker of its type; another
 * type has a rate. Some letters are urgent. Whatever was on disk of breakers and rates
 * when the machine stopped: the next engine reads it, holds for a while, and goes on. */
#include "tests/crash/rule_states/rules.h"

#include <time.h>

enum { TOLD = 6, ACTORS = 3, REST_MS = 15000 };

static int service(hf_turn *turn, const hf_message *msg)
{
    uint32_t number = rule_number(msg->body, 0);
    if (number % 3 == 0 && msg->attempt <= 2)
        return hf_fail(turn, 1, "down");
    return rule_note(turn, number);
}

static const hf_type types[] = {
    { .name = "shard", .handle = service, .strikes = HF_NEVER, .retry_ms = 1, .retry_ms_max = 1,
      .break_after = 2, .break_ms = 5 },
    { .name = "pool", .handle = service, .strikes = HF_NEVER, .threads = 2, .retry_ms = 1,
      .retry_ms_max = 1, .break_after = 2, .break_ms = 5 },
    { .name = "rated", .handle = service, .strikes = HF_NEVER, .retry_ms = 1, .retry_ms_max = 1,
      .rate = 3, .rate_ms = 10 },
    { 0 },
};

static const char *const actors[ACTORS] = { "shard/0", "pool/0", "rated/0" };

/* What is held does not count to hf_drain. */
static const char *settle(hf_engine *engine)
{
    hf_stats stats = HF_STATS;
    for (int ms = 0; ms < REST_MS; ms++) {
        struct timespec pause = { 0, 1000000 };
        if (hf_stat(engine, &stats))
            return rule_wrong("hf_stat: %s", hf_detail());
        if (!stats.waiting)
            return NULL;
        (void)nanosleep(&pause, NULL);
    }
    return rule_wrong("%llu messages wait still", (unsigned long long)stats.waiting);
}

static void act(void)
{
    for (uint32_t i = 1; i <= TOLD; i++)
        for (uint32_t a = 0; a < ACTORS; a++)
            RULE_DO(i * ACTORS + a, hf_mail(rule_engine(), HF_LETTER(.to = actors[a],
                                            .body = rule_body(&i), .urgency = i % 4), 1, NULL));
    if (settle(rule_engine()))
        rule_broken("the life does not come to rest");
}

static const char *check(rule_look *look, const rule_moment *known)
{
    for (uint32_t a = 0; a < ACTORS; a++) {
        hf_bytes list = rule_state(look, actors[a]);
        uint32_t count = 0;
        for (; rule_number(list, count) != UINT32_MAX; count++)
            if (rule_number(list, count) != count + 1
                || !known->begun[(count + 1) * ACTORS + a])
                return rule_wrong("%s noted %u after %u", actors[a], rule_number(list, count),
                                  count);
        for (uint32_t i = count + 1; i <= TOLD; i++)
            if (known->acked[i * ACTORS + a])
                return rule_wrong("%u of %s was acknowledged and is lost", i, actors[a]);
        if (rule_waiting(look, actors[a]) || rule_dead(look, actors[a]))
            return rule_wrong("%s has messages left", actors[a]);
    }
    return NULL;
}

const rule rule_limits = { .name = "limits", .types = types, .act = act, .settle = settle,
                           .check = check };
