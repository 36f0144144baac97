/* test_alarm_memory.c - a turn that sets an alarm anew finds no memory behind its handler, runs
 * again, and leaves the alarm as it was: then that goes off. */
#include "tests/support/ring.h"

#include "storage/memory.h"

#include <pthread.h>
#include <string.h>

enum { CASES = 24, STATE = 6000, DUE_MS = 700 };

static atomic_int runs[CASES], came[CASES], begun;
static atomic_bool slow[CASES]; /* it went off before it was moved: that shows nothing */

/* After a handler's end the allocation of its thread with this number fails, once. */
static _Thread_local int left = -1;

static int fails(void *user, size_t size)
{
    (void)user;
    (void)size;
    return left >= 0 && left-- == 0;
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    static const char state[STATE];
    int n = atoi(strchr(msg->to, '/') + 1);
    if (msg->cause == HF_ALARM) {
        atomic_fetch_add(&came[n], 1);
    } else if (strcmp(msg->kind, "set") == 0) {
        hf_set_alarm(turn, "x", DUE_MS, hf_str(""));
        atomic_fetch_add(&begun, 1);
    } else if (atomic_fetch_add(&runs[n], 1) == 0) {
        atomic_store(&slow[n], atomic_load(&came[n]) > 0);
        hf_set_alarm(turn, "x", 3600000, hf_str(""));
        hf_save(turn, hf_view(state, STATE - (size_t)n));
        left = n;
        return HF_OK;
    }
    left = -1;
    return HF_OK;
}

/* Those that went off and those that had to; -1: as many. */
static int first_wrong(void)
{
    for (int i = 0; i < CASES; i++)
        if (!atomic_load(&slow[i]) && atomic_load(&came[i]) != (atomic_load(&runs[i]) == 2))
            return i;
    return -1;
}

static void test_moved_in_vain(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = handle }, { 0 } };
    hf_engine *engine;
    int again = 0;
    (void)state;
    hf_mem_hook(fails, NULL);
    ring_ok(hf_open(&engine, ring_path("moved"), HF_OPTIONS(.types = types, .shards = 1)));
    for (int i = 0; i < 2 * CASES; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "a/%d", i % CASES);
        ring_ok(hf_tell(engine, to, i < CASES ? "set" : "move", hf_str("")));
        if (i == CASES - 1)
            ring_until(&begun, CASES);
    }
    ring_ok(hf_drain(engine, 20000));
    usleep(DUE_MS * 1000);
    for (int i = 0; i < 3000 && first_wrong() >= 0; i++)
        usleep(10000);
    usleep(200000);
    ring_ok(hf_drain(engine, 20000));
    for (int i = 0; i < CASES; i++)
        again += !atomic_load(&slow[i]) && atomic_load(&runs[i]) == 2;
    int wrong = first_wrong();
    if (wrong >= 0)
        fail_msg("allocation %d: %d runs, %d alarms", wrong, atomic_load(&runs[wrong]),
                 atomic_load(&came[wrong]));
    assert_true(again > 0 || atomic_load(&slow[CASES - 1])); /* or this shows nothing */
    ring_ok(hf_close(engine, 10000));
    hf_mem_hook(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_moved_in_vain) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
