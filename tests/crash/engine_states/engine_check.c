/* engine_check.c - open what a crash left with the engine, let it work, and judge.
 *
 * Happy path: it opens, comes to rest, what was paused has not moved; let go, all
 * messages that were acknowledged have been handled once, in order, with all that
 * follows from them, and nothing else; it works on, also when it is opened again;
 * the dead are listed. One thread, beside the engine's. */
#include "tests/crash/engine_states/engine_world.h"

#include "recovery/holdfast_recovery.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct found {
    uint32_t in[ALL_TOKENS];    /* lists: how often */
    uint32_t at[ALL_TOKENS];    /* and where */
    uint32_t notes[ALL_TOKENS]; /* as many have come in the order they must */
    uint32_t died[ALL_TOKENS];
} found;

static found      f;
static hf_engine *engine;
static char       why[640];

HF_PRINTF(1, 2)
static const char *wrong(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args);
    va_end(args);
    return why;
}

static const char *failed(const char *what, int err)
{
    return wrong("%s: %s (%s)", what, hf_strerror(err), hf_detail());
}

static const char *heard(void)
{
    return atomic_load(&seen.broken) ? seen.why : NULL;
}

/* ---- What a message must have left with grave/0 */

static uint32_t notes_wanted(const message *m)
{
    if (place_type(m->place) == BARE) /* nobody is told */
        return 0;
    switch ((plan)m->plan) {
    case PLAN_FAIL:
        return m->times;
    case PLAN_FAIL_ALWAYS:
        return TRIES + 1;
    case PLAN_REVIVE:
    case PLAN_BURY:
        return 2;
    case PLAN_STEPS:
    case PLAN_HALF_STEP:
        return 1;
    case PLAN_REDO:
    case PLAN_UNDO:
        return 4;
    default:
        return 0;
    }
}

static uint32_t note_wanted(const message *m, uint32_t n)
{
    if (plan_dies(m) && n + 1 == notes_wanted(m))
        return NOTE_DEAD;
    if ((m->plan == PLAN_UNDO || m->plan == PLAN_REDO) && n > 0)
        return NOTE_UNDONE + (n == 1); /* the second step first */
    return NOTE_FAILED + n + 1;
}

static const char *read_grave(void)
{
    const report *r = &seen.reports[GRAVE_AT];
    for (uint32_t i = 0; i < r->count; i++) {
        grave_note n = r->notes[i];
        if (n.token >= w.message_count)
            return wrong("the grave was told of %u, which never was", n.token);
        const message *m = &w.messages[n.token];
        if (f.notes[n.token] >= notes_wanted(m))
            return wrong("the grave heard %x of message %u (plan %u) once too often", n.what,
                         n.token, m->plan);
        uint32_t wanted = note_wanted(m, f.notes[n.token]++);
        if (n.what != wanted)
            return wrong("the grave heard %x of message %u (plan %u), not %x", n.what, n.token,
                         m->plan, wanted);
        f.died[n.token] += n.what == NOTE_DEAD;
    }
    return NULL;
}

/* ---- Lists */

static bool list_may_hold(uint32_t place, const message *m)
{
    if (place == ATTIC_AT)
        return place_type(m->place) == CALM || place_type(m->place) == BARE;
    return place == TALLY_AT ? place_type(m->place) == CREW : m->place == place;
}

static const char *read_list(uint32_t place, const moment *m)
{
    const report *r = &seen.reports[place];
    uint32_t after_attic = place == ATTIC_AT ? 0 : SEEN_MAX;
    if (!r->came)
        return wrong("%s did not report", place_names[place]);
    for (uint32_t i = 0; i < r->count; i++) {
        uint32_t token = r->tokens[i];
        bool known = token < w.message_count || (token >= MORE && token < ALL_TOKENS);
        if (!known || !list_may_hold(place, &w.messages[token]))
            return wrong("%s handled %u, which is not its", place_names[place], token);
        if (f.in[token]++)
            return wrong("%s handled message %u twice", place_names[place], token);
        if (plan_dies(&w.messages[token]) && !revived(m, token))
            return wrong("message %u is done, though it always fails", token);
        f.at[token] = i + after_attic; /* what an actor forgot came before what it remembers */
    }
    return NULL;
}

static bool ended(uint32_t token)
{
    return f.in[token] || f.died[token];
}

/* What each sender outside told: a prefix has arrived, all that was acknowledged in it. */
static const char *check_tells(const moment *m)
{
    uint32_t missing[SENDERS];
    for (int i = 0; i < SENDERS; i++)
        missing[i] = NOBODY;
    for (uint32_t n = 0; n < w.op_count; n++) {
        const call *o = &w.ops[n];
        for (uint32_t i = 0; i < o->count; i++) {
            uint32_t token = o->tokens[i], sender = w.messages[token].sender;
            if (!ended(token)) {
                if (m->acked[n])
                    return wrong("message %u to %s (plan %u) was acknowledged and is lost", token,
                                 place_names[w.messages[token].place], w.messages[token].plan);
                missing[sender] = missing[sender] == NOBODY ? token : missing[sender];
                continue;
            }
            if (!m->begun[n])
                return wrong("message %u came before it was told", token);
            if (missing[sender] != NOBODY)
                return wrong("message %u came, but not %u, told before it", token, missing[sender]);
        }
        if (o->count > 1 && ended(o->tokens[0]) != ended(o->tokens[o->count - 1]))
            return wrong("half of the letters %u..%u came", o->tokens[0], o->tokens[o->count - 1]);
    }
    return NULL;
}

/* What turns sent arrived once; what ended left its notes. */
static const char *check_consequences(const moment *known)
{
    for (uint32_t token = 0; token < w.message_count; token++) {
        const message *m = &w.messages[token];
        bool done = ended(token);
        if (m->sender == NOBODY && done != (f.in[m->op] > 0))
            return wrong("message %u, sent by the turn of %u, %s", token, m->op,
                         done ? "came, but that turn did not end" : "did not come");
        if (f.died[token] && f.in[token] && !revived(known, token))
            return wrong("message %u is done and dead", token);
        if (!f.in[token] && revived_surely(known, token))
            return wrong("message %u was requeued and is %s", token, done ? "dead" : "lost");
        if (f.notes[token] != (done ? notes_wanted(m) : 0))
            return wrong("of message %u (plan %u) the grave heard %u times, not %u", token, m->plan,
                         f.notes[token], done ? notes_wanted(m) : 0u);
    }
    return NULL;
}

/* The place of a message among those of its sender to this actor. */
static uint64_t rank(uint32_t token)
{
    const message *m = &w.messages[token];
    if (m->sender != NOBODY || token >= MORE)
        return token;
    const message *parent = &w.messages[m->op];
    uint64_t nth = 0;
    while (parent->children[nth] != token)
        nth++;
    return (uint64_t)f.at[m->op] * CHILDREN + nth;
}

static uint32_t sender_of(uint32_t token)
{
    const message *m = &w.messages[token];
    if (token >= MORE)
        return SENDERS + PLACES;
    return m->sender != NOBODY ? m->sender : (uint32_t)SENDERS + w.messages[m->op].place;
}

static const char *check_order(uint32_t place, const moment *m)
{
    const report *r = &seen.reports[place];
    uint64_t last[SENDERS + PLACES + 1] = { 0 };
    for (uint32_t i = 0; i < r->count; i++) {
        uint32_t token = r->tokens[i], sender = sender_of(token);
        if (revived(m, token)) /* others passed it while it was dead */
            continue;
        uint64_t now = rank(token) + 1;
        if (now <= last[sender])
            return wrong("%s handled message %u too late", place_names[place], token);
        last[sender] = now;
    }
    return NULL;
}

static const char *check_more(bool told)
{
    for (uint32_t place = 0; place < TOLD_ACTORS; place++)
        if (f.in[MORE + place] != told)
            return wrong("%s handled what it was told after the crash %u times", place_names[place],
                         f.in[MORE + place]);
    return NULL;
}

static const char *rest(void)
{
    int err = hf_drain(engine, 20000);
    return err ? failed("it does not come to rest", err) : heard();
}

static const char *ask_all(void)
{
    hf_letter letters[PLACES];
    uint32_t count = 0;
    memset(seen.reports, 0, sizeof seen.reports);
    for (uint32_t i = 0; i < PLACES; i++)
        if (place_type(i) != CREW)
            letters[count++] = *HF_LETTER(.to = place_names[i], .kind = "report");
    int err = hf_mail(engine, letters, count, NULL);
    return err ? failed("it takes no letters", err) : rest();
}

/* Of those whose death nobody was told of. */
static int note_bare(void *user, const hf_message *msg)
{
    uint32_t token = body_token(msg->body);
    (void)user;
    if (token < TOKENS && place_type(w.messages[token].place) == BARE)
        f.died[token]++;
    return HF_OK;
}

static const char *read_bare(void)
{
    bool any = false;
    for (uint32_t token = 0; !any && token < w.message_count; token++)
        any = place_type(w.messages[token].place) == BARE && plan_dies(&w.messages[token]);
    int err = any ? tool_dead(note_bare, NULL) : HF_OK;
    return err ? failed("the engine does not say who is dead", err) : NULL;
}

static const char *check_lists(const moment *m, bool more)
{
    memset(&f, 0, sizeof f);
    const char *bad = ask_all();
    if (!bad)
        bad = read_grave();
    if (!bad)
        bad = read_bare();
    for (uint32_t i = 0; !bad && i < PLACES; i++)
        if (place_type(i) != CREW && i != GRAVE_AT)
            bad = read_list(i, m);
    if (!bad)
        bad = check_tells(m);
    if (!bad)
        bad = check_consequences(m);
    for (uint32_t i = 0; !bad && i < PLACES; i++)
        if (place_type(i) == CALM || place_type(i) == SLOW || place_type(i) == BARE)
            bad = check_order(i, m);
    return bad ? bad : check_more(more);
}

/* ---- Pauses and what was settled */

static bool covers(const char *what, const char *place)
{
    size_t len = strlen(what);
    if (strcmp(what, EVERYTHING) == 0)
        return true;
    return strncmp(what, place, len) == 0 && (place[len] == '\0' || place[len] == '/');
}

static const char *check_paused(const moment *m)
{
    const char *what = NULL;
    for (uint32_t n = 0; n < w.op_count; n++) {
        if (w.ops[n].kind == OP_PAUSE && m->acked[n])
            what = w.ops[n].what;
        if (w.ops[n].kind == OP_RESUME && m->begun[n])
            what = NULL;
    }
    for (uint32_t token = 0; what && token < w.message_count; token++)
        if (covers(what, place_names[w.messages[token].place]) && atomic_load(&seen.ran[token]))
            return wrong("message %u to %s ran though %s was paused", token,
                         place_names[w.messages[token].place], what);
    return NULL;
}

static const char *let_go(const moment *m)
{
    bool any = false;
    for (uint32_t n = 0; n < w.op_count; n++) {
        if (w.ops[n].kind != OP_PAUSE || !m->begun[n])
            continue;
        any = true;
        bool all = strcmp(w.ops[n].what, EVERYTHING) == 0;
        int err = hf_resume(engine, all ? NULL : w.ops[n].what);
        if (err)
            return failed("it cannot be resumed", err);
    }
    return any ? rest() : NULL;
}

/* After hf_drain returned, nothing of before runs again. */
static const char *check_settled(const moment *m)
{
    for (uint32_t n = 0; n < w.op_count; n++) {
        if (w.ops[n].kind != OP_DRAIN || !m->acked[n] || w.ops[n].what)
            continue;
        for (uint32_t token = 0; token < w.ops[n].first_token; token++)
            if (atomic_load(&seen.ran[token]) && !revived(m, token))
                return wrong("message %u ran again, though all was at rest before", token);
    }
    return NULL;
}

/* ---- Going on */

static const char *tell_more(void)
{
    uint8_t body[BODY_MAX];
    for (uint32_t place = 0; place < TOLD_ACTORS; place++) {
        uint32_t token = plan_more(place);
        int err = hf_tell(engine, place_names[place], "go", body_write(body, token));
        if (err)
            return failed("it takes no more", err);
    }
    return rest();
}

static const char *open_it(void)
{
    int err = world_open(&engine);
    return err ? failed("it cannot be opened", err) : NULL;
}

static const char *close_it(void)
{
    int err = hf_close(engine, 20000);
    if (err)
        return failed("it cannot be closed", err);
    engine = NULL;
    return heard();
}

static int count_dead(void *user, const hf_message *msg)
{
    uint32_t *count = user, token = body_token(msg->body);
    (*count)++;
    if (msg->status != HF_DEAD || token >= TOKENS || f.died[token] != 1 || f.in[token])
        broken("message %" PRIu64 " for %s is listed with status %d", msg->id, msg->to,
               (int)msg->status);
    f.died[token] = 2;
    return HF_OK;
}

/* All that is left in a store at rest are the dead. */
static const char *check_dead(void)
{
    hf_store *store;
    uint32_t count = 0, wanted = 0;
    int err = hf_store_open(&store, w.path, 0);
    if (err)
        return failed("it cannot be looked at", err);
    for (uint32_t token = 0; token < w.message_count; token++)
        wanted += f.died[token] && !f.in[token];
    err = hf_find(store, NULL, count_dead, &count);
    hf_store_close(store);
    if (err)
        return failed("the dead cannot be listed", err);
    if (count != wanted)
        return wrong("%u are listed as dead, not %u", count, wanted);
    return heard();
}

static const char *go_on(const moment *m)
{
    const char *bad = tell_more();
    if (!bad)
        bad = check_lists(m, true);
    if (!bad)
        bad = close_it();
    for (uint32_t i = 0; i < ALL_TOKENS; i++)
        atomic_store(&seen.ran[i], 0);
    if (!bad)
        bad = open_it();
    if (!bad)
        bad = rest();
    for (uint32_t i = 0; !bad && i < ALL_TOKENS; i++)
        if (atomic_load(&seen.ran[i]))
            bad = wrong("message %u ran again after a close", i);
    if (!bad)
        bad = check_lists(m, true);
    if (!bad)
        bad = close_it();
    return bad ? bad : check_dead();
}

const char *check_state(const moment *m, bool on)
{
    witness_clear(m);
    const char *bad = open_it();
    if (!bad)
        bad = rest();
    if (!bad)
        bad = check_paused(m);
    if (!bad)
        bad = let_go(m);
    if (!bad)
        bad = check_settled(m);
    if (!bad)
        bad = check_lists(m, false);
    if (bad || !on)
        return bad ? bad : close_it();
    return go_on(m);
}
