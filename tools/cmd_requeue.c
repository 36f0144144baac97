/* cmd_requeue.c - `holdfast requeue`: dead ones back to their inbox.
 *
 * All it does is in bulk.c; slower than it could, so that what failed together does not
 * come back all at once. One thread. */
#include "tools/bulk.h"
#include "tools/commands.h"

int cmd_requeue(cli_context *context)
{
    static const char *const statuses[] = { "dead", "delayed", "retrying", NULL };
    static const cli_bulk bulk = { .change = "requeue", .verb = "Requeue", .done = "requeued",
                                   .statuses = statuses, .rate = 500 };
    return cli_bulk_run(context, &bulk);
}
