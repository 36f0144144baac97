/* completion.c - the bash completion from the table of commands.
 *
 * Happy path: a fixed script that finds out what stands under the cursor - an option,
 * an option's value, a command, an operand - with four `case`s made from the table:
 * which options take a value, what such a value is, which options a command takes, what
 * its operands are. What a value or operand is the table's own words say: DIR (or WHERE)
 * is a directory, FILE a file, words in small letters joined by | are a choice. Writes to a
 * file its caller checks. One thread. */
#include "tools/pages/generate.h"

#include <string.h>

/* "[types|actors|errors]" without what is not of the words themselves. */
static void bare(char *out, size_t room, const char *text, size_t len)
{
    size_t used = 0;
    for (size_t i = 0; i < len && used + 1 < room; i++) {
        if (strchr("[]. ", text[i]) == NULL)
            out[used++] = text[i];
    }
    out[used] = 0;
}

/* What to complete: "@dir", "@file", words, or nothing. */
static void put_candidates(FILE *to, const char *text, size_t len)
{
    char words[256];
    bare(words, sizeof words, text, len);
    size_t file = strcspn(words, "|");
    if (strcmp(words, "DIR") == 0 || strcmp(words, "WHERE") == 0)
        fputs("@dir", to);
    else if ((file == 4 && strncmp(words, "FILE", 4) == 0) || (file == 1 && *words == 'F'))
        fputs("@file", to);
    else if (strpbrk(words, "ABCDEFGHIJKLMNOPQRSTUVWXYZ/0123456789") == NULL) {
        for (char *at = words; (at = strchr(at, '|')) != NULL;)
            *at = ' ';
        fputs(words, to);
    }
}

/* case of an option: its values */
static void put_values(FILE *to)
{
    for (int id = 0; id < OPTIONS; id++) {
        const cli_option *option = &cli_options[id];
        if (option->kind == CLI_FLAG)
            continue;
        fprintf(to, "    --%s", option->name);
        if (option->letter != 0)
            fprintf(to, " | -%c", option->letter);
        fputs(") values='", to);
        if (option->kind == CLI_WHEN)
            fputs("auto always never", to);
        else
            put_candidates(to, option->value, strlen(option->value));
        fputs("' ;;\n", to);
    }
    fputs("    *) return 1 ;;\n", to);
}

/* case of a command: its options besides those of all */
static void put_options(FILE *to)
{
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        size_t most = sizeof command->options / sizeof *command->options;
        fprintf(to, "    %s) options='", command->name);
        for (size_t i = 0; i < most && command->options[i] != OPTIONS; i++)
            fprintf(to, "%s--%s", i ? " " : "", cli_options[command->options[i]].name);
        fputs("' ;;\n", to);
    }
}

/* case of COMMAND:NUMBER, from 0; COMMAND:* stands for all further ones */
static void put_operands(FILE *to)
{
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        const char *at = command->operands;
        for (int number = 0; *at != 0; number++) {
            size_t len = strcspn(at, " ");
            bool last = at[len] == 0 || strncmp(at + len, " ...", 4) == 0;
            fprintf(to, "    %s:", command->name);
            if (last && command->most < 0)
                fputc('*', to);
            else
                fprintf(to, "%d", number);
            fputs(") values='", to);
            if (strstr(command->operands, " | ") == NULL)
                put_candidates(to, at, len);
            fputs("' ;;\n", to);
            at += len + strspn(at + len, " ");
            if (last || strstr(command->operands, " | ") != NULL)
                break;
        }
    }
}

static const char head[] =
    "# bash completion of holdfast; made from its table of commands, tools/commands.c\n"
    "\n"
    "# What an option's value may be, in `values`; fails if it takes none.\n"
    "_holdfast_value()\n"
    "{\n"
    "    case $1 in\n";

static const char options_of[] =
    "    esac\n"
    "}\n"
    "\n"
    "# The options of a command, in `options`.\n"
    "_holdfast_options()\n"
    "{\n"
    "    case $1 in\n";

static const char operands_of[] =
    "    esac\n"
    "}\n"
    "\n"
    "# What an operand of a command may be, in `values`: COMMAND:NUMBER.\n"
    "_holdfast_operand()\n"
    "{\n"
    "    case $1 in\n";

static const char body_before[] =
    "    esac\n"
    "}\n"
    "\n"
    "# Complete $2 from $1: words, @dir or @file.\n"
    "_holdfast_reply()\n"
    "{\n"
    "    local IFS=$'\\n'\n"
    "    case $1 in\n"
    "    '') ;;\n"
    "    @dir) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- \"$2\")) ;;\n"
    "    @file) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- \"$2\")) ;;\n"
    "    *) COMPREPLY=($(compgen -W \"${1// /$IFS}\" -- \"$2\")) ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_holdfast()\n"
    "{\n"
    "    local word last='' command='' values='' options='' at only='' operands=0\n"
    "    local word_now=${COMP_WORDS[COMP_CWORD]}\n"
    "    COMPREPLY=()\n"
    "    for ((at = 1; at < COMP_CWORD; at++)); do\n"
    "        word=${COMP_WORDS[at]}\n"
    "        # --color=never comes as three words\n"
    "        if [[ $word == '=' && -n $last ]]; then continue; fi\n"
    "        if [[ -n $last ]]; then last=''; continue; fi\n"
    "        if [[ -z $only && $word == -- ]]; then only=yes\n"
    "        elif [[ -z $only && $word == -?* ]]; then\n"
    "            if _holdfast_value \"$word\"; then last=$word; fi\n"
    "        elif [[ -z $command ]]; then command=$word\n"
    "        else operands=$((operands + 1))\n"
    "        fi\n"
    "    done\n"
    "    values=''\n"
    "    if [[ -n $last ]]; then\n"
    "        _holdfast_value \"$last\"\n"
    "        if [[ $word_now == '=' ]]; then word_now=''; fi\n"
    "        _holdfast_reply \"$values\" \"$word_now\"\n"
    "    elif [[ -z $only && $word_now == -* ]]; then\n"
    "        _holdfast_options \"$command\"\n"
    "        _holdfast_reply \"$options";

static const char body_after[] =
    "\" \"$word_now\"\n"
    "    elif [[ -z $command ]]; then\n"
    "        _holdfast_reply '";

static const char tail[] =
    "' \"$word_now\"\n"
    "    else\n"
    "        _holdfast_operand \"$command:$operands\"\n"
    "        _holdfast_reply \"$values\" \"$word_now\"\n"
    "    fi\n"
    "}\n"
    "\n"
    "complete -F _holdfast holdfast\n";

void page_completion(FILE *to)
{
    fputs(head, to);
    put_values(to);
    fputs(options_of, to);
    put_options(to);
    fputs(operands_of, to);
    put_operands(to);
    fputs(body_before, to);
    for (int id = 0; id < OPT_GLOBALS; id++)
        fprintf(to, " --%s", cli_options[id].name);
    fputs(body_after, to);
    for (const cli_command *command = cli_commands; command->name != NULL; command++)
        fprintf(to, "%s%s", command == cli_commands ? "" : " ", command->name);
    fputs(tail, to);
}
