/* test_alarms_overtaken.c - the fold takes what a turn said of its alarms before the shard has
 * read it, but not all of that commit: the shard goes on, and the alarms go off. */
#include "tests/support/ring.h"

#include "engine/alarms.h"
#include "engine/engine.h"

#include "storage/memory.h"

enum {
    WINDOW = 1 << 20,
    LETTERS = 4096,  /* a shard looks around after so many */
    FEW  = 700,      /* alarms: a shard with so many unread goes on, */
    MANY = 20000,    /* and with so many only reads */
    DUE_MS = 2500, STAND_MS = 1200, BODY = 2000,
};

static hf_engine *engine;
static char here[16], there[16]; /* on the first shard and on the other */
static atomic_int turns, came, stands;
static _Atomic uint64_t spills; /* of the first shard, so often was it overtaken */
static _Thread_local bool is_first;

static void set(hf_turn *turn, int count, uint64_t due_ms, hf_bytes body)
{
    for (int i = 0; i < count; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "an alarm among many others, %d", i);
        hf_set_alarm(turn, name, due_ms + (uint64_t)i % 10, body);
    }
    hf_send(turn, there, "last", hf_str("")); /* behind them in the log: it is not folded yet */
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    static const char body[BODY];
    if (strcmp(msg->to, here) == 0) {
        is_first = true;
        atomic_store(&spills, engine->shards[0].spills);
    }
    if (msg->cause == HF_ALARM)
        atomic_fetch_add(&came, 1);
    else if (strcmp(msg->kind, "few") == 0)
        set(turn, FEW, DUE_MS, hf_view(body, sizeof body));
    else if (strcmp(msg->kind, "many") == 0)
        set(turn, MANY, 3600000, hf_str(""));
    else if (strcmp(msg->kind, "stand") == 0)
        usleep(STAND_MS * 1000);
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static const hf_type types[] = { { .name = "a", .handle = handle }, { 0 } };

static void open_it(const char *name)
{
    ring_ok(hf_open(&engine, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                                                         .window = WINDOW)));
    for (int i = 0; i < 100; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "a/%d", i);
        bool first = hf_address_shard(hf_address_hash(engine->seed, to, strlen(to)), 2) == 0;
        memcpy(first ? here : there, to, sizeof to);
    }
    atomic_store(&turns, 0);
}

static void test_they_go_off(void **state)
{
    static hf_letter letters[LETTERS];
    (void)state;
    open_it("few");
    for (int i = 0; i < LETTERS; i++)
        letters[i] = (hf_letter){ .size = sizeof(hf_letter), .to = here,
                                  .kind = !i ? "few" : i == LETTERS - 1 ? "stand" : "k" };
    ring_ok(hf_mail(engine, letters, LETTERS, NULL));
    ring_until(&turns, LETTERS + 1);
    for (int i = 0; i < 100 && atomic_load(&came) < FEW; i++)
        usleep(100000);
    assert_int_equal(atomic_load(&came), FEW);
    assert_int_equal(atomic_load(&spills), 1); /* or this shows nothing */
    ring_ok(hf_drain(engine, 20000));
    ring_ok(hf_close(engine, 10000));
}

/* The first shard stands still as it begins to read its words. */
static int stand(void *user, size_t size)
{
    (void)user;
    (void)size;
    if (is_first && atomic_load(&engine->published) > MANY && atomic_exchange(&stands, 0))
        usleep(STAND_MS * 1000);
    return 0;
}

static void test_it_goes_on(void **state)
{
    (void)state;
    hf_mem_hook(stand, NULL);
    open_it("many");
    atomic_store(&stands, 1);
    ring_ok(hf_tell(engine, here, "many", hf_str("")));
    ring_until(&turns, 2);
    ring_ok(hf_tell(engine, here, "k", hf_str("")));
    ring_ok(hf_drain(engine, 20000));
    assert_int_equal(atomic_load(&spills), 1); /* or this shows nothing */
    assert_int_equal(atomic_load(&turns), 3);
    ring_ok(hf_close(engine, 10000));
    hf_mem_hook(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_they_go_off),
                                        cmocka_unit_test(test_it_goes_on) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
