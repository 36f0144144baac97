/* rules_schedule.c - a schedule's ticks come once each, and it goes on.
 *
 * An actor defines "every 15ms" and notes when each tick was due, for as long as it has
 * not been told to stop. After a crash it goes on: each tick it noted is later than the
 * one before, and it can be defined again and ended. */
#include "tests/crash/rule_states/rules.h"

#include <stdatomic.h>
#include <time.h>

enum { DEFINED = 1, MADE_UP = 3 };

static void nap(long ms)
{
    (void)nanosleep(&(struct timespec){ 0, ms * 1000000 }, NULL);
}

static atomic_uint beats; /* of this process */

static int clockwork(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "define") == 0)
        hf_every(turn, "beat", "every 15ms", MADE_UP, hf_str("b"));
    else if (strcmp(msg->kind, "stop") == 0)
        hf_every(turn, "beat", NULL, 0, hf_view(NULL, 0));
    else if (strcmp(msg->kind, "beat") == 0 && atomic_fetch_add(&beats, 1) < UINT32_MAX)
        return rule_note(turn, (uint32_t)msg->due);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "clockwork", .handle = clockwork, .strikes = HF_NEVER },
    { 0 },
};

static void act(void)
{
    RULE_DO(DEFINED, hf_tell(rule_engine(), "clockwork/0", "define", hf_str("")));
    nap(50);
    if (rule_dice() % 2) {
        rule_close();
        rule_open();
        nap(40);
    }
}

/* Told once more it is the same schedule, so it goes on; it must go off, and stop. */
static const char *settle(hf_engine *engine)
{
    atomic_store(&beats, 0);
    int err = hf_tell(engine, "clockwork/0", "define", hf_str(""));
    for (int i = 0; !err && i < 10000 && !atomic_load(&beats); i++)
        nap(1);
    if (!err && !atomic_load(&beats))
        return rule_wrong("it does not go off");
    if (!err)
        err = hf_tell(engine, "clockwork/0", "stop", hf_str(""));
    if (!err)
        err = hf_drain(engine, 20000);
    return err ? rule_wrong("it does not stop: %s (%s)", hf_strerror(err), hf_detail()) : NULL;
}

static const char *check(rule_look *look, const rule_moment *known)
{
    hf_bytes list = rule_state(look, "clockwork/0");
    uint32_t last = rule_number(list, 0);
    (void)known;
    if (last == UINT32_MAX)
        return rule_wrong("no tick was noted");
    for (uint32_t at = 1, due; (due = rule_number(list, at)) != UINT32_MAX; at++, last = due)
        if (due <= last)
            return rule_wrong("tick %u was due at %u, the one before at %u", at, due, last);
    return rule_waiting(look, "clockwork/0") ? rule_wrong("ticks are left") : NULL;
}

const rule rule_schedule = {
    .name = "schedule", .types = types, .act = act, .settle = settle, .check = check
};
