/* engine_states.c - crash the machine under a running engine, and open it again.
 *
 *     engine_states [options]
 *
 *   --seed N     the first seed [1]         --seeds N   so many, one after another [1]
 *   --states N   go on with further seeds until so many states were tried
 *   --ops N      calls of the client in a life [14]
 *   --all N      every subset of up to N units [3]     --random N   where there are more [4]
 *   --go-on N    work on in every Nth state [3]        --workers N  processes [4]
 *   --mutant NAME  put a fault in; succeeds only if it is noticed:
 *                early undone nosync nometasync
 *   --keep DIR   where the first bad state is left
 *
 * Happy path: a client lives with an engine while each write and sync is recorded; at
 * each of them the disk may hold what is surely synced and any choice of the rest. Each
 * such state is built in memory (/dev/shm), opened with the engine in a forked worker,
 * and judged by what the client knew at that moment. Then the client lives on, three
 * times, each time with one of the states that a crash may have left. Threads run as
 * they please, so a seed does not make the same run again: the first bad state is kept. */
#include "tests/crash/engine_states/engine_world.h"

#include "tests/crash/states/crashdisk.h"

#include "storage/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS_MAX = 16, HANG_SECONDS = 60 };

static struct {
    uint64_t    seed, seeds, states, ops, all, random, go_on, workers;
    mutant      mutant;
    const char *keep;
} opt = { .seed = 1, .seeds = 1, .ops = 14, .all = 3, .random = 4, .go_on = 3, .workers = 4 };

static struct shared {
    atomic_bool      bad;
    _Atomic uint64_t states[WORKERS_MAX], written_on[WORKERS_MAX];
} * shared;

static struct tally { /* of what was recorded */
    uint64_t calls, messages, dead, steps, folds;
} lived;

static char base[64];

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

static void sync_one(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0 || fsync(fd))
        abort();
    (void)close(fd);
}

/* Files first, then their directory. */
static void sync_tree(const char *path)
{
    char           below[PATH_MAX];
    DIR           *dir = opendir(path);
    struct dirent *e;
    while (dir && (e = readdir(dir))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (snprintf(below, sizeof below, "%s/%s", path, e->d_name) >= (int)sizeof below)
            abort();
        if (e->d_type == DT_DIR)
            sync_tree(below);
        else
            sync_one(below, O_RDONLY);
    }
    if (dir)
        (void)closedir(dir);
    sync_one(path, O_RDONLY | O_DIRECTORY);
}

/* What runs that were killed left behind. */
static void sweep(const char *in)
{
    static const char mark_of_ours[] = "holdfast-engine-";
    char              path[PATH_MAX];
    struct dirent    *e;
    DIR              *dir = opendir(in);
    while (dir && (e = readdir(dir))) {
        size_t len = sizeof mark_of_ours - 1;
        long   pid = strncmp(e->d_name, mark_of_ours, len) ? 0 : atol(e->d_name + len);
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
    (void)snprintf(base, sizeof base, "/dev/shm/holdfast-engine-%ld", (long)getpid());
    if (mkdir(base, 0700) == 0)
        return;
    (void)snprintf(base, sizeof base, "/tmp/holdfast-engine-%ld", (long)getpid());
    if (mkdir(base, 0700)) {
        perror(base);
        exit(2);
    }
}

/* ---- One state */

typedef struct explorer {
    crashdisk disk;
    moment    now;
    uint64_t  point, number, worker, chance;
    char      root[PATH_MAX];
    uint8_t  *choice;
    size_t    choice_room;
} explorer;

static void keep_state(explorer *x, uint64_t chance)
{
    if (!opt.keep)
        return;
    (void)mkdir(opt.keep, 0700);
    clear(opt.keep);
    if (!crashdisk_build(&x->disk, x->choice, &chance, opt.keep))
        perror(opt.keep);
    else
        printf("     kept in %s\n", opt.keep);
}

static const char *kind_name(op_kind kind)
{
    static const char *const kind_names[] = { "open", "tell", "mail", "post", "sync",
                                              "drain", "pause", "resume", "close" };
    return kind_names[kind];
}

static void complain(explorer *x, const char *bad, uint64_t chance)
{
    printf("BAD  seed %" PRIu64 " life %u point %" PRIu64 " state %" PRIu64 ": %s\n", w.seed,
           w.life, x->point, x->number, bad);
    for (uint32_t n = 0; n < w.op_count && x->now.begun[n]; n++) {
        printf("     %s%s %s", x->now.acked[n] ? "" : "not acknowledged: ",
               kind_name(w.ops[n].kind), w.ops[n].what ? w.ops[n].what : "");
        for (uint32_t i = 0; i < w.ops[n].count; i++) {
            const message *m = &w.messages[w.ops[n].tokens[i]];
            printf(" %u:%s(plan %u)", w.ops[n].tokens[i], place_names[m->place], m->plan);
        }
        printf("\n");
    }
    crashdisk_print(&x->disk, x->choice);
    keep_state(x, chance);
}

static explorer *trying; /* of this process */
static uint64_t  trying_chance;

/* The engine waits for ever. We are dying, so anything may be called; if that hangs,
 * too, the second alarm ends it. */
static void on_alarm(int number)
{
    (void)signal(number, SIG_DFL);
    (void)alarm(5);
    atomic_store(&shared->bad, true);
    if (trying)
        complain(trying, "it hangs", trying_chance);
    else
        printf("BAD  seed %" PRIu64 " life %u: it hangs while it is recorded\n", w.seed, w.life);
    (void)fflush(stdout);
    _exit(1);
}

static bool try_state(explorer *x)
{
    uint64_t number = x->number++;
    if ((x->point + number) % opt.workers != x->worker)
        return true;
    uint64_t chance = w.seed * 1000003 + x->point * 7919 + number, kept = chance;
    trying = x;
    trying_chance = kept;
    (void)alarm(HANG_SECONDS);
    clear(x->root);
    if (!crashdisk_build(&x->disk, x->choice, &chance, x->root)) {
        perror("engine_states: cannot build a state");
        exit(2);
    }
    bool        on = opt.go_on && (x->point + number) / opt.workers % opt.go_on == 0;
    const char *bad = check_state(&x->now, on);
    atomic_fetch_add(&shared->states[x->worker], 1);
    atomic_fetch_add(&shared->written_on[x->worker], on);
    if (!bad)
        return true;
    x->number = number;
    complain(x, bad, kept);
    return false;
}

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
    for (int all = 0; all < 2; all++) {
        memset(x->choice, all ? UNIT_THERE : UNIT_LOST, units);
        if ((all || x->disk.changed) && !try_state(x))
            return false;
    }
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

static void want_choice(explorer *x)
{
    if (x->disk.unit_count + 1 <= x->choice_room)
        return;
    x->choice_room = x->disk.unit_count * 2 + 64;
    x->choice = realloc(x->choice, x->choice_room);
    if (!x->choice)
        abort();
}

static void play(explorer *x, const tape_event *event)
{
    crashdisk_play(&x->disk, event);
    if (event->what == TAPE_BEGIN || event->what == TAPE_ACK)
        moment_play(&x->now, event);
}

static bool explore(uint64_t worker)
{
    explorer x = { .worker = worker, .now = w.start };
    bool     fine = true;
    (void)snprintf(x.root, sizeof x.root, "%s/%" PRIu64, base, worker);
    (void)mkdir(x.root, 0700);
    (void)snprintf(w.path, sizeof w.path, "%s/%" PRIu64 "/store", base, worker);
    crashdisk_init(&x.disk, &w.tape);
    for (size_t i = 0; i < w.tape.count && fine; i++) {
        play(&x, &w.tape.events[i]);
        if (!x.now.started || !is_new(&x.disk))
            continue;
        want_choice(&x);
        x.number = 0;
        x.chance = w.seed + x.point * 104729 + w.life;
        fine = x.disk.unit_count <= opt.all ? try_all(&x) : try_some(&x);
        crashdisk_settle(&x.disk);
        x.point++;
        if (atomic_load(&shared->bad))
            break;
    }
    (void)alarm(0);
    crashdisk_free(&x.disk);
    free(x.choice);
    return fine;
}

/* ---- Workers */

static bool await(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status)) {
        if (WEXITSTATUS(status) > 1)
            exit(2); /* the harness itself has no room or so */
        return WEXITSTATUS(status) == 0;
    }
    printf("BAD  seed %" PRIu64 " life %u: %s\n", w.seed, w.life,
           strsignal(WTERMSIG(status)));
    return false;
}

static bool explore_with_workers(void)
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
        if (pids[i] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            mutant_use(MUTANT_NONE, 0); /* what was recorded shall tell */
            bool good = explore(i);
            if (!good)
                atomic_store(&shared->bad, true);
            (void)fflush(stdout);
            _exit(good ? 0 : 1);
        }
    }
    for (uint64_t i = 0; i < opt.workers; i++)
        fine = await(pids[i]) && fine;
    return fine;
}

/* ---- Lives */

/* What a life was worth. */
static void count_life(uint32_t old_ops, uint32_t old_messages)
{
    lived.calls += w.op_count - old_ops;
    lived.messages += w.message_count - old_messages;
    lived.folds += atomic_exchange(&folds_done, 0);
    for (uint32_t token = old_messages; token < w.message_count; token++) {
        lived.dead += plan_dies(&w.messages[token]);
        for (int n = 0; n < STEPS; n++)
            lived.steps += w.keys[token][n][0] != '\0';
    }
}

/* One of the states that the last life may have left, and what was known then. */
static void crash_somewhere(explorer *x)
{
    size_t first = 0;
    while (!first || w.tape.events[first - 1].what != TAPE_BEGIN)
        first++;
    size_t stop = first + chance_next(&w.chance) % (w.tape.count - first + 1);
    *x = (explorer){ .now = w.start };
    crashdisk_init(&x->disk, &w.tape);
    for (size_t i = 0; i < stop; i++)
        play(x, &w.tape.events[i]);
    want_choice(x);
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

static bool record(explorer *before, const char *root)
{
    (void)mkdir(root, 0700);
    clear(root);
    (void)snprintf(w.path, sizeof w.path, "%s/store", root);
    tape of = { 0 };
    mutant_use(opt.mutant, 4 + (uint32_t)(dice() % 12));
    tape_start(&of, root);
    if (before) {
        uint64_t chance = dice();
        if (!crashdisk_build(&before->disk, before->choice, &chance, root))
            abort();
        sync_tree(root);
        w.start = before->now;
        forget_later(&w.start);
        crashdisk_free(&before->disk);
        free(before->choice);
        tape_free(&w.tape);
    }
    w.start.started = false;
    uint32_t old_ops = w.op_count, old_messages = w.message_count;
    (void)alarm(HANG_SECONDS);
    bool fine = live((uint32_t)opt.ops);
    (void)alarm(0);
    tape_stop();
    w.tape = of;
    count_life(old_ops, old_messages);
    return fine;
}

static bool run_seed(uint64_t seed)
{
    char     root[96];
    explorer crashed;
    bool     fine = true;
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.chance = seed * 77777;
    w.shards = 1 + (uint32_t)(seed % 2);
    hf_random_seed(seed);
    (void)snprintf(root, sizeof root, "%s/recorded", base);
    for (; fine && w.life < LIVES; w.life++) {
        fine = record(w.life ? &crashed : NULL, root) && explore_with_workers();
        if (fine && w.life + 1 < LIVES)
            crash_somewhere(&crashed);
    }
    tape_free(&w.tape);
    return fine;
}

/* ---- Arguments */

static uint64_t sum(_Atomic uint64_t *of)
{
    uint64_t all = 0;
    for (uint64_t i = 0; i < opt.workers; i++)
        all += atomic_load(&of[i]);
    return all;
}

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run_all(void)
{
    double   start = seconds_now();
    bool     fine = true;
    uint64_t seed = opt.seed;
    for (; fine && (seed < opt.seed + opt.seeds || sum(shared->states) < opt.states); seed++) {
        fine = run_seed(seed);
        if (opt.states)
            printf("seed %" PRIu64 ": %" PRIu64 " states\n", seed, sum(shared->states));
        (void)fflush(stdout);
    }
    double took = seconds_now() - start;
    printf("%" PRIu64 " seeds %" PRIu64 " states %" PRIu64 " worked on %.0f states/s  %d bad\n",
           seed - opt.seed, sum(shared->states), sum(shared->written_on),
           (double)sum(shared->states) / took, !fine);
    printf("lived: %" PRIu64 " calls, %" PRIu64 " messages, %" PRIu64 " to die, %" PRIu64
           " steps, %" PRIu64 " folds\n",
           lived.calls, lived.messages, lived.dead, lived.steps, lived.folds);
    if (opt.mutant == MUTANT_NONE && fine && (!lived.folds || !lived.steps || !lived.dead)) {
        printf("BAD  it never folded, or took a step, or buried anything: nothing was shown\n");
        return 1;
    }
    if (opt.mutant == MUTANT_NONE)
        return fine ? 0 : 1;
    printf(fine ? "THE FAULT WAS NOT NOTICED\n" : "the fault was noticed\n");
    return fine ? 1 : 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: engine_states [--seed N] [--seeds N] [--states N] [--ops N] [--all N]\n"
                    "              [--random N] [--go-on N] [--workers N] [--mutant NAME] "
                    "[--keep DIR]\n");
    return 2;
}

static bool set_option(const char *name, const char *text)
{
    static const struct {
        const char *name;
        uint64_t   *value;
    } numbers[] = {
        { "--seed", &opt.seed },     { "--seeds", &opt.seeds }, { "--states", &opt.states },
        { "--ops", &opt.ops },       { "--all", &opt.all },     { "--random", &opt.random },
        { "--go-on", &opt.go_on },   { "--workers", &opt.workers },
    };
    char *end;
    if (strcmp(name, "--keep") == 0) {
        opt.keep = text;
        return true;
    }
    if (strcmp(name, "--mutant") == 0) {
        int found = mutant_named(text);
        opt.mutant = found < 0 ? MUTANT_NONE : (mutant)found;
        return found >= 0;
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].value = strtoull(text, &end, 10);
            return *text && !*end;
        }
    return false;
}

int main(int argc, char **argv)
{
    for (int at = 1; at < argc; at += 2)
        if (at + 1 >= argc || !set_option(argv[at], argv[at + 1]))
            return usage();
    if (!opt.workers || opt.workers > WORKERS_MAX || opt.all > 16 || opt.ops > 40)
        return usage();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    if (opt.mutant != MUTANT_NONE) /* a state may well kill its process */
        (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    (void)mallopt(M_MMAP_THRESHOLD, 512 << 10);
    (void)signal(SIGALRM, on_alarm);
    make_base();
    int err = run_all();
    clear(base);
    (void)rmdir(base);
    return err;
}
