/* test_nth_storage.c - every call that storage makes fails once: what it answers then,
 * and that nothing of the store is lost or half there. */
#include "tests/unit/full_set.h"
#include "tests/unit/nth_call.h"

#include "recovery/replay.h"

#include "storage/error.h"

static char path[100]; /* of the store; on a disk of memory, if there is one */

static const hf_log_options small_window = { .window = 64 << 10, .shards = 2 };

/* Errors of LMDB by turns, each of which store.c knows how to tell. */
static const int lmdb_errors[] = { EIO, ENOMEM, LMDB_CORRUPTED, LMDB_PAGE_NOTFOUND, ENOSPC,
                                   LMDB_MAP_FULL, LMDB_BAD_TXN, LMDB_INVALID, LMDB_PANIC,
                                   LMDB_TXN_FULL, LMDB_MAP_RESIZED, EINVAL };
enum { LMDB_ERRORS = sizeof lmdb_errors / sizeof *lmdb_errors };

static unsigned open_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count;
}

/* An error says which code, and why. */
static void told(int err)
{
    if (err == HF_OK)
        return;
    if (err != HF_ENOMEM && err != HF_EIO && err != HF_EFULL && err != HF_ECORRUPT
        && err != HF_EUNKNOWN && err != HF_EAGAIN && err != HF_EVERSION && err != HF_EINVAL
        && err != HF_EBUSY && err != HF_ENOTFOUND)
        fail_msg("%d is no error of a store: %s", err, hf_error_detail());
    if (!*hf_error_detail())
        fail_msg("%d without a detail", err);
}

static void say_memory(int err)
{
    told(err);
    if (err && err != HF_ENOMEM)
        fail_msg("%d, not HF_ENOMEM: %s", err, hf_error_detail());
}

/* ---- Opening */

static uint64_t make_store(const char *at)
{
    core c;
    core_remove(at);
    core_open(&c, at, NULL, &small_window);
    (void)full_fill(&c);
    uint64_t sum = full_sum(c.disk);
    core_close(&c, false);
    return sum;
}

static void open_once(const char *at, uint32_t flags, uint64_t sum, unsigned files, bool memory)
{
    hf_disk_options options = { .store_max = MIB(64), .reserve = MIB(16), .flags = flags };
    hf_disk *disk = NULL;
    hf_error_clear();
    int err = hf_disk_open(&disk, at, &options);
    nth_off();
    if (memory)
        say_memory(err);
    else
        told(err);
    assert_true(err ? !disk : !!disk);
    if (!err)
        assert_true(full_sum(disk) == sum);
    hf_disk_close(disk);
    assert_int_equal(open_files(), files);
}

static void test_open(void **state)
{
    (void)state;
    uint64_t sum = make_store(path);
    unsigned files = open_files();
    for (uint32_t flags = 0; flags <= HF_LOOK; flags++) {
        NTH_EACH(n, NTH_MEMORY, 0)
            open_once(path, flags, sum, files, true);
        for (int i = 0; i < LMDB_ERRORS; i++)
            NTH_EACH(n, NTH_LMDB, lmdb_errors[i])
                open_once(path, flags, sum, files, false);
        NTH_EACH(n, NTH_FILE, EIO)
            open_once(path, flags, sum, files, false);
        NTH_EACH(n, NTH_FILE, ENOSPC)
            open_once(path, flags, sum, files, false);
    }
    assert_true(full_sum_at(path) == sum);
}

/* Whatever fails while a store is made: nothing is left beside it, and the next try
 * makes it, or finds it whole. */
static void create_once(const char *at, unsigned files, bool memory)
{
    hf_disk_options options = { .store_max = MIB(64), .reserve = MIB(16) };
    hf_disk *disk = NULL;
    hf_error_clear();
    int err = hf_disk_open(&disk, at, &options);
    nth_off();
    if (memory)
        say_memory(err);
    else
        told(err);
    if (err == HF_EUNKNOWN && access(at, F_OK) != 0)
        fail_msg("nothing was there, and yet: %s", hf_error_detail());
    assert_int_equal(names_with(".tmp-"), 0);
    hf_disk_close(disk);
    assert_int_equal(open_files(), files);
    assert_int_equal(hf_disk_open(&disk, at, &options), HF_OK);
    hf_disk_close(disk);
    core_remove(at);
}

static void test_create(void **state)
{
    (void)state;
    const char *at = path_of("fresh");
    unsigned files = open_files();
    static const int errors[] = { EIO, ENOSPC, ENOMEM, EACCES };
    NTH_EACH(n, NTH_MEMORY, 0)
        create_once(at, files, true);
    for (int i = 0; i < LMDB_ERRORS; i += 5)
        NTH_EACH(n, NTH_LMDB, lmdb_errors[i])
            create_once(at, files, false);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        NTH_EACH(n, NTH_FILE, errors[i])
            create_once(at, files, false);
}

/* ---- The log: open, replay, start, close */

static int live(hf_disk *disk, const hf_log_options *options)
{
    hf_log *log = NULL;
    int err = hf_log_open(&log, disk, options);
    if (!err)
        err = hf_replay(log);
    if (!err)
        err = hf_log_start(log);
    int closed = hf_log_close(err ? NULL : log, true);
    if (err && log)
        (void)hf_log_close(log, false);
    return err ? err : closed;
}

static void live_once(uint64_t sum, bool past, bool memory)
{
    hf_disk_options options = { .store_max = MIB(64), .reserve = MIB(16) };
    hf_log_options log = small_window;
    hf_disk *disk;
    int armed = nth.kind;
    log.past = past;
    nth.kind = NTH_NONE; /* opening the disk has a test of its own */
    CORE_OK(hf_disk_open(&disk, path, &options));
    nth.kind = armed;
    hf_error_clear();
    int err = live(disk, &log);
    nth_off();
    if (memory)
        say_memory(err);
    else
        told(err);
    hf_disk_close(disk);
    assert_true(full_sum_at(path) == sum);
}

static void test_log_life(void **state)
{
    (void)state;
    uint64_t sum = make_store(path);
    for (int past = 0; past < 2; past++) {
        NTH_EACH(n, NTH_MEMORY, 0)
            live_once(sum, past, true);
        for (int i = 0; i < LMDB_ERRORS; i += 2)
            NTH_EACH(n, NTH_LMDB, lmdb_errors[i])
                live_once(sum, past, false);
    }
}

/* ---- Appending and folding */

static int count_one(void *user, hf_bytes key, hf_bytes payload)
{
    (void)key, (void)payload;
    ++*(uint64_t *)user;
    return HF_OK;
}

static uint64_t waiting_in(core *c)
{
    hf_view_of *view;
    uint64_t count = 0;
    CORE_OK(hf_view_open(&view, c->disk));
    CORE_OK(hf_view_walk(view, HF_IN_INBOX, hf_view("", 0), count_one, &count));
    hf_view_close(view);
    return count;
}

/* One message is done, so that its row has to go; two come; one state is saved. */
static int append_some(core *c, uint64_t done)
{
    hf_group group = { 0 };
    hf_segment facts = { .shard = HF_FACTS }, sends = { .shard = 0 }, more = { .shard = 1 };
    hf_entry save = full_entry(c, HF_OP_SAVE, "order/1", 0, "", "another state");
    hf_entry send = full_entry(c, HF_OP_SEND, "paid/7", 0, "place", "body");
    int err = hf_segment_add(&facts, &save);
    if (!err)
        err = hf_segment_add(&sends, &send);
    if (!err)
        err = hf_segment_add(&more, &send);
    if (!err)
        err = hf_group_add(&group, &facts);
    if (!err)
        err = hf_group_add(&group, &sends);
    if (!err)
        err = hf_group_add(&group, &more);
    if (!err)
        err = hf_group_done(&group, done, 1);
    if (!err)
        err = hf_log_append(c->log, &group);
    hf_group_free(&group);
    hf_segment_done(&facts);
    hf_segment_done(&sends);
    hf_segment_done(&more);
    return err;
}

/* The log may be dead now: then as after a crash. */
static void revive(core *c, const hf_log_options *options)
{
    hf_disk_options disk = { .store_max = MIB(64), .reserve = MIB(16) };
    if (hf_log_state(c->log) == HF_OK)
        return;
    assert_int_equal(append_some(c, 1), hf_log_state(c->log)); /* it says so for ever */
    assert_int_equal(hf_log_fold(c->log, 1), hf_log_state(c->log));
    assert_int_equal(hf_log_fold_all(c->log), hf_log_state(c->log));
    (void)hf_log_close(c->log, true);
    hf_disk_close(c->disk);
    core_open(c, path, &disk, options);
}

static void append_once(core *c, int kind, int n, int error)
{
    uint64_t done = core_send(c, "done/1", "", hf_str("x"));
    hf_log_stats stats;
    if (n % 2) { /* half of a fold is under way: the message may have a row */
        hf_log_options tiny = { .window = 512, .shards = 2 };
        core_close(c, false);
        core_open(c, path, NULL, &tiny);
        CORE_OK(hf_log_fold(c->log, 1));
    }
    uint64_t sum = full_sum(c->disk), waiting = waiting_in(c);
    nth_on(kind, NULL, n, error);
    int err = append_some(c, done);
    nth_off();
    if (kind == NTH_MEMORY)
        say_memory(err);
    else
        told(err);
    bool hit = nth.hit;
    revive(c, &small_window);
    if (err) /* nothing of it is there */
        assert_true(full_sum(c->disk) == sum && waiting_in(c) == waiting);
    else
        assert_int_equal(waiting_in(c), waiting + 1);
    hf_log_stat(c->log, &stats);
    assert_int_equal(stats.waiting, waiting_in(c));
    if (err)
        CORE_OK(append_some(c, done));
    assert_int_equal(waiting_in(c), waiting + 1);
    nth.hit = hit;
}

static void append_each(int kind, int error)
{
    core c;
    (void)make_store(path);
    core_open(&c, path, NULL, &small_window);
    nth.hit = true;
    for (int n = 1, quiet = 0; quiet < 2; n += NTH_STEP, quiet = nth.hit ? 0 : quiet + 1)
        append_once(&c, kind, n, error);
    core_close(&c, true);
}

static void test_append(void **state)
{
    (void)state;
    append_each(NTH_MEMORY, 0);
    for (int i = 0; i < LMDB_ERRORS; i += 3)
        append_each(NTH_LMDB, lmdb_errors[i]);
}

/* A fold changes nothing that a reader sees, whether it ends or not. */
static void fold_once(core *c, int kind, int n, int error)
{
    (void)full_fill(c);
    uint64_t sum = full_sum(c->disk);
    nth_on(kind, NULL, n, error);
    int err = hf_log_fold_all(c->log);
    nth_off();
    bool hit = nth.hit;
    if (kind == NTH_MEMORY)
        say_memory(err);
    else
        told(err);
    revive(c, &small_window);
    assert_true(full_sum(c->disk) == sum);
    CORE_OK(hf_log_fold_all(c->log));
    assert_true(full_sum(c->disk) == sum);
    nth.hit = hit;
}

static void test_fold(void **state)
{
    (void)state;
    core c;
    core_remove(path);
    core_open(&c, path, NULL, &small_window);
    nth.hit = true;
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP)
        fold_once(&c, NTH_MEMORY, n, 0);
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP)
        fold_once(&c, NTH_LMDB, n, lmdb_errors[n % LMDB_ERRORS]);
    core_close(&c, true);
}

/* ---- Looking */

static int see_entry(void *user, const hf_entry *e)
{
    ++*(uint64_t *)user;
    return e->op ? HF_OK : HF_ECORRUPT;
}

static int look_at_all(hf_disk *disk, uint64_t *sum)
{
    hf_view_of *view;
    hf_bytes image;
    uint64_t version, seen = 0;
    *sum = 1;
    int err = hf_view_open(&view, disk);
    if (err)
        return err;
    for (int t = HF_IN_INBOX; !err && t < HF_IN_META; t++)
        if (t != HF_IN_ALARMS) /* only an index */
            err = hf_view_walk(view, (hf_table)t, hf_view("", 0), full_add, sum);
    if (!err)
        err = hf_view_inbox(view, "order/1", 0, see_entry, &seen);
    if (!err)
        err = hf_view_state(view, "order/1", &image, &version);
    if (!err)
        err = hf_view_log(view, see_entry, &seen);
    hf_view_close(view);
    return err;
}

static void look_once(hf_disk **disk, uint64_t sum, bool memory)
{
    uint64_t now = 0;
    hf_error_clear();
    int err = look_at_all(*disk, &now);
    nth_off();
    if (memory)
        say_memory(err);
    else
        told(err);
    assert_true(err || now == sum);
    if (err == HF_EUNKNOWN) { /* that disk is dead: every call says so */
        assert_int_equal(look_at_all(*disk, &now), HF_EUNKNOWN);
        hf_disk_close(*disk);
        *disk = NULL;
        CORE_OK(open_small(disk, path));
    }
    CORE_OK(look_at_all(*disk, &now));
    assert_true(now == sum);
}

static void test_look(void **state)
{
    (void)state;
    hf_disk *disk;
    uint64_t sum;
    (void)make_store(path);
    CORE_OK(open_small(&disk, path));
    CORE_OK(look_at_all(disk, &sum));
    NTH_EACH(n, NTH_MEMORY, 0)
        look_once(&disk, sum, true);
    for (int i = 0; i < LMDB_ERRORS; i++)
        NTH_EACH(n, NTH_LMDB, lmdb_errors[i])
            look_once(&disk, sum, false);
    hf_disk_close(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),   cmocka_unit_test(test_create),
        cmocka_unit_test(test_log_life), cmocka_unit_test(test_append),
        cmocka_unit_test(test_fold),   cmocka_unit_test(test_look),
    };
    nth.pretend = true;
    (void)snprintf(root, sizeof root, "%s", core_directory("nth", true));
    (void)snprintf(path, sizeof path, "%s/store", root);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(root);
    return failed;
}
