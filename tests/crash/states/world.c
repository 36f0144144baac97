/* world.c - the model, and how a change reaches both it and the log.
 *
 * Happy path: stage_* builds the entry, adds it to a segment and remembers the
 * change with the entry's number in it; after the commit the segments know their
 * positions, and each change is made. Fails only for want of memory, which ends
 * the process. One thread. */
#include "tests/crash/states/world.h"

#include "tests/crash/states/crashdisk.h"

#include "storage/address.h"

#include <stdio.h>
#include <stdlib.h>

const char *const        world_actors[ACTORS] = { "order/1", "order/22",    "bale/x",
                                                  "bale/yy", "counter/all", "sub-title/one of many",
                                                  "z_9/0" };
static const char *const names[NAMES] = { "due", "remind me", "x" };
static const char *const rows[ROWS] = { "joined", "ua", "ua\x01", "u\xff" };
static const char *const pausables[PAUSABLES] = { "order", "order/22", "bale/x", "z_9" };
enum { BODY_ROOM = 8192 };

static void need(int err)
{
    if (err) {
        fprintf(stderr, "states: out of memory\n");
        abort();
    }
}

/* Text that follows from the number; lent until the next call. */
static hf_bytes body_of(uint64_t chance, uint32_t most)
{
    static char text[BODY_ROOM];
    uint32_t len = most ? (uint32_t)(chance_next(&chance) % (most + 1)) : 0;
    if (len > BODY_ROOM)
        len = BODY_ROOM;
    for (uint32_t i = 0; i < len; i++)
        text[i] = (char)('a' + (chance_next(&chance) & 15));
    return hf_view(text, len);
}

void world_free(world *w)
{
    free(w->letters);
    free(w->steps);
    memset(w, 0, sizeof *w);
}

static hf_entry entry_of(const letter *l)
{
    const char *to = world_actors[l->actor];
    return (hf_entry){
        .to = to,
        .to_len = (uint8_t)strlen(to),
        .name = l->kind,
        .name_len = (uint8_t)strlen(l->kind),
        .data = hf_view("", l->len),
        .id = l->id,
        .place = l->place,
        .due = l->due,
        .sent = l->sent,
        .died = l->died,
        .generation = l->generation,
        .attempt = l->attempt,
        .phase = l->phase,
        .err = l->err,
        .error = l->error,
        .error_len = (uint32_t)strlen(l->error),
        .from = "",
        .flags = l->flagged ? HF_ENTRY_STEPS : 0,
    };
}

void world_content(const world *w, content *c)
{
    content_clear(c);
    for (size_t i = 0; i < w->letter_count; i++) {
        const letter *l = &w->letters[i];
        hf_entry e = entry_of(l);
        if (l->at != LETTER_GONE)
            content_message(c, l->at == LETTER_DEAD ? HF_IN_DEAD : HF_IN_INBOX, &e, l->body);
    }
    for (int a = 0; a < ACTORS; a++) {
        const held *h = &w->states[a];
        if (h->set)
            content_state(c, world_actors[a], h->version, h->form, h->len, h->bytes);
        for (int n = 0; n < NAMES; n++) {
            h = &w->alarms[a][n];
            if (h->set)
                content_alarm(c, world_actors[a], names[n], h->due, h->version, h->len, h->bytes);
        }
    }
    for (int a = 0; a < ACTORS; a++)
        for (int n = 0; n < ROWS; n++) {
            const held *h = &w->rows[a][n];
            if (h->set)
                content_row(c, world_actors[a], hf_str(rows[n]), h->version, h->len, h->bytes);
        }
    for (int p = 0; p < PAUSABLES; p++)
        if (w->pauses[p].set)
            content_pause(c, pausables[p], w->pauses[p].version, w->pauses[p].len,
                          w->pauses[p].bytes);
    for (size_t i = 0; i < w->step_count; i++) {
        const step_row *s = &w->steps[i];
        if (!s->gone)
            content_step(c, s->id, s->generation, s->number, s->name, s->phase, s->len, s->bytes);
    }
}

size_t world_pick(const world *w, letter_at at, uint64_t op, uint64_t chance)
{
    size_t found = SIZE_MAX;
    /* Mostly an old one, now and then any. */
    size_t start = chance & 3 || !w->letter_count ? 0 : (size_t)(chance >> 2) % w->letter_count;
    for (size_t i = 0; i < w->letter_count && found == SIZE_MAX; i++) {
        size_t l = (start + i) % w->letter_count;
        if (w->letters[l].at == at && w->letters[l].touched != op)
            found = l;
    }
    return found;
}

/* ---- Staging */

void stage_begin(stage *s, uint64_t op, uint64_t now, uint64_t folded)
{
    s->op = op;
    s->now = now;
    s->folded = folded;
    s->count = 0;
    hf_segment_done(&s->sends);
    hf_segment_done(&s->facts);
    s->sends = (hf_segment){ .shard = 0 };
    s->facts = (hf_segment){ .shard = HF_FACTS };
    hf_group_clear(&s->group);
}

void stage_ready(stage *s)
{
    if (s->facts.count)
        need(hf_group_add(&s->group, &s->facts));
    if (s->sends.count)
        need(hf_group_add(&s->group, &s->sends));
}

void stage_free(stage *s)
{
    hf_segment_done(&s->sends);
    hf_segment_done(&s->facts);
    hf_group_free(&s->group);
    free(s->changes);
    memset(s, 0, sizeof *s);
}

static change *change_add(stage *s, uint8_t op)
{
    if (s->count == s->room) {
        s->room = s->room * 2 + 16;
        s->changes = realloc(s->changes, s->room * sizeof *s->changes);
        need(!s->changes);
    }
    change *c = &s->changes[s->count++];
    memset(c, 0, sizeof *c);
    c->op = op;
    return c;
}

static change *stage_add(stage *s, const world *w, hf_entry *e)
{
    change *c = change_add(s, e->op);
    hf_segment *in = hf_entry_is_message(e->op) ? &s->sends : &s->facts;
    c->in_sends = in == &s->sends;
    c->index = in->count;
    e->to = e->to ? e->to : "";
    e->name = e->name ? e->name : "";
    e->error = e->error ? e->error : "";
    e->from = "";
    e->to_len = (uint8_t)strlen(e->to);
    e->name_len = (uint8_t)strlen(e->name);
    e->error_len = (uint32_t)strlen(e->error);
    if (e->to_len)
        e->hash = hf_address_hash(w->seed, e->to, e->to_len);
    need(hf_segment_add(in, e));
    return c;
}

void stage_send(stage *s, world *w, uint64_t chance, uint32_t body_max)
{
    letter l = { .at = LETTER_WAITING, .actor = (uint32_t)(chance_next(&chance) % ACTORS) };
    (void)snprintf(l.kind, sizeof l.kind, "kind%u", (unsigned)(chance_next(&chance) % 3));
    hf_bytes body = body_of(chance, body_max);
    hf_entry e = { .op = HF_OP_SEND, .to = world_actors[l.actor], .name = l.kind, .data = body };
    l.len = (uint32_t)body.len;
    l.body = content_hash(body.data, body.len);
    stage_add(s, w, &e)->new = l;
}

void stage_done(stage *s, world *w, uint64_t chance)
{
    size_t at = world_pick(w, LETTER_WAITING, s->op, chance);
    if (at == SIZE_MAX)
        return;
    letter *l = &w->letters[at];
    l->touched = s->op;
    if (l->id >= s->folded && !l->named && !l->has_steps) {
        need(hf_group_done(&s->group, l->id, 1));
        change_add(s, HF_OP_DONE)->letter = at; /* the log makes the entry */
        return;
    }
    hf_entry e = { .op = HF_OP_ACK,
                   .to = world_actors[l->actor],
                   .id = l->id,
                   .place = l->place,
                   .flags = l->has_steps ? HF_ENTRY_PURGES : 0 };
    stage_add(s, w, &e)->letter = at;
    need(hf_group_named(&s->group, l->id));
}

static held held_of(uint64_t chance, uint32_t body_max, hf_bytes *body)
{
    *body = body_of(chance, body_max);
    return (held){ .set = true,
                   .len = (uint32_t)body->len,
                   .bytes = content_hash(body->data, body->len) };
}

void stage_save(stage *s, world *w, uint64_t chance, uint32_t body_max)
{
    hf_bytes body;
    uint32_t actor = (uint32_t)(chance_next(&chance) % ACTORS);
    held h = held_of(chance, body_max, &body);
    h.form = (uint8_t)(chance_next(&chance) % 3 * 100);
    hf_entry e = { .op = HF_OP_SAVE, .to = world_actors[actor], .data = body,
                   .version = h.form };
    change *c = stage_add(s, w, &e);
    c->actor = actor;
    c->held = h;
}

void stage_forget(stage *s, world *w, uint64_t chance)
{
    uint32_t actor = (uint32_t)(chance_next(&chance) % ACTORS);
    hf_entry e = { .op = HF_OP_FORGET, .to = world_actors[actor] };
    stage_add(s, w, &e)->actor = actor;
}

void stage_put(stage *s, world *w, uint64_t chance, uint32_t body_max)
{
    hf_bytes body;
    held h = held_of(chance, body_max, &body);
    uint32_t actor = (uint32_t)(chance_next(&chance) % ACTORS);
    uint32_t name = (uint32_t)(chance_next(&chance) % ROWS);
    bool drops = chance_next(&chance) % 4 == 0;
    hf_entry e = { .op = drops ? HF_OP_DROP : HF_OP_PUT,
                   .to = world_actors[actor],
                   .name = rows[name],
                   .data = drops ? hf_view(NULL, 0) : body };
    change *c = stage_add(s, w, &e);
    c->actor = actor;
    c->name = name;
    c->held = drops ? (held){ .set = false } : h;
}

static held *alarm_of(world *w, uint64_t *chance, uint32_t *actor, uint32_t *name)
{
    *actor = (uint32_t)(chance_next(chance) % ACTORS);
    *name = (uint32_t)(chance_next(chance) % NAMES);
    return &w->alarms[*actor][*name];
}

void stage_alarm(stage *s, world *w, uint64_t chance, uint32_t body_max)
{
    uint32_t actor, name;
    hf_bytes body;
    held *now = alarm_of(w, &chance, &actor, &name);
    held h = held_of(chance, body_max, &body);
    if (now->touched == s->op)
        return;
    now->touched = s->op;
    h.due = s->now + chance_next(&chance) % 5;
    hf_entry e = { .op = HF_OP_ALARM,
                   .to = world_actors[actor],
                   .name = names[name],
                   .due = h.due,
                   .data = body };
    change *c = stage_add(s, w, &e);
    c->actor = actor;
    c->name = name;
    c->held = h;
}

void stage_cancel(stage *s, world *w, uint64_t chance)
{
    uint32_t actor, name;
    held *now = alarm_of(w, &chance, &actor, &name);
    if (now->touched == s->op)
        return;
    now->touched = s->op;
    hf_entry e = { .op = HF_OP_CANCEL, .to = world_actors[actor], .name = names[name] };
    change *c = stage_add(s, w, &e);
    c->actor = actor;
    c->name = name;
}

void stage_fire(stage *s, world *w, uint64_t chance)
{
    uint32_t actor = 0, name = 0;
    held *now = NULL;
    for (int i = 0; i < 20 && (!now || !now->set || now->touched == s->op); i++)
        now = alarm_of(w, &chance, &actor, &name);
    if (!now->set || now->touched == s->op)
        return;
    now->touched = s->op;
    hf_bytes body = body_of(chance, 40);
    hf_entry e = { .op = HF_OP_DUE,
                   .to = world_actors[actor],
                   .name = names[name],
                   .generation = now->version,
                   .data = body };
    change *c = stage_add(s, w, &e);
    c->actor = actor;
    c->name = name;
    c->new = (letter){ .at = LETTER_WAITING,
                       .actor = actor,
                       .generation = now->version,
                       .len = (uint32_t)body.len,
                       .body = content_hash(body.data, body.len) };
    (void)snprintf(c->new.kind, sizeof c->new.kind, "%s", names[name]);
}

void stage_retry(stage *s, world *w, uint64_t chance)
{
    size_t at = world_pick(w, LETTER_WAITING, s->op, chance);
    if (at == SIZE_MAX)
        return;
    w->letters[at].touched = s->op;
    letter l = w->letters[at];
    l.attempt++;
    l.due = s->now + chance_next(&chance) % 100;
    l.err = -(int)(chance_next(&chance) % 9);
    l.phase = (uint32_t)(chance_next(&chance) % 3);
    l.generation = chance_next(&chance) % 2;
    l.flagged = l.flagged || l.has_steps;
    (void)snprintf(l.error, sizeof l.error, "try %u failed", l.attempt);
    hf_entry e = { .op = HF_OP_RETRY,
                   .to = world_actors[l.actor],
                   .id = l.id,
                   .place = l.place,
                   .attempt = l.attempt,
                   .due = l.due,
                   .err = l.err,
                   .error = l.error,
                   .phase = l.phase,
                   .generation = l.generation,
                   .flags = l.has_steps ? HF_ENTRY_STEPS : 0 };
    change *c = stage_add(s, w, &e);
    c->letter = at;
    c->new = l;
}

/* A DEAD or REQUEUE entry carries the whole message; its body is made anew. */
static void stage_whole(stage *s, world *w, size_t at, const letter *l, uint64_t chance, uint8_t op)
{
    hf_bytes body = body_of(chance, 60);
    letter new = *l;
    new.len = (uint32_t)body.len;
    new.body = content_hash(body.data, body.len);
    hf_entry e = entry_of(&new);
    e.op = op;
    e.data = body;
    change *c = stage_add(s, w, &e);
    c->letter = at;
    c->new = new;
}

void stage_dead(stage *s, world *w, uint64_t chance)
{
    size_t at = world_pick(w, LETTER_WAITING, s->op, chance);
    if (at == SIZE_MAX)
        return;
    w->letters[at].touched = s->op;
    letter l = w->letters[at];
    l.at = LETTER_DEAD;
    l.died = s->now;
    l.err = -5;
    l.flagged = l.flagged || l.has_steps;
    (void)snprintf(l.error, sizeof l.error, "died at %u", (unsigned)(chance_next(&chance) % 100));
    stage_whole(s, w, at, &l, chance, HF_OP_DEAD);
    need(hf_group_named(&s->group, l.id));
}

void stage_requeue(stage *s, world *w, uint64_t chance)
{
    size_t at = world_pick(w, LETTER_DEAD, s->op, chance);
    if (at == SIZE_MAX)
        return;
    w->letters[at].touched = s->op;
    letter l = w->letters[at];
    l.at = LETTER_WAITING;
    l.named = true;
    l.died = l.attempt = 0;
    l.err = 0;
    l.error[0] = '\0';
    stage_whole(s, w, at, &l, chance, HF_OP_REQUEUE);
}

void stage_purge(stage *s, world *w, uint64_t chance)
{
    size_t at = world_pick(w, LETTER_DEAD, s->op, chance);
    if (at == SIZE_MAX)
        return;
    w->letters[at].touched = s->op;
    hf_entry e = { .op = HF_OP_PURGE, .id = w->letters[at].id };
    stage_add(s, w, &e)->letter = at;
}

void stage_step(stage *s, world *w, uint64_t chance, uint32_t body_max)
{
    size_t at = world_pick(w, LETTER_WAITING, s->op, chance);
    if (at == SIZE_MAX)
        return;
    letter *l = &w->letters[at];
    l->touched = s->op;
    step_row row = { .id = l->id,
                     .generation = l->attempt,
                     .number = chance_next(&chance) % 4,
                     .phase = (uint32_t)(chance_next(&chance) % 3) };
    (void)snprintf(row.name, sizeof row.name, "pay%u", (unsigned)row.number);
    hf_bytes body = body_of(chance, body_max);
    row.len = (uint32_t)body.len;
    row.bytes = content_hash(body.data, body.len);
    hf_entry e = { .op = HF_OP_STEP,
                   .id = row.id,
                   .generation = row.generation,
                   .place = row.number,
                   .phase = row.phase,
                   .name = row.name,
                   .data = body };
    change *c = stage_add(s, w, &e);
    c->letter = at;
    c->step = row;
}

void stage_pause(stage *s, world *w, uint64_t chance)
{
    hf_bytes body;
    uint32_t what = (uint32_t)(chance_next(&chance) % PAUSABLES);
    held h = held_of(chance, 20, &body);
    h.version = s->now;
    hf_entry e = { .op = HF_OP_PAUSE, .to = pausables[what], .data = body };
    change *c = stage_add(s, w, &e);
    c->name = what;
    c->held = h;
}

void stage_resume(stage *s, world *w, uint64_t chance)
{
    uint32_t what = (uint32_t)(chance_next(&chance) % PAUSABLES);
    hf_entry e = { .op = HF_OP_RESUME, .to = pausables[what] };
    stage_add(s, w, &e)->name = what;
}

/* ---- What was staged is true now */

static void letter_new(world *w, const change *c, uint64_t position, uint64_t now)
{
    if (w->letter_count == w->letter_room) {
        w->letter_room = w->letter_room * 2 + 64;
        w->letters = realloc(w->letters, w->letter_room * sizeof *w->letters);
        need(!w->letters);
    }
    letter *l = &w->letters[w->letter_count++];
    *l = c->new;
    l->id = l->place = position;
    l->sent = now;
}

static void steps_end(world *w, letter *l)
{
    for (size_t i = 0; i < w->step_count; i++)
        if (w->steps[i].id == l->id)
            w->steps[i].gone = true;
    l->has_steps = false;
}

static void step_new(world *w, const change *c)
{
    size_t i = 0;
    while (i < w->step_count
           && (w->steps[i].id != c->step.id || w->steps[i].generation != c->step.generation
               || w->steps[i].number != c->step.number))
        i++;
    if (i == w->step_room) {
        w->step_room = w->step_room * 2 + 64;
        w->steps = realloc(w->steps, w->step_room * sizeof *w->steps);
        need(!w->steps);
    }
    w->step_count += i == w->step_count;
    w->steps[i] = c->step;
    w->letters[c->letter].has_steps = true;
}

static void change_alarm(held *alarm, const change *c, uint64_t position)
{
    if (c->op == HF_OP_DUE && alarm->version != c->new.generation)
        return;
    uint64_t touched = alarm->touched;
    *alarm = c->held;
    alarm->touched = touched;
    alarm->version = c->op == HF_OP_ALARM ? position : 0;
}

static void change_make(world *w, const change *c, uint64_t position, uint64_t now)
{
    letter *l = w->letter_count ? &w->letters[c->letter] : NULL;
    switch (c->op) {
    case HF_OP_DUE:
        change_alarm(&w->alarms[c->actor][c->name], c, position);
        letter_new(w, c, position, now);
        break;
    case HF_OP_SEND:
        letter_new(w, c, position, now);
        break;
    case HF_OP_DONE:
    case HF_OP_ACK:
    case HF_OP_PURGE:
        l->at = LETTER_GONE;
        steps_end(w, l);
        break;
    case HF_OP_RETRY:
    case HF_OP_DEAD:
    case HF_OP_REQUEUE:
        *l = c->new;
        break;
    case HF_OP_SAVE:
    case HF_OP_FORGET:
        w->states[c->actor] = c->held;
        w->states[c->actor].version = position;
        break;
    case HF_OP_PUT:
    case HF_OP_DROP:
        w->rows[c->actor][c->name] = c->held;
        w->rows[c->actor][c->name].version = position;
        break;
    case HF_OP_ALARM:
    case HF_OP_CANCEL:
        change_alarm(&w->alarms[c->actor][c->name], c, position);
        break;
    case HF_OP_STEP:
        step_new(w, c);
        break;
    default:
        w->pauses[c->name] = c->held;
        break;
    }
}

void stage_commit(stage *s, world *w)
{
    for (size_t i = 0; i < s->count; i++) {
        const change *c = &s->changes[i];
        uint64_t base = c->in_sends ? s->sends.base : s->facts.base;
        change_make(w, c, base + c->index, s->now);
    }
}
