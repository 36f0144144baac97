/* engine_actors.c - the actors: they do what the message's plan says, and remember it.
 *
 * Happy path: a turn appends the token to the actor's state and follows the plan. A
 * turn that is going to fail first saves and sends, which must leave no trace. What
 * the failed hook, undo and dead letters bring lands in the list of grave/0. Whatever
 * a handler finds that cannot be is told to `broken`, the first one stays. Threads of
 * the engine. */
#include "tests/crash/engine_states/engine_world.h"

#include <pthread.h>
#include <stdio.h>

witness seen;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void broken(const char *format, ...)
{
    va_list args;
    (void)pthread_mutex_lock(&lock);
    if (!atomic_exchange(&seen.broken, true)) {
        va_start(args, format);
        (void)vsnprintf(seen.why, sizeof seen.why, format, args);
        va_end(args);
    }
    (void)pthread_mutex_unlock(&lock);
}

void witness_clear(const moment *known)
{
    memset(&seen, 0, sizeof seen);
    memcpy(seen.keys, w.keys, sizeof seen.keys);
    seen.known = *known;
    for (uint32_t token = 0; token < w.message_count; token++)
        atomic_init(&seen.revived[token], revived(known, token));
}

/* ---- The state: a hash and a list */

typedef struct memory {
    uint64_t hash;
    uint32_t count, pad;
} memory;

static uint64_t hash_more(uint64_t hash, const void *item, size_t size)
{
    const uint8_t *bytes = item;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

static int remember(hf_turn *turn, const void *items, size_t size, uint32_t count)
{
    hf_bytes old = hf_state(turn);
    size_t len = old.len ? old.len : sizeof(memory), all = size * count;
    uint8_t *new = hf_alloc(turn, len + all);
    memory m = { 0 };
    if (!new)
        return HF_ENOMEM;
    if (old.len) {
        memcpy(&m, old.data, sizeof m);
        memcpy(new, old.data, old.len);
    }
    if (all)
        memcpy(new + len, items, all);
    m.hash = hash_more(m.hash, items, all);
    m.count += count;
    memcpy(new, &m, sizeof m);
    hf_save(turn, hf_view(new, len + all));
    return HF_OK;
}

/* All it remembers, and this, goes to the attic in the same turn. */
static int forget(hf_turn *turn, uint32_t token)
{
    hf_bytes old = hf_state(turn);
    size_t len = old.len ? old.len - sizeof(memory) : 0;
    uint32_t *list = hf_alloc(turn, len + sizeof token);
    if (!list)
        return HF_ENOMEM;
    if (len)
        memcpy(list, (const uint8_t *)old.data + sizeof(memory), len);
    memcpy((uint8_t *)list + len, &token, sizeof token);
    hf_send(turn, place_names[ATTIC_AT], "list", hf_view(list, len + sizeof token));
    hf_forget(turn);
    return HF_OK;
}

static void tell_state(uint32_t place, hf_bytes state, size_t size)
{
    report *r = &seen.reports[place];
    memory m = { 0 };
    if (state.len)
        memcpy(&m, state.data, sizeof m);
    const uint8_t *items = (const uint8_t *)state.data + (state.len ? sizeof m : 0);
    uint64_t hash = 0;
    if (m.count > SEEN_MAX || (state.len && state.len != sizeof m + m.count * size)) {
        broken("the state of %s is torn", place_names[place]);
        return;
    }
    hash = hash_more(hash, items, m.count * size);
    if (hash != m.hash)
        broken("the state of %s does not sum up", place_names[place]);
    r->came = true;
    r->count = m.count;
    if (m.count)
        memcpy(size == sizeof(grave_note) ? (void *)r->notes : (void *)r->tokens, items,
               m.count * size);
}

static uint32_t place_of(const char *address)
{
    for (uint32_t i = 0; i < PLACES; i++)
        if (strcmp(address, place_names[i]) == 0)
            return i;
    broken("a message came to %s", address);
    return 0;
}

/* ---- Steps */

static void step_begun(uint32_t token, uint32_t n, const char *key)
{
    if (atomic_load(&seen.revived[token])) { /* another generation, under other keys */
        if (strcmp(seen.keys[token][n], key) == 0)
            broken("step %u of %u runs again under the key it was undone with", n, token);
        return;
    }
    if (seen.known.step_begun[token][n]) {
        if (strcmp(seen.keys[token][n], key) != 0)
            broken("step %u of %u has key %s now, not %s", n, token, key, seen.keys[token][n]);
        return;
    }
    (void)snprintf(seen.keys[token][n], sizeof seen.keys[token][n], "%s", key);
    seen.known.step_begun[token][n] = true;
    if (seen.recording) {
        memcpy(w.keys[token][n], seen.keys[token][n], sizeof w.keys[token][n]);
        tape_ack(mark(MARK_STEP_BEGUN, token * STEPS + n));
    }
}

static int step(hf_turn *turn, uint32_t token, uint32_t n, bool ends)
{
    bool again = atomic_load(&seen.revived[token]);
    hf_step s;
    int err = hf_begin_step(turn, n ? "second" : "first", &s);
    if (err != HF_OK && err != HF_TODO)
        return hf_fail(turn, err, "begin of a step: %s", hf_detail());
    if (err == HF_TODO && !again && seen.known.step_ended[token][n])
        broken("step %u of %u has forgotten that it was ended", n, token);
    if (err == HF_OK && !again && !seen.known.step_begun[token][n] && seen.recording)
        broken("step %u of %u is done before it was begun", n, token);
    step_begun(token, n, s.key);
    if (err == HF_TODO && ends) {
        err = hf_end_step(turn, &s, hf_view(&token, sizeof token));
        if (err)
            return hf_fail(turn, err, "end of a step: %s", hf_detail());
        seen.known.step_ended[token][n] |= !again;
        if (seen.recording && !again)
            tape_ack(mark(MARK_STEP_ENDED, token * STEPS + n));
    }
    bool there = s.result.len == sizeof token && memcmp(s.result.data, &token, sizeof token) == 0;
    if (err == HF_OK && !there)
        broken("step %u of %u has another result", n, token);
    return HF_OK;
}

static int undo(hf_turn *turn, const hf_message *msg, const hf_step *s)
{
    uint32_t token = body_token(msg->body), n = strcmp(s->name, "second") == 0;
    if (token >= TOKENS || atomic_load(&seen.revived[token])) {
        broken("an undo of no message of ours, or of one that does not die");
        return HF_OK;
    }
    grave_note note = { token, NOTE_UNDONE + n };
    if (strcmp(s->key, seen.keys[token][n]) != 0 && seen.known.step_begun[token][n])
        broken("step %u of %u is undone under another key", n, token);
    if (seen.known.step_ended[token][n] && s->result.len != sizeof token)
        broken("step %u of %u is undone without its result", n, token);
    hf_send(turn, place_names[GRAVE_AT], "undone", hf_view(&note, sizeof note));
    if (!seen.failed_once[token][n]) {
        seen.failed_once[token][n] = true;
        return hf_fail(turn, 4, "not undone the first time");
    }
    return HF_OK;
}

/* ---- Turns */

static void send_children(hf_turn *turn, const message *m)
{
    uint8_t body[BODY_MAX];
    for (uint32_t i = 0; i < m->child_count; i++)
        hf_send(turn, place_names[w.messages[m->children[i]].place], "go",
                body_write(body, m->children[i]));
}

static int take_steps(hf_turn *turn, const message *m, uint32_t token, uint32_t attempt)
{
    bool undoes = m->plan == PLAN_UNDO
                  || (m->plan == PLAN_REDO && !atomic_load(&seen.revived[token]));
    int err = step(turn, token, 0, m->plan != PLAN_HALF_STEP || attempt > 1);
    if (err || m->plan == PLAN_HALF_STEP)
        return err ? err : attempt == 1 ? hf_fail(turn, 3, "between begin and end") : HF_OK;
    err = step(turn, token, 1, !undoes);
    if (err)
        return err;
    if (undoes)
        return hf_bury(turn, "undo it all");
    return attempt == 1 && m->plan == PLAN_STEPS ? hf_fail(turn, 3, "after the steps") : HF_OK;
}

static int follow(hf_turn *turn, const message *m, uint32_t token, uint32_t attempt)
{
    switch ((plan)m->plan) {
    case PLAN_FAIL:
        return attempt <= m->times ? hf_fail(turn, 1, "attempt %u", attempt) : HF_OK;
    case PLAN_FAIL_ALWAYS:
        return hf_fail(turn, 2, "always");
    case PLAN_BURY:
        return hf_bury(turn, "not wanted");
    case PLAN_REVIVE:
        return atomic_load(&seen.revived[token]) ? HF_OK
                                                 : hf_bury(turn, "not before I am asked again");
    case PLAN_SNOOZE:
        if (attempt != 1)
            broken("a snooze of %u burnt a try", token);
        if (seen.failed_once[token][STEPS])
            return HF_OK;
        seen.failed_once[token][STEPS] = true;
        return hf_snooze(turn, 1);
    case PLAN_STEPS:
    case PLAN_HALF_STEP:
    case PLAN_UNDO:
    case PLAN_REDO:
        return take_steps(turn, m, token, attempt);
    default:
        return HF_OK;
    }
}

static uint32_t open_body(const hf_message *msg)
{
    uint8_t body[BODY_MAX];
    uint32_t token = body_token(msg->body);
    if (token == NOBODY) {
        broken("%s got what nobody sent", msg->to);
        return NOBODY;
    }
    hf_bytes wanted = body_write(body, token);
    if (wanted.len != msg->body.len || memcmp(wanted.data, msg->body.data, wanted.len) != 0)
        broken("the body of %u is not what was sent", token);
    if (strcmp(msg->to, place_names[w.messages[token].place]) != 0)
        broken("%u came to %s", token, msg->to);
    atomic_fetch_add(&seen.ran[token], 1);
    return token;
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "report") == 0) {
        tell_state(place_of(msg->to), hf_state(turn), sizeof(uint32_t));
        return HF_OK;
    }
    uint32_t token = open_body(msg);
    if (token == NOBODY)
        return HF_OK;
    const message *m = &w.messages[token];
    int err = m->plan == PLAN_FORGET ? forget(turn, token)
                                     : remember(turn, &token, sizeof token, 1);
    if (err)
        return err;
    send_children(turn, m);
    return follow(turn, m, token, msg->attempt);
}

static int handle_crew(hf_turn *turn, const hf_message *msg)
{
    uint32_t token = open_body(msg);
    if (token == NOBODY)
        return HF_OK;
    hf_forward(turn, "done", hf_view(&token, sizeof token));
    return follow(turn, &w.messages[token], token, msg->attempt);
}

static int handle_tally(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "report") != 0)
        return remember(turn, msg->body.data, sizeof(uint32_t), 1);
    tell_state(TALLY_AT, hf_state(turn), sizeof(uint32_t));
    return HF_OK;
}

/* A dead letter's note ends with the body it had. */
static int handle_grave(hf_turn *turn, const hf_message *msg)
{
    grave_note note = { 0, NOTE_DEAD };
    if (strcmp(msg->kind, "report") == 0) {
        tell_state(GRAVE_AT, hf_state(turn), sizeof note);
        return HF_OK;
    }
    if (strcmp(msg->kind, "dead") == 0)
        note.token = body_token(msg->body);
    else
        memcpy(&note, msg->body.data, sizeof note);
    return remember(turn, &note, sizeof note, 1);
}

static int handle_attic(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "report") == 0) {
        tell_state(ATTIC_AT, hf_state(turn), sizeof(uint32_t));
        return HF_OK;
    }
    return remember(turn, msg->body.data, sizeof(uint32_t),
                    (uint32_t)(msg->body.len / sizeof(uint32_t)));
}

static void failed(hf_turn *turn, const hf_message *msg)
{
    grave_note note = { body_token(msg->body), NOTE_FAILED + msg->attempt };
    hf_send(turn, place_names[GRAVE_AT], "failed", hf_view(&note, sizeof note));
}

#define SHORT                                                                                \
    .retry_ms = 1, .retry_ms_max = 2, .tries = TRIES, .strikes = HF_NEVER, .failed = failed, \
    .dead_to = "grave/0"

const hf_type actor_types[] = {
    { .name = "calm", .handle = handle, SHORT },
    { .name = "slow", .handle = handle, .undo = undo, .threads = 2, SHORT },
    { .name = "crew", .handle = handle_crew, .threads = 2, .workers = 2, .next = "tally/0", SHORT },
    { .name = "tally", .handle = handle_tally, .strikes = HF_NEVER },
    { .name = "grave", .handle = handle_grave, .strikes = HF_NEVER },
    { .name = "attic", .handle = handle_attic, .strikes = HF_NEVER },
    { .name = "bare",
      .handle = handle,
      .retry_ms = 1,
      .retry_ms_max = 2,
      .tries = TRIES,
      .strikes = HF_NEVER },
    { 0 },
};
