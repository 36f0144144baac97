/* cmd_salvage.c - `holdfast salvage`: what is sound of a damaged store into a new one.
 *
 * hf_salvage does it and reads the old store without LMDB, so no damage can end it. Each
 * finding is a row, also who was paused for what he lost. Exit code 7 when anything is
 * missing or in doubt, 5 when nothing could be salvaged. One thread. */
#include "tools/commands.h"
#include "tools/howfar.h"

#include <signal.h>

static const cli_column salvage_columns[] = {
    { "finding", "finding", CLI_AS_TEXT }, { "table", "table", CLI_AS_TEXT },
    { "page", "page", CLI_AS_ID },         { "id", "id", CLI_AS_ID },
    { "key", "key", CLI_AS_BODY },         { "detail", "detail", CLI_AS_TEXT },
};

static int salvage_row(void *user, hf_bytes row)
{
    cli_howfar *h = user;
    if (!cli_field_text(row, "finding").len)
        return cli_howfar_row(h, row);
    cli_list_row(&h->context->output, row);
    return cli_interrupted() ? HF_ECLOSED : HF_OK;
}

static unsigned long long sum_of(const cli_howfar *h, const char *field)
{
    return cli_field_uint(cli_buffer_bytes(&h->sum), field);
}

static void say_what_to_do(const cli_howfar *h, const char *to)
{
    const cli_output *out = &h->context->output;
    if (sum_of(h, "lost"))
        cli_say(out, "%llu rows are lost.", sum_of(h, "lost"));
    if (sum_of(h, "doubtful"))
        cli_say(out, "%llu messages were possibly delivered: they are dead letters. "
                "holdfast requeue -d %s --where 'error ~ \"possibly delivered\"' has them handled, "
                "holdfast purge removes them.", sum_of(h, "doubtful"), to);
    if (sum_of(h, "uncertain"))
        cli_say(out,
                "Of %llu messages that wait some may have been handled: lost records of the log "
                "may have said so.",
                sum_of(h, "uncertain"));
    if (sum_of(h, "paused"))
        cli_say(out,
                "What has lost something is paused: holdfast ls -d %s shows it, holdfast resume "
                "lets it go on.",
                to);
}

static int verdict(cli_howfar *h, const char *to)
{
    const cli_output *out = &h->context->output;
    bool whole = !sum_of(h, "lost") && !sum_of(h, "doubtful") && !sum_of(h, "uncertain")
                 && !sum_of(h, "paused");
    cli_say(out, "%s: %llu rows, %s; the old store is as it was.", to, sum_of(h, "rows"),
            cli_howfar_bytes(cli_buffer_bytes(&h->sum), "size"));
    if (whole)
        cli_say(out, "Nothing is missing.");
    else
        say_what_to_do(h, to);
    return whole ? CLI_OK : CLI_PARTLY;
}

int cmd_salvage(cli_context *context)
{
    const char *to = cli_text(&context->args, OPT_TO, NULL);
    cli_howfar h;
    int code = cli_store_path(context);
    if (code != CLI_OK)
        return code;
    if (to == NULL) {
        cli_complain("salvage: where to? Name a directory that is not there yet with --to DIR");
        return CLI_USAGE;
    }
    cli_list_begin(&context->output, "findings", salvage_columns,
                   sizeof salvage_columns / sizeof *salvage_columns);
    cli_howfar_begin(&h, context, "salvage");
    (void)signal(SIGPIPE, SIG_IGN); /* who reads the findings may stop before it is done */
    int err = hf_salvage(context->path, to, salvage_row, &h);
    cli_list_end(&context->output, err ? hf_view(NULL, 0) : cli_buffer_bytes(&h.sum));
    code = cli_howfar_end(&h, err);
    if (code == CLI_OK)
        code = verdict(&h, to);
    cli_howfar_free(&h);
    return code;
}
