/* test_ask_actors.c - actors ask actors: each question is answered once, by a reply or by the
 * news that it died, also when it was forwarded, comes late, or everything is killed. */
#include "tests/support/askers.h"

#include <signal.h>
#include <sys/wait.h>

static atomic_int answers, gone, about_sum, wrong_answers;

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_between_actors),
        cmocka_unit_test(test_wrong_letters),
        cmocka_unit_test(test_forwarded_question),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
