/* cmd_top.c - `holdfast top`: what a store does, on a screen that is kept up to date.
 *
 * Happy path: look, draw, wait for a key or the next time; q ends it. Without a terminal,
 * or with --once, two looks a short time apart are printed; on a dumb terminal the lines
 * come again and again. An engine that goes away is looked for until it is back.
 * One thread. */
#include "tools/commands.h"
#include "tools/pulse.h"
#include "tools/screen.h"
#include "tools/times.h"

#include <errno.h>
#include <unistd.h>

static const uint64_t intervals[] = { 250, 500, 1000, 2000, 5000, 10000, 30000, 60000 };

static pulse one; /* large */

/* With --plain; JSON has all there is. */
static const cli_column plain[] = {
    { "seconds", "seconds", CLI_AS_JSON },
    { "sent_per_s", "sent_per_s", CLI_AS_JSON },
    { "done_per_s", "done_per_s", CLI_AS_JSON },
    { "failed_per_s", "failed_per_s", CLI_AS_JSON },
    { "dead_per_s", "dead_per_s", CLI_AS_JSON },
    { "commits_per_s", "commits_per_s", CLI_AS_JSON },
    { "bytes_per_s", "bytes_per_s", CLI_AS_JSON },
    { "commit_p50_us", "commit_p50_us", CLI_AS_JSON },
    { "commit_p99_us", "commit_p99_us", CLI_AS_JSON },
    { "waiting", "waiting", CLI_AS_JSON },
    { "running", "running", CLI_AS_JSON },
    { "stuck", "stuck", CLI_AS_JSON },
    { "retrying", "retrying", CLI_AS_JSON },
    { "delayed", "delayed", CLI_AS_JSON },
    { "held", "held", CLI_AS_JSON },
    { "paused", "paused", CLI_AS_JSON },
    { "dead", "dead", CLI_AS_JSON },
    { "window_bytes", "window_bytes", CLI_AS_JSON },
    { "file_bytes", "file_bytes", CLI_AS_JSON },
    { "free_bytes", "free_bytes", CLI_AS_JSON },
    { "disk_free_bytes", "disk_free_bytes", CLI_AS_JSON },
};

static uint64_t longer(uint64_t interval, int by)
{
    size_t count = sizeof intervals / sizeof *intervals, at = 0;
    while (at < count && intervals[at] < interval)
        at++;
    if (by > 0)
        at += at < count && intervals[at] == interval;
    else if (at > 0)
        at--;
    return intervals[at < count ? at : count - 1];
}

/* A key that was pressed; false: end. *now: look at once. */
static bool obey(int key, pulse_look_of *look, bool *now)
{
    switch (key) {
    case 'q':
    case 'Q':
    case 'C' - '@':
        return false;
    case '?':
    case 'h':
        look->help = !look->help;
        break;
    case 'p':
    case ' ':
        look->still = !look->still;
        break;
    case '+':
        look->interval_ms = longer(look->interval_ms, 1);
        break;
    case '-':
        look->interval_ms = longer(look->interval_ms, -1);
        break;
    case 'r':
    case 'L' - '@':
        *now = true;
        break;
    case 'd':
    case 'f':
    case 'c':
    case 'b':
    case 'n':
        look->sort = key;
        break;
    default:
        break;
    }
    return true;
}

static int run_screen(cli_context *context, pulse_look_of *look)
{
    cli_buffer lines = { 0 };
    int code = CLI_OK;
    bool goes_on = true, now = true;
    uint64_t looked_ms = 0;
    if (!cli_screen_open()) {
        cli_complain("top: the terminal: %s", strerror(errno));
        return CLI_FAILED;
    }
    while (goes_on) {
        uint64_t ms = cli_now_ns() / 1000000;
        if (now || (!look->still && ms - looked_ms >= look->interval_ms)) {
            pulse_look(context, &one);
            looked_ms = cli_now_ns() / 1000000;
            now = false;
        }
        lines.len = 0;
        pulse_lines(&one, look, &lines);
        if (!cli_screen_draw(cli_buffer_bytes(&lines)))
            break;
        uint64_t passed = cli_now_ns() / 1000000 - looked_ms;
        uint64_t left = passed < look->interval_ms ? look->interval_ms - passed : 0;
        int key = cli_screen_key(look->still ? 3600000 : left);
        goes_on = key != CLI_KEY_GONE && obey(key, look, &now);
        code = key == 'C' - '@' ? CLI_INTERRUPTED : CLI_OK;
    }
    cli_screen_close();
    cli_buffer_free(&lines);
    return code;
}

static int print_lines(const pulse_look_of *look)
{
    cli_buffer lines = { 0 };
    pulse_lines(&one, look, &lines);
    (void)fwrite(lines.data, 1, lines.len, stdout);
    cli_buffer_free(&lines);
    return cli_output_flush();
}

static int nap(uint64_t ms)
{
    for (uint64_t left = ms; left > 0 && !cli_interrupted();) {
        uint64_t part = left < 50 ? left : 50;
        cli_sleep_ms(part);
        left -= part;
    }
    return cli_interrupted() ? CLI_INTERRUPTED : CLI_OK;
}

/* The same lines again and again, for a terminal that can't be drawn on. */
static int run_plain(cli_context *context, const pulse_look_of *look)
{
    int code = cli_interrupted() ? CLI_INTERRUPTED : CLI_OK; /* Ctrl-C is seen from now on */
    while (code == CLI_OK) {
        pulse_look(context, &one);
        code = print_lines(look);
        if (code == CLI_OK)
            (void)fputc('\n', stdout);
        if (code == CLI_OK)
            code = nap(look->interval_ms);
    }
    return code;
}

static int run_once(cli_context *context, const pulse_look_of *look)
{
    cli_buffer row = { 0 };
    pulse_look(context, &one);
    int code = one.lives ? nap(look->interval_ms) : CLI_OK;
    if (code != CLI_OK)
        return code;
    if (one.lives)
        pulse_look(context, &one);
    if (one.row.len == 0) {
        cli_complain("top: %s", one.said);
        return CLI_FAILED;
    }
    if (context->output.format == CLI_TABLE)
        return print_lines(look);
    pulse_sort(&one, look->sort);
    pulse_row(&one, &row);
    cli_record(&context->output, cli_buffer_bytes(&row), plain, sizeof plain / sizeof *plain);
    cli_buffer_free(&row);
    return CLI_OK;
}

int cmd_top(cli_context *context)
{
    bool once = context->args.set[OPT_ONCE] || context->output.format != CLI_TABLE;
    pulse_look_of look = { .sort = 'd', .color = context->output.color };
    look.interval_ms = cli_number(&context->args, OPT_INTERVAL, 1000);
    if (look.interval_ms < 50 || look.interval_ms > 3600000) {
        cli_complain("--interval is 50ms to 1h");
        return CLI_USAGE;
    }
    if (!context->args.set[OPT_WAIT]) { /* who looks again soon waits for nobody */
        context->args.set[OPT_WAIT] = true;
        context->args.number[OPT_WAIT] = 0;
    }
    int code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    look.path = context->path;
    if (once || isatty(STDOUT_FILENO) != 1)
        code = run_once(context, &look);
    else if (!cli_screen_can())
        code = run_plain(context, &look);
    else
        code = run_screen(context, &look);
    pulse_free(&one);
    return code;
}
