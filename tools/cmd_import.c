/* cmd_import.c - `holdfast import FILE`: what an export wrote comes in.
 *
 * Happy path: the file is read twice: once to check every line and, while an engine has the
 * store, every type; then to send the messages, a batch at a time, each on disk before the
 * next. They get new ids. One without a word against duplicates gets one, made of the other
 * store and its old id, so that an import that was interrupted can be repeated within a day.
 *
 * Fails before it writes anything if a line is not what an export writes. Fails in the
 * middle: says how far it came; exit code 7, or 130 after Ctrl-C. One thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/json.h"
#include "tools/letter_flaw.h"
#include "tools/render.h"
#include "tools/times.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { BATCH = 500, BATCH_BYTES = 6 << 20, TYPES = 1024, DAY_MS = 24 * 3600 * 1000 };

typedef struct import_run {
    cli_context *context;
    FILE       *from;
    char       *line;
    size_t      room, len;
    uint64_t    number;      /* of the line */
    char        store[33];   /* where it comes from */
    uint64_t    at;          /* when it was written; 0: it does not say */
    uint64_t    limit, messages, skipped, promised, sent, known;
    bool        ended, writes;
    cli_buffer  types;       /* that were met, each with its zero */
    cli_buffer  letters;     /* of the batch */
    uint32_t    count;
} import_run;

static int wrong(const import_run *run, const char *why)
{
    cli_complain("line %llu: %s", (unsigned long long)run->number, why);
    return CLI_USAGE;
}

/* The next line without its end; false at the end of the file. */
static bool read_line(import_run *run)
{
    ssize_t len = getline(&run->line, &run->room, run->from);
    if (len < 0)
        return false;
    run->number++;
    run->len = (size_t)len;
    while (run->len > 0 && (run->line[run->len - 1] == '\n' || run->line[run->len - 1] == '\r'))
        run->line[--run->len] = 0;
    return true;
}

/* ---- One line */

/* How long the JSON value at the start of the text is; it is checked when it is read. */
static size_t span(hf_bytes text)
{
    const char *at = text.data;
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        if (quoted && at[i] == '\\')
            i++;
        else if (at[i] == '"')
            quoted = !quoted;
        else if (!quoted && (at[i] == '{' || at[i] == '['))
            depth++;
        else if (!quoted && (at[i] == '}' || at[i] == ']') && depth > 0)
            depth--;
        else if (!quoted && depth == 0 && (at[i] == ',' || at[i] == '}'))
            return i;
    }
    return text.len;
}

static bool take(hf_bytes *rest, const char *text)
{
    size_t len = strlen(text);
    if (rest->len < len || memcmp(rest->data, text, len) != 0)
        return false;
    *rest = hf_view((const char *)rest->data + len, rest->len - len);
    return true;
}

static hf_bytes take_value(hf_bytes *rest)
{
    size_t len = span(*rest);
    hf_bytes value = hf_view(rest->data, len);
    *rest = hf_view((const char *)rest->data + len, rest->len - len);
    return value;
}

typedef struct import_line {
    cli_buffer envelope, body, first;
    bool       has_first;
} import_line;

static void free_line(import_line *l)
{
    cli_buffer_free(&l->envelope);
    cli_buffer_free(&l->body);
    cli_buffer_free(&l->first);
}

static int parse_line(import_run *run, import_line *l)
{
    hf_bytes rest = hf_view(run->line, run->len);
    size_t at;
    const char *why = "it is not what an export writes";
    bool fine = take(&rest, "{\"message\":")
        && cli_json_pack(&l->envelope, take_value(&rest), &at, &why);
    if (fine && take(&rest, ",\"body\":"))
        fine = cli_json_body(&l->body, take_value(&rest), &at, &why);
    if (fine && take(&rest, ",\"first_body\":")) {
        l->has_first = true;
        fine = cli_json_body(&l->first, take_value(&rest), &at, &why);
    }
    if (fine && (rest.len != 1 || *(const char *)rest.data != '}')) {
        why = "it is not what an export writes";
        fine = false;
    }
    return fine ? CLI_OK : wrong(run, why);
}

/* A time of the envelope, 0 if it has none. */
static bool time_of(hf_bytes row, const char *name, uint64_t *ms)
{
    char text[CLI_TIME_ROOM + 1] = "";
    hf_bytes given = cli_field_text(row, name);
    *ms = 0;
    if (given.len == 0)
        return true;
    (void)snprintf(text, sizeof text, HF_FMT, HF_ARG(given));
    return cli_time_parse(text, ms);
}

static bool is_text(hf_bytes row, const char *name, const char *text)
{
    hf_bytes given = cli_field_text(row, name);
    return given.len == strlen(text) && memcmp(given.data, text, given.len) == 0;
}

static void put_text(cli_arguments *fields, hf_bytes row, const char *from, const char *name)
{
    hf_bytes text = cli_field_text(row, from);
    if (text.len == 0)
        return;
    fields->count++;
    cli_pack_text(&fields->pairs, name);
    cli_pack_str(&fields->pairs, text);
}

static void put_bin(cli_arguments *fields, const char *name, const cli_buffer *bytes)
{
    fields->count++;
    cli_pack_text(&fields->pairs, name);
    cli_pack_bin(&fields->pairs, bytes->len > 0 ? cli_buffer_bytes(bytes) : hf_str(""));
}

/* Times, tries and the word; false: a time that is none. */
static bool put_fate(import_run *run, cli_arguments *fields, hf_bytes row)
{
    uint64_t sent, due, retry, died, expires, now = cli_now_ms();
    cli_value err;
    if (!time_of(row, "sent", &sent) || !time_of(row, "due", &due)
        || !time_of(row, "retry", &retry) || !time_of(row, "died", &died)
        || !time_of(row, "expires", &expires))
        return false;
    /* Nobody here goes on with what was ending: it must not be handled once more. */
    bool dead = is_text(row, "status", "dead") || cli_field_bool(row, "ending");
    cli_argument_uint(fields, "sent", sent);
    cli_argument_uint(fields, "attempt", cli_field_uint(row, "attempt"));
    cli_argument_uint(fields, "urgency", cli_field_uint(row, "urgency"));
    if (cli_field(row, "err", &err)) {
        fields->count++;
        cli_pack_text(&fields->pairs, "err");
        cli_pack_int(&fields->pairs, err.kind == CLI_INT ? err.integer : (int64_t)err.number);
    } else if (dead) {
        fields->count++;
        cli_pack_text(&fields->pairs, "err");
        cli_pack_int(&fields->pairs, HF_EDEAD);
    }
    put_text(fields, row, "error", "error");
    if (dead)
        cli_argument_uint(fields, "died", died ? died : now);
    else if ((retry ? retry : due) > now)
        cli_argument_uint(fields, "at", retry ? retry : due);
    if (expires && !dead)
        cli_argument_uint(fields, "expires_ms", expires > now ? expires - now : 1);
    /* A word counts for a day; then its actor may have taken another letter under it. */
    bool counts = !run->at || sent + DAY_MS > run->at;
    if (counts && cli_field_text(row, "dedupe").len > 0) {
        put_text(fields, row, "dedupe", "dedupe");
    } else {
        char word[80];
        (void)snprintf(word, sizeof word, "import:%s:%llu", run->store,
                       (unsigned long long)cli_field_uint(row, "id"));
        cli_argument_text(fields, "dedupe", word);
    }
    return true;
}

static void note_type(import_run *run, hf_bytes actor)
{
    size_t len = 0;
    while (len < actor.len && ((const char *)actor.data)[len] != '/')
        len++;
    for (size_t at = 0; at < run->types.len; at += strlen((char *)run->types.data + at) + 1)
        if (strlen((char *)run->types.data + at) == len
            && memcmp(run->types.data + at, actor.data, len) == 0)
            return;
    cli_buffer_add(&run->types, actor.data, len);
    cli_buffer_byte(&run->types, 0);
}

static int send_batch(import_run *run)
{
    cli_arguments arguments = { .count = 1 };
    cli_buffer row = { 0 };
    if (run->count == 0)
        return CLI_OK;
    cli_pack_text(&arguments.pairs, "letters");
    cli_pack_array(&arguments.pairs, run->count);
    cli_buffer_add(&arguments.pairs, run->letters.data, run->letters.len);
    cli_argument_text(&arguments, "reason", cli_text(&run->context->args, OPT_REASON, NULL));
    int code = cli_change(run->context, "send", cli_arguments_whole(&arguments), &row);
    if (code == CLI_OK) {
        uint64_t known = cli_field_uint(cli_buffer_bytes(&row), "known");
        run->known += known;
        run->sent += run->count - known;
    }
    run->letters.len = run->count = 0;
    cli_arguments_free(&arguments);
    cli_buffer_free(&row);
    return code;
}

static int take_message(import_run *run)
{
    import_line l = { .has_first = false };
    cli_arguments fields = { 0 };
    int code = parse_line(run, &l);
    hf_bytes row = cli_buffer_bytes(&l.envelope), actor = cli_field_text(row, "actor");
    bool ours = code == CLI_OK && is_text(row, "cause", "ended"); /* nobody here waits for it */
    if (code == CLI_OK && (actor.len < 3 || memchr(actor.data, '/', actor.len) == NULL
                           || cli_field_uint(row, "id") == 0))
        code = wrong(run, "a message has an actor and an id");
    if (code == CLI_OK && ours) {
        run->skipped++;
    } else if (code == CLI_OK) {
        put_text(&fields, row, "actor", "to");
        put_text(&fields, row, "kind", "kind");
        put_text(&fields, row, "from", "from");
        put_bin(&fields, "body", &l.body);
        if (l.has_first)
            put_bin(&fields, "first_body", &l.first);
        if (!put_fate(run, &fields, row))
            code = wrong(run, "a time is not ISO-8601");
        note_type(run, actor);
        run->messages++;
    }
    hf_bytes whole = cli_arguments_whole(&fields);
    const char *flaw = code == CLI_OK && !ours ? cli_letter_flaw(whole) : NULL;
    if (flaw != NULL)
        code = wrong(run, flaw);
    if (code == CLI_OK && !ours && run->writes) {
        cli_buffer_add(&run->letters, whole.data, whole.len);
        run->count++;
    }
    cli_arguments_free(&fields);
    free_line(&l);
    return code;
}

/* ---- The file */

static int take_header(import_run *run)
{
    cli_buffer row = { 0 };
    size_t at;
    const char *why;
    int code = CLI_OK;
    if (!read_line(run) || !cli_json_pack(&row, hf_view(run->line, run->len), &at, &why)
        || cli_field_uint(cli_buffer_bytes(&row), "holdfast_export") == 0)
        code = wrong(run, "no export begins like this");
    hf_bytes head = cli_buffer_bytes(&row), store = cli_field_text(head, "store");
    if (code == CLI_OK && cli_field_uint(head, "holdfast_export") != 1) {
        cli_complain("the export has format %llu, this tool knows 1",
                     (unsigned long long)cli_field_uint(head, "holdfast_export"));
        code = CLI_FORMAT;
    }
    if (code == CLI_OK && store.len != 32)
        code = wrong(run, "the header does not name its store");
    if (code == CLI_OK && !time_of(head, "at", &run->at))
        code = wrong(run, "a time is not ISO-8601");
    if (code == CLI_OK)
        (void)snprintf(run->store, sizeof run->store, HF_FMT, HF_ARG(store));
    cli_buffer_free(&row);
    return code;
}

/* The line that ends it, or a message. */
static int take_line(import_run *run)
{
    static const char end[] = "{\"messages\":";
    if (run->ended)
        return wrong(run, "something stands behind the end");
    if (strncmp(run->line, end, sizeof end - 1) != 0)
        return take_message(run);
    char *stop;
    run->promised = strtoull(run->line + sizeof end - 1, &stop, 10);
    run->ended = true;
    return strcmp(stop, "}") == 0 ? CLI_OK : wrong(run, "it is not what an export writes");
}

static int walk(import_run *run)
{
    rewind(run->from);
    run->number = run->messages = run->skipped = 0;
    run->ended = false;
    int code = take_header(run);
    while (code == CLI_OK && !(run->writes && run->messages >= run->limit) && read_line(run)) {
        code = take_line(run);
        if (code == CLI_OK && (run->count >= BATCH || run->letters.len > BATCH_BYTES))
            code = send_batch(run);
        if (code == CLI_OK && cli_interrupted())
            code = CLI_INTERRUPTED;
    }
    if (code == CLI_OK && ferror(run->from)) {
        cli_complain("cannot read: %s", strerror(errno));
        code = CLI_FAILED;
    }
    bool all = !run->writes || run->messages < run->limit;
    if (code == CLI_OK && !run->ended && all)
        code = wrong(run, "the export was cut short: its last line is missing");
    else if (code == CLI_OK && !run->writes && run->messages + run->skipped != run->promised)
        code = wrong(run, "the export does not hold as many messages as it says");
    return code == CLI_OK ? send_batch(run) : code;
}

/* While an engine has the store: does it define them all? */
static int check_types(import_run *run)
{
    int code = CLI_OK;
    for (size_t at = 0; code == CLI_OK && at < run->types.len;) {
        const char *type = (const char *)run->types.data + at;
        cli_arguments arguments = { 0 };
        cli_buffer row = { 0 }, actor = { 0 };
        cli_value defined;
        cli_buffer_format(&actor, "%s/-", type);
        cli_buffer_byte(&actor, 0);
        cli_argument_text(&arguments, "actor", (const char *)actor.data);
        cli_argument_uint(&arguments, "limit", 0);
        code = cli_ask(run->context, "actor", cli_arguments_whole(&arguments), &row);
        if (code == CLI_OK && cli_field(cli_buffer_bytes(&row), "defined", &defined)
            && !defined.number) {
            cli_complain("the engine does not define the type '%s'; nothing was written", type);
            code = CLI_USAGE;
        }
        cli_arguments_free(&arguments);
        cli_buffer_free(&row);
        cli_buffer_free(&actor);
        at += strlen(type) + 1;
    }
    return code;
}

static void print_sums(import_run *run)
{
    static const cli_column sums[] = {
        { "imported", "imported", CLI_AS_ID }, { "known", "known", CLI_AS_ID },
        { "skipped", "skipped", CLI_AS_ID },
    };
    const uint64_t counts[] = { run->sent, run->known, run->skipped };
    cli_buffer row = { 0 };
    cli_pack_map(&row, 3);
    for (int i = 0; i < 3; i++) {
        cli_pack_text(&row, sums[i].field);
        cli_pack_uint(&row, counts[i]);
    }
    cli_record(&run->context->output, cli_buffer_bytes(&row), sums, 3);
    cli_buffer_free(&row);
}

static int import(import_run *run)
{
    int code = walk(run);
    if (code == CLI_OK)
        code = check_types(run);
    if (code != CLI_OK)
        return code;
    uint64_t all = run->messages < run->limit ? run->messages : run->limit;
    if (run->context->args.set[OPT_DRY_RUN]) {
        cli_say(&run->context->output, "Would import %llu. Nothing was done.",
                (unsigned long long)all);
        return CLI_OK;
    }
    run->writes = true;
    code = walk(run);
    print_sums(run);
    if (code == CLI_OK)
        return CLI_OK;
    cli_complain("stopped after %llu of %llu; run it again to go on",
                 (unsigned long long)(run->sent + run->known), (unsigned long long)all);
    return code != CLI_INTERRUPTED && run->sent + run->known > 0 ? CLI_PARTLY : code;
}

static FILE *copy_of(FILE *from)
{
    char part[65536];
    size_t len;
    FILE *copy = tmpfile();
    while (copy != NULL && (len = fread(part, 1, sizeof part, from)) > 0) {
        if (fwrite(part, 1, len, copy) != len) {
            (void)fclose(copy);
            copy = NULL;
        }
    }
    if (copy != NULL && (ferror(from) || fflush(copy) != 0)) {
        (void)fclose(copy);
        copy = NULL;
    }
    return copy;
}

/* What can be read only once, stdin or another pipe, is read twice by way of a file without
 * a name. */
static FILE *open_file(const char *file)
{
    struct stat about;
    if (strcmp(file, "-") == 0)
        return copy_of(stdin);
    FILE *from = fopen(file, "rbe");
    if (from == NULL || fstat(fileno(from), &about) != 0 || S_ISREG(about.st_mode))
        return from;
    FILE *copy = copy_of(from);
    int failed = errno;
    (void)fclose(from);
    errno = failed;
    return copy;
}

int cmd_import(cli_context *context)
{
    import_run run = { .context = context,
                       .limit = cli_number(&context->args, OPT_LIMIT, UINT64_MAX) };
    const char *file = context->args.operands[0];
    int code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    run.from = open_file(file);
    if (run.from == NULL) {
        code = errno == ENOENT ? CLI_NOT_FOUND : errno == EACCES ? CLI_REFUSED : CLI_FAILED;
        cli_complain("cannot read %s: %s", file, strerror(errno));
        return code;
    }
    code = import(&run);
    (void)fclose(run.from);
    free(run.line);
    cli_buffer_free(&run.types);
    cli_buffer_free(&run.letters);
    return code;
}
