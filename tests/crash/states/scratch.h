/* scratch.h - the directory in memory in which a run of this process works. */
#ifndef STATES_SCRATCH_H
#define STATES_SCRATCH_H

/* Make it, in /dev/shm or else in /tmp, and remove what killed runs of that name left.
 * A run that cannot have one ends with status 2. Returns its path. */
const char *scratch_make(const char *name);
void        scratch_remove(void);

void scratch_clear(const char *path);     /* all below a directory goes */
void scratch_sync_tree(const char *path); /* files first, then their directory */

double scratch_seconds(void); /* that only grow */

#endif
