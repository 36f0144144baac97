/* bulk.h - one change of many messages: what requeue, purge, cancel and undo share. */
#ifndef TOOLS_BULK_H
#define TOOLS_BULK_H

#include "tools/context.h"

typedef struct cli_bulk {
    const char *change;      /* its name: "requeue" */
    const char *verb;        /* "Requeue" */
    const char *done;        /* how it went well: "requeued" */
    const char *also;        /* an array of ids that is told, too; NULL: none */
    const char *const *statuses; /* of those that it changes; ends with NULL */
    const char *warning;     /* what the user is told with the question; NULL: nothing */
    bool        asks_always; /* also for ids that were named */
    uint64_t    rate;        /* a second if none is given; 0: as fast as it goes */
} cli_bulk;

/* Run the command: CLI_OK or an exit code after saying why. */
int cli_bulk_run(cli_context *context, const cli_bulk *bulk);

#endif
