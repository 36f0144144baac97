/* tail.c - allocate the data file ahead of its growth.
 *
 * On a full file system an LMDB store cannot even delete: it writes every changed
 * page to a new place. Blocks that fallocate gave to the file beforehand cannot be
 * taken by anyone else, and FALLOC_FL_KEEP_SIZE leaves the size of the file, which
 * LMDB looks at, alone. The range starts where the last one ended, so holes that
 * LMDB leaves for pages it never wrote are filled too.
 *
 * Fails softly: with less than was asked for the caller refuses new work. Where
 * the file system has no fallocate, free space is all there is to go by; where it
 * writes overwritten blocks elsewhere, free space is needed besides.
 *
 * The journal thread; hf_tail_disk_free and _file_max any thread. */
#include "storage/tail.h"

#include "storage/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define CHUNK UINT64_C(4096) /* a page of any file system's */

/* From linux/magic.h, not all of which every libc's headers have. */
#define FS_BTRFS    0x9123683Eu
#define FS_ZFS      0x2FC12FC1u
#define FS_BCACHEFS 0xCA451A4Eu
#define FS_F2FS     0xF2F52010u

void hf_tail_init(hf_tail *tail, int fd)
{
    struct statfs fs;

    *tail = (hf_tail){ .fd = fd };
    if (fstatfs(fd, &fs) == 0) {
        unsigned type = (unsigned)fs.f_type;
        tail->cow = type == FS_BTRFS || type == FS_ZFS || type == FS_BCACHEFS || type == FS_F2FS;
    }
}

uint64_t hf_tail_disk_free(int fd)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs))
        return 0;
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}

uint64_t hf_tail_file_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return UINT64_MAX;
    return limit.rlim_cur;
}

int hf_tail_file(const char *path, uint64_t size)
{
    struct stat st;
    int failed = 0, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0 || fstat(fd, &st))
        failed = errno;
    else
        do
            failed = fallocate(fd, 0, 0, st.st_size ? st.st_size : (off_t)size) ? errno : 0;
        while (failed == EINTR);
    if (fd >= 0)
        (void)close(fd);
    if (!failed || failed == EOPNOTSUPP || failed == ENOSYS)
        return HF_OK;
    return hf_error(failed == ENOSPC || failed == EDQUOT || failed == EFBIG ? HF_EFULL : HF_EIO,
                    "cannot allocate %s: %s", path, strerror(failed));
}

/* Allocate up to `end`, unless there is plainly no room: a file system may try for
 * long before it says so. */
static bool allocate(hf_tail *tail, uint64_t end, uint64_t left)
{
    uint64_t from = atomic_load_explicit(&tail->end, memory_order_relaxed);
    if (tail->cannot || left < end - from)
        return false;
    while (fallocate(tail->fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(end - from))) {
        if (errno == EINTR)
            continue;
        tail->cannot = errno == EOPNOTSUPP || errno == ENOSYS;
        return false;
    }
    atomic_store_explicit(&tail->end, end, memory_order_relaxed);
    return true;
}

uint64_t hf_tail_reach(hf_tail *tail, uint64_t least, uint64_t good, uint64_t most)
{
    uint64_t limit = hf_tail_file_max();
    if (most > limit)
        most = limit;
    if (least > most)
        least = most;
    if (good > most)
        good = most;

    uint64_t end = atomic_load_explicit(&tail->end, memory_order_relaxed);
    if (end >= least || tail->cannot)
        return end;
    /* What lies inside the file has its blocks already, but for its holes. */
    uint64_t left = end ? hf_tail_disk_free(tail->fd) : UINT64_MAX;
    if (allocate(tail, good, left) || (good > least && allocate(tail, least, left)))
        return atomic_load_explicit(&tail->end, memory_order_relaxed);

    /* Not all of it is to be had: take halves, to the last page. LMDB does not write all
     * pages that it takes; where it grows into space that is not allocated that leaves
     * holes, which on a full disk can't be filled later. */
    for (uint64_t step = (least - end) / 2; step >= CHUNK; step /= 2) {
        end = atomic_load_explicit(&tail->end, memory_order_relaxed);
        left = hf_tail_disk_free(tail->fd);
        if (end + step <= least)
            (void)allocate(tail, (end + step + CHUNK - 1) & ~(uint64_t)(CHUNK - 1), left);
    }
    return atomic_load_explicit(&tail->end, memory_order_relaxed);
}
