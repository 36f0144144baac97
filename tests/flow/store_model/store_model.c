/* store_model.c - random operations on the storage core, beside a simple model.
 *
 *     store_model [FIRST_SEED [SEEDS [OPERATIONS]]]
 *
 * Each seed is a store of its own: groups, folds with random budgets, readers that
 * lag, collecting that is put off, memory that runs out, clean closes and crashes,
 * also between the slices of a fold. A failure prints its seed; HF_SEED=N (or
 * FIRST_SEED N, SEEDS 1) runs it again. */
#include "tests/flow/store_model/model.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/random.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void run_fail(const run *r, const char *format, ...)
{
    va_list args;
    (void)fflush(stdout);
    (void)fprintf(stderr, "seed %" PRIu64 ": ", r->seed);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fprintf(stderr, "\nagain: HF_SEED=%" PRIu64 " store_model\n", r->seed);
    abort();
}

static uint64_t wall_ms(void *user)
{
    return ((run *)user)->now;
}

static uint64_t mono_ns(void *user)
{
    return ((run *)user)->now * 1000000;
}

/* ---- Collecting elsewhere, later; a reader that lags */

static void put_off(void *user, void (*work)(void *), void *arg)
{
    run *r = user;
    r->work = work;
    r->work_arg = arg;
}

static void do_work(run *r)
{
    if (r->work)
        r->work(r->work_arg);
    r->work = NULL;
}

static void read_on(run *r, uint32_t records)
{
    if (!r->options.readers)
        return;
    for (; records; records--) {
        hf_record *next = atomic_load(&r->reader->next);
        if (!next)
            break;
        atomic_fetch_add(&next->passed, 1);
        r->reader = next;
    }
    hf_log_release(r->core.log, r->reader->base);
}

/* ---- Life of a store */

static void start(run *r)
{
    static const uint64_t windows[] = { 4096, 4096, 8192, 16384, 65536 };
    r->options = (hf_log_options){
        .window = windows[chance(r, 5)],
        .shards = 1 + chance(r, 3),
        .readers = chance(r, 3) == 0,
        .history_ms = UINT64_MAX,
        .packs = chance(r, 2) == 0,
    };
    r->options.history = r->options.window == 4096 ? HF_NO_HISTORY : 30;
    if (chance(r, 3) == 0) {
        r->options.offload = put_off;
        r->options.user = r;
    }
    core_open(&r->core, r->path, NULL, &r->options);
    r->opened = hf_log_folded(r->core.log);
    r->reader = hf_log_start_of_chain(r->core.log);
    hf_log_stats stats;
    hf_log_stat(r->core.log, &stats);
    if (stats.next < r->next)
        run_fail(r, "positions went back to %" PRIu64, stats.next);
}

static void stop(run *r, bool clean)
{
    r->work = NULL;
    core_close(&r->core, clean);
}

static void fold(run *r)
{
    static const uint64_t budgets[] = { 1, 100, 500, 4096, 1 << 20 };
    uint32_t times = 1 + chance(r, 4);
    if (chance(r, 2))
        do_work(r);
    while (times--) {
        int err = hf_log_fold(r->core.log, budgets[chance(r, 5)]);
        if (err)
            run_fail(r, "a fold answers %d: %s", err, hf_error_detail());
    }
}

/* Whoever puts collecting off has to be done with it before he can wait for it. */
static void fold_all(run *r)
{
    hf_log_stats stats;
    for (int i = 0; i < 1000; i++) {
        do_work(r);
        hf_log_stat(r->core.log, &stats);
        if (!stats.folding)
            break;
        CORE_OK(hf_log_fold(r->core.log, 1 << 20));
    }
    if (r->options.offload) {
        stop(r, chance(r, 2) != 0);
        start(r);
    }
    if (r->options.offload)
        return;
    CORE_OK(hf_log_fold_all(r->core.log));
    compare_tables(r);
}

static void operate(run *r)
{
    uint32_t what = chance(r, 100);
    if (what < 70)
        acts_group(r);
    else if (what < 85)
        fold(r);
    else if (what < 88)
        fold_all(r);
    else if (what < 93)
        read_on(r, chance(r, 8));
    else if (what < 97) {
        if (chance(r, 2))
            fold(r); /* most crashes come between two slices */
        stop(r, what >= 96);
        start(r);
        compare_view(r);
    } else
        compare_view(r);
}

static void run_seed(uint64_t seed, uint32_t operations, const char *directory)
{
    run r = { .seed = seed, .random = seed, .now = UINT64_C(1700000000000) };
    hf_clock clock = { wall_ms, mono_ns, &r };
    (void)snprintf(r.path, sizeof r.path, "%s/store", directory);
    hf_clock_use(&clock);
    hf_random_seed(seed);
    start(&r);
    for (uint32_t i = 0; i < operations; i++)
        operate(&r);
    compare_view(&r);
    fold_all(&r);
    compare_view(&r);
    stop(&r, false);
    start(&r);
    compare_view(&r);
    stop(&r, true);
    model_free(&r.model);
    hf_clock_use(NULL);
    core_remove(r.path);
}

static uint64_t number(int count, char **values, int index, uint64_t missing)
{
    return index < count ? strtoull(values[index], NULL, 0) : missing;
}

int main(int count, char **values)
{
    const char *again = getenv("HF_SEED");
    uint64_t first = number(count, values, 1, again ? strtoull(again, NULL, 0) : 1);
    uint64_t seeds = number(count, values, 2, again ? 1 : 100);
    uint32_t operations = (uint32_t)number(count, values, 3, 60);
    const char *directory = core_directory("model", true);
    struct timespec from, to;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (uint64_t i = 0; i < seeds; i++)
        run_seed(first + i, operations, directory);
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    core_remove(directory);
    printf("seeds %" PRIu64 "..%" PRIu64 ", %u operations each: 0 bad, %ld s\n", first,
           first + seeds - 1, operations, (long)(to.tv_sec - from.tv_sec));
    return 0;
}
