/* test_address.c - which addresses there are, and their keys. */
#include "storage/address.h"
#include "storage/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static bool ok(const char *text)
{
    return hf_address_ok(text, strlen(text));
}

static void test_syntax(void **state)
{
    (void)state;
    static const char *const good[] = { "a/b", "order/42", "a-_9/x/y/z", "t/\xc3\xa4",
                                        "0123456789012345678901234567890/k",
                                        "t/\xf0\x9f\x98\x80", "t/ " };
    static const char *const bad[] = { "", "a", "a/", "/b", "A/b", "a b/c", "t/\x01", "t/\x7f",
                                       "t/\xc0\x80", "t/\xed\xa0\x80", "t/\xf4\x90\x80\x80",
                                       "t/\xc3", "t/\x80", "01234567890123456789012345678901/k",
                                       "t/\xe2\x82", "@topic/x" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!ok(good[i]))
            fail_msg("\"%s\" is an address", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (ok(bad[i]))
            fail_msg("\"%s\" is none", bad[i]);
    char longest[HF_ADDRESS_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[1] = '/';
    assert_true(hf_address_ok(longest, HF_ADDRESS_MAX));
    assert_false(hf_address_ok(longest, HF_ADDRESS_MAX + 1));
    assert_false(hf_address_ok("t/a\0b", 5));
}

/* One byte that is none, at any place of any length; and one character that is. */
static void test_each_place(void **state)
{
    (void)state;
    for (size_t len = 3; len < 60; len++)
        for (size_t at = 2; at < len; at++) {
            char text[64] = "t/";
            memset(text + 2, 'k', len - 2);
            assert_true(hf_address_ok(text, len));
            assert_true(hf_address_key_ok(text, 1, len));
            for (const char *bad = "\x01\x1f\x7f\x80\xc3\xff"; *bad; bad++) {
                text[at] = *bad;
                assert_false(hf_address_ok(text, len));
                assert_false(hf_address_key_ok(text, 1, len));
            }
            memcpy(text + at, "\xc3\xa9", 2);
            assert_int_equal(hf_address_ok(text, len), at + 1 < len);
        }
    assert_false(hf_address_key_ok("ab/k", 1, 4)); /* the type goes on */
    assert_false(hf_address_key_ok("t/", 1, 2));
    assert_false(hf_address_key_ok("t", 1, 1));
}

static void test_keys(void **state)
{
    (void)state;
    static const char *const texts[] = { "a/b", "order/42", "order/a/b/c", "t/\xc3\xa4" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        uint8_t key[HF_KEY_MAX];
        char text[HF_ADDRESS_MAX + 1];
        size_t len = strlen(texts[i]);
        uint64_t hash = hf_address_hash(5, texts[i], len), found;
        size_t size = hf_address_key(key, texts[i], len, hash);
        assert_int_equal(hf_address_of_key(text, key, size, &found), len);
        assert_string_equal(text, texts[i]);
        assert_true(found == hash);
        assert_true(hash != hf_address_hash(6, texts[i], len));
        for (size_t cut = 0; cut < hf_address_type_len(texts[i], len) + 10; cut++)
            assert_int_equal(hf_address_of_key(text, key, cut, NULL), 0);
    }
    uint8_t no_end[400];
    char text[HF_ADDRESS_MAX + 1];
    memset(no_end, 'x', sizeof no_end);
    assert_int_equal(hf_address_of_key(text, no_end, sizeof no_end, NULL), 0);
    no_end[1] = 0;
    assert_int_equal(hf_address_of_key(text, no_end, sizeof no_end, NULL), 0);
}

/* Shards are ranges of hashes: ascending, all used, the last hash in the last. */
static void test_shards(void **state)
{
    (void)state;
    for (uint32_t shards = 1; shards < 70; shards++) {
        uint32_t last = 0;
        assert_int_equal(hf_address_shard(0, shards), 0);
        assert_int_equal(hf_address_shard(UINT64_MAX, shards), shards - 1);
        for (uint64_t i = 0; i < 1000; i++) {
            uint32_t shard = hf_address_shard(UINT64_MAX / 1000 * i, shards);
            assert_true(shard == last || shard == last + 1);
            last = shard;
        }
    }
}

/* Each length goes its own way through the hash. */
static void test_seeds(void **state)
{
    static const char text[] = "a/\xc3\xa9\xff" "zyxwv";
    uint64_t seed = 0, found;
    (void)state;
    for (int round = 0; round < 2000; round++) {
        size_t len = 1 + (size_t)round % 8;
        uint64_t hash = hf_address_hash(seed, text, len);
        assert_true(hf_address_seed(hash, text, len, &found));
        assert_true(found == seed);
        assert_true(hf_address_seed(hash ^ 1, text, len, &found) == false || found != seed);
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    }
    assert_false(hf_address_seed(hf_address_hash(7, text, 9), text, 9, &found));
    assert_false(hf_address_seed(7, text, 0, &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_syntax), cmocka_unit_test(test_keys),
                                        cmocka_unit_test(test_each_place),
                                        cmocka_unit_test(test_shards),
                                        cmocka_unit_test(test_seeds) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
