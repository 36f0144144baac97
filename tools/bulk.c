/* bulk.c - make one change of many messages, batch by batch.
 *
 * Happy path: the ids are given or gathered with --where, the user sees how
 * many and the first three and says yes, then batches go out no faster than
 * --rate, with a line on a terminal that says how far it is; each is on disk before the next.
 * Ctrl-C or a failure in the middle says how far it came; what was changed already is unchanged the
 * next time.
 *
 * None there: exit code 3; some missing: 7. One thread. */
#include "tools/bulk.h"
#include "tools/render.h"
#include "tools/select.h"
#include "tools/times.h"

#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 1000, SHOWN = 3 };

typedef struct bulk_ids {
    const cli_bulk *bulk;
    uint64_t  *ids;
    size_t     count, room;
    size_t     limit; /* of those selected */
    cli_buffer shown; /* the first few, one a line */
} bulk_ids;

typedef struct bulk_sums {
    uint64_t done, also, unchanged, missing;
} bulk_sums;

static void add_id(bulk_ids *all, uint64_t id)
{
    if (all->count == all->room) {
        all->room = all->room * 2 + 64;
        all->ids = cli_grow(all->ids, all->room * sizeof *all->ids);
    }
    all->ids[all->count++] = id;
}

static bool is_status(hf_bytes row, const char *status)
{
    hf_bytes text = cli_field_text(row, "status");
    return text.len == strlen(status) && memcmp(text.data, status, text.len) == 0;
}

/* Only what it changes; the rest of what was selected is passed over. */
static int each_row(void *user, hf_bytes row)
{
    bulk_ids *all = user;
    const char *const *status = all->bulk->statuses;
    while (*status != NULL && !is_status(row, *status))
        status++;
    if (*status == NULL)
        return HF_OK;
    if (all->count == all->limit)
        return HF_OK; /* only scanned, so that the user hears of how many */
    if (all->count < SHOWN) {
        cli_buffer_format(&all->shown, "  %llu  ", (unsigned long long)cli_field_uint(row, "id"));
        cli_render_safe(&all->shown, cli_field_text(row, "actor"));
        cli_buffer_text(&all->shown, "  ");
        cli_render_safe(&all->shown, cli_field_text(row, "error"));
        cli_buffer_byte(&all->shown, '\n');
    }
    add_id(all, cli_field_uint(row, "id"));
    return HF_OK;
}

static int gather(cli_context *context, bulk_ids *all, const char *where)
{
    for (int i = 0; i < context->args.count; i++) {
        uint64_t id;
        if (!cli_id(context->args.operands[i], &id))
            return CLI_USAGE;
        add_id(all, id);
    }
    int code = cli_store_open(context);
    if (code != CLI_OK || where == NULL)
        return code;
    cli_selection selection = { .where = where, .limit = UINT64_MAX };
    all->limit = (size_t)cli_number(&context->args, OPT_LIMIT, SIZE_MAX);
    code = cli_select(context, &selection, each_row, all);
    cli_say(&context->output, "%zu to %s, %llu scanned.", all->count, all->bulk->change,
            (unsigned long long)selection.scanned);
    if (code == CLI_OK && all->count == 0)
        return CLI_NOT_FOUND;
    return code;
}

static int ask_user(cli_context *context, const bulk_ids *all)
{
    bool bulk = context->args.set[OPT_WHERE];
    if (bulk && !context->output.quiet && all->shown.len > 0)
        fprintf(stderr, HF_FMT "%s", HF_ARG(cli_buffer_bytes(&all->shown)),
                all->count > SHOWN ? "  …\n" : "");
    if ((!bulk && !all->bulk->asks_always) || context->args.set[OPT_DRY_RUN])
        return CLI_OK;
    char question[128];
    (void)snprintf(question, sizeof question, "%s %zu message%s?%s", all->bulk->verb, all->count,
                   all->count == 1 ? "" : "s", all->bulk->warning ? all->bulk->warning : "");
    return cli_confirm(context, question);
}

static uint64_t count_of(hf_bytes row, const char *name)
{
    cli_value value;
    return cli_field(row, name, &value) && value.kind == CLI_ARRAY ? value.number : 0;
}

static int change_batch(cli_context *context, const cli_bulk *bulk, const uint64_t *ids,
                        size_t count, bulk_sums *sums)
{
    cli_arguments arguments = { 0 };
    cli_buffer row = { 0 };
    cli_argument_text(&arguments, "reason", cli_text(&context->args, OPT_REASON, NULL));
    if (context->args.set[OPT_KEEP_ATTEMPTS])
        cli_argument_bool(&arguments, "keep_attempts", true);
    if (context->args.set[OPT_IN])
        cli_argument_uint(&arguments, "delay_ms", context->args.number[OPT_IN]);
    cli_argument_text(&arguments, "to", cli_text(&context->args, OPT_TO, NULL));
    arguments.count++;
    cli_pack_text(&arguments.pairs, "ids");
    cli_pack_array(&arguments.pairs, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        cli_pack_uint(&arguments.pairs, ids[i]);
    int code = cli_change(context, bulk->change, cli_arguments_whole(&arguments), &row);
    hf_bytes result = cli_buffer_bytes(&row);
    if (code == CLI_OK) {
        sums->done += cli_field_uint(result, bulk->done);
        sums->also += bulk->also ? count_of(result, bulk->also) : 0;
        sums->unchanged += count_of(result, "unchanged");
        sums->missing += count_of(result, "missing");
    }
    cli_arguments_free(&arguments);
    cli_buffer_free(&row);
    return code;
}

/* On a terminal; wiped when it is over. */
static void show_how_far(const cli_context *context, const bulk_ids *all, size_t at)
{
    if (context->output.quiet || isatty(STDERR_FILENO) != 1)
        return;
    if (at < all->count)
        fprintf(stderr, "\r%s: %zu of %zu\033[K", all->bulk->change, at, all->count);
    else
        (void)fputs("\r\033[K", stderr);
}

/* Batches of a fifth of a second's worth, so that the rate is even. */
static int change_batches(cli_context *context, const bulk_ids *all, bulk_sums *sums)
{
    uint64_t rate = cli_number(&context->args, OPT_RATE, all->bulk->rate);
    size_t most = !rate || rate / 5 > BATCH ? BATCH : rate / 5 == 0 ? 1 : (size_t)(rate / 5);
    uint64_t started = cli_now_ns();
    for (size_t at = 0; at < all->count;) {
        size_t count = all->count - at < most ? all->count - at : most;
        int code = change_batch(context, all->bulk, all->ids + at, count, sums);
        if (code != CLI_OK)
            return code;
        at += count;
        show_how_far(context, all, at);
        uint64_t due_ms = rate ? (uint64_t)((double)at * 1000.0 / (double)rate) : 0;
        while (at < all->count && (cli_now_ns() - started) / 1000000 < due_ms) {
            if (cli_interrupted())
                return CLI_INTERRUPTED;
            uint64_t left = due_ms - (cli_now_ns() - started) / 1000000;
            cli_sleep_ms(left < 100 ? left : 100);
        }
        if (at < all->count && cli_interrupted())
            return CLI_INTERRUPTED;
    }
    return CLI_OK;
}

static int change_all(cli_context *context, const bulk_ids *all, bulk_sums *sums)
{
    int code = change_batches(context, all, sums);
    show_how_far(context, all, all->count);
    return code;
}

static void print_sums(cli_context *context, const cli_bulk *bulk, const bulk_sums *sums)
{
    const struct {
        const char *name;
        uint64_t    count;
    } all[] = { { bulk->done, sums->done }, { "unchanged", sums->unchanged },
                { "missing", sums->missing }, { bulk->also, sums->also } };
    uint32_t count = bulk->also ? 4 : 3;
    cli_column columns[4];
    cli_buffer row = { 0 };
    cli_pack_map(&row, count);
    for (uint32_t i = 0; i < count; i++) {
        columns[i] = (cli_column){ all[i].name, all[i].name, CLI_AS_ID };
        cli_pack_text(&row, all[i].name);
        cli_pack_uint(&row, all[i].count);
    }
    cli_record(&context->output, cli_buffer_bytes(&row), columns, count);
    cli_buffer_free(&row);
}

/* For machines; a person was told on stderr. */
static void print_dry(cli_context *context, const bulk_ids *all)
{
    static const cli_column columns[] = { { "selected", "selected", CLI_AS_ID },
                                          { "dry_run", "dry_run", CLI_AS_TEXT } };
    cli_buffer row = { 0 };
    cli_pack_map(&row, 2);
    cli_pack_text(&row, "selected");
    cli_pack_uint(&row, all->count);
    cli_pack_text(&row, "dry_run");
    cli_pack_bool(&row, true);
    if (context->output.format != CLI_TABLE)
        cli_record(&context->output, cli_buffer_bytes(&row), columns, 2);
    cli_buffer_free(&row);
}

static int run(cli_context *context, bulk_ids *all)
{
    bulk_sums sums = { 0 };
    int code = ask_user(context, all);
    if (code != CLI_OK)
        return code;
    if (context->args.set[OPT_DRY_RUN]) {
        cli_say(&context->output, "Would %s %zu. Nothing was done.",
                all->bulk->change, all->count);
        print_dry(context, all);
        return CLI_OK;
    }
    code = change_all(context, all, &sums);
    print_sums(context, all->bulk, &sums);
    uint64_t handled = sums.done + sums.also + sums.unchanged + sums.missing;
    if (code == CLI_OK && sums.missing == all->count)
        return CLI_NOT_FOUND;
    if (code == CLI_OK)
        return sums.missing > 0 ? CLI_PARTLY : CLI_OK;
    cli_complain("stopped after %llu of %zu; run it again to go on", (unsigned long long)handled,
                 all->count);
    return code != CLI_INTERRUPTED && handled > 0 ? CLI_PARTLY : code;
}

int cli_bulk_run(cli_context *context, const cli_bulk *bulk)
{
    const char *where;
    bulk_ids all = { .bulk = bulk };
    int code = cli_where(context, &where);
    if (code != CLI_OK)
        return code;
    if ((context->args.count > 0) == (where != NULL)) {
        cli_complain("%s what? Name ids, or select with --where", bulk->change);
        return CLI_USAGE;
    }
    code = gather(context, &all, where);
    bool none = code == CLI_NOT_FOUND && context->store != NULL && all.count == 0;
    if (none && context->output.format != CLI_TABLE)
        print_sums(context, bulk, &(bulk_sums){ 0 });
    if (code == CLI_OK)
        code = run(context, &all);
    free(all.ids);
    cli_buffer_free(&all.shown);
    return code;
}
