/* test_due_pages.c - the question `alarms`: pages of what is due, in order, none twice and
 * none left out; what index and rows may say that is not so. */
#include "tests/unit/asked.h"
#include "tests/unit/rich_set.h"

#include "storage/due.h"

static char path[200];

static core open_empty(void)
{
    core c;
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    asked.disk = c.disk;
    return c;
}

static hf_txn *begin_rows(core *c)
{
    hf_txn *txn;
    CORE_OK(hf_log_close(c->log, true));
    CORE_OK(hf_txn_write(c->disk, &txn));
    return txn;
}

static hf_bytes page(const char *where, uint64_t limit, uint64_t due, uint64_t generation)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    if (where)
        hf_out_text(&args, "where", hf_str(where));
    hf_out_uint(&args, "limit", limit);
    hf_out_uint(&args, "after_due", due);
    hf_out_uint(&args, "after_generation", generation);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

/* All pages of a list, so large, of what is due later than that: their names one after the
 * other. */
static const char *names_from(const char *where, uint64_t limit, uint64_t due, unsigned *pages)
{
    static char names[2000];
    uint64_t generation = 0;
    bool more = true;
    names[0] = 0;
    for (*pages = 0; more; ++*pages) {
        assert_int_equal(asked_of("alarms", page(where, limit, due, generation)), HF_OK);
        size_t last = asked.count - 1;
        assert_true(last <= limit);
        for (size_t i = 0; i < last; i++) {
            strcat(names, asked_text(i, "name"));
            strcat(names, asked_text(i, "kind"));
            strcat(names, " ");
        }
        more = asked_truth(last, "more");
        uint64_t next = asked_number(last, "next_due"), of = asked_number(last, "next_generation");
        assert_true(!more || next > due || (next == due && of > generation)); /* it goes on */
        due = next;
        generation = of;
    }
    return names;
}

static const char *all_names(const char *where, uint64_t limit, unsigned *pages)
{
    return names_from(where, limit, 0, pages);
}

static void test_what_is_asked_for(void **state)
{
    core c = open_empty();
    (void)state;
    asked_refuses("alarms", page(NULL, 0, 0, 0), HF_EINVAL, "`limit` is 1 .. 10000");
    asked_refuses("alarms", page(NULL, 10001, 0, 0), HF_EINVAL, "`limit` is 1 .. 10000");
    asked_refuses("alarms", page(NULL, 1, HF_DUE_MAX + 1, 0), HF_EINVAL, "`after_due`");
    asked_refuses("alarms", page("nonsense =", 1, 0, 0), HF_EINVAL, "");
    asked_refuses("alarms", one_text("whence", "x"), HF_EINVAL, "whence");
    assert_int_equal(asked_of("alarms", hf_view(NULL, 0)), HF_OK);
    assert_int_equal(asked.count, 1);
    assert_false(asked_truth(0, "more"));
    core_close(&c, true);
}

/* Half of them lie in the table; the log changed some and has others. */
static void fill(core *c)
{
    (void)full_alarm(c, "bell/1", "d", 400);
    (void)full_alarm(c, "bell/1", "b", 200);
    (void)full_alarm(c, "bell/2", "c", 200); /* at the same time, set later */
    (void)full_alarm(c, "bell/1", "moved", 50);
    uint64_t rung = full_alarm(c, "bell/1", "rung", 60);
    (void)full_alarm(c, "bell/1", "gone", 70);
    (void)full_alarm(c, "bell/1", "\x03own", 80); /* of the engine, and nobody's business */
    (void)full_alarm(c, "bell/1", "", 90);
    rich_schedule(c, "bell/1", "daily", "daily at 12:00", 500);
    CORE_OK(hf_log_fold_all(c->log));
    (void)full_alarm(c, "bell/1", "moved", 450);
    full_put(c, HF_OP_CANCEL, "bell/1", 0, "gone", "");
    hf_entry due = full_entry(c, HF_OP_DUE, "bell/1", 0, "rung", "");
    due.generation = rung;
    core_put(c, 0, &due);
    (void)full_alarm(c, "bell/2", "a", 100);
    (void)rich_letter(c, "bell/1", 300, false);
    (void)rich_letter(c, "bell/2", 350, true);
    rich_schedule(c, "bell/2", "often", "every 5 s", 600);
}

static void test_order(void **state)
{
    core c = open_empty();
    unsigned pages;
    (void)state;
    fill(&c);
    for (uint64_t limit = 1; limit < 13; limit++) {
        assert_string_equal(all_names(NULL, limit, &pages),
                            " a b c remind remind d moved daily often ");
        assert_int_equal(pages, (10 + limit - 1) / limit);
    }
    assert_string_equal(all_names("actor = bell/2", 2, &pages), "a c remind often ");
    assert_string_equal(all_names("kind = daily", 5, &pages), "daily ");
    assert_string_equal(all_names("kind = often", 1, &pages), "often ");
    assert_int_equal(asked_of("alarms", text_and_number("where", "kind = often", NULL, 0)), HF_OK);
    assert_string_equal(asked_text(0, "what"), "schedule");
    assert_string_equal(asked_text(0, "schedule"), "every 5 s");
    assert_int_equal(asked_number(0, "missed"), 3);
    assert_int_equal(asked_of("alarms", one_text("where", "kind = remind")), HF_OK);
    assert_int_equal(asked.count, 3);
    assert_false(asked_truth(0, "wall"));
    assert_true(asked_truth(1, "wall"));
    assert_int_equal(asked_number(1, "due"), 350);
    assert_string_equal(asked_text(1, "what"), "message");
    asked.stop = 55;
    assert_int_equal(asked_of("alarms", hf_view(NULL, 0)), 55);
    assert_int_equal(asked.count, 1);
    asked.stop = 0;
    core_close(&c, true);
}

/* Without its row a schedule is told all the same; with one that is cut short not. */
static void test_rows_of_schedules(void **state)
{
    static const char *const values[] = { "", "0123456789abcdef", "0123456789abcdefno end" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        core c = open_empty();
        (void)full_alarm(&c, "bell/1", "\x02odd", 100);
        CORE_OK(hf_log_fold_all(c.log));
        assert_int_equal(asked_of("alarms", hf_view(NULL, 0)), HF_OK);
        assert_int_equal(asked.count, 2);
        assert_string_equal(asked_text(0, "name"), "odd");
        assert_string_equal(asked_text(0, "schedule"), "");
        rich_row(&c, "bell/1", 's', "odd", hf_str(values[i]));
        asked_refuses("alarms", hf_view(NULL, 0), HF_ECORRUPT, "a schedule can't be read");
        CORE_OK(hf_log_fold_all(c.log));
        asked_refuses("alarms", hf_view(NULL, 0), HF_ECORRUPT, "a schedule can't be read");
        core_close(&c, true);
    }
}

/* ---- Index and rows that are not of one mind */

typedef struct odd_row {
    size_t      key_len;
    size_t      name_len;    /* of the key that the index names */
    const char *setting;     /* row of alarm_names under it; NULL: none */
    size_t      setting_len;
    const char *words;       /* NULL: it is passed over */
} odd_row;

static void ask_with(const odd_row *odd)
{
    static const uint8_t name[700] = "bell\0" "12345678" "odd/1";
    hf_key key;
    core c = open_empty();
    (void)full_alarm(&c, "bell/1", "sound", 100);
    CORE_OK(hf_log_fold_all(c.log));
    hf_txn *txn = begin_rows(&c);
    hf_key_alarm(&key, 200, 7777);
    key.len = odd->key_len;
    asked_put(txn, HF_IN_ALARMS, &key, name, odd->name_len);
    if (odd->setting) {
        key.len = odd->name_len;
        memcpy(key.bytes, name, odd->name_len);
        asked_put(txn, HF_IN_ALARM_NAMES, &key, odd->setting, odd->setting_len);
    }
    CORE_OK(hf_txn_commit(txn));
    int err = asked_of("alarms", hf_view(NULL, 0));
    assert_int_equal(err, odd->words ? HF_ECORRUPT : HF_OK);
    if (odd->words)
        asked_says(odd->words);
    else
        assert_int_equal(asked.count, 2); /* the sound one, and the end */
    hf_disk_close(c.disk);
}

static void test_odd_rows(void **state)
{
    (void)state;
    static const odd_row rows[] = {
        { 16, 18, NULL, 0, NULL },
        { 16, 18, "short", 5, "an alarm is cut short" },
        { 16, 18, "\0\0\0\0\0\0\0\0" "generate" "whatever", 24, NULL }, /* it went off */
        { 16, 18, "due.....generate" "no entry at all", 31, "an alarm can't be read" },
        { 16, 18, "due.....generate", 16, "an alarm can't be read" },
        { 8, 18, NULL, 0, "an alarm can't be read" },
        { 16, 600, NULL, 0, "an alarm can't be read" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        ask_with(&rows[i]);
}

static void test_a_damaged_index(void **state)
{
    hf_key key;
    core c = open_empty();
    (void)state;
    hf_txn *txn = begin_rows(&c);
    hf_key_alarm(&key, 200, 7777);
    CORE_OK(hf_txn_put(txn, HF_IN_ALARMS, hf_key_bytes(&key), hf_str("\1it has no checksum")));
    CORE_OK(hf_txn_commit(txn));
    asked_refuses("alarms", hf_view(NULL, 0), HF_ECORRUPT, "checksum");
    hf_disk_close(c.disk);
}

/* ---- More than one answer looks at */

enum { CROWD = 100200, WALLED = 100080, EARLY = 150 };

/* So many settings of either clock that nothing is told of. */
static void put_crowd(core *c)
{
    hf_txn *txn = begin_rows(c);
    hf_rowbuf buf = { 0 };
    hf_key key;
    for (uint64_t i = 0; i < CROWD; i++) {
        hf_key_alarm(&key, 1000 + i, i + 1);
        CORE_OK(hf_row_put(txn, HF_IN_ALARMS, &key, hf_str("gone"), &buf));
    }
    for (uint64_t i = 0; i < WALLED + EARLY; i++) {
        uint64_t due = i < EARLY ? 500 + i : 1100 + i - EARLY;
        hf_key_alarm(&key, due | HF_DUE_BY_WALL, i + 1);
        CORE_OK(hf_row_put(txn, HF_IN_ALARMS, &key, hf_str("gone"), &buf));
    }
    hf_rowbuf_done(&buf);
    CORE_OK(hf_txn_commit(txn));
}

/* What lies beyond is on another page, however long the way is there. */
static void test_a_long_way(void **state)
{
    core c = open_empty();
    unsigned pages;
    (void)state;
    (void)full_alarm(&c, "bell/1", "first", 700);
    for (int i = 0; i < 3; i++)
        (void)rich_letter(&c, "late/1", 5000000 + (uint64_t)i, true);
    CORE_OK(hf_log_fold_all(c.log));
    put_crowd(&c);
    assert_string_equal(all_names(NULL, 100, &pages), "first remind remind remind ");
    assert_true(pages > 1);
    /* More of them than a page has, and all behind what was looked at. */
    assert_string_equal(all_names(NULL, 2, &pages), "first remind remind remind ");
    assert_string_equal(all_names("type = late", 2, &pages), "remind remind remind ");
    assert_string_equal(all_names("type = late", 1, &pages), "remind remind remind ");
    /* Of one clock too many to look at all, of the other more than there is room for. */
    assert_string_equal(names_from("type = late", 2, 1190, &pages), "remind remind remind ");
    assert_string_equal(names_from("type = late", 1, 1190, &pages), "remind remind remind ");
    /* Either clock's half may be the one that ends sooner. */
    assert_int_equal(asked_of("alarms", page(NULL, 9, 0, 0)), HF_OK);
    assert_int_equal(asked_number(asked.count - 1, "next_due"), 1100 + 100000 - EARLY - 1);
    assert_int_equal(asked_of("alarms", page(NULL, 9, 700, 1 << 20)), HF_OK);
    assert_int_equal(asked_number(asked.count - 1, "next_due"), 1000 + 100000 - 1);
    hf_disk_close(c.disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_asked_for), cmocka_unit_test(test_order),
        cmocka_unit_test(test_rows_of_schedules), cmocka_unit_test(test_odd_rows),
        cmocka_unit_test(test_a_damaged_index),   cmocka_unit_test(test_a_long_way),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("due-pages", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    asked_done();
    return failed;
}
