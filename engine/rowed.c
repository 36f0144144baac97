/* rowed.c - actors whose rows changed in this run: what is not folded yet.
 *
 * Happy path: a turn that stands hands over its set; the actor's first becomes the
 * actor's own, later ones are moved into it item by item. When the fold has passed
 * an item's batch the tables tell the same, and it goes. Nothing here fails: the
 * memory was the turn's. A set is found by its actor in a table of the shard's, so
 * that actors without rows don't pay for it; while a turn of the actor runs on a
 * pool its set stays as it is. The shard's thread. */
#include "engine/rows.h"

#include "storage/memory.h"

enum { SETS_EACH = 4 }; /* in a bucket, before there are more buckets */

static hf_rowset **bucket_of(hf_shard *shard, const hf_actor *actor)
{
    if (!shard->row_buckets)
        return &shard->row_sets;
    return &shard->row_buckets[(uint32_t)actor->hash & shard->row_mask];
}

static hf_rowset *find(hf_shard *shard, const hf_actor *actor)
{
    hf_rowset *set = *bucket_of(shard, actor);
    while (set && set->actor != actor)
        set = set->next;
    return set;
}

static uint32_t buckets(const hf_shard *shard)
{
    return shard->row_buckets ? shard->row_mask + 1 : 1;
}

static hf_rowset **bucket_at(hf_shard *shard, uint32_t i)
{
    return shard->row_buckets ? &shard->row_buckets[i] : &shard->row_sets;
}

/* Without memory the chains just get longer. */
static void spread(hf_shard *shard)
{
    uint32_t before = buckets(shard), count = before * 4;
    hf_rowset **wider = hf_mem_zero(count, sizeof *wider);
    if (!wider)
        return;
    for (uint32_t i = 0; i < before; i++) {
        for (hf_rowset *set = *bucket_at(shard, i), *next; set; set = next) {
            next = set->next;
            hf_rowset **to = &wider[(uint32_t)set->actor->hash & (count - 1)];
            set->next = *to;
            *to = set;
        }
    }
    hf_mem_free(shard->row_buckets);
    shard->row_sets = NULL;
    shard->row_buckets = wider;
    shard->row_mask = count - 1;
}

static void adopt(hf_shard *shard, hf_actor *actor, hf_rowset *set)
{
    if (shard->row_count >= buckets(shard) * SETS_EACH)
        spread(shard);
    hf_rowset **bucket = bucket_of(shard, actor);
    set->actor = actor;
    set->next = *bucket;
    *bucket = set;
    shard->row_count++;
    shard->actors.bytes += sizeof *set + set->bytes;
    actor->rowed = true;
}

static void remove_set(hf_shard *shard, hf_rowset *set)
{
    hf_rowset **link = bucket_of(shard, set->actor);
    while (*link != set)
        link = &(*link)->next;
    *link = set->next;
    shard->row_count--;
    shard->actors.bytes -= sizeof *set + set->bytes;
    set->actor->rowed = false;
    hf_rowset_free(set);
}

void hf_rows_keep(hf_shard *shard, hf_actor *actor, hf_turn_rows *rows, uint64_t batch)
{
    hf_rowset *staged = rows->staged, *set = actor->rowed ? find(shard, actor) : NULL;
    if (!staged->count)
        return;
    for (hf_rowitem *item = staged->oldest; item; item = item->newer)
        item->batch = batch;
    if (!set) {
        rows->staged = NULL;
        adopt(shard, actor, staged);
        return;
    }
    size_t before = set->bytes;
    for (hf_rowitem *item; (item = hf_rowset_take(staged)) != NULL;)
        hf_rowitem_free(hf_rowset_put(set, item));
    shard->actors.bytes += set->bytes - before;
}

/* What the tables tell by now goes. */
static void trim(hf_shard *shard, hf_rowset *set)
{
    size_t before = set->bytes;
    while (set->oldest && hf_resident_is_folded(shard, set->oldest->batch))
        hf_rowitem_free(hf_rowset_take(set));
    shard->actors.bytes -= before - set->bytes;
    if (!set->count)
        remove_set(shard, set);
}

const hf_rowset *hf_rows_lend(hf_shard *shard, hf_actor *actor)
{
    return actor->rowed ? find(shard, actor) : NULL;
}

void hf_rows_drop(hf_shard *shard, hf_actor *actor)
{
    if (actor->rowed)
        remove_set(shard, find(shard, actor));
}

static bool is_lent(const hf_actor *actor)
{
    return actor->kind->pooled && actor->mailbox && actor->mailbox->running;
}

void hf_rows_fold(hf_shard *shard)
{
    for (uint32_t i = 0; shard->row_count && i < buckets(shard); i++) {
        for (hf_rowset *set = *bucket_at(shard, i), *next; set; set = next) {
            next = set->next;
            if (!is_lent(set->actor))
                trim(shard, set);
        }
    }
}

void hf_rows_done(hf_shard *shard)
{
    for (uint32_t i = 0; i < buckets(shard); i++) {
        while (*bucket_at(shard, i))
            remove_set(shard, *bucket_at(shard, i));
    }
    hf_mem_free(shard->row_buckets);
}

int hf_rows_look(hf_engine *engine)
{
    hf_txn *txn;
    uint64_t rows;
    int err = hf_txn_read(engine->disk, &txn);
    if (err)
        return err;
    const hf_survivors *past = hf_log_past(engine->log);
    err = hf_txn_count(txn, HF_IN_ROWS, &rows);
    if (!err && past)
        rows += past->table[HF_IN_ROWS].count;
    hf_txn_abort(txn);
    atomic_store(&engine->rowed, rows > 0);
    return err;
}
