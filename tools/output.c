/* output.c - rows as a table, as JSON, as NDJSON or with tabs.
 *
 * Happy path: a command asks a question and hands each row here; columns say
 * which fields a person sees, machines get the whole row. A table holds its
 * first rows back until the widths are known, then streams, so a list of any
 * length needs little memory. Fails only when stdout does: cli_output_flush.
 * One thread. */
#include "tools/output.h"
#include "tools/render.h"
#include "tools/times.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS_HELD = 500, BODY_WIDTH = 60 };

static bool wants_color(const cli_args *args)
{
    const char *when = cli_text(args, OPT_COLOR, "auto");
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    if (strcmp(when, "never") == 0)
        return false;
    if (no_color != NULL && *no_color != 0)
        return false;
    if (term != NULL && strcmp(term, "dumb") == 0)
        return false;
    return strcmp(when, "always") == 0 || isatty(STDOUT_FILENO) == 1;
}

void cli_output_init(cli_output *output, const cli_args *args)
{
    *output = (cli_output){ .format = CLI_TABLE, .now = cli_now_ms() };
    if (args->set[OPT_JSON])
        output->format = CLI_JSON;
    else if (args->set[OPT_NDJSON])
        output->format = CLI_NDJSON;
    else if (args->set[OPT_PLAIN])
        output->format = CLI_PLAIN;
    output->quiet = args->set[OPT_QUIET];
    output->verbose = args->set[OPT_VERBOSE];
    output->color = output->format == CLI_TABLE && wants_color(args);
}

/* ---- Cells */

static void cell_time(cli_buffer *to, uint64_t ms, bool human, uint64_t now)
{
    char text[CLI_TIME_ROOM];
    if (human)
        cli_time_relative(text, ms, now);
    else if (!cli_time_iso(text, ms))
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)ms);
    cli_buffer_text(to, text);
}

static void cell_bytes(cli_buffer *to, uint64_t bytes, bool human)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    size_t unit = 0;
    double size = (double)bytes;
    while (human && size >= 1024 && unit < 6) {
        size /= 1024;
        unit++;
    }
    if (!human || unit == 0)
        cli_buffer_format(to, "%llu%s", (unsigned long long)bytes, human ? " B" : "");
    else
        cli_buffer_format(to, "%.1f %s", size, units[unit]);
}

static void cell_pause(cli_buffer *to, hf_bytes row, const char *field, bool human, uint64_t now)
{
    hf_bytes pause = cli_field_map(row, field);
    if (pause.len == 0)
        return;
    hf_bytes what = cli_field_text(pause, "what"), reason = cli_field_text(pause, "reason");
    cell_time(to, cli_field_uint(pause, "since"), human, now);
    if (what.len == 0)
        cli_buffer_text(to, " with everything");
    if (reason.len > 0)
        cli_buffer_text(to, ": ");
    cli_render_safe(to, reason);
}

/* Any value as it is: text bare, the rest JSON. */
static void cell_any(cli_buffer *to, const cli_value *value, hf_bytes row, const char *field)
{
    if (value->kind == CLI_STR) {
        cli_render_safe(to, value->bytes);
    } else if (value->kind == CLI_MAP) {
        (void)cli_render_row(to, cli_field_map(row, field));
    } else if (value->kind == CLI_ARRAY) {
        cli_buffer list = { 0 };
        cli_pack_array(&list, (uint32_t)value->number);
        cli_buffer_add(&list, value->bytes.data, value->bytes.len);
        (void)cli_render_row(to, cli_buffer_bytes(&list));
        cli_buffer_free(&list);
    } else if (value->kind == CLI_UINT) {
        cli_buffer_format(to, "%llu", (unsigned long long)value->number);
    } else if (value->kind == CLI_INT) {
        cli_buffer_format(to, "%lld", (long long)value->integer);
    } else if (value->kind == CLI_REAL) {
        cli_buffer_format(to, "%.10g", value->real);
    } else if (value->kind == CLI_BOOL) {
        cli_buffer_text(to, value->number ? "yes" : "no");
    } else if (value->kind == CLI_BIN) {
        cli_render_readable(to, value->bytes);
    }
}

void cli_cell(cli_buffer *to, hf_bytes row, const cli_column *column, bool human, uint64_t now)
{
    cli_value value;
    if (!cli_field(row, column->field, &value))
        return;
    bool number = value.kind == CLI_UINT;
    if (column->look == CLI_AS_TIME && number)
        cell_time(to, value.number, human, now);
    else if (column->look == CLI_AS_BYTES && number)
        cell_bytes(to, value.number, human);
    else if (column->look == CLI_AS_PAUSE)
        cell_pause(to, row, column->field, human, now);
    else if (column->look == CLI_AS_COUNT && number && human && value.number == 0)
        cli_buffer_text(to, "-");
    else
        cell_any(to, &value, row, column->field);
}

/* ---- Tables */

static bool to_the_right(const cli_column *column)
{
    return column->look == CLI_AS_COUNT || column->look == CLI_AS_ID
           || column->look == CLI_AS_BYTES;
}

static void paint(const cli_output *output, const char *code)
{
    if (output->color)
        fputs(code, stdout);
}

static void spaces(size_t count)
{
    printf("%*s", (int)count, "");
}

static const char *color_of(const cli_output *output, size_t column, hf_bytes text)
{
    static const struct {
        const char *word, *code;
    } colors[] = {
        { "dead", "\033[31m" },   { "retrying", "\033[33m" }, { "held", "\033[33m" },
        { "paused", "\033[36m" }, { "running", "\033[32m" },
    };
    if (!output->color || strcmp(output->columns[column].field, "status") != 0)
        return NULL;
    for (size_t i = 0; i < sizeof colors / sizeof *colors; i++) {
        if (text.len == strlen(colors[i].word) && memcmp(text.data, colors[i].word, text.len) == 0)
            return colors[i].code;
    }
    return NULL;
}

static void print_cell(const cli_output *output, size_t column, hf_bytes text)
{
    size_t width = cli_utf8_width(text);
    size_t pad = output->widths[column] > width ? output->widths[column] - width : 0;
    bool last = column + 1 == output->column_count;
    const char *color = color_of(output, column, text);
    if (column > 0)
        fputs("  ", stdout);
    if (to_the_right(&output->columns[column]))
        spaces(pad);
    if (color != NULL)
        fputs(color, stdout);
    if (text.len > 0)
        (void)fwrite(text.data, 1, text.len, stdout);
    if (color != NULL)
        fputs("\033[0m", stdout);
    if (!to_the_right(&output->columns[column]) && !last)
        spaces(pad);
}

static void print_head(cli_output *output)
{
    output->headed = true;
    paint(output, "\033[1m");
    for (size_t i = 0; i < output->column_count; i++)
        print_cell(output, i, hf_str(output->columns[i].title));
    paint(output, "\033[0m");
    fputc('\n', stdout);
}

/* Print and forget the rows held back. */
static void release(cli_output *output)
{
    if (!output->headed)
        print_head(output);
    for (size_t i = 0; i < output->cell_count; i++) {
        print_cell(output, i % output->column_count, cli_buffer_bytes(&output->cells[i]));
        if ((i + 1) % output->column_count == 0)
            fputc('\n', stdout);
        cli_buffer_free(&output->cells[i]);
    }
    output->cell_count = 0;
}

/* A body in a table is a hint, not the whole. */
static void shorten(cli_buffer *cell)
{
    if (cli_utf8_width(cli_buffer_bytes(cell)) <= BODY_WIDTH)
        return;
    size_t width = 0, at = 0;
    while (at < cell->len && width < BODY_WIDTH) {
        at++;
        while (at < cell->len && (cell->data[at] & 0xc0) == 0x80)
            at++;
        width++;
    }
    cell->len = at;
    cli_buffer_text(cell, "…");
}

static void table_row(cli_output *output, hf_bytes row)
{
    for (size_t i = 0; i < output->column_count; i++) {
        cli_buffer *cell = &output->cells[output->cell_count++];
        *cell = (cli_buffer){ 0 };
        cli_cell(cell, row, &output->columns[i], true, output->now);
        if (output->columns[i].look == CLI_AS_BODY)
            shorten(cell);
        size_t width = cli_utf8_width(cli_buffer_bytes(cell));
        if (!output->headed && width > output->widths[i])
            output->widths[i] = width;
    }
    if (output->headed || output->row_count >= ROWS_HELD)
        release(output);
}

static void print_buffer(cli_buffer *buffer)
{
    if (buffer->len > 0)
        (void)fwrite(buffer->data, 1, buffer->len, stdout);
    cli_buffer_free(buffer);
}

static void print_row(hf_bytes row)
{
    cli_buffer json = { 0 };
    if (!cli_render_row(&json, row))
        cli_complain("an answer was not valid msgpack and is left out");
    print_buffer(&json);
}

static void plain_row(cli_output *output, hf_bytes row)
{
    cli_buffer line = { 0 };
    for (size_t i = 0; i < output->column_count; i++) {
        if (i > 0)
            cli_buffer_byte(&line, '\t');
        cli_cell(&line, row, &output->columns[i], false, output->now);
    }
    cli_buffer_byte(&line, '\n');
    print_buffer(&line);
}

void cli_list_begin(cli_output *output, const char *name, const cli_column *columns,
                    size_t count)
{
    output->columns = columns;
    output->column_count = count;
    output->row_count = output->cell_count = 0;
    output->headed = false;
    if (output->format == CLI_JSON)
        printf("{\"%s\":[", name);
    if (output->format != CLI_TABLE)
        return;
    output->widths = cli_alloc(count * sizeof *output->widths);
    output->cells = cli_alloc(count * (ROWS_HELD + 1) * sizeof *output->cells);
    for (size_t i = 0; i < count; i++)
        output->widths[i] = cli_utf8_width(hf_str(columns[i].title));
}

void cli_list_row(cli_output *output, hf_bytes row)
{
    output->row_count++;
    switch (output->format) {
    case CLI_TABLE:
        table_row(output, row);
        break;
    case CLI_PLAIN:
        plain_row(output, row);
        break;
    case CLI_JSON:
        fputs(output->row_count > 1 ? ",\n " : "\n ", stdout);
        print_row(row);
        break;
    case CLI_NDJSON:
        print_row(row);
        fputc('\n', stdout);
        break;
    }
}

/* The summary's fields beside the rows: {"x":[…],"scanned":5}. */
static void json_tail(hf_bytes summary)
{
    cli_buffer json = { 0 };
    fputs("\n]", stdout);
    if (summary.data != NULL && cli_render_row(&json, summary) && json.len > 2) {
        fputc(',', stdout);
        (void)fwrite(json.data + 1, 1, json.len - 1, stdout);
        fputc('\n', stdout);
    } else {
        fputs("}\n", stdout);
    }
    cli_buffer_free(&json);
}

void cli_list_end(cli_output *output, hf_bytes summary)
{
    if (output->format == CLI_JSON)
        json_tail(summary);
    if (output->format != CLI_TABLE)
        return;
    if (output->row_count > 0)
        release(output);
    free(output->widths);
    free(output->cells);
    output->widths = NULL;
    output->cells = NULL;
}

static void record_line(cli_output *output, hf_bytes row, const cli_column *column, size_t width)
{
    cli_buffer cell = { 0 };
    bool human = output->format == CLI_TABLE;
    cli_cell(&cell, row, column, human, output->now);
    if (cell.len > 0 && human) {
        paint(output, "\033[1m");
        fputs(column->title, stdout);
        paint(output, "\033[0m");
        spaces(width - cli_utf8_width(hf_str(column->title)) + 2);
    } else if (cell.len > 0) {
        printf("%s\t", column->field);
    }
    if (cell.len > 0) {
        (void)fwrite(cell.data, 1, cell.len, stdout);
        fputc('\n', stdout);
    }
    cli_buffer_free(&cell);
}

void cli_record(cli_output *output, hf_bytes row, const cli_column *columns, size_t count)
{
    if (output->format == CLI_JSON || output->format == CLI_NDJSON) {
        print_row(row);
        fputc('\n', stdout);
        return;
    }
    size_t width = 0;
    for (size_t i = 0; i < count; i++) {
        size_t wide = cli_utf8_width(hf_str(columns[i].title));
        width = wide > width ? wide : width;
    }
    for (size_t i = 0; i < count; i++)
        record_line(output, row, &columns[i], width);
}

void cli_sublist(cli_output *output, hf_bytes row, const char *name, const char *title,
                 const cli_column *columns, size_t count)
{
    hf_bytes list = cli_field_list(row, name);
    if (list.len == 0)
        return;
    printf("\n%s\n", title);
    cli_list_begin(output, name, columns, count);
    while (list.len > 0) {
        hf_bytes from = list;
        cli_value element;
        if (!cli_next(&list, &element))
            break;
        cli_list_row(output, hf_view(from.data, from.len - list.len));
    }
    cli_list_end(output, hf_view(NULL, 0));
}

int cli_output_flush(void)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return CLI_OK;
    cli_complain("cannot write to stdout: %s", strerror(errno));
    return CLI_FAILED;
}

void cli_say(const cli_output *output, const char *format, ...)
{
    va_list args;
    if (output->quiet)
        return;
    (void)fflush(stdout); /* it comes after what it is about */
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void cli_complain(const char *format, ...)
{
    va_list args;
    (void)fflush(stdout);
    fputs("holdfast: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
