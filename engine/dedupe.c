/* dedupe.c - one letter of an id in 24 hours.
 *
 * Happy path: who stages a letter with a word makes its row for the map, so that the
 * journal needs no memory; the journal finds the word neither in the map nor in the table
 * and takes the row over; once the commit has given ids the row knows its message. A row
 * leaves the map when the fold has moved its fact into the table.
 *
 * Fails: a commit that fails takes the rows back out; where the table can't be asked
 * nothing is written. Letters: any thread; deciding: the journal's. */
#include "engine/dedupe.h"

#include "engine/engine.h"
#include "engine/timebase.h"

#include "storage/error.h"
#include "storage/memory.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { BUCKETS_MIN = 256 };

struct hf_dedupe_row {
    hf_dedupe_row *next;      /* of its bucket */
    hf_dedupe_row *newer;     /* as committed */
    uint64_t       hash;
    uint64_t       until;     /* the position of the fact: needed until that is folded */
    hf_taken       taken;     /* id 0: not committed yet */
    const hf_batch *batch;    /* not committed: it lies there, */
    uint32_t       shard, index; /* in that segment */
    bool           listed;    /* in its bucket */
    uint8_t       *reply;
    uint32_t       key_len;
    uint8_t        key[];     /* of its row in the table */
};

int hf_dedupe_init(hf_engine *engine)
{
    hf_dedupe *d = &engine->dedupe;
    d->newest_end = &d->oldest;
    d->buckets = hf_mem_zero(BUCKETS_MIN, sizeof(*d->buckets));
    d->mask = BUCKETS_MIN - 1;
    if (!d->buckets || pthread_mutex_init(&d->lock, NULL))
        return hf_error(HF_ENOMEM, "senders' words");
    d->ready = true;
    return HF_OK;
}

static void free_row(hf_dedupe_row *row)
{
    if (row)
        hf_mem_free(row->reply);
    hf_mem_free(row);
}

void hf_dedupe_done(hf_engine *engine)
{
    hf_dedupe *d = &engine->dedupe;
    while (d->oldest) {
        hf_dedupe_row *next = d->oldest->newer;
        free_row(d->oldest);
        d->oldest = next;
    }
    if (d->ready)
        pthread_mutex_destroy(&d->lock);
    hf_mem_free(d->buckets);
    hf_rowbuf_done(&d->buf);
    hf_rowbuf_done(&d->sweep_buf);
    memset(d, 0, sizeof *d);
}

/* ---- Letters */

static hf_dedupe_row *make_row(const hf_entry *m)
{
    hf_key key;
    hf_entry named = *m;
    named.name = m->dedupe;
    named.name_len = (uint8_t)m->dedupe_len;
    hf_key_name(&key, &named);
    hf_dedupe_row *row = hf_mem_zero(1, sizeof *row + key.len);
    if (!row)
        return NULL;
    memcpy(row->key, key.bytes, key.len);
    row->key_len = (uint32_t)key.len;
    row->hash = XXH3_64bits(key.bytes, key.len);
    hf_taken_sum(row->taken.sum, hf_view(m->name, m->name_len), m->data);
    return row;
}

static int add_note(hf_batch *batch, hf_dedupe_note **out)
{
    if (batch->note_count == batch->note_room) {
        uint32_t room = batch->note_room ? batch->note_room * 2 : 8;
        void *notes = hf_mem_grow(batch->notes, room * sizeof *batch->notes);
        if (!notes)
            return hf_error(HF_ENOMEM, "a batch");
        batch->notes = notes;
        batch->note_room = room;
    }
    *out = &batch->notes[batch->note_count];
    return HF_OK;
}

int hf_dedupe_note_send(hf_batch *batch, const hf_entry *send, uint32_t shard, uint32_t letter)
{
    const hf_segment *s = &batch->segments[shard];
    hf_dedupe_note *note;
    int err = add_note(batch, &note);
    hf_dedupe_row *row = err ? NULL : make_row(send);
    if (!row)
        return hf_error(HF_ENOMEM, "a letter to %s", send->to);
    *note = (hf_dedupe_note){ .row = row, .shard = shard, .index = s->count - 1, .letter = letter,
                              .offset = s->len - (uint32_t)hf_entry_size(send) };
    batch->note_count++;
    return HF_OK;
}

void hf_dedupe_cut(hf_batch *batch, uint32_t count)
{
    while (batch->note_count > count) {
        hf_dedupe_note *note = &batch->notes[--batch->note_count];
        if (!note->taken)
            free_row(note->row);
    }
}

/* ---- The map; under its lock */

static hf_dedupe_row **bucket_of(hf_dedupe *d, uint64_t hash)
{
    return &d->buckets[hash & d->mask];
}

static hf_dedupe_row *find_row(hf_dedupe *d, uint64_t hash, const uint8_t *key, uint32_t len)
{
    hf_dedupe_row *row = *bucket_of(d, hash);
    while (row && (row->hash != hash || row->key_len != len || memcmp(row->key, key, len) != 0))
        row = row->next;
    return row;
}

/* Without memory the chains just grow longer. */
static void widen(hf_dedupe *d)
{
    uint32_t slots = (d->mask + 1) * 2;
    hf_dedupe_row **wider = d->count > d->mask ? hf_mem_zero(slots, sizeof(*wider)) : NULL;
    if (!wider)
        return;
    for (uint32_t i = 0; i <= d->mask; i++) {
        for (hf_dedupe_row *row = d->buckets[i], *next; row; row = next) {
            next = row->next;
            row->next = wider[row->hash & (slots - 1)];
            wider[row->hash & (slots - 1)] = row;
        }
    }
    hf_mem_free(d->buckets);
    d->buckets = wider;
    d->mask = slots - 1;
}

static void enlist(hf_dedupe *d, hf_dedupe_row *row)
{
    widen(d);
    hf_dedupe_row **bucket = bucket_of(d, row->hash);
    row->next = *bucket;
    *bucket = row;
    row->listed = true;
    d->count++;
}

static void unlist(hf_dedupe *d, hf_dedupe_row *row)
{
    hf_dedupe_row **link = bucket_of(d, row->hash);
    if (!row->listed)
        return;
    while (*link != row)
        link = &(*link)->next;
    *link = row->next;
    row->listed = false;
    d->count--;
}

/* What lies in the table now is not needed here. */
static void forget_folded(hf_dedupe *d, uint64_t folded)
{
    while (d->oldest && d->oldest->until < folded) {
        hf_dedupe_row *row = d->oldest;
        d->oldest = row->newer;
        if (!d->oldest)
            d->newest_end = &d->oldest;
        unlist(d, row);
        free_row(row);
    }
}

/* ---- Deciding */

typedef struct decision {
    hf_engine *engine;
    hf_overlay tables;  /* txn NULL: not looked yet */
    uint64_t   now_ms;
} decision;

static int look_at_table(decision *by, const hf_dedupe_row *row, hf_taken *taken)
{
    hf_dedupe *d = &by->engine->dedupe;
    hf_bytes payload;
    if (!by->tables.txn) {
        int err = hf_log_look(by->engine->log, &by->tables.txn, &by->tables.facts);
        if (err)
            return err;
        by->tables.buf = &d->buf;
        by->tables.hint = &d->near;
    }
    int err = hf_overlay_get(&by->tables, HF_IN_DEDUPE, hf_view(row->key, row->key_len), &payload);
    return err ? err : hf_taken_of_row(payload, taken);
}

/* Who has the word now? HF_ENOTFOUND: nobody. *first: in the map. */
static int look_up(decision *by, const hf_dedupe_row *row, hf_taken *taken,
                   const hf_dedupe_row **first)
{
    hf_dedupe *d = &by->engine->dedupe;
    hf_dedupe_row *known = find_row(d, row->hash, row->key, row->key_len);
    *first = NULL;
    if (known && hf_taken_is_over(known->taken.time_ms, by->now_ms)) {
        unlist(d, known); /* what came of a letter of yesterday; the table knows a newer one */
        known = NULL;
    }
    if (known) {
        *taken = known->taken;
        *first = known;
        return HF_OK;
    }
    int err = look_at_table(by, row, taken);
    return !err && hf_taken_is_over(taken->time_ms, by->now_ms) ? HF_ENOTFOUND : err;
}

static void take_row(decision *by, hf_batch *batch, hf_dedupe_note *note)
{
    hf_dedupe_row *row = note->row;
    row->taken.time_ms = by->now_ms;
    row->batch = batch;
    row->shard = note->shard;
    row->index = note->index;
    enlist(&by->engine->dedupe, row);
    note->taken = true;
}

static void make_void(hf_batch *batch, const hf_dedupe_note *note)
{
    hf_segment *s = &batch->segments[note->shard];
    s->messages -= !(s->data[note->offset + 1] & HF_ENTRY_DELAYED); /* that waits in no inbox */
    s->data[note->offset] = HF_OP_VOID;
    s->keeps--;
    batch->sends--;
}

static int decide(decision *by, hf_batch *batch, hf_dedupe_note *note)
{
    hf_taken taken;
    const hf_dedupe_row *first = NULL;
    int err = look_up(by, note->row, &taken, &first);
    if (err == HF_ENOTFOUND) {
        take_row(by, batch, note);
        return HF_OK;
    }
    if (err && err != HF_ECORRUPT && err != HF_EVERSION)
        return err;
    bool same = !err && memcmp(taken.sum, note->row->taken.sum, sizeof taken.sum) == 0;
    note->duplicate = same;
    note->conflict = !same;
    note->id = err ? 0 : taken.id;
    note->first = batch->outside ? first : NULL;
    if (same)
        make_void(batch, note);
    else if (batch->outside)
        return err ? err : HF_ECONFLICT;
    else
        batch->segments[note->shard].data[note->offset + 1] |= HF_ENTRY_CONFLICT;
    return HF_OK;
}

/* What a batch that is refused took is free again. */
static void give_back(hf_dedupe *d, hf_batch *batch)
{
    for (uint32_t i = 0; i < batch->note_count; i++) {
        hf_dedupe_note *note = &batch->notes[i];
        if (!note->taken)
            continue;
        unlist(d, note->row);
        note->taken = false;
    }
}

/* A segment of which nothing is left need not be written; the ids in it are nobody's. */
static void drop_voids(hf_batch *batch)
{
    for (uint32_t shard = 0; shard < batch->shards; shard++) {
        hf_segment *s = &batch->segments[shard];
        uint32_t voids = 0;
        for (uint32_t i = 0; s->count && !s->messages && i < batch->note_count; i++)
            voids += batch->notes[i].duplicate && batch->notes[i].shard == shard;
        if (s->count && voids == s->count)
            hf_segment_cut(s, (hf_batch_mark){ 0 });
    }
}

static int decide_batch(decision *by, hf_batch *batch)
{
    hf_dedupe *d = &by->engine->dedupe;
    int err = HF_OK;
    pthread_mutex_lock(&d->lock);
    for (; !err && batch->decided < batch->note_count; batch->decided++)
        if (!batch->notes[batch->decided].reply)
            err = decide(by, batch, &batch->notes[batch->decided]);
    if (err && batch->outside)
        give_back(d, batch);
    else if (err)
        batch->decided--; /* this one again */
    pthread_mutex_unlock(&d->lock);
    if (!err && batch->outside)
        drop_voids(batch);
    return err;
}

static bool any_notes(const hf_batch *list)
{
    while (list && list->decided == list->note_count)
        list = list->next;
    return list != NULL;
}

int hf_dedupe_gather(hf_engine *engine, hf_batch *turns, hf_batch **outside, hf_batch **refused)
{
    decision by = { .engine = engine };
    int err = HF_OK;
    *refused = NULL;
    if (!any_notes(turns) && !any_notes(*outside))
        return HF_OK;
    by.now_ms = hf_timebase_now(engine);
    pthread_mutex_lock(&engine->dedupe.lock);
    forget_folded(&engine->dedupe, hf_log_folded(engine->log));
    pthread_mutex_unlock(&engine->dedupe.lock);
    for (hf_batch *b = turns; b && !err; b = b->next)
        err = decide_batch(&by, b);
    hf_batch **link = outside, **end = refused;
    while (!err && *link) {
        hf_batch *b = *link;
        b->refusal = decide_batch(&by, b);
        if (b->refusal) {
            *link = b->next;
            hf_batch_enlist(&end, b);
        } else {
            link = &b->next;
        }
    }
    hf_txn_abort(by.tables.txn);
    return err;
}

/* ---- After the commit */

static uint64_t position_of(const hf_batch *batch, uint32_t shard, uint32_t index)
{
    return batch->segments[shard].base + index;
}

static uint64_t id_of(const hf_dedupe_row *row)
{
    return row->taken.id ? row->taken.id : position_of(row->batch, row->shard, row->index);
}

static void commit_row(hf_dedupe *d, hf_batch *batch, hf_dedupe_note *note)
{
    hf_dedupe_row *row = note->row;
    if (note->reply) {
        hf_dedupe_row *known = find_row(d, row->hash, row->key, row->key_len);
        if (known && (!known->taken.id || known->taken.id > row->taken.id))
            return; /* the word was used again since */
        if (known)
            unlist(d, known);
        enlist(d, row);
    }
    if (!note->reply && !note->taken)
        return;
    row->taken.id = id_of(row);
    row->until = position_of(batch, note->shard, note->index);
    row->batch = NULL;
    row->newer = NULL;
    *d->newest_end = row;
    d->newest_end = &row->newer;
    note->taken = true;
    note->id = row->taken.id;
}

void hf_dedupe_settled(hf_batch *batch, int err)
{
    hf_dedupe *d = &batch->engine->dedupe;
    pthread_mutex_lock(&d->lock);
    if (err)
        give_back(d, batch);
    for (uint32_t i = 0; !err && i < batch->note_count; i++) {
        hf_dedupe_note *note = &batch->notes[i];
        if (note->duplicate && note->first)
            note->id = id_of(note->first);
        else if (!note->duplicate)
            commit_row(d, batch, note);
        note->first = NULL;
    }
    pthread_mutex_unlock(&d->lock);
}

void hf_dedupe_receipts(const hf_batch *batch, hf_receipt *receipts)
{
    for (uint32_t i = 0; receipts && i < batch->note_count; i++)
        if (batch->notes[i].duplicate)
            receipts[batch->notes[i].letter] = (hf_receipt){ .id = batch->notes[i].id,
                                                             .err = HF_EDUPLICATE };
}

bool hf_dedupe_was_taken(const hf_batch *batch, uint32_t letter, uint64_t *id)
{
    for (uint32_t i = 0; i < batch->note_count; i++) {
        if (!batch->notes[i].duplicate || batch->notes[i].letter != letter)
            continue;
        *id = batch->notes[i].id;
        return true;
    }
    return false;
}

int hf_dedupe_explain(const hf_batch *batch)
{
    for (uint32_t i = 0; i < batch->note_count; i++) {
        const hf_dedupe_note *note = &batch->notes[i];
        char address[HF_ADDRESS_MAX + 1];
        if (!note->conflict)
            continue;
        const uint8_t *word = memrchr(note->row->key, 0, note->row->key_len);
        size_t len = (size_t)(word - note->row->key);
        (void)hf_address_of_key(address, note->row->key, len, NULL);
        return hf_error(HF_ECONFLICT, "%s took another letter as \"%.*s\", message %llu", address,
                        (int)(note->row->key_len - len - 1), (const char *)word + 1,
                        (unsigned long long)note->id);
    }
    return hf_error(HF_ECONFLICT, "letter %u", 0u);
}

/* ---- Looking from elsewhere */

static int copy_out(hf_taken *taken, uint8_t **reply)
{
    *reply = hf_mem_alloc(taken->reply.len + 1);
    if (!*reply)
        return hf_error(HF_ENOMEM, "a reply");
    if (taken->reply.len)
        memcpy(*reply, taken->reply.data, taken->reply.len);
    taken->reply.data = *reply;
    return HF_OK;
}

static int find_in_table(hf_engine *engine, const hf_dedupe_row *row, hf_taken *taken,
                         uint8_t **reply)
{
    hf_rowbuf buf = { 0 };
    hf_bytes payload;
    hf_overlay tables = { .buf = &buf };
    int err = hf_log_look(engine->log, &tables.txn, &tables.facts);
    if (err)
        return err;
    err = hf_overlay_get(&tables, HF_IN_DEDUPE, hf_view(row->key, row->key_len), &payload);
    if (!err && !(err = hf_taken_of_row(payload, taken)))
        err = copy_out(taken, reply);
    hf_txn_abort(tables.txn);
    hf_rowbuf_done(&buf);
    return err;
}

int hf_dedupe_find(hf_engine *engine, const char *to, size_t to_len, const char *word,
                   hf_taken *taken, uint8_t **reply)
{
    hf_dedupe *d = &engine->dedupe;
    hf_entry m = { .to = to, .to_len = (uint8_t)to_len, .name = "", .dedupe = word,
                   .dedupe_len = (uint32_t)strlen(word),
                   .hash = hf_address_hash(engine->seed, to, to_len) };
    hf_dedupe_row *row = make_row(&m);
    uint64_t now_ms = hf_timebase_now(engine);
    int err = row ? HF_OK : hf_error(HF_ENOMEM, "a word");
    *reply = NULL;
    if (err)
        return err;
    pthread_mutex_lock(&d->lock);
    const hf_dedupe_row *known = find_row(d, row->hash, row->key, row->key_len);
    bool here = known && known->taken.id && !hf_taken_is_over(known->taken.time_ms, now_ms);
    if (here) {
        *taken = known->taken;
        err = copy_out(taken, reply);
    }
    pthread_mutex_unlock(&d->lock);
    if (!here) /* moments ago in the map means: in the table now */
        err = find_in_table(engine, row, taken, reply);
    free_row(row);
    if (!err && hf_taken_is_over(taken->time_ms, now_ms))
        err = HF_ENOTFOUND;
    if (err) {
        hf_mem_free(*reply);
        *reply = NULL;
    }
    return err;
}

/* ---- What came of a letter */

/* The PUT that says what came of a message. */
static int stage_end(hf_batch *batch, const hf_entry *m, const hf_taken *taken)
{
    size_t len = HF_TAKEN_SIZE + taken->reply.len;
    uint8_t *value = hf_mem_alloc(len);
    if (!value)
        return hf_error(HF_ENOMEM, "a reply of %s", m->to);
    hf_taken_encode(taken, value);
    hf_entry e = { .op = HF_OP_PUT, .flags = HF_ENTRY_DEDUPE, .to = m->to, .to_len = m->to_len,
                   .hash = m->hash, .name = m->dedupe, .name_len = (uint8_t)m->dedupe_len,
                   .data = hf_view(value, len), .error = "", .from = "", .answer = "",
                   .dedupe = "" };
    int err = hf_segment_add(hf_batch_facts(batch), &e);
    hf_mem_free(value);
    return err;
}

static int copy_reply(hf_dedupe_row *row, hf_bytes reply)
{
    row->reply = hf_mem_alloc(reply.len + 1);
    if (!row->reply)
        return HF_ENOMEM;
    if (reply.len)
        memcpy(row->reply, reply.data, reply.len);
    row->taken.reply = hf_view(row->reply, reply.len);
    return HF_OK;
}

/* When the message's word was taken; when it was sent by the wall clock is of no use, which
 * somebody may have set since. */
static uint64_t taken_at(hf_engine *engine, const hf_dedupe_row *row, const hf_entry *m)
{
    hf_dedupe *d = &engine->dedupe;
    hf_taken first = { .id = 0 };
    uint8_t *reply = NULL;
    uint64_t now_ms = hf_timebase_now(engine);
    pthread_mutex_lock(&d->lock);
    const hf_dedupe_row *known = find_row(d, row->hash, row->key, row->key_len);
    if (known)
        first = (hf_taken){ .id = known->taken.id, .time_ms = known->taken.time_ms };
    pthread_mutex_unlock(&d->lock);
    bool here = known && (!first.id || first.id == m->id);
    if (!here && !find_in_table(engine, row, &first, &reply))
        here = first.id == m->id;
    hf_mem_free(reply);
    if (here)
        return first.time_ms;
    return m->sent < now_ms ? m->sent : now_ms; /* it is over, most likely */
}

int hf_dedupe_note_end(hf_batch *batch, const hf_entry *m, hf_taken_outcome outcome,
                       hf_bytes reply)
{
    hf_dedupe_note *note;
    if (reply.len > HF_TAKEN_REPLY_MAX) {
        outcome = HF_TAKEN_TOOBIG;
        reply = hf_view(NULL, 0);
    }
    int err = add_note(batch, &note);
    hf_dedupe_row *row = err ? NULL : make_row(m);
    if (!row)
        return hf_error(HF_ENOMEM, "a reply of %s", m->to);
    row->taken.id = m->id;
    row->taken.time_ms = taken_at(batch->engine, row, m);
    row->taken.outcome = (uint8_t)outcome;
    err = copy_reply(row, reply);
    if (!err)
        err = stage_end(batch, m, &row->taken);
    if (err) {
        free_row(row);
        return hf_error(HF_ENOMEM, "a reply of %s", m->to);
    }
    *note = (hf_dedupe_note){ .row = row, .shard = batch->shards, .reply = true,
                              .index = hf_batch_facts(batch)->count - 1 };
    batch->note_count++;
    return HF_OK;
}
