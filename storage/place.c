/* place.c - the path of a store: what lies there, and making a new one.
 *
 * Happy path of creation: a directory `<path>.tmp-<16 hex digits>` beside the path,
 * its lock taken, data committed, marker synced (all by the caller), then the
 * directory synced, renamed over nothing or over an empty directory, and the parent
 * synced. Whenever the process or the machine dies there is nothing at the path, or
 * a whole store.
 *
 * What a death leaves beside it is removed when the next store is created there:
 * only directories of that very name and shape, of this user, a minute old or once
 * locked, with nothing but our files in them, whose lock can be taken.
 *
 * Any thread, under the registry's mutex. */
#include "storage/place.h"

#include "storage/clock.h"
#include "storage/datafile.h"
#include "storage/error.h"
#include "storage/lock.h"
#include "storage/marker.h"
#include "storage/random.h"
#include "storage/testpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NEST_MARK   ".tmp-"
#define NEST_DIGITS 16
#define NEST_AGE_S  60

static int code_of(int failed)
{
    if (failed == ENOSPC || failed == EDQUOT)
        return HF_EFULL;
    return failed == ENOMEM ? HF_ENOMEM : HF_EIO;
}

/* A file or a directory. */
static int sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int failed = fd < 0 ? errno : 0;
    if (!failed && fsync(fd))
        failed = errno;
    if (fd >= 0)
        (void)close(fd);
    if (failed)
        return hf_error(code_of(failed), "cannot sync %s: %s", path, strerror(failed));
    return HF_OK;
}

/* Cut `path` into parent and name; both point into `copy`. */
static void split(const char *path, char *copy, const char **parent, const char **name)
{
    (void)snprintf(copy, PATH_MAX, "%s", path);
    for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/';)
        copy[--len] = '\0';
    char *slash = strrchr(copy, '/');
    *name = slash ? slash + 1 : copy;
    *parent = !slash ? "." : slash == copy ? "/" : copy;
    if (slash)
        *slash = '\0';
}

/* ---- What is there */

static int refuse_remote(const char *path)
{
    static const struct {
        unsigned    type;
        const char *name;
    } remote[] = {
        { 0x6969u, "NFS" },      { 0xFF534D42u, "CIFS" }, { 0x517Bu, "SMB" },
        { 0xFE534D42u, "SMB2" }, { 0x01021997u, "9p" },   { 0x00C36400u, "Ceph" },
        { 0x5346414Fu, "AFS" },  { 0x73757245u, "Coda" },
    };
    struct statfs fs;

    if (statfs(path, &fs))
        return hf_error(HF_EIO, "cannot stat the file system of %s: %s", path, strerror(errno));
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        if ((unsigned)fs.f_type == remote[i].type)
            return hf_error(HF_EINVAL,
                            "%s is on a remote file system (%s), where memory maps and locks "
                            "do not hold; put the store on a local disk",
                            path, remote[i].name);
    return HF_OK;
}

static bool has(const char *directory, const char *name)
{
    char path[PATH_MAX + 32];
    struct stat st;
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    return lstat(path, &st) == 0;
}

static int directory_find(const char *path, hf_place *place)
{
    *place = HF_PLACE_STORE;
    if (has(path, HF_MARKER_FILE))
        return HF_OK;
    if (has(path, HF_DATA_FILE))
        return hf_error(HF_ECORRUPT,
                        "%s has " HF_DATA_FILE " but no " HF_MARKER_FILE
                        ": not a store of holdfast, or its marker is lost; see holdfast salvage",
                        path);

    DIR *dir = opendir(path);
    if (!dir)
        return hf_error(HF_EIO, "cannot open %s: %s", path, strerror(errno));
    bool empty = true;
    for (struct dirent *e = readdir(dir); e && empty; e = readdir(dir))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    (void)closedir(dir);
    *place = HF_PLACE_EMPTY;
    return empty ? HF_OK
                 : hf_error(HF_EINVAL, "directory %s holds other files and no store", path);
}

/* Nothing is there: the parent must be. */
static int parent_find(const char *path, char *out)
{
    char copy[PATH_MAX], real[PATH_MAX];
    const char *parent, *name;

    split(path, copy, &parent, &name);
    if (!*name || strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
        return hf_error(HF_EINVAL, "\"%s\" cannot be the path of a store", path);
    if (!realpath(parent, real))
        return hf_error(HF_EINVAL, "cannot make a store at %s: directory %s: %s", path, parent,
                        strerror(errno));
    int len = snprintf(out, PATH_MAX, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    if (len >= PATH_MAX)
        return hf_error(HF_EINVAL, "path is too long: %s", path);
    return refuse_remote(real);
}

int hf_place_find(const char *path, char *out, hf_place *place)
{
    struct stat st;

    if (!path || !*path)
        return hf_error(HF_EINVAL, "a store needs a path");
    if (strlen(path) > PATH_MAX - 64)
        return hf_error(HF_EINVAL, "path is too long: %.100s...", path);
    if (!realpath(path, out)) {
        *place = HF_PLACE_NOTHING;
        return errno == ENOENT ? parent_find(path, out)
                               : hf_error(HF_EINVAL, "cannot open %s: %s", path, strerror(errno));
    }
    if (stat(out, &st))
        return hf_error(HF_EIO, "cannot stat %s: %s", out, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return hf_error(HF_EINVAL, "%s is not a directory", out);
    int err = refuse_remote(out);
    return err ? err : directory_find(out, place);
}

/* ---- Nests */

/* All that a nest may hold, also one that took after a store, or was it (hf_nest_replace). */
static const char *const our_files[] = { HF_MARKER_FILE, HF_DATA_FILE, "lock.mdb",
                                         "holdfast.lock", "strikes", "last-stop",
                                         "last-stop.new", "control.sock" };
enum { OUR_FILES = sizeof our_files / sizeof *our_files };

/* Remove our files, and the directory if nothing else is in it. It may have taken after a store
 * that was closed to writing. */
static void nest_remove(const char *path)
{
    char file[PATH_MAX + 320];
    (void)chmod(path, 0700);
    for (size_t i = 0; i < OUR_FILES; i++) {
        (void)snprintf(file, sizeof file, "%s/%s", path, our_files[i]);
        (void)unlink(file);
    }
    (void)rmdir(path);
}

int hf_place_only_ours(const char *path)
{
    struct stat st;
    DIR *dir = opendir(path);
    if (!dir)
        return hf_error(HF_EIO, "cannot open %s: %s", path, strerror(errno));
    int err = HF_OK;
    for (struct dirent *e = readdir(dir); e && !err; e = readdir(dir)) {
        bool ours = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
        for (size_t i = 0; !ours && i < OUR_FILES; i++)
            ours = strcmp(e->d_name, our_files[i]) == 0;
        if (!ours)
            err = hf_error(HF_EINVAL, "%s/%s is no file of the store: move it elsewhere first",
                           path, e->d_name);
        else if (!fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISLNK(st.st_mode))
            err = hf_error(HF_EINVAL, "%s/%s is a link, what it leads to would stay behind; "
                                      "--to makes a copy elsewhere", path, e->d_name);
    }
    (void)closedir(dir);
    return err;
}

/* It has a pid in its lock, which is written when that is taken and wiped when it is given back. */
static bool was_locked(const char *path)
{
    char file[PATH_MAX + 320];
    struct stat st;
    (void)snprintf(file, sizeof file, "%s/holdfast.lock", path);
    return !lstat(file, &st) && st.st_size;
}

/* Its age is what tells a crashed creation from one that has not come to its lock
 * yet; both would otherwise look the same for a moment. Once it was locked there is no
 * doubt: who begins again at once would leave a copy of a whole store behind for good. */
static void nest_sweep(const char *path)
{
    struct stat st;
    int fd;
    uint64_t now_s = hf_clock_wall_ms() / 1000;

    if (lstat(path, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()
        || hf_place_only_ours(path))
        return;
    if ((uint64_t)st.st_mtim.tv_sec + NEST_AGE_S > now_s && !was_locked(path))
        return;
    if (hf_lock_take(&fd, path, false))
        return;
    nest_remove(path);
    hf_lock_drop(fd);
}

static bool nest_named(const char *file, const char *name)
{
    size_t len = strlen(name), mark = sizeof NEST_MARK - 1;
    return strncmp(file, name, len) == 0 && strncmp(file + len, NEST_MARK, mark) == 0
           && strspn(file + len + mark, "0123456789abcdef") == NEST_DIGITS
           && file[len + mark + NEST_DIGITS] == '\0';
}

static void nests_sweep(const char *parent, const char *name)
{
    char old[PATH_MAX + 300];
    DIR *dir = opendir(parent);
    if (!dir)
        return;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (!nest_named(e->d_name, name))
            continue;
        (void)snprintf(old, sizeof old, "%s/%s", parent, e->d_name);
        nest_sweep(old);
    }
    (void)closedir(dir);
}

int hf_nest_make(hf_nest *nest, const char *path)
{
    char copy[PATH_MAX];
    const char *parent, *name;

    split(path, copy, &parent, &name);
    nests_sweep(*parent ? parent : "/", name);
    nest->lock_fd = -1;
    int len = snprintf(nest->path, sizeof nest->path, "%s" NEST_MARK "%016" PRIx64, path,
                       hf_random());
    if (len < 0 || (size_t)len >= sizeof nest->path)
        return hf_error(HF_EINVAL, "path is too long: %s", path);
    if (mkdir(nest->path, 0700)) {
        int failed = errno;
        nest->path[0] = '\0';
        return hf_error(failed == EACCES || failed == EPERM || failed == EROFS ? HF_EINVAL
                                                                              : code_of(failed),
                        "cannot make a store at %s: directory %s: %s", path,
                        *parent ? parent : "/", strerror(failed));
    }
    HF_TESTPOINT("store.create.nest");
    return hf_lock_take(&nest->lock_fd, nest->path, true);
}

int hf_nest_publish(hf_nest *nest, const char *path)
{
    char copy[PATH_MAX];
    const char *parent, *name;

    char data[PATH_MAX + 32];
    (void)snprintf(data, sizeof data, "%s/" HF_DATA_FILE, nest->path);
    int err = sync_path(data);
    if (!err)
        err = sync_path(nest->path);
    if (err)
        return err;
    HF_TESTPOINT("store.create.synced");
    if (rename(nest->path, path)) {
        if (errno == ENOTEMPTY || errno == EEXIST)
            return hf_error(HF_EBUSY, "another process made a store at %s this moment", path);
        if (errno == EBUSY || errno == EXDEV)
            return hf_error(HF_EINVAL,
                            "%s is the root of a file system; use a directory below it", path);
        return hf_error(code_of(errno), "cannot rename %s to %s: %s", nest->path, path,
                        strerror(errno));
    }
    /* It is the store now: nothing here may remove it any more. */
    nest->path[0] = '\0';
    HF_TESTPOINT("store.create.renamed");
    split(path, copy, &parent, &name);
    return sync_path(*parent ? parent : "/");
}

/* Whoever may use the old store may use the new one. The record of what ran when the
 * process died stays that very file: it is known by its inode. */
static int take_after(const hf_nest *nest, const char *path)
{
    static const char *const files[] = { HF_MARKER_FILE, HF_DATA_FILE, "lock.mdb",
                                         "holdfast.lock", "strikes", "last-stop",
                                         "." }; /* last: it may be closed to writing */
    char from[PATH_MAX + 320], to[PATH_MAX + 320];
    struct stat st;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        (void)snprintf(from, sizeof from, "%s/%s", path, files[i]);
        (void)snprintf(to, sizeof to, "%s/%s", nest->path, files[i]);
        if (lstat(from, &st)) {
            if (errno == ENOENT)
                continue;
        } else if (i == 4 || i == 5 ? !link(from, to)
                                    : !lchown(to, st.st_uid, st.st_gid)
                                          && !chmod(to, st.st_mode & 07777)) {
            continue;
        }
        return hf_error(code_of(errno), "cannot make %s like %s: %s", to, from, strerror(errno));
    }
    return HF_OK;
}

int hf_nest_replace(hf_nest *nest, const char *path)
{
    char copy[PATH_MAX], data[PATH_MAX + 32];
    const char *parent, *name;
    (void)snprintf(data, sizeof data, "%s/" HF_DATA_FILE, nest->path);
    int err = hf_place_only_ours(path);
    if (!err)
        err = take_after(nest, path);
    if (!err)
        err = sync_path(data);
    if (!err)
        err = sync_path(nest->path);
    if (err)
        return err;
    HF_TESTPOINT("store.replace.synced");
    if (renameat2(AT_FDCWD, nest->path, AT_FDCWD, path, RENAME_EXCHANGE)) {
        int failed = errno;
        return hf_error(failed == EINVAL || failed == ENOSYS || failed == EBUSY || failed == EXDEV
                            ? HF_EINVAL : code_of(failed),
                        "cannot exchange %s for its copy: %s; --to makes one elsewhere", path,
                        strerror(failed));
    }
    HF_TESTPOINT("store.replace.exchanged");
    split(path, copy, &parent, &name);
    err = sync_path(*parent ? parent : "/");
    if (err) /* else the nest, which is the old store now, goes when it is discarded */
        nest->path[0] = '\0';
    return err;
}

void hf_nest_discard(hf_nest *nest)
{
    if (nest->path[0])
        nest_remove(nest->path);
    hf_lock_drop(nest->lock_fd);
    nest->lock_fd = -1;
}
