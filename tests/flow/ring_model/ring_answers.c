/* ring_answers.c - who asks in a turn is answered once, who joins is told once.
 *
 * An actor's state keeps how many answers and joins it is owed, and the sum of their
 * hashes: at the end both are nothing. What they say follows from what the letters' actors
 * do by plan. Outsiders ask, too: their callbacks come once, and right. */
#include "tests/flow/ring_model/ring_rules.h"

#include <stdlib.h>

bool ring_asks(uint32_t sender, uint32_t actor, uint32_t seq)
{
    return ring_hash(ring_dice(sender, actor, seq), 91) % 4 == 0;
}

static uint64_t about_of(uint32_t actor, uint32_t seq)
{
    return (uint64_t)actor << 32 | seq;
}

/* Some turns end without a reply: then an empty one comes. */
static bool has_reply(uint32_t sender, uint32_t actor, uint32_t seq)
{
    return ring_hash(ring_dice(sender, actor, seq), 92) % 4 != 0;
}

/* Certainly dead; or perhaps. */
static bool is_dead(uint32_t sender, uint32_t actor, uint32_t seq, bool perhaps)
{
    ring_time time = ring_time_of(sender, actor, seq);
    return ring_dies(ring_plan_of(ring_dice(sender, actor, seq))) || time == DOOMED
        || (perhaps && time == BRIEF);
}

void ring_ask_back(hf_letter *letter, ring_memory *m, uint32_t sender, uint32_t actor,
                   uint32_t seq)
{
    if (letter->join || !ring_asks(sender, actor, seq))
        return;
    letter->answer = "answer";
    letter->about = about_of(actor, seq);
    m->owed++;
    m->owed_sum += ring_hash(letter->about, 1);
}

void ring_reply(hf_turn *turn, const ring_letter *l)
{
    uint16_t answer[3] = { l->sender, l->actor, l->seq };
    if (has_reply(l->sender, l->actor, l->seq))
        hf_reply(turn, hf_view(answer, sizeof answer));
}

static bool is_note(hf_bytes body, uint32_t sender, uint32_t actor, uint32_t seq)
{
    uint16_t answer[3] = { (uint16_t)sender, (uint16_t)actor, (uint16_t)seq };
    return body.len == sizeof answer && memcmp(body.data, answer, sizeof answer) == 0;
}

static bool is_answer(hf_bytes body, uint32_t sender, uint32_t actor, uint32_t seq)
{
    return has_reply(sender, actor, seq) ? is_note(body, sender, actor, seq) : !body.len;
}

static void answered(const hf_message *msg, ring_memory *m, uint32_t self)
{
    uint32_t actor = (uint32_t)(msg->about >> 32), seq = (uint32_t)msg->about;
    bool gone = msg->cause == HF_GONE;
    if (actor >= ACTORS || seq > m->out[actor] || strcmp(msg->kind, "answer") != 0)
        ring_broken("%s has an answer about %u of %u", msg->to, seq, actor);
    else if (!is_dead(OUTSIDERS + self, actor, seq, gone) == gone)
        ring_broken("%s: what it asked %u (%u) is %s", msg->to, actor, seq,
                    gone ? "gone" : "answered");
    else if (!gone && !is_answer(msg->body, OUTSIDERS + self, actor, seq))
        ring_broken("%s: the answer of %u (%u) is not what was replied", msg->to, actor, seq);
    m->owed--;
    m->owed_sum -= ring_hash(msg->about, 1);
}

/* ---- Joins: the body tells which letters it waited for */

void ring_join(hf_turn *turn, ring_memory *m, const ring_joined *j)
{
    hf_join(turn, "joined", hf_view(j, sizeof *j));
    m->owed++;
    m->owed_sum += ring_hash(j->salt, 2);
}

static void joined(const hf_message *msg, ring_memory *m, uint32_t self)
{
    const ring_joined *j = msg->body.data;
    uint32_t least = 0, most = 0;
    if (msg->body.len != sizeof *j) {
        ring_broken("%s: a join of %zu bytes", msg->to, msg->body.len);
        return;
    }
    for (uint32_t i = 0; i < j->count; i++) {
        least += is_dead(OUTSIDERS + self, j->actors[i], j->seqs[i], false);
        most += is_dead(OUTSIDERS + self, j->actors[i], j->seqs[i], true);
    }
    if (msg->joined + msg->lost != j->count || msg->lost < least || msg->lost > most)
        ring_broken("%s: a join of %u, %u ended well, %u lost (%u to %u)", msg->to, j->count,
                    msg->joined, msg->lost, least, most);
    m->owed--;
    m->owed_sum -= ring_hash(j->salt, 2);
}

bool ring_is_told_back(const hf_message *msg, ring_memory *m, uint32_t self)
{
    if (msg->cause == HF_ANSWER || msg->cause == HF_GONE)
        answered(msg, m, self);
    else if (msg->cause == HF_JOINED)
        joined(msg, m, self);
    else
        return false;
    return true;
}

/* ---- From outside */

typedef struct question {
    struct question *before;
    uint32_t         sender, actor, seq;
    bool             ended;
} question;

/* All that were asked: nobody says when the last callback has gone by, the child's end does. */
static question *_Atomic asked;
static atomic_uint heard_in_all;

static void heard(void *user, int err, hf_bytes answer)
{
    question *q = user;
    uint8_t *fate = &ring->fate[q->sender][q->actor][q->seq];
    if (q->ended)
        ring_broken("two answers to %u/%u to %u", q->sender, q->seq, q->actor);
    q->ended = true;
    atomic_fetch_add(&heard_in_all, 1);
    if (err == HF_OK || err == HF_EDEAD) {
        *fate = ACKED;
        if (!is_dead(q->sender, q->actor, q->seq, err == HF_EDEAD) == (err == HF_EDEAD))
            ring_broken("asked %u/%u to %u: %d", q->sender, q->seq, q->actor, err);
        if (!err && !is_answer(answer, q->sender, q->actor, q->seq))
            ring_broken("asked %u/%u to %u: not what was replied", q->sender, q->seq, q->actor);
    } else if (err == HF_EAGAIN || err == HF_EFULL) {
        *fate = REFUSED;
    } else if (err != HF_ECLOSED) { /* taken or not: who asked does not know */
        ring_broken("asked %u/%u to %u: %d (%s)", q->sender, q->seq, q->actor, err,
                    hf_strerror(err));
    }
}

static void watched(void *user, hf_bytes note)
{
    const question *q = user;
    if (q->ended)
        ring_broken("%u/%u to %u makes progress after it ended", q->sender, q->seq, q->actor);
    if (!is_note(note, q->sender, q->actor, q->seq))
        ring_broken("%u/%u to %u: a note of another's progress", q->sender, q->seq, q->actor);
}

void ring_progress(hf_turn *turn, const ring_letter *l)
{
    uint16_t note[3] = { l->sender, l->actor, l->seq };
    int err = hf_progress(turn, hf_view(note, sizeof note));
    if (err)
        ring_broken("hf_progress: %d %s", err, hf_detail());
}

void ring_ask(hf_engine *engine, const hf_letter *letter, uint32_t sender, uint32_t actor,
              uint32_t seq)
{
    question *q = calloc(1, sizeof *q);
    if (!q)
        abort();
    *q = (question){ .sender = sender, .actor = actor, .seq = seq };
    q->before = atomic_load(&asked);
    while (!atomic_compare_exchange_weak(&asked, &q->before, q))
        continue;
    int err = seq % 2 ? hf_ask(engine, letter, HF_NEVER, heard, q)
                      : hf_ask_watched(engine, letter, HF_NEVER, heard, watched, q);
    if (!err)
        return;
    ring->fate[sender][actor][seq] = REFUSED;
    (void)ring_taken(err, "hf_ask");
}

/* ---- The last life: who asks while nothing is closed or killed hears something */

enum { LAST = 2 * ACTORS };

static bool all_heard(hf_engine *engine)
{
    (void)engine;
    return atomic_load(&heard_in_all) == LAST;
}

static void rest(hf_engine *engine)
{
    uint8_t body[RING_BODY_MAX];
    char to[32];
    for (uint32_t i = 0; i < LAST; i++) {
        uint32_t actor = i % ACTORS, seq = ring->told[0][actor] + 1u;
        hf_letter l = { .size = sizeof l, .to = to, .kind = "go" };
        if (seq > MOST) {
            atomic_fetch_add(&heard_in_all, 1);
            continue;
        }
        ring->told[0][actor] = (uint16_t)seq;
        ring->fate[0][actor][seq] = TOLD;
        l.body = hf_view(body, ring_write(body, 0, actor, seq, 0));
        ring_address(actor, to);
        ring_dress(&l, 0, actor, seq);
        ring_ask(engine, &l, 0, actor, seq);
    }
    ring_until(engine, all_heard, "answers");
}

/* Nobody is owed anything. */
static void check(void)
{
    for (uint32_t a = 0; a < ACTORS; a++)
        if (ring->reports[a].owed || ring->reports[a].owed_sum)
            ring_broken("actor %u is owed %d answers or joins", a, ring->reports[a].owed);
}

const ring_rule ring_answers = { NULL, NULL, rest, check };
