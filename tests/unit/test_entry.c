/* test_entry.c - entries to bytes and back; bytes that are no entries. */
#include "storage/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static hf_entry full_entry(uint8_t op)
{
    static const uint64_t times[] = { 1, 2, 3 };
    return (hf_entry){ .op = op, .flags = HF_ENTRY_STEPS, .to = "order/42", .to_len = 8,
                       .name = "place", .name_len = 5, .hash = 0x1122334455667788,
                       .data = hf_str("the body"), .id = 1, .place = 2, .due = 3, .sent = 4,
                       .died = 5, .generation = 6, .attempt = 7, .phase = 8, .err = -9,
                       .cause = 10, .reason = UINT32_MAX, .error = "no", .error_len = 2,
                       .from = "t/1", .from_len = 3, .times = hf_view(times, sizeof times),
                       .parent = 11, .took = 12, .notes = hf_str("some notes") };
}

static void same_bytes(hf_bytes a, hf_bytes b)
{
    assert_int_equal(a.len, b.len);
    if (a.len)
        assert_memory_equal(a.data, b.data, a.len);
}

static void same(const hf_entry *a, const hf_entry *b)
{
    assert_int_equal(a->op, b->op);
    assert_int_equal(a->flags & ~HF_ENTRY_EXTRA, b->flags & ~HF_ENTRY_EXTRA);
    assert_int_equal(a->to_len, b->to_len);
    assert_string_equal(a->to, b->to);
    assert_int_equal(a->name_len, b->name_len);
    assert_string_equal(a->name, b->name);
    assert_true(a->hash == b->hash && a->id == b->id && a->place == b->place);
    assert_true(a->due == b->due && a->sent == b->sent && a->died == b->died);
    assert_true(a->generation == b->generation && a->attempt == b->attempt);
    assert_true(a->phase == b->phase && a->err == b->err && a->cause == b->cause);
    assert_true(a->reason == b->reason && a->count == b->count);
    assert_int_equal(a->error_len, b->error_len);
    assert_string_equal(a->error, b->error);
    assert_int_equal(a->from_len, b->from_len);
    assert_string_equal(a->from, b->from);
    same_bytes(a->data, b->data);
    same_bytes(a->times, b->times);
    assert_true(a->parent == b->parent && a->took == b->took);
    same_bytes(a->notes, b->notes);
}

/* In memory of exactly this size, so that a sanitizer sees a step too far. */
static size_t decode_exactly(const uint8_t *bytes, size_t size, hf_entry *e)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, bytes, size);
    size_t used = hf_entry_decode(copy, size, e), simple = hf_entry_simple(copy, size);
    assert_true(used <= size);
    assert_int_equal(hf_entry_plain(copy, size), simple && hf_entry_waits(e) ? simple : 0);
    if (simple) { /* a short cut to the same */
        assert_int_equal(simple, used);
        assert_ptr_equal(hf_entry_plain_to(copy), e->to);
        assert_true((hf_entry_waits(e) || e->op == HF_OP_SAVE) && !e->dedupe_len && !e->version);
    }
    if (used) {
        assert_int_equal(strlen(e->to) > e->to_len, 0);
        assert_true(e->data.len <= size && e->error_len <= size && e->from_len <= size);
    }
    free(copy);
    return used;
}

static void test_round_trip(void **state)
{
    (void)state;
    for (uint8_t op = HF_OP_SEND; op < HF_OPS; op++)
        for (size_t len = 0; len < 40; len++) {
            uint8_t bytes[512];
            char body[40];
            hf_entry e = full_entry(op), back;
            memset(body, 'b', sizeof body);
            e.data = hf_view(body, len);
            if (op == HF_OP_DONE)
                e = (hf_entry){ .op = op, .hash = 77, .count = (uint32_t)len + 1, .to = "",
                                .name = "", .error = "", .from = "" };
            else if (len % 2)
                e = (hf_entry){ .op = op, .to = "a/b", .to_len = 3, .data = e.data, .name = "",
                                .error = "", .from = "" };
            memset(bytes, 0xee, sizeof bytes);
            size_t size = hf_entry_size(&e);
            assert_int_equal(size % 16, 0);
            assert_int_equal(hf_entry_encode(&e, bytes), size);
            assert_int_equal(bytes[size], 0xee);
            assert_int_equal(hf_entry_decode(bytes, sizeof bytes, &back), size);
            same(&e, &back);
            for (size_t cut = 0; cut < size; cut++)
                assert_int_equal(decode_exactly(bytes, cut, &back), 0);
        }
}

/* Whatever stands in a byte, decoding stays inside. */
static void test_hostile_bytes(void **state)
{
    (void)state;
    uint8_t bytes[512];
    hf_entry e = full_entry(HF_OP_SEND), back;
    size_t size = hf_entry_encode(&e, bytes), refused = 0;
    for (size_t i = 0; i < size; i++)
        for (unsigned value = 0; value < 256; value++) {
            uint8_t was = bytes[i];
            bytes[i] = (uint8_t)value;
            refused += decode_exactly(bytes, size, &back) == 0;
            bytes[i] = was;
        }
    assert_true(refused > 1000);
    for (uint32_t len = UINT32_MAX; len > UINT32_MAX - 300; len--) {
        hf_put32(bytes + 4, len); /* sums that could wrap */
        assert_int_equal(decode_exactly(bytes, size, &back), 0);
    }
    assert_int_equal(hf_entry_decode((const uint8_t[16]){ HF_OPS }, 16, &back), 0);
    assert_int_equal(hf_entry_decode((const uint8_t[16]){ 0 }, 16, &back), 0);
}

/* Most messages need not be decoded to be counted; a damaged one must be. */
static void test_plain_entries(void **state)
{
    (void)state;
    uint8_t bytes[512] = { 0 };
    hf_entry back;
    for (unsigned i = 0; i < 4; i++) {
        bool named = i & 1, image = i & 2;
        hf_entry e = { .op = image ? HF_OP_SAVE : HF_OP_SEND, .to = "a/b", .to_len = 3,
                       .name = named ? "kind" : "", .name_len = named ? 4 : 0, .error = "",
                       .from = "" };
        e.data = hf_view("body", 4);
        size_t size = hf_entry_encode(&e, bytes), refused = 0;
        assert_int_equal(hf_entry_simple(bytes, size), size);
        assert_int_equal(hf_entry_plain(bytes, size), image ? 0 : size);
        for (size_t at = 0; at < size; at++)
            for (unsigned value = 0; value < 256; value++) {
                uint8_t was = bytes[at];
                bytes[at] = (uint8_t)value;
                refused += decode_exactly(bytes, size, &back) == 0;
                bytes[at] = was;
            }
        assert_true(refused > 1000);
    }
}

/* The short cut writes the same, whatever its lengths. */
static void test_plain_writes(void **state)
{
    (void)state;
    char to[40], name[40], body[40];
    memset(to, 'a', sizeof to);
    memset(name, 'n', sizeof name);
    memset(body, 'b', sizeof body);
    for (uint32_t i = 0; i < 35 * 35 * 35; i++) {
        uint8_t bytes[256], same[256];
        uint8_t to_len = (uint8_t)(1 + i % 35), name_len = (uint8_t)(i / 35 % 35);
        hf_bytes data = i / 1225 % 35 ? hf_view(body, i / 1225 % 35) : hf_view(NULL, 0);
        hf_plain p = { .to = to, .to_len = to_len, .name = name, .name_len = name_len,
                       .data = data, .hash = i };
        hf_entry e = { .op = HF_OP_SEND, .to = to, .to_len = to_len, .name = name,
                       .name_len = name_len, .data = data, .hash = i, .error = "", .from = "" };
        memset(bytes, 0xee, sizeof bytes);
        memset(same, 0xee, sizeof same);
        size_t size = hf_plain_size(&p);
        assert_int_equal(size, hf_entry_size(&e));
        assert_int_equal(hf_plain_encode(&p, bytes), size);
        assert_int_equal(hf_entry_encode(&e, same), size);
        assert_memory_equal(bytes, same, sizeof bytes);
        assert_int_equal(hf_entry_plain(bytes, size), size);
    }
}

static const size_t ALONE_64[] = {
    offsetof(hf_entry, id), offsetof(hf_entry, place), offsetof(hf_entry, due),
    offsetof(hf_entry, sent), offsetof(hf_entry, died), offsetof(hf_entry, generation),
    offsetof(hf_entry, expires), offsetof(hf_entry, about), offsetof(hf_entry, ask),
    offsetof(hf_entry, join), offsetof(hf_entry, parent), offsetof(hf_entry, took),
};
static const size_t ALONE_32[] = {
    offsetof(hf_entry, attempt), offsetof(hf_entry, phase), offsetof(hf_entry, err),
    offsetof(hf_entry, cause), offsetof(hf_entry, reason), offsetof(hf_entry, urgency),
    offsetof(hf_entry, back), offsetof(hf_entry, replaced), offsetof(hf_entry, version),
};

static void there_and_back(const hf_entry *e, hf_entry *back)
{
    static uint8_t bytes[512];
    size_t size = hf_entry_encode(e, bytes);
    assert_int_equal(hf_entry_size(e), size);
    assert_int_equal(hf_entry_decode(bytes, size, back), size);
}

/* None of the rarer fields is passed over for being the only one. */
static void test_alone(void **state)
{
    (void)state;
    const hf_entry none = { .op = HF_OP_SEND, .to = "a/b", .to_len = 3, .name = "", .error = "",
                            .from = "", .answer = "", .dedupe = "" };
    hf_entry back;
    for (size_t i = 0; i < sizeof ALONE_64 / sizeof *ALONE_64; i++) {
        const uint64_t value = UINT64_C(1) << (i * 5);
        hf_entry e = none;
        memcpy((char *)&e + ALONE_64[i], &value, sizeof value);
        there_and_back(&e, &back);
        assert_memory_equal((char *)&back + ALONE_64[i], &value, sizeof value);
    }
    for (size_t i = 0; i < sizeof ALONE_32 / sizeof *ALONE_32; i++) {
        const uint32_t value = 1 + (uint32_t)i % 8;
        hf_entry e = none;
        memcpy((char *)&e + ALONE_32[i], &value, sizeof value);
        there_and_back(&e, &back);
        assert_memory_equal((char *)&back + ALONE_32[i], &value, sizeof value);
    }
    hf_entry e = none;
    e.first = hf_str(""); /* edited, and its first body was empty */
    there_and_back(&e, &back);
    assert_true(back.first.data != NULL && back.first.len == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip),
                                        cmocka_unit_test(test_hostile_bytes),
                                        cmocka_unit_test(test_plain_entries),
                                        cmocka_unit_test(test_plain_writes),
                                        cmocka_unit_test(test_alone) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
