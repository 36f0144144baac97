/* fold.c - write survivors into the tables, slice by slice.
 *
 * Happy path: begin with the sealed records; collect (any thread); each commit
 * writes a slice in the order of the keys; the last ones delete the records.
 * A slice that failed leaves the transaction to be aborted and the progress
 * where it was. All but hf_fold_collect runs on the writer's thread. */
#include "storage/fold.h"

#include "storage/assert.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/sharing.h"
#include "storage/testpoint.h"

/* The tables that survivors go to, in the order they are written. */
static const hf_table ORDER[] = { HF_IN_STATE, HF_IN_INBOX, HF_IN_ALARM_NAMES,
                                  HF_IN_DEAD, HF_IN_STEPS, HF_IN_PAUSES, HF_IN_ROWS,
                                  HF_IN_DEDUPE, HF_IN_TOPICS };
enum { TABLES = sizeof ORDER / sizeof *ORDER };

/* Items are sorted by key, their entries lie by time: the bytes of an item are asked
 * for so many items before its turn, or each would cost a wait for memory; and some at
 * once, so that they wait for the page tables together. */
enum { AHEAD = 16, BLOCK = 8 };

/* Items whose rows are packed together. */
enum { PACKED = 256 };

void hf_fold_init(hf_fold *fold)
{
    memset(fold, 0, sizeof *fold);
    fold->row_cost = HF_FOLD_ROW;
    atomic_init(&fold->collected, 0);
}

void hf_fold_done(hf_fold *fold)
{
    hf_survivors_done(&fold->survivors);
    hf_rowbuf_done(&fold->buf);
    hf_repack_done(&fold->repack);
    hf_mem_free(fold->records);
    fold->records = NULL;
}

int hf_fold_begin(hf_fold *fold, hf_record *const *records, uint32_t count, uint64_t end,
                  uint64_t applied)
{
    HF_ASSERT(fold->now.stage == HF_FOLD_IDLE && count);
    fold->records = hf_mem_alloc(count * sizeof(*fold->records));
    if (!fold->records)
        return hf_error(HF_ENOMEM, "records to fold");
    memcpy(fold->records, records, count * sizeof(*records));
    fold->count = count;
    fold->end = end;
    fold->applied = applied;
    fold->now = (hf_fold_progress){ .stage = HF_FOLD_COLLECTING };
    fold->before = fold->now;
    atomic_store(&fold->collected, 0);
    return HF_OK;
}

void hf_fold_collect(void *user)
{
    hf_fold *fold = user;
    int err = hf_survivors_collect(&fold->survivors, fold->records, fold->count, fold->applied);
    atomic_store_explicit(&fold->collected, err ? err : 1, memory_order_release);
}

static int load_row(void *user, hf_table table, const hf_key *key, hf_bytes *payload)
{
    return hf_row_get(user, table, key, payload);
}

/* The index over alarms follows the name's row: old setting out, new one in. */
static int write_alarm(hf_fold *fold, hf_txn *txn, const hf_key *key, const hf_fate *fate)
{
    hf_bytes payload;
    hf_key index;
    int err = hf_row_get(txn, HF_IN_ALARM_NAMES, key, &payload);
    if (!err) {
        uint64_t due, generation;
        err = hf_fate_alarm(payload, &due, &generation);
        hf_key_alarm(&index, due, generation);
        bool same = fate->verdict == HF_FATE_PUT && generation == fate->generation
            && due == fate->due;
        if (!err && due && !same)
            err = hf_txn_del(txn, HF_IN_ALARMS, hf_key_bytes(&index));
    }
    if (err && err != HF_ENOTFOUND)
        return err;
    if (fate->verdict != HF_FATE_PUT || !fate->due)
        return HF_OK; /* without a time it only says that its message counts */
    hf_rowbuf row = { 0 };
    hf_key_alarm(&index, fate->due, fate->generation);
    err = hf_row_put(txn, HF_IN_ALARMS, &index, hf_key_bytes(key), &row);
    hf_rowbuf_done(&row);
    (void)fold;
    return err;
}

static int write_row(hf_fold *fold, hf_txn *txn, hf_cursor *cursor, hf_table table, size_t from,
                     size_t to, const hf_key *key)
{
    hf_fate fate;
    hf_bytes value, k = hf_key_bytes(key);
    int err = hf_fate_of(&fold->survivors, table, from, to, key, load_row, txn, &fold->buf, &fate);
    if (err || fate.verdict == HF_FATE_NONE
        || (fold->now.sparing && fate.verdict != HF_FATE_GONE))
        return err;
    fold->rows++;
    if (table == HF_IN_ALARM_NAMES && (err = write_alarm(fold, txn, key, &fate)))
        return err;
    if (fate.verdict == HF_FATE_PUT) {
        value = hf_row_seal(&fold->buf, fate.len, table, k);
        if (table != HF_IN_STATE)
            return hf_cursor_put(cursor, k, value);
        hf_repack_saw(&fold->repack, k.len + fate.len + HF_ROW_EXTRA);
        return hf_cursor_put_near(cursor, k, value);
    }
    err = hf_cursor_get(cursor, k, &value);
    if (!err)
        err = hf_cursor_del(cursor);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static int purge_steps(hf_cursor *cursor, uint64_t id)
{
    hf_key key;
    hf_bytes found, value;
    hf_key_number(&key, id);
    int err = hf_cursor_seek(cursor, hf_key_bytes(&key), &found, &value);
    while (!err && found.len >= 8 && memcmp(found.data, key.bytes, 8) == 0) {
        err = hf_cursor_del(cursor);
        if (!err)
            err = hf_cursor_seek(cursor, hf_key_bytes(&key), &found, &value);
    }
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* Steps of a message: one by one, in the order of the log. */
static int write_step(hf_fold *fold, hf_txn *txn, hf_cursor *cursor, const hf_survivor *item)
{
    hf_entry e;
    hf_key key;
    fold->rows++;
    size_t size = hf_survivor_entry(&fold->survivors, item, &e);
    if (e.op != HF_OP_STEP)
        return purge_steps(cursor, e.id);
    hf_key_step(&key, e.id, e.generation, e.place);
    return hf_row_put(txn, HF_IN_STEPS, &key, hf_view(item->entry, size), &fold->buf);
}

/* Tables whose rows are each by itself: those that go may go before others are written. */
static bool is_spared(hf_table table)
{
    return table == HF_IN_STATE || table == HF_IN_INBOX || table == HF_IN_DEAD;
}

/* Ask for bytes that are wanted soon; `asked`: the item up to which that is done. */
static void look_ahead(const hf_survivor_list *list, size_t next, size_t *asked)
{
    if (*asked < next)
        *asked = next;
    if (*asked >= next + AHEAD)
        return;
    size_t end = list->count - *asked > BLOCK ? *asked + BLOCK : list->count;
    for (; *asked < end; ++*asked) {
        const uint8_t *soon = list->items[*asked].entry;
        __builtin_prefetch(soon);
        __builtin_prefetch(soon + 64);
        __builtin_prefetch(soon + 128);
    }
}

static uint64_t cost_of(const hf_fold *fold, const hf_survivor_list *list, size_t from, size_t to)
{
    uint64_t cost = 0;
    for (size_t i = from; i < to; i++)
        cost += fold->row_cost + hf_entry_weight(list->items[i].entry);
    return cost;
}

/* Write rows of one table until the budget is spent, or the items up to `end` are done. */
static int write_rows(hf_fold *fold, hf_txn *txn, hf_table table, uint64_t *budget, size_t end)
{
    const hf_survivor_list *list = &fold->survivors.table[table];
    hf_cursor *cursor;
    int err = hf_cursor_open(txn, table, &cursor);
    if (err)
        return err;
    for (size_t asked = 0; !err && *budget && fold->now.next < end;) {
        size_t from = fold->now.next, to = from + 1;
        uint64_t rows = fold->rows;
        hf_key key;
        look_ahead(list, from, &asked);
        if (table == HF_IN_STATE && hf_survivor_is_stale(&fold->survivors, &list->items[from])) {
            fold->now.next = to; /* one item an actor */
            if (fold->now.sparing)
                continue;
            fold->now.spent += HF_FOLD_ROW; /* the page is written most likely all the same */
            *budget -= HF_FOLD_ROW < *budget ? HF_FOLD_ROW : *budget;
            continue;
        }
        if (table == HF_IN_STEPS) {
            err = write_step(fold, txn, cursor, &list->items[from]);
        } else {
            to = hf_survivors_run(&fold->survivors, table, from, &key);
            err = write_row(fold, txn, cursor, table, from, to, &key);
        }
        uint64_t spent = cost_of(fold, list, from, to);
        fold->now.next = to;
        if (fold->now.sparing && fold->rows == rows)
            continue;
        *budget -= spent < *budget ? spent : *budget;
        fold->now.spent += spent;
    }
    hf_cursor_close(cursor);
    return err;
}

/* The same, and put what was written closer together. */
static int write_packed(hf_fold *fold, hf_txn *txn, hf_table table, uint64_t *budget)
{
    size_t count = fold->survivors.table[table].count, from = fold->now.next;
    size_t end = count - from > PACKED ? from + PACKED : count;
    hf_key last;
    (void)hf_survivors_run(&fold->survivors, table, end - 1, &last);
    int err = hf_repack_upto(&fold->repack, txn, table, hf_key_bytes(&last));
    if (!err)
        err = write_rows(fold, txn, table, budget, end);
    return err ? err : hf_repack_run(&fold->repack, txn, table);
}

static int write_table(hf_fold *fold, hf_txn *txn, hf_table table, uint64_t *budget)
{
    const hf_survivor_list *list = &fold->survivors.table[table];
    bool packs = fold->packs && table == HF_IN_STATE;
    int err = HF_OK;
    if (fold->now.sparing && !is_spared(table))
        fold->now.next = list->count;
    while (!err && *budget && fold->now.next < list->count)
        err = packs ? write_packed(fold, txn, table, budget)
                    : write_rows(fold, txn, table, budget, list->count);
    return err;
}

static int write_tables(hf_fold *fold, hf_txn *txn, uint64_t *budget)
{
    int err = HF_OK;
    while (!err && *budget && fold->now.table < TABLES) {
        hf_table table = ORDER[fold->now.table];
        err = write_table(fold, txn, table, budget);
        if (!err && fold->now.next >= fold->survivors.table[table].count) {
            fold->now.next = 0;
            fold->now.table++;
        }
    }
    if (err || fold->now.table < TABLES)
        return err;
    if (!fold->now.sparing)
        fold->now.stage = HF_FOLD_DELETING;
    fold->now.table = fold->now.sparing ? 0 : TABLES;
    fold->now.sparing = false;
    return HF_OK;
}

static uint64_t cost_of_delete(const hf_record *record)
{
    return hf_kept_cost(record->size);
}

/* Must one more go? Else the rest stays as history. */
static bool must_delete(const hf_fold *fold)
{
    const hf_kept *kept = fold->kept;
    if (fold->now.deleted == fold->count)
        return kept && hf_kept_exceeds(kept, &fold->limit, 0, 0);
    if (!kept)
        return true;
    return hf_kept_exceeds(kept, &fold->limit, fold->now.left_bytes, fold->now.left_messages)
        || (!kept->count && fold->records[fold->now.deleted]->time_ms < fold->limit.since_ms);
}

/* Delete the sealed records, ascending. A stop half-way leaves a shorter log
 * that, applied again, changes nothing. */
static int delete_records(hf_fold *fold, hf_txn *txn, uint64_t *budget)
{
    int err = HF_OK;
    HF_TESTPOINT("fold.delete");
    while (!err && *budget && must_delete(fold)) {
        if (fold->kept && fold->kept->count) { /* older than what was folded now */
            err = hf_kept_drop(fold->kept, txn, budget);
            continue;
        }
        const hf_record *r = fold->records[fold->now.deleted];
        hf_key key;
        uint64_t spent = cost_of_delete(r);
        hf_key_number(&key, r->base);
        err = hf_txn_del(txn, HF_IN_LOG, hf_key_bytes(&key));
        *budget -= spent < *budget ? spent : *budget;
        fold->now.spent += spent;
        fold->now.deleted++;
        fold->now.left_bytes -= r->size;
        fold->now.left_messages -= r->messages;
    }
    fold->now.over = !err && !must_delete(fold);
    if (fold->now.over && fold->now.deleted < fold->count)
        err = hf_meta_put(txn, "tail", fold->end);
    return err;
}

/* The records as they are counted against the history's limits. */
static void count_left(hf_fold *fold)
{
    for (uint32_t i = 0; i < fold->count; i++) {
        fold->now.left_bytes += fold->records[i]->size;
        fold->now.left_messages += fold->records[i]->messages;
    }
}

/* A fold that writes most of a table may as well put its rows closer. */
static int choose_packing(hf_fold *fold, hf_txn *txn)
{
    uint64_t writes = fold->survivors.table[HF_IN_STATE].count;
    fold->packs = false;
    return fold->roomy && writes
        ? hf_repack_pays(&fold->repack, txn, HF_IN_STATE, writes, &fold->packs) : HF_OK;
}

int hf_fold_slice(hf_fold *fold, hf_txn *txn, uint64_t budget)
{
    int err = HF_OK;
    fold->before = fold->now;
    if (fold->now.stage == HF_FOLD_COLLECTING) {
        int collected = atomic_load_explicit(&fold->collected, memory_order_acquire);
        if (collected == 0 || collected == HF_ENOMEM)
            return HF_OK; /* the log has it done again */
        if (collected < 0)
            return hf_error(collected, "collecting what the log holds");
        fold->now = (hf_fold_progress){ .stage = HF_FOLD_WRITING, .sparing = fold->spares };
        count_left(fold);
        /* A fold that a crash cut short may have reached further. */
        err = hf_meta_put(txn, "folding", fold->end > fold->applied ? fold->end : fold->applied);
        if (!err)
            err = choose_packing(fold, txn);
    }
    if (!err && fold->now.stage == HF_FOLD_WRITING)
        err = write_tables(fold, txn, &budget);
    bool may = !fold->gated || fold->before.stage == HF_FOLD_DELETING;
    if (!err && fold->now.stage == HF_FOLD_DELETING && may)
        err = delete_records(fold, txn, &budget);
    return err;
}

uint64_t hf_fold_left(const hf_fold *fold)
{
    uint64_t work = 0;
    if (fold->now.stage == HF_FOLD_IDLE
        || atomic_load_explicit(&fold->collected, memory_order_acquire) != 1)
        return 0;
    for (uint32_t i = 0; i < TABLES; i++)
        work += fold->survivors.table[ORDER[i]].count * HF_FOLD_ROW;
    for (uint32_t i = 0; i < fold->count; i++)
        work += cost_of_delete(fold->records[i]);
    work += fold->survivors.bytes;
    return work > fold->now.spent ? work - fold->now.spent : 1;
}

void hf_fold_keep(hf_fold *fold)
{
    fold->before = fold->now;
}

void hf_fold_undo(hf_fold *fold)
{
    fold->now = fold->before;
}

bool hf_fold_is_over(const hf_fold *fold)
{
    return fold->before.stage == HF_FOLD_DELETING && fold->before.over;
}

void hf_fold_end(hf_fold *fold)
{
    hf_survivors_done(&fold->survivors);
    hf_mem_free(fold->records);
    fold->records = NULL;
    fold->now = fold->before = (hf_fold_progress){ .stage = HF_FOLD_IDLE };
}
