/* salvage_meta.c - which commit a salvage reads, and what the store says about itself.
 *
 * Happy path: the newer root leads to all tables. If not, pages of the file that lead to
 * tables are those of other commits: the newest of them that can be followed is taken, as
 * it is when both roots are lost. Rows of meta that are out of reach are looked for in
 * pages that belong to no tree. Nothing is found at all: the store is read without any
 * tree, every page by itself.
 * Fails when the seed of address hashes is nowhere and can't be worked out (salvage_seed.c):
 * no key can be told from another. */
#include "recovery/salvage.h"

#include "storage/error.h"
#include "storage/marker.h"
#include "storage/memory.h"

#include <stdlib.h>

/* ---- Which commit */

enum { CANDIDATES = 64 };

typedef struct candidate {
    uint64_t page, end, rows;
    bool     whole;
} candidate;

typedef struct candidates {
    hf_salvaging *s;
    candidate   all[CANDIDATES];
    size_t      count;
    candidate  *now;
} candidates;

static int note_candidate(void *user, uint64_t page)
{
    candidates *c = user;
    if (c->count < CANDIDATES)
        c->all[c->count++] = (candidate){ .page = page };
    return HF_OK;
}

static int see_end(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    candidates *c = user;
    hf_table table = c->s->quiet.table;
    hf_bytes payload;
    uint64_t end = 0;
    (void)page;
    c->now->rows++;
    if (table == HF_IN_LOG && key.len == 8 && value.len >= 16)
        end = hf_get64_key(key.data) + hf_get32((const uint8_t *)value.data + 8);
    else if (table == HF_IN_META && key.len == 4 && memcmp(key.data, "next", 4) == 0
             && !hf_row_open(HF_IN_META, key, value, &payload) && payload.len == 8)
        end = hf_get64(payload.data);
    if (end > c->now->end)
        c->now->end = end;
    return HF_OK;
}

static void see_bad(void *user, uint64_t page, const char *why)
{
    candidates *c = user;
    (void)page;
    (void)why;
    c->now->whole = false;
}

/* Follow all trees that it leads to. */
static int try_candidate(candidates *c, candidate *at)
{
    hf_pages_tree tree;
    int err = HF_OK;
    c->now = at;
    at->whole = true;
    hf_pages_take_tree(c->s->pages, at->page);
    hf_pages_forget(c->s->pages);
    for (int t = 0; !err && t < HF_TABLES; t++) {
        at->rows = 0;
        c->s->quiet.table = (hf_table)t;
        err = hf_pages_table(c->s->pages, 0, hf_table_name((hf_table)t), &tree);
        if (err == HF_ENOTFOUND) {
            at->whole = false;
            err = HF_OK;
            continue;
        }
        if (!err)
            err = hf_pages_walk(c->s->pages, &tree, see_end, see_bad, c);
        at->whole = !err && at->whole && at->rows == tree.rows;
    }
    return err;
}

static bool better(const candidate *a, const candidate *b)
{
    return a->whole != b->whole ? a->whole : a->end > b->end;
}

/* HF_ENOTFOUND: it does not. */
static int leads_to_all(hf_pages *pages)
{
    hf_pages_tree tree;
    int err = HF_OK;
    for (int t = 0; !err && t < HF_TABLES; t++)
        err = hf_pages_table(pages, 0, hf_table_name((hf_table)t), &tree);
    return err;
}

/* No root leads to all tables. One commit back is near; and if both roots are lost, the
 * newest tree that is whole. Trees from before would hide what came later. */
static int use_candidate(hf_salvaging *s, const candidate *best, bool newer)
{
    hf_finding f = { .name = "root damaged" };
    hf_pages_root other = hf_pages_root_of(s->pages, 1);
    bool last = best && best->whole && other.sound && best->page == other.tables;
    s->older = true;
    s->rootless = s->doubt = !last && (!best || !best->whole || newer);
    if (s->rootless) {
        hf_checkup_found(&s->checkup, &f,
                         "nothing leads to the tables; each page is read by itself");
    } else {
        f.page = best->page;
        hf_pages_take_tree(s->pages, best->page);
        hf_checkup_found(&s->checkup, &f, "no root leads to the tables; this page does");
    }
    if (s->checkup.err || last)
        return s->checkup.err;
    return hf_salvage_hold(s, "*",
                           "salvage: its roots are lost, this may not be the newest commit");
}

static int choose(hf_salvaging *s)
{
    candidates c = { .s = s };
    candidate *best = NULL;
    int err = leads_to_all(s->pages);
    if (err && err != HF_ENOTFOUND)
        return err;
    if (!err) {
        s->older = !hf_pages_root_of(s->pages, 1).sound;
        if (s->older)
            hf_checkup_found(&s->checkup, &(hf_finding){ .name = "root damaged" },
                             "one of the two roots can't be read");
        return s->checkup.err;
    }
    hf_pages_root newer = hf_pages_root_of(s->pages, 0);
    err = hf_pages_trees(s->pages, hf_table_name(HF_IN_LOG), note_candidate, &c);
    for (size_t i = 0; !err && i < c.count; i++) {
        err = try_candidate(&c, &c.all[i]);
        if (!best || better(&c.all[i], best))
            best = &c.all[i];
    }
    hf_pages_forget(s->pages);
    return err ? err : use_candidate(s, best, newer.sound);
}

/* ---- meta */

/* Of two the one that says more: a higher number, a longer lineage. */
static bool says_more(hf_bytes key, hf_bytes is, hf_bytes was)
{
    hf_bytes a, b;
    if (hf_row_open(HF_IN_META, key, is, &a) || hf_row_open(HF_IN_META, key, was, &b))
        return false;
    if (a.len == 8 && b.len == 8)
        return hf_get64(a.data) > hf_get64(b.data);
    return a.len > b.len;
}

static int keep_meta(hf_salvaging *s, hf_bytes key, hf_bytes value)
{
    size_t at = 0;
    while (at < s->meta_count && (s->meta_keys[at].len != key.len
                                  || memcmp(s->meta_keys[at].bytes, key.data, key.len) != 0))
        at++;
    if (at == HF_META_KEPT || (at < s->meta_count && !says_more(key, value, s->meta[at])))
        return HF_OK;
    void *copy = hf_mem_alloc(value.len);
    if (!copy)
        return hf_error(HF_ENOMEM, "rows of meta");
    memcpy(copy, value.data, value.len);
    if (at < s->meta_count)
        hf_mem_free((void *)(uintptr_t)s->meta[at].data);
    else
        s->meta_count++;
    memcpy(s->meta_keys[at].bytes, key.data, key.len);
    s->meta_keys[at].len = key.len;
    s->meta[at] = hf_view(copy, value.len);
    return HF_OK;
}

static int see_meta(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    hf_salvaging *s = user;
    if (!hf_salvage_sound(&s->checkup, HF_IN_META, page, key, value))
        return s->checkup.err;
    s->reached[HF_IN_META]++;
    return keep_meta(s, key, value);
}

static int see_stray_meta(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    hf_salvaging *s = user;
    (void)page;
    return key.len < 16 && !hf_rebuild_check(HF_IN_META, key, value) ? keep_meta(s, key, value)
                                                                      : HF_OK;
}

static void meta_bad(void *user, uint64_t page, const char *why)
{
    hf_salvaging *s = user;
    hf_finding f = { .name = "page damaged", .table = hf_table_name(HF_IN_META), .page = page };
    hf_checkup_found(&s->checkup, &f, "%s: rows below it can't be reached", why);
}

int hf_salvage_meta_get(const hf_salvaging *s, const char *name, hf_bytes *payload)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < s->meta_count; i++)
        if (s->meta_keys[i].len == len && memcmp(s->meta_keys[i].bytes, name, len) == 0)
            return hf_row_open(HF_IN_META, hf_key_bytes(&s->meta_keys[i]), s->meta[i], payload);
    return HF_ENOTFOUND;
}

static int read_meta(hf_salvaging *s)
{
    hf_pages_tree tree = { .empty = true };
    s->checkup.table = HF_IN_META;
    int err = s->rootless ? HF_ENOTFOUND
                          : hf_pages_table(s->pages, 0, hf_table_name(HF_IN_META), &tree);
    bool found = !err;
    err = found ? hf_pages_walk(s->pages, &tree, see_meta, meta_bad, s)
                : err == HF_ENOTFOUND ? HF_OK : err;
    s->wanted[HF_IN_META] = tree.rows;
    if (!err && (!found || s->reached[HF_IN_META] != tree.rows))
        err = hf_pages_orphans(s->pages, see_stray_meta, s);
    if (s->reached[HF_IN_META] < s->meta_count)
        s->reached[HF_IN_META] = s->meta_count;
    return err ? err : s->checkup.err;
}

/* No row has it: worked out, it stands in one as if it had been found. */
static int restore_seed(hf_salvaging *s)
{
    uint8_t bytes[8 + HF_ROW_EXTRA];
    hf_rowbuf buf = { .bytes = bytes, .room = sizeof bytes };
    hf_bytes payload;
    uint64_t seed;
    hf_key key;
    if (!hf_salvage_meta_get(s, "seed", &payload) && payload.len == 8)
        return HF_OK;
    int err = hf_salvage_seek_seed(s, &seed);
    if (err)
        return err;
    hf_key_text(&key, "seed");
    hf_put64(bytes + 1, seed);
    return keep_meta(s, hf_key_bytes(&key), hf_row_seal(&buf, 8, HF_IN_META, hf_key_bytes(&key)));
}

int hf_salvage_begin(hf_salvaging *s)
{
    hf_bytes payload;
    int err = choose(s);
    if (!err)
        err = read_meta(s);
    if (err)
        return err;
    if (!hf_salvage_meta_get(s, "format", &payload) && payload.len == 8
        && hf_get64(payload.data) > HF_FORMAT)
        return hf_format_check(s->checkup.path, hf_get64(payload.data) > UINT32_MAX
                                                    ? UINT32_MAX
                                                    : (uint32_t)hf_get64(payload.data));
    err = restore_seed(s);
    if (err)
        return err;
    if (hf_salvage_meta_get(s, "seed", &payload) || payload.len != 8) /* no room for it */
        return hf_error(HF_ECORRUPT, "%s: too many rows of meta", s->checkup.path);
    s->checkup.seed = s->quiet.seed = hf_get64(payload.data);
    if (!hf_salvage_meta_get(s, "next", &payload) && payload.len == 8)
        s->next = hf_get64(payload.data);
    if (!hf_salvage_meta_get(s, "tail", &payload) && payload.len == 8)
        s->tail = hf_get64(payload.data);
    return HF_OK;
}
