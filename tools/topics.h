/* topics.h - what --help and the man pages say beside commands and options. */
#ifndef TOOLS_TOPICS_H
#define TOOLS_TOPICS_H

#include "tools/options.h"

typedef struct cli_topic_row {
    const char *term; /* NULL ends a table */
    const char *text;
} cli_topic_row;

extern const cli_topic_row cli_selections[]; /* fields and how they compare, for --where */
extern const char          cli_selections_more[];    /* lines */
extern const char          cli_selections_example[]; /* one selection */
extern const cli_topic_row cli_exit_codes[];
extern const cli_topic_row cli_environment[];

/* Does the command take this option, by itself or as all do? */
bool cli_takes(const cli_command *command, cli_option_id id);

#endif
