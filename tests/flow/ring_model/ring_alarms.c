/* ring_alarms.c - alarms that turns set, replace, cancel and forget, and that go off.
 *
 * An actor keeps in its state which alarm stands under each name, by a number that never
 * comes twice, and when it is due: only that one may come, once, not before. What a turn
 * that fails does to its alarms leaves no trace. In the last life all that are due soon
 * must come; those of an hour are still there then. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdio.h>

enum { CLOCKS = 4, NAMES = 3, HOUR = 3600000, FAR = HOUR / 2, SKEW = 2 };

typedef struct bell {
    uint64_t number, due; /* number 0: none */
} bell;

typedef struct dial {
    bell bells[NAMES];
} dial;

typedef struct book_of_alarms {
    dial dials[CLOCKS];
} book_of_alarms;

static book_of_alarms *book;
static const char *const names[NAMES] = { "ring", "pay", "ring again" };

static void begin(void)
{
    book = ring_share(book, sizeof *book);
}

static void address(uint32_t actor, char text[24])
{
    (void)snprintf(text, 24, "%s/%u", actor % 2 ? "bell" : "clock", actor);
}

/* ---- In a turn */

static void set(hf_turn *turn, dial *d, uint32_t name, uint64_t number, uint64_t delay, bool at)
{
    uint64_t due = ring_wall_ms() + delay;
    hf_bytes body = hf_view(&number, sizeof number);
    if (at)
        hf_set_alarm_at(turn, names[name], due, body);
    else
        hf_set_alarm(turn, names[name], delay, body);
    d->bells[name] = (bell){ number, due };
}

/* `once`: numbers that this attempt uses up. */
static void act_on(hf_turn *turn, dial *d, uint64_t dice, uint64_t once)
{
    uint32_t name = (uint32_t)(dice >> 8) % NAMES;
    uint64_t delay = (dice >> 16) % 30;
    switch (dice % 10) {
    case 0:
    case 1:
    case 2: set(turn, d, name, once, delay, false); break;
    case 3: set(turn, d, name, once, delay, true); break;
    case 4: set(turn, d, name, once, HOUR, delay % 2); break;
    case 5: /* only the last one counts */
        set(turn, d, name, once, delay % 2 ? HOUR : 0, false);
        set(turn, d, name, once + 1, delay, false);
        break;
    case 6:
        set(turn, d, name, once, delay, false);
        hf_cancel_alarm(turn, names[name]);
        d->bells[name] = (bell){ 0, 0 };
        break;
    case 7:
    case 8:
        hf_cancel_alarm(turn, names[name]);
        d->bells[name] = (bell){ 0, 0 };
        break;
    default:
        hf_forget(turn);
        memset(d, 0, sizeof *d);
        if (delay % 2)
            set(turn, d, name, once, delay, false);
        break;
    }
}

static void gone_off(dial *d, const hf_message *msg)
{
    uint64_t number = 0, now = ring_wall_ms();
    uint32_t name = 0;
    while (name < NAMES && strcmp(msg->kind, names[name]) != 0)
        name++;
    if (name == NAMES || msg->body.len != sizeof number) {
        ring_broken("%s: an alarm nobody set: %s", msg->to, msg->kind);
        return;
    }
    memcpy(&number, msg->body.data, sizeof number);
    bell *b = &d->bells[name];
    if (number != b->number)
        ring_broken("%s: alarm %s came with %llx, and %llx is set (attempt %u)", msg->to,
                    msg->kind, (unsigned long long)number, (unsigned long long)b->number,
                    msg->attempt);
    else if (now + SKEW < b->due)
        ring_broken("%s: alarm %s came %llu ms early", msg->to, msg->kind,
                    (unsigned long long)(b->due - now));
    *b = (bell){ 0, 0 };
}

int ring_clock_handle(hf_turn *turn, const hf_message *msg)
{
    dial d = { .bells = { { 0, 0 } } };
    uint64_t dice = 0, once = msg->id * 1000 + msg->attempt * 10;
    if (hf_state(turn).len == sizeof d)
        memcpy(&d, hf_state(turn).data, sizeof d);
    else if (hf_state(turn).len)
        ring_broken("%s: a state of %zu bytes", msg->to, hf_state(turn).len);
    if (strcmp(msg->kind, "report") == 0) {
        memcpy(&dice, msg->body.data, sizeof dice);
        book->dials[dice % CLOCKS] = d;
        return HF_OK;
    }
    if (msg->cause == HF_ALARM) {
        gone_off(&d, msg);
        dice = ring_hash(msg->id, ring->seed);
        if (dice % 4 == 0)
            act_on(turn, &d, ring_hash(dice, msg->attempt), once);
    } else {
        memcpy(&dice, msg->body.data, sizeof dice);
        act_on(turn, &d, ring_hash(dice, msg->attempt), once);
    }
    hf_save(turn, hf_view(&d, sizeof d));
    return dice % 5 == 0 && msg->attempt <= 1 + dice / 5 % 2 ? hf_fail(turn, 3, "not yet") : HF_OK;
}

/* ---- Outside */

static void act(hf_engine *engine, uint32_t sender, uint64_t *dice)
{
    char to[24];
    uint64_t what = ring_roll(dice);
    (void)sender;
    address((uint32_t)(ring_roll(dice) % CLOCKS), to);
    (void)ring_taken(hf_post(engine, HF_LETTER(.to = to, .kind = "do",
                                               .body = hf_view(&what, sizeof what)),
                             1, NULL, NULL),
                     "a word to a clock");
}

static void ask(hf_engine *engine)
{
    char to[24];
    for (uint64_t i = 0; i < CLOCKS; i++) {
        address((uint32_t)i, to);
        ring_tell(engine, to, "report", hf_view(&i, sizeof i));
    }
    if (hf_drain(engine, RING_PATIENCE))
        ring_broken("hf_drain of clocks: %s", hf_detail());
}

static char late[200];

static bool all_rang(hf_engine *engine)
{
    uint64_t now = ring_wall_ms();
    ask(engine);
    for (uint32_t i = 0; i < CLOCKS * NAMES; i++) {
        const bell *b = &book->dials[i / NAMES].bells[i % NAMES];
        if (!b->number || b->due > now + FAR)
            continue;
        (void)snprintf(late, sizeof late,
                       "alarm %s of %u, message %llu set it, %lld ms ago it was due",
                       names[i % NAMES], i / NAMES, (unsigned long long)b->number / 1000,
                       (long long)(now - b->due));
        return false;
    }
    return true;
}

static void rest(hf_engine *engine)
{
    ring_until(engine, all_rang, late);
}

const ring_rule ring_alarms = { begin, act, rest, NULL };
