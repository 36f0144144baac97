/* test_kept.c - what stays of the log when it is folded: how much, for how long, and that
 * nothing but the history ever sees it. */
#include "tests/support/core.h"

#include "storage/annals.h"
#include "storage/clock.h"
#include "storage/kept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LETTERS = 40 };

static const char *path;
static uint64_t wall = 1700000000000, mono = 1;

static uint64_t wall_ms(void *user)
{
    (void)user;
    return wall;
}

static uint64_t mono_ns(void *user)
{
    (void)user;
    return mono += 1000;
}

static int set_up(void **state)
{
    (void)state;
    hf_clock_use(&(hf_clock){ wall_ms, mono_ns, NULL });
    path = core_directory("kept", true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hf_clock_use(NULL);
    core_remove(path);
    return 0;
}

static hf_log_options keeping(uint64_t messages)
{
    return (hf_log_options){ .window = 256 << 10, .history = messages,
                             .history_ms = 24 * 3600 * 1000 };
}

/* Letters to one actor, each done; returns the id of the first. */
static uint64_t live(core *c, int count)
{
    uint64_t first = 0;
    for (int i = 0; i < count; i++) {
        uint64_t id = core_send(c, "t/1", "k", hf_str("a body of some bytes"));
        core_done(c, id, 1);
        first = first ? first : id;
    }
    return first;
}

static int count_entry(void *user, const hf_entry *e)
{
    (void)e;
    ++*(int *)user;
    return HF_OK;
}

typedef struct found {
    int      sends, records;
    uint64_t tail, bytes;
} found;

static int see(void *user, const hf_annal *a)
{
    found *f = user;
    f->sends += a->e.op == HF_OP_SEND;
    return HF_OK;
}

/* What lies in the table `log`, and where its truth begins. */
static found look(core *c)
{
    hf_txn *txn;
    hf_kept kept;
    found f = { 0 };
    CORE_OK(hf_txn_read(c->disk, &txn));
    CORE_OK(hf_kept_tail(txn, &f.tail));
    CORE_OK(hf_kept_load(&kept, txn, f.tail));
    f.records = (int)kept.records;
    f.bytes = kept.bytes;
    CORE_OK(hf_annals_walk(txn, 0, UINT32_MAX, see, &f));
    hf_txn_abort(txn);
    return f;
}

/* Nobody who wants the truth sees it. */
static void nothing_seen(core *c)
{
    hf_view_of *view;
    int entries = 0;
    CORE_OK(hf_view_open(&view, c->disk));
    CORE_OK(hf_view_log(view, count_entry, &entries));
    hf_view_close(view);
    assert_int_equal(entries, 0);
    assert_int_equal(hf_log_window(c->log)->count, 0);
}

static void test_stays(void **state)
{
    core c;
    hf_annal a;
    hf_txn *txn;
    hf_log_stats stats;
    (void)state;
    hf_log_options options = keeping(1000);
    core_open(&c, path, NULL, &options);
    uint64_t first = live(&c, LETTERS);
    CORE_OK(hf_log_fold_all(c.log));
    found f = look(&c);
    assert_int_equal(f.sends, LETTERS);
    hf_log_stat(c.log, &stats);
    assert_true(stats.history == f.bytes && f.bytes);
    assert_true(f.tail == stats.next && stats.bytes == 0);
    nothing_seen(&c);
    CORE_OK(hf_txn_read(c.disk, &txn));
    CORE_OK(hf_annals_find(txn, first + 2, &a));
    assert_true(a.e.op == HF_OP_SEND && a.e.id == first + 2 && a.time_ms == wall);
    assert_int_equal(hf_annals_find(txn, stats.next, &a), HF_ENOTFOUND);
    hf_txn_abort(txn);
    for (int clean = 0; clean < 2; clean++) { /* also after a crash */
        core_close(&c, clean);
        core_open(&c, path, NULL, &options);
        hf_log_stat(c.log, &stats);
        assert_true(stats.history == f.bytes && stats.waiting == 0);
        assert_int_equal(look(&c).sends, LETTERS);
        nothing_seen(&c);
    }
    core_close(&c, true);
}

static void test_bounds(void **state)
{
    core c;
    (void)state;
    hf_log_options options = keeping(10);
    core_open(&c, path, NULL, &options);
    (void)live(&c, LETTERS);
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(look(&c).sends, 10);
    (void)live(&c, 4); /* of those the newest, and some older ones */
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(look(&c).sends, 10);
    /* a quarter of the window, not more */
    core_close(&c, true);
    options = keeping(1000000);
    core_open(&c, path, NULL, &options);
    for (int i = 0; i < 100; i++) {
        static char body[4000];
        core_done(&c, core_send(&c, "t/1", "k", hf_view(body, sizeof body)), 1);
    }
    CORE_OK(hf_log_fold_all(c.log));
    found f = look(&c);
    assert_true(f.bytes <= 64 << 10 && f.bytes > 48 << 10);
    core_close(&c, true);
}

static void test_age(void **state)
{
    core c;
    (void)state;
    hf_log_options options = keeping(1000);
    core_open(&c, path, NULL, &options);
    (void)live(&c, LETTERS);
    CORE_OK(hf_log_fold_all(c.log));
    wall += 23 * 3600 * 1000;
    (void)live(&c, 1);
    assert_int_equal(look(&c).sends, LETTERS + 1);
    wall += 2 * 3600 * 1000;
    (void)live(&c, 1); /* its commit takes the old ones along */
    assert_int_equal(look(&c).sends, 2);
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(look(&c).sends, 2);
    core_close(&c, true);
}

static void test_off(void **state)
{
    core c;
    (void)state;
    hf_log_options options = keeping(1000);
    core_open(&c, path, NULL, &options);
    (void)live(&c, LETTERS);
    CORE_OK(hf_log_fold_all(c.log));
    core_close(&c, true);
    /* who says nothing keeps what was asked for before */
    core_open(&c, path, NULL, &(hf_log_options){ .window = 256 << 10 });
    (void)live(&c, 1);
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(look(&c).sends, LETTERS + 1);
    core_close(&c, true);
    options.history = HF_NO_HISTORY;
    core_open(&c, path, NULL, &options);
    (void)live(&c, 1);
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(look(&c).sends, 0);
    core_close(&c, true);
}

/* It goes before anybody is refused: as much fits into a store as without it. */
static int fill(uint64_t history)
{
    core c;
    static char body[30000];
    hf_log_options options = { .window = 256 << 10, .history = history, .history_ms = UINT64_MAX };
    hf_disk_options disk = { .store_max = 6 << 20, .reserve = 2 << 20 };
    core_open(&c, path, &disk, &options);
    (void)live(&c, LETTERS);
    for (int i = 0; i < 4; i++)
        core_done(&c, core_send(&c, "t/1", "k", hf_view(body, sizeof body)), 1);
    CORE_OK(hf_log_fold_all(c.log));
    found f = look(&c);
    assert_int_equal(f.sends > 0, history != HF_NO_HISTORY);
    int letters = 0;
    while (hf_log_room(c.log) && letters < 10000) {
        (void)core_send(&c, "t/2", "k", hf_view(body, sizeof body));
        letters++;
    }
    assert_true(letters < 10000);
    f = look(&c);
    hf_log_stats stats;
    hf_log_stat(c.log, &stats);
    assert_int_equal(stats.history, 0);
    assert_int_equal(f.records, 0);
    core_close(&c, true);
    core_remove(path);
    path = core_directory("kept", true);
    return letters;
}

static void test_goes_first(void **state)
{
    (void)state;
    int without = fill(HF_NO_HISTORY), with = fill(1000);
    assert_in_range(with, without - without / 10, without + without / 10);
}

static void test_damage_below(void **state)
{
    core c;
    hf_txn *txn;
    hf_key key;
    hf_bytes value;
    (void)state;
    hf_log_options options = keeping(1000);
    core_open(&c, path, NULL, &options);
    uint64_t first = live(&c, LETTERS);
    CORE_OK(hf_log_fold_all(c.log));
    hf_key_number(&key, first);
    CORE_OK(hf_txn_write(c.disk, &txn));
    CORE_OK(hf_txn_get(txn, HF_IN_LOG, hf_key_bytes(&key), &value));
    uint8_t copy[4096];
    assert_true(value.len < sizeof copy);
    memcpy(copy, value.data, value.len);
    copy[value.len - 20] ^= 1;
    CORE_OK(hf_txn_put(txn, HF_IN_LOG, hf_key_bytes(&key), hf_view(copy, value.len)));
    CORE_OK(hf_txn_commit(txn));
    core_close(&c, false);
    core_open(&c, path, NULL, &options); /* nothing depends on it */
    nothing_seen(&c);
    assert_int_equal(look(&c).sends, LETTERS - 1);
    core_close(&c, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_age, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_goes_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_below, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
