/* leaves.c - walk the rows of a table along its pages, without LMDB in between.
 *
 * Happy path: down from the root to the leaf that a key belongs to, then row after row,
 * and from the end of a leaf over the branch above to the next one. With each new leaf
 * the ones behind it are asked for: first where their rows begin, then those rows.
 * The format is that of LMDB 0.9 on a little-endian machine with 64 bits, see pages.c. The
 * pages of a snapshot don't change; each number in them is checked before it is used, and
 * one that can't be right ends the walk with HF_ECORRUPT. Any thread. */
#include "storage/leaves.h"

#include "storage/codec.h"
#include "storage/error.h"

#include <unistd.h>

enum {
    HEAD      = 16, /* of a page: number(8) pad(2) flags(2) lower(2) upper(2), offsets(2) */
    NODE      = 8,  /* of a row: lo(2) hi(2) flags(2) key's bytes(2) */
    TREE      = 48, /* of a table: pad(4) flags(2) depth(2) three counts rows(8) root(8) */
    BRANCH    = 1, LEAF = 2, LARGE = 4,
    BIG_VALUE = 1,
    LINE      = 64, /* bytes that come from memory at once */
    PASSED    = 64, /* bytes of a row that say what it is, mostly */
    WORTH     = 4,  /* rows a page */
};

static int damaged(const hf_leaves *l, const uint8_t *page)
{
    return hf_error(HF_ECORRUPT, "page %llu of table %s can't be read",
                    (unsigned long long)(page - l->map) / l->tree.page_size,
                    hf_table_name(l->table));
}

/* Where the file is mapped: each page begins with its number. */
static bool find_map(hf_leaves *l)
{
    uintptr_t root = (uintptr_t)l->tree.root.data, size = (uintptr_t)l->tree.page_size;
    if (size != (uintptr_t)sysconf(_SC_PAGESIZE) || l->tree.root.len != TREE)
        return false;
    const uint8_t *page = (const uint8_t *)(root / size * size);
    uint64_t number = hf_get64(page);
    l->pages = l->tree.bytes / size;
    l->map = page - number * size;
    return number < l->pages && hf_get16(page + 10) & LEAF;
}

bool hf_leaves_open(hf_leaves *l, hf_txn *txn, hf_table table)
{
    *l = (hf_leaves){ .table = table };
    if (hf_txn_tree(txn, table, &l->tree) || !find_map(l))
        return false;
    const uint8_t *root = l->tree.root.data;
    uint64_t first = hf_get64(root + 40);
    l->depth = hf_get16(root + 6);
    if (!l->depth)
        return first == UINT64_MAX;
    if (l->depth > HF_LEAVES_DEPTH || first < 2 || first >= l->pages)
        return false;
    l->level[0].page = l->map + first * l->tree.page_size;
    return true;
}

/* ---- One page */

static const uint8_t *node_of(const hf_leaves *l, uint32_t depth, uint32_t i)
{
    const uint8_t *page = l->level[depth].page;
    return page + hf_get16(page + HEAD + 2 * (size_t)i);
}

/* Enter the page of that level: its head must say what belongs there, and all of its rows
 * must begin inside it and hold their keys. */
static int enter(hf_leaves *l, uint32_t depth)
{
    const uint8_t *page = l->level[depth].page;
    uint32_t lower = hf_get16(page + 12), size = (uint32_t)l->tree.page_size;
    uint32_t want = depth + 1 == l->depth ? LEAF : BRANCH;
    if ((hf_get16(page + 10) & (LEAF | BRANCH | LARGE)) != want || lower <= HEAD || lower % 2
        || lower > size)
        return damaged(l, page);
    l->level[depth].count = (lower - HEAD) / 2;
    l->level[depth].at = 0;
    for (uint32_t i = 0; i < l->level[depth].count; i++) {
        uint32_t at = hf_get16(page + HEAD + 2 * (size_t)i);
        if (at < lower || at > size - NODE || hf_get16(page + at + 6) > size - NODE - at)
            return damaged(l, page);
    }
    return HF_OK;
}

static hf_bytes key_of(const uint8_t *node)
{
    return hf_view(node + NODE, hf_get16(node + 6));
}

static int row_of(const hf_leaves *l, hf_bytes *key, hf_bytes *value)
{
    uint32_t leaf = l->depth - 1;
    const uint8_t *page = l->level[leaf].page, *node = node_of(l, leaf, l->level[leaf].at);
    *key = key_of(node);
    const uint8_t *data = node + NODE + key->len;
    size_t len = hf_get16(node) | (size_t)hf_get16(node + 2) << 16;
    size_t left = (size_t)(page + l->tree.page_size - data);
    if (hf_get16(node + 4) & BIG_VALUE) {
        uint64_t first = left >= 8 ? hf_get64(data) : 0;
        if (first < 2 || first >= l->pages)
            return damaged(l, page);
        data = l->map + first * l->tree.page_size + HEAD;
        left = (l->pages - first) * l->tree.page_size - HEAD;
    }
    if (len > left)
        return damaged(l, page);
    *value = hf_view(data, len);
    return HF_OK;
}

/* ---- From page to page */

/* The page that the row of a branch leads to; NULL: none can. */
static const uint8_t *child_of(const hf_leaves *l, uint32_t depth, uint32_t i)
{
    const uint8_t *node = node_of(l, depth, i);
    uint64_t number = hf_get16(node) | (uint64_t)hf_get16(node + 2) << 16
                      | (uint64_t)hf_get16(node + 4) << 32;
    return number < 2 || number >= l->pages ? NULL : l->map + number * l->tree.page_size;
}

/* A page that is entered soon: where its rows begin. */
static void ask_for_head(const uint8_t *page)
{
    __builtin_prefetch(page);
    __builtin_prefetch(page + LINE);
}

/* A page that is entered next, whose head is here: what of its rows will be looked at. */
static void ask_for_rows(const hf_leaves *l, const uint8_t *page)
{
    uint32_t size = (uint32_t)l->tree.page_size, lower = hf_get16(page + 12);
    for (uint32_t line = 0; l->whole && line < size; line += LINE)
        __builtin_prefetch(page + line);
    for (uint32_t i = HEAD; !l->whole && i + 2 <= lower && i + 2 <= size; i += 2) {
        uint32_t at = hf_get16(page + i);
        __builtin_prefetch(page + at);
        __builtin_prefetch(page + at + PASSED - 1);
    }
}

static void look_ahead(hf_leaves *l)
{
    if (l->depth < 2)
        return;
    uint32_t branch = l->depth - 2, at = l->level[branch].at, count = l->level[branch].count;
    const uint8_t *next = at + 1 < count ? child_of(l, branch, at + 1) : NULL;
    const uint8_t *soon = at + 2 < count ? child_of(l, branch, at + 2) : NULL;
    l->whole = l->wanted >= WORTH;
    l->wanted = 0;
    if (soon)
        ask_for_head(soon);
    if (next)
        ask_for_rows(l, next);
}

/* The first row of the page from `from` on whose key is not below this one. */
static uint32_t first_of(const hf_leaves *l, uint32_t depth, uint32_t from, hf_bytes key)
{
    uint32_t to = l->level[depth].count;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (hf_key_compare(key_of(node_of(l, depth, mid)), key) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

/* The first row of a branch has no key: it leads to all that is below the second. */
static uint32_t branch_for(const hf_leaves *l, uint32_t depth, hf_bytes key)
{
    uint32_t at = first_of(l, depth, 1, key);
    bool exact = at < l->level[depth].count
        && hf_key_compare(key_of(node_of(l, depth, at)), key) == 0;
    return exact ? at : at - 1;
}

/* Down from this level to a leaf: where the key leads, or NULL: where it stands, and the
 * first of what is below. */
static int go_down(hf_leaves *l, uint32_t depth, const hf_bytes *key)
{
    for (; depth + 1 < l->depth; depth++) {
        if (key)
            l->level[depth].at = branch_for(l, depth, *key);
        l->level[depth + 1].page = child_of(l, depth, l->level[depth].at);
        if (!l->level[depth + 1].page)
            return damaged(l, l->level[depth].page);
        int err = enter(l, depth + 1);
        if (err)
            return err;
    }
    look_ahead(l);
    return HF_OK;
}

/* To the first row of the next leaf. */
static int next_leaf(hf_leaves *l)
{
    for (uint32_t depth = l->depth - 1; depth-- > 0;)
        if (l->level[depth].at + 1 < l->level[depth].count) {
            l->level[depth].at++;
            return go_down(l, depth, NULL);
        }
    return HF_ENOTFOUND;
}

int hf_leaves_seek(hf_leaves *l, hf_bytes key, hf_bytes *found, hf_bytes *value)
{
    if (!l->depth)
        return HF_ENOTFOUND;
    int err = enter(l, 0);
    if (!err)
        err = go_down(l, 0, &key);
    if (err)
        return err;
    uint32_t leaf = l->depth - 1;
    l->level[leaf].at = first_of(l, leaf, 0, key);
    if (l->level[leaf].at == l->level[leaf].count)
        err = next_leaf(l);
    return err ? err : row_of(l, found, value);
}

int hf_leaves_next(hf_leaves *l, hf_bytes *key, hf_bytes *value)
{
    int err = HF_OK;
    if (!l->depth)
        return HF_ENOTFOUND;
    uint32_t leaf = l->depth - 1;
    if (++l->level[leaf].at >= l->level[leaf].count) {
        l->level[leaf].at = l->level[leaf].count; /* also when it is asked again */
        err = next_leaf(l);
    }
    return err ? err : row_of(l, key, value);
}
