/* reply.c - hf_reply, and what whoever asked is told when there was none.
 *
 * Happy path: a turn replies. To a caller from outside the reply hangs on the turn's
 * batch and is told by the journal once that is committed; to an actor it is a message
 * in the same commit, of the kind the actor named. A forwarded message takes whoever
 * asked along. A turn that ends well without a reply answers with nothing, a death with
 * what the message died of: nobody waits for ever.
 *
 * Staging as in stage.c: what fails fails the turn; what a turn replied is cut off with
 * the rest of it. What came of a message with a word is noted for who sends it again: its
 * own turn's reply, not that of where it was forwarded. The turn's thread; replies are let
 * go on the journal's. */
#include "engine/ask.h"

#include "engine/dedupe.h"
#include "engine/flush.h"

#include "storage/address.h"
#include "storage/error.h"
#include "storage/memory.h"

enum { STAGED_MAX = 16 << 20 };

/* ---- On a batch */

hf_bytes hf_response_bytes(const hf_response *r)
{
    const uint8_t *bytes = r->bytes + ((16 - ((uintptr_t)r->bytes & 15)) & 15);
    return r->given || r->len ? hf_view(bytes, r->len) : hf_view(NULL, 0);
}

hf_response *hf_response_new(uint64_t ask, int err, const hf_bytes *reply)
{
    size_t len = reply ? reply->len : 0;
    hf_response *r = hf_mem_alloc(sizeof *r + 16 + len);
    if (!r)
        return NULL;
    *r = (hf_response){ .ask = ask, .err = err, .given = reply != NULL, .len = len };
    if (len)
        memcpy(r->bytes + ((16 - ((uintptr_t)r->bytes & 15)) & 15), reply->data, len);
    return r;
}

static int hang(hf_batch *batch, uint64_t ask, int err, const hf_bytes *reply)
{
    hf_response *r = hf_response_new(ask, err, reply);
    if (!r)
        return hf_error(HF_ENOMEM, "a reply of %zu bytes", reply ? reply->len : 0);
    r->next = batch->replies;
    batch->replies = r;
    batch->reply_bytes += sizeof *r + r->len;
    return HF_OK;
}

void hf_replies_cut(hf_batch *batch, const hf_response *mark)
{
    while (batch->replies != mark) {
        hf_response *r = batch->replies;
        batch->replies = r->next;
        batch->reply_bytes -= sizeof *r + r->len;
        hf_mem_free(r);
    }
}

void hf_replies_release(hf_batch *batch, int err)
{
    hf_response *oldest = NULL, *next;
    for (hf_response *r = batch->replies; r; r = next) {
        next = r->next;
        r->next = oldest;
        oldest = r;
    }
    batch->replies = NULL; /* reply_bytes stays: the batch weighs what it did */
    for (hf_response *r = oldest; r; r = next) {
        next = r->next;
        if (err)
            hf_mem_free(r);
        else if (r->flush)
            hf_flush_park(r, batch);
        else
            hf_asks_end(batch->engine, r->ask, r->err, r);
    }
}

/* ---- Who asked */

/* `answer` is a kind, behind its zero maybe the address of who asked: a message that was
 * forwarded comes from somebody else. */
static hf_bytes asker_of(const hf_entry *m)
{
    size_t kind = strlen(m->answer);
    if (kind + 1 < m->answer_len)
        return hf_view(m->answer + kind + 1, m->answer_len - kind - 1);
    return hf_view(m->from, m->from_len);
}

/* A message to the actor that asked. Its type may be gone: then it waits for it. */
static int send_answer(hf_turn *turn, const hf_entry *m, hf_cause cause, hf_bytes body)
{
    hf_bytes to = asker_of(m);
    hf_batch *batch = turn->batch;
    if (!hf_address_ok(to.data, to.len))
        return HF_OK; /* nobody there; what a newer version wrote, maybe */
    hf_entry e = { .op = HF_OP_SEND, .to = to.data, .to_len = (uint8_t)to.len,
                   .name = m->answer, .name_len = (uint8_t)strlen(m->answer), .data = body,
                   .hash = hf_address_hash(turn->engine->seed, to.data, to.len),
                   .cause = cause, .about = m->about, .from = m->to, .from_len = m->to_len,
                   .parent = m->id,
                   .error = "", .answer = "", .dedupe = "" };
    if (cause == HF_GONE) {
        e.err = m->err ? m->err : HF_EDEAD;
        e.error = m->error;
        e.error_len = m->error_len;
    }
    hf_segment *segment = &batch->segments[hf_address_shard(e.hash, batch->shards)];
    uint32_t before = segment->len;
    int err = hf_segment_add(segment, &e);
    if (err)
        return err;
    turn->staged += segment->len - before;
    turn->sends++;
    batch->sends++;
    return HF_OK;
}

/* Who sends it again under its word learns what came of it. */
static int note_word(hf_turn *turn, const hf_entry *m, hf_taken_outcome outcome, hf_bytes reply)
{
    if (!m->dedupe_len || m->flags & HF_ENTRY_CONFLICT)
        return HF_OK;
    return hf_dedupe_note_end(turn->batch, m, outcome, reply);
}

/* body NULL: it ended well without a reply. */
static int answer(hf_turn *turn, const hf_bytes *body)
{
    const hf_entry *m = turn->e;
    if (m->answer_len)
        return send_answer(turn, m, HF_ANSWER, body ? *body : hf_view(NULL, 0));
    if (!m->ask || m->id < turn->engine->first_id)
        return HF_OK; /* asked in an earlier run: nobody waits any more */
    turn->staged += body ? body->len : 0;
    return hang(turn->batch, m->ask, HF_OK, body);
}

/* ---- In a turn */

/* Not when it failed, nor while its steps are undone: then it ends as it will. */
static bool in_handler(const hf_turn *turn)
{
    return turn->msg.status == HF_RUNNING && !turn->undoing;
}

static int check_reply(const hf_turn *turn, hf_bytes body)
{
    if (!in_handler(turn))
        return hf_error(HF_EINVAL, "hf_reply belongs in the handler");
    if (turn->answered == HF_TURN_REPLIED)
        return hf_error(HF_EINVAL, "hf_reply: this turn replied before");
    if (turn->answered == HF_TURN_HANDED_ON)
        return hf_error(HF_EINVAL, "hf_reply: whoever asked went on with hf_forward");
    if (body.len > turn->engine->options.body_max)
        return hf_error(HF_ETOOBIG, "a reply of %zu bytes, the limit is %u", body.len,
                        turn->engine->options.body_max);
    if (body.len && !body.data)
        return hf_error(HF_EINVAL, "a reply of %zu bytes at NULL", body.len);
    return HF_OK;
}

void hf_reply(hf_turn *turn, hf_bytes body)
{
    if (turn->err)
        return;
    int err = check_reply(turn, body);
    if (!err && turn->asked)
        err = answer(turn, &body);
    if (!err)
        err = note_word(turn, turn->e, HF_TAKEN_REPLIED, body);
    if (!err && turn->staged > STAGED_MAX)
        err = hf_error(HF_ETOOBIG, "a turn may stage 16 MiB");
    if (err)
        hf_turn_fail(turn, err);
    else
        turn->answered = HF_TURN_REPLIED;
}

void hf_ask_hand_on(hf_turn *turn, hf_entry *e)
{
    const hf_entry *m = turn->e;
    if (!in_handler(turn) || turn->answered)
        return;
    turn->answered = HF_TURN_HANDED_ON;
    if (m->ask && m->id >= turn->engine->first_id)
        e->ask = m->ask;
    if (!m->answer_len)
        return;
    size_t kind = strlen(m->answer);
    hf_bytes asker = asker_of(m);
    char *text = hf_alloc(turn, kind + 1 + asker.len + 1);
    if (!text)
        return; /* it failed the turn */
    memcpy(text, m->answer, kind + 1);
    memcpy(text + kind + 1, asker.data, asker.len);
    e->answer = text;
    e->answer_len = (uint32_t)(kind + 1 + asker.len);
    e->about = m->about;
}

void hf_ask_turn_ends(hf_turn *turn)
{
    int err = turn->answered ? HF_OK : answer(turn, NULL);
    if (!err && turn->answered != HF_TURN_REPLIED)
        err = note_word(turn, turn->e, HF_TAKEN_SILENT, hf_view(NULL, 0));
    if (err)
        hf_turn_fail(turn, err);
}

int hf_ask_gone(hf_turn *turn, const hf_entry *m)
{
    hf_bytes why = hf_view(m->error, m->error_len);
    int err = note_word(turn, m, HF_TAKEN_DEAD, why);
    if (err)
        return err;
    if (m->answer_len)
        return send_answer(turn, m, HF_GONE, why);
    if (!m->ask || m->id < turn->engine->first_id)
        return HF_OK;
    return hang(turn->batch, m->ask, HF_EDEAD, &why);
}

/* ---- In a letter */

int hf_ask_letter(const hf_letter *letter, hf_entry *e)
{
    size_t len = letter->answer ? strnlen(letter->answer, HF_NAME_MAX + 1) : 0;
    if (!letter->answer)
        return hf_error(HF_EINVAL, ".about needs .answer");
    if (!len || len > HF_NAME_MAX)
        return hf_error(HF_EINVAL, ".answer is a kind of 1 to %d bytes", HF_NAME_MAX);
    if (letter->dedupe || letter->conflate || letter->to[0] == '@')
        return hf_error(HF_EINVAL, ".answer goes with neither .dedupe nor .conflate nor a topic: "
                                   "the letter may not be handled, or more than once");
    e->answer = letter->answer;
    e->answer_len = (uint32_t)len;
    e->about = letter->about;
    return HF_OK;
}
