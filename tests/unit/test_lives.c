/* test_lives.c - what `message` tells of a message's life, when there is more of it than
 * is told: attempts, steps, kin; and `actor` of what lies around one. */
#include "tests/unit/asked.h"
#include "tests/unit/rich_set.h"

#include "storage/due.h"

static char path[200];
static core c;

static int begin(void **state)
{
    (void)state;
    core_remove(path);
    core_open(&c, path, NULL, &rich_keeps);
    asked.disk = c.disk;
    return 0;
}

static int end(void **state)
{
    (void)state;
    core_close(&c, true);
    return 0;
}

static int message(uint64_t id)
{
    return asked_of("message", text_and_number(NULL, NULL, "id", id));
}

static uint32_t told(const char *list)
{
    return asked_field(0, list, HF_ARG_ARRAY).count;
}

/* A number of the first element of a list. */
static uint64_t first_of(const char *list, const char *name)
{
    hf_argument known[] = {
        { .name = "id", .type = HF_ARG_UINT },    { .name = "at", .type = HF_ARG_UINT },
        { .name = "err", .type = HF_ARG_INT },    { .name = "error", .type = HF_ARG_TEXT },
        { .name = "kind", .type = HF_ARG_TEXT },  { .name = "took_ms", .type = HF_ARG_UINT },
        { .name = "actor", .type = HF_ARG_TEXT }, { .name = "status", .type = HF_ARG_TEXT },
        { .name = "sent", .type = HF_ARG_UINT } };
    hf_bytes rest = asked_field(0, list, HF_ARG_ARRAY).bytes;
    assert_int_equal(hf_arguments_next("element", &rest, known, 9), HF_OK);
    return strcmp(name, "id") == 0 ? known[0].number : known[1].number;
}

/* Is the kind of the nearest parent told? */
static bool parent_has_kind(void)
{
    hf_argument known[] = { { .name = "id", .type = HF_ARG_UINT },
                            { .name = "kind", .type = HF_ARG_TEXT },
                            { .name = "actor", .type = HF_ARG_TEXT },
                            { .name = "status", .type = HF_ARG_TEXT },
                            { .name = "sent", .type = HF_ARG_UINT } };
    hf_bytes rest = asked_field(0, "parents", HF_ARG_ARRAY).bytes;
    assert_int_equal(hf_arguments_next("parent", &rest, known, 5), HF_OK);
    return known[1].given;
}

/* ---- Attempts */

static void put_fail(uint64_t id, uint32_t attempt, uint64_t at, int err)
{
    uint8_t times[8];
    hf_put64(times, at);
    hf_entry e = full_entry(&c, HF_OP_RETRY, "order/1", id, "", "");
    e.attempt = attempt;
    e.err = err;
    e.error = "no answer";
    e.error_len = 9;
    e.times = hf_view(times, at ? 8 : 0);
    core_put(&c, HF_FACTS, &e);
}

static void test_attempts(void **state)
{
    (void)state;
    uint64_t id = core_send(&c, "order/1", "often", hf_str(""));
    for (uint32_t i = 1; i <= 40; i++) {
        put_fail(id, i, 1000 + i, -4);
        put_fail(id, i, 1000 + i, -4); /* what somebody wrote once more counts once */
        put_fail(id, i, 0, -4);        /* and what has no time not at all */
        put_fail(id, i, 1000 + i, 0);
    }
    put_fail(id, 40, 1040, -4);
    assert_int_equal(message(id), HF_OK);
    assert_int_equal(told("attempts"), 32); /* the last ones */
    assert_int_equal(first_of("attempts", "at"), 1009);
    core_done(&c, id, 1);
    assert_int_equal(message(id), HF_OK);
    assert_string_equal(asked_text(0, "status"), "done");
    assert_int_equal(told("attempts"), 33); /* and the one that ended it */
}

/* A purge is no attempt. */
static void test_purged(void **state)
{
    (void)state;
    uint64_t id = full_dead(&c, "order/1", 5);
    full_put(&c, HF_OP_PURGE, "", id, "", "");
    assert_int_equal(message(id), HF_OK);
    assert_true(asked_truth(0, "purged"));
    assert_int_equal(told("attempts"), 0);
    assert_int_equal(asked_number(0, "attempt"), 3);
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(message(id), HF_OK);
    assert_true(asked_truth(0, "purged"));
}

/* ---- Steps */

static void put_step(uint64_t id, uint64_t number, uint64_t generation, uint32_t phase)
{
    hf_entry e = full_entry(&c, HF_OP_STEP, "", id, "pay", "paid");
    e.place = number;
    e.generation = generation;
    e.phase = phase;
    core_put(&c, HF_FACTS, &e);
}

static void test_steps(void **state)
{
    (void)state;
    uint64_t id = core_send(&c, "order/1", "trip", hf_str(""));
    put_step(id, 1, 0, 1);
    put_step(id, 1, 0, 2); /* the same, further on */
    put_step(id, 1, 1, 3); /* of another try */
    put_step(id, 2, 1, 1);
    core_done(&c, id, 1);
    assert_int_equal(message(id), HF_OK);
    assert_int_equal(told("steps"), 3);
    id = core_send(&c, "order/1", "long trip", hf_str(""));
    for (uint64_t i = 1; i <= 70; i++)
        put_step(id, i, 0, 2);
    core_done(&c, id, 1);
    assert_int_equal(message(id), HF_OK);
    assert_int_equal(told("steps"), 64);
}

/* ---- Kin */

static void test_children(void **state)
{
    (void)state;
    uint64_t id = core_send(&c, "order/1", "root", hf_str("")), first = 0;
    for (int i = 0; i < 105; i++) {
        uint64_t child = rich_child(&c, i % 2 ? "order/2" : "ship/x", i % 2 ? "leaf" : "", id);
        first = first ? first : child;
    }
    core_done(&c, first + 1, 1);
    assert_int_equal(message(id), HF_OK);
    assert_int_equal(told("children"), 100);
    assert_int_equal(asked_number(0, "children_more"), 5);
    assert_int_equal(first_of("children", "id"), first);
    core_done(&c, id, 1);
    assert_int_equal(message(id), HF_OK);
    assert_int_equal(told("children"), 100);
    assert_string_equal(asked_text(0, "status"), "done");
}

static void test_parents(void **state)
{
    (void)state;
    uint64_t id = core_send(&c, "order/1", "root", hf_str("")), eldest = id;
    for (int i = 0; i < 12; i++)
        id = rich_child(&c, "order/2", "leaf", id);
    assert_int_equal(message(id), HF_OK);
    assert_int_equal(told("parents"), 10);
    assert_int_equal(first_of("parents", "id"), id - 1);
    assert_int_equal(message(eldest + 3), HF_OK);
    assert_int_equal(told("parents"), 3);
    /* Of one that nobody knows any more, or that is no message, its number is told. */
    full_put(&c, HF_OP_SAVE, "order/1", 0, "", "state");
    uint64_t save = core_send(&c, "order/1", "", hf_str("")) - 1;
    const uint64_t gone[] = { 1u << 30, save };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(message(rich_child(&c, "order/2", "leaf", gone[i])), HF_OK);
        assert_int_equal(told("parents"), 1);
        assert_int_equal(first_of("parents", "id"), gone[i]);
    }
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(message(eldest + 3), HF_OK);
    assert_int_equal(told("parents"), 3);
}

/* A letter came due at a place of the log that is nobody's id: what names that as its
 * parent is told so, and is not taken for the letter's child. */
static void test_places_are_no_ids(void **state)
{
    hf_entry due, set = full_entry(&c, HF_OP_SEND, "order/2", 0, "remind", "in time");
    (void)state;
    uint64_t letter = rich_letter(&c, "order/2", 4000000000000, false);
    set.flags = HF_ENTRY_DELAYED;
    set.id = letter;
    hf_due_make(&due, &set, letter);
    uint64_t place = core_put(&c, 0, &due);
    assert_int_equal(message(letter), HF_OK);
    assert_string_equal(asked_text(0, "status"), "waiting");
    assert_int_equal(message(place), HF_ENOTFOUND);
    assert_int_equal(message(rich_child(&c, "order/1", "leaf", letter)), HF_OK);
    assert_true(parent_has_kind());
    assert_int_equal(message(rich_child(&c, "order/1", "leaf", place)), HF_OK);
    assert_int_equal(first_of("parents", "id"), place);
    assert_false(parent_has_kind());
    hf_entry ack = full_entry(&c, HF_OP_ACK, "order/2", place, "", "");
    uint64_t end = core_put(&c, HF_FACTS, &ack);
    assert_int_equal(asked_of("tail", text_and_number(NULL, NULL, "after", end - 1)), HF_OK);
    assert_int_equal(asked_number(0, "id"), place);
    assert_false(asked_field(0, "kind", HF_ARG_TEXT).given);
}

/* A letter that waits for its time, and the child it then is. */
static void test_delayed_child(void **state)
{
    (void)state;
    uint64_t parent = core_send(&c, "order/1", "root", hf_str(""));
    hf_entry e = full_entry(&c, HF_OP_SEND, "order/2", 0, "later", "");
    e.flags = HF_ENTRY_DELAYED;
    e.due = 4000000000000;
    e.sent = 77;
    e.parent = parent;
    uint64_t id = core_put(&c, 0, &e);
    for (int folded = 0; folded < 2; folded++) {
        assert_int_equal(message(id), HF_OK);
        assert_string_equal(asked_text(0, "status"), "delayed");
        assert_int_equal(asked_number(0, "sent"), 77);
        assert_int_equal(message(parent), HF_OK);
        assert_int_equal(told("children"), 1);
        CORE_OK(hf_log_fold_all(c.log));
    }
    assert_int_equal(message(1u << 30), HF_ENOTFOUND);
    asked_says("finished, or never was");
    assert_int_equal(message(0), HF_ENOTFOUND);
}

/* ---- What lies around an actor */

static int actor(const char *name, uint64_t limit)
{
    return asked_of("actor", text_and_number("actor", name, "limit", limit));
}

static void test_rows(void **state)
{
    static char large[5000], many[100];
    (void)state;
    memset(large, 'x', sizeof large);
    rich_row(&c, "order/1", 'u', "\x7f\xff", hf_str("odd"));
    rich_row(&c, "order/1", 'u', "large", hf_view(large, sizeof large));
    rich_row(&c, "order/1", 'u', "small", hf_view(large, 4096));
    rich_row(&c, "order/1", 't', "news", hf_view("", 0));
    rich_row(&c, "order/1", 't', "sports", hf_view("", 0));
    rich_schedule(&c, "order/1", "daily", "daily at 12:00", 500);
    rich_schedule(&c, "order/1", "often", "every 5 s", 600);
    for (uint64_t limit = 0; limit < 4; limit++) {
        assert_int_equal(actor("order/1", limit), HF_OK);
        assert_int_equal(told("rows"), limit);
        assert_int_equal(asked_truth(0, "rows_more"), limit < 3);
        assert_int_equal(told("topics"), limit < 2 ? limit : 2);
        assert_int_equal(told("schedules"), limit < 2 ? limit : 2);
        assert_true(asked_truth(0, "known") || !limit);
    }
    for (int i = 0; i < 80; i++) { /* more than one answer holds, whatever the limit */
        (void)snprintf(many, sizeof many, "row-%03d", i);
        rich_row(&c, "order/1", 'u', many, hf_view(large, 4096));
    }
    assert_int_equal(actor("order/1", 1000), HF_OK);
    assert_true(told("rows") > 60 && told("rows") < 83);
    assert_true(asked_truth(0, "rows_more"));
}

/* Whoever has nothing but rows, topics, or schedules is known, too. */
static void test_known_by(void **state)
{
    (void)state;
    assert_int_equal(actor("a/1", 10), HF_OK);
    assert_false(asked_truth(0, "known"));
    rich_row(&c, "a/1", 'u', "key", hf_str("value"));
    rich_row(&c, "a/2", 't', "news", hf_view("", 0));
    rich_row(&c, "a/3", 's', "daily", hf_view("0123456789abcdefdaily", 22));
    (void)rich_letter(&c, "a/4", 4000000000000, false);
    for (int i = 1; i <= 4; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "a/%d", i);
        assert_int_equal(actor(name, 10), HF_OK);
        assert_true(asked_truth(0, "known"));
        assert_string_equal(asked_text(0, "why"), i == 4 ? "stopped" : "nothing");
    }
    assert_int_equal(actor("a/5", 10), HF_OK); /* between them, and unknown */
    assert_false(asked_truth(0, "known"));
}

static void damage(hf_table table, const char *to, const char *behind, size_t behind_len,
                   const void *payload, size_t len)
{
    hf_txn *txn;
    hf_key key;
    size_t to_len = strlen(to);
    hf_key_actor(&key, to, to_len, hf_address_hash(hf_log_seed(c.log), to, to_len));
    memcpy(key.bytes + key.len, behind, behind_len);
    key.len += behind_len;
    CORE_OK(hf_txn_write(c.disk, &txn));
    asked_put(txn, table, &key, payload, len);
    CORE_OK(hf_txn_commit(txn));
}

static void is_damaged(const char *words)
{
    assert_int_equal(actor("order/1", 10), HF_OK);
    assert_string_equal(asked_text(0, "why"), "damaged");
    if (!strstr(asked_text(0, "reason"), words))
        fail_msg("\"%s\" is not in \"%s\"", words, asked_text(0, "reason"));
    assert_true(asked_truth(0, "known"));
}

static void test_damaged_row(void **state)
{
    (void)state;
    damage(HF_IN_ROWS, "order/1", "\0ukey", 5, "short", 5);
    is_damaged("a row is cut short");
}

static void test_damaged_topic(void **state)
{
    static char name[140] = "\0t";
    (void)state;
    memset(name + 2, 'n', sizeof name - 2);
    damage(HF_IN_TOPICS, "order/1", name, 2 + 128, "01234567", 8);
    is_damaged("a subscription can't be read");
}

static void test_damaged_schedule(void **state)
{
    (void)state;
    static const char *const values[] = { "short", "01234567", "01234567" "0123456789abcdef",
                                          "01234567" "0123456789abcdef" "no end" };
    for (size_t i = 0; i < 4; i++) {
        damage(HF_IN_ROWS, "order/1", "\0sdaily", 7, values[i], strlen(values[i]));
        is_damaged("a schedule can't be read");
    }
}

static void test_damaged_flush(void **state)
{
    (void)state;
    full_put(&c, HF_OP_SAVE, "order/1", 0, "", "state");
    CORE_OK(hf_log_fold_all(c.log));
    damage(HF_IN_ROWS, "order/-", "\0lflush", 7, "01234567" "0123456789abcde", 23);
    is_damaged("what the type of order/1 flushed is cut short");
    damage(HF_IN_ROWS, "order/-", "\0lflush", 7, "01234567" "01234567" "\0\0\0\0\0\0\0\1", 24);
    assert_int_equal(actor("order/1", 10), HF_OK);
    assert_true(asked_field(0, "dirty", HF_ARG_BOOL).given);
    assert_false(asked_truth(0, "dirty"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_attempts, begin, end),
        cmocka_unit_test_setup_teardown(test_purged, begin, end),
        cmocka_unit_test_setup_teardown(test_steps, begin, end),
        cmocka_unit_test_setup_teardown(test_children, begin, end),
        cmocka_unit_test_setup_teardown(test_parents, begin, end),
        cmocka_unit_test_setup_teardown(test_places_are_no_ids, begin, end),
        cmocka_unit_test_setup_teardown(test_delayed_child, begin, end),
        cmocka_unit_test_setup_teardown(test_rows, begin, end),
        cmocka_unit_test_setup_teardown(test_known_by, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_row, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_topic, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_schedule, begin, end),
        cmocka_unit_test_setup_teardown(test_damaged_flush, begin, end),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("lives", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    asked_done();
    return failed;
}
