/* mutants.c - the faults, and a hand on the fold.
 *
 * The program is linked with --wrap=hf_fold_slice: the log's calls come here first.
 * One thread. */
#include "tests/crash/states/mutants.h"

#include "tests/crash/states/recorder.h"

#include "storage/fold.h"

#include <string.h>

#define LMDB_NOSYNC     0x10000u
#define LMDB_NOMETASYNC 0x40000u

uint64_t      fold_slice_most;
static mutant used;

static const char *const names[] = { "none", "nosync", "nometasync", "fold", "nodirsync" };

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

void mutant_use(mutant which)
{
    used = which;
    tape_blind_to_directories = which == MUTANT_NODIRSYNC;
}

mutant mutant_used(void)
{
    return used;
}

uint32_t mutant_lmdb_flags(void)
{
    return used == MUTANT_NOSYNC ? LMDB_NOSYNC : used == MUTANT_NOMETASYNC ? LMDB_NOMETASYNC : 0;
}

/* The first record that was not sealed goes, too. */
static int delete_one_more(const hf_fold *fold, hf_txn *txn)
{
    hf_cursor *cursor;
    hf_bytes key;
    hf_key from;
    hf_key_number(&from, fold->end);
    int err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
    if (err)
        return err;
    err = hf_cursor_seek(cursor, hf_key_bytes(&from), &key, NULL);
    if (!err)
        err = hf_cursor_del(cursor);
    hf_cursor_close(cursor);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

int __real_hf_fold_slice(hf_fold *fold, hf_txn *txn, uint64_t budget);
int __wrap_hf_fold_slice(hf_fold *fold, hf_txn *txn, uint64_t budget);

int __wrap_hf_fold_slice(hf_fold *fold, hf_txn *txn, uint64_t budget)
{
    uint64_t some = fold_slice_most && fold_slice_most < budget ? fold_slice_most : budget;
    int err = __real_hf_fold_slice(fold, txn, some);
    if (!err && used == MUTANT_FOLD && fold->now.stage == HF_FOLD_DELETING
        && fold->now.deleted == fold->count && fold->before.deleted < fold->count)
        err = delete_one_more(fold, txn);
    return err;
}
