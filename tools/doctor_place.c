/* doctor_place.c - findings about the directory in which a store lies.
 *
 * Happy path: look at rights, file system, time of a sync, clock and strike file; each
 * gives one finding, also when it can't be looked at. A small file without a name is
 * written into the directory for a moment; the store itself is not touched. One thread. */
#include "tools/doctor.h"
#include "tools/times.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { PROBES = 9, PROBE_BYTES = 4096 };

static void path_of(const doctor *d, const char *file, char path[PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, "%s/%s", d->context->path, file);
}

void doctor_permissions(doctor *d)
{
    struct stat about;
    char path[PATH_MAX];
    const char *store = d->context->path;
    path_of(d, "data.mdb", path);
    if (stat(store, &about) != 0) {
        doctor_find(d, "permissions", DOCTOR_BAD, "%s can't be looked at: %s.", store,
                    strerror(errno));
        return;
    }
    const struct passwd *owner = getpwuid(about.st_uid);
    const char *name = owner != NULL ? owner->pw_name : "somebody else";
    bool may = access(store, W_OK) == 0 && access(path, R_OK | W_OK) == 0;
    if (!may && errno == EROFS)
        doctor_find(d, "permissions", DOCTOR_BAD,
                    "The file system is mounted for reading only: mount it so that it can be "
                    "written.");
    else if (!may)
        doctor_find(d, "permissions", DOCTOR_BAD,
                    "This user may not write the store, it belongs to %s: run the engine and "
                    "the tool as that user.", name);
    else if (about.st_mode & (S_IRWXG | S_IRWXO))
        doctor_find(d, "permissions", DOCTOR_WARN,
                    "Others may enter the store (mode %03o): chmod 700 %s.",
                    (unsigned)about.st_mode & 0777, store);
    else
        doctor_find(d, "permissions", DOCTOR_OK, "Only %s may enter the store.", name);
}

/* Kinds that lose data, or that can't keep LMDB's promises. */
static const struct {
    uint64_t    magic;
    const char *name, *why; /* NULL: fine */
} kinds[] = {
    { 0x01021994, "tmpfs", "everything is lost when the machine ends: move the store to a disk" },
    { 0x858458f6, "ramfs", "everything is lost when the machine ends: move the store to a disk" },
    { 0x794c7630, "overlay", "in a container it goes with the container: mount a volume for it" },
    { 0x6969, "nfs", "locks and memory maps do not hold over a network: use a local disk" },
    { 0xff534d42, "cifs", "locks and memory maps do not hold over a network: use a local disk" },
    { 0xfe534d42, "smb", "locks and memory maps do not hold over a network: use a local disk" },
    { 0x01021997, "9p", "locks and memory maps do not hold over a network: use a local disk" },
    { 0x65735546, "fuse", "a sync is only as good as the program behind it: use a local disk" },
    { 0x9123683e, "btrfs",
      "every write goes elsewhere: chattr +C on an empty directory, then compact --to it" },
    { 0xef53, "ext4", NULL },
    { 0x58465342, "xfs", NULL },
    { 0x2fc12fc1, "zfs", NULL },
    { 0xf2f52010, "f2fs", NULL },
};

void doctor_file_system(doctor *d)
{
    struct statfs about;
    if (statfs(d->context->path, &about) != 0) {
        doctor_find(d, "file system", DOCTOR_BAD, "It can't be looked at: %s.", strerror(errno));
        return;
    }
    uint64_t magic = (uint64_t)about.f_type & 0xffffffff;
    size_t kind = 0, count = sizeof kinds / sizeof *kinds;
    while (kind < count && kinds[kind].magic != magic)
        kind++;
    if (kind == count)
        doctor_find(d, "file system", DOCTOR_OK, "It is of a kind not known here (0x%llx).",
                    (unsigned long long)magic);
    else if (kinds[kind].why != NULL)
        doctor_find(d, "file system", DOCTOR_WARN, "It is %s: %s.", kinds[kind].name,
                    kinds[kind].why);
    else
        doctor_find(d, "file system", DOCTOR_OK, "It is %s.", kinds[kind].name);
    uint64_t unit = (uint64_t)about.f_bsize;
    uint64_t all = about.f_blocks * unit, left = about.f_bavail * unit;
    doctor_level level = left < (64 << 20) ? DOCTOR_BAD
        : left < (1 << 30) || left < all / 20 ? DOCTOR_WARN : DOCTOR_OK;
    doctor_find(d, "disk free", level, "%s of %s are free%s.", doctor_bytes(left),
                doctor_bytes(all),
                level == DOCTOR_OK ? "" : ": make room, or give the store a larger disk "
                                          "(holdfast compact --to)");
}

/* ---- How long a sync takes */

static int compare(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static int open_probe(const doctor *d)
{
    int fd = open(d->context->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    char path[PATH_MAX];
    path_of(d, ".probe-XXXXXX", path);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

void doctor_sync(doctor *d)
{
    uint64_t times[PROBES];
    uint8_t bytes[PROBE_BYTES] = { 1 };
    int fd = open_probe(d);
    for (int i = 0; fd >= 0 && i < PROBES; i++) {
        uint64_t began = cli_now_ns();
        if (pwrite(fd, bytes, sizeof bytes, (off_t)i * PROBE_BYTES) != PROBE_BYTES
            || fdatasync(fd) != 0) {
            (void)close(fd);
            fd = -1;
        }
        times[i] = (cli_now_ns() - began) / 1000;
    }
    if (fd < 0) {
        doctor_find(d, "sync", DOCTOR_WARN, "It was not measured: %s.", strerror(errno));
        return;
    }
    (void)close(fd);
    qsort(times, PROBES, sizeof *times, compare);
    uint64_t middle = times[PROBES / 2], most = times[PROBES - 1];
    doctor_level level = middle > 100000 ? DOCTOR_BAD : middle > 20000 ? DOCTOR_WARN : DOCTOR_OK;
    doctor_find(d, "sync", level, "4 KiB are on disk after %llu us, at most %llu us%s.",
                (unsigned long long)middle, (unsigned long long)most,
                level == DOCTOR_OK ? ""
                                   : ": every commit waits that long; use a faster disk, or "
                                     "one that others do not keep busy");
}

/* ---- Time */

void doctor_clock(doctor *d, hf_bytes row)
{
    struct stat about;
    char path[PATH_MAX], when[CLI_TIME_ROOM];
    uint64_t now = cli_now_ms(), newest = 0, jumps = cli_field_uint(row, "clock_jumps");
    path_of(d, "data.mdb", path);
    if (stat(path, &about) == 0)
        newest = (uint64_t)about.st_mtim.tv_sec * 1000;
    (void)cli_time_iso(when, newest);
    if (newest > now + 60000)
        doctor_find(d, "clock", DOCTOR_BAD,
                    "The store was written at %s, which is to come: the clock was set back. "
                    "Set it right before alarms and schedules go by it.", when);
    else if (jumps > 0)
        doctor_find(d, "clock", DOCTOR_WARN,
                    "It was set %llu times while the engine ran: let a time service keep it.",
                    (unsigned long long)jumps);
    else
        doctor_find(d, "clock", DOCTOR_OK, "It is later than the last write (%s).", when);
}

/* ---- Who killed the process */

void doctor_strikes(doctor *d)
{
    struct stat about;
    char path[PATH_MAX];
    path_of(d, "strikes", path);
    if (stat(path, &about) != 0)
        doctor_find(d, "strike file", errno == ENOENT ? DOCTOR_OK : DOCTOR_WARN,
                    "There is none%s%s.", errno == ENOENT ? "; the next engine makes one" : ": ",
                    errno == ENOENT ? "" : strerror(errno));
    else if (access(path, R_OK | W_OK) != 0)
        doctor_find(d, "strike file", DOCTOR_BAD,
                    "%s can't be written: no engine can be opened until it can.", path);
    else if ((uint64_t)about.st_blocks * 512 < (uint64_t)about.st_size)
        doctor_find(d, "strike file", DOCTOR_WARN,
                    "%s has holes: on a full disk an engine may die. Remove it while no "
                    "engine runs; the next one makes it anew.", path);
    else
        doctor_find(d, "strike file", DOCTOR_OK, "It has %s.",
                    doctor_bytes((uint64_t)about.st_size));
}
