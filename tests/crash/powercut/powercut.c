/* powercut.c - the power goes, under a file system, under an engine.
 *
 *     powercut [CUTS [SEED]]
 *     powercut --mutant nosync|nometasync|liar [CUTS [SEED]]
 *
 * An ext4 lies on a loop device on a disk of ours that keeps flushed and unflushed
 * bytes apart (volatile_disk.h). An engine works there until the disk loses power: one
 * cut in three while the store is made, one while it works, one while the journal of
 * the file system is replayed or the engine recovers from the cut before. What
 * survived is copied; the copy is mounted and opened, runs to idle, and must show what
 * was acknowledged (numbers.h) on a file system without a fault. Then the next life
 * begins on what survived, not on the copy. A mutant must be noticed.
 *
 * Ends with 77 and SKIP where a machine cannot do it, unless HF_REQUIRE_ALL=1. A seed
 * gives the same plan, not the same moments. What fails leaves its image in the
 * working directory. One thread; every child dies with it. */
#include "tests/crash/powercut/lives.h"
#include "tests/crash/powercut/mounts.h"
#include "tests/support/core.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TEMPLATE MOUNTS "/template" /* a fresh file system */
#define SURVIVED MOUNTS "/survived" /* the durable bytes of the disk */
#define COPY     MOUNTS "/copy"     /* of them, to look at */
#define DISK     MOUNTS "/disk"     /* the disk as the loop driver sees it */
#define LIVE     MOUNTS "/live"
#define LOOKED   MOUNTS "/looked"

#define LMDB_NOSYNC     0x10000u
#define LMDB_NOMETASYNC 0x40000u

enum { IMAGE_BYTES = 48 << 20, SKIP = 77 };

typedef enum moment { MAKING, WORKING, RECOVERING, MOMENTS } moment;

static const char *const moment_names[] = { "making", "working", "recovering" };

static world   *all;
static uint64_t dice;

static struct tally {
    uint32_t cuts[MOMENTS], unborn[MOMENTS]; /* unborn: hf_open had not returned */
    uint32_t no_store, no_mount, lossy;
    uint64_t acked, pending, kept, torn, dropped;
} tally;

static uint64_t any(uint64_t limit)
{
    return core_random(&dice) % limit;
}

/* ---- One life, up to its cut */

static void fresh_image(void)
{
    tally.acked += numbers_acked();
    numbers_forget();
    atomic_store(&all->opened, false);
    if (mounts_copy(TEMPLATE, SURVIVED))
        core_fail("no fresh image: %s", strerror(errno));
}

static pid_t plug_in(bool lies)
{
    volatile_disk *disk = &all->disk;
    memset(disk, 0, sizeof *disk);
    (void)snprintf(disk->file, sizeof disk->file, "%s", SURVIVED);
    (void)snprintf(disk->mount, sizeof disk->mount, "%s", DISK);
    disk->seed = any(UINT64_MAX);
    disk->lies = lies;
    disk->at_flush = any(2) == 0;
    atomic_store(&all->working, false);
    return volatile_disk_start(disk);
}

/* Few requests or many: the first ones matter as much as all later ones. What is to
 * happen within a mount and hf_open must come soon. */
static void light_the_fuse(moment when)
{
    uint64_t most = 8u << any(when == RECOVERING ? 3 : 6);
    atomic_store(&all->disk.countdown, (int64_t)(1 + any(most)));
}

/* As the kernel may at any time: begin to write what nobody has synced yet. */
static void write_back(void)
{
    int fd = open(LIVE "/store/data.mdb", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    close(fd);
}

/* The child works until the disk is dark. A second after the fuse was lit the power
 * goes even if the disk has little to do. */
static void wait_for_the_dark(pid_t child, moment when)
{
    uint32_t pause = (uint32_t)any(120), lit_ms = 0;
    int status;
    for (uint32_t ms = 1; !atomic_load(&all->disk.dark); ms++) {
        usleep(1000);
        if (when == WORKING && !lit_ms && atomic_load(&all->working) && pause-- == 0)
            light_the_fuse(when);
        if (atomic_load(&all->disk.countdown))
            lit_ms++;
        if (any(4) == 0)
            write_back();
        if (waitpid(child, &status, WNOHANG) == child) {
            if (!atomic_load(&all->disk.dark))
                numbers_broken("the engine's process ended with %d before the cut", status);
            return;
        }
        if (ms == 60000)
            numbers_broken("hf_open takes a minute");
        if (lit_ms == 1000 || ms == 60000)
            atomic_store(&all->disk.cut, true);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void pull_the_plug(pid_t disk)
{
    int status;
    atomic_store(&all->disk.end, true);
    if (waitpid(disk, &status, 0) != disk || status)
        core_fail("the disk's process ended with %d", status);
    umount2(DISK, MNT_DETACH);
    platter_loss loss = all->disk.loss;
    tally.pending += loss.pending;
    tally.kept += loss.kept;
    tally.torn += loss.torn;
    tally.dropped += loss.dropped;
    tally.lossy += loss.torn || loss.dropped;
}

static void live_until_cut(moment when, bool lies)
{
    pid_t disk = plug_in(lies);
    if (disk < 0)
        core_fail("the disk does not start");
    bool mounting = when == RECOVERING && any(3) == 0;
    if (mounting)
        light_the_fuse(when);
    if (mounts_add(DISK, LIVE)) {
        if (!atomic_load(&all->disk.dark))
            numbers_broken("what survived cannot be mounted: %s", strerror(errno));
        tally.no_mount++;
        pull_the_plug(disk);
        return;
    }
    if (when != WORKING && !mounting)
        light_the_fuse(when);
    pid_t child = lives_work(LIVE "/store");
    if (child < 0)
        core_fail("fork");
    wait_for_the_dark(child, when);
    if (mounts_remove(LIVE))
        core_fail("%s cannot be unmounted: %s", LIVE, strerror(errno));
    tally.unborn[when] += !atomic_load(&all->working);
    pull_the_plug(disk);
}

/* ---- What is left */

static bool lies_there(const char *name)
{
    char path[200];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/store%s", LOOKED, name);
    return stat(path, &st) == 0 && st.st_size > 0;
}

/* A whole store, or none if hf_open had not returned. */
static void check_files(void)
{
    if (!lies_there("")) {
        tally.no_store++;
        if (atomic_load(&all->opened))
            numbers_broken("hf_open had returned, and now there is no store");
    } else if (!lies_there("/data.mdb") || !lies_there("/holdfast.id")) {
        numbers_broken("half a store");
    }
}

static void check_engine(void)
{
    int status = -1;
    uint32_t flags = all->lmdb_flags;
    all->lmdb_flags = 0;
    pid_t child = lives_verify(LOOKED "/store");
    if (child < 0 || waitpid(child, &status, 0) != child || status)
        numbers_broken("the engine on what survived ended with %d", status);
    all->lmdb_flags = flags;
}

static void verify(void)
{
    if (mounts_copy(SURVIVED, COPY))
        core_fail("no copy: %s", strerror(errno));
    if (mounts_add(COPY, LOOKED)) {
        numbers_broken("what survived cannot be mounted: %s", strerror(errno));
        return;
    }
    atomic_store(&all->disk.dark, false); /* this disk has power */
    check_files();
    check_engine();
    if (mounts_remove(LOOKED))
        core_fail("%s cannot be unmounted: %s", LOOKED, strerror(errno));
    int status = mounts_run((char *[]){ "e2fsck", "-fn", COPY, NULL });
    if (status)
        numbers_broken("e2fsck -fn answers %d", status);
}

/* ---- Many */

static const char *prepare(void)
{
    const char *missing = geteuid() ? "not root" : volatile_disk_missing();
    if (!missing)
        missing = mounts_enter();
    if (missing)
        return missing;
    int fd = open(TEMPLATE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, IMAGE_BYTES) || close(fd) || mkdir(LIVE, 0700)
        || mkdir(LOOKED, 0700) || (fd = open(DISK, O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        core_fail("%s: %s", MOUNTS, strerror(errno));
    close(fd);
    if (mounts_run((char *[]){ "mkfs.ext4", "-q", "-F", "-b", "4096", "-J", "size=4", "-E",
                               "nodiscard,lazy_itable_init=0,lazy_journal_init=0", TEMPLATE,
                               NULL }))
        core_fail("mkfs.ext4 fails");
    if (mounts_copy(TEMPLATE, SURVIVED) || mounts_add(SURVIVED, LIVE) || mounts_remove(LIVE))
        return "no ext4 can be mounted from a loop device";
    pid_t disk = plug_in(false);
    if (disk < 0)
        return "no FUSE file system can be mounted";
    if (mounts_add(DISK, LIVE) || mounts_remove(LIVE))
        return "no ext4 can be mounted from a loop device on FUSE";
    if (!atomic_load(&all->disk.writes) || !atomic_load(&all->disk.flushes))
        core_fail("the disk saw no write or no flush when it was mounted");
    pull_the_plug(disk);
    memset(&tally, 0, sizeof tally);
    const char *wrong = platter_self_check(MOUNTS);
    if (wrong)
        core_fail("%s", wrong);
    return NULL;
}

static int skip(const char *why)
{
    const char *all_required = getenv("HF_REQUIRE_ALL");
    bool fails = all_required && strcmp(all_required, "1") == 0;
    printf("%s: %s\n", fails ? "FAILED, for HF_REQUIRE_ALL=1" : "SKIP", why);
    return fails ? 1 : SKIP;
}

static void keep_image(uint32_t cut)
{
    char name[100];
    (void)snprintf(name, sizeof name, "powercut-%ld-%u.img", (long)getpid(), cut);
    if (mounts_copy(SURVIVED, name) == 0)
        fprintf(stderr, "what survived: %s\n", name);
}

static void report(uint32_t cuts, uint64_t seed, time_t seconds)
{
    printf("seed %llu: %u cuts in %lld s: ", (unsigned long long)seed, cuts, (long long)seconds);
    for (int m = 0; m < MOMENTS; m++)
        printf("%u %s (%u in hf_open), ", tally.cuts[m], moment_names[m], tally.unborn[m]);
    printf("%u in mount, %u left no store\n", tally.no_mount,
           tally.no_store);
    printf("unflushed units: %llu, of which %llu were written, %llu torn, %llu lost, in %u cuts; "
           "%llu messages acknowledged\n",
           (unsigned long long)tally.pending, (unsigned long long)tally.kept,
           (unsigned long long)tally.torn, (unsigned long long)tally.dropped, tally.lossy,
           (unsigned long long)tally.acked);
}

static int run_cuts(uint32_t cuts, uint64_t seed)
{
    time_t begun = time(NULL);
    for (uint32_t i = 0; i < cuts; i++) {
        moment when = (moment)(i % MOMENTS);
        if (when == MAKING)
            fresh_image();
        tally.cuts[when]++;
        live_until_cut(when, false);
        if (!atomic_load(&all->book.broken))
            verify();
        if (atomic_load(&all->book.broken)) {
            keep_image(i);
            fprintf(stderr, "cut %u of seed %llu, %s: %s\n", i, (unsigned long long)seed,
                    moment_names[when], all->book.why);
            return 1;
        }
    }
    tally.acked += numbers_acked();
    report(cuts, seed, time(NULL) - begun);
    if (cuts >= 3 && (!tally.acked || !tally.pending))
        core_fail("nothing was at stake");
    return 0;
}

/* Every cut on a store of its own, until what survived is not what was acknowledged.
 * What goes wrong before the cut is no notice. */
static int run_mutant(const char *name, uint32_t cuts)
{
    all->book.lenient = true;
    if (strcmp(name, "nosync") == 0)
        all->lmdb_flags = LMDB_NOSYNC;
    else if (strcmp(name, "nometasync") == 0)
        all->lmdb_flags = LMDB_NOMETASYNC;
    else if (strcmp(name, "liar") != 0)
        core_fail("which mutant is %s?", name);
    for (uint32_t i = 0; i < cuts; i++) {
        fresh_image();
        live_until_cut(WORKING, strcmp(name, "liar") == 0);
        if (atomic_load(&all->book.broken))
            core_fail("before the cut: %s", all->book.why);
        uint32_t acked = numbers_acked();
        verify();
        bool noticed = acked && atomic_load(&all->book.broken);
        printf("cut %u, %u messages acknowledged, %u missed: %s\n", i, acked,
               atomic_load(&all->book.lost), noticed ? all->book.why : "all there");
        if (noticed)
            return 0;
    }
    fprintf(stderr, "%s was not noticed in %u cuts\n", name, cuts);
    return 1;
}

int main(int argc, char **argv)
{
    const char *mutant = argc > 2 && strcmp(argv[1], "--mutant") == 0 ? argv[2] : NULL;
    char **rest = argv + (mutant ? 3 : 1);
    uint32_t cuts = rest[0] ? (uint32_t)atoi(rest[0]) : 3;
    uint64_t seed = rest[0] && rest[1] ? strtoull(rest[1], NULL, 10) : (uint64_t)time(NULL);
    all = mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        core_fail("no memory to share");
    setvbuf(stdout, NULL, _IOLBF, 0); /* children inherit nothing unsaid */
    lives_world = all;
    numbers_book = &all->book;
    all->book.dark = &all->disk.dark;
    all->book.filler = NUMBERS_FILLER;
    dice = seed;
    const char *missing = prepare();
    if (missing)
        return skip(missing);
    return mutant ? run_mutant(mutant, cuts) : run_cuts(cuts, seed);
}
