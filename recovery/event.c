/* event.c - what an entry of the log tells of a message, for who follows it.
 *
 * Happy path: the op says what happened, the last of an operator's notes who did it;
 * kind, sender and body of a message that only ends stand at its id, one look-up away.
 * What nobody knows any more is left out, and is selected by no comparison. Fails when
 * the log can't be read. Any thread, in one snapshot. */
#include "recovery/event.h"

#include "recovery/pausing.h"

#include "storage/error.h"

#define BIT(n) (UINT32_C(1) << (n))
#define MESSAGES (BIT(HF_OP_SEND) | BIT(HF_OP_DUE))

const uint32_t hf_event_ops = MESSAGES | HF_ANNALS_PLAIN | BIT(HF_OP_DONE) | BIT(HF_OP_ACK)
    | BIT(HF_OP_RETRY) | BIT(HF_OP_DEAD) | BIT(HF_OP_REQUEUE) | BIT(HF_OP_PURGE)
    | BIT(HF_OP_PAUSE) | BIT(HF_OP_RESUME);

/* What only an entry with all of the message says. */
#define ENVELOPE (BIT(HF_BY_KIND) | BIT(HF_BY_FROM) | BIT(HF_BY_SENT) | BIT(HF_BY_AGE) \
                  | BIT(HF_BY_URGENCY) | BIT(HF_BY_BODY))
#define ADDRESS (BIT(HF_BY_TYPE) | BIT(HF_BY_ACTOR))
#define EVERYTHING (BIT(HF_BY_BODY + 1) - 1)

static bool is_note(const hf_event *v, const char *change)
{
    return v->note.change.len == strlen(change)
        && memcmp(v->note.change.data, change, v->note.change.len) == 0;
}

static void read_note(hf_event *v)
{
    hf_bytes rest = v->e.notes;
    hf_note note;
    while (hf_note_next(&rest, &note))
        v->note = note;
}

/* Notes stay in a message: is the last one younger than its last failure? */
static bool is_fresh(const hf_event *v)
{
    const hf_entry *e = &v->e;
    if (e->times.len < 8)
        return true;
    return v->note.time_ms > hf_get64((const uint8_t *)e->times.data + e->times.len - 8);
}

static bool is_cancel(const hf_event *v)
{
    static const char words[] = "cancelled";
    return is_note(v, "cancel") && v->e.err == HF_EDEAD && v->e.error_len >= sizeof words - 1
        && memcmp(v->e.error, words, sizeof words - 1) == 0;
}

static void tell_retry(hf_event *v)
{
    v->what = v->e.err ? "retry" : "delayed";
    v->status = v->e.err ? HF_RETRYING : HF_DELAYED;
    if (is_cancel(v)) {
        v->what = "cancelled";
        v->named = true;
    } else if (is_note(v, "requeue") && is_fresh(v)) {
        v->what = "requeued";
        v->named = true;
        v->status = HF_WAITING;
    }
}

static void tell_dead(hf_event *v)
{
    v->what = is_cancel(v) ? "cancelled" : "dead";
    v->status = HF_DEAD;
    v->named = is_cancel(v);
    if (is_note(v, "edit") && v->note.time_ms > v->e.died) {
        v->what = "edited";
        v->named = true;
    }
}

static void tell_requeue(hf_event *v)
{
    v->what = is_note(v, "edit") ? "edited" : is_note(v, "undo") ? "undoing"
            : is_note(v, "requeue") ? "requeued" : "replaced";
    v->named = v->note.time_ms > 0;
    v->status = v->e.flags & HF_ENTRY_DELAYED ? HF_DELAYED : HF_WAITING;
}

/* What pauses: an actor, a type, or everything. */
static void tell_pause(hf_event *v)
{
    hf_entry *e = &v->e;
    v->what = e->op == HF_OP_PAUSE ? "paused" : "resumed";
    v->status = HF_PAUSED;
    v->named = v->note.time_ms > 0;
    v->unknown = EVERYTHING & ~ADDRESS;
    if (strcmp(e->to, HF_PAUSE_ALL) == 0) {
        e->to = "";
        e->to_len = 0;
    }
    e->id = 0;
    e->error_len = 0;
    e->name = "";
    e->name_len = 0;
}

static void tell_sent(hf_event *v)
{
    bool delayed = v->e.op == HF_OP_SEND && v->e.flags & HF_ENTRY_DELAYED;
    v->what = v->e.op == HF_OP_DUE ? "due" : "sent";
    v->status = delayed ? HF_DELAYED : HF_WAITING;
    v->e.sent = v->e.sent ? v->e.sent : v->at;
    v->named = is_note(v, "send") || is_note(v, "import");
}

static void name_it(hf_event *v)
{
    switch (v->e.op) {
    case HF_OP_RETRY:
        tell_retry(v);
        break;
    case HF_OP_DEAD:
        tell_dead(v);
        break;
    case HF_OP_REQUEUE:
        tell_requeue(v);
        break;
    case HF_OP_PAUSE:
    case HF_OP_RESUME:
        tell_pause(v);
        break;
    case HF_OP_SEND:
    case HF_OP_DUE:
        tell_sent(v);
        break;
    default:
        v->what = v->e.op == HF_OP_PURGE ? "purged" : "done";
        v->named = v->e.op == HF_OP_PURGE && v->note.time_ms;
        v->status = HF_DONE;
        v->unknown |= BIT(HF_BY_ATTEMPTS);
        break;
    }
}

/* The rest of the message, out of the entry that sent it; what is newer stays. */
static void fill(hf_event *v, const hf_annal *sent)
{
    hf_entry *e = &v->e;
    if (!e->to_len) {
        e->to = sent->e.to;
        e->to_len = sent->e.to_len;
    }
    e->name = sent->e.name;
    e->name_len = sent->e.name_len;
    e->from = sent->e.from;
    e->from_len = sent->e.from_len;
    e->data = sent->e.data;
    e->urgency = sent->e.urgency;
    e->sent = sent->e.sent ? sent->e.sent : sent->time_ms;
}

static bool is_whole(uint8_t op)
{
    return hf_entry_is_message(op) || op == HF_OP_DEAD || op == HF_OP_REQUEUE;
}

int hf_event_read(hf_event *v, hf_txn *txn, const hf_annal *a)
{
    hf_annal sent;
    *v = (hf_event){ .position = a->position, .at = a->time_ms, .e = a->e,
                     .unknown = BIT(HF_BY_STRIKES) };
    read_note(v);
    name_it(v);
    if (is_whole(a->e.op) || !v->e.id)
        return HF_OK;
    int err = hf_annals_find(txn, v->e.id, &sent);
    if (err && err != HF_ENOTFOUND)
        return err;
    if (!err && hf_entry_is_message(sent.e.op) && sent.e.id == v->e.id)
        fill(v, &sent);
    else
        v->unknown |= ENVELOPE | (v->e.to_len ? 0 : ADDRESS);
    return HF_OK;
}

void hf_event_done(hf_event *v, const hf_annal *done, uint64_t place, const hf_annal *sent)
{
    *v = (hf_event){ .what = "done", .position = done->position, .at = done->time_ms,
                     .status = HF_DONE, .unknown = BIT(HF_BY_STRIKES) | BIT(HF_BY_ATTEMPTS) };
    v->e = (hf_entry){ .op = HF_OP_DONE, .id = sent ? sent->e.id : place, .to = "", .name = "",
                       .from = "", .error = "" };
    if (sent)
        fill(v, sent);
    else
        v->unknown |= ENVELOPE | ADDRESS;
}

bool hf_event_match(const hf_event *v, const hf_where *where)
{
    const hf_entry *e = &v->e;
    hf_message msg = { .id = e->id, .key = "", .to = e->to, .from = e->from, .kind = e->name,
                       .body = e->data, .error = e->err && e->error_len ? e->error : "",
                       .status = v->status, .attempt = e->attempt, .sent = e->sent,
                       .due = e->due, .urgency = e->urgency };
    return hf_where_match_known(where, &msg, v->status == HF_DEAD ? e->died : 0, v->unknown);
}

void hf_event_put(const hf_event *v, hf_out *out)
{
    const hf_entry *e = &v->e;
    bool pause = e->op == HF_OP_PAUSE || e->op == HF_OP_RESUME;
    hf_out_uint(out, "position", v->position);
    hf_out_uint(out, "at", v->at);
    hf_out_text(out, "what", hf_str(v->what));
    hf_out_time(out, "id", e->id);
    if (e->to_len || pause)
        hf_out_text(out, "actor", hf_view(e->to, e->to_len));
    if (e->name_len)
        hf_out_text(out, "kind", hf_view(e->name, e->name_len));
    if (e->from_len)
        hf_out_text(out, "from", hf_view(e->from, e->from_len));
    hf_out_time(out, "attempt", e->attempt);
    hf_out_time(out, "due", v->status == HF_DONE || v->status == HF_DEAD || pause ? 0 : e->due);
    hf_out_time(out, "took_ms", e->took);
    hf_out_time(out, "replaced", e->replaced);
    if (e->err)
        hf_out_int(out, "err", e->err);
    if (e->err && e->error_len)
        hf_out_text(out, "error", hf_view(e->error, e->error_len));
    if (v->named && v->note.user.len)
        hf_out_text(out, "user", v->note.user);
    if (v->named && v->note.reason.len)
        hf_out_text(out, "reason", v->note.reason);
}
