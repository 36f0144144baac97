/* salvage.c - what is sound of a damaged store into a new one, and a report of the rest.
 *
 * Happy path: keep engines away, without writing a byte there; read the data file page by
 * page, never through LMDB; what is sound goes into a nest, which is mended and becomes the
 * new store. Each finding is told as it is met, at last what is missing.
 * Whatever fails leaves nothing at the new place, and the old one as it is. One thread. */
#include "recovery/salvage.h"

#include "storage/datafile.h"
#include "storage/error.h"
#include "storage/marker.h"
#include "storage/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Beside others that only look, but not beside an engine, nor may one come meanwhile. */
static int keep_away(const char *path, int *fd)
{
    char file[PATH_MAX + 32], text[32] = "";
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    (void)snprintf(file, sizeof file, "%s/holdfast.lock", path);
    *fd = open(file, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) /* then nobody has it */
        return errno == ENOENT ? HF_OK : hf_error(HF_EIO, "%s: %s", file, strerror(errno));
    if (!fcntl(*fd, F_OFD_SETLK, &lock))
        return HF_OK;
    int failed = errno;
    if (failed != EAGAIN && failed != EACCES)
        return hf_error(HF_EIO, "%s: %s", file, strerror(failed));
    (void)pread(*fd, text, sizeof text - 1, 0);
    return hf_error(HF_EBUSY, "store %s is open in process %ld", path, strtol(text, NULL, 10));
}

/* ---- Telling */

static int tell_finding(void *user, hf_bytes row)
{
    hf_salvaging *s = user;
    return s->copying.each ? s->copying.each(s->copying.user, row) : HF_OK;
}

static int tell_holds(hf_salvaging *s)
{
    for (size_t i = 0; !s->checkup.err && i < s->hold_count; i++) {
        const hf_hold *hold = &s->holds[i];
        hf_finding f = { .name = "paused" };
        hf_checkup_found(&s->checkup, &f, "%s: %s",
                         strcmp(hold->what, "*") == 0 ? "everything" : hold->what, hold->why);
    }
    return s->checkup.err;
}

/* A number is told whole or not at all: what LMDB counted may itself be damaged. */
static uint64_t lost_rows(const hf_salvaging *s, hf_table table)
{
    uint64_t have = s->reached[table] + s->restored[table];
    if (s->wanted[table] == UINT64_MAX)
        return 1;
    return s->wanted[table] > have ? s->wanted[table] - have : 0;
}

static int tell_lost(hf_salvaging *s)
{
    for (int t = 0; t < HF_TABLES && !s->checkup.err; t++) {
        uint64_t rows = t == HF_IN_ALARMS ? 0 : lost_rows(s, (hf_table)t);
        hf_finding f = { .name = "rows lost", .table = hf_table_name((hf_table)t) };
        s->lost += rows;
        if (rows && s->wanted[t] == UINT64_MAX)
            hf_checkup_found(&s->checkup, &f, "nobody can say how many");
        else if (rows)
            hf_checkup_found(&s->checkup, &f, "%llu of %llu", (unsigned long long)rows,
                             (unsigned long long)s->wanted[t]);
    }
    return s->checkup.err;
}

/* ---- All of it */

static int salvage_source(void *user, hf_rebuild *rebuild)
{
    hf_salvaging *s = user;
    s->rebuild = rebuild;
    int err = hf_salvage_read(s);
    if (!err)
        err = hf_salvage_strays(s);
    if (!err)
        err = hf_salvage_choose_records(s);
    if (!err)
        err = hf_salvage_hold_gaps(s);
    return err;
}

static int tell_all(void *user, hf_disk *disk)
{
    hf_salvaging *s = user;
    int err = hf_salvage_mend(s, disk);
    if (!err)
        err = tell_holds(s);
    return err ? err : tell_lost(s);
}

static int read_marker(hf_salvaging *s, const char *path, uint8_t uuid[16])
{
    hf_marker marker;
    hf_bytes payload;
    hf_finding f = { .name = "marker damaged" };
    int err = hf_marker_read(path, &marker);
    if (err == HF_EVERSION)
        return err;
    if (err) {
        hf_checkup_found(&s->checkup, &f, "%s",
                         err == HF_ENOTFOUND ? "it is missing" : hf_error_detail());
    } else {
        memcpy(uuid, marker.uuid, 16);
        s->seed = marker.seed;
    }
    if (s->checkup.err)
        return s->checkup.err;
    err = err ? HF_ENOTFOUND : HF_OK;
    int begun = hf_salvage_begin(s);
    if (begun)
        return begun;
    if (!hf_salvage_meta_get(s, "uuid", &payload) && payload.len == 16) {
        if (!err && memcmp(payload.data, uuid, 16) != 0)
            hf_checkup_found(&s->checkup, &f, "it is another store's");
        memcpy(uuid, payload.data, 16);
    } else if (err) {
        f.name = "uuid lost";
        hf_checkup_found(&s->checkup, &f, "messages get other idempotency keys than they had");
    }
    return s->checkup.err;
}

static int salvage_file(hf_salvaging *s, const char *path, const char *to)
{
    char file[PATH_MAX + 32];
    hf_rebuild_plan plan = { .to = to, .renew = true, .source = salvage_source,
                             .finish = tell_all, .user = s };
    (void)snprintf(file, sizeof file, "%s/" HF_DATA_FILE, path);
    int err = hf_pages_open(&s->pages, file);
    if (err == HF_ECORRUPT)
        err = hf_pages_open_rootless(&s->pages, file);
    if (err)
        return err;
    s->checkup.pages = s->pages;
    s->copying.total = plan.bytes = hf_copying_file_bytes(path);
    err = read_marker(s, path, plan.uuid);
    return err ? err : hf_rebuild_store(&plan);
}

static int tell_end(hf_salvaging *s, const char *to)
{
    hf_copying_sum(&s->copying);
    hf_out *row = &s->copying.row;
    hf_out_uint(row, "found", s->checkup.findings);
    hf_out_uint(row, "lost", s->lost);
    hf_out_uint(row, "doubtful", s->doubtful);
    hf_out_uint(row, "uncertain", s->uncertain);
    hf_out_uint(row, "paused", s->hold_count);
    hf_out_uint(row, "size", hf_copying_file_bytes(to));
    return hf_copying_tell_sum(&s->copying);
}

static void let_go(hf_salvaging *s)
{
    hf_pages_close(s->pages);
    for (size_t i = 0; i < s->meta_count; i++)
        hf_mem_free((void *)(uintptr_t)s->meta[i].data);
    hf_mem_free(s->gaps.all);
    hf_mem_free(s->records.all);
    hf_mem_free(s->dropped.all);
    hf_mem_free(s->ends.all);
    hf_mem_free(s->letters.all);
    hf_mem_free(s->delayed.all);
    hf_mem_free(s->dead.all);
    hf_mem_free(s->holds);
    hf_out_done(&s->checkup.row);
    hf_out_done(&s->quiet.row);
    hf_out_done(&s->copying.row);
    hf_mem_free(s);
}

int hf_salvage(const char *path, const char *to, hf_row_fn each, void *user)
{
    int fd;
    hf_error_clear();
    if (!path || !*path || strlen(path) > PATH_MAX - 64 || !to || !*to)
        return hf_error(HF_EINVAL, "hf_salvage");
    hf_salvaging *s = hf_mem_zero(1, sizeof *s);
    if (!s)
        return hf_error(HF_ENOMEM, "%s", path);
    s->copying.each = each;
    s->copying.user = user;
    s->checkup = (hf_checkup){ .path = path, .each = tell_finding, .user = s };
    s->quiet = (hf_checkup){ .path = path, .each = tell_finding, .user = s };
    int err = keep_away(path, &fd);
    if (!err)
        err = salvage_file(s, path, to);
    if (fd >= 0)
        (void)close(fd);
    if (!err)
        err = tell_end(s, to);
    let_go(s);
    return err;
}
