/* compact.c - a store written anew, without the pages that are free.
 *
 * Happy path: take its lock, copy every row in key order into a nest, each checked, and
 * exchange the two directories in one step. It stays that very store: uuid, positions,
 * strikes, owner. Whoever opens it meanwhile gets HF_EBUSY.
 * Whatever fails leaves it as it was. One thread. */
#include "recovery/copying.h"
#include "recovery/rebuild.h"

#include "storage/error.h"

typedef struct compaction {
    hf_copying copying;
    hf_disk   *disk;
} compaction;

static int compact_row(void *user, hf_table table, hf_bytes key, hf_bytes value)
{
    return hf_rebuild_row(user, table, key, value);
}

static int compact_rows(void *user, hf_rebuild *rebuild)
{
    compaction *k = user;
    hf_txn *txn;
    int err = hf_txn_read(k->disk, &txn);
    if (err)
        return err;
    err = hf_copying_all(&k->copying, txn, compact_row, rebuild);
    hf_txn_abort(txn);
    return err;
}

/* An engine makes what is not there; this must not. */
static int open_there(hf_disk **disk, const char *path)
{
    int err = hf_disk_open(disk, path, &(hf_disk_options){ .flags = HF_LOOK });
    if (err)
        return err;
    hf_disk_close(*disk);
    return hf_disk_open(disk, path, NULL);
}

int hf_compact(const char *path, const char *to, hf_row_fn each, void *user)
{
    compaction k = { .copying = { .each = each, .user = user } };
    hf_error_clear();
    if (!path || (to && !*to))
        return hf_error(HF_EINVAL, "hf_compact");
    int err = open_there(&k.disk, path);
    if (err)
        return err;
    uint64_t before = hf_copying_file_bytes(path);
    hf_rebuild_plan plan = { .to = to ? to : hf_disk_path(k.disk), .replace = !to, .bytes = before,
                             .source = compact_rows, .user = &k };
    k.copying.total = before;
    memcpy(plan.uuid, hf_disk_uuid(k.disk), sizeof plan.uuid);
    err = hf_rebuild_store(&plan);
    hf_disk_close(k.disk);
    if (!err) {
        hf_copying_sum(&k.copying);
        hf_out_uint(&k.copying.row, "before", before);
        hf_out_uint(&k.copying.row, "after", hf_copying_file_bytes(to ? to : path));
        err = hf_copying_tell_sum(&k.copying);
    }
    hf_out_done(&k.copying.row);
    return err;
}
