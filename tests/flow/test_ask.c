/* test_ask.c - who asks is told once, after the commit: from outside, and between actors. */
#include "tests/support/ring.h"

#include "engine/engine.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { ASKS = 1000, THREADS = 8 };

/* ---- What an asker was told */

typedef struct told {
    atomic_int calls;
    int        err;
    bool       null;
    size_t     len;
    char       text[128];
} told;

static void note_answer(void *user, int err, hf_bytes answer)
{
    told *t = user;
    t->err = err;
    t->null = answer.data == NULL;
    t->len = answer.len;
    memcpy(t->text, answer.data ? answer.data : "", answer.len < 127 ? answer.len : 127);
    t->text[answer.len < 127 ? answer.len : 127] = 0;
    atomic_fetch_add(&t->calls, 1);
}

static void wait_for(told *t)
{
    ring_until(&t->calls, 1);
}

#define is_told(t, code, words)                                                      \
    do {                                                                             \
        wait_for(t);                                                                 \
        assert_int_equal((t)->err, code);                                            \
        assert_string_equal((t)->text, words);                                       \
    } while (0)

/* ---- Actors: "q" on the shards, "pool" on threads; the kind says what they do */

static atomic_int gate, tries, answers, gone, about_sum;

static int handle(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "echo") == 0)
        hf_reply(turn, msg->body);
    if (strcmp(msg->kind, "empty") == 0)
        hf_reply(turn, hf_view(NULL, 0));
    if (strcmp(msg->kind, "twice") == 0) {
        hf_reply(turn, hf_str("1"));
        hf_reply(turn, hf_str("2"));
    }
    if (strcmp(msg->kind, "large") == 0)
        hf_reply(turn, hf_view("", SIZE_MAX / 2));
    if (strcmp(msg->kind, "bury") == 0)
        return hf_bury(turn, "no such luck");
    if (strcmp(msg->kind, "third") == 0) {
        atomic_fetch_add(&tries, 1);
        hf_reply(turn, hf_str(msg->attempt == 3 ? "at last" : "too early"));
        return msg->attempt == 3 ? HF_OK : hf_fail(turn, 5, "not yet");
    }
    if (strcmp(msg->kind, "wait") == 0) {
        while (!atomic_load(&gate))
            usleep(500);
        hf_reply(turn, hf_str("waited"));
    }
    return HF_OK;
}

static const hf_type plain_types[] = {
    { .name = "q", .handle = handle, .retry_ms = 5, .tries = 4 },
    { .name = "pool", .handle = handle, .threads = 4, .retry_ms = 5, .tries = 4 }, { 0 } };

static int ask(hf_engine *e, const char *to, const char *kind, const char *body, told *t)
{
    memset(t, 0, sizeof *t);
    return hf_ask(e, HF_LETTER(.to = to, .kind = kind, .body = hf_str(body)), 20000, note_answer,
                  t);
}

static uint64_t open_asks(hf_engine *e)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    return stats.asks;
}

static void test_answers(void **state)
{
    static const char *const actors[] = { "q/1", "pool/1" };
    (void)state;
    hf_engine *e = ring_open("answers", plain_types);
    for (int i = 0; i < 2; i++) {
        told t;
        ring_ok(ask(e, actors[i], "echo", "hello", &t));
        is_told(&t, HF_OK, "hello");
        assert_false(t.null);
        ring_ok(ask(e, actors[i], "nothing", "hello", &t));
        is_told(&t, HF_OK, "");
        assert_true(t.null);
        ring_ok(ask(e, actors[i], "empty", "hello", &t));
        is_told(&t, HF_OK, "");
        assert_false(t.null);
        ring_ok(ask(e, actors[i], "bury", "", &t));
        is_told(&t, HF_EDEAD, "no such luck");
        atomic_store(&tries, 0);
        ring_ok(ask(e, actors[i], "third", "", &t));
        is_told(&t, HF_OK, "at last");
        assert_int_equal(atomic_load(&tries), 3);
        ring_ok(ask(e, actors[i], "twice", "", &t)); /* fails the turn, until it is dead */
        wait_for(&t);
        assert_int_equal(t.err, HF_EDEAD);
        assert_non_null(strstr(t.text, "replied before"));
        ring_ok(ask(e, actors[i], "large", "", &t));
        wait_for(&t);
        assert_int_equal(t.err, HF_EDEAD);
        ring_ok(hf_tell(e, actors[i], "echo", hf_str("nobody asked")));
    }
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(open_asks(e), 0);
    ring_ok(hf_close(e, 10000));
}

static void test_arguments(void **state)
{
    char longer[140];
    told t = { .err = 0 };
    (void)state;
    memset(longer, 'k', sizeof longer);
    longer[139] = 0;
    hf_engine *e = ring_open("arguments", plain_types);
    ring_err(hf_ask(NULL, HF_LETTER(.to = "q/1"), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, NULL, 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "q/1"), 1000, NULL, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.kind = "k"), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "q/1", .kind = longer), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "no/1"), 1000, note_answer, &t), HF_ENOTYPE);
    ring_err(hf_ask(e, HF_LETTER(.to = "@t"), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "q/1", .conflate = 1), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = "q/1", .answer = "a"), 1000, note_answer, &t), HF_EINVAL);
    ring_err(hf_mail(e, HF_LETTER(.to = "q/1", .answer = "a"), 1, NULL), HF_EINVAL);
    ring_err(hf_mail(e, HF_LETTER(.to = "q/1", .about = 5), 1, NULL), HF_EINVAL);
    assert_int_equal(open_asks(e), 0);
    assert_int_equal(atomic_load(&t.calls), 0);
    /* of an older, shorter letter */
    hf_letter old = { .size = offsetof(hf_letter, dedupe), .to = "q/1", .kind = "echo",
                      .body = hf_str("old"), .answer = "garbage", .conflate = 1 };
    ring_ok(hf_ask(e, &old, HF_NEVER, note_answer, &t));
    is_told(&t, HF_OK, "old");
    ring_ok(hf_close(e, 10000));
    assert_int_equal(atomic_load(&t.calls), 1);
}

/* ---- Many, and callbacks that ask again */

static hf_engine *crowd_engine;
static told       crowd[THREADS][ASKS];
static atomic_int crowd_failed;

static void *ask_many(void *user)
{
    told *mine = user;
    for (int i = 0; i < ASKS; i++) {
        char to[32], body[32];
        (void)snprintf(to, sizeof to, "%s/%d", i % 3 ? "q" : "pool", i % 17);
        (void)snprintf(body, sizeof body, "%d", i);
        int err;
        while ((err = ask(crowd_engine, to, i % 10 == 9 ? "bury" : "echo", body, &mine[i]))
               == HF_EAGAIN)
            usleep(100);
        if (err)
            atomic_fetch_add(&crowd_failed, 1);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    pthread_t threads[THREADS];
    (void)state;
    crowd_engine = ring_open("crowd", plain_types);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, crowd[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd_failed), 0);
    for (int n = 0; n < THREADS; n++)
        for (int i = 0; i < ASKS; i++) {
            char body[32];
            (void)snprintf(body, sizeof body, "%d", i);
            if (i % 10 == 9)
                is_told(&crowd[n][i], HF_EDEAD, "no such luck");
            else
                is_told(&crowd[n][i], HF_OK, body);
        }
    ring_ok(hf_drain(crowd_engine, 10000));
    ring_ok(hf_close(crowd_engine, 10000));
    for (int n = 0; n < THREADS; n++)
        for (int i = 0; i < ASKS; i++)
            assert_int_equal(atomic_load(&crowd[n][i].calls), 1);
}

typedef struct chain {
    hf_engine *engine;
    atomic_int left, wrong;
} chain;

static void ask_next(void *user, int err, hf_bytes answer)
{
    chain *c = user;
    if (err || answer.len != 4)
        atomic_fetch_add(&c->wrong, 1);
    if (atomic_fetch_sub(&c->left, 1) > 1
        && hf_ask(c->engine, HF_LETTER(.to = "q/1", .kind = "echo", .body = hf_str("next")), 10000,
                  ask_next, c))
        atomic_fetch_add(&c->wrong, 1);
}

static void test_callback_asks(void **state)
{
    chain c = { .engine = ring_open("again", plain_types) };
    (void)state;
    atomic_store(&c.left, 50);
    ring_ok(hf_ask(c.engine, HF_LETTER(.to = "pool/1", .kind = "echo", .body = hf_str("next")),
                   10000, ask_next, &c));
    ring_until(&c.left, 0);
    assert_int_equal(atomic_load(&c.wrong), 0);
    ring_ok(hf_close(c.engine, 10000));
}

/* ---- Time */

static void test_timeouts(void **state)
{
    told t, later, race[64];
    (void)state;
    atomic_store(&gate, 0);
    hf_engine *e = ring_open("timeouts", plain_types);
    memset(&t, 0, sizeof t);
    memset(&later, 0, sizeof later);
    ring_ok(hf_ask(e, HF_LETTER(.to = "pool/1", .kind = "wait"), 10000, note_answer, &later));
    ring_ok(hf_ask(e, HF_LETTER(.to = "pool/2", .kind = "wait"), 50, note_answer, &t));
    is_told(&t, HF_ETIMEDOUT, "");
    assert_int_equal(atomic_load(&later.calls), 0);
    assert_int_equal(open_asks(e), 1);
    atomic_store(&gate, 1); /* the message goes on all the same */
    is_told(&later, HF_OK, "waited");
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&t.calls), 1);
    /* no time at all; and answers that race it */
    for (uint32_t i = 0; i < 64; i++) {
        memset(&race[i], 0, sizeof race[i]);
        ring_ok(hf_ask(e, HF_LETTER(.to = "q/1", .kind = "echo", .body = hf_str("r")), i / 8,
                       note_answer, &race[i]));
    }
    for (uint32_t i = 0; i < 64; i++) {
        wait_for(&race[i]);
        assert_true(race[i].err == HF_ETIMEDOUT || race[i].err == HF_OK);
    }
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(open_asks(e), 0);
    ring_ok(hf_close(e, 10000));
    for (uint32_t i = 0; i < 64; i++)
        assert_int_equal(atomic_load(&race[i].calls), 1);
}

/* ---- Closing, and the next run */

static void test_close_and_reopen(void **state)
{
    static told waits[20];
    told t;
    (void)state;
    atomic_store(&gate, 0);
    hf_engine *e = ring_open("closes", plain_types);
    ring_ok(hf_pause(e, "q", NULL, NULL));
    for (int i = 0; i < 20; i++)
        ring_ok(ask(e, "q/1", "echo", "later", &waits[i]));
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < 20; i++) {
        assert_int_equal(atomic_load(&waits[i].calls), 1);
        assert_int_equal(waits[i].err, HF_ECLOSED);
    }
    e = ring_open("closes", plain_types);
    for (int i = 0; i < 20; i++)
        ring_ok(ask(e, "q/2", "echo", "mine", &waits[i])); /* numbers of this run */
    ring_ok(ask(e, "pool/1", "nothing", "", &t));
    is_told(&t, HF_OK, "");
    ring_ok(hf_resume(e, "q"));
    ring_ok(hf_drain(e, 10000));
    for (int i = 0; i < 20; i++)
        is_told(&waits[i], HF_OK, "mine");
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < 20; i++)
        assert_int_equal(atomic_load(&waits[i].calls), 1);
}

static void test_engine_stops(void **state)
{
    told t, never;
    (void)state;
    hf_engine *e = ring_open("stops", plain_types);
    ring_ok(hf_pause(e, "q", NULL, NULL));
    ring_ok(ask(e, "q/1", "echo", "x", &t));
    ring_ok(hf_sync(e, 10000));
    hf_engine_stop(e, HF_EIO, "a test");
    is_told(&t, HF_EUNKNOWN, "");
    ring_err(ask(e, "q/1", "echo", "x", &never), HF_EUNKNOWN);
    ring_ok(hf_close(e, 10000));
    assert_int_equal(atomic_load(&never.calls), 0);
    assert_int_equal(atomic_load(&t.calls), 1);
}

/* ---- Forward: the asker goes with it */

static int pass_on(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "first") == 0)
        hf_reply(turn, hf_str("from the first"));
    hf_forward(turn, msg->kind, msg->body);
    if (strcmp(msg->kind, "both") == 0)
        hf_reply(turn, hf_str("no"));
    hf_forward(turn, "more", msg->body); /* nobody goes with this one */
    return HF_OK;
}

static int at_end(hf_turn *turn, const hf_message *msg)
{
    char text[64];
    if (strcmp(msg->kind, "more") == 0)
        return HF_OK;
    if (strcmp(msg->kind, "bury") == 0)
        return hf_bury(turn, "at the end");
    if (strcmp(msg->kind, "silent") == 0)
        return HF_OK;
    if (strcmp(msg->kind, "fails") == 0 && msg->attempt < 3)
        return hf_fail(turn, 1, "again");
    (void)snprintf(text, sizeof text, "%s of %s", msg->kind, msg->from);
    hf_reply(turn, hf_str(text));
    return HF_OK;
}

static const hf_type chain_types[] = {
    { .name = "a", .handle = pass_on, .next = "b", .tries = 1 },
    { .name = "b", .handle = pass_on, .next = "c", .threads = 2, .tries = 1 },
    { .name = "c", .handle = at_end, .retry_ms = 5 },
    { .name = "t", .handle = handle }, { 0 } };

static void test_forward(void **state)
{
    told t;
    (void)state;
    hf_engine *e = ring_open("forward", chain_types);
    ring_ok(ask(e, "a/1", "go", "x", &t));
    is_told(&t, HF_OK, "go of b/1");
    ring_ok(ask(e, "a/1", "fails", "x", &t));
    is_told(&t, HF_OK, "fails of b/1");
    ring_ok(ask(e, "a/1", "bury", "x", &t));
    is_told(&t, HF_EDEAD, "at the end");
    ring_ok(ask(e, "a/1", "silent", "x", &t));
    is_told(&t, HF_OK, "");
    ring_ok(ask(e, "a/1", "first", "x", &t));
    is_told(&t, HF_OK, "from the first");
    ring_ok(ask(e, "a/1", "both", "x", &t));
    wait_for(&t);
    assert_int_equal(t.err, HF_EDEAD);
    assert_non_null(strstr(t.text, "went on with hf_forward"));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(open_asks(e), 0);
    ring_ok(hf_close(e, 10000));
}

/* ---- HF_PENDING: another thread replies */

static void *finish_later(void *user)
{
    hf_turn *turn = user;
    usleep(2000);
    hf_reply(turn, hf_str("pending"));
    (void)hf_finish(turn, HF_OK);
    return NULL;
}

static int pend(hf_turn *turn, const hf_message *msg)
{
    pthread_t thread;
    (void)msg;
    if (pthread_create(&thread, NULL, finish_later, turn))
        return HF_ENOMEM;
    pthread_detach(thread);
    return HF_PENDING;
}

static int hook_replies(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return hf_fail(turn, 7, "as it must");
}

static void failed(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    hf_reply(turn, hf_str("from the hook"));
}

static void test_pending_and_hooks(void **state)
{
    static const hf_type types[] = {
        { .name = "p", .handle = pend, .threads = 2 },
        { .name = "h", .handle = hook_replies, .failed = failed, .tries = 2, .retry_ms = 1 },
        { 0 } };
    told t[40];
    (void)state;
    hf_engine *e = ring_open("pending", types);
    for (int i = 0; i < 40; i++)
        ring_ok(ask(e, i % 2 ? "p/1" : "p/2", "k", "", &t[i]));
    for (int i = 0; i < 40; i++)
        is_told(&t[i], HF_OK, "pending");
    ring_ok(ask(e, "h/1", "k", "", &t[0]));
    is_told(&t[0], HF_EDEAD, "as it must");
    ring_ok(hf_close(e, 10000));
}

/* ---- Actors ask actors */

static atomic_int wrong_answers;

/* "ask KIND" asks q/1 with that kind; what comes back is checked against the kind. */
static int asker(hf_turn *turn, const hf_message *msg)
{
    if (msg->cause == HF_SENT) {
        uint64_t about = strtoull(msg->key + 24, NULL, 16);
        for (int i = 0; i < 2; i++)
            hf_send_letter(turn, HF_LETTER(.to = i ? "pool/9" : "q/9", .kind = msg->kind,
                                           .body = hf_str("body"), .answer = msg->kind,
                                           .about = about));
        hf_save(turn, hf_view(&about, 8));
        atomic_fetch_add(&about_sum, 1);
        return HF_OK;
    }
    bool dead = strcmp(msg->kind, "bury") == 0, echo = strcmp(msg->kind, "echo") == 0;
    bool right = (msg->cause == HF_GONE) == dead && msg->about && msg->body.len == (echo ? 4 : 
                 dead ? strlen("no such luck") : msg->body.len);
    if (dead)
        right = right && msg->err && strcmp(msg->error, "no such luck") == 0
            && memcmp(msg->body.data, "no such luck", 12) == 0;
    if (strcmp(msg->kind, "third") == 0)
        right = right && msg->body.len == 7;
    if (strcmp(msg->kind, "nothing") == 0)
        right = right && msg->body.len == 0 && msg->cause == HF_ANSWER;
    if (!right || (strcmp(msg->from, "q/9") != 0 && strcmp(msg->from, "pool/9") != 0))
        atomic_fetch_add(&wrong_answers, 1);
    atomic_fetch_add(msg->cause == HF_GONE ? &gone : &answers, 1);
    return HF_OK;
}

static const hf_type durable_types[] = {
    { .name = "q", .handle = handle, .retry_ms = 1, .tries = 4 },
    { .name = "pool", .handle = handle, .threads = 2, .retry_ms = 1, .tries = 4 },
    { .name = "asker", .handle = asker }, { .name = "slow", .handle = asker, .threads = 2 },
    { 0 } };

static void test_between_actors(void **state)
{
    static const char *const kinds[] = { "echo", "nothing", "bury", "third" };
    (void)state;
    atomic_store(&answers, 0);
    atomic_store(&gone, 0);
    atomic_store(&wrong_answers, 0);
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path("durable"), HF_OPTIONS(.types = durable_types, .shards = 2,
                    .window = 64 << 10, .store_max = 64 << 20)));
    for (int i = 0; i < 400; i++) {
        char to[32];
        (void)snprintf(to, sizeof to, "%s/%d", i & 4 ? "slow" : "asker", i % 7);
        ring_ok(hf_tell(e, to, kinds[i % 4], hf_str("")));
    }
    ring_ok(hf_drain(e, 30000));
    assert_int_equal(atomic_load(&answers), 600);
    assert_int_equal(atomic_load(&gone), 200);
    assert_int_equal(atomic_load(&wrong_answers), 0);
    ring_ok(hf_close(e, 10000));
}

static int asks_wrongly(hf_turn *turn, const hf_message *msg)
{
    hf_letter letter = { .size = sizeof letter, .to = "w/2", .answer = "a", .about = 1 };
    char longer[140];
    memset(longer, 'k', sizeof longer);
    longer[139] = 0;
    switch (msg->kind[0]) {
    case '1': letter.answer = ""; break;
    case '2': letter.answer = longer; break;
    case '3': letter.answer = NULL; break;
    case '4': letter.dedupe = "d"; break;
    case '5': letter.conflate = 1; break;
    default: letter.to = "@topic";
    }
    hf_send_letter(turn, &letter);
    return HF_OK;
}

static void test_wrong_letters(void **state)
{
    static const hf_type types[] = { { .name = "w", .handle = asks_wrongly, .tries = 1 }, { 0 } };
    (void)state;
    hf_engine *e = ring_open("wrong", types);
    for (int i = 1; i <= 6; i++) {
        char kind[2] = { (char)('0' + i), 0 };
        told t;
        ring_ok(ask(e, "w/1", kind, "", &t));
        wait_for(&t);
        assert_int_equal(t.err, HF_EDEAD);
        assert_non_null(strstr(t.text, i == 3 ? ".about" : ".answer"));
    }
    ring_ok(hf_close(e, 10000));
}

/* An actor asks another, which forwards twice; the answer finds the asker. */
static int asks_chain(hf_turn *turn, const hf_message *msg)
{
    if (msg->cause == HF_SENT) {
        hf_send_letter(turn, HF_LETTER(.to = "a/5", .kind = msg->kind, .answer = "back",
                                       .about = UINT64_MAX));
        return HF_OK;
    }
    if (msg->about == UINT64_MAX && strcmp(msg->kind, "back") == 0 && strcmp(msg->to, "x/1") == 0
        && strcmp(msg->from, "c/5") == 0)
        atomic_fetch_add(msg->cause == HF_ANSWER ? &answers : &gone, 1);
    return HF_OK;
}

static void test_forwarded_question(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = pass_on, .next = "b" },
        { .name = "b", .handle = pass_on, .next = "c", .threads = 2 },
        { .name = "c", .handle = at_end }, { .name = "x", .handle = asks_chain }, { 0 } };
    (void)state;
    atomic_store(&answers, 0);
    atomic_store(&gone, 0);
    hf_engine *e = ring_open("chain", types);
    ring_ok(hf_tell(e, "x/1", "go", hf_str("")));
    ring_ok(hf_tell(e, "x/1", "silent", hf_str("")));
    ring_ok(hf_tell(e, "x/1", "bury", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&answers), 2);
    assert_int_equal(atomic_load(&gone), 1);
    ring_ok(hf_close(e, 10000));
}

/* ---- Killed while asking: each question is answered once */

enum { QUESTIONS = 300 };

/* Its state: how many of each question's answers it handled. */
static int counts_answers(hf_turn *turn, const hf_message *msg)
{
    uint8_t counts[QUESTIONS] = { 0 };
    hf_bytes before = hf_state(turn);
    if (before.data)
        memcpy(counts, before.data, sizeof counts);
    if (msg->cause == HF_SENT) {
        for (uint32_t i = 0; i < QUESTIONS; i++)
            hf_send_letter(turn, HF_LETTER(.to = i % 2 ? "q/1" : "pool/1",
                                           .kind = i % 5 == 4 ? "bury" : "echo",
                                           .answer = "answer", .about = i + 1));
    } else {
        counts[msg->about - 1]++;
        if ((msg->cause == HF_GONE) != ((msg->about - 1) % 5 == 4))
            counts[msg->about - 1] = 100;
    }
    hf_save(turn, hf_view(counts, sizeof counts));
    return HF_OK;
}

static const hf_type kill_types[] = {
    { .name = "q", .handle = handle, .strikes = HF_NEVER },
    { .name = "pool", .handle = handle, .threads = 2, .strikes = HF_NEVER },
    { .name = "n", .handle = counts_answers, .strikes = HF_NEVER }, { 0 } };

static hf_engine *open_to_kill(void)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path("killed"), HF_OPTIONS(.types = kill_types, .shards = 2,
                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

static uint8_t seen_counts[QUESTIONS];

static int keep_counts(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    memcpy(seen_counts, hf_state(turn).data, sizeof seen_counts);
    return HF_OK;
}

static void test_killed(void **state)
{
    (void)state;
    for (int round = 0; round < 12; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child) {
            hf_engine *e = open_to_kill();
            if (round == 0)
                ring_ok(hf_tell(e, "n/1", "begin", hf_str("")));
            usleep((unsigned)(500 + round * 1500));
            kill(getpid(), SIGKILL);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
    }
    hf_engine *e = open_to_kill();
    ring_ok(hf_drain(e, 60000));
    ring_ok(hf_close(e, 10000));
    hf_type reader[] = { { .name = "n", .handle = keep_counts },
                         { .name = "q", .handle = handle }, { .name = "pool", .handle = handle },
                         { 0 } };
    e = ring_open("killed", reader);
    ring_ok(hf_tell(e, "n/1", "read", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < QUESTIONS; i++)
        assert_int_equal(seen_counts[i], 1);
}

/* ---- Letters that wait for their time, or for too long */

static int asks_later(hf_turn *turn, const hf_message *msg)
{
    if (msg->cause == HF_SENT && msg->kind[0] == 'd')
        hf_send_letter(turn, HF_LETTER(.to = "q/1", .kind = "echo", .body = hf_str("body"),
                                       .answer = "back", .about = 4, .delay_ms = 30));
    else if (msg->cause == HF_SENT)
        hf_send_letter(turn, HF_LETTER(.to = "q/2", .kind = "echo", .answer = "back", .about = 3,
                                       .expires_ms = 1, .delay_ms = 30));
    else if (msg->cause == HF_ANSWER && msg->about == 4 && msg->body.len == 4)
        atomic_fetch_add(&answers, 1);
    else if (msg->cause == HF_GONE && msg->about == 3)
        atomic_fetch_add(&gone, 1);
    return HF_OK;
}

static void test_times(void **state)
{
    static const hf_type types[] = { { .name = "q", .handle = handle },
                                     { .name = "pool", .handle = handle, .threads = 1 },
                                     { .name = "x", .handle = asks_later }, { 0 } };
    told t, dead;
    (void)state;
    atomic_store(&answers, 0);
    atomic_store(&gone, 0);
    memset(&t, 0, sizeof t);
    memset(&dead, 0, sizeof dead);
    hf_engine *e = ring_open("times", types);
    ring_ok(hf_ask(e, HF_LETTER(.to = "q/1", .kind = "echo", .body = hf_str("later"),
                                .delay_ms = 50), 10000, note_answer, &t));
    ring_ok(hf_pause(e, "pool", NULL, NULL));
    ring_ok(hf_ask(e, HF_LETTER(.to = "pool/1", .kind = "echo", .expires_ms = 1), 10000,
                   note_answer, &dead));
    usleep(20000);
    ring_ok(hf_resume(e, "pool"));
    wait_for(&dead);
    assert_int_equal(dead.err, HF_EDEAD);
    is_told(&t, HF_OK, "later");
    ring_ok(hf_tell(e, "x/1", "delayed", hf_str("")));
    ring_ok(hf_tell(e, "x/1", "expires", hf_str("")));
    ring_until(&answers, 1);
    ring_until(&gone, 1);
    ring_ok(hf_close(e, 10000));
}

/* ---- A letter that was sent before: the first one's reply */

static int ask_word(hf_engine *e, const char *to, const char *kind, const char *word, told *t)
{
    memset(t, 0, sizeof *t);
    return hf_ask(e, HF_LETTER(.to = to, .kind = kind, .body = hf_str("b"), .dedupe = word), 20000,
                  note_answer, t);
}

static int large_reply(hf_turn *turn, const hf_message *msg)
{
    static uint8_t large[70000];
    (void)msg;
    hf_reply(turn, hf_view(large, sizeof large));
    return HF_OK;
}

static void test_words(void **state)
{
    static const hf_type types[] = {
        { .name = "q", .handle = handle, .retry_ms = 5, .tries = 4 },
        { .name = "pool", .handle = handle, .threads = 4, .retry_ms = 5, .tries = 4 },
        { .name = "large", .handle = large_reply }, { 0 } };
    static const struct {
        const char *kind;
        int         err;
        const char *text;
    } cases[] = { { "echo", HF_OK, "b" }, { "nothing", HF_OK, "" }, { "bury", HF_EDEAD, "no such luck" },
                  { "third", HF_OK, "at last" } };
    told t, again[20];
    char word[32];
    (void)state;
    hf_engine *e = ring_open("words", types);
    for (int run = 0; run < 2; run++) { /* also in the next run */
        for (int i = 0; i < 8; i++) {
            const char *to = i % 2 ? "pool/1" : "q/1";
            (void)snprintf(word, sizeof word, "word %d", i);
            for (int n = 0; n < 3; n++) {
                ring_ok(ask_word(e, to, cases[i / 2].kind, word, &again[n]));
                if (run)
                    wait_for(&again[n]);
            }
            for (int n = 0; n < 3; n++) {
                is_told(&again[n], cases[i / 2].err, cases[i / 2].text);
                assert_int_equal(again[n].null, strcmp(cases[i / 2].kind, "nothing") == 0);
            }
        }
        ring_ok(hf_drain(e, 10000));
        assert_int_equal(open_asks(e), 0);
        ring_ok(hf_close(e, 10000));
        e = ring_open("words", types);
    }
    /* Many wait for one that runs; one of them is out of time first. */
    atomic_store(&gate, 0);
    for (int i = 0; i < 20; i++)
        ring_ok(ask_word(e, "pool/2", "wait", "w", &again[i]));
    memset(&t, 0, sizeof t);
    ring_ok(hf_ask(e, HF_LETTER(.to = "pool/2", .kind = "wait", .body = hf_str("b"), .dedupe = "w"),
                   30, note_answer, &t));
    is_told(&t, HF_ETIMEDOUT, "");
    for (int i = 0; i < 20; i++)
        assert_int_equal(atomic_load(&again[i].calls), 0);
    atomic_store(&gate, 1);
    for (int i = 0; i < 20; i++)
        is_told(&again[i], HF_OK, "waited");
    /* The first was told, not asked. */
    ring_ok(hf_mail(e, HF_LETTER(.to = "q/3", .kind = "echo", .body = hf_str("b"), .dedupe = "m"), 1,
                    NULL));
    ring_ok(ask_word(e, "q/3", "echo", "m", &t));
    is_told(&t, HF_OK, "b");
    /* Something else under the same word; a reply that is not kept. */
    ring_ok(ask_word(e, "q/3", "nothing", "m", &t));
    wait_for(&t);
    assert_int_equal(t.err, HF_ECONFLICT);
    ring_ok(ask_word(e, "large/1", "k", "w", &t));
    wait_for(&t);
    assert_int_equal(t.len, 70000);
    ring_ok(ask_word(e, "large/1", "k", "w", &t));
    is_told(&t, HF_EDUPLICATE, "");
    /* Nobody says what came of it: those that wait are told when the engine closes. */
    ring_ok(hf_pause(e, "q", NULL, NULL));
    ring_ok(ask_word(e, "q/4", "echo", "p", &again[0]));
    ring_ok(ask_word(e, "q/4", "echo", "p", &again[1]));
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < 2; i++)
        is_told(&again[i], HF_ECLOSED, "");
    for (int i = 2; i < 20; i++)
        assert_int_equal(atomic_load(&again[i].calls), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_crowd),
        cmocka_unit_test(test_callback_asks),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_close_and_reopen),
        cmocka_unit_test(test_engine_stops),
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_pending_and_hooks),
        cmocka_unit_test(test_between_actors),
        cmocka_unit_test(test_wrong_letters),
        cmocka_unit_test(test_forwarded_question),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
