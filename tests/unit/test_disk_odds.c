/* test_disk_odds.c - what a disk may say or hold that seldom comes: half-made stores, locks,
 * notes, file systems that are not ours. */
#include "tests/unit/disk_odds.h"
#include "tests/unit/full_set.h"

#include "storage/laststop.h"
#include "storage/lock.h"
#include "storage/marker.h"
#include "storage/place.h"
#include "storage/random.h"
#include "storage/schema.h"
#include "storage/tail.h"

/* ---- Where a store can be */

static void test_paths(void **state)
{
    char out[PATH_MAX], here[PATH_MAX], longer[PATH_MAX + 10];
    hf_place place;
    (void)state;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(root), 0);
    assert_int_equal(mkdir("deep", 0700), 0);
    assert_int_equal(hf_place_find("new", out, &place), HF_OK);
    assert_int_equal(place, HF_PLACE_NOTHING);
    assert_string_equal(out, path_of("new"));
    assert_int_equal(hf_place_find("deep/new//", out, &place), HF_OK);
    assert_string_equal(out, path_of("deep/new"));
    assert_int_equal(hf_place_find("/surely-nothing-here", out, &place), HF_OK);
    assert_string_equal(out, "/surely-nothing-here");
    static const char *const bad[] = { "none/.", "none/..", "none/x", "deep/none/." };
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(hf_place_find(bad[i], out, &place), HF_EINVAL);
    assert_int_equal(hf_place_find("", out, &place), HF_EINVAL);
    assert_int_equal(hf_place_find(NULL, out, &place), HF_EINVAL);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(hf_place_find(longer, out, &place), HF_EINVAL);
    says("too long");
    assert_int_equal(hf_disk_open(&(hf_disk *){ NULL }, NULL, NULL), HF_EINVAL);
    hf_disk_options huge = { .store_max = MIB(1), .reserve = UINT64_C(1) << 50 };
    assert_int_equal(hf_disk_open(&(hf_disk *){ NULL }, "new", &huge), HF_EINVAL);
    nth.fs_type = 0x6969;
    assert_int_equal(hf_place_find("new", out, &place), HF_EINVAL);
    says("remote file system (NFS)");
    nth.fs_type = 0;
    nth_on(NTH_FILE, "opendir", 1, EACCES);
    assert_int_equal(hf_place_find("deep", out, &place), HF_EIO);
    nth_off();
    /* The parent's real path may be too long for both. */
    assert_int_equal(symlink(root, "link"), 0);
    assert_int_equal(hf_place_find("link/new", out, &place), HF_OK);
    assert_string_equal(out, path_of("new"));
    assert_int_equal(chdir(here), 0);
}

static void old(const char *path)
{
    struct timespec times[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* What a creation left that died is swept away, and nothing else. */
static void test_old_nests(void **state)
{
    (void)state;
    static const char *const stay[] = {
        "s.tmp-0123456789abcde",   /* too short */
        "s.tmp-0123456789abcdef0", /* too long */
        "s.tmp-0123456789abcdeg",  /* no hex digit */
        "s.tmp-00000000000000aa",  /* with a foreign file */
        "s.tmp-00000000000000bb",  /* young */
        "s.tmp-00000000000000cc",  /* a file */
        "s.tmp-00000000000000dd",  /* its lock is held */
        "s2.tmp-00000000000000ee", /* of another store */
    };
    int lock;
    FILE *file;
    for (size_t i = 0; i < 8; i++)
        if (i != 5)
            assert_int_equal(mkdir(path_of(stay[i]), 0700), 0);
    write_file(path_of("s.tmp-00000000000000aa/mine"), "x");
    write_file(path_of(stay[5]), "x");
    assert_int_equal(mkdir(path_of("s.tmp-00000000000000ff"), 0700), 0);
    static const char *const ours[] = { "holdfast.id", "data.mdb", "lock.mdb", "holdfast.lock",
                                        /* and of one that compact had made, or exchanged */
                                        "strikes", "last-stop", "last-stop.new", "control.sock" };
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        char name[200];
        (void)snprintf(name, sizeof name, "%s/%s", path_of("s.tmp-00000000000000ff"), ours[i]);
        assert_non_null(file = fopen(name, "w"));
        (void)fclose(file);
    }
    assert_int_equal(hf_lock_take(&lock, path_of(stay[6]), false), HF_OK);
    for (size_t i = 0; i < 8; i++)
        if (i != 4)
            old(path_of(stay[i]));
    old(path_of("s.tmp-00000000000000ff"));
    hf_disk_close(open_ok("s"));
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(access(path_of(stay[i]), F_OK), 0);
    assert_int_not_equal(access(path_of("s.tmp-00000000000000ff"), F_OK), 0);
    hf_lock_drop(lock);
    /* One that cannot be looked at stays; the next store is made all the same. */
    nth_on(NTH_FILE, "lstat", 1, EIO);
    nth.times = 9;
    hf_disk_close(open_ok("s2"));
    nth_off();
    assert_int_equal(access(path_of(stay[7]), F_OK), 0);
    nth_on(NTH_FILE, "opendir", 1, EMFILE);
    hf_disk_close(open_ok("s3"));
    nth_off();
}

static void test_somebody_was_faster(void **state)
{
    (void)state;
    static const struct {
        int         error, err;
        const char *words;
    } rows[] = {
        { EXDEV, HF_EINVAL, "root of a file system" }, { EBUSY, HF_EINVAL, "root of a file" },
        { ENOSPC, HF_EFULL, "cannot rename" },         { EDQUOT, HF_EFULL, "cannot rename" },
        { ENOMEM, HF_ENOMEM, "cannot rename" },        { EIO, HF_EIO, "cannot rename" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nth_on(NTH_FILE, "rename", 1, rows[i].error);
        refused("nowhere", rows[i].err, rows[i].words);
        nth_off();
        assert_int_not_equal(access(path_of("nowhere"), F_OK), 0);
    }
    for (int i = 0; i < 2; i++) { /* theirs would be as good, but it is gone again */
        nth_on(NTH_FILE, "rename", 1, i ? EEXIST : ENOTEMPTY);
        refused("nowhere", HF_EIO, "cannot stat");
        nth_off();
    }
    static const int denied[] = { EACCES, EPERM, EROFS };
    for (size_t i = 0; i < 3; i++) {
        nth_on(NTH_FILE, "mkdir", 1, denied[i]);
        refused("nowhere", HF_EINVAL, "cannot make a store at");
        nth_off();
    }
    nth_on(NTH_FILE, "mkdir", 1, ENOSPC);
    refused("nowhere", HF_EFULL, "cannot make a store at");
    nth_off();
    assert_int_equal(names_with("nowhere"), 0);
}

/* ---- Locks and notes */

static void test_locks(void **state)
{
    int fd, other;
    (void)state;
    static const struct {
        const char *call;
        int         error, err;
        const char *words;
    } rows[] = {
        { "open", ENOSPC, HF_EFULL, "cannot open" },   { "open", EDQUOT, HF_EFULL, "cannot open" },
        { "open", EACCES, HF_EIO, "cannot open" },     { "fcntl", EINTR, HF_OK, "" },
        { "fcntl", ENOLCK, HF_EIO, "cannot lock" },    { "pwrite", EIO, HF_EIO, "cannot write" },
        { "pwrite", ENOSPC, HF_OK, "" },               { "pwrite", EDQUOT, HF_OK, "" },
        { "ftruncate", EIO, HF_EIO, "cannot write" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nth_on(NTH_FILE, rows[i].call, 1, rows[i].error);
        assert_int_equal(hf_lock_take(&fd, root, false), rows[i].err);
        nth_off();
        assert_true(rows[i].err ? fd == -1 : fd >= 0);
        if (rows[i].err)
            says(rows[i].words);
        hf_lock_drop(fd);
    }
    assert_int_equal(hf_lock_take(&fd, root, false), HF_OK);
    assert_int_equal(hf_lock_take(&other, root, true), HF_EIO); /* must be new */
    assert_int_equal(hf_lock_take(&other, root, false), HF_EBUSY);
    says("is open in process ");
    static const struct {
        const char *text, *words;
    } holders[] = {
        { "1\n", "process 1" },               /* lives, and is not ours to signal */
        { "999999999\n", "in another process" }, /* is dead: it has not the lock */
        { "x", "in another process" }, { "", "in another process" },
    };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, holders[i].text, strlen(holders[i].text), 0),
                         (ssize_t)strlen(holders[i].text));
        nth_on(NTH_FILE, "fcntl", 1, i % 2 ? EACCES : EAGAIN);
        assert_int_equal(hf_lock_take(&other, root, false), HF_EBUSY);
        nth_off();
        says(holders[i].words);
    }
    hf_lock_drop(fd);
}

static void test_many_claims(void **state)
{
    hf_claim a = { .dev = 1, .ino = 1, .lock_fd = -1 }, b = { .dev = 1, .ino = 2, .lock_fd = -1 },
             c = { .dev = 2, .ino = 1, .lock_fd = -1 };
    (void)state;
    hf_registry_enter();
    hf_registry_add(&a);
    hf_registry_add(&b);
    hf_registry_remove(&c); /* is not there */
    hf_registry_add(&c);
    assert_ptr_equal(hf_registry_find(1, 1), &a);
    assert_ptr_equal(hf_registry_find(1, 2), &b);
    assert_ptr_equal(hf_registry_find(2, 1), &c);
    hf_registry_remove(&a);
    assert_null(hf_registry_find(1, 1));
    assert_ptr_equal(hf_registry_find(1, 2), &b);
    hf_registry_remove(&c);
    hf_registry_remove(&b);
    assert_null(hf_registry_find(2, 1));
    hf_registry_leave();
}

/* The last moment a clock of ours can tell. */
static uint64_t far_away(void *user)
{
    (void)user;
    return UINT64_MAX;
}

static void test_last_stop(void **state)
{
    static const char *const calls[] = { "open", "pwrite", "rename", "fsync" };
    char text[1200], longer[2000];
    (void)state;
    assert_int_equal(hf_laststop_read(root, text, sizeof text), HF_ENOTFOUND);
    hf_laststop_write(root, HF_EFULL, NULL);
    assert_int_equal(hf_laststop_read(root, text, sizeof text), HF_OK);
    assert_non_null(strstr(text, "\nHF_EFULL: disk or store is full\n\n"));
    for (int i = 0; i < 4; i++) { /* the old note stays, or the new one is whole */
        nth_on(NTH_FILE, calls[i], 1, EIO);
        hf_laststop_write(root, HF_ECORRUPT, "another");
        nth_off();
        assert_true(nth.hit);
        assert_int_equal(hf_laststop_read(root, text, sizeof text), HF_OK);
        assert_non_null(strstr(text, i < 3 ? "HF_EFULL" : "HF_ECORRUPT"));
        assert_int_not_equal(access(path_of("last-stop.new"), F_OK), 0);
    }
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    hf_clock_use(&(hf_clock){ .wall_ms = far_away, .mono_ns = far_away });
    hf_laststop_write(root, 12345, longer);
    hf_clock_use(NULL);
    assert_int_equal(hf_laststop_read(root, text, sizeof text), HF_OK);
    assert_int_equal(strlen(text), 1023);
    assert_memory_equal(text, "584556019-04-03T14:", 19);
    assert_non_null(strstr(text, "\nstopped: "));
    assert_int_equal(hf_laststop_read(root, NULL, 0), HF_OK);
    assert_int_equal(hf_laststop_read(root, text, 5), HF_OK);
    assert_string_equal(text, "5845");
    nth_on(NTH_FILE, "pread", 1, EIO);
    assert_int_equal(hf_laststop_read(root, text, sizeof text), HF_EIO);
    nth_on(NTH_FILE, "open", 1, EACCES);
    assert_int_equal(hf_laststop_read(root, text, sizeof text), HF_EIO);
    nth_off();
    hf_laststop_remove(root);
    assert_int_equal(hf_laststop_read(root, text, sizeof text), HF_ENOTFOUND);
}

static void test_marker(void **state)
{
    hf_marker marker = { .format = HF_FORMAT, .uuid = { 1, 2, 3 } }, read;
    (void)state;
    assert_int_equal(hf_marker_read(root, &read), HF_ENOTFOUND);
    assert_int_equal(hf_marker_write(root, &marker), HF_OK);
    assert_int_equal(hf_marker_write(root, &marker), HF_EIO); /* never over another */
    assert_int_equal(hf_marker_read(root, &read), HF_OK);
    assert_memory_equal(read.uuid, marker.uuid, 16);
    nth_on(NTH_FILE, "open", 1, EACCES);
    assert_int_equal(hf_marker_read(root, &read), HF_EIO);
    nth_on(NTH_FILE, "open", 1, EDQUOT);
    assert_int_equal(hf_marker_write(root, &marker), HF_EFULL);
    nth_off();
    assert_int_equal(unlink(path_of("holdfast.id")), 0);
}

/* ---- Room */

static int open_file(void)
{
    int fd = open(path_of("room"), O_RDWR | O_CREAT | O_CLOEXEC | O_TRUNC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void test_tail(void **state)
{
    hf_tail tail;
    int fd = open_file();
    (void)state;
    static const long cows[] = { 0x9123683E, 0x2FC12FC1, 0xCA451A4E, 0xF2F52010, 0xEF53 };
    for (int i = 0; i < 5; i++) {
        nth.fs_type = cows[i];
        hf_tail_init(&tail, fd);
        assert_int_equal(tail.cow, i < 4);
    }
    nth.fs_type = 0;
    nth_on(NTH_FILE, "fstatfs", 1, EIO);
    hf_tail_init(&tail, fd);
    nth_off();
    assert_false(tail.cow);
    nth_on(NTH_FILE, "fallocate", 1, EINTR); /* once more */
    assert_int_equal(hf_tail_reach(&tail, 8192, 16384, MIB(1)), 16384);
    assert_int_equal(hf_tail_reach(&tail, 8192, 16384, MIB(1)), 16384);
    nth_off();
    nth_on(NTH_FILE, "fallocate", 1, ENOSPC); /* not that much, but the least */
    assert_int_equal(hf_tail_reach(&tail, 32768, 65536, MIB(1)), 32768);
    nth_on(NTH_FILE, "fallocate", 1, ENOSPC); /* nor that: a part of it */
    nth.times = 2;
    uint64_t end = hf_tail_reach(&tail, 65536, 131072, MIB(1));
    nth_off();
    assert_true(end > 32768 && end < 65536 && end % 4096 == 0);
    assert_int_equal(hf_tail_reach(&tail, 65536, MIB(2), 81920), 81920); /* never beyond */
    nth.fs_free = 4096 + 1; /* it is not even tried */
    assert_int_equal(hf_tail_reach(&tail, 131072, 131072, MIB(1)), 81920);
    nth.fs_free = 0;
    nth_on(NTH_FILE, "fstatvfs", 1, EIO);
    nth.times = 99;
    assert_int_equal(hf_tail_reach(&tail, 131072, 131072, MIB(1)), 81920);
    assert_int_equal(hf_tail_disk_free(fd), 0);
    nth_on(NTH_FILE, "getrlimit", 1, EFAULT);
    assert_true(hf_tail_file_max() == UINT64_MAX);
    for (int i = 0; i < 2; i++) { /* the file system knows no such thing: not again */
        nth_on(NTH_FILE, "fallocate", 1, i ? ENOSYS : EOPNOTSUPP);
        tail.cannot = false;
        assert_int_equal(hf_tail_reach(&tail, 131072, 131072, MIB(1)), 81920);
        assert_true(tail.cannot);
        nth_off();
        assert_int_equal(hf_tail_reach(&tail, 131072, 131072, MIB(1)), 81920);
    }
    (void)close(fd);
}

static void test_files_with_all_their_blocks(void **state)
{
    (void)state;
    static const struct {
        const char *call;
        int         error, err;
    } rows[] = {
        { "open", EACCES, HF_EIO },       { "fstat", EIO, HF_EIO },
        { "fallocate", EINTR, HF_OK },    { "fallocate", EOPNOTSUPP, HF_OK },
        { "fallocate", ENOSYS, HF_OK },   { "fallocate", ENOSPC, HF_EFULL },
        { "fallocate", EDQUOT, HF_EFULL }, { "fallocate", EFBIG, HF_EFULL },
        { "fallocate", EIO, HF_EIO },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nth_on(NTH_FILE, rows[i].call, 1, rows[i].error);
        assert_int_equal(hf_tail_file(path_of("blocks"), 8192), rows[i].err);
        nth_off();
        if (rows[i].err)
            says("cannot allocate");
    }
    assert_int_equal(size_of(path_of("blocks")), 8192);
    assert_int_equal(hf_tail_file(path_of("blocks"), 100000), HF_OK);
    assert_int_equal(size_of(path_of("blocks")), 8192); /* as long as it is */
}

static void test_room(void **state)
{
    hf_space space;
    hf_disk *disk, *look;
    hf_disk_options looking = { .flags = HF_LOOK };
    (void)state;
    nth.pretend = true;
    disk = open_ok("roomy");
    nth_on(NTH_LMDB, "mdb_reader_list", 1, LMDB_CORRUPTED);
    assert_false(hf_disk_headroom(disk, 1)); /* who knows */
    nth_off();
    assert_true(hf_disk_headroom(disk, 100000));
    assert_true(hf_disk_headroom(disk, 100000)); /* nothing was written since */
    assert_false(hf_disk_headroom(disk, MIB(100))); /* more than the map */
    assert_int_equal(hf_disk_open(&look, path_of("roomy"), &looking), HF_OK);
    assert_false(hf_disk_headroom(look, 1)); /* a looker writes nothing */
    hf_disk_close(look);
    nth_on(NTH_LMDB, "mdb_reader_list", 1, LMDB_CORRUPTED);
    assert_int_equal(hf_disk_space(disk, &space), HF_ECORRUPT);
    nth_off();
    assert_int_equal(hf_disk_space(disk, &space), HF_OK);
    assert_true(space.tail_bytes >= 100000);

    hf_disk_close(disk);
    disk = open_ok("roomy");
    nth_on(NTH_FILE, "fallocate", 1, EOPNOTSUPP); /* free space is all there is to go by */
    nth.times = 1000;
    assert_true(hf_disk_headroom(disk, MIB(4)));
    nth.fs_free = 4096 + 1;
    assert_false(hf_disk_headroom(disk, MIB(4)));
    assert_false(hf_disk_headroom(disk, MIB(4)));
    nth.fs_free = 0;
    nth_off();
    hf_disk_close(disk);

    /* Where what is overwritten goes elsewhere, free space is needed besides. */
    nth.fs_type = 0x9123683E;
    disk = open_ok("cow");
    assert_true(hf_disk_headroom(disk, 100000));
    assert_true(hf_disk_headroom(disk, 100000));
    assert_int_equal(put_many(disk, 1, 2000, 500), HF_OK);
    assert_int_equal(del_many(disk, 1, 2000), HF_OK);
    assert_int_equal(put_many(disk, 1, 1, 500), HF_OK);
    assert_int_equal(put_many(disk, 2, 1, 500), HF_OK);
    assert_int_equal(hf_disk_space(disk, &space), HF_OK);
    assert_true(space.free_bytes > 100000);
    assert_true(hf_disk_headroom(disk, 50000));
    nth.fs_free = 40000 + 1;
    assert_false(hf_disk_headroom(disk, 50000)); /* free pages alone are not enough */
    assert_true(hf_disk_headroom(disk, 30000));
    hf_disk_close(disk);
}

/* ---- A store whose first rows are others */

static void reset(const char *name, const char *row, const void *bytes, size_t len)
{
    hf_disk *disk = open_ok(name);
    hf_txn *txn;
    hf_key key;
    hf_rowbuf buf = { 0 };
    hf_key_text(&key, row);
    assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
    if (bytes)
        assert_int_equal(hf_row_put(txn, HF_IN_META, &key, hf_view(bytes, len), &buf), HF_OK);
    else
        assert_int_equal(hf_txn_del(txn, HF_IN_META, hf_key_bytes(&key)), HF_OK);
    assert_int_equal(hf_txn_commit(txn), HF_OK);
    hf_rowbuf_done(&buf);
    hf_disk_close(disk);
}

static void test_first_rows(void **state)
{
    uint8_t number[8] = { 0, 0, 0, 0, 0, 1 };
    (void)state;
    reset("rows1", "format", number, 8);
    refused("rows1", HF_EVERSION, "4294967295");
    reset("rows2", "format", number, 7);
    refused("rows2", HF_ECORRUPT, "meta format is no number");
    reset("rows3", "format", NULL, 0);
    refused("rows3", HF_ECORRUPT, "lacks its first rows");
    reset("rows4", "uuid", number, 8);
    refused("rows4", HF_ECORRUPT, "lacks its first rows");
    reset("rows5", "uuid", NULL, 0);
    refused("rows5", HF_ECORRUPT, "lacks its first rows");
    reset("rows6", "uuid", "0123456789abcdef", 16);
    refused("rows6", HF_ECORRUPT, "of two different stores");
    reset("rows7", "seed", number, 8);
    refused("rows7", HF_ECORRUPT, "lost the seed");
    reset("rows8", "seed", NULL, 0); /* else every actor would seem to be new */
    refused("rows8", HF_ECORRUPT, "lost the seed");
}

/* ---- Errors of LMDB that come with opening */

static void test_lmdb_errors_of_opening(void **state)
{
    (void)state;
    static const struct {
        const char *call;
        int         error, err;
        const char *words;
    } rows[] = {
        { "mdb_env_open", LMDB_VERSION_MISMATCH, HF_EVERSION, "VERSION" },
        { "mdb_env_open", LMDB_INVALID, HF_ECORRUPT, "salvage" },
        { "mdb_env_open", LMDB_CORRUPTED, HF_ECORRUPT, "salvage" },
        { "mdb_env_open", ENOMEM, HF_ENOMEM, "store_max" },
        { "mdb_env_open", EFBIG, HF_EFULL, "store_max" },
        { "mdb_env_open", EDQUOT, HF_EFULL, "store_max" },
        { "mdb_env_open", EACCES, HF_EIO, "store_max" },
        { "mdb_dbi_open", LMDB_NOTFOUND, HF_ECORRUPT, "salvage" },
        { "mdb_dbi_open", LMDB_TXN_FULL, HF_EFULL, "cannot open table" },
        { "mdb_txn_begin", ENOMEM, HF_ENOMEM, "cannot open table" },
        { "mdb_txn_begin", EIO, HF_EIO, "cannot open table" },
    };
    hf_disk_close(open_ok("lmdb"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nth_on(NTH_LMDB, rows[i].call, 1, rows[i].error);
        refused("lmdb", rows[i].err, rows[i].words);
        nth_off();
    }
    hf_disk_close(open_ok("lmdb"));
}

/* A commit's three outcomes, whatever LMDB says. */
static void test_outcomes(void **state)
{
    (void)state;
    static const struct {
        int  error;
        bool no_room, no_sync;
        int  err;
    } rows[] = {
        { ENOMEM, false, false, HF_ENOMEM },       { LMDB_MAP_FULL, false, false, HF_EFULL },
        { LMDB_TXN_FULL, false, false, HF_EFULL }, { ENOSPC, false, false, HF_EFULL },
        { EDQUOT, false, false, HF_EFULL },        { EFBIG, false, false, HF_EFULL },
        { EIO, true, false, HF_EFULL },            { EIO, false, false, HF_EUNKNOWN },
        { EIO, true, true, HF_EUNKNOWN },          { ENOSPC, true, true, HF_EUNKNOWN },
        { LMDB_CORRUPTED, true, false, HF_EUNKNOWN },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hf_disk *disk = open_ok("outcomes");
        uint64_t before = rows_of(disk);
        hf_txn *txn;
        assert_int_equal(hf_txn_write(disk, &txn), HF_OK);
        for (uint64_t n = 0; n < (i % 2 ? 5000 : 1); n++)
            assert_int_equal(put_number(txn, n + 1, 10), HF_OK);
        nth_on(NTH_LMDB, "mdb_txn_commit", 1, rows[i].error);
        nth.fs_free = rows[i].no_room ? 1 : 0;
        nth.no_sync = rows[i].no_sync;
        assert_int_equal(hf_txn_commit(txn), rows[i].err);
        bool dead = rows[i].err == HF_EUNKNOWN;
        assert_int_equal(hf_txn_write(disk, &txn), dead ? HF_EUNKNOWN : HF_OK);
        if (!dead)
            hf_txn_abort(txn);
        else
            says("stopped after a failed write");
        nth.no_sync = false;
        nth_off();
        nth.fs_free = 0;
        hf_disk_close(disk);
        disk = open_ok("outcomes");
        assert_int_equal(rows_of(disk), before);
        hf_disk_close(disk);
    }
}

/* ---- Numbers */

static void test_random_bytes(void **state)
{
    uint8_t bytes[2][13];
    (void)state;
    for (int i = 0; i < 2; i++) {
        hf_random_seed(7);
        hf_random_bytes(bytes[i], 13); /* not a whole number of numbers */
    }
    assert_memory_equal(bytes[0], bytes[1], 13);
    assert_int_not_equal(bytes[0][12] | bytes[0][11] | bytes[0][10] | bytes[0][9], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ODD(test_paths),
        ODD(test_old_nests),
        ODD(test_somebody_was_faster),
        ODD(test_locks),
        ODD(test_many_claims),
        ODD(test_last_stop),
        ODD(test_marker),
        ODD(test_tail),
        ODD(test_files_with_all_their_blocks),
        ODD(test_room),
        ODD(test_first_rows),
        ODD(test_lmdb_errors_of_opening),
        ODD(test_outcomes),
        ODD(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
