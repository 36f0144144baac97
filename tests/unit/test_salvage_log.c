/* test_salvage_log.c - salvages that turn on what the log and meta still say: letters that
 * ended in it, records whose rows are lost, rows of meta that are not what they should be. */
#include "tests/unit/hurt_salvage.h"
#include "tests/unit/nth_more.h"

#include "storage/marker.h"

static uint64_t rows[HF_TABLES];

static int salvage_says(const char *words)
{
    told[0] = '\0';
    core_remove(hurt_path("to"));
    int err = hf_salvage(hurt_path("store"), hurt_path("to"), keep, NULL);
    if (!strstr(hf_error_detail(), words) && !strstr(told, words))
        fail_msg("%d: \"%s\" is neither in \"%s\" nor told", err, words, hf_error_detail());
    if (err)
        assert_int_not_equal(access(hurt_path("to"), F_OK), 0);
    return err;
}

/* ---- Letters of which an old page says that they wait */

static uint64_t delayed(const char *to)
{
    hf_entry e = full_entry(&c, HF_OP_SEND, to, 0, "late", "a delayed letter");
    e.flags = HF_ENTRY_DELAYED;
    e.due = 5000;
    return core_put(&c, 0, &e);
}

static void dies(const char *to, uint64_t id)
{
    hf_entry e = full_entry(&c, HF_OP_DEAD, to, id, "place", "x");
    e.attempt = 1;
    e.err = 7;
    e.died = 5;
    core_put(&c, HF_FACTS, &e);
}

static uint64_t comes_due(const char *to, uint64_t id)
{
    hf_entry e = full_entry(&c, HF_OP_DUE, to, id, "late", "a delayed letter");
    e.generation = id;
    e.place = 0;
    return core_put(&c, 0, &e);
}

static void ended(const char *to, uint64_t id)
{
    hf_entry e = full_entry(&c, HF_OP_ACK, to, id, "", "");
    core_put(&c, HF_FACTS, &e);
}

static void test_letters_that_ended(void **state)
{
    (void)state;
    begin();
    uint64_t dead = core_send(&c, "order/1", "", hf_str("x")), late_dead = delayed("order/1");
    uint64_t done = core_send(&c, "order/2", "", hf_str("x")), late = delayed("order/2");
    uint64_t waiting = delayed("order/1"), step = core_send(&c, "paid/1", "", hf_str("x"));
    full_step(&c, step, 1, 1);
    fold();
    full_step(&c, step, 1, 2);
    full_retry(&c, "paid/1", step, 1, 5000);
    dies("order/1", dead);
    (void)comes_due("order/1", late_dead);
    fold();
    dies("order/1", late_dead);
    (void)comes_due("order/1", waiting);
    full_step(&c, step, 2, 1);
    fold();
    ended("order/2", done); /* says only the log */
    (void)comes_due("order/2", late);
    finish();
    hurt_table("store", HF_IN_INBOX);
    hurt_table("store", HF_IN_ALARM_NAMES);
    hurt_table("store", HF_IN_STEPS);
    salvage(rows);
    /* Five letters, each at one place, none of them in a way that it runs again by itself. */
    assert_in_range(rows[HF_IN_DEAD] + rows[HF_IN_INBOX], 4, 5);
    assert_true(rows[HF_IN_DEAD] >= 4);
    hf_key key;
    hf_key_number(&key, done);
    assert_false(has_row(HF_IN_DEAD, &key, ""));
}

/* It came due and waits, sound, and an old page has it as a delayed one. */
static void test_letter_that_came_due(void **state)
{
    (void)state;
    begin();
    uint64_t late = delayed("order/1");
    (void)delayed("order/2");
    (void)full_dead(&c, "paid/1", 5);
    fold();
    (void)comes_due("order/1", late);
    (void)full_dead(&c, "paid/1", 6);
    fold();
    (void)delayed("paid/1");
    (void)full_dead(&c, "paid/1", 7);
    fold();
    finish();
    hurt_table("store", HF_IN_ALARM_NAMES);
    hurt_table("store", HF_IN_DEAD);
    salvage(rows);
    assert_int_equal(rows[HF_IN_INBOX], 1);
    hf_key key;
    hf_key_number(&key, late);
    assert_false(has_row(HF_IN_DEAD, &key, ""));
    assert_true(rows[HF_IN_DEAD] >= 3); /* two of them died, one may be delivered */
}

static void test_many_delayed(void **state)
{
    enum { MANY = 300 };
    (void)state;
    begin();
    for (int i = 0; i < MANY; i++)
        (void)delayed("order/1");
    fold();
    (void)full_alarm(&c, "order/2", "wake", 6000);
    fold();
    finish();
    hurt_table("store", HF_IN_ALARM_NAMES);
    salvage(rows);
    assert_int_equal(rows[HF_IN_DEAD], MANY); /* possibly delivered, each once */
    assert_int_equal(rows[HF_IN_INBOX], 0);
}

/* ---- Records of the log */

/* Whatever leads to large values, old or new: no row says where they begin. */
static void hurt_leaves_of_runs(void)
{
    enum { LEAF = 2, BIG = 1 };
    uint8_t page[HURT_PAGE];
    int fd = hurt_file("store"), hurt = 0;
    for (off_t at = 2 * HURT_PAGE; pread(fd, page, HURT_PAGE, at) == HURT_PAGE; at += HURT_PAGE) {
        size_t node = hf_get16(page + 16);
        if (hf_get64(page) * HURT_PAGE != (uint64_t)at || hf_get16(page + 10) != LEAF
            || node > HURT_PAGE - 8 || !(hf_get16(page + node + 4) & BIG))
            continue;
        memset(page, 0, sizeof page);
        assert_int_equal(pwrite(fd, page, HURT_PAGE, at), HURT_PAGE);
        hurt++;
    }
    (void)close(fd);
    assert_true(hurt > 0);
}

enum { GROUPS = 3, RECORDS = 3, EACH = 4 };

/* A group is several records, each in pages of its own. */
static void append_group(void)
{
    static char body[60000];
    hf_group group = { 0 };
    hf_segment sends[RECORDS] = { { .shard = 0 } };
    memset(body, 'b', sizeof body);
    for (int r = 0; r < RECORDS; r++) {
        for (int i = 0; i < EACH; i++) {
            hf_entry e = full_entry(&c, HF_OP_SEND, full_actors[i], 0, "large", "");
            e.data = hf_view(body, sizeof body - (size_t)i);
            CORE_OK(hf_segment_add(&sends[r], &e));
        }
        CORE_OK(hf_group_add(&group, &sends[r]));
    }
    CORE_OK(hf_log_append(c.log, &group));
    hf_group_free(&group);
    for (int r = 0; r < RECORDS; r++)
        hf_segment_done(&sends[r]);
}

static void fill_runs(void)
{
    static const hf_log_options large = { .window = 32 << 20, .shards = 2 };
    core_remove(hurt_path("store"));
    core_open(&c, hurt_path("store"), NULL, &large);
    for (int g = 0; g < GROUPS; g++)
        append_group();
    core_close(&c, false);
    hurt_leaves_of_runs();
}

static void test_records_in_runs(void **state)
{
    static const int kinds[] = { NTH_MEMORY, NTH_FILE };
    (void)state;
    fill_runs();
    salvage(rows);
    assert_int_equal(rows[HF_IN_INBOX] + rows[HF_IN_DEAD], GROUPS * RECORDS * EACH);
    for (size_t k = 0; k < 2; k++)
        for (int n = 1; n == 1 || nth.hit; n += (k ? 97 : 3) * NTH_STEP) {
            core_remove(hurt_path("to"));
            nth_on(kinds[k], k ? "pread" : NULL, n, EIO);
            int err = hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL);
            nth_off();
            if (err)
                continue;
            (void)hurt_sum(hurt_path("to"), rows);
            uint64_t letters = rows[HF_IN_INBOX] + rows[HF_IN_DEAD];
            if (k ? !letters : letters != GROUPS * RECORDS * EACH)
                fail_msg("call %d: %llu letters", n, (unsigned long long)letters);
        }
}

/* Of the records one is damaged besides: its letters are lost, not those of others. */
static void test_damaged_runs(void **state)
{
    static const struct {
        size_t at;
        char   bytes[8];
    } odds[] = {
        { 12, "\xff\xff\xff\xff" }, { 24, "" }, { 300, "damage" },
    };
    hf_key key;
    (void)state;
    for (size_t i = 0; i < sizeof odds / sizeof *odds; i++) {
        uint8_t page[HURT_PAGE];
        bool done = false;
        fill_runs();
        int fd = hurt_file("store");
        for (off_t at = 0; !done && pread(fd, page, HURT_PAGE, at) == HURT_PAGE; at += HURT_PAGE) {
            if (memcmp(page + 16, "HFL", 3) != 0)
                continue;
            memcpy(page + 16 + odds[i].at, odds[i].bytes, i ? 8 : 4);
            assert_int_equal(pwrite(fd, page, HURT_PAGE, at), HURT_PAGE);
            done = true;
        }
        (void)close(fd);
        assert_true(done);
        salvage(rows);
        assert_in_range(rows[HF_IN_INBOX] + rows[HF_IN_DEAD], (GROUPS - 1) * RECORDS * EACH,
                        (GROUPS * RECORDS - 1) * EACH);
        hf_key_text(&key, "*");
        assert_true(has_row(HF_IN_PAUSES, &key, "records of the log are lost"));
    }
}

/* Right checksums round entries that can't be, and runs that only look like records. */
static void test_false_records(void **state)
{
    hf_record_head head = { .flags = HF_RECORD_LAST, .group = 5000, .waiting = 1 };
    (void)state;
    begin();
    (void)core_send(&c, "order/1", "", hf_str("sound"));
    fold();
    finish();
    hf_entry e = hurt_fact(hurt_number("store", "seed"), HF_OP_SEND, "order/1");
    e.flags = HF_ENTRY_SHARES; /* the body of something that is not there */
    e.back = 16;
    hurt_record("store", 5000, &head, &e, 1);
    head.group = 6000;
    hurt_record("store", 6000, &head, &e, 0);
    salvage(rows);
    assert_int_equal(rows[HF_IN_INBOX] + rows[HF_IN_DEAD], 1);
    hf_key key;
    hf_key_text(&key, "four");
    hurt_put("store", HF_IN_LOG, &key, "x", 1);
    salvage(rows);
    says("it has no position");
    assert_int_equal(rows[HF_IN_INBOX] + rows[HF_IN_DEAD], 1);
}

/* ---- What the store says about itself */

static void small(void)
{
    core_remove(hurt_path("store"));
    core_open(&c, hurt_path("store"), NULL, NULL);
    (void)core_send(&c, "order/1", "", hf_str("sound"));
    fold();
    core_close(&c, true);
}

static void put_meta(const char *name, const void *bytes, size_t len)
{
    hf_key key;
    hf_key_text(&key, name);
    hurt_put("store", HF_IN_META, &key, bytes, len);
}

static void test_meta(void **state)
{
    static const char *const names[] = { "next", "tail", "format", "uuid" };
    static const uint8_t newer[8] = { HF_FORMAT + 1 }, far[8] = { 0, 0, 0, 0, 0, 1 };
    char name[16];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        small();
        put_meta(names[i], "1234567", 7);
        salvage(rows);
        assert_int_equal(rows[HF_IN_INBOX], 1);
    }
    small();
    put_meta("format", newer, 8);
    assert_int_equal(salvage_says("format"), HF_EVERSION);
    small();
    put_meta("format", far, 8);
    assert_int_equal(salvage_says("format"), HF_EVERSION);
    small();
    for (int i = 0; i < 20; i++) { /* more than are kept, and the seed comes behind them */
        (void)snprintf(name, sizeof name, "a%02d", i);
        put_meta(name, "12345678", 8);
    }
    assert_int_equal(salvage_says("too many rows of meta"), HF_ECORRUPT);
}

static void test_marker(void **state)
{
    hf_marker marker, other;
    char path[200];
    (void)state;
    small();
    CORE_OK(hf_marker_read(hurt_path("store"), &marker));
    other = marker;
    other.uuid[3] ^= 1;
    (void)snprintf(path, sizeof path, "%s/" HF_MARKER_FILE, hurt_path("store"));
    assert_int_equal(unlink(path), 0);
    CORE_OK(hf_marker_write(hurt_path("store"), &other));
    assert_int_equal(salvage_says("it is another store's"), HF_OK);
    write_file(path, "no marker");
    assert_int_equal(salvage_says("marker damaged"), HF_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(salvage_says("it is missing"), HF_OK);
    CORE_OK(hf_marker_write(hurt_path("store"), &marker));
    put_meta("uuid", "short", 5);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(salvage_says("uuid lost"), HF_OK);
}

/* ---- What keeps it from beginning */

static int end_it(void *user, hf_bytes row)
{
    (void)user, (void)row;
    return HF_ECLOSED;
}

static void test_refused(void **state)
{
    char path[200];
    (void)state;
    small();
    core_remove(hurt_path("to"));
    nth_on(NTH_FILE, "fcntl", 1, EIO);
    assert_int_equal(hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL), HF_EIO);
    nth_on(NTH_FILE, "fcntl", 1, EACCES);
    assert_int_equal(hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL), HF_EBUSY);
    nth_on(NTH_FILE, "open", 1, EACCES);
    assert_int_equal(hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL), HF_EIO);
    nth_off();
    (void)snprintf(path, sizeof path, "%s/" HF_MARKER_FILE, hurt_path("store"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hf_salvage(hurt_path("store"), hurt_path("to"), end_it, NULL), HF_ECLOSED);
    assert_int_not_equal(access(hurt_path("to"), F_OK), 0);
    salvage(rows);
    assert_int_equal(rows[HF_IN_INBOX], 1);
}

/* LMDB's own count of a table's rows. */
static void miscount(hf_table table)
{
    uint8_t page[HURT_PAGE];
    const char *name = hf_table_name(table);
    uint64_t at = hurt_root("store", 0);
    int fd = hurt_file("store");
    assert_int_equal(pread(fd, page, HURT_PAGE, (off_t)(at * HURT_PAGE)), HURT_PAGE);
    uint8_t *found = memmem(page, HURT_PAGE, name, strlen(name));
    assert_non_null(found);
    hf_put64(found + strlen(name) + 32, hf_get64(found + strlen(name) + 32) + 3);
    assert_int_equal(pwrite(fd, page, HURT_PAGE, (off_t)(at * HURT_PAGE)), HURT_PAGE);
    (void)close(fd);
}

static void test_miscounted(void **state)
{
    hf_key key;
    (void)state;
    small();
    miscount(HF_IN_INBOX);
    core_remove(hurt_path("to"));
    assert_int_equal(hf_salvage(hurt_path("store"), hurt_path("to"), end_it, NULL), HF_ECLOSED);
    salvage(rows);
    says("1 were found, LMDB counted 4");
    assert_int_equal(rows[HF_IN_INBOX], 1);
    hf_key_text(&key, "*");
    assert_true(has_row(HF_IN_PAUSES, &key, "nobody can say whose"));
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP) {
        core_remove(hurt_path("to"));
        nth_on(NTH_MEMORY, NULL, n, 0);
        int err = hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL);
        nth_off();
        assert_true(err == HF_ENOMEM || has_row(HF_IN_PAUSES, &key, "nobody can say whose"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_that_ended),
        cmocka_unit_test(test_letter_that_came_due),
        cmocka_unit_test(test_many_delayed),
        cmocka_unit_test(test_records_in_runs),
        cmocka_unit_test(test_damaged_runs),
        cmocka_unit_test(test_false_records),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_marker),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_miscounted),
    };
    nth.pretend = true;
    (void)snprintf(hurt_here, sizeof hurt_here, "%s", core_directory("salvage-log", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(hurt_here);
    return failed;
}
