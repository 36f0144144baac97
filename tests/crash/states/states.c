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
#include "tests/crash/states/explore.h"
#include "tests/crash/states/mutants.h"
#include "tests/crash/states/scratch.h"
#include "tests/crash/states/verdict.h"

#include "storage/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { HANG_SECONDS = 30 };

typedef struct options {
    uint64_t    seed, seeds, states, ops, all, random, go_on, workers, point, state;
    bool        one; /* point and state */
    mutant      mutant;
    const char *mutant_word;
} options;

static options     opt = { .seed = 1,
                           .seeds = 1,
                           .all = 8,
                           .random = 24,
                           .go_on = 1,
                           .workers = 2,
                           .point = UINT64_MAX,
                           .mutant_word = "none" };
static bool        noticed; /* a bad state */
static const char *base;

/* ---- One state */

static const crash_run *run_of(const explorer *x)
{
    return x->job->user;
}

/* How to make a state again. */
static void print_again(const crash_run *run, uint64_t point, uint64_t state)
{
    printf("     again: states --mutant %s --seed %" PRIu64 " --ops %" PRIu64 " --all %" PRIu64
           " --random %" PRIu64 " --point %" PRIu64 " --state %" PRIu64 " %s\n",
           mutant_name(opt.mutant), run->seed, opt.ops, opt.all, opt.random, point, state,
           run->load->name);
    (void)fflush(stdout);
}

static void complain(explorer *x, const char *bad, uint64_t chance)
{
    (void)chance;
    printf("BAD  %s: %s\n     after operation %" PRIu64 " of %" PRIu64
           " begun; %zu units may be there or not\n",
           run_of(x)->load->name, bad, x->disk.acked, x->disk.begun, x->disk.unit_count);
    print_again(run_of(x), x->point, x->state);
}

static const crash_run *exploring;

static void died(uint64_t point, uint64_t state, const char *of_what)
{
    printf("BAD  %s: %s\n", exploring->load->name, of_what);
    print_again(exploring, point, state);
}

static bool ready(const explorer *x)
{
    return run_of(x)->load->creation || x->disk.acked;
}

static const char *judge(explorer *x, uint64_t chance, bool go_on)
{
    question q = { .run = run_of(x),
                   .root = x->root,
                   .acked = x->disk.acked,
                   .begun = x->disk.begun,
                   .chance = chance,
                   .go_on = go_on,
                   .say = opt.one };
    if (opt.one)
        crashdisk_print(&x->disk, x->choice);
    mutant_use(MUTANT_NONE); /* what was recorded shall tell, not what we do now */
    hf_random_seed(chance);
    workload_clock(x->disk.begun * 20 + 1);
    return verdict(&q);
}

/* ---- Workloads and what came of them */

typedef struct tally {
    uint64_t ops, points, states, written_on, folds, tight;
    int      bad;
    double   seconds;
} tally;

static explore_sum explore_it(const crash_run *run)
{
    bool large = run->load->large && opt.all > 8;
    explore_job job = { .tape = &run->tape,
                        .base = base,
                        .seed = run->seed,
                        .all = large ? 8 : opt.all,
                        .random = opt.random,
                        .go_on = opt.go_on,
                        .workers = opt.workers,
                        .hang_seconds = HANG_SECONDS,
                        .clear = run->load->creation,
                        .one = opt.one,
                        .point = opt.point,
                        .state = opt.state,
                        .ready = ready,
                        .judge = judge,
                        .complain = complain,
                        .died = died,
                        .user = (void *)(uintptr_t)run };
    exploring = run;
    return explore_run(&job);
}

static bool run_workload(const workload *load, uint64_t seed, tally *sum)
{
    char root[PATH_MAX];
    crash_run run;
    explore_sum found = { 0 };
    double start = scratch_seconds();

    (void)snprintf(root, sizeof root, "%s/recorded", base);
    (void)mkdir(root, 0700);
    scratch_clear(root);
    hf_random_seed(seed);
    mutant_use(opt.mutant);
    if (crash_run_record(&run, load, seed, (uint32_t)opt.ops, root))
        found = explore_it(&run);
    noticed = noticed || !found.fine;
    sum->ops += run.op;
    sum->points += found.points;
    sum->folds += run.folds;
    sum->tight += run.tight;
    sum->states += found.states;
    sum->written_on += found.worked_on;
    sum->seconds += scratch_seconds() - start;
    crash_run_free(&run);
    return found.fine;
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
    tally sums[32] = { { 0 } };
    bool fine = true, known = false;
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
    const explore_option known[] = {
        { "--seed", &opt.seed, NULL },
        { "--seeds", &opt.seeds, NULL },
        { "--states", &opt.states, NULL },
        { "--ops", &opt.ops, NULL },
        { "--all", &opt.all, NULL },
        { "--random", &opt.random, NULL },
        { "--go-on", &opt.go_on, NULL },
        { "--workers", &opt.workers, NULL },
        { "--point", &opt.point, NULL },
        { "--state", &opt.state, NULL },
        { "--mutant", NULL, &opt.mutant_word },
    };
    return explore_option_set(known, sizeof known / sizeof *known, name, text);
}

int main(int argc, char **argv)
{
    int at = 1;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2)
        if (!set_option(argv[at], argv[at + 1]))
            return usage();
    int fault = mutant_named(opt.mutant_word);
    if (at >= argc || argv[at][0] == '-' || !opt.workers || opt.workers > EXPLORE_WORKERS
        || opt.all > 20 || fault < 0)
        return usage();
    opt.mutant = (mutant)fault;
    opt.one = opt.point != UINT64_MAX;
    explore_init();
    if (opt.mutant != MUTANT_NONE) /* a state may well kill its process */
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    base = scratch_make("states");
    int err = run_all(argv + at, argc - at);
    scratch_remove();
    return err;
}
