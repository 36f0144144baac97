/* cmd_pause.c - `holdfast pause TYPE[/KEY]|--all`: stop it, also over restarts.
 *
 * One change. Turns that run are not broken off: the answer says how many still
 * do. Pausing what is paused is fine. One thread. */
#include "tools/commands.h"
#include "tools/context.h"

static const cli_column fields[] = {
    { "paused", "what", CLI_AS_TEXT },
    { "waiting", "waiting", CLI_AS_ID },
    { "still running", "running", CLI_AS_ID },
    { "was paused", "already", CLI_AS_TEXT },
};

int cmd_pause(cli_context *context)
{
    const cli_args *args = &context->args;
    if ((args->count == 1) == args->set[OPT_ALL]) {
        cli_complain("pause what? TYPE, TYPE/KEY, or --all");
        return CLI_USAGE;
    }
    const char *what = args->count == 1 ? args->operands[0] : "";
    int code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    if (args->set[OPT_DRY_RUN]) {
        cli_say(&context->output, "Would pause %s.", *what != 0 ? what : "everything");
        return CLI_OK;
    }
    cli_arguments arguments = { 0 };
    cli_buffer row = { 0 };
    cli_argument_text(&arguments, "what", what);
    cli_argument_text(&arguments, "reason", cli_text(args, OPT_REASON, NULL));
    code = cli_change(context, "pause", cli_arguments_whole(&arguments), &row);
    if (code == CLI_OK)
        cli_record(&context->output, cli_buffer_bytes(&row), fields,
                   sizeof fields / sizeof *fields);
    if (code == CLI_OK && *what == 0)
        cli_say(&context->output, "Everything is paused. `holdfast resume --all` lets it go on.");
    cli_buffer_free(&row);
    cli_arguments_free(&arguments);
    return code;
}
