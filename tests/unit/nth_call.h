/* nth_call.h - the nth call of a kind fails: for one test program, in its one .c file.
 *
 * It defines the functions of LMDB and of the C library that storage and recovery call;
 * being hidden they are found by those only, not by LMDB or the C library themselves.
 * A commit that is to fail is aborted first, as LMDB does it. Allocations are the hook
 * of storage/memory.h. One thread.
 *
 *     NTH_EACH(n, NTH_LMDB, EIO) {        n = 1, 2, … until no call is left to fail
 *         err = what_is_tested();
 *         nth_off();                      from here on all calls work
 *         …
 *     }
 */
#ifndef UNIT_NTH_CALL_H
#define UNIT_NTH_CALL_H

#include "storage/memory.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

enum { NTH_NONE, NTH_MEMORY, NTH_LMDB, NTH_FILE, NTH_SOCKET };

/* LMDB's codes, which only store.c may know by name. */
enum {
    LMDB_KEYEXIST = -30799, LMDB_NOTFOUND = -30798, LMDB_PAGE_NOTFOUND = -30797,
    LMDB_CORRUPTED = -30796, LMDB_PANIC = -30795, LMDB_VERSION_MISMATCH = -30794,
    LMDB_INVALID = -30793, LMDB_MAP_FULL = -30792, LMDB_READERS_FULL = -30790,
    LMDB_TXN_FULL = -30788, LMDB_MAP_RESIZED = -30785, LMDB_BAD_TXN = -30782,
    LMDB_BAD_VALSIZE = -30781
};

static struct {
    int         kind, error;
    const char *only;  /* calls of that name; NULL: of any */
    int         left;  /* the call at which it comes to 0 fails, */
    int         times; /* and so many from there on */
    bool        hit;
    /* what the file system says of itself; 0: the truth */
    long        fs_type;
    uint64_t    fs_free; /* bytes + 1 */
    bool        no_sync; /* fdatasync fails, besides */
    bool        pretend; /* fallocate says yes and does nothing, which is quick */
    /* instead of waiting, if not NULL; what poll is to return */
    int       (*on_poll)(struct pollfd *fd);
    void      (*on_nap)(void);
} nth;

static bool nth_fails(int kind, const char *name)
{
    if (nth.kind != kind || (nth.only && strcmp(nth.only, name) != 0))
        return false;
    if (nth.left > 0 && --nth.left > 0)
        return false;
    if (nth.times == 0)
        return false;
    nth.times--;
    nth.hit = true;
    return true;
}

static int nth_memory(void *user, size_t size)
{
    (void)user, (void)size;
    return nth_fails(NTH_MEMORY, "");
}

static inline void nth_off(void)
{
    nth.kind = NTH_NONE;
    hf_mem_hook(NULL, NULL);
}

/* The nth call of that kind, and name if it is not NULL, fails with `error`. */
static inline void nth_on(int kind, const char *only, int n, int error)
{
    nth.kind = kind;
    nth.only = only;
    nth.error = error;
    nth.left = n;
    nth.times = 1;
    nth.hit = false;
    hf_mem_hook(kind == NTH_MEMORY ? nth_memory : NULL, NULL);
}

static inline bool nth_again(int kind, int n, int error)
{
    bool more = n == 1 || nth.hit;
    nth_on(more ? kind : NTH_NONE, NULL, n, error);
    return more;
}

/* Under a sanitizer each takes long: some of them only. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { NTH_STEP = 5 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
enum { NTH_STEP = 5 };
#else
enum { NTH_STEP = 1 };
#endif
#else
enum { NTH_STEP = 1 };
#endif

#define NTH_EACH(n, kind, error) for (int n = 1; nth_again(kind, n, error); n += NTH_STEP)

/* ---- The calls */

#define NTH_HIDDEN       __attribute__((visibility("hidden")))
#define NTH_REAL(name)   ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

/* They return their error. */
#define NTH_LMDB_CALL(name, params, args)                                                  \
    NTH_HIDDEN int name params;                                                            \
    NTH_HIDDEN int name params                                                             \
    {                                                                                      \
        return nth_fails(NTH_LMDB, #name) ? nth.error : NTH_REAL(name) args;               \
    }

NTH_LMDB_CALL(mdb_env_create, (void **env), (env))
NTH_LMDB_CALL(mdb_env_open, (void *env, const char *path, unsigned flags, mode_t mode),
              (env, path, flags, mode))
NTH_LMDB_CALL(mdb_txn_begin, (void *env, void *parent, unsigned flags, void **txn),
              (env, parent, flags, txn))
NTH_LMDB_CALL(mdb_txn_renew, (void *txn), (txn))
NTH_LMDB_CALL(mdb_dbi_open, (void *txn, const char *name, unsigned flags, unsigned *dbi),
              (txn, name, flags, dbi))
NTH_LMDB_CALL(mdb_stat, (void *txn, unsigned dbi, void *stat), (txn, dbi, stat))
NTH_LMDB_CALL(mdb_get, (void *txn, unsigned dbi, void *key, void *data), (txn, dbi, key, data))
NTH_LMDB_CALL(mdb_put, (void *txn, unsigned dbi, void *key, void *data, unsigned flags),
              (txn, dbi, key, data, flags))
NTH_LMDB_CALL(mdb_del, (void *txn, unsigned dbi, void *key, void *data), (txn, dbi, key, data))
NTH_LMDB_CALL(mdb_cursor_open, (void *txn, unsigned dbi, void **cursor), (txn, dbi, cursor))
NTH_LMDB_CALL(mdb_cursor_get, (void *cursor, void *key, void *data, int op),
              (cursor, key, data, op))
NTH_LMDB_CALL(mdb_cursor_put, (void *cursor, void *key, void *data, unsigned flags),
              (cursor, key, data, flags))
NTH_LMDB_CALL(mdb_cursor_del, (void *cursor, unsigned flags), (cursor, flags))
NTH_LMDB_CALL(mdb_reader_list, (void *env, int (*each)(const char *, void *), void *user),
              (env, each, user))
NTH_LMDB_CALL(mdb_reader_check, (void *env, int *dead), (env, dead))

extern void mdb_txn_abort(void *txn);
NTH_HIDDEN int mdb_txn_commit(void *txn);
NTH_HIDDEN int mdb_txn_commit(void *txn)
{
    if (!nth_fails(NTH_LMDB, "mdb_txn_commit"))
        return NTH_REAL(mdb_txn_commit)(txn);
    mdb_txn_abort(txn);
    return nth.error;
}

/* They return `failure` and set errno. */
#define NTH_CALL(type, failure, kind, name, params, args)                                  \
    NTH_HIDDEN type name params                                                            \
    {                                                                                      \
        if (nth_fails(kind, #name)) {                                                      \
            errno = nth.error;                                                             \
            return failure;                                                                \
        }                                                                                  \
        return NTH_REAL(name) args;                                                        \
    }

NTH_CALL(int, -1, NTH_FILE, fsync, (int fd), (fd))
NTH_CALL(int, -1, NTH_FILE, ftruncate, (int fd, off_t size), (fd, size))
NTH_CALL(int, -1, NTH_FILE, rename, (const char *from, const char *to), (from, to))
NTH_CALL(int, -1, NTH_FILE, mkdir, (const char *path, mode_t mode), (path, mode))
NTH_CALL(int, -1, NTH_FILE, stat, (const char *path, struct stat *st), (path, st))
NTH_CALL(int, -1, NTH_FILE, lstat, (const char *path, struct stat *st), (path, st))
NTH_CALL(int, -1, NTH_FILE, fstat, (int fd, struct stat *st), (fd, st))
NTH_CALL(int, -1, NTH_FILE, getrlimit, (__rlimit_resource_t what, struct rlimit *limit),
         (what, limit))
NTH_CALL(DIR *, NULL, NTH_FILE, opendir, (const char *path), (path))
NTH_CALL(char *, NULL, NTH_FILE, realpath, (const char *path, char *out), (path, out))
NTH_CALL(ssize_t, -1, NTH_FILE, pread, (int fd, void *at, size_t size, off_t from),
         (fd, at, size, from))
NTH_CALL(ssize_t, -1, NTH_FILE, pwrite, (int fd, const void *at, size_t size, off_t to),
         (fd, at, size, to))
NTH_CALL(int, -1, NTH_SOCKET, socket, (int domain, int type, int protocol),
         (domain, type, protocol))
NTH_CALL(int, -1, NTH_SOCKET, connect, (int fd, __CONST_SOCKADDR_ARG to, socklen_t size),
         (fd, to, size))
NTH_CALL(ssize_t, -1, NTH_SOCKET, send, (int fd, const void *at, size_t size, int flags),
         (fd, at, size, flags))
NTH_CALL(ssize_t, -1, NTH_SOCKET, recv, (int fd, void *at, size_t size, int flags),
         (fd, at, size, flags))

NTH_HIDDEN int fdatasync(int fd)
{
    if (nth.no_sync || nth_fails(NTH_FILE, "fdatasync")) {
        errno = nth.no_sync ? EIO : nth.error;
        return -1;
    }
    return NTH_REAL(fdatasync)(fd);
}

NTH_HIDDEN int fallocate(int fd, int mode, off_t at, off_t size)
{
    if (nth_fails(NTH_FILE, "fallocate")) {
        errno = nth.error;
        return -1;
    }
    return nth.pretend ? 0 : NTH_REAL(fallocate)(fd, mode, at, size);
}

NTH_HIDDEN int poll(struct pollfd *fds, nfds_t count, int ms)
{
    if (nth_fails(NTH_SOCKET, "poll")) {
        errno = nth.error;
        return -1;
    }
    return nth.on_poll ? nth.on_poll(fds) : NTH_REAL(poll)(fds, count, ms);
}

NTH_HIDDEN int nanosleep(const struct timespec *pause, struct timespec *left)
{
    if (nth.on_nap) {
        nth.on_nap();
        return 0;
    }
    return NTH_REAL(nanosleep)(pause, left);
}

NTH_HIDDEN int statfs(const char *path, struct statfs *fs)
{
    if (nth_fails(NTH_FILE, "statfs")) {
        errno = nth.error;
        return -1;
    }
    int err = NTH_REAL(statfs)(path, fs);
    if (nth.fs_type)
        fs->f_type = (__typeof__(fs->f_type))nth.fs_type;
    return err;
}

NTH_HIDDEN int fstatfs(int fd, struct statfs *fs)
{
    if (nth_fails(NTH_FILE, "fstatfs")) {
        errno = nth.error;
        return -1;
    }
    int err = NTH_REAL(fstatfs)(fd, fs);
    if (nth.fs_type)
        fs->f_type = (__typeof__(fs->f_type))nth.fs_type;
    return err;
}

NTH_HIDDEN int fstatvfs(int fd, struct statvfs *fs)
{
    if (nth_fails(NTH_FILE, "fstatvfs")) {
        errno = nth.error;
        return -1;
    }
    int err = NTH_REAL(fstatvfs)(fd, fs);
    if (nth.fs_free)
        fs->f_bavail = (nth.fs_free - 1) / fs->f_frsize;
    return err;
}

NTH_HIDDEN int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    if (nth_fails(NTH_FILE, "open")) {
        errno = nth.error;
        return -1;
    }
    return NTH_REAL(open)(path, flags, mode);
}

NTH_HIDDEN int fcntl(int fd, int command, ...)
{
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (nth_fails(NTH_FILE, "fcntl")) {
        errno = nth.error;
        return -1;
    }
    return NTH_REAL(fcntl)(fd, command, argument);
}

#endif
