/* disk.c - open a store, make one, close it.
 *
 * Happy path: hf_disk_open finds the place, takes the lock, looks at marker and
 * data file with plain reads, has store.c map the file and open the tables, and
 * compares the first rows with the marker. A new store is made in a nest (place.c)
 * and then opened like any other, its lock held from before it got its name.
 *
 * An engine and those who look at its store in the same process share one LMDB
 * environment, counted, found in the registry of lock.c. Whatever fails leaves the
 * place as it was and says why.
 *
 * Any thread; opening and closing happen one at a time, inside the registry. */
#include "storage/datafile.h"
#include "storage/env.h"
#include "storage/error.h"
#include "storage/laststop.h"
#include "storage/memory.h"
#include "storage/place.h"
#include "storage/random.h"
#include "storage/schema.h"
#include "storage/testpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_MAX     (UINT64_C(64) << 30)
#define STORE_MAX_MAX (UINT64_C(1) << 45)
#define RESERVE_MIN   (UINT64_C(16) << 20)

/* A process that was started, or went on, without standard streams would get the data file
 * as one of them, and the next complaint to stderr be written over its first page. What is
 * opened for them here refuses reading and writing, as if they were closed. */
static void keep_standard_streams(void)
{
    int fd;
    do
        fd = open("/", O_PATH | O_DIRECTORY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        (void)close(fd);
}

static hf_env *env_make(const char *path, bool writable)
{
    hf_env *e = hf_mem_zero(1, sizeof *e);
    if (!e)
        return NULL;
    (void)snprintf(e->path, sizeof e->path, "%s", path);
    e->claim.lock_fd = -1;
    e->watch = -1;
    e->writable = writable;
    e->forks = atomic_load(&hf_fork_count);
    return e;
}

static uint64_t map_size(hf_env *e, const hf_disk_options *options, const hf_datafile *file)
{
    uint64_t used = file ? file->pages * file->page_size : 0;
    uint64_t size = options->store_max + options->reserve;
    e->given = size;
    if (used > size) /* store_max has been lowered */
        size = used;
    if (options->flags & HF_LOOK && file && file->map_size > size)
        size = file->map_size; /* it may have grown further before we look again */
    uint64_t page = file ? file->page_size : (uint64_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

static int watch_open(hf_env *e, const char *directory)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof path, "%s/" HF_DATA_FILE, directory);
    e->watch = open(path, O_RDONLY | O_CLOEXEC);
    if (e->watch < 0)
        return hf_error(HF_EIO, "cannot open %s: %s", path, strerror(errno));
    hf_tail_init(&e->tail, hf_env_fd(e));
    return HF_OK;
}

/* Its blocks are all there, as whoever writes sees to. */
static bool is_whole(const char *table)
{
    struct stat st;
    return !stat(table, &st) && st.st_size && st.st_blocks * 512 >= st.st_size;
}

/* LMDB leaves its table of readers full of holes; touching one on a full disk is a SIGBUS.
 * Must come before LMDB has the file: closing one drops this process's locks on it. Who looks
 * finds a store that was copied without it, or with holes: only want of room matters then. */
static int env_map(hf_env *e, const char *directory, const hf_disk_options *options)
{
    char table[PATH_MAX + 32];
    (void)snprintf(table, sizeof table, "%s/lock.mdb", directory);
    int err = e->writable || !is_whole(table) ? hf_tail_file(table, HF_ENV_LOCK_TABLE) : HF_OK;
    return err && (e->writable || err == HF_EFULL) ? err : hf_env_map(e, directory, options);
}

/* A file that nearly fills the map may have few free pages (a tool wrote it, compact did,
 * store_max was lowered, turns saved much while it was full): then what waits in it could
 * not even be ended. It gets the reserve all the same; what is new must do with `given`. */
static int env_widen(hf_env *e, hf_disk *disk, const hf_disk_options *options)
{
    uint64_t spare, file = hf_env_file_bytes(e, NULL), page = e->page_size;
    if (e->map_bytes - file >= options->reserve)
        return HF_OK;
    int err = hf_env_spare(disk, &spare);
    if (err || spare + e->map_bytes - file >= options->reserve)
        return err;
    e->map_bytes = file + (options->reserve - spare + page - 1) / page * page;
    return hf_env_remap(e, options);
}

static int env_open(hf_env *e, const hf_disk_options *options)
{
    hf_datafile file;
    hf_disk disk = { e, !e->writable };
    hf_txn *txn;

    int err = hf_datafile_check(e->path, &file);
    if (err)
        return err;
    e->map_bytes = map_size(e, options, &file);
    err = env_map(e, e->path, options);
    if (!err)
        err = hf_env_tables(e, false);
    if (!err)
        err = watch_open(e, e->path);
    if (!err && e->writable)
        (void)hf_env_sweep(e); /* of those who died since */
    if (!err && e->writable)
        err = env_widen(e, &disk, options);
    if (!err)
        err = hf_txn_read(&disk, &txn);
    if (err)
        return err;
    err = hf_schema_check(txn, e->path, &e->marker);
    hf_txn_abort(txn);
    return err;
}

/* ---- Creating a store */

typedef struct disk_filling {
    uint8_t      uuid[16];
    hf_disk_fill fill;
    void        *user;
} disk_filling;

/* Of a store that is new. */
static int fill_empty(void *user, hf_disk *disk)
{
    const disk_filling *f = user;
    hf_txn *txn;
    int err = hf_txn_write(disk, &txn);
    if (err)
        return err;
    err = hf_schema_write(txn, f->uuid);
    if (!err)
        return hf_txn_commit(txn);
    hf_txn_abort(txn);
    return err;
}

static int nest_fill(const hf_nest *nest, const char *path, const hf_disk_options *options,
                     const disk_filling *f)
{
    hf_marker marker = { .format = HF_FORMAT };
    hf_env *e = env_make(path, true);
    hf_disk disk = { e, false };

    if (!e)
        return hf_error(HF_ENOMEM, "cannot open %s", path);
    memcpy(marker.uuid, f->uuid, sizeof marker.uuid);
    e->marker = marker;
    e->map_bytes = map_size(e, options, NULL);
    int err = env_map(e, nest->path, options);
    if (!err)
        err = hf_env_tables(e, true);
    if (!err)
        err = watch_open(e, nest->path);
    if (!err)
        err = f->fill(f->user, &disk);
    if (!err)
        err = hf_schema_seed(&disk, &marker.seed);
    HF_TESTPOINT("store.create.data");
    hf_env_close(e);
    if (!err)
        err = hf_marker_write(nest->path, &marker);
    HF_TESTPOINT("store.create.marker");
    return err;
}

/* On success the store at `path` is ours, and its lock is in `*lock_fd`. */
static int create(const char *path, const hf_disk_options *options, int *lock_fd)
{
    hf_nest nest;
    disk_filling f = { .fill = fill_empty, .user = &f };
    hf_random_bytes(f.uuid, sizeof f.uuid);
    int err = hf_nest_make(&nest, path);
    if (!err)
        err = nest_fill(&nest, path, options, &f);
    if (!err)
        err = hf_nest_publish(&nest, path);
    if (err) {
        hf_nest_discard(&nest);
        /* Nothing was there, so nothing can be in doubt. */
        return err == HF_EUNKNOWN ? HF_EIO : err;
    }
    *lock_fd = nest.lock_fd;
    return HF_OK;
}

static int options_complete(hf_disk_options *options)
{
    if (!options->store_max)
        options->store_max = STORE_MAX;
    if (!options->reserve)
        options->reserve = options->store_max / 8 > RESERVE_MIN ? options->store_max / 8
                                                                : RESERVE_MIN;
    if (options->store_max > STORE_MAX_MAX || options->reserve > STORE_MAX_MAX)
        return hf_error(HF_EINVAL, "store_max %" PRIu64 " is too large", options->store_max);
    return HF_OK;
}

/* Filling takes long: others may open and close stores meanwhile. */
int hf_disk_make(const char *path, const uint8_t uuid[16], const hf_disk_options *given,
                 hf_disk_fill fill, void *user)
{
    hf_disk_options options = given ? *given : (hf_disk_options){ 0 };
    disk_filling f = { .fill = fill, .user = user };
    char real[PATH_MAX];
    hf_place place;
    hf_nest nest = { .lock_fd = -1 };
    bool replace = options.flags & HF_REPLACE;

    memcpy(f.uuid, uuid, sizeof f.uuid);
    options.flags = 0;
    keep_standard_streams();
    hf_registry_enter();
    int err = options_complete(&options);
    if (!err)
        err = hf_place_find(path, real, &place);
    if (!err && (place == HF_PLACE_STORE) != replace)
        err = hf_error(HF_EINVAL, replace ? "no store at %s" : "there is a store at %s", real);
    if (!err && replace)
        err = hf_place_only_ours(real);
    if (!err)
        err = hf_nest_make(&nest, real);
    hf_registry_leave();
    if (!err)
        err = nest_fill(&nest, real, &options, &f);
    hf_registry_enter();
    if (!err)
        err = replace ? hf_nest_replace(&nest, real) : hf_nest_publish(&nest, real);
    hf_nest_discard(&nest); /* what is left of it: its lock, or all */
    hf_registry_leave();
    return err == HF_EUNKNOWN && !replace ? HF_EIO : err;
}

/* ---- Opening and closing a disk */

/* This process has it open already: an engine may be looked at, and may come to
 * those who look, if they look through an environment that can write. */
static int share(hf_env *e, bool look)
{
    int err = hf_env_usable(e);
    if (err == HF_EUNKNOWN)
        return hf_error(HF_EBUSY, "store %s stopped after a failed write and is not closed yet",
                        e->path);
    if (err || look)
        return err;
    if (e->engine)
        return hf_error(HF_EBUSY, "store %s is open in this process", e->path);
    if (!e->writable)
        return hf_error(HF_EBUSY, "store %s is being looked at in this process", e->path);
    err = hf_lock_take(&e->claim.lock_fd, e->path, false);
    e->engine = !err;
    return err;
}

static int open_fresh(hf_env **out, const char *path, const struct stat *st, int lock_fd,
                      const hf_disk_options *options)
{
    bool look = options->flags & HF_LOOK;
    struct stat now;
    hf_env *e = env_make(path, !look);
    if (!e) {
        hf_lock_drop(lock_fd);
        return hf_error(HF_ENOMEM, "cannot open %s", path);
    }
    e->claim.lock_fd = lock_fd;
    e->claim.dev = st->st_dev;
    e->claim.ino = st->st_ino;
    e->engine = !look;
    int err = hf_marker_read(path, &e->marker);
    if (!err && !look && lock_fd < 0)
        err = hf_lock_take(&e->claim.lock_fd, path, false);
    if (!err && !look && !stat(path, &now)) { /* a compaction was done just before our lock? */
        e->claim.dev = now.st_dev;
        e->claim.ino = now.st_ino;
    }
    if (!err)
        err = env_open(e, options);
    if (err) {
        lock_fd = e->claim.lock_fd;
        hf_env_close(e);
        hf_lock_drop(lock_fd);
        return err;
    }
    hf_registry_add(&e->claim);
    *out = e;
    return HF_OK;
}

/* Whoever looks has no lock that keeps a compaction away. Done while the files were opened one
 * by one it leaves the table of readers of one directory and the data of the other: pages that
 * are read then would be used again. */
static int look_fresh(hf_env **e, const char *path, const struct stat *there,
                      const hf_disk_options *options)
{
    struct stat st = *there, now;
    for (;;) {
        int err = open_fresh(e, path, &st, -1, options);
        if (stat(path, &now) || (now.st_dev == st.st_dev && now.st_ino == st.st_ino))
            return err;
        if (!err) {
            hf_registry_remove(&(*e)->claim);
            hf_env_close(*e);
        }
        st = now;
    }
}

/* Inside the registry. */
static int open_at(hf_env **e, const char *path, const hf_disk_options *options)
{
    char real[PATH_MAX];
    hf_place place;
    struct stat st;
    int lock_fd = -1;

    int err = hf_place_find(path, real, &place);
    if (err == HF_EINVAL && place == HF_PLACE_NOTHING && options->flags & HF_LOOK) {
        if (!access(path, F_OK))
            return HF_ENOTFOUND;
        return errno == EACCES ? hf_error(HF_EIO, "cannot look at %s: %s", path, strerror(errno))
                               : hf_error(HF_ENOTFOUND, "no store at %s", path);
    }
    if (err)
        return err;
    if (place != HF_PLACE_STORE) {
        if (options->flags & HF_LOOK)
            return hf_error(HF_ENOTFOUND, "no store at %s", real);
        err = create(real, options, &lock_fd);
        /* Somebody else was faster: theirs is as good. */
        if (err && err != HF_EBUSY)
            return err;
    }
    if (stat(real, &st)) {
        hf_lock_drop(lock_fd);
        return hf_error(HF_EIO, "cannot stat %s: %s", real, strerror(errno));
    }
    *e = (hf_env *)hf_registry_find(st.st_dev, st.st_ino);
    if (*e)
        return share(*e, options->flags & HF_LOOK);
    return options->flags & HF_LOOK ? look_fresh(e, real, &st, options)
                                    : open_fresh(e, real, &st, lock_fd, options);
}

int hf_disk_open(hf_disk **disk, const char *path, const hf_disk_options *given)
{
    hf_disk_options options = given ? *given : (hf_disk_options){ 0 };
    hf_env *e = NULL;

    *disk = NULL;
    int err = options_complete(&options);
    if (err)
        return err;
    hf_disk *made = hf_mem_zero(1, sizeof *made);
    if (!made)
        return hf_error(HF_ENOMEM, "cannot open %s", path ? path : "");
    keep_standard_streams();
    hf_registry_enter();
    err = open_at(&e, path, &options);
    if (!err) {
        *made = (hf_disk){ e, options.flags & HF_LOOK };
        e->disks++;
        *disk = made;
    }
    hf_registry_leave();
    if (err)
        hf_mem_free(made);
    return err;
}

void hf_disk_close(hf_disk *disk)
{
    if (!disk)
        return;
    hf_env *e = disk->env;
    /* A child's copy of LMDB must not be touched, not even to free it. */
    if (e->forks == atomic_load(&hf_fork_count)) {
        hf_registry_enter();
        int lock_fd = disk->look ? -1 : e->claim.lock_fd;
        if (!disk->look) {
            e->claim.lock_fd = -1;
            e->engine = false;
        }
        if (--e->disks == 0) {
            hf_registry_remove(&e->claim);
            hf_env_close(e);
        }
        hf_lock_drop(lock_fd);
        hf_registry_leave();
    }
    hf_mem_free(disk);
}

const char *hf_disk_lmdb(const hf_disk *disk)
{
    return disk->env->lmdb;
}

uint64_t hf_disk_page(const hf_disk *disk)
{
    return disk->env->page_size;
}

void hf_disk_want(hf_bytes data)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data.data / page * page;
    (void)madvise((void *)at, (uintptr_t)data.data + data.len - at, MADV_WILLNEED);
}

const char *hf_disk_path(const hf_disk *disk)
{
    return disk->env->path;
}

const uint8_t *hf_disk_uuid(const hf_disk *disk)
{
    return disk->env->marker.uuid;
}

int hf_disk_forked(const hf_disk *disk)
{
    int err = hf_env_usable(disk->env);
    return err == HF_EFORK ? err : HF_OK;
}

void hf_disk_note_stop(hf_disk *disk, int err, const char *text)
{
    if (!hf_disk_forked(disk))
        hf_laststop_write(disk->env->path, err, text);
}

int hf_disk_last_stop(const hf_disk *disk, char *text, size_t size)
{
    return hf_laststop_read(disk->env->path, text, size);
}

void hf_disk_forget_stop(hf_disk *disk)
{
    hf_laststop_remove(disk->env->path);
}

int hf_disk_sweep(hf_disk *disk)
{
    int err = hf_env_usable(disk->env);
    return err ? err : hf_env_sweep(disk->env);
}

typedef struct reader_walk {
    hf_reader_fn each;
    void        *user;
    uint64_t     newest;
    int          err;
} reader_walk;

/* Lines without three numbers are a title, or readers between two snapshots. */
static int tell_reader(const char *line, void *user)
{
    reader_walk *w = user;
    uint64_t pid, txn;
    if (!w->err && sscanf(line, "%" SCNu64 " %*x %" SCNu64, &pid, &txn) == 2)
        w->err = w->each(w->user, pid, w->newest > txn ? w->newest - txn : 0);
    return 0;
}

int hf_disk_readers(hf_disk *disk, hf_reader_fn each, void *user)
{
    size_t newest;
    int err = hf_env_usable(disk->env);
    if (err)
        return err;
    (void)hf_env_file_bytes(disk->env, &newest);
    reader_walk w = { .each = each, .user = user, .newest = newest };
    err = hf_env_readers(disk->env, tell_reader, &w);
    return err ? err : w.err;
}
