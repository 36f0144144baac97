/* schema.c - the names of the tables; what the data says about itself, against the marker.
 *
 * The marker can be read without LMDB, the rows travel with the data: a data file
 * put beside another store's marker is found out here. Any thread. */
#include "storage/schema.h"

#include "storage/error.h"
#include "storage/random.h"
#include "storage/row.h"

static const char *const table_names[HF_TABLES] = {
    [HF_IN_LOG] = "log",       [HF_IN_INBOX] = "inbox",
    [HF_IN_STATE] = "state",   [HF_IN_ALARMS] = "alarms",
    [HF_IN_DEAD] = "dead",     [HF_IN_ALARM_NAMES] = "alarm_names",
    [HF_IN_STEPS] = "steps",   [HF_IN_PAUSES] = "pauses",
    [HF_IN_META] = "meta",     [HF_IN_ROWS] = "rows",
    [HF_IN_DEDUPE] = "dedupe", [HF_IN_TOPICS] = "topics",
};

const char *hf_table_name(hf_table table)
{
    return (unsigned)table < HF_TABLES ? table_names[table] : "?";
}

int hf_schema_write(hf_txn *txn, const uint8_t *uuid)
{
    hf_rowbuf buf = { 0 };
    hf_key key;

    int err = hf_meta_put(txn, "format", HF_FORMAT);
    if (!err)
        err = hf_meta_put(txn, "seed", hf_random());
    if (!err) {
        hf_key_text(&key, "uuid");
        err = hf_row_put(txn, HF_IN_META, &key, hf_view(uuid, 16), &buf);
    }
    hf_rowbuf_done(&buf);
    return err;
}

int hf_schema_seed(hf_disk *disk, uint64_t *seed)
{
    hf_txn *txn;
    int err = hf_txn_read(disk, &txn);
    if (err)
        return err;
    err = hf_meta_get(txn, "seed", 0, seed);
    hf_txn_abort(txn);
    return err;
}

int hf_schema_check(hf_txn *txn, const char *directory, const hf_marker *marker)
{
    hf_key key;
    hf_bytes found;
    uint64_t format, seed;

    int err = hf_meta_get(txn, "format", 0, &format);
    if (!err)
        err = hf_format_check(directory, format > UINT32_MAX ? UINT32_MAX : (uint32_t)format);
    if (err)
        return err;
    hf_key_text(&key, "uuid");
    err = hf_row_get(txn, HF_IN_META, &key, &found);
    if (err && err != HF_ENOTFOUND)
        return err;
    if (err || !format || found.len != 16)
        return hf_error(HF_ECORRUPT, "store %s lacks its first rows; see holdfast salvage",
                        directory);
    if (memcmp(found.data, marker->uuid, 16))
        return hf_error(HF_ECORRUPT, "%s: marker and data are of two different stores", directory);
    err = marker->seed ? hf_meta_get(txn, "seed", 0, &seed) : HF_OK;
    if (!err && marker->seed && seed != marker->seed)
        return hf_error(HF_ECORRUPT, "store %s lost the seed of its address hashes; see holdfast "
                                     "salvage", directory);
    return err;
}
