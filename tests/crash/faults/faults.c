/* faults.c - every call and every allocation fails, one after another.
 *
 *     faults [--runs N | --all] [--seed S] [--jobs N] [--mutant NAME] [--quiet]
 *            [--scenario NAME] [--kind NAME] [--error NAME] [--at N [--for-good]]
 *     faults disk CYCLES | map CYCLES     room.c
 *
 * Happy path: each scenario runs once without a fault, which says how many calls of each
 * kind there are. Then for each scenario, kind and error the nth call fails, once and
 * from there on: all n until a run meets none (--all), or some by chance, N runs in all.
 * Two drivers share the work. Anything found is printed with the words that repeat it,
 * and the program ends with status 1. */
#include "tests/crash/faults/faults_room.h"
#include "tests/crash/faults/faults_mutants.h"
#include "tests/crash/faults/one_run.h"

#include "tests/support/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SCENARIOS_MAX = 8, DRIVERS_MAX = 8, FOUND_MAX = 200, ENOUGH = 2 };

typedef struct tally {
    atomic_uint runs, hits, found, stopped, refused, open_failed, known;
} tally;

/* Shared by the drivers. */
static struct shared {
    uint32_t    points[SCENARIOS_MAX][FAULT_KIND_COUNT][MODULES];
    tally       kinds[FAULT_KIND_COUNT];
    atomic_uint next; /* combination */
    atomic_uint found;
} *all;

static struct options {
    uint64_t    seed;
    uint32_t    runs, jobs, at;
    bool        every, for_good, quiet;
    const char *scenario, *kind, *error, *mutant;
} options = { .seed = 1, .runs = 300, .jobs = 2 };

/* ---- Points */

static uint32_t points_of(uint32_t s, const fault_plan *plan)
{
    uint32_t count = 0;
    for (int m = 0; m < MODULES; m++)
        if (plan->modules & 1u << m)
            count += all->points[s][plan->kind][m];
    return count;
}

static bool wanted(uint32_t s, const fault_plan *plan)
{
    return inject_can(plan->kind)
        && (!options.scenario || strcmp(options.scenario, scenarios[s].name) == 0)
        && (!options.kind || strcmp(options.kind, fault_names[plan->kind]) == 0)
        && (!options.error || strcmp(options.error, plan->name) == 0);
}

static void count_points(void)
{
    for (uint32_t s = 0; s < scenario_count; s++) {
        run r = { .scenario = s };
        verdict v;
        if (options.scenario && strcmp(options.scenario, scenarios[s].name) != 0)
            continue;
        run_one(&r, &v);
        if (*v.why)
            core_fail("%s without faults: %s", scenarios[s].name, v.why);
        for (int k = 0; k < FAULT_KIND_COUNT; k++)
            for (int m = 0; m < MODULES; m++)
                all->points[s][k][m] = atomic_load(&inject->met[k][m]);
        if (!options.quiet)
            printf("%-8s %.0f ms without faults, %u allocations\n", scenarios[s].name,
                   v.seconds * 1000, all->points[s][FAULT_OURS][BY_US]);
    }
}

/* ---- Runs */

static void report(const run *r, const verdict *v)
{
    char text[300];
    if (atomic_fetch_add(&all->found, 1) >= FOUND_MAX)
        return;
    run_name(r, text, sizeof text);
    printf("FOUND %s\n    %s\n", text, v->why);
    if (!options.quiet)
        run_print_trace();
    (void)fflush(stdout);
}

/* Did it meet a call to fail? */
static bool try_one(const run *r)
{
    verdict v;
    tally *t = &all->kinds[r->plan->kind];
    run_one(r, &v);
    atomic_fetch_add(&t->runs, 1);
    atomic_fetch_add(&t->hits, v.hit);
    atomic_fetch_add(&t->known, v.known != NULL);
    atomic_fetch_add(&t->stopped, atomic_load(&book->stopped) != 0 || atomic_load(&book->unknown));
    atomic_fetch_add(&t->refused, atomic_load(&book->refused) != 0);
    atomic_fetch_add(&t->open_failed, book->open_err != 0);
    if (*v.why) {
        atomic_fetch_add(&t->found, 1);
        report(r, &v);
    }
    return v.hit;
}

static void try_all(run *r)
{
    uint32_t missed = 0;
    for (r->nth = 1; missed < ENOUGH; r->nth++)
        missed = try_one(r) ? 0 : missed + 1;
}

static void try_some(run *r, uint64_t total, uint64_t *dice)
{
    uint32_t points = points_of(r->scenario, r->plan);
    uint64_t more = options.runs, count = 1 + points * more / (total + 1);
    for (uint64_t i = 0; i < count; i++) {
        r->nth = 1 + (uint32_t)(core_random(dice) % points);
        (void)try_one(r);
    }
}

static uint64_t total_points(void)
{
    uint64_t total = 0;
    for (uint32_t s = 0; s < scenario_count; s++)
        for (uint32_t i = 0; i < fault_plan_count; i++)
            if (wanted(s, &fault_plans[i]))
                total += points_of(s, &fault_plans[i]) * (fault_plan_once(&fault_plans[i]) ? 1 : 2);
    return total;
}

/* Combinations are dealt out to the drivers one by one. */
static void drive(uint64_t total)
{
    uint32_t count = scenario_count * fault_plan_count * 2;
    uint32_t combinations = 0, i;
    for (uint32_t c = 0; c < count; c += 2)
        combinations += wanted(c / 2 / fault_plan_count, &fault_plans[c / 2 % fault_plan_count]);
    while ((i = atomic_fetch_add(&all->next, 1)) < count) {
        run r = { .scenario = i / 2 / fault_plan_count, .for_good = i % 2,
                  .plan = &fault_plans[i / 2 % fault_plan_count] };
        uint64_t dice = options.seed * 1000003 + i;
        if (!wanted(r.scenario, r.plan) || !points_of(r.scenario, r.plan)
            || (r.for_good && fault_plan_once(r.plan)))
            continue;
        /* A small sample leaves combinations out, which ones the seed says. */
        if (!options.every && core_random(&dice) % (combinations / (options.runs + 1) + 1))
            continue;
        if (options.every)
            try_all(&r);
        else
            try_some(&r, total, &dice);
    }
}

static void print_tallies(void)
{
    tally sum = { 0 };
    printf("%-15s %8s %7s %7s %7s %8s %10s %6s %5s\n", "call", "points", "runs", "hit", "refused",
           "stopped", "not opened", "known", "FOUND");
    for (uint32_t k = 0; k < FAULT_KIND_COUNT; k++) {
        const tally *t = &all->kinds[k];
        uint32_t points = 0;
        for (uint32_t s = 0; s < scenario_count; s++)
            for (int m = 0; m < BY_OTHERS; m++)
                points += all->points[s][k][m];
        if (points)
            printf("%-15s %8u %7u %7u %7u %8u %10u %6u %5u\n", fault_names[k], points, t->runs,
                   t->hits, t->refused, t->stopped, t->open_failed, t->known, t->found);
        sum.runs += t->runs;
        sum.hits += t->hits;
        sum.found += t->found;
        sum.known += t->known;
    }
    printf("%u runs, %u faults met, %u deaths known of libuv, %u found\n", sum.runs, sum.hits,
           sum.known, sum.found);
}

static void drive_all(const char *root)
{
    char directory[600];
    uint64_t total = total_points();
    (void)fflush(stdout);
    for (uint32_t i = 0; i < options.jobs; i++) {
        pid_t child = fork();
        if (child < 0)
            core_fail("fork");
        if (child)
            continue;
        (void)snprintf(directory, sizeof directory, "%s/driver%u/work", root, i);
        run_begin(directory, root);
        drive(total);
        (void)fflush(stdout);
        _exit(0);
    }
    for (uint32_t i = 0; i < options.jobs; i++) {
        int status;
        if (wait(&status) < 0 || status)
            core_fail("a driver ended with %d", status);
    }
}

/* ---- */

static int one_point(void)
{
    for (uint32_t s = 0; s < scenario_count; s++)
        for (uint32_t i = 0; i < fault_plan_count; i++) {
            run r = { .scenario = s, .plan = &fault_plans[i], .nth = options.at,
                      .for_good = options.for_good };
            if (!wanted(s, r.plan))
                continue;
            char name[300];
            verdict v;
            run_name(&r, name, sizeof name);
            run_one(&r, &v);
            printf("%s: %s, %s%s (%.0f ms)\n", name, v.hit ? "hit" : "met none",
                   *v.why ? v.why : "well", v.known ? v.known : "", v.seconds * 1000);
            if (*v.why || v.known || getenv("FAULTS_TRACE"))
                run_print_trace();
            if (*v.why)
                return 1;
        }
    return 0;
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *o = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(o, "--all") == 0)
            options.every = true;
        else if (strcmp(o, "--for-good") == 0)
            options.for_good = true;
        else if (strcmp(o, "--quiet") == 0)
            options.quiet = true;
        else if (strcmp(o, "--slow") == 0)
            run_is_slow = true;
        else if (i++, strcmp(o, "--runs") == 0)
            options.runs = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(o, "--seed") == 0)
            options.seed = strtoull(value, NULL, 10);
        else if (strcmp(o, "--jobs") == 0)
            options.jobs = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(o, "--at") == 0)
            options.at = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(o, "--scenario") == 0)
            options.scenario = value;
        else if (strcmp(o, "--kind") == 0)
            options.kind = value;
        else if (strcmp(o, "--error") == 0)
            options.error = value;
        else if (strcmp(o, "--mutant") == 0)
            options.mutant = value;
        else
            core_fail("what is %s?", o);
    }
    if (getenv("HF_SEED"))
        options.seed = strtoull(getenv("HF_SEED"), NULL, 10);
    if (!options.jobs || options.jobs > DRIVERS_MAX)
        core_fail("--jobs 1 to %d", DRIVERS_MAX);
}

static int fault_loops(void)
{
    const char *root = core_directory("faults", true);
    char work[600], kept[400];
    (void)snprintf(kept, sizeof kept, "%s", root);
    (void)snprintf(work, sizeof work, "%s/work", kept);
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || scenario_count > SCENARIOS_MAX)
        core_fail("no memory to share");
    run_begin(work, kept);
    run_templates();
    if (options.at) {
        int found = one_point();
        core_remove(kept);
        return found;
    }
    count_points();
    if (options.mutant && !mutant_choose(options.mutant))
        core_fail("no mutant is called %s", options.mutant);
    for (uint32_t i = 0; i < options.jobs; i++) {
        (void)snprintf(work, sizeof work, "mkdir -p '%s/driver%u'", kept, i);
        if (system(work))
            core_fail("cannot make a directory");
    }
    drive_all(kept);
    print_tallies();
    core_remove(kept);
    uint32_t found = atomic_load(&all->found);
    if (!options.mutant)
        return found ? 1 : 0;
    printf("mutant %s: %s\n", options.mutant, found ? "noticed" : "NOT NOTICED");
    return found ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc > 2 && (strcmp(argv[1], "disk") == 0 || strcmp(argv[1], "map") == 0))
        return room_cycles(argv[1], (uint32_t)strtoul(argv[2], NULL, 10),
                           argc > 3 ? argv[3] : NULL);
    read_options(argc, argv);
    printf("seed %llu\n", (unsigned long long)options.seed);
    return fault_loops();
}
