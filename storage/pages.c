/* pages.c - read the data file of a store page by page, without LMDB.
 *
 * Happy path: find the page size and the two roots, look a table up in the tree of
 * tables, walk its tree with a stack of our own, and hand out each row; values larger
 * than a page lie in a run of pages of their own. The format is that of LMDB 0.9 on a
 * little-endian machine with 64 bits.
 * Fails when the file can't be read at all; anything wrong in a page is told, and the
 * walk goes on beside it. One thread. */
#include "storage/pages.h"

#include "storage/codec.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEAD      = 16, /* of a page: number(8) pad(2) flags(2) lower(2) upper(2) */
    NODE      = 8,  /* of a row: lo(2) hi(2) flags(2) key's bytes(2) */
    TREE      = 48, /* of a table: pad(4) flags(2) depth(2) three counts rows(8) root(8) */
    META      = 24 + 2 * TREE + 16, /* magic(4) version(4) address(8) map(8) trees last txn */
    BRANCH    = 1, LEAF = 2, LARGE = 4, META_PAGE = 8, LEAF_FIXED = 0x20,
    BIG_VALUE = 1, SUB_TREE = 2,
    DEPTH_MAX = 32,
    KEY_MAX   = 511,
    VALUE_MOST = 64 << 20, /* no turn brings a quarter of that */
};
#define MAGIC UINT32_C(0xbeefc0de)

typedef struct root_page {
    hf_pages_root is;
    uint8_t       free[TREE], tables[TREE]; /* the trees of free pages and of tables */
} root_page;

struct hf_pages {
    int       fd;
    uint32_t  size;
    uint64_t  count;
    root_page roots[2];
    uint8_t  *met;   /* a bit a page */
    bool      scanning; /* nothing is met by that */
    uint8_t  *value; /* a large one */
    size_t    value_room;
    int       err;   /* not the file's fault: there was no memory for one */
};

static int read_at(int fd, uint64_t at, void *to, size_t bytes)
{
    uint8_t *out = to;
    while (bytes) {
        ssize_t got = pread(fd, out, bytes, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? hf_error(HF_EIO, "reading the data file: %s", strerror(errno))
                       : HF_ENOTFOUND;
        out += got;
        at += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return HF_OK;
}

/* ---- Roots */

static bool read_root(const hf_pages *p, uint64_t at, root_page *root, uint32_t *size)
{
    uint8_t bytes[HEAD + META];
    *root = (root_page){ 0 };
    if (read_at(p->fd, at, bytes, sizeof bytes))
        return false;
    const uint8_t *meta = bytes + HEAD;
    if (!(hf_get16(bytes + 10) & META_PAGE) || hf_get32(meta) != MAGIC || hf_get32(meta + 4) != 1)
        return false;
    *size = hf_get32(meta + 24); /* the first field of the tree of free pages */
    root->is.map_bytes = hf_get64(meta + 16);
    memcpy(root->free, meta + 24, TREE);
    memcpy(root->tables, meta + 24 + TREE, TREE);
    root->is.tables = hf_get64(root->tables + 40);
    root->is.last_page = hf_get64(meta + 24 + 2 * TREE);
    root->is.txn = hf_get64(meta + 24 + 2 * TREE + 8);
    bool power = *size >= 512 && *size <= 65536 && !(*size & (*size - 1));
    root->is.sound = power && root->is.last_page >= 1;
    return root->is.sound;
}

/* The second root stands at the second page, whose place only the first one tells; if
 * that is damaged, all sizes there are get a try. */
static int find_roots(hf_pages *p, uint64_t bytes)
{
    uint32_t size = 0, other = 0;
    bool first = read_root(p, 0, &p->roots[0], &size);
    for (uint32_t guess = first ? size : 512; guess <= (first ? size : 65536); guess *= 2) {
        bool second = read_root(p, guess, &p->roots[1], &other) && other == guess;
        p->roots[1].is.sound = second;
        if (second && !first)
            size = guess;
        if (second)
            break;
    }
    if (!size)
        return hf_error(HF_ECORRUPT, "neither root of the data file can be read");
    p->roots[0].is.sound = first;
    p->size = size;
    p->count = bytes / size;
    if (!first || (p->roots[1].is.sound && p->roots[1].is.txn > p->roots[0].is.txn)) {
        root_page swap = p->roots[0];
        p->roots[0] = p->roots[1];
        p->roots[1] = swap;
    }
    return HF_OK;
}

/* Both are lost. Each page begins with its own number: with the right size most do. */
static int guess_size(hf_pages *p, uint64_t bytes)
{
    enum { LOOK_AT = 4096 };
    uint64_t best = 0;
    for (uint32_t size = 512; size <= 65536; size *= 2) {
        uint64_t right = 0;
        for (uint64_t page = 2; page < bytes / size && page < LOOK_AT; page++) {
            uint8_t head[HEAD];
            if (read_at(p->fd, page * size, head, HEAD))
                break;
            right += hf_get64(head) == page && hf_get16(head + 10) & (BRANCH | LEAF | LARGE);
        }
        if (right > best) {
            best = right;
            p->size = size;
        }
    }
    p->count = p->size ? bytes / p->size : 0;
    return p->size ? HF_OK : hf_error(HF_ECORRUPT, "there is no page in the data file");
}

static int open_file(hf_pages **out, const char *file, int (*find)(hf_pages *, uint64_t))
{
    struct stat st;
    *out = NULL;
    hf_pages *p = hf_mem_zero(1, sizeof *p);
    if (!p)
        return hf_error(HF_ENOMEM, "%s", file);
    p->fd = open(file, O_RDONLY | O_CLOEXEC);
    int err = p->fd < 0 ? hf_error(errno == ENOENT ? HF_ENOTFOUND : HF_EIO, "%s: %s", file,
                                   strerror(errno))
                        : HF_OK;
    if (!err && fstat(p->fd, &st))
        err = hf_error(HF_EIO, "%s: %s", file, strerror(errno));
    if (!err)
        err = find(p, (uint64_t)st.st_size);
    if (!err && !(p->met = hf_mem_zero(p->count / 8 + 1, 1)))
        err = hf_error(HF_ENOMEM, "%s", file);
    if (err)
        hf_pages_close(p);
    else
        *out = p;
    return err;
}

int hf_pages_open(hf_pages **out, const char *file)
{
    return open_file(out, file, find_roots);
}

int hf_pages_open_rootless(hf_pages **out, const char *file)
{
    return open_file(out, file, guess_size);
}

void hf_pages_close(hf_pages *p)
{
    if (!p)
        return;
    if (p->fd >= 0)
        (void)close(p->fd);
    hf_mem_free(p->met);
    hf_mem_free(p->value);
    hf_mem_free(p);
}

uint32_t hf_pages_size(const hf_pages *p)
{
    return p->size;
}

uint64_t hf_pages_count(const hf_pages *p)
{
    return p->count;
}

hf_pages_root hf_pages_root_of(const hf_pages *p, int which)
{
    return p->roots[which].is;
}

bool hf_pages_met(const hf_pages *p, uint64_t page)
{
    return page < p->count && p->met[page / 8] >> (page % 8) & 1;
}

void hf_pages_forget(hf_pages *p)
{
    memset(p->met, 0, p->count / 8 + 1);
}

static void meet(hf_pages *p, uint64_t page)
{
    if (p->scanning)
        return;
    p->met[page / 8] = (uint8_t)(p->met[page / 8] | 1u << (page % 8));
}

/* ---- Pages and rows */

typedef struct page_view {
    uint8_t *bytes;
    uint64_t number;
    uint32_t rows;
    bool     leaf;
} page_view;

/* NULL: it is a page of rows or branches, and its index lies inside it. */
static const char *check_page(const hf_pages *p, page_view *v)
{
    uint16_t flags = hf_get16(v->bytes + 10);
    uint32_t lower = hf_get16(v->bytes + 12), upper = hf_get16(v->bytes + 14);
    if (hf_get64(v->bytes) != v->number)
        return "it says that it is another page";
    if (flags & LEAF_FIXED || !(flags & (BRANCH | LEAF))
        || (flags & (BRANCH | LEAF)) == (BRANCH | LEAF))
        return "it is of another kind";
    if (lower < HEAD || lower % 2 || lower > upper || upper > p->size)
        return "its index is damaged";
    v->leaf = flags & LEAF;
    v->rows = (lower - HEAD) / 2;
    return NULL;
}

static const char *load(hf_pages *p, uint64_t number, page_view *v)
{
    v->number = number;
    if (number < 2 || number >= p->count)
        return "it lies outside the file";
    if (read_at(p->fd, number * p->size, v->bytes, p->size))
        return "it can't be read";
    return check_page(p, v);
}

/* Where row `i` begins; 0: nowhere. */
static uint32_t node_at(const hf_pages *p, const page_view *v, uint32_t i)
{
    uint32_t at = hf_get16(v->bytes + HEAD + (size_t)i * 2);
    if (at < hf_get16(v->bytes + 14) || at + NODE > p->size) /* below it nothing is in use */
        return 0;
    uint32_t key = hf_get16(v->bytes + at + 6);
    return key > KEY_MAX || at + NODE + key > p->size ? 0 : at;
}

static uint64_t child_of(const uint8_t *node)
{
    return (uint64_t)hf_get16(node) | (uint64_t)hf_get16(node + 2) << 16
           | (uint64_t)hf_get16(node + 4) << 32;
}

/* A value may have shrunk and left pages over; but where another page begins it ends,
 * whatever it says. */
static void meet_run(hf_pages *p, uint64_t first, uint64_t need, uint64_t pages)
{
    uint8_t head[HEAD];
    for (uint64_t i = 0; i < pages; i++) {
        if (i >= need
            && (read_at(p->fd, (first + i) * p->size, head, HEAD) || hf_get64(head) == first + i))
            return;
        meet(p, first + i);
    }
}

/* A value in pages of its own: the first one says how many they are. */
static const char *load_large(hf_pages *p, uint64_t first, size_t len)
{
    uint8_t head[HEAD];
    if (first < 2 || first >= p->count)
        return "a large value lies outside the file";
    if (read_at(p->fd, first * p->size, head, HEAD))
        return "a large value can't be read";
    uint64_t pages = hf_get32(head + 12), need = ((uint64_t)len + HEAD + p->size - 1) / p->size;
    if (hf_get64(head) != first || !(hf_get16(head + 10) & LARGE) || pages < need
        || pages > p->count - first)
        return "a large value is not where it should be";
    if (len > p->value_room) {
        uint8_t *value = hf_mem_grow(p->value, len);
        if (!value && len > VALUE_MOST)
            return "a large value is larger than any";
        if (!value) {
            p->err = hf_error(HF_ENOMEM, "a value of %zu bytes", len);
            return "there is no memory for a large value";
        }
        p->value = value;
        p->value_room = len;
    }
    meet_run(p, first, need, pages);
    return read_at(p->fd, first * p->size + HEAD, p->value, len) ? "a large value can't be read"
                                                                 : NULL;
}

static const char *row_of(hf_pages *p, const page_view *v, uint32_t i, hf_bytes *key,
                          hf_bytes *value, uint16_t *flags)
{
    uint32_t at = node_at(p, v, i);
    if (!at)
        return "a row lies outside its page";
    const uint8_t *node = v->bytes + at;
    uint32_t key_len = hf_get16(node + 6);
    size_t len = (size_t)hf_get16(node) | (size_t)hf_get16(node + 2) << 16;
    *flags = hf_get16(node + 4);
    *key = hf_view(node + NODE, key_len);
    if (!(*flags & BIG_VALUE)) {
        *value = hf_view(node + NODE + key_len, len);
        return at + NODE + key_len + len > p->size ? "a row lies outside its page" : NULL;
    }
    if (at + NODE + key_len + 8 > p->size)
        return "a row lies outside its page";
    const char *why = load_large(p, hf_get64(node + NODE + key_len), len);
    *value = hf_view(p->value, len);
    return why;
}

/* ---- Walking */

typedef struct page_walk {
    hf_pages    *pages;
    hf_pages_row each;
    hf_pages_bad bad;
    void        *user;
    bool         trees; /* rows that are trees are wanted, and no others */
} page_walk;

static int take_error(hf_pages *p)
{
    int err = p->err;
    p->err = HF_OK;
    return err;
}

static int show_leaf(page_walk *w, const page_view *v)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < v->rows; i++) {
        hf_bytes key, value;
        uint16_t flags;
        const char *why = row_of(w->pages, v, i, &key, &value, &flags);
        if (w->pages->err)
            return take_error(w->pages);
        if (why && w->bad)
            w->bad(w->user, v->number, why);
        if (!why && !!(flags & SUB_TREE) == w->trees)
            err = w->each(w->user, v->number, key, value);
    }
    return err;
}

/* Depth first with a buffer a level: whatever the branches say, no page is met twice. */
static int walk_page(page_walk *w, uint64_t number, uint8_t *buffers, uint32_t depth)
{
    page_view v = { .bytes = buffers + (size_t)depth * w->pages->size };
    const char *why = depth == DEPTH_MAX                  ? "the tree is too deep"
                      : hf_pages_met(w->pages, number) ? "it was met before"
                                                          : load(w->pages, number, &v);
    if (why) {
        if (w->bad)
            w->bad(w->user, number, why);
        return HF_OK;
    }
    meet(w->pages, number);
    if (v.leaf)
        return show_leaf(w, &v);
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < v.rows; i++) {
        uint32_t at = node_at(w->pages, &v, i);
        if (at)
            err = walk_page(w, child_of(v.bytes + at), buffers, depth + 1);
        else if (w->bad)
            w->bad(w->user, number, "a branch lies outside its page");
    }
    return err;
}

static int walk_tree(page_walk *w, const hf_pages_tree *tree)
{
    if (tree->empty)
        return HF_OK;
    uint8_t *buffers = hf_mem_alloc((size_t)(DEPTH_MAX + 1) * w->pages->size);
    if (!buffers)
        return hf_error(HF_ENOMEM, "walking the data file");
    int err = walk_page(w, tree->root, buffers, 0);
    hf_mem_free(buffers);
    return err;
}

int hf_pages_walk(hf_pages *p, const hf_pages_tree *tree, hf_pages_row each, hf_pages_bad bad,
                  void *user)
{
    page_walk w = { p, each, bad, user, false };
    return walk_tree(&w, tree);
}

static hf_pages_tree tree_of(const uint8_t *bytes)
{
    uint64_t root = hf_get64(bytes + 40);
    return (hf_pages_tree){ .root = root,
                            .rows = hf_get64(bytes + 32),
                            .depth = hf_get16(bytes + 6),
                            .empty = root == UINT64_MAX };
}

typedef struct table_search {
    const char    *name;
    hf_pages_tree *tree;
} table_search;

enum { FOUND = 1 };

static int see_table(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    table_search *s = user;
    (void)page;
    if (key.len != strlen(s->name) || memcmp(key.data, s->name, key.len) != 0 || value.len != TREE)
        return HF_OK;
    *s->tree = tree_of(value.data);
    return FOUND;
}

int hf_pages_table(hf_pages *p, int root, const char *name, hf_pages_tree *tree)
{
    const root_page *r = &p->roots[root];
    table_search s = { name, tree };
    if (!r->is.sound)
        return hf_error(HF_ENOTFOUND, "that root is damaged");
    /* The few pages of the tree of tables are read once a table. */
    size_t bytes = p->count / 8 + 1;
    uint8_t *before = hf_mem_alloc(bytes);
    if (!before)
        return hf_error(HF_ENOMEM, "table %s", name);
    memcpy(before, p->met, bytes);
    memset(p->met, 0, bytes);
    hf_pages_tree tables = tree_of(r->tables);
    page_walk w = { p, see_table, NULL, &s, true };
    int err = walk_tree(&w, &tables);
    memcpy(p->met, before, bytes); /* they are met for good with the free pages */
    hf_mem_free(before);
    if (err == FOUND)
        return HF_OK;
    return err ? err : hf_error(HF_ENOTFOUND, "table %s can't be found", name);
}

/* ---- Free pages: number of a commit -> count, then so many page numbers, descending */

typedef struct free_walk {
    int (*each)(void *user, uint64_t page);
    hf_pages_bad bad;
    void        *bad_user, *user;
} free_walk;

static int see_list(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    free_walk *f = user;
    const uint8_t *list = value.data;
    uint64_t count = value.len >= 8 ? hf_get64(list) : UINT64_MAX;
    if (key.len != 8 || count > (value.len - 8) / 8) {
        f->bad(f->bad_user, page, "a list of free pages is damaged");
        return HF_OK;
    }
    int err = HF_OK;
    for (uint64_t i = 1; !err && i <= count; i++)
        err = f->each(f->user, hf_get64(list + i * 8));
    return err;
}

static int see_nothing(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    (void)user;
    (void)page;
    (void)key;
    (void)value;
    return HF_OK;
}

static void bad_page_of_lists(void *user, uint64_t page, const char *why)
{
    const free_walk *f = user;
    f->bad(f->bad_user, page, why);
}

int hf_pages_free(hf_pages *p, int (*each)(void *user, uint64_t page), hf_pages_bad bad,
                  void *bad_user, void *user)
{
    free_walk f = { each, bad, bad_user, user };
    hf_pages_tree tables = tree_of(p->roots[0].tables), lists = tree_of(p->roots[0].free);
    page_walk own = { p, see_nothing, bad_page_of_lists, &f, true };
    page_walk free_ones = { p, see_list, bad_page_of_lists, &f, false };
    int err = walk_tree(&own, &tables);
    return err ? err : walk_tree(&free_ones, &lists);
}

/* ---- Pages by themselves */

static int each_leaf(hf_pages *p, page_walk *w, bool all)
{
    page_view v = { .bytes = hf_mem_alloc(p->size) };
    int err = v.bytes ? HF_OK : hf_error(HF_ENOMEM, "pages of the data file");
    p->scanning = true;
    for (uint64_t number = 2; !err && number < p->count; number++)
        if ((all || !hf_pages_met(p, number)) && !load(p, number, &v) && v.leaf)
            err = show_leaf(w, &v);
    p->scanning = false;
    hf_mem_free(v.bytes);
    return err;
}

int hf_pages_orphans(hf_pages *p, hf_pages_row each, void *user)
{
    page_walk w = { p, each, NULL, user, false };
    return each_leaf(p, &w, false);
}

static int show_run(hf_pages *p, uint64_t first, const uint8_t *head,
                    int (*each)(void *, uint64_t, hf_bytes), void *user)
{
    uint64_t pages = hf_get32(head + 12);
    bool run = hf_get64(head) == first && hf_get16(head + 10) & LARGE && pages
           && pages <= p->count - first && pages < UINT32_MAX / p->size;
    if (!run)
        return HF_OK;
    size_t len = (size_t)(pages * p->size - HEAD);
    if (load_large(p, first, len))
        return take_error(p);
    return each(user, first, hf_view(p->value, len));
}

int hf_pages_runs(hf_pages *p, int (*each)(void *user, uint64_t page, hf_bytes bytes), void *user)
{
    uint8_t head[HEAD];
    int err = HF_OK;
    p->scanning = true;
    for (uint64_t number = 2; !err && number < p->count; number++)
        if (!hf_pages_met(p, number) && !read_at(p->fd, number * p->size, head, HEAD))
            err = show_run(p, number, head, each, user);
    p->scanning = false;
    return err;
}

typedef struct tree_search {
    const char *name;
    int       (*each)(void *user, uint64_t page);
    void       *user;
} tree_search;

static int see_tree(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    const tree_search *s = user;
    bool is = key.len == strlen(s->name) && memcmp(key.data, s->name, key.len) == 0
              && value.len == TREE;
    return is ? s->each(s->user, page) : HF_OK;
}

int hf_pages_trees(hf_pages *p, const char *name, int (*each)(void *user, uint64_t page),
                   void *user)
{
    tree_search s = { name, each, user };
    page_walk w = { p, see_tree, NULL, &s, true };
    return each_leaf(p, &w, true);
}

void hf_pages_take_tree(hf_pages *p, uint64_t page)
{
    root_page *r = &p->roots[0];
    memset(r, 0, sizeof *r);
    r->is.sound = true;
    r->is.last_page = p->count - 1;
    r->is.tables = page;
    memset(r->free + 40, 0xff, 8); /* an empty tree */
    hf_put64(r->tables + 40, page);
}
