/* store.h - one store directory: its lock, its marker, its LMDB environment.
 *
 * The only file that knows LMDB is store.c. Everyone else speaks of a *disk*
 * (an open store), its *tables*, *transactions* and *cursors*.
 *
 * A commit has three outcomes:
 *   HF_OK        it is synced to disk;
 *   HF_EFULL     it is certainly not there, for want of space: try again later
 *                (ENOSPC, MDB_MAP_FULL, EFBIG, EDQUOT, and EIO only if the file
 *                system has then less free space than the transaction needs);
 *   HF_EUNKNOWN  it may or may not be there: the disk is dead from now on and
 *                every further call on it answers HF_EUNKNOWN (fail-stop). */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include "storage/codec.h"

#include "engine/holdfast.h"

#include <stdbool.h>

typedef struct hf_disk   hf_disk;
typedef struct hf_txn    hf_txn;
typedef struct hf_cursor hf_cursor;

typedef enum hf_table {
    HF_IN_LOG,         /* position -> record of entries */
    HF_IN_INBOX,       /* actor, place -> waiting message */
    HF_IN_STATE,       /* actor -> image */
    HF_IN_ALARMS,      /* due, generation -> actor, name */
    HF_IN_ALARM_NAMES, /* actor, name -> due, generation, body */
    HF_IN_DEAD,        /* id -> dead message */
    HF_IN_STEPS,       /* id, generation, number -> step */
    HF_IN_PAUSES,      /* what -> since, why */
    HF_IN_META,        /* name -> value */
    HF_IN_ROWS,        /* actor, shelf and name -> what an actor or the engine put there */
    HF_IN_DEDUPE,      /* actor, sender's word -> the message taken under it */
    HF_IN_TOPICS,      /* subscriber, topic -> nothing: that it is there says all */
    HF_TABLES       /* how many there are */
} hf_table;

const char *hf_table_name(hf_table table); /* as LMDB knows it */

/* HF_LOOK: read-only, beside a living engine or without one; takes no lock, makes
 * no store. Within one process those who look share the engine's environment. */
enum { HF_LOOK = 1 };

typedef struct hf_disk_options {
    uint64_t store_max; /* bytes of data the store may hold [64 GiB] */
    uint64_t reserve;   /* bytes of map above store_max [store_max / 8, at least
                           16 MiB]: what a full store still needs to shrink */
    uint32_t flags;     /* HF_LOOK or 0 */
    uint32_t lmdb_unsafe; /* test only: MDB_NOSYNC, MDB_NOMETASYNC bits */
} hf_disk_options;

/* Open the store at `path`, creating it (in a temporary directory, synced,
 * renamed, parent synced) if nothing is there. Errors: HF_EBUSY (detail names
 * the pid), HF_EVERSION, HF_ECORRUPT, HF_ENOTFOUND (HF_LOOK only), HF_EFULL,
 * HF_EINVAL (a file or a foreign directory is there), HF_EIO, HF_ENOMEM. */
int  hf_disk_open(hf_disk **disk, const char *path, const hf_disk_options *options);
void hf_disk_close(hf_disk *disk); /* NULL is fine; ends no transactions */

/* Make a whole store at `path`, where nothing or an empty directory is, or, with
 * HF_REPLACE, instead of the one there, whose lock the caller holds: `strikes` and
 * `last-stop` go along, owner and rights too. `fill` puts everything in, in transactions
 * of its own, meta included; nobody else sees the disk, which lives until it returns.
 * When anything fails nothing is at the path, or what was there. Errors: those of
 * hf_disk_open, HF_EINVAL (something is there), what `fill` returned. */
enum { HF_REPLACE = 2 };
typedef int (*hf_disk_fill)(void *user, hf_disk *disk);
int hf_disk_make(const char *path, const uint8_t uuid[16], const hf_disk_options *options,
                 hf_disk_fill fill, void *user);

const char    *hf_disk_path(const hf_disk *disk);
const char    *hf_disk_lmdb(const hf_disk *disk); /* LMDB's version */
uint64_t       hf_disk_page(const hf_disk *disk); /* bytes of a page of the file */
const uint8_t *hf_disk_uuid(const hf_disk *disk); /* 16 bytes, from the marker */
int            hf_disk_forked(const hf_disk *disk); /* HF_EFORK in a child, else HF_OK */

/* Who waits for a page of the file waits for as many around it as the machine reads ahead:
 * rows of many pages that lie anywhere are better named, a few early. A hint: nothing fails. */
void hf_disk_want(hf_bytes data); /* of a row, as a cursor shows it */

/* Write the file `last-stop` (time, pid, code, text), synced as well as may be:
 * called when the engine had to stop by itself, so it never fails. And read it:
 * HF_ENOTFOUND when there is none. Removed by hf_disk_forget_stop. */
void hf_disk_note_stop(hf_disk *disk, int err, const char *text);
int  hf_disk_last_stop(const hf_disk *disk, char *text, size_t size);
void hf_disk_forget_stop(hf_disk *disk);

/* Space. free_bytes: pages inside the file that no version uses any more;
 * tail_bytes: allocated beyond the end of the file for us alone. */
typedef struct hf_space {
    uint64_t file_bytes, free_bytes, tail_bytes, map_bytes, disk_free_bytes;
} hf_space;
int hf_disk_space(hf_disk *disk, hf_space *space);

/* Make sure that `want` bytes can be written whatever others do to the file
 * system: free pages in the file plus allocated tail, within the map. True if
 * so. Cheap when nothing changed (at most one look at the free list per call). */
bool hf_disk_headroom(hf_disk *disk, uint64_t want);
/* And may what is new use so much of it? Not where the file outgrew a store_max. */
bool hf_disk_admits(const hf_disk *disk, uint64_t want);

/* Stale readers of dead processes are swept; returns how many there were. */
int hf_disk_sweep(hf_disk *disk);

/* Who reads: a process that has a snapshot open, and how many commits came after that.
 * each: not HF_OK ends it, and is returned. */
typedef int (*hf_reader_fn)(void *user, uint64_t pid, uint64_t behind);
int hf_disk_readers(hf_disk *disk, hf_reader_fn each, void *user);

/* ---- Transactions. One write transaction at a time (a second one: HF_EBUSY),
 * used by the thread that began it. Read transactions see one committed moment;
 * keep them short (all 510 readers taken: HF_EAGAIN). Both answer HF_EUNKNOWN once
 * the disk is dead and HF_EFORK in a child. A transaction that a put or delete
 * spoiled does not commit: it answers that error again. */
int  hf_txn_write(hf_disk *disk, hf_txn **txn);
int  hf_txn_read(hf_disk *disk, hf_txn **txn);
int  hf_txn_commit(hf_txn *txn); /* ends it in every case */
void hf_txn_abort(hf_txn *txn);  /* NULL is fine */

/* What a put or delete reports: HF_OK, HF_ENOTFOUND (get, del), HF_EFULL,
 * HF_ENOMEM, HF_ECORRUPT, HF_EUNKNOWN. After HF_EFULL and worse abort. */
int hf_txn_get(hf_txn *txn, hf_table table, hf_bytes key, hf_bytes *value);
int hf_txn_put(hf_txn *txn, hf_table table, hf_bytes key, hf_bytes value);
int hf_txn_append(hf_txn *txn, hf_table table, hf_bytes key, size_t len, void **room);
int hf_txn_del(hf_txn *txn, hf_table table, hf_bytes key);
/* Which commit it reads: two with the same number show the same. */
uint64_t hf_txn_moment(const hf_txn *txn);

/* How many rows, and what their pages take. */
int hf_txn_size(hf_txn *txn, hf_table table, uint64_t *rows, uint64_t *bytes);
static inline int hf_txn_count(hf_txn *txn, hf_table table, uint64_t *rows)
{
    uint64_t bytes;
    return hf_txn_size(txn, table, rows, &bytes);
}

/* What says which pages are this table's, for leaves.c: as LMDB notes it, in the page of the
 * mapped file where it does. Of a transaction that reads. */
typedef struct hf_tree {
    uint64_t bytes, page_size; /* of the file, of a page */
    hf_bytes root;
} hf_tree;
int hf_txn_tree(const hf_txn *txn, hf_table table, hf_tree *tree);

/* ---- Cursors, for runs of keys in order. They end before their transaction.
 * Keys and values that come back live until the next write or the end of the
 * transaction. */
int  hf_cursor_open(hf_txn *txn, hf_table table, hf_cursor **cursor); /* or it is NULL */
void hf_cursor_close(hf_cursor *cursor); /* NULL is fine */
/* first >= key */
int  hf_cursor_seek(hf_cursor *cursor, hf_bytes key, hf_bytes *found, hf_bytes *value);
typedef enum hf_move { HF_NEXT, HF_PREV, HF_FIRST, HF_LAST } hf_move;
int  hf_cursor_move(hf_cursor *cursor, hf_move move, hf_bytes *key, hf_bytes *value);
int  hf_cursor_get(hf_cursor *cursor, hf_bytes key, hf_bytes *value); /* exactly key */
int  hf_cursor_put(hf_cursor *cursor, hf_bytes key, hf_bytes value);
/* The same for who writes rows in order and mostly replaces one of the next: some steps cost
 * less than a search. Where rows turn out to lie further apart it is hardly tried. */
int  hf_cursor_put_near(hf_cursor *cursor, hf_bytes key, hf_bytes value);
int  hf_cursor_del(hf_cursor *cursor); /* the row it stands on; next goes on behind it */

static inline int hf_cursor_next(hf_cursor *cursor, hf_bytes *key, hf_bytes *value)
{
    return hf_cursor_move(cursor, HF_NEXT, key, value);
}
static inline int hf_cursor_prev(hf_cursor *cursor, hf_bytes *key, hf_bytes *value)
{
    return hf_cursor_move(cursor, HF_PREV, key, value);
}
static inline int hf_cursor_first(hf_cursor *cursor, hf_bytes *key, hf_bytes *value)
{
    return hf_cursor_move(cursor, HF_FIRST, key, value);
}
static inline int hf_cursor_last(hf_cursor *cursor, hf_bytes *key, hf_bytes *value)
{
    return hf_cursor_move(cursor, HF_LAST, key, value);
}

/* As rows stand in a table: < 0, 0, > 0. */
static inline int hf_key_compare(hf_bytes a, hf_bytes b)
{
    if (a.len >= 8 && b.len >= 8) { /* mostly that says it */
        uint64_t x = hf_get64_key(a.data), y = hf_get64_key(b.data);
        if (x != y)
            return x < y ? -1 : 1;
    }
    if (a.len >= 16 && b.len >= 16) { /* or this, where many have the same type */
        uint64_t x = hf_get64_key((const uint8_t *)a.data + 8);
        uint64_t y = hf_get64_key((const uint8_t *)b.data + 8);
        if (x != y)
            return x < y ? -1 : 1;
    }
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

#endif
