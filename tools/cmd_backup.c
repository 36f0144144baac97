/* cmd_backup.c - `holdfast backup`: one moment of a store into a file.
 *
 * hf_backup does it; here is the line that says how far it is, and the sum. With `-` the
 * data goes to stdout and the sum to stderr. One thread. */
#include "tools/commands.h"
#include "tools/howfar.h"

#include <string.h>
#include <unistd.h>

int cmd_backup(cli_context *context)
{
    const char *file = context->args.operands[0];
    cli_howfar h;
    int code = cli_store_path(context);
    bool to_stdout = strcmp(file, "-") == 0;
    if (code != CLI_OK)
        return code;
    if (to_stdout && isatty(STDOUT_FILENO) == 1) {
        cli_complain("a backup is no text: send stdout into a file or a pipe");
        return CLI_USAGE;
    }
    cli_howfar_begin(&h, context, "backup");
    code = cli_howfar_end(&h, hf_backup(context->path, file, cli_howfar_row, &h));
    hf_bytes sum = cli_buffer_bytes(&h.sum);
    if (code == CLI_OK && !to_stdout && context->output.format != CLI_TABLE) {
        static const cli_column columns[] = { { "rows", "rows", CLI_AS_COUNT },
                                              { "bytes", "bytes", CLI_AS_COUNT },
                                              { "size", "size", CLI_AS_COUNT } };
        cli_record(&context->output, sum, columns, 3);
    } else if (code == CLI_OK) {
        cli_say(&context->output, "%s: %llu rows%s%s", to_stdout ? "backup" : file,
                (unsigned long long)cli_field_uint(sum, "rows"),
                to_stdout ? "" : ", read back and whole, ",
                to_stdout ? "" : cli_howfar_bytes(sum, "size"));
    }
    cli_howfar_free(&h);
    return code;
}
