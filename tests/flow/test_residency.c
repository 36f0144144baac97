/* test_residency.c - the hooks that tell when an actor comes into memory and leaves it:
 * each coming has its going, and both say what its state was. */
#include "tests/support/ring.h"

#include <string.h>

enum { ACTORS = 400 };

static atomic_int  awake_count, asleep_count, turns, refused, wrong;
static atomic_int  here[ACTORS]; /* 1: in memory */
static char        last_awake[64], last_asleep[64];
static hf_engine  *inside; /* the hooks call it */

static void forget_all(void)
{
    atomic_store(&awake_count, 0);
    atomic_store(&asleep_count, 0);
    atomic_store(&turns, 0);
    atomic_store(&refused, 0);
    atomic_store(&wrong, 0);
    for (int i = 0; i < ACTORS; i++)
        atomic_store(&here[i], 0);
    last_awake[0] = last_asleep[0] = 0;
    inside = NULL;
}

static void copy_text(char to[64], hf_bytes text)
{
    (void)snprintf(to, 64, HF_FMT, HF_ARG(text.data ? text : hf_str("none")));
}

static int number_of(const char *actor)
{
    return atoi(strchr(actor, '/') + 1);
}

static void try_calls(void)
{
    if (!inside)
        return;
    if (hf_tell(inside, "room/1", "x", hf_str("")) == HF_EDEADLOCK
        && hf_post(inside, HF_LETTER(.to = "room/1"), 1, NULL, NULL) == HF_EDEADLOCK
        && hf_close(inside, 0) == HF_EDEADLOCK && hf_sync(inside, 0) == HF_EDEADLOCK
        && hf_drain(inside, 0) == HF_EDEADLOCK)
        atomic_fetch_add(&refused, 1);
}

static void awake(void *user, const char *actor, hf_bytes state)
{
    if (user != last_awake || atomic_exchange(&here[number_of(actor)], 1) != 0)
        atomic_fetch_add(&wrong, 1);
    if (number_of(actor) == 1)
        copy_text(last_awake, state);
    try_calls();
    atomic_fetch_add(&awake_count, 1);
}

static void asleep(void *user, const char *actor, hf_bytes state)
{
    if (user != last_awake || atomic_exchange(&here[number_of(actor)], 0) != 1)
        atomic_fetch_add(&wrong, 1);
    if (number_of(actor) == 1)
        copy_text(last_asleep, state);
    try_calls();
    atomic_fetch_add(&asleep_count, 1);
}

/* Runs only between the two. */
static int handle(hf_turn *turn, const hf_message *msg)
{
    if (atomic_load(&here[number_of(msg->to)]) != 1)
        atomic_fetch_add(&wrong, 1);
    if (strcmp(msg->kind, "slow") == 0)
        usleep(100000);
    if (strcmp(msg->kind, "forget") == 0)
        hf_forget(turn);
    else if (msg->body.len)
        hf_save(turn, msg->body);
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static int quiet(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

static hf_engine *open_as(const char *name, uint32_t idle_ms, uint32_t threads, uint32_t version)
{
    hf_type types[] = { { .name = "room", .handle = handle, .awake = awake, .asleep = asleep,
                          .user = last_awake, .idle_ms = idle_ms, .threads = threads,
                          .version = version },
                        { .name = "filler", .handle = quiet }, { 0 } };
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                                                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

static void push_out(hf_engine *e)
{
    static char body[8000];
    memset(body, 'x', sizeof body - 1);
    for (int i = 0; i < 40; i++)
        ring_ok(hf_tell(e, "filler/1", "x", hf_str(body)));
    ring_ok(hf_drain(e, 10000));
}

static void balanced(void)
{
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(atomic_load(&awake_count), atomic_load(&asleep_count));
    for (int i = 0; i < ACTORS; i++)
        assert_int_equal(atomic_load(&here[i]), 0);
}

static void come_and_go(const char *name, uint32_t threads)
{
    forget_all();
    hf_engine *e = open_as(name, HF_NEVER, threads, 0);
    ring_ok(hf_tell(e, "room/1", "", hf_str("first")));
    ring_ok(hf_tell(e, "room/1", "", hf_str("second")));
    ring_ok(hf_tell(e, "room/2", "", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&awake_count), 2);
    assert_int_equal(atomic_load(&asleep_count), 0);
    assert_string_equal(last_awake, "none");
    ring_ok(hf_close(e, 10000));
    balanced();
    assert_string_equal(last_asleep, "second");
    e = open_as(name, HF_NEVER, threads, 0);
    ring_ok(hf_tell(e, "room/1", "forget", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(last_awake, "second");
    ring_ok(hf_close(e, 10000));
    balanced();
    assert_string_equal(last_asleep, "none");
}

static void test_come_and_go(void **state)
{
    (void)state;
    come_and_go("go", 0);
    come_and_go("gopool", 2);
}

/* What a pool's last turn saved is what the hook is told, though the engine closes. */
static void test_close_after_last_turn(void **state)
{
    (void)state;
    for (int round = 0; round < 5; round++) {
        char name[20];
        (void)snprintf(name, sizeof name, "last%d", round);
        forget_all();
        hf_engine *e = open_as(name, HF_NEVER, 1, 0);
        ring_ok(hf_tell(e, "room/1", "", hf_str("before")));
        ring_ok(hf_drain(e, 10000));
        ring_ok(hf_tell(e, "room/1", "slow", hf_str("after")));
        usleep(30000);
        ring_ok(hf_close(e, 10000));
        balanced();
        assert_int_equal(atomic_load(&turns), 2);
        assert_string_equal(last_asleep, "after");
    }
}

static void test_idle(void **state)
{
    (void)state;
    forget_all();
    hf_engine *e = open_as("idle", 1, 0, 0);
    ring_ok(hf_tell(e, "room/1", "", hf_str("kept")));
    ring_ok(hf_drain(e, 10000));
    push_out(e);
    for (int i = 0; i < 100 && !atomic_load(&asleep_count); i++)
        usleep(100000);
    assert_int_equal(atomic_load(&asleep_count), 1);
    assert_string_equal(last_asleep, "kept");
    ring_ok(hf_tell(e, "room/1", "", hf_str("again")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&awake_count), 2);
    assert_string_equal(last_awake, "kept");
    ring_ok(hf_close(e, 10000));
    balanced();
}

/* More than memory is to hold. */
static void pressure(const char *name, uint32_t threads)
{
    static char big[2000];
    char address[32];
    forget_all();
    memset(big, 'b', sizeof big - 1);
    hf_engine *e = open_as(name, HF_NEVER, threads, 0);
    for (int i = 0; i < ACTORS * 3; i++) {
        (void)snprintf(address, sizeof address, "room/%d", i * 7 % ACTORS);
        ring_ok(hf_tell(e, address, "", hf_str(big)));
    }
    ring_ok(hf_drain(e, 30000));
    assert_true(atomic_load(&asleep_count) > ACTORS / 2);
    ring_ok(hf_close(e, 10000));
    balanced();
    assert_true(atomic_load(&awake_count) >= ACTORS);
    assert_int_equal(atomic_load(&turns), ACTORS * 3);
}

static void test_pressure(void **state)
{
    (void)state;
    pressure("press", 0);
    pressure("presspool", 2);
}

static void test_hooks_may_not_call(void **state)
{
    (void)state;
    forget_all();
    hf_engine *e = open_as("calls", 1, 0, 0);
    inside = e;
    ring_ok(hf_tell(e, "room/1", "", hf_str("x")));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_tell(e, "room/1", "", hf_str("y"))); /* the caller itself still may */
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&refused), 1);
    inside = NULL; /* it is about to go */
    ring_ok(hf_close(e, 10000));
    balanced();
}

/* A state of another version is nothing for hooks, either. */
static void test_other_version(void **state)
{
    (void)state;
    forget_all();
    hf_engine *e = open_as("form", HF_NEVER, 0, 2);
    ring_ok(hf_tell(e, "room/1", "", hf_str("form two")));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_close(e, 10000));
    assert_string_equal(last_asleep, "form two");
    for (uint32_t version = 1; version <= 3; version++) {
        e = open_as("form", HF_NEVER, 0, version);
        ring_ok(hf_pause(e, "room", NULL, NULL));
        ring_ok(hf_tell(e, "room/1", "", hf_str("")));
        for (int i = 0; i < 1000 && atomic_load(&awake_count) != (int)version + 1; i++)
            usleep(5000);
        assert_string_equal(last_awake, version == 2 ? "form two" : "none");
        ring_ok(hf_close(e, 10000));
        assert_string_equal(last_asleep, version == 2 ? "form two" : "none");
    }
    balanced();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_come_and_go),   cmocka_unit_test(test_close_after_last_turn),
        cmocka_unit_test(test_idle),          cmocka_unit_test(test_pressure),
        cmocka_unit_test(test_hooks_may_not_call), cmocka_unit_test(test_other_version),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
