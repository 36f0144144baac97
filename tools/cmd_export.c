/* cmd_export.c - `holdfast export`: messages with their bodies, as NDJSON.
 *
 * Happy path: a header line with the format and the store's uuid; page after page a line a
 * message, what `messages` tells, bodies as JSON without loss beside it; last a line that
 * counts them, so that a file that was cut short is known. A file is written beside its
 * name, synced, and renamed. Nothing matched: exit code 3, and no file. One thread. */
#include "tools/commands.h"
#include "tools/json.h"
#include "tools/render.h"
#include "tools/select.h"
#include "tools/times.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct export_run {
    cli_context *context;
    FILE        *to;
    cli_buffer   line;
    bool         failed;
} export_run;

static bool is_named(const cli_value *key, const char *name)
{
    return key->kind == CLI_STR && key->bytes.len == strlen(name)
        && memcmp(key->bytes.data, name, key->bytes.len) == 0;
}

/* The row without its bodies. */
static void put_envelope(cli_buffer *line, hf_bytes row)
{
    cli_buffer pairs = { 0 }, whole = { 0 };
    hf_bytes rest = row;
    cli_value map, key, value;
    uint32_t count = 0;
    (void)cli_next_head(&rest, &map);
    for (uint64_t i = 0; i < map.number; i++) {
        hf_bytes from = rest;
        if (!cli_next(&rest, &key) || !cli_next(&rest, &value))
            break;
        if (is_named(&key, "body") || is_named(&key, "first_body") || is_named(&key, "progress"))
            continue;
        cli_buffer_add(&pairs, from.data, from.len - rest.len);
        count++;
    }
    cli_pack_map(&whole, count);
    cli_buffer_add(&whole, pairs.data, pairs.len);
    (void)cli_render_row(line, cli_buffer_bytes(&whole));
    cli_buffer_free(&pairs);
    cli_buffer_free(&whole);
}

/* Would an import make the same bytes of it? Not if its msgpack is longer than it need be, or
 * has floats of 32 bits; or if it is none, and only looks like it. */
static bool comes_back(hf_bytes json, hf_bytes body)
{
    cli_buffer back = { 0 };
    size_t at;
    const char *why;
    bool same = cli_json_body(&back, json, &at, &why) && back.len == body.len
        && (body.len == 0 || memcmp(back.data, body.data, body.len) == 0);
    cli_buffer_free(&back);
    return same;
}

static void put_body(cli_buffer *line, hf_bytes row, const char *name)
{
    cli_value body;
    if (!cli_field(row, name, &body))
        return;
    cli_buffer_format(line, ",\"%s\":", name);
    size_t from = line->len;
    if (body.bytes.len > 0)
        cli_render_body(line, body.bytes);
    else
        cli_buffer_text(line, "{\"$text\":\"\"}");
    if (comes_back(hf_view(line->data + from, line->len - from), body.bytes))
        return;
    line->len = from;
    cli_buffer_text(line, "{\"$hex\":\"");
    cli_buffer_hex(line, body.bytes);
    cli_buffer_text(line, "\"}");
}

static int write_line(export_run *run)
{
    cli_buffer_byte(&run->line, '\n');
    run->failed = run->failed || fwrite(run->line.data, 1, run->line.len, run->to) != run->line.len;
    run->line.len = 0;
    return run->failed ? CLI_FAILED : HF_OK;
}

static int each_row(void *user, hf_bytes row)
{
    export_run *run = user;
    cli_buffer_text(&run->line, "{\"message\":");
    put_envelope(&run->line, row);
    put_body(&run->line, row, "body");
    put_body(&run->line, row, "first_body");
    cli_buffer_byte(&run->line, '}');
    return write_line(run);
}

static int write_header(export_run *run, const char *where)
{
    cli_buffer stats = { 0 };
    char now[CLI_TIME_ROOM];
    int code = cli_ask(run->context, "stats", hf_view(NULL, 0), &stats);
    (void)cli_time_iso(now, cli_now_ms());
    if (code == CLI_OK) {
        cli_buffer_format(&run->line,
                          "{\"holdfast_export\":1,\"store\":\"" HF_FMT "\",\"at\":\"%s\"",
                          HF_ARG(cli_field_text(cli_buffer_bytes(&stats), "uuid")), now);
        if (where != NULL) {
            cli_buffer_text(&run->line, ",\"where\":");
            cli_render_string(&run->line, hf_str(where));
        }
        cli_buffer_byte(&run->line, '}');
        code = write_line(run);
    }
    cli_buffer_free(&stats);
    return code;
}

static int export(export_run *run, const char *where, cli_selection *selection)
{
    int code = write_header(run, where);
    if (code == CLI_OK)
        code = cli_select(run->context, selection, each_row, run);
    if (code == CLI_OK) {
        cli_buffer_format(&run->line, "{\"messages\":%llu}", (unsigned long long)selection->told);
        code = write_line(run);
    }
    run->failed = run->failed || fflush(run->to) != 0
        || (run->to != stdout && fsync(fileno(run->to)) != 0);
    if (run->failed)
        cli_complain("cannot write: %s", strerror(errno));
    return run->failed ? CLI_FAILED : code;
}

static bool has_name(int fd, const char *name)
{
    struct stat held, there;
    return fstat(fd, &held) == 0 && stat(name, &there) == 0 && held.st_ino == there.st_ino
        && held.st_dev == there.st_dev;
}

/* One export at a time: two would write into each other's file. What another one renamed
 * before we had its lock is no part any more. */
static int open_part(const char *name, FILE **part)
{
    int fd, code = CLI_FAILED;
    while ((fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) >= 0) {
        bool locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
        if (!locked && errno == EWOULDBLOCK) {
            cli_complain("another export writes %s", name);
            (void)close(fd);
            return CLI_BUSY;
        }
        if (!locked || has_name(fd, name))
            break;
        (void)close(fd);
    }
    if (fd >= 0 && ftruncate(fd, 0) == 0 && (*part = fdopen(fd, "wb")) != NULL)
        return CLI_OK;
    if (errno == EACCES)
        code = CLI_REFUSED;
    cli_complain("cannot write %s: %s", name, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return code;
}

/* Into a file beside it, which gets its name when it is whole. */
static int export_file(export_run *run, const char *where, cli_selection *selection,
                       const char *file)
{
    cli_buffer part = { 0 };
    cli_buffer_format(&part, "%s.part", file);
    cli_buffer_byte(&part, 0);
    const char *name = (const char *)part.data;
    int code = open_part(name, &run->to);
    if (code == CLI_OK) {
        code = export(run, where, selection);
        if (code == CLI_OK && selection->told == 0)
            code = CLI_NOT_FOUND;
        if (code == CLI_OK && rename(name, file) != 0) {
            cli_complain("cannot write %s: %s", file, strerror(errno));
            code = CLI_FAILED;
        }
        if (code != CLI_OK)
            (void)unlink(name);
        (void)fclose(run->to); /* synced before; its lock goes with it */
    }
    cli_buffer_free(&part);
    return code;
}

int cmd_export(cli_context *context)
{
    export_run run = { .context = context, .to = stdout };
    const char *where, *file = cli_text(&context->args, OPT_OUTPUT, "-");
    cli_selection selection = { .bodies = true,
                                .limit = cli_number(&context->args, OPT_LIMIT, UINT64_MAX) };
    int code = cli_where(context, &where);
    if (code == CLI_OK && selection.limit == 0) {
        cli_complain("--limit is at least 1");
        code = CLI_USAGE;
    }
    if (code == CLI_OK)
        code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    selection.where = where;
    bool to_stdout = strcmp(file, "-") == 0;
    (void)cli_interrupted(); /* seen from now on: Ctrl-C leaves no part of a file */
    if (to_stdout)
        code = export(&run, where, &selection);
    else
        code = export_file(&run, where, &selection, file);
    cli_buffer_free(&run.line);
    if (code == CLI_OK || code == CLI_NOT_FOUND || code == CLI_INTERRUPTED)
        cli_say(&context->output, "%llu exported, %llu scanned%s.",
                (unsigned long long)selection.told, (unsigned long long)selection.scanned,
                code != CLI_INTERRUPTED ? "" : to_stdout
                ? ", interrupted: the file is not whole" : ", interrupted: nothing is left of it");
    return code == CLI_OK && selection.told == 0 ? CLI_NOT_FOUND : code;
}
