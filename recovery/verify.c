/* verify.c - is everything in a store as it must be?
 *
 * Happy path: pin the newest moment of the store, so that a living engine overwrites
 * none of its pages; walk every tree of the data file page by page, checking each row by
 * itself; then, if the trees hold together, look at what must hold between rows. Each
 * finding is told as it is met.
 * Fails for want of memory, or when the files can't be read. One thread; a damaged file
 * can end the process inside LMDB, so a tool does this in a child. */
#include "recovery/verify.h"
#include "recovery/control_client.h"

#include "storage/error.h"
#include "storage/marker.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>

void hf_checkup_found(hf_checkup *c, const hf_finding *f, const char *format, ...)
{
    char text[512];
    va_list args;
    c->findings++;
    if (c->err)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hf_out_clear(&c->row);
    hf_out_map(&c->row, NULL);
    hf_out_words(&c->row, "finding", f->name);
    hf_out_words(&c->row, "table", f->table ? f->table : "");
    if (f->page)
        hf_out_uint(&c->row, "page", f->page);
    if (f->id)
        hf_out_uint(&c->row, "id", f->id);
    if (f->key.len)
        hf_out_bin(&c->row, "key", f->key);
    hf_out_words(&c->row, "detail", text);
    hf_out_end(&c->row);
    c->err = c->row.err ? c->row.err : c->each(c->user, hf_out_bytes(&c->row));
}

static void check_marker(hf_checkup *c)
{
    hf_marker marker;
    int err = hf_marker_read(c->path, &marker);
    hf_finding f = { .name = "marker damaged" };
    if (err == HF_ENOTFOUND)
        hf_checkup_found(c, &f, "%s/%s is missing", c->path, HF_MARKER_FILE);
    else if (err == HF_EIO) /* no descriptor, no right: that says nothing about the store */
        c->err = err;
    else if (err)
        hf_checkup_found(c, &f, "%s", hf_error_detail());
}

/* The closing row: what was looked at. */
static int tell_sum(hf_checkup *c)
{
    hf_out_clear(&c->row);
    hf_out_map(&c->row, NULL);
    hf_out_uint(&c->row, "rows", c->rows);
    hf_out_uint(&c->row, "pages", c->pages_met);
    hf_out_uint(&c->row, "found", c->findings);
    hf_out_end(&c->row);
    return c->row.err ? c->row.err : c->each(c->user, hf_out_bytes(&c->row));
}

static void check(hf_checkup *c, hf_disk *disk)
{
    check_marker(c);
    if (!c->err)
        hf_checkup_pages(c);
    if (disk && !c->torn && !c->err)
        hf_checkup_between(c, disk);
    if (!c->err)
        c->err = tell_sum(c);
}

int hf_verify(const char *path, hf_row_fn each, void *user)
{
    char file[PATH_MAX];
    hf_checkup c = { .path = path, .each = each, .user = user };
    hf_disk *disk = NULL;
    hf_txn *pin = NULL;
    uint64_t pid;
    if (!path || !each)
        return hf_error(HF_EINVAL, "hf_verify");
    if (snprintf(file, sizeof file, "%s/data.mdb", path) >= (int)sizeof file)
        return hf_error(HF_EINVAL, "%.60s… is too long", path);
    /* What can't be opened is read all the same, unless somebody can be writing it: without a
     * snapshot that would look like damage. */
    int err = hf_disk_open(&disk, path, &(hf_disk_options){ .flags = HF_LOOK });
    if (err == HF_ENOTFOUND || err == HF_ENOMEM || err == HF_EVERSION
        || (err && err != HF_ECORRUPT && hf_control_locked(path, &pid)))
        return err;
    if (!err)
        err = hf_txn_read(disk, &pin);
    if (!err && hf_meta_get(pin, "seed", 0, &c.seed))
        c.seed = 0; /* its row is damaged: that will be found */
    if (err == HF_ECORRUPT)
        hf_checkup_found(&c, &(hf_finding){ .name = "file damaged" }, "%s", hf_error_detail());
    int opened = hf_pages_open(&c.pages, file);
    if (!opened)
        check(&c, err ? NULL : disk);
    else if (opened == HF_ECORRUPT)
        hf_checkup_found(&c, &(hf_finding){ .name = "root damaged" }, "%s", hf_error_detail());
    else
        c.err = opened;
    hf_pages_close(c.pages);
    hf_txn_abort(pin);
    hf_disk_close(disk);
    hf_out_done(&c.row);
    if (c.err)
        return c.err;
    return c.findings ? hf_error(HF_ECORRUPT, "%llu findings in %s",
                                 (unsigned long long)c.findings, path)
                      : HF_OK;
}
