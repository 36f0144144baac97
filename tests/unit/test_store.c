/* test_store.c - a store as a whole: making it, opening it, refusing it; one engine
 * at a time, in one process. */
#include "tests/support/failing.h"
#include "tests/support/stores.h"

#include <fcntl.h>
#include <sys/wait.h>

/* ---- Making and opening */

static void test_create(void **state)
{
    (void)state;
    struct stat st;
    uint8_t uuid[16], zero[16] = { 0 };
    static const char *const files[] = { "data.mdb", "lock.mdb", "holdfast.id", "holdfast.lock" };

    hf_disk *disk = open_ok("create");
    memcpy(uuid, hf_disk_uuid(disk), 16);
    assert_memory_not_equal(uuid, zero, 16);
    assert_string_equal(hf_disk_path(disk), path_of("create"));
    assert_int_equal(put_many(disk, 0, 100, 50), HF_OK);
    hf_disk_close(disk);

    assert_int_equal(stat(path_of("create"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char file[200];
        (void)snprintf(file, sizeof file, "%s/%s", path_of("create"), files[i]);
        assert_int_equal(stat(file, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(names_with(".tmp-"), 0);

    disk = open_ok("create");
    assert_memory_equal(uuid, hf_disk_uuid(disk), 16);
    assert_int_equal(rows_of(disk), 100);
    hf_disk_close(disk);
    hf_disk_close(NULL);
}

static void test_places(void **state)
{
    (void)state;
    hf_disk *disk = NULL;
    hf_disk_options look = { .flags = HF_LOOK };

    refused("no/such/parent", HF_EINVAL, "no/such");
    write_file(path_of("file"), "x");
    refused("file", HF_EINVAL, "not a directory");
    assert_int_equal(mkdir(path_of("foreign"), 0700), 0);
    write_file(path_of("foreign/notes"), "x");
    refused("foreign", HF_EINVAL, "other files");
    assert_int_equal(mkdir(path_of("nomarker"), 0700), 0);
    write_file(path_of("nomarker/data.mdb"), "x");
    refused("nomarker", HF_ECORRUPT, "holdfast.id");
    assert_int_equal(hf_disk_open(&disk, "", NULL), HF_EINVAL);
    assert_int_equal(hf_disk_open(&disk, "/proc", NULL), HF_EINVAL);

    assert_int_equal(hf_disk_open(&disk, path_of("nothing"), &look), HF_ENOTFOUND);
    assert_int_equal(hf_disk_open(&disk, path_of("no/such/parent"), &look), HF_ENOTFOUND);
    assert_int_equal(size_of(path_of("nothing")), -1);

    assert_int_equal(mkdir(path_of("empty"), 0755), 0);
    assert_int_equal(hf_disk_open(&disk, path_of("empty"), &look), HF_ENOTFOUND);
    hf_disk_close(open_ok("empty///"));
}

static void test_lost_data(void **state)
{
    (void)state;
    hf_disk_close(open_ok("lost"));
    assert_int_equal(truncate(path_of("lost/data.mdb"), 0), 0);
    refused("lost", HF_ECORRUPT, "empty");
    assert_int_equal(size_of(path_of("lost/data.mdb")), 0);
    assert_int_equal(unlink(path_of("lost/data.mdb")), 0);
    refused("lost", HF_ECORRUPT, "missing");
    assert_int_equal(size_of(path_of("lost/data.mdb")), -1);
    write_file(path_of("lost/data.mdb"), "something else altogether");
    refused("lost", HF_ECORRUPT, "salvage");
}

/* Whatever page the file ends at, it opens and all of it can be read, or it is
 * called truncated; pages that are only on the free list may be missing. */
static void test_truncated(void **state)
{
    (void)state;
    unsigned opened = 0, called = 0;

    hf_disk *disk = open_ok("cut");
    assert_int_equal(put_many(disk, 0, 4000, 100), HF_OK);
    assert_int_equal(put_many(disk, 4000, 20, 6000), HF_OK);
    assert_int_equal(del_many(disk, 100, 3920), HF_OK);
    for (uint64_t i = 0; i < 6; i++) /* all that is left moves to the front */
        assert_int_equal(put_many(disk, 0, 100, 100 + i), HF_OK);
    hf_disk_close(disk);

    off_t whole = size_of(path_of("cut/data.mdb"));
    for (off_t size = whole - 4096; size >= 4096; size -= 4096) {
        assert_int_equal(truncate(path_of("cut/data.mdb"), size), 0);
        if (open_small(&disk, path_of("cut"))) {
            assert_string_equal(strstr(hf_error_detail(), "truncated") ? "" : hf_error_detail(),
                                "");
            called++;
            continue;
        }
        assert_int_equal(called, 0); /* never whole again once truncated */
        assert_int_equal(rows_of(disk), 100);
        hf_disk_close(disk);
        opened++;
    }
    assert_true(opened > 10);
    assert_true(called > 5);
}

static void test_versions(void **state)
{
    (void)state;
    uint32_t seven = 7;

    hf_disk_close(open_ok("version"));
    write_file(path_of("version/holdfast.id"), "holdfast store\nformat 2\nanything\n");
    refused("version", HF_EVERSION, "format 2, this library knows format 1");
    write_file(path_of("version/holdfast.id"), "holdfast store\nformat 1\nuuid 00\n");
    refused("version", HF_ECORRUPT, "damaged");
    write_file(path_of("version/holdfast.id"), "");
    refused("version", HF_ECORRUPT, "damaged");

    hf_disk_close(open_ok("lmdb"));
    int fd = open(path_of("lmdb/data.mdb"), O_RDWR);
    assert_int_equal(REAL(pwrite)(fd, &seven, 4, 20), 4);
    assert_int_equal(close(fd), 0);
    refused("lmdb", HF_EVERSION, "version 7");

    hf_disk_close(open_ok("one"));
    hf_disk_close(open_ok("two"));
    assert_int_equal(REAL(rename)(path_of("one/data.mdb"), path_of("two/data.mdb")), 0);
    refused("two", HF_ECORRUPT, "two different stores");
}

/* However far creation came when the process died: nothing there, or a store. */
static void test_killed_creation(void **state)
{
    (void)state;
    struct timespec old[2] = { { 1000, 0 }, { 1000, 0 } };
    int status = 0, made = 0, nothing = 0;

    for (int at = 1; at < 200; at++) {
        char name[32];
        (void)snprintf(name, sizeof name, "killed%d", at);
        pid_t pid = fork();
        if (pid == 0) {
            hf_disk *disk;
            fault.kill_at = at;
            _exit(open_small(&disk, path_of(name)) ? 1 : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (size_of(path_of(name)) < 0)
            nothing++;
        else
            made++;
        hf_disk *disk = open_ok(name);
        assert_int_equal(put_many(disk, 0, 10, 10), HF_OK);
        hf_disk_close(disk);
        if (WIFEXITED(status))
            break;
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(nothing > 5);
    assert_true(made > 1);

    /* What they left is swept when it is old, and only then. */
    assert_int_equal(mkdir(path_of("killed1.tmp-0123456789abcdef"), 0700), 0);
    assert_int_equal(mkdir(path_of("killed1.tmp-0123456789abcdee"), 0700), 0);
    assert_int_equal(mkdir(path_of("killed1.tmp-0123456789abcded"), 0700), 0);
    write_file(path_of("killed1.tmp-0123456789abcdef/data.mdb"), "x");
    write_file(path_of("killed1.tmp-0123456789abcded/mine"), "x");
    assert_int_equal(utimensat(AT_FDCWD, path_of("killed1.tmp-0123456789abcdef"), old, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, path_of("killed1.tmp-0123456789abcded"), old, 0), 0);
    assert_int_equal(REAL(rename)(path_of("killed1"), path_of("moved")), 0);
    hf_disk_close(open_ok("killed1"));
    assert_int_equal(size_of(path_of("killed1.tmp-0123456789abcdef")), -1);
    assert_int_not_equal(size_of(path_of("killed1.tmp-0123456789abcdee")), -1);
    assert_int_not_equal(size_of(path_of("killed1.tmp-0123456789abcded")), -1);
}

/* Address space ends at 128 TiB: the message names what to turn down. */
static void test_no_map(void **state)
{
    (void)state;
    static const char *const names[] = { "wide1", "wide2", "wide3" };
    hf_disk *disk[3] = { NULL, NULL, NULL };
    hf_disk_options wide = { .store_max = UINT64_C(1) << 45, .reserve = UINT64_C(1) << 45 };
    hf_disk_options absurd = { .store_max = UINT64_C(1) << 60 };
    int err = HF_OK;

    assert_int_equal(hf_disk_open(&disk[0], path_of("absurd"), &absurd), HF_EINVAL);
    for (int i = 0; i < 3 && !err; i++) {
        hf_disk_close(open_ok(names[i]));
        err = hf_disk_open(&disk[i], path_of(names[i]), &wide);
    }
    assert_int_equal(err, HF_ENOMEM);
    assert_non_null(strstr(hf_error_detail(), "store_max 35184372088832"));
    for (int i = 0; i < 3; i++)
        hf_disk_close(disk[i]);
}

/* ---- One engine at a time */

static void test_busy_here(void **state)
{
    (void)state;
    hf_disk *look, *more, *disk = open_ok("busy");
    hf_disk_options looking = { .flags = HF_LOOK };
    hf_txn *txn;

    refused("busy", HF_EBUSY, "in this process");
    assert_int_equal(symlink(path_of("busy"), path_of("alias")), 0);
    refused("alias", HF_EBUSY, "in this process");

    assert_int_equal(hf_disk_open(&look, path_of("alias"), &looking), HF_OK);
    assert_int_equal(put_many(disk, 0, 100, 10), HF_OK);
    assert_int_equal(rows_of(look), 100);
    assert_int_equal(hf_txn_write(look, &txn), HF_EINVAL);
    assert_false(hf_disk_headroom(look, 1));

    /* The engine goes, the looker stays, an engine comes back. */
    hf_disk_close(disk);
    assert_int_equal(rows_of(look), 100);
    disk = open_ok("busy");
    assert_int_equal(put_many(disk, 100, 100, 10), HF_OK);
    assert_int_equal(rows_of(look), 200);
    hf_disk_close(disk);
    hf_disk_close(look);

    assert_int_equal(hf_disk_open(&look, path_of("busy"), &looking), HF_OK);
    assert_int_equal(hf_disk_open(&more, path_of("busy"), &looking), HF_OK);
    refused("busy", HF_EBUSY, "looked at");
    hf_disk_close(look);
    assert_int_equal(rows_of(more), 200);
    hf_disk_close(more);
    hf_disk_close(open_ok("busy"));
}

/* A child that does `work` and then sleeps; `ready` waits until it has. */
static pid_t child_with(const char *name, int (*work)(hf_disk **disk, const char *path))
{
    int ends[2];
    char byte = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        hf_disk *disk = NULL;
        byte = (char)work(&disk, path_of(name));
        (void)!write(ends[1], &byte, 1);
        for (;;)
            (void)pause();
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, 0);
    (void)close(ends[0]);
    return pid;
}

static void end_child(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_busy_elsewhere(void **state)
{
    (void)state;
    char words[64];
    hf_disk *look;
    hf_disk_options looking = { .flags = HF_LOOK };

    pid_t pid = child_with("held", open_small);
    (void)snprintf(words, sizeof words, "is open in process %d", (int)pid);
    refused("held", HF_EBUSY, words);
    assert_int_equal(hf_disk_open(&look, path_of("held"), &looking), HF_OK);
    assert_int_equal(rows_of(look), 0);
    hf_disk_close(look);
    refused("held", HF_EBUSY, words);
    end_child(pid);
    hf_disk_close(open_ok("held"));
}

static int look_and_hold(hf_disk **disk, const char *path)
{
    hf_disk_options looking = { .flags = HF_LOOK };
    hf_txn *txn;
    int err = hf_disk_open(disk, path, &looking);
    return err ? err : hf_txn_read(*disk, &txn);
}

/* As a salvage does, which writes no pid there; the one in the file is of an engine that died. */
static void test_shared_lock(void **state)
{
    (void)state;
    hf_disk_close(open_ok("shared"));
    write_file(path_of("shared/holdfast.lock"), "99999999\n");
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    int fd = open(path_of("shared/holdfast.lock"), O_RDONLY | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    refused("shared", HF_EBUSY, "is open in another process");
    assert_int_equal(close(fd), 0);
    hf_disk_close(open_ok("shared"));
}

/* What it prints must not come into the store. */
static void test_no_streams(void **state)
{
    (void)state;
    int status;
    hf_disk_close(open_ok("streams"));
    pid_t pid = fork();
    if (pid == 0) {
        hf_disk *disk;
        int written = 0;
        for (int fd = 0; fd <= 2; fd++)
            (void)close(fd);
        int err = open_small(&disk, path_of("streams"));
        for (int fd = 0; fd <= 2; fd++)
            written += write(fd, "all is well", 11) > 0;
        _exit(err || written || put_many(disk, 0, 10, 10));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    hf_disk *disk = open_ok("streams");
    assert_int_equal(rows_of(disk), 10);
    hf_disk_close(disk);
}

/* Copied without its table of readers, or with one full of holes, it could end who looks at it
 * on a full disk. */
static void test_table_of_readers(void **state)
{
    (void)state;
    hf_disk *disk;
    hf_disk_options looking = { .flags = HF_LOOK };
    struct stat st;
    hf_disk_close(open_ok("table"));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(unlink(path_of("table/lock.mdb")), 0);
        if (i) {
            write_file(path_of("table/lock.mdb"), "");
            assert_int_equal(truncate(path_of("table/lock.mdb"), 32768), 0);
        }
        assert_int_equal(hf_disk_open(&disk, path_of("table"), &looking), HF_OK);
        assert_int_equal(stat(path_of("table/lock.mdb"), &st), 0);
        assert_true(st.st_size >= 32768 && st.st_blocks * 512 >= st.st_size);
        hf_disk_close(disk);
    }
}

static void test_dead_readers(void **state)
{
    (void)state;
    hf_disk *disk = open_ok("readers");
    pid_t pid = child_with("readers", look_and_hold);
    assert_int_equal(hf_disk_sweep(disk), 0);
    end_child(pid);
    assert_int_equal(hf_disk_sweep(disk), 1);
    assert_int_equal(hf_disk_sweep(disk), 0);
    hf_disk_close(disk);
}

static hf_disk *parents;

static int use_parents(hf_disk **disk, const char *path)
{
    hf_txn *txn;
    hf_space space;
    bool kept = hf_txn_write(parents, &txn) == HF_EFORK && hf_txn_read(parents, &txn) == HF_EFORK
                && hf_disk_forked(parents) == HF_EFORK && hf_disk_space(parents, &space) == HF_EFORK
                && !hf_disk_headroom(parents, 0) && hf_disk_sweep(parents) == HF_EFORK
                && open_small(disk, path) == HF_EBUSY;
    hf_disk_close(parents);
    return !kept;
}

static int open_other(hf_disk **disk, const char *path)
{
    (void)path;
    return open_small(disk, path_of("other")) || put_many(*disk, 0, 10, 10);
}

static void test_fork(void **state)
{
    (void)state;
    hf_txn *txn;

    parents = open_ok("parents");
    assert_int_equal(hf_disk_forked(parents), HF_OK);
    assert_int_equal(put_many(parents, 0, 10, 10), HF_OK);
    assert_int_equal(hf_txn_read(parents, &txn), HF_OK);
    pid_t first = child_with("parents", use_parents);
    pid_t second = child_with("parents", open_other);
    hf_txn_abort(txn);
    assert_int_equal(put_many(parents, 10, 10, 10), HF_OK);
    assert_int_equal(rows_of(parents), 20);

    /* The children live on, and do not keep the lock. */
    hf_disk_close(parents);
    hf_disk_close(open_ok("parents"));
    end_child(first);
    end_child(second);
    hf_disk_close(open_ok("other"));
}

static void test_last_stop(void **state)
{
    (void)state;
    char text[512];
    hf_disk *disk = open_ok("stop");
    assert_int_equal(hf_disk_last_stop(disk, text, sizeof text), HF_ENOTFOUND);
    hf_disk_note_stop(disk, HF_EIO, "fdatasync said no");
    hf_disk_close(disk);
    disk = open_ok("stop");
    assert_int_equal(hf_disk_last_stop(disk, text, sizeof text), HF_OK);
    assert_non_null(strstr(text, "Z process "));
    assert_non_null(strstr(text, "HF_EIO"));
    assert_non_null(strstr(text, "fdatasync said no"));
    assert_int_equal(hf_disk_last_stop(disk, text, 8), HF_OK);
    assert_int_equal(strlen(text), 7);
    hf_disk_forget_stop(disk);
    assert_int_equal(hf_disk_last_stop(disk, text, sizeof text), HF_ENOTFOUND);
    hf_disk_close(disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),         cmocka_unit_test(test_places),
        cmocka_unit_test(test_lost_data),      cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_versions),       cmocka_unit_test(test_killed_creation),
        cmocka_unit_test(test_busy_here),      cmocka_unit_test(test_busy_elsewhere),
        cmocka_unit_test(test_shared_lock),    cmocka_unit_test(test_no_streams),
        cmocka_unit_test(test_table_of_readers),
        cmocka_unit_test(test_dead_readers),   cmocka_unit_test(test_fork),
        cmocka_unit_test(test_last_stop),      cmocka_unit_test(test_no_map),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
