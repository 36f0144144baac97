/* faults_mutants.c - the library with one thing broken on purpose.
 *
 * The program is linked with --wrap, so that calls between the library's files pass
 * here. Nothing is chosen: they go on as they came. Chosen:
 *   acknowledge  a commit that was refused is acknowledged
 *   definite     an unknown outcome is told as a refusal
 *   descriptor   the lock's descriptor is not closed
 *   silent       out of memory is told without a detail
 *   fallocate    room that could not be had is believed in (see inject_pretends) */
#include "tests/crash/faults/faults_mutants.h"

#include "engine/engine.h"
#include "storage/error.h"
#include "storage/log.h"
#include "tests/crash/faults/inject.h"

#include <string.h>

static const char *const names[] = { "none", "acknowledge", "definite", "descriptor", "silent",
                                     "fallocate" };
enum { NONE, ACKNOWLEDGE, DEFINITE, DESCRIPTOR, SILENT, FALLOCATE, MUTANTS };
static int chosen;

bool mutant_choose(const char *name)
{
    for (chosen = 0; chosen < MUTANTS; chosen++)
        if (strcmp(name, names[chosen]) == 0)
            break;
    inject_pretends = chosen == FALLOCATE;
    return chosen < MUTANTS;
}

int  __real_hf_log_append(hf_log *log, hf_group *group);
int  __real_hf_journal_wait(hf_engine *engine, hf_batch *batch);
void __real_hf_lock_drop(int fd);
int  __wrap_hf_log_append(hf_log *log, hf_group *group);
int  __wrap_hf_journal_wait(hf_engine *engine, hf_batch *batch);
void __wrap_hf_lock_drop(int fd);

int __wrap_hf_log_append(hf_log *log, hf_group *group)
{
    int err = __real_hf_log_append(log, group);
    return chosen == ACKNOWLEDGE && (err == HF_EFULL || err == HF_ENOMEM) ? HF_OK : err;
}

int __wrap_hf_journal_wait(hf_engine *engine, hf_batch *batch)
{
    int err = __real_hf_journal_wait(engine, batch);
    if (chosen == SILENT && err)
        hf_error_clear();
    return chosen == DEFINITE && err == HF_EUNKNOWN ? hf_error(HF_EFULL, "mutant") : err;
}

void __wrap_hf_lock_drop(int fd)
{
    if (chosen != DESCRIPTOR)
        __real_hf_lock_drop(fd);
}
