/* context.c - what commands share: the store, its errors, asking the user.
 *
 * Happy path: cli_store_open, questions or changes, and main closes what was
 * opened. Every failure is said once, on stderr, where it is found, and becomes
 * an exit code; commands only hand that code on. One thread. */
#include "tools/context.h"

#include "tools/astray.h"

#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAIT_MS = 5000 };

int cli_exit_code(int err)
{
    switch (err) {
    case HF_OK:
        return CLI_OK;
    case HF_ENOTFOUND:
        return CLI_NOT_FOUND;
    case HF_EBUSY:
        return CLI_BUSY;
    case HF_ECORRUPT:
        return CLI_CORRUPT;
    case HF_EVERSION:
        return CLI_FORMAT;
    case HF_EINVAL:
    case HF_ENOTYPE:
        return CLI_USAGE;
    default:
        return CLI_FAILED;
    }
}

static bool is_forbidden(int err, const char *detail)
{
    return err == HF_EIO && strstr(detail, strerror(EACCES)) != NULL;
}

int cli_exit_code_of(int err, const char *detail)
{
    if (err == HF_EINVAL) /* nothing can be made there */
        return strstr(detail, strerror(EACCES)) != NULL ? CLI_REFUSED : CLI_USAGE;
    return is_forbidden(err, detail) ? CLI_REFUSED : cli_exit_code(err);
}

static int no_permission(const char *path)
{
    struct stat about;
    const struct passwd *owner = stat(path, &about) == 0 ? getpwuid(about.st_uid) : NULL;
    if (owner != NULL)
        cli_complain("no permission for the store %s: it belongs to the user %s", path,
                     owner->pw_name);
    else
        cli_complain("no permission for the store %s", path);
    return CLI_REFUSED;
}

bool cli_detail_says_it(int err, const char *detail)
{
    return (err == HF_ENOTFOUND || err == HF_EINVAL) && *detail != 0;
}

int cli_store_failed(const cli_context *context, int err)
{
    const char *detail = hf_detail();
    if (context->path != NULL && is_forbidden(err, detail))
        return no_permission(context->path);
    bool named = context->path == NULL || strstr(detail, context->path) != NULL;
    bool plain = cli_detail_says_it(err, detail);
    cli_complain("%s%s%s%s%s", named ? "" : context->path, named ? "" : ": ",
                 plain ? "" : hf_strerror(err), plain || *detail == 0 ? "" : ": ", detail);
    if (err == HF_EBUSY)
        cli_say(&context->output, "Try again, or wait longer with --wait 30s.");
    if (err == HF_ECORRUPT)
        cli_say(&context->output,
                "Nothing was changed. Keep a copy of the store before you go on.");
    if (err == HF_EUNKNOWN)
        cli_say(&context->output, "Look before you repeat it: it may have been done.");
    return cli_exit_code(err);
}

/* -v: who answers. */
static int say_source(void *user, hf_bytes row)
{
    const cli_context *context = user;
    hf_bytes source = cli_field_text(row, "source");
    unsigned long long pid = cli_field_uint(row, "pid");
    if (pid == 0)
        cli_say(&context->output, "%s: no engine has it, read from disk", context->path);
    else if (source.len == 6)
        cli_say(&context->output, "%s: answered by its engine, process %llu", context->path, pid);
    else
        cli_say(&context->output, "%s: read from disk, process %llu has it but does not answer",
                context->path, pid);
    return HF_OK;
}

int cli_store_path(cli_context *context)
{
    context->path = cli_text(&context->args, OPT_STORE, getenv("HOLDFAST_STORE"));
    if (context->path != NULL && *context->path != 0)
        return CLI_OK;
    cli_complain("which store? Name it with -d DIR or in HOLDFAST_STORE");
    return CLI_USAGE;
}

int cli_store_open(cli_context *context)
{
    int code = cli_store_path(context);
    if (code != CLI_OK)
        return code;
    uint64_t wait_ms = cli_number(&context->args, OPT_WAIT, WAIT_MS);
    if (wait_ms > HF_NEVER)
        wait_ms = HF_NEVER;
    cli_astray_expect(CLI_CORRUPT, NULL);
    int err = hf_store_open(&context->store, context->path, (uint32_t)wait_ms);
    if (err == HF_OK && context->output.verbose)
        err = hf_query(context->store, "stats", hf_view(NULL, 0), say_source, context);
    if (err == HF_EINVAL) { /* something else lies there: a wrong path, not a wrong option */
        (void)cli_store_failed(context, err);
        return CLI_NOT_FOUND;
    }
    return err == HF_OK ? CLI_OK : cli_store_failed(context, err);
}

int cli_where(const cli_context *context, const char **where)
{
    size_t column = 0;
    *where = cli_text(&context->args, OPT_WHERE, NULL);
    if (*where == NULL)
        return CLI_OK;
    int err = hf_where_check(*where, &column);
    if (err == HF_OK)
        return CLI_OK;
    if (err != HF_EINVAL)
        return cli_store_failed(context, err);
    cli_complain("--where: %s", hf_detail());
    int before = (int)cli_utf8_width(hf_view(*where, column));
    fprintf(stderr, "  %s\n  %*s^\n", *where, before, "");
    return CLI_USAGE;
}

int cli_keep_row(void *user, hf_bytes row)
{
    cli_buffer *kept = user;
    kept->len = 0;
    cli_buffer_add(kept, row.data, row.len);
    return HF_OK;
}

int cli_ask(cli_context *context, const char *question, hf_bytes arguments, cli_buffer *row)
{
    int err = hf_query(context->store, question, arguments, cli_keep_row, row);
    return err == HF_OK ? CLI_OK : cli_store_failed(context, err);
}

static int gather_row(void *user, hf_bytes row)
{
    cli_buffer *rows = user;
    cli_buffer_add(rows, row.data, row.len);
    return cli_interrupted() ? CLI_INTERRUPTED : HF_OK;
}

int cli_ask_rows(cli_context *context, const char *question, hf_bytes arguments, hf_row_fn each,
                 void *user)
{
    cli_buffer rows = { 0 };
    cli_value value;
    int told = HF_OK, err = hf_query(context->store, question, arguments, gather_row, &rows);
    hf_bytes rest = cli_buffer_bytes(&rows), from = rest;
    while (told == HF_OK && rest.len > 0 && cli_next(&rest, &value)) {
        told = each(user, hf_view(from.data, from.len - rest.len));
        from = rest;
    }
    cli_buffer_free(&rows);
    return told != HF_OK ? told : err;
}

int cli_change(cli_context *context, const char *change, hf_bytes arguments, cli_buffer *row)
{
    int err = hf_change(context->store, change, arguments, cli_keep_row, row);
    return err == HF_OK ? CLI_OK : cli_store_failed(context, err);
}

void cli_argument_text(cli_arguments *arguments, const char *name, const char *text)
{
    if (text == NULL)
        return;
    arguments->count++;
    cli_pack_text(&arguments->pairs, name);
    cli_pack_text(&arguments->pairs, text);
}

void cli_argument_uint(cli_arguments *arguments, const char *name, uint64_t number)
{
    arguments->count++;
    cli_pack_text(&arguments->pairs, name);
    cli_pack_uint(&arguments->pairs, number);
}

void cli_argument_bool(cli_arguments *arguments, const char *name, bool value)
{
    arguments->count++;
    cli_pack_text(&arguments->pairs, name);
    cli_pack_bool(&arguments->pairs, value);
}

hf_bytes cli_arguments_whole(cli_arguments *arguments)
{
    arguments->whole.len = 0;
    cli_pack_map(&arguments->whole, arguments->count);
    cli_buffer_add(&arguments->whole, arguments->pairs.data, arguments->pairs.len);
    return cli_buffer_bytes(&arguments->whole);
}

void cli_arguments_free(cli_arguments *arguments)
{
    cli_buffer_free(&arguments->pairs);
    cli_buffer_free(&arguments->whole);
}

bool cli_id(const char *text, uint64_t *id)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != 0 || errno != 0) {
        cli_complain("an id is a number, not '%s'", text);
        return false;
    }
    *id = value;
    return true;
}

/* ---- Ctrl-C */

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

bool cli_interrupted(void)
{
    static bool armed;
    if (!armed) {
        /* Once armed the first Ctrl-C asks to end, the second one ends. */
        struct sigaction action = { .sa_handler = interrupt };
        action.sa_flags = (int)SA_RESETHAND;
        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        armed = true;
    }
    return interrupted != 0;
}

/* False: Ctrl-C came first, also when it came just before we began to wait. */
static bool wait_for_typing(void)
{
    struct pollfd what = { .fd = STDIN_FILENO, .events = POLLIN };
    sigset_t ends, before;
    int ready = -1;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGINT);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ends, &before);
    while (ready < 0 && !cli_interrupted()) {
        ready = ppoll(&what, 1, NULL, &before);
        if (ready < 0 && errno != EINTR)
            break;
    }
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return ready > 0;
}

int cli_confirm(const cli_context *context, const char *question)
{
    if (context->args.set[OPT_YES])
        return CLI_OK;
    if (context->args.set[OPT_NO_INPUT] || isatty(STDIN_FILENO) != 1) {
        cli_complain("%s Say --yes to do it without being asked", question);
        return CLI_REFUSED;
    }
    fprintf(stderr, "%s [y/N] ", question);
    bool typed = wait_for_typing();
    int answer = typed ? getchar() : EOF;
    if (cli_interrupted()) {
        (void)fputc('\n', stderr);
        cli_complain("nothing was done");
        return CLI_INTERRUPTED;
    }
    if (answer == 'y' || answer == 'Y')
        return CLI_OK;
    cli_complain("nothing was done");
    return CLI_REFUSED;
}
