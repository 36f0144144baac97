/* acts.c - random groups: each act stages one entry, or ends messages by id.
 *
 * A message is touched once a group at most. Those whose SEND has left the window,
 * or that were dead once, are ended by name; others by id alone or by name. When
 * the group is committed, its changes are applied to the model in the order of the
 * positions that the log gave them. */
#include "tests/flow/store_model/model.h"

#include "storage/error.h"
#include "storage/memory.h"

#include "tests/support/outdate.h"

#include <stdlib.h>

enum { CHANGES = 40, SEGMENTS = 24 };

typedef struct draft {
    run       *r;
    hf_group   group;
    hf_segment segments[SEGMENTS];
    uint32_t   segment_count;
    change     changes[CHANGES];
    uint32_t   change_count;
    uint32_t   ended[256]; /* letters, by id alone */
    uint32_t   ended_count;
} draft;

static uint8_t scratch[BLOB_MAX];

static blob some_bytes(run *r)
{
    uint32_t kind = chance(r, 100), len = 0;
    if (kind == 0)
        len = 64000 + chance(r, 70000);
    else if (kind < 20)
        len = chance(r, 2001);
    else if (kind < 90)
        len = chance(r, 120);
    return (blob){ len, core_random(&r->random) };
}

/* An open segment for the shard, or a new one. */
static hf_segment *segment_for(draft *d, uint32_t shard, size_t size)
{
    for (uint32_t i = 0; i < d->segment_count; i++) {
        hf_segment *s = &d->segments[i];
        if (s->shard == shard && s->len + size < HF_SEGMENT_MAX
            && (d->segment_count == SEGMENTS || chance(d->r, 3)))
            return s;
    }
    if (d->segment_count == SEGMENTS)
        return NULL;
    hf_segment *s = &d->segments[d->segment_count++];
    *s = (hf_segment){ .shard = shard };
    return s;
}

static void stage(draft *d, hf_entry *e, const change *c)
{
    bool message = hf_entry_is_message(e->op); /* delayed ones travel with them */
    uint32_t shard = message ? hf_address_shard(e->hash, d->r->options.shards) : HF_FACTS;
    hf_segment *s = segment_for(d, shard, hf_entry_size(e));
    if (!s || d->change_count == CHANGES)
        return;
    change *kept = &d->changes[d->change_count++];
    *kept = *c;
    kept->segment = (uint32_t)(s - d->segments);
    kept->index = s->count;
    CORE_OK(hf_segment_add(s, e));
    if (e->op == HF_OP_ACK || e->op == HF_OP_DEAD)
        CORE_OK(hf_group_named(&d->group, e->place));
    if (e->op == HF_OP_ACK || e->op == HF_OP_RETRY || e->op == HF_OP_DEAD
        || e->op == HF_OP_REQUEUE || e->op == HF_OP_PURGE)
        d->r->model.letters[c->letter].touched = true;
}

static hf_entry about(draft *d, uint8_t op, int actor)
{
    return core_entry(d->r->core.log, op, model_actors[actor]);
}

static void set_name(hf_entry *e, const char *name)
{
    e->name = name;
    e->name_len = (uint8_t)strlen(name);
}

/* All that a message is, as an entry. */
static hf_entry whole(draft *d, uint8_t op, const letter *l)
{
    hf_entry e = about(d, op, l->actor);
    set_name(&e, l->kind);
    e.flags = l->flags;
    e.data = model_fill(l->body, scratch);
    e.id = l->id;
    e.place = l->place;
    e.due = l->due;
    e.sent = l->sent;
    e.died = l->died;
    e.generation = l->generation;
    e.attempt = l->attempt;
    e.phase = l->phase;
    e.err = l->err;
    e.cause = l->cause;
    e.reason = l->reason;
    e.error = l->error;
    e.error_len = (uint32_t)strlen(l->error);
    e.from = l->from;
    e.from_len = (uint32_t)strlen(l->from);
    e.times = model_times(l->times);
    return e;
}

static void act_send(draft *d)
{
    run *r = d->r;
    change c = { .op = HF_OP_SEND, .actor = (int)chance(r, ACTORS) };
    c.made = (letter){ .actor = c.actor, .kind = chance(r, 3) ? "place" : "", .error = "",
                       .from = chance(r, 4) ? "" : "order/2", .body = some_bytes(r) };
    if (chance(r, 5) == 0)
        c.made.due = 1 + chance(r, 100000);
    c.made.cause = chance(r, 4) ? 0 : 1 + chance(r, 3);
    hf_entry e = whole(d, HF_OP_SEND, &c.made);
    stage(d, &e, &c);
}

/* Some letter that is in this condition and not touched yet; -1: none found. */
static int64_t pick(draft *d, int where)
{
    model *m = &d->r->model;
    if (!m->letter_count)
        return -1;
    uint32_t from = chance(d->r, m->letter_count);
    for (uint32_t i = 0; i < m->letter_count; i++) {
        uint32_t at = (from + i) % m->letter_count;
        if ((int)m->letters[at].where == where && !m->letters[at].touched)
            return at;
    }
    return -1;
}

/* Messages at or above it can be ended by their id alone. */
static uint64_t by_id_from(const run *r)
{
    if (r->options.readers && r->reader)
        return r->reader->base > r->opened ? r->reader->base : r->opened;
    return hf_log_folded(r->core.log);
}

static bool can_end_by_id(const draft *d, const letter *l)
{
    return l->where == WAITS && !l->ended && !l->touched && l->place >= by_id_from(d->r);
}

static void act_ack(draft *d)
{
    int64_t at = pick(d, WAITS);
    if (at < 0)
        return;
    const letter *l = &d->r->model.letters[at];
    change c = { .op = HF_OP_ACK, .letter = (uint32_t)at };
    hf_entry e = about(d, HF_OP_ACK, l->actor);
    e.id = l->id;
    e.place = l->place;
    if (l->alarm) {
        set_name(&e, model_names[l->name]);
        e.generation = l->alarm;
    }
    if (l->flags & HF_ENTRY_STEPS || chance(d->r, 3) == 0)
        e.flags = c.flags = HF_ENTRY_PURGES;
    stage(d, &e, &c);
}

/* As many as follow each other, at most `most`. */
static void act_done(draft *d)
{
    model *m = &d->r->model;
    int64_t at = pick(d, WAITS);
    uint32_t most = 1 + chance(d->r, 20), count = 0;
    if (at < 0)
        return;
    letter *first = &m->letters[at];
    while (count < most && at + count < m->letter_count && d->ended_count < 256) {
        letter *l = first + count;
        if (!can_end_by_id(d, l) || l->place != first->place + count)
            break;
        l->touched = true;
        d->ended[d->ended_count++] = (uint32_t)(at + count++);
    }
    if (count)
        CORE_OK(hf_group_done(&d->group, first->place, count));
    else
        act_ack(d);
}

static void act_retry(draft *d)
{
    run *r = d->r;
    int64_t at = pick(d, WAITS);
    if (at < 0)
        return;
    change c = { .op = HF_OP_RETRY, .letter = (uint32_t)at, .made = r->model.letters[at] };
    letter *l = &c.made;
    l->attempt = 1 + chance(r, 20);
    l->due = chance(r, 3) ? 0 : 1 + chance(r, 100000);
    l->err = chance(r, 2) ? -(int)chance(r, 30) : 7;
    l->error = chance(r, 3) ? "the provider said no" : "";
    l->times = chance(r, TIMES + 1);
    l->phase = chance(r, 3);
    l->generation = l->was_due ? l->generation : chance(r, 3);
    l->reason = 0; /* its time is that of the attempt now */
    if (chance(r, 4) == 0)
        l->flags |= HF_ENTRY_STEPS;
    hf_entry e = whole(d, HF_OP_RETRY, l);
    e.name = "";
    e.name_len = 0;
    e.from_len = 0;
    e.data = hf_view(NULL, 0);
    e.sent = e.died = e.cause = e.reason = 0;
    stage(d, &e, &c);
}

static void act_dead(draft *d)
{
    run *r = d->r;
    int64_t at = pick(d, WAITS);
    if (at < 0)
        return;
    change c = { .op = HF_OP_DEAD, .letter = (uint32_t)at, .made = r->model.letters[at] };
    c.made.err = -5;
    c.made.error = "gave up";
    c.made.died = r->now;
    c.made.reason = 1 + chance(r, 4);
    c.made.attempt++;
    hf_entry e = whole(d, HF_OP_DEAD, &c.made);
    stage(d, &e, &c);
}

static void act_requeue(draft *d)
{
    int64_t at = pick(d, IS_DEAD);
    if (at < 0)
        return;
    change c = { .op = HF_OP_REQUEUE, .letter = (uint32_t)at, .made = d->r->model.letters[at] };
    c.made.err = 0;
    c.made.error = "";
    c.made.died = c.made.reason = c.made.attempt = c.made.times = 0;
    hf_entry e = whole(d, HF_OP_REQUEUE, &c.made);
    stage(d, &e, &c);
}

static void act_purge(draft *d)
{
    int64_t at = pick(d, IS_DEAD);
    if (at < 0)
        return;
    change c = { .op = HF_OP_PURGE, .letter = (uint32_t)at };
    hf_entry e = about(d, HF_OP_PURGE, d->r->model.letters[at].actor);
    e.id = d->r->model.letters[at].id;
    stage(d, &e, &c);
}

static void act_state(draft *d)
{
    change c = { .op = chance(d->r, 5) ? HF_OP_SAVE : HF_OP_FORGET };
    c.actor = (int)chance(d->r, ACTORS);
    hf_entry e = about(d, c.op, c.actor);
    if (c.op == HF_OP_SAVE)
        e.data = model_fill(c.bytes = some_bytes(d->r), scratch);
    if (c.op == HF_OP_SAVE && chance(d->r, 2))
        e.version = c.phase = chance(d->r, 256);
    stage(d, &e, &c);
}

static void act_row(draft *d)
{
    change c = { .op = chance(d->r, 4) ? HF_OP_PUT : HF_OP_DROP };
    c.actor = (int)chance(d->r, ACTORS);
    c.number = chance(d->r, ROWS);
    hf_entry e = about(d, c.op, c.actor);
    e.name = model_rows[c.number].data;
    e.name_len = (uint8_t)model_rows[c.number].len;
    if (c.op == HF_OP_PUT)
        e.data = model_fill(c.bytes = some_bytes(d->r), scratch);
    stage(d, &e, &c);
}

static void act_alarm(draft *d)
{
    change c = { .op = chance(d->r, 4) ? HF_OP_ALARM : HF_OP_CANCEL };
    c.actor = (int)chance(d->r, ACTORS);
    c.name = (int)chance(d->r, NAMES);
    hf_entry e = about(d, c.op, c.actor);
    set_name(&e, model_names[c.name]);
    if (c.op == HF_OP_ALARM) {
        e.due = c.due = 1 + chance(d->r, 50);
        e.data = model_fill(c.bytes = some_bytes(d->r), scratch);
    }
    stage(d, &e, &c);
}

/* An alarm fires; sometimes one that was replaced or cancelled in the meantime. */
static void act_due(draft *d)
{
    run *r = d->r;
    change c = { .op = HF_OP_DUE, .actor = (int)chance(r, ACTORS), .name = (int)chance(r, NAMES) };
    alarm_set *alarm = &r->model.alarms[c.actor][c.name];
    if (!alarm->generation || (!alarm->there && chance(r, 4)))
        return;
    c.generation = alarm->generation;
    c.made = (letter){ .actor = c.actor, .kind = model_names[c.name], .error = "", .from = "",
                       .body = alarm->body, .generation = c.generation, .cause = 1,
                       .was_due = true, .alarm = c.generation, .name = c.name };
    hf_entry e = whole(d, HF_OP_DUE, &c.made);
    stage(d, &e, &c);
}

/* A letter that waits for its time, */
static void act_delay(draft *d)
{
    run *r = d->r;
    change c = { .op = HF_OP_SEND, .actor = (int)chance(r, ACTORS) };
    c.made = (letter){ .actor = c.actor, .kind = "later", .error = "", .body = some_bytes(r),
                       .from = chance(r, 4) ? "" : "order/2", .due = 1 + chance(r, 50),
                       .sent = 1 + chance(r, 1000), .delayed = true,
                       .flags = HF_ENTRY_DELAYED, .reason = chance(r, 2) ? HF_DUE_WALL : 0 };
    hf_entry e = whole(d, HF_OP_SEND, &c.made);
    stage(d, &e, &c);
}

/* and one whose time has come. */
static void act_let_go(draft *d)
{
    int64_t at = pick(d, IS_DELAYED);
    if (at < 0)
        return;
    letter *l = &d->r->model.letters[at];
    change c = { .op = HF_OP_DUE, .actor = l->actor, .letter = (uint32_t)at, .made = *l };
    c.made.delayed = false;
    c.made.was_due = true;
    c.made.flags = 0;
    c.made.place = 0;
    c.made.reason = HF_DUE_PASSED;
    c.made.generation = l->id;
    hf_entry e = whole(d, HF_OP_DUE, &c.made);
    l->touched = true;
    stage(d, &e, &c);
}

static void act_step(draft *d)
{
    run *r = d->r;
    int64_t at = pick(d, chance(r, 5) ? WAITS : IS_DEAD);
    if (at < 0)
        return;
    change c = { .op = HF_OP_STEP, .letter = (uint32_t)at, .generation = chance(r, 2),
                 .number = 1 + chance(r, 3), .phase = 1 + chance(r, 3) };
    c.name = (int)chance(r, NAMES);
    c.bytes = some_bytes(r);
    hf_entry e = core_entry(r->core.log, HF_OP_STEP, "");
    set_name(&e, model_names[c.name]);
    e.id = r->model.letters[at].id;
    e.generation = c.generation;
    e.place = c.number;
    e.phase = c.phase;
    e.data = model_fill(c.bytes, scratch);
    stage(d, &e, &c);
}

static void act_pause(draft *d)
{
    change c = { .op = chance(d->r, 2) ? HF_OP_PAUSE : HF_OP_RESUME };
    c.name = (int)chance(d->r, PAUSABLE);
    hf_entry e = core_entry(d->r->core.log, c.op, model_pausable[c.name]);
    stage(d, &e, &c);
}

static void act(draft *d)
{
    static void (*const acts[])(draft *) = {
        act_send,  act_send,  act_send,  act_send,  act_send,  act_send,  act_done,   act_done,
        act_done,  act_ack,   act_ack,   act_state, act_state, act_retry, act_dead,   act_requeue,
        act_purge, act_alarm, act_alarm, act_due,   act_due,   act_delay, act_let_go, act_step,
        act_step,  act_pause, act_row,   act_row,   act_row,
    };
    acts[chance(d->r, sizeof acts / sizeof *acts)](d);
}

/* ---- Committing */

static int compare_positions(const void *a, const void *b)
{
    uint64_t x = ((const change *)a)->position, y = ((const change *)b)->position;
    return (x > y) - (x < y);
}

static void follow(draft *d)
{
    run *r = d->r;
    model *m = &r->model;
    uint64_t next = r->next;
    for (uint32_t i = 0; i < d->segment_count; i++) {
        const hf_segment *s = &d->segments[i];
        if (s->base < r->next)
            run_fail(r, "position %llu was given before", (unsigned long long)s->base);
        if (next < s->base + s->count)
            next = s->base + s->count;
    }
    r->next = next;
    for (uint32_t i = 0; i < d->ended_count; i++)
        model_end(m, &m->letters[d->ended[i]]);
    for (uint32_t i = 0; i < d->change_count; i++) {
        change *c = &d->changes[i];
        c->position = d->segments[c->segment].base + c->index;
    }
    qsort(d->changes, d->change_count, sizeof *d->changes, compare_positions);
    for (uint32_t i = 0; i < d->change_count; i++)
        model_apply(m, &d->changes[i], r->now);
}

static int fail_when_zero(void *left, size_t size)
{
    int *n = left;
    (void)size;
    return (*n)-- == 0;
}

/* Sometimes memory runs out on the way: then nothing of the group is there, and
 * the same group goes in the next time. */
static void append(draft *d)
{
    run *r = d->r;
    int left = (int)chance(r, 14);
    if (chance(r, 20) == 0) {
        hf_mem_hook(fail_when_zero, &left);
        int err = hf_log_append(r->core.log, &d->group);
        hf_mem_hook(NULL, NULL);
        if (!err)
            return;
        if (err != HF_ENOMEM)
            run_fail(r, "out of memory gives %d: %s", err, hf_error_detail());
        compare_view(r);
    }
    int err = hf_log_append(r->core.log, &d->group);
    if (err)
        run_fail(r, "append answers %d: %s", err, hf_error_detail());
    if (chance(r, 2))
        outdate_all(r->core.log);
}

void acts_group(run *r)
{
    static draft d;
    uint32_t acts = 1 + chance(r, chance(r, 4) ? 6 : CHANGES);
    d.r = r;
    d.segment_count = d.change_count = d.ended_count = 0;
    hf_group_clear(&d.group);
    while (acts--)
        act(&d);
    for (uint32_t i = 0; i < d.segment_count; i++)
        CORE_OK(hf_group_add(&d.group, &d.segments[i]));
    r->now += chance(r, 1000);
    append(&d);
    follow(&d);
    for (uint32_t i = 0; i < r->model.letter_count; i++)
        r->model.letters[i].touched = false;
    for (uint32_t i = 0; i < d.segment_count; i++)
        hf_segment_done(&d.segments[i]);
    hf_group_free(&d.group);
}
