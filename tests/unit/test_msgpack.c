/* test_msgpack.c - msgpack from strangers: what is whole is read exactly as
 * msgpack-c reads it, what is not is refused before anything is allocated.
 *
 * The turn here is this file's own hf_alloc, so no engine runs and a test can
 * let the nth allocation fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/holdfast_msgpack.h"
#include "storage/msgpack_scan.h"

/* ---- A turn that is only memory */
struct memory {
    void  *pieces[64];
    size_t count, bytes;
    size_t fail_at; /* this allocation and all after it fail; 0: none */
    int    failed;
};

void *hf_alloc(hf_turn *turn, size_t size)
{
    struct memory *memory = (struct memory *)(void *)turn;

    assert_true(memory->count < 64);
    if (memory->fail_at && memory->count + 1 >= memory->fail_at) {
        memory->failed = 1;
        return NULL;
    }
    memory->bytes += size;
    return memory->pieces[memory->count++] = malloc(size);
}

static hf_turn *turn_of(struct memory *memory)
{
    return (hf_turn *)(void *)memory;
}

static void forget(struct memory *memory)
{
    while (memory->count)
        free(memory->pieces[--memory->count]);
    memory->bytes = 0;
}

/* ---- The same value as msgpack-c sees it */

/* 1: whole value, read alike; 0: both refuse; fails if they disagree. */
static int read_alike(const void *data, size_t len)
{
    struct memory memory = { .count = 0 };
    msgpack_unpacked theirs;
    msgpack_object ours;
    size_t end = 0;

    /* A copy of exactly this size, so that a sanitizer sees every overrun. */
    char *copy = malloc(len ? len : 1);
    memcpy(copy, data, len);
    msgpack_unpacked_init(&theirs);
    int whole = msgpack_unpack_next(&theirs, copy, len, &end) == MSGPACK_UNPACK_SUCCESS
        && end == len;
    int err = hf_unpack(turn_of(&memory), hf_view(copy, len), &ours);
    assert_int_equal(err, whole ? HF_OK : HF_EINVAL);
    if (whole)
        assert_true(msgpack_object_equal(ours, theirs.data));
    else
        assert_int_equal(memory.count, 0);
    msgpack_unpacked_destroy(&theirs);
    forget(&memory);
    free(copy);
    return whole;
}

static void pack_one_of_each(msgpack_packer *packer)
{
    static const int64_t numbers[] = { 0, 1, 127, 128, 255, 256, 65535, 65536, UINT32_MAX,
        (int64_t)UINT32_MAX + 1, INT64_MAX, -1, -32, -33, -128, -129, -32768, -32769, INT32_MIN,
        (int64_t)INT32_MIN - 1, INT64_MIN };
    static const size_t lengths[] = { 0, 1, 2, 4, 8, 16, 31, 32, 255, 256, 65535, 65536 };
    static char bytes[65536];
    const size_t count = sizeof numbers / sizeof *numbers;
    const size_t texts = sizeof lengths / sizeof *lengths;

    msgpack_pack_array(packer, 6 + count + 3 * texts);
    msgpack_pack_nil(packer);
    msgpack_pack_true(packer);
    msgpack_pack_false(packer);
    msgpack_pack_uint64(packer, UINT64_MAX);
    msgpack_pack_float(packer, 1.5f);
    msgpack_pack_double(packer, -2.25e300);
    for (size_t i = 0; i < count; i++)
        msgpack_pack_int64(packer, numbers[i]);
    for (size_t i = 0; i < texts; i++) {
        memset(bytes, 'a' + (int)i, lengths[i]);
        msgpack_pack_str(packer, lengths[i]);
        msgpack_pack_str_body(packer, bytes, lengths[i]);
        msgpack_pack_bin(packer, lengths[i]);
        msgpack_pack_bin_body(packer, bytes, lengths[i]);
        msgpack_pack_ext(packer, lengths[i], (int8_t)-3);
        msgpack_pack_ext_body(packer, bytes, lengths[i]);
    }
}

static void every_kind_is_read_as_msgpack_c_does(void **state)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;

    (void)state;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    pack_one_of_each(&packer);
    assert_true(read_alike(buffer.data, buffer.size));
    msgpack_sbuffer_destroy(&buffer);

    /* Widths that an encoder would not choose are legal all the same. */
    assert_true(read_alike("\xd3\0\0\0\0\0\0\0\x05", 9));
    assert_true(read_alike("\xd0\x05", 2));
    assert_true(read_alike("\xdd\0\0\0\1\xde\0\1\xa1k\xdf\0\0\0\0", 15));
}

static void short_bodies_are_judged_as_msgpack_c_does(void **state)
{
    static const uint8_t some[] = { 0x00, 0x01, 0x02, 0x80, 0x81, 0x91, 0x92, 0xa1, 0xc0, 0xc1,
        0xc4, 0xcc, 0xd0, 0xd9, 0xff };
    const size_t n = sizeof some;
    int whole = 0;

    (void)state;
    assert_false(read_alike("", 0));
    for (int a = 0; a < 256; a++) {
        uint8_t body[4] = { (uint8_t)a };
        whole += read_alike(body, 1);
        for (int b = 0; b < 256; b++) {
            body[1] = (uint8_t)b;
            whole += read_alike(body, 2);
        }
        for (size_t i = 0; i < n * n * n; i++) {
            body[1] = some[i % n];
            body[2] = some[i / n % n];
            body[3] = some[i / n / n];
            if (a >= 0xdc && a <= 0xdf && body[1] > 1)
                continue; /* msgpack-c would allocate what it is told */
            whole += read_alike(body, 3 + i % 2);
        }
    }
    assert_true(whole > 1000);
}

static void a_value_cut_short_or_with_a_tail_is_refused(void **state)
{
    struct memory memory = { .count = 0 };
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    hf_msgpack_shape shape;
    msgpack_object value;

    (void)state;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    pack_one_of_each(&packer);
    for (size_t len = 0; len < buffer.size; len += len < 1024 ? 1 : 97) {
        char *copy = malloc(len + 1);
        memcpy(copy, buffer.data, len);
        assert_int_equal(hf_msgpack_scan(hf_view(copy, len), &shape), HF_EINVAL);
        free(copy);
    }
    assert_int_equal(hf_msgpack_scan(hf_view(buffer.data, buffer.size), &shape), HF_OK);
    msgpack_pack_nil(&packer);
    assert_int_equal(hf_unpack(turn_of(&memory), hf_view(buffer.data, buffer.size), &value),
                     HF_EINVAL);
    assert_non_null(strstr(hf_detail(), "value ends at byte"));
    assert_int_equal(memory.count, 0);
    msgpack_sbuffer_destroy(&buffer);
}

static void claimed_lengths_are_not_believed(void **state)
{
    static const hf_bytes hostile[] = {
        { "\xdd\xff\xff\xff\xff", 5 },     { "\xdf\xff\xff\xff\xff", 5 },
        { "\xdf\x80\x00\x00\x00\xc0", 6 }, { "\xdb\xff\xff\xff\xff", 5 },
        { "\xc6\xff\xff\xff\xff", 5 },     { "\xc9\xff\xff\xff\xff\x01", 6 },
        { "\xdc\xff\xff\xc0", 4 },         { "\xde\x00\x01\xc0", 4 },
        { "\xc7\x01", 2 },                 { "\xd8\x01", 2 },
        { "\x91\xdd\xff\xff\xff\xff", 6 }, { "\xc1", 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct memory memory = { .count = 0 };
        msgpack_object value;
        assert_int_equal(hf_unpack(turn_of(&memory), hostile[i], &value), HF_EINVAL);
        assert_int_equal(memory.count, 0);
    }
}

static void depth_ends_at_32(void **state)
{
    char body[64];
    hf_msgpack_shape shape;

    (void)state;
    memset(body, '\x91', sizeof body);
    body[HF_MSGPACK_DEPTH] = '\xc0';
    assert_int_equal(hf_msgpack_scan(hf_view(body, HF_MSGPACK_DEPTH + 1), &shape), HF_OK);
    assert_int_equal(shape.elements, HF_MSGPACK_DEPTH);
    body[HF_MSGPACK_DEPTH] = '\x91';
    body[HF_MSGPACK_DEPTH + 1] = '\xc0';
    assert_int_equal(hf_msgpack_scan(hf_view(body, HF_MSGPACK_DEPTH + 2), &shape), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), "deeper than 32"));
    memset(body, '\x90', sizeof body); /* an empty one is a level too */
    memset(body, '\x91', HF_MSGPACK_DEPTH);
    assert_int_equal(hf_msgpack_scan(hf_view(body, HF_MSGPACK_DEPTH + 1), &shape), HF_EINVAL);
}

/* Bytes of a valid value, changed at random: judged without reading beyond
 * their end (run this under the address sanitizer), and never with more
 * elements than bytes. */
static void damaged_values_do_no_harm(void **state)
{
    static const char seedling[] = "\x84\xa5items\x92\x82\xa2id\xa6IT-001\xa3qty\x01\x82\xa2id"
                                   "\xa6IT-002\xa3qty\xcd\x01\x00\xa5promo\xc0\xa1""f\xcb@\x09!"
                                   "\xfbTD-\x18\xa1x\xd6\x01""abcd";
    const size_t len = sizeof seedling - 1;
    uint64_t seed = 20260101;
    hf_msgpack_shape shape;
    int sound = 0;

    (void)state;
    assert_int_equal(hf_msgpack_scan(hf_view(seedling, len), &shape), HF_OK);
    for (int i = 0; i < 300000; i++) {
        size_t cut = len;
        uint8_t *body = malloc(len);
        memcpy(body, seedling, len);
        for (int change = 0; change < 1 + i % 4; change++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            body[(seed >> 33) % len] = (uint8_t)(seed >> 56);
        }
        if (i % 3 == 0)
            cut = (size_t)(seed >> 40) % len;
        body = realloc(body, cut ? cut : 1);
        if (hf_msgpack_scan(hf_view(body, cut), &shape) == HF_OK) {
            struct memory memory = { .count = 0 };
            msgpack_object value;
            assert_true(shape.elements + 2 * shape.pairs < cut);
            assert_int_equal(hf_unpack(turn_of(&memory), hf_view(body, cut), &value), HF_OK);
            forget(&memory);
            sound++;
        }
        free(body);
    }
    assert_true(sound > 1000);
}

static void fields_are_found_by_name_and_type(void **state)
{
    static const char body[] = "\x85\xa4name\xa3""Ada\xa3qty\x07\xa3neg\xff\xa4name\xa3""Bob"
                               "\x01\xa3one";
    struct memory memory = { .count = 0 };
    msgpack_object map, text = { .type = MSGPACK_OBJECT_STR };
    uint64_t number = 99;

    (void)state;
    assert_int_equal(hf_unpack(turn_of(&memory), hf_view(body, sizeof body - 1), &map), HF_OK);
    assert_int_equal(hf_text(&map, "name").len, 3);
    assert_memory_equal(hf_text(&map, "name").data, "Ada", 3);
    assert_null(hf_text(&map, "qty").data);
    assert_null(hf_text(&map, "nam").data);
    assert_null(hf_text(NULL, "name").data);
    assert_int_equal(hf_uint(&map, "qty", &number), HF_OK);
    assert_int_equal(number, 7);
    assert_int_equal(hf_uint(&map, "neg", &number), HF_EINVAL);
    assert_int_equal(hf_uint(&map, "name", &number), HF_EINVAL);
    assert_int_equal(number, 7);
    assert_null(hf_field(&text, "name"));
    assert_null(hf_field(&map, NULL));
    forget(&memory);
}

static void a_packer_grows_with_what_is_packed(void **state)
{
    struct memory memory = { .count = 0 };
    msgpack_packer *packer = hf_packer(turn_of(&memory));
    msgpack_object map;
    uint64_t number;
    char name[16];

    (void)state;
    assert_int_equal(hf_packed(packer).len, 0);
    msgpack_pack_map(packer, 2001);
    for (uint64_t i = 0; i < 2000; i++) {
        snprintf(name, sizeof name, "n%d", (int)i);
        hf_pack_uint(packer, name, i << 20);
    }
    hf_pack_text(packer, "text", hf_str("ready"));
    assert_int_equal(hf_unpack(turn_of(&memory), hf_packed(packer), &map), HF_OK);
    assert_int_equal(hf_uint(&map, "n1999", &number), HF_OK);
    assert_int_equal(number, (uint64_t)1999 << 20);
    assert_memory_equal(hf_text(&map, "text").data, "ready", 5);
    forget(&memory);
}

static void without_memory_nothing_half_packed_comes_out(void **state)
{
    int finished = 0;

    (void)state;
    for (size_t nth = 1; !finished; nth++) {
        struct memory memory = { .fail_at = nth };
        msgpack_packer *packer = hf_packer(turn_of(&memory));
        assert_non_null(packer);
        msgpack_pack_array(packer, 1000);
        for (int i = 0; i < 1000; i++)
            msgpack_pack_int(packer, i);
        finished = !memory.failed;
        assert_int_equal(hf_packed(packer).data != NULL, finished);
        if (finished) {
            msgpack_object value;
            memory.fail_at = memory.count + 1;
            assert_int_equal(hf_unpack(turn_of(&memory), hf_packed(packer), &value), HF_ENOMEM);
        }
        forget(&memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read_as_msgpack_c_does),
        cmocka_unit_test(short_bodies_are_judged_as_msgpack_c_does),
        cmocka_unit_test(a_value_cut_short_or_with_a_tail_is_refused),
        cmocka_unit_test(claimed_lengths_are_not_believed),
        cmocka_unit_test(depth_ends_at_32),
        cmocka_unit_test(damaged_values_do_no_harm),
        cmocka_unit_test(fields_are_found_by_name_and_type),
        cmocka_unit_test(a_packer_grows_with_what_is_packed),
        cmocka_unit_test(without_memory_nothing_half_packed_comes_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
