/* ask_actor.c - the question `actor`: one actor, and why it does not go on.
 *
 * Happy path: its state, its inbox in order, its dead letters, its alarms, all
 * from one snapshot; then the first reason that holds. Damage is reported in the
 * row, not as an error: that is what one asks for. Any thread. */
#include "recovery/actor_flush.h"
#include "recovery/actor_rows.h"
#include "recovery/actor_schedules.h"
#include "recovery/actor_topics.h"
#include "recovery/arguments.h"
#include "recovery/tallies.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>

enum { LIMIT = 10, LIMIT_MAX = 1000 };

/* Alarms, soonest first, as many as are told. */
typedef struct alarm_list {
    struct {
        uint64_t due;
        char     name[HF_NAME_MAX + 1];
    } *items;
    uint64_t count;
} alarm_list;

typedef struct life {
    hf_scan     scan;
    const char *actor;
    uint64_t    limit;
    hf_tally    tally;
    hf_out      inbox;             /* elements of arrays, made while walking */
    uint64_t    inbox_told;
    hf_out     *newest;            /* ring of dead letters, `limit` of them */
    uint64_t    dead_seen;
    alarm_list  alarms;
    hf_bytes    state;
    uint64_t    position;          /* of its SAVE */
    uint32_t    version;           /* of its form */
    bool        flushes, dirty;    /* its type does; and it is not flushed */
    hf_actor_rows rows;
    hf_actor_topics topics;
    hf_actor_schedules schedules;
    bool        has_state, has_alarms, damaged, first_known;
    char        damage[256];
    struct {                       /* the message that is next */
        hf_status status;
        uint64_t  id, since, due;
        bool      stuck;
        char      error[HF_ERROR_MAX + 1];
        size_t    note_len;
        uint8_t   note[HF_NOTE_MAX];
    } first;
    uint64_t    soonest;           /* due of a delayed one */
} life;

static void note_first(life *l, const hf_sight *s)
{
    bool runs = s->msg.status == HF_RUNNING;
    if (l->first_known && (!runs || l->first.status == HF_RUNNING))
        return;
    if (s->msg.status == HF_DELAYED) {
        if (!l->soonest || s->msg.due < l->soonest)
            l->soonest = s->msg.due;
        return;
    }
    l->first_known = true;
    l->first.status = s->msg.status;
    l->first.id = s->msg.id;
    l->first.since = s->since;
    l->first.due = s->msg.due;
    l->first.stuck = s->stuck;
    l->first.note_len = s->note.len;
    if (s->note.len)
        memcpy(l->first.note, s->note.data, s->note.len);
    (void)snprintf(l->first.error, sizeof l->first.error, "%s", s->msg.error);
}

static int meet_waiting(void *user, const hf_sight *s)
{
    life *l = user;
    hf_tally_add(&l->tally, s);
    note_first(l, s);
    if (l->inbox_told++ < l->limit) {
        hf_out_map(&l->inbox, NULL);
        hf_out_message(&l->inbox, s, false);
        hf_out_end(&l->inbox);
    }
    return l->inbox.err;
}

static int meet_dead(void *user, const hf_sight *s)
{
    life *l = user;
    hf_tally_add(&l->tally, s);
    if (!l->limit)
        return HF_OK;
    hf_out *out = &l->newest[l->dead_seen++ % l->limit];
    hf_out_clear(out);
    hf_out_map(out, NULL);
    hf_out_message(out, s, false);
    hf_out_end(out);
    return out->err;
}

static int meet_alarm(void *user, hf_bytes key, hf_bytes payload)
{
    life *l = user;
    hf_key actor;
    size_t len = strlen(l->actor);
    uint64_t due, generation;
    hf_key_actor(&actor, l->actor, len, hf_address_hash(hf_view_seed(l->scan.view), l->actor, len));
    if (key.len <= actor.len || memcmp(key.data, actor.bytes, actor.len) != 0)
        return 1;
    if (hf_due_letter_of(key, &generation, &len))
        return HF_OK; /* shown as what it is: a message */
    const char *name = (const char *)key.data + actor.len;
    size_t name_len = key.len - actor.len - 1;
    int err = hf_fate_alarm(payload, &due, &generation);
    due = hf_scan_told(&l->scan, due & ~HF_DUE_BY_WALL, (due & HF_DUE_BY_WALL) != 0);
    bool ours = name_len && (uint8_t)name[1] < 0x20; /* behind a schedule */
    if (err || !due || ours || name[0] != 0 || name_len > HF_NAME_MAX) /* went off: see the inbox */
        return err;
    l->has_alarms = true;
    uint64_t at = l->alarms.count;
    while (at && l->alarms.items[at - 1].due > due)
        at--;
    if (at >= l->limit)
        return HF_OK;
    uint64_t keep = l->alarms.count < l->limit ? l->alarms.count : l->limit - 1;
    memmove(&l->alarms.items[at + 1], &l->alarms.items[at], (keep - at) * sizeof *l->alarms.items);
    l->alarms.items[at].due = due;
    memcpy(l->alarms.items[at].name, name + 1, name_len);
    l->alarms.items[at].name[name_len] = 0;
    l->alarms.count = keep + 1;
    return HF_OK;
}

/* Damage is a finding; anything else is an error. */
static int find_damage(life *l, int err)
{
    if (err != HF_ECORRUPT)
        return err;
    if (!l->damaged)
        (void)snprintf(l->damage, sizeof l->damage, "%s", hf_error_detail());
    l->damaged = true;
    return HF_OK;
}

static int look(life *l)
{
    hf_key from;
    size_t len = strlen(l->actor);
    int err = find_damage(l, hf_scan_inbox(&l->scan, l->actor, meet_waiting, l));
    if (!err) {
        hf_where *where = NULL;
        err = hf_where_about(&where, "status = dead and actor", l->actor);
        l->scan.where = where;
        if (!err)
            err = find_damage(l, hf_scan_all(&l->scan, meet_dead, l));
        l->scan.where = NULL;
        hf_where_free(where);
    }
    if (!err) {
        hf_key_actor(&from, l->actor, len,
                     hf_address_hash(hf_view_seed(l->scan.view), l->actor, len));
        err = hf_view_walk(l->scan.view, HF_IN_ALARM_NAMES, hf_key_bytes(&from), meet_alarm, l);
        err = err == 1 ? HF_OK : find_damage(l, err);
    }
    if (!err)
        err = find_damage(l, hf_actor_rows_read(&l->rows, l->scan.view, l->actor, l->limit));
    if (!err)
        err = find_damage(l, hf_actor_topics_read(&l->topics, l->scan.view, l->actor, l->limit));
    if (!err)
        err = find_damage(l, hf_actor_schedules_read(&l->schedules, &l->scan, l->actor,
                                                     l->limit));
    if (!err && !(err = hf_view_state(l->scan.view, l->actor, &l->state, &l->position)))
        err = hf_actor_flush_read(l->scan.view, l->actor, l->position, &l->flushes, &l->dirty);
    err = err == HF_ENOTFOUND ? HF_OK : find_damage(l, err);
    if (!err) { /* last: the bytes live until the next look */
        err = hf_view_form(l->scan.view, l->actor, &l->state, &l->position, &l->version);
        l->has_state = !err;
        err = err == HF_ENOTFOUND ? HF_OK : find_damage(l, err);
    }
    return err;
}

/* ---- Why it does not go on */

static void put_why(hf_out *out, const char *why, uint64_t since, uint64_t until, uint64_t id)
{
    hf_out_text(out, "why", hf_str(why));
    hf_out_time(out, "since", since);
    hf_out_time(out, "until", until);
    hf_out_time(out, "id", id);
}

static bool put_suspicion(life *l, hf_out *out)
{
    const hf_living *living = l->scan.inquiry->living;
    uint32_t strikes;
    uint64_t until;
    if (!living->suspect(living->user, l->first.id, &strikes, &until))
        return false;
    if (strikes && until > l->scan.now)
        put_why(out, "strike", 0, until, l->first.id);
    else
        put_why(out, "suspect", 0, 0, l->first.id);
    return true;
}

/* By its type: not defined, or what limits that. */
static void put_held_why(life *l, hf_out *out)
{
    const hf_living *living = l->scan.inquiry->living;
    hf_limited limit;
    if (!living->limit(living->user, l->actor, strlen(l->actor), &limit)) {
        put_why(out, "undefined", 0, 0, 0);
    } else if (limit.open) {
        put_why(out, "breaker", 0, limit.until, l->first.id);
        hf_out_words(out, "reason", l->first.error);
        hf_out_uint(out, "failures", limit.failures);
    } else {
        put_why(out, "rate", 0, limit.until, l->first.id);
        hf_out_uint(out, "rate", limit.rate);
        hf_out_uint(out, "rate_ms", limit.rate_ms);
    }
}

static void put_living_why(life *l, hf_out *out)
{
    const hf_living *living = l->scan.inquiry->living;
    if (!l->first_known) {
        put_why(out, l->soonest ? "delayed" : "nothing", 0, l->soonest, 0);
    } else if (l->first.status == HF_RUNNING) {
        put_why(out, l->first.stuck ? "stuck" : "running", l->first.since, 0, l->first.id);
    } else if (l->first.status == HF_HELD) {
        put_held_why(l, out);
    } else if (!put_suspicion(l, out)) {
        if (l->first.status == HF_RETRYING && l->first.due > l->scan.now) {
            put_why(out, "retry", 0, l->first.due, l->first.id);
            hf_out_words(out, "reason", l->first.error);
        } else {
            put_why(out, living->full(living->user) ? "full" : "ready", 0, 0, 0);
        }
    }
}

static void put_reason(life *l, hf_out *out, const hf_pausing *pause)
{
    bool running = l->first_known && l->first.status == HF_RUNNING;
    bool waits = l->first_known || l->soonest;
    if (l->damaged) {
        put_why(out, "damaged", 0, 0, 0);
        hf_out_words(out, "reason", l->damage);
    } else if (pause && !running) {
        put_why(out, "paused", pause->since, 0, 0);
        hf_out_words(out, "reason", pause->reason);
    } else if (l->scan.inquiry->living) {
        put_living_why(l, out);
    } else {
        put_why(out, waits ? "stopped" : "nothing", 0, 0, 0);
    }
}

/* ---- The row */

static void put_lists(life *l, hf_out *out)
{
    hf_out_array(out, "inbox");
    uint64_t told = l->inbox_told < l->limit ? l->inbox_told : l->limit;
    if (told)
        hf_out_raw(out, NULL, hf_out_bytes(&l->inbox));
    out->open[out->depth - 1].count = (uint32_t)told;
    hf_out_end(out);
    hf_out_array(out, "dead_letters");
    uint64_t dead = l->dead_seen < l->limit ? l->dead_seen : l->limit;
    for (uint64_t i = 0; i < dead; i++)
        hf_out_raw(out, NULL, hf_out_bytes(&l->newest[(l->dead_seen - 1 - i) % l->limit]));
    hf_out_end(out);
    hf_out_array(out, "alarms");
    for (uint64_t i = 0; i < l->alarms.count; i++) {
        hf_out_map(out, NULL);
        hf_out_text(out, "name", hf_str(l->alarms.items[i].name));
        hf_out_uint(out, "due", l->alarms.items[i].due);
        hf_out_end(out);
    }
    hf_out_end(out);
}

static int tell(life *l)
{
    hf_inquiry *inquiry = l->scan.inquiry;
    const hf_living *living = inquiry->living;
    hf_out *out = &inquiry->row;
    size_t len = strlen(l->actor);
    const hf_pausing *pause = hf_pausings_find(&l->scan.pausings, l->actor, len);
    bool resident = false;
    bool said = living && living->resident(living->user, l->actor, &resident);
    bool met = l->inbox_told || l->tally.by[HF_DEAD] || l->has_state || l->has_alarms
        || l->rows.told || l->topics.told || l->schedules.told;
    hf_out_map(out, NULL);
    hf_out_text(out, "actor", hf_view(l->actor, len));
    hf_out_text(out, "type", hf_view(l->actor, hf_address_type_len(l->actor, len)));
    hf_out_bool(out, "known", met || l->damaged || resident);
    if (living) {
        hf_out_bool(out, "defined", living->defines(living->user, l->actor, len));
        if (said)
            hf_out_bool(out, "resident", resident);
    }
    if (l->has_state) {
        hf_out_bin(out, "state", l->state);
        hf_out_uint(out, "state_version", l->version);
        hf_out_uint(out, "state_position", l->position);
        if (l->flushes)
            hf_out_bool(out, "dirty", l->dirty);
    }
    for (int status = HF_WAITING; status <= HF_DEAD; status++)
        hf_out_uint(out, hf_status_name((hf_status)status), l->tally.by[status]);
    hf_out_time(out, "oldest", l->tally.oldest);
    hf_out_pausing(out, pause);
    if (l->first.note_len)
        hf_out_bin(out, "progress", hf_view(l->first.note, l->first.note_len));
    put_lists(l, out);
    hf_actor_rows_put(&l->rows, out);
    hf_actor_topics_put(&l->topics, out);
    hf_actor_schedules_put(&l->schedules, out);
    put_reason(l, out, pause);
    int err = hf_out_pausings(out, l->scan.view, l->actor);
    if (err)
        return err;
    return hf_inquiry_tell(inquiry);
}

static int ask(hf_inquiry *inquiry, life *l)
{
    int err = hf_scan_open(&l->scan, inquiry);
    if (err)
        return err;
    l->newest = hf_mem_zero(l->limit + 1, sizeof *l->newest);
    l->alarms.items = hf_mem_zero(l->limit + 1, sizeof *l->alarms.items);
    err = l->newest && l->alarms.items ? look(l) : hf_error(HF_ENOMEM, "an actor");
    if (!err)
        err = tell(l);
    hf_scan_close(&l->scan);
    for (uint64_t i = 0; l->newest && i < l->limit; i++)
        hf_out_done(&l->newest[i]);
    hf_mem_free(l->newest);
    hf_mem_free(l->alarms.items);
    hf_out_done(&l->inbox);
    hf_out_done(&l->rows.out);
    hf_out_done(&l->topics.out);
    hf_out_done(&l->schedules.out);
    return err;
}

int hf_ask_actor(hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument args[] = { { .name = "actor", .type = HF_ARG_TEXT },
                           { .name = "limit", .type = HF_ARG_UINT } };
    int err = hf_arguments_read("actor", arguments, args, 2);
    uint64_t limit = args[1].given ? args[1].number : LIMIT;
    if (!err && limit > LIMIT_MAX)
        err = hf_error(HF_EINVAL, "actor: `limit` is at most %d", LIMIT_MAX);
    if (err)
        return err;
    char *actor = hf_argument_copy(&args[0], &err);
    life *l = hf_mem_zero(1, sizeof *l);
    if (!err && !l)
        err = hf_error(HF_ENOMEM, "an actor");
    else if (!err && !actor)
        err = hf_error(HF_EINVAL, "actor: `actor` is missing");
    else if (!err && !hf_address_ok(actor, strlen(actor)))
        err = hf_error(HF_EINVAL, "actor: \"%.300s\" is no address (type/key)", actor);
    if (!err) {
        l->actor = actor;
        l->limit = limit;
        err = ask(inquiry, l);
    }
    hf_mem_free(l);
    hf_mem_free(actor);
    return err;
}
