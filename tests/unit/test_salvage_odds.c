/* test_salvage_odds.c - stores damaged in ways of which each needs its own care: what comes
 * out is sound, has each message at most once, and whoever lost something waits. */
#include "tests/unit/hurt_salvage.h"
#include "tests/unit/nth_more.h"

/* ---- Nothing leads to the tables, and old records lie about */

static void alarm_of(const char *name, uint64_t due)
{
    (void)full_alarm(&c, "order/1", name, due);
}

static void fill_with_old_records(void)
{
    hf_entry e;
    begin();
    for (int round = 0; round < 3; round++) {
        full_put(&c, HF_OP_SAVE, "order/1", 0, "", round < 2 ? "an old state" : "the new state");
        hurt_row(&c, "order/1", "uone", 0, round < 2 ? "an old row" : "the new row");
        hurt_row(&c, "order/2", "ugone", 0, "an old row");
        alarm_of("wake", 4000 + (uint64_t)round);
        hurt_letters(&c, "order/1");
        fold();
    }
    e = full_entry(&c, HF_OP_DROP, "order/2", 0, "ugone", "");
    core_put(&c, HF_FACTS, &e);
    full_put(&c, HF_OP_CANCEL, "order/1", 0, "none", "");
    full_put(&c, HF_OP_SAVE, "order/2", 0, "", "soon forgotten");
    fold();
    full_put(&c, HF_OP_FORGET, "order/2", 0, "", "");
    hurt_row(&c, "order/2", "ugone", 0, "there again");
    /* It waited, and died; it was delayed, and came due, and is done. */
    uint64_t id = core_send(&c, "paid/1", "place", hf_str("to die"));
    fold();
    e = full_entry(&c, HF_OP_DEAD, "paid/1", id, "place", "to die");
    e.attempt = 1;
    e.err = 7;
    e.died = 5;
    core_put(&c, HF_FACTS, &e);
    fold();
    finish();
}

static void new_rows_are_there(void)
{
    hf_key key = actor_key("order/1", "", 0);
    assert_true(has_row(HF_IN_STATE, &key, "the new state"));
    key = actor_key("order/1", "\0uone", 5);
    assert_true(has_row(HF_IN_ROWS, &key, "the new row"));
    key = actor_key("order/2", "\0ugone", 6);
    assert_true(has_row(HF_IN_ROWS, &key, "there again"));
}

static void test_old_records(void **state)
{
    uint64_t rows[HF_TABLES];
    (void)state;
    fill_with_old_records();
    hurt_all_roots("store");
    salvage(rows);
    says("each page is read by itself");
    new_rows_are_there();
    assert_int_equal(rows[HF_IN_INBOX], 0); /* nothing is done again by itself */
    for (int n = 1; n == 1 || nth.hit; n += 3 * NTH_STEP) {
        core_remove(hurt_path("to"));
        nth_on(NTH_MEMORY, NULL, n, 0);
        int err = hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL);
        nth_off();
        assert_true(err == HF_OK || err == HF_ENOMEM);
        if (!err)
            new_rows_are_there();
        else
            assert_int_not_equal(access(hurt_path("to"), F_OK), 0);
    }
}

/* Nothing but the row says what came after a record that lies about. */
static void test_old_record_alone(void **state)
{
    hf_record_head head = { .flags = HF_RECORD_LAST, .group = 5 };
    uint64_t rows[HF_TABLES];
    uint8_t bytes[64] = { 0 };
    hf_key key;
    (void)state;
    begin();
    (void)core_send(&c, "order/1", "", hf_str("x"));
    fold();
    finish();
    hf_entry e = hurt_fact(hurt_number("store", "seed"), HF_OP_SAVE, "ship/9");
    e.data = hf_str("the old state");
    hurt_record("store", 5, &head, &e, 1);
    hf_key_actor(&key, e.to, e.to_len, e.hash);
    hf_put64(bytes, 1000);
    memcpy(bytes + 8, "the new state", 13);
    hurt_put("store", HF_IN_STATE, &key, bytes, 21);
    hurt_all_roots("store");
    salvage(rows);
    key = actor_key("ship/9", "", 0);
    assert_true(has_row(HF_IN_STATE, &key, "the new state"));
    for (int n = 1; n == 1 || nth.hit; n++) {
        core_remove(hurt_path("to"));
        nth_on(NTH_MEMORY, NULL, n, 0);
        int err = hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL);
        nth_off();
        assert_true(err == HF_ENOMEM || has_row(HF_IN_STATE, &key, "the new state"));
    }
}

/* Only what leads to the newest commit is lost: of many others the newest is taken. */
static void test_candidates(void **state)
{
    uint64_t rows[HF_TABLES], before[HF_TABLES];
    hf_key key;
    (void)state;
    fill_with_old_records();
    (void)hurt_sum(hurt_path("store"), before);
    uint64_t page = hurt_root("store", 0);
    hurt_page("store", page, 0xee);
    salvage(rows);
    says("this page does");
    new_rows_are_there();
    begin();
    for (int i = 0; i < 70; i++) /* more than it will look at */
        (void)core_send(&c, "order/1", "", hf_str("one"));
    fold();
    finish();
    hurt_page("store", 0, 0);
    hurt_page("store", 1, 0);
    salvage(rows);
    says("its roots are lost");
    assert_in_range(rows[HF_IN_INBOX] + rows[HF_IN_DEAD], 1, 70);
    hf_key_text(&key, "*");
    assert_true(has_row(HF_IN_PAUSES, &key, "this may not be the newest commit"));
}

/* False rows make a commit no better. */
static void test_odd_candidates(void **state)
{
    uint64_t rows[HF_TABLES];
    hf_key key;
    (void)state;
    fill_with_old_records();
    hf_key_text(&key, "four");
    hurt_put("store", HF_IN_LOG, &key, "x", 1);
    hf_key_number(&key, 99);
    hurt_put("store", HF_IN_LOG, &key, "x", 1);
    hf_key_text(&key, "next");
    hurt_put("store", HF_IN_META, &key, "1234567", 7);
    hurt_page("store", 0, 0);
    hurt_page("store", 1, 0);
    salvage(rows); /* an older one, perhaps: then all of it waits */
    hf_key_text(&key, "*");
    assert_true(has_row(HF_IN_PAUSES, &key, "this may not be the newest commit"));
}

/* ---- Rows damaged one by one */

typedef struct hits {
    int      every, count;
    bool     keys; /* damage those, not what is under them */
    uint64_t page[4000];
    uint8_t  bytes[4000][24];
    size_t   len[4000];
    int      wanted;
} hits;

static hits all;

static int note_row(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    hits *h = user;
    hf_bytes of = h->keys ? key : hf_view((const uint8_t *)value.data + 1, value.len - 1);
    if (h->count++ % h->every || h->wanted == 4000)
        return HF_OK;
    h->page[h->wanted] = page;
    h->len[h->wanted] = of.len < 24 ? of.len : 24;
    memcpy(h->bytes[h->wanted], (const uint8_t *)of.data + of.len - h->len[h->wanted],
           h->len[h->wanted]);
    h->wanted++;
    return HF_OK;
}

/* A bit in the last byte of every so manieth row. */
static int hurt_rows(hf_table table, int every, bool keys, uint8_t bit)
{
    uint8_t page[HURT_PAGE];
    hf_pages_tree tree;
    hf_pages *pages = hurt_pages("store");
    all = (hits){ .every = every, .keys = keys };
    CORE_OK(hf_pages_table(pages, 0, hf_table_name(table), &tree));
    CORE_OK(hf_pages_walk(pages, &tree, note_row, NULL, &all));
    hf_pages_close(pages);
    int fd = hurt_file("store");
    for (int i = 0; i < all.wanted; i++) {
        off_t at = (off_t)(all.page[i] * HURT_PAGE);
        assert_int_equal(pread(fd, page, HURT_PAGE, at), HURT_PAGE);
        uint8_t *found = memmem(page, HURT_PAGE, all.bytes[i], all.len[i]);
        assert_non_null(found);
        found[all.len[i] - 1] ^= bit;
        assert_int_equal(pwrite(fd, page, HURT_PAGE, at), HURT_PAGE);
    }
    (void)close(fd);
    return all.wanted;
}

enum { CROWD = 1100 };

static void fill_crowd(int actors)
{
    char to[32];
    core_remove(hurt_path("store"));
    core_open(&c, hurt_path("store"), NULL, NULL);
    for (int i = 0; i < actors; i += 20) {
        hf_group group = { 0 };
        hf_segment facts = { .shard = HF_FACTS }, sends = { .shard = 0 };
        for (int k = i; k < i + 20 && k < actors; k++) {
            (void)snprintf(to, sizeof to, "o/%d", k);
            hf_entry e = full_entry(&c, HF_OP_SAVE, to, 0, "", "a state of its own");
            CORE_OK(hf_segment_add(&facts, &e));
            e = full_entry(&c, HF_OP_SEND, to, 0, "place", "a body");
            CORE_OK(hf_segment_add(&sends, &e));
        }
        CORE_OK(hf_group_add(&group, &facts));
        CORE_OK(hf_group_add(&group, &sends));
        CORE_OK(hf_log_append(c.log, &group));
        hf_group_free(&group);
        hf_segment_done(&facts);
        hf_segment_done(&sends);
    }
    fold();
    core_close(&c, false);
}

static void test_many_rows(void **state)
{
    uint64_t rows[HF_TABLES];
    hf_key key;
    (void)state;
    fill_crowd(CROWD);
    int lost = hurt_rows(HF_IN_STATE, 2, false, 1);
    assert_int_equal(lost, CROWD / 2);
    salvage(rows);
    assert_int_equal(rows[HF_IN_STATE], CROWD - lost);
    assert_int_equal(rows[HF_IN_INBOX], CROWD);
    assert_int_equal(rows[HF_IN_PAUSES], lost); /* each by its own name */
    fill_crowd(CROWD);
    assert_int_equal(hurt_rows(HF_IN_STATE, 1, false, 1), CROWD);
    salvage(rows);
    assert_int_equal(rows[HF_IN_STATE], 0);
    assert_int_equal(rows[HF_IN_PAUSES], 1001); /* and the rest by all waiting */
    hf_key_text(&key, "*");
    assert_true(has_row(HF_IN_PAUSES, &key, "state is lost"));
}

/* So many rows agree about the seed that no more are asked. */
static void test_seed(void **state)
{
    uint64_t rows[HF_TABLES];
    (void)state;
    fill_crowd(CROWD);
    uint64_t seed = hurt_number("store", "seed");
    hf_key key;
    hf_key_text(&key, "seed");
    core_mark_seed(hurt_path("store"), 0);
    hurt_put("store", HF_IN_META, &key, "1234567", 7); /* no number */
    hurt_put("store", HF_IN_META, &key, "7654321", 7); /* and the one before, too */
    salvage(rows);
    assert_true(hurt_number("to", "seed") == seed);
    assert_int_equal(rows[HF_IN_INBOX] + rows[HF_IN_DEAD], CROWD);
    assert_int_equal(rows[HF_IN_STATE], CROWD);
}

static void fill_dead(void)
{
    core_remove(hurt_path("store"));
    core_open(&c, hurt_path("store"), NULL, &few);
    for (int i = 0; i < 40; i++) {
        uint64_t id = full_dead(&c, "order/1", 5000);
        full_step(&c, id, 1, 2);
        alarm_of("wake", 4000);
        hurt_row(&c, full_actors[i % 5], "uone", 0, "a row");
    }
    (void)core_send(&c, "order/1", "", hf_str("x"));
    fold();
    core_close(&c, false);
}

/* Keys that can't be checked: what was believed proves wrong at the next row. */
static void test_keys(void **state)
{
    static const struct {
        hf_table table;
        int      every;
        uint8_t  bit;
    } kinds[] = {
        { HF_IN_DEAD, 3, 0x40 }, { HF_IN_DEAD, 2, 0x01 },  { HF_IN_DEAD, 39, 0x80 },
        { HF_IN_STEPS, 3, 0x40 }, { HF_IN_ROWS, 2, 0x40 }, { HF_IN_ALARM_NAMES, 1, 0x01 },
        { HF_IN_INBOX, 1, 0x01 }, { HF_IN_DEAD, 1, 0x20 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        uint64_t rows[HF_TABLES], before[HF_TABLES];
        fill_dead();
        (void)hurt_sum(hurt_path("store"), before);
        uint64_t lost = (uint64_t)hurt_rows(kinds[i].table, kinds[i].every, true, kinds[i].bit);
        salvage(rows);
        says("row damaged");
        uint64_t now = rows[kinds[i].table];
        if (kinds[i].table != HF_IN_INBOX)
            assert_in_range(now, before[kinds[i].table] - lost, before[kinds[i].table]);
    }
}

/* Several tables with holes, a step of a letter that waits among them. */
static void test_holes(void **state)
{
    uint64_t rows[HF_TABLES];
    hf_key key;
    (void)state;
    begin();
    uint64_t id = core_send(&c, "paid/1", "", hf_str("x"));
    for (uint64_t i = 1; i < 5; i++)
        full_step(&c, id, i, 2);
    full_retry(&c, "paid/1", id, 1, 5000);
    full_put(&c, HF_OP_SAVE, "order/1", 0, "", "a state");
    hurt_row(&c, "order/2", "uone", 0, "a row");
    fold();
    finish();
    uint64_t seed = hurt_number("store", "seed");
    hf_key_actor(&key, "ship/1", 6, hf_address_hash(seed, "ship/1", 6)); /* and no name */
    hurt_put("store", HF_IN_ROWS, &key, "12345678 a row of its own", 25);
    assert_int_equal(hurt_rows(HF_IN_ROWS, 1, false, 1), 2);
    assert_int_equal(hurt_rows(HF_IN_STATE, 1, false, 1), 1);
    assert_int_equal(hurt_rows(HF_IN_STEPS, 3, false, 1), 2);
    salvage(rows);
    assert_int_equal(rows[HF_IN_INBOX], 1);
    assert_int_equal(rows[HF_IN_STEPS], 2);
    hf_key_text(&key, "paid/1");
    assert_true(has_row(HF_IN_PAUSES, &key, "steps of a message"));
    hf_key_text(&key, "order/1");
    assert_true(has_row(HF_IN_PAUSES, &key, "its state is lost"));
    hf_key_text(&key, "ship/1");
    assert_true(has_row(HF_IN_PAUSES, &key, "rows of its own"));
}

/* A branch leads to its leaves in another order. */
static void swap_leaves(hf_table table)
{
    enum { LEADS = 6 };
    uint8_t page[HURT_PAGE], kept[LEADS];
    hf_pages_tree tree;
    hf_pages *pages = hurt_pages("store");
    CORE_OK(hf_pages_table(pages, 0, hf_table_name(table), &tree));
    hf_pages_close(pages);
    assert_int_equal(tree.depth, 2);
    int fd = hurt_file("store");
    off_t at = (off_t)(tree.root * HURT_PAGE);
    assert_int_equal(pread(fd, page, HURT_PAGE, at), HURT_PAGE);
    uint8_t *one = page + hf_get16(page + 18), *other = page + hf_get16(page + 20);
    memcpy(kept, one, LEADS);
    memcpy(one, other, LEADS);
    memcpy(other, kept, LEADS);
    assert_int_equal(pwrite(fd, page, HURT_PAGE, at), HURT_PAGE);
    (void)close(fd);
}

static void test_misplaced(void **state)
{
    enum { SOME = 200 };
    static const char *const calls[] = { "mdb_cursor_open", "mdb_cursor_get", "mdb_txn_begin" };
    uint64_t rows[HF_TABLES];
    (void)state;
    fill_crowd(SOME);
    swap_leaves(HF_IN_STATE);
    swap_leaves(HF_IN_INBOX);
    salvage(rows);
    says("it stands behind a row that comes after it");
    assert_int_equal(rows[HF_IN_STATE], SOME);
    assert_int_equal(rows[HF_IN_INBOX] + rows[HF_IN_DEAD], SOME);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (int n = 1; n == 1 || (nth.hit && n < 40); n += NTH_STEP) {
            core_remove(hurt_path("to"));
            nth_on(NTH_LMDB, calls[i], n, EIO);
            int err = hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL);
            nth_off();
            assert_true(!err == (access(hurt_path("to"), F_OK) == 0));
        }
    for (int n = 1; n == 1 || nth.hit; n += 2 * NTH_STEP) {
        core_remove(hurt_path("to"));
        nth_on(NTH_MEMORY, NULL, n, 0);
        int err = hf_salvage(hurt_path("store"), hurt_path("to"), NULL, NULL);
        nth_off();
        assert_true(!err == (access(hurt_path("to"), F_OK) == 0));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_records),
        cmocka_unit_test(test_old_record_alone),
        cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_odd_candidates),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_misplaced),
    };
    nth.pretend = true;
    (void)snprintf(hurt_here, sizeof hurt_here, "%s", core_directory("salvage-odds", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(hurt_here);
    return failed;
}
