/* cmd_edit.c - `holdfast edit`: another body for messages that wait or are dead.
 *
 * Happy path: the ids are given or selected with --where; the user sees how many and the
 * first three and says yes; then page by page the messages are read with their bodies, the
 * new bodies made, and written in batches, each on disk before the next. The first body of
 * each is kept in the store. --dry-run shows them before and after.
 *
 * A message that runs is not edited: exit code 6, or 7 when others were. One thread. */
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/patch.h"
#include "tools/render.h"
#include "tools/select.h"
#include "tools/slurp.h"
#include "tools/times.h"

#include <stdlib.h>

enum { PAGE = 500, NAMED = 200, BATCH_BYTES = 8 << 20, SHOWN = 3 };

typedef struct edit_run {
    cli_context *context;
    const char  *path;     /* --set */
    cli_buffer   value;    /* of it; of --file: the body */
    const uint64_t *named; /* ids that were named, if they were */
    size_t       named_count;
    cli_buffer   edits;    /* of the batch: {id, body} … */
    uint32_t     count;    /* in it */
    uint64_t     seen, left; /* that may still be edited: --limit */
    uint64_t     edited, unchanged, running, missing;
    uint64_t     rate, started; /* --rate, 0: as fast as it goes; ns */
    int          code;
} edit_run;

static const cli_column columns[] = {
    { "ID", "id", CLI_AS_ID },
    { "ACTOR", "actor", CLI_AS_TEXT },
    { "BEFORE", "before", CLI_AS_BODY },
    { "AFTER", "after", CLI_AS_BODY },
};

/* ---- What is to be put in */

static int read_set(edit_run *run, const char *set)
{
    const char *is = strchr(set, '='), *why;
    size_t at;
    if (is == NULL || is == set) {
        cli_complain("--set takes PATH=VALUE, such as total=5 or items[0].sku=x");
        return CLI_USAGE;
    }
    char *path = cli_alloc((size_t)(is - set) + 1);
    memcpy(path, set, (size_t)(is - set));
    path[is - set] = 0;
    run->path = path;
    if (!cli_json_pack(&run->value, hf_str(is + 1), &at, &why)) /* a plain word is text */
        cli_pack_text(&run->value, is + 1);
    return CLI_OK;
}

static int read_file(edit_run *run, const char *file)
{
    cli_buffer text = { 0 };
    size_t at;
    const char *why;
    int code = cli_slurp(file, &text);
    if (code == CLI_OK && run->context->args.set[OPT_RAW]) {
        cli_buffer_add(&run->value, text.data, text.len);
    } else if (code == CLI_OK) {
        hf_bytes json = text.len > 0 ? cli_buffer_bytes(&text) : hf_str("");
        if (!cli_json_body(&run->value, json, &at, &why)) {
            cli_complain("%s is not JSON: %s (byte %zu). --raw takes it as it is", file, why, at);
            code = CLI_USAGE;
        }
    }
    cli_buffer_free(&text);
    return code;
}

static bool make_body(edit_run *run, hf_bytes row, cli_buffer *body)
{
    const char *why;
    cli_value old = { .bytes = hf_view("", 0) };
    (void)cli_field(row, "body", &old);
    if (run->path == NULL) {
        cli_buffer_add(body, run->value.data, run->value.len);
        return true;
    }
    if (cli_patch(body, old.bytes, run->path, cli_buffer_bytes(&run->value), &why))
        return true;
    cli_complain("message %llu: --set %s: %s", (unsigned long long)cli_field_uint(row, "id"),
                 run->path, why);
    return false;
}

/* ---- One message */

static void show(edit_run *run, hf_bytes row, hf_bytes body)
{
    cli_buffer line = { 0 };
    cli_value old = { .bytes = hf_view("", 0) };
    (void)cli_field(row, "body", &old);
    cli_pack_map(&line, 4);
    cli_pack_text(&line, "id");
    cli_pack_uint(&line, cli_field_uint(row, "id"));
    cli_pack_text(&line, "actor");
    cli_pack_str(&line, cli_field_text(row, "actor"));
    cli_pack_text(&line, "before");
    cli_pack_bin(&line, old.bytes);
    cli_pack_text(&line, "after");
    cli_pack_bin(&line, body);
    cli_list_row(&run->context->output, cli_buffer_bytes(&line));
    cli_buffer_free(&line);
}

static int meet(void *user, hf_bytes row)
{
    edit_run *run = user;
    cli_buffer body = { 0 };
    run->seen++;
    if (run->left == 0)
        return HF_OK;
    if (!make_body(run, row, &body)) {
        cli_buffer_free(&body);
        return run->code = CLI_FAILED;
    }
    run->left--;
    if (run->context->args.set[OPT_DRY_RUN]) {
        show(run, row, cli_buffer_bytes(&body));
    } else {
        cli_pack_map(&run->edits, 2);
        cli_pack_text(&run->edits, "id");
        cli_pack_uint(&run->edits, cli_field_uint(row, "id"));
        cli_pack_text(&run->edits, "body");
        cli_pack_bin(&run->edits, cli_buffer_bytes(&body));
        run->count++;
    }
    cli_buffer_free(&body);
    /* The rest comes with the next page. */
    return run->edits.len > BATCH_BYTES ? CLI_PARTLY : HF_OK;
}

static uint64_t count_of(hf_bytes row, const char *name)
{
    cli_value value;
    return cli_field(row, name, &value) && value.kind == CLI_ARRAY ? value.number : 0;
}

static int write_batch(edit_run *run)
{
    cli_arguments arguments = { .count = 1 };
    cli_buffer row = { 0 };
    if (run->count == 0)
        return CLI_OK;
    cli_pack_text(&arguments.pairs, "edits");
    cli_pack_array(&arguments.pairs, run->count);
    cli_buffer_add(&arguments.pairs, run->edits.data, run->edits.len);
    cli_argument_text(&arguments, "reason", cli_text(&run->context->args, OPT_REASON, NULL));
    int code = cli_change(run->context, "edit", cli_arguments_whole(&arguments), &row);
    hf_bytes result = cli_buffer_bytes(&row);
    if (code == CLI_OK) {
        run->edited += cli_field_uint(result, "edited");
        run->unchanged += count_of(result, "unchanged");
        run->running += count_of(result, "running");
        run->missing += count_of(result, "missing");
    }
    run->edits.len = run->count = 0;
    cli_arguments_free(&arguments);
    cli_buffer_free(&row);
    return code;
}

/* No faster than --rate. */
static int keep_pace(const edit_run *run)
{
    uint64_t due_ms = run->rate ? (uint64_t)((double)run->edited * 1000.0 / (double)run->rate) : 0;
    for (;;) {
        uint64_t now_ms = (cli_now_ns() - run->started) / 1000000;
        if (cli_interrupted())
            return CLI_INTERRUPTED;
        if (now_ms >= due_ms)
            return CLI_OK;
        cli_sleep_ms(due_ms - now_ms < 100 ? due_ms - now_ms : 100);
    }
}

/* ---- All */

/* All that `where` selects, a page and its batches at a time. */
static int edit_where(edit_run *run, const char *where)
{
    cli_selection selection = { .where = where, .bodies = true };
    uint64_t page = !run->rate || run->rate / 5 > PAGE ? PAGE : run->rate / 5 + 1;
    int code;
    do {
        uint64_t from = selection.told;
        selection.limit = from + page;
        run->code = CLI_OK;
        uint64_t seen = run->seen;
        code = cli_select(run->context, &selection, meet, run);
        bool cut = code == CLI_PARTLY && run->code == CLI_OK;
        if (cut) { /* only so far: the page's position is that of the last one met */
            selection.told = from + (run->seen - seen);
            hf_bytes rest = cli_buffer_bytes(&run->edits);
            cli_value edit;
            while (cli_next(&rest, &edit)) {
                cli_buffer one = { 0 };
                cli_pack_map(&one, (uint32_t)edit.number);
                cli_buffer_add(&one, edit.bytes.data, edit.bytes.len);
                selection.after = cli_field_uint(cli_buffer_bytes(&one), "id");
                cli_buffer_free(&one);
            }
            selection.more = true;
            code = CLI_OK;
        }
        if (code == CLI_OK)
            code = write_batch(run);
        if (code == CLI_OK && (selection.more || run->named != NULL))
            code = keep_pace(run);
    } while (code == CLI_OK && selection.more && run->left > 0);
    return code;
}

/* Those that were named, some at a time: those that are not told are missing. */
static int edit_named(edit_run *run)
{
    int code = CLI_OK;
    for (size_t at = 0; code == CLI_OK && at < run->named_count;) {
        cli_buffer where = { 0 };
        size_t most = run->named_count - at < NAMED ? run->named_count - at : NAMED;
        uint64_t seen = run->seen;
        cli_buffer_text(&where, "id in (");
        for (size_t i = 0; i < most; i++)
            cli_buffer_format(&where, "%s%llu", i ? "," : "",
                              (unsigned long long)run->named[at + i]);
        cli_buffer_text(&where, ")");
        cli_buffer_byte(&where, 0);
        code = edit_where(run, (const char *)where.data);
        at += most;
        run->missing += most - (run->seen - seen);
        cli_buffer_free(&where);
    }
    return code;
}

static void print_sums(edit_run *run)
{
    static const cli_column sums[] = {
        { "edited", "edited", CLI_AS_ID },   { "unchanged", "unchanged", CLI_AS_ID },
        { "running", "running", CLI_AS_ID }, { "missing", "missing", CLI_AS_ID },
    };
    const uint64_t counts[] = { run->edited, run->unchanged, run->running, run->missing };
    cli_buffer row = { 0 };
    cli_pack_map(&row, 4);
    for (int i = 0; i < 4; i++) {
        cli_pack_text(&row, sums[i].field);
        cli_pack_uint(&row, counts[i]);
    }
    cli_record(&run->context->output, cli_buffer_bytes(&row), sums, 4);
    cli_buffer_free(&row);
}

static int end_code(const edit_run *run, int code)
{
    uint64_t handled = run->edited + run->unchanged + run->running + run->missing;
    if (code != CLI_OK) {
        if (handled > 0)
            cli_complain("stopped after %llu; run it again to go on", (unsigned long long)handled);
        return code != CLI_INTERRUPTED && handled > 0 ? CLI_PARTLY : code;
    }
    if (run->missing > 0 && run->missing == handled)
        return CLI_NOT_FOUND;
    if (run->running > 0)
        cli_complain("what runs can't be edited; once it has failed or waits it can");
    if (run->running > 0 && run->edited == 0)
        return CLI_REFUSED;
    return run->running + run->missing > 0 ? CLI_PARTLY : CLI_OK;
}

/* How many, the first three, and a yes. */
typedef struct edit_count {
    cli_buffer shown;
    uint64_t   count;
} edit_count;

static int count_row(void *user, hf_bytes row)
{
    edit_count *c = user;
    if (c->count++ < SHOWN) {
        cli_buffer_format(&c->shown, "  %llu  ", (unsigned long long)cli_field_uint(row, "id"));
        cli_render_safe(&c->shown, cli_field_text(row, "actor"));
        cli_buffer_byte(&c->shown, '\n');
    }
    return HF_OK;
}

static int ask_user(edit_run *run, const char *where)
{
    cli_context *context = run->context;
    cli_selection selection = { .where = where, .limit = UINT64_MAX };
    edit_count c = { .count = 0 };
    int code = cli_select(context, &selection, count_row, &c);
    if (code == CLI_OK && c.count > run->left)
        c.count = run->left;
    if (code == CLI_OK)
        cli_say(&context->output, "%llu to edit, %llu scanned.", (unsigned long long)c.count,
                (unsigned long long)selection.scanned);
    if (code == CLI_OK && c.count == 0)
        code = CLI_NOT_FOUND;
    if (code == CLI_OK && !context->args.set[OPT_DRY_RUN]) {
        char question[80];
        if (!context->output.quiet)
            fprintf(stderr, HF_FMT "%s", HF_ARG(cli_buffer_bytes(&c.shown)),
                    c.count > SHOWN ? "  …\n" : "");
        (void)snprintf(question, sizeof question, "Edit %llu message%s?",
                       (unsigned long long)c.count, c.count == 1 ? "" : "s");
        code = cli_confirm(context, question);
    }
    cli_buffer_free(&c.shown);
    return code;
}

static int edit_all(edit_run *run, const char *where)
{
    cli_context *context = run->context;
    bool dry = context->args.set[OPT_DRY_RUN];
    int code = where != NULL ? ask_user(run, where) : CLI_OK;
    if (code != CLI_OK)
        return code;
    if (dry)
        cli_list_begin(&context->output, "messages", columns, 4);
    code = where != NULL ? edit_where(run, where) : edit_named(run);
    if (!dry) {
        print_sums(run);
        return end_code(run, code);
    }
    cli_list_end(&context->output, hf_view(NULL, 0));
    cli_say(&context->output, "Nothing was done.");
    return code == CLI_OK && run->seen == 0 ? CLI_NOT_FOUND : code;
}

static int compare_ids(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* One that is named twice is one. */
static int read_ids(const cli_args *args, uint64_t *ids, size_t *count)
{
    size_t named = (size_t)args->count;
    for (size_t i = 0; i < named; i++)
        if (!cli_id(args->operands[i], &ids[i]))
            return CLI_USAGE;
    qsort(ids, named, sizeof *ids, compare_ids);
    for (size_t i = 0; i < named; i++)
        if (*count == 0 || ids[i] != ids[*count - 1])
            ids[(*count)++] = ids[i];
    return CLI_OK;
}

int cmd_edit(cli_context *context)
{
    const cli_args *args = &context->args;
    const char *where;
    edit_run run = { .context = context, .left = cli_number(args, OPT_LIMIT, UINT64_MAX),
                     .rate = cli_number(args, OPT_RATE, 0), .started = cli_now_ns() };
    int code = cli_where(context, &where);
    if (code == CLI_OK && (args->count > 0) == (where != NULL)) {
        cli_complain("edit what? Name ids, or select with --where");
        code = CLI_USAGE;
    }
    if (code == CLI_OK && args->set[OPT_SET] == args->set[OPT_FILE]) {
        cli_complain("edit takes one of --set PATH=VALUE and --file FILE");
        code = CLI_USAGE;
    }
    if (code == CLI_OK)
        code = args->set[OPT_SET] ? read_set(&run, args->text[OPT_SET])
                                  : read_file(&run, args->text[OPT_FILE]);
    uint64_t *ids = cli_alloc(((size_t)args->count + 1) * sizeof *ids);
    run.named = ids;
    if (code == CLI_OK)
        code = read_ids(args, ids, &run.named_count);
    if (code == CLI_OK)
        code = cli_store_open(context);
    if (code == CLI_OK)
        code = edit_all(&run, where);
    free(ids);
    if (run.path != NULL)
        free((void *)(uintptr_t)run.path);
    cli_buffer_free(&run.value);
    cli_buffer_free(&run.edits);
    return code;
}
