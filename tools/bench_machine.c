/* bench_machine.c - on which machine a bench ran.
 *
 * What the system says of itself, and one figure that it does not: how long a word takes
 * from one core to another and back. Engines hand everything from thread to thread, so
 * where cores are far apart - other sockets, other dies, or a virtual machine whose cores
 * wander - the same program is a fifth slower; runs compare only at like handoffs.
 * Takes some ten milliseconds. The caller's thread, and two of its own. */
#include "tools/bench.h"
#include "tools/times.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

static const struct {
    unsigned long magic;
    const char   *name;
} file_systems[] = {
    { 0xef53, "ext4" },         { 0x58465342, "xfs" },      { 0x9123683e, "btrfs" },
    { 0x794c7630, "overlay" },  { 0x2fc12fc1, "zfs" },      { 0x6969, "nfs" },
    { 0xf2f52010, "f2fs" },     { 0x01021994, "tmpfs" },    { 0x858458f6, "ramfs" },
    { 0x65735546, "fuse" },     { 0x01021997, "9p" },       { 0x6a656a63, "virtiofs" },
};

const char *bench_file_system(const char *path, char other[24])
{
    struct statfs fs;
    if (statfs(path, &fs) != 0)
        return "unknown";
    unsigned long magic = (unsigned long)fs.f_type & 0xffffffffUL;
    for (size_t i = 0; i < sizeof file_systems / sizeof *file_systems; i++) {
        if (file_systems[i].magic == magic)
            return file_systems[i].name;
    }
    (void)snprintf(other, 24, "0x%lx", magic);
    return other;
}

static void cpu_model(char *model, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    (void)snprintf(model, size, "unknown");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            line[strcspn(line, "\n")] = 0;
            (void)snprintf(model, size, "%s", colon + 2);
            break;
        }
    }
    if (file != NULL)
        (void)fclose(file);
}

/* ---- From core to core */

enum { ROUNDS = 401, TRIPS = 50, MOST_NS = 50 * 1000 * 1000 };

typedef struct ball {
    _Alignas(64) atomic_uint at; /* odd: the other one's turn */
    int         cpus[2];
    atomic_bool off;             /* no more, or a thread could not go to its core */
    unsigned    rounds;          /* played to their end */
    uint64_t    round_ns[ROUNDS];
} ball;

static bool go_to(int cpu)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)cpu, &one);
    return pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0;
}

static bool await(ball *b, unsigned turn)
{
    while (atomic_load_explicit(&b->at, memory_order_acquire) != turn)
        if (atomic_load_explicit(&b->off, memory_order_relaxed))
            return false;
    return true;
}

static void *serve(void *user)
{
    ball *b = user;
    uint64_t until = cli_now_ns() + MOST_NS;
    if (!go_to(b->cpus[0]))
        atomic_store(&b->off, true);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t from = cli_now_ns();
        if (from > until) /* others want these cores, too */
            atomic_store(&b->off, true);
        for (unsigned j = i * TRIPS; j < (i + 1) * TRIPS; j++) {
            atomic_store_explicit(&b->at, 2 * j + 1, memory_order_release);
            if (!await(b, 2 * j + 2))
                return NULL;
        }
        b->round_ns[b->rounds++] = (cli_now_ns() - from) / TRIPS;
    }
    return NULL;
}

static void *answer(void *user)
{
    ball *b = user;
    if (!go_to(b->cpus[1]))
        atomic_store(&b->off, true);
    for (unsigned j = 0; j < ROUNDS * TRIPS; j++) {
        if (!await(b, 2 * j + 1))
            return NULL;
        atomic_store_explicit(&b->at, 2 * j + 2, memory_order_release);
    }
    return NULL;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

/* There and back between the first core and the last, the middle of many; 0: unknown. */
static uint64_t handoff_ns(const cpu_set_t *cpus)
{
    static ball b = { .cpus = { -1, -1 } };
    pthread_t one, other;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (CPU_ISSET((size_t)i, cpus))
            b.cpus[b.cpus[0] < 0 ? 0 : 1] = i;
    }
    if (b.cpus[1] < 0 || pthread_create(&one, NULL, serve, &b) != 0)
        return 0;
    if (pthread_create(&other, NULL, answer, &b) == 0)
        (void)pthread_join(other, NULL);
    else
        atomic_store(&b.off, true);
    (void)pthread_join(one, NULL);
    qsort(b.round_ns, b.rounds, sizeof *b.round_ns, ascending);
    return b.rounds > 0 ? b.round_ns[b.rounds / 2] : 0;
}

/* ---- All of it */

void bench_put_machine(bench *run)
{
    char model[256], other[24], kernel[160];
    struct utsname name = { .release = "unknown" };
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    (void)sched_getaffinity(0, sizeof cpus, &cpus);
    uint64_t handoff = handoff_ns(&cpus);
    (void)uname(&name);
    (void)snprintf(kernel, sizeof kernel, "%s %s", name.release, name.machine);
    cpu_model(model, sizeof model);
    cli_pack_text(&run->pairs, "machine");
    run->pair_count++;
    cli_pack_map(&run->pairs, handoff > 0 ? 7 : 6);
    cli_pack_text(&run->pairs, "cpu");
    cli_pack_text(&run->pairs, model);
    cli_pack_text(&run->pairs, "cores");
    cli_pack_uint(&run->pairs, (uint64_t)CPU_COUNT(&cpus));
    if (handoff > 0) {
        cli_pack_text(&run->pairs, "handoff_ns");
        cli_pack_uint(&run->pairs, handoff);
    }
    cli_pack_text(&run->pairs, "memory_bytes");
    cli_pack_uint(&run->pairs,
                  (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
    cli_pack_text(&run->pairs, "kernel");
    cli_pack_text(&run->pairs, kernel);
    cli_pack_text(&run->pairs, "file_system");
    cli_pack_text(&run->pairs, bench_file_system(run->root, other));
    cli_pack_text(&run->pairs, "holdfast");
    cli_pack_text(&run->pairs, hf_version());
}

