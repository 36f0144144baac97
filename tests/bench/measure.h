/* measure.h - what a bench needs around what it measures: results by name, durations,
 * anonymous memory sampled, a second thread. For one file each. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "storage/error.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static bool print_json;

_Noreturn static void HF_PRINTF(1, 2) fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("store_bench: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    exit(1);
}

static void must(int err, const char *what)
{
    if (err)
        fail("%s: %s (%s)", what, hf_strerror(err), hf_error_detail());
}

/* ---- What came out: name and number, printed at the end */

typedef struct result {
    char   name[48];
    double value;
} result;

static result   results[64];
static unsigned result_count;

static void HF_PRINTF(2, 3) report(double value, const char *format, ...)
{
    va_list args;
    if (result_count == sizeof results / sizeof *results)
        fail("too many results");
    va_start(args, format);
    vsnprintf(results[result_count].name, sizeof results->name, format, args);
    va_end(args);
    results[result_count++].value = value;
    if (!print_json) {
        printf("%-36s %16.1f\n", results[result_count - 1].name, value);
        fflush(stdout);
    }
}

static void cpu_name(char *out, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(out, size, "?");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon)
            continue;
        colon[strcspn(colon, "\"\\\n")] = 0;
        snprintf(out, size, "%s", colon + 2);
        break;
    }
    if (file)
        fclose(file);
}

static void print_results(void)
{
    struct utsname system;
    char cpu[128];
    cpu_name(cpu, sizeof cpu);
    if (uname(&system))
        fail("uname");
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!print_json) {
        printf("on %ld x %s, Linux %s\n", cores, cpu, system.release);
        return;
    }
    printf("{\"bench\":\"store\",\"cpu\":\"%s\",\"cores\":%ld,\"kernel\":\"%s\"", cpu, cores,
           system.release);
    for (unsigned i = 0; i < result_count; i++)
        printf(",\"%s\":%.*f", results[i].name, results[i].value < 100 ? 2 : 0, results[i].value);
    printf("}\n");
}

/* ---- Durations */

typedef struct timing {
    uint64_t *ns;
    size_t    count, room;
} timing;

static void timing_add(timing *t, uint64_t ns)
{
    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 4096;
        t->ns = realloc(t->ns, t->room * sizeof *t->ns);
        if (!t->ns)
            fail("out of memory");
    }
    t->ns[t->count++] = ns;
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* In microseconds; the timing is sorted then. */
static double percentile(timing *t, double part)
{
    if (!t->count)
        fail("nothing was measured");
    qsort(t->ns, t->count, sizeof *t->ns, compare_ns);
    return (double)t->ns[(size_t)(part * (double)(t->count - 1))] / 1000;
}

static void timing_done(timing *t)
{
    free(t->ns);
    *t = (timing){ 0 };
}

/* What this thread has spent so far, in itself and in the kernel. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now))
        fail("no clock");
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- Anonymous memory, sampled */

static atomic_bool   sampling, ended; /* not while a bench checks its store */
static atomic_ullong most_anon;

static uint64_t anon_now(void)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib << 10;
}

static void *sampler(void *user)
{
    (void)user;
    while (!atomic_load(&ended)) {
        uint64_t now = atomic_load(&sampling) ? anon_now() : 0;
        if (now > atomic_load(&most_anon))
            atomic_store(&most_anon, now);
        usleep(10000);
    }
    return NULL;
}

static void report_anon(const char *bench, uint64_t window)
{
    atomic_store(&sampling, false);
    report((double)atomic_load(&most_anon), "%s_rss_anon_bytes", bench);
    report((double)atomic_load(&most_anon) / (double)window, "%s_rss_anon_windows", bench);
    atomic_store(&most_anon, 0);
}

/* ---- The second thread, for what the log gives away */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    void          (*work)(void *);
    void           *arg;
    bool            busy, end;
} aside = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void *aside_run(void *user)
{
    (void)user;
    pthread_mutex_lock(&aside.lock);
    for (;;) {
        while (!aside.work && !aside.end)
            pthread_cond_wait(&aside.changed, &aside.lock);
        if (!aside.work)
            break;
        void (*work)(void *) = aside.work;
        aside.work = NULL;
        pthread_mutex_unlock(&aside.lock);
        work(aside.arg);
        pthread_mutex_lock(&aside.lock);
        aside.busy = false;
        pthread_cond_broadcast(&aside.changed);
    }
    pthread_mutex_unlock(&aside.lock);
    return NULL;
}

static void aside_give(void *user, void (*work)(void *), void *arg)
{
    (void)user;
    pthread_mutex_lock(&aside.lock);
    if (aside.busy)
        fail("two folds at once");
    aside.work = work;
    aside.arg = arg;
    aside.busy = true;
    pthread_cond_broadcast(&aside.changed);
    pthread_mutex_unlock(&aside.lock);
}

static void aside_wait(void)
{
    pthread_mutex_lock(&aside.lock);
    while (aside.busy)
        pthread_cond_wait(&aside.changed, &aside.lock);
    pthread_mutex_unlock(&aside.lock);
}

static void aside_end(void)
{
    pthread_mutex_lock(&aside.lock);
    aside.end = true;
    pthread_cond_broadcast(&aside.changed);
    pthread_mutex_unlock(&aside.lock);
}

/* ---- A directory of this run, on a disk */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void remove_tree(const char *path)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) && errno != ENOENT)
        fail("cannot remove %s: %s", path, strerror(errno));
}

static char place[PATH_MAX - 64];

static const char *path_in(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", place, name);
    return path;
}

static void refuse_memory(const char *where)
{
    enum { TMPFS = 0x01021994 };
    const long ramfs = 0x858458f6;
    struct statfs fs;
    if (statfs(where, &fs))
        fail("cannot look at %s: %s", where, strerror(errno));
    if (fs.f_type == TMPFS || fs.f_type == ramfs)
        fail("%s lies in memory, where a sync costs nothing; name a disk with --store", where);
}

#endif
