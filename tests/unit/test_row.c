/* test_row.c - keys sort as they should; damaged or strayed values are known. */
#include "storage/row.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int order(const hf_key *a, const hf_key *b)
{
    int by = memcmp(a->bytes, b->bytes, a->len < b->len ? a->len : b->len);
    return by ? by : (a->len > b->len) - (a->len < b->len);
}

static void test_order(void **state)
{
    (void)state;
    hf_key a, b;
    hf_key_number(&a, 255);
    hf_key_number(&b, 256);
    assert_true(order(&a, &b) < 0);
    hf_key_place(&a, "t/1", 3, 9, 255);
    hf_key_place(&b, "t/1", 3, 9, UINT64_C(1) << 40);
    assert_true(order(&a, &b) < 0);
    hf_key_place(&a, "t/1", 3, 0x0fffffffffffffff, 1); /* by hash before the key's text */
    hf_key_place(&b, "t/0", 3, 0x1000000000000000, 1);
    assert_true(order(&a, &b) < 0);
    hf_key_place(&a, "order/9", 7, UINT64_MAX, 1); /* one type, then the next */
    hf_key_place(&b, "orders/1", 8, 0, 1);
    assert_true(order(&a, &b) < 0);
    hf_key_alarm(&a, 5, 900);
    hf_key_alarm(&b, 6, 1);
    assert_true(order(&a, &b) < 0);
    hf_key_number(&a, 7);
    hf_key_step(&b, 7, 0, 0);
    assert_true(order(&a, &b) < 0);
}

static void test_values(void **state)
{
    (void)state;
    hf_rowbuf buf = { 0 };
    hf_key key, other;
    hf_bytes payload;
    hf_key_number(&key, 5);
    hf_key_number(&other, 6);
    for (size_t len = 0; len < 40; len++) {
        assert_int_equal(hf_rowbuf_need(&buf, len + HF_ROW_EXTRA), HF_OK);
        memset(buf.bytes + 1, 'p', len);
        hf_bytes value = hf_row_seal(&buf, len, HF_IN_STATE, hf_key_bytes(&key));
        assert_int_equal(hf_row_open(HF_IN_STATE, hf_key_bytes(&key), value, &payload), HF_OK);
        assert_int_equal(payload.len, len);
        assert_ptr_equal(payload.data, buf.bytes + 1);
        assert_int_equal(hf_row_open(HF_IN_DEAD, hf_key_bytes(&key), value, &payload),
                         HF_ECORRUPT);
        assert_int_equal(hf_row_open(HF_IN_STATE, hf_key_bytes(&other), value, &payload),
                         HF_ECORRUPT);
        for (size_t cut = 0; cut < value.len; cut++)
            assert_int_equal(hf_row_open(HF_IN_STATE, hf_key_bytes(&key),
                                         hf_view(value.data, cut), &payload), HF_ECORRUPT);
        for (size_t bit = 0; bit < value.len * 8; bit++) {
            buf.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(hf_row_open(HF_IN_STATE, hf_key_bytes(&key), value, &payload),
                             HF_ECORRUPT);
            buf.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
    hf_rowbuf_done(&buf);
}

static void test_message(void **state)
{
    (void)state;
    hf_rowbuf buf = { 0 };
    hf_key key;
    hf_entry e = { .op = HF_OP_SEND, .to = "t/1", .to_len = 3, .name = "", .error = "",
                   .from = "", .data = hf_str("body") }, back;
    size_t size = hf_entry_size(&e);
    hf_key_place(&key, "t/1", 3, 0, 42);
    assert_int_equal(hf_rowbuf_need(&buf, 8 + size + HF_ROW_EXTRA + 16), HF_OK);
    hf_put64(buf.bytes + 1, 1234);
    hf_entry_encode(&e, buf.bytes + 9);
    hf_bytes value = hf_row_seal(&buf, 8 + size, HF_IN_INBOX, hf_key_bytes(&key));
    assert_int_equal(hf_row_message(HF_IN_INBOX, hf_key_bytes(&key), value, &back), HF_OK);
    assert_true(back.id == 42 && back.place == 42 && back.sent == 1234);
    assert_int_equal(back.data.len, 4);
    memset(buf.bytes + 9 + size, 0, 16); /* sound by its sum, but longer than the message */
    value = hf_row_seal(&buf, 8 + size + 16, HF_IN_INBOX, hf_key_bytes(&key));
    assert_int_equal(hf_row_message(HF_IN_INBOX, hf_key_bytes(&key), value, &back), HF_ECORRUPT);
    value = hf_row_seal(&buf, 7, HF_IN_INBOX, hf_key_bytes(&key));
    assert_int_equal(hf_row_message(HF_IN_INBOX, hf_key_bytes(&key), value, &back), HF_ECORRUPT);
    hf_rowbuf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_values),
                                        cmocka_unit_test(test_message) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
