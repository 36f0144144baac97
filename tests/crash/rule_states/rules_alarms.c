/* rules_alarms.c - what is due later comes once, and an alarm never without a successor.
 *
 * An actor is told numbers. In each such turn it sends itself a delayed letter with the
 * number and sets its one alarm to it; others send it delayed letters, too. It notes what
 * comes: every letter must be noted exactly once, the alarm in ascending order, and the
 * last one it set must have come at the end. Some turns of the alarm set it anew and fail;
 * one cancels it before it sets it. */
#include "tests/crash/rule_states/rules.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOLD = 8, MAILED = 500, TICK = 1000, OF_MAIL = 100 };

static const char *const actors[] = { "bell/0", "tower/0" };

static int ring(hf_turn *turn, const hf_message *msg)
{
    uint32_t number = rule_number(msg->body, 0);
    if (msg->cause == HF_ALARM) {
        if (number % 3 == 0 && msg->attempt == 1) {
            hf_set_alarm(turn, "tick", 1, rule_body(&number)); /* void: the turn fails */
            return hf_fail(turn, 7, "not yet");
        }
        return rule_note(turn, TICK + number);
    }
    if (strcmp(msg->kind, "later") == 0)
        return rule_note(turn, number);
    hf_send_letter(turn, HF_LETTER(.to = msg->to, .kind = "later", .body = msg->body,
                                   .delay_ms = 1 + number % 3));
    if (number % 4 == 0)
        hf_cancel_alarm(turn, "tick");
    hf_set_alarm(turn, "tick", 1 + number % 2, msg->body);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "bell", .handle = ring, .retry_ms = 1, .strikes = HF_NEVER },
    { .name = "tower", .handle = ring, .retry_ms = 1, .strikes = HF_NEVER, .threads = 1 },
    { 0 },
};

static void act(void)
{
    for (uint32_t i = 1; i <= TOLD; i++)
        for (uint32_t a = 0; a < 2; a++) {
            uint32_t mailed = MAILED + i;
            RULE_DO(i * 2 + a, hf_tell(rule_engine(), actors[a], "go", rule_body(&i)));
            if (i % 2 == a)
                RULE_DO(OF_MAIL + i * 2 + a,
                        hf_mail(rule_engine(), HF_LETTER(.to = actors[a], .kind = "later",
                                .body = rule_body(&mailed), .delay_ms = 1 + i % 2), 1, NULL));
        }
    for (int i = 0; i < 3; i++) {
        (void)rule_worked("hf_drain", hf_drain(rule_engine(), 20000));
        usleep(5000);
    }
    (void)rule_worked("hf_drain", hf_drain(rule_engine(), 20000));
}

/* What is not due yet does not keep hf_drain waiting; all of it is within some ms. */
static const char *settle(hf_engine *engine)
{
    for (int quiet = 0, again = 0; quiet < 4; again++) {
        hf_stats stats = { .size = sizeof stats };
        if (hf_drain(engine, 20000) || hf_stat(engine, &stats) || again > 4000)
            return rule_wrong("it does not come to rest: %s", hf_detail());
        quiet = stats.alarms || stats.waiting ? 0 : quiet + 1;
        usleep(quiet < 4 ? 5000 : 0);
    }
    return NULL;
}

static uint32_t times_of(hf_bytes list, uint32_t number)
{
    uint32_t times = 0;
    for (uint32_t i = 0; i < list.len / 4; i++)
        times += rule_number(list, i) == number;
    return times;
}

static const char *check(rule_look *look, const rule_moment *known)
{
    for (uint32_t a = 0; a < 2; a++) {
        hf_bytes list = rule_state(look, actors[a]);
        uint32_t tick = 0, last = 0;
        for (uint32_t i = 0; i < list.len / 4; i++) {
            uint32_t number = rule_number(list, i);
            if (number > TICK && number <= tick)
                return rule_wrong("%s: the alarm of %u came after that of %u", actors[a],
                                  number - TICK, tick - TICK);
            tick = number > TICK ? number : tick;
            last = number <= TOLD && number > last ? number : last;
        }
        for (uint32_t i = 1; i <= TOLD; i++) {
            bool mailed = i % 2 == a;
            uint32_t own = times_of(list, i), other = times_of(list, MAILED + i);
            if (own > 1 || (known->acked[i * 2 + a] && !own) || (own && !known->begun[i * 2 + a]))
                return rule_wrong("%s noted its letter %u %u times", actors[a], i, own);
            if (other > 1 || (mailed && known->acked[OF_MAIL + i * 2 + a] && !other))
                return rule_wrong("%s noted letter %u %u times", actors[a], MAILED + i, other);
        }
        if (last && tick != TICK + last)
            return rule_wrong("%s: the alarm of %u never came", actors[a], last);
        if (rule_dead(look, actors[a]))
            return rule_wrong("%s has dead letters", actors[a]);
    }
    return NULL;
}

const rule rule_alarms = { .name = "alarms", .types = types, .act = act, .settle = settle,
                           .check = check };
