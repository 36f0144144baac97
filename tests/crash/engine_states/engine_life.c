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
static uint32_t begin(op_kind kind, uint32_t sender, uint32_t count, const char *what)
{
    (void)pthread_mutex_lock(&op_lock);
    if (w.op_count == OPS)
        abort();
    uint32_t number = w.op_count++;
    call    *o = &w.ops[number];
    *o = (call){ .kind = kind, .count = count, .first_token = w.message_count, .what = what };
    for (uint32_t i = 0; i < count; i++)
        o->tokens[i] = plan_message(sender, number);
    tape_begin(mark(MARK_OP, number));
    (void)pthread_mutex_unlock(&op_lock);
    return number;
}

static void acknowledge(uint32_t number, int err, const char *name)
{
    if (err)
        broken("%s: %s (%s)", name, hf_strerror(err), hf_detail());
    else
        tape_ack(mark(MARK_OP, number));
}

static void tell(uint32_t sender)
{
    uint8_t  body[BODY_MAX];
    uint32_t number = begin(OP_TELL, sender, 1, NULL), token = w.ops[number].tokens[0];
    int err = hf_tell(engine, place_names[w.messages[token].place], "go", body_write(body, token));
    acknowledge(number, err, "hf_tell");
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

static void mail(uint32_t sender)
{
    envelope e;
    uint32_t number = begin(OP_MAIL, sender, 2 + (uint32_t)(dice() % (LETTERS - 1)), NULL);
    write_letters(&e, &w.ops[number]);
    acknowledge(number, hf_mail(engine, e.letters, w.ops[number].count, NULL), "hf_mail");
}

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    (void)receipts;
    (void)count;
    acknowledge((uint32_t)(uintptr_t)user, err, "hf_post");
}

static void post(uint32_t sender)
{
    envelope e;
    for (uint64_t more = 1 + dice() % 4; more > 0; more--) {
        uint32_t number = begin(OP_POST, sender, 1 + (uint32_t)(dice() % LETTERS), NULL);
        write_letters(&e, &w.ops[number]);
        int err = hf_post(engine, e.letters, w.ops[number].count, posted,
                          (void *)(uintptr_t)number);
        if (err)
            broken("hf_post: %s (%s)", hf_strerror(err), hf_detail());
    }
}

/* The other thread draws no plans of its own but under the lock. */
static void *tell_some(void *user)
{
    for (int i = 0; i < 3; i++)
        tell(*(uint32_t *)user);
    return NULL;
}

static void tell_from_two(uint32_t sender)
{
    pthread_t other;
    uint32_t  theirs = sender + 1;
    if (pthread_create(&other, NULL, tell_some, &theirs))
        abort();
    for (int i = 0; i < 3; i++)
        tell(sender);
    (void)pthread_join(other, NULL);
}

/* What may be paused, as the client knows it. */
static const char *paused(void)
{
    for (uint32_t i = w.op_count; i-- > 0;)
        if (w.ops[i].kind == OP_PAUSE || w.ops[i].kind == OP_RESUME)
            return w.ops[i].kind == OP_PAUSE ? w.ops[i].what : NULL;
    return NULL;
}

static void pause_or_resume(void)
{
    const char *what = paused();
    if (what) {
        uint32_t number = begin(OP_RESUME, 0, 0, what);
        acknowledge(number, hf_resume(engine, what), "hf_resume");
        return;
    }
    what = pausable[dice() % (sizeof pausable / sizeof *pausable)];
    uint32_t number = begin(OP_PAUSE, 0, 0, what);
    acknowledge(number, hf_pause(engine, what, NULL, NULL), "hf_pause");
}

static void drain(void)
{
    uint32_t number = begin(OP_DRAIN, 0, 0, paused());
    acknowledge(number, hf_drain(engine, 20000), "hf_drain");
}

static void open_it(void)
{
    uint32_t number = begin(OP_OPEN, 0, 0, NULL);
    acknowledge(number, world_open(&engine), "hf_open");
}

static void close_it(void)
{
    uint32_t number = begin(OP_CLOSE, 0, 0, NULL);
    int      err = hf_close(engine, 20000);
    acknowledge(number, err, "hf_close");
    engine = NULL;
}

static void act(void)
{
    uint32_t sender = w.life * 2;
    uint64_t chance = dice() % 24;
    if (chance < 8)
        tell(sender);
    else if (chance < 11)
        mail(sender);
    else if (chance < 14)
        post(sender);
    else if (chance < 16)
        tell_from_two(sender);
    else if (chance < 18)
        (void)nanosleep(&(struct timespec){ 0, (long)(dice() % 3000000) }, NULL);
    else if (chance < 20)
        drain();
    else if (chance < 22)
        pause_or_resume();
    else if (chance < 23)
        acknowledge(begin(OP_SYNC, 0, 0, NULL), hf_sync(engine, 20000), "hf_sync");
    else {
        close_it();
        if (!atomic_load(&seen.broken))
            open_it();
    }
}

bool live(uint32_t ops)
{
    witness_clear(&w.start);
    seen.recording = true;
    open_it();
    for (uint32_t i = 0; i < ops && !atomic_load(&seen.broken); i++)
        act();
    if (engine)
        close_it();
    if (!atomic_load(&seen.broken))
        return true;
    printf("BAD  while it was recorded: %s\n", seen.why);
    return false;
}
