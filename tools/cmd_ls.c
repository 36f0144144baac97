/* cmd_ls.c - `holdfast ls`: how many messages, by type, actor or error text.
 *
 * Asks `ls` and prints its rows as they come. One thread. */
#include "tools/commands.h"
#include "tools/context.h"

static const cli_column types[] = {
    { "TYPE", "type", CLI_AS_TEXT },          { "ACTORS", "actors", CLI_AS_COUNT },
    { "WAITING", "waiting", CLI_AS_COUNT },   { "RUNNING", "running", CLI_AS_COUNT },
    { "RETRYING", "retrying", CLI_AS_COUNT }, { "DELAYED", "delayed", CLI_AS_COUNT },
    { "HELD", "held", CLI_AS_COUNT },         { "PAUSED", "paused", CLI_AS_COUNT },
    { "DEAD", "dead", CLI_AS_COUNT },         { "STUCK", "stuck", CLI_AS_COUNT },
    { "OLDEST", "oldest", CLI_AS_TIME },      { "PAUSED SINCE", "pause", CLI_AS_PAUSE },
};

static const cli_column actors[] = {
    { "ACTOR", "actor", CLI_AS_TEXT },        { "WAITING", "waiting", CLI_AS_COUNT },
    { "RUNNING", "running", CLI_AS_COUNT },   { "RETRYING", "retrying", CLI_AS_COUNT },
    { "DELAYED", "delayed", CLI_AS_COUNT },   { "HELD", "held", CLI_AS_COUNT },
    { "PAUSED", "paused", CLI_AS_COUNT },     { "DEAD", "dead", CLI_AS_COUNT },
    { "STUCK", "stuck", CLI_AS_COUNT },       { "OLDEST", "oldest", CLI_AS_TIME },
    { "PAUSED SINCE", "pause", CLI_AS_PAUSE },
};

static const cli_column errors[] = {
    { "TYPE", "type", CLI_AS_TEXT },   { "DEAD", "dead", CLI_AS_COUNT },
    { "RETRYING", "retrying", CLI_AS_COUNT }, { "FIRST", "first", CLI_AS_TIME },
    { "LAST", "last", CLI_AS_TIME },   { "NEWEST", "id", CLI_AS_ID },
    { "ERROR", "error", CLI_AS_TEXT },
};

static const struct {
    const char       *by;
    const cli_column *columns;
    size_t            count;
} lists[] = {
    { "types", types, sizeof types / sizeof *types },
    { "actors", actors, sizeof actors / sizeof *actors },
    { "errors", errors, sizeof errors / sizeof *errors },
};

typedef struct ls_walk {
    cli_context *context;
    cli_buffer   summary;
} ls_walk;

static int each_row(void *user, hf_bytes row)
{
    ls_walk *walk = user;
    cli_value scanned;
    if (cli_field(row, "scanned", &scanned))
        cli_buffer_add(&walk->summary, row.data, row.len);
    else
        cli_list_row(&walk->context->output, row);
    return cli_interrupted() ? CLI_INTERRUPTED : HF_OK;
}

static int list(cli_context *context, size_t which, const char *where)
{
    cli_output *output = &context->output;
    cli_arguments arguments = { 0 };
    ls_walk walk = { .context = context };
    cli_argument_text(&arguments, "by", lists[which].by);
    cli_argument_text(&arguments, "where", where);
    if (context->args.set[OPT_LIMIT])
        cli_argument_uint(&arguments, "limit", context->args.number[OPT_LIMIT]);
    cli_list_begin(output, lists[which].by, lists[which].columns, lists[which].count);
    int err = cli_ask_rows(context, "ls", cli_arguments_whole(&arguments), each_row, &walk);
    hf_bytes summary = cli_buffer_bytes(&walk.summary);
    cli_list_end(output, summary);
    if (err == HF_OK) {
        uint64_t groups = cli_field_uint(summary, "groups");
        if (groups > output->row_count)
            cli_say(output, "%zu of %llu %s; --limit shows more", output->row_count,
                    (unsigned long long)groups, lists[which].by);
        if (output->row_count == 0 && output->format == CLI_TABLE)
            cli_say(output, "Nothing %s.", where == NULL ? "waits and nothing is dead" : "matched");
        cli_say(output, "Scanned %llu messages.",
                (unsigned long long)cli_field_uint(summary, "scanned"));
        if (strcmp(lists[which].by, "errors") == 0 && output->row_count > 0
            && output->format == CLI_TABLE)
            cli_say(output, "`holdfast show ID` tells all of one; `holdfast requeue --where "
                            "'error ~ \"…\"'` sends many again, or tries them now.");
    }
    cli_arguments_free(&arguments);
    cli_buffer_free(&walk.summary);
    if (err == CLI_INTERRUPTED)
        return CLI_INTERRUPTED;
    return err == HF_OK ? CLI_OK : cli_store_failed(context, err);
}

int cmd_ls(cli_context *context)
{
    const char *by = context->args.count > 0 ? context->args.operands[0] : "types";
    size_t which = 0, count = sizeof lists / sizeof *lists;
    while (which < count && strcmp(lists[which].by, by) != 0)
        which++;
    if (which == count) {
        cli_complain("`ls` lists types, actors or errors, not '%s'", by);
        return CLI_USAGE;
    }
    const char *where;
    int code = cli_where(context, &where);
    if (code == CLI_OK && cli_number(&context->args, OPT_LIMIT, 1) == 0) {
        cli_complain("--limit is at least 1");
        code = CLI_USAGE;
    }
    if (code == CLI_OK)
        code = cli_store_open(context);
    return code == CLI_OK ? list(context, which, where) : code;
}
