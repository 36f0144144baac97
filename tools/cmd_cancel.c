/* cmd_cancel.c - `holdfast cancel`: what waits is dead, what runs is asked to stop.
 *
 * All it does is in bulk.c. One thread. */
#include "tools/bulk.h"
#include "tools/commands.h"

int cmd_cancel(cli_context *context)
{
    static const char *const statuses[] = { "waiting", "delayed", "retrying", "held",
                                            "paused", "running", NULL };
    static const cli_bulk bulk = { .change = "cancel", .verb = "Cancel", .done = "cancelled",
                                   .also = "asked", .statuses = statuses };
    return cli_bulk_run(context, &bulk);
}
