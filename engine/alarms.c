/* alarms.c - a shard learns of alarms and delayed letters, and forgets them again.
 *
 * Happy path: words about them travel in the shard's own run of the log, so they arrive
 * in the order in which they count; a letter or an alarm enters its queue, a CANCEL takes
 * one out. What a shard's turn stages makes void at once what went off before: turns run
 * ahead of the log. When the fold passes a word it is forgotten, or kept without its entry
 * if it is due soon. A message of an alarm counts as long as nobody set the alarm again or
 * cancelled it: memory says so for the window, the row in alarm_names for the rest.
 *
 * Fails for want of memory: the same entry is read again. The shard's thread. */
#include "engine/alarms.h"

#include "engine/timebase.h"

#include "storage/error.h"
#include "storage/memory.h"

enum {
    UNREAD_MIN   = 1024,     /* words: an alarm for each UNREAD_SHARE bytes of the window */
    UNREAD_MAX   = 32 << 10,
    UNREAD_SHARE = 1024,
    LEARN_MOST   = 128,      /* rows looked at in one round */
    COOL_MOST    = 8192,     /* words that were folded, looked at in one round */
    BURDEN_MIN   = 4 << 20,  /* bytes: words that take less weigh nothing, */
    BURDEN_SHARE = 8,        /* nor such that take no more than that part of the window */
};

/* A delayed letter that an operator edited. */
typedef struct hf_reworded {
    struct hf_reworded *next;
    uint64_t            id, batch;
    _Alignas(16) uint8_t bytes[];
} hf_reworded;

/* Rows tell it now. */
static void forget_words(hf_alarms *a, uint64_t folded_batch)
{
    for (hf_reworded **link = &a->words, *w; (w = *link);) {
        if (w->batch > folded_batch) {
            link = &w->next;
            continue;
        }
        *link = w->next;
        hf_mem_free(w);
    }
}

/* ---- Life */

/* What an earlier run left: rows, and facts that will be. */
static int look_at_past(hf_shard *shard)
{
    hf_overlay tables;
    uint64_t rows = 0, names = 0;
    int err = hf_paging_look(shard, NULL, &tables);
    if (err)
        return err;
    err = hf_txn_count(tables.txn, HF_IN_ALARMS, &rows);
    if (!err)
        err = hf_txn_count(tables.txn, HF_IN_ALARM_NAMES, &names);
    shard->alarms->far = rows != 0;
    shard->alarms->used = names != 0;
    if (!err)
        err = hf_alarm_past_open(shard, tables.facts);
    hf_txn_abort(tables.txn);
    return err;
}

static uint32_t unread_most(const hf_engine *engine)
{
    uint64_t most = engine->options.window / UNREAD_SHARE / engine->shard_count;
    return (uint32_t)(most < UNREAD_MIN ? UNREAD_MIN : most > UNREAD_MAX ? UNREAD_MAX : most);
}

int hf_alarms_make(hf_shard *shard)
{
    hf_alarms *a = hf_mem_zero(1, sizeof *a);
    if (!a || hf_alarm_set_init(a)) {
        hf_mem_free(a);
        return hf_error(HF_ENOMEM, "alarms");
    }
    shard->alarms = a;
    a->below = hf_log_folded(shard->engine->log);
    a->unread_most = unread_most(shard->engine);
    int err = look_at_past(shard);
    a->busy = a->used; /* until it was looked at */
    if (a->used)
        atomic_store(&shard->engine->alarmed, true);
    return err;
}

void hf_alarms_done(hf_shard *shard)
{
    if (!shard->alarms)
        return;
    forget_words(shard->alarms, UINT64_MAX);
    hf_alarm_past_done(shard->alarms);
    hf_alarm_set_done(shard->alarms);
    hf_mem_free(shard->alarms);
    shard->alarms = NULL;
}

/* ---- Words from the log */

/* What is staged and not read yet is known all the same, and no fold takes it away: so there
 * are never many. */
static void note_staged(hf_shard *shard, hf_alarm *one, uint64_t batch)
{
    hf_alarms *a = shard->alarms;
    a->unread += !one->staged;
    one->staged = batch;
    shard->reads_on = shard->reads_on || a->unread > a->unread_most;
}

static void note_read(hf_shard *shard, hf_alarm *one)
{
    hf_alarms *a = shard->alarms;
    a->unread -= one->staged != 0;
    one->staged = 0;
    shard->reads_on = shard->reads_on && a->unread > a->unread_most / 2;
}

/* Has the shard come past all that is in this batch? What it did not read of that the fold has
 * taken before, and nobody will. */
static bool is_passed(const hf_shard *shard, uint64_t batch)
{
    const hf_record *r = shard->at;
    if (batch <= shard->folded_batch)
        return true;
    if (shard->at_done && !atomic_load_explicit(&r->next, memory_order_acquire))
        return batch <= shard->committed;
    return hf_outbox_end(shard, batch) <= r->base + (shard->at_done ? r->count : shard->at_index);
}

/* The alarm a word is about, as if it had no time; new if need be. NULL: out of memory. */
static hf_alarm *take_up(hf_shard *shard, const hf_key *key, bool letter)
{
    hf_alarms *a = shard->alarms;
    hf_alarm *one = letter ? NULL : hf_alarm_set_find(a, hf_key_bytes(key));
    if (hf_alarm_set_room(a))
        return NULL;
    if (!one)
        return hf_alarm_set_add(a, key, letter);
    if (one->now == HF_ALARM_SET)
        hf_alarm_set_tally(a, -1);
    one->covers = one->covers || (one->now == HF_ALARM_SET && one->cold);
    hf_alarm_set_pull(a, one);
    return one;
}

int hf_alarms_pull(hf_shard *shard, const uint8_t *entry, uint64_t position)
{
    hf_alarms *a = shard->alarms;
    hf_entry e;
    hf_key key;
    size_t size = hf_entry_decode(entry, SIZE_MAX, &e);
    if (!size || (e.op != HF_OP_ALARM && e.op != HF_OP_CANCEL && e.op != HF_OP_SEND))
        return HF_OK;
    e.id = position;
    hf_due_key(&key, &e);
    pthread_mutex_lock(&a->lock);
    hf_alarm *one = take_up(shard, &key, e.op == HF_OP_SEND);
    if (one) {
        one->position = position;
        note_read(shard, one);
        one->cold = false;
        one->entry = entry;
        one->now = e.op == HF_OP_CANCEL ? HF_ALARM_CANCELLED : HF_ALARM_SET;
        one->generation = e.op == HF_OP_CANCEL ? 0 : position;
        one->due = e.op == HF_OP_CANCEL ? 0 : hf_due_time(&e);
        hf_alarm_set_list(a, one);
        if (one->now == HF_ALARM_SET) {
            hf_alarm_set_push(a, one);
            hf_alarm_set_tally(a, 1);
        }
        a->used = true;
        a->look_ns = 0;
    }
    pthread_mutex_unlock(&a->lock);
    return one ? HF_OK : HF_ENOMEM;
}

/* ---- Words on their way */

/* The next alarm that the turn said something of, as a key; false: no more. */
static bool next_word(const hf_shard *shard, const hf_turn *turn, uint32_t *at, hf_key *key)
{
    const hf_segment *s = &turn->batch->segments[shard->index];
    while (*at < s->len) {
        hf_entry e;
        *at += (uint32_t)hf_entry_decode(s->data + *at, s->len - *at, &e);
        if (e.op != HF_OP_ALARM && e.op != HF_OP_CANCEL)
            continue;
        hf_due_key(key, &e);
        return true;
    }
    return false;
}

int hf_alarms_ready(hf_shard *shard, const hf_turn *turn)
{
    hf_alarms *a = shard->alarms;
    uint32_t at = turn->marks[shard->index].len;
    hf_key key;
    int err = HF_OK;
    pthread_mutex_lock(&a->lock);
    while (!err && next_word(shard, turn, &at, &key))
        if (!hf_alarm_set_find(a, hf_key_bytes(&key)) && !hf_alarm_set_add(a, &key, false))
            err = hf_error(HF_ENOMEM, "alarms");
    pthread_mutex_unlock(&a->lock);
    return err;
}

void hf_alarms_staged(hf_shard *shard, const hf_turn *turn, uint64_t batch)
{
    hf_alarms *a = shard->alarms;
    uint32_t at = turn->marks[shard->index].len;
    hf_key key;
    pthread_mutex_lock(&a->lock);
    while (next_word(shard, turn, &at, &key))
        note_staged(shard, hf_alarm_set_find(a, hf_key_bytes(&key)), batch);
    pthread_mutex_unlock(&a->lock);
}

/* ---- How many are set */

/* A word that took the place of a row: while both are there, one counts. */
static int look_for_rows(hf_alarms *a, const hf_overlay *tables)
{
    int err = HF_OK;
    for (int n = 0; !err && a->unsure && n < LEARN_MOST; n++) {
        hf_alarm *one = a->unsure;
        hf_bytes payload;
        uint64_t due = 0, generation;
        a->unsure = one->behind;
        if (one->letter || one->covers)
            continue;
        err = hf_overlay_get(tables, HF_IN_ALARM_NAMES, hf_view(one->key, one->key_len), &payload);
        if (!err && !hf_fate_alarm(payload, &due, &generation) && due) {
            one->covers = true;
            hf_alarm_set_tally(a, -1);
        }
        err = err == HF_ENOMEM ? err : HF_OK; /* a damaged one is found when it is wanted */
    }
    return err;
}

bool hf_alarms_learn(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    hf_overlay tables;
    if (!a->past.learning && (!a->unsure || !a->far))
        return false;
    pthread_mutex_lock(&a->lock);
    int err = hf_paging_look(shard, &a->near, &tables);
    if (!err) {
        err = a->past.learning ? hf_alarm_past_learn(shard, &tables) : look_for_rows(a, &tables);
        hf_txn_abort(tables.txn);
    }
    pthread_mutex_unlock(&a->lock);
    return !err;
}

/* ---- The fold */

/* Its word is folded: it has a row now, if it is set. */
static void cool(hf_alarms *a, hf_alarm *one)
{
    hf_alarm_queue *q = hf_alarm_queue_of(a, one->due);
    hf_alarm_set_tally(a, (int)one->covers - (one->now == HF_ALARM_SET));
    one->covers = false;
    if (one->now != HF_ALARM_SET) {
        hf_alarm_set_forget(a, one);
    } else if (hf_alarm_is_below(one, q->reach.due, q->reach.generation)) {
        q->cold += !one->cold;
        one->cold = true;
        one->entry = NULL;
        hf_alarm_set_unlist(a, one);
    } else {
        a->far = true;
        hf_alarm_set_forget(a, one);
    }
}

/* Many are cooled little by little. Those that have their turn later stay as they are: below
 * says which, and the records in which they stand are not released. */
static void cool_some(hf_alarms *a, uint64_t folded, uint32_t most)
{
    for (; most && a->first && a->first->position < folded; most--)
        cool(a, a->first);
    a->cooling = a->first && a->first->position < folded;
    a->below = a->cooling ? a->first->position : folded;
}

/* What we had staged was folded before we read it: the tables tell now. */
static void settle_staged(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    for (uint32_t i = 0; a->names && i <= a->mask; i++)
        for (hf_alarm *one = a->names[i], *next; one; one = next) {
            next = one->next_name;
            if (!one->staged || !is_passed(shard, one->staged))
                continue;
            note_read(shard, one);
            if (one->now == HF_ALARM_NONE)
                hf_alarm_set_remove(a, one);
        }
}

void hf_alarms_settle(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    if (!a->overtaken || !shard->at_done
        || atomic_load_explicit(&shard->at->next, memory_order_acquire))
        return;
    pthread_mutex_lock(&a->lock);
    settle_staged(shard);
    pthread_mutex_unlock(&a->lock);
}

/* The rows of what went off are gone. */
static void settle_spent(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    uint32_t over = 0;
    while (over < a->spent_count && a->spent[over].batch <= shard->folded_batch)
        hf_alarm_set_tally(a, a->spent[over++].count);
    a->spent_count -= over;
    if (over && a->spent_count)
        memmove(a->spent, a->spent + over, a->spent_count * sizeof *a->spent);
}

/* Whatever words were there, we never saw them: rows below reach are to be looked for. */
static void note_lost(hf_shard *shard, uint64_t from, uint64_t to)
{
    hf_alarms *a = shard->alarms;
    if (a->lost_count == a->lost_room) {
        uint32_t room = a->lost_room ? a->lost_room * 2 : 64;
        void *lost = hf_mem_grow(a->lost, room * sizeof *a->lost);
        if (!lost) {
            hf_engine_log(shard->engine, HF_ERROR, "alarms between %llu and %llu may wait for the "
                          "next open: no memory", (unsigned long long)from, (unsigned long long)to);
            return;
        }
        a->lost = lost;
        a->lost_room = room;
    }
    hf_alarm_lost *l = &a->lost[a->lost_count++];
    *l = (hf_alarm_lost){ .from = from, .to = to };
    l->at[1].due = HF_DUE_BY_WALL;
    l->until[0] = a->queues[0].reach;
    l->until[1] = a->queues[1].reach;
}

void hf_alarms_fold(hf_shard *shard, uint64_t folded, uint64_t mine)
{
    hf_alarms *a = shard->alarms;
    pthread_mutex_lock(&a->lock);
    uint64_t unseen = mine > a->below ? mine : a->below; /* those below were noted before */
    cool_some(a, folded, mine < folded ? UINT32_MAX : COOL_MOST);
    hf_alarm_past_fold(shard, folded);
    settle_spent(shard);
    if (!a->cooling)
        forget_words(a, shard->folded_batch);
    if (mine < folded) {
        note_lost(shard, unseen, folded);
        a->used = a->far = a->overtaken = true;
    }
    if (a->overtaken) { /* of some the fold's own end may tell only later */
        settle_staged(shard);
        a->overtaken = a->unread != 0;
    }
    a->look_ns = 0;
    pthread_mutex_unlock(&a->lock);
}

uint64_t hf_alarms_tally(hf_engine *engine)
{
    hf_txn *txn;
    uint64_t rows = 0;
    int64_t sum;
    if (hf_txn_read(engine->disk, &txn) == HF_OK) {
        (void)hf_txn_count(txn, HF_IN_ALARMS, &rows);
        hf_txn_abort(txn);
    }
    sum = (int64_t)rows;
    for (uint32_t i = 0; i < engine->shard_count; i++)
        sum += atomic_load_explicit(&engine->shards[i].alarms->extra, memory_order_relaxed);
    return sum > 0 ? (uint64_t)sum : 0;
}

void hf_alarms_cool(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    pthread_mutex_lock(&a->lock);
    cool_some(a, shard->folded, COOL_MOST);
    if (!a->cooling) /* till then a letter is read where it was sent, without its edit */
        forget_words(a, shard->folded_batch);
    pthread_mutex_unlock(&a->lock);
    if (!a->cooling)
        hf_resident_release(shard);
}

uint64_t hf_alarms_burden(const hf_engine *engine)
{
    uint64_t bytes = 0, few = engine->options.window / BURDEN_SHARE;
    uint64_t folded = hf_log_folded(engine->log);
    few = few < BURDEN_MIN ? BURDEN_MIN : few;
    for (uint32_t i = 0; engine->shards && i < engine->shard_count; i++) {
        const hf_alarms *a = engine->shards[i].alarms;
        if (a && atomic_load_explicit(&a->newest, memory_order_relaxed) > folded)
            bytes += atomic_load_explicit(&a->burden, memory_order_relaxed);
    }
    return bytes > few ? bytes - few : 0;
}

/* ---- Does a message still count? */

bool hf_alarms_know(const hf_shard *shard, hf_mailbox *box)
{
    const hf_record *r = shard->at;
    if (r->base + (shard->at_done ? r->count : shard->at_index) < box->words_end)
        return false;
    box->words_end = 0;
    return true;
}

static int row_counts(hf_shard *shard, const hf_entry *m, const hf_key *key, bool *counts)
{
    hf_overlay tables;
    hf_bytes payload;
    uint64_t due, generation = 0;
    int err = hf_paging_look(shard, &shard->alarms->near, &tables);
    if (err)
        return err;
    err = hf_overlay_get(&tables, HF_IN_ALARM_NAMES, hf_key_bytes(key), &payload);
    if (!err)
        err = hf_fate_alarm(payload, &due, &generation);
    *counts = !err && generation == m->generation;
    hf_txn_abort(tables.txn);
    if (err == HF_ECORRUPT || err == HF_EVERSION) { /* rather once too often than never */
        hf_engine_log(shard->engine, HF_ERROR, "%s: the row of its alarm %s is damaged (%s)",
                      m->to, m->name, hf_error_detail());
        *counts = true;
        return HF_OK;
    }
    return err == HF_ENOTFOUND ? HF_OK : err;
}

int hf_alarms_count(hf_shard *shard, const hf_entry *m, bool *counts)
{
    hf_alarms *a = shard->alarms;
    hf_key key;
    hf_due_key(&key, m);
    const hf_alarm *one = hf_alarm_set_find(a, hf_key_bytes(&key));
    bool staged = one && one->staged && !is_passed(shard, one->staged);
    if (staged || (one && one->entry)) { /* the window's last word */
        *counts = !staged && one->generation == m->generation;
        return HF_OK;
    }
    return row_counts(shard, m, &key, counts);
}

/* ---- By hand */

static hf_alarm *find_letter(const hf_alarms *a, uint64_t id)
{
    for (int i = 0; i < 2; i++)
        for (uint32_t n = 0; n < a->queues[i].count; n++)
            if (a->queues[i].heap[n]->letter && a->queues[i].heap[n]->generation == id)
                return a->queues[i].heap[n];
    return NULL;
}

/* Of this run's window: those are all in memory. */
static bool is_here(const hf_shard *shard, uint64_t id)
{
    return id >= shard->alarms->below && id >= shard->start;
}

/* The sweep must not find it again: its row stands until the fold. */
static int note_forced(hf_alarms *a, uint64_t id)
{
    if (a->forced_count == a->forced_room) {
        uint32_t room = a->forced_room ? a->forced_room * 2 : 16;
        void *forced = hf_mem_grow(a->forced, room * sizeof *a->forced);
        if (!forced)
            return HF_ENOMEM;
        a->forced = forced;
        a->forced_room = room;
    }
    a->forced[a->forced_count++] = id;
    return HF_OK;
}

/* Out of its queue, and in again as if it had been due long ago. */
static int force(hf_shard *shard, const hf_entry *letter)
{
    hf_alarms *a = shard->alarms;
    uint64_t due = hf_due_time(letter);
    const hf_alarm_queue *q = hf_alarm_queue_of(a, due);
    hf_alarm *one = find_letter(a, letter->id);
    hf_key key;
    bool past = due != q->reach.due ? due < q->reach.due : letter->id < q->reach.generation;
    past = past || hf_alarm_is_forced(a, letter->id);
    if (!one && (past || is_here(shard, letter->id)))
        return HF_OK; /* it is not there, so it went off */
    bool fresh = !one;
    if (hf_alarm_set_room(a))
        return HF_ENOMEM;
    hf_due_key(&key, letter);
    if (!one && !(one = hf_alarm_set_add(a, &key, true)))
        return HF_ENOMEM;
    int err = note_forced(a, letter->id);
    if (err) {
        if (fresh)
            hf_alarm_set_remove(a, one);
        return err;
    }
    hf_alarm_set_pull(a, one);
    one->cold = !one->entry && !one->listed;
    one->due = 1; /* long ago */
    one->now = HF_ALARM_SET;
    one->generation = one->position = letter->id;
    hf_alarm_set_push(a, one);
    a->used = true;
    a->look_ns = 0;
    return HF_OK;
}

/* Not among what is set, though it should be: it went off. */
static bool went_off(const hf_shard *shard, const hf_entry *letter)
{
    const hf_alarms *a = shard->alarms;
    uint64_t due = hf_due_time(letter);
    const hf_alarm_queue *q = &a->queues[due & HF_DUE_BY_WALL ? 1 : 0];
    bool past = due != q->reach.due ? due < q->reach.due : letter->id < q->reach.generation;
    past = past || hf_alarm_is_forced(a, letter->id);
    return !find_letter(a, letter->id) && (past || is_here(shard, letter->id));
}

const uint8_t *hf_alarms_words(const hf_alarms *a, uint64_t id)
{
    const hf_reworded *w = a->words;
    while (w && w->id != id)
        w = w->next;
    return w ? w->bytes : NULL;
}

static int reword(hf_shard *shard, const hf_entry *letter, hf_batch *batch)
{
    hf_alarms *a = shard->alarms;
    if (went_off(shard, letter))
        return hf_error(HF_ENOTFOUND, "message %llu has just come due",
                        (unsigned long long)letter->id);
    hf_reworded *w = hf_mem_zero(1, sizeof *w + hf_entry_size(letter) + 16);
    if (!w)
        return hf_error(HF_ENOMEM, "an edit");
    int err = hf_segment_add(&batch->segments[shard->index], letter);
    if (err) {
        hf_mem_free(w);
        return err;
    }
    hf_entry_encode(letter, w->bytes);
    w->id = letter->id;
    w->batch = batch->sequence;
    w->next = a->words; /* before older words about it */
    a->words = w;
    return HF_OK;
}

int hf_alarms_reword(hf_shard *shard, const hf_entry *letter, hf_batch *batch)
{
    pthread_mutex_lock(&shard->alarms->lock);
    int err = reword(shard, letter, batch);
    pthread_mutex_unlock(&shard->alarms->lock);
    return err;
}

int hf_alarms_force(hf_shard *shard, const hf_entry *letter)
{
    pthread_mutex_lock(&shard->alarms->lock);
    int err = force(shard, letter);
    pthread_mutex_unlock(&shard->alarms->lock);
    return err;
}
