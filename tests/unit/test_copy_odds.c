/* test_copy_odds.c - copies of stores that are odd in one respect, and places where no copy
 * can be: what is refused says why, and nothing of it is left. */
#include "tests/unit/hurt_store.h"
#include "tests/unit/nth_more.h"

#include "recovery/lineage.h"

#include "storage/marker.h"
#include "storage/memory.h"

#include <sys/mman.h>
#include <utime.h>

NTH_CALL(void *, MAP_FAILED, NTH_FILE, mmap,
         (void *at, size_t size, int rights, int how, int fd, off_t from),
         (at, size, rights, how, fd, from))

static char store[160], to[160], file[160];

static int nothing(void *user, hf_bytes row)
{
    (void)user, (void)row;
    return HF_OK;
}

static void says(const char *words)
{
    if (!strstr(hf_error_detail(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, hf_error_detail());
}

static int begin(void **state)
{
    (void)state;
    core_remove(to);
    (void)hurt_make("store");
    return 0;
}

static int end(void **state)
{
    (void)state;
    nth_off();
    hf_clock_use(NULL);
    (void)unlink(file);
    core_remove(to);
    return 0;
}

/* As if it had been written so. */
static void change_meta(const char *drop, const hf_lineage *lineage)
{
    hf_disk *disk;
    hf_txn *txn;
    CORE_OK(open_small(&disk, store));
    CORE_OK(hf_txn_write(disk, &txn));
    if (drop)
        CORE_OK(hf_txn_del(txn, HF_IN_META, hf_str(drop)));
    if (lineage)
        CORE_OK(hf_lineage_write(txn, lineage));
    CORE_OK(hf_txn_commit(txn));
    hf_disk_close(disk);
}

static void not_restored(int err, const char *words)
{
    CORE_OK(hf_backup(store, file, nothing, NULL));
    assert_int_equal(hf_restore(file, to, nothing, NULL), err);
    says(words);
    assert_int_not_equal(access(to, F_OK), 0);
}

static void test_restored_too_often(void **state)
{
    static const uint8_t uuid[16] = { 1 };
    hf_lineage lineage = { .count = 0 };
    (void)state;
    for (uint64_t i = 1; i <= HF_LINEAGE_MAX; i++)
        CORE_OK(hf_lineage_add(&lineage, i, uuid));
    change_meta(NULL, &lineage);
    not_restored(HF_EINVAL, "times already");
    lineage.of[1].below = 1; /* out of order, and yet with a checksum */
    change_meta(NULL, &lineage);
    not_restored(HF_ECORRUPT, "out of order");
}

static void test_no_seed(void **state)
{
    (void)state;
    core_mark_seed(store, 0); /* nor does it say what is missing */
    change_meta("seed", NULL);
    not_restored(HF_ECORRUPT, "the seed of its address hashes is missing");
}

static uint64_t long_ago(void *user)
{
    (void)user;
    return 1000;
}

/* Ids go on far above those that were given, whatever the clock says. */
static void test_clock_of_long_ago(void **state)
{
    static const hf_clock clock = { .wall_ms = long_ago, .mono_ns = long_ago };
    (void)state;
    uint64_t next = hurt_number("store", "next");
    CORE_OK(hf_backup(store, file, nothing, NULL));
    hf_clock_use(&clock);
    CORE_OK(hf_restore(file, to, nothing, NULL));
    hf_clock_use(NULL);
    uint64_t now = hurt_number("to", "next");
    assert_in_range(now, next + (UINT64_C(1) << 40), next + (UINT64_C(2) << 40));
    hurt_verify(to);
}

/* A record of nothing, and a file most of which is not there. */
static void test_compact_odd_files(void **state)
{
    hf_record_head head = { .flags = HF_RECORD_LAST, .group = UINT64_C(1) << 30, .waiting = 0 };
    uint64_t rows[HF_TABLES], before[HF_TABLES];
    char data[200];
    (void)state;
    hurt_record("store", head.group, &head, NULL, 0);
    uint64_t sum = hurt_sum(store, before);
    (void)snprintf(data, sizeof data, "%s/" HF_DATA_FILE, store);
    assert_int_equal(truncate(data, (off_t)40 << 30), 0);
    CORE_OK(hf_compact(store, to, nothing, NULL));
    assert_true(hurt_sum(to, rows) == sum);
    assert_int_equal(rows[HF_IN_LOG], before[HF_IN_LOG]);
    (void)snprintf(data, sizeof data, "%s/" HF_DATA_FILE, to);
    assert_in_range(size_of(data), 1, 64 << 20);
}

/* ---- Checkups */

static void test_checkups(void **state)
{
    hf_marker marker;
    char path[200];
    (void)state;
    for (int n = 1; n == 1 || nth.hit; n++) { /* what can't be opened is not damaged */
        nth_on(NTH_FILE, "open", n, EMFILE);
        assert_int_not_equal(hf_verify(store, nothing, NULL), HF_ECORRUPT);
    }
    nth_off();
    (void)snprintf(path, sizeof path, "%s/" HF_MARKER_FILE, store);
    CORE_OK(hf_marker_read(store, &marker));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(hf_verify(store, nothing, NULL), HF_ECORRUPT);
    marker.format = HF_FORMAT + 1;
    CORE_OK(hf_marker_write(store, &marker));
    assert_int_equal(hf_verify(store, nothing, NULL), HF_EVERSION);
    assert_int_equal(unlink(path), 0);
    marker.format = HF_FORMAT;
    CORE_OK(hf_marker_write(store, &marker));
    hf_pages *pages = hurt_pages("store");
    uint64_t newer = hf_pages_root_of(pages, 0).txn;
    hf_pages_close(pages);
    hurt_page("store", newer % 2 ? 0 : 1, 0); /* the older one */
    uint64_t told = 0;
    assert_int_equal(hf_verify(store, hurt_hear, &told), HF_ECORRUPT);
    assert_true(told >= 1);
    CORE_OK(hf_salvage(store, to, nothing, NULL));
    hurt_verify(to);
}

/* ---- Places */

static void test_exchange(void **state)
{
    static const int refused[] = { EINVAL, ENOSYS, EBUSY, EXDEV };
    uint64_t rows[HF_TABLES], sum = hurt_sum(store, rows);
    (void)state;
    unsigned names = hurt_names();
    for (size_t i = 0; i < 4; i++) {
        nth_on(NTH_FILE, "renameat2", 1, refused[i]);
        assert_int_equal(hf_compact(store, NULL, nothing, NULL), HF_EINVAL);
        says("--to makes one elsewhere");
    }
    nth_on(NTH_FILE, "renameat2", 1, EIO);
    assert_int_equal(hf_compact(store, NULL, nothing, NULL), HF_EIO);
    nth_off();
    assert_int_equal(hurt_names(), names);
    assert_true(hurt_sum(store, rows) == sum);
}

/* Somebody's, by its name or its age or what lies in it: it stays. */
static void test_nests_of_others(void **state)
{
    static const char *const others[] = { "to.tmp-0123456789abcdeg", "to.tmp-0123456789abcde",
                                          "to.tmp-0123456789abcdefx", "two.tmp-0123456789abcdef" };
    static const char ours[] = "to.tmp-0123456789abcdef";
    struct utimbuf old = { 1000000, 1000000 };
    hf_disk *disk;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(mkdir(hurt_path(others[i]), 0700), 0);
        assert_int_equal(utime(hurt_path(others[i]), &old), 0);
    }
    assert_int_equal(mkdir(hurt_path(ours), 0700), 0);
    assert_int_equal(utime(hurt_path(ours), &old), 0);
    for (int n = 1; n <= 3; n++) { /* what can't be looked into stays */
        nth_on(NTH_FILE, "opendir", n, EACCES);
        CORE_OK(open_small(&disk, to));
        nth_off();
        hf_disk_close(disk);
        core_remove(to);
        assert_true(access(hurt_path(ours), F_OK) == 0 || n > 2);
    }
    assert_int_not_equal(access(hurt_path(ours), F_OK), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(rmdir(hurt_path(others[i])), 0);
}

static int fill_nothing(void *user, hf_disk *disk)
{
    (void)user, (void)disk;
    return HF_OK;
}

static void test_making(void **state)
{
    static const uint8_t uuid[16] = { 7 };
    hf_disk_options huge = { .store_max = UINT64_MAX / 2 }, replace = { .flags = HF_REPLACE };
    hf_disk *disk;
    (void)state;
    assert_int_equal(hf_disk_make(to, uuid, &huge, fill_nothing, NULL), HF_EINVAL);
    says("too large");
    assert_int_equal(hf_disk_make(to, uuid, &replace, fill_nothing, NULL), HF_EINVAL);
    says("no store at");
    assert_int_equal(hf_disk_make(store, uuid, NULL, fill_nothing, NULL), HF_EINVAL);
    says("there is a store at");
    assert_int_not_equal(access(to, F_OK), 0);
    CORE_OK(hf_disk_make(to, uuid, NULL, fill_nothing, NULL));
    assert_int_equal(access(to, F_OK), 0);
    nth_on(NTH_MEMORY, NULL, 1, 0);
    assert_int_equal(hf_disk_open(&disk, NULL, NULL), HF_ENOMEM);
    nth_on(NTH_MEMORY, NULL, 1, 0);
    assert_int_equal(hf_disk_open(&disk, store, NULL), HF_ENOMEM);
    nth_off();
    assert_null(disk);
}

/* ---- A store that is not alone, or closed to writing */

static void test_compact_beside_others(void **state)
{
    char notes[200], data[200], copies[240];
    struct stat st;
    (void)state;
    (void)snprintf(notes, sizeof notes, "%s/notes", store);
    assert_int_equal(mkdir(notes, 0700), 0);
    assert_int_equal(hf_compact(store, NULL, nothing, NULL), HF_EINVAL);
    says("/notes is no file of the store");
    assert_int_equal(access(notes, F_OK), 0);
    CORE_OK(hf_compact(store, to, nothing, NULL));
    assert_int_equal(rmdir(notes), 0);
    (void)snprintf(data, sizeof data, "%s/" HF_DATA_FILE, store);
    assert_int_equal(rename(data, hurt_path("elsewhere")), 0);
    assert_int_equal(symlink(hurt_path("elsewhere"), data), 0);
    assert_int_equal(hf_compact(store, NULL, nothing, NULL), HF_EINVAL);
    says("is a link");
    assert_int_equal(rename(hurt_path("elsewhere"), data), 0);
    assert_int_equal(chmod(store, 0500), 0);
    CORE_OK(hf_compact(store, NULL, nothing, NULL));
    assert_int_equal(stat(store, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0500);
    assert_int_equal(chmod(store, 0700), 0);
    (void)snprintf(copies, sizeof copies, "ls -d %s.tmp-* >/dev/null 2>&1", store);
    assert_int_not_equal(system(copies), 0);
}

/* ---- Memory */

static void test_memory(void **state)
{
    (void)state;
    nth_on(NTH_MEMORY, NULL, 1, 0);
    assert_null(hf_mem_aligned(64, 128));
    nth_on(NTH_MEMORY, NULL, 1, 0);
    assert_null(hf_mem_apart(3, 65));
    assert_null(hf_mem_apart(SIZE_MAX / 2, 3));
    assert_null(hf_mem_apart(1, SIZE_MAX));
    nth_on(NTH_FILE, "mmap", 1, ENOMEM);
    assert_null(hf_mem_map(2 << 20, 0));
    nth_off();
    uint8_t *map = hf_mem_map(2 << 20, 1), *some = hf_mem_aligned(64, 128);
    assert_true(map && (uintptr_t)map % (2 << 20) == 0);
    assert_true(some && (uintptr_t)some % 64 == 0);
    uint8_t *apart = hf_mem_apart(3, 65);
    assert_true(apart && (uintptr_t)apart % 64 == 0);
    for (size_t i = 0; i < 256; i++) /* whole lines: nobody else's memory is in the last */
        assert_int_equal(apart[i], 0);
    hf_mem_free(apart);
    map[0] = map[(2 << 20) - 1] = 1;
    hf_mem_huge(map, 2 << 20);
    hf_mem_huge(some, 128); /* too small for any */
    hf_mem_huge(NULL, 8 << 20);
    assert_int_equal(map[0] + map[(2 << 20) - 1], 2);
    hf_mem_unmap(map, 2 << 20);
    hf_mem_free(some);
}

int main(void)
{
#define COPY(test) cmocka_unit_test_setup_teardown(test, begin, end)
    const struct CMUnitTest tests[] = {
        COPY(test_restored_too_often), COPY(test_no_seed),  COPY(test_clock_of_long_ago),
        COPY(test_compact_odd_files),  COPY(test_checkups), COPY(test_exchange),
        COPY(test_nests_of_others),    COPY(test_making),   COPY(test_memory),
        COPY(test_compact_beside_others),
    };
    nth.pretend = true;
    (void)snprintf(hurt_here, sizeof hurt_here, "%s", core_directory("copy-odds", true));
    (void)snprintf(store, sizeof store, "%s", hurt_path("store"));
    (void)snprintf(to, sizeof to, "%s", hurt_path("to"));
    (void)snprintf(file, sizeof file, "%s", hurt_path("file"));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(hurt_here);
    return failed;
}
