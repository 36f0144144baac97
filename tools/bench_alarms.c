/* bench_alarms.c - `holdfast bench alarms`: how late alarms come, and what many cost.
 *
 * A child process sets `--pending` alarms that are due in an hour or two, and kills itself
 * with SIGKILL. Then the store is opened with a cold cache (open_s, first_turn_s), and
 * `--alarms` more are set, due one after the other over `--seconds`. Each must come once and
 * none early; how late it is counts from its due time until its handler begins, so with the
 * commit that lies between.
 * Afterwards those of the child must all be set still, and none comes a second time.
 *
 * Handlers run on the engine's threads, the rest on the caller's. */
#include "tools/bench.h"
#include "tools/times.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TURN_SETS = 100, FAR_MS = 3600000, SETS_PER_MS = 50, LATE_MS = 120000,
       COUNT_MS = 20000, THREADS_MOST = 256 };

typedef struct lateness {
    bench_times times;
    uint64_t    most;
} lateness;

typedef struct alarm_load {
    bench         *run;
    hf_engine     *engine;
    uint64_t       first_ms; /* when the first of them is due; 0: all of them in an hour or two */
    unsigned char *fired;    /* by number */
    lateness      *late;     /* by thread */
    atomic_uint    threads;
    atomic_ullong  first_ns; /* when a turn began first; 0: none has yet */
} alarm_load;

typedef struct child_figures {
    uint64_t most_bytes;
    double   seconds;
} child_figures;

static uint64_t wall_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- Handlers */

static lateness *late_of_thread(alarm_load *load)
{
    static _Thread_local lateness *mine;
    if (mine == NULL)
        mine = &load->late[atomic_fetch_add(&load->threads, 1) % THREADS_MOST];
    return mine;
}

static int fire(alarm_load *load, const hf_message *msg)
{
    bench_slot *slot = bench_slot_mine();
    lateness *late = late_of_thread(load);
    uint64_t number, now = wall_ns(), due = msg->due * 1000000;
    memcpy(&number, msg->body.data, sizeof number);
    slot->wrong += now < due || number >= load->run->alarms;
    if (number < load->run->alarms)
        slot->wrong += load->fired[number]++ != 0;
    uint64_t ns = now > due ? now - due : 0;
    bench_times_add(&late->times, ns);
    late->most = ns > late->most ? ns : late->most;
    slot->handled++;
    return HF_OK;
}

/* Alarm n of N is due at n/N of the time. */
static uint64_t delay_of(const alarm_load *load, uint64_t number)
{
    const bench *run = load->run;
    if (load->first_ms == 0)
        return FAR_MS + number % FAR_MS;
    uint64_t due = load->first_ms + number * run->ms / run->alarms, now = wall_ns() / 1000000;
    return due > now ? due - now : 0;
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    alarm_load *load = msg->user;
    const bench_body *body = msg->body.data;
    unsigned long long none = 0;
    if (atomic_load_explicit(&load->first_ns, memory_order_relaxed) == 0)
        (void)atomic_compare_exchange_strong(&load->first_ns, &none, cli_now_ns());
    if (msg->cause == HF_ALARM)
        return fire(load, msg);
    for (uint64_t i = body->number; i < body->number + body->sender; i++) {
        char name[26];
        (void)snprintf(name, sizeof name, "%c%llu", load->first_ms == 0 ? 'f' : 'n',
                       (unsigned long long)i);
        hf_set_alarm(turn, name, delay_of(load, i), hf_view(&i, sizeof i));
    }
    return HF_OK;
}

static int open_engine(alarm_load *load)
{
    const hf_type types[] = {
        { .name = "a", .handle = handle, .strikes = HF_NEVER, .user = load },
        { 0 },
    };
    return hf_open(&load->engine, load->run->store,
                   HF_OPTIONS(.types = types, .shards = load->run->shards, .log = hf_log_stderr));
}

/* ---- Setting */

/* A letter has a turn set 100 of them. Returns when all are committed. */
static int set_alarms(alarm_load *load, uint64_t count)
{
    bench_block block = { 0 };
    uint32_t actor = 0;
    int err = HF_OK;
    bench_block_init(&block, 10, sizeof(bench_body), NULL);
    for (uint64_t at = 0; err == HF_OK && at < count;) {
        size_t letters = 0;
        for (; letters < block.count && at < count; letters++) {
            uint64_t many = count - at < TURN_SETS ? count - at : TURN_SETS;
            bench_block_address(&block, letters, "a", actor);
            *bench_block_body(&block, letters) =
                (bench_body){ .actor = actor, .sender = (uint32_t)many, .number = at };
            actor = actor + 1 == load->run->actors ? 0 : actor + 1;
            at += many;
        }
        err = bench_post(load->engine, block.letters, letters, NULL);
    }
    bench_block_free(&block);
    return err == HF_OK ? bench_drain(load->engine) : err; /* those that are not due don't count */
}

static _Noreturn void child(alarm_load *load, child_figures *figures)
{
    bench_watch watch;
    uint64_t before = bench_rss_anon();
    int err = bench_watch_start(&watch) == CLI_OK ? HF_OK : HF_ENOMEM;
    if (err == HF_OK)
        err = open_engine(load);
    uint64_t start = cli_now_ns();
    if (err == HF_OK)
        err = set_alarms(load, load->run->pending);
    figures->seconds = (double)(cli_now_ns() - start) / 1e9;
    uint64_t most = bench_watch_stop(&watch);
    figures->most_bytes = most > before ? most - before : 0;
    if (err == HF_OK)
        (void)kill(getpid(), SIGKILL);
    _exit(err == HF_EAGAIN ? CLI_INTERRUPTED : bench_failed("setting alarms", err));
}

static int fill(alarm_load *load, child_figures *figures)
{
    int status;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) {
        cli_complain("fork: %s", strerror(errno));
        return CLI_FAILED;
    }
    if (pid == 0)
        child(load, figures);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return CLI_FAILED;
    }
    if (cli_interrupted())
        return CLI_INTERRUPTED;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return CLI_OK;
    cli_complain("the process that sets alarms ended with status %d", status);
    return CLI_FAILED;
}

/* ---- Measuring */

static int wait_for_all(const alarm_load *load)
{
    uint64_t until = cli_now_ns() + (load->run->ms + LATE_MS) * UINT64_C(1000000);
    while (bench_slots_sum().handled < load->run->alarms) {
        if (cli_interrupted())
            return CLI_INTERRUPTED;
        if (cli_now_ns() > until)
            return HF_ETIMEDOUT;
        cli_sleep_ms(5);
    }
    return bench_drain(load->engine);
}

static void put_lateness(bench *run, alarm_load *load)
{
    lateness *all = &load->late[0];
    hf_stats stats = HF_STATS;
    (void)hf_stat(load->engine, &stats);
    for (uint32_t i = 1; i < THREADS_MOST; i++) {
        bench_times_merge(&all->times, &load->late[i].times);
        all->most = load->late[i].most > all->most ? load->late[i].most : all->most;
    }
    bench_put_real(run, "late_p50_us", bench_times_us(&all->times, 0.5));
    bench_put_real(run, "late_p99_us", bench_times_us(&all->times, 0.99));
    bench_put_real(run, "late_max_us", (double)all->most / 1000);
    bench_put_uint(run, "commit_p50_us", stats.commit_p50_us);
    bench_put_uint(run, "commit_p99_us", stats.commit_p99_us);
}

static int measure(alarm_load *load)
{
    bench *run = load->run;
    uint64_t start = cli_now_ns();
    int err = open_engine(load);
    bench_put_real(run, "open_s", (double)(cli_now_ns() - start) / 1e9);
    /* The first is due when all are set, if that takes no longer than it should. */
    load->first_ms = wall_ns() / 1000000 + 1000 + run->alarms / SETS_PER_MS;
    uint64_t opened = cli_now_ns();
    if (err == HF_OK)
        err = set_alarms(load, run->alarms);
    double seconds = (double)(cli_now_ns() - opened) / 1e9;
    uint64_t first = atomic_load(&load->first_ns);
    bench_put_real(run, "first_turn_s", first > start ? (double)(first - start) / 1e9 : 0);
    bench_put_real(run, "sets_per_s", (double)run->alarms / seconds);
    if (err == HF_OK)
        err = wait_for_all(load);
    if (err == HF_OK)
        put_lateness(run, load);
    return err;
}

/* ---- Checks */

static int check(alarm_load *load)
{
    const bench *run = load->run;
    hf_stats stats = HF_STATS;
    bench_slot sums = bench_slots_sum();
    uint64_t until = cli_now_ns() + COUNT_MS * UINT64_C(1000000);
    int err = hf_stat(load->engine, &stats);
    while (err == HF_OK && stats.alarms != run->pending && cli_now_ns() < until) {
        cli_sleep_ms(10); /* what the last run left is counted when there is time */
        err = hf_stat(load->engine, &stats);
    }
    if (err != HF_OK)
        return bench_failed("counting", err);
    if (sums.handled != run->alarms)
        return bench_wrong("alarms that came", sums.handled, run->alarms);
    if (sums.wrong != 0)
        return bench_wrong("alarms that came early or twice", sums.wrong, 0);
    if (stats.alarms != run->pending)
        return bench_wrong("alarms still set", stats.alarms, run->pending);
    return CLI_OK;
}

static int reopen_and_check(alarm_load *load)
{
    int err = open_engine(load);
    if (err == HF_OK)
        err = bench_drain(load->engine);
    if (err == CLI_INTERRUPTED) {
        (void)bench_close(load->engine);
        return CLI_INTERRUPTED;
    }
    int code = err == HF_OK ? check(load) : bench_failed("reopening", err);
    int closed = bench_close(load->engine);
    return code != CLI_OK || closed == HF_OK ? code : bench_failed("closing", closed);
}

static int run_alarms(alarm_load *load, child_figures *figures)
{
    bench *run = load->run;
    bench_watch watch;
    int code = fill(load, figures);
    if (code != CLI_OK)
        return code;
    bench_put_real(run, "fill_s", figures->seconds);
    bench_put_text(run, "cache_dropped_by", bench_drop_cache(run));
    uint64_t before = bench_rss_anon();
    code = bench_watch_start(&watch);
    if (code != CLI_OK)
        return code;
    int err = measure(load);
    int closed = bench_close(load->engine);
    uint64_t most = bench_watch_stop(&watch);
    most = most > before ? most - before : 0;
    bench_put_uint(run, "rss_anon_bytes", most > figures->most_bytes ? most : figures->most_bytes);
    if (err == CLI_INTERRUPTED || err == HF_EAGAIN)
        return CLI_INTERRUPTED;
    err = err != HF_OK ? err : closed;
    return err == HF_OK ? reopen_and_check(load) : bench_failed(run->name, err);
}

int bench_alarms(bench *run)
{
    alarm_load load = { .run = run, .fired = cli_alloc(run->alarms),
                        .late = cli_alloc(THREADS_MOST * sizeof *load.late) };
    memset(load.fired, 0, run->alarms); /* it is ours before memory is measured */
    child_figures *figures = mmap(NULL, sizeof *figures, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int code = CLI_FAILED;
    if (figures == MAP_FAILED)
        cli_complain("mmap: %s", strerror(errno));
    else
        code = run_alarms(&load, figures);
    if (code == CLI_OK)
        bench_put_uint(run, "checked", run->alarms + run->pending);
    if (figures != MAP_FAILED)
        (void)munmap(figures, sizeof *figures);
    free(load.fired);
    free(load.late);
    return code;
}
