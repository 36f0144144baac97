/* test_false_copies.c - rows whose checksums are right and whose contents are not: a checkup
 * says what is wrong with each, and a salvage makes a sound store without it. */
#include "tests/unit/hurt_store.h"
#include "tests/unit/nth_more.h"

static uint64_t seed;

/* ---- Stores with one false row */

static void clean(void)
{
    core c;
    core_remove(hurt_path("store"));
    core_open(&c, hurt_path("store"), NULL, NULL);
    (void)core_send(&c, "order/1", "", hf_str("sound"));
    full_put(&c, HF_OP_SAVE, "order/1", 0, "", "state");
    CORE_OK(hf_log_fold_all(c.log));
    core_close(&c, true);
    seed = hurt_number("store", "seed");
}

static void put_row(hf_table table, const hf_key *key, const void *payload, size_t len)
{
    hurt_put("store", table, key, payload, len);
}

static hf_key actor_key(const char *actor, const char *behind, size_t len)
{
    hf_key key;
    hf_key_actor(&key, actor, strlen(actor), hf_address_hash(seed, actor, strlen(actor)));
    memcpy(key.bytes + key.len, behind, len);
    key.len += len;
    return key;
}

/* ---- What is said of it */

static char told[8192];

static int keep(void *user, hf_bytes row)
{
    size_t len = strlen(told), room = sizeof told - len - 1;
    ++*(unsigned *)user;
    for (size_t i = 0; i < row.len && i < room; i++) { /* words as they are, without zeros */
        char c = ((const char *)row.data)[i];
        told[len + i] = c >= ' ' ? c : '.';
        told[len + i + 1] = '\0';
    }
    return HF_OK;
}

static void verify_says(const char *words)
{
    unsigned rows = 0;
    told[0] = '\0';
    assert_int_equal(hf_verify(hurt_path("store"), keep, &rows), HF_ECORRUPT);
    if (!strstr(told, words))
        fail_msg("\"%s\" is not in \"%s\"", words, told);
    assert_true(rows >= 2);
}

/* Whatever was false: the new store is sound, and has what was sound before. */
static void salvage_keeps(uint64_t letters)
{
    unsigned told_rows = 0;
    uint64_t rows[HF_TABLES];
    told[0] = '\0';
    int err = hf_salvage(hurt_path("store"), hurt_path("to"), keep, &told_rows);
    if (err)
        fail_msg("%d: %s", err, hf_error_detail());
    hurt_verify(hurt_path("to"));
    (void)hurt_sum(hurt_path("to"), rows);
    assert_true(rows[HF_IN_INBOX] + rows[HF_IN_DEAD] >= letters);
    assert_int_equal(rows[HF_IN_STATE], 1);
    core_remove(hurt_path("to"));
}

static void false_row(hf_table table, const hf_key *key, const void *payload, size_t len,
                      const char *words)
{
    clean();
    put_row(table, key, payload, len);
    verify_says(words);
    salvage_keeps(1);
}

/* ---- Tables */

static void test_messages(void **state)
{
    uint8_t bytes[512];
    hf_key key;
    (void)state;
    clean();
    hf_entry e = hurt_fact(seed, HF_OP_SEND, "order/1");
    key = actor_key("order/1", "\0\0\0\0\0\1\0\0", 8);
    false_row(HF_IN_INBOX, &key, "12345678 is no entry", 20, "can't be read");
    e.id = 1; /* waits under the name of another actor */
    key = actor_key("order/2", "\0\0\0\0\0\0\0\1", 8);
    false_row(HF_IN_INBOX, &key, bytes, hurt_entry(bytes, 8, 1, &e), "belongs under another key");
    key = actor_key("order/1", "x\0\0\0\0\0\0\0\1", 9); /* and of one that is longer */
    false_row(HF_IN_INBOX, &key, bytes, hurt_entry(bytes, 8, 1, &e), "belongs under another key");
    e = hurt_fact(seed + 1, HF_OP_SEND, "order/1");
    hf_key_place(&key, e.to, e.to_len, e.hash, 1);
    false_row(HF_IN_INBOX, &key, bytes, hurt_entry(bytes, 8, 1, &e), "hash of its address");
    e = hurt_fact(seed, HF_OP_DEAD, "order/1");
    e.id = e.place = 1;
    e.died = 5;
    hf_key_number(&key, 2);
    false_row(HF_IN_DEAD, &key, bytes, hurt_entry(bytes, 8, 1, &e), "belongs under another key");
    hf_key_text(&key, "short");
    false_row(HF_IN_DEAD, &key, bytes, hurt_entry(bytes, 8, 1, &e), "can't be read");
    hf_key_text(&key, "order");
    false_row(HF_IN_INBOX, &key, "short", 5, "can't be read");
}

static void test_owners(void **state)
{
    static const hf_table tables[] = { HF_IN_STATE, HF_IN_ALARM_NAMES, HF_IN_ROWS, HF_IN_DEDUPE,
                                       HF_IN_TOPICS };
    static const char long_one[] = "0123456789abcdef and more of it";
    (void)state;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const char *behind = tables[i] == HF_IN_STATE ? "" : "\0uname";
        size_t len = tables[i] == HF_IN_STATE ? 0 : 6;
        hf_key key;
        clean();
        key = actor_key("order/9", behind, len);
        false_row(tables[i], &key, "short", 5, "it is cut short");
        hf_key_text(&key, "no zero in it");
        false_row(tables[i], &key, long_one, 31, "begins with no address");
        hf_key_text(&key, "or");
        false_row(tables[i], &key, long_one, 31, "begins with no address");
        key.bytes[key.len++] = '\0'; /* an end of a type, and no actor */
        key.bytes[key.len++] = 'x';
        false_row(tables[i], &key, long_one, 31, "begins with no address");
        clean();
        key = actor_key("Order/\n", behind, len); /* no address that can be */
        false_row(tables[i], &key, long_one, 31, "begins with no address");
        key = actor_key("order/9", behind, len);
        key.bytes[6] ^= 1; /* a bit of the hash */
        false_row(tables[i], &key, long_one, 31, "hash in its key is wrong");
    }
}

static void test_steps_and_alarms(void **state)
{
    uint8_t bytes[512];
    hf_key key;
    (void)state;
    clean();
    hf_entry e = hurt_fact(seed, HF_OP_STEP, "");
    e.hash = 0;
    e.id = 1;
    e.place = 1;
    hf_key_step(&key, 1, 0, 2);
    false_row(HF_IN_STEPS, &key, bytes, hurt_entry(bytes, 0, 0, &e), "belongs under another key");
    false_row(HF_IN_STEPS, &key, "nothing", 7, "it is no step");
    hf_entry save = hurt_fact(seed, HF_OP_SAVE, "order/1");
    false_row(HF_IN_STEPS, &key, bytes, hurt_entry(bytes, 0, 0, &save), "it is no step");
    hf_key_step(&key, 77, 0, 1); /* of a message that never was */
    e.id = 77;
    false_row(HF_IN_STEPS, &key, bytes, hurt_entry(bytes, 0, 0, &e), "its message has ended");
    hf_key_number(&key, 77);
    false_row(HF_IN_STEPS, &key, bytes, hurt_entry(bytes, 0, 0, &e), "belongs under another key");
    hf_key_number(&key, 5);
    false_row(HF_IN_ALARMS, &key, "name", 4, "it is no alarm");
    hf_key_alarm(&key, 5, 6);
    false_row(HF_IN_ALARMS, &key, "", 0, "it is no alarm");
    false_row(HF_IN_ALARMS, &key, "name", 4, "it points to no alarm of that time");
}

/* The index, and the row it points to, which is false itself. */
static void test_index(void **state)
{
    uint8_t bytes[512];
    hf_key index, name;
    (void)state;
    for (int i = 0; i < 3; i++) {
        clean();
        hf_entry e = hurt_fact(seed, HF_OP_ALARM, "order/1");
        e.name = "wake";
        e.name_len = 4;
        e.due = 9000;
        size_t len = hurt_entry(bytes, 16, 9000, &e);
        hf_key_alarm(&index, i == 1 ? 9001 : 9000, i == 2 ? 9001 : 9000);
        name = actor_key("order/1", "\0wake", 5);
        put_row(HF_IN_ALARMS, &index, name.bytes, name.len);
        put_row(HF_IN_ALARM_NAMES, &name, bytes, i ? len : 4);
        verify_says(i ? "it points to no alarm of that time" : "it is cut short");
        salvage_keeps(1);
    }
}

static void test_between(void **state)
{
    uint8_t bytes[512];
    hf_key key;
    (void)state;
    clean();
    hf_entry e = hurt_fact(seed, HF_OP_SEND, "order/1");
    hf_key_place(&key, e.to, e.to_len, e.hash, UINT64_C(1) << 40);
    false_row(HF_IN_INBOX, &key, bytes, hurt_entry(bytes, 8, 1, &e), "it will be given once more");
    e.id = 1; /* of before, and at a place to come */
    false_row(HF_IN_INBOX, &key, bytes, hurt_entry(bytes, 8, 1, &e), "it will be given once more");
    clean();
    uint64_t id = hurt_number("store", "next") - 2;
    e.id = id; /* at two places, both of them given */
    hf_key_place(&key, e.to, e.to_len, e.hash, id - 1);
    put_row(HF_IN_INBOX, &key, bytes, hurt_entry(bytes, 8, 1, &e));
    e.id = 0;
    hf_key_place(&key, e.to, e.to_len, e.hash, id);
    put_row(HF_IN_INBOX, &key, bytes, hurt_entry(bytes, 8, 1, &e));
    verify_says("it waits at two places");
    e = hurt_fact(seed, HF_OP_DEAD, "order/1");
    e.id = e.place = id;
    e.died = 5;
    hf_key_number(&key, id);
    put_row(HF_IN_DEAD, &key, bytes, hurt_entry(bytes, 8, 1, &e));
    verify_says("it is in both");
    salvage_keeps(1);
}

/* Who listens ends it wherever it is. */
typedef struct listener {
    unsigned left;
} listener;

static int listen_so_long(void *user, hf_bytes row)
{
    (void)row;
    return ((listener *)user)->left-- ? HF_OK : HF_ECLOSED;
}

static void test_who_listens_ends_it(void **state)
{
    uint8_t bytes[512];
    hf_key key;
    unsigned rows = 0;
    (void)state;
    clean();
    uint64_t id = hurt_number("store", "next") - 2;
    hf_entry e = hurt_fact(seed, HF_OP_SEND, "order/1");
    for (uint64_t place = id - 1; place <= id + 3; place++) {
        e.id = id;
        hf_key_place(&key, e.to, e.to_len, e.hash, place);
        put_row(HF_IN_INBOX, &key, bytes, hurt_entry(bytes, 8, 1, &e));
    }
    hf_entry dead = hurt_fact(seed, HF_OP_DEAD, "order/1");
    dead.died = 5;
    for (uint64_t at = id; at <= id + 3; at++) {
        dead.id = dead.place = at;
        hf_key_number(&key, at);
        put_row(HF_IN_DEAD, &key, bytes, hurt_entry(bytes, 8, 1, &dead));
        hf_key_step(&key, 70 + at, 0, 1);
        hf_entry step = hurt_fact(seed, HF_OP_STEP, "");
        step.hash = 0;
        step.id = 70 + at;
        step.place = 1;
        put_row(HF_IN_STEPS, &key, bytes, hurt_entry(bytes, 0, 0, &step));
        hf_key_alarm(&key, at, at);
        put_row(HF_IN_ALARMS, &key, "name", 4);
    }
    assert_int_equal(hf_verify(hurt_path("store"), keep, &rows), HF_ECORRUPT);
    assert_true(rows > 12);
    for (unsigned i = 0; i < rows; i++)
        assert_int_equal(hf_verify(hurt_path("store"), listen_so_long, &(listener){ i }),
                         HF_ECLOSED);
    assert_int_equal(hf_verify(hurt_path("store"), listen_so_long, &(listener){ rows }),
                     HF_ECORRUPT);
}

/* A salvage that is ended leaves nothing, whatever it was about to say. */
static void test_who_listens_ends_a_salvage(void **state)
{
    unsigned rows = 0;
    (void)state;
    (void)hurt_make("store");
    hurt_table("store", HF_IN_INBOX);
    hurt_table("store", HF_IN_STATE);
    hurt_table("store", HF_IN_META);
    assert_int_equal(hf_salvage(hurt_path("store"), hurt_path("to"), keep, &rows), HF_OK);
    core_remove(hurt_path("to"));
    assert_true(rows > 5);
    for (unsigned i = 0; i < rows - 1; i++) {
        assert_int_equal(hf_salvage(hurt_path("store"), hurt_path("to"), listen_so_long,
                                    &(listener){ i }), HF_ECLOSED);
        if (access(hurt_path("to"), F_OK) == 0)
            fail_msg("ended at row %u of %u, and yet there is a store", i, rows);
    }
    assert_int_equal(hf_salvage(hurt_path("store"), hurt_path("to"), listen_so_long,
                                &(listener){ rows - 1 }), HF_ECLOSED);
    hurt_verify(hurt_path("to")); /* the last row tells that it was done */
    core_remove(hurt_path("to"));
}

/* ---- The log */

static void test_log(void **state)
{
    static const hf_record_head last = { .flags = HF_RECORD_LAST, .group = 5000 };
    hf_record_head head = last;
    (void)state;
    clean();
    hf_entry e = hurt_fact(seed, HF_OP_SEND, "order/1");
    hf_entry two[2] = { e, e };
    head.waiting = 2;
    hurt_record("store", 5000, &head, two, 2);
    head.group = 5001; /* it overlaps the one before */
    head.waiting = 3;
    hurt_record("store", 5001, &head, two, 1);
    verify_says("it overlaps the one before");
    clean();
    hurt_record("store", 5000, &last, &e, 1);
    head.group = 4000; /* of a group that never began */
    hurt_record("store", 5001, &head, &e, 1);
    verify_says("its group's first record is missing");
    clean();
    head.flags = 0;
    head.group = 5000;
    hurt_record("store", 5000, &head, &e, 1);
    verify_says("the last record of the last group is missing");
    head.group = 6000; /* of one that lies behind it */
    hurt_record("store", 5001, &head, &e, 1);
    verify_says("runs do not add up");
    verify_says("the last record of the last group is missing");
}

static void test_refused(void **state)
{
    char path[5000];
    (void)state;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    unsigned rows = 0;
    assert_int_equal(hf_verify(NULL, keep, &rows), HF_EINVAL);
    assert_int_equal(hf_verify(hurt_path("store"), NULL, NULL), HF_EINVAL);
    assert_int_equal(hf_verify(path, keep, &rows), HF_EINVAL);
    assert_int_equal(hf_verify(hurt_path("nothing"), keep, &rows), HF_ENOTFOUND);
    assert_int_equal(hf_salvage("", "to", keep, &rows), HF_EINVAL);
    assert_int_equal(hf_salvage(path, "to", keep, &rows), HF_EINVAL);
    assert_int_equal(hf_salvage("from", NULL, keep, &rows), HF_EINVAL);
    assert_int_equal(hf_salvage("from", "", keep, &rows), HF_EINVAL);
    assert_int_equal(hf_backup(NULL, "to", keep, &rows), HF_EINVAL);
    assert_int_equal(hf_backup("from", NULL, keep, &rows), HF_EINVAL);
    assert_int_equal(hf_backup("from", "", keep, &rows), HF_EINVAL);
    assert_int_equal(hf_restore(NULL, "to", keep, &rows), HF_EINVAL);
    assert_int_equal(hf_restore("from", NULL, keep, &rows), HF_EINVAL);
    assert_int_equal(hf_restore("from", "", keep, &rows), HF_EINVAL);
    assert_int_equal(hf_compact(NULL, "to", keep, &rows), HF_EINVAL);
    assert_int_equal(hf_compact("from", "", keep, &rows), HF_EINVAL);
    assert_int_equal(rows, 0);
    clean();
    for (int i = 0; i < 4093; i += 2) /* PATH_MAX, but for what is put behind it */
        memcpy(path + i, "./", 2);
    path[4092] = '\0';
    assert_int_equal(hf_backup(hurt_path("store"), path, keep, &rows), HF_EINVAL);
    memset(path + 4000, 'x', 92);
    assert_int_equal(hf_backup(hurt_path("store"), path, keep, &rows), HF_EINVAL);
    assert_int_equal(hf_backup(hurt_path("store"), hurt_here, keep, &rows), HF_EINVAL);
    write_file(hurt_path("text"), "a text of somebody");
    assert_int_equal(hf_backup(hurt_path("store"), hurt_path("text"), keep, &rows), HF_EINVAL);
    write_file(hurt_path("text"), "short");
    assert_int_equal(hf_backup(hurt_path("store"), hurt_path("text"), keep, &rows), HF_EINVAL);
    assert_int_equal(size_of(hurt_path("text")), 5);
}

/* Checked as they go: what is damaged is not copied, nor is anything left of the try. */
static void test_damaged_rows_are_not_copied(void **state)
{
    unsigned rows = 0;
    unsigned names;
    hf_key key;
    hf_disk *disk;
    hf_txn *txn;
    (void)state;
    clean();
    hf_key_text(&key, "order");
    CORE_OK(open_small(&disk, hurt_path("store")));
    CORE_OK(hf_txn_write(disk, &txn));
    CORE_OK(hf_txn_put(txn, HF_IN_PAUSES, hf_key_bytes(&key), hf_str("no checksum at all")));
    CORE_OK(hf_txn_commit(txn));
    hf_disk_close(disk);
    names = hurt_names();
    assert_int_equal(hf_backup(hurt_path("store"), hurt_path("file"), keep, &rows), HF_ECORRUPT);
    assert_non_null(strstr(hf_error_detail(), "holdfast salvage"));
    assert_int_equal(hf_compact(hurt_path("store"), NULL, keep, &rows), HF_ECORRUPT);
    assert_int_equal(hf_compact(hurt_path("store"), hurt_path("to"), keep, &rows), HF_ECORRUPT);
    assert_int_equal(hurt_names(), names);
    verify_says("checksum of a row of table 7 does not match");
    salvage_keeps(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_owners),
        cmocka_unit_test(test_steps_and_alarms),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_between),
        cmocka_unit_test(test_who_listens_ends_it),
        cmocka_unit_test(test_who_listens_ends_a_salvage),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damaged_rows_are_not_copied),
    };
    nth.pretend = true;
    (void)snprintf(hurt_here, sizeof hurt_here, "%s", core_directory("false-copies", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(hurt_here);
    return failed;
}
