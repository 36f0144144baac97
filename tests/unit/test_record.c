/* test_record.c - a record is believed only if every bit of it is right. */
#include "storage/entry.h"
#include "storage/record.h"
#include "storage/sum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEY = 4711, ENTRIES = 3 };

static size_t make(uint8_t *bytes)
{
    hf_run runs[2] = { { HF_FACTS, 1, 16, 2 }, { 1, 2, 0, 2 } };
    size_t at = hf_record_entries_at(2);
    for (int i = 0; i < ENTRIES; i++) {
        hf_entry e = { .op = i ? HF_OP_SEND : HF_OP_DONE, .to = i ? "a/b" : "",
                       .to_len = i ? 3 : 0, .name = "", .error = "", .from = "", .count = 1 };
        size_t size = hf_entry_encode(&e, bytes + at);
        runs[1].bytes += i ? (uint32_t)size : 0;
        at += size;
    }
    hf_record_head head = { HF_RECORD_LAST, ENTRIES, (uint32_t)at, 2, 99, KEY - 1, 0, -7 };
    hf_record_seal(bytes, &head, runs, KEY);
    return at;
}

static void test_round_trip(void **state)
{
    (void)state;
    uint8_t bytes[512];
    hf_record_head head;
    size_t size = make(bytes);
    assert_int_equal(hf_record_check(bytes, size, KEY, &head), HF_OK);
    assert_true(head.flags == HF_RECORD_LAST && head.count == ENTRIES && head.size == size);
    assert_true(head.runs == 2 && head.time_ms == 99 && head.group == KEY - 1);
    assert_true(head.skew_ms == -7);
    hf_run run = hf_record_run(bytes, 0);
    assert_true(run.shard == HF_FACTS && run.count == 1 && run.bytes == 16 && run.shards == 2);
    run = hf_record_run(bytes, 1);
    assert_true(run.shard == 1 && run.count == 2 && run.shards == 2);
}

static void test_damage(void **state)
{
    (void)state;
    uint8_t bytes[512];
    hf_record_head head;
    size_t size = make(bytes);
    assert_int_equal(hf_record_check(bytes, size, KEY + 1, &head), HF_ECORRUPT);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, bytes, cut);
        assert_int_equal(hf_record_check(copy, cut, KEY, &head), HF_ECORRUPT);
        free(copy);
    }
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(hf_record_check(bytes, size, KEY, &head),
                         bit / 8 == 3 ? HF_EVERSION : HF_ECORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(hf_record_check(bytes, size, KEY, &head), HF_OK);
}

/* The checksum is right and the sums are not: as a careless writer would leave it. */
static void test_runs_that_lie(void **state)
{
    (void)state;
    uint8_t bytes[512];
    size_t size = make(bytes);
    hf_record_head head = { 0, ENTRIES, (uint32_t)size, 2, 0, KEY, 0, 0 }, found;
    hf_run runs[2] = { { 0, 1, 16, 1 }, { 1, 1, 16, 1 } };
    hf_record_seal(bytes, &head, runs, KEY);
    assert_int_equal(hf_record_check(bytes, size, KEY, &found), HF_ECORRUPT);
    runs[1] = (hf_run){ 1, 2, UINT32_MAX, 1 };
    hf_record_seal(bytes, &head, runs, KEY);
    assert_int_equal(hf_record_check(bytes, size, KEY, &found), HF_ECORRUPT);
    make(bytes);
    head = (hf_record_head){ 0, 0, HF_RECORD_HEAD, 0, 0, KEY, 0, 0 };
    hf_record_seal(bytes, &head, runs, KEY);
    hf_put32(bytes + 32, UINT32_MAX); /* runs beyond the record */
    assert_int_equal(hf_record_check(bytes, HF_RECORD_HEAD, KEY, &found), HF_ECORRUPT);
}

/* Whatever vector unit it takes, it is the same number. */
static void test_sum(void **state)
{
    (void)state;
    static uint8_t bytes[5000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + i / 251);
    for (size_t len = 0; len < sizeof bytes; len++)
        assert_true(hf_sum(bytes, len, len * 7) == XXH3_64bits_withSeed(bytes, len, len * 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip),
                                        cmocka_unit_test(test_damage),
                                        cmocka_unit_test(test_runs_that_lie),
                                        cmocka_unit_test(test_sum) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
