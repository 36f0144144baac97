/* damage.c - damage the data file in seven ways, and see what comes of it.
 *
 *     damage [--images N] [--image N] [--kind K] [--seed N] [--workers N] [--keep DIR]
 *     damage --store DIR --kind K --image N
 *
 *   --images N  so many of each kind [40]    --kind K   only this one, 1 to 7
 *   --image N   only this one of each kind
 *   --keep DIR  an empty directory, where bad images are left
 *   --store DIR look at one of these again and say what comes of it; its name ends with
 *               the numbers of its kind and its image
 *
 * Happy path: three stores are filled, one in its window, one folded in part, one in its
 * tables. Each image is a copy with one damage; an engine in a child, a tool's questions,
 * a checkup and a salvage in others are let loose on it. LMDB has no checksums: pages that point to
 * nowhere may end the process in its code or on its map, hide rows, or keep it busy for ever, and
 * that is counted. What may never be: a handler or a reader is handed bytes that nobody
 * sent, a message twice, a pause not kept, a refusal that does not say what helps, an end
 * anywhere else. */
#include "tests/crash/damage/damage.h"

#include "tests/crash/states/explore.h"
#include "tests/crash/states/scratch.h"
#include "tests/support/core.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ENGINE, TOOL, VERIFY, SALVAGE, READERS };
enum { CHILD_SECONDS = 12, DIED = 40 };

static const char *const readers[READERS] = { "engine", "tool", "verify", "salvage" };
static const char *const outcome_names[OUTCOMES] = { "same",    "refused", "set aside", "stopped",
                                                     "missing", "old",     "stuck",     "abort",
                                                     "SEGV",    "SIGBUS",  "BAD" };

static struct {
    uint64_t    images, kind, seed, workers, image;
    const char *keep, *store;
} opt = { .images = 40, .seed = 1, .workers = 3, .image = UINT64_MAX };

static struct shared {
    found            of[EXPLORE_WORKERS];
    atomic_bool      bad;
    _Atomic uint64_t counts[HARMS][READERS][OUTCOMES];
} * shared;

static original    originals[SORTS];
static const char *base;

/* ---- In the child that reads */

/* Does the address lie in a map of the data file, or where a value may reach to that
 * begins there? A damaged node claims up to 4 GiB, from up to 64 KiB behind its page. */
static bool in_data(const void *address)
{
    const uint64_t reach = (UINT64_C(4) << 30) + (64 << 10);
    char line[600];
    FILE *maps = fopen("/proc/self/maps", "r");
    bool is = false;
    while (maps && fgets(line, sizeof line, maps)) {
        uintptr_t from = 0, to = 0;
        if (strstr(line, "data.mdb") && sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &from, &to) == 2)
            is = is || ((uintptr_t)address >= from && (uintptr_t)address < to + reach);
    }
    if (maps)
        (void)fclose(maps);
    return is;
}

static bool in_lmdb(void)
{
    void *frames[64];
    int count = backtrace(frames, 64);
    Dl_info info;
    for (int i = 0; i < count; i++)
        if (dladdr(frames[i], &info) && info.dli_fname && strstr(info.dli_fname, "liblmdb"))
            return true;
    return false;
}

#ifdef __SANITIZE_ADDRESS__
/* LMDB may write past a page of its own when the page is damaged: an end like others. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1";
}
#endif

/* We are dying, so anything may be called; what fails again ends us at once. */
static void on_death(int number, siginfo_t *info, void *context)
{
    (void)context;
    seen->signal = (uint32_t)number;
    seen->in_lmdb = in_lmdb() || (number != SIGABRT && in_data(info->si_addr));
    if (opt.store) {
        (void)dprintf(2, "at address %p\n", info->si_addr);
        void *frames[64];
        backtrace_symbols_fd(frames, backtrace(frames, 64), 2);
    }
    _exit(DIED);
}

static void watch_for_death(void)
{
    static const int numbers[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    void *frames[4];
    struct sigaction act = { .sa_flags = (int)(SA_SIGINFO | SA_RESETHAND | SA_NODEFER) };
    act.sa_sigaction = on_death;
    (void)backtrace(frames, 4); /* loads what it needs */
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)sigaction(numbers[i], &act, NULL);
    (void)signal(SIGALRM, SIG_DFL);
    (void)alarm(CHILD_SECONDS);
}

_Noreturn static void read_it(int reader, const char *path, sort what, harm how)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#ifndef __SANITIZE_ADDRESS__ /* a page that claims 2^32 others would eat the machine's memory */
    if (reader == ENGINE)
        (void)setrlimit(RLIMIT_AS, &(struct rlimit){ 2u << 30, 2u << 30 });
#endif
    if (!opt.store && nowhere >= 0)
        (void)dup2(nowhere, 2); /* what LMDB and the C library say at the end */
    watch_for_death();
    if (reader == ENGINE)
        damage_engine(path, what, &originals[what], how);
    else if (reader == TOOL)
        damage_tool(path);
    else if (reader == VERIFY)
        damage_verify(path, what, &originals[what], how);
    else
        damage_salvage(path, what, &originals[what], how);
    _exit(0);
}

/* ---- One image */

typedef struct image {
    harm     how;
    sort     what;
    uint64_t number;
    uint8_t *bytes;
    size_t   len;
    bool     misleads; /* a bit of what LMDB finds its way by */
    char     path[PATH_MAX], did[200];
} image;

static void write_file(const char *path, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || (len && write(fd, bytes, len) != (ssize_t)len) || close(fd)) {
        perror(path);
        exit(2);
    }
}

static void lay_out(const image *i, const char *path)
{
    char marker[PATH_MAX + 32], text[4096];
    (void)mkdir(path, 0700);
    scratch_clear(path);
    (void)snprintf(marker, sizeof marker, "%s/holdfast.id", originals[i->what].path);
    int fd = open(marker, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (len <= 0) {
        perror(marker);
        exit(2);
    }
    (void)close(fd);
    (void)snprintf(marker, sizeof marker, "%s/holdfast.id", path);
    write_file(marker, text, (size_t)len);
    (void)snprintf(marker, sizeof marker, "%s/data.mdb", path);
    write_file(marker, i->bytes, i->len);
}

/* A branch page is all keys and pointers, wherever in it the bit is. */
static bool is_branch(const image *i)
{
    const uint8_t *was = originals[i->what].bytes;
    size_t at = 0;
    while (at < i->len && i->bytes[at] == was[at])
        at++;
    const uint8_t *page = was + at / PAGE * PAGE;
    return at < i->len && page[10] == 1 && page[11] == 0;
}

static void damage_it(image *i)
{
    const original *o = &originals[i->what];
    uint64_t chance = opt.seed * 1000003 + i->number * 7919 + i->how * 104729u;
    i->len = o->len;
    memcpy(i->bytes, o->bytes, o->len);
    (void)core_random(&chance);
    damage_do(i->how, o, i->bytes, &i->len, &chance, i->did, sizeof i->did);
    i->misleads = i->how == ONE_BIT && is_branch(i);
}

static void judge_death(int status, int reader)
{
    outcome as = seen->signal == SIGABRT ? ABORTED : seen->signal == SIGBUS ? BUS : SEGMENT;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        note(STUCK, "it hangs");
    } else if (WIFSIGNALED(status)) { /* a second time, while it was dying of the first */
        note(seen->signal ? as : BAD, "%s", strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) == DIED) {
        note(seen->in_lmdb && reader != SALVAGE ? as : BAD, "%s", strsignal((int)seen->signal));
    } else if (WEXITSTATUS(status)) {
        note(BAD, "it ended with status %d", WEXITSTATUS(status));
    }
}

static void complain(const image *i, int reader)
{
    char kept[PATH_MAX] = "";
    printf("BAD  %s, image %" PRIu64 ", %s: %s\n     %s\n", harm_names[i->how], i->number,
           readers[reader], seen->why, i->did);
    atomic_store(&shared->bad, true);
    if (opt.keep) {
        (void)snprintf(kept, sizeof kept, "%s/damaged-%d-%" PRIu64, opt.keep, (int)i->how + 1,
                       i->number);
        lay_out(i, kept);
        printf("     again: damage --store %s --kind %d --image %" PRIu64 "\n", kept,
               (int)i->how + 1, i->number);
    }
    (void)fflush(stdout);
}

/* In a child; what came of it stands in `seen`. */
static void let_loose(const image *i, int reader)
{
    int status;
    lay_out(i, i->path);
    memset(seen, 0, sizeof *seen);
    pid_t child = fork();
    if (child == 0)
        read_it(reader, i->path, i->what, i->misleads ? HEADER_BIT : i->how);
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("fork");
        exit(2);
    }
    judge_death(status, reader);
}

static void try_image(image *i)
{
    damage_it(i);
    for (int reader = 0; reader < READERS; reader++) {
        let_loose(i, reader);
        uint32_t came = atomic_load(&seen->outcome);
        atomic_fetch_add(&shared->counts[i->how][reader][came], 1);
        if (came == BAD)
            complain(i, reader);
        else if (getenv("DAMAGE_LOG"))
            printf("kind %d image %" PRIu64 " %s: %s: %s: %s\n", (int)i->how + 1, i->number,
                   readers[reader], i->did, outcome_names[came], seen->why);
    }
}

/* One that was kept: what it was before, which the others ask for, is gone. */
static int look_again(void)
{
    char data[PATH_MAX];
    image i = { .how = (harm)(opt.kind - 1), .what = (sort)(opt.image % SORTS) };
    (void)snprintf(data, sizeof data, "%s/data.mdb", opt.store);
    if (!read_file(data, &i.bytes, &i.len)) {
        perror(data);
        return 2;
    }
    (void)snprintf(originals[i.what].path, sizeof originals[i.what].path, "%s", opt.store);
    (void)snprintf(i.path, sizeof i.path, "%s/again", base);
    seen = &shared->of[0];
    for (int reader = 0; reader < VERIFY; reader++) {
        let_loose(&i, reader);
        printf("%s: %s: %s\n", readers[reader], outcome_names[seen->outcome], seen->why);
    }
    free(i.bytes);
    return 0;
}

/* ---- Workers */

static bool is_wanted(harm how, uint64_t number, uint64_t worker)
{
    if (opt.kind && opt.kind != (uint64_t)how + 1)
        return false;
    if (opt.image != UINT64_MAX && opt.image != number)
        return false;
    return number % opt.workers == worker;
}

static void work(uint64_t worker)
{
    image i = { 0 };
    size_t most = 0;
    for (int s = 0; s < SORTS; s++)
        most = originals[s].len > most ? originals[s].len : most;
    i.bytes = malloc(most);
    if (!i.bytes)
        exit(2);
    if (snprintf(i.path, sizeof i.path, "%s/%" PRIu64, base, worker) >= (int)sizeof i.path)
        abort();
    seen = &shared->of[worker];
    for (int how = 0; how < HARMS; how++)
        for (uint64_t n = 0; n < opt.images; n++) {
            if (!is_wanted((harm)how, n, worker))
                continue;
            i.how = (harm)how;
            i.number = n;
            i.what = (sort)(n % SORTS);
            try_image(&i);
        }
    free(i.bytes);
}

static void work_in_parallel(void)
{
    int status;
    (void)fflush(stdout);
    for (uint64_t worker = 0; worker < opt.workers; worker++) {
        pid_t child = fork();
        if (child == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            work(worker);
            (void)fflush(stdout);
            _exit(0);
        }
        if (child < 0)
            exit(2);
    }
    while (wait(&status) > 0 || errno == EINTR)
        if (status)
            exit(2);
}

/* ---- The table */

static void print_table(int reader)
{
    printf("%-32s", readers[reader]);
    for (int o = 0; o < OUTCOMES; o++)
        printf(" %9s", outcome_names[o]);
    printf("\n");
    for (int how = 0; how < HARMS; how++) {
        printf("%-32s", harm_names[how]);
        for (int o = 0; o < OUTCOMES; o++)
            printf(" %9" PRIu64, atomic_load(&shared->counts[how][reader][o]));
        printf("\n");
    }
}

/* What shows nothing has no worth: without damage all is the same, and it is not with. */
static bool was_worth_it(void)
{
    uint64_t same = 0, others = 0;
    for (int how = 0; how < HARMS; how++)
        for (int o = 0; o < OUTCOMES; o++)
            *(o == SAME ? &same : &others) += shared->counts[how][0][o];
    return same && others;
}

/* A bit in a page that LMDB finds its way by may hide rows, and nobody can say so. But
 * most of a page are rows, and their damage must be seen. */
static bool was_seen(void)
{
    uint64_t unseen = shared->counts[ONE_BIT][0][OLD] + shared->counts[ONE_BIT][0][MISSING];
    if (unseen <= 2 + opt.images / 40)
        return true;
    printf("BAD  %" PRIu64 " damaged bits were not noticed\n", unseen);
    return false;
}

static int run(void)
{
    double start = scratch_seconds();
    for (int s = 0; s < SORTS; s++)
        if (!original_make(&originals[s], (sort)s, base)
            || !truth_learn((sort)s, &originals[s]))
            return 1;
    work_in_parallel();
    for (int reader = 0; reader < READERS; reader++)
        print_table(reader);
    printf("stores of %zu, %zu and %zu KiB; %.1f s\n", originals[0].len >> 10,
           originals[1].len >> 10, originals[2].len >> 10, scratch_seconds() - start);
    if (!opt.kind && !was_worth_it()) {
        printf("BAD  the damage made no difference\n");
        return 1;
    }
    return !was_seen() || atomic_load(&shared->bad) ? 1 : 0;
}

static bool set_option(const char *name, const char *text)
{
    const explore_option known[] = {
        { "--images", &opt.images, NULL }, { "--kind", &opt.kind, NULL },
        { "--seed", &opt.seed, NULL },     { "--workers", &opt.workers, NULL },
        { "--image", &opt.image, NULL },   { "--keep", NULL, &opt.keep },
        { "--store", NULL, &opt.store },
    };
    return explore_option_set(known, sizeof known / sizeof *known, name, text);
}

int main(int argc, char **argv)
{
    bool right = argc % 2 == 1;
    for (int at = 1; right && at < argc; at += 2)
        right = set_option(argv[at], argv[at + 1]);
    right = right && (!opt.store || (opt.kind && opt.image != UINT64_MAX));
    if (!right || !opt.workers || opt.workers > EXPLORE_WORKERS || opt.kind > HARMS) {
        fprintf(stderr, "usage: damage [--images N] [--image N] [--kind 1..7] [--seed N] "
                        "[--workers N] [--keep DIR]\n"
                        "       damage --store DIR --kind 1..7 --image N\n");
        return 2;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return 2;
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    base = scratch_make("damage");
    int err = opt.store ? look_again() : run();
    scratch_remove();
    return err;
}
