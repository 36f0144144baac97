/* fuzz_options.c - any text as a command line of the tool, as a duration, as a time.
 *
 * The text's lines are the words of a command line. What is accepted names a command
 * that takes its options, as many operands as that takes, and numbers that, written
 * out again, are the same numbers. What is refused says so. A duration is the sum of
 * its parts, and a moment that the tool prints selects that moment and no other when
 * it is given back as `due = …`. */
#include "tests/fuzz/fuzz.h"

#include "recovery/where.h"
#include "tools/options.h"
#include "tools/times.h"

enum { WORDS = 24 };

static FILE *nowhere;

static bool is_number(cli_option_kind kind)
{
    return kind == CLI_NUMBER || kind == CLI_DURATION || kind == CLI_PER_SECOND;
}

static void check_options(const cli_args *args)
{
    for (int id = 0; id < OPTIONS; id++) {
        const cli_option *option = &cli_options[id];
        char line[64], *argv[4] = { "holdfast", line, "ls", NULL };
        static const cli_command any = { .name = "ls", .most = -1, .operands = "" };
        cli_args again;
        if (!args->set[id])
            continue;
        FUZZ_CHECK(option->kind == CLI_FLAG || args->text[id]);
        if (!is_number(option->kind) || id >= OPT_GLOBALS)
            continue;
        (void)snprintf(line, sizeof line, "--%s=%llu%s", option->name,
                       (unsigned long long)args->number[id],
                       option->kind == CLI_DURATION ? "ms" : "");
        FUZZ_CHECK(cli_parse(&again, 3, argv, (cli_command[2]){ any, { .name = NULL } }) == CLI_OK);
        FUZZ_CHECK(again.number[id] == args->number[id]);
    }
}

static void check_line(char *text)
{
    char *argv[WORDS + 2] = { "holdfast" };
    int argc = 1;
    cli_args args;
    for (char *at = text; argc <= WORDS && at; argc++) {
        argv[argc] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = 0;
    }
    int code = cli_parse(&args, argc, argv, cli_commands);
    FUZZ_CHECK(code == CLI_OK || code == CLI_USAGE);
    if (code != CLI_OK)
        return;
    FUZZ_CHECK(args.command || args.set[OPT_HELP] || args.set[OPT_VERSION]);
    FUZZ_CHECK(args.count >= 0 && args.count < argc);
    if (args.command && !args.set[OPT_HELP])
        FUZZ_CHECK(args.count >= args.command->least
                   && (args.command->most < 0 || args.count <= args.command->most));
    for (int i = 0; i < args.count; i++)
        (void)cli_suggest(args.operands[i], cli_commands);
    check_options(&args);
}

/* The sum once more; false: it is no number of 64 bits. */
static bool sum_of(const char *text, uint64_t unit, uint64_t *ms)
{
    for (*ms = 0; *text;) {
        uint64_t count = 0, each = unit, part;
        for (; *text >= '0' && *text <= '9'; text++)
            if (__builtin_mul_overflow(count, (uint64_t)10, &count)
                || __builtin_add_overflow(count, (uint64_t)(*text - '0'), &count))
                return false;
        each = *text == 'd' ? 86400000 : *text == 'h' ? 3600000 : *text == 's' ? 1000
            : *text == 'm' && text[1] == 's' ? 1 : *text == 'm' ? 60000 : each;
        text += strspn(text, "dhms");
        if (__builtin_mul_overflow(count, each, &part) || __builtin_add_overflow(*ms, part, ms))
            return false;
    }
    return true;
}

static void check_duration(const char *text, uint64_t number)
{
    uint64_t ms = 42, again = 0;
    char line[64];
    if (!cli_time_duration(text, 1000, &ms)) {
        FUZZ_CHECK(ms == 42);
    } else {
        (void)snprintf(line, sizeof line, "%llums", (unsigned long long)ms);
        FUZZ_CHECK(cli_time_duration(line, 1, &again) && again == ms);
        FUZZ_CHECK(sum_of(text, 1000, &again) && again == ms);
    }
    (void)snprintf(line, sizeof line, "%llud%lluh%llum%llus%llums",
                   (unsigned long long)(number / 86400000 % 1000000),
                   (unsigned long long)(number / 3600000 % 24),
                   (unsigned long long)(number / 60000 % 60),
                   (unsigned long long)(number / 1000 % 60), (unsigned long long)(number % 1000));
    FUZZ_CHECK(cli_time_duration(line, 1, &again)
               && again == number % UINT64_C(86400000000000));
}

/* What the tool prints as a time, --where takes as that time. */
static void check_moment(uint64_t ms)
{
    char iso[CLI_TIME_ROOM], text[CLI_TIME_ROOM + 8];
    hf_where *where = NULL;
    hf_message msg = { .to = "", .kind = "", .from = "", .error = "" };
    cli_time_relative(iso, ms, fuzz_number((const uint8_t *)&ms, sizeof ms));
    FUZZ_CHECK(strlen(iso) < CLI_TIME_ROOM);
    bool shown = cli_time_iso(iso, ms);
    FUZZ_CHECK(shown == (ms < UINT64_C(253402300800000)) && shown == (*iso != 0));
    if (!shown || !ms)
        return;
    (void)snprintf(text, sizeof text, "due = %s", iso);
    FUZZ_CHECK(hf_where_parse(&where, text, NULL) == HF_OK);
    for (msg.due = ms - 1; msg.due <= ms + 1; msg.due++)
        FUZZ_CHECK(hf_where_match(where, &msg, 0) == (msg.due == ms));
    hf_where_free(where);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    uint64_t number = fuzz_number(data, size);
    FILE *real = stderr;
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    check_duration(text, number);
    check_moment(number % UINT64_C(253402300900000));
    FUZZ_CHECK(nowhere);
    stderr = nowhere; /* refusals are sentences for people */
    check_line(text);
    stderr = real;
    free(text);
    return 0;
}
