/* openmetrics.c - a row of the question `stats` in the text format of OpenMetrics.
 *
 * Happy path: each family has its TYPE, UNIT and HELP, then its samples; what the row
 * lacks (nobody answers but the disk) is left out; `# EOF` ends it. Never fails.
 * One thread. */
#include "tools/openmetrics.h"

#include <stdio.h>

/* Label values: backslash, quote and newline are escaped. */
static void put_label(cli_buffer *to, hf_bytes value)
{
    const uint8_t *at = value.data;
    for (size_t i = 0; i < value.len; i++) {
        if (at[i] == '\\' || at[i] == '"')
            cli_buffer_byte(to, '\\');
        if (at[i] == '\n')
            cli_buffer_text(to, "\\n");
        else
            cli_buffer_byte(to, at[i]);
    }
}

static void put_family(cli_buffer *to, const char *name, const char *type, const char *unit,
                       const char *help)
{
    cli_buffer_format(to, "# TYPE holdfast_%s %s\n", name, type);
    if (unit != NULL)
        cli_buffer_format(to, "# UNIT holdfast_%s %s\n", name, unit);
    cli_buffer_format(to, "# HELP holdfast_%s %s\n", name, help);
}

/* ---- Single numbers */

typedef struct plain {
    const char *field, *name, *type, *unit, *help;
} plain;

static const plain counters[] = {
    { "accepted", "messages_sent", "counter", NULL, "Messages that were committed." },
    { "committed", "turns_done", "counter", NULL, "Turns that succeeded." },
    { "failed", "turns_failed", "counter", NULL, "Turns that failed." },
    { "retried", "turns_retried", "counter", NULL, "Failed turns that are tried again." },
    { "dead", "messages_died", "counter", NULL, "Messages that became dead." },
    { "commits", "commits", "counter", NULL, "Commits, each synced to disk." },
    { "bytes", "written_bytes", "counter", "bytes", "Bytes put into the log." },
    { "flushed", "states_flushed", "counter", NULL, "States handed to flush hooks." },
    { "flush_failed", "flushes_failed", "counter", NULL, "Calls of flush hooks that failed." },
    { "clock_jumps", "clock_jumps", "counter", NULL, "Times the wall clock was set." },
};

static const plain gauges[] = {
    { "waiting", "messages_waiting", "gauge", NULL, "Messages not done and not dead." },
    { "running", "turns_running", "gauge", NULL, "Turns on pools, and unfinished ones." },
    { "stuck", "turns_stuck", "gauge", NULL, "Turns that run longer than stuck_ms." },
    { "dead_total", "messages_dead", "gauge", NULL, "Dead letters in the store." },
    { "alarms", "alarms", "gauge", NULL, "Alarms and delayed messages that are set." },
    { "dirty", "states_dirty", "gauge", NULL, "States that are not flushed yet." },
    { "residents", "actors_resident", "gauge", NULL, "Actors in memory." },
    { "resident_bytes", "actors_resident_bytes", "gauge", "bytes", "Memory of those actors." },
    { "window_max_bytes", "window_budget_bytes", "gauge", "bytes", "What the window may hold." },
    { "file_bytes", "store_file_bytes", "gauge", "bytes", "Size of the data file." },
    { "map_bytes", "store_map_bytes", "gauge", "bytes", "What the data file may grow to." },
    { "tail_bytes", "store_tail_bytes", "gauge", "bytes", "Allocated behind its end." },
    { "disk_free_bytes", "disk_free_bytes", "gauge", "bytes", "Free on the file system." },
};

static void put_plain(cli_buffer *to, hf_bytes stats, const plain *p)
{
    cli_value value;
    if (!cli_field(stats, p->field, &value) || value.kind != CLI_UINT)
        return;
    put_family(to, p->name, p->type, p->unit, p->help);
    cli_buffer_format(to, "holdfast_%s%s %llu\n", p->name, *p->type == 'c' ? "_total" : "",
                      (unsigned long long)value.number);
}

static void put_flags(cli_buffer *to, hf_bytes stats)
{
    hf_bytes source = cli_field_text(stats, "source");
    cli_value full;
    put_family(to, "up", "gauge", NULL, "1: an engine has the store and answers.");
    cli_buffer_format(to, "holdfast_up %d\n", source.len == 6);
    if (cli_field(stats, "full", &full)) {
        put_family(to, "full", "gauge", NULL, "1: turns that send wait for room.");
        cli_buffer_format(to, "holdfast_full %d\n", full.number != 0);
    }
    put_family(to, "build", "info", NULL, "Version of the engine, format of the store.");
    cli_buffer_text(to, "holdfast_build_info{version=\"");
    put_label(to, cli_field_text(stats, "version"));
    cli_buffer_format(to, "\",format=\"%llu\",uuid=\"",
                      (unsigned long long)cli_field_uint(stats, "format"));
    put_label(to, cli_field_text(stats, "uuid"));
    cli_buffer_text(to, "\"} 1\n");
    uint64_t started = cli_field_uint(stats, "started");
    if (started == 0)
        return;
    put_family(to, "started_timestamp_seconds", "gauge", "seconds", "When the engine was opened.");
    cli_buffer_format(to, "holdfast_started_timestamp_seconds %llu.%03llu\n",
                      (unsigned long long)(started / 1000), (unsigned long long)(started % 1000));
}

/* ---- Latency */

static void put_latency(cli_buffer *to, hf_bytes stats)
{
    hf_bytes list = cli_field_list(stats, "commit_us");
    cli_value pair, value;
    uint64_t seen = 0;
    if (!cli_field(stats, "commit_us_sum", &value))
        return;
    double sum = (double)value.number / 1e6;
    put_family(to, "commit_seconds", "histogram", "seconds", "How long commits took.");
    while (cli_next(&list, &pair)) {
        cli_value bound, count;
        hf_bytes rest = pair.bytes;
        if (pair.kind != CLI_ARRAY || !cli_next(&rest, &bound) || !cli_next(&rest, &count))
            break;
        seen += count.number;
        cli_buffer_format(to, "holdfast_commit_seconds_bucket{le=\"%.6f\"} %llu\n",
                          (double)bound.number / 1e6, (unsigned long long)seen);
    }
    cli_buffer_format(to, "holdfast_commit_seconds_bucket{le=\"+Inf\"} %llu\n",
                      (unsigned long long)seen);
    cli_buffer_format(to, "holdfast_commit_seconds_count %llu\n", (unsigned long long)seen);
    cli_buffer_format(to, "holdfast_commit_seconds_sum %.6f\n", sum);
}

/* ---- By class, type, reader */

static void put_class(cli_buffer *to, const char *family, const char *name, size_t len,
                      uint64_t value)
{
    cli_buffer_format(to, "holdfast_%s{class=\"", family);
    put_label(to, hf_view(name, len));
    cli_buffer_format(to, "\"} %llu\n", (unsigned long long)value);
}

static void put_tables(cli_buffer *to, hf_bytes stats)
{
    static const char *const maps[2][2] = { { "table_bytes", "store_class_bytes" },
                                            { "tables", "store_class_rows" } };
    for (int i = 0; i < 2; i++) {
        hf_bytes rest = cli_field_map(stats, maps[i][0]);
        cli_value map, key, value;
        put_family(to, maps[i][1], "gauge", i == 0 ? "bytes" : NULL,
                   i == 0 ? "What each part of the store takes." : "Rows of each part.");
        for (uint64_t left = cli_next_head(&rest, &map) ? map.number : 0; left > 0; left--) {
            if (!cli_next(&rest, &key) || !cli_next(&rest, &value))
                break;
            bool log = key.bytes.len == 3 && memcmp(key.bytes.data, "log", 3) == 0;
            bool state = key.bytes.len == 5 && memcmp(key.bytes.data, "state", 5) == 0;
            const char *name = log ? "window" : state ? "states" : key.bytes.data;
            put_class(to, maps[i][1], name, log || state ? 6 : key.bytes.len, value.number);
        }
        if (i == 0)
            put_class(to, maps[i][1], "free", 4, cli_field_uint(stats, "free_bytes"));
    }
}

static void put_types(cli_buffer *to, hf_bytes stats)
{
    static const plain fields[] = {
        { "came", "type_came", "counter", NULL, "Messages that reached their actor, by type." },
        { "done", "type_done", "counter", NULL, "Turns that succeeded, by type." },
        { "failed", "type_failed", "counter", NULL, "Turns that failed, by type." },
        { "retried", "type_retried", "counter", NULL, "Failed turns tried again, by type." },
        { "dead", "type_died", "counter", NULL, "Messages that became dead, by type." },
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        hf_bytes list = cli_field_list(stats, "types");
        if (list.len > 0)
            put_family(to, fields[i].name, fields[i].type, NULL, fields[i].help);
        while (list.len > 0) {
            hf_bytes from = list;
            cli_value element;
            if (!cli_next(&list, &element))
                break;
            hf_bytes row = hf_view(from.data, from.len - list.len);
            cli_buffer_format(to, "holdfast_%s_total{type=\"", fields[i].name);
            put_label(to, cli_field_text(row, "type"));
            cli_buffer_format(to, "\"} %llu\n",
                              (unsigned long long)cli_field_uint(row, fields[i].field));
        }
    }
}

/* A process may have several: a sample each would be the same one twice. */
static void put_readers(cli_buffer *to, hf_bytes stats)
{
    hf_bytes list = cli_field_list(stats, "readers");
    uint64_t pids[64], behind[64];
    size_t count = 0;
    while (list.len > 0) {
        hf_bytes from = list;
        cli_value element;
        size_t at = 0;
        if (!cli_next(&list, &element))
            break;
        hf_bytes row = hf_view(from.data, from.len - list.len);
        uint64_t pid = cli_field_uint(row, "pid"), late = cli_field_uint(row, "behind");
        while (at < count && pids[at] != pid)
            at++;
        if (at == 64)
            break;
        if (at == count)
            behind[count++] = 0;
        pids[at] = pid;
        behind[at] = late > behind[at] ? late : behind[at];
    }
    put_family(to, "readers", "gauge", NULL, "Processes that have a snapshot open.");
    cli_buffer_format(to, "holdfast_readers %zu\n", count);
    if (count > 0)
        put_family(to, "reader_behind_commits", "gauge", NULL,
                   "Commits since the oldest snapshot of a process.");
    for (size_t i = 0; i < count; i++)
        cli_buffer_format(to, "holdfast_reader_behind_commits{pid=\"%llu\"} %llu\n",
                          (unsigned long long)pids[i], (unsigned long long)behind[i]);
}

void cli_openmetrics(cli_buffer *to, hf_bytes stats)
{
    put_flags(to, stats);
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        put_plain(to, stats, &counters[i]);
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++)
        put_plain(to, stats, &gauges[i]);
    put_latency(to, stats);
    put_tables(to, stats);
    put_types(to, stats);
    put_readers(to, stats);
    cli_buffer_text(to, "# EOF\n");
}
