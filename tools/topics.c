/* topics.c - what is true of every command: selections, exit codes, environment.
 *
 * Data, as tools/commands.c; --help and the man pages are made from both. A test
 * compares the selections with what the parser of --where says of itself. */
#include "tools/topics.h"

const cli_topic_row cli_selections[] = {
    { "id attempts urgency strikes", "numbers: = != < <= > >=" },
    { "type actor kind error from", "texts: the same, and ~ for \"contains\"" },
    { "status", "waiting delayed retrying held paused running dead: = !=" },
    { "sent due died", "times: 2026-03-01, 2026-03-01T10:20:30Z or Unix milliseconds" },
    { "age", "since it was sent: 250ms 30s 5m 2h 3d 1h30m" },
    { "body.PATH", "of a body in msgpack: body.items[0].sku; as a number or as a text" },
    { NULL, NULL },
};

const char cli_selections_more[] =
    "FIELD in (a, b) is one of them. Comparisons are joined by and, or, not and brackets; and\n"
    "binds more than or. A value with spaces or a bracket stands in quotes.\n";

const char cli_selections_example[] =
    "status = dead and (error ~ \"timed out\" or age > 2h) and body.total >= 100";

const cli_topic_row cli_exit_codes[] = {
    { "0", "ok" },
    { "1", "failed" },
    { "2", "usage" },
    { "3", "not found, or nothing matched" },
    { "4", "store busy; says which process has it" },
    { "5", "corrupt" },
    { "6", "refused: needs --yes, or no permission" },
    { "7", "partly done" },
    { "8", "format of a newer or older version" },
    { "130", "interrupted; says how far it came" },
    { NULL, NULL },
};

const cli_topic_row cli_environment[] = {
    { "HOLDFAST_STORE", "the store, unless --store names one" },
    { "NO_COLOR", "no colour, if it is not empty; nor with TERM=dumb" },
    { NULL, NULL },
};
