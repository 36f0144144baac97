/* cmd_pause.c - `holdfast pause TYPE[/KEY]|--all`: stop it, also over restarts.
 *
 * One change. Turns that run are not broken off: the answer says how many still
 * do. Pausing what is paused is fine. One thread. */
#include "tools/commands.h"
#include "tools/standstill.h"

static const cli_column fields[] = {
    { "paused", "what", CLI_AS_TEXT },
    { "waiting", "waiting", CLI_AS_ID },
    { "still running", "running", CLI_AS_ID },
    { "was paused", "already", CLI_AS_TEXT },
};

int cmd_pause(cli_context *context)
{
    const char *what;
    cli_buffer row = { 0 };
    int code = cli_standstill(context, "pause", fields, sizeof fields / sizeof *fields, &what,
                              &row);
    if (what && *what == 0)
        cli_say(&context->output, "Everything is paused. `holdfast resume --all` lets it go on.");
    cli_buffer_free(&row);
    return code;
}
