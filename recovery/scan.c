/* scan.c - meet the messages of a store, one by one, in one snapshot.
 *
 * Happy path: open a view, load the pauses, walk inbox and dead letters; each
 * message gets its status and is told if the selection takes it. A selection
 * that fixes actor, type or status narrows the walk.
 *
 * A damaged row ends the walk with HF_ECORRUPT. One thread. */
#include "recovery/arguments.h"
#include "recovery/crew.h"
#include "recovery/message_key.h"
#include "recovery/question.h"

#include "storage/clock.h"
#include "storage/due.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { STOP = HF_SCAN_STOP };

/* Clocks that were never set differ by a moment; in seconds, so that two pages of one list
 * are told the same. */
static void look_at_clocks(hf_scan *scan)
{
    int64_t by = (int64_t)(scan->now - hf_scan_time(scan));
    scan->set_by = (by >= 0 ? by + 500 : by - 500) / 1000 * 1000;
}

uint64_t hf_scan_time(const hf_scan *scan)
{
    const hf_living *living = scan->inquiry->living;
    return living ? living->now(living->user) : hf_view_time(scan->view);
}

uint64_t hf_scan_told(const hf_scan *scan, uint64_t due, bool wall)
{
    if (!due || wall)
        return due;
    return scan->set_by < 0 && due <= (uint64_t)-scan->set_by ? 1 : due + (uint64_t)scan->set_by;
}

int hf_scan_open(hf_scan *scan, hf_inquiry *inquiry)
{
    *scan = (hf_scan){ .inquiry = inquiry, .before = UINT64_MAX, .now = hf_clock_wall_ms() };
    int err = hf_prefixes_read(&scan->prefixes, inquiry->disk);
    if (!err)
        err = hf_view_open(&scan->view, inquiry->disk);
    if (!err)
        err = hf_pausings_load(&scan->pausings, scan->view);
    if (err)
        hf_scan_close(scan);
    else
        look_at_clocks(scan);
    return err;
}

void hf_scan_close(hf_scan *scan)
{
    hf_pausings_done(&scan->pausings);
    hf_view_close(scan->view);
    scan->view = NULL;
}

/* ---- One message */

/* What is true of all messages of an actor; those of one actor mostly come together. */
static const hf_standing *standing_of(hf_scan *scan, uint64_t hash, const char *to, size_t len)
{
    const hf_living *living = scan->inquiry->living;
    hf_standing *st = &scan->standing;
    hf_limited limit;
    if (st->len && st->hash == hash && st->len == len && memcmp(st->to, to, len) == 0)
        return st;
    st->number++;
    st->hash = hash;
    st->len = len;
    memcpy(st->to, to, len);
    st->paused = hf_pausings_find(&scan->pausings, to, len) != NULL;
    st->undefined = living && !living->defines(living->user, to, len);
    st->limited = living && living->limit(living->user, to, len, &limit) && limit.held;
    st->until = st->limited ? limit.until : 0;
    return st;
}

static uint64_t due_of(const hf_scan *scan, const hf_entry *e)
{
    return hf_scan_told(scan, e->due, e->reason == HF_DUE_WALL || e->reason == HF_DUE_PASSED);
}

static hf_status status_of(hf_scan *scan, hf_sight *s)
{
    const hf_living *living = scan->inquiry->living;
    const hf_entry *e = &s->e;
    if (s->died)
        return HF_DEAD;
    if (s->delayed) /* held or paused it is once it is due */
        return HF_DELAYED;
    if (living && living->runs(living->user, e, &s->since, &s->stuck)) {
        s->note = hf_view(scan->note, living->note(living->user, e->id, scan->note));
        return HF_RUNNING;
    }
    const hf_standing *st = standing_of(scan, e->hash, e->to, e->to_len);
    if (st->paused)
        return HF_PAUSED;
    if (st->undefined || (st->limited && (!st->until || due_of(scan, e) <= st->until)))
        return HF_HELD;
    if ((e->attempt || e->phase) && e->err) /* also when its time has come */
        return HF_RETRYING;
    return due_of(scan, e) > scan->now && e->reason != HF_DUE_PASSED ? HF_DELAYED : HF_WAITING;
}

static void fill_message(hf_scan *scan, hf_sight *s)
{
    const hf_entry *e = &s->e;
    s->msg = (hf_message){
        .id = e->id,
        .key = s->key,
        .to = e->to,
        .from = e->from,
        .kind = e->name,
        .body = e->data,
        .cause = (hf_cause)e->cause,
        .status = status_of(scan, s),
        .attempt = e->attempt,
        .sent = e->sent,
        .due = due_of(scan, e),
        .expires = hf_scan_told(scan, e->expires, false),
        .err = e->err,
        .error = e->err ? e->error : "",
        .about = e->cause == HF_JOINED ? 0 : e->about,
        .urgency = e->urgency,
        .replaced = e->replaced,
        .joined = hf_entry_joined(e),
        .lost = hf_entry_lost(e),
    };
    if (s->msg.status == HF_RETRYING)
        s->msg.retry = s->msg.due;
}

/* How often the process died of it, if somebody asks. */
static uint32_t strikes_of(const hf_scan *scan, uint64_t id)
{
    const hf_living *living = scan->inquiry->living;
    uint32_t strikes = 0;
    uint64_t until;
    if (living && hf_where_asks(scan->where, HF_BY_STRIKES))
        (void)living->suspect(living->user, id, &strikes, &until);
    return strikes;
}

/* `e` may be that of the sight itself. */
static int meet_any(hf_scan *scan, const hf_entry *e, uint64_t died, bool delayed)
{
    hf_sight *s = &scan->sight;
    if (e != &s->e)
        s->e = *e;
    s->died = died;
    s->since = 0;
    s->stuck = false;
    s->delayed = delayed;
    s->note = hf_view(NULL, 0);
    fill_message(scan, s);
    scan->scanned++;
    if (!hf_where_match_struck(scan->where, &s->msg, died, strikes_of(scan, e->id)))
        return HF_OK;
    if (!scan->keyless)
        hf_message_key(s->key, hf_prefix_of(&scan->prefixes, e->id), e->id);
    return scan->each(scan->user, s);
}

static int meet(hf_scan *scan, const hf_entry *e, bool dead)
{
    return meet_any(scan, e, dead ? e->died ? e->died : 1 : 0, false);
}

/* One that waits for its time, in alarm_names. */
static int meet_delayed(hf_scan *scan, const hf_entry *e)
{
    return meet_any(scan, e, 0, true);
}

/* The letter in a row of alarm_names; HF_ENOTFOUND: it is an alarm's. */
static int decode_delayed(hf_bytes key, hf_bytes payload, hf_entry *e)
{
    uint64_t id;
    size_t actor_len;
    if (!hf_due_letter_of(key, &id, &actor_len))
        return HF_ENOTFOUND;
    if (payload.len < 16
        || !hf_entry_decode((const uint8_t *)payload.data + 16, payload.len - 16, e))
        return hf_error(HF_ECORRUPT, "a delayed message can't be read");
    e->op = HF_OP_SEND; /* also if it was edited */
    e->id = id;
    return HF_OK;
}

/* The message in a row of inbox or dead. */
static int decode(hf_bytes key, hf_bytes payload, bool dead, hf_entry *e)
{
    if (key.len < 8 || payload.len < 8
        || !hf_entry_decode((const uint8_t *)payload.data + 8, payload.len - 8, e)
        || e->flags & HF_ENTRY_SHARES)
        return hf_error(HF_ECORRUPT, "a message can't be read");
    uint64_t number = hf_get64_key((const uint8_t *)key.data + key.len - 8);
    if (!dead)
        e->place = number;
    if (!e->id)
        e->id = number;
    if (!e->sent)
        e->sent = hf_get64(payload.data);
    return HF_OK;
}

/* ---- Walks */

typedef struct range {
    hf_scan *scan;
    hf_bytes prefix; /* keys that begin so */
    hf_bytes to;     /* keys below it; empty: all */
    bool     dead;
} range;

/* The bulk of a backlog has no rare fields: that is read in a few steps. False: it is
 * not so plain, or nobody asked for that. */
static bool meet_plain(hf_scan *scan, hf_bytes key, hf_bytes payload)
{
    const hf_living *living = scan->inquiry->living;
    const uint8_t *bytes = payload.data, *at = bytes + 8;
    if (payload.len < 8 + HF_ENTRY_HEAD || key.len < 8 || at[0] != HF_OP_SEND || at[1] || !at[2])
        return false;
    size_t data = hf_get32(at + 4), to = HF_ENTRY_HEAD + data, name = to + at[2] + 1u;
    size_t end = name + at[3] + (at[3] ? 1 : 0), size = (end + 15) & ~(size_t)15;
    if (size != payload.len - 8 || at[name - 1] || at[end - 1])
        return false;
    uint64_t id = hf_get64_key((const uint8_t *)key.data + key.len - 8), since;
    bool stuck;
    scan->sight.e.id = id;
    if (living && living->runs(living->user, &scan->sight.e, &since, &stuck))
        return false;
    const hf_standing *st = standing_of(scan, hf_get64(at + 8), (const char *)at + to, at[2]);
    hf_status status = st->paused ? HF_PAUSED
        : st->undefined || st->limited ? HF_HELD : HF_WAITING;
    return scan->plain(scan->user, st, status, id, hf_get64(bytes));
}

static bool is_within(const range *r, hf_bytes key)
{
    if (key.len < r->prefix.len
        || (r->prefix.len && memcmp(key.data, r->prefix.data, r->prefix.len) != 0))
        return false;
    if (!r->to.len)
        return true;
    if (key.len >= 8 && r->to.len >= 8) { /* mostly that says it */
        uint64_t is = hf_get64_key(key.data), bound = hf_get64_key(r->to.data);
        if (is != bound)
            return is < bound;
    }
    /* A bound is no key: none is a beginning of it. */
    return memcmp(key.data, r->to.data, key.len < r->to.len ? key.len : r->to.len) < 0;
}

static int meet_row(void *user, hf_bytes key, hf_bytes payload)
{
    range *r = user;
    hf_entry *e = &r->scan->sight.e;
    if (!is_within(r, key))
        return STOP;
    if (r->dead && key.len == 8 && hf_get64_key(key.data) >= r->scan->before)
        return STOP; /* and so are all that follow */
    if (r->scan->plain && !r->dead && meet_plain(r->scan, key, payload)) {
        r->scan->scanned++;
        return HF_OK;
    }
    int err = decode(key, payload, r->dead, e);
    return err ? err : meet(r->scan, e, r->dead);
}

/* Nobody wants a message of this id: what else it is need not be known. Its row is not
 * checked; who comes to its page of the list does that. The end of the walk is shown. */
static bool pass_id(const range *r, hf_bytes key, uint64_t id)
{
    if ((id > r->scan->after && id < r->scan->before) || !is_within(r, key))
        return false;
    r->scan->scanned++;
    return true;
}

static bool pass_row(void *user, hf_bytes key, hf_bytes value)
{
    const range *r = user;
    if (!hf_row_is_plain(key, value))
        return false;
    return pass_id(r, key, hf_get64_key((const uint8_t *)key.data + key.len - 8));
}

static bool pass_delayed_row(void *user, hf_bytes key, hf_bytes value)
{
    size_t actor_len;
    uint64_t id;
    (void)value;
    return hf_due_letter_of(key, &id, &actor_len) && pass_id(user, key, id);
}

static int meet_delayed_row(void *user, hf_bytes key, hf_bytes payload)
{
    range *r = user;
    hf_entry e;
    if (key.len < r->prefix.len
        || (r->prefix.len && memcmp(key.data, r->prefix.data, r->prefix.len) != 0))
        return STOP;
    int err = decode_delayed(key, payload, &e);
    return err ? (err == HF_ENOTFOUND ? HF_OK : err) : meet_delayed(r->scan, &e);
}

static int walk_delayed(hf_scan *scan, hf_bytes prefix)
{
    range r = { .scan = scan, .prefix = prefix };
    int err = hf_view_walk_past(scan->view, HF_IN_ALARM_NAMES, prefix, meet_delayed_row,
                                pass_delayed_row, &r);
    return err == STOP ? HF_OK : err;
}

/* From the first letter that may be wanted. */
static int walk_dead(hf_scan *scan)
{
    range r = { .scan = scan, .dead = true };
    hf_key from;
    if (scan->after == UINT64_MAX)
        return HF_OK;
    hf_key_number(&from, scan->after + 1);
    int err = hf_view_walk(scan->view, HF_IN_DEAD, hf_key_bytes(&from), meet_row, &r);
    return err == STOP ? HF_OK : err;
}

int hf_scan_part(hf_scan *scan, hf_bytes from, hf_bytes to)
{
    range r = { .scan = scan, .to = to };
    int err = hf_view_walk_past(scan->view, HF_IN_INBOX, from, meet_row, pass_row, &r);
    return err == STOP ? HF_OK : err;
}

static int walk_actor(hf_scan *scan, hf_bytes address)
{
    hf_key key;
    if (!hf_address_ok(address.data, address.len))
        return HF_OK;
    uint64_t hash = hf_address_hash(hf_view_seed(scan->view), address.data, address.len);
    hf_key_actor(&key, address.data, address.len, hash);
    range r = { .scan = scan, .prefix = hf_key_bytes(&key) };
    int err = hf_view_walk_past(scan->view, HF_IN_INBOX, r.prefix, meet_row, pass_row, &r);
    return err && err != STOP ? err : walk_delayed(scan, r.prefix);
}

static int walk_inbox(hf_scan *scan)
{
    hf_bytes fixed;
    hf_key type = { .len = 0 }, next;
    if (hf_where_fixes(scan->where, HF_BY_ACTOR, &fixed, NULL))
        return walk_actor(scan, fixed);
    if (hf_where_fixes(scan->where, HF_BY_TYPE, &fixed, NULL)) {
        if (!hf_address_type_ok(fixed.data, fixed.len))
            return HF_OK;
        memcpy(type.bytes, fixed.data, fixed.len);
        type.bytes[fixed.len] = 0;
        type.len = fixed.len + 1;
    }
    next = type;
    if (type.len)
        next.bytes[type.len - 1] = 1; /* above all of its keys, below those of any other */
    int err = walk_delayed(scan, hf_key_bytes(&type));
    return err ? err : hf_crew_walk(scan, hf_key_bytes(&type), hf_key_bytes(&next));
}

int hf_scan_all(hf_scan *scan, hf_sight_fn each, void *user)
{
    uint64_t status, id;
    if (hf_where_fixes(scan->where, HF_BY_ID, NULL, &id))
        return hf_scan_some(scan, &id, 1, each, user);
    bool fixed = hf_where_fixes(scan->where, HF_BY_STATUS, NULL, &status);
    scan->each = each;
    scan->user = user;
    bool dead = !fixed || status == HF_DEAD;
    int err = dead ? walk_dead(scan) : HF_OK;
    return err || (fixed && status == HF_DEAD) ? err : walk_inbox(scan);
}

static int meet_waiting(void *user, const hf_entry *e)
{
    return meet(user, e, false);
}

int hf_scan_inbox(hf_scan *scan, const char *actor, hf_sight_fn each, void *user)
{
    scan->each = each;
    scan->user = user;
    int err = hf_view_inbox(scan->view, actor, 0, meet_waiting, scan);
    if (err)
        return err;
    hf_key key;
    size_t len = strlen(actor);
    hf_key_actor(&key, actor, len, hf_address_hash(hf_view_seed(scan->view), actor, len));
    key.bytes[key.len++] = 0; /* its names follow */
    return walk_delayed(scan, hf_key_bytes(&key));
}

/* ---- By id */

typedef struct search {
    hf_scan        *scan;
    const uint64_t *ids;
    size_t          count, left;
} search;

static int compare_ids(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static int meet_if_wanted(void *user, hf_bytes key, hf_bytes payload)
{
    search *s = user;
    hf_entry e;
    int err = decode(key, payload, false, &e);
    if (!err)
        s->scan->scanned++;
    if (err || !bsearch(&e.id, s->ids, s->count, sizeof e.id, compare_ids))
        return err;
    s->scan->scanned--;
    err = meet(s->scan, &e, false);
    return err ? err : --s->left ? HF_OK : STOP;
}

static int meet_delayed_if_wanted(void *user, hf_bytes key, hf_bytes payload)
{
    search *s = user;
    hf_entry e;
    int err = decode_delayed(key, payload, &e);
    if (err == HF_ENOTFOUND
        || (!err && !bsearch(&e.id, s->ids, s->count, sizeof e.id, compare_ids)))
        return HF_OK;
    if (!err)
        err = meet_delayed(s->scan, &e);
    return err ? err : --s->left ? HF_OK : STOP;
}

int hf_scan_some(hf_scan *scan, const uint64_t *ids, size_t count, hf_sight_fn each, void *user)
{
    search s = { scan, ids, count, count };
    scan->each = each;
    scan->user = user;
    for (size_t i = 0; i < count; i++) {
        hf_key key;
        hf_bytes payload;
        hf_entry e;
        hf_key_number(&key, ids[i]);
        int err = hf_view_get(scan->view, HF_IN_DEAD, hf_key_bytes(&key), &payload);
        if (!err)
            err = decode(hf_key_bytes(&key), payload, true, &e);
        if (!err) {
            err = meet(scan, &e, true);
            s.left--;
        }
        if (err && err != HF_ENOTFOUND)
            return err;
    }
    if (!s.left)
        return HF_OK;
    int err = hf_view_walk(scan->view, HF_IN_INBOX, hf_view("", 0), meet_if_wanted, &s);
    if (!err)
        err = hf_view_walk(scan->view, HF_IN_ALARM_NAMES, hf_view("", 0), meet_delayed_if_wanted,
                           &s);
    return err == STOP ? HF_OK : err;
}

typedef struct one {
    hf_sight_fn each;
    void       *user;
    bool        found;
} one;

static int tell_one(void *user, const hf_sight *sight)
{
    one *o = user;
    o->found = true;
    return o->each(o->user, sight);
}

int hf_scan_find(hf_scan *scan, uint64_t id, hf_sight_fn each, void *user)
{
    one o = { each, user, false };
    int err = hf_scan_some(scan, &id, 1, tell_one, &o);
    if (err || o.found)
        return err;
    return hf_error(HF_ENOTFOUND, "message %llu is unknown, or done and gone",
                    (unsigned long long)id);
}

/* Tell it if the row is there: HF_ENOTFOUND else. */
static int meet_at(hf_scan *scan, hf_table table, const hf_key *key)
{
    hf_bytes payload;
    hf_entry e;
    int err = hf_view_get(scan->view, table, hf_key_bytes(key), &payload);
    if (err)
        return err;
    if (table == HF_IN_ALARM_NAMES) {
        err = payload.len > 16 ? decode_delayed(hf_key_bytes(key), payload, &e) : HF_ENOTFOUND;
        return err ? err : meet_delayed(scan, &e);
    }
    err = decode(hf_key_bytes(key), payload, table == HF_IN_DEAD, &e);
    return err ? err : meet(scan, &e, table == HF_IN_DEAD);
}

typedef struct known {
    one      tell;
    uint64_t id;
} known;

static int tell_known(void *user, const hf_sight *sight)
{
    known *k = user;
    return sight->msg.id == k->id ? tell_one(&k->tell, sight) : HF_OK;
}

int hf_scan_known(hf_scan *scan, const hf_entry *sent, hf_sight_fn each, void *user)
{
    known k = { { each, user, false }, sent->id };
    hf_key key;
    scan->each = tell_known;
    scan->user = &k;
    hf_key_number(&key, sent->id);
    int err = meet_at(scan, HF_IN_DEAD, &key);
    if (err != HF_ENOTFOUND)
        return err;
    hf_key_place(&key, sent->to, sent->to_len, sent->hash, sent->place);
    err = meet_at(scan, HF_IN_INBOX, &key);
    if (err == HF_ENOTFOUND && sent->flags & HF_ENTRY_DELAYED) {
        hf_due_key(&key, sent);
        err = meet_at(scan, HF_IN_ALARM_NAMES, &key);
    }
    /* What was delayed, or replaced others, may stand anywhere in its actor's line. */
    if (err != HF_ENOTFOUND || !(sent->flags & (HF_ENTRY_DELAYED | HF_ENTRY_CONFLATES)))
        return err;
    err = hf_scan_inbox(scan, sent->to, tell_known, &k);
    return err ? err : k.tell.found ? HF_OK : HF_ENOTFOUND;
}

int hf_where_argument(hf_where **where, const struct hf_argument *argument)
{
    int err;
    *where = NULL;
    char *text = hf_argument_copy(argument, &err);
    if (err || !text)
        return err;
    err = hf_where_parse(where, text, NULL);
    hf_mem_free(text);
    return err;
}

int hf_where_about(hf_where **where, const char *field, const char *value)
{
    size_t len = strlen(field), at;
    char *text = hf_mem_alloc(len + 2 * strlen(value) + 4);
    if (!text)
        return hf_error(HF_ENOMEM, "a selection");
    memcpy(text, field, len);
    at = len;
    text[at++] = '=';
    text[at++] = '"';
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            text[at++] = '\\';
        text[at++] = *value;
    }
    text[at++] = '"';
    text[at] = 0;
    int err = hf_where_parse(where, text, NULL);
    hf_mem_free(text);
    return err;
}
