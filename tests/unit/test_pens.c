/* test_pens.c - notes of operators: how they are cut and which go when there are too many;
 * the list of pauses; which stores a store comes from; rows of any width. */
#include "tests/unit/asked.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/lineage.h"
#include "recovery/message_key.h"
#include "recovery/pen.h"

#include <pwd.h>
#include <unistd.h>

static char path[200];

/* ---- Notes */

static hf_pen pen_of(const char *change, const char *reason)
{
    return (hf_pen){ .time_ms = 77, .uid = 5, .user = "ada", .change = change,
                     .reason = hf_str(reason) };
}

static void test_users(void **state)
{
    hf_pen pen;
    struct passwd *me = getpwuid(0);
    (void)state;
    hf_pen_take(&pen, 0, "edit");
    assert_string_equal(pen.user, me ? me->pw_name : "");
    hf_pen_take(&pen, UINT32_MAX - 7, "edit"); /* of nobody */
    assert_string_equal(pen.user, "");
    assert_int_equal(pen.uid, UINT32_MAX - 7);
    hf_out_clear(&args);
    hf_note note = { .time_ms = 1, .change = hf_str("edit") };
    hf_out_map(&args, NULL);
    hf_out_note(&args, &note);
    hf_out_end(&args);
    asked.count = 0;
    (void)asked_keep(NULL, hf_out_bytes(&args));
    assert_false(asked_field(0, "user", HF_ARG_TEXT).given);
    assert_false(asked_field(0, "reason", HF_ARG_TEXT).given);
}

/* A text that is too long ends with a whole character, or with nothing. */
static void test_cut(void **state)
{
    static char reason[1200], change[300];
    static uint8_t list[4096];
    hf_note note;
    (void)state;
    memset(change, 'c', sizeof change - 1);
    for (size_t before = 0; before < 4; before++) {
        memset(reason, 'x', before);
        for (size_t i = before; i < sizeof reason - 3; i += 3)
            memcpy(reason + i, "\xe2\x82\xac", 3);
        reason[1190] = 0;
        hf_pen pen = pen_of(change, reason);
        hf_bytes rest = hf_view(list, hf_pen_append(&pen, list, 0, sizeof list));
        assert_true(hf_note_next(&rest, &note));
        assert_int_equal(rest.len, 0);
        assert_int_equal(note.change.len, 255);
        assert_int_equal(note.reason.len, before + (1000 - before) / 3 * 3);
        assert_memory_equal(note.reason.data, reason, note.reason.len);
    }
    memset(reason, 0x80, 1100); /* no character at all */
    hf_pen pen = pen_of("edit", reason);
    hf_bytes rest = hf_view(list, hf_pen_append(&pen, list, 0, sizeof list));
    assert_true(hf_note_next(&rest, &note));
    assert_int_equal(note.reason.len, 0);
    pen.reason = hf_str("short"); /* behind it, at the place where it begins */
    assert_true(hf_note_next(&(hf_bytes){ list, rest.len + 16 + 4 + 3 }, &note));
}

/* The oldest go while there is no room; what is no note goes at once. */
static void test_room(void **state)
{
    static uint8_t list[200];
    char reason[16];
    hf_note note;
    size_t len = 0;
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(reason, sizeof reason, "%06u", i);
        hf_pen pen = pen_of("edit", reason);
        len = hf_pen_append(&pen, list, len, sizeof list);
        assert_true(len <= sizeof list);
        hf_bytes rest = hf_view(list, len);
        unsigned seen = 0, newest = 0;
        while (hf_note_next(&rest, &note)) {
            memcpy(reason, note.reason.data, 6);
            newest = (unsigned)strtoul(reason, NULL, 10);
            seen++;
        }
        assert_int_equal(newest, i);
        assert_int_equal(seen, i < 6 ? i + 1 : 6);
        assert_int_equal(rest.len, 0);
    }
    memset(list, 0xff, 100);
    hf_pen pen = pen_of("edit", "01234567890123456789012345678901234567890123456789012345678901"
                                "23456789012345678901234567890");
    len = hf_pen_append(&pen, list, 100, sizeof list);
    hf_bytes rest = hf_view(list, len);
    assert_true(hf_note_next(&rest, &note));
    assert_int_equal(note.reason.len, 91);
}

/* What was signed once is signed again without a copy of its own. */
static void test_sign(void **state)
{
    hf_entry e = { .op = HF_OP_SEND };
    hf_note note;
    (void)state;
    hf_pen pen = pen_of("edit", "one");
    hf_pen_sign(&pen, &e);
    pen.reason = hf_str("two");
    hf_pen_sign(&pen, &e);
    hf_bytes rest = e.notes;
    assert_true(hf_note_next(&rest, &note));
    assert_memory_equal(note.reason.data, "one", 3);
    assert_true(hf_note_next(&rest, &note));
    assert_memory_equal(note.reason.data, "two", 3);
    assert_false(hf_note_next(&rest, &note));
    hf_bytes half = hf_view(e.notes.data, e.notes.len - 1);
    assert_true(hf_note_next(&half, &note));
    assert_false(hf_note_next(&half, &note)); /* cut short: no note */
}

/* ---- Pauses */

static core open_new(void)
{
    core c;
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    asked.disk = c.disk;
    asked.living = NULL;
    return c;
}

static void put_list(core *c, const void *bytes, size_t len)
{
    hf_entry e = full_entry(c, HF_OP_PUT, "-/-", 0, "opauses", "");
    e.data = hf_view(bytes, len);
    core_put(c, HF_FACTS, &e);
}

static uint32_t pauses_of(const char *actor)
{
    assert_int_equal(asked_of("actor", one_text("actor", actor)), HF_OK);
    return asked_field(0, "pauses", HF_ARG_ARRAY).count;
}

/* Notes about others, and what is no pause at all, are not told of an actor. */
static void test_who_is_covered(void **state)
{
    static uint8_t list[4096];
    static const char *const of[] = { "pause ", "pause order", "resume order/1", "pause order/2",
                                      "pause ordex", "pause paid", "nothing", "pause order/x" };
    core c = open_new();
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        hf_pen pen = pen_of(of[i], "");
        len = hf_pen_append(&pen, list, len, sizeof list);
    }
    assert_int_equal(pauses_of("order/1"), 0);
    put_list(&c, list, len);
    assert_int_equal(pauses_of("order/1"), 3);
    assert_int_equal(pauses_of("order/2"), 3);
    assert_int_equal(pauses_of("paid/1"), 2);
    assert_int_equal(pauses_of("ship/1"), 1);
    put_list(&c, "", 0);
    assert_int_equal(pauses_of("order/1"), 0);
    core_close(&c, true);
}

/* A list that is as long as it can be loses its oldest, not all of it. */
static void test_a_full_list(void **state)
{
    static uint8_t list[HF_PEN_LIST];
    static char reason[1001];
    core c = open_new();
    hf_store *store;
    uint32_t notes = 0;
    size_t len = 0;
    (void)state;
    memset(reason, 'x', 1000);
    while (len < sizeof list) {
        size_t left = sizeof list - len, size = left < 2000 ? left : 1000;
        hf_pen pen = pen_of("pause order", reason);
        pen.reason.len = size - 16 - 3 - 11 > 1000 ? 900 : size - 16 - 3 - 11;
        len = hf_pen_append(&pen, list, len, sizeof list);
        notes++;
    }
    assert_int_equal(len, HF_PEN_LIST);
    put_list(&c, list, len);
    assert_int_equal(pauses_of("order/1"), notes);
    core_close(&c, true);
    CORE_OK(hf_store_open(&store, path, 0));
    CORE_OK(hf_change(store, "pause", one_text("what", "order"), NULL, NULL));
    hf_store_close(store);
    core_open(&c, path, NULL, NULL);
    asked.disk = c.disk;
    uint32_t left = pauses_of("order/1");
    assert_true(left >= notes - 1 && left <= notes + 1);
    core_close(&c, true);
}

/* A row that is cut short lists nothing; a pause with no name of who made it holds all the
 * same. */
static void test_odd_pauses(void **state)
{
    static char user[40];
    hf_txn *txn;
    hf_key key;
    core c = open_new();
    (void)state;
    memset(user, 'u', sizeof user - 1);
    hf_entry list = full_entry(&c, HF_OP_PUT, "-/-", 0, "opauses", "");
    hf_key_name(&key, &list);
    CORE_OK(hf_txn_write(c.disk, &txn));
    asked_put(txn, HF_IN_ROWS, &key, "short", 5);
    CORE_OK(hf_txn_commit(txn));
    assert_int_equal(pauses_of("order/1"), 0);
    CORE_OK(hf_txn_write(c.disk, &txn)); /* damaged, no actor is hidden by it */
    CORE_OK(hf_txn_put(txn, HF_IN_ROWS, hf_key_bytes(&key), hf_view("\1 no checksum", 13)));
    CORE_OK(hf_txn_commit(txn));
    assert_int_equal(pauses_of("order/1"), 0);
    uint8_t note[16 + 5 + 39] = { 1 };
    note[12] = 5; /* "pause" and a name that is too long */
    note[13] = 39;
    memcpy(note + 16, "pause", 5);
    memcpy(note + 21, user, 39);
    hf_entry e = full_entry(&c, HF_OP_PAUSE, "order", 0, "", "lunch");
    e.notes = hf_view(note, sizeof note);
    core_put(&c, HF_FACTS, &e);
    assert_int_equal(asked_of("actor", one_text("actor", "order/1")), HF_OK);
    assert_string_equal(asked_text(0, "why"), "paused");
    assert_string_equal(asked_text(0, "reason"), "lunch");
    core_close(&c, true);
    hf_key_text(&key, "ship");
    c = open_new();
    CORE_OK(hf_txn_write(c.disk, &txn));
    asked_put(txn, HF_IN_PAUSES, &key, "12345678", 8);
    CORE_OK(hf_txn_commit(txn));
    asked_refuses("ls", hf_view(NULL, 0), HF_ECORRUPT, "a pause can't be read");
    core_close(&c, true);
}

/* ---- Where a store comes from */

static void test_lineage(void **state)
{
    static hf_lineage all;
    static uint8_t bytes[(HF_LINEAGE_MAX + 1) * 24];
    uint8_t uuid[16] = { 9 };
    (void)state;
    for (int i = 0; i < HF_LINEAGE_MAX; i++)
        assert_int_equal(hf_lineage_add(&all, (uint64_t)i * 10 + 10, uuid), HF_OK);
    assert_int_equal(hf_lineage_add(&all, 1u << 30, uuid), HF_EINVAL);
    asked_says("restored 128 times already");
    for (uint64_t i = 0; i <= HF_LINEAGE_MAX; i++)
        hf_put64(bytes + 24 * i, i + 1);
    assert_int_equal(hf_lineage_parse(&all, hf_view(bytes, 24 * HF_LINEAGE_MAX)), HF_OK);
    assert_int_equal(hf_lineage_parse(&all, hf_view(bytes, sizeof bytes)), HF_ECORRUPT);
    assert_int_equal(hf_lineage_parse(&all, hf_view(bytes, 25)), HF_ECORRUPT);
    asked_says("has 25 bytes");
    hf_put64(bytes + 24, 1);
    assert_int_equal(hf_lineage_parse(&all, hf_view(bytes, 48)), HF_ECORRUPT);
    asked_says("out of order");
}

/* Keys of before stay what they were; a damaged row of it tells no wrong ones. */
static void test_keys(void **state)
{
    static hf_lineage none, some;
    static const uint8_t uuid[16] = { 0xab, 0xcd };
    hf_txn *txn;
    hf_key key;
    core c = open_new();
    (void)state;
    uint64_t first = core_send(&c, "order/1", "", hf_str(""));
    uint64_t second = core_send(&c, "order/1", "", hf_str(""));
    CORE_OK(hf_lineage_add(&some, second, uuid));
    CORE_OK(hf_txn_write(c.disk, &txn));
    CORE_OK(hf_lineage_write(txn, &none));
    CORE_OK(hf_lineage_write(txn, &some));
    CORE_OK(hf_txn_commit(txn));
    char prefix[17], own[17], want[34];
    hf_message_key_prefix(prefix, uuid);
    hf_message_key_prefix(own, hf_disk_uuid(c.disk));
    assert_int_equal(asked_of("messages", hf_view(NULL, 0)), HF_OK);
    assert_int_equal(asked_number(0, "id"), first);
    hf_message_key(want, prefix, first);
    assert_string_equal(asked_text(0, "key"), want);
    hf_message_key(want, own, second);
    assert_string_equal(asked_text(1, "key"), want);
    hf_key_text(&key, "lineage");
    CORE_OK(hf_txn_write(c.disk, &txn));
    asked_put(txn, HF_IN_META, &key, "short", 5);
    CORE_OK(hf_txn_commit(txn));
    asked_refuses("messages", hf_view(NULL, 0), HF_ECORRUPT, "meta lineage");
    core_close(&c, true);
}

/* ---- Rows */

static void test_wide_values(void **state)
{
    (void)state;
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_bin(&args, "body", hf_view("", (size_t)UINT32_MAX + 1));
    assert_int_equal(args.err, HF_ETOOBIG);
    hf_out_bin(&args, "body", hf_view("", (size_t)UINT32_MAX + 2)); /* the first one stays */
    asked_says("a value of 4294967296 bytes");
    hf_out_end(&args);
    assert_int_equal(args.err, HF_ETOOBIG);
}

/* What a later version sends is told as something that was sent. */
static void test_names(void **state)
{
    core c = open_new();
    (void)state;
    assert_string_equal(hf_cause_name((hf_cause)99), "sent");
    assert_string_equal(hf_cause_name(HF_GONE), "gone");
    hf_entry e = full_entry(&c, HF_OP_SEND, "order/1", 0, "", "x");
    e.cause = HF_JOINED;
    e.about = (uint64_t)7 << 32 | 3;
    uint64_t id = core_put(&c, 0, &e);
    for (int ended = 0; ended < 2; ended++) {
        assert_int_equal(asked_of("message", text_and_number(NULL, NULL, "id", id)), HF_OK);
        assert_int_equal(asked_number(0, "joined"), 7);
        assert_int_equal(asked_number(0, "lost"), 3);
        assert_string_equal(asked_text(0, "status"), ended ? "done" : "waiting");
        core_done(&c, id, 1);
    }
    core_close(&c, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_users),          cmocka_unit_test(test_cut),
        cmocka_unit_test(test_room),           cmocka_unit_test(test_sign),
        cmocka_unit_test(test_who_is_covered), cmocka_unit_test(test_a_full_list),
        cmocka_unit_test(test_odd_pauses),     cmocka_unit_test(test_lineage),
        cmocka_unit_test(test_keys),           cmocka_unit_test(test_wide_values),
        cmocka_unit_test(test_names),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("pens", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    asked_done();
    return failed;
}
