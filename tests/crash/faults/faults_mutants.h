/* faults_mutants.h - the library with one thing broken on purpose. */
#ifndef FAULTS_MUTANTS_H
#define FAULTS_MUTANTS_H

#include <stdbool.h>

bool mutant_choose(const char *name); /* false: there is none of that name */

#endif
