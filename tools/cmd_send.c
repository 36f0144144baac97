/* cmd_send.c - `holdfast send TYPE/KEY [BODY|-]`: one more message.
 *
 * The body is JSON and stored as msgpack, with --raw any bytes. Copies (--count)
 * go in batches; each is on disk before the next is sent, and an interruption
 * says how far it came. One thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/json.h"
#include "tools/render.h"
#include "tools/times.h"

#include <errno.h>

enum { BATCH = 1000, BODY_MAX = 16 << 20, BATCH_BYTES = 8 << 20 };

static const cli_column columns[] = { { "ID", "id", CLI_AS_ID } };

/* All of stdin, up to BODY_MAX bytes. */
static int read_stdin(cli_buffer *body)
{
    uint8_t part[65536];
    size_t len;
    while ((len = fread(part, 1, sizeof part, stdin)) > 0) {
        cli_buffer_add(body, part, len);
        if (body->len > BODY_MAX) {
            cli_complain("the body on stdin is longer than %d MiB", BODY_MAX >> 20);
            return CLI_USAGE;
        }
    }
    if (ferror(stdin) != 0) {
        cli_complain("cannot read stdin: %s", strerror(errno));
        return CLI_FAILED;
    }
    return CLI_OK;
}

static int bad_json(const cli_buffer *text, size_t at, const char *why)
{
    cli_complain("the body is not JSON: %s (byte %zu). --raw sends it as it is", why, at);
    /* One line that fits gets a caret, a long or many-lined body does not. */
    hf_bytes whole = cli_buffer_bytes(text);
    if (text->len > 0 && text->len <= 160 && memchr(text->data, '\n', text->len) == NULL) {
        cli_buffer safe = { 0 };
        cli_render_safe(&safe, hf_view(text->data, at));
        int before = (int)cli_utf8_width(cli_buffer_bytes(&safe));
        safe.len = 0;
        cli_render_safe(&safe, whole);
        fprintf(stderr, "  " HF_FMT "\n  %*s^\n", HF_ARG(cli_buffer_bytes(&safe)), before, "");
        cli_buffer_free(&safe);
    }
    return CLI_USAGE;
}

static int read_body(const cli_context *context, cli_buffer *body)
{
    cli_buffer text = { 0 };
    int code = CLI_OK;
    const char *given = context->args.count > 1 ? context->args.operands[1] : NULL;
    if (given != NULL && strcmp(given, "-") == 0)
        code = read_stdin(&text);
    else if (given != NULL)
        cli_buffer_text(&text, given);
    if (code == CLI_OK && given != NULL && context->args.set[OPT_RAW]) {
        cli_buffer_add(body, text.data, text.len);
    } else if (code == CLI_OK && given != NULL) {
        size_t at;
        const char *why;
        /* A view of nothing must not be NULL. */
        hf_bytes json = text.len > 0 ? cli_buffer_bytes(&text) : hf_str("");
        if (!cli_json_body(body, json, &at, &why))
            code = bad_json(&text, at, why);
    }
    cli_buffer_free(&text);
    return code;
}

/* --in, --at, --dedupe, --expires, --urgency, as far as they were given. */
static void pack_options(const cli_args *args, uint64_t at, cli_arguments *fields)
{
    cli_argument_text(fields, "dedupe", cli_text(args, OPT_DEDUPE, NULL));
    if (args->set[OPT_IN])
        cli_argument_uint(fields, "delay_ms", args->number[OPT_IN]);
    if (args->set[OPT_AT])
        cli_argument_uint(fields, "at", at);
    if (args->set[OPT_EXPIRES])
        cli_argument_uint(fields, "expires_ms", args->number[OPT_EXPIRES]);
    if (args->set[OPT_URGENCY])
        cli_argument_uint(fields, "urgency", args->number[OPT_URGENCY]);
}

/* One letter as the map that `send` takes. */
static void pack_letter(const cli_context *context, hf_bytes body, uint64_t at, cli_buffer *letter)
{
    const cli_args *args = &context->args;
    cli_arguments fields = { 0 };
    cli_argument_text(&fields, "to", args->operands[0]);
    cli_argument_text(&fields, "kind", cli_text(args, OPT_KIND, NULL));
    pack_options(args, at, &fields);
    fields.count++;
    cli_pack_text(&fields.pairs, "body");
    cli_pack_bin(&fields.pairs, body);
    hf_bytes whole = cli_arguments_whole(&fields);
    cli_buffer_add(letter, whole.data, whole.len);
    cli_arguments_free(&fields);
}

static int check_options(const cli_args *args, uint64_t count, uint64_t *at)
{
    const char *wrong = NULL;
    *at = 0;
    if (args->set[OPT_AT] && !cli_time_parse(args->text[OPT_AT], at))
        wrong = "--at takes a time in UTC, such as 2026-01-31T12:00:00Z";
    else if (args->set[OPT_AT] && args->set[OPT_IN])
        wrong = "one of --in and --at, not both";
    else if (args->set[OPT_DEDUPE] && count > 1)
        wrong = "--dedupe is for one message: its copies would be the same";
    else if (cli_number(args, OPT_URGENCY, 0) > 9)
        wrong = "--urgency is 1 to 9";
    if (wrong != NULL)
        cli_complain("%s", wrong);
    return wrong != NULL ? CLI_USAGE : CLI_OK;
}

static void print_ids(cli_context *context, hf_bytes row)
{
    hf_bytes ids = cli_field_list(row, "ids");
    cli_value id;
    while (ids.len > 0 && cli_next(&ids, &id)) {
        cli_buffer line = { 0 };
        cli_pack_map(&line, 1);
        cli_pack_text(&line, "id");
        cli_pack_uint(&line, id.number);
        cli_list_row(&context->output, cli_buffer_bytes(&line));
        cli_buffer_free(&line);
    }
}

static int send_batch(cli_context *context, hf_bytes letter, uint32_t count)
{
    cli_arguments arguments = { 0 };
    cli_buffer row = { 0 };
    arguments.count = 1;
    cli_pack_text(&arguments.pairs, "letters");
    cli_pack_array(&arguments.pairs, count);
    for (uint32_t i = 0; i < count; i++)
        cli_buffer_add(&arguments.pairs, letter.data, letter.len);
    cli_argument_text(&arguments, "reason", cli_text(&context->args, OPT_REASON, NULL));
    int code = cli_change(context, "send", cli_arguments_whole(&arguments), &row);
    if (code == CLI_OK && cli_field_uint(cli_buffer_bytes(&row), "known") > 0)
        cli_say(&context->output, "It was sent before, under the same word.");
    if (code == CLI_OK)
        print_ids(context, cli_buffer_bytes(&row));
    cli_arguments_free(&arguments);
    cli_buffer_free(&row);
    return code;
}

static int send_all(cli_context *context, hf_bytes letter, uint64_t count)
{
    uint64_t sent = 0;
    uint64_t most = letter.len > BATCH_BYTES / BATCH ? BATCH_BYTES / letter.len : BATCH;
    int code = CLI_OK;
    if (most == 0)
        most = 1;
    cli_list_begin(&context->output, "messages", columns, 1);
    while (code == CLI_OK && sent < count) {
        uint32_t batch = (uint32_t)(count - sent < most ? count - sent : most);
        if (sent > 0 && cli_interrupted()) {
            code = CLI_INTERRUPTED;
            break;
        }
        code = send_batch(context, letter, batch);
        if (code == CLI_OK)
            sent += batch;
    }
    cli_list_end(&context->output, hf_view(NULL, 0));
    if (code != CLI_OK && sent > 0) {
        cli_complain("%llu of %llu were sent", (unsigned long long)sent,
                     (unsigned long long)count);
        return code == CLI_INTERRUPTED ? code : CLI_PARTLY;
    }
    return code;
}

int cmd_send(cli_context *context)
{
    const cli_args *args = &context->args;
    const char *to = args->operands[0];
    uint64_t count = cli_number(args, OPT_COUNT, 1);
    if (strchr(to, '/') == NULL || count == 0) {
        cli_complain(count == 0 ? "--count is at least 1"
                                : "an actor is TYPE/KEY, such as order/42");
        return CLI_USAGE;
    }
    uint64_t at;
    int code = check_options(args, count, &at);
    if (code != CLI_OK)
        return code;
    cli_buffer body = { 0 }, letter = { 0 };
    code = read_body(context, &body);
    if (code == CLI_OK)
        code = cli_store_open(context);
    if (code == CLI_OK) {
        pack_letter(context, cli_buffer_bytes(&body), at, &letter);
        if (args->set[OPT_DRY_RUN])
            cli_say(&context->output, "Would send %llu message%s with a body of %zu bytes to %s.",
                    (unsigned long long)count, count == 1 ? "" : "s", body.len, to);
        else
            code = send_all(context, cli_buffer_bytes(&letter), count);
    }
    cli_buffer_free(&body);
    cli_buffer_free(&letter);
    return code;
}
