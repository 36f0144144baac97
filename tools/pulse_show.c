/* pulse_show.c - how a store does, as lines for a screen and as a row for scripts.
 *
 * Happy path: a heading, five lines of sums, a table of types, the busiest first. The
 * caller cuts off what is too much. One thread. */
#include "tools/pulse.h"
#include "tools/render.h"
#include "tools/times.h"

#include <math.h>

static const char help[] =
    "\n"
    "  q            end\n"
    "  p, space     look no further for now; again: go on\n"
    "  + -          a longer, a shorter interval\n"
    "  r            look now\n"
    "  d            busiest types first (handled a second)\n"
    "  f            failing types first\n"
    "  c            those first to which most comes\n"
    "  b            those first for which most waits\n"
    "  n            by name\n"
    "  ?            back\n"
    "\n"
    "  Rates come from counters of the engine and cost it next to nothing. What waits by\n"
    "  type is counted by reading all messages, so with a large backlog it is older.\n";

static void bold(cli_buffer *to, const pulse_look_of *look, const char *code, const char *text)
{
    if (look->color)
        cli_buffer_format(to, "\033[%sm", code);
    cli_buffer_text(to, text);
    if (look->color)
        cli_buffer_text(to, "\033[0m");
}

static void put_count(cli_buffer *to, double count)
{
    static const char units[] = " kMGT";
    size_t unit = 0;
    while (count >= 9999.5 && unit < 4) {
        count /= 1000;
        unit++;
    }
    if (unit == 0)
        cli_buffer_format(to, count > 0 && count < 9.95 && fabs(count - round(count)) > 0.04
                                  ? "%.1f" : "%.0f", count);
    else
        cli_buffer_format(to, count < 99.95 ? "%.1f%c" : "%.0f%c", count, units[unit]);
}

static void put_sum(cli_buffer *to, const char *name, double count, const char *unit)
{
    cli_buffer_text(to, name);
    cli_buffer_byte(to, ' ');
    put_count(to, count);
    cli_buffer_text(to, unit);
}

static void put_bytes(cli_buffer *to, const char *name, hf_bytes row, const char *field)
{
    cli_buffer_text(to, name);
    cli_buffer_byte(to, ' ');
    cli_cell(to, row, &(cli_column){ name, field, CLI_AS_BYTES }, true, 0);
}

static void put_micros(cli_buffer *to, const char *name, double us)
{
    if (us < 1)
        cli_buffer_format(to, "%s -", name);
    else if (us < 1000)
        cli_buffer_format(to, "%s %.0f us", name, us);
    else
        cli_buffer_format(to, us < 1e5 ? "%s %.1f ms" : "%s %.0f ms", name, us / 1000);
}

/* ---- Lines */

static void put_heading(const pulse *p, const pulse_look_of *look, cli_buffer *to)
{
    char when[CLI_TIME_ROOM];
    bold(to, look, "1", "holdfast top");
    cli_buffer_text(to, "  ");
    cli_render_safe(to, hf_str(look->path));
    if (p->lives)
        cli_buffer_format(to, "  process %llu", (unsigned long long)p->pid);
    if (cli_time_iso(when, cli_now_ms()))
        cli_buffer_format(to, "  %.8s UTC", when + 11);
    cli_buffer_format(to, "  every %.3g s", (double)look->interval_ms / 1000);
    if (look->still)
        bold(to, look, "7", "  stands still: p goes on");
    cli_buffer_byte(to, '\n');
    if (p->said[0] != 0) {
        bold(to, look, "31;1", "! ");
        cli_render_safe(to, hf_str(p->said));
        cli_buffer_text(to, "; looking again");
    } else if (p->changes > 0 && !p->rates) {
        cli_buffer_text(to, "Another engine has the store now.");
    }
    cli_buffer_byte(to, '\n');
}

static void put_rates(const pulse *p, cli_buffer *to)
{
    put_sum(to, "sent", p->sent_s, "/s");
    put_sum(to, "  done", p->done_s, "/s");
    put_sum(to, "  failed", p->failed_s, "/s");
    put_sum(to, "  dead", p->dead_s, "/s");
    put_sum(to, "  commits", p->commits_s, "/s");
    put_micros(to, "  p50", p->p50_us);
    put_micros(to, "  p99", p->p99_us);
    cli_buffer_byte(to, '\n');
    put_sum(to, "waiting", (double)p->waiting, "");
    put_sum(to, "  running", (double)p->turns, "");
    put_sum(to, "  stuck", (double)p->stuck, "");
    put_sum(to, "  retrying", (double)p->retrying, "");
    put_sum(to, "  delayed", (double)p->delayed, "");
    put_sum(to, "  held", (double)p->held, "");
    put_sum(to, "  paused", (double)p->paused, "");
    put_sum(to, "  dead", (double)p->dead, "\n");
}

static void put_store(const pulse *p, const pulse_look_of *look, cli_buffer *to)
{
    hf_bytes row = cli_buffer_bytes(&p->row), tables = cli_field_map(row, "table_bytes");
    uint64_t window = cli_field_uint(row, "window_bytes"),
             most = cli_field_uint(row, "window_max_bytes");
    if (row.len == 0)
        return;
    put_bytes(to, "window", row, "window_bytes");
    if (most > 0)
        cli_buffer_format(to, " (%.0f %%)", 100 * (double)window / (double)most);
    put_bytes(to, "  inbox", tables, "inbox");
    put_bytes(to, "  states", tables, "state");
    put_bytes(to, "  dead", tables, "dead");
    put_bytes(to, "  free", row, "free_bytes");
    cli_buffer_byte(to, '\n');
    put_bytes(to, "file", row, "file_bytes");
    put_bytes(to, "  reserved tail", row, "tail_bytes");
    put_bytes(to, "  disk free", row, "disk_free_bytes");
    put_sum(to, "  in memory", (double)cli_field_uint(row, "residents"), " actors");
    if (cli_field_bool(row, "full"))
        bold(to, look, "31;1", "  FULL: who sends waits for room");
    cli_buffer_byte(to, '\n');
}

static void put_cell(cli_buffer *to, double count, bool known)
{
    cli_buffer cell = { 0 };
    if (known && count > 0)
        put_count(&cell, count);
    else
        cli_buffer_text(&cell, "-");
    for (size_t i = cell.len; i < 9; i++)
        cli_buffer_byte(to, ' ');
    cli_buffer_add(to, cell.data, cell.len);
    cli_buffer_free(&cell);
}

static void put_type(const pulse *p, const pulse_type *t, cli_buffer *to)
{
    char when[CLI_TIME_ROOM] = "";
    cli_buffer_format(to, "%-16.64s", t->name);
    put_cell(to, t->came_s, p->rates);
    put_cell(to, t->done_s, p->rates);
    put_cell(to, t->failed_s, p->rates);
    put_cell(to, t->dead_s, p->rates);
    put_cell(to, (double)(t->waiting + t->running), p->counted);
    put_cell(to, (double)t->retrying, p->counted);
    put_cell(to, (double)t->held, p->counted);
    put_cell(to, (double)t->paused, p->counted);
    put_cell(to, (double)t->buried, p->counted);
    if (t->oldest > 0)
        cli_time_relative(when, t->oldest, cli_now_ms());
    cli_buffer_format(to, "  %s%s\n", when, t->stopped ? "  paused" : "");
}

void pulse_lines(pulse *p, const pulse_look_of *look, cli_buffer *lines)
{
    put_heading(p, look, lines);
    if (look->help) {
        cli_buffer_text(lines, help);
        return;
    }
    put_rates(p, lines);
    put_store(p, look, lines);
    pulse_sort(p, look->sort);
    cli_buffer_byte(lines, '\n');
    bold(lines, look, "1", "TYPE               CAME/s   DONE/s FAILED/s   DEAD/s  WAITING RETRYING"
                           "     HELD   PAUSED     DEAD  OLDEST");
    cli_buffer_byte(lines, '\n');
    for (size_t i = 0; i < p->type_count; i++)
        put_type(p, &p->types[i], lines);
    uint64_t age = p->counted ? (cli_now_ns() - p->counted_ns) / 1000000000 : 0;
    if (age > 10)
        cli_buffer_format(lines, "\nWAITING to OLDEST were counted %llu s ago.\n",
                          (unsigned long long)age);
}

/* ---- For scripts */

static void put_real(cli_buffer *row, uint32_t *count, const char *name, double value)
{
    cli_pack_text(row, name);
    cli_pack_double(row, round(value * 1000) / 1000);
    ++*count;
}

static void put_uint(cli_buffer *row, uint32_t *count, const char *name, uint64_t value)
{
    cli_pack_text(row, name);
    cli_pack_uint(row, value);
    ++*count;
}

static void put_type_row(cli_buffer *to, const pulse_type *t)
{
    cli_buffer row = { 0 };
    uint32_t count = 2;
    cli_pack_text(&row, "type");
    cli_pack_text(&row, t->name);
    cli_pack_text(&row, "paused_type");
    cli_pack_bool(&row, t->stopped);
    put_real(&row, &count, "came_per_s", t->came_s);
    put_real(&row, &count, "done_per_s", t->done_s);
    put_real(&row, &count, "failed_per_s", t->failed_s);
    put_real(&row, &count, "dead_per_s", t->dead_s);
    put_uint(&row, &count, "waiting", t->waiting);
    put_uint(&row, &count, "delayed", t->delayed);
    put_uint(&row, &count, "retrying", t->retrying);
    put_uint(&row, &count, "held", t->held);
    put_uint(&row, &count, "paused", t->paused);
    put_uint(&row, &count, "running", t->running);
    put_uint(&row, &count, "dead", t->buried);
    if (t->oldest > 0)
        put_uint(&row, &count, "oldest", t->oldest);
    cli_pack_map(to, count);
    cli_buffer_add(to, row.data, row.len);
    cli_buffer_free(&row);
}

void pulse_row(const pulse *p, cli_buffer *to)
{
    static const char *const same[] = { "source", "pid", "started", "window_bytes",
                                        "window_max_bytes", "file_bytes", "free_bytes",
                                        "tail_bytes", "disk_free_bytes", "table_bytes", "full" };
    cli_buffer row = { 0 };
    uint32_t count = 0;
    hf_bytes from = cli_buffer_bytes(&p->row), rest = from;
    cli_value map, key;
    put_real(&row, &count, "seconds", p->seconds);
    put_real(&row, &count, "sent_per_s", p->sent_s);
    put_real(&row, &count, "done_per_s", p->done_s);
    put_real(&row, &count, "failed_per_s", p->failed_s);
    put_real(&row, &count, "dead_per_s", p->dead_s);
    put_real(&row, &count, "commits_per_s", p->commits_s);
    put_real(&row, &count, "bytes_per_s", p->bytes_s);
    put_real(&row, &count, "commit_p50_us", p->p50_us);
    put_real(&row, &count, "commit_p99_us", p->p99_us);
    put_uint(&row, &count, "waiting", p->waiting);
    put_uint(&row, &count, "running", p->turns);
    put_uint(&row, &count, "stuck", p->stuck);
    put_uint(&row, &count, "retrying", p->retrying);
    put_uint(&row, &count, "delayed", p->delayed);
    put_uint(&row, &count, "held", p->held);
    put_uint(&row, &count, "paused", p->paused);
    put_uint(&row, &count, "dead", p->dead);
    for (uint64_t left = cli_next_head(&rest, &map) ? map.number : 0; left > 0; left--) {
        hf_bytes pair = rest;
        cli_value value;
        if (!cli_next(&rest, &key) || !cli_next(&rest, &value))
            break;
        for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
            if (key.bytes.len == strlen(same[i])
                && memcmp(key.bytes.data, same[i], key.bytes.len) == 0) {
                cli_buffer_add(&row, pair.data, pair.len - rest.len);
                count++;
            }
        }
    }
    cli_pack_text(&row, "types");
    cli_pack_array(&row, (uint32_t)p->type_count);
    for (size_t i = 0; i < p->type_count; i++)
        put_type_row(&row, &p->types[i]);
    cli_pack_map(to, count + 1);
    cli_buffer_add(to, row.data, row.len);
    cli_buffer_free(&row);
}
