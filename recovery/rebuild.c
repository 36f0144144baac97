/* rebuild.c - a new store out of the rows of another.
 *
 * Happy path: a store is made in a nest; rows come in and are committed some MiB at a
 * time; then what meta says about the whole; then it gets its name. Until that moment
 * nothing is at its place.
 * A renewed store gives ids that no store before it gave: it has its own uuid, and its
 * positions go on above what 2^24 a second since 2026 make, and 2^40 above the last.
 * HF_EFULL, HF_EIO, HF_ENOMEM, HF_ECORRUPT (what came can't be). One thread. */
#include "recovery/rebuild.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/marker.h"
#include "storage/memory.h"
#include "storage/random.h"
#include "storage/record.h"
#include "storage/row.h"

enum { TRANSACTION = 8 << 20 };
#define STORE_MAX_LEAST (UINT64_C(64) << 30)
#define YEAR_2026_S     UINT64_C(1767225600)
#define LEAP            (UINT64_C(1) << 40)
#define A_SECOND        24 /* bits of positions */

struct hf_rebuild {
    const hf_rebuild_plan *plan;
    uint8_t   uuid[16];
    hf_disk  *disk;
    hf_txn   *txn;
    uint64_t  pending; /* bytes of it */
    uint64_t  next, seed, folding;
    bool      has_seed;
    hf_lineage lineage;
};

int hf_rebuild_check(hf_table table, hf_bytes key, hf_bytes value)
{
    hf_record_head head;
    hf_bytes payload;
    if (table != HF_IN_LOG)
        return hf_row_open(table, key, value, &payload);
    if (key.len != 8)
        return hf_error(HF_ECORRUPT, "a record of the log has no position");
    return hf_record_check(value.data, value.len, hf_get64_key(key.data), &head);
}

void hf_rebuild_given(hf_rebuild *r, uint64_t position)
{
    if (position >= r->next)
        r->next = position + 1;
}

static int begin(hf_rebuild *r)
{
    return r->txn ? HF_OK : hf_txn_write(r->disk, &r->txn);
}

static int commit(hf_rebuild *r)
{
    hf_txn *txn = r->txn;
    r->txn = NULL;
    r->pending = 0;
    return txn ? hf_txn_commit(txn) : HF_OK;
}

static int put(hf_rebuild *r, hf_table table, hf_bytes key, hf_bytes value)
{
    void *room;
    int err = begin(r);
    if (err)
        return err;
    err = hf_txn_append(r->txn, table, key, value.len, &room);
    if (!err)
        memcpy(room, value.data, value.len);
    else if (err == HF_EINVAL) /* it does not come last */
        err = hf_txn_put(r->txn, table, key, value);
    r->pending += key.len + value.len;
    return !err && r->pending >= TRANSACTION ? commit(r) : err;
}

int hf_rebuild_find(hf_rebuild *r, hf_table table, hf_bytes key, hf_bytes *value)
{
    int err = begin(r);
    return err ? err : hf_txn_get(r->txn, table, key, value);
}

int hf_rebuild_below(hf_rebuild *r, hf_table table, hf_bytes key, hf_key *below)
{
    hf_cursor *cursor;
    hf_bytes found, value;
    int err = begin(r);
    if (!err)
        err = hf_cursor_open(r->txn, table, &cursor);
    if (err)
        return err;
    err = hf_cursor_seek(cursor, key, &found, &value);
    if (!err || err == HF_ENOTFOUND)
        err = err ? hf_cursor_last(cursor, &found, &value) : hf_cursor_prev(cursor, &found, &value);
    if (!err) {
        memcpy(below->bytes, found.data, found.len);
        below->len = found.len;
    }
    hf_cursor_close(cursor);
    return err;
}

static bool named(hf_bytes key, const char *name)
{
    return key.len == strlen(name) && memcmp(key.data, name, key.len) == 0;
}

/* Of a store that is renewed: what is known by name is written anew at the end. */
static int renew_meta(hf_rebuild *r, hf_bytes key, hf_bytes value)
{
    hf_bytes payload;
    int err = hf_row_open(HF_IN_META, key, value, &payload);
    if (err)
        return err;
    uint64_t number = payload.len == 8 ? hf_get64(payload.data) : 0;
    if (named(key, "uuid") || named(key, "clean"))
        return HF_OK;
    if (named(key, "lineage"))
        return hf_lineage_parse(&r->lineage, payload);
    if (named(key, "seed")) {
        r->seed = number;
        r->has_seed = true;
    } else if (named(key, "next")) {
        r->next = number > r->next ? number : r->next;
    } else if (named(key, "folding")) {
        r->folding = number;
    } else if (named(key, "format")) {
        return hf_format_check(r->plan->to, number > UINT32_MAX ? UINT32_MAX : (uint32_t)number);
    } else {
        return put(r, HF_IN_META, key, value);
    }
    return HF_OK;
}

int hf_rebuild_row(hf_rebuild *r, hf_table table, hf_bytes key, hf_bytes value)
{
    hf_record_head head;
    if (table == HF_IN_META && r->plan->renew)
        return renew_meta(r, key, value);
    if (table == HF_IN_LOG) {
        int err = key.len == 8
            ? hf_record_check(value.data, value.len, hf_get64_key(key.data), &head)
            : hf_error(HF_ECORRUPT, "a record of the log has no position");
        if (err)
            return err;
        if (head.count)
            hf_rebuild_given(r, hf_get64_key(key.data) + head.count - 1);
    }
    return put(r, table, key, value);
}

/* ---- What the whole is */

static uint64_t raised(uint64_t next)
{
    uint64_t now = hf_clock_wall_ms() / 1000;
    uint64_t by_time = now > YEAR_2026_S ? (now - YEAR_2026_S) << A_SECOND : 0;
    return next + LEAP > by_time ? next + LEAP : by_time;
}

static int write_identity(hf_rebuild *r)
{
    hf_rowbuf buf = { 0 };
    hf_key key;
    uint64_t next = raised(r->next);
    if (!r->has_seed)
        return hf_error(HF_ECORRUPT, "the seed of its address hashes is missing");
    int err = hf_lineage_add(&r->lineage, next, r->plan->uuid);
    if (!err)
        err = begin(r);
    if (!err)
        err = hf_lineage_write(r->txn, &r->lineage);
    if (!err)
        err = hf_meta_put(r->txn, "format", HF_FORMAT);
    if (!err)
        err = hf_meta_put(r->txn, "seed", r->seed);
    if (!err)
        err = hf_meta_put(r->txn, "next", next);
    if (!err)
        err = hf_meta_put(r->txn, "clean", 1);
    if (!err && r->folding)
        err = hf_meta_put(r->txn, "folding", r->folding);
    hf_key_text(&key, "uuid");
    if (!err)
        err = hf_row_put(r->txn, HF_IN_META, &key, hf_view(r->uuid, sizeof r->uuid), &buf);
    hf_rowbuf_done(&buf);
    return err;
}

static int fill(void *user, hf_disk *disk)
{
    hf_rebuild *r = user;
    const hf_rebuild_plan *plan = r->plan;
    r->disk = disk;
    int err = plan->source(plan->user, r);
    if (!err && plan->renew)
        err = write_identity(r);
    if (!err)
        err = commit(r);
    hf_txn_abort(r->txn);
    r->txn = NULL;
    return err || !plan->finish ? err : plan->finish(plan->user, disk);
}

int hf_rebuild_store(const hf_rebuild_plan *plan)
{
    hf_disk_options options = { .flags = plan->replace ? HF_REPLACE : 0 };
    hf_rebuild *r = hf_mem_zero(1, sizeof *r);
    if (!r)
        return hf_error(HF_ENOMEM, "%s", plan->to);
    r->plan = plan;
    r->next = 1;
    memcpy(r->uuid, plan->uuid, sizeof r->uuid);
    if (plan->renew)
        hf_random_bytes(r->uuid, sizeof r->uuid);
    if (plan->bytes > STORE_MAX_LEAST / 2)
        options.store_max = plan->bytes * 2;
    int err = hf_disk_make(plan->to, r->uuid, &options, fill, r);
    hf_mem_free(r);
    return err;
}
