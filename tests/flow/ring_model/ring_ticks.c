/* ring_ticks.c - schedules: each tick comes once, in order, or is counted as missed.
 *
 * The state keeps which tick came last; the next one's time is that many steps later as
 * the message says were missed, and one. Defined anew with the same words it goes on.
 * In the last life each is ended, and none comes after that. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdio.h>
#include <stdlib.h>

enum { WATCHES = 2, BEAT = 30, SLACK = 5 };

/* When its schedule was defined (that of which no tick came yet, the oldest) and ended (0: it
 * stands), and its last tick. */
typedef struct watch {
    uint64_t defined, ended, last;
    uint64_t fresh; /* definitions whose first tick did not come yet */
} watch;

/* A tick is a message of its own: it may come when its schedule has ended since. */
static void ticked(watch *w, const hf_message *msg)
{
    uint64_t due = msg->due, most = ring_wall_ms();
    bool next = w->last && due == w->last + BEAT * (1 + (uint64_t)msg->missed);
    bool first = w->fresh && due + SLACK >= w->defined;
    if (w->ended && w->ended < most)
        most = w->ended;
    if (due > most + SLACK)
        ring_broken("%s ticks %llu ms early, or after its end", msg->to,
                    (unsigned long long)(due - most));
    else if (!next && !first)
        ring_broken("%s ticks for %llu after %llu, %u missed", msg->to, (unsigned long long)due,
                    (unsigned long long)w->last, msg->missed);
    w->fresh -= !next;
    w->last = due;
}

int ring_tick_handle(hf_turn *turn, const hf_message *msg)
{
    watch w = { 0, 0, 0, 0 };
    uint32_t number = (uint32_t)atoi(strchr(msg->to, '/') + 1);
    if (hf_state(turn).len == sizeof w)
        memcpy(&w, hf_state(turn).data, sizeof w);
    if (msg->cause == HF_ALARM) {
        ticked(&w, msg);
    } else if (strcmp(msg->kind, "define") == 0) {
        hf_every(turn, "tick", "every 30ms", number ? 1000 : 1, hf_str("t"));
        if (!w.defined || w.ended)
            w = (watch){ w.fresh ? w.defined : ring_wall_ms(), 0, w.last, w.fresh + 1 };
    } else { /* end */
        hf_every(turn, "tick", NULL, 0, hf_str(""));
        w.ended = w.ended ? w.ended : ring_wall_ms();
    }
    hf_save(turn, hf_view(&w, sizeof w));
    return msg->id % 7 == 0 && msg->attempt == 1 ? hf_fail(turn, 4, "once") : HF_OK;
}

static void say(hf_engine *engine, const char *kind, uint32_t number)
{
    char to[24];
    (void)snprintf(to, sizeof to, "watch/%u", number);
    (void)ring_taken(hf_tell(engine, to, kind, hf_str("")), "a word to a watch");
}

static void act(hf_engine *engine, uint32_t sender, uint64_t *dice)
{
    (void)sender;
    uint64_t what = ring_roll(dice);
    say(engine, what % 16 == 0 ? "end" : "define", (uint32_t)(what >> 8) % WATCHES);
}

static void rest(hf_engine *engine)
{
    for (uint32_t i = 0; i < WATCHES; i++)
        say(engine, "end", i);
    if (hf_drain(engine, RING_PATIENCE))
        ring_broken("hf_drain of watches: %s", hf_detail());
}

const ring_rule ring_ticks = { NULL, act, rest, NULL };
