/* question.c - which question it is, and how a row leaves.
 *
 * Happy path: find the question by name and ask it; it makes rows one by one in
 * inquiry->row and tells each. Any thread, one inquiry each. */
#include "recovery/question.h"

#include "storage/error.h"

static const struct {
    const char *name;
    int (*ask)(hf_inquiry *inquiry, hf_bytes arguments);
} questions[] = {
    { "stats", hf_ask_stats },     { "ls", hf_ask_ls },
    { "top", hf_ask_top },
    { "actor", hf_ask_actor },     { "message", hf_ask_message },
    { "messages", hf_ask_messages }, { "alarms", hf_ask_alarms },
    { "tail", hf_ask_tail },
};

int hf_inquire(hf_inquiry *inquiry, const char *question, hf_bytes arguments)
{
    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++) {
        if (strcmp(question, questions[i].name) != 0)
            continue;
        int err = questions[i].ask(inquiry, arguments);
        hf_out_done(&inquiry->row);
        return err;
    }
    return hf_error(HF_EINVAL, "no such question: %.40s", question);
}

int hf_inquiry_tell(hf_inquiry *inquiry)
{
    hf_out *row = &inquiry->row;
    hf_out_end(row);
    int err = row->err ? row->err : inquiry->each(inquiry->user, hf_out_bytes(row));
    hf_out_clear(row);
    return err;
}

const char *hf_status_name(hf_status status)
{
    static const char *const names[] = { "waiting", "delayed", "retrying", "held",
                                         "paused",  "running", "dead",     "done" };
    return names[status];
}

const char *hf_cause_name(hf_cause cause)
{
    static const char *const names[] = { "sent", "alarm", "answer", "joined", "gone", "ended" };
    return (size_t)cause < sizeof names / sizeof *names ? names[cause] : "sent";
}

void hf_out_message(hf_out *out, const hf_sight *s, bool body)
{
    const hf_message *m = &s->msg;
    hf_out_uint(out, "id", m->id);
    hf_out_text(out, "key", hf_str(m->key));
    hf_out_text(out, "actor", hf_str(m->to));
    hf_out_words(out, "from", m->from);
    hf_out_words(out, "kind", m->kind);
    hf_out_text(out, "cause", hf_str(hf_cause_name(m->cause)));
    hf_out_text(out, "status", hf_str(hf_status_name(m->status)));
    hf_out_uint(out, "attempt", m->attempt);
    hf_out_time(out, "sent", m->sent);
    hf_out_time(out, "due", m->due);
    hf_out_time(out, "expires", m->expires);
    hf_out_time(out, "died", s->died > 1 ? s->died : 0);
    hf_out_time(out, "retry", m->retry);
    hf_out_time(out, "urgency", m->urgency); /* left out when it is none */
    if (m->err) {
        hf_out_int(out, "err", m->err);
        hf_out_text(out, "error", hf_str(m->error));
    }
    if (s->e.phase && m->status != HF_DEAD && m->status != HF_DONE)
        hf_out_bool(out, "ending", true);
    if (m->cause == HF_JOINED) {
        hf_out_uint(out, "joined", m->joined);
        hf_out_uint(out, "lost", m->lost);
    }
    hf_out_time(out, "replaced", m->replaced);
    hf_out_words(out, "dedupe", s->e.dedupe);
    hf_out_words(out, "answer", s->e.answer); /* up to its zero: the kind */
    hf_out_time(out, "about", m->about);
    if (s->e.ask)
        hf_out_bool(out, "asked", true);
    if (s->note.len)
        hf_out_bin(out, "progress", s->note);
    hf_out_uint(out, "body_bytes", m->body.len);
    if (body)
        hf_out_bin(out, "body", m->body);
    if (s->e.first.data)
        hf_out_bool(out, "edited", true);
    if (body && s->e.first.data)
        hf_out_bin(out, "first_body", s->e.first);
}
