/* test_late_words.c - a delayed letter that was edited comes due while its shard stands in a
 * turn and the fold passes it, with so many alarms that they are forgotten little by little:
 * it comes with its new body. */
#include "tests/support/ring.h"

#include "engine/engine.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include "storage/clock.h"

enum {
    WINDOW = 4 << 20,
    ALARMS = 9500,    /* more than are forgotten in one round, and too few for a fold */
    BODY   = 100000, BODIES = 60, /* letters that bring one */
    DELAY_MS = 3000,
};

static hf_engine *engine;
static atomic_int standing, opened, came;
static _Atomic uint64_t spills; /* so often was it overtaken */
static char body[8];

static int handle(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "set") == 0) {
        for (int i = 0; i < ALARMS; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "%d", i);
            hf_set_alarm(turn, name, 3600000, hf_str(""));
        }
    } else if (strcmp(msg->kind, "stand") == 0) {
        for (atomic_store(&standing, 1); !atomic_load(&opened);)
            usleep(1000);
    } else if (strcmp(msg->kind, "late") == 0) {
        memcpy(body, msg->body.data, msg->body.len < 7 ? msg->body.len : 7);
        atomic_store(&spills, engine->shards[0].spills);
        atomic_store(&came, 1);
    }
    return HF_OK;
}

static void edit(uint64_t id)
{
    hf_store *store;
    hf_out out = { 0 };
    ring_ok(hf_store_open(&store, ring_path("late"), 5000));
    hf_out_map(&out, NULL);
    hf_out_array(&out, "edits");
    hf_out_map(&out, NULL);
    hf_out_uint(&out, "id", id);
    hf_out_bin(&out, "body", hf_str("new"));
    hf_out_end(&out);
    hf_out_end(&out);
    hf_out_end(&out);
    ring_ok(out.err);
    ring_ok(hf_change(store, "edit", hf_out_bytes(&out), NULL, NULL));
    hf_out_done(&out);
    hf_store_close(store);
}

static void test_new_body(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = handle }, { 0 } };
    static const char bytes[BODY];
    char to[2][16] = { "", "" };
    hf_receipt sent;
    (void)state;
    ring_ok(hf_open(&engine, ring_path("late"), HF_OPTIONS(.types = types, .shards = 2,
                                                           .window = WINDOW)));
    for (int i = 0; i < 100; i++) {
        char a[16];
        (void)snprintf(a, sizeof a, "a/%d", i);
        memcpy(to[hf_address_shard(hf_address_hash(engine->seed, a, strlen(a)), 2)], a, sizeof a);
    }
    ring_ok(hf_tell(engine, to[0], "set", hf_str("")));
    ring_ok(hf_drain(engine, 20000));
    ring_ok(hf_mail(engine, HF_LETTER(.to = to[0], .kind = "late", .body = hf_str("old"),
                                      .delay_ms = DELAY_MS), 1, &sent));
    uint64_t due_ns = hf_clock_mono_ns() + (uint64_t)DELAY_MS * 1000000;
    edit(sent.id);
    uint64_t edited = atomic_load(&engine->published);
    assert_true(hf_log_folded(engine->log) < ALARMS);
    ring_ok(hf_tell(engine, to[0], "stand", hf_str("")));
    ring_until(&standing, 1);
    for (int i = 0; i < BODIES; i++)
        ring_ok(hf_mail(engine, HF_LETTER(.to = to[1], .kind = "k",
                                          .body = hf_view(bytes, sizeof bytes)), 1, NULL));
    for (int i = 0; i < 10000 && hf_log_folded(engine->log) < edited; i++)
        usleep(1000);
    assert_true(hf_log_folded(engine->log) >= edited); /* or this shows nothing */
    while (hf_clock_mono_ns() < due_ns + 200000000)
        usleep(10000);
    atomic_store(&opened, 1);
    ring_until(&came, 1);
    assert_int_equal(atomic_load(&spills), 0);
    assert_string_equal(body, "new");
    ring_ok(hf_drain(engine, 20000));
    ring_ok(hf_close(engine, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_new_body) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
