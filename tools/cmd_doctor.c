/* cmd_doctor.c - `holdfast doctor`: what could go wrong with a store, and what to do.
 *
 * Happy path: look at the directory, ask `stats` and `ls`, tell a finding for each thing
 * looked at. A store that can't be asked is a finding, too. Exit code 1 if one is bad.
 * One thread. */
#include "tools/commands.h"
#include "tools/astray.h"
#include "tools/doctor.h"

#include <stdarg.h>
#include <sys/resource.h>

static const cli_column columns[] = {
    { "", "level", CLI_AS_TEXT },
    { "LOOKED AT", "check", CLI_AS_TEXT },
    { "FOUND", "found", CLI_AS_TEXT },
};

static void put_text(cli_buffer *row, const char *name, const char *text)
{
    cli_pack_text(row, name);
    cli_pack_text(row, text);
}

void doctor_find(doctor *d, const char *check, doctor_level level, const char *format, ...)
{
    static const char *const names[] = { "ok", "warn", "bad" };
    char text[1024];
    va_list args;
    cli_buffer row = { 0 };
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    d->counts[level]++;
    cli_pack_map(&row, 3);
    put_text(&row, "level", names[level]);
    put_text(&row, "check", check);
    put_text(&row, "found", text);
    cli_list_row(&d->context->output, cli_buffer_bytes(&row));
    cli_buffer_free(&row);
}

const char *doctor_bytes(uint64_t bytes)
{
    static char texts[4][40];
    static int turn;
    cli_buffer row = { 0 }, cell = { 0 };
    char *text = texts[turn++ % 4];
    cli_pack_map(&row, 1);
    cli_pack_text(&row, "n");
    cli_pack_uint(&row, bytes);
    cli_cell(&cell, cli_buffer_bytes(&row), &(cli_column){ "", "n", CLI_AS_BYTES }, true, 0);
    (void)snprintf(text, sizeof texts[0], HF_FMT, HF_ARG(cli_buffer_bytes(&cell)));
    cli_buffer_free(&row);
    cli_buffer_free(&cell);
    return text;
}

/* ---- Of the question `stats` */

static void look_at_engine(doctor *d, hf_bytes row)
{
    hf_bytes source = cli_field_text(row, "source"), stop = cli_field_text(row, "last_stop");
    unsigned long long pid = cli_field_uint(row, "pid");
    if (source.len == 6)
        doctor_find(d, "engine", DOCTOR_OK, "Process %llu has the store and answers.", pid);
    else if (pid != 0)
        doctor_find(d, "engine", DOCTOR_BAD,
                    "Process %llu has the store but does not answer: look at it with a "
                    "debugger, or end it.", pid);
    else
        doctor_find(d, "engine", DOCTOR_OK, "None has the store.");
    if (stop.len == 0) {
        doctor_find(d, "last stop", DOCTOR_OK, "No engine has stopped by itself.");
        return;
    }
    char text[512];
    size_t len = stop.len < sizeof text ? stop.len : sizeof text - 1;
    memcpy(text, stop.data, len);
    while (len > 0 && text[len - 1] == '\n')
        len--;
    text[len] = 0;
    for (char *at = text; (at = strchr(at, '\n')) != NULL;)
        *at = ' ';
    doctor_find(d, "last stop", source.len == 6 ? DOCTOR_WARN : DOCTOR_BAD,
                "The engine stopped by itself: %s. Mend that, then start it again.", text);
}

static void look_at_versions(doctor *d, hf_bytes row)
{
    hf_bytes version = cli_field_text(row, "version");
    bool same = version.len == 0
                || (version.len == strlen(hf_version())
                    && memcmp(version.data, hf_version(), version.len) == 0);
    if (same)
        doctor_find(d, "versions", DOCTOR_OK, "holdfast %s, store format %llu, " HF_FMT ".",
                    hf_version(), (unsigned long long)cli_field_uint(row, "format"),
                    HF_ARG(cli_field_text(row, "lmdb")));
    else
        doctor_find(d, "versions", DOCTOR_WARN,
                    "The engine is version " HF_FMT ", this tool %s: use that of the engine.",
                    HF_ARG(version), hf_version());
}

static void look_at_room(doctor *d, hf_bytes row)
{
    uint64_t file = cli_field_uint(row, "file_bytes"), spare = cli_field_uint(row, "free_bytes");
    uint64_t map = cli_field_uint(row, "map_bytes"), tail = cli_field_uint(row, "tail_bytes");
    uint64_t want = cli_field_uint(row, "window_max_bytes") / 4, used = file - spare;
    bool lives = cli_field_text(row, "source").len == 6;
    if (cli_field_bool(row, "full"))
        doctor_find(d, "headroom", DOCTOR_BAD,
                    "The store is full, turns that send wait: make room on the disk, or open "
                    "it with a larger store_max.");
    else if (!lives)
        doctor_find(d, "headroom", DOCTOR_OK,
                    "%s are free in the file; the next engine sees to more.", doctor_bytes(spare));
    else if (spare + tail < want)
        doctor_find(d, "headroom", DOCTOR_WARN,
                    "Only %s are sure, %s should be: the disk is nearly full, make room.",
                    doctor_bytes(spare + tail), doctor_bytes(want));
    else
        doctor_find(d, "headroom", DOCTOR_OK, "%s are sure, %s are needed.",
                    doctor_bytes(spare + tail), doctor_bytes(want));
    doctor_level level = map == 0 ? DOCTOR_OK : used > map / 100 * 95 ? DOCTOR_BAD
        : used > map / 100 * 80 ? DOCTOR_WARN : DOCTOR_OK;
    doctor_find(d, "map size", level, "%s of %s are used%s.", doctor_bytes(used),
                doctor_bytes(map),
                level == DOCTOR_OK ? "" : ": open the store with a larger store_max soon");
}

static void look_at_limits(doctor *d, hf_bytes row)
{
    struct rlimit limit;
    uint64_t map = cli_field_uint(row, "map_bytes");
    bool found = false;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY
        && limit.rlim_cur < map) {
        found = true;
        doctor_find(d, "limits", DOCTOR_WARN,
                    "Files may grow to %s here (ulimit -f), the store to %s: raise it.",
                    doctor_bytes(limit.rlim_cur), doctor_bytes(map));
    }
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY
        && limit.rlim_cur < map + (UINT64_C(1) << 30)) {
        found = true;
        doctor_find(d, "limits", DOCTOR_WARN,
                    "A process may map %s here (ulimit -v), the store needs %s: raise it.",
                    doctor_bytes(limit.rlim_cur), doctor_bytes(map));
    }
    if (!found)
        doctor_find(d, "limits", DOCTOR_OK, "None is in the way.");
}

static void look_at_readers(doctor *d, hf_bytes row)
{
    enum { FAR = 1000 };
    hf_bytes list = cli_field_list(row, "readers");
    uint64_t count = 0;
    bool found = false;
    while (list.len > 0) {
        hf_bytes from = list;
        cli_value element;
        if (!cli_next(&list, &element))
            break;
        hf_bytes one = hf_view(from.data, from.len - list.len);
        unsigned long long pid = cli_field_uint(one, "pid");
        unsigned long long behind = cli_field_uint(one, "behind");
        count++;
        if (cli_field_bool(one, "gone") || behind >= FAR) {
            found = true;
            doctor_find(d, "readers", DOCTOR_WARN,
                        cli_field_bool(one, "gone")
                            ? "Process %llu is gone but pins pages of %llu commits ago: an "
                              "engine that runs sweeps it soon."
                            : "Process %llu pins pages of %llu commits ago, so the file grows: "
                              "end what it reads, a backup perhaps.", pid, behind);
        }
    }
    if (!found)
        doctor_find(d, "readers", DOCTOR_OK, "%llu, and none pins old pages.",
                    (unsigned long long)count);
}

/* ---- Of the question `ls` */

typedef struct sums {
    uint64_t dead, held, stuck, paused;
} sums;

static int count_row(void *user, hf_bytes row)
{
    sums *s = user;
    s->dead += cli_field_uint(row, "dead");
    s->held += cli_field_uint(row, "held");
    s->paused += cli_field_uint(row, "paused");
    s->stuck += cli_field_uint(row, "stuck");
    return HF_OK;
}

static void look_at_messages(doctor *d)
{
    sums s = { 0 };
    int err = hf_query(d->context->store, "ls", hf_view(NULL, 0), count_row, &s);
    if (err != HF_OK) {
        doctor_find(d, "messages", DOCTOR_BAD, "They can't be read: %s: %s. See holdfast verify.",
                    hf_strerror(err), hf_detail());
        return;
    }
    const struct {
        const char *check, *todo;
        uint64_t    count;
    } all[] = {
        { "dead", "holdfast ls errors says why, requeue or purge them", s.dead },
        { "held", "holdfast ls says which types: one is not defined, or its breaker is open",
          s.held },
        { "paused", "holdfast ls says since when, holdfast resume lets them go on", s.paused },
        { "stuck", "turns run longer than stuck_ms; holdfast actor says since when", s.stuck },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        unsigned long long count = all[i].count;
        doctor_find(d, all[i].check, count > 0 ? DOCTOR_WARN : DOCTOR_OK, "%llu%s%s.", count,
                    count > 0 ? ": " : "", count > 0 ? all[i].todo : "");
    }
}

/* ---- All of it */

static void ask(doctor *d, cli_buffer *row, int opened)
{
    cli_context *context = d->context;
    int err = opened;
    if (err == HF_OK)
        err = hf_query(context->store, "stats", hf_view(NULL, 0), cli_keep_row, row);
    if (err != HF_OK) {
        doctor_find(d, "store", DOCTOR_BAD, "It can't be read: %s: %s.%s", hf_strerror(err),
                    hf_detail(), err == HF_ECORRUPT ? " See holdfast verify and salvage." : "");
        return;
    }
    hf_bytes stats = cli_buffer_bytes(row);
    look_at_engine(d, stats);
    look_at_versions(d, stats);
    look_at_room(d, stats);
    look_at_limits(d, stats);
    look_at_readers(d, stats);
    look_at_messages(d);
}

int cmd_doctor(cli_context *context)
{
    doctor d = { .context = context };
    cli_buffer row = { 0 }, sum = { 0 };
    int code = cli_store_path(context);
    if (code != CLI_OK)
        return code;
    uint64_t wait_ms = cli_number(&context->args, OPT_WAIT, 5000);
    cli_astray_expect(CLI_FAILED, NULL);
    int opened = hf_store_open(&context->store, context->path,
                               wait_ms < HF_NEVER ? (uint32_t)wait_ms : HF_NEVER);
    if (opened == HF_ENOTFOUND || opened == HF_EINVAL || opened == HF_EVERSION) {
        code = cli_store_failed(context, opened); /* nothing of ours to look at */
        return opened == HF_EINVAL ? CLI_NOT_FOUND : code;
    }
    cli_list_begin(&context->output, "findings", columns, sizeof columns / sizeof *columns);
    ask(&d, &row, opened);
    doctor_permissions(&d);
    doctor_file_system(&d);
    doctor_sync(&d);
    doctor_clock(&d, cli_buffer_bytes(&row));
    doctor_strikes(&d);
    cli_pack_map(&sum, 3);
    const char *const names[] = { "ok", "warn", "bad" };
    for (int i = 0; i < 3; i++) {
        cli_pack_text(&sum, names[i]);
        cli_pack_uint(&sum, d.counts[i]);
    }
    cli_list_end(&context->output, cli_buffer_bytes(&sum));
    cli_say(&context->output, "%llu fine, %llu to look at, %llu bad.",
            (unsigned long long)d.counts[0], (unsigned long long)d.counts[1],
            (unsigned long long)d.counts[2]);
    cli_buffer_free(&row);
    cli_buffer_free(&sum);
    return d.counts[2] > 0 ? CLI_FAILED : CLI_OK;
}
