/* test_pause_words.c - an actor type that the program pauses and the tool resumes, and the
 * other way: whoever looks must be told what holds, before any of it is folded. */
#include "tests/support/ring.h"

#include "recovery/arguments.h"
#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

static int on_message(hf_turn *turn, const hf_message *msg)
{
    (void)turn, (void)msg;
    return HF_OK;
}

static hf_out args;

static hf_bytes one(const char *name, const char *text)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_text(&args, name, hf_str(text));
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static int read_flag(void *user, hf_bytes row)
{
    hf_argument known[] = { { .name = "already", .type = HF_ARG_BOOL },
                            { .name = "paused", .type = HF_ARG_BOOL } };
    int err = hf_arguments_known("row", row, known, 2);
    *(bool *)user = known[0].number || known[1].number;
    return err;
}

static int read_pause(void *user, hf_bytes row)
{
    hf_argument why = { .name = "why", .type = HF_ARG_TEXT };
    int err = hf_arguments_known("row", row, &why, 1);
    *(bool *)user = why.bytes.len == 6 && memcmp(why.bytes.data, "paused", 6) == 0;
    return err;
}

static bool change(hf_store *store, const char *what)
{
    bool was = false;
    ring_ok(hf_change(store, what, one("what", "order"), read_flag, &was));
    return was;
}

static bool is_paused(hf_store *store)
{
    bool paused = false;
    ring_ok(hf_query(store, "actor", one("actor", "order/1"), read_pause, &paused));
    return paused;
}

static void test_pause_here_resume_there(void **state)
{
    static const hf_type types[] = { { .name = "order", .handle = on_message }, { .name = NULL } };
    hf_store *store;
    (void)state;
    hf_engine *engine = ring_open("words", types);
    ring_ok(hf_store_open(&store, ring_path("words"), 2000));
    assert_false(is_paused(store));
    for (int i = 0; i < 3; i++) {
        ring_ok(hf_pause(engine, "order", NULL, NULL));
        assert_true(is_paused(store));
        assert_true(change(store, "pause"));   /* it was paused already */
        assert_true(change(store, "resume"));
        assert_false(is_paused(store));
        assert_false(change(store, "resume")); /* it was not paused */
        assert_false(change(store, "pause"));  /* so this one pauses it */
        assert_true(is_paused(store));
        ring_ok(hf_resume(engine, "order"));
        assert_false(is_paused(store));
    }
    hf_store_close(store);
    ring_ok(hf_close(engine, 5000));
    hf_out_done(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pause_here_resume_there),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
