/* fate.c - apply facts to a row.
 *
 * Happy path: walk the facts about the row in the order of the log, keep what
 * the last one leaves, and ask for the row itself only when a fact changes a
 * part of it (RETRY) or depends on it (DUE). Fails when that row is damaged,
 * or for want of memory. Any thread. */
#include "storage/fate.h"

#include "storage/error.h"

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
    box->fresh = hf_entry_is_message(e->op) && e->id >= s->applied;
    box->edited = false;
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
    if (payload.len < 8 || !hf_entry_decode(bytes + 8, payload.len - 8, &box->message))
        return hf_error(HF_ECORRUPT, "a message of the inbox can't be read");
    box->time_ms = hf_get64(bytes);
    box->now = WAITING;
    return HF_OK;
}

static int retry(letterbox *box, const hf_entry *e, const hf_key *key, hf_fate_load load, void *user)
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

/* Which setting of the alarm stands in the table; 0: none. */
static int stored_generation(const hf_key *key, hf_fate_load load, void *user, uint64_t *generation)
{
    hf_bytes payload;
    uint64_t due;
    *generation = 0;
    int err = load(user, HF_IN_ALARM_NAMES, key, &payload);
    if (!err)
        err = hf_fate_alarm(payload, &due, generation);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static int fate_of_alarm(const hf_survivors *s, const hf_survivor *item, size_t count,
                         const hf_key *key, hf_fate_load load, void *user, hf_rowbuf *buf,
                         hf_fate *fate)
{
    hf_entry e, set = { .op = 0 };
    const uint8_t *raw = NULL;
    bool known = false;
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = hf_survivor_entry(s, &item[i], &e);
        if (e.op == HF_OP_DUE && !known) {
            uint64_t generation;
            int err = stored_generation(key, load, user, &generation);
            if (err)
                return err;
            if (generation != e.generation)
                continue; /* another setting took its place: it stays */
        } else if (e.op == HF_OP_DUE && set.generation != e.generation) {
            continue;
        }
        known = true;
        set = e;
        size = bytes;
        raw = e.op == HF_OP_ALARM ? item[i].entry : NULL;
        if (!raw)
            set.generation = 0;
    }
    if (!known)
        return HF_OK;
    fate->verdict = HF_FATE_GONE;
    if (!raw)
        return HF_OK;
    int err = hf_rowbuf_need(buf, 16 + size + HF_ROW_EXTRA);
    if (err)
        return err;
    hf_put64(buf->bytes + 1, set.due);
    hf_put64(buf->bytes + 9, set.generation);
    memcpy(buf->bytes + 17, raw, size);
    *fate = (hf_fate){ HF_FATE_PUT, 16 + size, set.due, set.generation };
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
    if (table == HF_IN_STATE && last->entry[0] == HF_OP_SAVE)
        return seal_copy(buf, hf_survivor_position(s, last), last->entry + HF_ENTRY_HEAD,
                         hf_get32(last->entry + 4), fate);
    size_t size = hf_survivor_entry(s, last, &e);
    uint64_t time_ms = s->records[last->record]->time_ms;
    if (table == HF_IN_DEAD && e.op == HF_OP_DEAD)
        return seal_copy(buf, e.sent ? e.sent : time_ms, last->entry, size, fate);
    if (table == HF_IN_PAUSES && e.op == HF_OP_PAUSE)
        return seal_copy(buf, time_ms, last->entry, size, fate);
    fate->verdict = HF_FATE_GONE;
    return HF_OK;
}
