/* test_log.c - positions, opens clean and unclean, damage, want of memory. */
#include "tests/support/core.h"
#include "tests/support/outdate.h"

#include "recovery/replay.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const hf_log_options options = { .window = 1 << 20 };
static char path[300];

static int reset(void **state)
{
    (void)state;
    core_remove(path);
    return 0;
}

static int count(void *user, const hf_entry *e)
{
    (void)e;
    ++*(int *)user;
    return HF_OK;
}

static int waiting(core *c, const char *actor)
{
    hf_view_of *view;
    int n = 0;
    CORE_OK(hf_view_open(&view, c->disk));
    CORE_OK(hf_view_inbox(view, actor, 0, count, &n));
    hf_view_close(view);
    return n;
}

static void test_positions(void **state)
{
    (void)state;
    core c;
    core_open(&c, path, NULL, &options);
    uint64_t first = core_send(&c, "t/1", "", hf_str("a"));
    uint64_t second = core_send(&c, "t/1", "", hf_str("b"));
    assert_int_equal(second, first + 1);
    core_close(&c, true);
    core_open(&c, path, NULL, &options);
    uint64_t third = core_send(&c, "t/1", "", hf_str("c"));
    assert_int_equal(third, second + 1);
    core_close(&c, false);
    core_open(&c, path, NULL, &options);
    uint64_t fourth = core_send(&c, "t/1", "", hf_str("d"));
    assert_int_equal(fourth, third + 1 + (1 << 24));
    CORE_OK(hf_log_fold_all(c.log)); /* an empty log still knows where it was */
    core_close(&c, true);
    core_open(&c, path, NULL, &options);
    assert_int_equal(hf_log_folded(c.log), fourth + 1);
    assert_int_equal(core_send(&c, "t/1", "", hf_str("e")), fourth + 1);
    assert_int_equal(waiting(&c, "t/1"), 5);
    core_close(&c, true);
}

/* A group larger than a record: its parts have positions that follow each other. */
static void test_large_group(void **state)
{
    (void)state;
    core c;
    static const uint8_t body[90 << 10];
    hf_group g = { 0 };
    hf_segment s[8] = { { 0 } };
    core_open(&c, path, NULL, &options);
    for (int i = 0; i < 8; i++) {
        hf_entry e = core_entry(c.log, HF_OP_SEND, "t/1");
        e.data = hf_view(body, sizeof body);
        CORE_OK(hf_segment_add(&s[i], &e));
        CORE_OK(hf_group_add(&g, &s[i]));
    }
    CORE_OK(hf_log_append(c.log, &g));
    for (int i = 1; i < 8; i++)
        assert_int_equal(s[i].base, s[0].base + (uint64_t)i);
    assert_true(hf_log_window(c.log)->count > 1);
    const hf_record *r = s[7].record;
    hf_entry back;
    assert_true(hf_entry_decode(r->data + s[7].offset, r->size - s[7].offset, &back));
    assert_int_equal(back.data.len, sizeof body);
    for (int i = 0; i < 8; i++)
        hf_segment_done(&s[i]);
    hf_group_free(&g);
    core_close(&c, false);
    core_open(&c, path, NULL, &options);
    assert_int_equal(waiting(&c, "t/1"), 8);
    core_close(&c, true);
}

/* Of each group only the last record says that it is: what reads the log by groups
 * stops there. */
static void test_last_of_group(void **state)
{
    (void)state;
    core c;
    static const uint8_t body[90 << 10];
    hf_group g = { 0 };
    hf_segment s[5] = { { 0 } };
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes key, value;
    uint32_t records = 0, last = 0;
    core_open(&c, path, NULL, &options);
    core_send(&c, "t/1", "", hf_str("one record"));
    for (int i = 0; i < 5; i++) {
        hf_entry e = core_entry(c.log, HF_OP_SEND, "t/1");
        e.data = hf_view(body, sizeof body);
        CORE_OK(hf_segment_add(&s[i], &e));
        CORE_OK(hf_group_add(&g, &s[i]));
    }
    CORE_OK(hf_log_append(c.log, &g));
    CORE_OK(hf_txn_read(c.disk, &txn));
    CORE_OK(hf_cursor_open(txn, HF_IN_LOG, &cursor));
    for (int err = hf_cursor_first(cursor, &key, &value); !err;
         err = hf_cursor_next(cursor, &key, &value)) {
        hf_record_head head;
        uint64_t position = hf_get64_key(key.data);
        CORE_OK(hf_record_check(value.data, value.len, position, &head));
        records++;
        bool ends = position < s[0].base || position + head.count > s[4].base;
        assert_int_equal(head.flags, ends ? HF_RECORD_LAST : 0);
        last += ends;
        assert_int_equal(head.group, position < s[0].base ? position : s[0].base);
    }
    hf_cursor_close(cursor);
    hf_txn_abort(txn);
    assert_true(records > 2);
    assert_int_equal(last, 2);
    for (int i = 0; i < 5; i++)
        hf_segment_done(&s[i]);
    hf_group_free(&g);
    core_close(&c, true);
}

/* Write a record that is wrong in one byte: the store refuses to open. */
static void test_damage(void **state)
{
    (void)state;
    core c;
    hf_txn *txn;
    hf_key key;
    hf_bytes value;
    uint8_t copy[4096];
    core_open(&c, path, NULL, &options);
    uint64_t at = core_send(&c, "t/1", "", hf_str("body"));
    hf_key_number(&key, at);
    CORE_OK(hf_txn_write(c.disk, &txn));
    CORE_OK(hf_txn_get(txn, HF_IN_LOG, hf_key_bytes(&key), &value));
    assert_true(value.len < sizeof copy);
    memcpy(copy, value.data, value.len);
    copy[value.len - 9] ^= 1;
    CORE_OK(hf_txn_put(txn, HF_IN_LOG, hf_key_bytes(&key), hf_view(copy, value.len)));
    CORE_OK(hf_txn_commit(txn));
    hf_view_of *view;
    assert_int_equal(hf_view_open(&view, c.disk), HF_ECORRUPT);
    core_close(&c, false);
    CORE_OK(hf_disk_open(&c.disk, path, NULL));
    CORE_OK(hf_log_open(&c.log, c.disk, &options));
    assert_int_equal(hf_replay(c.log), HF_ECORRUPT);
    assert_non_null(strstr(hf_error_detail(), "salvage"));
    hf_group none = { 0 };
    assert_int_equal(hf_log_append(c.log, &none), HF_ECORRUPT); /* dead from then on */
    hf_log_close(c.log, true);
    hf_disk_close(c.disk);
}

/* Each allocation of an append fails once: nothing is there, and then all of it. */
static void test_no_memory(void **state)
{
    (void)state;
    core c;
    hf_log_options small = { .window = 4096 };
    int failures = 0, sent = 0;
    core_open(&c, path, NULL, &small);
    for (int n = 0; n < 60; n++) {
        hf_group g = { 0 };
        hf_segment s = { 0 };
        hf_entry e = core_entry(c.log, HF_OP_SEND, "t/1");
        e.data = hf_str("a body of some length, to fill the window soon enough ............");
        CORE_OK(hf_segment_add(&s, &e));
        CORE_OK(hf_group_add(&g, &s));
        int left = n % 12;
        hf_mem_hook(core_fails_at, &left);
        int err = hf_log_append(c.log, &g);
        hf_mem_hook(NULL, NULL);
        assert_true(err == HF_OK || err == HF_ENOMEM);
        failures += err != HF_OK;
        assert_int_equal(waiting(&c, "t/1"), sent + !err);
        if (err)
            CORE_OK(hf_log_append(c.log, &g));
        assert_int_equal(waiting(&c, "t/1"), ++sent);
        hf_segment_done(&s);
        hf_group_free(&g);
    }
    assert_true(failures > 5);
    core_close(&c, true);
}

/* How long the log may be if nearly all of it is lent; each of some actors saves once before. */
static uint64_t limit_after_saves(core *c)
{
    static const uint8_t state[1500] = "a state";
    for (int i = 0; i < 200; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "t/%d", i);
        hf_entry e = core_entry(c->log, HF_OP_SAVE, to);
        e.data = hf_view(state, sizeof state);
        (void)core_put(c, 0, &e);
    }
    outdate_all(c->log);
    c->log->checked_ns = 0; /* look now */
    assert_true(hf_log_room(c->log));
    uint64_t lent = c->log->window.lent;
    c->log->window.lent = options.window * 100;
    uint64_t limit = hf_folding_limit(c->log);
    assert_true(hf_folding_start(c->log) < limit);
    c->log->window.lent = lent;
    return limit;
}

/* That costs disk, so it is for what gains by it. */
static void test_longer_if_saved_again(void **state)
{
    core c;
    (void)state;
    core_open(&c, path, NULL, &options);
    assert_int_equal(limit_after_saves(&c), options.window * 3);
    assert_int_equal(limit_after_saves(&c), options.window * 5);
    core_close(&c, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup(test_positions, reset),
                                        cmocka_unit_test_setup(test_large_group, reset),
                                        cmocka_unit_test_setup(test_last_of_group, reset),
                                        cmocka_unit_test_setup(test_damage, reset),
                                        cmocka_unit_test_setup(test_no_memory, reset),
                                        cmocka_unit_test_setup(test_longer_if_saved_again,
                                                               reset) };
    const char *directory = core_directory("log", true);
    (void)snprintf(path, sizeof path, "%s/store", directory);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(directory);
    return failed;
}
