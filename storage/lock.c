/* lock.c - who may open a store.
 *
 * Happy path: hf_disk_open enters the registry, finds no claim with the
 * directory's device and inode, locks holdfast.lock and adds its claim.
 *
 * The lock is an open file description lock: unlike the older kind it belongs to
 * the one descriptor that took it, so nothing else that this process opens and
 * closes can drop it. A forked child inherits the description and would keep the
 * lock alive after its parent died, so the fork handler closes it in the child;
 * there it also empties the registry and counts, which is how every later call on
 * the parent's stores learns that it runs in the wrong process.
 *
 * Any thread; one mutex, held while a store is opened or closed. */
#include "storage/lock.h"

#include "storage/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_FILE "holdfast.lock"

atomic_uint hf_fork_count;

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t  registry_once = PTHREAD_ONCE_INIT;
static hf_claim       *registry;

static void before_fork(void)
{
    (void)pthread_mutex_lock(&registry_mutex);
}

static void parent_after_fork(void)
{
    (void)pthread_mutex_unlock(&registry_mutex);
}

static void child_after_fork(void)
{
    for (hf_claim *claim = registry; claim; claim = claim->next) {
        if (claim->lock_fd >= 0)
            (void)close(claim->lock_fd);
        claim->lock_fd = -1;
    }
    registry = NULL;
    atomic_fetch_add_explicit(&hf_fork_count, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&registry_mutex);
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, parent_after_fork, child_after_fork);
}

void hf_registry_enter(void)
{
    (void)pthread_once(&registry_once, watch_forks);
    (void)pthread_mutex_lock(&registry_mutex);
}

void hf_registry_leave(void)
{
    (void)pthread_mutex_unlock(&registry_mutex);
}

hf_claim *hf_registry_find(dev_t dev, ino_t ino)
{
    hf_claim *claim = registry;
    while (claim && (claim->dev != dev || claim->ino != ino))
        claim = claim->next;
    return claim;
}

void hf_registry_add(hf_claim *claim)
{
    claim->next = registry;
    registry = claim;
}

void hf_registry_remove(hf_claim *claim)
{
    hf_claim **at = &registry;
    while (*at && *at != claim)
        at = &(*at)->next;
    if (*at)
        *at = claim->next;
}

/* ---- The lock file */

/* The pid in the file, 0 when none can be read. */
static long holder(int fd)
{
    char text[32];
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    return strtol(text, NULL, 10);
}

static bool lives(long pid)
{
    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

/* Whoever holds the lock writes its pid right after taking it, so a dead pid
 * means that we came in between: look again. */
static int busy(int fd, const char *directory)
{
    struct timespec pause = { 0, 1000000 };
    long pid = holder(fd);
    for (int i = 0; i < 20 && !lives(pid); i++) {
        (void)nanosleep(&pause, NULL);
        pid = holder(fd);
    }
    if (!lives(pid)) /* a salvage, which writes nothing there; the pid is of an engine that died */
        return hf_error(HF_EBUSY, "store %s is open in another process", directory);
    return hf_error(HF_EBUSY, "store %s is open in process %ld", directory, pid);
}

static int write_pid(int fd)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)len, 0) != len)
        return -1;
    return 0;
}

static bool still_there(int fd, const char *path)
{
    struct stat held, there;
    return fstat(fd, &held) || stat(path, &there) || (held.st_ino == there.st_ino
                                                      && held.st_dev == there.st_dev);
}

int hf_lock_take(int *fd, const char *directory, bool fresh)
{
    char path[PATH_MAX + 32];
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    (void)snprintf(path, sizeof path, "%s/" LOCK_FILE, directory);
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | (fresh ? O_EXCL : 0), 0600);
    if (*fd < 0)
        return hf_error(errno == ENOSPC || errno == EDQUOT ? HF_EFULL : HF_EIO,
                        "cannot open %s: %s", path, strerror(errno));

    int err = HF_OK;
    int failed;
    do
        failed = fcntl(*fd, F_OFD_SETLK, &lock);
    while (failed && errno == EINTR);
    if (!failed && !still_there(*fd, path)) {
        /* The directory was replaced by another one (compact): that one counts. */
        (void)close(*fd);
        return hf_lock_take(fd, directory, fresh);
    }
    if (!failed) {
        /* A full disk must not keep anyone out: the pid only helps people. */
        if (write_pid(*fd) && errno != ENOSPC && errno != EDQUOT)
            err = hf_error(HF_EIO, "cannot write %s: %s", path, strerror(errno));
    } else if (errno == EAGAIN || errno == EACCES) {
        err = busy(*fd, directory);
    } else {
        err = hf_error(HF_EIO, "cannot lock %s: %s", path, strerror(errno));
    }
    if (err) {
        (void)close(*fd);
        *fd = -1;
    }
    return err;
}

void hf_lock_drop(int fd)
{
    if (fd < 0)
        return;
    /* Empty, it names nobody who has long gone. */
    if (ftruncate(fd, 0))
        errno = 0;
    (void)close(fd);
}
