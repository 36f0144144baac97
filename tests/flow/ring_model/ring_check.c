/* ring_check.c - after the last life: what each message came to.
 *
 * Acknowledged messages were handled once or lie in the grave once, as their
 * plan says; refused ones nowhere; those that a kill left open at most once.
 * What an actor says it sent was received. Order is each sender's. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdio.h>

static uint8_t times_done[SENDERS][ACTORS][MOST + 1], times_dead[SENDERS][ACTORS][MOST + 1];

static void count_item(uint32_t actor, uint32_t sender, uint32_t seq)
{
    if (sender >= SENDERS || seq > MOST || actor >= ACTORS)
        ring_broken("actor %u handled %u/%u", actor, sender, seq);
    else
        times_done[sender][actor][seq]++;
}

static void count_report(uint32_t actor)
{
    const ring_report *r = &ring->reports[actor];
    uint16_t last[SENDERS] = { 0 };
    for (uint32_t i = 0; i < r->count; i++) {
        ring_item item = r->items[i];
        count_item(actor, item.sender, item.seq);
        if (item.sender < SENDERS && ring_kind_of(actor) != PUSHY
            && ring_time_of(item.sender, actor, item.seq) != WAITS) {
            if (item.seq <= last[item.sender])
                ring_broken("actor %u handled %u/%u after %u", actor, item.sender, item.seq,
                            last[item.sender]);
            last[item.sender] = item.seq;
        }
    }
}

static void count_notes(void)
{
    for (uint32_t i = 0; i < ring->tally.count; i++) {
        const ring_note *n = &ring->tally.notes[i];
        count_item(n->actor, n->sender, n->seq);
    }
    for (uint32_t i = 0; i < ring->grave.count; i++) {
        const ring_note *n = &ring->grave.notes[i];
        if (n->sender >= SENDERS || n->actor >= ACTORS || n->seq > MOST)
            ring_broken("the grave holds %u/%u to %u", n->sender, n->seq, n->actor);
        else
            times_dead[n->sender][n->actor][n->seq]++;
    }
}

/* It must have ended once, if `must`; not at all, if `never`. */
static void check_one(uint32_t sender, uint32_t actor, uint32_t seq, bool must, bool never)
{
    uint32_t done = times_done[sender][actor][seq], dead = times_dead[sender][actor][seq];
    ring_plan plan = ring_plan_of(ring_dice(sender, actor, seq));
    ring_time time = ring_time_of(sender, actor, seq);
    bool dies = ring_dies(plan) || time == DOOMED;
    uint32_t right = dies ? dead : done, wrong = dies ? done : dead;
    if (!dies && time == BRIEF) {
        right = done + dead;
        wrong = 0;
    }
    if (wrong || right > 1 || (must && !right) || (never && right))
        ring_broken("%u/%u to %u (plan %d, %s): done %u times, dead %u times", sender, seq, actor,
                    (int)plan, must ? "accepted" : never ? "refused" : "open", done, dead);
}

static void check_outsider(uint32_t sender, uint32_t actor)
{
    for (uint32_t seq = 1; seq <= MOST; seq++) {
        ring_told fate = ring->fate[sender][actor][seq];
        check_one(sender, actor, seq, fate == ACKED, fate == REFUSED || fate == NEVER_TOLD);
    }
}

static void check_sends(uint32_t from, uint32_t to)
{
    uint32_t sent = ring->reports[from].out[to];
    for (uint32_t seq = 1; seq <= MOST; seq++)
        check_one(OUTSIDERS + from, to, seq, seq <= sent, seq > sent);
}

void ring_check(void)
{
    memset(times_done, 0, sizeof times_done);
    memset(times_dead, 0, sizeof times_dead);
    for (uint32_t a = 0; a < ACTORS; a++) {
        if (ring_kind_of(a) != SWARM && !ring->reports[a].there)
            ring_broken("actor %u did not report", a);
        count_report(a);
    }
    count_notes();
    for (uint32_t a = 0; a < ACTORS; a++) {
        for (uint32_t s = 0; s < OUTSIDERS; s++)
            check_outsider(s, a);
        for (uint32_t b = 0; b < ACTORS; b++)
            check_sends(a, b);
    }
}
