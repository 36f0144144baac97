/* faults_room.c - a store without room, filled and drained again and again.
 *
 *     faults disk CYCLES [large | MUTANT]   a file system that is full, of us or others
 *     faults map CYCLES [large | MUTANT]    store_max is reached
 *
 * large: bodies that take several pages, which must lie side by side. HF_SEED chooses
 * the sizes.
 *
 * Happy path of a cycle: behind a pause messages are sent until several were refused
 * with HF_EFULL; the pause is lifted, everything accepted is done, nothing refused is;
 * then, room again, new messages are taken. Every fifth cycle closes and opens the store
 * while it is full; after the last it is opened once more and all are compared again.
 * The first message that is lost, doubled, or stuck ends the program.
 * Mounting needs root; without it: status 77 (or 1 if HF_REQUIRE_ALL is set). */
#include "tests/crash/faults/faults_room.h"

#include "engine/holdfast.h"
#include "tests/crash/faults/faults_mutants.h"
#include "tests/support/core.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { REFUSALS = 5, DRAIN_MS = 30000, PLACES = 4, SKIPPED = 77 };

/* What an actor has seen, and what it should have. */
typedef struct sum {
    uint64_t count, hash;
} sum;

static sum         sent[PLACES], seen[PLACES], beyond;
static atomic_uint reports;
static hf_engine  *engine;
static char        path[500], filler[500], mounted[450];
static uint64_t    number, refused_in_all, accepted_in_all, dice = 11, most = 1500;

static void add(sum *s, uint64_t n)
{
    uint64_t state = n;
    s->count++;
    s->hash += core_random(&state);
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    sum s = { 0, 0 };
    uint64_t n;
    if (hf_state(turn).len)
        memcpy(&s, hf_state(turn).data, sizeof s);
    if (strcmp(msg->kind, "report") == 0) {
        uint32_t place = (uint32_t)atoi(strchr(msg->to, '/') + 1);
        *(msg->to[0] == 'b' ? &beyond : &seen[place]) = s;
        atomic_fetch_add(&reports, 1);
        return HF_OK;
    }
    memcpy(&n, msg->body.data, sizeof n);
    add(&s, n);
    hf_save(turn, hf_view(&s, sizeof s));
    if (msg->to[0] == 'a')
        hf_send(turn, "b/0", "n", hf_view(&n, sizeof n));
    return HF_OK;
}

/* "a" sends on, "c" sends nothing; "b" is never paused. */
static const hf_type types[] = { { .name = "a", .handle = handle },
                                 { .name = "c", .handle = handle },
                                 { .name = "b", .handle = handle }, { 0 } };

static void must(int err, const char *what, uint32_t cycle)
{
    if (err)
        core_fail("cycle %u: %s answers %d (%s: %s)", cycle, what, err, hf_strerror(err),
                  hf_detail());
}

static void open_it(uint32_t cycle)
{
    must(hf_open(&engine, path,
                 HF_OPTIONS(.types = types, .shards = 2, .window = 256 << 10,
                            .store_max = mounted[0] ? 64 << 20 : 4 << 20)), "hf_open", cycle);
}

static int tell(size_t size)
{
    uint8_t body[16384] = { 0 };
    char to[16];
    uint64_t n = ++number;
    uint32_t place = (uint32_t)(n % PLACES);
    memcpy(body, &n, sizeof n);
    (void)snprintf(to, sizeof to, "%c/%u", place < 2 ? 'a' : 'c', place);
    int err = hf_tell(engine, to, "n", hf_view(body, size));
    if (!err)
        add(&sent[place], n);
    accepted_in_all += !err;
    refused_in_all += err == HF_EFULL;
    return err;
}

/* Everything accepted was done once, and nothing else. */
static void compare(uint32_t cycle)
{
    char to[16];
    sum onward = { sent[0].count + sent[1].count, sent[0].hash + sent[1].hash };
    atomic_store(&reports, 0);
    for (uint32_t i = 0; i <= PLACES; i++) {
        (void)snprintf(to, sizeof to, "%c/%u", i == PLACES ? 'b' : i < 2 ? 'a' : 'c',
                       i == PLACES ? 0 : i);
        int err = HF_EFULL;
        for (int tries = 0; err == HF_EFULL && tries < 200; tries++) {
            err = hf_tell(engine, to, "report", hf_view(NULL, 0));
            if (err == HF_EFULL)
                (void)usleep(20000);
        }
        must(err, "telling a report", cycle);
    }
    must(hf_drain(engine, DRAIN_MS), "hf_drain of reports", cycle);
    if (atomic_load(&reports) != PLACES + 1)
        core_fail("cycle %u: %u reports", cycle, atomic_load(&reports));
    for (uint32_t i = 0; i < PLACES; i++)
        if (memcmp(&sent[i], &seen[i], sizeof(sum)) != 0)
            core_fail("cycle %u: actor %u was told %llu messages and did %llu", cycle, i,
                      (unsigned long long)sent[i].count, (unsigned long long)seen[i].count);
    if (memcmp(&onward, &beyond, sizeof(sum)) != 0)
        core_fail("cycle %u: %llu were sent on and %llu came", cycle,
                  (unsigned long long)onward.count, (unsigned long long)beyond.count);
}

/* Somebody else takes every block there is. */
static void take_disk(void)
{
    static char block[1 << 16];
    int fd = open(filler, O_WRONLY | O_CREAT, 0600);
    if (fd < 0)
        core_fail("cannot open %s: %s", filler, strerror(errno));
    (void)lseek(fd, 0, SEEK_END);
    for (size_t size = sizeof block; size; size /= 2)
        while (write(fd, block, size) == (ssize_t)size)
            ;
    (void)close(fd);
}

static void cycle_once(uint32_t cycle)
{
    bool disk = mounted[0] != 0, others = disk && cycle % 2;
    uint32_t refusals = 0, tries = 0;
    size_t size = (size_t)16 + core_random(&dice) % most;
    must(hf_pause(engine, "a", NULL, NULL), "hf_pause", cycle);
    must(hf_pause(engine, "c", NULL, NULL), "hf_pause", cycle);
    if (others) {
        for (int i = 0; i < 50; i++)
            must(tell(size), "hf_tell with room", cycle);
        take_disk();
    }
    while (refusals < REFUSALS && tries++ < 400000) {
        int err = tell(size);
        refusals += err == HF_EFULL;
        if (err && err != HF_EFULL)
            must(err, "hf_tell", cycle);
    }
    if (refusals < REFUSALS)
        core_fail("cycle %u: %u messages of %zu bytes and never full", cycle, tries, size);
    if (others)
        take_disk();
    if (cycle % 5 == 4) {
        must(hf_close(engine, 20000), "hf_close of a full store", cycle);
        open_it(cycle);
    }
    must(hf_resume(engine, "a"), "hf_resume", cycle);
    must(hf_resume(engine, "c"), "hf_resume", cycle);
    if (others) {
        (void)usleep(20000); /* some of it is done while there is no room */
        if (unlink(filler))
            core_fail("cannot unlink %s", filler);
    }
    must(hf_drain(engine, DRAIN_MS), "hf_drain", cycle);
    compare(cycle);
}

/* True: there is a small file system at `mounted`. */
static bool mount_small(const char *directory)
{
    (void)snprintf(mounted, sizeof mounted, "%s/mount", directory);
    (void)snprintf(filler, sizeof filler, "%s/filler", mounted);
    return geteuid() == 0 && mkdir(mounted, 0700) == 0
        && mount("tmpfs", mounted, "tmpfs", 0, "size=24m") == 0;
}

int room_cycles(const char *what, uint32_t cycles, const char *mutant)
{
    char directory[400];
    (void)snprintf(directory, sizeof directory, "%s", core_directory("room", true));
    if (getenv("HF_SEED"))
        dice = strtoull(getenv("HF_SEED"), NULL, 10);
    if (mutant && strcmp(mutant, "large") == 0)
        most = 12000;
    else if (mutant && !mutant_choose(mutant))
        core_fail("no mutant is called %s", mutant);
    if (strcmp(what, "disk") == 0 && !mount_small(directory)) {
        core_remove(directory);
        printf("SKIP: a small file system can be mounted by root only\n");
        return getenv("HF_REQUIRE_ALL") ? 1 : SKIPPED;
    }
    (void)snprintf(path, sizeof path, "%s/store", mounted[0] ? mounted : directory);
    open_it(0);
    for (uint32_t i = 0; i < cycles; i++)
        cycle_once(i);
    must(hf_close(engine, 20000), "hf_close", cycles);
    open_it(cycles); /* nothing comes again, nothing is missing */
    compare(cycles);
    must(hf_close(engine, 20000), "hf_close", cycles);
    printf("%s: %u times full and drained, %llu messages accepted and done, %llu refused\n", what,
           cycles, (unsigned long long)accepted_in_all, (unsigned long long)refused_in_all);
    if (mounted[0] && umount(mounted))
        core_fail("umount %s: %s", mounted, strerror(errno));
    core_remove(directory);
    return 0;
}
