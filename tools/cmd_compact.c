/* cmd_compact.c - `holdfast compact`: give freed pages back to the file system. hf_compact
 * does it. One thread. */
#include "tools/commands.h"
#include "tools/howfar.h"

int cmd_compact(cli_context *context)
{
    const char *to = cli_text(&context->args, OPT_TO, NULL);
    cli_howfar h;
    int code = cli_store_path(context);
    if (code != CLI_OK)
        return code;
    cli_howfar_begin(&h, context, "compact");
    code = cli_howfar_end(&h, hf_compact(context->path, to, cli_howfar_row, &h));
    hf_bytes sum = cli_buffer_bytes(&h.sum);
    if (code == CLI_OK && context->output.format != CLI_TABLE) {
        static const cli_column columns[] = { { "rows", "rows", CLI_AS_COUNT },
                                              { "before", "before", CLI_AS_COUNT },
                                              { "after", "after", CLI_AS_COUNT } };
        cli_record(&context->output, sum, columns, 3);
    } else if (code == CLI_OK) {
        cli_say(&context->output, "%s: %llu rows, %s before, %s now", to ? to : context->path,
                (unsigned long long)cli_field_uint(sum, "rows"), cli_howfar_bytes(sum, "before"),
                cli_howfar_bytes(sum, "after"));
        if (to)
            cli_say(&context->output, "%s is the same store: only one of the two may run on.", to);
    }
    cli_howfar_free(&h);
    return code;
}
