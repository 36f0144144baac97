/* rules_ends.c - what came too late is dead and not handled; old states are made new.
 *
 * An actor on a shard and one of a pool are paused while letters come for them, every other
 * one with a time that is over when they go on: those are dead letters, none is handled,
 * the others are, in order. A third actor keeps its numbers in a state of form 1; after a
 * close its type is of version 2, whose states begin with a mark: it finds each state
 * with the mark, and every number once. */
#include "tests/crash/rule_states/rules.h"

#include <string.h>
#include <time.h>

enum { TOLD = 10, FORMS = 100, MARK = 0x0f0f0f0f };

static const char *const actors[] = { "late/0", "slow/0" };

static int note(hf_turn *turn, const hf_message *msg)
{
    uint32_t number = rule_number(msg->body, 0);
    if (number % 2 == 0)
        rule_broken("%s handles %u, whose time is over", msg->to, number);
    return rule_note(turn, number);
}

static int keep_form(hf_turn *turn, const hf_message *msg);
static int upgrade(hf_turn *turn, uint32_t version, hf_bytes state, hf_bytes *now);

static hf_type types[] = { /* the version changes in the life */
    { .name = "late", .handle = note, .strikes = HF_NEVER },
    { .name = "slow", .handle = note, .strikes = HF_NEVER, .threads = 1 },
    { .name = "form", .handle = keep_form, .strikes = HF_NEVER, .version = 2, .upgrade = upgrade },
    { 0 },
};
static hf_type *const form = &types[2];

static int keep_form(hf_turn *turn, const hf_message *msg)
{
    const uint32_t mark = MARK;
    hf_bytes old = hf_state(turn);
    bool marked = rule_number(old, 0) == MARK, first = !old.len && form->version == 2;
    if (old.len && marked != (form->version == 2))
        rule_broken("%s finds a state of another form", msg->to);
    uint8_t *state = hf_alloc(turn, old.len + 8);
    size_t at = 0;
    if (first)
        memcpy(state, &mark, at = sizeof mark);
    if (old.len)
        memcpy(state, old.data, at = old.len);
    memcpy(state + at, msg->body.data, 4);
    hf_save(turn, hf_view(state, at + 4));
    return HF_OK;
}

static int upgrade(hf_turn *turn, uint32_t version, hf_bytes state, hf_bytes *now)
{
    const uint32_t mark = MARK;
    if (version != 1 || rule_number(state, 0) == MARK)
        rule_broken("a state of version %u is upgraded", version);
    uint8_t *made = hf_alloc(turn, state.len + sizeof mark);
    memcpy(made, &mark, sizeof mark);
    if (state.len)
        memcpy(made + sizeof mark, state.data, state.len);
    *now = hf_view(made, state.len + sizeof mark);
    return HF_OK;
}

static int send_late(uint32_t actor, uint32_t number)
{
    return hf_mail(rule_engine(), HF_LETTER(.to = actors[actor], .kind = "go",
                                            .body = rule_body(&number),
                                            .expires_ms = number % 2 ? 0 : 1), 1, NULL);
}

static void grow_old(uint32_t version)
{
    rule_close();
    form->version = version;
    rule_open();
}

static const char *settle(hf_engine *engine)
{
    for (size_t a = 0; a < 2; a++)
        (void)rule_worked("hf_resume", hf_resume(engine, a ? "slow" : "late"));
    (void)rule_worked("hf_drain", hf_drain(engine, 20000));
    return NULL;
}

static void act(void)
{
    grow_old(1);
    (void)rule_worked("hf_pause", hf_pause(rule_engine(), "late", NULL, NULL));
    (void)rule_worked("hf_pause", hf_pause(rule_engine(), "slow", NULL, NULL));
    for (uint32_t i = 1; i <= TOLD; i++) {
        for (uint32_t a = 0; a < 2; a++)
            RULE_DO(i * 2 + a, send_late(a, i));
        RULE_DO(FORMS + i, hf_tell(rule_engine(), "form/0", "go", rule_body(&i)));
        if (i == TOLD / 2)
            grow_old(2);
    }
    (void)nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
    (void)settle(rule_engine());
}

/* Numbers from `at` on grow; each was told, and what was acknowledged is among them. */
static const char *check_list(const char *who, hf_bytes list, uint32_t at, uint32_t by,
                              const bool *begun, const bool *acked, uint32_t each)
{
    uint32_t next = 1;
    for (; rule_number(list, at) != UINT32_MAX; at++, next += by)
        if (rule_number(list, at) != next || !begun[next * each])
            return rule_wrong("%s noted %u, not %u", who, rule_number(list, at), next);
    for (; next <= TOLD; next += by)
        if (acked[next * each])
            return rule_wrong("%u of %s was acknowledged and is lost", next, who);
    return NULL;
}

static const char *check_late(rule_look *look, const rule_moment *known, uint32_t a)
{
    uint32_t least = 0, most = 0, dead = rule_dead(look, actors[a]);
    const char *wrong = check_list(actors[a], rule_state(look, actors[a]), 0, 2, known->begun + a,
                                   known->acked + a, 2);
    for (uint32_t i = 2; i <= TOLD; i += 2) {
        least += known->acked[i * 2 + a];
        most += known->begun[i * 2 + a];
    }
    if (!wrong && (dead < least || dead > most))
        wrong = rule_wrong("%u letters to %s are dead, not %u to %u", dead, actors[a], least, most);
    return wrong || !rule_waiting(look, actors[a]) ? wrong : rule_wrong("something waits");
}

static const char *check(rule_look *look, const rule_moment *known)
{
    const char *wrong = NULL;
    for (uint32_t a = 0; !wrong && a < 2; a++)
        wrong = check_late(look, known, a);
    if (wrong)
        return wrong;
    hf_bytes state = rule_state(look, "form/0");
    return check_list("form/0", state, rule_number(state, 0) == MARK, 1, known->begun + FORMS,
                      known->acked + FORMS, 1);
}

const rule rule_ends = { .name = "ends", .types = types, .act = act, .settle = settle,
                         .check = check };
