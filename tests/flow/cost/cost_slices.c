/* cost_slices.c - what something costs an engine that works at full speed.
 * cost_slices WHAT PERCENT [TOOL]
 *   top      `holdfast top` looks at it, from a terminal of its own
 *   history  it keeps 100,000 finished messages, beside one that keeps none
 *   once     both, in four short slices, to see that this program works
 *
 * Slices without and with it follow one another, in the order - + + - of four, each with
 * its own start; what a machine does meanwhile falls on both alike. Each slice of a pair
 * gives CPU time a turn (of this process, and of `top`) and turns a second, each pair a
 * ratio; the middle one counts, with the bounds that the true one lies between with 95 %
 * (a sign test). Fails when the middle one is above PERCENT: of history the ratio of CPU time
 * a turn; of `top`, which looks so often a second whatever the engine does, the CPU time it
 * costs as a share of all the machine has, which is what an engine at full speed lacks, and
 * the turns a second that are lost. */
#include "engine/holdfast.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 1000, BLOCKS = 4, ACTORS = 1000, NAME = 32, KEPT = 100000, PAIRS_MOST = 64 };

/* ---- An engine and who sends to it */

typedef struct side {
    hf_engine  *engine;
    char        store[64];
    pthread_t   sender;
    atomic_bool stop;
    int         err;
} side;

static struct {
    hf_letter letters[BLOCKS][BATCH];
    char      to[ACTORS][NAME];
} post;

static int work(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

static void write_letters(void)
{
    static const char body[100] = "so many bytes as a small order has";
    unsigned at = 0;
    for (unsigned i = 0; i < ACTORS; i++)
        (void)snprintf(post.to[i], NAME, "work/%u", i);
    for (unsigned block = 0; block < BLOCKS; block++)
        for (unsigned i = 0; i < BATCH; i++, at = (at + 617) % ACTORS)
            post.letters[block][i] = (hf_letter){ .size = sizeof(hf_letter), .to = post.to[at],
                                                  .body = hf_view(body, sizeof body) };
}

static void *send_all(void *argument)
{
    side *s = argument;
    for (unsigned block = 0; !atomic_load(&s->stop); block = (block + 1) % BLOCKS) {
        int err;
        while ((err = hf_post(s->engine, post.letters[block], BATCH, NULL, NULL)) == HF_EAGAIN
               && !atomic_load(&s->stop))
            (void)hf_sync(s->engine, 10);
        if (err && err != HF_EAGAIN) {
            s->err = err;
            break;
        }
    }
    return NULL;
}

static int open_side(side *s, const char *directory, const char *name, bool history)
{
    const hf_type types[] = {
        { .name = "work", .handle = work, .strikes = HF_NEVER,
          .history_ms = history ? 0 : HF_NOW },
        { 0 },
    };
    (void)snprintf(s->store, sizeof s->store, "%s/%s", directory, name);
    return hf_open(&s->engine, s->store,
                   HF_OPTIONS(.types = types, .history = history ? KEPT : 0,
                              .log = hf_log_stderr));
}

/* ---- `top` on a terminal that nobody sees */

typedef struct watcher {
    pid_t     pid;
    int       terminal;
    pthread_t reader;
    size_t    bytes; /* that it drew */
    int       status; /* how it ended */
} watcher;

static void *read_all(void *argument)
{
    watcher *w = argument;
    char bytes[4096];
    ssize_t got;
    while ((got = read(w->terminal, bytes, sizeof bytes)) > 0 || (got < 0 && errno == EINTR))
        w->bytes += got > 0 ? (size_t)got : 0;
    return NULL;
}

static bool begin_top(watcher *w, const char *tool, const char *store)
{
    struct winsize size = { .ws_row = 40, .ws_col = 120 };
    w->bytes = 0;
    w->pid = forkpty(&w->terminal, NULL, NULL, &size);
    if (w->pid == 0) {
        (void)setenv("TERM", "xterm", 1);
        (void)execl(tool, tool, "top", "--store", store, (char *)NULL);
        _exit(127);
    }
    return w->pid > 0 && pthread_create(&w->reader, NULL, read_all, w) == 0;
}

static bool end_top(watcher *w)
{
    bool asked = write(w->terminal, "q", 1) == 1;
    w->status = -1;
    if (waitpid(w->pid, &w->status, 0) != w->pid)
        return false;
    (void)pthread_join(w->reader, NULL);
    (void)close(w->terminal);
    return asked && w->status == 0 && w->bytes > 200;
}

/* ---- Slices */

typedef struct slice {
    double cpu_ns, turns, seconds; /* CPU time a turn in the end */
} slice;

static double clock_s(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void nap(double seconds)
{
    struct timespec time = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    while (nanosleep(&time, &time) != 0 && errno == EINTR)
        continue;
}

/* The CPU time of a process that is not waited for yet, so far; seconds. */
static double cpu_of(pid_t pid)
{
    clockid_t clock;
    return pid > 0 && clock_getcpuclockid(pid, &clock) == 0 ? clock_s(clock) : 0;
}

static int measure(side *s, pid_t other, double seconds, slice *out)
{
    hf_stats from = HF_STATS, to = HF_STATS;
    int err = hf_stat(s->engine, &from);
    double cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) + cpu_of(other);
    double start = clock_s(CLOCK_MONOTONIC);
    do { /* longer where a machine is so slow that nothing came of it */
        nap(seconds);
        if (!err)
            err = hf_stat(s->engine, &to);
        out->seconds = clock_s(CLOCK_MONOTONIC) - start;
    } while (!err && to.committed == from.committed && out->seconds < 20);
    out->turns = (double)(to.committed - from.committed);
    cpu = clock_s(CLOCK_PROCESS_CPUTIME_ID) + cpu_of(other) - cpu;
    out->cpu_ns = out->turns > 0 ? cpu * 1e9 / out->turns : 0;
    return err ? err : out->turns > 0 ? s->err : HF_ETIMEDOUT;
}

/* tool NULL: nobody looks. The start of `top`, which counts all that waits, is not counted:
 * it does so once, and then in a fiftieth of its time. */
static int run_slice(side *s, const char *tool, double seconds, slice *out)
{
    watcher w = { .pid = 0 };
    bool fine = true;
    atomic_store(&s->stop, false);
    if (pthread_create(&s->sender, NULL, send_all, s) != 0)
        return HF_ENOMEM;
    nap(seconds / 8);
    if (tool)
        fine = begin_top(&w, tool, s->store);
    nap(seconds / 4);
    int err = measure(s, w.pid, seconds, out);
    if (tool && fine && !end_top(&w))
        fine = false;
    atomic_store(&s->stop, true);
    (void)pthread_join(s->sender, NULL);
    if (!err && !fine)
        fprintf(stderr, "cost_slices: `top` ended with %d, having drawn %zu bytes\n", w.status,
                w.bytes);
    int synced = hf_drain(s->engine, 60000);
    return err ? err : fine ? synced : HF_EIO;
}

/* ---- What comes of it */

static int compare(const void *pa, const void *pb)
{
    const double *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static double middle(const double *sorted, int count)
{
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

/* How many of the lowest may lie below the true middle with a chance of 2.5 %. */
static int sign_bound(int count)
{
    double chance = 1, sum = 0;
    for (int i = 0; i < count; i++)
        chance /= 2;
    for (int k = 0; k < count; k++) {
        sum += chance;
        if (sum > 0.025)
            return k;
        chance = chance * (count - k) / (k + 1);
    }
    return 0;
}

static double tell(const char *of, double *ratios, int count)
{
    qsort(ratios, (size_t)count, sizeof *ratios, compare);
    int bound = sign_bound(count);
    int low = bound > 0 ? bound - 1 : 0;
    double is = middle(ratios, count);
    printf("  %s: %+.2f %% (%+.2f .. %+.2f with 95 %%, %d pairs)\n", of, (is - 1) * 100,
           (ratios[low] - 1) * 100, (ratios[count - 1 - low] - 1) * 100, count);
    return is;
}

typedef struct trial {
    side        without, with; /* one and the same for `top` */
    const char *tool;
    double      seconds;
    int         pairs;
} trial;

static int run(trial *t, const char *name, double most)
{
    double cpu[PAIRS_MOST], pace[PAIRS_MOST], share[PAIRS_MOST];
    double base_cpu[PAIRS_MOST], base_pace[PAIRS_MOST];
    side *with = t->tool ? &t->without : &t->with;
    slice warm, is[2];
    int err = run_slice(&t->without, NULL, t->seconds, &warm);
    if (!err)
        err = run_slice(with, NULL, t->seconds, &warm);
    for (int i = 0; !err && i < t->pairs; i++) {
        for (int n = 0; !err && n < 2; n++) {
            int which = (n + i) % 2;
            err = run_slice(which ? with : &t->without, which ? t->tool : NULL, t->seconds,
                            &is[which]);
        }
        cpu[i] = err ? 1 : is[1].cpu_ns / is[0].cpu_ns;
        pace[i] = err ? 1 : is[1].turns / is[1].seconds / (is[0].turns / is[0].seconds);
        double more = (is[1].cpu_ns - is[0].cpu_ns) * is[1].turns / is[1].seconds / 1e9;
        share[i] = err ? 1 : 1 + more / (double)sysconf(_SC_NPROCESSORS_ONLN);
        base_cpu[i] = is[0].cpu_ns;
        base_pace[i] = is[0].turns / is[0].seconds;
    }
    if (err) {
        fprintf(stderr, "cost_slices: %s: %s\n", hf_strerror(err), hf_detail());
        return 1;
    }
    qsort(base_cpu, (size_t)t->pairs, sizeof *base_cpu, compare);
    qsort(base_pace, (size_t)t->pairs, sizeof *base_pace, compare);
    printf("cost_slices: %s: without it %.0f ns of CPU a turn, %.2f M turns/s; with it\n", name,
           middle(base_cpu, t->pairs), middle(base_pace, t->pairs) / 1e6);
    double is_cpu = tell("CPU time a turn", cpu, t->pairs);
    double is_share = tell("of the machine's CPU time", share, t->pairs);
    double is_pace = tell("turns a second", pace, t->pairs);
    most /= 100;
    if (t->tool ? is_share <= 1 + most && is_pace >= 1 - most : is_cpu <= 1 + most)
        return 0;
    fprintf(stderr, "cost_slices: %s costs more than %g %%\n", name, most * 100);
    return 1;
}

static int try_top(const char *directory, const char *tool, double seconds, int pairs, double most)
{
    trial t = { .tool = tool, .seconds = seconds, .pairs = pairs };
    int err = open_side(&t.without, directory, "looked-at", true);
    int failed = err ? 1 : run(&t, "top", most);
    if (err)
        fprintf(stderr, "cost_slices: %s: %s\n", hf_strerror(err), hf_detail());
    return hf_close(t.without.engine, 60000) || failed;
}

static int try_history(const char *directory, double seconds, int pairs, double most)
{
    trial t = { .seconds = seconds, .pairs = pairs };
    int err = open_side(&t.without, directory, "without", false);
    if (!err)
        err = open_side(&t.with, directory, "with", true);
    int failed = err ? 1 : run(&t, "history", most);
    if (err)
        fprintf(stderr, "cost_slices: %s: %s\n", hf_strerror(err), hf_detail());
    int closed = hf_close(t.without.engine, 60000);
    return hf_close(t.with.engine, 60000) || closed || failed;
}

int main(int argc, char **argv)
{
    char directory[] = "cost.XXXXXX", remove[64];
    const char *what = argc > 2 ? argv[1] : "", *tool = argc > 3 ? argv[3] : NULL;
    bool once = strcmp(what, "once") == 0, top = strcmp(what, "top") == 0;
    double most = argc > 2 ? strtod(argv[2], NULL) : 0;
    if ((!once && !top && strcmp(what, "history") != 0) || (!tool && (once || top)))
        return 2;
    if (!mkdtemp(directory)) {
        perror(directory);
        return 1;
    }
    write_letters();
    int failed = 0;
    if (once || top)
        failed = try_top(directory, tool, once ? 0.4 : 1.5, once ? 2 : 15, most);
    if (once || !top)
        failed |= try_history(directory, once ? 0.1 : 0.5, once ? 2 : 40, most);
    (void)snprintf(remove, sizeof remove, "rm -rf %s", directory);
    return system(remove) != 0 || failed;
}
