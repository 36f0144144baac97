/* cmd_stats.c - `holdfast stats`: counters, commit latency, sizes, headroom.
 *
 * Asks `stats`; who answered (engine or disk) is its first line. One thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/openmetrics.h"
#include "tools/pack.h"

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
};

static const cli_column plain_fields[] = {
    { "limits", "limits", CLI_AS_JSON },
    { "rows", "tables", CLI_AS_JSON },
};

static const cli_column latencies[] = {
    { "BELOW US", "below", CLI_AS_ID },
    { "COMMITS", "commits", CLI_AS_ID },
};

static const cli_column tables[] = {
    { "TABLE", "table", CLI_AS_TEXT },
    { "ROWS", "rows", CLI_AS_ID },
    { "SIZE", "size", CLI_AS_BYTES },
};

static const cli_column limits[] = {
    { "TYPE", "type", CLI_AS_TEXT },    { "HELD", "held", CLI_AS_TEXT },
    { "UNTIL", "until", CLI_AS_TIME },  { "BREAKER", "breaker", CLI_AS_TEXT },
    { "FAILED", "failures", CLI_AS_ID }, { "TURNS", "rate", CLI_AS_ID },
    { "IN MS", "rate_ms", CLI_AS_ID },
};

static const cli_column readers[] = {
    { "READER", "pid", CLI_AS_ID },
    { "COMMITS BEHIND", "behind", CLI_AS_ID },
    { "GONE", "gone", CLI_AS_TEXT },
};

/* As a list of rows: [[bound, commits], ...]. */
static void pack_latencies(cli_buffer *to, hf_bytes stats)
{
    hf_bytes list = cli_field_list(stats, "commit_us"), from = list;
    cli_value pair, bound, count;
    uint32_t pairs = 0;
    while (cli_next(&from, &pair))
        pairs++;
    cli_pack_text(to, "latencies");
    cli_pack_array(to, pairs);
    while (pairs-- > 0 && cli_next_head(&list, &pair) && cli_next(&list, &bound)
           && cli_next(&list, &count)) {
        cli_pack_map(to, 2);
        cli_pack_text(to, "below");
        cli_pack_uint(to, bound.number);
        cli_pack_text(to, "commits");
        cli_pack_uint(to, count.number);
    }
}

/* {table: rows}, {table: bytes}; empty ones are left out. */
static void pack_tables(cli_buffer *to, hf_bytes stats)
{
    hf_bytes rows = cli_field_map(stats, "tables"), bytes = cli_field_map(stats, "table_bytes");
    cli_buffer list = { 0 };
    cli_value head, name, count, size;
    uint32_t shown = 0;
    if (rows.len > 0 && cli_next_head(&rows, &head))
        for (uint64_t i = 0; i < head.number && cli_next(&rows, &name) && cli_next(&rows, &count);
             i++) {
            char text[32];
            (void)snprintf(text, sizeof text, HF_FMT, HF_ARG(name.bytes));
            size.number = cli_field(bytes, text, &size) ? size.number : 0;
            if (count.number == 0 && size.number == 0)
                continue;
            cli_pack_map(&list, 3);
            cli_pack_text(&list, "table");
            cli_pack_text(&list, text);
            cli_pack_text(&list, "rows");
            cli_pack_uint(&list, count.number);
            cli_pack_text(&list, "size");
            cli_pack_uint(&list, size.number);
            shown++;
        }
    cli_pack_text(to, "classes");
    cli_pack_array(to, shown);
    cli_buffer_add(to, list.data, list.len);
    cli_buffer_free(&list);
}

static void print_stats(cli_output *output, hf_bytes stats)
{
    cli_record(output, stats, fields, sizeof fields / sizeof *fields);
    if (output->format == CLI_PLAIN)
        cli_record(output, stats, plain_fields, sizeof plain_fields / sizeof *plain_fields);
    if (output->format != CLI_TABLE)
        return;
    cli_buffer more = { 0 };
    cli_pack_map(&more, 2);
    pack_latencies(&more, stats);
    pack_tables(&more, stats);
    hf_bytes row = cli_buffer_bytes(&more);
    cli_sublist(output, row, "latencies", "How long commits took", latencies,
                sizeof latencies / sizeof *latencies);
    cli_sublist(output, row, "classes", "What the file holds", tables,
                sizeof tables / sizeof *tables);
    cli_sublist(output, stats, "limits", "Breakers and rates", limits,
                sizeof limits / sizeof *limits);
    cli_sublist(output, stats, "readers", "Who reads", readers, sizeof readers / sizeof *readers);
    cli_buffer_free(&more);
}

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
            print_stats(&context->output, stats);
        if (source.len == 4 && memcmp(source.data, "hung", 4) == 0)
            cli_say(&context->output, "Process %llu has the store but does not answer.",
                    (unsigned long long)cli_field_uint(stats, "pid"));
    }
    cli_buffer_free(&row);
    return code;
}
