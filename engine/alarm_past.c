/* alarm_past.c - alarms and delayed letters that an earlier run left in its window.
 *
 * Happy path: an open looks at the facts of that window alone, no row, and notes what is
 * set by them: when, and where it stands. As the sweep moves on, what is due comes into
 * memory, as rows of the table do; in the meantime the rows that these facts will change
 * are looked at, some a round, to know how many alarms are set. When the fold has passed
 * that window the table has it all.
 *
 * Fails for want of memory: what was not loaded comes next time. Under the lock of the
 * set, but for the open; the shard's thread. */
#include "engine/alarms.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum {
    LOAD_MOST  = 4096, /* of it come into memory in one round */
    LEARN_MOST = 128,  /* facts whose rows are looked at in one round */
};

struct hf_alarm_then {
    uint64_t due, generation;
    size_t   item; /* the first fact about it */
};

static int compare(const void *pa, const void *pb)
{
    const hf_alarm_then *a = pa, *b = pb;
    if (a->due != b->due)
        return a->due < b->due ? -1 : 1;
    return (a->generation > b->generation) - (a->generation < b->generation);
}

static const hf_survivor_list *facts_of(const hf_survivors *facts)
{
    return &facts->table[HF_IN_ALARM_NAMES];
}

static bool is_ours(const hf_shard *shard, const hf_survivor *item)
{
    return hf_address_shard(item->hash, shard->engine->shard_count) == shard->index;
}

/* ---- Opening */

static int note(hf_alarm_past *p, const hf_fate *fate, size_t item)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 64;
        void *all = hf_mem_grow(p->all, room * sizeof *p->all);
        if (!all)
            return hf_error(HF_ENOMEM, "alarms of the last run");
        p->all = all;
        p->room = room;
    }
    p->all[p->count++] = (hf_alarm_then){ fate->due, fate->generation, item };
    return HF_OK;
}

/* Only what a fact sets can be due: then the row does not matter. */
static int no_row(void *user, hf_table table, const hf_key *key, hf_bytes *payload)
{
    (void)user, (void)table, (void)key, (void)payload;
    return HF_ENOTFOUND;
}

static int walk(const hf_shard *shard, const hf_survivors *facts, hf_alarm_past *p)
{
    const hf_survivor_list *list = facts_of(facts);
    hf_rowbuf buf = { 0 };
    int err = HF_OK;
    for (size_t from = 0, to; !err && from < list->count; from = to) {
        hf_fate fate;
        hf_key key;
        to = from + 1;
        if (!is_ours(shard, &list->items[from]))
            continue;
        to = hf_survivors_run(facts, HF_IN_ALARM_NAMES, from, &key);
        uint64_t last = hf_survivor_position(facts, &list->items[to - 1]);
        p->end = last >= p->end ? last + 1 : p->end;
        err = hf_fate_of(facts, HF_IN_ALARM_NAMES, from, to, &key, no_row, NULL, &buf, &fate);
        if (!err && fate.verdict == HF_FATE_PUT && fate.due)
            err = note(p, &fate, from);
    }
    hf_rowbuf_done(&buf);
    return err;
}

int hf_alarm_past_open(hf_shard *shard, const hf_survivors *facts)
{
    hf_alarms *a = shard->alarms;
    hf_alarm_past *p = &a->past;
    if (!facts || !facts_of(facts)->count)
        return HF_OK;
    int err = walk(shard, facts, p);
    if (p->count)
        qsort(p->all, p->count, sizeof *p->all, compare);
    p->learning = true;
    p->net = (int64_t)p->count;
    hf_alarm_set_tally(a, p->net);
    a->used = a->far = true;
    return err;
}

/* ---- What is due comes into memory */

static size_t find(const hf_alarm_past *p, hf_alarm_sweep at)
{
    hf_alarm_then wanted = { at.due, at.generation, 0 };
    size_t low = 0, high = p->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (compare(&p->all[mid], &wanted) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

hf_alarm_sweep hf_alarm_past_limit(const hf_alarms *a, hf_alarm_sweep from, hf_alarm_sweep until)
{
    const hf_alarm_past *p = &a->past;
    size_t first = find(p, from), end = find(p, until);
    if (end - first <= LOAD_MOST)
        return until;
    const hf_alarm_then *one = &p->all[first + LOAD_MOST];
    return (hf_alarm_sweep){ one->due, one->generation };
}

int hf_alarm_past_load(hf_shard *shard, const hf_overlay *tables, hf_alarm_sweep from,
                       hf_alarm_sweep until)
{
    hf_alarms *a = shard->alarms;
    const hf_alarm_past *p = &a->past;
    size_t end = find(p, until);
    int err = HF_OK;
    for (size_t i = find(p, from); !err && i < end; i++) {
        const hf_alarm_then *one = &p->all[i];
        hf_key key;
        if (one->generation < a->below || hf_alarm_is_forced(a, one->generation))
            continue;
        (void)hf_survivors_run(tables->facts, HF_IN_ALARM_NAMES, one->item, &key);
        err = hf_alarm_set_row(a, hf_key_bytes(&key), one->due, one->generation);
    }
    return err;
}

/* ---- How many are set */

static int load_row(void *user, hf_table table, const hf_key *key, hf_bytes *payload)
{
    return hf_row_get(user, table, key, payload);
}

/* Has it a row that is counted, and will not be any more? */
static int look_at_row(hf_shard *shard, const hf_overlay *tables, size_t from, size_t *to,
                       hf_rowbuf *buf)
{
    hf_alarm_past *p = &shard->alarms->past;
    hf_bytes payload;
    uint64_t due, generation;
    hf_fate fate;
    hf_key key;
    *to = hf_survivors_run(tables->facts, HF_IN_ALARM_NAMES, from, &key);
    int err = hf_row_get(tables->txn, HF_IN_ALARM_NAMES, &key, &payload);
    if (!err)
        err = hf_fate_alarm(payload, &due, &generation);
    if (err || !due) /* a damaged one is found when it is wanted */
        return err == HF_ENOMEM ? err : HF_OK;
    err = hf_fate_of(tables->facts, HF_IN_ALARM_NAMES, from, *to, &key, load_row, tables->txn,
                     buf, &fate);
    if (!err && fate.verdict != HF_FATE_NONE) {
        p->net--;
        hf_alarm_set_tally(shard->alarms, -1);
    }
    return err == HF_ENOMEM ? err : HF_OK;
}

int hf_alarm_past_learn(hf_shard *shard, const hf_overlay *tables)
{
    hf_alarm_past *p = &shard->alarms->past;
    const hf_survivor_list *list = tables->facts ? facts_of(tables->facts) : NULL;
    hf_rowbuf buf = { 0 };
    int err = HF_OK, rows = 0;
    while (!err && list && p->at < list->count && rows < LEARN_MOST) {
        size_t to = p->at + 1;
        if (is_ours(shard, &list->items[p->at])) {
            err = look_at_row(shard, tables, p->at, &to, &buf);
            rows++;
        }
        p->at = err ? p->at : to;
    }
    p->learning = err || (list && p->at < list->count);
    hf_rowbuf_done(&buf);
    return err;
}

/* ---- The fold */

void hf_alarm_past_fold(hf_shard *shard, uint64_t folded)
{
    hf_alarms *a = shard->alarms;
    if (!a->past.end || folded < a->past.end)
        return;
    hf_alarm_set_tally(a, -a->past.net);
    hf_alarm_past_done(a);
}

void hf_alarm_past_done(hf_alarms *a)
{
    hf_mem_free(a->past.all);
    a->past = (hf_alarm_past){ .all = NULL };
}
