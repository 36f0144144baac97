/* engine_plan.c - decide what is told and what it will make its actor do.
 *
 * Happy path: the client's thread draws a plan for each message before it tells it,
 * and for those that its turn will send. Nothing here fails but by abort: the tables
 * are large enough for what a life tells. */
#include "tests/crash/engine_states/engine_world.h"

#include "tests/crash/states/crashdisk.h"

#include <stdlib.h>

world w;

const char *const place_names[PLACES] = { "calm/0", "calm/1", "calm/2", "slow/0", "slow/1",
                                          "crew/0", "calm/3", "tally/0", "grave/0" };

int place_type(uint32_t place)
{
    switch (place_names[place][0]) {
    case 's': return SLOW;
    case 't': return TALLY;
    case 'g': return GRAVE;
    default: return place_names[place][1] == 'r' ? CREW : CALM;
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
    static const plan calm[] = { PLAN_PLAIN, PLAN_PLAIN, PLAN_PLAIN, PLAN_SEND, PLAN_SEND,
                                 PLAN_FAIL, PLAN_FAIL_ALWAYS, PLAN_BURY, PLAN_SNOOZE };
    static const plan slow[] = { PLAN_PLAIN, PLAN_SEND, PLAN_FAIL, PLAN_STEPS, PLAN_STEPS,
                                 PLAN_HALF_STEP, PLAN_UNDO, PLAN_UNDO, PLAN_BURY };
    static const plan crew[] = { PLAN_PLAIN, PLAN_PLAIN, PLAN_FAIL, PLAN_STEPS, PLAN_BURY };
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
    for (uint32_t i = 0; i < m->child_count; i++)
        m->children[i] = plan_at(NOBODY, token, depth + 1);
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
    return m->plan == PLAN_BURY || m->plan == PLAN_FAIL_ALWAYS || m->plan == PLAN_UNDO;
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
