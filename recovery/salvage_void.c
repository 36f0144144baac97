/* salvage_void.c - old records of the log must not undo what rows say better.
 *
 * When nothing leads to the tables, nobody can tell the log's records from those that were
 * folded and deleted long ago. Applied again, such a record would put back an old state.
 * Happy path: record after record; an entry that sets a row which has a later position
 * becomes a VOID, and the record gets its checksum anew. HF_EFULL, HF_EIO, HF_ENOMEM.
 * One thread. */
#include "recovery/salvage.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/record.h"
#include "storage/sharing.h"

/* The row that the entry sets or deletes; false: none that has a position. */
static bool row_of(const hf_entry *e, hf_table *table, hf_key *key)
{
    switch (e->op) {
    case HF_OP_SAVE:
    case HF_OP_FORGET:
        *table = HF_IN_STATE;
        hf_key_actor(key, e->to, e->to_len, e->hash);
        return true;
    case HF_OP_ALARM:
    case HF_OP_CANCEL:
        *table = HF_IN_ALARM_NAMES;
        hf_due_key(key, e);
        return true;
    case HF_OP_PUT:
    case HF_OP_DROP:
        *table = hf_row_table(e);
        hf_key_name(key, e);
        return *table != HF_IN_DEDUPE; /* those know which letter is the newer one */
    default:
        return false;
    }
}

static bool is_old(hf_txn *txn, const hf_entry *e, uint64_t position)
{
    hf_table table;
    hf_key key;
    hf_bytes payload;
    if (!row_of(e, &table, &key) || hf_row_get(txn, table, &key, &payload) || payload.len < 16)
        return false;
    uint64_t at = table == HF_IN_ALARM_NAMES ? hf_get64((const uint8_t *)payload.data + 8)
                  : table == HF_IN_STATE     ? hf_state_position(hf_get64(payload.data))
                                             : hf_get64(payload.data);
    return at > position;
}

/* What was changed is sealed again. */
static int void_entries(hf_txn *txn, uint64_t position, uint8_t *data, size_t len, bool *changed)
{
    hf_record_head head;
    *changed = false;
    if (hf_record_check(data, len, position, &head))
        return HF_OK;
    uint8_t *first = data + hf_record_entries_at(head.runs), *at = first;
    for (uint32_t i = 0; i < head.count; i++) {
        hf_entry e;
        size_t size = hf_entry_decode(at, (size_t)(data + len - at), &e);
        if (!size) { /* then it is left as it is */
            *changed = false;
            return HF_OK;
        }
        if (is_old(txn, &e, position + i)) {
            at[0] = HF_OP_VOID;
            *changed = true;
        }
        at += size;
    }
    if (!*changed)
        return HF_OK;
    hf_run *runs = hf_mem_zero(head.runs + 1, sizeof *runs);
    if (!runs)
        return hf_error(HF_ENOMEM, "a record of %u runs", head.runs);
    for (uint32_t i = 0; i < head.runs; i++)
        runs[i] = hf_record_run(data, i);
    hf_record_seal(data, &head, runs, position);
    hf_mem_free(runs);
    return HF_OK;
}

static int void_record(hf_txn *txn, hf_key *key)
{
    hf_bytes value;
    int err = hf_txn_get(txn, HF_IN_LOG, hf_key_bytes(key), &value);
    uint8_t *copy = err ? NULL : hf_mem_alloc(value.len);
    if (err || !copy)
        return err ? err : hf_error(HF_ENOMEM, "a record of %zu bytes", value.len);
    memcpy(copy, value.data, value.len);
    bool changed;
    err = void_entries(txn, hf_get64_key(key->bytes), copy, value.len, &changed);
    if (!err && changed)
        err = hf_txn_put(txn, HF_IN_LOG, hf_key_bytes(key), hf_view(copy, value.len));
    hf_mem_free(copy);
    return err;
}

int hf_salvage_void(hf_disk *disk)
{
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes found, value;
    hf_key key = { .len = 8 };
    int err = HF_OK;
    for (uint64_t from = 0; !err; from = hf_get64_key(key.bytes) + 1) {
        err = hf_txn_write(disk, &txn);
        if (err)
            break;
        hf_key_number(&key, from);
        err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
        if (!err)
            err = hf_cursor_seek(cursor, hf_key_bytes(&key), &found, &value);
        if (!err)
            memcpy(key.bytes, found.data, 8);
        hf_cursor_close(cursor);
        if (!err)
            err = void_record(txn, &key);
        if (!err)
            err = hf_txn_commit(txn);
        else
            hf_txn_abort(txn);
    }
    return err == HF_ENOTFOUND ? HF_OK : err;
}
