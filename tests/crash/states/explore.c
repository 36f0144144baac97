/* explore.c - choose, build, have it judged.
 *
 * Happy path: each worker plays the whole tape and takes its share of the states of
 * each point, in the same order as all others; a state in which it dies or hangs is a
 * bad one. The first bad state ends the run. One thread a process. */
#include "tests/crash/states/explore.h"
#include "tests/crash/states/scratch.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct progress { /* of a worker; shared with the parent */
    _Atomic uint64_t states, worked_on, points, sampled;
    _Atomic uint64_t point, state; /* being tried */
} progress;

static struct shared {
    atomic_bool bad;
    progress    of[EXPLORE_WORKERS];
} * shared;

static explorer *trying; /* of this process */
static uint64_t  trying_chance;

/* ---- One state */

/* It waits for ever. We are dying, so anything may be called; if that hangs, too, the
 * second alarm ends it. */
static void on_alarm(int number)
{
    (void)signal(number, SIG_DFL);
    (void)alarm(5);
    atomic_store(&shared->bad, true);
    if (trying)
        trying->job->complain(trying, "it hangs", trying_chance);
    else
        printf("BAD  it hangs while it is recorded\n");
    (void)fflush(stdout);
    _exit(1);
}

void explore_init(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        exit(2);
    }
    /* LMDB asks for megabytes of zeros at each open: fresh ones are the cheapest. */
    (void)mallopt(M_MMAP_THRESHOLD, 512 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
    (void)signal(SIGALRM, on_alarm);
}

/* The choice has been made. Returns false when the state is bad. */
static bool try_state(explorer *x)
{
    const explore_job *job = x->job;
    progress *mine = &shared->of[x->worker];
    uint64_t number = x->state++;
    if (job->one ? x->point != job->point || number != job->state
                 : (x->point + number) % job->workers != x->worker)
        return true;
    uint64_t chance = job->seed * 1000003 + x->point * 7919 + number, kept = chance;
    atomic_store_explicit(&mine->point, x->point, memory_order_relaxed);
    atomic_store_explicit(&mine->state, number, memory_order_relaxed);
    trying = x;
    trying_chance = kept;
    (void)alarm(job->hang_seconds);
    if (job->clear) /* otherwise the names are always the same */
        scratch_clear(x->root);
    if (!crashdisk_build(&x->disk, x->choice, &chance, x->root)) {
        perror("a state cannot be built");
        exit(2);
    }
    bool on = job->one || (job->go_on && (x->point + number) / job->workers % job->go_on == 0);
    const char *bad = job->judge(x, chance, on);
    atomic_fetch_add_explicit(&mine->states, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&mine->worked_on, on, memory_order_relaxed);
    if (!bad)
        return true;
    x->state = number;
    job->complain(x, bad, kept);
    return false;
}

/* ---- The states of a point */

/* Some of the units that are there are torn. */
static bool try_torn(explorer *x)
{
    for (size_t i = 0; i < x->disk.unit_count; i++)
        if (x->choice[i] == UNIT_THERE && chance_next(&x->chance) & 1)
            x->choice[i] = UNIT_TORN;
    return try_state(x);
}

static bool try_all(explorer *x)
{
    size_t units = x->disk.unit_count;
    uint64_t fresh = 0;
    for (size_t i = 0; i < units; i++)
        fresh |= (uint64_t)x->disk.units[i].fresh << i;
    for (uint64_t mask = 0; mask < UINT64_C(1) << units; mask++) {
        if (!x->disk.changed && !(mask & fresh))
            continue; /* tried at an earlier point */
        for (size_t i = 0; i < units; i++)
            x->choice[i] = mask >> i & 1 ? UNIT_THERE : UNIT_LOST;
        if (!try_state(x))
            return false;
        if (mask && (mask + x->point) % 4 == 0 && !try_torn(x))
            return false;
    }
    return true;
}

/* None, all, the last alone, all but the last. */
static bool try_ends(explorer *x)
{
    size_t units = x->disk.unit_count;
    for (int i = 0; i < 4; i++) {
        if (i == 0 && !x->disk.changed)
            continue;
        memset(x->choice, i & 1 ? UNIT_THERE : UNIT_LOST, units);
        if (i >= 2)
            x->choice[units - 1] = i & 1 ? UNIT_LOST : UNIT_THERE;
        if (!try_state(x))
            return false;
    }
    return true;
}

static bool try_some(explorer *x)
{
    size_t units = x->disk.unit_count;
    if (!try_ends(x))
        return false;
    for (uint64_t n = 0; n < x->job->random; n++) {
        uint64_t density = 1 + chance_next(&x->chance) % 15;
        for (size_t i = 0; i < units; i++)
            x->choice[i] = chance_next(&x->chance) % 16 < density ? UNIT_THERE : UNIT_LOST;
        if (!(n % 4 == 3 ? try_torn(x) : try_state(x)))
            return false;
    }
    return true;
}

static bool is_new(const crashdisk *disk)
{
    bool new = disk->changed;
    for (size_t i = 0; i < disk->unit_count; i++)
        new = new || disk->units[i].fresh;
    return new;
}

void explore_want_choice(explorer *x)
{
    if (x->disk.unit_count + 1 <= x->choice_room)
        return;
    x->choice_room = x->disk.unit_count * 2 + 64;
    x->choice = realloc(x->choice, x->choice_room);
    if (!x->choice)
        abort();
}

static bool try_point(explorer *x)
{
    explore_want_choice(x);
    x->state = 0;
    x->chance = x->job->seed + x->point * 104729;
    bool whole = x->disk.unit_count <= x->job->all;
    bool fine = whole ? try_all(x) : try_some(x);
    atomic_fetch_add_explicit(&shared->of[x->worker].sampled, !whole, memory_order_relaxed);
    crashdisk_settle(&x->disk);
    x->point++;
    return fine;
}

void explorer_free(explorer *x)
{
    crashdisk_free(&x->disk);
    free(x->choice);
    x->choice = NULL;
    x->choice_room = 0;
}

void explorer_keep(explorer *x, uint64_t chance, const char *folder)
{
    if (!folder)
        return;
    (void)mkdir(folder, 0700);
    scratch_clear(folder);
    if (!crashdisk_build(&x->disk, x->choice, &chance, folder))
        perror(folder);
    else
        printf("     kept in %s\n", folder);
}

static bool explore(const explore_job *job, uint64_t worker)
{
    explorer x = { .job = job, .worker = worker };
    bool fine = true;
    if (snprintf(x.root, sizeof x.root, "%s/%" PRIu64, job->base, worker) >= (int)sizeof x.root)
        abort();
    (void)mkdir(x.root, 0700);
    scratch_clear(x.root);
    crashdisk_init(&x.disk, job->tape);
    for (size_t i = 0; i < job->tape->count && fine; i++) {
        crashdisk_play(&x.disk, &job->tape->events[i]);
        if (job->play)
            job->play(&x, &job->tape->events[i]);
        if (!job->ready(&x) || !is_new(&x.disk))
            continue;
        fine = try_point(&x);
        if (atomic_load_explicit(&shared->bad, memory_order_relaxed))
            break;
    }
    (void)alarm(0);
    trying = NULL;
    atomic_store(&shared->of[worker].points, x.point);
    explorer_free(&x);
    return fine;
}

/* ---- Workers */

_Noreturn static void work(const explore_job *job, uint64_t worker)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool fine = explore(job, worker);
    if (!fine)
        atomic_store(&shared->bad, true);
    (void)fflush(stdout);
    _exit(fine ? 0 : 1);
}

static bool await(const explore_job *job, uint64_t worker, pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status)) {
        if (WEXITSTATUS(status) > 1)
            exit(2);
        return WEXITSTATUS(status) == 0;
    }
    const progress *p = &shared->of[worker];
    atomic_store(&shared->bad, true);
    job->died(p->point, p->state, strsignal(WTERMSIG(status)));
    return false;
}

static bool explore_with_workers(const explore_job *job)
{
    pid_t pids[EXPLORE_WORKERS];
    bool fine = true;
    (void)fflush(stdout);
    for (uint64_t i = 0; i < job->workers; i++) {
        pids[i] = fork();
        if (pids[i] < 0) {
            perror("fork");
            exit(2);
        }
        if (pids[i] == 0)
            work(job, i);
    }
    for (uint64_t i = 0; i < job->workers; i++)
        fine = await(job, i, pids[i]) && fine;
    return fine;
}

explore_sum explore_run(const explore_job *job)
{
    explore_sum sum = { 0 };
    memset(shared, 0, sizeof *shared);
    sum.fine = job->one ? explore(job, 0) : explore_with_workers(job);
    for (uint64_t i = 0; i < job->workers; i++) {
        sum.states += shared->of[i].states;
        sum.worked_on += shared->of[i].worked_on;
    }
    sum.points = shared->of[0].points;
    sum.sampled = shared->of[0].sampled;
    return sum;
}

/* ---- Options */

bool explore_option_set(const explore_option *options, size_t count, const char *name,
                        const char *text)
{
    char *end;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, options[i].name) != 0)
            continue;
        if (options[i].word) {
            *options[i].word = text;
            return true;
        }
        *options[i].number = strtoull(text, &end, 10);
        return *text && !*end;
    }
    return false;
}
