/* mutants.h - faults put in on purpose, to see that the harness notices them. */
#ifndef STATES_MUTANTS_H
#define STATES_MUTANTS_H

#include <stdint.h>

typedef enum mutant {
    MUTANT_NONE,
    MUTANT_NOSYNC,     /* LMDB syncs nothing */
    MUTANT_NOMETASYNC, /* LMDB does not sync the page that makes a commit count */
    MUTANT_FOLD,       /* the fold deletes one record more than it moved */
    MUTANT_NODIRSYNC   /* nobody syncs a directory */
} mutant;

int         mutant_named(const char *name); /* -1: there is none of that name */
const char *mutant_name(mutant which);
void        mutant_use(mutant which); /* from now on, in this process */
mutant      mutant_used(void);
uint32_t    mutant_lmdb_flags(void);

/* Not a fault: the fold is given at most so many bytes in each commit, so that it
 * takes several and appends come in between. 0: as many as it likes. */
extern uint64_t fold_slice_most;

#endif
