/* engine_mutants.c - faults put in on purpose, to see that they would be noticed.
 *
 * The program is linked with --wrap for hf_log_append, hf_disk_open and hf_fold_slice (no
 * fault, only small slices for lives that want many commits to a fold). `early`:
 * what one append writes and syncs comes only after it returned, when the next one
 * begins: the engine acknowledges before the commit. `undone`: one append forgets
 * which messages are done. The others take LMDB's syncs away. The journal's thread. */
#include "tests/crash/engine_states/engine_mutants.h"

#include "tests/crash/states/recorder.h"

#include "storage/fold.h"
#include "storage/log.h"

#include <string.h>

#define LMDB_NOSYNC     0x10000u
#define LMDB_NOMETASYNC 0x40000u

static mutant      used;
static atomic_uint appends;
static uint32_t    bad_one;

_Atomic uint64_t folds_done, fold_slice_most;

static const char *const names[] = { "none", "early", "undone", "nosync", "nometasync" };

const char *mutant_name(mutant which)
{
    return names[which];
}

int mutant_named(const char *name)
{
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

void mutant_use(mutant which, uint32_t at)
{
    used = which;
    bad_one = at;
    atomic_store(&appends, 0);
}

int __real_hf_log_append(hf_log *log, hf_group *group);
int __wrap_hf_log_append(hf_log *log, hf_group *group);

int __wrap_hf_log_append(hf_log *log, hf_group *group)
{
    bool bad = (used == MUTANT_EARLY || (used == MUTANT_UNDONE && group->done_count))
               && atomic_fetch_add(&appends, 1) == bad_one;
    if (used == MUTANT_EARLY)
        tape_catch_up();
    if (bad && used == MUTANT_UNDONE)
        group->done_count = 0;
    if (bad && used == MUTANT_EARLY)
        tape_postpone(true);
    int err = __real_hf_log_append(log, group);
    if (used == MUTANT_EARLY)
        tape_postpone(false);
    hf_log_stats stats;
    hf_log_stat(log, &stats);
    atomic_store(&folds_done, stats.folds);
    return err;
}

int __real_hf_disk_open(hf_disk **disk, const char *path, const hf_disk_options *options);
int __wrap_hf_disk_open(hf_disk **disk, const char *path, const hf_disk_options *options);

int __wrap_hf_disk_open(hf_disk **disk, const char *path, const hf_disk_options *options)
{
    if (!options) /* a tool's */
        return __real_hf_disk_open(disk, path, options);
    hf_disk_options unsafe = *options;
    if (used == MUTANT_NOSYNC || used == MUTANT_NOMETASYNC)
        unsafe.lmdb_unsafe |= used == MUTANT_NOSYNC ? LMDB_NOSYNC : LMDB_NOMETASYNC;
    return __real_hf_disk_open(disk, path, &unsafe);
}

int __real_hf_fold_slice(hf_fold *fold, hf_txn *txn, uint64_t budget);
int __wrap_hf_fold_slice(hf_fold *fold, hf_txn *txn, uint64_t budget);

int __wrap_hf_fold_slice(hf_fold *fold, hf_txn *txn, uint64_t budget)
{
    uint64_t most = atomic_load(&fold_slice_most);
    return __real_hf_fold_slice(fold, txn, most && most < budget ? most : budget);
}
