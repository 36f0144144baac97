/* test_false_rows.c - rows and records whose checksums are right and whose contents are
 * not: whoever meets one says HF_ECORRUPT and what it is, and tells nothing of it. */
#include "tests/unit/full_set.h"
#include "tests/unit/one_argument.h"

#include "recovery/arguments.h"
#include "recovery/holdfast_recovery.h"
#include "recovery/replay.h"

#include "storage/memory.h"

static char   path[200];
static void says(const char *words)
{
    if (!strstr(hf_error_detail(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, hf_error_detail());
}

static void clean(void)
{
    core c;
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    (void)core_send(&c, "order/1", "", hf_str("sound"));
    CORE_OK(hf_log_fold_all(c.log));
    core_close(&c, true);
}

/* Put a row with a checksum of its own. */
static void put_row(hf_table table, const hf_key *key, const void *payload, size_t len)
{
    hf_disk *disk;
    hf_txn *txn;
    hf_rowbuf buf = { 0 };
    CORE_OK(open_small(&disk, path));
    CORE_OK(hf_txn_write(disk, &txn));
    CORE_OK(hf_row_put(txn, table, key, hf_view(payload, len), &buf));
    CORE_OK(hf_txn_commit(txn));
    hf_rowbuf_done(&buf);
    hf_disk_close(disk);
}

static uint64_t seed(void)
{
    hf_disk *disk;
    hf_txn *txn;
    uint64_t value;
    CORE_OK(open_small(&disk, path));
    CORE_OK(hf_txn_read(disk, &txn));
    CORE_OK(hf_meta_get(txn, "seed", 0, &value));
    hf_txn_abort(txn);
    hf_disk_close(disk);
    return value;
}

static hf_key actor_key(const char *actor, const char *behind, size_t len)
{
    hf_key key;
    hf_key_actor(&key, actor, strlen(actor), hf_address_hash(seed(), actor, strlen(actor)));
    memcpy(key.bytes + key.len, behind, len);
    key.len += len;
    return key;
}

/* ---- Asking */

static int nothing(void *user, hf_bytes row)
{
    (void)user, (void)row;
    return HF_OK;
}

static int ask(const char *question, hf_bytes arguments, hf_row_fn each, void *user)
{
    hf_store *store;
    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    int err = hf_query(store, question, arguments, each, user);
    hf_store_close(store);
    return err;
}

static int keep_why(void *user, hf_bytes row)
{
    hf_argument known[] = { { .name = "why", .type = HF_ARG_TEXT },
                            { .name = "reason", .type = HF_ARG_TEXT } };
    int err = hf_arguments_known("actor", row, known, 2);
    (void)snprintf(user, 300, HF_FMT ": " HF_FMT, HF_ARG(known[0].bytes), HF_ARG(known[1].bytes));
    return err;
}

/* Damage is what one asks `actor` for: it is told, not an error. */
static void actor_is_damaged(const char *words)
{
    char why[300] = "";
    assert_int_equal(ask("actor", one_text("actor", "order/1"), keep_why, why), HF_OK);
    assert_memory_equal(why, "damaged: ", 9);
    if (!strstr(why, words))
        fail_msg("\"%s\" is not in \"%s\"", words, why);
}

static int see(void *user, const hf_entry *e)
{
    (void)e;
    ++*(unsigned *)user;
    return HF_OK;
}

static int inbox(const char *actor, unsigned *count)
{
    hf_disk *disk;
    hf_view_of *view;
    *count = 0;
    CORE_OK(open_small(&disk, path));
    CORE_OK(hf_view_open(&view, disk));
    int err = hf_view_inbox(view, actor, 0, see, count);
    hf_view_close(view);
    hf_disk_close(disk);
    return err;
}

/* ---- Tables */

static void test_inbox(void **state)
{
    unsigned count;
    hf_key key;
    (void)state;
    static const char *const payloads[] = { "short", "12345678 is no entry at all" };
    for (size_t i = 0; i < 2; i++) {
        clean();
        key = actor_key("order/1", "\0\0\0\0\0\1\0\0", 8);
        put_row(HF_IN_INBOX, &key, payloads[i], strlen(payloads[i]));
        assert_int_equal(inbox("order/1", &count), HF_ECORRUPT);
        says("message at 65536 can't be read");
        assert_int_equal(count, 1); /* what stood before it is sound */
        assert_int_equal(ask("messages", hf_view(NULL, 0), nothing, NULL), HF_ECORRUPT);
        assert_int_equal(ask("ls", hf_view(NULL, 0), nothing, NULL), HF_ECORRUPT);
        assert_int_equal(ask("stats", hf_view(NULL, 0), nothing, NULL), HF_OK); /* it counts */
        actor_is_damaged("message at 65536");
    }
    clean(); /* a key that is longer than an actor's: of another one, by its looks */
    key = actor_key("order/1", "x\0\0\0\0\0\1\0\0", 9);
    put_row(HF_IN_INBOX, &key, "short", 5);
    assert_int_equal(inbox("order/1", &count), HF_OK);
    assert_int_equal(count, 1);
    clean(); /* and one that is too short for a place */
    hf_key_text(&key, "order");
    put_row(HF_IN_INBOX, &key, "short", 5);
    assert_int_equal(ask("messages", hf_view(NULL, 0), nothing, NULL), HF_ECORRUPT);
}

static void test_dead_letters(void **state)
{
    hf_key key;
    (void)state;
    clean();
    hf_key_number(&key, 77);
    put_row(HF_IN_DEAD, &key, "12345678 nothing", 16);
    assert_int_equal(ask("messages", one_text("where", "status = dead"), nothing, NULL),
                     HF_ECORRUPT);
    says("a message can't be read");
    actor_is_damaged("a message can't be read");
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_uint(&args, "id", 77);
    hf_out_end(&args);
    assert_int_equal(ask("message", hf_out_bytes(&args), nothing, NULL), HF_ECORRUPT);
}

static void test_alarms(void **state)
{
    hf_key key;
    core c;
    (void)state;
    clean();
    key = actor_key("order/1", "\0wake", 5);
    put_row(HF_IN_ALARM_NAMES, &key, "short", 5);
    actor_is_damaged("an alarm is cut short");
    core_open(&c, path, NULL, NULL); /* the fold that comes upon it stops, and says so */
    (void)full_alarm(&c, "order/1", "wake", 1000);
    assert_int_equal(hf_log_fold_all(c.log), HF_ECORRUPT);
    says("an alarm is cut short");
    assert_int_equal(hf_log_state(c.log), HF_ECORRUPT);
    CORE_OK(hf_log_close(c.log, true));
    hf_disk_close(c.disk);
    clean();
    key = actor_key("order/1", "", 0); /* no name at all: of nobody */
    put_row(HF_IN_ALARM_NAMES, &key, "0123456789abcdef", 16);
    assert_int_equal(ask("actor", one_text("actor", "order/1"), nothing, NULL), HF_OK);
    key = actor_key("order/1", "xwake", 5); /* of an actor whose key goes on */
    put_row(HF_IN_ALARM_NAMES, &key, "0123456789abcdef", 16);
    assert_int_equal(ask("actor", one_text("actor", "order/1"), nothing, NULL), HF_OK);
}

static void test_pauses_states_steps(void **state)
{
    hf_key key;
    core c;
    (void)state;
    static const char *const pauses[] = { "short", "12345678 nothing" };
    for (size_t i = 0; i < 2; i++) {
        clean();
        hf_key_text(&key, "order");
        put_row(HF_IN_PAUSES, &key, pauses[i], strlen(pauses[i]));
        assert_int_equal(ask("ls", hf_view(NULL, 0), nothing, NULL), HF_ECORRUPT);
        says("a pause can't be read");
    }
    clean();
    key = actor_key("order/1", "", 0);
    put_row(HF_IN_STATE, &key, "short", 5);
    actor_is_damaged("the state of order/1 is cut short");
    clean();
    core_open(&c, path, NULL, NULL);
    uint64_t id = core_send(&c, "order/1", "", hf_str("with steps"));
    full_step(&c, id, 1, 2);
    full_retry(&c, "order/1", id, 1, 1);
    CORE_OK(hf_log_fold_all(c.log));
    core_close(&c, true);
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_uint(&args, "id", id);
    hf_out_end(&args);
    assert_int_equal(ask("message", hf_out_bytes(&args), nothing, NULL), HF_OK);
    hf_key_step(&key, id, 0, 2);
    put_row(HF_IN_STEPS, &key, "nothing", 7);
    assert_int_equal(ask("message", hf_out_bytes(&args), nothing, NULL), HF_ECORRUPT);
    says("a step can't be read");
}

static void test_numbers(void **state)
{
    hf_disk *disk;
    hf_log *log;
    hf_view_of *view;
    hf_key key;
    (void)state;
    static const char *const names[] = { "seed", "next", "folding" };
    for (size_t i = 0; i < 3; i++) {
        clean();
        if (i == 0)
            core_mark_seed(path, 0); /* or opening looks at it */
        hf_key_text(&key, names[i]);
        put_row(HF_IN_META, &key, "1234567", 7);
        CORE_OK(open_small(&disk, path));
        assert_int_equal(hf_log_open(&log, disk, NULL), HF_ECORRUPT);
        says(names[i]);
        assert_int_equal(hf_view_open(&view, disk), HF_ECORRUPT);
        says("is no number");
        hf_disk_close(disk);
    }
}

/* ---- The log */

/* One record of these entries, as somebody might have put it there. */
static void put_record(uint64_t position, const hf_entry *entries, uint32_t count)
{
    static uint8_t bytes[4096];
    hf_disk *disk;
    hf_txn *txn;
    hf_key key;
    void *room;
    size_t size = hf_record_entries_at(1);
    for (uint32_t i = 0; i < count; i++)
        size += hf_entry_encode(&entries[i], bytes + size);
    hf_record_head head = { .flags = HF_RECORD_LAST, .count = count, .size = (uint32_t)size,
                            .runs = 1, .group = position };
    hf_run run = { HF_FACTS, count, (uint32_t)(size - hf_record_entries_at(1)), 1 };
    hf_record_seal(bytes, &head, &run, position);
    hf_key_number(&key, position);
    CORE_OK(open_small(&disk, path));
    CORE_OK(hf_txn_write(disk, &txn));
    CORE_OK(hf_txn_append(txn, HF_IN_LOG, hf_key_bytes(&key), size, &room));
    memcpy(room, bytes, size);
    CORE_OK(hf_txn_commit(txn));
    hf_disk_close(disk);
}

/* Neither an engine nor a tool believes it. */
static void log_is_damaged(const char *words)
{
    hf_disk *disk;
    hf_log *log;
    hf_view_of *view;
    CORE_OK(open_small(&disk, path));
    CORE_OK(hf_log_open(&log, disk, NULL));
    assert_int_equal(hf_replay(log), HF_ECORRUPT);
    says(words);
    says("holdfast salvage");
    assert_int_equal(hf_log_state(log) == HF_OK ? HF_ECORRUPT : hf_log_state(log), HF_ECORRUPT);
    CORE_OK(hf_log_close(log, false));
    assert_int_equal(hf_view_open(&view, disk), HF_ECORRUPT);
    says(words);
    hf_disk_close(disk);
}

static hf_entry entry(uint8_t op, const char *to)
{
    return (hf_entry){ .op = op, .to = to, .to_len = (uint8_t)strlen(to), .name = "",
                       .error = "", .from = "" };
}

static void test_log_that_ends_what_is_none(void **state)
{
    (void)state;
    hf_entry both[] = { entry(HF_OP_SEND, "order/1"), entry(HF_OP_SAVE, "order/1") };
    hf_entry done = entry(HF_OP_DONE, ""), ack = entry(HF_OP_ACK, "order/1");
    clean();
    done.hash = 1000; /* a message and a state, both */
    done.count = 2;
    put_record(1000, both, 2);
    put_record(1002, &done, 1);
    log_is_damaged("the log ends a message that is none");
    clean();
    ack.id = ack.place = 2000; /* a state */
    put_record(2000, &both[1], 1);
    put_record(2001, &ack, 1);
    log_is_damaged("the log ends a message that is none");
}

static void test_log_with_a_strange_key(void **state)
{
    hf_disk *disk;
    hf_txn *txn;
    hf_log *log;
    void *room;
    hf_view_of *view;
    (void)state;
    clean();
    CORE_OK(open_small(&disk, path));
    CORE_OK(hf_txn_write(disk, &txn));
    CORE_OK(hf_txn_append(txn, HF_IN_LOG, hf_view("four", 4), 100, &room));
    memset(room, 0, 100);
    CORE_OK(hf_txn_commit(txn));
    CORE_OK(hf_log_open(&log, disk, NULL));
    assert_int_equal(hf_replay(log), HF_ECORRUPT);
    says("a key of 4 bytes");
    CORE_OK(hf_log_close(log, false));
    assert_int_equal(hf_view_open(&view, disk), HF_ECORRUPT);
    says("a key of 4 bytes");
    hf_disk_close(disk);
    assert_int_equal(ask("stats", hf_view(NULL, 0), nothing, NULL), HF_ECORRUPT);
}

static void test_log_of_nothing(void **state)
{
    hf_disk *disk;
    hf_log *log;
    hf_log_stats stats;
    (void)state;
    clean();
    put_record(3000, NULL, 0); /* odd, and harmless: it is kept, and folded away */
    CORE_OK(open_small(&disk, path));
    CORE_OK(hf_log_open(&log, disk, NULL));
    CORE_OK(hf_replay(log));
    CORE_OK(hf_log_start(log));
    CORE_OK(hf_log_fold_all(log));
    hf_log_stat(log, &stats);
    assert_int_equal(stats.bytes, 0);
    CORE_OK(hf_log_close(log, true));
    hf_disk_close(disk);
}

static void test_more_types_than_there_can_be(void **state)
{
    core c;
    char to[32];
    (void)state;
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    hf_group group = { 0 };
    hf_segment sends = { .shard = 0 };
    for (int i = 0; i < 2100; i++) {
        (void)snprintf(to, sizeof to, "t%d/1", i);
        hf_entry e = core_entry(c.log, HF_OP_SEND, to);
        CORE_OK(hf_segment_add(&sends, &e));
    }
    CORE_OK(hf_group_add(&group, &sends));
    CORE_OK(hf_log_append(c.log, &group));
    assert_int_equal(hf_log_fold_all(c.log), HF_ECORRUPT);
    hf_group_free(&group);
    hf_segment_done(&sends);
    CORE_OK(hf_log_close(c.log, true));
    hf_disk_close(c.disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inbox),
        cmocka_unit_test(test_dead_letters),
        cmocka_unit_test(test_alarms),
        cmocka_unit_test(test_pauses_states_steps),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_log_that_ends_what_is_none),
        cmocka_unit_test(test_log_with_a_strange_key),
        cmocka_unit_test(test_log_of_nothing),
        cmocka_unit_test(test_more_types_than_there_can_be),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("false", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    hf_out_done(&args);
    return failed;
}
