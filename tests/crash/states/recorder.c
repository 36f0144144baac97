/* recorder.c - the calls that change files, noted on their way to the C library.
 *
 * Happy path: a call arrives, the real one is made, and if it succeeded and concerns
 * a file under the root, an event goes on the tape. Inode numbers become small ones
 * of our own. Any failure of the recorder itself ends the process: half a tape would
 * prove nothing. Any thread: a call is noted before it returns, so the tape never says
 * that something was acknowledged before what had to happen first. */
#include "tests/crash/states/recorder.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

bool tape_blind_to_directories;

enum { FDS = 1024, INODES = 256 };

static pthread_mutex_t tape_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

static tape  *running;
static tape   later; /* what tape_postpone holds back */
static bool   postponing;
static char   root[PATH_MAX];
static size_t root_len;

static struct {
    atomic_bool used, sync, is_dir;
    uint32_t inode;
} fds[FDS];

static struct {
    ino_t number;
    bool  gone;
} inodes[INODES];

/* The C library's function behind ours, looked up once. */
#define REAL(name) ((__typeof__(&name))(uintptr_t)found(&real_##name, #name))

static void *found(void **slot, const char *name)
{
    void *real = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    if (!real) {
        real = dlsym(RTLD_NEXT, name);
        __atomic_store_n(slot, real, __ATOMIC_RELEASE);
    }
    return real;
}

_Noreturn static void give_up(const char *why)
{
    fprintf(stderr, "recorder: %s\n", why);
    abort();
}

static tape_event *more(tape *on)
{
    if (on->count == on->room) {
        on->room = on->room ? on->room * 2 : 1024;
        on->events = realloc(on->events, on->room * sizeof *on->events);
        if (!on->events)
            give_up("out of memory");
    }
    return &on->events[on->count++];
}

static void hold(void)
{
    (void)pthread_mutex_lock(&tape_lock);
}

static void let_go(void)
{
    (void)pthread_mutex_unlock(&tape_lock);
}

/* Under the lock, as is all that notes. */
static tape_event *note(tape_what what)
{
    bool mark = what == TAPE_BEGIN || what == TAPE_ACK;
    tape_event *e = more(postponing && !mark ? &later : running);
    memset(e, 0, sizeof *e);
    e->what = (uint8_t)what;
    return e;
}

static uint32_t inode_of(const struct stat *st)
{
    for (uint32_t i = 0; i < running->inodes; i++)
        if (inodes[i].number == st->st_ino && !inodes[i].gone)
            return i;
    if (running->inodes == INODES)
        give_up("too many files");
    inodes[running->inodes].number = st->st_ino;
    inodes[running->inodes].gone = false;
    return running->inodes++;
}

/* Is the path recorded? Then where its last name begins. */
static const char *ours(const char *path)
{
    if (!running || strncmp(path, root, root_len) || (path[root_len] != '/' && path[root_len]))
        return NULL;
    const char *name = strrchr(path, '/') + 1;
    if (strcmp(name, "lock.mdb") == 0 || strcmp(name, "holdfast.lock") == 0)
        return NULL;
    if (strlen(name) >= TAPE_NAME)
        give_up("a name is too long");
    return name;
}

static uint32_t parent_of(const char *path, const char *name)
{
    char parent[PATH_MAX];
    struct stat st;
    (void)snprintf(parent, sizeof parent, "%.*s", (int)(name - path - 1), path);
    if (stat(parent, &st))
        give_up("a directory without a parent");
    return inode_of(&st);
}

static tape_event *note_name(tape_what what, const char *path, const char *name, uint32_t inode,
                             bool is_dir)
{
    uint32_t dir = parent_of(path, name);
    tape_event *e = note(what);
    e->dir = dir;
    e->inode = inode;
    e->is_dir = is_dir;
    (void)snprintf(e->name, sizeof e->name, "%s", name);
    return e;
}

static bool exists(const char *path)
{
    struct stat st;
    int before = errno;
    bool there = lstat(path, &st) == 0;
    errno = before;
    return there;
}

void tape_start(tape *on, const char *directory)
{
    struct stat st;
    memset(on, 0, sizeof *on);
    memset(fds, 0, sizeof fds);
    root_len = (size_t)snprintf(root, sizeof root, "%s", directory);
    if (stat(root, &st))
        give_up("the root is not there");
    running = on;
    (void)inode_of(&st);
}

void tape_stop(void)
{
    tape_catch_up();
    running = NULL;
}

void tape_postpone(bool on)
{
    hold();
    postponing = on && running;
    let_go();
}

void tape_catch_up(void)
{
    hold();
    for (size_t i = 0; running && i < later.count; i++)
        *more(running) = later.events[i];
    later.count = 0;
    postponing = false;
    let_go();
}

void tape_free(tape *of)
{
    for (size_t i = 0; i < of->count; i++)
        free(of->events[i].bytes);
    free(of->events);
    memset(of, 0, sizeof *of);
}

void tape_begin(uint64_t op)
{
    hold();
    note(TAPE_BEGIN)->op = op;
    let_go();
}

void tape_ack(uint64_t op)
{
    hold();
    note(TAPE_ACK)->op = op;
    let_go();
}

/* ---- Opening and closing */

static void opened(int fd, const char *path, const char *name, int flags, bool existed)
{
    struct stat st;
    if (fd >= FDS || fstat(fd, &st))
        give_up("a file descriptor is too high");
    hold();
    uint32_t inode = inode_of(&st);
    fds[fd].used = true;
    fds[fd].sync = flags & O_DSYNC; /* O_SYNC has this bit, too */
    fds[fd].is_dir = S_ISDIR(st.st_mode);
    fds[fd].inode = inode;
    if (!existed)
        (void)note_name(TAPE_LINK, path, name, inode, false);
    else if (flags & O_TRUNC)
        note(TAPE_SIZE)->inode = inode;
    let_go();
}

static void *real_open;

static int open_noted(const char *path, int flags, mode_t mode)
{
    const char *name = ours(path);
    bool existed = name && exists(path);
    int fd = REAL(open)(path, flags, mode);
    if (fd >= 0 && fd < FDS)
        fds[fd].used = false;
    if (fd >= 0 && name)
        opened(fd, path, name, flags, existed);
    return fd;
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    return open_noted(path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
    static void *real_openat;
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (*path == '/')
        return open_noted(path, flags, mode);
    if (running && at >= 0 && at < FDS && fds[at].used)
        give_up("openat below the root is not known here");
    return REAL(openat)(at, path, flags, mode);
}

int close(int fd)
{
    static void *real_close;
    if (fd >= 0 && fd < FDS)
        fds[fd].used = false;
    return REAL(close)(fd);
}

static bool tracked(int fd)
{
    return running && fd >= 0 && fd < FDS && fds[fd].used;
}

/* ---- Bytes */

static void wrote(int fd, const struct iovec *iov, int count, off_t at, ssize_t done)
{
    hold();
    tape_event *e = note(TAPE_WRITE);
    e->inode = fds[fd].inode;
    e->off = (uint64_t)at;
    e->len = (uint64_t)done;
    e->bytes = malloc((size_t)done);
    if (!e->bytes)
        give_up("out of memory");
    size_t have = 0;
    for (int i = 0; i < count && have < (size_t)done; i++) {
        size_t part = iov[i].iov_len;
        if (part > (size_t)done - have)
            part = (size_t)done - have;
        memcpy(e->bytes + have, iov[i].iov_base, part);
        have += part;
    }
    if (fds[fd].sync) {
        tape_event *sync = note(TAPE_SYNC_RANGE);
        sync->inode = fds[fd].inode;
        sync->off = (uint64_t)at;
        sync->len = (uint64_t)done;
    }
    let_go();
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    static void *real_pwrite;
    struct iovec iov = { (void *)(uintptr_t)bytes, len };
    ssize_t done = REAL(pwrite)(fd, bytes, len, at);
    if (done > 0 && tracked(fd))
        wrote(fd, &iov, 1, at, done);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    static void *real_pwritev;
    ssize_t done = REAL(pwritev)(fd, iov, count, at);
    if (done > 0 && tracked(fd))
        wrote(fd, iov, count, at, done);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    static void *real_write;
    struct iovec iov = { (void *)(uintptr_t)bytes, len };
    off_t at = tracked(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = REAL(write)(fd, bytes, len);
    if (done > 0 && tracked(fd))
        wrote(fd, &iov, 1, at, done);
    return done;
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    static void *real_writev;
    off_t at = tracked(fd) ? lseek(fd, 0, SEEK_CUR) : 0;
    ssize_t done = REAL(writev)(fd, iov, count);
    if (done > 0 && tracked(fd))
        wrote(fd, iov, count, at, done);
    return done;
}

int ftruncate(int fd, off_t size)
{
    static void *real_ftruncate;
    int err = REAL(ftruncate)(fd, size);
    if (!err && tracked(fd)) {
        hold();
        tape_event *e = note(TAPE_SIZE);
        e->inode = fds[fd].inode;
        e->off = (uint64_t)size;
        let_go();
    }
    return err;
}

/* With FALLOC_FL_KEEP_SIZE, the only way we use it, nothing can be seen of it after
 * a crash, and on a file system in memory it is dear: so it is not done at all. */
int fallocate(int fd, int mode, off_t at, off_t len)
{
    static void *real_fallocate;
    if (mode == FALLOC_FL_KEEP_SIZE)
        return 0;
    int err = REAL(fallocate)(fd, mode, at, len);
    if (!err && tracked(fd))
        give_up("fallocate that changes a size is not known here");
    return err;
}

/* ---- Syncs */

static void synced(int fd)
{
    if (fds[fd].is_dir && tape_blind_to_directories)
        return;
    hold();
    tape_event *e = note(TAPE_SYNC);
    e->inode = fds[fd].inode;
    e->is_dir = fds[fd].is_dir;
    let_go();
}

int fdatasync(int fd)
{
    static void *real_fdatasync;
    int err = REAL(fdatasync)(fd);
    if (!err && tracked(fd))
        synced(fd);
    return err;
}

int fsync(int fd)
{
    static void *real_fsync;
    int err = REAL(fsync)(fd);
    if (!err && tracked(fd))
        synced(fd);
    return err;
}

/* ---- Names */

int mkdir(const char *path, mode_t mode)
{
    static void *real_mkdir;
    struct stat st;
    const char *name = ours(path);
    int err = REAL(mkdir)(path, mode);
    if (!err && name && stat(path, &st) == 0) {
        hold();
        (void)note_name(TAPE_LINK, path, name, inode_of(&st), true);
        let_go();
    }
    return err;
}

/* Its number may come back as another file's. */
static void vanish(const char *path, const char *name, const struct stat *st)
{
    hold();
    uint32_t inode = inode_of(st);
    (void)note_name(TAPE_UNLINK, path, name, inode, S_ISDIR(st->st_mode));
    inodes[inode].gone = S_ISDIR(st->st_mode) || st->st_nlink <= 1;
    let_go();
}

int unlink(const char *path)
{
    static void *real_unlink;
    struct stat st;
    const char *name = ours(path);
    bool known = name && lstat(path, &st) == 0;
    int err = REAL(unlink)(path);
    if (!err && known)
        vanish(path, name, &st);
    return err;
}

int rmdir(const char *path)
{
    static void *real_rmdir;
    struct stat st;
    const char *name = ours(path);
    bool known = name && lstat(path, &st) == 0;
    int err = REAL(rmdir)(path);
    if (!err && known)
        vanish(path, name, &st);
    return err;
}

static void renamed(const char *from, const char *to, const char *name, const struct stat *st)
{
    const char *to_name = ours(to);
    if (!to_name)
        give_up("a file was renamed out of the root");
    hold();
    uint32_t inode = inode_of(st);
    uint32_t to_dir = parent_of(to, to_name);
    tape_event *e = note_name(TAPE_RENAME, from, name, inode, S_ISDIR(st->st_mode));
    e->to_dir = to_dir;
    (void)snprintf(e->to_name, sizeof e->to_name, "%s", to_name);
    let_go();
}

int rename(const char *from, const char *to)
{
    static void *real_rename;
    struct stat st;
    const char *name = ours(from);
    bool known = name && lstat(from, &st) == 0;
    int err = REAL(rename)(from, to);
    if (!err && known)
        renamed(from, to, name, &st);
    return err;
}

int renameat(int at, const char *from, int to_at, const char *to)
{
    static void *real_renameat;
    if (*from == '/' && *to == '/')
        return rename(from, to);
    if (tracked(at) || tracked(to_at))
        give_up("renameat below the root is not known here");
    return REAL(renameat)(at, from, to_at, to);
}
