/* cmd_resume.c - `holdfast resume TYPE[/KEY]|--all`: let it go on.
 *
 * One change. What was not paused: exit code 3, and nothing was changed. One
 * thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/render.h"

static const cli_column fields[] = {
    { "resumed", "what", CLI_AS_TEXT },
    { "waiting", "waiting", CLI_AS_ID },
    { "was paused", "paused", CLI_AS_TEXT },
    { "still paused by", "still", CLI_AS_TEXT },
};

int cmd_resume(cli_context *context)
{
    const cli_args *args = &context->args;
    if ((args->count == 1) == args->set[OPT_ALL]) {
        cli_complain("resume what? TYPE, TYPE/KEY, or --all");
        return CLI_USAGE;
    }
    const char *what = args->count == 1 ? args->operands[0] : "";
    int code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    if (args->set[OPT_DRY_RUN]) {
        cli_say(&context->output, "Would resume %s.", *what != 0 ? what : "everything");
        return CLI_OK;
    }
    cli_arguments arguments = { 0 };
    cli_buffer row = { 0 };
    cli_argument_text(&arguments, "what", what);
    cli_argument_text(&arguments, "reason", cli_text(args, OPT_REASON, NULL));
    code = cli_change(context, "resume", cli_arguments_whole(&arguments), &row);
    if (code == CLI_OK) {
        cli_record(&context->output, cli_buffer_bytes(&row), fields,
                   sizeof fields / sizeof *fields);
        if (!cli_field_bool(cli_buffer_bytes(&row), "paused")) {
            cli_complain("%s was not paused", *what != 0 ? what : "everything together");
            code = CLI_NOT_FOUND;
        } else if (*what == 0) {
            cli_say(&context->output, "Everything goes on but what is paused by its own name.");
        }
    }
    cli_buffer_free(&row);
    cli_arguments_free(&arguments);
    return code;
}
