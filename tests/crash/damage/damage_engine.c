/* damage_engine.c - an engine meets a damaged store.
 *
 * Happy path of a check: the engine opens, or refuses; what was paused to wait is let
 * go; it runs to idle, each actor is asked once more, it closes. Every body must be one
 * that was sent, every state the one saved last, no message may come twice. What is
 * missing must have been said to be damaged. The engine's threads, and the child's. */
#include "tests/crash/damage/damage.h"

#include "storage/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

found   *seen;
bool     damage_released;
bool     damage_unpaused;
uint64_t damage_first_id;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Set by the engine's threads, read when it is at rest. */
static atomic_uint ran[KINDS_OF_ACTOR][ACTORS_MOST][WAITING + 4];
static atomic_uint next_of[KINDS_OF_ACTOR][ACTORS_MOST];
static atomic_uint asked[KINDS_OF_ACTOR][ACTORS_MOST];
static atomic_bool aside[KINDS_OF_ACTOR][ACTORS_MOST];
static atomic_int  stopped;

void note(outcome what, const char *format, ...)
{
    va_list args;
    (void)pthread_mutex_lock(&lock);
    if (what > atomic_load(&seen->outcome)) {
        atomic_store(&seen->outcome, what);
        va_start(args, format);
        (void)vsnprintf(seen->why, sizeof seen->why, format, args);
        va_end(args);
    }
    (void)pthread_mutex_unlock(&lock);
}

/* "work/3 is set aside: …", or that a message or step of it is damaged. */
static void say(void *user, hf_level level, const char *text)
{
    uint32_t kind, actor;
    char address[64] = "";
    const char *end = strchr(text, ' ');
    (void)user;
    if (level < HF_WARN || !end || end - text >= (long)sizeof address)
        return;
    memcpy(address, text, (size_t)(end - text));
    if (address_known(address, &kind, &actor))
        atomic_store(&aside[kind][actor], true);
    note(ASIDE, "%s", text);
}

static void on_stop(void *user, int err)
{
    (void)user;
    atomic_store(&stopped, err);
    note(STOPPED, "it stopped: %s", hf_strerror(err));
}

/* ---- Handlers */

static bool whose(const hf_message *msg, uint32_t *kind, uint32_t *actor)
{
    if (address_known(msg->to, kind, actor))
        return true;
    note(BAD, "a message came to \"%s\"", msg->to);
    return false;
}

static void check_state(const hf_turn *turn, uint32_t kind, uint32_t actor)
{
    hf_bytes state = hf_state(turn);
    uint32_t wanted = atomic_load(&next_of[kind][actor]);
    uint32_t count = state.data ? state_count(state, kind, actor) : 0;
    if (count == UINT32_MAX)
        note(BAD, "%s/%u has a state nobody ever saved", cast[kind].type, actor);
    else if (count != wanted)
        note(OLD, "%s/%u has the state after message %u, not %u", cast[kind].type, actor, count,
             wanted);
}

static bool is_body(const hf_message *msg, uint32_t kind, uint32_t actor, uint32_t *number)
{
    *number = body_number(msg->body, kind, actor);
    if (*number < WAITING + 4 && strcmp(msg->kind, "go") == 0 && !*msg->from)
        return true;
    note(BAD, "%s was handed %zu bytes that nobody sent", msg->to, msg->body.len);
    return false;
}

/* A page out of date, or one whose index is shuffled, shows rows that are sound and have
 * ended, or that come again: LMDB's pages have no checksum, so nobody can tell. */
static outcome twice = BAD;
static outcome unpaused = BAD; /* a page that holds anything else now may hide a pause */

static int handle(hf_turn *turn, const hf_message *msg)
{
    uint8_t room[BYTES_MAX];
    uint32_t kind, actor, number;
    if (!whose(msg, &kind, &actor))
        return HF_OK;
    check_state(turn, kind, actor);
    if (strcmp(msg->kind, "ask") == 0) {
        if (msg->id < damage_first_id)
            note(BAD, "%s: id %llu may have been given before", msg->to,
                 (unsigned long long)msg->id);
        atomic_fetch_add(&asked[kind][actor], 1);
        return HF_OK;
    }
    if (!is_body(msg, kind, actor, &number))
        return HF_OK;
    if (kind == HELD)
        note(damage_unpaused ? OLD : unpaused, "%s ran though it is paused", msg->to);
    if (atomic_fetch_add(&ran[kind][actor][number], 1))
        note(twice, "%s handled message %u twice", msg->to, number);
    if (number < done_before(kind, actor))
        note(OLD, "%s handled message %u again, which was done", msg->to, number);
    else if (number != atomic_load(&next_of[kind][actor]))
        note(MISSING, "%s handled message %u, not %u", msg->to, number, next_of[kind][actor]);
    atomic_store(&next_of[kind][actor], number + 1);
    hf_save(turn, state_of(room, kind, actor, number + 1));
    return HF_OK;
}

static int handle_dead(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    note(OLD, "%s ran again, which is dead", msg->to);
    return HF_OK;
}

static int handle_steps(hf_turn *turn, const hf_message *msg)
{
    uint32_t kind, actor, number;
    hf_step first, second;
    if (!whose(msg, &kind, &actor))
        return HF_OK;
    if (strcmp(msg->kind, "ask") == 0) {
        atomic_fetch_add(&asked[kind][actor], 1);
        return HF_OK;
    }
    if (!is_body(msg, kind, actor, &number))
        return HF_OK;
    if (atomic_fetch_add(&ran[kind][actor][number], 1))
        note(twice, "%s handled its message twice", msg->to);
    int err = hf_begin_step(turn, "first", &first);
    if (err == HF_TODO)
        note(OLD, "%s has forgotten the step that it ended", msg->to);
    else if (err)
        return hf_fail(turn, err, "the first step");
    else if (first.result.len != msg->body.len
             || memcmp(first.result.data, msg->body.data, msg->body.len) != 0)
        note(BAD, "%s has a result that its step never had", msg->to);
    err = err ? err : hf_begin_step(turn, "second", &second);
    return err == HF_TODO ? HF_OK : hf_fail(turn, err, "the second step");
}

static const hf_type second_life[] = {
    { .name = "work", .handle = handle, .strikes = HF_NEVER },
    { .name = "idle", .handle = handle, .strikes = HF_NEVER },
    { .name = "held", .handle = handle, .strikes = HF_NEVER },
    { .name = "dying", .handle = handle_dead, .strikes = HF_NEVER },
    { .name = "stepper", .handle = handle_steps, .threads = 1, .strikes = HF_NEVER, .tries = 2 },
    { 0 },
};

/* ---- The check */

/* Two hours later, so that what waits for its next attempt is due. */
static uint64_t later(void *user)
{
    struct timespec now;
    (void)user;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 7200000;
}

static uint64_t mono(void *user)
{
    struct timespec now;
    (void)user;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* A clean error, but nothing that waits for ever. */
static bool gave_up(int err, const char *what)
{
    if (err == HF_ETIMEDOUT)
        note(STUCK, "%s does not come to an end", what);
    else if (err)
        note(STOPPED, "%s: %s (%s)", what, hf_strerror(err), hf_detail());
    return err != HF_OK;
}

static void ask_all(hf_engine *engine)
{
    char address[32];
    for (uint32_t kind = 0; kind < HELD; kind++)
        for (uint32_t actor = 0; actor < cast[kind].actors; actor++)
            if (gave_up(hf_tell(engine, address_of(kind, actor, address), "ask", hf_str("")),
                        "hf_tell"))
                return;
    (void)gave_up(hf_drain(engine, 3000), "hf_drain");
}

static void count_all(void)
{
    for (uint32_t kind = 0; kind < HELD; kind++)
        for (uint32_t actor = 0; actor < cast[kind].actors; actor++) {
            uint32_t before = done_before(kind, actor), came = 0;
            for (uint32_t n = 0; n < waits(kind); n++)
                came += atomic_load(&ran[kind][actor][before + n]) > 0;
            if (atomic_load(&aside[kind][actor]))
                continue;
            if (came < waits(kind))
                note(MISSING, "%s/%u handled %u of %u messages, and nobody says why",
                     cast[kind].type, actor, came, waits(kind));
            if (!atomic_load(&asked[kind][actor]))
                note(MISSING, "%s/%u does not answer, and nobody says why", cast[kind].type, actor);
        }
}

static int open_it(hf_engine **engine, const char *path, sort what)
{
    return hf_open(engine, path,
                   HF_OPTIONS(.types = second_life, .shards = 2, .store_max = 32 << 20, .log = say,
                              .stopped = on_stop,
                              .window = what == IN_WINDOW ? 4 << 20 : 64 << 10));
}

/* An operator has read the report. */
static void release(hf_engine *engine)
{
    char address[32];
    (void)hf_resume(engine, "*");
    for (uint32_t kind = 0; kind < KINDS_OF_ACTOR; kind++) {
        (void)hf_resume(engine, cast[kind].type);
        for (uint32_t actor = 0; kind != HELD && actor < cast[kind].actors; actor++)
            (void)hf_resume(engine, address_of(kind, actor, address));
    }
}

void damage_engine(const char *path, sort what, const original *o, harm how)
{
    hf_clock clock = { .wall_ms = later, .mono_ns = mono };
    hf_engine *engine;
    int unreadable;
    for (uint32_t kind = 0; kind < KINDS_OF_ACTOR; kind++)
        for (uint32_t actor = 0; actor < cast[kind].actors; actor++)
            atomic_store(&next_of[kind][actor], done_before(kind, actor));
    twice = how == STALE_PAGE || how == HEADER_BIT ? OLD : BAD;
    unpaused = twice == OLD || how == RANDOM_PAGE || how == ZERO_PAGE ? OLD : BAD;
    uint64_t log = log_sum(path, &unreadable);
    hf_clock_use(&clock);
    int err = open_it(&engine, path, what);
    if (err) {
        bool clean = err == HF_ECORRUPT || err == HF_EVERSION || err == HF_EIO || err == HF_EINVAL
                     || (err == HF_ENOMEM && strstr(hf_detail(), "cannot map"));
        bool helps = err != HF_ECORRUPT || strstr(hf_detail(), "salvage");
        note(clean && helps ? REFUSED : BAD, "hf_open: %s (%s)", hf_strerror(err), hf_detail());
        return;
    }
    if (!unreadable && o->log && log != o->log)
        note(how == STALE_PAGE ? OLD : MISSING, "the log is another one, and it opened");
    if (damage_released)
        release(engine);
    if (!gave_up(hf_resume(engine, "work"), "hf_resume")
        && !gave_up(hf_drain(engine, 3000), "hf_drain"))
        ask_all(engine);
    if (!atomic_load(&stopped) && atomic_load(&seen->outcome) != STOPPED)
        count_all();
    err = hf_close(engine, 3000);
    if (err == HF_ETIMEDOUT)
        note(STUCK, "it does not close");
}
