/* cmd_show.c - `holdfast show ID`: everything about one message.
 *
 * Asks `message`. Unknown, or done and no longer known: exit code 3. One thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/pack.h"

static const cli_column fields[] = {
    { "id", "id", CLI_AS_ID },
    { "key", "key", CLI_AS_TEXT },
    { "actor", "actor", CLI_AS_TEXT },
    { "from", "from", CLI_AS_TEXT },
    { "kind", "kind", CLI_AS_TEXT },
    { "cause", "cause", CLI_AS_TEXT },
    { "status", "status", CLI_AS_TEXT },
    { "attempt", "attempt", CLI_AS_ID },
    { "strikes", "strikes", CLI_AS_ID },
    { "sent", "sent", CLI_AS_TIME },
    { "due", "due", CLI_AS_TIME },
    { "expires", "expires", CLI_AS_TIME },
    { "retry", "retry", CLI_AS_TIME },
    { "died", "died", CLI_AS_TIME },
    { "ended", "ended", CLI_AS_TIME },
    { "purged", "purged", CLI_AS_TEXT },
    { "code", "err", CLI_AS_ID },
    { "error", "error", CLI_AS_TEXT },
    { "urgency", "urgency", CLI_AS_ID },
    { "replaced", "replaced", CLI_AS_ID },
    { "dedupe", "dedupe", CLI_AS_TEXT },
    { "joined", "joined", CLI_AS_ID },
    { "lost", "lost", CLI_AS_ID },
    { "answer", "answer", CLI_AS_TEXT },
    { "about", "about", CLI_AS_ID },
    { "asked", "asked", CLI_AS_TEXT },
    { "progress", "progress", CLI_AS_BODY },
    { "sent more", "children_more", CLI_AS_COUNT },
    { "size", "body_bytes", CLI_AS_BYTES },
    { "body", "body", CLI_AS_BODY },
    { "first body", "first_body", CLI_AS_BODY },
};

static const cli_column attempts[] = {
    { "ATTEMPT AT", "at", CLI_AS_TIME },
    { "TOOK MS", "took_ms", CLI_AS_ID },
    { "CODE", "err", CLI_AS_ID },
    { "ERROR", "error", CLI_AS_TEXT },
};

static const cli_column steps[] = {
    { "STEP", "name", CLI_AS_TEXT },
    { "UNDONE", "undone", CLI_AS_TEXT },
    { "RESULT", "result", CLI_AS_BODY },
};

static const cli_column changes[] = {
    { "CHANGE", "change", CLI_AS_TEXT },
    { "AT", "at", CLI_AS_TIME },
    { "USER", "user", CLI_AS_TEXT },
    { "UID", "uid", CLI_AS_ID },
    { "REASON", "reason", CLI_AS_TEXT },
};

static const cli_column kin[] = {
    { "ID", "id", CLI_AS_ID },
    { "ACTOR", "actor", CLI_AS_TEXT },
    { "KIND", "kind", CLI_AS_TEXT },
    { "STATUS", "status", CLI_AS_TEXT },
    { "SENT", "sent", CLI_AS_TIME },
};

static const struct {
    const char *name, *title;
    const cli_column *columns;
    size_t count;
} lists[] = {
    { "attempts", "Attempts", attempts, sizeof attempts / sizeof *attempts },
    { "steps", "Steps", steps, sizeof steps / sizeof *steps },
    { "changes", "Changed by operators", changes, sizeof changes / sizeof *changes },
    { "parents", "Caused by", kin, sizeof kin / sizeof *kin },
    { "children", "Sent", kin, sizeof kin / sizeof *kin },
};

/* What to do about it, where there is something. */
static void say_next(const cli_context *context, hf_bytes row, unsigned long long id)
{
    const cli_output *output = &context->output;
    hf_bytes status = cli_field_text(row, "status"), actor = cli_field_text(row, "actor");
    char word[16];
    (void)snprintf(word, sizeof word, HF_FMT, HF_ARG(status));
    if (strcmp(word, "dead") == 0)
        cli_say(output, "Once what killed it is mended `holdfast requeue %llu` sends it again; "
                        "`holdfast edit %llu` gives it another body, `holdfast purge %llu` ends it.",
                id, id, id);
    else if (strcmp(word, "retrying") == 0)
        cli_say(output,
                "`holdfast requeue %llu` tries it now, `holdfast edit %llu` gives it another "
                "body, `holdfast cancel %llu` makes it dead.",
                id, id, id);
    else if (strcmp(word, "running") == 0)
        cli_say(output, "`holdfast cancel %llu` asks it to stop.", id);
    else if (strcmp(word, "done") != 0)
        cli_say(output, "`holdfast actor " HF_FMT "` says what it waits for.", HF_ARG(actor));
}

/* Of a step without a result nobody knows whether it was done. */
static bool has_open_step(hf_bytes row)
{
    hf_bytes list = cli_field_list(row, "steps");
    cli_value step, result;
    for (hf_bytes from = list; cli_next(&list, &step); from = list)
        if (!cli_field(hf_view(from.data, from.len - list.len), "result", &result))
            return true;
    return false;
}

static void print_lists(cli_context *context, hf_bytes message)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        cli_sublist(&context->output, message, lists[i].name, lists[i].title, lists[i].columns,
                    lists[i].count);
    if (has_open_step(message))
        cli_say(&context->output, "A step without a result was begun; whether it was done is not "
                                  "known.");
}

int cmd_show(cli_context *context)
{
    uint64_t id;
    if (!cli_id(context->args.operands[0], &id))
        return CLI_USAGE;
    int code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    cli_arguments arguments = { 0 };
    cli_buffer row = { 0 };
    cli_argument_uint(&arguments, "id", id);
    code = cli_ask(context, "message", cli_arguments_whole(&arguments), &row);
    if (code == CLI_OK) {
        hf_bytes message = cli_buffer_bytes(&row);
        cli_record(&context->output, message, fields, sizeof fields / sizeof *fields);
        if (context->output.format == CLI_TABLE) {
            print_lists(context, message);
            say_next(context, message, id);
        }
    }
    cli_buffer_free(&row);
    cli_arguments_free(&arguments);
    return code;
}
