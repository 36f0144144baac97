/* standstill.h - what `pause` and `resume` have in common. */
#ifndef TOOLS_STANDSTILL_H
#define TOOLS_STANDSTILL_H

#include "tools/context.h"

/* Make the change ("pause", "resume") for TYPE, TYPE/KEY or --all, and print its row, which
 * the caller frees. *what: that word, "" everything; NULL: nothing was changed, and that
 * was said (--dry-run, an error). An exit code. */
int cli_standstill(cli_context *context, const char *change, const cli_column *fields,
                   size_t count, const char **what, cli_buffer *row);

#endif
