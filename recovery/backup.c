/* backup.c - one moment of a store, living or not, into a file.
 *
 * Happy path: one snapshot; every row, checked, into FILE.part; that is synced, read back
 * and compared with its own checksum, renamed and its directory synced. So a backup has
 * its name only when it is whole. The engine goes on meanwhile; pages that it frees are
 * not used again until the snapshot ends.
 * Whatever fails leaves no file, and one that was there before as it was. One thread. */
#include "recovery/copying.h"
#include "recovery/packet.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/marker.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what, const char *file)
{
    return hf_error(errno == ENOSPC || errno == EDQUOT ? HF_EFULL : HF_EIO, "cannot %s %s: %s",
                    what, file, strerror(errno));
}

static int pack_row(void *user, hf_table table, hf_bytes key, hf_bytes value)
{
    return hf_packer_row(user, table, key, value);
}

static int write_stream(hf_copying *c, hf_disk *disk, int fd)
{
    hf_packet_about about = { .format = HF_FORMAT, .time_ms = hf_clock_wall_ms(),
                              .bytes = hf_copying_file_bytes(hf_disk_path(disk)) };
    hf_packer *packer = NULL;
    hf_txn *txn;
    c->total = about.bytes;
    memcpy(about.uuid, hf_disk_uuid(disk), sizeof about.uuid);
    int err = hf_txn_read(disk, &txn);
    if (err)
        return err;
    err = hf_packer_open(&packer, fd, &about);
    if (!err)
        err = hf_copying_all(c, txn, pack_row, packer);
    hf_txn_abort(txn);
    if (!err)
        err = hf_packer_end(packer);
    hf_packer_close(packer);
    return err;
}

/* Read it all back: the same rows, and the sum is right. */
static int check_stream(const hf_copying *c, int fd)
{
    hf_packet_about about;
    hf_unpacker *u;
    hf_table table;
    hf_bytes key, value;
    uint64_t rows[HF_TABLES] = { 0 };
    if (lseek(fd, 0, SEEK_SET))
        return hf_error(HF_EIO, "reading a backup back: %s", strerror(errno));
    int err = hf_unpacker_open(&u, fd, NULL, NULL, &about);
    while (!err) {
        err = hf_unpacker_row(u, &table, &key, &value);
        if (!err)
            rows[table]++;
    }
    hf_unpacker_close(u);
    if (err == HF_ENOTFOUND && memcmp(rows, c->rows, sizeof rows) == 0)
        return HF_OK;
    return err == HF_ENOTFOUND ? hf_error(HF_EIO, "a backup read back has other rows") : err;
}

/* What is there already gives way only if it is a backup. */
static int check_place(const char *file)
{
    char magic[8] = "";
    struct stat st;
    if (stat(file, &st))
        return errno == ENOENT ? HF_OK : failed("use", file);
    int fd = S_ISREG(st.st_mode) ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    bool ours = fd >= 0 && (st.st_size == 0 || (read(fd, magic, 8) == 8
                                               && memcmp(magic, HF_PACKET_MAGIC, 8) == 0));
    if (fd >= 0)
        (void)close(fd);
    return ours ? HF_OK : hf_error(HF_EINVAL, "%s is there and is no backup: choose another name",
                                   file);
}

static int sync_parent(const char *file)
{
    char copy[PATH_MAX];
    (void)snprintf(copy, sizeof copy, "%s", file);
    char *slash = strrchr(copy, '/');
    if (slash)
        slash[slash == copy] = '\0';
    int fd = open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int err = fd < 0 || fsync(fd) ? failed("sync the directory of", file) : HF_OK;
    if (fd >= 0)
        (void)close(fd);
    return err;
}

static bool has_name(int fd, const char *part)
{
    struct stat held, there;
    return !fstat(fd, &held) && !stat(part, &there) && held.st_ino == there.st_ino
           && held.st_dev == there.st_dev;
}

/* For one backup at a time. What another one renamed between our open and our lock is no
 * part any more but a backup that is whole: that must not be written. */
static int open_part(const char *part, int *fd)
{
    for (;;) {
        *fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (*fd < 0)
            return failed("make", part);
        int err = HF_OK;
        if (flock(*fd, LOCK_EX | LOCK_NB))
            err = errno == EWOULDBLOCK ? hf_error(HF_EBUSY, "another backup writes %s", part)
                                       : failed("lock", part);
        if (!err && has_name(*fd, part))
            return HF_OK;
        (void)close(*fd);
        if (err)
            return err;
    }
}

static int write_file(hf_copying *c, hf_disk *disk, const char *file)
{
    char part[PATH_MAX];
    int fd, err = check_place(file);
    if (err)
        return err;
    if (snprintf(part, sizeof part, "%s.part", file) >= (int)sizeof part)
        return hf_error(HF_EINVAL, "%.60s… is too long", file);
    err = open_part(part, &fd);
    if (err)
        return err;
    err = ftruncate(fd, 0) ? failed("empty", part) : write_stream(c, disk, fd);
    if (!err && fsync(fd))
        err = failed("sync", part);
    if (!err)
        err = check_stream(c, fd);
    if (!err && rename(part, file))
        err = failed("rename", part);
    if (err)
        (void)unlink(part);
    else
        err = sync_parent(file);
    (void)close(fd);
    return err;
}

int hf_backup(const char *path, const char *file, hf_row_fn each, void *user)
{
    hf_copying c = { .each = each, .user = user };
    hf_disk *disk;
    struct stat st;
    hf_error_clear();
    if (!path || !file || !*file)
        return hf_error(HF_EINVAL, "hf_backup");
    int err = hf_disk_open(&disk, path, &(hf_disk_options){ .flags = HF_LOOK });
    if (err)
        return err;
    bool to_stdout = strcmp(file, "-") == 0;
    err = to_stdout ? write_stream(&c, disk, STDOUT_FILENO) : write_file(&c, disk, file);
    hf_disk_close(disk);
    if (!err) {
        hf_copying_sum(&c);
        if (!to_stdout && !stat(file, &st))
            hf_out_uint(&c.row, "size", (uint64_t)st.st_size);
        err = hf_copying_tell_sum(&c);
    }
    hf_out_done(&c.row);
    return err;
}
