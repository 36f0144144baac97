/* ring_delays.c - letters that wait for their time, that expire, that are urgent.
 *
 * Which of that a letter does follows from who sent it and its number. None comes early;
 * what waits longer than it may live is dead and never handled; what may live for
 * milliseconds only is handled once or dead once; the urgent ones keep their order among
 * those of one sender to one actor. */
#include "tests/flow/ring_model/ring_rules.h"

enum { HOUR = 3600000, BRIEFLY = 3, SLACK = 2, LONGEST = 30 };

static uint32_t *told_at; /* ms; when an outsider sent it for the first time */
static uint64_t  base;

static void begin(void)
{
    told_at = ring_share(told_at, sizeof *told_at * OUTSIDERS * ACTORS * (MOST + 1));
    base = ring_mono_ms() - 1;
}

static uint32_t *told(uint32_t sender, uint32_t actor, uint32_t seq)
{
    return &told_at[(sender * ACTORS + actor) * (MOST + 1) + seq];
}

static uint64_t chance(uint32_t sender, uint32_t actor, uint32_t seq)
{
    return ring_hash(ring_dice(sender, actor, seq), 88);
}

ring_time ring_time_of(uint32_t sender, uint32_t actor, uint32_t seq)
{
    static const ring_time times[20] = { WAITS, WAITS, DOOMED, BRIEF };
    return times[chance(sender, actor, seq) % 20]; /* the rest: ON_TIME */
}

static uint64_t delay_of(uint32_t sender, uint32_t actor, uint32_t seq)
{
    return chance(sender, actor, seq) / 64 % 20;
}

void ring_dress(hf_letter *letter, uint32_t sender, uint32_t actor, uint32_t seq)
{
    uint64_t dice = chance(sender, actor, seq), delay = delay_of(sender, actor, seq);
    if (sender < OUTSIDERS && !*told(sender, actor, seq))
        *told(sender, actor, seq) = (uint32_t)(ring_mono_ms() - base);
    switch (ring_time_of(sender, actor, seq)) {
    case WAITS:
        if (dice % 20)
            letter->delay_ms = delay;
        else
            letter->at = ring_wall_ms() + delay;
        letter->expires_ms = dice / 32 % 2 ? HOUR : 0;
        break;
    case DOOMED:
        letter->delay_ms = 5 + delay;
        letter->expires_ms = 1;
        break;
    case BRIEF:
        letter->expires_ms = BRIEFLY;
        break;
    case ON_TIME:
        letter->urgency = (uint32_t)(dice / 32 % 30 < 10 ? dice / 32 % 30 : 0);
        letter->expires_ms = dice / 32 % 30 == 11 ? HOUR : 0;
        break;
    }
}

void ring_came(const ring_letter *l, const hf_message *msg)
{
    uint64_t wall = ring_wall_ms(), mono = ring_mono_ms() - base;
    uint64_t delay = delay_of(l->sender, l->actor, l->seq);
    bool from_now = chance(l->sender, l->actor, l->seq) % 20 != 0; /* not .at */
    switch (ring_time_of(l->sender, l->actor, l->seq)) {
    case WAITS:
        if ((from_now && wall + SLACK < msg->sent + delay)
            || (l->sender < OUTSIDERS
                && mono + SLACK < *told(l->sender, l->actor, l->seq) + delay))
            ring_broken("%u/%u to %u came early, with %llu ms to wait", l->sender, l->seq, l->actor,
                        (unsigned long long)delay);
        break;
    case DOOMED:
        ring_broken("%u/%u to %u came when it had expired", l->sender, l->seq, l->actor);
        break;
    case BRIEF: /* in time or not, nobody here can tell */
    case ON_TIME:
        break;
    }
}

/* ---- The last life: what is delayed has come when what was delayed after it has */

static uint32_t wanted;

static bool all_came(hf_engine *engine)
{
    (void)engine;
    return atomic_load(&ring->asked) >= wanted;
}

static void wait_behind(hf_engine *engine)
{
    char to[32];
    wanted = atomic_load(&ring->asked) + 2 * ACTORS;
    for (uint32_t i = 0; i < 2 * ACTORS; i++) {
        ring_letter body = { .actor = (uint16_t)(i / 2) };
        hf_letter l = { .size = sizeof l, .to = to, .kind = "report" };
        ring_address(i / 2, to);
        l.body = hf_view(&body, sizeof body);
        if (i % 2)
            l.at = ring_wall_ms() + LONGEST;
        else
            l.delay_ms = LONGEST;
        if (hf_mail(engine, &l, 1, NULL))
            ring_broken("a delayed question to %s: %s", to, hf_detail());
    }
    ring_until(engine, all_came, "delayed letters");
    if (hf_drain(engine, RING_PATIENCE))
        ring_broken("hf_drain of what was delayed: %s", hf_detail());
}

/* What comes may send what is delayed again. */
static void rest(hf_engine *engine)
{
    if (hf_drain(engine, RING_PATIENCE))
        ring_broken("hf_drain of what is not delayed: %s", hf_detail());
    for (uint32_t i = 0; i <= DEPTH; i++)
        wait_behind(engine);
}

const ring_rule ring_delays = { begin, NULL, rest, NULL };
