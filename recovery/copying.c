/* copying.c - walk all rows of a store, and say how far it is.
 *
 * Happy path: table after table in key order, each row checked before it goes on: a copy
 * with damage in it would be found when it is too late. HF_ECORRUPT names the table and
 * points to salvage. One thread. */
#include "recovery/copying.h"

#include "recovery/rebuild.h"

#include "storage/datafile.h"
#include "storage/error.h"
#include "storage/kept.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

enum { TELL = 4 << 20 };

void hf_copying_sum(hf_copying *c)
{
    uint64_t rows = 0;
    hf_out_clear(&c->row);
    hf_out_map(&c->row, NULL);
    hf_out_bool(&c->row, "done", true);
    hf_out_map(&c->row, "tables");
    for (int t = 0; t < HF_TABLES; t++) {
        hf_out_uint(&c->row, hf_table_name((hf_table)t), c->rows[t]);
        rows += c->rows[t];
    }
    hf_out_end(&c->row);
    hf_out_uint(&c->row, "rows", rows);
    hf_out_uint(&c->row, "bytes", c->bytes);
}

static int tell(hf_copying *c)
{
    hf_out_end(&c->row);
    return c->row.err ? c->row.err : c->each(c->user, hf_out_bytes(&c->row));
}

int hf_copying_tell_sum(hf_copying *c)
{
    if (!c->each)
        return HF_OK;
    if (c->row.err)
        return hf_error(HF_EUNKNOWN, "it was done, but there is no memory to tell of it");
    return tell(c);
}

int hf_copying_row(hf_copying *c, hf_table table, hf_bytes key, hf_bytes value)
{
    c->rows[table]++;
    c->bytes += key.len + value.len;
    return c->bytes - c->told < TELL ? HF_OK : hf_copying_tell(c);
}

int hf_copying_tell(hf_copying *c)
{
    c->told = c->bytes;
    if (!c->each)
        return HF_OK;
    hf_out_clear(&c->row);
    hf_out_map(&c->row, NULL);
    hf_out_uint(&c->row, "bytes", c->bytes);
    hf_out_uint(&c->row, "of", c->total);
    return tell(c);
}

static int copy_table(hf_copying *c, hf_txn *txn, hf_table table, hf_copying_to to, void *user)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    char why[256];
    int err = hf_cursor_open(txn, table, &cursor);
    if (err)
        return err;
    err = table == HF_IN_LOG ? hf_kept_seek(txn, cursor, &key, &value) /* without the history */
                             : hf_cursor_first(cursor, &key, &value);
    for (; !err; err = hf_cursor_next(cursor, &key, &value)) {
        err = hf_rebuild_check(table, key, value);
        if (err == HF_ECORRUPT) {
            (void)snprintf(why, sizeof why, "%s", hf_error_detail());
            err = hf_error(err, "table %s: %s; see holdfast verify and holdfast salvage",
                           hf_table_name(table), why);
        }
        if (!err)
            err = to(user, table, key, value);
        if (!err)
            err = hf_copying_row(c, table, key, value);
        if (err)
            break;
    }
    hf_cursor_close(cursor);
    return err;
}

int hf_copying_all(hf_copying *c, hf_txn *txn, hf_copying_to to, void *user)
{
    int err = HF_ENOTFOUND;
    for (int t = 0; t < HF_TABLES && err == HF_ENOTFOUND; t++)
        err = copy_table(c, txn, (hf_table)t, to, user);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

uint64_t hf_copying_file_bytes(const char *path)
{
    char file[PATH_MAX + 32];
    struct stat st;
    (void)snprintf(file, sizeof file, "%s/" HF_DATA_FILE, path);
    return stat(file, &st) ? 0 : (uint64_t)st.st_size;
}
