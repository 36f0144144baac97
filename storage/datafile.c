/* datafile.c - is data.mdb whole?
 *
 * LMDB keeps two meta pages and takes the one of the higher transaction. It says
 * how many pages there are; the file must hold them all, but for pages at its end
 * that are on the free list and were never written. Normally the file is long
 * enough and two reads settle it. If it is short, the free list itself is walked
 * with bounds checked, and each missing page must be on it.
 *
 * Beside a living engine the meta pages may change while they are read: what looks
 * damaged is read again.
 *
 * Numbers in an LMDB file have the byte order and size of the machine. Any thread;
 * no state. Nothing here maps the file. */
#include "storage/datafile.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE_HEAD     16 /* bytes before the contents of a page */
#define PAGE_FLAGS    10 /* offsets in the head */
#define PAGE_LOWER    12
#define META_SIZE     136
#define META_MAGIC    0xBEEFC0DEu
#define META_VERSION  1u
#define FREE_DB       24 /* offsets in a meta page behind the head */
#define DB_ROOT       40 /* offset in a database record */
#define META_LAST     120
#define META_TXN      128
#define FLAG_BRANCH   0x01u
#define FLAG_LEAF     0x02u
#define FLAG_META     0x08u
#define NODE_HEAD     8
#define NODE_BIG      0x01u
#define NO_PAGE       UINT64_MAX
#define DEPTH_MAX     32
#define TRIES         20

typedef struct view {
    const char *path;
    int         fd;
    uint32_t    page_size;
    uint64_t    there;   /* whole pages in the file */
    uint64_t    last;    /* last page by the meta page */
    uint64_t    root;    /* of the free list */
    uint64_t    map_size;
    uint64_t    free_beyond; /* pages on the free list that the file lacks */
} view;

static uint16_t native16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return v;
}
static uint32_t native32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return v;
}
static uint64_t native64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

static int damaged(const view *v, const char *what)
{
    return hf_error(HF_ECORRUPT, "%s is damaged: %s; see holdfast salvage", v->path, what);
}

static int truncated(const view *v)
{
    return hf_error(HF_ECORRUPT,
                    "%s is truncated: it has %" PRIu64 " of %" PRIu64
                    " pages; see holdfast salvage",
                    v->path, v->there, v->last + 1);
}

/* ---- The meta pages */

/* One of them at `offset`; it replaces what the other said if it is newer. */
static int meta_read(view *v, off_t offset, uint64_t *newest)
{
    uint8_t page[PAGE_HEAD + META_SIZE], *meta = page + PAGE_HEAD;

    ssize_t got = pread(v->fd, page, sizeof page, offset);
    if (got < 0)
        return hf_error(HF_EIO, "cannot read %s: %s", v->path, strerror(errno));
    if ((size_t)got < sizeof page)
        return damaged(v, "it is truncated within its first two pages");
    if (!(native16(page + PAGE_FLAGS) & FLAG_META) || native32(meta) != META_MAGIC)
        return damaged(v, offset ? "meta page 1 is not one" : "meta page 0 is not one");
    if (native32(meta + 4) != META_VERSION)
        return hf_error(HF_EVERSION, "%s has LMDB data version %" PRIu32 ", this library knows %u",
                        v->path, native32(meta + 4), META_VERSION);

    uint32_t size = native32(meta + FREE_DB);
    if (size < 512 || size > 65536 || (size & (size - 1)) || (offset && size != v->page_size))
        return damaged(v, "its page size makes no sense");
    v->page_size = size;
    uint64_t txn = native64(meta + META_TXN);
    if (offset && txn <= *newest)
        return HF_OK;
    *newest = txn;
    v->map_size = native64(meta + 16);
    v->root = native64(meta + FREE_DB + DB_ROOT);
    v->last = native64(meta + META_LAST);
    if (v->last < 1 || v->last >= (UINT64_C(1) << 48))
        return damaged(v, "its number of pages makes no sense");
    return HF_OK;
}

static int metas_read(view *v)
{
    uint64_t newest = 0;
    struct stat st;

    int err = meta_read(v, 0, &newest);
    if (!err)
        err = meta_read(v, (off_t)v->page_size, &newest);
    if (err)
        return err;
    if (fstat(v->fd, &st))
        return hf_error(HF_EIO, "cannot stat %s: %s", v->path, strerror(errno));
    v->there = (uint64_t)st.st_size / v->page_size;
    return HF_OK;
}

/* ---- The free list, when the file is short */

static int page_read(const view *v, uint64_t number, uint8_t *page)
{
    if (number < 2 || number >= v->there)
        return truncated(v);
    ssize_t got = pread(v->fd, page, v->page_size, (off_t)(number * v->page_size));
    if (got < 0)
        return hf_error(HF_EIO, "cannot read %s: %s", v->path, strerror(errno));
    return (size_t)got == v->page_size ? HF_OK : truncated(v);
}

/* Count the pages of one free list that lie beyond the file: a number of pages,
 * then the pages, at `offset` in the file. */
static int list_count(view *v, uint64_t offset, uint64_t bytes)
{
    uint8_t chunk[4096];
    uint64_t end = offset + bytes;

    if (bytes < 8 || bytes % 8 || end > v->there * v->page_size)
        return truncated(v);
    for (uint64_t at = offset + 8; at < end;) {
        size_t want = end - at < sizeof chunk ? (size_t)(end - at) : sizeof chunk;
        ssize_t got = pread(v->fd, chunk, want, (off_t)at);
        if (got < 0)
            return hf_error(HF_EIO, "cannot read %s: %s", v->path, strerror(errno));
        if ((size_t)got != want)
            return truncated(v);
        for (size_t i = 0; i < want; i += 8) {
            uint64_t page = native64(chunk + i);
            v->free_beyond += page >= v->there && page <= v->last;
        }
        at += want;
    }
    return HF_OK;
}

/* One node of a leaf: key = transaction, value = list of pages. The list has the
 * room it once needed; its first number says how much of it counts. */
static int node_count(view *v, uint64_t number, const uint8_t *page, uint32_t at)
{
    uint32_t size = native16(page + at) | (uint32_t)native16(page + at + 2) << 16;
    uint32_t data = at + NODE_HEAD + native16(page + at + 6);
    uint64_t offset = number * v->page_size + data;
    uint8_t word[8];

    if (data + 8 > v->page_size)
        return damaged(v, "a node of the free list leaves its page");
    if (native16(page + at + 4) & NODE_BIG)
        offset = native64(page + data) * v->page_size + PAGE_HEAD;
    if (offset / v->page_size >= v->there || pread(v->fd, word, 8, (off_t)offset) != 8)
        return truncated(v);
    uint64_t pages = native64(word);
    if (pages > size / 8 - 1 || size < 8)
        return damaged(v, "a free list is longer than its record");
    return list_count(v, offset, 8 + 8 * pages);
}

static int tree_count(view *v, uint64_t number, int depth)
{
    uint8_t *page = hf_mem_alloc(v->page_size);
    if (!page)
        return hf_error(HF_ENOMEM, "a page of %s", v->path);
    int err = depth < DEPTH_MAX ? page_read(v, number, page)
                                : damaged(v, "the free list is too deep");
    if (err)
        goto out;

    uint16_t flags = native16(page + PAGE_FLAGS), lower = native16(page + PAGE_LOWER);
    if (!(flags & (FLAG_BRANCH | FLAG_LEAF)) || lower < PAGE_HEAD || lower > v->page_size) {
        err = damaged(v, "a page of the free list is not one");
        goto out;
    }
    for (uint32_t i = PAGE_HEAD; !err && i + 2 <= lower; i += 2) {
        uint32_t at = native16(page + i);
        if (at + NODE_HEAD > v->page_size)
            err = damaged(v, "a node of the free list leaves its page");
        else if (flags & FLAG_LEAF)
            err = node_count(v, number, page, at);
        else
            err = tree_count(v,
                             native16(page + at) | (uint64_t)native16(page + at + 2) << 16
                                 | (uint64_t)native16(page + at + 4) << 32,
                             depth + 1);
    }
out:
    hf_mem_free(page);
    return err;
}

static int short_check(view *v)
{
    v->free_beyond = 0;
    if (v->there < 2 || v->root == NO_PAGE)
        return truncated(v);
    int err = tree_count(v, v->root, 0);
    if (err)
        return err;
    return v->free_beyond == v->last + 1 - v->there ? HF_OK : truncated(v);
}

int hf_datafile_check(const char *directory, hf_datafile *file)
{
    char path[PATH_MAX + 32];
    struct timespec pause = { 0, 1000000 };
    view v = { .path = path };
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/" HF_DATA_FILE, directory);
    v.fd = open(path, O_RDONLY | O_CLOEXEC);
    if (v.fd < 0 && errno != ENOENT)
        return hf_error(HF_EIO, "cannot open %s: %s", path, strerror(errno));
    if (v.fd < 0 || (fstat(v.fd, &st) == 0 && st.st_size == 0)) {
        if (v.fd >= 0)
            (void)close(v.fd);
        return hf_error(HF_ECORRUPT,
                        "%s is %s: what the store held is lost, and it is never re-created; "
                        "restore a backup or see holdfast salvage",
                        path, v.fd < 0 ? "missing" : "empty");
    }

    int err = HF_ECORRUPT;
    for (int i = 0; i < TRIES && err == HF_ECORRUPT; i++) {
        if (i)
            (void)nanosleep(&pause, NULL);
        err = metas_read(&v);
        if (!err && v.there < v.last + 1)
            err = short_check(&v);
    }
    (void)close(v.fd);
    if (err)
        return err;
    *file = (hf_datafile){ v.page_size, v.last + 1, v.map_size };
    return HF_OK;
}
