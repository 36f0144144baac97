/* test_sharing.c - messages that share a body: found where it is, refused where not. */
#include "tests/support/core.h"

#include "recovery/replay.h"
#include "storage/error.h"
#include "storage/fate.h"
#include "storage/sharing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LEN = 200 };

static char body[LEN], path[400];

static hf_entry entry(uint8_t op, const char *to)
{
    return (hf_entry){ .op = op, .to = to, .to_len = (uint8_t)strlen(to) };
}

/* A BODY, then a SEND that goes `back` so many bytes; returns where that stands. */
static size_t make(uint8_t *at, uint32_t back)
{
    hf_entry b = entry(HF_OP_BODY, "@news"), s = entry(HF_OP_SEND, "a/1");
    b.data = hf_view(body, LEN);
    size_t size = hf_entry_encode(&b, at);
    s.flags = HF_ENTRY_SHARES;
    s.back = back ? back : (uint32_t)size;
    hf_entry_encode(&s, at + size);
    return size;
}

static bool resolves(const uint8_t *start, const uint8_t *at, hf_entry *e)
{
    return hf_entry_decode(at, 4096, e) && hf_sharing_resolve(start, at, e);
}

static void test_found(void **state)
{
    uint8_t bytes[4096] __attribute__((aligned(16)));
    hf_entry e;
    (void)state;
    memset(body, 'b', sizeof body);
    size_t at = make(bytes, 0);
    assert_int_equal(hf_entry_weight(bytes + at), LEN);
    assert_true(resolves(bytes, bytes + at, &e));
    assert_int_equal(e.data.len, LEN);
    assert_memory_equal(e.data.data, body, LEN);
    assert_int_equal((uintptr_t)e.data.data % 16, 0);
    assert_int_equal(e.flags & HF_ENTRY_SHARES, 0);
    assert_int_equal(e.back, 0);
    /* It is a message on its own now. */
    uint8_t alone[4096];
    size_t size = hf_entry_encode(&e, alone);
    assert_int_equal(hf_entry_weight(alone), LEN);
    assert_int_equal(hf_entry_decode(alone, size, &e), size);
    assert_memory_equal(e.data.data, body, LEN);
    hf_entry b = entry(HF_OP_BODY, "@news"), put = entry(HF_OP_PUT, "a/1");
    assert_false(hf_entry_keeps(&b));
    assert_false(hf_entry_keeps(&e));
    assert_true(hf_entry_keeps(&put));
}

static void test_refused(void **state)
{
    uint8_t bytes[4096] = { 0 };
    const uint32_t wrong[] = { 1, 8, 15, 16, 32, 1 << 20, UINT32_MAX };
    hf_entry e;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t at = make(bytes, wrong[i]);
        assert_false(resolves(bytes, bytes + at, &e));
    }
    size_t at = make(bytes, 0);
    assert_false(resolves(bytes + 16, bytes + at, &e)); /* before the first entry */
    bytes[0] = HF_OP_SEND;                              /* no BODY */
    assert_false(resolves(bytes, bytes + at, &e));
    bytes[0] = HF_OP_BODY;
    assert_true(resolves(bytes, bytes + at, &e));
    bytes[at] = HF_OP_ACK; /* only messages share */
    assert_false(resolves(bytes, bytes + at, &e));
    bytes[at] = HF_OP_SEND;
    hf_entry s = entry(HF_OP_SEND, "a/1"); /* nor those with a body of their own */
    s.flags = HF_ENTRY_SHARES;
    s.back = (uint32_t)at;
    s.data = hf_str("x");
    hf_entry_encode(&s, bytes + at);
    assert_false(resolves(bytes, bytes + at, &e));
}

/* ---- In a store */

static const hf_log_options options = { .window = 1 << 20 };

static void put_shared(core *c, uint32_t back, uint64_t *ids, int count)
{
    hf_group group = { 0 };
    hf_segment segment = { .shard = 0 };
    hf_entry b = core_entry(c->log, HF_OP_BODY, "@news");
    b.data = hf_view(body, LEN);
    CORE_OK(hf_segment_add(&segment, &b));
    for (int i = 0; i < count; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "a/%d", i);
        hf_entry s = core_entry(c->log, HF_OP_SEND, to);
        s.flags = HF_ENTRY_SHARES;
        s.back = back ? back : segment.len;
        CORE_OK(hf_segment_add(&segment, &s));
    }
    CORE_OK(hf_group_add(&group, &segment));
    CORE_OK(hf_log_append(c->log, &group));
    for (int i = 0; i < count; i++)
        ids[i] = segment.base + 1 + (uint64_t)i;
    hf_group_free(&group);
    hf_segment_done(&segment);
}

static int whole(void *user, const hf_entry *e)
{
    *(int *)user += e->data.len == LEN && memcmp(e->data.data, body, LEN) == 0
        && !(e->flags & HF_ENTRY_SHARES);
    return HF_OK;
}

static int seen_whole(core *c, int count)
{
    hf_view_of *view;
    int seen = 0;
    CORE_OK(hf_view_open(&view, c->disk));
    for (int i = 0; i < count; i++) {
        char to[16];
        (void)snprintf(to, sizeof to, "a/%d", i);
        CORE_OK(hf_view_inbox(view, to, 0, whole, &seen));
    }
    hf_view_close(view);
    return seen;
}

static void test_rows_stand_alone(void **state)
{
    core c;
    uint64_t ids[5];
    int logged = 0;
    (void)state;
    core_open(&c, path, NULL, &options);
    put_shared(&c, 0, ids, 5);
    hf_entry retry = core_entry(c.log, HF_OP_RETRY, "a/1");
    retry.id = retry.place = ids[1];
    retry.attempt = 1;
    core_put(&c, HF_FACTS, &retry);
    assert_int_equal(seen_whole(&c, 5), 5);
    hf_view_of *view;
    CORE_OK(hf_view_open(&view, c.disk));
    CORE_OK(hf_view_log(view, whole, &logged));
    hf_view_close(view);
    assert_int_equal(logged, 6); /* the BODY, too */
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(seen_whole(&c, 5), 5);
    retry.attempt = 2; /* a row that is read and written again */
    core_put(&c, HF_FACTS, &retry);
    CORE_OK(hf_log_fold_all(c.log));
    assert_int_equal(seen_whole(&c, 5), 5);
    core_close(&c, true);
}

/* Nothing of a record whose messages are all done is kept for its body. */
static void test_given_back(void **state)
{
    core c;
    uint64_t ids[5];
    (void)state;
    core_open(&c, path, NULL, &options);
    CORE_OK(hf_log_fold_all(c.log));
    put_shared(&c, 0, ids, 5);
    const hf_record *r = hf_window_find(hf_log_window(c.log), ids[0]);
    assert_non_null(r->data);
    core_done(&c, ids[0], 5);
    core_send(&c, "b/1", "", hf_str(""));
    assert_null(r->data);
    core_close(&c, true);
}

static void test_damaged_record(void **state)
{
    core c;
    uint64_t ids[2];
    hf_view_of *view = NULL;
    (void)state;
    core_open(&c, path, NULL, &options);
    put_shared(&c, 16, ids, 2); /* into the middle of the body */
    assert_int_equal(hf_view_open(&view, c.disk), HF_ECORRUPT);
    assert_null(view);
    core_close(&c, true);
    static const hf_disk_options small = { .store_max = 64u << 20, .reserve = 16u << 20 };
    CORE_OK(hf_disk_open(&c.disk, path, &small));
    CORE_OK(hf_log_open(&c.log, c.disk, &options));
    assert_int_equal(hf_replay(c.log), HF_ECORRUPT);
    (void)hf_log_close(c.log, false);
    hf_disk_close(c.disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_rows_stand_alone), cmocka_unit_test(test_given_back),
        cmocka_unit_test(test_damaged_record),
    };
    const char *directory = core_directory("sharing", true);
    (void)snprintf(path, sizeof path, "%s/store", directory);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(directory);
    return failed;
}
