/* fate.c - apply facts to a row.
 *
 * Happy path: walk the facts about the row in the order of the log, keep what
 * the last one leaves, and ask for the row itself only when a fact changes a
 * part of it (RETRY) or depends on it (DUE). Fails when that row is damaged,
 * or for want of memory. Any thread. */
#include "storage/fate.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/taken.h"

/* A message while facts are applied to it. */
typedef struct letterbox {
    enum { UNKNOWN, WAITING, ENDED } now;
    bool           fresh;  /* its SEND is here and was never applied before */
    bool           edited;
    const uint8_t *raw;    /* its bytes as they stand, if not edited */
    size_t         raw_len;
    uint64_t       time_ms;
    hf_entry       message;
} letterbox;

static void arrive(letterbox *box, const hf_survivors *s, const hf_survivor *item,
                   const hf_entry *e, size_t size)
{
    const hf_record *r = s->records[item->record];
    box->fresh = hf_entry_is_message(e->op) && e->place >= s->applied;
    box->edited = (item->entry[1] & HF_ENTRY_SHARES) != 0; /* its row has the body in it */
    box->raw = item->entry;
    box->raw_len = size;
    box->time_ms = e->sent ? e->sent : r->time_ms;
    box->message = *e;
    box->now = item->gone ? ENDED : WAITING;
}

static int fetch(letterbox *box, const hf_key *key, hf_fate_load load, void *user)
{
    hf_bytes payload;
    int err = load(user, HF_IN_INBOX, key, &payload);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    const uint8_t *bytes = payload.data;
    if (payload.len < 8 || !hf_entry_decode(bytes + 8, payload.len - 8, &box->message)
        || box->message.flags & HF_ENTRY_SHARES)
        return hf_error(HF_ECORRUPT, "a message of the inbox can't be read");
    box->time_ms = hf_get64(bytes);
    box->now = WAITING;
    return HF_OK;
}

static int retry(letterbox *box, const hf_entry *e, const hf_key *key, hf_fate_load load,
                 void *user)
{
    int err = box->now == UNKNOWN ? fetch(box, key, load, user) : HF_OK;
    if (err || box->now != WAITING)
        return err;
    hf_entry *m = &box->message;
    m->attempt = e->attempt;
    m->due = e->due;
    m->err = e->err;
    m->error = e->error;
    m->error_len = e->error_len;
    m->times = e->times;
    m->phase = e->phase;
    m->generation = e->generation;
    if (e->notes.len) /* an operator's; other retries say nothing of them */
        m->notes = e->notes;
    m->expires = m->reason = 0; /* it was begun; its due is that of the next attempt */
    m->flags = (uint8_t)(m->flags | (e->flags & HF_ENTRY_STEPS));
    box->edited = true;
    return HF_OK;
}

static int seal_message(const letterbox *box, hf_rowbuf *buf, hf_fate *fate)
{
    size_t size = box->edited ? hf_entry_size(&box->message) : box->raw_len;
    int err = hf_rowbuf_need(buf, 8 + size + HF_ROW_EXTRA);
    if (err)
        return err;
    uint8_t *at = buf->bytes + 1;
    hf_put64(at, box->time_ms);
    if (box->edited)
        hf_entry_encode(&box->message, at + 8);
    else
        memcpy(at + 8, box->raw, size);
    fate->len = 8 + size;
    fate->verdict = HF_FATE_PUT;
    return HF_OK;
}

static int fate_of_message(const hf_survivors *s, const hf_survivor *item, size_t count,
                           const hf_key *key, hf_fate_load load, void *user, hf_rowbuf *buf,
                           hf_fate *fate)
{
    letterbox box = { .now = UNKNOWN };
    for (size_t i = 0; i < count; i++) {
        hf_entry e;
        int err = HF_OK;
        size_t size = hf_survivor_entry(s, &item[i], &e);
        if (e.op == HF_OP_RETRY)
            err = retry(&box, &e, key, load, user);
        else if (e.op == HF_OP_ACK || e.op == HF_OP_DEAD)
            box.now = ENDED;
        else
            arrive(&box, s, &item[i], &e, size);
        if (err)
            return err;
    }
    if (box.now == WAITING && box.raw == NULL && !box.edited)
        return HF_OK;
    if (box.now == WAITING)
        return seal_message(&box, buf, fate);
    if (box.now == ENDED && !box.fresh)
        fate->verdict = HF_FATE_GONE;
    return HF_OK;
}

static int seal_copy(hf_rowbuf *buf, uint64_t first, const void *rest, size_t len, hf_fate *fate)
{
    int err = hf_rowbuf_need(buf, 8 + len + HF_ROW_EXTRA);
    if (err)
        return err;
    hf_put64(buf->bytes + 1, first);
    if (len)
        memcpy(buf->bytes + 9, rest, len);
    fate->len = 8 + len;
    fate->verdict = HF_FATE_PUT;
    return HF_OK;
}

int hf_fate_alarm(hf_bytes payload, uint64_t *due, uint64_t *generation)
{
    if (payload.len < 16)
        return hf_error(HF_ECORRUPT, "an alarm is cut short");
    *due = hf_get64(payload.data);
    *generation = hf_get64((const uint8_t *)payload.data + 8);
    return HF_OK;
}

/* An alarm or a delayed letter while facts are applied to it. */
typedef struct setting {
    bool               known;   /* else it is as the table has it */
    bool               changed;
    bool               fresh;   /* a letter whose SEND was never applied before */
    uint64_t           due, generation; /* 0 0: not set; due 0: its message waits */
    const hf_survivor *item;    /* that set it */
} setting;

static int load_setting(setting *now, const hf_key *key, hf_fate_load load, void *user)
{
    hf_bytes payload;
    int err = load(user, HF_IN_ALARM_NAMES, key, &payload);
    if (!err)
        err = hf_fate_alarm(payload, &now->due, &now->generation);
    now->known = true;
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* DUE, and the end of its message, concern one setting of the alarm only. */
static void pass_on(setting *now, const hf_survivor *item, const hf_entry *e)
{
    if (!e->generation || now->generation != e->generation)
        return; /* another one took its place: it stays */
    if (e->op != HF_OP_DUE && now->due)
        return; /* it never was due, so no message of it can have ended */
    bool waits = e->op == HF_OP_DUE && !item->gone && !hf_due_is_letter(e);
    now->changed = true;
    now->due = 0;
    if (!waits)
        now->generation = 0;
}

static int apply_alarm(setting *now, const hf_survivors *s, const hf_survivor *item,
                       const hf_key *key, hf_fate_load load, void *user)
{
    hf_entry e;
    hf_survivor_entry(s, item, &e);
    bool again = e.op == HF_OP_REQUEUE; /* a letter has another text */
    if (e.op == HF_OP_ALARM || e.op == HF_OP_SEND || e.op == HF_OP_CANCEL || again) {
        bool set = e.op != HF_OP_CANCEL, letter = e.op == HF_OP_SEND || again;
        *now = (setting){ .known = true, .changed = true, .item = item,
                          .fresh = again ? now->fresh : letter && e.place >= s->applied };
        now->due = set ? hf_due_time(&e) : 0;
        now->generation = !set ? 0 : letter ? e.id : e.generation;
        return HF_OK;
    }
    int err = now->known ? HF_OK : load_setting(now, key, load, user);
    if (!err)
        pass_on(now, item, &e);
    return err;
}

static int seal_setting(const setting *now, const hf_survivors *s, hf_rowbuf *buf, hf_fate *fate)
{
    hf_entry e;
    size_t size = now->due ? hf_survivor_entry(s, now->item, &e) : 0;
    bool shared = size && now->item->entry[1] & HF_ENTRY_SHARES; /* the row has the body in it */
    size = shared ? hf_entry_size(&e) : size;
    int err = hf_rowbuf_need(buf, 16 + size + HF_ROW_EXTRA);
    if (err)
        return err;
    hf_put64(buf->bytes + 1, now->due);
    hf_put64(buf->bytes + 9, now->generation);
    if (shared)
        hf_entry_encode(&e, buf->bytes + 17);
    else if (size)
        memcpy(buf->bytes + 17, now->item->entry, size);
    *fate = (hf_fate){ HF_FATE_PUT, 16 + size, now->due, now->generation };
    return HF_OK;
}

static int fate_of_alarm(const hf_survivors *s, const hf_survivor *item, size_t count,
                         const hf_key *key, hf_fate_load load, void *user, hf_rowbuf *buf,
                         hf_fate *fate)
{
    setting now = { .known = false };
    int err = HF_OK;
    for (size_t i = 0; !err && i < count; i++)
        err = apply_alarm(&now, s, &item[i], key, load, user);
    if (err || !now.changed)
        return err;
    if (now.generation)
        return seal_setting(&now, s, buf, fate);
    if (!now.fresh) /* of a letter that was due at once there never was a row */
        fate->verdict = HF_FATE_GONE;
    return HF_OK;
}

int hf_fate_of(const hf_survivors *s, hf_table table, size_t from, size_t to, const hf_key *key,
               hf_fate_load load, void *user, hf_rowbuf *buf, hf_fate *fate)
{
    const hf_survivor *items = s->table[table].items, *last = &items[to - 1];
    hf_entry e;
    *fate = (hf_fate){ .verdict = HF_FATE_NONE };
    if (table == HF_IN_INBOX)
        return fate_of_message(s, items + from, to - from, key, load, user, buf, fate);
    if (table == HF_IN_ALARM_NAMES)
        return fate_of_alarm(s, items + from, to - from, key, load, user, buf, fate);
    if (table == HF_IN_DEDUPE)
        return hf_taken_fate(s, from, to, key, load, user, buf, fate);
    if ((table == HF_IN_ROWS || table == HF_IN_TOPICS)
        && last->entry[0] == HF_OP_PUT)
        return seal_copy(buf, hf_survivor_position(s, last), last->entry + HF_ENTRY_HEAD,
                         hf_get32(last->entry + 4), fate);
    if (table == HF_IN_STATE && last->entry[0] == HF_OP_SAVE) {
        uint64_t form = 0;
        if (last->entry[1] & HF_ENTRY_EXTRA) {
            (void)hf_survivor_entry(s, last, &e);
            form = e.version;
        }
        return seal_copy(buf, hf_survivor_position(s, last) | form << HF_STATE_FORM,
                         last->entry + HF_ENTRY_HEAD, hf_get32(last->entry + 4), fate);
    }
    size_t size = hf_survivor_entry(s, last, &e);
    uint64_t time_ms = s->records[last->record]->time_ms;
    if (table == HF_IN_DEAD && e.op == HF_OP_DEAD)
        return seal_copy(buf, e.sent ? e.sent : time_ms, last->entry, size, fate);
    if (table == HF_IN_PAUSES && e.op == HF_OP_PAUSE)
        return seal_copy(buf, time_ms, last->entry, size, fate);
    fate->verdict = HF_FATE_GONE;
    return HF_OK;
}
