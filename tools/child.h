/* child.h - work that a damaged file may end: done in a child, its rows come back. */
#ifndef TOOLS_CHILD_H
#define TOOLS_CHILD_H

#include <holdfast_recovery.h>

/* What the child does: tells rows, returns a code of holdfast.h. */
typedef int (*cli_child_work)(void *user, hf_row_fn each, void *to);

typedef struct cli_child_end {
    int  err;          /* of the work */
    int  signal;       /* that ended it instead, 0: none */
    char detail[512];  /* hf_detail of the child */
} cli_child_end;

/* HF_OK: *end says how the child ended, or why there was none; rows it told before count.
 * Else HF_ENOMEM, or what `each` returned (the child is killed then). The caller
 * must have no engine and no other thread. */
int cli_child_run(cli_child_work work, void *user, hf_row_fn each, void *to,
                  cli_child_end *end);

#endif
