/* test_survivors.c - what is left of some records, sorted as the tables are. */
#include "tests/support/core.h"
#include "tests/support/facts.h"

#include <stdio.h>

static facts f;

static size_t count(hf_table table)
{
    return f.survivors.table[table].count;
}

static void test_done_are_left_out(void **state)
{
    (void)state;
    hf_entry e = fact(HF_OP_SEND, "t/1");
    for (int i = 0; i < 10; i++)
        facts_add(&f, &e);
    hf_window_mark(&f.window, FACTS_FIRST + 2, 5);
    facts_collect(&f, 0);
    assert_int_equal(count(HF_IN_INBOX), 5);
    assert_int_equal(f.survivors.messages, 5);
    hf_survivors_done(&f.survivors);
    /* Where rows may be there already, they have to go. */
    facts_collect(&f, FACTS_FIRST + 4);
    assert_int_equal(count(HF_IN_INBOX), 7);
    assert_int_equal(f.survivors.messages, 5);
    facts_done(&f);
}

/* Rows of all actors come in the order of their keys, each run once. */
static void test_order(void **state)
{
    (void)state;
    static const char *const actors[] = { "zz/1", "order/2", "orders/1", "order/1", "a/b/c" };
    for (int i = 0; i < 60; i++) {
        hf_entry e = fact(i % 3 ? HF_OP_SEND : HF_OP_SAVE, actors[i * 7 % 5]);
        facts_add(&f, &e);
    }
    facts_collect(&f, 0);
    const hf_table tables[] = { HF_IN_INBOX, HF_IN_STATE };
    for (int t = 0; t < 2; t++) {
        hf_key last = { .len = 0 }, key;
        size_t runs = 0;
        for (size_t at = 0; at < count(tables[t]); runs++) {
            at = hf_survivors_run(&f.survivors, tables[t], at, &key);
            int order = memcmp(last.bytes, key.bytes, last.len < key.len ? last.len : key.len);
            assert_true(order < 0 || (order == 0 && last.len < key.len));
            last = key;
        }
        assert_int_equal(runs, t ? 5 : 40);
    }
    facts_done(&f);
}

/* Hashes that differ in their lower digits only, or not at all: the rest of the key decides,
 * and an actor's messages stand by place whatever came between. */
static void test_hashes_alike(void **state)
{
    (void)state;
    char to[32];
    for (unsigned i = 0; i < 900; i++) {
        unsigned who = i * 37 % 45;
        (void)snprintf(to, sizeof to, "%s/%u", who % 2 ? "t" : "tt", who);
        hf_entry e = fact(i % 9 == 4 ? HF_OP_ACK : HF_OP_SEND, to);
        e.hash = ((uint64_t)(who % 5) << 40) + (who % 15) / 5; /* three actors of each */
        e.id = e.place = FACTS_FIRST + (i % 9 == 4 ? i / 2 : 0);
        facts_add(&f, &e);
    }
    facts_collect(&f, 0);
    hf_key last = { .len = 0 }, key;
    for (size_t at = 0; at < count(HF_IN_INBOX);) {
        at = hf_survivors_run(&f.survivors, HF_IN_INBOX, at, &key);
        int order = memcmp(last.bytes, key.bytes, last.len < key.len ? last.len : key.len);
        assert_true(order < 0 || (order == 0 && last.len < key.len));
        last = key;
    }
    assert_int_equal(count(HF_IN_INBOX), 900);
    facts_done(&f);
}

static void step(uint64_t id, uint64_t generation, uint64_t number, uint32_t phase)
{
    hf_entry e = fact(HF_OP_STEP, "");
    e.id = id;
    e.generation = generation;
    e.place = number;
    e.phase = phase;
    facts_add(&f, &e);
}

static void test_steps_settle(void **state)
{
    (void)state;
    hf_entry purge = fact(HF_OP_PURGE, "t/1"), e;
    hf_key key;
    purge.id = 8;
    step(8, 0, 1, 1);
    step(8, 0, 2, 1);
    facts_add(&f, &purge);
    step(8, 0, 2, 2);
    step(9, 1, 1, 1);
    step(8, 0, 1, 3);
    step(9, 0, 5, 1);
    step(8, 0, 2, 4);
    facts_collect(&f, 0);
    static const struct { uint64_t id, generation, number; uint32_t phase; } want[] = {
        { 8, 0, 1, 3 }, { 8, 0, 2, 4 }, { 9, 0, 5, 1 }, { 9, 1, 1, 1 }
    };
    assert_int_equal(count(HF_IN_STEPS), 5);
    assert_int_equal(hf_survivors_run(&f.survivors, HF_IN_STEPS, 0, &key), 1);
    assert_int_equal(key.len, 8); /* the purge, before the steps that came after it */
    for (size_t i = 0; i < 4; i++) {
        hf_survivor_entry(&f.survivors, &f.survivors.table[HF_IN_STEPS].items[i + 1], &e);
        assert_true(e.id == want[i].id && e.generation == want[i].generation);
        assert_true(e.place == want[i].number && e.phase == want[i].phase);
    }
    facts_done(&f);
}

/* Without memory: HF_ENOMEM, nothing leaks, and the next time it works. */
static void test_no_memory(void **state)
{
    (void)state;
    int failed = 0, err = HF_ENOMEM;
    hf_entry e = fact(HF_OP_SEND, "t/1");
    for (int i = 0; i < 64; i++) {
        e.op = i % 2 ? HF_OP_SEND : HF_OP_RETRY;
        e.id = e.place = FACTS_FIRST + 63 - (uint64_t)i;
        facts_add(&f, &e);
    }
    for (int n = 0; err; n++) {
        int left = n;
        hf_mem_hook(core_fails_at, &left);
        err = hf_survivors_collect(&f.survivors, f.records, f.count, 0);
        hf_mem_hook(NULL, NULL);
        assert_true(err == HF_OK || err == HF_ENOMEM);
        failed += err != HF_OK;
    }
    assert_true(failed > 2);
    assert_int_equal(count(HF_IN_INBOX), 64);
    facts_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_done_are_left_out), cmocka_unit_test(test_order),
        cmocka_unit_test(test_hashes_alike), cmocka_unit_test(test_steps_settle),
        cmocka_unit_test(test_no_memory)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
