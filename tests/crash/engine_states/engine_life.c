/* engine_life.c - a client lives with an engine while the tape runs.
 *
 * Happy path: open, then some dozens of calls drawn by chance from one or two
 * threads; each is marked on the tape before it is made and after it returned. At the
 * end the engine is closed. What the client did stands in world.ops. A call that
 * fails, or a handler that finds something wrong, ends the run. Client threads and the
 * callback thread. */
#include "tests/crash/engine_states/engine_world.h"

#include "tests/crash/states/crashdisk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static hf_engine      *engine;
static pthread_mutex_t op_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *const pausable[] = { "calm/1", "slow/0", "calm", "crew" };

static void say(void *user, hf_level level, const char *text)
{
    if (level >= HF_WARN && getenv("ENGINE_STATES_LOG"))
        hf_log_stderr(user, level, text);
}

int world_open(hf_engine **out)
{
    return hf_open(out, w.path,
                   HF_OPTIONS(.types = actor_types, .shards = w.shards, .window = 64 << 10,
                              .store_max = 8 << 20, .log = say));
}

/* ---- Operations begin and end */

/* Under the lock: its messages are planned, then it is begun. */
uint32_t life_begin(op_kind kind, uint32_t sender, uint32_t count, const char *what)
{
    (void)pthread_mutex_lock(&op_lock);
    if (w.op_count == OPS)
        abort();
    uint32_t number = w.op_count++;
    call *o = &w.ops[number];
    *o = (call){ .kind = kind, .count = count, .first_token = w.message_count, .what = what };
    for (uint32_t i = 0; i < count; i++)
        o->tokens[i] = plan_message(sender, number);
    if (kind == OP_REQUEUE)
        o->tokens[0] = w.requeuing;
    tape_begin(mark(MARK_OP, number));
    (void)pthread_mutex_unlock(&op_lock);
    return number;
}

void life_acknowledge(uint32_t number, int err, const char *name)
{
    if (err)
        broken("%s: %s (%s)", name, hf_strerror(err), hf_detail());
    else
        tape_ack(mark(MARK_OP, number));
}

static void tell_as(uint32_t sender)
{
    uint8_t body[BODY_MAX];
    uint32_t number = life_begin(OP_TELL, sender, 1, NULL), token = w.ops[number].tokens[0];
    int err = hf_tell(engine, place_names[w.messages[token].place], "go", body_write(body, token));
    life_acknowledge(number, err, "hf_tell");
}

typedef struct envelope {
    hf_letter letters[LETTERS];
    uint8_t   bodies[LETTERS][BODY_MAX];
} envelope;

static void write_letters(envelope *e, const call *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        const char *to = place_names[w.messages[o->tokens[i]].place];
        e->letters[i] = *HF_LETTER(.to = to, .kind = "go",
                                   .body = body_write(e->bodies[i], o->tokens[i]));
    }
}

static uint32_t own(void)
{
    return w.life * 2;
}

void life_tell(void)
{
    tell_as(own());
}

void life_mail(uint32_t count)
{
    envelope e;
    uint32_t number = life_begin(OP_MAIL, own(), count, NULL);
    write_letters(&e, &w.ops[number]);
    life_acknowledge(number, hf_mail(engine, e.letters, w.ops[number].count, NULL), "hf_mail");
}

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)receipts;
    (void)count;
    life_acknowledge((uint32_t)(uintptr_t)user, err, "hf_post");
}

void life_post(uint32_t count)
{
    envelope e;
    uint32_t number = life_begin(OP_POST, own(), count, NULL);
    write_letters(&e, &w.ops[number]);
    int err = hf_post(engine, e.letters, count, posted, (void *)(uintptr_t)number);
    if (err)
        broken("hf_post: %s (%s)", hf_strerror(err), hf_detail());
}

/* The other thread draws no plans of its own but under the lock. */
static void *tell_some(void *user)
{
    for (int i = 0; i < 3; i++)
        tell_as(*(uint32_t *)user);
    return NULL;
}

static void tell_from_two(uint32_t sender)
{
    pthread_t other;
    uint32_t theirs = sender + 1;
    if (pthread_create(&other, NULL, tell_some, &theirs))
        abort();
    for (int i = 0; i < 3; i++)
        tell_as(sender);
    (void)pthread_join(other, NULL);
}

/* What may be paused, as the client knows it: a resume that a crash cut short may have
 * left it so. */
static const char *paused(void)
{
    for (uint32_t i = w.op_count; i-- > 0;) {
        if (w.ops[i].kind == OP_PAUSE)
            return w.ops[i].what;
        if (w.ops[i].kind == OP_RESUME)
            return w.start.begun[i] && !w.start.acked[i] ? w.ops[i].what : NULL;
    }
    return NULL;
}

static const char *word(const char *what)
{
    return strcmp(what, EVERYTHING) == 0 ? NULL : what;
}

void life_pause(const char *what)
{
    uint32_t number = life_begin(OP_PAUSE, 0, 0, what);
    life_acknowledge(number, hf_pause(engine, word(what), NULL, NULL), "hf_pause");
}

void life_resume(const char *what)
{
    uint32_t number = life_begin(OP_RESUME, 0, 0, what);
    life_acknowledge(number, hf_resume(engine, word(what)), "hf_resume");
}

static void pause_or_resume(void)
{
    const char *what = paused();
    if (what)
        life_resume(what);
    else
        life_pause(pausable[dice() % (sizeof pausable / sizeof *pausable)]);
}

void life_drain(void)
{
    uint32_t number = life_begin(OP_DRAIN, 0, 0, paused());
    life_acknowledge(number, hf_drain(engine, 20000), "hf_drain");
}

void life_open(void)
{
    uint32_t number = life_begin(OP_OPEN, 0, 0, NULL);
    life_acknowledge(number, world_open(&engine), "hf_open");
}

void life_close(void)
{
    uint32_t number = life_begin(OP_CLOSE, 0, 0, NULL);
    int err = hf_close(engine, 20000);
    life_acknowledge(number, err, "hf_close");
    engine = NULL;
}

static void act(void)
{
    uint64_t chance = dice() % 26;
    if (chance < 8)
        life_tell();
    else if (chance < 11)
        life_mail(2 + (uint32_t)(dice() % (LETTERS - 1)));
    else if (chance < 14)
        for (uint64_t more = 1 + dice() % 4; more > 0; more--)
            life_post(1 + (uint32_t)(dice() % LETTERS));
    else if (chance < 16)
        tell_from_two(own());
    else if (chance < 18)
        (void)nanosleep(&(struct timespec){ 0, (long)(dice() % 3000000) }, NULL);
    else if (chance < 20)
        life_drain();
    else if (chance < 22)
        pause_or_resume();
    else if (chance < 23)
        life_acknowledge(life_begin(OP_SYNC, 0, 0, NULL), hf_sync(engine, 20000), "hf_sync");
    else if (chance < 25)
        tool_requeue();
    else {
        life_close();
        if (!atomic_load(&seen.broken))
            life_open();
    }
}

bool live(const script *by, uint32_t ops)
{
    witness_clear(&w.start);
    seen.recording = true;
    life_open();
    if (by)
        by->act();
    for (uint32_t i = 0; !by && i < ops && !atomic_load(&seen.broken); i++)
        act();
    if (engine)
        life_close();
    if (!atomic_load(&seen.broken))
        return true;
    printf("BAD  while it was recorded: %s\n", seen.why);
    return false;
}
