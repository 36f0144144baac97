/* test_nth_copies.c - every call that a backup, a restore, a compaction or a checkup makes
 * fails once: the store is as it was, and at the new place is nothing or all of it. */
#include "tests/unit/hurt_store.h"
#include "tests/unit/nth_more.h"

#include "recovery/packet.h"

static const int lmdb_errors[] = { EIO, ENOSPC, LMDB_CORRUPTED, ENOMEM, LMDB_MAP_FULL };
static const int file_errors[] = { EIO, ENOSPC, EACCES, EDQUOT };
enum { ERRORS = 4 };

static char     store[160], to[160], file[160];
static uint64_t whole; /* what the store holds */

typedef struct told {
    uint64_t rows;
    bool     done;
} told;

static int hear(void *user, hf_bytes row)
{
    told *t = user;
    t->rows++;
    t->done = t->done || memmem(row.data, row.len, "done", 4) != NULL;
    return HF_OK;
}

static int backup(told *t)
{
    return hf_backup(store, file, hear, t);
}

static int restore(told *t)
{
    return hf_restore(file, to, hear, t);
}

static int compact_to(told *t)
{
    return hf_compact(store, to, hear, t);
}

static int compact(told *t)
{
    return hf_compact(store, NULL, hear, t);
}

/* ---- After a call that failed, or did not */

static void holds_all(const char *path)
{
    uint64_t rows[HF_TABLES];
    assert_true(hurt_sum(path, rows) == whole);
    hurt_verify(path);
}

/* Another file than before is tried; that one was. */
static bool is_backup(void)
{
    static ino_t known;
    told t = { 0 };
    struct stat st;
    if (stat(file, &st))
        return false;
    if (st.st_ino == known)
        return true;
    known = st.st_ino;
    assert_int_equal(hf_restore(file, hurt_path("again"), hear, &t), HF_OK);
    holds_all(hurt_path("again"));
    core_remove(hurt_path("again"));
    return true;
}

static void copy_said(int err, int kind, const told *t)
{
    if (err && !*hf_error_detail())
        fail_msg("%d without a detail", err);
    if (err && kind == NTH_MEMORY && err != HF_ENOMEM && err != HF_EUNKNOWN)
        fail_msg("%d, not HF_ENOMEM: %s", err, hf_error_detail());
    if (err && err != HF_ENOMEM && err != HF_EIO && err != HF_EFULL && err != HF_ECORRUPT
        && err != HF_EUNKNOWN && err != HF_EINVAL && err != HF_EAGAIN && err != HF_EBUSY
        && err != HF_ENOTFOUND)
        fail_msg("%d: %s", err, hf_error_detail());
    if (!err)
        assert_true(t->done);
}

/* The old store, kept beside the new one. */
static void hurt_sweep(void)
{
    DIR *dir = opendir(hurt_here);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        char path[500];
        (void)snprintf(path, sizeof path, "%s/%s", hurt_here, e->d_name);
        if (!strstr(e->d_name, ".tmp-"))
            continue;
        holds_all(path);
        core_remove(path);
    }
    (void)closedir(dir);
}

/* What is to be there when nothing failed, and what may be there otherwise. */
typedef struct copy {
    int (*run)(told *t);
    bool  backup, restore, compact; /* it writes the file, the new store, the old one */
} copy;

static void copy_once(const copy *c, int kind, int n)
{
    told t = { 0 };
    char why[300];
    uint64_t rows[HF_TABLES];
    unsigned files = hurt_open_files(), names = hurt_names();
    nth.kind = kind;
    hf_mem_hook(kind == NTH_MEMORY ? nth_memory : NULL, NULL);
    int err = c->run(&t);
    nth_off();
    assert_int_equal(hurt_open_files(), files);
    copy_said(err, kind, &t);
    (void)snprintf(why, sizeof why, "%s", hf_error_detail());
    if (c->backup && !is_backup())
        assert_int_not_equal(err, HF_OK);
    if (c->restore && access(to, F_OK) == 0) {
        holds_all(to);
        core_remove(to);
    } else if (c->restore) {
        assert_int_not_equal(err, HF_OK);
    }
    if (c->compact && !err)
        holds_all(store);
    if (c->compact)
        assert_true(hurt_sum(store, rows) == whole);
    if (strstr(why, "cannot lock")) /* somebody else's, for all one knows */
        (void)unlink(hurt_path("file.part"));
    if (c->compact && strstr(why, "cannot sync")) /* which of both is there after a crash? */
        hurt_sweep();
    if (hurt_names() != names)
        fail_msg("kind %d, call %d (%d): something is left: %s", kind, n, err, why);
}

static void copy_each(const copy *c, int kind, int step)
{
    for (int n = 1; n == 1 || nth.hit; n += step * NTH_STEP) {
        nth_on(kind, NULL, n, kind == NTH_LMDB ? lmdb_errors[n / step % ERRORS]
                                               : file_errors[n / step % ERRORS]);
        nth_off();
        copy_once(c, kind, n);
    }
}

static void test_copies(void **state)
{
    static const copy copies[] = {
        { .run = backup, .backup = true },
        { .run = restore, .restore = true },
        { .run = compact_to, .restore = true },
        { .run = compact, .compact = true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof copies / sizeof *copies; i++) {
        copy_each(&copies[i], NTH_MEMORY, 1);
        copy_each(&copies[i], NTH_LMDB, 1);
        copy_each(&copies[i], NTH_FILE, 1);
        holds_all(store);
    }
}

/* ---- Checking */

static void verify_once(int kind, uint64_t want)
{
    uint64_t rows = 0;
    unsigned files = hurt_open_files();
    nth.kind = kind;
    hf_mem_hook(kind == NTH_MEMORY ? nth_memory : NULL, NULL);
    int err = hf_verify(store, hurt_hear, &rows);
    nth_off();
    assert_int_equal(hurt_open_files(), files);
    if (err && !*hf_error_detail())
        fail_msg("%d without a detail", err);
    if (err && kind == NTH_MEMORY && err != HF_ENOMEM)
        fail_msg("%d, not HF_ENOMEM: %s", err, hf_error_detail());
    if (err == HF_ECORRUPT && !rows && kind != NTH_LMDB)
        fail_msg("findings, but none was told: %s", hf_error_detail());
    if (!err) /* what it could not look at it did not call sound */
        assert_int_equal(rows, want);
}

static void verify_each(int kind, int step, uint64_t want)
{
    for (int n = 1; n == 1 || nth.hit; n += step * NTH_STEP) {
        nth_on(kind, NULL, n, kind == NTH_LMDB ? lmdb_errors[n % ERRORS] : EIO);
        nth_off();
        verify_once(kind, want);
    }
}

static void test_verify(void **state)
{
    uint64_t want = 0;
    (void)state;
    assert_int_equal(hf_verify(store, hurt_hear, &want), HF_OK);
    verify_each(NTH_MEMORY, 1, want);
    verify_each(NTH_LMDB, 1, want);
    verify_each(NTH_FILE, 5, want);
    holds_all(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_verify),
    };
    uint64_t rows[HF_TABLES];
    told t = { 0 };
    nth.pretend = true;
    (void)snprintf(hurt_here, sizeof hurt_here, "%s", core_directory("nth-copies", true));
    (void)snprintf(store, sizeof store, "%s", hurt_path("store"));
    (void)snprintf(to, sizeof to, "%s", hurt_path("to"));
    (void)snprintf(file, sizeof file, "%s", hurt_path("file"));
    (void)hurt_make("store");
    whole = hurt_sum(store, rows);
    CORE_OK(backup(&t));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(hurt_here);
    return failed;
}
