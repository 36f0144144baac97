/* cmd_find.c - `holdfast find`: messages, one a line.
 *
 * Walks what --where selects and prints it as it comes. Nothing matched: exit
 * code 3. One thread. */
#include "tools/commands.h"
#include "tools/select.h"

static const cli_column all[] = {
    { "ID", "id", CLI_AS_ID },          { "STATUS", "status", CLI_AS_TEXT },
    { "ACTOR", "actor", CLI_AS_TEXT },  { "KIND", "kind", CLI_AS_TEXT },
    { "TRIES", "attempt", CLI_AS_ID },  { "SENT", "sent", CLI_AS_TIME },
    { "ERROR", "error", CLI_AS_TEXT },  { "KEY", "key", CLI_AS_TEXT },
    { "FROM", "from", CLI_AS_TEXT },    { "CAUSE", "cause", CLI_AS_TEXT },
    { "DUE", "due", CLI_AS_TIME },      { "DIED", "died", CLI_AS_TIME },
    { "RETRY", "retry", CLI_AS_TIME },  { "CODE", "err", CLI_AS_ID },
    { "SIZE", "body_bytes", CLI_AS_BYTES }, { "BODY", "body", CLI_AS_BODY },
};

enum { COLUMNS = sizeof all / sizeof *all, COLUMNS_USUAL = 7 };

typedef struct find_walk {
    cli_context *context;
    bool         filter; /* only `columns` in JSON too */
    cli_column   columns[COLUMNS];
    size_t       count;
    cli_buffer   row;
} find_walk;

/* --fields id,status,body */
static int pick(find_walk *walk, const char *fields)
{
    while (*fields != 0) {
        size_t len = strcspn(fields, ","), i = 0;
        while (i < COLUMNS
               && (strlen(all[i].field) != len || strncmp(all[i].field, fields, len) != 0))
            i++;
        if (i == COLUMNS || walk->count == COLUMNS) {
            cli_complain("--fields: no field is called '%.*s'; `holdfast find --help` lists them",
                         (int)len, fields);
            return CLI_USAGE;
        }
        walk->columns[walk->count++] = all[i];
        fields += len + (fields[len] == ',');
    }
    walk->filter = true;
    if (walk->count > 0)
        return CLI_OK;
    cli_complain("--fields: none is named; `holdfast find --help` lists them");
    return CLI_USAGE;
}

/* The row with only the fields that were asked for. */
static hf_bytes narrow(find_walk *walk, hf_bytes row)
{
    cli_buffer pairs = { 0 };
    uint32_t count = 0;
    for (size_t i = 0; i < walk->count; i++) {
        hf_bytes rest = row;
        cli_value map, key, value;
        if (!cli_next_head(&rest, &map))
            break;
        for (uint64_t left = map.number; left > 0; left--) {
            hf_bytes from = rest;
            if (!cli_next(&rest, &key) || !cli_next(&rest, &value))
                break;
            size_t len = strlen(walk->columns[i].field);
            if (key.kind != CLI_STR || key.bytes.len != len
                || memcmp(key.bytes.data, walk->columns[i].field, len) != 0)
                continue;
            cli_buffer_add(&pairs, from.data, from.len - rest.len);
            count++;
        }
    }
    walk->row.len = 0;
    cli_pack_map(&walk->row, count);
    cli_buffer_add(&walk->row, pairs.data, pairs.len);
    cli_buffer_free(&pairs);
    return cli_buffer_bytes(&walk->row);
}

static int each_row(void *user, hf_bytes row)
{
    find_walk *walk = user;
    cli_list_row(&walk->context->output, walk->filter ? narrow(walk, row) : row);
    return HF_OK;
}

static bool shows_body(const find_walk *walk)
{
    for (size_t i = 0; i < walk->count; i++) {
        if (strcmp(walk->columns[i].field, "body") == 0)
            return true;
    }
    /* Machines that named no fields get everything. */
    cli_format format = walk->context->output.format;
    return !walk->filter && (format == CLI_JSON || format == CLI_NDJSON);
}

static int find(find_walk *walk, cli_selection *selection)
{
    cli_output *output = &walk->context->output;
    cli_list_begin(output, "messages", walk->columns, walk->count);
    int code = cli_select(walk->context, selection, each_row, walk);
    cli_buffer summary = { 0 };
    cli_pack_map(&summary, 2);
    cli_pack_text(&summary, "scanned");
    cli_pack_uint(&summary, selection->scanned);
    cli_pack_text(&summary, "more");
    cli_pack_bool(&summary, selection->more);
    cli_list_end(output, cli_buffer_bytes(&summary));
    cli_buffer_free(&summary);
    cli_say(output, "%llu found, %llu scanned%s.", (unsigned long long)selection->told,
            (unsigned long long)selection->scanned, code == CLI_INTERRUPTED ? ", interrupted" : "");
    if (code == CLI_OK && selection->more)
        cli_say(output, "There are more: --after %llu goes on.",
                (unsigned long long)selection->after);
    return code == CLI_OK && selection->told == 0 ? CLI_NOT_FOUND : code;
}

int cmd_find(cli_context *context)
{
    find_walk walk = { .context = context, .count = COLUMNS_USUAL };
    memcpy(walk.columns, all, sizeof walk.columns);
    cli_selection selection = {
        .after = cli_number(&context->args, OPT_AFTER, 0),
        .limit = cli_number(&context->args, OPT_LIMIT, UINT64_MAX),
    };
    int code = cli_where(context, &selection.where);
    if (code == CLI_OK && context->args.set[OPT_FIELDS]) {
        walk.count = 0;
        code = pick(&walk, context->args.text[OPT_FIELDS]);
    }
    if (code == CLI_OK && selection.limit == 0) {
        cli_complain("--limit is at least 1");
        code = CLI_USAGE;
    }
    if (code == CLI_OK)
        code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    selection.bodies = shows_body(&walk);
    code = find(&walk, &selection);
    cli_buffer_free(&walk.row);
    return code;
}
