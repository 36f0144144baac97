/* cmd_check.c - `holdfast check`: is all well? One line, for a monitoring system.
 *
 * Happy path: ask `top` and `ls`, hold what they say against the limits, print the worst
 * state, why, and the figures. Exit code 0 OK, 1 WARNING, 2 CRITICAL; 3 UNKNOWN when the
 * store can't be asked, and for a wrong command line. One thread. */
#include "tools/commands.h"
#include "tools/context.h"
#include "tools/astray.h"
#include "tools/times.h"

enum { WARN_AGE_MS = 300000, CRIT_AGE_MS = 3600000 };
enum { LEVEL_OK, LEVEL_WARNING, LEVEL_CRITICAL, LEVEL_UNKNOWN };

typedef struct checkup {
    int        level;
    cli_buffer why;    /* sentences, "; " between them */
    uint64_t   waiting, running, retrying, held, paused, delayed, dead, stuck;
    uint64_t   oldest; /* of what should go on */
    bool       mixed;  /* `oldest` may be that of a delayed message */
} checkup;

static void find(checkup *c, int level, const char *text)
{
    c->level = level > c->level ? level : c->level;
    if (c->why.len > 0)
        cli_buffer_text(&c->why, "; ");
    cli_buffer_text(&c->why, text);
}

static int count_row(void *user, hf_bytes row)
{
    checkup *c = user;
    cli_value scanned;
    if (cli_field(row, "scanned", &scanned))
        return HF_OK;
    uint64_t waiting = cli_field_uint(row, "waiting"), running = cli_field_uint(row, "running");
    uint64_t retrying = cli_field_uint(row, "retrying"), held = cli_field_uint(row, "held");
    uint64_t paused = cli_field_uint(row, "paused"), delayed = cli_field_uint(row, "delayed");
    uint64_t oldest = cli_field_uint(row, "oldest");
    c->waiting += waiting;
    c->running += running;
    c->retrying += retrying;
    c->held += held;
    c->paused += paused;
    c->delayed += delayed;
    c->dead += cli_field_uint(row, "dead");
    c->stuck += cli_field_uint(row, "stuck");
    if (waiting + running + retrying + held + paused == 0)
        return HF_OK; /* all of it waits for its time */
    if (oldest > 0 && (c->oldest == 0 || oldest < c->oldest)) {
        c->oldest = oldest;
        c->mixed = delayed > 0;
    }
    return HF_OK;
}

static int oldest_row(void *user, hf_bytes row)
{
    checkup *c = user;
    uint64_t oldest = cli_field_uint(row, "oldest");
    if (oldest > 0 && (c->oldest == 0 || oldest < c->oldest))
        c->oldest = oldest;
    return HF_OK;
}

/* Without those that are delayed: reads more, so only if it matters. */
static int ask_oldest(cli_context *context, checkup *c)
{
    cli_arguments arguments = { 0 };
    c->oldest = 0;
    cli_argument_text(&arguments, "where", "status != delayed and status != dead");
    int err = hf_query(context->store, "ls", cli_arguments_whole(&arguments), oldest_row, c);
    cli_arguments_free(&arguments);
    return err;
}

static void judge_engine(checkup *c, hf_bytes row)
{
    hf_bytes source = cli_field_text(row, "source");
    char text[200];
    if (source.len == 4 && memcmp(source.data, "hung", 4) == 0) {
        (void)snprintf(text, sizeof text, "process %llu has the store but does not answer",
                       (unsigned long long)cli_field_uint(row, "pid"));
        find(c, LEVEL_CRITICAL, text);
    } else if (source.len == 4) {
        bool stopped = cli_field_text(row, "last_stop").len > 0;
        find(c, stopped ? LEVEL_CRITICAL : LEVEL_WARNING,
             stopped ? "the engine stopped by itself, and none is back"
                     : "no engine has the store");
    }
    if (cli_field_bool(row, "full"))
        find(c, LEVEL_CRITICAL, "the store is full");
    if (c->stuck > 0)
        find(c, LEVEL_WARNING, "turns are stuck");
}

static void judge_counts(checkup *c, uint64_t age, const uint64_t limits[2], uint64_t crit_dead)
{
    char text[100];
    (void)snprintf(text, sizeof text, "the oldest message waits for %llu s",
                   (unsigned long long)(age / 1000));
    if (age >= limits[1])
        find(c, LEVEL_CRITICAL, text);
    else if (age >= limits[0])
        find(c, LEVEL_WARNING, text);
    (void)snprintf(text, sizeof text, "%llu dead", (unsigned long long)c->dead);
    if (c->dead >= crit_dead)
        find(c, LEVEL_CRITICAL, text);
}

static void put_figure(cli_buffer *to, const char *name, uint64_t value, const char *unit)
{
    cli_buffer_format(to, " %s=%llu%s;;;0", name, (unsigned long long)value, unit);
}

static void print_line(checkup *c, hf_bytes row, uint64_t age, const uint64_t limits[2],
                       const uint64_t *crit_dead)
{
    static const char *const names[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };
    cli_buffer line = { 0 };
    if (c->why.len == 0)
        cli_buffer_format(&c->why, "%llu wait, %llu are retried, %llu dead",
                          (unsigned long long)c->waiting, (unsigned long long)c->retrying,
                          (unsigned long long)c->dead);
    cli_buffer_format(&line, "HOLDFAST %s - ", names[c->level]);
    cli_buffer_add(&line, c->why.data, c->why.len);
    cli_buffer_format(&line, " | age=%llu.%03llus;%llu.%03llu;%llu.%03llu;0",
                      (unsigned long long)(age / 1000), (unsigned long long)(age % 1000),
                      (unsigned long long)(limits[0] / 1000),
                      (unsigned long long)(limits[0] % 1000),
                      (unsigned long long)(limits[1] / 1000),
                      (unsigned long long)(limits[1] % 1000));
    cli_buffer_format(&line, " dead=%llu;;", (unsigned long long)c->dead);
    if (crit_dead != NULL)
        cli_buffer_format(&line, "%llu", (unsigned long long)*crit_dead);
    cli_buffer_text(&line, ";0");
    put_figure(&line, "waiting", c->waiting, "");
    put_figure(&line, "running", c->running, "");
    put_figure(&line, "retrying", c->retrying, "");
    put_figure(&line, "delayed", c->delayed, "");
    put_figure(&line, "held", c->held, "");
    put_figure(&line, "paused", c->paused, "");
    put_figure(&line, "stuck", c->stuck, "");
    put_figure(&line, "window", cli_field_uint(row, "window_bytes"), "B");
    put_figure(&line, "file", cli_field_uint(row, "file_bytes"), "B");
    put_figure(&line, "disk_free", cli_field_uint(row, "disk_free_bytes"), "B");
    printf(HF_FMT "\n", HF_ARG(cli_buffer_bytes(&line)));
    cli_buffer_free(&line);
}

static int unknown(int err)
{
    const char *detail = hf_detail();
    bool plain = cli_detail_says_it(err, detail);
    if (err == HF_ECORRUPT)
        printf("HOLDFAST CRITICAL - damaged: %s\n", detail);
    else
        printf("HOLDFAST UNKNOWN - %s%s%s\n", plain ? "" : hf_strerror(err),
               *detail && !plain ? ": " : "", detail);
    return err == HF_ECORRUPT ? LEVEL_CRITICAL : LEVEL_UNKNOWN;
}

static int look(cli_context *context, checkup *c, cli_buffer *row)
{
    uint64_t limits[2] = { cli_number(&context->args, OPT_WARN_AGE, WARN_AGE_MS),
                           cli_number(&context->args, OPT_CRIT_AGE, CRIT_AGE_MS) };
    uint64_t crit_dead = cli_number(&context->args, OPT_CRIT_DEAD, UINT64_MAX);
    uint64_t wait_ms = cli_number(&context->args, OPT_WAIT, 5000), now = cli_now_ms();
    cli_astray_expect(LEVEL_CRITICAL, "HOLDFAST CRITICAL - damaged where LMDB looks first\n");
    int err = hf_store_open(&context->store, context->path,
                            wait_ms < HF_NEVER ? (uint32_t)wait_ms : HF_NEVER);
    if (err == HF_OK)
        err = hf_query(context->store, "top", hf_view(NULL, 0), cli_keep_row, row);
    if (err == HF_OK)
        err = hf_query(context->store, "ls", hf_view(NULL, 0), count_row, c);
    uint64_t least = limits[0] < limits[1] ? limits[0] : limits[1];
    if (err == HF_OK && c->mixed && now > c->oldest && now - c->oldest >= least)
        err = ask_oldest(context, c);
    if (err != HF_OK)
        return unknown(err);
    uint64_t age = c->oldest > 0 && now > c->oldest ? now - c->oldest : 0;
    judge_engine(c, cli_buffer_bytes(row));
    judge_counts(c, age, limits, crit_dead);
    print_line(c, cli_buffer_bytes(row), age, limits,
               context->args.set[OPT_CRIT_DEAD] ? &crit_dead : NULL);
    return c->level;
}

int cmd_check(cli_context *context)
{
    checkup c = { .level = LEVEL_OK };
    cli_buffer row = { 0 };
    if (cli_store_path(context) != CLI_OK) {
        puts("HOLDFAST UNKNOWN - no store was named");
        return LEVEL_UNKNOWN;
    }
    int level = look(context, &c, &row);
    cli_buffer_free(&row);
    cli_buffer_free(&c.why);
    return level;
}
