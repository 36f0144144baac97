/* cmd_actor.c - `holdfast actor TYPE/KEY`: one actor, and why it does not go on.
 *
 * Asks `actor` and puts its `why` into a sentence. An actor of which nothing is
 * known: exit code 3. One thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/render.h"
#include "tools/times.h"

static const cli_column fields[] = {
    { "actor", "actor", CLI_AS_TEXT },        { "state", "state", CLI_AS_BODY },
    { "version", "state_version", CLI_AS_ID }, { "dirty", "dirty", CLI_AS_TEXT },
    { "resident", "resident", CLI_AS_TEXT },
    { "waiting", "waiting", CLI_AS_COUNT },   { "running", "running", CLI_AS_COUNT },
    { "retrying", "retrying", CLI_AS_COUNT }, { "delayed", "delayed", CLI_AS_COUNT },
    { "held", "held", CLI_AS_COUNT },         { "paused", "paused", CLI_AS_COUNT },
    { "dead", "dead", CLI_AS_COUNT },         { "oldest", "oldest", CLI_AS_TIME },
    { "progress", "progress", CLI_AS_BODY },
};

static const cli_column plain_fields[] = {
    { "why", "why", CLI_AS_TEXT },     { "since", "since", CLI_AS_TIME },
    { "until", "until", CLI_AS_TIME }, { "reason", "reason", CLI_AS_TEXT },
    { "id", "id", CLI_AS_ID },
};

static const cli_column messages[] = {
    { "ID", "id", CLI_AS_ID },         { "STATUS", "status", CLI_AS_TEXT },
    { "KIND", "kind", CLI_AS_TEXT },   { "TRIES", "attempt", CLI_AS_ID },
    { "SENT", "sent", CLI_AS_TIME },   { "DUE", "due", CLI_AS_TIME },
    { "RETRY", "retry", CLI_AS_TIME }, { "ERROR", "error", CLI_AS_TEXT },
};

static const cli_column alarms[] = {
    { "ALARM", "name", CLI_AS_TEXT },
    { "DUE", "due", CLI_AS_TIME },
};

static const cli_column schedules[] = {
    { "SCHEDULE", "name", CLI_AS_TEXT },
    { "WHEN", "schedule", CLI_AS_TEXT },
    { "DUE", "due", CLI_AS_TIME },
};

static const cli_column topics[] = {
    { "TOPIC", "topic", CLI_AS_TEXT },
};

static const cli_column rows[] = {
    { "ROW", "key", CLI_AS_BODY },
    { "SIZE", "value_bytes", CLI_AS_BYTES },
    { "VALUE", "value", CLI_AS_BODY },
};

static const cli_column pauses[] = {
    { "CHANGE", "change", CLI_AS_TEXT }, { "OF", "what", CLI_AS_TEXT },
    { "AT", "at", CLI_AS_TIME },         { "USER", "user", CLI_AS_TEXT },
    { "UID", "uid", CLI_AS_ID },         { "REASON", "reason", CLI_AS_TEXT },
};

/* {s} since, {u} until, {i} message, {r} reason, {w} with whom it is paused, {p} by which name */
static const struct {
    const char *why, *sentence;
} sentences[] = {
    { "nothing", "Nothing waits." },
    { "delayed", "All that waits is not yet due: it goes on {u}." },
    { "ready", "It goes on as soon as a thread is free." },
    { "running", "Message {i} runs, since {s}." },
    { "stuck", "Message {i} runs since {s}, longer than its type's stuck_ms." },
    { "retry", "Message {i} failed ({r}): it is tried again {u}." },
    { "paused", "Paused{w} since {s}: {r}. `holdfast resume {p}` lets it go on." },
    { "strike", "Message {i} killed the process: it runs again, alone, {u}." },
    { "suspect", "Message {i} may have killed the process: it waits to run alone." },
    { "breaker", "The breaker of its type is open until {u}: its messages are held." },
    { "rate", "Its type has had all the turns of its rate: its messages are held, until {u}." },
    { "undefined", "The engine defines no such type: its messages are held." },
    { "damaged", "Paused, because data of it is damaged: {r}." },
    { "full", "No room on the disk or in the store to commit its turn." },
    { "stopped", "No engine has the store open." },
};

static void fill_in(cli_buffer *to, hf_bytes row, char what, uint64_t now)
{
    char text[CLI_TIME_ROOM];
    hf_bytes reason = cli_field_text(row, "reason");
    hf_bytes paused = cli_field_text(cli_field_map(row, "pause"), "what");
    switch (what) {
    case 's':
    case 'u':
        cli_time_relative(text, cli_field_uint(row, what == 's' ? "since" : "until"), now);
        cli_buffer_text(to, text);
        break;
    case 'i':
        cli_buffer_format(to, "%llu", (unsigned long long)cli_field_uint(row, "id"));
        break;
    case 'w':
        if (paused.len == 0)
            cli_buffer_text(to, " with everything");
        else if (memchr(paused.data, '/', paused.len) == NULL)
            cli_buffer_text(to, " with its type");
        break;
    case 'p':
        cli_render_safe(to, paused.len > 0 ? paused : hf_str("--all"));
        break;
    default:
        cli_render_safe(to, reason.len > 0 ? reason : hf_str("no reason given"));
    }
}

static void print_why(const cli_context *context, hf_bytes row)
{
    hf_bytes why = cli_field_text(row, "why");
    size_t count = sizeof sentences / sizeof *sentences, i = 0;
    while (i < count
           && (strlen(sentences[i].why) != why.len
               || memcmp(sentences[i].why, why.data, why.len) != 0))
        i++;
    cli_buffer line = { 0 };
    if (i == count)
        cli_render_safe(&line, why);
    for (const char *at = i == count ? "" : sentences[i].sentence; *at != 0; at++) {
        if (at[0] == '{' && at[1] != 0 && at[2] == '}') {
            fill_in(&line, row, at[1], context->output.now);
            at += 2;
        } else {
            cli_buffer_byte(&line, (uint8_t)*at);
        }
    }
    printf("\n" HF_FMT "\n", HF_ARG(line.data != NULL ? cli_buffer_bytes(&line) : hf_str("")));
    cli_buffer_free(&line);
}

/* What to do about it, where there is something. */
static void say_next(const cli_context *context, hf_bytes row)
{
    const cli_output *output = &context->output;
    hf_bytes why = cli_field_text(row, "why"), type = cli_field_text(row, "type");
    unsigned long long id = cli_field_uint(row, "id");
    char word[16];
    (void)snprintf(word, sizeof word, HF_FMT, HF_ARG(why));
    if (strcmp(word, "nothing") == 0 && cli_field_uint(row, "dead") > 0)
        cli_say(output, "`holdfast show ID` tells why it died; once that is mended "
                        "`holdfast requeue ID` sends it again.");
    else if (strcmp(word, "retry") == 0)
        cli_say(output,
                "`holdfast show %llu` tells all of it, `holdfast requeue %llu` tries it now.", id,
                id);
    else if (strcmp(word, "running") == 0 || strcmp(word, "stuck") == 0)
        cli_say(output,
                "`holdfast show %llu` tells how far it is, `holdfast cancel %llu` asks it to "
                "stop.",
                id, id);
    else if (strcmp(word, "breaker") == 0)
        cli_say(output,
                "`holdfast ls errors` says what fails; `holdfast resume " HF_FMT "` closes the "
                "breaker.",
                HF_ARG(type));
}

static void print_actor(cli_context *context, hf_bytes row)
{
    size_t message_columns = sizeof messages / sizeof *messages;
    cli_output *output = &context->output;
    cli_record(output, row, fields, sizeof fields / sizeof *fields);
    if (output->format == CLI_PLAIN)
        cli_record(output, row, plain_fields, sizeof plain_fields / sizeof *plain_fields);
    if (output->format != CLI_TABLE)
        return;
    print_why(context, row);
    cli_sublist(output, row, "inbox", "Inbox, next first", messages, message_columns);
    cli_sublist(output, row, "dead_letters", "Dead, newest first", messages, message_columns);
    cli_sublist(output, row, "alarms", "Alarms", alarms, sizeof alarms / sizeof *alarms);
    cli_sublist(output, row, "rows",
                cli_field_bool(row, "rows_more") ? "Its rows, the first ones" : "Its rows", rows,
                sizeof rows / sizeof *rows);
    cli_sublist(output, row, "schedules", "Schedules", schedules,
                sizeof schedules / sizeof *schedules);
    cli_sublist(output, row, "topics", "Subscribed to", topics, sizeof topics / sizeof *topics);
    cli_sublist(output, row, "pauses", "Paused and resumed by operators", pauses,
                sizeof pauses / sizeof *pauses);
    say_next(context, row);
}

int cmd_actor(cli_context *context)
{
    const char *actor = context->args.operands[0];
    if (strchr(actor, '/') == NULL) {
        cli_complain("an actor is TYPE/KEY, such as order/42, not '%s'", actor);
        return CLI_USAGE;
    }
    int code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    cli_arguments arguments = { 0 };
    cli_buffer row = { 0 };
    cli_argument_text(&arguments, "actor", actor);
    if (context->args.set[OPT_LIMIT])
        cli_argument_uint(&arguments, "limit", context->args.number[OPT_LIMIT]);
    code = cli_ask(context, "actor", cli_arguments_whole(&arguments), &row);
    if (code == CLI_OK && !cli_field_bool(cli_buffer_bytes(&row), "known")) {
        cli_complain("nothing is known of %s", actor);
        code = CLI_NOT_FOUND;
    } else if (code == CLI_OK) {
        print_actor(context, cli_buffer_bytes(&row));
    }
    cli_buffer_free(&row);
    cli_arguments_free(&arguments);
    return code;
}
