/* select.h - walk all messages a where selects, page by page. */
#ifndef TOOLS_SELECT_H
#define TOOLS_SELECT_H

#include "tools/context.h"

typedef struct cli_selection {
    const char *where;  /* NULL: all */
    uint64_t    after;  /* only ids above this one */
    uint64_t    limit;  /* at most so many messages */
    bool        bodies; /* with them */
    /* set by cli_select */
    uint64_t told, scanned;
    bool     more; /* there are more than limit */
} cli_selection;

/* Tell each message by ascending id. each may end the walk with a positive
 * number, which is returned. CLI_OK, or an exit code after saying why. */
int cli_select(cli_context *context, cli_selection *selection, hf_row_fn each, void *user);

#endif
