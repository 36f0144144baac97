/* test_nth_salvage.c - every call that a salvage makes fails once: it says so and leaves
 * nothing at the new place, or there is a whole store that nothing is lost from silently. */
#include "tests/unit/hurt_store.h"
#include "tests/unit/nth_more.h"

static const int lmdb_errors[] = { EIO, ENOSPC, LMDB_CORRUPTED, ENOMEM, LMDB_MAP_FULL };
enum { LMDB_ERRORS = sizeof lmdb_errors / sizeof *lmdb_errors };

/* ---- Damaged stores */

static void damage_tables(const char *name)
{
    static const hf_table tables[] = { HF_IN_LOG, HF_IN_INBOX, HF_IN_STATE, HF_IN_ALARM_NAMES,
                                       HF_IN_DEAD, HF_IN_STEPS, HF_IN_ROWS };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        hurt_table(name, tables[i]);
}

static void damage_newest(const char *name)
{
    hurt_page(name, hurt_root(name, 0), 0xee);
}

static void damage_meta(const char *name)
{
    hurt_table(name, HF_IN_META);
    hurt_page(name, 1, 0);
}

typedef struct damaged {
    const char *name;
    void      (*damage)(const char *name);
} damaged;

static const damaged stores[] = {
    { "tables", damage_tables },
    { "rootless", hurt_all_roots },
    { "newest", damage_newest },
    { "meta", damage_meta },
};
enum { STORES = sizeof stores / sizeof *stores };

/* ---- Salvaging */

typedef struct result {
    uint64_t sum, rows[HF_TABLES], told;
} result;

static void salvage_once(const char *from, int kind, int n, const result *want)
{
    uint64_t told = 0, rows[HF_TABLES];
    const char *to = hurt_path("to");
    unsigned files = hurt_open_files(), names = hurt_names();
    nth.kind = kind;
    hf_mem_hook(kind == NTH_MEMORY ? nth_memory : NULL, NULL);
    int err = hf_salvage(from, to, hurt_hear, &told);
    nth_off();
    assert_int_equal(hurt_open_files(), files);
    if (err && !*hf_error_detail())
        fail_msg("%s: %d without a detail", from, err);
    if (err && kind == NTH_MEMORY && err != HF_ENOMEM && err != HF_EUNKNOWN)
        fail_msg("%s: %d, not HF_ENOMEM: %s", from, err, hf_error_detail());
    if (err && access(to, F_OK) != 0) {
        assert_int_equal(hurt_names(), names);
        return;
    }
    hurt_verify(to); /* it was too late to say no: then all of it is there */
    uint64_t sum = hurt_sum(to, rows);
    if (kind != NTH_FILE && sum != want->sum)
        fail_msg("%s, kind %d, call %d: another store than without failures (%d, hit %d)",
                 from, kind, n, err, nth.hit);
    if (sum != want->sum && (!rows[HF_IN_PAUSES] || told <= 1))
        fail_msg("%s: something is lost, and nobody waits for it", from);
    core_remove(to);
    assert_int_equal(hurt_names(), names);
}

static void salvage_each(const char *from, int kind, int step, const result *want)
{
    for (int n = 1; n == 1 || nth.hit; n += step * NTH_STEP) {
        nth_on(kind, NULL, n, kind == NTH_LMDB ? lmdb_errors[n / step % LMDB_ERRORS] : EIO);
        nth_off();
        salvage_once(from, kind, n, want);
    }
}

static void test_salvages(void **state)
{
    (void)state;
    hf_clock_use(&hurt_clock);
    for (size_t i = 0; i < STORES; i++) {
        char from[160], to[160];
        result want = { 0 };
        (void)snprintf(from, sizeof from, "%s", hurt_path(stores[i].name));
        (void)snprintf(to, sizeof to, "%s", hurt_path("to"));
        (void)hurt_make(stores[i].name);
        stores[i].damage(stores[i].name);
        int err = hf_salvage(from, to, hurt_hear, &want.told);
        if (err)
            fail_msg("%s: %d %s", from, err, hf_error_detail());
        hurt_verify(to);
        want.sum = hurt_sum(to, want.rows);
        core_remove(to);
        salvage_each(from, NTH_MEMORY, 1, &want);
        salvage_each(from, NTH_LMDB, i ? 7 : 1, &want); /* most of them put rows */
        salvage_each(from, NTH_FILE, 23, &want);        /* and most of these read pages */
        core_remove(from);
    }
    hf_clock_use(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_salvages),
    };
    nth.pretend = true;
    (void)snprintf(hurt_here, sizeof hurt_here, "%s", core_directory("nth-salvage", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(hurt_here);
    return failed;
}
