/* output.h - rows as a table, as JSON, as NDJSON or with tabs. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include "tools/options.h"
#include "tools/pack.h"

typedef enum cli_format { CLI_TABLE, CLI_JSON, CLI_NDJSON, CLI_PLAIN } cli_format;

typedef enum cli_look {
    CLI_AS_TEXT,
    CLI_AS_COUNT, /* right-aligned; 0 and absent look faint: "-" */
    CLI_AS_ID,    /* right-aligned */
    CLI_AS_TIME,  /* "3m ago"; ISO-8601 for machines */
    CLI_AS_BODY,  /* msgpack as JSON, text, hex */
    CLI_AS_BYTES, /* "1.5 MiB" */
    CLI_AS_PAUSE, /* of a map pause: since and why */
    CLI_AS_JSON,  /* whatever it is */
} cli_look;

typedef struct cli_column {
    const char *title;
    const char *field;
    cli_look    look;
} cli_column;

typedef struct cli_output {
    cli_format format;
    bool       color; /* of stdout */
    bool       quiet, verbose;
    uint64_t   now;
    /* of the list that is being written */
    const cli_column *columns;
    size_t      column_count, row_count;
    size_t     *widths;
    cli_buffer *cells; /* rows that wait for the widths to be known */
    size_t      cell_count;
    bool        headed;
} cli_output;

void cli_output_init(cli_output *output, const cli_args *args);

/* A list: begin, any number of rows, end. `name` is the key of the rows in the
 * JSON document; `summary` a row whose fields stand beside them, data NULL: none. */
void cli_list_begin(cli_output *output, const char *name, const cli_column *columns,
                    size_t count);
void cli_list_row(cli_output *output, hf_bytes row);
void cli_list_end(cli_output *output, hf_bytes summary);

/* One row, a field a line. Fields that are absent are left out. */
void cli_record(cli_output *output, hf_bytes row, const cli_column *columns, size_t count);

/* The list `name` inside a row as a table under a title; nothing if it is empty. */
void cli_sublist(cli_output *output, hf_bytes row, const char *name, const char *title,
                 const cli_column *columns, size_t count);

/* How a cell looks; human: for people, else for machines. */
void cli_cell(cli_buffer *to, hf_bytes row, const cli_column *column, bool human, uint64_t now);

/* Everything printed so far reached its reader: CLI_OK or, said, CLI_FAILED. */
int cli_output_flush(void);

/* A line on stderr. */
void cli_say(const cli_output *output, const char *format, ...) HF_PRINTF(2, 3); /* not with -q */
void cli_complain(const char *format, ...) HF_PRINTF(1, 2); /* always, "holdfast: " before */

#endif
