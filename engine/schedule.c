/* schedule.c - hf_every: define what comes round, and send the messages of its ticks.
 *
 * Happy path: hf_every writes the row and sets the alarm for the first tick; each tick's
 * turn reads the row, sends the message, sets the alarm for the next one.
 *
 *   row 's' name    missed(4) unseen(4) due(8)  schedule 00  body
 *
 * What goes by a clock on the wall is due at a time of day; intervals go by engine time,
 * which nobody sets. Ticks that went by unseen (the engine was down, the clock was put
 * forward) are made up for as the schedule says; those that are not are counted in the row,
 * for the next tick to tell of. Fails for want of memory: the tick is tried again; without
 * its time zone it is looked at once an hour; a damaged row buries the tick. The turn's
 * thread. */
#include "engine/schedule.h"

#include "engine/alarms.h"
#include "engine/cron.h"
#include "engine/rows.h"
#include "engine/timebase.h"

#include "storage/clock.h"
#include "storage/error.h"

#include <stdio.h>

enum {
    FIELDS    = 16,      /* of a row, before the schedule */
    TEXT_MAX  = 255,
    SCHEDULE_NAME_MAX = HF_NAME_MAX - 1, /* the alarm has a byte more */
    MAKE_UP   = 1000,    /* ticks at most */
    LATE_MS   = 60000,   /* a tick that is later than this went by unseen */
    LOOK_MS   = 3600000,
    AGAIN_MS  = 1000,
};

typedef struct schedule {
    hf_bytes    name, body;
    const char *text;
    uint32_t    missed;
    uint32_t    unseen;  /* ticks that none which was sent told of */
    uint64_t    due;
    hf_cron     cron;
} schedule;

/* ---- The row */

static int read_row(hf_turn *turn, hf_bytes name, schedule *s)
{
    hf_bytes value;
    int err = hf_rows_get(turn, HF_SHELF_SCHEDULE, name, &value);
    if (err)
        return err;
    const uint8_t *at = value.data, *end;
    if (value.len <= FIELDS || !(end = memchr(at + FIELDS, 0, value.len - FIELDS)))
        return hf_error(HF_ECORRUPT, "a schedule of %s can't be read", turn->e->to);
    size_t head = (size_t)(end - at) + 1;
    *s = (schedule){ .name = name,
                     .text = (const char *)at + FIELDS,
                     .missed = hf_get32(at),
                     .unseen = hf_get32(at + 4),
                     .due = hf_get64(at + 8),
                     .body = hf_view(at + head, value.len - head) };
    return HF_OK;
}

static int write_row(hf_turn *turn, const schedule *s)
{
    size_t text = strlen(s->text) + 1, len = FIELDS + text + s->body.len;
    uint8_t *value = hf_alloc(turn, len);
    if (!value)
        return HF_ENOMEM;
    hf_put32(value, s->missed);
    hf_put32(value + 4, s->unseen);
    hf_put64(value + 8, s->due);
    memcpy(value + FIELDS, s->text, text);
    if (s->body.len)
        memcpy(value + FIELDS + text, s->body.data, s->body.len);
    return hf_rows_put(turn, HF_SHELF_SCHEDULE, s->name, hf_view(value, len));
}

/* ---- Its alarms */

static uint64_t now_of(const hf_turn *turn, const hf_cron *cron)
{
    return cron->interval_ms ? hf_timebase_now(turn->engine) : hf_clock_wall_ms();
}

/* By the clock on the wall: an interval may go by another. */
static uint64_t due_told(const hf_turn *turn, const schedule *s, uint64_t due)
{
    bool interval = strncmp(s->text + strspn(s->text, " \t"), "every", 5) == 0;
    return interval ? hf_timebase_told(turn->engine, due) : due;
}

static void alarm_name(char name[HF_NAME_MAX + 1], int first, hf_bytes of)
{
    name[0] = (char)first;
    memcpy(name + 1, of.data, of.len);
    name[of.len + 1] = '\0';
}

static void set_alarms(hf_turn *turn, const schedule *s, uint64_t now)
{
    char name[HF_NAME_MAX + 1];
    uint64_t rest = s->due > now ? s->due - now : 0;
    alarm_name(name, HF_TICK, s->name);
    if (s->cron.interval_ms)
        hf_alarm_own(turn, name, 0, rest ? rest : 1);
    else
        hf_alarm_own(turn, name, s->due, 0);
    alarm_name(name, HF_TICK_LOOK, s->name);
    /* The tick makes this void, unless the clock is set back before it comes. */
    if (!s->cron.interval_ms)
        hf_alarm_own(turn, name, 0, rest + AGAIN_MS < LOOK_MS ? rest + AGAIN_MS : LOOK_MS);
}

static void cancel_alarms(hf_turn *turn, hf_bytes of)
{
    char name[HF_NAME_MAX + 1];
    alarm_name(name, HF_TICK, of);
    hf_alarm_own(turn, name, 0, 0);
    alarm_name(name, HF_TICK_LOOK, of);
    hf_alarm_own(turn, name, 0, 0);
}

/* ---- Defining */

static int check_words(const hf_turn *turn, const char *name, const char *text, hf_bytes body)
{
    size_t len = name ? strnlen(name, SCHEDULE_NAME_MAX + 1) : 0;
    if (!len || len > SCHEDULE_NAME_MAX)
        return hf_error(HF_EINVAL, "a schedule's name is 1 .. %d bytes", SCHEDULE_NAME_MAX);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return hf_error(HF_EINVAL, "a schedule's name with control characters");
    if (text && strnlen(text, TEXT_MAX + 1) > TEXT_MAX)
        return hf_error(HF_EINVAL, "schedule %s is longer than %d bytes", name, TEXT_MAX);
    if (turn->kind->is.workers > 1)
        return hf_error(HF_EINVAL, "an actor with .workers has no schedules");
    if (body.len > turn->engine->options.body_max || (body.len && !body.data))
        return hf_error(body.data ? HF_ETOOBIG : HF_EINVAL, "%zu bytes with schedule %s, the limit "
                        "is %u", body.len, name, turn->engine->options.body_max);
    return HF_OK;
}

static int tick(hf_turn *turn, schedule *s);

/* It goes on as it is. Its tick may be long overdue: it waits behind other messages, or
 * somebody cancelled it. Then this is its turn; one that waits counts no more. */
static int go_on(hf_turn *turn, schedule *s)
{
    uint64_t late = s->due + LATE_MS;
    if (late >= hf_clock_wall_ms() && late >= hf_timebase_now(turn->engine))
        return HF_OK;
    int err = hf_cron_parse(&s->cron, s->text);
    if (err)
        return err == HF_EINVAL ? HF_OK : err; /* its zone is not there; as tick does */
    if (late < now_of(turn, &s->cron))
        err = tick(turn, s);
    hf_cron_done(&s->cron);
    return err;
}

static bool is_same(const schedule *a, const schedule *b)
{
    return strcmp(a->text, b->text) == 0 && a->missed == b->missed && a->body.len == b->body.len
           && (!a->body.len || memcmp(a->body.data, b->body.data, a->body.len) == 0);
}

static int define(hf_turn *turn, schedule *s)
{
    schedule old;
    int err = read_row(turn, s->name, &old);
    if (err && err != HF_ENOTFOUND)
        return err;
    if (!err && is_same(&old, s))
        return go_on(turn, &old);
    err = hf_cron_parse(&s->cron, s->text);
    if (err)
        return err;
    uint64_t now = now_of(turn, &s->cron);
    s->due = hf_cron_next(&s->cron, now);
    err = s->due ? write_row(turn, s) : hf_error(HF_EINVAL, "\"%s\" is never due", s->text);
    if (!err) {
        cancel_alarms(turn, s->name);
        set_alarms(turn, s, now);
    }
    hf_cron_done(&s->cron);
    return err;
}

void hf_every(hf_turn *turn, const char *name, const char *text, uint32_t missed, hf_bytes body)
{
    if (turn->err)
        return;
    int err = check_words(turn, name, text, body);
    schedule s = { .text = text, .missed = missed, .body = body };
    if (!err)
        s.name = hf_view(name, strlen(name));
    if (!err && text)
        err = define(turn, &s);
    else if (!err && !(err = hf_rows_put(turn, HF_SHELF_SCHEDULE, s.name, hf_view(NULL, 0))))
        cancel_alarms(turn, s.name);
    if (err)
        hf_turn_fail(turn, err);
}

uint64_t hf_next_due(hf_turn *turn, const char *name)
{
    schedule s;
    if (turn->err || check_words(turn, name, NULL, hf_view(NULL, 0)))
        return 0;
    return read_row(turn, hf_view(name, strlen(name)), &s) ? 0 : due_told(turn, &s, s.due);
}

/* ---- Ticks */

/* What went by until now, beginning with the one that is due: how many, when the last of
 * them were, and when the next is. */
typedef struct ticks {
    uint64_t count, next;
    uint64_t last[MAKE_UP]; /* of tick n at n % MAKE_UP */
} ticks;

static void count_ticks(const schedule *s, uint64_t now, uint64_t most, ticks *t)
{
    uint64_t due = s->due, interval = s->cron.interval_ms;
    t->count = 0;
    if (interval && (now - due) / interval > most) { /* the others need not be looked at */
        t->count = (now - due) / interval - most;
        due += t->count * interval;
    }
    while (due && due <= now) {
        t->last[t->count++ % MAKE_UP] = due;
        due = hf_cron_next(&s->cron, due);
    }
    t->next = due;
}

static int send_tick(hf_turn *turn, const schedule *s, uint64_t due, uint32_t missed)
{
    char name[HF_NAME_MAX + 1];
    hf_entry e = { .op = HF_OP_SEND, .to = turn->e->to, .to_len = turn->e->to_len,
                   .hash = turn->e->hash, .name = name, .name_len = (uint8_t)s->name.len,
                   .data = s->body, .cause = HF_ALARM, .about = due_told(turn, s, due),
                   .replaced = missed,
                   .from = "", .error = "" };
    memcpy(name, s->name.data, s->name.len);
    name[s->name.len] = '\0';
    uint32_t shards = turn->engine->shard_count;
    int err = hf_segment_add(&turn->batch->segments[hf_address_shard(e.hash, shards)], &e);
    if (err)
        return err;
    turn->sends++;
    turn->batch->sends++;
    return HF_OK;
}

static int send_ticks(hf_turn *turn, schedule *s, const ticks *t, uint64_t now)
{
    uint64_t latest = t->last[(t->count - 1) % MAKE_UP],
             wait = t->next ? t->next - latest : LATE_MS;
    bool fresh = now - latest <= (wait < LATE_MS ? wait : LATE_MS);
    uint64_t wanted = s->missed > MAKE_UP ? MAKE_UP : s->missed;
    if (!wanted)
        wanted = fresh;
    if (wanted > t->count)
        wanted = t->count;
    uint64_t skipped = s->unseen + t->count - wanted;
    int err = HF_OK;
    s->unseen = skipped > UINT32_MAX ? UINT32_MAX : (uint32_t)skipped;
    for (uint64_t n = t->count - wanted; !err && n < t->count; n++, s->unseen = 0)
        err = send_tick(turn, s, t->last[n % MAKE_UP], s->unseen);
    return err;
}

/* It is due, or somebody set the clock back since its time was worked out. */
static int tick(hf_turn *turn, schedule *s)
{
    uint64_t now = now_of(turn, &s->cron);
    int err = HF_OK;
    if (s->due > now) {
        uint64_t sooner = hf_cron_next(&s->cron, now);
        if (!s->cron.interval_ms && sooner && sooner < s->due)
            s->due = sooner;
    } else {
        ticks *t = hf_alloc(turn, sizeof *t);
        if (!t)
            return HF_ENOMEM;
        count_ticks(s, now, MAKE_UP, t);
        err = send_ticks(turn, s, t, now);
        s->due = t->next;
    }
    if (!err && !s->due)
        return hf_rows_put(turn, HF_SHELF_SCHEDULE, s->name, hf_view(NULL, 0));
    if (!err)
        err = write_row(turn, s);
    if (!err)
        set_alarms(turn, s, now);
    return err;
}

/* Its words were good when it was defined: the time zone is not on this machine, or can't be
 * read now. It must not end of that. */
static void stand_still(hf_turn *turn, hf_bytes of)
{
    char name[HF_NAME_MAX + 1];
    hf_engine_log(turn->engine, HF_ERROR, "%s: schedule %.*s stands still, and is looked at in an "
                  "hour again: %s", turn->e->to, (int)of.len, (const char *)of.data,
                  hf_error_detail());
    alarm_name(name, HF_TICK_LOOK, of);
    hf_alarm_own(turn, name, 0, LOOK_MS);
}

int hf_schedule_tick(hf_turn *turn)
{
    schedule s;
    hf_bytes name = hf_view(turn->e->name + 1, turn->e->name_len - 1u);
    int err = read_row(turn, name, &s);
    if (err == HF_ENOTFOUND)
        return HF_OK; /* it ended meanwhile */
    if (!err && (err = hf_cron_parse(&s.cron, s.text)) == HF_EINVAL) {
        stand_still(turn, name);
        err = HF_OK;
    } else if (!err) {
        err = tick(turn, &s);
        hf_cron_done(&s.cron);
    }
    if (!err)
        err = turn->err;
    if (err == HF_ENOMEM) {
        turn->err = HF_OK;
        return hf_snooze(turn, AGAIN_MS);
    }
    return err ? hf_bury(turn, "schedule %.*s: %s", (int)name.len, (const char *)name.data,
                         hf_error_detail())
               : HF_OK;
}

static int drop_schedule(void *user, hf_bytes key, hf_bytes value)
{
    (void)value;
    return hf_rows_put(user, HF_SHELF_SCHEDULE, key, hf_view(NULL, 0));
}

void hf_schedule_forget(hf_turn *turn)
{
    if (turn->kind->is.workers <= 1 && !turn->err)
        (void)hf_rows_walk(turn, HF_SHELF_SCHEDULE, hf_view(NULL, 0), drop_schedule, turn);
}
