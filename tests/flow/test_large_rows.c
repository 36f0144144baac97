/* test_large_rows.c - an actor's own table with very many rows, with large values, and with
 * a damaged one. */
#include "tests/support/turns.h"

#include "storage/address.h"
#include "storage/row.h"

static int forget_only(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    hf_forget(turn);
    return HF_OK;
}

static int drop_note(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    hf_put(turn, hf_str("~failed"), hf_view(NULL, 0));
    return HF_OK;
}

/* ---- Large */

enum { MANY = 110000, A_TURN = 10000 };

/* 127 bytes, in the order of their numbers. */
static hf_bytes wide_key(int i)
{
    static _Thread_local char text[128];
    memset(text, '.', sizeof text);
    (void)snprintf(text, sizeof text, "%08d", i);
    text[8] = '.';
    return hf_view(text, 127);
}

static int put_many(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    for (int i = with; i < with + A_TURN; i++)
        hf_put(turn, wide_key(i), hf_view(&i, sizeof i));
    return HF_OK;
}

static int drop_many(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    for (int i = with; i < with + A_TURN; i++)
        hf_put(turn, wide_key(i), hf_view(NULL, 0));
    return HF_OK;
}

typedef struct parade {
    int next, step;
} parade;

static int march(void *user, hf_bytes key, hf_bytes value)
{
    parade *p = user;
    int i;
    CHECK(value.len == sizeof i);
    memcpy(&i, value.data, sizeof i);
    CHECK(i == p->next && key.len == 127 && memcmp(key.data, wide_key(i).data, 127) == 0);
    p->next += p->step;
    return HF_OK;
}

static int see_many(hf_turn *turn, const hf_message *msg)
{
    parade all = { with, 1 };
    hf_bytes value;
    (void)msg;
    CHECK(hf_walk(turn, hf_str(""), march, &all) == HF_OK && all.next == MANY);
    all.next = MANY - 5;
    CHECK(hf_walk(turn, wide_key(MANY - 5), march, &all) == HF_OK && all.next == MANY);
    for (int i = with; i < MANY; i += 997)
        CHECK(hf_get(turn, wide_key(i), &value) == HF_OK && memcmp(value.data, &i, 4) == 0);
    CHECK(hf_get(turn, wide_key(MANY), &value) == HF_ENOTFOUND);
    return HF_OK;
}

static void test_many(void **state)
{
    (void)state;
    hf_engine *e = open_it("many");
    for (with = 0; with < MANY; with += A_TURN)
        assert_int_equal(run(e, "a/big", put_many), 0);
    with = 0;
    assert_int_equal(run(e, "a/big", see_many), 0);
    ring_ok(hf_close(e, 10000));
    e = open_it("many");
    assert_int_equal(run(e, "a/big", see_many), 0);
    assert_int_equal(run(e, "a/big", forget_only), 1); /* too many: all or nothing */
    assert_non_null(strstr(error, "larger"));
    assert_int_equal(run(e, "a/big", drop_note), 0); /* the failed hook's */
    assert_int_equal(run(e, "a/big", see_many), 0);
    for (with = 0; with < MANY / 2; with += A_TURN)
        assert_int_equal(run(e, "a/big", drop_many), 0);
    assert_int_equal(run(e, "a/big", see_many), 0);
    with = 0;
    assert_int_equal(run(e, "a/big", forget_it), 0);
    assert_int_equal(run(e, "a/big", see_after), 0);
    ring_ok(hf_close(e, 10000));
}

static int put_large(hf_turn *turn, const hf_message *msg)
{
    static uint8_t big[1 << 20];
    (void)msg;
    for (int i = 0; i < 10; i++) {
        memset(big, 'a' + i, sizeof big);
        hf_put(turn, key_of(i), hf_view(big, sizeof big - (size_t)i));
    }
    return HF_OK;
}

static int march_large(void *user, hf_bytes key, hf_bytes value)
{
    int i = (*(int *)user)++;
    const char *text = value.data;
    CHECK(memcmp(key.data, key_of(i).data, key.len) == 0);
    CHECK(value.len == (1u << 20) - (size_t)i && text[0] == 'a' + i
          && memcmp(text, text + 1, value.len - 1) == 0);
    return HF_OK;
}

static int see_large(hf_turn *turn, const hf_message *msg)
{
    int count = 0;
    hf_bytes value;
    (void)msg;
    CHECK(hf_walk(turn, hf_str(""), march_large, &count) == HF_OK && count == 10);
    for (count = 0; count < 10;) {
        CHECK(hf_get(turn, key_of(count), &value) == HF_OK);
        CHECK(march_large(&count, key_of(count), value) == HF_OK);
    }
    return HF_OK;
}

static void test_large_values(void **state)
{
    (void)state;
    hf_engine *e = open_it("large");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(e, kinds_of_turn[i], put_large), 0);
        assert_int_equal(run(e, kinds_of_turn[i], see_large), 0);
    }
    ring_ok(hf_close(e, 10000));
    e = open_it("large");
    for (int i = 0; i < 2; i++)
        assert_int_equal(run(e, kinds_of_turn[i], see_large), 0);
    ring_ok(hf_close(e, 10000));
}

/* ---- Damage */

/* One byte of the row in the table is another. */
static void damage_row(const char *name, const char *actor, const char *key)
{
    hf_disk *disk;
    hf_txn *txn;
    hf_bytes value;
    hf_key row;
    uint64_t seed;
    uint8_t copy[64];
    size_t len = strlen(actor);
    ring_ok(hf_disk_open(&disk, ring_path(name), &(hf_disk_options){ .store_max = 512 << 20 }));
    ring_ok(hf_txn_write(disk, &txn));
    ring_ok(hf_meta_get(txn, "seed", 0, &seed));
    hf_key_actor(&row, actor, len, hf_address_hash(seed, actor, len));
    row.len += (size_t)snprintf((char *)row.bytes + row.len + 1, 60, "u%s", key) + 1;
    row.bytes[row.len - strlen(key) - 2] = 0;
    ring_ok(hf_txn_get(txn, HF_IN_ROWS, hf_key_bytes(&row), &value));
    assert_true(value.len <= sizeof copy);
    memcpy(copy, value.data, value.len);
    copy[10] ^= 1;
    ring_ok(hf_txn_put(txn, HF_IN_ROWS, hf_key_bytes(&row), hf_view(copy, value.len)));
    ring_ok(hf_txn_commit(txn));
    hf_disk_close(disk);
}

static int get_damaged(hf_turn *turn, const hf_message *msg)
{
    hf_bytes value;
    (void)msg;
    CHECK(hf_get(turn, hf_str("y"), &value) == HF_ECORRUPT);
    return HF_OK;
}

static int walk_damaged(hf_turn *turn, const hf_message *msg)
{
    int count = 0;
    (void)msg;
    CHECK(hf_walk(turn, hf_str(""), count_rows, &count) == HF_ECORRUPT);
    return HF_OK;
}

static int get_sound(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    CHECK(is(turn, "x", "three"));
    hf_put(turn, hf_str("y"), hf_str("why")); /* mends it */
    return HF_OK;
}

static void test_damage(void **state)
{
    static char filler[8000];
    (void)state;
    memset(filler, 'x', sizeof filler - 1);
    for (int i = 0; i < 2; i++) {
        const char *to = kinds_of_turn[i], *name = i ? "damagepool" : "damage";
        hf_engine *e = open_it(name);
        assert_int_equal(run(e, to, put_some), 0);
        job = see_nothing; /* until it is folded */
        for (int n = 0; n < 40; n++)
            ring_ok(hf_tell(e, "a/filler", "x", hf_str(filler)));
        ring_ok(hf_drain(e, 10000));
        ring_ok(hf_close(e, 10000));
        damage_row(name, to, "y");
        e = open_it(name);
        assert_int_equal(run(e, to, get_damaged), 1);
        assert_non_null(strstr(error, "cannot be right"));
        assert_int_equal(run(e, to, walk_damaged), 1);
        assert_int_equal(run(e, to, forget_only), 1);
        assert_int_equal(run(e, to, get_sound), 0); /* it is not set aside */
        assert_int_equal(run(e, to, see_some), 0);
        ring_ok(hf_close(e, 10000));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
