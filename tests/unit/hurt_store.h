/* hurt_store.h - a store with rows in every table, its damages, and what a copy of it holds,
 * for tests of copies and salvages. For one test program, in its one .c file. */
#ifndef UNIT_HURT_STORE_H
#define UNIT_HURT_STORE_H

#include "tests/unit/full_set.h"

#include "recovery/holdfast_recovery.h"

#include "storage/datafile.h"
#include "storage/error.h"
#include "storage/pages.h"
#include "storage/record.h"

#include <fcntl.h>
#include <string.h>

enum { HURT_PAGE = 4096 };

static char hurt_here[100]; /* the directory of this run */

static inline const char *hurt_path(const char *name)
{
    static char paths[8][160];
    static int turn;
    char *path = paths[turn++ % 8];
    (void)snprintf(path, sizeof paths[0], "%s/%s", hurt_here, name);
    return path;
}

static inline uint64_t hurt_still(void *user)
{
    (void)user;
    return 1800000000000;
}

static const hf_clock hurt_clock = { .wall_ms = hurt_still, .mono_ns = hurt_still };

static inline void hurt_row(core *c, const char *to, const char *name, uint8_t flags,
                            const char *data)
{
    hf_entry e = full_entry(c, HF_OP_PUT, to, 0, name, data);
    e.flags = flags;
    core_put(c, HF_FACTS, &e);
}

/* A delayed letter, and one under a sender's word. */
static inline void hurt_letters(core *c, const char *to)
{
    hf_entry e = full_entry(c, HF_OP_SEND, to, 0, "late", "a delayed letter");
    e.flags = HF_ENTRY_DELAYED;
    e.due = hurt_still(NULL) + 3600000;
    core_put(c, 0, &e);
    e = full_entry(c, HF_OP_SEND, to, 0, "once", "a letter under a word");
    e.dedupe = "word";
    e.dedupe_len = 4;
    core_put(c, 0, &e);
}

/* Rows of every table, some of them twice in the file: old pages stay in it. The log keeps
 * a few records, one of them larger than a page. */
static inline full_set hurt_fill(core *c)
{
    static char large[3 * HURT_PAGE];
    full_set f = { 0 };
    memset(large, 'l', sizeof large);
    for (int round = 0; round < 3; round++) {
        f = full_fill(c);
        for (int i = 0; i < 3; i++) {
            hurt_row(c, full_actors[i], "uone", 0, round ? "newer" : "older");
            hurt_row(c, full_actors[i], "ttopic", 0, "");
            hurt_letters(c, full_actors[i]);
        }
        core_send(c, "order/1", "large", hf_view(large, sizeof large));
        CORE_OK(hf_log_fold_all(c->log));
    }
    full_put(c, HF_OP_SAVE, "order/1", 0, "", "the last state");
    core_send(c, "order/1", "large", hf_view(large, sizeof large - 100));
    core_send(c, "paid/1", "small", hf_str("the last letter"));
    return f;
}

static inline full_set hurt_make(const char *name)
{
    static const hf_log_options few = { .window = 64 << 10, .shards = 2 };
    core c;
    core_remove(hurt_path(name));
    core_open(&c, hurt_path(name), NULL, &few);
    full_set f = hurt_fill(&c);
    core_close(&c, false);
    return f;
}

/* ---- What a store holds */

/* Every row of every table but meta and the log, as the tables have it. */
static inline uint64_t hurt_sum(const char *path, uint64_t rows[HF_TABLES])
{
    hf_disk_options look = { .flags = HF_LOOK };
    hf_disk *disk;
    hf_txn *txn;
    hf_bytes key, value;
    uint64_t sum = 1;
    CORE_OK(hf_disk_open(&disk, path, &look));
    CORE_OK(hf_txn_read(disk, &txn));
    for (int t = 0; t < HF_TABLES; t++) {
        hf_cursor *cursor;
        rows[t] = 0;
        CORE_OK(hf_cursor_open(txn, (hf_table)t, &cursor));
        for (; !hf_cursor_next(cursor, &key, &value); rows[t]++)
            if (t != HF_IN_META && t != HF_IN_LOG) {
                sum = hf_address_hash(sum + (uint64_t)t, key.data, key.len);
                sum = hf_address_hash(sum, value.data, value.len);
            }
        hf_cursor_close(cursor);
    }
    hf_txn_abort(txn);
    hf_disk_close(disk);
    return sum;
}

static inline int hurt_hear(void *user, hf_bytes row)
{
    (void)row;
    ++*(uint64_t *)user;
    return HF_OK;
}

/* Nothing is wrong in it, and nothing is there twice. */
static inline void hurt_verify(const char *path)
{
    uint64_t rows = 0;
    int err = hf_verify(path, hurt_hear, &rows);
    if (err)
        fail_msg("%s: %d %s", path, err, hf_error_detail());
    assert_int_equal(rows, 1);
}

static inline unsigned hurt_open_files(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count;
}

static inline unsigned hurt_names(void)
{
    unsigned count = 0;
    DIR *dir = opendir(hurt_here);
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    (void)closedir(dir);
    return count;
}

/* ---- Rows as nobody writes them, with checksums of their own */

static inline void hurt_put(const char *name, hf_table table, const hf_key *key,
                            const void *payload, size_t len)
{
    hf_disk *disk;
    hf_txn *txn;
    hf_rowbuf buf = { 0 };
    CORE_OK(open_small(&disk, hurt_path(name)));
    CORE_OK(hf_txn_write(disk, &txn));
    CORE_OK(hf_row_put(txn, table, key, hf_view(payload, len), &buf));
    CORE_OK(hf_txn_commit(txn));
    hf_rowbuf_done(&buf);
    hf_disk_close(disk);
}

static inline uint64_t hurt_number(const char *name, const char *of)
{
    hf_disk *disk;
    hf_txn *txn;
    uint64_t value;
    CORE_OK(open_small(&disk, hurt_path(name)));
    CORE_OK(hf_txn_read(disk, &txn));
    CORE_OK(hf_meta_get(txn, of, 0, &value));
    hf_txn_abort(txn);
    hf_disk_close(disk);
    return value;
}

/* A number before the bytes of an entry, or 8 or 16 bytes of them. */
static inline size_t hurt_entry(uint8_t *at, size_t before, uint64_t number, const hf_entry *e)
{
    for (size_t i = 0; i < before; i += 8)
        hf_put64(at + i, number);
    return before + hf_entry_encode(e, at + before);
}

static inline hf_entry hurt_fact(uint64_t seed, uint8_t op, const char *to)
{
    return (hf_entry){ .op = op, .to = to, .to_len = (uint8_t)strlen(to), .name = "",
                       .error = "", .from = "", .answer = "", .dedupe = "",
                       .hash = hf_address_hash(seed, to, strlen(to)) };
}

/* One record of these entries under that position. */
static inline void hurt_record(const char *name, uint64_t position, const hf_record_head *like,
                               const hf_entry *entries, uint32_t count)
{
    static uint8_t bytes[8 * HURT_PAGE];
    hf_disk *disk;
    hf_txn *txn;
    hf_key key;
    size_t size = hf_record_entries_at(1);
    for (uint32_t i = 0; i < count; i++)
        size += hf_entry_encode(&entries[i], bytes + size);
    hf_record_head head = *like;
    hf_run run = { HF_FACTS, count, (uint32_t)(size - hf_record_entries_at(1)), 1 };
    head.count = count;
    head.size = (uint32_t)size;
    head.runs = 1;
    hf_record_seal(bytes, &head, &run, position);
    hf_key_number(&key, position);
    CORE_OK(open_small(&disk, hurt_path(name)));
    CORE_OK(hf_txn_write(disk, &txn));
    CORE_OK(hf_txn_put(txn, HF_IN_LOG, hf_key_bytes(&key), hf_view(bytes, size)));
    CORE_OK(hf_txn_commit(txn));
    hf_disk_close(disk);
}

/* ---- Damage */

static inline int hurt_file(const char *name)
{
    char file[200];
    (void)snprintf(file, sizeof file, "%s/" HF_DATA_FILE, hurt_path(name));
    int fd = open(file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static inline void hurt_page(const char *name, uint64_t page, int byte)
{
    char bytes[HURT_PAGE];
    int fd = hurt_file(name);
    memset(bytes, byte, sizeof bytes);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, (off_t)(page * HURT_PAGE)), HURT_PAGE);
    (void)close(fd);
}

static inline hf_pages *hurt_pages(const char *name)
{
    char file[200];
    hf_pages *pages;
    (void)snprintf(file, sizeof file, "%s/" HF_DATA_FILE, hurt_path(name));
    assert_int_equal(hf_pages_open(&pages, file), HF_OK);
    assert_int_equal(hf_pages_size(pages), HURT_PAGE);
    return pages;
}

/* The page that a table begins at. */
static inline void hurt_table(const char *name, hf_table table)
{
    hf_pages_tree tree;
    hf_pages *pages = hurt_pages(name);
    assert_int_equal(hf_pages_table(pages, 0, hf_table_name(table), &tree), HF_OK);
    hf_pages_close(pages);
    assert_false(tree.empty);
    hurt_page(name, tree.root, 0xee);
}

/* Where the newest commit, or the one before it, leads to its tables. */
static inline uint64_t hurt_root(const char *name, int which)
{
    hf_pages *pages = hurt_pages(name);
    uint64_t page = hf_pages_root_of(pages, which).tables;
    hf_pages_close(pages);
    return page;
}

static inline int hurt_note_page(void *user, uint64_t page)
{
    uint64_t *list = user;
    list[++list[0]] = page;
    return HF_OK;
}

/* Both roots, and every page that could lead to tables. */
static inline void hurt_all_roots(const char *name)
{
    uint64_t list[500] = { 0 };
    hf_pages *pages = hurt_pages(name);
    assert_int_equal(hf_pages_trees(pages, "log", hurt_note_page, list), HF_OK);
    hf_pages_close(pages);
    assert_in_range(list[0], 1, 498);
    for (uint64_t i = 1; i <= list[0]; i++)
        hurt_page(name, list[i], 0);
    hurt_page(name, 0, 0);
    hurt_page(name, 1, 0);
}

#endif
