/* states.c - crash the machine at every moment, in every way, and look.
 *
 *     states [options] WORKLOAD...|all
 *
 *   --seed N       the first seed [1]          --seeds N   so many, one after another [1]
 *   --states N     go on with further seeds until so many states were tried
 *   --ops N        operations a workload       --all N     every subset of up to N units [8]
 *   --random N     subsets where there are more [24]
 *   --go-on N      write on in every Nth state [1], 0: never
 *   --workers N    processes [2]
 *   --mutant NAME  put a fault in; succeeds only if it is noticed:
 *                  nosync nometasync fold nodirsync
 *   --point P --state S   only this one, and say more
 *
 * Happy path: a workload is lived once and its calls recorded; at each of them the
 * disk may hold what is surely synced and any choice of what is not. Each such state
 * is built in memory (/dev/shm), opened with the library, compared with the model,
 * and worked on. The states of a point are shared out among forked processes; a
 * state in which one dies is a bad one. The first bad state ends the run, and the
 * line that makes it again is printed. */
#include "tests/crash/states/crashdisk.h"
#include "tests/crash/states/mutants.h"
#include "tests/crash/states/verdict.h"

#include "storage/random.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 16, HANG_SECONDS = 30 };

typedef struct options {
    uint64_t seed, seeds, states, ops, all, random, go_on, workers, point, state;
    bool     one; /* point and state */
    mutant   mutant;
} options;

typedef struct progress { /* of a worker; shared with the parent */
    _Atomic uint64_t states, written_on;
    _Atomic uint64_t point, state; /* being tried */
    _Atomic uint64_t points;
} progress;

static struct shared {
    atomic_bool bad;
    progress    of[WORKERS_MAX];
} * shared;

static options opt = { .seed = 1, .seeds = 1, .all = 8, .random = 24, .go_on = 1, .workers = 2 };
static char    base[64];

/* ---- Directories */

static void clear(const char *path)
{
    char           below[PATH_MAX];
    DIR           *dir = opendir(path);
    struct dirent *e;
    while (dir && (e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (snprintf(below, sizeof below, "%s/%s", path, e->d_name) >= (int)sizeof below)
            abort();
        if (e->d_type == DT_DIR) {
            clear(below);
            (void)rmdir(below);
        } else {
            (void)unlink(below);
        }
    }
    if (dir)
        (void)closedir(dir);
}

/* What runs that were killed left behind. */
static void sweep(const char *in)
{
    static const char mark[] = "holdfast-states-";
    char              path[PATH_MAX];
    struct dirent    *e;
    DIR              *dir = opendir(in);
    while (dir && (e = readdir(dir))) {
        long pid = strncmp(e->d_name, mark, sizeof mark - 1) ? 0
                                                             : atol(e->d_name + sizeof mark - 1);
        if (pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", in, e->d_name);
        clear(path);
        (void)rmdir(path);
    }
    if (dir)
        (void)closedir(dir);
}

static void make_base(void)
{
    sweep("/dev/shm");
    sweep("/tmp");
    (void)snprintf(base, sizeof base, "/dev/shm/holdfast-states-%ld", (long)getpid());
    if (mkdir(base, 0700) == 0)
        return;
    (void)snprintf(base, sizeof base, "/tmp/holdfast-states-%ld", (long)getpid());
    if (mkdir(base, 0700)) {
        perror(base);
        exit(2);
    }
}

static void remove_base(void)
{
    clear(base);
    (void)rmdir(base);
}

/* ---- One state */

typedef struct explorer {
    const crash_run *run;
    crashdisk        disk;
    uint64_t         point, state; /* numbers of the current ones */
    uint64_t         worker;
    char             root[PATH_MAX];
    uint8_t         *choice;
    size_t           choice_room;
    uint64_t         chance; /* of the point */
} explorer;

/* How to make a state again. */
static void print_again(const crash_run *run, uint64_t point, uint64_t state)
{
    printf("     again: states --mutant %s --seed %" PRIu64 " --ops %" PRIu64 " --all %" PRIu64
           " --random %" PRIu64 " --point %" PRIu64 " --state %" PRIu64 " %s\n",
           mutant_name(opt.mutant), run->seed, opt.ops, opt.all, opt.random, point, state,
           run->load->name);
    (void)fflush(stdout);
}

static void complain(const explorer *x, const char *bad)
{
    printf("BAD  %s: %s\n     after operation %" PRIu64 " of %" PRIu64
           " begun; %zu units may be there or not\n",
           x->run->load->name, bad, x->disk.acked, x->disk.begun, x->disk.unit_count);
    print_again(x->run, x->point, x->state);
}

/* The choice has been made. Returns false when the state is bad. */
static bool try_state(explorer *x)
{
    progress *mine = &shared->of[x->worker];
    uint64_t  number = x->state++;
    if (opt.one ? x->point != opt.point || number != opt.state
                : (x->point + number) % opt.workers != x->worker)
        return true;
    uint64_t chance = x->run->seed * 1000003 + x->point * 7919 + number;
    (void)chance_next(&chance);
    atomic_store_explicit(&mine->point, x->point, memory_order_relaxed);
    atomic_store_explicit(&mine->state, number, memory_order_relaxed);

    (void)alarm(HANG_SECONDS);
    if (x->run->load->creation)
        clear(x->root); /* otherwise the names are always the same */
    if (!crashdisk_build(&x->disk, x->choice, &chance, x->root)) {
        perror("states: cannot build a state");
        exit(2);
    }
    question q = { .run = x->run,
                   .root = x->root,
                   .acked = x->disk.acked,
                   .begun = x->disk.begun,
                   .chance = chance,
                   .say = opt.one };
    q.go_on = opt.one || (opt.go_on && number / opt.workers % opt.go_on == 0);
    if (opt.one)
        crashdisk_print(&x->disk, x->choice);
    hf_random_seed(chance);
    workload_clock(x->disk.begun * 20 + 1);
    const char *bad = verdict(&q);
    atomic_fetch_add_explicit(&mine->states, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&mine->written_on, q.go_on, memory_order_relaxed);
    if (!bad)
        return true;
    x->state = number;
    complain(x, bad);
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
    size_t   units = x->disk.unit_count;
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

static bool try_some(explorer *x)
{
    size_t units = x->disk.unit_count;
    memset(x->choice, UNIT_LOST, units);
    if (x->disk.changed && !try_state(x))
        return false;
    memset(x->choice, UNIT_LOST, units);
    x->choice[units - 1] = UNIT_THERE;
    if (!try_state(x))
        return false;
    memset(x->choice, UNIT_THERE, units);
    if (!try_state(x))
        return false;
    memset(x->choice, UNIT_THERE, units);
    x->choice[units - 1] = UNIT_LOST;
    if (!try_state(x))
        return false;
    for (uint64_t n = 0; n < opt.random; n++) {
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

static bool try_point(explorer *x)
{
    size_t units = x->disk.unit_count;
    if (units + 1 > x->choice_room) {
        x->choice_room = units * 2 + 64;
        x->choice = realloc(x->choice, x->choice_room);
        if (!x->choice)
            abort();
    }
    x->state = 0;
    x->chance = x->run->seed + x->point * 104729;
    uint64_t all = x->run->load->large && opt.all > 8 ? 8 : opt.all;
    bool     fine = units <= all ? try_all(x) : try_some(x);
    crashdisk_settle(&x->disk);
    return fine;
}

static bool explore(const crash_run *run, uint64_t worker)
{
    explorer x = { .run = run, .worker = worker };
    bool     fine = true;
    (void)snprintf(x.root, sizeof x.root, "%s/%" PRIu64, base, worker);
    (void)mkdir(x.root, 0700);
    clear(x.root);
    crashdisk_init(&x.disk, &run->tape);
    for (size_t i = 0; i < run->tape.count && fine; i++) {
        crashdisk_play(&x.disk, &run->tape.events[i]);
        if (!run->load->creation && !x.disk.acked)
            continue;
        if (!is_new(&x.disk))
            continue;
        fine = try_point(&x);
        x.point++;
        if (atomic_load_explicit(&shared->bad, memory_order_relaxed))
            break;
    }
    (void)alarm(0);
    atomic_store_explicit(&shared->of[worker].points, x.point, memory_order_relaxed);
    crashdisk_free(&x.disk);
    free(x.choice);
    return fine;
}

/* ---- Workers */

static void work(const crash_run *run, uint64_t worker)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    mutant_use(MUTANT_NONE); /* what was recorded shall tell, not what we do now */
    bool fine = explore(run, worker);
    if (!fine)
        atomic_store_explicit(&shared->bad, true, memory_order_relaxed);
    (void)fflush(stdout);
    _exit(fine ? 0 : 1);
}

static bool await(const crash_run *run, uint64_t worker, pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status)) {
        if (WEXITSTATUS(status) > 1)
            exit(2); /* the harness itself has no room or so */
        return WEXITSTATUS(status) == 0;
    }
    const progress *p = &shared->of[worker];
    atomic_store(&shared->bad, true);
    printf("BAD  %s: %s\n", run->load->name,
           WTERMSIG(status) == SIGALRM ? "it hangs" : strsignal(WTERMSIG(status)));
    print_again(run, p->point, p->state);
    return false;
}

static bool explore_with_workers(const crash_run *run)
{
    pid_t pids[WORKERS_MAX];
    bool  fine = true;
    (void)fflush(stdout);
    for (uint64_t i = 0; i < opt.workers; i++) {
        pids[i] = fork();
        if (pids[i] < 0) {
            perror("fork");
            exit(2);
        }
        if (pids[i] == 0)
            work(run, i);
    }
    for (uint64_t i = 0; i < opt.workers; i++)
        fine = await(run, i, pids[i]) && fine;
    return fine;
}

/* ---- Workloads and what came of them */

typedef struct tally {
    uint64_t ops, points, states, written_on, folds, tight;
    int      bad;
    double   seconds;
} tally;

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool run_workload(const workload *load, uint64_t seed, tally *sum)
{
    char      root[96];
    crash_run run;
    double    start = seconds_now();

    (void)snprintf(root, sizeof root, "%s/recorded", base);
    (void)mkdir(root, 0700);
    clear(root);
    memset(shared, 0, sizeof *shared);
    hf_random_seed(seed);
    mutant_use(opt.mutant);
    bool fine = crash_run_record(&run, load, seed, (uint32_t)opt.ops, root);
    if (opt.one)
        mutant_use(MUTANT_NONE);
    if (fine)
        fine = opt.one ? explore(&run, 0) : explore_with_workers(&run);
    if (!fine)
        atomic_store(&shared->bad, true);
    sum->ops += run.op;
    sum->points += shared->of[0].points;
    sum->folds += run.folds;
    sum->tight += run.tight;
    for (uint64_t i = 0; i < opt.workers; i++) {
        sum->states += shared->of[i].states;
        sum->written_on += shared->of[i].written_on;
    }
    sum->seconds += seconds_now() - start;
    crash_run_free(&run);
    return fine;
}

static void print_tally(const char *name, const tally *t, int bad)
{
    printf("%-10s %6" PRIu64 " ops %5" PRIu64 " folds %4" PRIu64 " tight %7" PRIu64
           " points %9" PRIu64 " states %9" PRIu64 " written on %7.0f states/s  %d bad\n",
           name, t->ops, t->folds, t->tight, t->points, t->states, t->written_on,
           t->seconds > 0 ? (double)t->states / t->seconds : 0, bad);
}

/* A workload that never came to what it is for has shown nothing. */
static bool was_worth_it(const workload *load, const tally *t)
{
    const char *lacks = load->tightens && !t->tight ? "came to the end of its room"
                        : load->folds && !t->folds  ? "folded"
                                                    : NULL;
    if (!lacks || opt.ops || opt.one || opt.mutant != MUTANT_NONE)
        return true;
    printf("BAD  %s: it never %s\n", load->name, lacks);
    return false;
}

static bool print_all(const tally *sums, bool fine)
{
    tally total = { 0 };
    for (unsigned w = 0; w < workload_count; w++) {
        if (!sums[w].ops)
            continue;
        print_tally(workloads[w].name, &sums[w], sums[w].bad);
        if (fine)
            fine = was_worth_it(&workloads[w], &sums[w]);
        total.ops += sums[w].ops;
        total.points += sums[w].points;
        total.states += sums[w].states;
        total.written_on += sums[w].written_on;
        total.folds += sums[w].folds;
        total.tight += sums[w].tight;
        total.seconds += sums[w].seconds;
        total.bad += sums[w].bad;
    }
    print_tally("total", &total, total.bad);
    return fine;
}

static bool is_wanted(const workload *load, char **names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], "all") == 0 || strcmp(names[i], load->name) == 0)
            return true;
    return false;
}

static int run_all(char **names, int count)
{
    tally    sums[32] = { { 0 } };
    bool     fine = true, known = false;
    uint64_t states = 0, past = opt.seed + opt.seeds;

    for (uint64_t seed = opt.seed; fine && (seed < past || states < opt.states); seed++) {
        for (unsigned w = 0; w < workload_count && fine; w++) {
            if (!is_wanted(&workloads[w], names, count))
                continue;
            known = true;
            uint64_t before = sums[w].states;
            fine = run_workload(&workloads[w], seed, &sums[w]);
            sums[w].bad += !fine;
            states += sums[w].states - before;
        }
        if (!known) {
            fprintf(stderr, "states: no such workload\n");
            return 2;
        }
        if (opt.states) { /* a long run: show how far it is */
            printf("seed %" PRIu64 ": %" PRIu64 " states\n", seed, states);
            (void)fflush(stdout);
        }
    }
    fine = print_all(sums, fine);
    if (opt.mutant == MUTANT_NONE)
        return fine ? 0 : 1;
    bool noticed = shared->bad;
    printf(noticed ? "the fault was noticed\n" : "THE FAULT WAS NOT NOTICED\n");
    return noticed ? 0 : 1;
}

/* ---- Arguments */

static int usage(void)
{
    fprintf(stderr, "usage: states [--seed N] [--seeds N] [--states N] [--ops N] [--all N] "
                    "[--random N]\n              [--go-on N] [--workers N] [--mutant NAME] "
                    "[--point N --state N] WORKLOAD...|all\n");
    return 2;
}

static bool set_option(const char *name, const char *text)
{
    static const struct {
        const char *name;
        uint64_t   *value;
    } numbers[] = {
        { "--seed", &opt.seed },   { "--seeds", &opt.seeds },     { "--states", &opt.states },
        { "--ops", &opt.ops },     { "--all", &opt.all },         { "--random", &opt.random },
        { "--go-on", &opt.go_on }, { "--workers", &opt.workers }, { "--point", &opt.point },
        { "--state", &opt.state },
    };
    char *end;
    if (strcmp(name, "--mutant") == 0) {
        int found = mutant_named(text);
        opt.mutant = found < 0 ? MUTANT_NONE : (mutant)found;
        return found >= 0;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].value = strtoull(text, &end, 10);
            opt.one = opt.one || strcmp(name, "--point") == 0;
            return *text && !*end;
        }
    return false;
}

int main(int argc, char **argv)
{
    int at = 1;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2)
        if (!set_option(argv[at], argv[at + 1]))
            return usage();
    if (at >= argc || argv[at][0] == '-' || !opt.workers || opt.workers > WORKERS_MAX
        || opt.all > 20)
        return usage();

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    if (opt.mutant != MUTANT_NONE) /* a state may well kill its process */
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    /* LMDB asks for megabytes of zeros at each open: fresh ones are the cheapest. */
    (void)mallopt(M_MMAP_THRESHOLD, 512 << 10);
    (void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
    make_base();
    int err = run_all(argv + at, argc - at);
    remove_base();
    return err;
}
