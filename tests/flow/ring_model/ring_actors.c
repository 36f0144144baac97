/* ring_actors.c - the actors of the model.
 *
 * Each keeps in its state what it handled, in order, and how much it sent to
 * whom. What a message makes its actor do follows from who sent it and its
 * number, so that the check can say later what should have come of it. A turn
 * that is going to fail first saves and sends, which must leave no trace. */
#include "tests/flow/ring_model/ring_rules.h"

#include "engine/holdfast_msgpack.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

size_t ring_write(uint8_t *room, uint32_t sender, uint32_t actor, uint32_t seq, uint32_t depth)
{
    ring_letter l = { .sender = (uint16_t)sender, .seq = (uint16_t)seq, .actor = (uint16_t)actor,
                      .depth = (uint16_t)depth };
    uint64_t dice = ring_hash(ring_dice(sender, actor, seq), 77);
    size_t filler = dice % 8 ? dice / 8 % 100 : dice / 8 % (RING_BODY_MAX - sizeof l);
    memcpy(room, &l, sizeof l);
    memset(room + sizeof l, (int)seq & 0xff, filler);
    return sizeof l + filler;
}

static void check_body(const ring_letter *l, hf_bytes body)
{
    uint8_t expected[RING_BODY_MAX];
    size_t len = ring_write(expected, l->sender, l->actor, l->seq, l->depth);
    if (len != body.len || memcmp(expected, body.data, len) != 0)
        ring_broken("the body of %u/%u to %u is not what was sent", l->sender, l->seq, l->actor);
}

/* ---- Turns that end later, from another thread */

typedef struct finisher {
    pthread_mutex_t lock;
    pthread_cond_t  wake;
    hf_turn        *turns[64];
    uint32_t        count;
} finisher;

static finisher later = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, { NULL }, 0 };

static void *finish_turns(void *user)
{
    (void)user;
    pthread_mutex_lock(&later.lock);
    for (;;) {
        if (!later.count) {
            pthread_cond_wait(&later.wake, &later.lock);
            continue;
        }
        hf_turn *turn = later.turns[--later.count];
        pthread_mutex_unlock(&later.lock);
        if (hf_finish(turn, HF_OK))
            ring_broken("hf_finish: %s", hf_detail());
        pthread_mutex_lock(&later.lock);
    }
    return NULL;
}

void ring_finisher_start(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, finish_turns, NULL) == 0)
        pthread_detach(thread);
}

static int finish_later(hf_turn *turn)
{
    pthread_mutex_lock(&later.lock);
    later.turns[later.count++] = turn;
    pthread_cond_signal(&later.wake);
    pthread_mutex_unlock(&later.lock);
    return HF_PENDING;
}

/* ---- State */

static ring_memory *remember(hf_turn *turn, uint32_t room)
{
    hf_bytes old = hf_state(turn);
    size_t size = old.len ? old.len : sizeof(ring_memory);
    ring_memory *m = hf_alloc(turn, size + room * sizeof(ring_item));
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m);
    if (old.len)
        memcpy(m, old.data, old.len);
    else
        m->version = ring->life;
    return m;
}

static void save(hf_turn *turn, const ring_memory *m)
{
    hf_save(turn, hf_view(m, sizeof *m + m->count * sizeof m->items[0]));
}

static void send_to(hf_turn *turn, ring_memory *m, uint32_t self, uint32_t other, uint32_t depth,
                    ring_joined *j)
{
    uint8_t body[RING_BODY_MAX];
    char to[32];
    if (m->out[other] >= MOST)
        return;
    uint32_t seq = ++m->out[other];
    hf_letter l = { .size = sizeof l, .to = to, .kind = "go", .join = j != NULL };
    l.body = hf_view(body, ring_write(body, OUTSIDERS + self, other, seq, depth));
    ring_address(other, to);
    ring_dress(&l, OUTSIDERS + self, other, seq);
    ring_ask_back(&l, m, OUTSIDERS + self, other, seq);
    if (j) {
        j->actors[j->count] = (uint16_t)other;
        j->seqs[j->count++] = (uint16_t)seq;
    }
    hf_send_letter(turn, &l);
}

static void send_some(hf_turn *turn, ring_memory *m, const ring_letter *l, uint64_t dice,
                      ring_plan plan)
{
    ring_joined j = { .salt = dice };
    if (!m || !l->depth)
        return;
    for (uint32_t i = 0; i < (plan == SEND_ONE ? 1u : 3u); i++)
        send_to(turn, m, l->actor, (uint32_t)(ring_hash(dice, i) % ACTORS), l->depth - 1u,
                plan == JOIN ? &j : NULL);
    if (plan == JOIN)
        ring_join(turn, m, &j);
}

/* ---- What a message makes them do */

static int do_step(hf_turn *turn, const ring_letter *l, uint32_t attempt)
{
    hf_step step;
    uint8_t *seen = &ring->steps[l->sender][l->actor][l->seq];
    int err = hf_begin_step(turn, "call", &step);
    if (err == HF_TODO) {
        if (*seen)
            ring_broken("step of %u/%u to %u forgot its result", l->sender, l->seq, l->actor);
        err = hf_end_step(turn, &step, hf_view(l, sizeof *l));
        if (err)
            return hf_fail(turn, err, "end of step: %s", hf_detail());
        *seen = 1;
    } else if (err) {
        return hf_fail(turn, err, "begin of step: %s", hf_detail());
    }
    if (step.result.len != sizeof *l || memcmp(step.result.data, l, sizeof *l) != 0)
        ring_broken("step of %u/%u to %u has another result", l->sender, l->seq, l->actor);
    return attempt == 1 ? hf_fail(turn, 7, "after the step") : HF_OK;
}

static int act(hf_turn *turn, const ring_letter *l, const hf_message *msg, ring_memory *m)
{
    uint64_t dice = ring_dice(l->sender, l->actor, l->seq);
    ring_plan plan = ring_plan_of(dice);
    bool pooled = ring_kind_of(l->actor) == SLOW || ring_kind_of(l->actor) == SWARM;
    switch (plan) {
    case FAIL_SOME:
        return msg->attempt <= ring_times_of(dice) ? hf_fail(turn, 5, "attempt %u", msg->attempt)
                                                   : HF_OK;
    case FAIL_ALWAYS: return hf_fail(turn, 6, "always");
    case BURY:        return hf_bury(turn, "not wanted");
    case SNOOZE:
        return ring_hash(dice, (uint64_t)(uintptr_t)pthread_self() ^ (uint64_t)clock()) % 2
                   ? hf_snooze(turn, dice % 3)
                   : HF_OK;
    case BAD_SEND:
        if (msg->attempt == 1)
            hf_send(turn, "nobody/1", "go", hf_str("x"));
        return HF_OK;
    case SEND_SOME:
    case SEND_ONE:
    case JOIN: send_some(turn, m, l, dice, plan); return HF_OK;
    case STEP: return pooled ? do_step(turn, l, msg->attempt) : HF_OK;
    case PEND: return pooled ? finish_later(turn) : HF_OK;
    default:   return HF_OK;
    }
}

static void report(const ring_letter *l, hf_bytes state)
{
    ring_report *r = &ring->reports[l->actor];
    const ring_memory *m = state.data;
    r->there = true;
    if (!state.len)
        return;
    if (m->count > ITEMS || state.len != sizeof *m + m->count * sizeof m->items[0]) {
        ring_broken("the state of actor %u is torn", l->actor);
        return;
    }
    r->count = m->count;
    r->owed = m->owed;
    r->owed_sum = m->owed_sum;
    memcpy(r->out, m->out, sizeof r->out);
    memcpy(r->items, m->items, m->count * sizeof m->items[0]);
}

static uint32_t number_of(const hf_message *msg)
{
    return (uint32_t)atoi(strchr(msg->to, '/') + 1) % ACTORS;
}

static const ring_letter *open_letter(const hf_message *msg)
{
    const ring_letter *l = msg->body.data;
    char to[32];
    if (msg->body.len < sizeof *l || l->actor >= ACTORS || l->sender >= SENDERS) {
        ring_broken("%s got a body of %zu bytes", msg->to, msg->body.len);
        return NULL;
    }
    if (strcmp(msg->kind, "report") == 0)
        atomic_fetch_add(&ring->asked, 1);
    ring_address(l->actor, to);
    if (strcmp(to, msg->to) != 0)
        ring_broken("a message for %s came to %s", to, msg->to);
    if (atomic_load(&ring->paused[l->actor]))
        ring_broken("%s runs while it is paused", to);
    return l;
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    ring_memory *m = remember(turn, 1);
    if (!m)
        return HF_ENOMEM;
    if (ring_kind_of(number_of(msg)) == SLOW && m->version != ring->life)
        ring_broken("%s sees a state of life %u in %u", msg->to, m->version, ring->life);
    if (ring_is_told_back(msg, m, number_of(msg))) {
        save(turn, m);
        return HF_OK;
    }
    const ring_letter *l = open_letter(msg);
    if (!l)
        return HF_OK;
    if (strcmp(msg->kind, "report") == 0) {
        report(l, hf_state(turn));
        return HF_OK;
    }
    check_body(l, msg->body);
    ring_came(l, msg);
    if (msg->attempt > TRIES)
        ring_broken("attempt %u of %s", msg->attempt, msg->to);
    ring_reply(turn, l);
    ring_progress(turn, l);
    m->items[m->count++] = (ring_item){ l->sender, l->seq };
    save(turn, m); /* stands only if the turn does */
    int code = act(turn, l, msg, m);
    save(turn, m);
    return code;
}

static int handle_swarm(hf_turn *turn, const hf_message *msg)
{
    const ring_letter *l = open_letter(msg);
    if (!l || strcmp(msg->kind, "report") == 0)
        return HF_OK;
    check_body(l, msg->body);
    ring_came(l, msg);
    if (msg->worker < 1 || msg->worker > 3)
        ring_broken("worker %u of %s", msg->worker, msg->to);
    ring_note note = { l->sender, l->seq, l->actor, 0 };
    hf_forward(turn, "note", hf_view(&note, sizeof note));
    return act(turn, l, msg, NULL);
}

/* ---- Where the done of the swarms and the dead are written down */

static int keep_note(hf_turn *turn, const ring_note *note)
{
    hf_bytes old = hf_state(turn);
    uint8_t *bytes = hf_alloc(turn, old.len + sizeof *note);
    if (!bytes)
        return HF_ENOMEM;
    if (old.len)
        memcpy(bytes, old.data, old.len);
    memcpy(bytes + old.len, note, sizeof *note);
    hf_save(turn, hf_view(bytes, old.len + sizeof *note));
    return HF_OK;
}

static int report_notes(hf_turn *turn, ring_notes *notes)
{
    hf_bytes state = hf_state(turn);
    notes->count = (uint32_t)(state.len / sizeof notes->notes[0]);
    if (notes->count > ITEMS)
        ring_broken("%u notes", notes->count);
    else if (state.len)
        memcpy(notes->notes, state.data, state.len);
    return HF_OK;
}

static int handle_tally(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "report") == 0)
        return report_notes(turn, &ring->tally);
    const ring_note *n = msg->body.data;
    ring_reply(turn, &(ring_letter){ .sender = n->sender, .seq = n->seq, .actor = n->actor });
    return keep_note(turn, n);
}

static const msgpack_object *field(const msgpack_object *map, const char *name)
{
    for (uint32_t i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == strlen(name)
            && memcmp(kv->key.via.str.ptr, name, strlen(name)) == 0)
            return &kv->val;
    }
    return NULL;
}

static int handle_grave(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "report") == 0)
        return report_notes(turn, &ring->grave);
    msgpack_unpacked told;
    ring_letter l;
    msgpack_unpacked_init(&told);
    const msgpack_object *body = NULL;
    if (msgpack_unpack_next(&told, msg->body.data, msg->body.len, NULL) == MSGPACK_UNPACK_SUCCESS)
        body = field(&told.data, "body");
    bool good = body && body->type == MSGPACK_OBJECT_BIN && body->via.bin.size >= sizeof l;
    if (good)
        memcpy(&l, body->via.bin.ptr, sizeof l);
    msgpack_unpacked_destroy(&told);
    if (!good) {
        ring_broken("the grave can't read its note");
        return HF_OK;
    }
    ring_note note = { l.sender, l.seq, l.actor, 0 };
    return keep_note(turn, &note);
}

/* ---- Mayflies: states that come and go */

static int handle_mayfly(hf_turn *turn, const hf_message *msg)
{
    const ring_mayfly *m = msg->body.data;
    hf_bytes state = hf_state(turn);
    uint64_t found = 0;
    if (state.len)
        memcpy(&found, state.data, sizeof found);
    if (found != m->found || (state.len && state.len != sizeof found))
        ring_broken("%s finds %llx, not %llx (op %u, id %llu)", msg->to, (unsigned long long)found,
                    (unsigned long long)m->found, m->op, (unsigned long long)msg->id);
    hf_bytes made = hf_view(&m->made, sizeof m->made);
    if (m->op == 3 || m->op == 1 || m->op == 5)
        hf_save(turn, made);
    if (m->op >= 2 && m->op <= 4)
        hf_forget(turn);
    if (m->op == 4)
        hf_save(turn, made);
    return m->op == 5 && msg->attempt == 1 ? hf_fail(turn, 9, "once") : HF_OK;
}

#define SHORT .retry_ms = 1, .retry_ms_max = 4, .tries = TRIES, .dead_to = "grave/yard", \
              .strikes = HF_NEVER

/* Those that fail do so until they don't. */
#define QUICK .retry_ms = 1, .retry_ms_max = 4, .tries = 100000, .strikes = HF_NEVER

#define FLUSHED .flush = ring_flush, .flush_ms = 5

const hf_type ring_types[RING_TYPES] = {
    { .name = "calm", .handle = handle, FLUSHED, SHORT },
    { .name = "slow", .handle = handle, .threads = 2, .upgrade = ring_upgrade, FLUSHED, SHORT },
    { .name = "pushy", .handle = handle, .overtake = 1, SHORT },
    { .name = "swarm", .handle = handle_swarm, .threads = 3, .workers = 3, .next = "tally/all",
      SHORT },
    { .name = "tally", .handle = handle_tally, .strikes = HF_NEVER },
    { .name = "grave", .handle = handle_grave, .strikes = HF_NEVER },
    { .name = "mayfly", .handle = handle_mayfly, .retry_ms = 1, .strikes = HF_NEVER },
    { .name = "clock", .handle = ring_clock_handle, QUICK },
    { .name = "bell", .handle = ring_clock_handle, .threads = 2, .overtake = 1, QUICK },
    { .name = "watch", .handle = ring_tick_handle, QUICK },
    { .name = "shelf", .handle = ring_shelf_handle, QUICK },
    { .name = "vault", .handle = ring_shelf_handle, .threads = 2, QUICK },
    { .name = "reader", .handle = ring_reader_handle, QUICK },
    { .name = "herald", .handle = ring_herald_handle, .threads = 1, QUICK },
    { .name = "gauge", .handle = ring_gauge_handle, QUICK },
    { .name = "pressure", .handle = ring_gauge_handle, .threads = 1, QUICK },
    { .name = "fuse", .handle = ring_limited_handle, .break_after = 2, .break_ms = 5, QUICK },
    { .name = "paced", .handle = ring_limited_handle, .rate = 4, .rate_ms = 20, QUICK },
    { .name = "narrow", .handle = ring_limited_handle, .threads = 1, .inbox_max = 16, QUICK },
    { 0 },
};
