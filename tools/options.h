/* options.h - the one table of what `holdfast` understands: every option, every
 * command. The parser and --help are made from it. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What the program ends with; final. */
enum {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_BUSY = 4,
    CLI_CORRUPT = 5,
    CLI_REFUSED = 6,
    CLI_PARTLY = 7,
    CLI_FORMAT = 8,
    CLI_INTERRUPTED = 130,
};

typedef enum cli_option_id {
    OPT_STORE,
    OPT_JSON,
    OPT_NDJSON,
    OPT_PLAIN,
    OPT_QUIET,
    OPT_VERBOSE,
    OPT_COLOR,
    OPT_NO_INPUT,
    OPT_WAIT,
    OPT_HELP,
    OPT_VERSION,
    OPT_GLOBALS, /* those above are understood by every command */
    OPT_WHERE = OPT_GLOBALS,
    OPT_LIMIT,
    OPT_AFTER,
    OPT_FIELDS,
    OPT_YES,
    OPT_DRY_RUN,
    OPT_REASON,
    OPT_RATE,
    OPT_KEEP_ATTEMPTS,
    OPT_ALL,
    OPT_KIND,
    OPT_COUNT,
    OPT_RAW,
    OPT_BODY,
    OPT_STATE,
    OPT_ACTORS,
    OPT_THREADS,
    OPT_PENDING,
    OPT_SECONDS,
    OPT_SHARDS,
    OPT_TO,
    OPT_FLOOD,
    OPT_HISTORY,
    OPT_ALARMS,
    OPT_SET,
    OPT_FILE,
    OPT_OUTPUT,
    OPT_IN,
    OPT_AT,
    OPT_DEDUPE,
    OPT_EXPIRES,
    OPT_URGENCY,
    OPT_ONCE,
    OPT_INTERVAL,
    OPT_OPENMETRICS,
    OPT_WARN_AGE,
    OPT_CRIT_AGE,
    OPT_CRIT_DEAD,
    OPTIONS, /* how many there are; also ends a list */
} cli_option_id;

typedef enum cli_option_kind {
    CLI_FLAG,
    CLI_TEXT,     /* text */
    CLI_NUMBER,   /* number */
    CLI_DURATION, /* number: milliseconds; bare: seconds */
    CLI_PER_SECOND, /* number: "500/s" or "500" */
    CLI_WHEN,     /* text: auto, always or never */
} cli_option_kind;

typedef struct cli_option {
    const char     *name;
    char            letter; /* 0: none */
    cli_option_kind kind;
    const char     *value; /* how --help calls it */
    const char     *help;
} cli_option;

struct cli_context;

typedef struct cli_command {
    const char *name;
    const char *operands; /* as --help shows them: "TYPE/KEY [BODY|-]" */
    int         least, most; /* operands; most -1: any number */
    const char *summary;     /* one line */
    const char *more;        /* what else one must know, or NULL */
    const char *examples;    /* lines */
    cli_option_id options[16]; /* ends with OPTIONS, or is full */
    int (*run)(struct cli_context *context);
    int misused; /* exit code for a wrong command line, 0: CLI_USAGE */
} cli_command;

extern const cli_option  cli_options[OPTIONS];
extern const cli_command cli_commands[]; /* ends with a nameless one */

typedef struct cli_args {
    const cli_command *command; /* NULL: none was named */
    bool        set[OPTIONS];
    const char *text[OPTIONS];
    uint64_t    number[OPTIONS];
    int         count;    /* operands, without the command */
    char      **operands; /* in argv */
} cli_args;

/* Parse argv; reorders it so that the operands stand together. CLI_OK, or
 * CLI_USAGE after a sentence on stderr. */
int cli_parse(cli_args *args, int argc, char **argv, const cli_command *commands);

/* Value of an option or, if it was not given, `otherwise`. */
uint64_t    cli_number(const cli_args *args, cli_option_id id, uint64_t otherwise);
const char *cli_text(const cli_args *args, cli_option_id id, const char *otherwise);

/* --help: of one command, or of the program (command NULL). */
void cli_help(FILE *to, const cli_command *command, const cli_command *commands);

/* The command most like `word`, NULL if none is. */
const char *cli_suggest(const char *word, const cli_command *commands);

#endif
