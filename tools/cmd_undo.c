/* cmd_undo.c - `holdfast undo`: run the compensation of what dead messages did.
 *
 * All it does is in bulk.c; a message without steps is unchanged. One thread. */
#include "tools/bulk.h"
#include "tools/commands.h"

int cmd_undo(cli_context *context)
{
    static const char *const statuses[] = { "dead", NULL };
    static const cli_bulk bulk = { .change = "undo", .verb = "Undo", .done = "undoing",
                                   .statuses = statuses, .rate = 500 };
    return cli_bulk_run(context, &bulk);
}
