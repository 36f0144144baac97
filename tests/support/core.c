/* core.c - the storage core as a test drives it. */
#include "tests/support/core.h"

#include "recovery/replay.h"
#include "storage/error.h"
#include "storage/marker.h"

#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void core_ok(int err, const char *call, const char *file, int line)
{
    if (err)
        core_fail("%s:%d: %s answers %d: %s", file, line, call, err, hf_error_detail());
}

void core_fail(const char *format, ...)
{
    va_list args;
    (void)fflush(stdout);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    exit(1);
}

void core_open(core *c, const char *path, const hf_disk_options *disk, const hf_log_options *log)
{
    static const hf_disk_options small = { .store_max = 64u << 20, .reserve = 16u << 20 };
    CORE_OK(hf_disk_open(&c->disk, path, disk ? disk : &small));
    CORE_OK(hf_log_open(&c->log, c->disk, log));
    CORE_OK(hf_replay(c->log));
    CORE_OK(hf_log_start(c->log));
}

void core_close(core *c, bool clean)
{
    CORE_OK(hf_log_close(c->log, clean));
    hf_disk_close(c->disk);
    *c = (core){ 0 };
}

hf_entry core_entry(const hf_log *log, uint8_t op, const char *to)
{
    size_t len = strlen(to);
    hf_entry e = { .op = op, .to = to, .to_len = (uint8_t)len, .name = "", .error = "",
                   .from = "" };
    if (len)
        e.hash = hf_address_hash(hf_log_seed(log), to, len);
    return e;
}

uint64_t core_put(core *c, uint32_t shard, const hf_entry *entry)
{
    hf_group group = { 0 };
    hf_segment segment = { .shard = shard };
    CORE_OK(hf_segment_add(&segment, entry));
    CORE_OK(hf_group_add(&group, &segment));
    if (entry->op == HF_OP_ACK || entry->op == HF_OP_DEAD)
        CORE_OK(hf_group_named(&group, entry->id));
    CORE_OK(hf_log_append(c->log, &group));
    uint64_t position = segment.base;
    hf_group_free(&group);
    hf_segment_done(&segment);
    return position;
}

uint64_t core_send(core *c, const char *to, const char *kind, hf_bytes body)
{
    hf_entry e = core_entry(c->log, HF_OP_SEND, to);
    e.name = kind;
    e.name_len = (uint8_t)strlen(kind);
    e.data = body;
    return core_put(c, 0, &e);
}

void core_done(core *c, uint64_t first, uint32_t count)
{
    hf_group group = { 0 };
    CORE_OK(hf_group_done(&group, first, count));
    CORE_OK(hf_log_append(c->log, &group));
    hf_group_free(&group);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void core_remove(const char *directory)
{
    (void)nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void core_mark_seed(const char *store, uint64_t seed)
{
    hf_marker marker;
    char file[PATH_MAX];
    CORE_OK(hf_marker_read(store, &marker));
    if (!marker.seed || marker.seed == seed)
        core_fail("the marker of %s says no other seed", store);
    marker.seed = seed;
    (void)snprintf(file, sizeof file, "%s/" HF_MARKER_FILE, store);
    if (unlink(file))
        core_fail("cannot remove %s", file);
    CORE_OK(hf_marker_write(store, &marker));
}

const char *core_directory(const char *name, bool fast)
{
    static char path[PATH_MAX];
    char here[PATH_MAX / 2];
    if (fast && access("/dev/shm", W_OK) == 0)
        (void)snprintf(here, sizeof here, "/dev/shm");
    else if (!getcwd(here, sizeof here))
        core_fail("there is no working directory");
    (void)snprintf(path, sizeof path, "%s/holdfast-%s-%ld", here, name, (long)getpid());
    core_remove(path);
    if (mkdir(path, 0700))
        core_fail("cannot make %s", path);
    return path;
}

uint64_t core_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

int core_fails_at(void *left, size_t size)
{
    int *count = left;
    (void)size;
    return (*count)-- == 0;
}
