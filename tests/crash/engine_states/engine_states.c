/* engine_states.c - crash the machine under a running engine, and open it again.
 *
 *     engine_states [options]
 *
 *   --op NAME    the life around this operation; mixed: calls drawn by chance;
 *                all: each of them, but not mixed [mixed]
 *   --seed N     the first seed [1]         --seeds N   so many, one after another [1]
 *   --states N   go on with further seeds until so many states were tried
 *   --ops N      calls of the client in a mixed life [14]
 *   --all N      every subset of up to N units [3]     --random N   where there are more [4]
 *   --go-on N    work on in every Nth state [3]        --workers N  processes [6]
 *   --mutant NAME  put a fault in; succeeds only if it is noticed:
 *                early undone nosync nometasync
 *   --keep DIR   where the first bad state is left
 *
 * Happy path: a client lives with an engine while each write and sync is recorded; at
 * each of them the disk may hold what is surely synced and any choice of the rest. Each
 * such state is built in memory (/dev/shm), opened with the engine in a forked worker,
 * and judged by what the client knew at that moment. A mixed client then lives on, three
 * times, each time with one of the states that a crash may have left. Threads run as
 * they please, so a seed does not make the same run again: the first bad state is kept. */
#include "tests/crash/engine_states/engine_world.h"

#include "tests/crash/states/explore.h"
#include "tests/crash/states/scratch.h"

#include "storage/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HANG_SECONDS = 60, ENOUGH_CALLS = 1000 /* of a mixed life, to have met everything */ };

static struct {
    uint64_t    seed, seeds, states, ops, all, random, go_on, workers;
    mutant      mutant;
    const char *keep, *op, *mutant_word;
} opt = { .seed = 1,
          .seeds = 1,
          .ops = 14,
          .all = 3,
          .random = 4,
          .go_on = 3,
          .workers = 6,
          .op = "mixed",
          .mutant_word = "none" };

typedef struct tally { /* of lives, and of the states they may have left */
    uint64_t calls, messages, dead, steps, requeues, folds;
    uint64_t points, sampled, states, worked_on, lives;
    double   seconds;
    int      bad;
} tally;

static const char *base, *op_name;
static moment      now; /* of this process: what the disk must bear out */

/* ---- One state */

static const char *kind_name(op_kind kind)
{
    static const char *const kind_names[OPS_KINDS] = { "open",  "tell",   "mail",  "post",
                                                       "sync",  "drain",  "pause", "resume",
                                                       "close", "requeue" };
    return kind_names[kind];
}

static void complain(explorer *x, const char *bad, uint64_t chance)
{
    printf("BAD  op %s seed %" PRIu64 " life %u point %" PRIu64 " state %" PRIu64 ": %s\n", op_name,
           w.seed, w.life, x->point, x->state, bad);
    for (uint32_t n = 0; n < w.op_count && now.begun[n]; n++) {
        printf("     %s%s %s", now.acked[n] ? "" : "not acknowledged: ", kind_name(w.ops[n].kind),
               w.ops[n].what ? w.ops[n].what : "");
        for (uint32_t i = 0; i < w.ops[n].count; i++) {
            const message *m = &w.messages[w.ops[n].tokens[i]];
            printf(" %u:%s(plan %u)", w.ops[n].tokens[i], place_names[m->place], m->plan);
        }
        if (w.ops[n].kind == OP_REQUEUE)
            printf(" %u", w.ops[n].tokens[0]);
        printf("\n");
    }
    crashdisk_print(&x->disk, x->choice);
    explorer_keep(x, chance, opt.keep);
}

static void died(uint64_t point, uint64_t state, const char *of_what)
{
    printf("BAD  op %s seed %" PRIu64 " life %u point %" PRIu64 " state %" PRIu64 ": %s\n", op_name,
           w.seed, w.life, point, state, of_what);
}

static bool ready(const explorer *x)
{
    const script *by = x->job->user;
    return now.started && (!by || by->creates || now.acked[0]);
}

static void play(explorer *x, const tape_event *event)
{
    (void)x;
    if (event->what == TAPE_BEGIN || event->what == TAPE_ACK)
        moment_play(&now, event);
}

static const char *judge(explorer *x, uint64_t chance, bool go_on)
{
    (void)chance;
    mutant_use(MUTANT_NONE, 0); /* what was recorded shall tell */
    atomic_store(&fold_slice_most, 0);
    if (snprintf(w.path, sizeof w.path, "%s/store", x->root) >= (int)sizeof w.path)
        abort();
    return check_state(&now, go_on);
}

static bool explore_it(const script *by, tally *sum)
{
    explore_job job = { .tape = &w.tape,
                        .base = base,
                        .seed = w.seed + w.life,
                        .all = opt.all,
                        .random = opt.random,
                        .go_on = opt.go_on,
                        .workers = opt.workers,
                        .hang_seconds = HANG_SECONDS,
                        .clear = true,
                        .ready = ready,
                        .play = play,
                        .judge = judge,
                        .complain = complain,
                        .died = died,
                        .user = (void *)(uintptr_t)by };
    now = w.start;
    explore_sum found = explore_run(&job);
    sum->states += found.states;
    sum->worked_on += found.worked_on;
    sum->points += found.points;
    sum->sampled += found.sampled;
    return found.fine;
}

/* ---- Lives */

/* What a life was worth. */
static void count_life(uint32_t old_ops, uint32_t old_messages, tally *sum)
{
    sum->calls += w.op_count - old_ops;
    sum->messages += w.message_count - old_messages;
    sum->folds += atomic_exchange(&folds_done, 0);
    for (uint32_t n = old_ops; n < w.op_count; n++)
        sum->requeues += w.ops[n].kind == OP_REQUEUE;
    for (uint32_t token = old_messages; token < w.message_count; token++) {
        sum->dead += plan_dies(&w.messages[token]);
        for (int n = 0; n < STEPS; n++)
            sum->steps += w.keys[token][n][0] != '\0';
    }
}

/* One of the states that the last life may have left, and what was known then. */
static void crash_somewhere(explorer *x)
{
    size_t first = 0;
    while (!first || w.tape.events[first - 1].what != TAPE_BEGIN)
        first++;
    size_t stop = first + chance_next(&w.chance) % (w.tape.count - first + 1);
    *x = (explorer){ 0 };
    now = w.start;
    crashdisk_init(&x->disk, &w.tape);
    for (size_t i = 0; i < stop; i++) {
        crashdisk_play(&x->disk, &w.tape.events[i]);
        play(x, &w.tape.events[i]);
    }
    explore_want_choice(x);
    uint64_t density = chance_next(&w.chance) % 17;
    for (size_t i = 0; i < x->disk.unit_count; i++)
        x->choice[i] = chance_next(&w.chance) % 16 < density ? UNIT_THERE : UNIT_LOST;
}

/* What was not begun before the crash has never been. */
static void forget_later(const moment *m)
{
    uint32_t kept = 0;
    while (kept < w.op_count && m->begun[kept])
        kept++;
    if (kept < w.op_count)
        w.message_count = w.ops[kept].first_token;
    w.op_count = kept;
    for (uint32_t token = 0; token < TOKENS; token++)
        for (int n = 0; n < STEPS; n++)
            if (token >= w.message_count || !m->step_begun[token][n])
                w.keys[token][n][0] = '\0';
}

static bool record(const script *by, explorer *before, const char *root, tally *sum)
{
    (void)mkdir(root, 0700);
    scratch_clear(root);
    (void)snprintf(w.path, sizeof w.path, "%s/store", root);
    tape of = { 0 };
    mutant_use(opt.mutant, 4 + (uint32_t)(dice() % 12));
    tape_start(&of, root);
    if (before) {
        uint64_t chance = dice();
        if (!crashdisk_build(&before->disk, before->choice, &chance, root))
            abort();
        scratch_sync_tree(root);
        w.start = now;
        forget_later(&w.start);
        explorer_free(before);
        tape_free(&w.tape);
    }
    w.start.started = false;
    uint32_t old_ops = w.op_count, old_messages = w.message_count;
    (void)alarm(HANG_SECONDS);
    atomic_store(&fold_slice_most, by ? by->slice : 0);
    bool fine = live(by, (uint32_t)opt.ops);
    (void)alarm(0);
    tape_stop();
    w.tape = of;
    count_life(old_ops, old_messages, sum);
    return fine;
}

static void begin_world(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    plan_wish_nothing();
    w.seed = seed;
    w.chance = seed * 77777;
    w.shards = 1 + (uint32_t)(seed % 2);
    hf_random_seed(seed);
}

static bool run_mixed(uint64_t seed, tally *sum)
{
    char root[PATH_MAX];
    explorer crashed;
    bool fine = true;
    begin_world(seed);
    (void)snprintf(root, sizeof root, "%s/recorded", base);
    for (; fine && w.life < LIVES; w.life++) {
        fine = record(NULL, w.life ? &crashed : NULL, root, sum) && explore_it(NULL, sum);
        if (fine && w.life + 1 < LIVES)
            crash_somewhere(&crashed);
    }
    tape_free(&w.tape);
    return fine;
}

static bool run_script(const script *by, uint64_t seed, tally *sum)
{
    char root[PATH_MAX];
    begin_world(seed);
    (void)snprintf(root, sizeof root, "%s/recorded", base);
    bool fine = record(by, NULL, root, sum) && explore_it(by, sum);
    tape_free(&w.tape);
    return fine;
}

/* ---- Operations and what came of them */

static void print_tally(const char *name, const tally *t)
{
    printf("%-15s %4" PRIu64 " lives %5" PRIu64 " calls %6" PRIu64 " points (%" PRIu64
           " sampled) %7" PRIu64 " states %7" PRIu64 " worked on %5.0f states/s  %d bad\n",
           name, t->lives, t->calls, t->points, t->sampled, t->states, t->worked_on,
           t->seconds > 0 ? (double)t->states / t->seconds : 0, t->bad);
}

/* A life that never came to what it is for has shown nothing. */
static bool was_worth_it(const script *by, const tally *t)
{
    const char *lacks = NULL;
    if (!by && t->calls < ENOUGH_CALLS)
        return true;
    if (by ? by->folds && !t->folds : !t->folds)
        lacks = "folded";
    if (!by && !t->steps)
        lacks = "took a step";
    if (!by && !t->dead)
        lacks = "buried anything";
    if (by && strncmp(by->name, "requeue", 7) == 0 && !t->requeues)
        lacks = "requeued";
    if (!lacks || opt.mutant != MUTANT_NONE)
        return true;
    printf("BAD  %s: it never %s\n", by ? by->name : "mixed", lacks);
    return false;
}

static bool wanted(const char *name)
{
    return strcmp(opt.op, name) == 0 || (strcmp(opt.op, "all") == 0 && strcmp(name, "mixed") != 0);
}

static bool run_one(const script *by, uint64_t seed, tally *sum)
{
    double start = scratch_seconds();
    op_name = by ? by->name : "mixed";
    bool fine = by ? run_script(by, seed, sum) : run_mixed(seed, sum);
    sum->lives += w.life + (by != NULL);
    sum->seconds += scratch_seconds() - start;
    sum->bad += !fine;
    return fine;
}

static void add(tally *all, const tally *t)
{
    all->calls += t->calls;
    all->lives += t->lives;
    all->points += t->points;
    all->sampled += t->sampled;
    all->states += t->states;
    all->worked_on += t->worked_on;
    all->seconds += t->seconds;
    all->bad += t->bad;
}

static bool print_all(const tally *sums)
{
    tally total = { 0 };
    bool fine = true;
    for (unsigned i = 0; i <= script_count; i++) {
        const script *by = i < script_count ? &scripts[i] : NULL;
        if (!sums[i].lives)
            continue;
        print_tally(by ? by->name : "mixed", &sums[i]);
        fine = (sums[i].bad || was_worth_it(by, &sums[i])) && fine;
        add(&total, &sums[i]);
    }
    print_tally("total", &total);
    return fine && !total.bad;
}

static int run_all(void)
{
    tally sums[64] = { { 0 } };
    bool fine = true;
    uint64_t states = 0, past = opt.seed + opt.seeds;
    for (uint64_t seed = opt.seed; fine && (seed < past || states < opt.states); seed++) {
        for (unsigned i = 0; i <= script_count && fine; i++) {
            const script *by = i < script_count ? &scripts[i] : NULL;
            if (!wanted(by ? by->name : "mixed"))
                continue;
            uint64_t before = sums[i].states;
            fine = run_one(by, seed, &sums[i]);
            states += sums[i].states - before;
        }
        if (opt.states)
            printf("seed %" PRIu64 ": %" PRIu64 " states\n", seed, states);
        (void)fflush(stdout);
    }
    bool worth = print_all(sums);
    if (opt.mutant == MUTANT_NONE)
        return worth ? 0 : 1;
    printf(fine ? "THE FAULT WAS NOT NOTICED\n" : "the fault was noticed\n");
    return fine ? 1 : 0;
}

/* ---- Arguments */

static int usage(void)
{
    fprintf(stderr,
            "usage: engine_states [--op NAME|all|mixed] [--seed N] [--seeds N] [--states N] "
            "[--ops N]\n              [--all N] [--random N] [--go-on N] [--workers N] "
            "[--mutant NAME] [--keep DIR]\nthe operations:");
    for (unsigned i = 0; i < script_count; i++)
        fprintf(stderr, " %s", scripts[i].name);
    fprintf(stderr, "\n");
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
        { "--op", NULL, &opt.op },
        { "--keep", NULL, &opt.keep },
        { "--mutant", NULL, &opt.mutant_word },
    };
    return explore_option_set(known, sizeof known / sizeof *known, name, text);
}

static bool known_op(void)
{
    bool known = strcmp(opt.op, "all") == 0 || strcmp(opt.op, "mixed") == 0;
    for (unsigned i = 0; i < script_count; i++)
        known = known || strcmp(opt.op, scripts[i].name) == 0;
    return known;
}

int main(int argc, char **argv)
{
    for (int at = 1; at < argc; at += 2)
        if (at + 1 >= argc || !set_option(argv[at], argv[at + 1]))
            return usage();
    int fault = mutant_named(opt.mutant_word);
    if (!opt.workers || opt.workers > EXPLORE_WORKERS || opt.all > 16 || opt.ops > 40 || fault < 0
        || !known_op())
        return usage();
    opt.mutant = (mutant)fault;
    explore_init();
    if (opt.mutant != MUTANT_NONE) /* a state may well kill its process */
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    base = scratch_make("engine");
    int err = run_all();
    scratch_remove();
    return err;
}
