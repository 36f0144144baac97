/* test_progress.c - notes of long turns, and letters out of them that don't wait for their end. */
#include "tests/support/ring.h"

#include "engine/ask.h"
#include "recovery/holdfast_recovery.h"

#include <pthread.h>
#include <string.h>

/* ---- What somebody who asked was told, in order */

typedef struct told {
    atomic_int      notes, answers;
    pthread_mutex_t lock;
    char            last[1100];
    size_t          len;
    bool            late;  /* a note after the answer */
    int             err;
    char            answer[64];
} told;

static void note_progress(void *user, hf_bytes note)
{
    told *t = user;
    pthread_mutex_lock(&t->lock);
    if (atomic_load(&t->answers))
        t->late = true;
    memcpy(t->last, note.data ? note.data : "", note.len);
    t->last[note.len] = 0;
    t->len = note.len;
    pthread_mutex_unlock(&t->lock);
    atomic_fetch_add(&t->notes, 1);
}

static void note_answer(void *user, int err, hf_bytes answer)
{
    told *t = user;
    t->err = err;
    memcpy(t->answer, answer.data ? answer.data : "", answer.len < 63 ? answer.len : 63);
    atomic_fetch_add(&t->answers, 1);
}

/* ---- Long turns */

static atomic_int gate, stage, refused;

static void wait_for_gate(int value)
{
    while (atomic_load(&gate) < value)
        usleep(300);
}

static int work(hf_turn *turn, const hf_message *msg)
{
    char text[32];
    uint8_t largest[1001] = { 0 };
    if (strcmp(msg->kind, "many") == 0) {
        for (int i = 0; i < 1000; i++) {
            (void)snprintf(text, sizeof text, "note %d", i);
            if (hf_progress(turn, hf_str(text)))
                atomic_fetch_add(&refused, 1);
        }
        hf_reply(turn, hf_str("done"));
        return HF_OK;
    }
    if (strcmp(msg->kind, "bad") == 0) {
        if (hf_progress(turn, hf_view(largest, 1001)) == HF_ETOOBIG
            && hf_progress(turn, hf_view(NULL, 3)) == HF_EINVAL
            && hf_progress(NULL, hf_str("x")) == HF_EINVAL
            && hf_progress(turn, hf_view(largest, 1000)) == HF_OK)
            hf_reply(turn, hf_str("as expected"));
        return HF_OK;
    }
    if (strcmp(msg->kind, "retry") == 0 && msg->attempt == 1) {
        (void)hf_progress(turn, hf_str("first attempt"));
        return hf_fail(turn, 1, "again");
    }
    atomic_store(&stage, 1);
    if (strcmp(msg->kind, "retry") != 0)
        (void)hf_progress(turn, hf_str("half"));
    wait_for_gate(1);
    (void)hf_progress(turn, hf_str("almost"));
    atomic_store(&stage, 2);
    wait_for_gate(2);
    hf_reply(turn, hf_str("done"));
    return HF_OK;
}

static int quick(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    (void)hf_progress(turn, hf_str("on a shard"));
    hf_reply(turn, hf_str("quick"));
    return HF_OK;
}

static const hf_type types[] = { { .name = "work", .handle = work, .threads = 3, .retry_ms = 1 },
                                 { .name = "quick", .handle = quick }, { 0 } };

static void start(told *t)
{
    memset(t, 0, sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    atomic_store(&gate, 0);
    atomic_store(&stage, 0);
}

static void ask(hf_engine *e, const char *to, const char *kind, told *t)
{
    ring_ok(hf_ask_watched(e, HF_LETTER(.to = to, .kind = kind), 20000, note_answer,
                           note_progress, t));
}

static void test_told(void **state)
{
    told t;
    (void)state;
    hf_engine *e = ring_open("told", types);
    start(&t);
    ask(e, "work/1", "long", &t);
    ring_until(&t.notes, 1);
    assert_string_equal(t.last, "half");
    assert_int_equal(atomic_load(&t.answers), 0);
    atomic_store(&gate, 1);
    ring_until(&t.notes, 2);
    assert_string_equal(t.last, "almost");
    atomic_store(&gate, 2);
    ring_until(&t.answers, 1);
    assert_int_equal(t.err, HF_OK);
    assert_string_equal(t.answer, "done");
    /* the newest counts */
    start(&t);
    ask(e, "work/1", "many", &t);
    ring_until(&t.answers, 1);
    assert_int_equal(atomic_load(&refused), 0);
    assert_in_range(atomic_load(&t.notes), 1, 1000);
    assert_string_equal(t.last, "note 999");
    assert_false(t.late);
    start(&t);
    ask(e, "work/1", "bad", &t);
    ring_until(&t.answers, 1);
    assert_string_equal(t.answer, "as expected");
    assert_int_equal(t.len, 1000);
    start(&t);
    ask(e, "quick/1", "q", &t);
    ring_until(&t.answers, 1);
    assert_string_equal(t.last, "on a shard");
    /* who did not want to know */
    start(&t);
    ring_ok(hf_ask(e, HF_LETTER(.to = "work/1", .kind = "many"), 20000, note_answer, &t));
    ring_until(&t.answers, 1);
    assert_int_equal(atomic_load(&t.notes), 0);
    ring_ok(hf_tell(e, "work/1", "many", hf_str("")));
    ring_ok(hf_close(e, 10000));
    assert_false(t.late);
}

/* After the time is up nothing is told any more. */
static void test_after_the_answer(void **state)
{
    told t;
    (void)state;
    hf_engine *e = ring_open("after", types);
    start(&t);
    ring_ok(hf_ask_watched(e, HF_LETTER(.to = "work/1", .kind = "long"), 30, note_answer,
                           note_progress, &t));
    ring_until(&t.answers, 1);
    assert_int_equal(t.err, HF_ETIMEDOUT);
    ring_until(&stage, 1);
    int notes = atomic_load(&t.notes);
    atomic_store(&gate, 2);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&t.notes), notes);
    assert_false(t.late);
    ring_ok(hf_close(e, 10000));
}

/* ---- Shown */

typedef struct shown {
    hf_engine *engine;
    char       row[8192];
    size_t     len;
} shown;

static int keep_row(void *user, hf_bytes row)
{
    shown *s = user;
    s->len = row.len < sizeof s->row ? row.len : sizeof s->row;
    memcpy(s->row, row.data, s->len);
    return HF_OK;
}

static bool shows(const char *store, const char *question, hf_bytes arguments, const char *what)
{
    shown s = { .len = 0 };
    hf_store *handle = NULL;
    ring_ok(hf_store_open(&handle, ring_path(store), 1000));
    ring_ok(hf_query(handle, question, arguments, keep_row, &s));
    hf_store_close(handle);
    return memmem(s.row, s.len, what, strlen(what)) != NULL;
}

static void test_shown(void **state)
{
    /* {"actor": "work/1"} */
    static const uint8_t actor[] = "\x81\xa5" "actor" "\xa6" "work/1";
    told t;
    (void)state;
    hf_engine *e = ring_open("shown", types);
    hf_receipt receipt;
    hf_bytes about = hf_view(actor, sizeof actor - 1);
    start(&t);
    ring_ok(hf_mail(e, HF_LETTER(.to = "work/1", .kind = "long"), 1, &receipt));
    ring_until(&stage, 1);
    uint8_t note[HF_NOTE_MAX];
    assert_int_equal(hf_progress_of(e, receipt.id, note), 4);
    assert_true(shows("shown", "actor", about, "half"));
    uint8_t show[] = { 0x81, 0xa2, 'i', 'd', 0xcf, 0, 0, 0, 0, 0, 0, 0, 0 };
    for (int i = 0; i < 8; i++)
        show[5 + i] = (uint8_t)(receipt.id >> (56 - 8 * i));
    assert_true(shows("shown", "message", hf_view(show, sizeof show), "half"));
    atomic_store(&gate, 1);
    ring_until(&stage, 2);
    assert_true(shows("shown", "actor", about, "almost"));
    atomic_store(&gate, 2);
    ring_ok(hf_drain(e, 10000));
    assert_false(shows("shown", "actor", about, "almost"));
    assert_int_equal(hf_progress_of(e, receipt.id, note), 0);
    /* what the first attempt said is not shown of the second */
    start(&t);
    ring_ok(hf_mail(e, HF_LETTER(.to = "work/1", .kind = "retry"), 1, &receipt));
    ring_until(&stage, 1);
    assert_int_equal(hf_progress_of(e, receipt.id, note), 0);
    atomic_store(&gate, 2);
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_close(e, 10000));
}

/* ---- Out of a long turn: commits at once */

static hf_engine *engine;
static atomic_int heard, wrong, answered;

static int listen(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "question") == 0)
        hf_reply(turn, msg->body);
    atomic_fetch_add(&heard, 1);
    return HF_OK;
}

static void count_answer(void *user, int err, hf_bytes answer)
{
    (void)user;
    if (err || answer.len != 1)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&answered, 1);
}

/* All of it is heard while this turn goes on, which fails at the end. */
static int speak(hf_turn *turn, const hf_message *msg)
{
    hf_receipt receipts[2];
    const hf_letter letters[] = { { .size = sizeof *letters, .to = "ear/1" },
                                  { .size = sizeof *letters, .to = "ear/2" } };
    if (hf_tell(engine, "ear/1", "told", hf_str("x")) || hf_mail(engine, letters, 2, receipts)
        || hf_post(engine, letters, 2, NULL, NULL) || hf_sync(engine, 10000)
        || hf_ask(engine, HF_LETTER(.to = "ear/1", .kind = "question", .body = hf_str("?")), 10000,
                  count_answer, NULL)
        || hf_peek(engine, "ear/1", count_answer, NULL) != HF_OK)
        atomic_fetch_add(&wrong, 1);
    if (hf_drain(engine, 10) != HF_EDEADLOCK || hf_pause(engine, NULL, NULL, NULL) != HF_EDEADLOCK
        || hf_close(engine, 10) != HF_EDEADLOCK)
        atomic_fetch_add(&wrong, 1);
    for (int i = 0; i < 10000 && atomic_load(&heard) < 6; i++)
        usleep(500);
    hf_send(turn, "ear/1", "never", hf_str("x"));
    return hf_bury(turn, "%d heard %s", atomic_load(&heard), msg->kind);
}

static int on_shard(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    if (hf_tell(engine, "ear/1", "told", hf_str("x")) != HF_EDEADLOCK
        || hf_mail(engine, HF_LETTER(.to = "ear/1"), 1, NULL) != HF_EDEADLOCK
        || hf_sync(engine, 10) != HF_EDEADLOCK
        || hf_post(engine, HF_LETTER(.to = "ear/1"), 1, NULL, NULL)
        || hf_ask(engine, HF_LETTER(.to = "ear/2", .kind = "question", .body = hf_str("?")), 10000,
                  count_answer, NULL))
        atomic_fetch_add(&wrong, 1);
    return HF_OK;
}

static void test_out_of_a_turn(void **state)
{
    static const hf_type speaking[] = { { .name = "ear", .handle = listen },
                                        { .name = "mouth", .handle = speak, .threads = 1 },
                                        { .name = "shard", .handle = on_shard }, { 0 } };
    (void)state;
    engine = ring_open("speak", speaking);
    ring_ok(hf_tell(engine, "mouth/1", "m", hf_str("")));
    ring_ok(hf_drain(engine, 20000));
    assert_int_equal(atomic_load(&heard), 6);
    ring_until(&answered, 2);
    assert_int_equal(atomic_load(&wrong), 1); /* the peek: ear/1 has no state of one byte */
    ring_ok(hf_tell(engine, "shard/1", "m", hf_str("")));
    ring_ok(hf_drain(engine, 20000));
    assert_int_equal(atomic_load(&heard), 8);
    ring_until(&answered, 3);
    assert_int_equal(atomic_load(&wrong), 1);
    ring_ok(hf_close(engine, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told), cmocka_unit_test(test_after_the_answer),
        cmocka_unit_test(test_shown), cmocka_unit_test(test_out_of_a_turn),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
