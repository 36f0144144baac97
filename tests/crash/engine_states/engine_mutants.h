/* engine_mutants.h - faults that a recorded engine may be given, to be noticed. */
#ifndef ENGINE_MUTANTS_H
#define ENGINE_MUTANTS_H

#include <stdatomic.h>
#include <stdint.h>

typedef enum mutant {
    MUTANT_NONE,
    MUTANT_EARLY,
    MUTANT_UNDONE,
    MUTANT_NOSYNC,
    MUTANT_NOMETASYNC
} mutant;
int         mutant_named(const char *name); /* < 0: there is none */
const char *mutant_name(mutant which);
void        mutant_use(mutant which, uint32_t at); /* the at-th append is the bad one */

extern _Atomic uint64_t folds_done;      /* by the log that was appended to last */
extern _Atomic uint64_t fold_slice_most; /* bytes of a slice; 0: as the fold likes */

#endif
