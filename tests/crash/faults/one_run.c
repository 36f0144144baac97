/* one_run.c - one run: one scenario, one fault, in a child.
 *
 * Happy path: the scenario's store is copied, a child runs it with the fault, counts
 * descriptors and blocks, and opens the store again without faults to compare. A child
 * that dies or hangs is a finding, and then another one does the comparing. The driver's
 * thread; the child's. */
#include "tests/crash/faults/one_run.h"

#include "tests/support/core.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#if defined(__SANITIZE_ADDRESS__)
#define SLOWER 10
int __lsan_do_recoverable_leak_check(void);
#elif defined(__SANITIZE_THREAD__)
#define SLOWER 10
#else
#define SLOWER 1
#endif

enum { LIMIT_S = 30 };

bool run_is_slow;

static char   here[PATH_MAX], templates[PATH_MAX];
static ledger *books; /* of the templates */

static const char *const stores[] = { "clean", "unclean" };
enum { STORES = sizeof stores / sizeof *stores };

void run_begin(const char *directory, const char *where)
{
    (void)snprintf(here, sizeof here, "%s", directory);
    (void)snprintf(templates, sizeof templates, "%s", where);
    int how = MAP_SHARED | MAP_ANONYMOUS;
    inject = mmap(NULL, sizeof *inject, PROT_READ | PROT_WRITE, how, -1, 0);
    book = mmap(NULL, sizeof *book, PROT_READ | PROT_WRITE, how, -1, 0);
    if (inject == MAP_FAILED || book == MAP_FAILED)
        core_fail("no memory to share");
    inject_begin();
}

void run_templates(void)
{
    char path[PATH_MAX + 32];
    books = calloc(STORES, sizeof *books);
    if (!books)
        core_fail("no memory");
    for (uint32_t i = 0; i < STORES; i++) {
        memset(book, 0, sizeof *book);
        (void)snprintf(path, sizeof path, "%s/%s", templates, stores[i]);
        template_make(path, stores[i]);
        books[i] = *book;
    }
}

static void copy_file(const char *from, const char *to)
{
    static uint8_t bytes[1 << 16];
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ssize_t got = 0;
    while (in >= 0 && out >= 0 && (got = read(in, bytes, sizeof bytes)) > 0)
        if (write(out, bytes, (size_t)got) != got)
            got = -1;
    if (in < 0 || out < 0 || got < 0)
        core_fail("cannot copy %s", from);
    (void)close(in);
    (void)close(out);
}

/* A copy of the store a scenario begins with, and of what was answered there. */
static void lay_out(const scenario *s, const char *path)
{
    char from[PATH_MAX + 300], to[PATH_MAX + 300];
    core_remove(here);
    if (mkdir(here, 0700))
        core_fail("cannot make %s", here);
    memset(book, 0, sizeof *book);
    if (!*s->store)
        return;
    for (uint32_t i = 0; i < STORES; i++)
        if (strcmp(stores[i], s->store) == 0)
            *book = books[i];
    (void)snprintf(from, sizeof from, "%s/%s", templates, s->store);
    DIR *d = opendir(from);
    if (!d || mkdir(path, 0700))
        core_fail("cannot copy %s", from);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        (void)snprintf(from, sizeof from, "%s/%s/%s", templates, s->store, e->d_name);
        (void)snprintf(to, sizeof to, "%s/%s", path, e->d_name);
        if (lstat(from, &st) == 0 && S_ISREG(st.st_mode))
            copy_file(from, to);
    }
    (void)closedir(d);
}

/* ---- In the child */

static void on_signal(int number)
{
    inject_disarm();
    inject_note_death();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* What libuv makes once a process does not belong to the engine. */
static void warm_up(void)
{
    uv_loop_t loop;
    if (uv_loop_init(&loop) == 0)
        (void)uv_loop_close(&loop);
}

static void check_leaks(int files_before, bool polls, bool cold)
{
    int files = open_files(polls);
    if (files > files_before + (cold ? 2 : 0)) /* libuv's pipe */
        broken("%d descriptors are left open", files - files_before);
    inject_count_blocks();
    if (inject->kept)
        broken("%u blocks of memory are kept, one by %p", inject->kept, inject->keeper);
#if defined(__SANITIZE_ADDRESS__)
    if (__lsan_do_recoverable_leak_check())
        broken("memory is lost");
#endif
}

static void set_limits(void)
{
    static const int deadly[] = { SIGSEGV, SIGBUS, SIGABRT, SIGALRM, SIGFPE, SIGILL };
    struct rlimit none = { 0, 0 };
    (void)setrlimit(RLIMIT_CORE, &none);
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++)
        (void)signal(deadly[i], on_signal);
    (void)alarm(run_is_slow ? 0 : LIMIT_S * SLOWER);
}

static _Noreturn void live(const scenario *s, const char *path, bool faults)
{
    set_limits();
    if (faults) {
        if (!s->cold)
            warm_up();
        bool polls = !fault_known_leak(inject->kind);
        int files = open_files(polls);
        if (s->before)
            s->before(path);
        inject_watch_blocks();
        inject_arm();
        s->run(path);
        inject_disarm();
        if (s->after)
            s->after(path);
        check_leaks(files, polls, s->cold);
    }
    (void)snprintf(book->at, sizeof book->at, "verifying");
    world_verify(path);
    _exit(0);
}

/* ---- In the driver */

static int wait_for(const scenario *s, const char *path, bool faults)
{
    int status;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        core_fail("fork");
    if (child == 0)
        live(s, path, faults);
    if (waitpid(child, &status, 0) != child)
        core_fail("waitpid");
    return status;
}

static void judge_death(const run *r, verdict *v, int status, const char *path)
{
    char at[sizeof book->at];
    memcpy(at, book->at, sizeof at);
    if (r->plan && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
        v->known = fault_known_death(r->plan, inject_died_in());
    if (!v->known && !WIFSIGNALED(status))
        broken("the child ends with %d after %s", WEXITSTATUS(status), at);
    else if (!v->known)
        broken("%s (signal %d) after %s",
               WTERMSIG(status) == SIGALRM ? "it hangs" : "it crashes", WTERMSIG(status), at);
    bool was = atomic_exchange(&book->broken, false);
    char why[sizeof book->why];
    memcpy(why, book->why, sizeof why);
    /* What was being sent when it died is in doubt: least and most say so already. */
    if (wait_for(&scenarios[r->scenario], path, false))
        broken("the store cannot be verified after it died");
    if (was && atomic_load(&book->broken)) {
        (void)snprintf(v->why, sizeof v->why, "%.280s; then: %.280s", why, book->why);
    } else if (was) {
        memcpy(book->why, why, sizeof why);
        atomic_store(&book->broken, true);
    }
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void run_one(const run *r, verdict *v)
{
    const scenario *s = &scenarios[r->scenario];
    char path[PATH_MAX + 16];
    double began = seconds();
    *v = (verdict){ .hit = false };
    (void)snprintf(path, sizeof path, "%s/store", here);
    lay_out(s, path);
    memset(inject, 0, sizeof *inject);
    inject->kind = r->plan ? (int)r->plan->kind : FAULT_KIND_COUNT;
    inject->error = r->plan ? r->plan->error : 0;
    inject->modules = r->plan ? r->plan->modules : 0;
    inject->nth = r->nth;
    inject->for_good = r->for_good;
    int status = wait_for(s, path, true);
    v->hit = atomic_load(&inject->hits) > 0;
    if (status)
        judge_death(r, v, status, path);
    if (r->plan && v->hit && fault_plan_unseen(r->plan) && atomic_load(&book->errors))
        broken("it surfaces: %u calls failed, the first: %s", atomic_load(&book->errors),
               book->error);
    if (!r->plan && atomic_load(&book->errors))
        broken("without a fault %u calls fail: %s", atomic_load(&book->errors), book->error);
    if (atomic_load(&book->broken) && !*v->why)
        (void)snprintf(v->why, sizeof v->why, "%s", book->why);
    v->seconds = seconds() - began;
}

void run_name(const run *r, char *text, size_t size)
{
    (void)snprintf(text, size, "--scenario %s --kind %s --error %s --at %u%s",
                   scenarios[r->scenario].name, r->plan ? fault_names[r->plan->kind] : "none",
                   r->plan ? r->plan->name : "none", r->nth, r->for_good ? " --for-good" : "");
}

static void print_frames(const char *title, void *const *frames, int count)
{
    char command[4096], exe[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (count <= 0 || len <= 0)
        return;
    exe[len] = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    unsigned long base = 0;
    if (!maps || fscanf(maps, "%lx", &base) != 1)
        base = 0;
    if (maps)
        (void)fclose(maps);
    int at = snprintf(command, sizeof command, "addr2line -sfpe '%s'", exe);
    for (int i = 2; i < count && at < 3000; i++)
        at += snprintf(command + at, sizeof command - (size_t)at, " %lx",
                       (unsigned long)(uintptr_t)frames[i] - base - 1);
    printf("    %s\n", title);
    (void)fflush(stdout);
    (void)snprintf(command + at, sizeof command - (size_t)at,
                   " 2>/dev/null | grep -v '^?? ' | sed 's/^/      /'");
    if (system(command))
        printf("      (no symbols)\n");
}

void run_print_trace(void)
{
    print_frames("where the fault fell:", inject->where, atomic_load(&inject->where_count));
    print_frames("where it died:", inject->died, atomic_load(&inject->died_count));
    if (inject->kept) {
        void *keeper[3] = { NULL, NULL, inject->keeper };
        print_frames("who keeps:", keeper, 3);
    }
    (void)fflush(stdout);
}
