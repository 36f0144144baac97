/* cmd_purge.c - `holdfast purge`: dead ones away for ever.
 *
 * The only command that destroys: never without a count and a yes, also for ids that
 * were named. The rest is in bulk.c. One thread. */
#include "tools/bulk.h"
#include "tools/commands.h"

int cmd_purge(cli_context *context)
{
    static const char *const statuses[] = { "dead", NULL };
    static const cli_bulk bulk = { .change = "purge", .verb = "Purge", .done = "purged",
                                   .statuses = statuses, .asks_always = true,
                                   .warning = " They are gone for ever." };
    return cli_bulk_run(context, &bulk);
}
