/* test_cli_options.c - the table, the parser and --help made from it. */
#include "tools/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Words separated by spaces as argv; returns what cli_parse did. */
static int parse(cli_args *args, const char *line)
{
    static char copy[256], program[] = "holdfast";
    static char *argv[32];
    int argc = 1;
    argv[0] = program;
    assert_true(strlen(line) < sizeof copy);
    strcpy(copy, line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return cli_parse(args, argc, argv, cli_commands);
}

static void test_parse(void **state)
{
    (void)state;
    cli_args args;
    assert_int_equal(parse(&args, "ls"), CLI_OK);
    assert_string_equal(args.command->name, "ls");
    assert_int_equal(args.count, 0);
    assert_int_equal(parse(&args, "-d /a ls actors --limit 5 --json"), CLI_OK);
    assert_string_equal(cli_text(&args, OPT_STORE, ""), "/a");
    assert_string_equal(args.operands[0], "actors");
    assert_int_equal(args.count, 1);
    assert_int_equal(cli_number(&args, OPT_LIMIT, 0), 5);
    assert_true(args.set[OPT_JSON]);
    assert_int_equal(parse(&args, "ls -qvd/b --limit=7"), CLI_OK);
    assert_string_equal(cli_text(&args, OPT_STORE, ""), "/b");
    assert_true(args.set[OPT_QUIET] && args.set[OPT_VERBOSE]);
    assert_int_equal(cli_number(&args, OPT_LIMIT, 0), 7);
    assert_int_equal(parse(&args, "send a/b -"), CLI_OK);
    assert_string_equal(args.operands[1], "-");
    assert_int_equal(parse(&args, "send a/b -- --raw"), CLI_OK);
    assert_string_equal(args.operands[1], "--raw");
    assert_false(args.set[OPT_RAW]);
    assert_int_equal(parse(&args, "requeue 1 2 3 4 --rate 20/s --keep-attempts"), CLI_OK);
    assert_int_equal(args.count, 4);
    assert_int_equal(cli_number(&args, OPT_RATE, 0), 20);
    assert_int_equal(parse(&args, "pause order --wait 30s"), CLI_OK);
    assert_int_equal(cli_number(&args, OPT_WAIT, 0), 30000);
    assert_int_equal(parse(&args, "resume order --wait 1h30m"), CLI_OK);
    assert_int_equal(cli_number(&args, OPT_WAIT, 0), 5400000);
    assert_int_equal(cli_number(&args, OPT_COUNT, 1), 1);
    assert_int_equal(parse(&args, "--help"), CLI_OK);
    assert_null(args.command);
    assert_int_equal(parse(&args, "show --help"), CLI_OK);
}

static void test_refuse(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "", "nonsense", "ls --nonsense", "ls -z", "ls --limit", "ls --limit x", "ls --limit -1",
        "ls --limit 5x", "ls --json=yes", "ls --json --plain", "ls a b", "show", "show 1 2",
        "find --body 5", "ls --color sometimes", "requeue 1 --rate 0", "requeue 1 --rate 5/m",
        "pause order --wait soon", "send a/b --count x", "ls --limit 18446744073709551616",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        cli_args args;
        if (parse(&args, lines[i]) != CLI_USAGE)
            fail_msg("taken: holdfast %s", lines[i]);
    }
}

static void test_suggest(void **state)
{
    (void)state;
    assert_string_equal(cli_suggest("fnid", cli_commands), "find");
    assert_string_equal(cli_suggest("requeu", cli_commands), "requeue");
    assert_string_equal(cli_suggest("pasue", cli_commands), "pause");
    assert_string_equal(cli_suggest("stat", cli_commands), "stats");
    assert_string_equal(cli_suggest("sl", cli_commands), "ls");
    assert_string_equal(cli_suggest("Bench", cli_commands), "bench");
    assert_null(cli_suggest("x", cli_commands));
    assert_null(cli_suggest("kubernetes", cli_commands));
    assert_null(cli_suggest("averyveryveryverylongwordthatnobodytypes", cli_commands));
}

/* The table itself: nothing twice, nothing without words. */
static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < OPTIONS; i++) {
        const cli_option *option = &cli_options[i];
        assert_non_null(option->name);
        assert_non_null(option->help);
        assert_int_equal(option->kind == CLI_FLAG, option->value == NULL);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(option->name, cli_options[j].name);
            assert_true(option->letter == 0 || option->letter != cli_options[j].letter);
        }
    }
    bool used[OPTIONS] = { false };
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        size_t most = sizeof command->options / sizeof *command->options, i = 0;
        assert_non_null(command->run);
        assert_non_null(command->summary);
        assert_true(strncmp(command->examples, "holdfast ", 9) == 0);
        for (; i < most && command->options[i] != OPTIONS; i++)
            used[command->options[i]] = true;
        assert_true(i < most);
    }
    for (int i = OPT_GLOBALS; i < OPTIONS; i++) {
        if (!used[i])
            fail_msg("no command takes --%s", cli_options[i].name);
    }
}

static char *help(const cli_command *command)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    cli_help(file, command, cli_commands);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void test_help(void **state)
{
    (void)state;
    char *all = help(NULL);
    assert_true(strncmp(all, "Examples\n", 9) == 0);
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        char *text = help(command);
        assert_non_null(strstr(all, command->summary));
        assert_true(strncmp(text, "Examples\n", 9) == 0);
        for (size_t i = 0; command->options[i] != OPTIONS; i++)
            assert_non_null(strstr(text, cli_options[command->options[i]].help));
        for (int i = 0; i < OPT_GLOBALS; i++)
            assert_non_null(strstr(text, cli_options[i].help));
        free(text);
    }
    free(all);
}

/* Every example in --help is understood by the parser. */
static void test_examples(void **state)
{
    (void)state;
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        const char *line = command->examples;
        while (*line != 0) {
            /* quoted parts become one word, redirections are the shell's */
            char words[256];
            size_t len = 0;
            bool quoted = false;
            line += strlen("holdfast ");
            for (; *line != '\n' && *line != 0; line++) {
                if (*line == '\'')
                    quoted = !quoted;
                else
                    words[len++] = quoted && *line == ' ' ? '_' : *line;
            }
            words[len] = 0;
            for (const char *const *sign = (const char *const[]){ " <", " >", NULL }; *sign;
                 sign++) {
                if (strstr(words, *sign) != NULL)
                    *strstr(words, *sign) = 0;
            }
            cli_args args;
            if (parse(&args, words) != CLI_OK)
                fail_msg("not understood: %s", words);
            assert_string_equal(args.command->name, command->name);
            line += *line == '\n';
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse), cmocka_unit_test(test_refuse),
        cmocka_unit_test(test_suggest), cmocka_unit_test(test_table),
        cmocka_unit_test(test_help), cmocka_unit_test(test_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
