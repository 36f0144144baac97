/* model.c - the plain side of the comparison: arrays, and changes applied to them
 * one after another in the order of their positions. */
#include "tests/flow/store_model/model.h"

#include <stdlib.h>

#define FIFTY "01234567890123456789012345678901234567890123456789"

/* Two types, of which one is the beginning of the other, and a long address. */
const char *const model_actors[ACTORS] = {
    "order/1", "order/2", "order/a/b", "orders/1", "order/1x", "o/1", "zz/" FIFTY FIFTY FIFTY,
};
const char *const model_names[NAMES] = { "a", "again", "b" };
const char *const model_pausable[PAUSABLE] = { "order", "order/1", "zz", "o/1" };

#define ROW(text) { text, sizeof text - 1 }
/* Shelves, zeros, prefixes of each other, the longest there may be. */
const hf_bytes model_rows[ROWS] = {
    ROW("ja"), ROW("ja\0"), ROW("tnews"), ROW("u\0"), ROW("u\0\1"),
    ROW("u" FIFTY FIFTY "012345678901234567890123456"), ROW("ua"), ROW("ua\xff"), ROW("u\xff"),
};

void model_free(model *m)
{
    free(m->letters);
    free(m->steps);
    *m = (model){ 0 };
}

hf_bytes model_fill(blob b, uint8_t *scratch)
{
    uint64_t state = b.seed;
    for (uint32_t i = 0; i < b.len; i += 8) {
        uint64_t word = core_random(&state);
        memcpy(scratch + i, &word, b.len - i < 8 ? b.len - i : 8);
    }
    return hf_view(scratch, b.len);
}

bool model_same(blob b, hf_bytes bytes)
{
    static uint8_t scratch[BLOB_MAX];
    return b.len == bytes.len && memcmp(model_fill(b, scratch).data, bytes.data, b.len) == 0;
}

hf_bytes model_times(uint32_t count)
{
    static const uint64_t times[TIMES] = { 11, UINT64_C(22) << 40, 33 };
    return hf_view(times, count * sizeof *times);
}

/* The message of an alarm ended: if nobody set that again, it is over. */
static void end_alarm(model *m, letter *l)
{
    alarm_set *alarm = &m->alarms[l->actor][l->name];
    if (l->alarm && alarm->fired && alarm->generation == l->alarm)
        alarm->fired = false;
    l->alarm = 0;
}

void model_end(model *m, letter *l)
{
    end_alarm(m, l);
    l->where = IS_GONE;
    l->ended = true;
}

static void arrive(model *m, const change *c, uint64_t now)
{
    if (m->letter_count == m->letter_room) {
        m->letter_room = m->letter_room ? m->letter_room * 2 : 64;
        m->letters = realloc(m->letters, m->letter_room * sizeof *m->letters);
        if (!m->letters)
            core_fail("out of memory");
    }
    letter *l = &m->letters[m->letter_count++];
    *l = c->made;
    l->place = c->position;
    l->id = l->id ? l->id : c->position;
    l->sent = l->sent ? l->sent : now;
    l->where = l->delayed ? IS_DELAYED : WAITS;
}

static void drop_steps(model *m, uint64_t id)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->step_count; i++)
        if (m->steps[i].id != id)
            m->steps[kept++] = m->steps[i];
    m->step_count = kept;
}

static int compare_steps(const step_row *a, const step_row *b)
{
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    if (a->generation != b->generation)
        return a->generation < b->generation ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

static void put_step(model *m, const change *c)
{
    step_row row = { m->letters[c->letter].id, c->generation, c->number, c->phase, c->name,
                     c->bytes };
    uint32_t at = 0;
    while (at < m->step_count && compare_steps(&m->steps[at], &row) < 0)
        at++;
    if (at == m->step_count || compare_steps(&m->steps[at], &row) != 0) {
        if (m->step_count == m->step_room) {
            m->step_room = m->step_room ? m->step_room * 2 : 16;
            m->steps = realloc(m->steps, m->step_room * sizeof *m->steps);
            if (!m->steps)
                core_fail("out of memory");
        }
        memmove(m->steps + at + 1, m->steps + at, (m->step_count - at) * sizeof *m->steps);
        m->step_count++;
    }
    m->steps[at] = row;
}

static void change_letter(model *m, const change *c)
{
    letter *l = &m->letters[c->letter];
    if (c->op == HF_OP_ACK) {
        if (c->flags & HF_ENTRY_PURGES)
            drop_steps(m, l->id);
        model_end(m, l);
        return;
    }
    bool ended = l->ended || c->op == HF_OP_DEAD;
    if (c->op == HF_OP_DEAD)
        end_alarm(m, l);
    uint64_t alarm = l->alarm;
    *l = c->made;
    l->alarm = alarm;
    l->ended = ended;
    l->where = c->op == HF_OP_DEAD ? IS_DEAD : WAITS;
}

void model_apply(model *m, const change *c, uint64_t now)
{
    alarm_set *alarm = &m->alarms[c->actor][c->name];
    switch (c->op) {
    case HF_OP_DUE:
        if (c->made.id) {
            m->letters[c->letter].where = IS_GONE;
        } else if (alarm->there && alarm->generation == c->generation) {
            alarm->there = false;
            alarm->fired = true;
        }
        arrive(m, c, now);
        return;
    case HF_OP_SEND:
        arrive(m, c, now);
        return;
    case HF_OP_ACK:
    case HF_OP_RETRY:
    case HF_OP_DEAD:
    case HF_OP_REQUEUE:
        change_letter(m, c);
        return;
    case HF_OP_PURGE:
        drop_steps(m, m->letters[c->letter].id);
        m->letters[c->letter].where = IS_GONE;
        return;
    case HF_OP_SAVE:
        m->states[c->actor] = (image){ true, c->bytes, c->position, c->phase };
        return;
    case HF_OP_FORGET:
        m->states[c->actor].there = false;
        return;
    case HF_OP_PUT:
    case HF_OP_DROP:
        m->rows[c->actor][c->number] = (image){ c->op == HF_OP_PUT, c->bytes, c->position, 0 };
        return;
    case HF_OP_ALARM:
        *alarm = (alarm_set){
            .there = true, .due = c->due, .generation = c->position, .body = c->bytes
        };
        return;
    case HF_OP_CANCEL:
        alarm->there = alarm->fired = false;
        return;
    case HF_OP_STEP:
        put_step(m, c);
        return;
    default:
        m->paused[c->name] = c->op == HF_OP_PAUSE ? now : 0;
    }
}
