/* howfar.c - how far a copy is, on a terminal, and what came of it.
 *
 * Happy path: a line on stderr that is overwritten, wiped at the end; the closing row is
 * kept for the command. Ctrl-C ends the work at the next row, or while a pipe is silent. One
 * thread. */
#include "tools/howfar.h"

#include <stdio.h>
#include <unistd.h>

static void add_size(cli_buffer *to, hf_bytes row, const char *field)
{
    cli_cell(to, row, &(cli_column){ field, field, CLI_AS_BYTES }, true, 0);
}

const char *cli_howfar_bytes(hf_bytes row, const char *field)
{
    static char text[4][40];
    static int turn;
    cli_buffer made = { 0 };
    char *at = text[turn++ % 4];
    add_size(&made, row, field);
    (void)snprintf(at, sizeof text[0], "%.*s", (int)made.len, (const char *)made.data);
    cli_buffer_free(&made);
    return at;
}

void cli_howfar_begin(cli_howfar *h, cli_context *context, const char *verb)
{
    *h = (cli_howfar){ .context = context, .verb = verb };
    (void)cli_interrupted(); /* seen from now on: nothing may be left of it */
}

static void wipe(cli_howfar *h)
{
    if (h->shown)
        (void)fputs("\r\033[K", stderr);
    h->shown = false;
}

int cli_howfar_row(void *user, hf_bytes row)
{
    cli_howfar *h = user;
    h->sum.len = 0; /* the last one is the sum */
    cli_buffer_add(&h->sum, row.data, row.len);
    if (cli_field_uint(row, "of") && isatty(STDERR_FILENO) == 1 && !h->context->output.quiet) {
        fprintf(stderr, "\r%s: %s of about %s\033[K", h->verb, cli_howfar_bytes(row, "bytes"),
                cli_howfar_bytes(row, "of"));
        h->shown = true;
    }
    /* Too late once it is done. */
    return cli_interrupted() && !cli_field_uint(row, "rows") ? HF_ECLOSED : HF_OK;
}

int cli_howfar_end(cli_howfar *h, int err)
{
    wipe(h);
    if (err == HF_OK)
        return CLI_OK;
    if (err == HF_ECLOSED) {
        cli_complain("%s: interrupted; nothing is left of it", h->verb);
        return CLI_INTERRUPTED;
    }
    const char *detail = hf_detail();
    bool plain = cli_detail_says_it(err, detail);
    cli_complain("%s: %s%s%s", h->verb, plain ? "" : hf_strerror(err),
                 *detail && !plain ? ": " : "", detail);
    return cli_exit_code_of(err, detail);
}

void cli_howfar_free(cli_howfar *h)
{
    cli_buffer_free(&h->sum);
}
