/* salvage_mend.c - make one truth of what was salvaged, in the new store.
 *
 * Happy path: the log is applied to the rows (rows may say what it says again, or less:
 * everything counts as half folded). Messages that come from strays and wait all the same
 * become dead letters that say so: nothing that may have been done is done again by
 * itself. Steps without a message go, the index over alarms is made anew, and whoever lost
 * something is paused. Then the log is empty and the store as after a clean close.
 * Fails as writing does; then nothing is left of the new store. One thread. */
#include "recovery/replay.h"
#include "recovery/salvage.h"

#include "storage/clock.h"
#include "storage/due.h"
#include "storage/error.h"
#include "storage/log.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { BATCH = 256, FACTS = BATCH * 2 };

typedef struct mending {
    hf_salvaging *s;
    hf_disk    *disk;
    hf_log     *log;
    hf_segment  facts[FACTS]; /* entries on their way: a batch at most */
    size_t      count;
    hf_numbers  waiting, dead;
    hf_keys     rows;  /* to be deleted */
} mending;

/* ---- Before the log is applied */

static int drop_records(mending *m, hf_txn *txn)
{
    int err = HF_OK;
    for (size_t i = 0; !err && i < m->s->dropped.count; i++) {
        hf_key key;
        hf_key_number(&key, m->s->dropped.all[i]);
        err = hf_txn_del(txn, HF_IN_LOG, hf_key_bytes(&key));
    }
    return err;
}

static int index_alarm(hf_txn *txn, hf_bytes name, hf_bytes value, hf_rowbuf *buf)
{
    hf_bytes payload;
    uint64_t due, generation;
    hf_key key, own = { .len = name.len };
    int err = hf_row_open(HF_IN_ALARM_NAMES, name, value, &payload);
    if (!err)
        err = hf_fate_alarm(payload, &due, &generation);
    if (err || !due)
        return err;
    memcpy(own.bytes, name.data, name.len);
    hf_key_alarm(&key, due, generation);
    return hf_row_put(txn, HF_IN_ALARMS, &key, hf_key_bytes(&own), buf);
}

static int index_alarms(hf_txn *txn)
{
    hf_cursor *cursor;
    hf_rowbuf buf = { 0 };
    hf_bytes name, value;
    int err = hf_cursor_open(txn, HF_IN_ALARM_NAMES, &cursor);
    if (err)
        return err;
    while (!err && !(err = hf_cursor_next(cursor, &name, &value)))
        err = index_alarm(txn, name, value, &buf);
    hf_cursor_close(cursor);
    hf_rowbuf_done(&buf);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static int prepare(mending *m)
{
    hf_txn *txn;
    uint64_t next = 0;
    int err = hf_txn_write(m->disk, &txn);
    if (err)
        return err;
    err = drop_records(m, txn);
    if (!err)
        err = hf_meta_get(txn, "next", 0, &next);
    if (!err) /* any record may have been folded in part */
        err = hf_meta_put(txn, "folding", next);
    if (!err)
        err = index_alarms(txn);
    if (!err)
        return hf_txn_commit(txn);
    hf_txn_abort(txn);
    return err;
}

/* ---- Facts of our own */

static int write_facts(mending *m)
{
    hf_group group = { 0 };
    int err = HF_OK;
    for (size_t i = 0; !err && i < m->count; i++)
        err = hf_group_add(&group, &m->facts[i]);
    if (!err && m->count)
        err = hf_log_append(m->log, &group);
    hf_group_free(&group);
    for (size_t i = 0; i < m->count; i++)
        hf_segment_done(&m->facts[i]);
    m->count = 0;
    return err;
}

static int add_fact(mending *m, const hf_entry *e)
{
    hf_segment *last = m->count ? &m->facts[m->count - 1] : NULL;
    if (!last || (last->count && last->len + hf_entry_size(e) >= HF_SEGMENT_MAX)) {
        if (m->count == FACTS)
            return hf_error(HF_ENOMEM, "facts of a salvage");
        last = &m->facts[m->count++];
        last->shard = HF_FACTS;
    }
    return hf_segment_add(last, e);
}

static int bury(mending *m, const hf_entry *message)
{
    static const char why[] =
        "possibly delivered: salvage found it in a page that may be out of date";
    hf_entry e = *message;
    e.op = HF_OP_DEAD;
    e.flags &= (uint8_t)~HF_ENTRY_DELAYED;
    e.died = hf_clock_wall_ms();
    e.due = 0;
    e.reason = 0;
    e.err = HF_EUNKNOWN;
    e.error = why;
    e.error_len = sizeof why - 1;
    m->s->doubtful++;
    return add_fact(m, &e);
}

static int remove_rows(mending *m, hf_table table)
{
    hf_txn *txn;
    int err = m->rows.count ? hf_txn_write(m->disk, &txn) : HF_ENOTFOUND;
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    for (size_t i = 0; !err && i < m->rows.count; i++) {
        err = hf_txn_del(txn, table, hf_key_bytes(&m->rows.all[i]));
        err = err == HF_ENOTFOUND ? HF_OK : err;
    }
    m->rows.count = 0;
    if (!err)
        return hf_txn_commit(txn);
    hf_txn_abort(txn);
    return err;
}

static bool is_dead(hf_txn *txn, uint64_t id)
{
    hf_bytes value;
    hf_key key;
    hf_key_number(&key, id);
    return hf_txn_get(txn, HF_IN_DEAD, hf_key_bytes(&key), &value) == HF_OK;
}

/* ---- Strays that wait still */

/* It is there twice, or becomes a dead letter. */
static int settle_letter(mending *m, hf_txn *txn, hf_bytes key, hf_bytes value)
{
    hf_entry e;
    int err = hf_row_message(HF_IN_INBOX, key, value, &e);
    if (err)
        return err;
    return is_dead(txn, e.id) ? hf_keys_add(&m->rows, key) : bury(m, &e);
}

/* Entries are copied in one snapshot and written when it is over. */
static int settle_some(mending *m, size_t *from)
{
    hf_txn *txn;
    size_t to = *from + BATCH < m->s->letters.count ? *from + BATCH : m->s->letters.count;
    int err = hf_txn_read(m->disk, &txn);
    if (err)
        return err;
    for (; !err && *from < to; ++*from) {
        hf_bytes value, key = hf_key_bytes(&m->s->letters.all[*from]);
        err = hf_txn_get(txn, HF_IN_INBOX, key, &value);
        if (!err)
            err = settle_letter(m, txn, key, value);
        err = err == HF_ENOTFOUND ? HF_OK : err; /* the log says that it ended */
    }
    hf_txn_abort(txn);
    return err;
}

/* All that waits is in doubt. */
static int all_letters(mending *m)
{
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes key, value;
    m->s->letters.count = 0;
    int err = hf_txn_read(m->disk, &txn);
    if (err)
        return err;
    err = hf_cursor_open(txn, HF_IN_INBOX, &cursor);
    for (; !err && !(err = hf_cursor_next(cursor, &key, &value));)
        err = hf_keys_add(&m->s->letters, key);
    hf_cursor_close(cursor);
    hf_txn_abort(txn);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static int settle_letters(mending *m)
{
    size_t from = 0;
    int err = m->s->doubt ? all_letters(m) : HF_OK;
    while (!err && from < m->s->letters.count) {
        err = settle_some(m, &from);
        if (!err)
            err = write_facts(m);
    }
    return err ? err : remove_rows(m, HF_IN_INBOX);
}

static int settle_one(mending *m, hf_txn *txn, const hf_key *key, hf_keys *index)
{
    hf_bytes payload;
    hf_entry e;
    hf_key due;
    int err = hf_row_get(txn, HF_IN_ALARM_NAMES, key, &payload);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err; /* it came due, says the log */
    const uint8_t *bytes = payload.data;
    if (payload.len < 16 || !hf_entry_decode(bytes + 16, payload.len - 16, &e))
        return HF_OK;
    hf_key_alarm(&due, hf_get64(bytes), hf_get64(bytes + 8));
    e.id = e.place = hf_get64(bytes + 8);
    e.generation = 0;
    err = hf_keys_add(index, hf_key_bytes(&due));
    if (!err)
        err = hf_keys_add(&m->rows, hf_key_bytes(key));
    bool there = is_dead(txn, e.id) || hf_numbers_have(&m->waiting, e.id);
    return err || there ? err : bury(m, &e);
}

/* Delayed letters; nothing is written while the snapshot stands. */
static int settle_delayed(mending *m)
{
    hf_txn *txn;
    hf_keys index = { 0 };
    int err = HF_OK;
    for (size_t from = 0, to; !err && from < m->s->delayed.count; from = to) {
        to = from + BATCH < m->s->delayed.count ? from + BATCH : m->s->delayed.count;
        err = hf_txn_read(m->disk, &txn);
        if (err)
            break;
        for (size_t i = from; !err && i < to; i++)
            err = settle_one(m, txn, &m->s->delayed.all[i], &index);
        hf_txn_abort(txn);
        if (!err)
            err = write_facts(m);
    }
    if (!err)
        err = remove_rows(m, HF_IN_ALARM_NAMES);
    hf_mem_free(m->rows.all);
    m->rows = index;
    return err ? err : remove_rows(m, HF_IN_ALARMS);
}

/* ---- What must hold between rows */

static int see_waiting(mending *m, hf_txn *txn, hf_bytes key, hf_bytes value)
{
    char address[HF_ADDRESS_MAX + 1];
    hf_entry e;
    hf_key own;
    hf_bytes state;
    int err = hf_row_message(HF_IN_INBOX, key, value, &e);
    if (!err)
        err = hf_numbers_add(&m->waiting, e.id);
    if (err)
        return err;
    memcpy(address, e.to, e.to_len);
    address[e.to_len] = '\0';
    m->s->uncertain += e.id < m->s->lost_end;
    if (e.flags & HF_ENTRY_STEPS && hf_gaps_near(&m->s->gaps, HF_IN_STEPS, e.id))
        err = hf_salvage_hold(m->s, address, "salvage: steps of a message of its own may be lost");
    hf_key_actor(&own, e.to, e.to_len, e.hash);
    if (!err && hf_gaps_find(&m->s->gaps, HF_IN_STATE, hf_key_bytes(&own))
        && hf_txn_get(txn, HF_IN_STATE, hf_key_bytes(&own), &state) == HF_ENOTFOUND)
        err = hf_salvage_hold(m->s, address, "salvage: its state may be lost");
    return err;
}

/* A requeue that was folded in part, or a dead letter from a stray. */
static int see_dead(mending *m, hf_txn *txn, hf_bytes key, hf_bytes value)
{
    (void)txn;
    (void)value;
    uint64_t id = hf_get64_key(key.data);
    return hf_numbers_have(&m->waiting, id) ? hf_keys_add(&m->rows, key)
                                            : hf_numbers_add(&m->dead, id);
}

static int see_step(mending *m, hf_txn *txn, hf_bytes key, hf_bytes value)
{
    (void)txn;
    (void)value;
    uint64_t id = hf_get64_key(key.data);
    if (hf_numbers_have(&m->waiting, id) || hf_numbers_have(&m->dead, id))
        return HF_OK;
    m->s->dropped_steps++;
    return hf_keys_add(&m->rows, key);
}

static int walk(mending *m, hf_table table, int (*see)(mending *, hf_txn *, hf_bytes, hf_bytes))
{
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes key, value;
    int err = hf_txn_read(m->disk, &txn);
    if (err)
        return err;
    err = hf_cursor_open(txn, table, &cursor);
    for (; !err && !(err = hf_cursor_next(cursor, &key, &value));)
        err = see(m, txn, key, value);
    hf_cursor_close(cursor);
    hf_txn_abort(txn);
    if (err && err != HF_ENOTFOUND)
        return err;
    return remove_rows(m, table);
}

static int write_holds(mending *m)
{
    int err = HF_OK;
    for (size_t i = 0; !err && i < m->s->hold_count; i++) {
        const hf_hold *hold = &m->s->holds[i];
        hf_entry e = { .op = HF_OP_PAUSE, .to = hold->what, .to_len = (uint8_t)strlen(hold->what),
                       .name = "", .from = "", .error = "", .data = hf_str(hold->why) };
        err = add_fact(m, &e);
        if (!err && i % BATCH == BATCH - 1)
            err = write_facts(m);
    }
    return err ? err : write_facts(m);
}

static int settle(mending *m)
{
    int err = settle_letters(m);
    if (!err)
        err = hf_log_fold_all(m->log);
    if (!err)
        err = walk(m, HF_IN_INBOX, see_waiting);
    hf_numbers_sort(&m->waiting);
    if (!err)
        err = settle_delayed(m);
    if (!err)
        err = write_facts(m);
    if (!err)
        err = hf_log_fold_all(m->log);
    if (!err)
        err = walk(m, HF_IN_DEAD, see_dead);
    hf_numbers_sort(&m->dead);
    if (!err)
        err = walk(m, HF_IN_STEPS, see_step);
    if (!err)
        err = write_holds(m);
    return err ? err : hf_log_fold_all(m->log);
}

/* What the new store holds at last. */
static int count_rows(mending *m)
{
    hf_txn *txn;
    int err = hf_txn_read(m->disk, &txn);
    if (err)
        return err;
    for (int t = 0; !err && t < HF_TABLES; t++)
        err = hf_txn_count(txn, (hf_table)t, &m->s->copying.rows[t]);
    hf_txn_abort(txn);
    return err;
}

int hf_salvage_mend(void *user, hf_disk *disk)
{
    mending m = { .s = user, .disk = disk };
    hf_log_options options = { .history = HF_NO_HISTORY };
    int err = prepare(&m);
    if (!err && m.s->rootless)
        err = hf_salvage_void(disk);
    if (!err)
        err = hf_log_open(&m.log, disk, &options);
    if (!err)
        err = hf_replay(m.log);
    if (!err)
        err = hf_log_start(m.log);
    if (!err)
        err = hf_log_fold_all(m.log);
    if (!err)
        err = settle(&m);
    if (!err)
        err = count_rows(&m);
    int closed = hf_log_close(m.log, !err);
    while (m.count)
        hf_segment_done(&m.facts[--m.count]);
    hf_mem_free(m.waiting.all);
    hf_mem_free(m.dead.all);
    hf_mem_free(m.rows.all);
    return err ? err : closed;
}
