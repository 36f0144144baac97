/* cmd_restore.c - `holdfast restore`: a backup into a new store. hf_restore does it. One
 * thread. */
#include "tools/commands.h"
#include "tools/howfar.h"

int cmd_restore(cli_context *context)
{
    const char *to = cli_text(&context->args, OPT_TO, NULL);
    cli_howfar h;
    if (to == NULL) {
        cli_complain("restore: where to? Name a directory that is not there yet with --to DIR");
        return CLI_USAGE;
    }
    cli_howfar_begin(&h, context, "restore");
    int code = cli_howfar_end(&h, hf_restore(context->args.operands[0], to, cli_howfar_row, &h));
    hf_bytes sum = cli_buffer_bytes(&h.sum);
    if (code == CLI_OK && context->output.format != CLI_TABLE) {
        static const cli_column columns[] = { { "rows", "rows", CLI_AS_COUNT },
                                              { "taken", "taken", CLI_AS_TIME },
                                              { "size", "size", CLI_AS_COUNT } };
        cli_record(&context->output, sum, columns, 3);
    } else if (code == CLI_OK) {
        cli_say(&context->output, "%s: %llu rows, %s. Before an engine opens it see to it that "
                "the store it was taken of does not run on: both would handle what waits.", to,
                (unsigned long long)cli_field_uint(sum, "rows"), cli_howfar_bytes(sum, "size"));
    }
    cli_howfar_free(&h);
    return code;
}
