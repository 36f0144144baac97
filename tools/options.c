/* options.c - a parser and a --help driven by the table of tools/commands.c.
 *
 * Happy path: cli_parse walks argv once; options and operands may be mixed,
 * `--` ends the options, the first operand is the command. Fails with a
 * sentence on stderr that says what to do, and CLI_USAGE. One thread. */
#include "tools/options.h"
#include "tools/times.h"
#include "tools/topics.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int complain(const char *format, const char *what, const char *more)
{
    fputs("holdfast: ", stderr);
    fprintf(stderr, format, what, more);
    fputs("\n", stderr);
    return CLI_USAGE;
}

/* ---- Suggestions */

enum { WORD_MAX = 31 };

/* How many letters must be put in, taken out, replaced or swapped. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][WORD_MAX + 2];
    size_t len_a = strlen(a), len_b = strlen(b);
    if (len_a > WORD_MAX || len_b > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= len_b; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= len_a; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= len_b; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < best)
                best = last[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]
                && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[len_a % 3][len_b];
}

typedef struct cli_likeness {
    const char *word, *best;
    size_t      least; /* this far is too far */
} cli_likeness;

static void compare(cli_likeness *like, const char *name)
{
    size_t len = strlen(like->word);
    bool begins = len > 1 && strncmp(like->word, name, len) == 0;
    size_t apart = begins ? 0 : distance(like->word, name);
    if (apart < like->least) {
        like->least = apart;
        like->best = name;
    }
}

const char *cli_suggest(const char *word, const cli_command *commands)
{
    cli_likeness like = { .word = word, .least = strlen(word) < 4 ? 2 : 3 };
    for (; commands->name != NULL; commands++)
        compare(&like, commands->name);
    return like.best;
}

static int no_such_option(const char *word)
{
    char name[WORD_MAX + 1] = "";
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    cli_likeness like = { .word = name, .least = strlen(name) < 4 ? 2 : 3 };
    for (int id = 0; id < OPTIONS; id++)
        compare(&like, cli_options[id].name);
    if (like.best != NULL)
        return complain("no option is called --%s; did you mean --%s?", word, like.best);
    return complain("no option is called --%s%s", word, "");
}

static int no_such_command(const char *word, const cli_command *commands)
{
    const char *like = cli_suggest(word, commands);
    if (like != NULL)
        return complain("no command is called '%s'; did you mean '%s'?", word, like);
    return complain("no command is called '%s'; `holdfast --help` lists them%s", word, "");
}

/* ---- Values */

static bool to_number(const char *text, uint64_t *number, const char **end)
{
    char *stop;
    if (!isdigit((unsigned char)*text))
        return false;
    unsigned long long value = strtoull(text, &stop, 10);
    *number = value;
    *end = stop;
    return value != UINT64_MAX;
}

static int take_value(cli_args *args, cli_option_id id, const char *value)
{
    const cli_option *option = &cli_options[id];
    const char *end = "";
    uint64_t *number = &args->number[id];
    bool fine = true;
    switch (option->kind) {
    case CLI_NUMBER:
        fine = to_number(value, number, &end) && *end == 0;
        break;
    case CLI_PER_SECOND:
        fine = to_number(value, number, &end) && (*end == 0 || strcmp(end, "/s") == 0)
               && *number > 0;
        break;
    case CLI_DURATION:
        fine = cli_time_duration(value, 1000, number);
        break;
    case CLI_WHEN:
        fine = strcmp(value, "auto") == 0 || strcmp(value, "always") == 0
               || strcmp(value, "never") == 0;
        break;
    case CLI_TEXT:
    case CLI_FLAG:
        break;
    }
    args->text[id] = value;
    args->set[id] = true;
    if (fine)
        return CLI_OK;
    fprintf(stderr, "holdfast: --%s takes %s, not '%s'\n", option->name, option->value, value);
    return CLI_USAGE;
}

/* ---- argv */

typedef struct cli_walk {
    cli_args *args;
    int       argc, at;
    char    **argv;
} cli_walk;

static int take_option(cli_walk *walk, cli_option_id id, const char *attached)
{
    const cli_option *option = &cli_options[id];
    if (option->kind == CLI_FLAG) {
        if (attached != NULL)
            return complain("--%s takes no value%s", option->name, "");
        walk->args->set[id] = true;
        return CLI_OK;
    }
    if (attached == NULL) {
        if (walk->at + 1 >= walk->argc)
            return complain("--%s needs a value: %s", option->name, option->value);
        attached = walk->argv[++walk->at];
    }
    return take_value(walk->args, id, attached);
}

static int take_long(cli_walk *walk, const char *word)
{
    size_t len = strcspn(word, "=");
    for (int id = 0; id < OPTIONS; id++) {
        const char *name = cli_options[id].name;
        if (strlen(name) == len && strncmp(name, word, len) == 0)
            return take_option(walk, (cli_option_id)id, word[len] == '=' ? word + len + 1 : NULL);
    }
    return no_such_option(word);
}

/* -q, -qv, -dDIR, -d DIR */
static int take_short(cli_walk *walk, const char *letters)
{
    for (; *letters != 0; letters++) {
        int id = 0;
        while (id < OPTIONS && cli_options[id].letter != *letters)
            id++;
        char letter[2] = { *letters, 0 };
        if (id == OPTIONS)
            return complain("no option is called -%s%s", letter, "");
        if (cli_options[id].kind != CLI_FLAG)
            return take_option(walk, (cli_option_id)id, letters[1] != 0 ? letters + 1 : NULL);
        walk->args->set[id] = true;
    }
    return CLI_OK;
}

static int walk_argv(cli_walk *walk)
{
    bool only_operands = false;
    walk->args->operands = walk->argv + 1;
    for (walk->at = 1; walk->at < walk->argc; walk->at++) {
        char *word = walk->argv[walk->at];
        int err = CLI_OK;
        if (only_operands || word[0] != '-' || word[1] == 0)
            walk->args->operands[walk->args->count++] = word;
        else if (strcmp(word, "--") == 0)
            only_operands = true;
        else if (word[1] == '-')
            err = take_long(walk, word + 2);
        else
            err = take_short(walk, word + 1);
        if (err != CLI_OK)
            return err;
    }
    return CLI_OK;
}

bool cli_takes(const cli_command *command, cli_option_id id)
{
    if (id < OPT_GLOBALS)
        return true;
    size_t most = sizeof command->options / sizeof *command->options;
    for (size_t i = 0; i < most && command->options[i] != OPTIONS; i++) {
        if (command->options[i] == id)
            return true;
    }
    return false;
}

static int check(const cli_args *args)
{
    const cli_command *command = args->command;
    for (int id = 0; id < OPTIONS; id++) {
        if (args->set[id] && !cli_takes(command, (cli_option_id)id))
            return complain("`%s` has no option --%s", command->name, cli_options[id].name);
    }
    if (args->set[OPT_JSON] + args->set[OPT_NDJSON] + args->set[OPT_PLAIN] > 1)
        return complain("only one of --json, --ndjson and --plain%s%s", "", "");
    if (args->set[OPT_HELP])
        return CLI_OK;
    if (args->count < command->least)
        return complain("usage: holdfast %s %s", command->name, command->operands);
    if (command->most >= 0 && args->count > command->most)
        return complain("`%s` does not take '%s'", command->name, args->operands[command->most]);
    return CLI_OK;
}

static const cli_command *find_command(const char *word, const cli_command *commands)
{
    while (commands->name != NULL && strcmp(commands->name, word) != 0)
        commands++;
    return commands->name != NULL ? commands : NULL;
}

int cli_parse(cli_args *args, int argc, char **argv, const cli_command *commands)
{
    *args = (cli_args){ 0 };
    cli_walk walk = { .args = args, .argc = argc, .argv = argv };
    int err = walk_argv(&walk);
    if (err != CLI_OK) {
        if (args->count > 0) /* whose exit code it may be */
            args->command = find_command(args->operands[0], commands);
        return err;
    }
    if (args->count == 0) {
        if (args->set[OPT_HELP] || args->set[OPT_VERSION])
            return CLI_OK;
        return complain("which command? `holdfast --help` lists them%s%s", "", "");
    }
    const char *word = args->operands[0];
    const cli_command *command = find_command(word, commands);
    if (command == NULL)
        return no_such_command(word, commands);
    args->command = command;
    args->operands++;
    args->count--;
    return check(args);
}

uint64_t cli_number(const cli_args *args, cli_option_id id, uint64_t otherwise)
{
    return args->set[id] ? args->number[id] : otherwise;
}

const char *cli_text(const cli_args *args, cli_option_id id, const char *otherwise)
{
    return args->set[id] ? args->text[id] : otherwise;
}

/* ---- Help */

static void help_option(FILE *to, int id)
{
    const cli_option *option = &cli_options[id];
    char left[64], letter[8] = "   ";
    if (option->letter != 0)
        (void)snprintf(letter, sizeof letter, "-%c,", option->letter);
    (void)snprintf(left, sizeof left, "%s --%s%s%s", letter, option->name,
                   option->value != NULL ? " " : "", option->value != NULL ? option->value : "");
    fprintf(to, "  %-28s %s\n", left, option->help);
}

/* Each line of `lines`, indented. */
static void help_lines(FILE *to, const char *lines)
{
    while (*lines != 0) {
        size_t len = strcspn(lines, "\n");
        fprintf(to, "  %.*s\n", (int)len, lines);
        lines += len + (lines[len] == '\n');
    }
}

static void help_rows(FILE *to, const cli_topic_row *rows, int width)
{
    for (; rows->term != NULL; rows++)
        fprintf(to, "  %-*s %s\n", width, rows->term, rows->text);
}

static void help_selections(FILE *to)
{
    fputs("\nSelections (--where)\n", to);
    fprintf(to, "  %s\n", cli_selections_example);
    help_rows(to, cli_selections, 28);
    help_lines(to, cli_selections_more);
}

static void help_command(FILE *to, const cli_command *command)
{
    fputs("Examples\n", to);
    help_lines(to, command->examples);
    fprintf(to, "\nUsage\n  holdfast %s%s%s [options]\n\n%s\n", command->name,
            *command->operands != 0 ? " " : "", command->operands, command->summary);
    if (command->more != NULL)
        fprintf(to, "%s\n", command->more);
    fputs("\nOptions\n", to);
    size_t most = sizeof command->options / sizeof *command->options;
    for (size_t i = 0; i < most && command->options[i] != OPTIONS; i++)
        help_option(to, (int)command->options[i]);
    for (int id = 0; id < OPT_GLOBALS; id++)
        help_option(to, id);
    if (cli_takes(command, OPT_WHERE))
        help_selections(to);
}

static void help_program(FILE *to, const cli_command *commands)
{
    fputs("Examples\n", to);
    for (const cli_command *command = commands; command->name != NULL; command++)
        fprintf(to, "  %.*s\n", (int)strcspn(command->examples, "\n"), command->examples);
    fputs("\nCommands (`holdfast COMMAND --help` says more)\n", to);
    for (const cli_command *command = commands; command->name != NULL; command++)
        fprintf(to, "  %-10s %s\n", command->name, command->summary);
    fputs("\nOptions of every command\n", to);
    for (int id = 0; id < OPT_GLOBALS; id++)
        help_option(to, id);
    help_selections(to);
    fputs("\nExit codes\n", to);
    help_rows(to, cli_exit_codes, 28);
    fputs("\nEnvironment\n", to);
    help_rows(to, cli_environment, 28);
}

void cli_help(FILE *to, const cli_command *command, const cli_command *commands)
{
    if (command != NULL)
        help_command(to, command);
    else
        help_program(to, commands);
}
