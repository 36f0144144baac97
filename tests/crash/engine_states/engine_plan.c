/* engine_plan.c - decide what is told and what it will make its actor do.
 *
 * Happy path: the client's thread draws a plan for each message before it tells it,
 * and for those that its turn will send. Nothing here fails but by abort: the tables
 * are large enough for what a life tells. */
#include "tests/crash/engine_states/engine_world.h"

#include "tests/crash/states/crashdisk.h"

#include <stdlib.h>

world w;

const char *const place_names[PLACES] = { "calm/0",  "calm/1",  "calm/2", "slow/0",
                                          "slow/1",  "crew/0",  "calm/3", "bare/0",
                                          "tally/0", "grave/0", "attic/0" };

static wish wished;

int place_type(uint32_t place)
{
    switch (place_names[place][0]) {
    case 's':
        return SLOW;
    case 't':
        return TALLY;
    case 'g':
        return GRAVE;
    case 'b':
        return BARE;
    case 'a':
        return ATTIC;
    default:
        return place_names[place][1] == 'r' ? CREW : CALM;
    }
}

uint64_t dice(void)
{
    return chance_next(&w.chance);
}

void moment_play(moment *m, const tape_event *event)
{
    uint64_t number = event->op & UINT32_MAX, what = event->op >> 32;
    if (event->what == TAPE_BEGIN) {
        m->begun[number] = true;
        m->started = true;
    } else if (event->what == TAPE_ACK && what == MARK_OP) {
        m->acked[number] = true;
    } else if (event->what == TAPE_ACK && what == MARK_STEP_BEGUN) {
        m->step_begun[number / STEPS][number % STEPS] = true;
    } else if (event->what == TAPE_ACK) {
        m->step_ended[number / STEPS][number % STEPS] = true;
    }
}

static plan plan_for(int type, uint64_t chance)
{
    static const plan calm[] = { PLAN_PLAIN,  PLAN_PLAIN,  PLAN_PLAIN,       PLAN_SEND,
                                 PLAN_SEND,   PLAN_FAIL,   PLAN_FAIL_ALWAYS, PLAN_BURY,
                                 PLAN_SNOOZE, PLAN_FORGET, PLAN_REVIVE };
    static const plan slow[] = { PLAN_PLAIN,     PLAN_SEND, PLAN_FAIL, PLAN_STEPS, PLAN_STEPS,
                                 PLAN_HALF_STEP, PLAN_UNDO, PLAN_REDO, PLAN_BURY };
    static const plan crew[] = { PLAN_PLAIN, PLAN_PLAIN, PLAN_FAIL, PLAN_STEPS, PLAN_BURY };
    static const plan bare[] = { PLAN_PLAIN, PLAN_FAIL, PLAN_FAIL_ALWAYS, PLAN_REVIVE };
    if (type == BARE)
        return bare[chance % (sizeof bare / sizeof *bare)];
    if (type == SLOW)
        return slow[chance % (sizeof slow / sizeof *slow)];
    if (type == CREW)
        return crew[chance % (sizeof crew / sizeof *crew)];
    return calm[chance % (sizeof calm / sizeof *calm)];
}

static uint32_t body_size(uint64_t chance)
{
    return 4 + (uint32_t)(chance % 3 ? chance / 3 % 100 : chance / 3 % (BODY_MAX - 4));
}

void plan_wish(const wish *next)
{
    wished = *next;
    wished.set = true;
}

void plan_wish_nothing(void)
{
    wished.set = false;
}

static void grant(message *m)
{
    m->place = (uint8_t)wished.place;
    m->plan = (uint8_t)wished.plan;
    m->times = (uint8_t)wished.times;
    m->size = wished.size ? wished.size : 40;
    m->child_count = (uint8_t)wished.children;
}

/* Children of what was wished for are plain, each at another place. */
static void grant_child(message *m, uint32_t nth)
{
    static const uint8_t places[CHILDREN] = { 1, 6, 3 };
    *m = (message){
        .sender = NOBODY, .op = m->op, .place = places[nth], .plan = PLAN_PLAIN, .size = 40
    };
}

static uint32_t plan_at(uint32_t sender, uint32_t op_or_parent, uint32_t depth)
{
    if (w.message_count == TOKENS)
        abort();
    uint32_t token = w.message_count++;
    message *m = &w.messages[token];
    *m = (message){ .sender = sender, .op = op_or_parent };
    m->place = (uint8_t)(dice() % TOLD_ACTORS);
    m->plan = (uint8_t)plan_for(place_type(m->place), dice());
    m->times = (uint8_t)(1 + dice() % 3);
    m->size = body_size(dice());
    bool sends = m->plan == PLAN_SEND || m->plan == PLAN_FAIL;
    if (sends && depth < 2 && place_type(m->place) != CREW)
        m->child_count = (uint8_t)(1 + dice() % CHILDREN);
    if (wished.set && depth == 0)
        grant(m);
    if (wished.set && depth)
        m->child_count = 0;
    for (uint32_t i = 0; i < m->child_count; i++) {
        m->children[i] = plan_at(NOBODY, token, depth + 1);
        if (wished.set)
            grant_child(&w.messages[m->children[i]], i);
    }
    return token;
}

uint32_t plan_message(uint32_t sender, uint32_t number)
{
    return plan_at(sender, number, 0);
}

uint32_t plan_more(uint32_t place)
{
    message *m = &w.messages[MORE + place];
    *m = (message){ .plan = PLAN_PLAIN, .place = (uint8_t)place, .size = 40, .sender = NOBODY };
    return MORE + place;
}

bool plan_dies(const message *m)
{
    return m->plan == PLAN_BURY || m->plan == PLAN_FAIL_ALWAYS || m->plan == PLAN_UNDO
           || m->plan == PLAN_REVIVE || m->plan == PLAN_REDO;
}

static bool requeue_is(uint32_t token, const bool *how)
{
    plan p = (plan)w.messages[token].plan;
    if (p != PLAN_REVIVE && p != PLAN_REDO)
        return false;
    for (uint32_t n = 0; n < w.op_count; n++)
        if (w.ops[n].kind == OP_REQUEUE && w.ops[n].tokens[0] == token && how[n])
            return true;
    return false;
}

bool revived(const moment *m, uint32_t token)
{
    return requeue_is(token, m->begun);
}

bool revived_surely(const moment *m, uint32_t token)
{
    return requeue_is(token, m->acked);
}

hf_bytes body_write(uint8_t *room, uint32_t token)
{
    size_t size = w.messages[token].size;
    memset(room, (int)(token * 7 & 0xff), size - 4);
    memcpy(room + size - 4, &token, 4);
    return hf_view(room, size);
}

uint32_t body_token(hf_bytes body)
{
    uint32_t token;
    if (body.len < 4)
        return NOBODY;
    const uint8_t *bytes = body.data;
    memcpy(&token, bytes + body.len - 4, 4);
    if (token >= ALL_TOKENS || (token < TOKENS && token >= w.message_count))
        return NOBODY;
    return token;
}
