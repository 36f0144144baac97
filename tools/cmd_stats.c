/* cmd_stats.c - `holdfast stats`: counters, commit latency, sizes, headroom.
 *
 * Asks `stats`; who answered (engine or disk) is its first line. One thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/openmetrics.h"

static const cli_column fields[] = {
    { "answered by", "source", CLI_AS_TEXT },
    { "pid", "pid", CLI_AS_ID },
    { "version", "version", CLI_AS_TEXT },
    { "format", "format", CLI_AS_ID },
    { "uuid", "uuid", CLI_AS_TEXT },
    { "started", "started", CLI_AS_TIME },
    { "last stop", "last_stop", CLI_AS_TEXT },
    { "accepted", "accepted", CLI_AS_ID },
    { "committed", "committed", CLI_AS_ID },
    { "failed", "failed", CLI_AS_ID },
    { "retried", "retried", CLI_AS_ID },
    { "died", "dead", CLI_AS_ID },
    { "commits", "commits", CLI_AS_ID },
    { "written", "bytes", CLI_AS_BYTES },
    { "commit p50 µs", "commit_p50_us", CLI_AS_ID },
    { "commit p99 µs", "commit_p99_us", CLI_AS_ID },
    { "waiting", "waiting", CLI_AS_ID },
    { "running", "running", CLI_AS_ID },
    { "alarms", "alarms", CLI_AS_ID },
    { "clock set", "clock_jumps", CLI_AS_ID },
    { "dirty", "dirty", CLI_AS_ID },
    { "flushed", "flushed", CLI_AS_ID },
    { "flushes failed", "flush_failed", CLI_AS_ID },
    { "dead", "dead_total", CLI_AS_ID },
    { "residents", "residents", CLI_AS_ID },
    { "resident size", "resident_bytes", CLI_AS_BYTES },
    { "window", "window_bytes", CLI_AS_BYTES },
    { "history", "history_bytes", CLI_AS_BYTES },
    { "window budget", "window_max_bytes", CLI_AS_BYTES },
    { "head", "head", CLI_AS_ID },
    { "tail", "tail", CLI_AS_ID },
    { "file", "file_bytes", CLI_AS_BYTES },
    { "free in file", "free_bytes", CLI_AS_BYTES },
    { "reserved tail", "tail_bytes", CLI_AS_BYTES },
    { "map", "map_bytes", CLI_AS_BYTES },
    { "disk free", "disk_free_bytes", CLI_AS_BYTES },
    { "full", "full", CLI_AS_TEXT },
    { "limits", "limits", CLI_AS_JSON },
    { "rows", "tables", CLI_AS_JSON },
};

static void print_openmetrics(hf_bytes stats)
{
    cli_buffer text = { 0 };
    cli_openmetrics(&text, stats);
    (void)fwrite(text.data, 1, text.len, stdout);
    cli_buffer_free(&text);
}

int cmd_stats(cli_context *context)
{
    int code = cli_store_open(context);
    if (code != CLI_OK)
        return code;
    cli_buffer row = { 0 };
    code = cli_ask(context, "stats", hf_view(NULL, 0), &row);
    if (code == CLI_OK) {
        hf_bytes stats = cli_buffer_bytes(&row);
        hf_bytes source = cli_field_text(stats, "source");
        if (context->args.set[OPT_OPENMETRICS])
            print_openmetrics(stats);
        else
            cli_record(&context->output, stats, fields, sizeof fields / sizeof *fields);
        if (source.len == 4 && memcmp(source.data, "hung", 4) == 0)
            cli_say(&context->output, "Process %llu has the store but does not answer.",
                    (unsigned long long)cli_field_uint(stats, "pid"));
    }
    cli_buffer_free(&row);
    return code;
}
