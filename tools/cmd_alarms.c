/* cmd_alarms.c - `holdfast alarms`: what is due when.
 *
 * Asks `alarms` page by page, soonest first: alarms, schedules, delayed messages. Nothing
 * is due: exit code 3. One thread. */
#include "tools/commands.h"
#include "tools/context.h"

enum { PAGE = 5000 };

static const cli_column columns[] = {
    { "DUE", "due", CLI_AS_TIME },        { "ACTOR", "actor", CLI_AS_TEXT },
    { "WHAT", "what", CLI_AS_TEXT },      { "NAME", "name", CLI_AS_TEXT },
    { "KIND", "kind", CLI_AS_TEXT },      { "ID", "id", CLI_AS_ID },
    { "SCHEDULE", "schedule", CLI_AS_TEXT }, { "MISSED", "missed", CLI_AS_ID },
};

typedef struct due_walk {
    cli_context *context;
    uint64_t     told, limit, scanned;
    uint64_t     due, generation; /* where the next page begins */
    bool         more;
} due_walk;

static int each_row(void *user, hf_bytes row)
{
    due_walk *walk = user;
    cli_value scanned;
    if (cli_field(row, "scanned", &scanned)) {
        walk->scanned += scanned.number;
        walk->more = cli_field_bool(row, "more");
        walk->due = cli_field_uint(row, "next_due");
        walk->generation = cli_field_uint(row, "next_generation");
        return HF_OK;
    }
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    cli_list_row(&walk->context->output, row);
    walk->told++;
    return HF_OK;
}

static int ask_page(due_walk *walk, const char *where)
{
    cli_arguments arguments = { 0 };
    uint64_t left = walk->limit - walk->told;
    cli_argument_text(&arguments, "where", where);
    cli_argument_uint(&arguments, "after_due", walk->due);
    cli_argument_uint(&arguments, "after_generation", walk->generation);
    cli_argument_uint(&arguments, "limit", left < PAGE ? left : PAGE);
    walk->more = false;
    int err = cli_ask_rows(walk->context, "alarms", cli_arguments_whole(&arguments), each_row,
                           walk);
    cli_arguments_free(&arguments);
    if (err > 0)
        return err;
    return err == HF_OK ? CLI_OK : cli_store_failed(walk->context, err);
}

int cmd_alarms(cli_context *context)
{
    const char *where;
    due_walk walk = { .context = context,
                      .limit = cli_number(&context->args, OPT_LIMIT, UINT64_MAX) };
    int code = cli_where(context, &where);
    if (code == CLI_OK && walk.limit == 0) {
        cli_complain("--limit is at least 1");
        code = CLI_USAGE;
    }
    if (code == CLI_OK)
        code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    cli_list_begin(&context->output, "alarms", columns, sizeof columns / sizeof *columns);
    do {
        code = ask_page(&walk, where);
    } while (code == CLI_OK && walk.more && walk.told < walk.limit);
    cli_buffer summary = { 0 };
    cli_pack_map(&summary, 2);
    cli_pack_text(&summary, "scanned");
    cli_pack_uint(&summary, walk.scanned);
    cli_pack_text(&summary, "more");
    cli_pack_bool(&summary, walk.more);
    cli_list_end(&context->output, cli_buffer_bytes(&summary));
    cli_buffer_free(&summary);
    cli_say(&context->output, "%llu due%s.", (unsigned long long)walk.told,
            code == CLI_INTERRUPTED ? ", interrupted" : walk.more ? ", there are more" : "");
    return code == CLI_OK && walk.told == 0 ? CLI_NOT_FOUND : code;
}
