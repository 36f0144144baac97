/* pulse.c - how a store does: two looks at its counters, and what lies between them.
 *
 * Happy path: ask `top`, which reads no messages; what changed since the last time,
 * divided by the time, is a rate. Now and then `ls` counts what waits, by type. When the
 * engine goes away, or another one comes, rates begin anew. One thread. */
#include "tools/pulse.h"
#include "tools/times.h"

#include <stdlib.h>

static void keep_name(char to[PULSE_NAME], hf_bytes name)
{
    size_t len = name.len < PULSE_NAME ? name.len : PULSE_NAME - 1;
    if (len > 0)
        memcpy(to, name.data, len);
    to[len] = 0;
}

static pulse_type *type_of(pulse *p, hf_bytes name)
{
    for (size_t i = 0; i < p->type_count; i++) {
        if (strlen(p->types[i].name) == name.len
            && memcmp(p->types[i].name, name.data, name.len) == 0)
            return &p->types[i];
    }
    if (p->type_count == PULSE_TYPES)
        return NULL;
    pulse_type *t = &p->types[p->type_count++];
    *t = (pulse_type){ .oldest = 0 };
    keep_name(t->name, name);
    return t;
}

/* The next element of a list, whole. */
static bool next_row(hf_bytes *list, hf_bytes *row)
{
    cli_value element;
    hf_bytes from = *list;
    if (!cli_next(list, &element))
        return false;
    *row = hf_view(from.data, from.len - list->len);
    return true;
}

static double rate_of(uint64_t now, uint64_t before, double seconds)
{
    return seconds > 0 && now > before ? (double)(now - before) / seconds : 0;
}

/* ---- Latency */

static size_t read_buckets(hf_bytes row, uint64_t bounds[PULSE_BUCKETS],
                           uint64_t counts[PULSE_BUCKETS])
{
    hf_bytes list = cli_field_list(row, "commit_us"), pair;
    size_t count = 0;
    while (count < PULSE_BUCKETS && next_row(&list, &pair)) {
        cli_value head, bound, much;
        if (!cli_next_head(&pair, &head) || !cli_next(&pair, &bound) || !cli_next(&pair, &much))
            break;
        bounds[count] = bound.number;
        counts[count++] = much.number;
    }
    return count;
}

/* A part of the commits in `row` but not in `last`: microseconds, about; 0: none. */
static double percentile(hf_bytes row, hf_bytes last, double part)
{
    uint64_t bounds[PULSE_BUCKETS], counts[PULSE_BUCKETS], old[PULSE_BUCKETS],
        olds[PULSE_BUCKETS], total = 0, seen = 0;
    size_t count = read_buckets(row, bounds, counts);
    size_t before = read_buckets(last, old, olds);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < before; k++) {
            if (old[k] == bounds[i] && olds[k] <= counts[i])
                counts[i] -= olds[k];
        }
        total += counts[i];
    }
    for (size_t i = 0; i < count; i++) {
        double wanted = (double)total * part, low = (double)(bounds[i] / 2);
        if (counts[i] > 0 && (double)(seen + counts[i]) >= wanted)
            return low + ((double)bounds[i] - low) * (wanted - (double)seen) / (double)counts[i];
        seen += counts[i];
    }
    return 0;
}

/* ---- Looks */

static void take_types(pulse *p, hf_bytes row, double seconds)
{
    hf_bytes list = cli_field_list(row, "types"), one;
    while (next_row(&list, &one)) {
        pulse_type *t = type_of(p, cli_field_text(one, "type"));
        if (t == NULL)
            return;
        uint64_t came = cli_field_uint(one, "came"), done = cli_field_uint(one, "done");
        uint64_t failed = cli_field_uint(one, "failed"), dead = cli_field_uint(one, "dead");
        t->came_s = rate_of(came, t->came, seconds);
        t->done_s = rate_of(done, t->done, seconds);
        t->failed_s = rate_of(failed, t->failed, seconds);
        t->dead_s = rate_of(dead, t->dead, seconds);
        t->came = came;
        t->done = done;
        t->failed = failed;
        t->dead = dead;
        t->defined = true;
    }
}

static void compare(pulse *p, uint64_t now)
{
    hf_bytes row = cli_buffer_bytes(&p->row), last = cli_buffer_bytes(&p->last);
    const struct {
        const char *name;
        double     *rate;
    } rates[] = { { "accepted", &p->sent_s }, { "committed", &p->done_s },
                  { "failed", &p->failed_s }, { "dead", &p->dead_s },
                  { "commits", &p->commits_s }, { "bytes", &p->bytes_s } };
    bool same = p->last.len > 0 && cli_field_uint(row, "pid") == cli_field_uint(last, "pid")
                && cli_field_uint(row, "started") == cli_field_uint(last, "started");
    p->rates = same && p->lives && now > p->at_ns;
    p->seconds = p->rates ? (double)(now - p->at_ns) / 1e9 : 0;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++)
        *rates[i].rate = p->rates ? rate_of(cli_field_uint(row, rates[i].name),
                                            cli_field_uint(last, rates[i].name), p->seconds) : 0;
    p->p50_us = p->rates ? percentile(row, last, 0.50) : 0;
    p->p99_us = p->rates ? percentile(row, last, 0.99) : 0;
    if (p->last.len > 0 && !same && p->lives)
        p->changes++;
    take_types(p, row, p->seconds);
}

static int count_row(void *user, hf_bytes row)
{
    pulse *p = user;
    cli_value scanned;
    pulse_type *t = cli_field(row, "scanned", &scanned) ? NULL
                                                       : type_of(p, cli_field_text(row, "type"));
    if (t == NULL)
        return HF_OK;
    const struct {
        const char *name;
        uint64_t   *one, *all;
    } sums[] = { { "waiting", &t->waiting, NULL }, { "delayed", &t->delayed, &p->delayed },
                 { "retrying", &t->retrying, &p->retrying }, { "held", &t->held, &p->held },
                 { "paused", &t->paused, &p->paused }, { "running", &t->running, NULL },
                 { "dead", &t->buried, &p->dead } };
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        *sums[i].one = cli_field_uint(row, sums[i].name);
        if (sums[i].all != NULL)
            *sums[i].all += *sums[i].one;
    }
    t->oldest = cli_field_uint(row, "oldest");
    t->defined = cli_field_bool(row, "defined");
    t->stopped = cli_field_map(row, "pause").len > 0;
    return HF_OK;
}

/* Counting reads all messages: it may take a fiftieth of the time. */
static void count(cli_context *context, pulse *p)
{
    uint64_t began = cli_now_ns();
    if (p->counted && began - p->counted_ns < p->count_took_ns * 50)
        return;
    p->delayed = p->retrying = p->held = p->paused = p->dead = 0;
    for (size_t i = 0; i < p->type_count; i++)
        p->types[i].waiting = p->types[i].delayed = p->types[i].retrying = p->types[i].held =
            p->types[i].paused = p->types[i].running = p->types[i].buried = p->types[i].oldest = 0;
    p->counted = hf_query(context->store, "ls", hf_view(NULL, 0), count_row, p) == HF_OK;
    p->counted_ns = cli_now_ns();
    p->count_took_ns = p->counted_ns - began;
}

void pulse_look(cli_context *context, pulse *p)
{
    cli_buffer swap = p->last;
    p->last = p->row;
    p->row = swap;
    p->row.len = 0;
    p->said[0] = 0;
    int err = hf_query(context->store, "top", hf_view(NULL, 0), cli_keep_row, &p->row);
    uint64_t now = cli_now_ns();
    if (err != HF_OK) {
        (void)snprintf(p->said, sizeof p->said, "%s: %.200s", hf_strerror(err), hf_detail());
        p->row.len = 0;
    }
    hf_bytes row = cli_buffer_bytes(&p->row), source = cli_field_text(row, "source");
    p->lives = source.len == 6;
    p->pid = cli_field_uint(row, "pid");
    if (err == HF_OK && source.len == 4 && p->pid == 0)
        (void)snprintf(p->said, sizeof p->said, "no engine has the store");
    else if (err == HF_OK && !p->lives)
        (void)snprintf(p->said, sizeof p->said, "process %llu has the store but does not answer",
                       (unsigned long long)p->pid);
    p->waiting = cli_field_uint(row, "waiting");
    p->stuck = cli_field_uint(row, "stuck");
    p->turns = cli_field_uint(row, "turns");
    compare(p, now);
    p->at_ns = now;
    if (err == HF_OK)
        count(context, p);
    if (!p->lives) {
        for (size_t i = 0; i < p->type_count; i++)
            p->waiting += p->types[i].waiting + p->types[i].retrying + p->types[i].held
                          + p->types[i].paused;
    }
}

void pulse_free(pulse *p)
{
    cli_buffer_free(&p->row);
    cli_buffer_free(&p->last);
}

/* ---- Order */

/* All that waits, whatever for. */
static uint64_t backlog_of(const pulse_type *t)
{
    return t->waiting + t->delayed + t->retrying + t->held + t->paused + t->running;
}

static int sort_by; /* qsort hands nothing on */

static double weight(const pulse_type *t)
{
    switch (sort_by) {
    case 'f': return t->failed_s * 1e6 + t->dead_s * 1e6 + (double)t->failed / 1e9;
    case 'c': return t->came_s * 1e6 + (double)t->came / 1e9;
    case 'b': return (double)backlog_of(t);
    default:  return t->done_s * 1e6 + (double)backlog_of(t) / 1e9;
    }
}

static int by_weight(const void *pa, const void *pb)
{
    const pulse_type *a = pa, *b = pb;
    double x = sort_by == 'n' ? 0 : weight(a), y = sort_by == 'n' ? 0 : weight(b);
    if (x != y)
        return x > y ? -1 : 1;
    return strcmp(a->name, b->name);
}

void pulse_sort(pulse *p, int by)
{
    sort_by = by;
    qsort(p->types, p->type_count, sizeof *p->types, by_weight);
}
