/* test_ask_again.c - a letter that was sent before under the same word (.dedupe) is asked
 * again: who asks gets the first one's reply. */
#include "tests/support/askers.h"

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

static const hf_type word_types[] = {
    { .name = "q", .handle = handle, .retry_ms = 5, .tries = 4 },
    { .name = "pool", .handle = handle, .threads = 4, .retry_ms = 5, .tries = 4 },
    { .name = "large", .handle = large_reply }, { 0 } };

/* Also in the next run. */
static void test_the_first_ones_reply(void **state)
{
    static const struct {
        const char *kind;
        int         err;
        const char *text;
    } cases[] = { { "echo", HF_OK, "b" },
                  { "nothing", HF_OK, "" },
                  { "bury", HF_EDEAD, "no such luck" },
                  { "third", HF_OK, "at last" } };
    told again[3];
    char word[32];
    (void)state;
    hf_engine *e = ring_open("words", word_types);
    for (int run = 0; run < 2; run++) {
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
        e = ring_open("words", word_types);
    }
    ring_ok(hf_close(e, 10000));
}

/* Many wait for one that runs; one of them is out of time first. */
static void test_many_wait(void **state)
{
    told t, again[20];
    (void)state;
    hf_engine *e = ring_open("wait", word_types);
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
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < 20; i++)
        assert_int_equal(atomic_load(&again[i].calls), 1);
}

static void test_told_not_asked(void **state)
{
    told t;
    (void)state;
    hf_engine *e = ring_open("told", word_types);
    /* The first was told, not asked. */
    ring_ok(hf_mail(e, HF_LETTER(.to = "q/3", .kind = "echo", .body = hf_str("b"), .dedupe = "m"),
                    1, NULL));
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
    ring_ok(hf_close(e, 10000));
}

/* Nobody says what came of it: those that wait are told when the engine closes. */
static void test_closed(void **state)
{
    told again[2];
    (void)state;
    hf_engine *e = ring_open("closed", word_types);
    ring_ok(hf_pause(e, "q", NULL, NULL));
    ring_ok(ask_word(e, "q/4", "echo", "p", &again[0]));
    ring_ok(ask_word(e, "q/4", "echo", "p", &again[1]));
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < 2; i++)
        is_told(&again[i], HF_ECLOSED, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_ones_reply),
        cmocka_unit_test(test_many_wait),
        cmocka_unit_test(test_told_not_asked),
        cmocka_unit_test(test_closed),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
