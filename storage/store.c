/* store.c - transactions, tables and cursors of a store; the only file that knows LMDB.
 *
 * Happy path: disk.c has the environment mapped and the tables opened; then come
 * transactions, rows, commits. All are thin wrappers: read transactions and their reader
 * slots are pooled, nothing is allocated per row. What fails: a put or delete marks its
 * transaction, which can then only be aborted; a commit has the three outcomes of store.h (see
 * outcome()). After an unknown one the disk is dead: every later call answers HF_EUNKNOWN.
 * Any thread; the write transaction: the thread that began it. */
#include "storage/assert.h"
#include "storage/env.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <unistd.h>

#define READERS 510 /* slots of LMDB's reader table, all processes together: HF_ENV_LOCK_TABLE */
enum { FREE_TABLE, MAIN_TABLE }; /* LMDB's own two */
enum { STEPS = 4, MISSES = 8, RARELY = 32 }; /* hf_cursor_put_near */

struct hf_cursor {
    hf_txn     *txn;
    MDB_cursor *mdb;
    hf_table    table;
    bool        stands; /* on a row */
    uint32_t    misses; /* puts whose row was not among the next */
};

/* ---- Errors */

static const char *reason(int rc)
{
    return rc < 0 ? mdb_strerror(rc) : strerror(rc);
}

static bool out_of_space(int rc)
{
    return rc == MDB_MAP_FULL || rc == MDB_TXN_FULL || rc == ENOSPC || rc == EDQUOT || rc == EFBIG;
}

static int die(hf_env *e, const char *what, int rc)
{
    atomic_store(&e->dead, true);
    return hf_error(HF_EUNKNOWN, "%s %s: %s", what, e->path, reason(rc));
}

int hf_env_usable(const hf_env *e)
{
    if (e->forks != atomic_load_explicit(&hf_fork_count, memory_order_relaxed))
        return hf_error(HF_EFORK, "store %s was opened by the parent process", e->path);
    if (atomic_load_explicit(&e->dead, memory_order_relaxed))
        return hf_error(HF_EUNKNOWN, "store %s stopped after a failed write", e->path);
    return HF_OK;
}

/* LMDB calls this before it aborts the process. */
static void assertion_failed(MDB_env *mdb, const char *text)
{
    const hf_env *e = mdb_env_get_userctx(mdb);
    fprintf(stderr, "holdfast: store %s: LMDB found its data damaged and stops the process: %s; "
            "see holdfast verify and holdfast salvage\n",
            e ? e->path : "?", text);
}

/* ---- Space */

static int oldest_reader(const char *line, void *user)
{
    size_t *oldest = user, txn;
    if (sscanf(line, "%*d %*x %zu", &txn) == 1 && txn < *oldest)
        *oldest = txn;
    return 0;
}

/* Pages that the next write transaction may use: all that no tree holds, but for
 * those freed since the oldest reader's moment and by the last commit. LMDB takes
 * a free list only if its transaction is older than that. */
static int spare_pages(const hf_txn *txn, uint64_t *pages)
{
    MDB_stat stat;
    MDB_envinfo info;
    MDB_cursor *cursor;
    hf_env *e = txn->env;
    size_t limit = mdb_txn_id(txn->mdb);
    uint64_t used = 2, pinned = 0;
    for (int i = -2; i < HF_TABLES; i++) {
        MDB_dbi dbi = i == -2 ? FREE_TABLE : i == -1 ? MAIN_TABLE : e->tables[i];
        int rc = mdb_stat(txn->mdb, dbi, &stat);
        if (rc)
            return rc;
        used += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    int rc = mdb_reader_list(e->mdb, oldest_reader, &limit);
    if (rc < 0 || (rc = mdb_cursor_open(txn->mdb, FREE_TABLE, &cursor)))
        return rc;
    MDB_val key = { sizeof limit, &limit }, list;
    for (rc = mdb_cursor_get(cursor, &key, &list, MDB_SET_RANGE); rc == 0;
         rc = mdb_cursor_get(cursor, &key, &list, MDB_NEXT)) {
        size_t count;
        memcpy(&count, list.mv_data, sizeof count);
        pinned += count;
    }
    mdb_cursor_close(cursor);
    (void)mdb_env_info(e->mdb, &info);
    uint64_t all = (uint64_t)info.me_last_pgno + 1;
    *pages = all > used + pinned ? all - used - pinned : 0;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

uint64_t hf_env_file_bytes(const hf_env *e, size_t *commit)
{
    MDB_envinfo info;
    (void)mdb_env_info(e->mdb, &info);
    if (commit)
        *commit = info.me_last_txnid;
    return ((uint64_t)info.me_last_pgno + 1) * e->page_size;
}

int hf_env_spare(hf_disk *disk, uint64_t *bytes)
{
    hf_env *e = disk->env;
    hf_txn *txn;
    int err = hf_txn_read(disk, &txn);
    if (err)
        return err;
    int rc = spare_pages(txn, bytes);
    *bytes *= e->page_size;
    hf_txn_abort(txn);
    return rc ? hf_error(HF_ECORRUPT, "free list of %s: %s", e->path, reason(rc)) : HF_OK;
}

/* ---- Opening and closing an environment */

void hf_env_close(hf_env *e)
{
    for (int i = 0; i < HF_ENV_POOLED; i++) {
        hf_txn *txn = atomic_exchange(&e->idle[i], NULL);
        if (txn)
            mdb_txn_abort(txn->mdb);
        hf_mem_free(txn);
    }
    if (e->watch >= 0)
        (void)close(e->watch);
    if (e->mdb)
        mdb_env_close(e->mdb);
    hf_mem_free(e);
}

static int map_failed(const hf_env *e, const hf_disk_options *options, int rc)
{
    if (rc == MDB_INVALID || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND)
        return hf_error(HF_ECORRUPT, "%s: %s; see holdfast salvage", e->path, reason(rc));
    if (rc == MDB_VERSION_MISMATCH)
        return hf_error(HF_EVERSION, "%s: %s", e->path, reason(rc));
    return hf_error(rc == ENOMEM ? HF_ENOMEM : out_of_space(rc) ? HF_EFULL : HF_EIO,
                    "cannot map %s with store_max %" PRIu64 " (%" PRIu64 " bytes with reserve): %s",
                    e->path, options->store_max, e->map_bytes, reason(rc));
}

/* The environment in `directory`, `e->path` or the nest that becomes it. */
int hf_env_map(hf_env *e, const char *directory, const hf_disk_options *options)
{
    unsigned flags = MDB_NOTLS | (e->writable ? 0 : MDB_RDONLY)
                     | (options->lmdb_unsafe & (MDB_NOSYNC | MDB_NOMETASYNC));
    MDB_stat stat;
    int rc = mdb_env_create(&e->mdb);
    if (rc)
        return map_failed(e, options, rc);
    (void)mdb_env_set_userctx(e->mdb, e);
    (void)mdb_env_set_assert(e->mdb, assertion_failed);
    (void)mdb_env_set_maxdbs(e->mdb, HF_TABLES);
    (void)mdb_env_set_maxreaders(e->mdb, READERS);
    (void)mdb_env_set_mapsize(e->mdb, (size_t)e->map_bytes);
    rc = mdb_env_open(e->mdb, directory, flags, 0600);
    if (rc)
        return map_failed(e, options, rc);
    (void)mdb_env_stat(e->mdb, &stat);
    e->page_size = stat.ms_psize;
    e->lmdb = mdb_version(NULL, NULL, NULL);
    return HF_OK;
}

int hf_env_remap(hf_env *e, const hf_disk_options *options)
{
    int rc = mdb_env_set_mapsize(e->mdb, (size_t)e->map_bytes);
    return rc ? map_failed(e, options, rc) : HF_OK;
}

/* The handles of the tables, which stay valid after this transaction. */
int hf_env_tables(hf_env *e, bool create)
{
    MDB_txn *txn;
    const char *what = "a transaction";
    int rc = mdb_txn_begin(e->mdb, NULL, create ? 0 : MDB_RDONLY, &txn);
    if (!rc) {
        for (int i = 0; i < HF_TABLES && !rc; i++) {
            what = hf_table_name((hf_table)i);
            rc = mdb_dbi_open(txn, what, create ? MDB_CREATE : 0, &e->tables[i]);
        }
        if (rc)
            mdb_txn_abort(txn);
        else
            rc = mdb_txn_commit(txn);
    }
    if (rc < 0 && !out_of_space(rc))
        return hf_error(HF_ECORRUPT, "%s: %s: %s; see holdfast salvage", e->path, what, reason(rc));
    int err = !rc ? HF_OK : out_of_space(rc) ? HF_EFULL : rc == ENOMEM ? HF_ENOMEM : HF_EIO;
    return err ? hf_error(err, "cannot open table %s of %s: %s", what, e->path, reason(rc)) : HF_OK;
}

int hf_env_fd(hf_env *e)
{
    mdb_filehandle_t fd = -1;
    (void)mdb_env_get_fd(e->mdb, &fd);
    return fd;
}

int hf_env_sweep(hf_env *e)
{
    int swept = 0, rc = mdb_reader_check(e->mdb, &swept);
    return rc ? hf_error(HF_EIO, "readers of %s: %s", e->path, reason(rc)) : swept;
}

int hf_env_readers(hf_env *e, int (*line)(const char *text, void *user), void *user)
{
    int rc = mdb_reader_list(e->mdb, line, user);
    return rc < 0 ? hf_error(HF_EIO, "readers of %s: %s", e->path, reason(rc)) : HF_OK;
}

/* ---- Transactions */

static int begin_failed(hf_env *e, int rc)
{
    switch (rc) {
    case ENOMEM:
        return hf_error(HF_ENOMEM, "cannot begin on %s", e->path);
    case MDB_READERS_FULL:
        return hf_error(HF_EAGAIN, "store %s has all %d readers it can have", e->path, READERS);
    case MDB_MAP_RESIZED:
        return hf_error(HF_EAGAIN, "store %s has outgrown the map: open it again", e->path);
    case MDB_PANIC:
        return die(e, "cannot begin on", rc);
    default:
        return hf_error(HF_EIO, "cannot begin on %s: %s", e->path, reason(rc));
    }
}

int hf_txn_write(hf_disk *disk, hf_txn **txn)
{
    hf_env *e = disk->env;
    int err = hf_env_usable(e);
    if (err)
        return err;
    if (disk->look)
        return hf_error(HF_EINVAL, "store %s is open for looking only", e->path);
    if (atomic_exchange_explicit(&e->writing, true, memory_order_acquire))
        return hf_error(HF_EBUSY, "store %s has an open write transaction", e->path);
    e->writer = (hf_txn){ .env = e, .write = true };
    int rc = mdb_txn_begin(e->mdb, NULL, 0, &e->writer.mdb);
    if (rc) {
        atomic_store_explicit(&e->writing, false, memory_order_release);
        return begin_failed(e, rc);
    }
    *txn = &e->writer;
    return HF_OK;
}

int hf_txn_read(hf_disk *disk, hf_txn **txn)
{
    hf_env *e = disk->env;
    int err = hf_env_usable(e);
    if (err)
        return err;
    for (int i = 0; i < HF_ENV_POOLED; i++) {
        if (!atomic_load_explicit(&e->idle[i], memory_order_relaxed))
            continue;
        *txn = atomic_exchange_explicit(&e->idle[i], NULL, memory_order_acquire);
        if (!*txn)
            continue;
        int rc = mdb_txn_renew((*txn)->mdb);
        if (!rc)
            return HF_OK;
        mdb_txn_abort((*txn)->mdb);
        hf_mem_free(*txn);
        *txn = NULL;
        return begin_failed(e, rc);
    }
    hf_txn *made = hf_mem_zero(1, sizeof *made);
    if (!made)
        return hf_error(HF_ENOMEM, "cannot begin on %s", e->path);
    made->env = e;
    int rc = mdb_txn_begin(e->mdb, NULL, MDB_RDONLY, &made->mdb);
    if (rc) {
        hf_mem_free(made);
        return begin_failed(e, rc);
    }
    *txn = made;
    return HF_OK;
}

static void read_end(hf_txn *txn)
{
    hf_env *e = txn->env;
    mdb_txn_reset(txn->mdb);
    for (int i = 0; i < HF_ENV_POOLED; i++) {
        hf_txn *none = NULL;
        if (!atomic_load_explicit(&e->idle[i], memory_order_relaxed)
            && atomic_compare_exchange_strong_explicit(&e->idle[i], &none, txn,
                                                       memory_order_release, memory_order_relaxed))
            return;
    }
    mdb_txn_abort(txn->mdb);
    hf_mem_free(txn);
}

void hf_txn_abort(hf_txn *txn)
{
    if (!txn || txn->env->forks != atomic_load_explicit(&hf_fork_count, memory_order_relaxed))
        return;
    HF_ASSERT(!txn->cursors);
    if (!txn->write) {
        read_end(txn);
        return;
    }
    mdb_txn_abort(txn->mdb);
    atomic_store_explicit(&txn->env->writing, false, memory_order_release);
}

/* ---- The outcome of a commit */

/* LMDB says EIO for a failed sync and for a short write alike. A descriptor that
 * was open before a write-back failed is told of it once, whatever other
 * descriptors have been told: so ours knows. */
static bool sync_failed(const hf_env *e)
{
    return fdatasync(e->watch) != 0;
}

/* A commit ended with `rc`. LMDB writes pages, syncs, and then writes the meta page
 * that makes it count. If that last write fails, nobody knows what is on disk, and
 * the environment refuses everything from then on: so ask it. Before that point
 * nothing counts, but a failed sync stops us all the same. */
static int outcome(hf_txn *txn, int rc)
{
    hf_env *e = txn->env;
    MDB_txn *probe;

    if (rc == 0)
        return HF_OK;
    int panic = mdb_txn_begin(e->mdb, NULL, 0, &probe);
    if (panic == 0)
        mdb_txn_abort(probe);
    else
        return die(e, "a commit failed at its last write, to", rc);
    if (rc == ENOMEM)
        return hf_error(HF_ENOMEM, "commit to %s", e->path);
    if (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL)
        return hf_error(HF_EFULL, "commit to %s: %s", e->path, reason(rc));
    if (sync_failed(e) || !(out_of_space(rc) || (rc == EIO && hf_env_lacks_room(txn))))
        return die(e, "a commit failed, to", rc);
    return hf_error(HF_EFULL, "commit to %s: %s", e->path, reason(rc));
}

int hf_txn_commit(hf_txn *txn)
{
    hf_env *e = txn->env;
    int err = hf_env_usable(e);
    if (!err)
        err = txn->err;
    if (err || !txn->write) {
        hf_txn_abort(txn);
        return err;
    }
    HF_ASSERT(!txn->cursors);
    HF_TESTPOINT("store.commit");
    err = outcome(txn, mdb_txn_commit(txn->mdb));
    HF_TESTPOINT("store.committed");
    atomic_store_explicit(&e->writing, false, memory_order_release);
    return err;
}

/* ---- Rows */

/* A put, delete or look-up ended with `rc`, not 0. */
static int row_failed(hf_txn *txn, hf_table table, int rc)
{
    hf_env *e = txn->env;
    int err;

    if (rc == MDB_NOTFOUND)
        return HF_ENOTFOUND;
    if (rc == MDB_KEYEXIST)
        return hf_error(HF_EINVAL, "a row appended to table %s does not come last",
                        hf_table_name(table));
    if (rc == MDB_BAD_VALSIZE || rc == EINVAL)
        return hf_error(HF_EINVAL, "a row of table %s is too large or has a bad key",
                        hf_table_name(table));
    if (rc == ENOMEM)
        err = hf_error(HF_ENOMEM, "table %s of %s", hf_table_name(table), e->path);
    else if (out_of_space(rc) || (rc == EIO && hf_env_lacks_room(txn)))
        err = hf_error(HF_EFULL, "table %s of %s: %s", hf_table_name(table), e->path, reason(rc));
    else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_CURSOR_FULL)
        err = hf_error(HF_ECORRUPT, "table %s of %s: %s; see holdfast salvage",
                       hf_table_name(table), e->path, reason(rc));
    else if (rc == MDB_BAD_TXN && txn->err)
        err = txn->err;
    else
        err = die(e, "cannot use", rc);
    if (!txn->err)
        txn->err = err;
    return err;
}

static inline MDB_val to_val(hf_bytes bytes)
{
    return (MDB_val){ bytes.len, (void *)(uintptr_t)bytes.data };
}

static inline hf_bytes to_bytes(MDB_val val)
{
    return hf_view(val.mv_data, val.mv_size);
}

static inline int count_row(hf_txn *txn, size_t bytes)
{
    txn->bytes += bytes;
    txn->rows++;
    return HF_OK;
}

int hf_txn_get(hf_txn *txn, hf_table table, hf_bytes key, hf_bytes *value)
{
    MDB_val k = to_val(key), v = { 0 };
    int rc = mdb_get(txn->mdb, txn->env->tables[table], &k, &v);
    if (rc)
        return row_failed(txn, table, rc);
    *value = to_bytes(v);
    return HF_OK;
}

int hf_txn_put(hf_txn *txn, hf_table table, hf_bytes key, hf_bytes value)
{
    MDB_val k = to_val(key), v = to_val(value);
    int rc = mdb_put(txn->mdb, txn->env->tables[table], &k, &v, 0);
    return rc ? row_failed(txn, table, rc) : count_row(txn, key.len + value.len);
}

int hf_txn_append(hf_txn *txn, hf_table table, hf_bytes key, size_t len, void **room)
{
    MDB_val k = to_val(key), v = { len, NULL };
    int rc = mdb_put(txn->mdb, txn->env->tables[table], &k, &v, MDB_APPEND | MDB_RESERVE);
    if (rc)
        return row_failed(txn, table, rc);
    *room = v.mv_data;
    return count_row(txn, key.len + len);
}

int hf_txn_del(hf_txn *txn, hf_table table, hf_bytes key)
{
    MDB_val k = to_val(key);
    int rc = mdb_del(txn->mdb, txn->env->tables[table], &k, NULL);
    return rc ? row_failed(txn, table, rc) : count_row(txn, key.len);
}

uint64_t hf_txn_moment(const hf_txn *txn)
{
    return mdb_txn_id(txn->mdb);
}

int hf_txn_size(hf_txn *txn, hf_table table, uint64_t *rows, uint64_t *bytes)
{
    MDB_stat stat;
    int rc = mdb_stat(txn->mdb, txn->env->tables[table], &stat);
    if (rc)
        return row_failed(txn, table, rc);
    *rows = stat.ms_entries;
    *bytes = stat.ms_psize * (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages);
    return HF_OK;
}

int hf_txn_tree(const hf_txn *txn, hf_table table, hf_tree *tree)
{
    const char *name = hf_table_name(table);
    MDB_val v = { 0 }, k = { strlen(name), (void *)(uintptr_t)name };
    const hf_env *e = txn->env;
    HF_ASSERT(!txn->write);
    int rc = mdb_get(txn->mdb, MAIN_TABLE, &k, &v);
    *tree = (hf_tree){ hf_env_file_bytes(e, NULL), e->page_size, to_bytes(v) };
    return rc ? row_failed((hf_txn *)(uintptr_t)txn, table, rc) : HF_OK;
}

/* ---- Cursors */
int hf_cursor_open(hf_txn *txn, hf_table table, hf_cursor **cursor)
{
    hf_cursor *made = hf_mem_alloc(sizeof *made);
    *cursor = NULL;
    if (!made)
        return hf_error(HF_ENOMEM, "cursor on table %s", hf_table_name(table));
    *made = (hf_cursor){ .txn = txn, .table = table };
    int rc = mdb_cursor_open(txn->mdb, txn->env->tables[table], &made->mdb);
    if (rc) {
        hf_mem_free(made);
        return row_failed(txn, table, rc);
    }
    txn->cursors++;
    *cursor = made;
    return HF_OK;
}

void hf_cursor_close(hf_cursor *cursor)
{
    if (!cursor)
        return;
    mdb_cursor_close(cursor->mdb);
    cursor->txn->cursors--;
    hf_mem_free(cursor);
}

static inline int cursor_go(hf_cursor *cursor, MDB_cursor_op op, MDB_val *k, hf_bytes *key,
                            hf_bytes *value)
{
    MDB_val v = { 0 }; /* a damaged page may answer without one */
    int rc = mdb_cursor_get(cursor->mdb, k, &v, op);
    cursor->stands = rc == 0;
    if (rc)
        return row_failed(cursor->txn, cursor->table, rc);
    if (key)
        *key = to_bytes(*k);
    if (value)
        *value = to_bytes(v);
    return HF_OK;
}

int hf_cursor_seek(hf_cursor *cursor, hf_bytes key, hf_bytes *found, hf_bytes *value)
{
    MDB_val k = to_val(key);
    return cursor_go(cursor, MDB_SET_RANGE, &k, found, value);
}

int hf_cursor_get(hf_cursor *cursor, hf_bytes key, hf_bytes *value)
{
    MDB_val k = to_val(key);
    return cursor_go(cursor, MDB_SET_KEY, &k, NULL, value);
}

int hf_cursor_move(hf_cursor *cursor, hf_move move, hf_bytes *key, hf_bytes *value)
{
    const MDB_cursor_op ops[] = { MDB_NEXT, MDB_PREV, MDB_FIRST, MDB_LAST };
    return cursor_go(cursor, ops[move], &(MDB_val){ 0 }, key, value);
}

static int put(hf_cursor *cursor, hf_bytes key, hf_bytes value, unsigned flags)
{
    MDB_val k = to_val(key), v = to_val(value);
    int rc = mdb_cursor_put(cursor->mdb, &k, &v, flags);
    cursor->stands = rc == 0;
    return rc ? row_failed(cursor->txn, cursor->table, rc)
              : count_row(cursor->txn, key.len + value.len);
}

int hf_cursor_put(hf_cursor *cursor, hf_bytes key, hf_bytes value)
{
    return put(cursor, key, value, 0);
}

int hf_cursor_put_near(hf_cursor *cursor, hf_bytes key, hf_bytes value)
{
    MDB_val k = { 0 };
    int rc = 0, order = -1;
    bool tries = cursor->stands && (cursor->misses < MISSES || cursor->misses++ % RARELY == 0);
    for (int i = 0; tries && i < STEPS && order < 0; i++) {
        rc = mdb_cursor_get(cursor->mdb, &k, NULL, MDB_NEXT); /* no look at others' values */
        order = rc ? 1 : hf_key_compare(to_bytes(k), key);
    }
    if (rc && rc != MDB_NOTFOUND)
        return row_failed(cursor->txn, cursor->table, rc);
    if (tries)
        cursor->misses = order ? cursor->misses + 1 : 0;
    return put(cursor, key, value, order ? 0 : MDB_CURRENT);
}

int hf_cursor_del(hf_cursor *cursor)
{
    if (!cursor->stands)
        return hf_error(HF_EINVAL, "the cursor stands on no row of table %s",
                        hf_table_name(cursor->table));
    int rc = mdb_cursor_del(cursor->mdb, 0);
    cursor->stands = false;
    return rc ? row_failed(cursor->txn, cursor->table, rc) : count_row(cursor->txn, 0);
}
