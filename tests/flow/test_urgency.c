/* test_urgency.c - who is urgent is served sooner: on a shard, also from far back in the
 * log, and in a pool's queue. Never before what its own actor has to do first; and nobody
 * waits for ever. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"
#include "storage/clock.h"

#include <pthread.h>
#include <string.h>

static struct seen {
    atomic_int  turns, go, blocked, flood;
    atomic_int  place[8];       /* of the marked ones: kind "0" .. "7" */
    atomic_int  urgency[8];
    atomic_int  wrong;          /* out of order */
    uint32_t    last[1024];     /* by actor: number of its newest message; one at a time */
    uint32_t    slow_us;
} seen;

static void forget_all(void)
{
    memset(&seen, 0, sizeof seen);
}

static int work(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (strcmp(msg->kind, "block") == 0) {
        atomic_store(&seen.blocked, 1);
        while (!atomic_load(&seen.go))
            usleep(200);
        return HF_OK;
    }
    int place = atomic_fetch_add(&seen.turns, 1);
    uint32_t actor = (uint32_t)strtoul(strchr(msg->to, '/') + 1, NULL, 10), number = 0;
    if (msg->kind[0] >= '0' && msg->kind[0] <= '7') {
        atomic_store(&seen.place[msg->kind[0] - '0'], place + 1);
        atomic_store(&seen.urgency[msg->kind[0] - '0'], (int)msg->urgency);
    }
    memcpy(&number, msg->body.data, sizeof number);
    if (number <= seen.last[actor])
        atomic_fetch_add(&seen.wrong, 1);
    seen.last[actor] = number;
    if (seen.slow_us)
        usleep(seen.slow_us);
    return HF_OK;
}

static uint32_t numbers;

static void send(hf_engine *e, const char *type, int actor, const char *kind, uint32_t urgency)
{
    char to[32];
    uint32_t number = ++numbers;
    hf_letter letter = { .size = sizeof letter, .to = to, .kind = kind, .urgency = urgency,
                         .body = hf_view(&number, sizeof number) };
    (void)snprintf(to, sizeof to, "%s/%d", type, actor);
    int err;
    while ((err = hf_post(e, &letter, 1, NULL, NULL)) == HF_EAGAIN)
        ring_ok(hf_sync(e, HF_NEVER));
    ring_ok(err);
}

static hf_engine *open_with(const char *name, const hf_type *types)
{
    hf_engine *e = NULL;
    forget_all();
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 1,
                    .window = 128 << 20, .store_max = 1 << 30)));
    return e;
}

static void block(hf_engine *e, const char *type)
{
    send(e, type, 1000, "block", 0);
    ring_until(&seen.blocked, 1);
}

static void finish(hf_engine *e)
{
    ring_ok(hf_drain(e, 60000));
    assert_int_equal(atomic_load(&seen.wrong), 0);
    ring_ok(hf_close(e, HF_NEVER));
}

static const hf_type both[] = { { .name = "s", .handle = work },
                                { .name = "p", .handle = work, .threads = 1 }, { 0 } };

static void test_arguments(void **state)
{
    (void)state;
    hf_engine *e = open_with("arguments", both);
    uint32_t number = 1;
    ring_err(hf_mail(e, HF_LETTER(.to = "s/1", .urgency = 10), 1, NULL), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), ".urgency"));
    ring_ok(hf_mail(e, HF_LETTER(.to = "s/1", .kind = "0", .urgency = 9,
                                 .body = hf_view(&number, 4)), 1, NULL));
    ring_ok(hf_mail(e, HF_LETTER(.to = "p/2", .kind = "1", .urgency = 1,
                                 .body = hf_view(&number, 4)), 1, NULL));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen.urgency[0]), 9);
    assert_int_equal(atomic_load(&seen.urgency[1]), 1);
    finish(e);
}

/* While the shard is busy a backlog builds up in its log; the urgent come at its end. */
static void test_out_of_the_log(void **state)
{
    enum { PLAIN = 20000 };
    (void)state;
    hf_engine *e = open_with("log", both);
    block(e, "s");
    for (int i = 0; i < PLAIN; i++)
        send(e, "s", i % 500, "", 0);
    send(e, "s", 600, "0", 3);
    send(e, "s", 601, "1", 9);
    send(e, "s", 7, "2", 5); /* one of many: those before it come sooner, too */
    send(e, "s", 602, "3", 0);
    ring_ok(hf_sync(e, 30000));
    atomic_store(&seen.go, 1);
    ring_ok(hf_drain(e, 60000));
    assert_int_equal(atomic_load(&seen.place[1]), 1);
    assert_true(atomic_load(&seen.place[2]) <= 1 + PLAIN / 500 + 1);
    assert_true(atomic_load(&seen.place[0]) <= 1 + PLAIN / 500 + 2);
    assert_true(atomic_load(&seen.place[3]) > atomic_load(&seen.place[0]));
    assert_int_equal(atomic_load(&seen.turns), PLAIN + 4);
    finish(e);
}

/* Memory is bounded: so many letters are taken ahead, then some run first. */
static void test_far_back(void **state)
{
    enum { PLAIN = 150000 };
    (void)state;
    hf_engine *e = open_with("far", both);
    block(e, "s");
    for (int i = 0; i < PLAIN; i++)
        send(e, "s", i % 500, "", 0);
    send(e, "s", 600, "0", 9);
    ring_ok(hf_sync(e, 60000));
    atomic_store(&seen.go, 1);
    ring_ok(hf_drain(e, 60000));
    assert_true(atomic_load(&seen.place[0]) > 1000);
    assert_true(atomic_load(&seen.place[0]) <= PLAIN - (16 << 10));
    assert_int_equal(atomic_load(&seen.turns), PLAIN + 1);
    finish(e);
}

static void test_pool(void **state)
{
    (void)state;
    hf_engine *e = open_with("pool", both);
    block(e, "p");
    for (int i = 0; i < 400; i++)
        send(e, "p", i, "", 0);
    send(e, "p", 600, "0", 3);
    send(e, "p", 601, "1", 9);
    send(e, "p", 399, "2", 9); /* its first stands in the queue already: it is raised */
    ring_ok(hf_sync(e, 30000));
    usleep(100000); /* the shard has taken them out of the log */
    seen.slow_us = 1000;
    atomic_store(&seen.go, 1);
    ring_ok(hf_drain(e, 60000));
    assert_true(atomic_load(&seen.place[1]) <= 2);
    assert_true(atomic_load(&seen.place[0]) <= 100); /* a few run while 399's first commits */
    assert_true(atomic_load(&seen.place[2]) <= 100);
    assert_int_equal(atomic_load(&seen.turns), 403);
    finish(e);
}

/* ---- Nobody waits for ever */

static int flood(hf_turn *turn, const hf_message *msg)
{
    atomic_fetch_add(&seen.flood, 1);
    usleep(2000);
    if (atomic_load(&seen.go))
        hf_send_letter(turn, HF_LETTER(.to = msg->to, .urgency = 2));
    return HF_OK;
}

static int be_patient(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "flood") == 0)
        return flood(turn, msg);
    if (!*msg->kind && msg->urgency)
        return flood(turn, msg);
    atomic_fetch_add(&seen.turns, 1);
    return HF_OK;
}

static void starve(const char *name, uint32_t threads)
{
    const hf_type types[] = { { .name = "a", .handle = be_patient, .threads = threads }, { 0 } };
    hf_engine *e = open_with(name, types);
    atomic_store(&seen.go, 1);
    for (int i = 0; i < 60; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "a/%d", i);
        ring_ok(hf_mail(e, HF_LETTER(.to = to, .kind = "flood", .urgency = 2), 1, NULL));
    }
    usleep(200000);
    uint64_t start = hf_clock_mono_ns();
    for (int i = 100; i < 105; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "a/%d", i);
        ring_ok(hf_mail(e, HF_LETTER(.to = to, .kind = "plain"), 1, NULL));
    }
    for (int i = 0; i < 15000 && atomic_load(&seen.turns) < 5; i++)
        usleep(1000);
    uint64_t waited_ms = (hf_clock_mono_ns() - start) / 1000000;
    atomic_store(&seen.go, 0);
    assert_int_equal(atomic_load(&seen.turns), 5);
    assert_true(waited_ms < 8000); /* two steps, and turns as they come */
    ring_ok(hf_drain(e, 30000));
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_ageing(void **state)
{
    (void)state;
    starve("age-pool", 1);
    starve("age-shard", 0);
}

/* ---- And the next run knows it, too */

static int see_urgency(void *user, const hf_message *msg)
{
    *(uint32_t *)user = msg->urgency;
    return HF_OK;
}

static void test_reopen(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        const char *type = i ? "p" : "s", *name = i ? "reopen-pool" : "reopen-shard";
        hf_engine *e = open_with(name, both);
        ring_ok(hf_pause(e, type, NULL, NULL));
        for (int n = 0; n < 100; n++)
            send(e, type, n % 10, "", 0);
        send(e, type, 5, "0", 7);
        send(e, type, 20, "1", 8);
        ring_ok(hf_sync(e, 10000));
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(name, both);
        uint32_t urgency = 0;
        hf_store *store;
        ring_ok(hf_store_open(&store, ring_path(name), 5000));
        ring_ok(hf_find(store, "kind = 0", see_urgency, &urgency));
        hf_store_close(store);
        assert_int_equal(urgency, 7);
        ring_ok(hf_resume(e, type));
        ring_ok(hf_drain(e, 30000));
        assert_int_equal(atomic_load(&seen.turns), 102);
        assert_int_equal(atomic_load(&seen.urgency[0]), 7);
        assert_int_equal(atomic_load(&seen.urgency[1]), 8);
        finish(e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_out_of_the_log),
        cmocka_unit_test(test_far_back), cmocka_unit_test(test_pool),
        cmocka_unit_test(test_ageing), cmocka_unit_test(test_reopen),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
