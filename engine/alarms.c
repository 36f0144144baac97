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

/* ---- What an earlier run left in the log */

static int row_setting(hf_txn *txn, const hf_key *key, uint64_t *due)
{
    hf_bytes payload;
    uint64_t generation;
    int err = hf_row_get(txn, HF_IN_ALARM_NAMES, key, &payload);
    *due = 0;
    if (!err)
        err = hf_fate_alarm(payload, due, &generation);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

typedef struct past_walk {
    hf_shard           *shard;
    hf_overlay          tables;
    const hf_survivors *facts;
    hf_rowbuf           buf;
} past_walk;

static int load_row(void *user, hf_table table, const hf_key *key, hf_bytes *payload)
{
    return hf_row_get(user, table, key, payload);
}

static int add_past(past_walk *w, const hf_key *key, const hf_fate *fate)
{
    hf_alarms *a = w->shard->alarms;
    uint64_t id, before = 0;
    size_t actor_len;
    bool letter = hf_due_letter_of(hf_key_bytes(key), &id, &actor_len);
    int err = row_setting(w->tables.txn, key, &before);
    if (err == HF_ECORRUPT || err == HF_EVERSION)
        err = HF_OK; /* it is found when the row is wanted */
    bool set = fate->verdict == HF_FATE_PUT && fate->due;
    if (before && fate->verdict != HF_FATE_NONE) {
        hf_alarm_set_tally(a, -1);
        a->past_spent += !set;
    }
    if (err || !set)
        return err;
    hf_alarm *one = hf_alarm_set_room(a) ? NULL : hf_alarm_set_add(a, key, letter);
    if (!one)
        return hf_error(HF_ENOMEM, "alarms");
    one->now = HF_ALARM_SET;
    one->due = fate->due;
    one->generation = one->position = fate->generation;
    one->covers = before != 0;
    hf_alarm_set_tally(a, 1);
    hf_alarm_set_push(a, one);
    hf_alarm_set_list(a, one);
    return HF_OK;
}

static bool is_ours(const hf_shard *shard, const hf_key *key)
{
    const uint8_t *type_end = memchr(key->bytes, 0, key->len);
    if (!type_end || (size_t)(type_end - key->bytes) + 9 > key->len)
        return false;
    uint64_t hash = hf_get64_key(type_end + 1);
    return hf_address_shard(hash, shard->engine->shard_count) == shard->index;
}

static int walk_past(past_walk *w)
{
    const hf_survivors *s = w->facts;
    const hf_survivor_list *list = &s->table[HF_IN_ALARM_NAMES];
    int err = HF_OK;
    for (size_t from = 0, to; !err && from < list->count; from = to) {
        hf_fate fate;
        hf_key key;
        to = hf_survivors_run(s, HF_IN_ALARM_NAMES, from, &key);
        if (!is_ours(w->shard, &key))
            continue;
        err = hf_fate_of(s, HF_IN_ALARM_NAMES, from, to, &key, load_row, w->tables.txn, &w->buf,
                         &fate);
        if (!err)
            err = add_past(w, &key, &fate);
    }
    return err;
}

static int load_past(hf_shard *shard)
{
    past_walk w = { .shard = shard };
    uint64_t rows = 0, names = 0;
    int err = hf_paging_look(shard, NULL, &w.tables);
    if (err)
        return err;
    w.facts = w.tables.facts;
    err = hf_txn_count(w.tables.txn, HF_IN_ALARMS, &rows);
    if (!err)
        err = hf_txn_count(w.tables.txn, HF_IN_ALARM_NAMES, &names);
    if (!err && w.facts)
        err = walk_past(&w);
    shard->alarms->far = rows != 0;
    shard->alarms->used = names || (w.facts && w.facts->table[HF_IN_ALARM_NAMES].count);
    hf_rowbuf_done(&w.buf);
    hf_txn_abort(w.tables.txn);
    return err;
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
    int err = load_past(shard);
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
    hf_alarm_set_done(shard->alarms);
    hf_mem_free(shard->alarms);
    shard->alarms = NULL;
}

/* ---- Words from the log */

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
        one->staged = 0;
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

int hf_alarms_staged(hf_shard *shard, const hf_turn *turn, uint64_t batch)
{
    hf_alarms *a = shard->alarms;
    const hf_segment *s = &turn->batch->segments[shard->index];
    int err = HF_OK;
    pthread_mutex_lock(&a->lock);
    for (uint32_t at = turn->marks[shard->index].len; !err && at < s->len;) {
        hf_entry e;
        hf_key key;
        at += (uint32_t)hf_entry_decode(s->data + at, s->len - at, &e);
        if (e.op != HF_OP_ALARM && e.op != HF_OP_CANCEL)
            continue;
        hf_due_key(&key, &e);
        hf_alarm *one = hf_alarm_set_find(a, hf_key_bytes(&key));
        if (!one)
            one = hf_alarm_set_add(a, &key, false);
        if (one)
            one->staged = batch;
        else
            err = hf_error(HF_ENOMEM, "alarms");
    }
    pthread_mutex_unlock(&a->lock);
    return err;
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

/* What we had staged was folded before we read it: the tables tell now. */
static void settle_staged(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    for (uint32_t i = 0; a->names && i <= a->mask; i++)
        for (hf_alarm *one = a->names[i], *next; one; one = next) {
            next = one->next_name;
            if (!one->staged || one->staged > shard->folded_batch)
                continue;
            one->staged = 0;
            if (one->now == HF_ALARM_NONE)
                hf_alarm_set_remove(a, one);
        }
}

/* The rows of what went off are gone. */
static void settle_spent(hf_shard *shard)
{
    hf_alarms *a = shard->alarms;
    uint32_t over = 0;
    hf_alarm_set_tally(a, a->past_spent);
    a->past_spent = 0;
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
    while (a->first && a->first->position < folded)
        cool(a, a->first);
    a->below = folded;
    settle_spent(shard);
    forget_words(a, shard->folded_batch);
    if (mine < folded) {
        note_lost(shard, unseen, folded);
        a->used = a->far = true;
        settle_staged(shard);
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
    if (one && (one->staged || one->entry)) { /* the window's last word */
        *counts = !one->staged && one->generation == m->generation;
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
    for (uint32_t i = 0; i < a->forced_count; i++)
        past = past || a->forced[i] == letter->id;
    if (!one && (past || letter->id >= a->below))
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
static bool went_off(const hf_alarms *a, const hf_entry *letter)
{
    uint64_t due = hf_due_time(letter);
    const hf_alarm_queue *q = &a->queues[due & HF_DUE_BY_WALL ? 1 : 0];
    bool past = due != q->reach.due ? due < q->reach.due : letter->id < q->reach.generation;
    for (uint32_t i = 0; i < a->forced_count; i++)
        past = past || a->forced[i] == letter->id;
    return !find_letter(a, letter->id) && (past || letter->id >= a->below);
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
    if (went_off(a, letter))
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
