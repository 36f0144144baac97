/* context.h - what every command is handed, and what commands share. */
#ifndef TOOLS_CONTEXT_H
#define TOOLS_CONTEXT_H

#include "tools/options.h"
#include "tools/output.h"

#include <holdfast_recovery.h>

typedef struct cli_context {
    cli_args   args;
    cli_output output;
    const char *path;  /* of the store, once cli_store_open was called */
    hf_store   *store; /* closed by main */
} cli_context;

/* Which store the user named: context->path. CLI_OK, or CLI_USAGE after saying so. */
int cli_store_path(cli_context *context);

/* Open the store that the user named. CLI_OK, or an exit code after saying why. */
int cli_store_open(cli_context *context);

/* Say what went wrong and give the exit code for it. */
int cli_store_failed(const cli_context *context, int err);
/* The words of the code would add nothing to it. */
bool cli_detail_says_it(int err, const char *detail);
int cli_exit_code(int err);

/* Of a failed call and its detail: also CLI_REFUSED, where the file system allows it not. */
int cli_exit_code_of(int err, const char *detail);

/* --where as given, NULL if not. CLI_USAGE after showing where it goes wrong. */
int cli_where(const cli_context *context, const char **where);

/* Keeps a copy of the row in the cli_buffer `to`; an hf_row_fn. */
int cli_keep_row(void *to, hf_bytes row);

/* Ask for exactly one row and keep a copy of it; free it with cli_buffer_free. */
int cli_ask(cli_context *context, const char *question, hf_bytes arguments, cli_buffer *row);
/* Ask for many rows; they are told once all have come, so that a reader of ours who takes his
 * time neither makes the engine hang up nor keeps a snapshot. An error of hf_query, or what
 * `each` returned. */
int cli_ask_rows(cli_context *context, const char *question, hf_bytes arguments, hf_row_fn each,
                 void *user);
int cli_change(cli_context *context, const char *change, hf_bytes arguments, cli_buffer *row);

/* The arguments of a question, put in one by one. */
typedef struct cli_arguments {
    cli_buffer pairs;
    uint32_t   count;
    cli_buffer whole;
} cli_arguments;
/* NULL: not put in */
void     cli_argument_text(cli_arguments *arguments, const char *name, const char *text);
void     cli_argument_uint(cli_arguments *arguments, const char *name, uint64_t number);
void     cli_argument_bool(cli_arguments *arguments, const char *name, bool value);
hf_bytes cli_arguments_whole(cli_arguments *arguments); /* lives until free */
void     cli_arguments_free(cli_arguments *arguments);

/* A message id an operand stands for; false after saying that it is none. */
bool cli_id(const char *text, uint64_t *id);

/* Has the user pressed Ctrl-C? Long work ends soon then, with CLI_INTERRUPTED. */
bool cli_interrupted(void);

/* Ask "… [y/N]" on the terminal. CLI_OK, or CLI_REFUSED. */
int cli_confirm(const cli_context *context, const char *question);

#endif
