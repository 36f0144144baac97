/* howfar.h - rows of hf_backup and its like: a line that says how far it is, and the sum. */
#ifndef TOOLS_HOWFAR_H
#define TOOLS_HOWFAR_H

#include "tools/context.h"

typedef struct cli_howfar {
    cli_context *context;
    const char  *verb; /* "backup" */
    cli_buffer   sum;  /* the closing row */
    bool         shown;
} cli_howfar;

/* From here on Ctrl-C ends it at the next row, and it cleans up. */
void cli_howfar_begin(cli_howfar *howfar, cli_context *context, const char *verb);
/* An hf_row_fn; HF_ECLOSED after Ctrl-C. */
int  cli_howfar_row(void *howfar, hf_bytes row);
/* The line goes away. The exit code for `err`, said. */
int  cli_howfar_end(cli_howfar *howfar, int err);
void cli_howfar_free(cli_howfar *howfar);
/* "1.5 MiB"; lent until the next call. */
const char *cli_howfar_bytes(hf_bytes row, const char *field);

#endif
