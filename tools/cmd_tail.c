/* cmd_tail.c - `holdfast tail`: messages as they come, finish, fail.
 *
 * Happy path: asks `tail` for what happened since the last answer, prints it, waits a
 * moment, asks again. Ctrl-C, --limit and a pipe whose reader is gone end it well. An
 * engine that goes away is said to be gone, and waited for; what was not answered to its
 * end is not printed, so that nothing comes twice. A store that nobody has ends it, once
 * all is told. One thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/render.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

enum { PAGE = 1000, PAUSE_MS = 150, WHAT_WIDTH = 9 };

static const cli_column columns[] = {
    { "TIME", "at", CLI_AS_TIME },     { "WHAT", "what", CLI_AS_TEXT },
    { "ID", "id", CLI_AS_ID },         { "ACTOR", "actor", CLI_AS_TEXT },
    { "KIND", "kind", CLI_AS_TEXT },   { "TRIES", "attempt", CLI_AS_ID },
    { "ERROR", "error", CLI_AS_TEXT }, { "FROM", "from", CLI_AS_TEXT },
};
enum { AT, WHAT, ID, ACTOR, KIND, TRIES, ERROR, COLUMNS = sizeof columns / sizeof *columns };

typedef struct tail_walk {
    cli_context *context;
    const char  *where;
    bool         begun;   /* `after` counts */
    uint64_t     after, part;
    uint64_t     told, limit, skipped;
    bool         more, answered, lives, lived, gone;
    uint64_t     pid;
    cli_buffer   rows;    /* of the answer that is coming */
    cli_buffer   line;
} tail_walk;

/* ---- Lines */

static const char *color_of(const tail_walk *walk, hf_bytes what)
{
    static const struct {
        const char *word, *code;
    } colors[] = {
        { "dead", "\033[31m" }, { "cancelled", "\033[31m" }, { "purged", "\033[31m" },
        { "retry", "\033[33m" }, { "done", "\033[32m" },     { "paused", "\033[36m" },
    };
    if (!walk->context->output.color)
        return NULL;
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++) {
        if (what.len == strlen(colors[i].word) && memcmp(what.data, colors[i].word, what.len) == 0)
            return colors[i].code;
    }
    return NULL;
}

static void add_cell(tail_walk *walk, hf_bytes row, int column, const char *before)
{
    cli_buffer *line = &walk->line;
    size_t start = line->len;
    cli_buffer_text(line, before);
    size_t from = line->len;
    cli_cell(line, row, &columns[column], false, 0);
    if (line->len == from)
        line->len = start;
}

/* For people: what it is, and only what there is to say of it. */
static void print_line(tail_walk *walk, hf_bytes row)
{
    cli_buffer *line = &walk->line;
    hf_bytes what = cli_field_text(row, "what"), user = cli_field_text(row, "user");
    const char *color = color_of(walk, what);
    line->len = 0;
    add_cell(walk, row, AT, "");
    cli_buffer_text(line, "  ");
    cli_buffer_text(line, color ? color : "");
    add_cell(walk, row, WHAT, "");
    cli_buffer_text(line, color ? "\033[0m" : "");
    cli_buffer_format(line, "%*s", what.len < WHAT_WIDTH ? (int)(WHAT_WIDTH - what.len) : 0, "");
    add_cell(walk, row, ID, "  ");
    add_cell(walk, row, ACTOR, "  ");
    add_cell(walk, row, KIND, "  ");
    add_cell(walk, row, TRIES, "  attempt ");
    add_cell(walk, row, ERROR, ": ");
    if (user.len > 0) {
        cli_buffer_text(line, "  by ");
        cli_render_safe(line, user);
        hf_bytes reason = cli_field_text(row, "reason");
        cli_buffer_text(line, reason.len > 0 ? ": " : "");
        cli_render_safe(line, reason);
    }
    cli_buffer_byte(line, '\n');
    (void)fwrite(line->data, 1, line->len, stdout);
}

static int print_rows(tail_walk *walk)
{
    hf_bytes rest = cli_buffer_bytes(&walk->rows);
    cli_value value;
    while (rest.len > 0 && walk->told < walk->limit) {
        hf_bytes from = rest;
        if (!cli_next(&rest, &value))
            break;
        hf_bytes row = hf_view(from.data, from.len - rest.len);
        if (walk->context->output.format == CLI_TABLE)
            print_line(walk, row);
        else
            cli_list_row(&walk->context->output, row);
        walk->told++;
    }
    return cli_output_flush();
}

/* ---- Answers */

static int each_row(void *user, hf_bytes row)
{
    tail_walk *walk = user;
    cli_value next;
    if (!cli_field(row, "next", &next)) {
        cli_buffer_add(&walk->rows, row.data, row.len);
        return HF_OK;
    }
    hf_bytes source = cli_field_text(row, "source");
    walk->after = next.number;
    walk->part = cli_field_uint(row, "next_part");
    walk->more = cli_field_bool(row, "more");
    walk->skipped = cli_field_uint(row, "skipped");
    walk->pid = cli_field_uint(row, "pid");
    walk->lives = source.len != strlen("disk"); /* or it is hung, or on its way */
    return HF_OK;
}

static int ask(tail_walk *walk)
{
    cli_arguments arguments = { 0 };
    uint64_t left = walk->limit - walk->told;
    cli_argument_text(&arguments, "where", walk->where);
    if (walk->begun) {
        cli_argument_uint(&arguments, "after", walk->after);
        cli_argument_uint(&arguments, "part", walk->part);
    }
    cli_argument_uint(&arguments, "limit", left < PAGE ? left : PAGE);
    walk->rows.len = 0;
    walk->more = false;
    int err = hf_query(walk->context->store, "tail", cli_arguments_whole(&arguments), each_row,
                       walk);
    cli_arguments_free(&arguments);
    return err;
}

/* Whoever has the store now: said when it changes. */
static void say_who(tail_walk *walk)
{
    const cli_output *output = &walk->context->output;
    if (walk->lives && !walk->answered)
        cli_say(output, "Following from position %llu on.", (unsigned long long)walk->after + 1);
    else if (walk->lives && walk->gone)
        cli_say(output, "The engine is back: process %llu.", (unsigned long long)walk->pid);
    else if (!walk->lives && walk->lived && !walk->gone)
        cli_say(output, "The engine is gone. Waiting for it.");
    walk->gone = !walk->lives && walk->lived;
    walk->lived = walk->lived || walk->lives;
    walk->answered = true;
}

/* It may be on its way down, up, or to another place. */
static bool may_come_back(const tail_walk *walk, int err)
{
    return walk->lived && (err == HF_ECLOSED || err == HF_EAGAIN || err == HF_ETIMEDOUT
                           || err == HF_EBUSY || err == HF_ENOTFOUND || err == HF_EIO);
}

static int step(tail_walk *walk)
{
    const cli_output *output = &walk->context->output;
    int err = ask(walk);
    if (err != HF_OK && may_come_back(walk, err)) {
        if (!walk->gone)
            cli_say(output, "No answer: %s. Waiting.", hf_strerror(err));
        walk->gone = true;
        walk->more = false;
        return CLI_OK;
    }
    if (err != HF_OK)
        return cli_store_failed(walk->context, err);
    walk->begun = true;
    if (walk->skipped > 0)
        cli_say(output, "The log no longer has what happened here: up to %llu entries are skipped.",
                (unsigned long long)walk->skipped);
    int code = print_rows(walk);
    say_who(walk);
    return code;
}

/* ---- All */

/* False: who read what is printed is gone. */
static bool pause_a_moment(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO, .events = 0 };
    int ready = poll(&out, 1, PAUSE_MS);
    return ready <= 0 || !(out.revents & (POLLERR | POLLHUP | POLLNVAL));
}

static int follow(tail_walk *walk)
{
    while (!cli_interrupted()) {
        int code = step(walk);
        if (code != CLI_OK || walk->told >= walk->limit)
            return code;
        if (walk->more)
            continue;
        if (!walk->lived)
            break;
        if (!pause_a_moment())
            return CLI_OK;
    }
    const cli_output *output = &walk->context->output;
    if (walk->lived || walk->told > 0 || !walk->answered)
        return CLI_OK;
    cli_say(output,
            walk->context->args.set[OPT_AFTER]
                ? "No engine has the store, and its log tells of nothing that matches."
                : "No engine has the store. --after 0 prints all that its log still tells.");
    return CLI_NOT_FOUND;
}

int cmd_tail(cli_context *context)
{
    cli_output *output = &context->output;
    tail_walk walk = { .context = context, .begun = context->args.set[OPT_AFTER],
                       .after = cli_number(&context->args, OPT_AFTER, 0),
                       .limit = cli_number(&context->args, OPT_LIMIT, UINT64_MAX) };
    int code = cli_where(context, &walk.where);
    if (code == CLI_OK && walk.limit == 0) {
        cli_complain("--limit is at least 1");
        code = CLI_USAGE;
    }
    (void)cli_interrupted(); /* seen from now on */
    (void)signal(SIGPIPE, SIG_DFL);
    if (code == CLI_OK)
        code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    if (output->format != CLI_TABLE)
        cli_list_begin(output, "events", columns, COLUMNS);
    code = follow(&walk);
    if (output->format != CLI_TABLE) {
        cli_buffer summary = { 0 };
        cli_pack_map(&summary, 1);
        cli_pack_text(&summary, "next");
        cli_pack_uint(&summary, walk.after);
        cli_list_end(output, cli_buffer_bytes(&summary));
        cli_buffer_free(&summary);
    }
    if (walk.told > 0)
        cli_say(output, "%llu told; --after %llu goes on from here.", (unsigned long long)walk.told,
                (unsigned long long)walk.after);
    cli_buffer_free(&walk.rows);
    cli_buffer_free(&walk.line);
    return code;
}
