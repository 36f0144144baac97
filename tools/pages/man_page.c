/* man_page.c - a man page from the table of commands.
 *
 * Happy path: each text of the table goes through `put`, which makes of it what roff
 * shows letter for letter: no hyphen becomes another sign, no line a request, `words`
 * in grave accents become bold. Writes to a file its caller checks. One thread. */
#include "tools/pages/generate.h"
#include "tools/topics.h"

#include <holdfast.h>

#include <string.h>

/* The code point at *at, which moves on. The table is sound UTF-8. */
static unsigned code_point(const char **at)
{
    const unsigned char *byte = (const unsigned char *)*at;
    int more = *byte >= 0xf0 ? 3 : *byte >= 0xe0 ? 2 : *byte >= 0xc0 ? 1 : 0;
    unsigned code = more ? *byte & (0x3fu >> more) : *byte;
    for (int i = 1; i <= more; i++)
        code = code << 6 | (byte[i] & 0x3fu);
    *at += more + 1;
    return code;
}

static void put_sign(FILE *to, unsigned code)
{
    static const struct {
        char        sign;
        const char *roff;
    } signs[] = { { '\\', "\\(rs" }, { '-', "\\-" },    { '\'', "\\(aq" }, { '`', "\\(ga" },
                  { '"', "\\(dq" },  { '^', "\\(ha" },  { '~', "\\(ti" } };
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (code == (unsigned char)signs[i].sign) {
            fputs(signs[i].roff, to);
            return;
        }
    }
    if (code < 0x80)
        fputc((int)code, to);
    else
        fprintf(to, "\\[u%04X]", code);
}

/* Up to `end` as running text; words in `grave accents` are bold. */
static void put_until(FILE *to, const char *text, const char *end)
{
    bool bold = false, fresh = true; /* at the start of a line */
    while (text < end) {
        if (*text == '`') {
            bold = !bold;
            fputs(bold ? "\\fB" : "\\fR", to);
            text++;
            fresh = false;
            continue;
        }
        if (fresh && *text == '.')
            fputs("\\&", to);
        fresh = *text == '\n';
        put_sign(to, code_point(&text));
    }
}

static void put(FILE *to, const char *text)
{
    put_until(to, text, text + strlen(text));
}

static void put_bold(FILE *to, const char *text)
{
    fputs("\\fB", to);
    put(to, text);
    fputs("\\fR", to);
}

/* Lines as they are: examples. */
static void put_lines(FILE *to, const char *lines)
{
    fputs(".RS 4\n.nf\n", to);
    while (*lines != 0) {
        size_t len = strcspn(lines, "\n");
        fputs("\\&", to);
        for (const char *at = lines; at < lines + len;)
            put_sign(to, code_point(&at));
        fputc('\n', to);
        lines += len + (lines[len] == '\n');
    }
    fputs(".fi\n.RE\n", to);
}

static void put_rows(FILE *to, const cli_topic_row *rows)
{
    for (; rows->term != NULL; rows++) {
        fputs(".TP\n", to);
        put_bold(to, rows->term);
        fputc('\n', to);
        put(to, rows->text);
        fputc('\n', to);
    }
}

static void put_option(FILE *to, int id)
{
    const cli_option *option = &cli_options[id];
    fputs(".TP\n", to);
    if (option->letter != 0)
        fprintf(to, "\\fB\\-%c\\fR, ", option->letter);
    fputs("\\fB\\-\\-", to);
    put(to, option->name);
    fputs("\\fR", to);
    if (option->value != NULL) {
        fputs(" \\fI", to);
        put(to, option->value);
        fputs("\\fR", to);
    }
    fputc('\n', to);
    put(to, option->help);
    fputc('\n', to);
}

static void put_selections(FILE *to)
{
    fputs(".SH SELECTIONS\nWhat \\fB\\-\\-where\\fR takes is joined from comparisons, as in\n.PP\n",
          to);
    put_lines(to, cli_selections_example);
    put_rows(to, cli_selections);
    fputs(".PP\n", to);
    put(to, cli_selections_more);
}

/* No date: the same source makes the same page. */
static void put_head(FILE *to, const char *command)
{
    fputs(".\\\" Made from the table of commands, tools/commands.c.\n.TH HOLDFAST", to);
    if (*command != 0)
        fputs("\\-", to);
    for (const char *c = command; *c != 0; c++)
        fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, to);
    fprintf(to, " 1 \"\" \"holdfast %d.%d.%d\" \"Holdfast\"\n.SH NAME\nholdfast%s",
            HF_VERSION_MAJOR, HF_VERSION_MINOR, HF_VERSION_PATCH, *command != 0 ? "\\-" : "");
    put(to, command);
    fputs(" \\- ", to);
}

void page_command(FILE *to, const cli_command *command)
{
    put_head(to, command->name);
    put(to, command->summary);
    fputs("\n.SH SYNOPSIS\n\\fBholdfast ", to);
    put(to, command->name);
    fputs("\\fR ", to);
    if (*command->operands != 0) {
        fputs("\\fI", to);
        put(to, command->operands);
        fputs("\\fR ", to);
    }
    fputs("[\\fIoptions\\fR]\n.SH DESCRIPTION\n", to);
    put(to, command->more != NULL ? command->more : command->summary);
    fputs("\n.SH OPTIONS\n", to);
    size_t most = sizeof command->options / sizeof *command->options;
    for (size_t i = 0; i < most && command->options[i] != OPTIONS; i++)
        put_option(to, (int)command->options[i]);
    for (int id = 0; id < OPT_GLOBALS; id++)
        put_option(to, id);
    if (cli_takes(command, OPT_WHERE))
        put_selections(to);
    fputs(".SH EXAMPLES\n", to);
    put_lines(to, command->examples);
    if (!command->misused) { /* else it has codes of its own, and says so above */
        fputs(".SH EXIT STATUS\n", to);
        put_rows(to, cli_exit_codes);
    }
    fputs(".SH ENVIRONMENT\n", to);
    put_rows(to, cli_environment);
    fputs(".SH SEE ALSO\n\\fBholdfast\\fR(1)\n", to);
}

static void put_see_also(FILE *to)
{
    fputs(".SH SEE ALSO\n", to);
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        fputs("\\fBholdfast\\-", to);
        put(to, command->name);
        fprintf(to, "\\fR(1)%s\n", command[1].name != NULL ? "," : "");
    }
}

void page_program(FILE *to)
{
    put_head(to, "");
    fputs("look into stores of durable actors, and mend them\n"
          ".SH SYNOPSIS\n\\fBholdfast\\fR \\fICOMMAND\\fR [\\fIoptions\\fR] [\\fIoperands\\fR]\n"
          ".SH DESCRIPTION\n"
          "A store that an engine has open is looked at and changed through that engine, while it\n"
          "runs on. The store of an engine that is dead or does not answer, and a backup, are\n"
          "read directly; changes then take the store's lock, one batch at a time.\n"
          ".PP\n"
          "What was asked for goes to standard output, everything else to standard error. Each\n"
          "command has a page of its own, and \\fB\\-\\-help\\fR, with examples.\n"
          ".SH COMMANDS\n",
          to);
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        fputs(".TP\n\\fBholdfast\\-", to);
        put(to, command->name);
        fputs("\\fR(1)\n", to);
        put(to, command->summary);
        fputc('\n', to);
    }
    fputs(".SH OPTIONS\nEvery command takes these.\n", to);
    for (int id = 0; id < OPT_GLOBALS; id++)
        put_option(to, id);
    put_selections(to);
    fputs(".SH EXAMPLES\n.RS 4\n.nf\n", to);
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        const char *at = command->examples, *end = at + strcspn(at, "\n");
        while (at < end)
            put_sign(to, code_point(&at));
        fputc('\n', to);
    }
    fputs(".fi\n.RE\n.SH EXIT STATUS\n", to);
    put_rows(to, cli_exit_codes);
    fputs(".SH ENVIRONMENT\n", to);
    put_rows(to, cli_environment);
    put_see_also(to);
}
