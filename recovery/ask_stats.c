/* ask_stats.c - the question `stats`: sizes, counts, who answers.
 *
 * Happy path: one snapshot counts what waits and is dead, the disk says how much
 * room there is, a living engine adds its counters. Any thread. */
#include "recovery/arguments.h"
#include "recovery/question.h"

#include "storage/clock.h"
#include "storage/kept.h"
#include "storage/marker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { READERS_TOLD = 64 };

typedef struct counts {
    uint64_t waiting, dead, alarms;
    uint64_t window_bytes, tail, history_bytes;
    uint64_t rows[HF_TABLES], bytes[HF_TABLES];
} counts;

static int count_one(void *user, hf_bytes key, hf_bytes payload)
{
    (void)key, (void)payload;
    ++*(uint64_t *)user;
    return HF_OK;
}

/* Alarms and delayed messages; not those that went off. */
static int count_due(void *user, hf_bytes key, hf_bytes payload)
{
    uint64_t due, generation;
    (void)key;
    int err = hf_fate_alarm(payload, &due, &generation);
    *(uint64_t *)user += !err && due;
    return err;
}

static int count_view(hf_disk *disk, bool waiting, counts *c, uint64_t *head)
{
    hf_view_of *view;
    int err = hf_view_open(&view, disk);
    if (err)
        return err;
    *head = hf_view_next(view);
    hf_bytes all = hf_view("", 0);
    err = hf_view_walk(view, HF_IN_DEAD, all, count_one, &c->dead);
    if (!err && waiting) /* an engine knows without looking */
        err = hf_view_walk(view, HF_IN_INBOX, all, count_one, &c->waiting);
    if (!err)
        err = hf_view_walk(view, HF_IN_ALARM_NAMES, all, count_due, &c->alarms);
    hf_view_close(view);
    return err;
}

static int count_log(hf_txn *txn, counts *c)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    uint64_t tail;
    int err = hf_kept_tail(txn, &tail);
    if (!err)
        err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
    if (err)
        return err;
    for (err = hf_cursor_first(cursor, &key, &value); !err;
         err = hf_cursor_next(cursor, &key, &value)) {
        if (key.len == 8 && hf_get64_key(key.data) < tail) {
            c->history_bytes += value.len;
            continue;
        }
        if (!c->window_bytes && key.len == 8)
            c->tail = hf_get64_key(key.data);
        c->window_bytes += value.len;
    }
    hf_cursor_close(cursor);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static int count_tables(hf_disk *disk, counts *c)
{
    hf_txn *txn;
    int err = hf_txn_read(disk, &txn);
    if (err)
        return err;
    for (int t = 0; !err && t < HF_TABLES; t++)
        err = hf_txn_size(txn, (hf_table)t, &c->rows[t], &c->bytes[t]);
    if (!err)
        err = count_log(txn, c);
    hf_txn_abort(txn);
    return err;
}

static void put_identity(hf_inquiry *inquiry)
{
    hf_out *out = &inquiry->row;
    char uuid[33];
    const uint8_t *bytes = hf_disk_uuid(inquiry->disk);
    for (int i = 0; i < 16; i++)
        (void)snprintf(uuid + 2 * i, 3, "%02x", bytes[i]);
    hf_out_text(out, "source", hf_str(inquiry->source));
    hf_out_time(out, "pid", inquiry->pid);
    hf_out_uint(out, "format", HF_FORMAT);
    hf_out_text(out, "lmdb", hf_str(hf_disk_lmdb(inquiry->disk)));
    hf_out_text(out, "uuid", hf_str(uuid));
    hf_out_uint(out, "now", hf_clock_wall_ms());
}

static void put_space(hf_inquiry *inquiry, const counts *c, uint64_t head)
{
    hf_out *out = &inquiry->row;
    hf_space space = { 0 };
    hf_out_uint(out, "window_bytes", c->window_bytes);
    hf_out_uint(out, "history_bytes", c->history_bytes);
    hf_out_uint(out, "head", head);
    hf_out_uint(out, "tail", c->tail ? c->tail : head);
    if (hf_disk_space(inquiry->disk, &space) == HF_OK) {
        hf_out_uint(out, "file_bytes", space.file_bytes);
        hf_out_uint(out, "free_bytes", space.free_bytes);
        hf_out_uint(out, "tail_bytes", space.tail_bytes);
        hf_out_uint(out, "map_bytes", space.map_bytes);
        hf_out_uint(out, "disk_free_bytes", space.disk_free_bytes);
    }
}

static void put_tables(hf_out *out, const counts *c)
{
    static const char *const names[HF_TABLES] = {
        [HF_IN_LOG] = "log",       [HF_IN_INBOX] = "inbox",
        [HF_IN_STATE] = "state",   [HF_IN_ALARMS] = "alarms",
        [HF_IN_DEAD] = "dead",     [HF_IN_ALARM_NAMES] = "alarm_names",
        [HF_IN_STEPS] = "steps",   [HF_IN_PAUSES] = "pauses",
        [HF_IN_ROWS] = "rows",     [HF_IN_DEDUPE] = "dedupe",   [HF_IN_TOPICS] = "topics",
        [HF_IN_META] = "meta",
    };
    hf_out_map(out, "tables");
    for (int t = 0; t < HF_TABLES; t++)
        if (names[t])
            hf_out_uint(out, names[t], c->rows[t]);
    hf_out_end(out);
    hf_out_map(out, "table_bytes");
    for (int t = 0; t < HF_TABLES; t++)
        if (names[t])
            hf_out_uint(out, names[t], c->bytes[t]);
    hf_out_end(out);
}

/* The types that have a breaker or a rate, and how those stand. */
static void put_limits(hf_out *out, const hf_living *living)
{
    const char *type;
    hf_out_array(out, "limits");
    for (uint32_t i = 0; (type = living->type(living->user, i)); i++) {
        hf_limited l;
        if (!living->limit(living->user, type, strlen(type), &l))
            continue;
        hf_out_map(out, NULL);
        hf_out_text(out, "type", hf_str(type));
        hf_out_bool(out, "held", l.held);
        hf_out_time(out, "until", l.until);
        if (l.breaker) {
            hf_out_text(out, "breaker", hf_str(l.probes ? "probes" : l.open ? "open" : "closed"));
            hf_out_uint(out, "failures", l.failures);
        }
        if (l.rate) {
            hf_out_uint(out, "rate", l.rate);
            hf_out_uint(out, "rate_ms", l.rate_ms);
        }
        hf_out_end(out);
    }
    hf_out_end(out);
}

typedef struct reader_list {
    hf_out  *out;
    uint32_t left;
} reader_list;

static int put_reader(void *user, uint64_t pid, uint64_t behind)
{
    reader_list *l = user;
    if (!l->left)
        return HF_OK;
    l->left--;
    hf_out_map(l->out, NULL);
    hf_out_uint(l->out, "pid", pid);
    hf_out_uint(l->out, "behind", behind);
    hf_out_bool(l->out, "gone", kill((pid_t)pid, 0) != 0 && errno == ESRCH);
    hf_out_end(l->out);
    return HF_OK;
}

/* Who has a snapshot open. What can't be listed is left out. */
static void put_readers(hf_out *out, hf_disk *disk)
{
    reader_list l = { out, READERS_TOLD };
    hf_out_array(out, "readers");
    (void)hf_disk_readers(disk, put_reader, &l);
    hf_out_end(out);
}

static void put_all(hf_inquiry *inquiry, const counts *c, uint64_t head)
{
    hf_out *out = &inquiry->row;
    char stop[512];
    put_space(inquiry, c, head);
    put_readers(out, inquiry->disk);
    if (hf_disk_last_stop(inquiry->disk, stop, sizeof stop) == HF_OK)
        hf_out_text(out, "last_stop", hf_str(stop));
    put_tables(out, c);
}

int hf_ask_stats(hf_inquiry *inquiry, hf_bytes arguments)
{
    const hf_living *living = inquiry->living;
    hf_out *out = &inquiry->row;
    counts c = { 0 };
    uint64_t head = 0;
    int err = hf_arguments_read("stats", arguments, NULL, 0);
    if (!err)
        err = count_view(inquiry->disk, !living, &c, &head);
    if (!err)
        err = count_tables(inquiry->disk, &c);
    if (err)
        return err;
    hf_out_map(out, NULL);
    put_identity(inquiry);
    if (living) {
        living->stats(living->user, out);
        hf_out_bool(out, "full", living->full(living->user));
        put_limits(out, living);
    } else {
        hf_out_uint(out, "waiting", c.waiting);
        hf_out_uint(out, "running", 0);
    }
    hf_out_uint(out, "alarms", c.alarms);
    hf_out_uint(out, "dead_total", c.dead);
    put_all(inquiry, &c, head);
    return hf_inquiry_tell(inquiry);
}

/* What an engine can tell without reading messages: to be asked every second. */
int hf_ask_top(hf_inquiry *inquiry, hf_bytes arguments)
{
    const hf_living *living = inquiry->living;
    hf_out *out = &inquiry->row;
    counts c = { 0 };
    int err = hf_arguments_read("top", arguments, NULL, 0);
    if (!err)
        err = count_tables(inquiry->disk, &c);
    if (err)
        return err;
    hf_out_map(out, NULL);
    put_identity(inquiry);
    if (living) {
        living->stats(living->user, out);
        hf_out_bool(out, "full", living->full(living->user));
        put_limits(out, living);
    }
    put_all(inquiry, &c, c.tail);
    return hf_inquiry_tell(inquiry);
}
