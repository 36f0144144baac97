/* cmd_verify.c - `holdfast verify`: every checksum and every rule of a store.
 *
 * The checkup runs in a child, since a damaged file can end whoever maps it; each
 * finding is a row. Exit code 5 when something was found. One thread. */
#include "tools/child.h"
#include "tools/commands.h"
#include "tools/context.h"

#include <string.h>

static const cli_column verify_columns[] = {
    { "finding", "finding", CLI_AS_TEXT }, { "table", "table", CLI_AS_TEXT },
    { "page", "page", CLI_AS_ID },         { "id", "id", CLI_AS_ID },
    { "key", "key", CLI_AS_BODY },         { "detail", "detail", CLI_AS_TEXT },
};

typedef struct verify_run {
    cli_context *context;
    cli_buffer   sum; /* the closing row */
    uint64_t     findings;
} verify_run;

static int verify_work(void *user, hf_row_fn each, void *to)
{
    return hf_verify(user, each, to);
}

static int verify_row(void *user, hf_bytes row)
{
    verify_run *run = user;
    if (cli_field_text(row, "finding").len) {
        run->findings++;
        cli_list_row(&run->context->output, row);
    } else {
        run->sum.len = 0;
        cli_buffer_add(&run->sum, row.data, row.len);
    }
    return cli_interrupted() ? HF_ECLOSED : HF_OK;
}

/* Nothing to say on stdout but the findings; people are told how it went. */
static int verify_verdict(const verify_run *run, const cli_child_end *end)
{
    const cli_output *out = &run->context->output;
    hf_bytes sum = cli_buffer_bytes(&run->sum);
    if (end->signal) {
        cli_complain("the checkup was ended by %s: the file is damaged where LMDB looks first",
                     strsignal(end->signal));
        return CLI_CORRUPT;
    }
    if (end->err && end->err != HF_ECORRUPT) {
        cli_complain("%s%s%s",
                     cli_detail_says_it(end->err, end->detail) ? "" : hf_strerror(end->err),
                     cli_detail_says_it(end->err, end->detail) ? "" : ": ", end->detail);
        return cli_exit_code_of(end->err, end->detail);
    }
    if (run->findings) {
        cli_say(out,
                "%llu findings. Keep a copy of the store before you go on; holdfast restore makes "
                "one from a backup.",
                (unsigned long long)run->findings);
        return CLI_CORRUPT;
    }
    if (end->err) {
        cli_complain("%s", end->detail);
        return CLI_CORRUPT;
    }
    cli_say(out, "Sound: %llu rows in %llu pages.", (unsigned long long)cli_field_uint(sum, "rows"),
            (unsigned long long)cli_field_uint(sum, "pages"));
    return CLI_OK;
}

int cmd_verify(cli_context *context)
{
    cli_child_end end;
    verify_run run = { .context = context };
    int code = cli_store_path(context);
    if (code != CLI_OK)
        return code;
    cli_list_begin(&context->output, "findings", verify_columns,
                   sizeof verify_columns / sizeof *verify_columns);
    int err = cli_child_run(verify_work, (void *)(uintptr_t)context->path, verify_row, &run, &end);
    cli_list_end(&context->output, cli_buffer_bytes(&run.sum));
    if (err == HF_ECLOSED)
        code = CLI_INTERRUPTED;
    else if (err)
        code = cli_store_failed(context, err);
    else
        code = verify_verdict(&run, &end);
    cli_buffer_free(&run.sum);
    return code;
}
