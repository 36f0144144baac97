/* rules_door.c - at the door: an id is taken once, and what replaces others counts them.
 *
 * Numbers are sent with an id each, all of them twice, to an actor on a shard and one of a
 * pool, each of which passes its number on under one id for both: nobody notes a number
 * twice, and what was acknowledged is there once. Beside that letters that replace each
 * other: their actor adds up how many it was given, itself and those replaced; that is
 * no less than was acknowledged, no more than was begun, and the newest came last. */
#include "tests/crash/rule_states/rules.h"

#include <stdio.h>
#include <string.h>

enum { TOLD = 10, AGAIN = 100, PLACES = 200, CALLS = 8, A_CALL = 5 };

static const char *const doors[] = { "door/0", "gate/0" }, *const places[] = { "car/0", "van/0" };

static int pass(hf_turn *turn, const hf_message *msg)
{
    char word[16];
    uint32_t number = rule_number(msg->body, 0);
    (void)snprintf(word, sizeof word, "%u", number);
    hf_send_letter(turn, HF_LETTER(.to = "hall/0", .kind = "in", .body = msg->body,
                                   .dedupe = word));
    return rule_note(turn, number);
}

static int note(hf_turn *turn, const hf_message *msg)
{
    return rule_note(turn, rule_number(msg->body, 0));
}

/* letters so far, the newest */
static int drive(hf_turn *turn, const hf_message *msg)
{
    uint32_t sum[2] = { 0, 0 }, number = rule_number(msg->body, 0);
    hf_bytes old = hf_state(turn);
    if (old.len == sizeof sum)
        memcpy(sum, old.data, sizeof sum);
    if (number % 7 == 0 && msg->attempt == 1)
        return hf_fail(turn, 7, "not yet");
    if (number <= sum[1])
        rule_broken("%s is at %u and is told %u", msg->to, sum[1], number);
    sum[0] += 1 + msg->replaced;
    sum[1] = number;
    hf_save(turn, hf_view(sum, sizeof sum));
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "door", .handle = pass, .strikes = HF_NEVER },
    { .name = "gate", .handle = pass, .strikes = HF_NEVER, .threads = 1 },
    { .name = "hall", .handle = note, .strikes = HF_NEVER },
    { .name = "car", .handle = drive, .retry_ms = 1, .strikes = HF_NEVER },
    { .name = "van", .handle = drive, .retry_ms = 1, .strikes = HF_NEVER, .threads = 1 },
    { 0 },
};

static int send_once(uint32_t door, uint32_t number)
{
    char word[16];
    (void)snprintf(word, sizeof word, "n%u", number);
    return hf_mail(rule_engine(), HF_LETTER(.to = doors[door], .kind = "go", .dedupe = word,
                                            .body = rule_body(&number)), 1, NULL);
}

static int send_places(uint32_t call)
{
    uint32_t numbers[A_CALL];
    hf_letter letters[A_CALL] = { { 0 } };
    for (uint32_t i = 0; i < A_CALL; i++) {
        numbers[i] = call / 2 * A_CALL + i + 1;
        letters[i] = (hf_letter){ .size = sizeof *letters, .to = places[call % 2], .kind = "pos",
                                  .conflate = 1, .body = hf_view(&numbers[i], 4) };
    }
    return hf_mail(rule_engine(), letters, A_CALL, NULL);
}

static void act(void)
{
    for (uint32_t i = 0; i < CALLS; i++)
        RULE_DO(PLACES + i, send_places(i));
    for (uint32_t i = 1; i <= TOLD; i++) {
        for (uint32_t d = 0; d < 2; d++)
            RULE_DO(i * 2 + d, send_once(d, i));
        if (i > 2)
            RULE_DO(AGAIN + i, send_once(i % 2, i - 2));
    }
}

static const char *check_doors(rule_look *look, const rule_moment *known)
{
    bool passed[TOLD + 1] = { false };
    for (uint32_t d = 0; d < 2; d++) {
        hf_bytes list = rule_state(look, doors[d]);
        for (uint32_t i = 1; i <= TOLD; i++) {
            uint32_t times = rule_times(list, i);
            passed[i] |= times;
            if (times > 1 || (times && !known->begun[i * 2 + d])
                || (!times && known->acked[i * 2 + d]))
                return rule_wrong("%s noted %u %u times", doors[d], i, times);
        }
    }
    hf_bytes hall = rule_state(look, "hall/0");
    for (uint32_t i = 1; i <= TOLD; i++)
        if (rule_times(hall, i) != passed[i])
            return rule_wrong("hall/0 noted %u %u times", i, rule_times(hall, i));
    return rule_dead(look, NULL) ? rule_wrong("there are dead letters") : NULL;
}

static const char *check(rule_look *look, const rule_moment *known)
{
    const char *wrong = check_doors(look, known);
    for (uint32_t p = 0; !wrong && p < 2; p++) {
        uint32_t least = 0, most = 0;
        for (uint32_t i = p; i < CALLS; i += 2) {
            least += known->acked[PLACES + i] ? A_CALL : 0;
            most += known->begun[PLACES + i] ? A_CALL : 0;
        }
        hf_bytes sum = rule_state(look, places[p]);
        uint32_t letters = sum.len ? rule_number(sum, 0) : 0,
                 newest = sum.len ? rule_number(sum, 1) : 0;
        if (letters < least || letters > most || letters != newest)
            wrong = rule_wrong("%s got %u letters up to %u, not %u to %u", places[p], letters,
                               newest, least, most);
    }
    return wrong;
}

const rule rule_door = { .name = "door", .types = types, .act = act, .check = check };
