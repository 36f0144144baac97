/* rule_states.c - crash the machine under each rule of the engine.
 *
 *     rule_states [--rule NAME|all] [--seed N] [--seeds N] [--all N] [--random N]
 *                 [--states N] [--workers N] [--mutant NAME] [--keep DIR]
 *
 *   --rule NAME  one of them [all]          --seed N    the first seed [1]
 *   --seeds N    so many [1]                --states N  further seeds until so many states
 *   --all N      every subset of up to N units [3]
 *   --random N   where there are more [4]   --workers N processes [6]
 *   --mutant NAME  put a fault in; succeeds only if it is noticed:
 *                early undone nosync nometasync
 *   --keep DIR   where the first bad state is left
 *
 * Happy path: a rule's life is recorded; at each write and sync all that the disk may
 * hold is built in memory, or some of it; a forked worker opens it, lets it rest, and
 * asks the rule. A crashed engine, a hang, a wrong state: BAD, and status 1. */
#include "tests/crash/rule_states/rules.h"

#include "tests/crash/engine_states/engine_mutants.h"
#include "tests/crash/states/explore.h"
#include "tests/crash/states/scratch.h"

#include "storage/random.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/crash/rule_states/rule_look.h"

enum { HANG_SECONDS = 60, REST_MS = 20000 };

static struct {
    uint64_t    seed, seeds, states, all, random, workers;
    const char *rule, *keep, *mutant;
} opt = { .seed = 1, .seeds = 1, .all = 3, .random = 4, .workers = 6, .rule = "all",
          .mutant = "none" };

static const rule     *by;
static const char     *base;
static char            path[PATH_MAX];
static hf_engine      *engine;
static uint64_t        chance, fault_at;
static tape            recorded;
static rule_moment     now;
static mutant          fault;
static atomic_bool     broken_now;
static char            why[512];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- What a life calls */

void rule_broken(const char *format, ...)
{
    va_list args;
    (void)pthread_mutex_lock(&lock);
    if (!atomic_exchange(&broken_now, true)) {
        va_start(args, format);
        (void)vsnprintf(why, sizeof why, format, args);
        va_end(args);
    }
    (void)pthread_mutex_unlock(&lock);
}

bool rule_worked(const char *call, int err)
{
    if (err)
        rule_broken("%s: %s (%s)", call, hf_strerror(err), hf_detail());
    return !err;
}

hf_engine *rule_engine(void)
{
    return engine;
}

void rule_open(void)
{
    uint64_t window = by->window ? by->window : 64 << 10;
    (void)rule_worked("hf_open", hf_open(&engine, path,
                                         HF_OPTIONS(.types = by->types, .shards = 2,
                                                    .window = window, .store_max = 16 << 20)));
}

void rule_close(void)
{
    if (engine && rule_worked("hf_close", hf_close(engine, REST_MS)))
        engine = NULL;
}

uint64_t rule_dice(void)
{
    return chance_next(&chance);
}

void rule_begin(uint32_t at)
{
    if (at >= RULE_MARKS)
        abort();
    tape_begin(at);
}

void rule_ack(uint32_t at)
{
    tape_ack(at);
}

/* ---- One state */

static bool ready(const explorer *x)
{
    (void)x;
    return now.begun[0];
}

static void play(explorer *x, const tape_event *event)
{
    (void)x;
    if (event->what == TAPE_BEGIN)
        now.begun[event->op] = true;
    if (event->what == TAPE_ACK)
        now.acked[event->op] = true;
}

static const char *rest_and_look(void)
{
    const char *bad = NULL;
    rule_open();
    if (engine && by->settle)
        bad = by->settle(engine);
    else if (engine)
        (void)rule_worked("hf_drain", hf_drain(engine, REST_MS));
    if (!bad && engine)
        rule_close();
    if (atomic_load(&broken_now))
        return why;
    return bad ? bad : rule_check(by, path, &now);
}

static const char *judge(explorer *x, uint64_t chance_of_state, bool go_on)
{
    (void)chance_of_state;
    mutant_use(MUTANT_NONE, 0);
    if (snprintf(path, sizeof path, "%s/store", x->root) >= (int)sizeof path)
        abort();
    const char *bad = rest_and_look();
    return bad || !go_on ? bad : rest_and_look();
}

static void complain(explorer *x, const char *bad, uint64_t chance_of_state)
{
    printf("BAD  rule %s seed %" PRIu64 " point %" PRIu64 " state %" PRIu64 ": %s\n", by->name,
           opt.seed, x->point, x->state, bad);
    for (uint32_t i = 0; i < RULE_MARKS; i++)
        if (now.begun[i] && !now.acked[i])
            printf("     not acknowledged: %u\n", i);
    explorer_keep(x, chance_of_state, opt.keep);
}

static void died(uint64_t point, uint64_t state, const char *of_what)
{
    printf("BAD  rule %s seed %" PRIu64 " point %" PRIu64 " state %" PRIu64 ": %s\n", by->name,
           opt.seed, point, state, of_what);
}

/* ---- A life, and what may be left of it */

static bool record(uint64_t seed)
{
    char root[PATH_MAX];
    if (snprintf(root, sizeof root, "%s/recorded", base) >= (int)sizeof root
        || snprintf(path, sizeof path, "%s/recorded/store", base) >= (int)sizeof path)
        abort();
    (void)mkdir(root, 0700);
    scratch_clear(root);
    chance = seed * 77777;
    hf_random_seed(seed);
    mutant_use(fault, (uint32_t)(3 + fault_at++ % 12));
    recorded = (tape){ 0 };
    now = (rule_moment){ .begun = { false } };
    tape_start(&recorded, root);
    (void)alarm(HANG_SECONDS);
    rule_open();
    rule_begin(0);
    rule_ack(0);
    if (engine)
        by->act();
    rule_close();
    (void)alarm(0);
    tape_stop();
    if (atomic_load(&broken_now))
        printf("BAD  rule %s, while it was recorded: %s\n", by->name, why);
    return !atomic_load(&broken_now);
}

static explore_sum explore_it(uint64_t seed)
{
    explore_job job = { .tape = &recorded,
                        .base = base,
                        .seed = seed,
                        .all = opt.all,
                        .random = opt.random,
                        .go_on = 2,
                        .workers = opt.workers,
                        .hang_seconds = HANG_SECONDS,
                        .clear = true,
                        .ready = ready,
                        .play = play,
                        .judge = judge,
                        .complain = complain,
                        .died = died };
    return explore_run(&job);
}

typedef struct rule_sum {
    uint64_t states, points;
    bool     fine;
} rule_sum;

static void live(const rule *which, uint64_t seed, rule_sum *sum)
{
    double start = scratch_seconds();
    by = which;
    explore_sum one = { .fine = false };
    if (record(seed))
        one = explore_it(seed);
    tape_free(&recorded);
    double seconds = scratch_seconds() - start;
    printf("%-16s seed %" PRIu64 " %6" PRIu64 " points %7" PRIu64 " states %5.0f states/s  %s\n",
           by->name, seed, one.points, one.states, (double)one.states / (seconds > 0 ? seconds : 1),
           one.fine ? "0 bad" : "BAD");
    (void)fflush(stdout);
    sum->states += one.states;
    sum->points += one.points;
    sum->fine = sum->fine && one.fine;
}

static int run_all(void)
{
    rule_sum sum = { .fine = true };
    bool any = false;
    uint64_t past = opt.seed + opt.seeds;
    for (; sum.fine && (opt.seed < past || sum.states < opt.states); opt.seed++)
        for (unsigned i = 0; sum.fine && i < rule_count; i++)
            if (strcmp(opt.rule, "all") == 0 || strcmp(opt.rule, rules[i]->name) == 0) {
                any = true;
                live(rules[i], opt.seed, &sum);
            }
    if (!any) {
        fprintf(stderr, "rule_states: there is no rule \"%s\"\n", opt.rule);
        return 2;
    }
    printf("total            %" PRIu64 " points, %" PRIu64 " states, %s\n", sum.points, sum.states,
           sum.fine ? "0 bad" : "1 bad");
    if (fault == MUTANT_NONE)
        return sum.fine ? 0 : 1;
    printf(sum.fine ? "THE FAULT WAS NOT NOTICED\n" : "the fault was noticed\n");
    return sum.fine ? 1 : 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: rule_states [--rule NAME|all] [--seed N] [--seeds N] [--states N] "
                    "[--all N] [--random N]\n                   [--workers N] [--mutant NAME] "
                    "[--keep DIR]\nthe rules:");
    for (unsigned i = 0; i < rule_count; i++)
        fprintf(stderr, " %s", rules[i]->name);
    fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv)
{
    const explore_option known[] = {
        { "--seed", &opt.seed, NULL },       { "--seeds", &opt.seeds, NULL },
        { "--states", &opt.states, NULL },   { "--all", &opt.all, NULL },
        { "--random", &opt.random, NULL },   { "--workers", &opt.workers, NULL },
        { "--rule", NULL, &opt.rule },       { "--keep", NULL, &opt.keep },
        { "--mutant", NULL, &opt.mutant },
    };
    for (int at = 1; at < argc; at += 2)
        if (at + 1 >= argc
            || !explore_option_set(known, sizeof known / sizeof *known, argv[at], argv[at + 1]))
            return usage();
    int found = mutant_named(opt.mutant);
    if (found < 0 || !opt.workers || opt.workers > EXPLORE_WORKERS || opt.all > 16)
        return usage();
    fault = (mutant)found;
    explore_init();
    base = scratch_make("rules");
    int status = run_all();
    scratch_remove();
    return status;
}
