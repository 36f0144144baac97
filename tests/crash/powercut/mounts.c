/* mounts.c - a place of our own to mount in, loop devices, programs.
 *
 * Failures are answered, not reported: what is missing on a machine is a reason to
 * skip, what fails later is the caller's to judge. The test's only thread. */
#include "tests/crash/powercut/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int mounts_run(char *const words[])
{
    int status;
    pid_t child = fork();
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
        int nowhere = open("/dev/null", O_RDWR);
        for (int fd = 0; fd <= 2; fd++)
            dup2(nowhere, fd);
        execvp(words[0], words);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

const char *mounts_enter(void)
{
    if (mounts_run((char *[]){ "mkfs.ext4", "-V", NULL })
        || mounts_run((char *[]){ "e2fsck", "-V", NULL }))
        return "no mkfs.ext4 or no e2fsck (e2fsprogs)";
    if (access("/dev/loop-control", F_OK))
        mounts_run((char *[]){ "modprobe", "loop", NULL });
    if (access("/dev/loop-control", R_OK | W_OK))
        return "no /dev/loop-control";
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return "no mount namespace of our own";
    if (mount("powercut", MOUNTS, "tmpfs", 0, "mode=0700"))
        return "no tmpfs can be mounted";
    return NULL;
}

/* An open descriptor of a loop device that has the file; -1, errno. */
static int attach(const char *file, char device[32])
{
    int loop = -1, control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    int backing = open(file, O_RDWR | O_CLOEXEC);
    /* Others look for a free one, too: then it is busy, and there is a next one. */
    for (int i = 0; i < 50 && control >= 0 && backing >= 0; i++) {
        struct loop_config config = { .fd = (uint32_t)backing,
                                      .info = { .lo_flags = LO_FLAGS_AUTOCLEAR } };
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            break;
        (void)snprintf(device, 32, "/dev/loop%d", number);
        loop = open(device, O_RDWR | O_CLOEXEC);
        if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) == 0)
            break;
        int why = errno;
        if (loop >= 0)
            close(loop);
        loop = -1;
        errno = why;
        if (why != EBUSY && why != ENOENT)
            break;
        usleep(10000);
    }
    int why = errno;
    if (control >= 0)
        close(control);
    if (backing >= 0)
        close(backing);
    errno = why;
    return loop;
}

int mounts_add(const char *file, const char *directory)
{
    char device[32];
    int loop = attach(file, device);
    if (loop < 0)
        return -1;
    int err = mount(device, directory, "ext4", 0, "errors=remount-ro");
    int why = errno;
    close(loop); /* the mount holds it now, or nobody */
    errno = why;
    return err;
}

int mounts_remove(const char *directory)
{
    for (int i = 0; i < 1000; i++) {
        if (umount2(directory, 0) == 0)
            return 0;
        if (errno != EBUSY)
            return -1;
        usleep(10000);
    }
    return -1;
}

static bool copy_range(int from, int to, off_t begin, off_t end)
{
    static char room[1 << 16];
    while (begin < end) {
        size_t want = (size_t)(end - begin) < sizeof room ? (size_t)(end - begin) : sizeof room;
        ssize_t got = pread(from, room, want, begin);
        if (got <= 0 || pwrite(to, room, (size_t)got, begin) != got)
            return false;
        begin += got;
    }
    return true;
}

int mounts_copy(const char *from, const char *to)
{
    struct stat st;
    unlink(to); /* a loop device may still hold the old one */
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool good = in >= 0 && out >= 0 && fstat(in, &st) == 0 && ftruncate(out, st.st_size) == 0;
    off_t end = 0, begin;
    while (good && (begin = lseek(in, end, SEEK_DATA)) >= 0) {
        end = lseek(in, begin, SEEK_HOLE);
        good = end > begin && copy_range(in, out, begin, end);
    }
    good = good && errno == ENXIO; /* no more data */
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return good ? 0 : -1;
}
