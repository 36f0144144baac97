/* test_undo_again.c - undoing fails, the letter is dead and says so; later it is undone by hand,
 * and says again what it failed of. An undo that is put off burns no try. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include <string.h>

static atomic_bool down;

static int pay(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    (void)msg;
    if (hf_begin_step(turn, "pay", &step) == HF_TODO)
        (void)hf_end_step(turn, &step, hf_str("paid"));
    return hf_fail(turn, 1, "no parcel; before that: no stamp");
}

static int pay_back(hf_turn *turn, const hf_message *msg, const hf_step *step)
{
    (void)msg, (void)step;
    return atomic_load(&down) ? hf_fail(turn, 1, "the bank is closed") : HF_OK;
}

static const hf_type types[] = {
    { .name = "order", .handle = pay, .undo = pay_back, .threads = 1, .tries = 1, .retry_ms = 1 },
    { 0 },
};

static char said[256];

static int note(void *user, const hf_message *msg)
{
    (void)user;
    (void)snprintf(said, sizeof said, "%s", msg->error);
    return HF_OK;
}

/* What the only dead letter says. */
static const char *dead_says(const char *name)
{
    hf_store *store;
    said[0] = 0;
    ring_ok(hf_store_open(&store, ring_path(name), 5000));
    ring_ok(hf_find(store, "status = dead", note, NULL));
    hf_store_close(store);
    return said;
}

static void undo(uint64_t id)
{
    hf_store *store;
    hf_out args = { 0 };
    hf_out_map(&args, NULL);
    hf_out_array(&args, "ids");
    hf_out_uint(&args, NULL, id);
    hf_out_end(&args);
    hf_out_end(&args);
    ring_ok(hf_store_open(&store, ring_path("again"), 5000));
    ring_ok(hf_change(store, "undo", hf_out_bytes(&args), NULL, NULL));
    hf_store_close(store);
    hf_out_done(&args);
}

static void test_again(void **state)
{
    static const char failed[] = "undo of step \"pay\" failed: the bank is closed; before that: "
                                 "no parcel; before that: no stamp";
    hf_receipt receipt;
    (void)state;
    atomic_store(&down, true);
    hf_engine *engine = ring_open("again", types);
    const hf_letter *letter = HF_LETTER(.to = "order/1", .kind = "place");
    ring_ok(hf_mail(engine, letter, 1, &receipt));
    ring_ok(hf_drain(engine, 10000));
    assert_string_equal(dead_says("again"), failed);
    undo(receipt.id); /* too early */
    ring_ok(hf_drain(engine, 10000));
    assert_string_equal(dead_says("again"), failed);
    ring_ok(hf_close(engine, 10000));
    atomic_store(&down, false);
    engine = ring_open("again", types);
    undo(receipt.id);
    ring_ok(hf_drain(engine, 10000));
    assert_string_equal(dead_says("again"), "no parcel; before that: no stamp");
    ring_ok(hf_close(engine, 10000));
}

/* ---- An undo that waits for something */

static atomic_int waits, undone;

static int pay_back_later(hf_turn *turn, const hf_message *msg, const hf_step *step)
{
    (void)msg, (void)step;
    if (atomic_fetch_add(&waits, 1) < 5) /* more often than it has tries */
        return hf_snooze(turn, 1);
    atomic_fetch_add(&undone, 1);
    return HF_OK;
}

static void test_snooze(void **state)
{
    static const hf_type late[] = {
        { .name = "order", .handle = pay, .undo = pay_back_later, .threads = 1, .tries = 2,
          .retry_ms = 1 },
        { 0 },
    };
    (void)state;
    hf_engine *engine = ring_open("snooze", late);
    ring_ok(hf_tell(engine, "order/1", "place", hf_str("")));
    ring_ok(hf_drain(engine, 60000));
    assert_int_equal(atomic_load(&waits), 6);
    assert_int_equal(atomic_load(&undone), 1);
    assert_string_equal(dead_says("snooze"), "no parcel; before that: no stamp");
    ring_ok(hf_close(engine, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_again),
                                        cmocka_unit_test(test_snooze) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
