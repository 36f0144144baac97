/* test_full_disk.c - no room left: what was accepted is acknowledged all the same.
 *
 * 10,000 messages wait; then somebody else fills the file system to the last block, or
 * the map is at its end. Sends stop (hf_log_room says no), every message can be ended
 * and folded without an error, and when there is room again work goes on. Needs root,
 * to mount small file systems; without it: skipped, or failed if HF_REQUIRE is set. */
#include "tests/support/core.h"

#include "storage/error.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { MESSAGES = 10000, MOST = 400000, ACTORS = 100 };
#define KIB(n) ((uint64_t)(n) << 10)

typedef struct scene {
    core           core;
    hf_log_options log;
    const char    *directory;
    char           path[512], filler[512];
    uint64_t      *ids;
    uint32_t      *actors;
    uint32_t       count; /* messages that wait */
    bool           turns; /* what ends them is what turns did */
    void         (*work)(void *); /* sorting that was put off */
    void          *arg;
    uint64_t       random;
} scene;

static const char *address(uint32_t actor)
{
    static char text[24];
    (void)snprintf(text, sizeof text, "order/%u", actor);
    return text;
}

/* `count` messages in one group; what the append answers. */
static int send_some(scene *s, uint32_t count)
{
    static const char body[100];
    hf_group group = { 0 };
    hf_segment segment = { .shard = 0 };
    for (uint32_t i = 0; i < count; i++) {
        uint32_t actor = (uint32_t)(core_random(&s->random) % ACTORS);
        hf_entry e = core_entry(s->core.log, HF_OP_SEND, address(actor));
        e.data = hf_view(body, sizeof body);
        s->actors[s->count + i] = actor;
        CORE_OK(hf_segment_add(&segment, &e));
    }
    CORE_OK(hf_group_add(&group, &segment));
    int err = hf_log_append(s->core.log, &group);
    for (uint32_t i = 0; !err && i < count; i++)
        s->ids[s->count++] = segment.base + i;
    hf_group_free(&group);
    hf_segment_done(&segment);
    return err;
}

/* End `count` of those that wait, chosen at random. */
static int end_some(scene *s, uint32_t count)
{
    hf_group group = { 0 };
    hf_segment facts = { .shard = HF_FACTS };
    for (uint32_t i = 0; i < count; i++) {
        uint32_t left = s->count - i, at = (uint32_t)(core_random(&s->random) % left);
        uint64_t id = s->ids[at];
        uint32_t actor = s->actors[at];
        s->ids[at] = s->ids[left - 1];
        s->ids[left - 1] = id;
        s->actors[at] = s->actors[left - 1];
        s->actors[left - 1] = actor;
        if (id >= hf_log_folded(s->core.log)) {
            CORE_OK(hf_group_done(&group, id, 1));
            continue;
        }
        hf_entry e = core_entry(s->core.log, HF_OP_ACK, address(actor));
        e.id = e.place = id;
        CORE_OK(hf_segment_add(&facts, &e));
        CORE_OK(hf_group_named(&group, id));
    }
    if (facts.count)
        CORE_OK(hf_group_add(&group, &facts));
    group.leaves = s->turns;
    int err = hf_log_append(s->core.log, &group);
    if (!err)
        s->count -= count;
    hf_group_free(&group);
    hf_segment_done(&facts);
    return err;
}

/* Somebody else takes every block there is. */
static void fill_up(scene *s)
{
    static char block[1 << 16];
    int fd = open(s->filler, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    for (size_t size = sizeof block; size; size /= 2)
        while (write(fd, block, size) > 0)
            ;
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(close(fd), 0);
}

/* Send as long as the log says there is room: it has to say no some time. A group may
 * be refused a little before, since its pages have to lie side by side. */
static void send_until_refused(scene *s, uint32_t group)
{
    int err = HF_OK;
    while (!err && hf_log_room(s->core.log)) {
        assert_true(s->count + group < MOST);
        err = send_some(s, group);
        assert_true(err == HF_OK || err == HF_EFULL);
    }
    assert_false(hf_log_room(s->core.log));
}

static void expect_waiting(scene *s)
{
    hf_view_of *view;
    hf_bytes key, value;
    hf_txn *txn;
    hf_cursor *cursor;
    uint64_t rows;
    CORE_OK(hf_view_open(&view, s->core.disk));
    hf_view_close(view);
    CORE_OK(hf_txn_read(s->core.disk, &txn));
    CORE_OK(hf_txn_count(txn, HF_IN_INBOX, &rows));
    assert_int_equal(rows, s->count);
    CORE_OK(hf_cursor_open(txn, HF_IN_LOG, &cursor));
    assert_int_equal(hf_cursor_first(cursor, &key, &value), HF_ENOTFOUND);
    hf_cursor_close(cursor);
    hf_txn_abort(txn);
}

/* All that wait are ended, in groups of `group`, without one error. */
static void end_all(scene *s, uint32_t group)
{
    while (s->count) {
        int err = end_some(s, s->count < group ? s->count : group);
        if (err)
            fail_msg("with %u waiting: %d %s", s->count, err, hf_error_detail());
        if (core_random(&s->random) % 16 == 0)
            CORE_OK(hf_log_fold(s->core.log, 64 << 10));
    }
    CORE_OK(hf_log_fold_all(s->core.log));
    expect_waiting(s);
}

static void scene_open(scene *s, uint64_t store_max, uint64_t window)
{
    hf_disk_options disk = { .store_max = store_max, .reserve = KIB(1024) };
    s->log = (hf_log_options){ .window = window };
    core_open(&s->core, s->path, &disk, &s->log);
}

static void scene_make(scene *s, const char *name, const char *size)
{
    *s = (scene){ .directory = core_directory(name, true), .random = 7 };
    if (size && mount("tmpfs", s->directory, "tmpfs", 0, size))
        fail_msg("cannot mount: %s", strerror(errno));
    (void)snprintf(s->path, sizeof s->path, "%s/store", s->directory);
    (void)snprintf(s->filler, sizeof s->filler, "%s/filler", s->directory);
    s->ids = calloc(MOST, sizeof *s->ids);
    s->actors = calloc(MOST, sizeof *s->actors);
    assert_true(s->ids && s->actors);
}

static void scene_end(scene *s, bool mounted)
{
    core_close(&s->core, true);
    if (mounted)
        assert_int_equal(umount(s->directory), 0);
    core_remove(s->directory);
    free(s->ids);
    free(s->actors);
}

/* Somebody else fills the disk; `group` messages are sent and ended at a time. */
static void full_disk(uint64_t window, uint32_t group, bool reopen)
{
    scene s;
    scene_make(&s, "full", "size=32m");
    scene_open(&s, KIB(256 << 10), window);
    while (s.count < MESSAGES) {
        assert_true(hf_log_room(s.core.log));
        assert_int_equal(send_some(&s, 100), HF_OK);
    }
    fill_up(&s);
    send_until_refused(&s, group);
    fill_up(&s);
    if (reopen) {
        core_close(&s.core, false);
        scene_open(&s, KIB(256 << 10), window);
        send_until_refused(&s, group);
    }
    end_all(&s, group);
    assert_int_equal(unlink(s.filler), 0);
    for (int i = 0; i < 1000 && !hf_log_room(s.core.log); i++)
        (void)usleep(2000);
    assert_true(hf_log_room(s.core.log));
    for (int i = 0; i < 100; i++)
        assert_int_equal(send_some(&s, 50), HF_OK);
    CORE_OK(hf_log_fold_all(s.core.log));
    expect_waiting(&s);
    scene_end(&s, true);
}

static void put_off(void *user, void (*work)(void *), void *arg)
{
    scene *s = user;
    s->work = work;
    s->arg = arg;
}

static bool do_work(scene *s)
{
    void (*work)(void *) = s->work;
    s->work = NULL;
    if (work)
        work(s->arg);
    return work != NULL;
}

/* The map fills while nobody gets to sort what is to be folded: turns may not use up the
 * room that the fold needs once it can begin, however much that still is. */
static void full_unsorted(uint64_t window, uint32_t group)
{
    scene s;
    hf_disk_options disk = { .store_max = KIB(12 << 10), .reserve = KIB(1024) };
    hf_log_stats stats;
    scene_make(&s, "unsorted", NULL);
    s.log = (hf_log_options){ .window = window, .offload = put_off, .user = &s };
    s.turns = true;
    core_open(&s.core, s.path, &disk, &s.log);
    send_until_refused(&s, group);
    while (s.count) {
        int err = end_some(&s, s.count < group ? s.count : group);
        if (err != HF_EFULL) {
            CORE_OK(err);
            hf_log_stat(s.core.log, &stats); /* a group or two more, not all of them */
            assert_true(!s.work || !stats.tight || stats.bytes < stats.limit + KIB(128));
            continue;
        }
        if (!do_work(&s)) /* no more of it, and still no room */
            fail_msg("with %u waiting: %s", s.count, hf_error_detail());
        CORE_OK(hf_log_fold(s.core.log, UINT64_MAX));
    }
    (void)do_work(&s);
    s.log.offload = NULL;
    core_close(&s.core, true);
    core_open(&s.core, s.path, &disk, &s.log);
    CORE_OK(hf_log_fold_all(s.core.log));
    expect_waiting(&s);
    scene_end(&s, false);
}

/* The same with the map as the limit. */
static void full_map(uint64_t window, uint32_t group)
{
    scene s;
    scene_make(&s, "map", NULL);
    scene_open(&s, KIB(12 << 10), window);
    send_until_refused(&s, group);
    assert_true(s.count >= MESSAGES);
    end_all(&s, group);
    for (int i = 0; i < 1000 && !hf_log_room(s.core.log); i++)
        (void)usleep(2000);
    assert_true(hf_log_room(s.core.log));
    for (int i = 0; i < 100; i++)
        assert_int_equal(send_some(&s, 50), HF_OK);
    CORE_OK(hf_log_fold_all(s.core.log));
    expect_waiting(&s);
    scene_end(&s, false);
}

static void test_full_disk(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        if (getenv("HF_REQUIRE"))
            fail_msg("a small file system can be mounted by root only");
        printf("SKIP: a small file system can be mounted by root only\n");
        skip();
    }
    static const uint32_t groups[] = { 1, 10, 100, 700 };
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        full_disk(KIB(64), groups[i], false);
        full_disk(KIB(1024), groups[i], false);
        full_disk(KIB(1024), groups[i], true);
        full_disk(KIB(8 << 10), groups[i], false);
    }
}

static void test_full_map(void **state)
{
    (void)state;
    static const uint32_t groups[] = { 1, 10, 100, 700 };
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        full_map(KIB(64), groups[i]);
        full_map(KIB(1024), groups[i]);
        full_map(KIB(3 << 10), groups[i]);
        full_unsorted(KIB(256), groups[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_map),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
