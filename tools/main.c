/* main.c - `holdfast`, the tool an operator opens at 3 a.m.
 *
 * Happy path: parse by the table of commands.c, run the command, close its
 * store, flush stdout, end with its exit code. One thread, but for bench. */
#include "tools/commands.h"
#include "tools/context.h"

#include <signal.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    cli_context context = { .path = NULL };
    (void)signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error, which is said */
    int code = cli_parse(&context.args, argc, argv, cli_commands);
    if (code != CLI_OK)
        return context.args.command && context.args.command->misused
                   ? context.args.command->misused : code;
    cli_output_init(&context.output, &context.args);
    if (context.args.set[OPT_VERSION]) {
        printf("holdfast %s\n", hf_version());
        return cli_output_flush();
    }
    if (context.args.set[OPT_HELP]) {
        cli_help(stdout, context.args.command, cli_commands);
        return cli_output_flush();
    }
    code = context.args.command->run(&context);
    hf_store_close(context.store);
    int flushed = cli_output_flush();
    return code == CLI_OK ? flushed : code;
}
