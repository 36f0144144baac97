/* volatile_disk.c - a disk that forgets.
 *
 * A process of its own serves one file, the root of a FUSE file system, to the loop
 * driver: a write is noted in the platter, FSYNC, which the loop driver sends for a
 * flush of its block device, makes all before it durable. When the power goes, by a
 * countdown of requests or by command, `dark` is set first, then every write and flush
 * answers EIO. A flush that is being served at that moment happens or does not, the
 * seed decides, unless at_flush wants as much at stake as
 * possible. Reads go on, as from the memory of the machine that dies, so that
 * whoever looks at the disk meanwhile sees nothing that was never there. At the end a
 * subset of what was not flushed is put into the file. One thread; its death takes the
 * connection down, so nobody hangs. It has a mount namespace of its own: if everybody
 * is killed at once, it must not be the one that unmounts what lies on its disk and
 * waits for its own answer. Without libfuse there is no such disk. */
#include "tests/crash/powercut/volatile_disk.h"

#include <unistd.h>

#ifdef HF_FUSE3

#define FUSE_USE_VERSION 314
#include "tests/support/core.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static volatile_disk *shared;
static platter       *bytes;

static void lose_power(void)
{
    atomic_store(&shared->dark, true);
}

/* A write or flush comes; true if it is the one at which the power goes. */
static bool burns_down(void)
{
    if (atomic_load(&shared->countdown) <= 0 || atomic_fetch_sub(&shared->countdown, 1) != 1)
        return false;
    lose_power();
    return true;
}

static void attributes(struct stat *st)
{
    *st = (struct stat){ .st_ino = FUSE_ROOT_ID, .st_mode = S_IFREG | 0600, .st_nlink = 1,
                         .st_size = (off_t)platter_size(bytes) };
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    struct stat st;
    (void)ino, (void)file;
    attributes(&st);
    fuse_reply_attr(req, &st, 3600);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    (void)ino;
    fuse_reply_open(req, file);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t offset,
                    struct fuse_file_info *file)
{
    (void)ino, (void)file;
    size_t at = (size_t)offset, size = platter_size(bytes);
    if (at > size)
        at = size;
    if (len > size - at)
        len = size - at;
    fuse_reply_buf(req, (const char *)platter_read(bytes, at), len);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t len, off_t offset,
                     struct fuse_file_info *file)
{
    (void)ino, (void)file;
    size_t at = (size_t)offset, size = platter_size(bytes);
    bool dark = atomic_load(&shared->dark);
    if (at > size || len > size - at) {
        fuse_reply_err(req, ENOSPC);
        return;
    }
    if (!dark) {
        platter_write(bytes, at, data, len);
        atomic_fetch_add(&shared->writes, 1);
    }
    if (dark || (!shared->at_flush && burns_down()))
        fuse_reply_err(req, EIO);
    else
        fuse_reply_write(req, len);
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *file)
{
    (void)ino, (void)data_only, (void)file;
    bool dark = atomic_load(&shared->dark), now = !dark && burns_down();
    uint64_t dice = shared->seed;
    bool done = !now || (!shared->at_flush && core_random(&dice) % 2);
    if (!dark && !shared->lies && done)
        platter_flush(bytes);
    if (!dark)
        atomic_fetch_add(&shared->flushes, 1);
    fuse_reply_err(req, dark || now ? EIO : 0);
}

static const struct fuse_lowlevel_ops operations = {
    .getattr = do_getattr, .open = do_open, .read = do_read, .write = do_write,
    .fsync = do_fsync,
};

/* Requests one after the other, until the test says that this is the end. */
static void serve(struct fuse_session *session)
{
    struct fuse_buf request = { 0 };
    struct pollfd poll_fd = { .fd = fuse_session_fd(session), .events = POLLIN };
    while (!atomic_load(&shared->end) && !fuse_session_exited(session)) {
        if (atomic_load(&shared->cut))
            lose_power();
        if (poll(&poll_fd, 1, 1) <= 0)
            continue;
        int got = fuse_session_receive_buf(session, &request);
        if (got > 0)
            fuse_session_process_buf(session, &request);
        else if (got != -EINTR && got != -EAGAIN)
            break;
    }
    free(request.mem);
}

static _Noreturn void run(void)
{
    char *words[] = { "powercut", "-o", "fsname=volatile_disk", NULL };
    struct fuse_args args = FUSE_ARGS_INIT(3, words);
    bytes = platter_open(shared->file);
    struct fuse_session *session =
        bytes ? fuse_session_new(&args, &operations, sizeof operations, NULL) : NULL;
    if (!session || fuse_session_mount(session, shared->mount) || unshare(CLONE_NEWNS))
        _exit(1);
    atomic_store(&shared->ready, true);
    serve(session);
    lose_power();
    shared->loss = platter_cut(bytes, shared->seed);
    _exit(0); /* what is still mounted gets ENOTCONN */
}

const char *volatile_disk_missing(void)
{
    return access("/dev/fuse", R_OK | W_OK) ? "no /dev/fuse" : NULL;
}

pid_t volatile_disk_start(volatile_disk *disk)
{
    pid_t parent = getpid(), child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        shared = disk;
        run();
    }
    while (child > 0 && !atomic_load(&disk->ready)) {
        if (waitpid(child, NULL, WNOHANG) == child)
            return -1;
        usleep(500);
    }
    return child;
}

#else

const char *volatile_disk_missing(void)
{
    return "built without libfuse3 (libfuse3-dev)";
}

pid_t volatile_disk_start(volatile_disk *disk)
{
    (void)disk;
    return -1;
}

#endif
