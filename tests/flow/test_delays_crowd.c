/* test_delays_crowd.c - more delayed letters than a shard keeps in memory come due soon, and the
 * fold overtook it before it had seen them: each comes once. */
#include "tests/support/ring.h"

#include "engine/alarms.h"
#include "engine/engine.h"

enum { LETTERS = 150000, GROUP = 1000, DELAY_MS = 6000, KEPT = 128 << 10 };

static hf_engine *engine;
static atomic_int came, twice, first, standing, opened;
static _Atomic uint64_t spills; /* so often was it overtaken */
static atomic_uchar seen[LETTERS];

static int handle(hf_turn *turn, const hf_message *msg)
{
    uint32_t n;
    (void)turn;
    if (strcmp(msg->kind, "stand") == 0) {
        for (atomic_store(&standing, 1); !atomic_load(&opened);)
            usleep(1000);
        return HF_OK;
    }
    if (strcmp(msg->kind, "first") == 0) {
        atomic_store(&first, 1);
        return HF_OK;
    }
    memcpy(&n, msg->body.data, sizeof n);
    atomic_fetch_add(&twice, atomic_fetch_add(&seen[n], 1) != 0);
    atomic_store(&spills, engine->shards[0].spills);
    atomic_fetch_add(&came, 1);
    return HF_OK;
}

static void send_all(void)
{
    static hf_letter letters[GROUP];
    static uint32_t n[GROUP];
    for (uint32_t from = 0; from < LETTERS; from += GROUP) {
        for (uint32_t i = 0; i < GROUP; i++) {
            n[i] = from + i;
            letters[i] = (hf_letter){ .size = sizeof(hf_letter), .to = "a/1", .kind = "k",
                                      .body = hf_view(&n[i], sizeof n[i]),
                                      .delay_ms = DELAY_MS };
        }
        ring_ok(hf_mail(engine, letters, GROUP, NULL));
    }
}

static void test_once(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = handle }, { 0 } };
    (void)state;
    ring_ok(hf_open(&engine, ring_path("crowd"), HF_OPTIONS(.types = types, .shards = 1,
                                                            .window = 1 << 20)));
    /* Now it has looked a minute ahead. */
    ring_ok(hf_mail(engine, HF_LETTER(.to = "a/1", .kind = "first", .delay_ms = 1), 1, NULL));
    ring_until(&first, 1);
    ring_ok(hf_tell(engine, "a/2", "stand", hf_str("")));
    ring_until(&standing, 1);
    send_all();
    for (int i = 0; i < 5000 && hf_log_folded(engine->log) <= KEPT; i++)
        usleep(1000);
    assert_true(hf_log_folded(engine->log) > KEPT + KEPT / 64); /* or this shows nothing */
    atomic_store(&opened, 1);
    for (int i = 0; i < 40000 && atomic_load(&came) < LETTERS; i++)
        usleep(1000);
    ring_ok(hf_drain(engine, 20000));
    assert_true(atomic_load(&spills) >= 1); /* or this shows nothing */
    assert_int_equal(atomic_load(&twice), 0);
    assert_int_equal(atomic_load(&came), LETTERS);
    ring_ok(hf_close(engine, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_once) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
