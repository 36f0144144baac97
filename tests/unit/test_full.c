/* test_full.c - when the disk says no: the three outcomes of a commit, a full map, a
 * full file system, headroom. */
#include "tests/support/failing.h"
#include "tests/support/stores.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- The outcomes */

static void nothing_more(hf_disk *disk)
{
    hf_txn *txn;
    hf_space space;
    assert_int_equal(hf_txn_write(disk, &txn), HF_EUNKNOWN);
    assert_int_equal(hf_txn_read(disk, &txn), HF_EUNKNOWN);
    assert_int_equal(hf_disk_space(disk, &space), HF_EUNKNOWN);
    assert_false(hf_disk_headroom(disk, 0));
    assert_int_equal(hf_disk_sweep(disk), HF_EUNKNOWN);
}

/* A transaction of 100 rows fails so; then the store holds what it held. */
static void commit_fails(int what, int error, int times, int outcome)
{
    hf_disk *disk = open_ok("outcome");
    uint64_t before = rows_of(disk);

    fault = (struct fault){ .what = what, .error = error, .times = times };
    int err = put_many(disk, before, 100, 1500);
    bool hit = fault.times < times;
    fault = (struct fault){ 0 };
    if (err != outcome)
        print_error("fault %d, error %d: %d %s\n", what, error, err, hf_error_detail());
    assert_true(hit);
    assert_int_equal(err, outcome);
    if (outcome == HF_EUNKNOWN) {
        nothing_more(disk);
        hf_disk_close(disk);
        disk = open_ok("outcome");
    }
    assert_int_equal(rows_of(disk), before);
    assert_int_equal(put_many(disk, before, 100, 1500), HF_OK);
    assert_int_equal(rows_of(disk), before + 100);
    hf_disk_close(disk);
}

static void test_not_committed(void **state)
{
    (void)state;
    commit_fails(FAIL_DATA, ENOSPC, 1, HF_EFULL);
    commit_fails(FAIL_DATA, EDQUOT, 1, HF_EFULL);
    commit_fails(FAIL_DATA, EFBIG, 1, HF_EFULL);
    commit_fails(FAIL_DATA, ENOMEM, 1, HF_ENOMEM);
}

static void test_unknown(void **state)
{
    (void)state;
    commit_fails(FAIL_DATA, EIO, 1, HF_EUNKNOWN);   /* and plenty of room */
    commit_fails(FAIL_SHORT, 0, 1, HF_EUNKNOWN);
    commit_fails(FAIL_SYNC, EIO, 1, HF_EUNKNOWN);
    commit_fails(FAIL_SYNC, ENOSPC, 2, HF_EUNKNOWN); /* the second descriptor knows */
    commit_fails(FAIL_META, EIO, 1, HF_EUNKNOWN);
    commit_fails(FAIL_META, ENOSPC, 1, HF_EUNKNOWN);
    commit_fails(FAIL_META, ENOMEM, 1, HF_EUNKNOWN);
}

/* The meta page reaches the disk, its caller hears EIO, and LMDB's attempt to take
 * it back fails: the rows are there after all. */
static void test_unknown_but_there(void **state)
{
    (void)state;
    hf_disk *disk = open_ok("there");
    fault = (struct fault){ .what = FAIL_META_LATE, .error = EIO, .times = 2 };
    assert_int_equal(put_many(disk, 0, 10, 10), HF_EUNKNOWN);
    assert_int_equal(fault.times, 0);
    fault = (struct fault){ 0 };
    nothing_more(disk);
    hf_disk_close(disk);
    disk = open_ok("there");
    assert_int_equal(rows_of(disk), 10);
    hf_disk_close(disk);
}

/* A looker in the same process keeps a dead environment: no engine comes to it. */
static void test_dead_and_looked_at(void **state)
{
    (void)state;
    hf_disk *look, *disk = open_ok("dead");
    hf_disk_options looking = { .flags = HF_LOOK };
    hf_txn *txn;
    assert_int_equal(hf_disk_open(&look, path_of("dead"), &looking), HF_OK);
    fault = (struct fault){ .what = FAIL_SYNC, .error = EIO, .times = 1 };
    assert_int_equal(put_many(disk, 0, 10, 10), HF_EUNKNOWN);
    hf_disk_note_stop(disk, HF_EUNKNOWN, hf_error_detail());
    hf_disk_close(disk);
    refused("dead", HF_EBUSY, "not closed yet");
    assert_int_equal(hf_txn_read(look, &txn), HF_EUNKNOWN);
    hf_disk_close(look);
    hf_disk_close(open_ok("dead"));
}

/* After a put that failed the transaction cannot be committed by mistake. */
static void test_spoiled(void **state)
{
    (void)state;
    hf_txn *txn;
    hf_disk *disk = NULL;
    hf_disk_options tiny = { .store_max = MIB(1), .reserve = 4096 };
    int err;
    uint64_t n = 0;

    assert_int_equal(hf_disk_open(&disk, path_of("spoiled"), &tiny), HF_OK);
    assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
    while ((err = put_number(txn, n++, 4000)) == HF_OK)
        ;
    assert_int_equal(err, HF_EFULL);
    assert_int_equal(put_number(txn, 1, 1), HF_EFULL);
    assert_int_equal(hf_txn_commit(txn), HF_EFULL);
    assert_int_equal(rows_of(disk), 0);
    assert_int_equal(put_many(disk, 0, 10, 4000), HF_OK);
    hf_disk_close(disk);
}

/* ---- A full map */

/* Fill to store_max, as an engine does, then to the last page; with the headroom
 * kept, every delete commits. */
static void test_full_map(void **state)
{
    (void)state;
    hf_disk *disk = NULL;
    hf_disk_options small = { .store_max = MIB(8), .reserve = MIB(2) };
    hf_space space;
    uint64_t rows = 0;

    for (int round = 0; round < 3; round++) {
        assert_int_equal(hf_disk_open(&disk, path_of("map"), &small), HF_OK);
        while (hf_disk_headroom(disk, MIB(1)))
            if (put_many(disk, rows, 50, 900) == HF_OK)
                rows += 50;
        assert_int_equal(hf_disk_space(disk, &space), HF_OK);
        assert_int_equal(space.map_bytes, MIB(10));
        assert_true(space.file_bytes > MIB(8));
        assert_true(space.free_bytes + space.tail_bytes > MIB(1) / 2);
        assert_int_equal(rows_of(disk), rows);
        for (; rows; rows--)
            assert_int_equal(del_many(disk, rows - 1, 1), HF_OK);
        assert_int_equal(put_many(disk, 0, 0, 0), HF_OK);
        assert_true(hf_disk_headroom(disk, MIB(8)));
        hf_disk_close(disk);
    }
    /* A smaller store_max than the file: what is there stays usable. */
    small.store_max = MIB(1);
    assert_int_equal(hf_disk_open(&disk, path_of("map"), &small), HF_OK);
    assert_int_equal(put_many(disk, 0, 50, 900), HF_OK);
    hf_disk_close(disk);
}

/* A file without a free page that ends just below what a lower store_max allows: what is in
 * it can be ended, and nothing new may come till that is done. However often it is opened. */
static void test_dense(void **state)
{
    (void)state;
    hf_disk *disk = NULL;
    hf_disk_options small = { .store_max = MIB(32), .reserve = MIB(2) };
    hf_space space;

    assert_int_equal(hf_disk_open(&disk, path_of("dense"), &small), HF_OK);
    assert_int_equal(put_many(disk, 0, 8000, 900), HF_OK);
    assert_int_equal(hf_disk_space(disk, &space), HF_OK);
    assert_true(space.file_bytes > MIB(6) && space.free_bytes < MIB(1));
    hf_disk_close(disk);
    uint64_t file = space.file_bytes, map = 0;
    small.store_max = file - small.reserve + 4 * 4096;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(hf_disk_open(&disk, path_of("dense"), &small), HF_OK);
        assert_true(hf_disk_headroom(disk, MIB(1)));
        assert_false(hf_disk_admits(disk, MIB(1)));
        assert_int_equal(hf_disk_space(disk, &space), HF_OK);
        assert_true(space.map_bytes >= file + MIB(1));
        assert_true(!map || map == space.map_bytes);
        map = space.map_bytes;
        hf_disk_close(disk);
    }
    assert_int_equal(hf_disk_open(&disk, path_of("dense"), &small), HF_OK);
    assert_int_equal(del_many(disk, 0, 8000), HF_OK);
    for (int i = 0; i < 3; i++) /* what a commit frees may be used after the next */
        assert_int_equal(put_many(disk, 0, 1, 10), HF_OK);
    assert_true(hf_disk_headroom(disk, MIB(1)));
    assert_true(hf_disk_admits(disk, MIB(1)));
    hf_disk_close(disk);
    small.store_max = MIB(1); /* and lower than the file: it is free, no more is needed */
    assert_int_equal(hf_disk_open(&disk, path_of("dense"), &small), HF_OK);
    assert_int_equal(hf_disk_space(disk, &space), HF_OK);
    assert_true(space.map_bytes <= space.file_bytes);
    assert_int_equal(put_many(disk, 0, 50, 900), HF_OK);
    hf_disk_close(disk);
}

/* ---- Headroom */

/* What is counted as free is what can be written without the file growing. */
static void test_free_pages(void **state)
{
    (void)state;
    hf_disk *disk = open_ok("free");
    hf_space before, after;
    hf_txn *reader;

    assert_int_equal(put_many(disk, 0, 4000, 1000), HF_OK);
    assert_int_equal(hf_txn_read(disk, &reader), HF_OK);
    assert_int_equal(del_many(disk, 0, 4000), HF_OK);
    assert_int_equal(put_many(disk, 5000, 1, 10), HF_OK);
    assert_int_equal(put_many(disk, 5000, 1, 10), HF_OK);
    assert_int_equal(hf_disk_space(disk, &before), HF_OK);
    assert_true(before.free_bytes < MIB(1)); /* the reader pins the rows */
    hf_txn_abort(reader);
    assert_int_equal(hf_disk_space(disk, &before), HF_OK);
    assert_true(before.free_bytes > MIB(4));

    assert_int_equal(put_many(disk, 6000, before.free_bytes / 4096 * 9 / 10, 3000), HF_OK);
    assert_int_equal(hf_disk_space(disk, &after), HF_OK);
    assert_int_equal(before.file_bytes, after.file_bytes);
    assert_true(after.free_bytes < before.free_bytes / 5);

    assert_true(hf_disk_headroom(disk, MIB(5)));
    assert_int_equal(hf_disk_space(disk, &after), HF_OK);
    assert_true(after.free_bytes + after.tail_bytes >= MIB(5));
    assert_false(hf_disk_headroom(disk, MIB(500)));
    hf_disk_close(disk);
}

static void fill(const char *path)
{
    static char block[65536];
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (size_t size = sizeof block; size >= 512; size /= 2)
        while (write(fd, block, size) > 0)
            ;
    assert_int_equal(close(fd), 0);
}

static void test_full_file_system(void **state)
{
    (void)state;
    static char mounted[128];
    hf_disk *disk = NULL;
    hf_space space;
    uint64_t rows = 0;

    (void)snprintf(mounted, sizeof mounted, "%s", path_of("mount"));
    assert_int_equal(mkdir(mounted, 0700), 0);
    if (mount("none", mounted, "tmpfs", 0, "size=12m")) {
        print_message("SKIP: cannot mount a tmpfs (%s); run as root\n", strerror(errno));
        skip();
    }
    /* Neither the root of a file system ... */
    refused("mount", HF_EINVAL, "root of a file system");
    disk = open_ok("mount/store");
    for (int round = 0; round < 3; round++) {
        /* ... headroom is there, then somebody takes all the rest, */
        while (rows < 1500 && hf_disk_headroom(disk, MIB(1))
               && put_many(disk, rows, 20, 900) == HF_OK)
            rows += 20;
        assert_true(hf_disk_headroom(disk, MIB(1)));
        fill(path_of("mount/ballast"));
        assert_int_equal(hf_disk_space(disk, &space), HF_OK);
        assert_true(space.disk_free_bytes < 4096);

        /* so that nothing large is taken any more: it is refused, not in doubt, */
        assert_int_equal(put_many(disk, 10000, 2000, 4000), HF_EFULL);
        assert_int_equal(rows_of(disk), rows);
        assert_false(hf_disk_headroom(disk, MIB(8)));

        /* but every delete commits, and makes room. */
        for (; rows; rows--)
            assert_int_equal(del_many(disk, rows - 1, 1), HF_OK);
        assert_int_equal(put_many(disk, 0, 100, 900), HF_OK);
        assert_int_equal(del_many(disk, 0, 100), HF_OK);
        assert_int_equal(unlink(path_of("mount/ballast")), 0);
    }
    hf_disk_close(disk);
    fill(path_of("mount/ballast"));
    hf_disk_close(open_ok("mount/store"));      /* a full disk keeps nobody out */
    refused("mount/new", HF_EFULL, "mount/new"); /* but for newcomers */
    assert_int_equal(unlink(path_of("mount/ballast")), 0);
    hf_disk_close(open_ok("mount/new"));
    assert_int_equal(umount2(mounted, MNT_DETACH), 0);
}

/* A limit on the size of files counts as no room, in a child of our own. */
static void test_file_limit(void **state)
{
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        hf_disk *disk = NULL;
        (void)signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &(struct rlimit){ MIB(2) + 512, MIB(2) + 512 })
            || open_small(&disk, path_of("limit")))
            _exit(1);
        if (hf_disk_headroom(disk, MIB(3)) || put_many(disk, 0, 2000, 3000) != HF_EFULL
            || put_many(disk, 0, 10, 3000))
            _exit(2);
        hf_disk_close(disk);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_committed), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_unknown_but_there),
        cmocka_unit_test(test_dead_and_looked_at),
        cmocka_unit_test(test_spoiled),       cmocka_unit_test(test_full_map),
        cmocka_unit_test(test_dense),
        cmocka_unit_test(test_free_pages),    cmocka_unit_test(test_full_file_system),
        cmocka_unit_test(test_file_limit),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
