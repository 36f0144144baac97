/* alarm_fire.c - what is due becomes a message.
 *
 * Happy path: the sweep loads the rows that are due within a minute; what is due is taken
 * from the queues, the latest first, and a DUE for each goes into the shard's batch: from
 * the log it comes back as a message. Not committed, it goes off again after the next
 * open; committed, the DUE is the last of it.
 *
 * Fails for want of memory: what was not staged stays in its queue. While space is short
 * nothing goes off. A damaged row is told and passed over: nothing else waits for it.
 * The shard's thread. */
#include "engine/alarms.h"

#include "engine/timebase.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/sharing.h"

#include <stdlib.h>

enum {
    HORIZON_MS = 60000,
    COLD_MAX   = 64 << 10, /* rows of the table in memory, of one queue */
    SWEEP_ROWS = 1024,     /* looked at in one round */
    FIRE_MAX   = 512,      /* in one round */
};

/* One round's look at the tables; begun when it is needed. */
typedef struct look {
    hf_shard  *shard;
    hf_overlay tables;
    bool       open;
} look;

static int begin_look(look *l)
{
    if (l->open)
        return HF_OK;
    int err = hf_paging_look(l->shard, &l->shard->alarms->near, &l->tables);
    l->open = !err;
    return err;
}

static uint64_t now_of(const hf_shard *shard, const hf_alarm_queue *q)
{
    return q == &shard->alarms->queues[1] ? hf_clock_wall_ms() | HF_DUE_BY_WALL
                                          : hf_timebase_now(shard->engine);
}

/* ---- The sweep */

static bool is_ours(const hf_shard *shard, hf_bytes key)
{
    const uint8_t *bytes = key.data, *end = memchr(bytes, 0, key.len);
    if (!end || (size_t)(end - bytes) + 9 > key.len || key.len > HF_KEY_MAX)
        return false;
    return hf_address_shard(hf_get64_key(end + 1), shard->engine->shard_count) == shard->index;
}

/* One row of the index. */
static int see_row(hf_shard *shard, const hf_alarm_lost *wanted, hf_bytes key, hf_bytes value)
{
    hf_bytes name;
    uint64_t generation = hf_get64_key((const uint8_t *)key.data + 8);
    if (generation < wanted->from || generation >= wanted->to
        || hf_alarm_is_forced(shard->alarms, generation))
        return HF_OK;
    int err = hf_row_open(HF_IN_ALARMS, key, value, &name);
    if (err && shard->index == 0) /* once is enough */
        hf_engine_log(shard->engine, HF_ERROR, "an alarm is passed over: its row is damaged (%s)",
                      hf_error_detail());
    if (err || !is_ours(shard, name))
        return HF_OK;
    return hf_alarm_set_row(shard->alarms, name, hf_get64_key(key.data), generation);
}

/* Go on to `until`, some rows at most; *through: got there. */
static int sweep(look *l, const hf_alarm_lost *wanted, hf_alarm_sweep *s, hf_alarm_sweep until,
                 bool *through)
{
    hf_cursor *cursor;
    hf_bytes found, value;
    hf_key from, end;
    *through = false;
    int err = begin_look(l);
    if (!err)
        err = hf_cursor_open(l->tables.txn, HF_IN_ALARMS, &cursor);
    if (err)
        return err;
    hf_key_alarm(&from, s->due, s->generation);
    hf_key_alarm(&end, until.due, until.generation);
    err = hf_cursor_seek(cursor, hf_key_bytes(&from), &found, &value);
    for (int rows = 0; !err && rows < SWEEP_ROWS; rows++) {
        if (found.len != 16 || memcmp(found.data, end.bytes, 16) >= 0) {
            err = HF_ENOTFOUND;
            break;
        }
        err = see_row(l->shard, wanted, found, value);
        if (err)
            break;
        s->due = hf_get64_key(found.data);
        s->generation = hf_get64_key((const uint8_t *)found.data + 8) + 1;
        err = hf_cursor_next(cursor, &found, &value);
    }
    hf_cursor_close(cursor);
    *through = err == HF_ENOTFOUND;
    if (*through)
        *s = until;
    return *through ? HF_OK : err;
}

/* Rows that came into the table unseen, below what was swept. Each of them once. */
static int sweep_again(look *l)
{
    hf_alarms *a = l->shard->alarms;
    hf_alarm_lost *lost = a->lost;
    bool through[2] = { false, false };
    int err = HF_OK;
    for (int i = 0; !err && i < 2; i++)
        err = sweep(l, lost, &lost->at[i], lost->until[i], &through[i]);
    if (!err && through[0] && through[1])
        memmove(lost, lost + 1, --a->lost_count * sizeof *lost);
    return err;
}

static bool is_later(uint64_t due, uint64_t generation, const hf_alarm_queue *q)
{
    return due != q->fired_due ? due > q->fired_due : generation > q->fired_generation;
}

static int compare_alarms(const void *pa, const void *pb)
{
    const hf_alarm *a = *(hf_alarm *const *)pa, *b = *(hf_alarm *const *)pb;
    return hf_alarm_is_below(a, b->due, b->generation) ? -1
        : hf_alarm_is_below(b, a->due, a->generation);
}

static bool is_behind(hf_alarm_sweep a, hf_alarm_sweep b)
{
    return a.due != b.due ? a.due > b.due : a.generation > b.generation;
}

/* From there on the sweep comes once more, and finds all: also what was never seen. */
static void step_back(hf_alarms *a, hf_alarm_queue *q, hf_alarm_sweep to)
{
    size_t i = (size_t)(q - a->queues);
    q->reach = to;
    for (uint32_t n = 0; n < a->lost_count; n++)
        if (is_behind(a->lost[n].until[i], to))
            a->lost[n].until[i] = to;
}

/* Too many became rows while they were near: the later ones are left to the table. Never
 * those behind what went off: of that the rows are still there. */
static void shrink(hf_alarms *a, hf_alarm_queue *q)
{
    hf_alarm **colds = hf_mem_alloc(q->cold * sizeof(*colds));
    uint32_t n = 0, from = COLD_MAX;
    if (!colds)
        return; /* they stay a little longer */
    for (uint32_t i = 0; i < q->count; i++)
        if (q->heap[i]->cold)
            colds[n++] = q->heap[i];
    qsort(colds, n, sizeof(*colds), compare_alarms);
    while (from < n && !is_later(colds[from]->due, colds[from]->generation, q))
        from++;
    if (from < n) {
        step_back(a, q, (hf_alarm_sweep){ colds[from]->due, colds[from]->generation });
        a->far = true;
    }
    for (; from < n; from++)
        hf_alarm_set_forget(a, colds[from]);
    hf_mem_free(colds);
}

/* Cold ones from there on leave memory. */
static void unload(hf_alarms *a, hf_alarm_queue *q, hf_alarm_sweep from)
{
    for (uint32_t i = q->count; i--;) {
        hf_alarm *one = q->heap[i];
        if (!one->cold || hf_alarm_is_below(one, from.due, from.generation))
            continue;
        hf_alarm_set_forget(a, one);
        i = i < q->count ? i + 1 : q->count; /* another one stands there now */
    }
}

/* Rows of the table, and what facts of the last run say of them. */
static int load_rows(look *l, hf_alarm_queue *q, hf_alarm_sweep until)
{
    hf_alarms *a = l->shard->alarms;
    hf_alarm_lost all = { .to = a->below };
    hf_alarm_sweep from = q->reach;
    bool through;
    int err = begin_look(l);
    if (err)
        return err;
    if (a->past.count && !l->tables.facts)
        return HF_OK; /* just folded: in a moment we are told */
    until = hf_alarm_past_limit(a, from, until);
    err = sweep(l, &all, &q->reach, until, &through);
    int loaded = hf_alarm_past_load(l->shard, &l->tables, from, q->reach);
    if (loaded) { /* once more, from where we were */
        unload(a, q, from);
        step_back(a, q, from);
    }
    return err ? err : loaded;
}

static int load(look *l, hf_alarm_queue *q)
{
    hf_alarms *a = l->shard->alarms;
    uint64_t now = now_of(l->shard, q), wanted = now + HORIZON_MS;
    if (!a->far) { /* there is nothing to sweep */
        if (q->reach.due < wanted)
            q->reach = (hf_alarm_sweep){ .due = wanted };
        return HF_OK;
    }
    if (q->cold > 2 * COLD_MAX)
        shrink(a, q);
    if (q->reach.due > now + HORIZON_MS / 2 || q->cold >= COLD_MAX)
        return HF_OK;
    return load_rows(l, q, (hf_alarm_sweep){ wanted, 0 });
}

/* ---- Going off */

/* What is set, out of the window or its row. HF_ENOTFOUND: nothing is, any more. */
static int read_setting(look *l, const hf_alarm *one, hf_entry *e)
{
    hf_bytes payload;
    uint64_t due, generation;
    const uint8_t *words = one->letter ? hf_alarms_words(l->shard->alarms, one->generation) : NULL;
    if (words) /* what an operator wrote */
        return hf_entry_decode(words, SIZE_MAX, e) ? HF_OK : HF_ECORRUPT;
    if (one->entry) {
        size_t size = hf_entry_decode(one->entry, SIZE_MAX, e);
        if (size && e->flags & HF_ENTRY_SHARES)
            (void)hf_sharing_find(one->entry - e->back, one->entry, e);
        return size ? HF_OK : HF_ECORRUPT;
    }
    int err = begin_look(l);
    if (!err)
        err = hf_overlay_get(&l->tables, HF_IN_ALARM_NAMES, hf_view(one->key, one->key_len),
                             &payload);
    if (!err)
        err = hf_fate_alarm(payload, &due, &generation);
    if (!err && (!due || generation != one->generation))
        return HF_ENOTFOUND;
    if (!err && !hf_entry_decode((const uint8_t *)payload.data + 16, payload.len - 16, e))
        err = hf_error(HF_ECORRUPT, "an alarm can't be read");
    return err;
}

static int stage_due(hf_shard *shard, const hf_entry *set, uint64_t generation)
{
    hf_entry due;
    hf_batch *batch = hf_shard_batch(shard);
    if (!batch)
        return hf_error(HF_ENOMEM, "a batch");
    hf_due_make(&due, set, generation);
    hf_segment *s = &batch->segments[shard->index];
    int err = hf_segment_add(s, &due);
    if (err)
        return err;
    batch->fired++;
    if (s->len >= shard->engine->batch_bytes || s->count >= shard->engine->batch_turns)
        hf_shard_submit(shard);
    return HF_OK;
}

/* One less is set; its row, if there is one, is there until the fold. */
static void tally_fired(hf_shard *shard, const hf_alarm *one)
{
    hf_alarms *a = shard->alarms;
    uint64_t batch = shard->batch_number;
    hf_alarm_set_tally(a, -1);
    if (!one->cold && !(one->covers && one->letter))
        return;
    if (a->spent_count && a->spent[a->spent_count - 1].batch == batch) {
        a->spent[a->spent_count - 1].count++;
        return;
    }
    if (a->spent_count == a->spent_room) {
        uint32_t room = a->spent_room ? a->spent_room * 2 : 64;
        void *spent = hf_mem_grow(a->spent, room * sizeof *a->spent);
        if (!spent)
            return; /* the count is off until the next open */
        a->spent = spent;
        a->spent_room = room;
    }
    a->spent[a->spent_count++] = (hf_alarm_spent){ batch, 1 };
}

static int fire(look *l, hf_alarm_queue *q, hf_alarm *one)
{
    hf_shard *shard = l->shard;
    hf_entry e;
    int err = read_setting(l, one, &e);
    if (!err)
        err = stage_due(shard, &e, one->generation);
    if (err == HF_ECORRUPT || err == HF_EVERSION)
        hf_engine_log(shard->engine, HF_ERROR, "an alarm is passed over: its row is damaged (%s)",
                      hf_error_detail());
    else if (err && err != HF_ENOTFOUND)
        return err;
    if (is_later(one->due, one->generation, q)) {
        q->fired_due = one->due;
        q->fired_generation = one->generation;
    }
    if (!err)
        tally_fired(shard, one);
    if (one->letter || !one->entry) {
        hf_alarm_set_forget(shard->alarms, one);
        return HF_OK;
    }
    hf_alarm_set_pull(shard->alarms, one); /* its word stands in the window */
    one->now = HF_ALARM_FIRED;
    return HF_OK;
}

/* The one that is latest; none while a row that the sweep did not reach may be later. */
static hf_alarm *latest(const hf_shard *shard, hf_alarm_queue **queue)
{
    hf_alarms *a = shard->alarms;
    hf_alarm *best = NULL;
    uint64_t most = 0, floor = 0;
    for (int i = 0; i < 2; i++) {
        hf_alarm_queue *q = &a->queues[i];
        uint64_t now = now_of(shard, q);
        if (a->far && q->reach.due < now && now - q->reach.due > floor)
            floor = now - q->reach.due;
        hf_alarm *one = q->count ? q->heap[0] : NULL;
        if (one && one->due <= now && (!best || now - one->due > most)) {
            best = one;
            most = now - one->due;
            *queue = q;
        }
    }
    return most >= floor ? best : NULL;
}

static void plan(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    uint64_t wait = UINT64_MAX, mono = hf_clock_mono_ns();
    bool behind = false;
    hf_alarm_queue *queue;
    for (int i = 0; i < 2; i++) {
        hf_alarm_queue *q = &a->queues[i];
        uint64_t now = now_of(shard, q);
        uint64_t due = q->count ? q->heap[0]->due : UINT64_MAX;
        uint64_t sweep_at = q->reach.due > HORIZON_MS / 2 ? q->reach.due - HORIZON_MS / 2 : 0;
        if (a->far && q->cold < COLD_MAX && sweep_at < due)
            due = sweep_at;
        if (due != UINT64_MAX)
            due = due > now ? due - now : 0;
        wait = due < wait ? due : wait;
        behind = behind || (a->far && q->reach.due < now);
    }
    a->due_ns = wait < (UINT64_MAX - mono) / 1000000 ? mono + wait * 1000000 : UINT64_MAX;
    if (wait > 3600 * 1000)
        wait = 3600 * 1000;
    if (a->queues[1].count && wait > 1000)
        wait = 1000; /* the wall clock may be set */
    a->busy = behind || a->lost_count || latest(shard, &queue) != NULL;
    a->look_ns = a->busy ? 0 : mono + wait * 1000000;
}

static int fire_some(look *l)
{
    hf_alarm_queue *queue = NULL;
    hf_alarm *one;
    int err = HF_OK;
    for (int n = 0; !err && n < FIRE_MAX && hf_shard_may_take(l->shard)
         && (one = latest(l->shard, &queue)); n++)
        err = fire(l, queue, one);
    return err;
}

int hf_alarms_fire(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    look l = { .shard = shard };
    if (!a->used || (a->look_ns && hf_clock_mono_ns() < a->look_ns) || !hf_shard_may_take(shard))
        return HF_OK;
    pthread_mutex_lock(&a->lock);
    int err = load(&l, &a->queues[0]);
    if (!err)
        err = load(&l, &a->queues[1]);
    if (!err && a->lost_count)
        err = sweep_again(&l);
    a->held = atomic_load_explicit(&shard->engine->tight, memory_order_relaxed);
    if (!err && !a->held)
        err = fire_some(&l);
    if (l.open)
        hf_txn_abort(l.tables.txn);
    plan(shard);
    pthread_mutex_unlock(&a->lock);
    return err;
}

uint64_t hf_alarms_next(const hf_shard *shard)
{
    const hf_alarms *a = shard->alarms;
    if (!a->used)
        return UINT64_MAX;
    return a->look_ns ? a->due_ns : 0;
}

uint64_t hf_alarms_rest(const hf_shard *shard, uint64_t ns)
{
    const hf_alarms *a = shard->alarms;
    if (!a->used)
        return ns;
    if (a->busy)
        return ns < 10000000 ? ns : 10000000;
    uint64_t now = hf_clock_mono_ns(), left = a->look_ns > now ? a->look_ns - now : 1;
    return left < ns ? left : ns;
}
