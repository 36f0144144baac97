/* failing.h - writes that fail, for one test program.
 *
 * Include it in the program's one .c file: it defines pwrite, writev, pwritev,
 * fdatasync, fsync and rename, which liblmdb and the library then find before the C
 * library's. `fault` says what fails, or at which call the process dies. */
#ifndef SUPPORT_FAILING_H
#define SUPPORT_FAILING_H

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FAIL_NOTHING, FAIL_DATA, FAIL_SHORT, FAIL_META, FAIL_META_LATE, FAIL_SYNC };

static struct fault {
    int what, error;
    int times;    /* how often it fails */
    int kill_at;  /* the process dies at this call, counting down; 0: never */
} fault;

/* A test says what fails while the journal writes: whether this call or the next one
 * is hit does not matter, so the thread sanitizer need not watch these. */
#define UNWATCHED __attribute__((no_sanitize("thread")))

/* Seen by liblmdb whatever the flags of the build say. */
#define SEEN UNWATCHED __attribute__((visibility("default")))
#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

UNWATCHED static void maybe_die(void)
{
    if (fault.kill_at && --fault.kill_at == 0)
        (void)kill(getpid(), SIGKILL);
}

UNWATCHED static bool fails(int what)
{
    if (fault.what != what || fault.times == 0)
        return false;
    fault.times--;
    errno = fault.error;
    return true;
}

/* LMDB writes a meta page as 120 bytes at 32 in page 0 or 1, and only that so. */
SEEN ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    maybe_die();
    bool meta = (at == 32 || at == 4096 + 32) && len == 120;
    if (len >= 120 && fails(meta ? FAIL_META : FAIL_DATA))
        return -1;
    /* Written, and then an error; the next one, LMDB's undoing, is lost. */
    if (meta && fault.what == FAIL_META_LATE && fault.times) {
        if (fault.times > 1 && REAL(pwrite)(fd, bytes, len, at) < 0)
            return -1;
        (void)fails(FAIL_META_LATE);
        return -1;
    }
    if (!meta && len >= 4096 && fails(FAIL_SHORT))
        return REAL(pwrite)(fd, bytes, len / 2, at);
    return REAL(pwrite)(fd, bytes, len, at);
}

SEEN ssize_t writev(int fd, const struct iovec *iov, int count)
{
    maybe_die();
    if (fails(FAIL_DATA))
        return -1;
    if (fails(FAIL_SHORT))
        return REAL(writev)(fd, iov, 1);
    return REAL(writev)(fd, iov, count);
}

SEEN ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
    maybe_die();
    if (fails(FAIL_DATA))
        return -1;
    if (fails(FAIL_SHORT))
        return REAL(pwritev)(fd, iov, 1, at);
    return REAL(pwritev)(fd, iov, count, at);
}

SEEN int fdatasync(int fd)
{
    maybe_die();
    return fails(FAIL_SYNC) ? -1 : REAL(fdatasync)(fd);
}

SEEN int fsync(int fd)
{
    maybe_die();
    return REAL(fsync)(fd);
}

SEEN int rename(const char *from, const char *to)
{
    maybe_die();
    int err = REAL(rename)(from, to);
    maybe_die();
    return err;
}

#endif
