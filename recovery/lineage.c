/* lineage.c - which stores a restored one comes from.
 *
 * Happy path: the row is read once when a store is opened, and the first half of each
 * ancestor's keys is made; a message's id says whose it is. HF_ECORRUPT when the row is
 * damaged. Any thread; what is read does not change. */
#include "recovery/lineage.h"

#include "recovery/message_key.h"

#include "storage/error.h"
#include "storage/row.h"

enum { ANCESTOR = 24 }; /* below(8) uuid(16) */

int hf_lineage_parse(hf_lineage *lineage, hf_bytes payload)
{
    const uint8_t *at = payload.data;
    lineage->count = 0;
    if (payload.len % ANCESTOR || payload.len / ANCESTOR > HF_LINEAGE_MAX)
        return hf_error(HF_ECORRUPT, "meta lineage has %zu bytes", payload.len);
    for (size_t i = 0; i < payload.len / ANCESTOR; i++, at += ANCESTOR) {
        hf_ancestor *a = &lineage->of[lineage->count++];
        a->below = hf_get64(at);
        memcpy(a->uuid, at + 8, sizeof a->uuid);
        if (i && a->below <= a[-1].below)
            return hf_error(HF_ECORRUPT, "meta lineage is out of order");
    }
    return HF_OK;
}

int hf_lineage_add(hf_lineage *lineage, uint64_t below, const uint8_t *uuid)
{
    if (lineage->count == HF_LINEAGE_MAX)
        return hf_error(HF_EINVAL, "this store was restored %d times already", HF_LINEAGE_MAX);
    hf_ancestor *a = &lineage->of[lineage->count++];
    a->below = below;
    memcpy(a->uuid, uuid, sizeof a->uuid);
    return HF_OK;
}

int hf_lineage_write(hf_txn *txn, const hf_lineage *lineage)
{
    uint8_t bytes[HF_LINEAGE_MAX * ANCESTOR], *at = bytes;
    hf_rowbuf buf = { 0 };
    hf_key key;
    if (!lineage->count)
        return HF_OK;
    for (uint32_t i = 0; i < lineage->count; i++, at += ANCESTOR) {
        hf_put64(at, lineage->of[i].below);
        memcpy(at + 8, lineage->of[i].uuid, sizeof lineage->of[i].uuid);
    }
    hf_key_text(&key, "lineage");
    int err = hf_row_put(txn, HF_IN_META, &key, hf_view(bytes, (size_t)(at - bytes)), &buf);
    hf_rowbuf_done(&buf);
    return err;
}

int hf_prefixes_read(hf_prefixes *prefixes, hf_disk *disk)
{
    hf_lineage lineage;
    hf_bytes payload;
    hf_txn *txn;
    hf_key key;
    char digits[17];
    *prefixes = (hf_prefixes){ 0 };
    hf_message_key_prefix(prefixes->own, hf_disk_uuid(disk));
    int err = hf_txn_read(disk, &txn);
    if (err)
        return err;
    hf_key_text(&key, "lineage");
    err = hf_row_get(txn, HF_IN_META, &key, &payload);
    if (!err)
        err = hf_lineage_parse(&lineage, payload);
    for (uint32_t i = 0; !err && i < lineage.count; i++) {
        hf_message_key_prefix(digits, lineage.of[i].uuid);
        prefixes->of[i].below = lineage.of[i].below;
        memcpy(prefixes->of[i].digits, digits, 16);
        prefixes->count = i + 1;
    }
    hf_txn_abort(txn);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

const char *hf_prefix_inherited(const hf_prefixes *prefixes, uint64_t id)
{
    for (uint32_t i = 0; i < prefixes->count; i++)
        if (id < prefixes->of[i].below)
            return prefixes->of[i].digits;
    return prefixes->own;
}
