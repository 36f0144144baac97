/* cmd_requeue.c - `holdfast requeue`: dead ones back to their inbox.
 *
 * Happy path: the ids are given or gathered with --where, the user sees how
 * many and the first three and says yes, then batches go out no faster than
 * --rate; each is on disk before the next. Ctrl-C or a failure in the middle
 * says how far it came; what was requeued already is unchanged the next time.
 *
 * None there: exit code 3; some missing: 7. One thread. */
#include "tools/commands.h"
#include "tools/render.h"
#include "tools/select.h"
#include "tools/times.h"

#include <stdlib.h>

enum { BATCH = 1000, RATE = 500, SHOWN = 3 };

typedef struct requeue_ids {
    uint64_t  *ids;
    size_t     count, room;
    size_t     limit; /* of those selected */
    cli_buffer shown; /* the first few, one a line */
} requeue_ids;

typedef struct requeue_sums {
    uint64_t requeued, unchanged, missing;
} requeue_sums;

static const cli_column columns[] = {
    { "requeued", "requeued", CLI_AS_ID },
    { "unchanged", "unchanged", CLI_AS_ID },
    { "missing", "missing", CLI_AS_ID },
};

static void add_id(requeue_ids *all, uint64_t id)
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

/* Only what a requeue changes; the rest of what was selected is passed over. */
static int each_row(void *user, hf_bytes row)
{
    requeue_ids *all = user;
    if (!is_status(row, "dead") && !is_status(row, "delayed") && !is_status(row, "retrying"))
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

static int gather(cli_context *context, requeue_ids *all, const char *where)
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
    cli_say(&context->output, "%zu to requeue, %llu scanned.", all->count,
            (unsigned long long)selection.scanned);
    if (code == CLI_OK && all->count == 0)
        return CLI_NOT_FOUND;
    return code;
}

static int ask_user(cli_context *context, const requeue_ids *all)
{
    bool bulk = context->args.set[OPT_WHERE];
    if (bulk && !context->output.quiet && all->shown.len > 0)
        fprintf(stderr, HF_FMT "%s", HF_ARG(cli_buffer_bytes(&all->shown)),
                all->count > SHOWN ? "  …\n" : "");
    if (!bulk || context->args.set[OPT_DRY_RUN])
        return CLI_OK;
    char question[64];
    (void)snprintf(question, sizeof question, "Requeue %zu message%s?", all->count,
                   all->count == 1 ? "" : "s");
    return cli_confirm(context, question);
}

static uint64_t count_of(hf_bytes row, const char *name)
{
    cli_value value;
    return cli_field(row, name, &value) && value.kind == CLI_ARRAY ? value.number : 0;
}

static int requeue_batch(cli_context *context, const uint64_t *ids, size_t count,
                         requeue_sums *sums)
{
    cli_arguments arguments = { 0 };
    cli_buffer row = { 0 };
    cli_argument_text(&arguments, "reason", cli_text(&context->args, OPT_REASON, NULL));
    if (context->args.set[OPT_KEEP_ATTEMPTS])
        cli_argument_bool(&arguments, "keep_attempts", true);
    arguments.count++;
    cli_pack_text(&arguments.pairs, "ids");
    cli_pack_array(&arguments.pairs, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        cli_pack_uint(&arguments.pairs, ids[i]);
    int code = cli_change(context, "requeue", cli_arguments_whole(&arguments), &row);
    hf_bytes result = cli_buffer_bytes(&row);
    if (code == CLI_OK) {
        sums->requeued += cli_field_uint(result, "requeued");
        sums->unchanged += count_of(result, "unchanged");
        sums->missing += count_of(result, "missing");
    }
    cli_arguments_free(&arguments);
    cli_buffer_free(&row);
    return code;
}

/* Batches of a fifth of a second's worth, so that the rate is even. */
static int requeue_all(cli_context *context, const requeue_ids *all, requeue_sums *sums)
{
    uint64_t rate = cli_number(&context->args, OPT_RATE, RATE);
    size_t most = rate / 5 > BATCH ? BATCH : rate / 5 == 0 ? 1 : (size_t)(rate / 5);
    uint64_t started = cli_now_ns();
    for (size_t at = 0; at < all->count;) {
        size_t count = all->count - at < most ? all->count - at : most;
        int code = requeue_batch(context, all->ids + at, count, sums);
        if (code != CLI_OK)
            return code;
        at += count;
        uint64_t due_ms = (uint64_t)((double)at * 1000.0 / (double)rate);
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

static void print_sums(cli_context *context, const requeue_sums *sums)
{
    cli_buffer row = { 0 };
    cli_pack_map(&row, 3);
    cli_pack_text(&row, "requeued");
    cli_pack_uint(&row, sums->requeued);
    cli_pack_text(&row, "unchanged");
    cli_pack_uint(&row, sums->unchanged);
    cli_pack_text(&row, "missing");
    cli_pack_uint(&row, sums->missing);
    cli_record(&context->output, cli_buffer_bytes(&row), columns,
               sizeof columns / sizeof *columns);
    cli_buffer_free(&row);
}

static int run(cli_context *context, requeue_ids *all)
{
    requeue_sums sums = { 0 };
    int code = ask_user(context, all);
    if (code != CLI_OK)
        return code;
    if (context->args.set[OPT_DRY_RUN]) {
        cli_say(&context->output, "Would requeue %zu. Nothing was done.", all->count);
        return CLI_OK;
    }
    code = requeue_all(context, all, &sums);
    print_sums(context, &sums);
    uint64_t handled = sums.requeued + sums.unchanged + sums.missing;
    if (code == CLI_OK && sums.missing == all->count)
        return CLI_NOT_FOUND;
    if (code == CLI_OK)
        return sums.missing > 0 ? CLI_PARTLY : CLI_OK;
    cli_complain("stopped after %llu of %zu; run it again to go on", (unsigned long long)handled,
                 all->count);
    return code != CLI_INTERRUPTED && handled > 0 ? CLI_PARTLY : code;
}

int cmd_requeue(cli_context *context)
{
    const char *where;
    requeue_ids all = { 0 };
    int code = cli_where(context, &where);
    if (code != CLI_OK)
        return code;
    if ((context->args.count > 0) == (where != NULL)) {
        cli_complain("requeue what? Name ids, or select with --where");
        return CLI_USAGE;
    }
    code = gather(context, &all, where);
    if (code == CLI_OK)
        code = run(context, &all);
    free(all.ids);
    cli_buffer_free(&all.shown);
    return code;
}
