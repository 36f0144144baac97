/* cmd_resume.c - `holdfast resume TYPE[/KEY]|--all`: let it go on.
 *
 * One change. What was not paused: exit code 3, and nothing was changed. One
 * thread. */
#include "tools/commands.h"
#include "tools/render.h"
#include "tools/standstill.h"

static const cli_column fields[] = {
    { "resumed", "what", CLI_AS_TEXT },
    { "waiting", "waiting", CLI_AS_ID },
    { "was paused", "paused", CLI_AS_TEXT },
    { "still paused by", "still", CLI_AS_TEXT },
};

int cmd_resume(cli_context *context)
{
    const char *what;
    cli_buffer row = { 0 };
    int code = cli_standstill(context, "resume", fields, sizeof fields / sizeof *fields, &what,
                              &row);
    if (what && !cli_field_bool(cli_buffer_bytes(&row), "paused")) {
        cli_complain("%s was not paused", *what != 0 ? what : "everything together");
        code = CLI_NOT_FOUND;
    } else if (what && *what == 0) {
        cli_say(&context->output, "Everything goes on but what is paused by its own name.");
    }
    cli_buffer_free(&row);
    return code;
}
