/* standstill.c - `holdfast pause` and `holdfast resume`, as far as they are one.
 *
 * Happy path: one change, whose row is printed. One thread. */
#include "tools/standstill.h"

/* For machines; a person was told on stderr. */
static void print_dry(cli_context *context, const char *named)
{
    static const cli_column columns[] = { { "what", "what", CLI_AS_TEXT },
                                          { "dry_run", "dry_run", CLI_AS_TEXT } };
    cli_buffer row = { 0 };
    cli_pack_map(&row, 2);
    cli_pack_text(&row, "what");
    cli_pack_text(&row, named);
    cli_pack_text(&row, "dry_run");
    cli_pack_bool(&row, true);
    if (context->output.format != CLI_TABLE)
        cli_record(&context->output, cli_buffer_bytes(&row), columns, 2);
    cli_buffer_free(&row);
}

int cli_standstill(cli_context *context, const char *change, const cli_column *fields,
                   size_t count, const char **what, cli_buffer *row)
{
    const cli_args *args = &context->args;
    const char *named = args->count == 1 ? args->operands[0] : "";
    *what = NULL;
    if ((args->count == 1) == args->set[OPT_ALL]) {
        cli_complain("%s what? TYPE, TYPE/KEY, or --all", change);
        return CLI_USAGE;
    }
    if (*named == 0 && !args->set[OPT_ALL]) { /* of an unset variable, perhaps: not everything */
        cli_complain("%s what? '' is no type; everything is --all", change);
        return CLI_USAGE;
    }
    int code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    if (args->set[OPT_DRY_RUN]) {
        cli_say(&context->output, "Would %s %s. Nothing was done.", change,
                *named != 0 ? named : "everything");
        print_dry(context, named);
        return CLI_OK;
    }
    cli_arguments arguments = { 0 };
    cli_argument_text(&arguments, "what", named);
    cli_argument_text(&arguments, "reason", cli_text(args, OPT_REASON, NULL));
    code = cli_change(context, change, cli_arguments_whole(&arguments), row);
    cli_arguments_free(&arguments);
    if (code == CLI_OK) {
        cli_record(&context->output, cli_buffer_bytes(row), fields, count);
        *what = named;
    }
    return code;
}
