/* packing.c - a group becomes records.
 *
 * Happy path: messages that are done become DONE entries or, where the fold has
 * been, named acknowledgements; the segments are sorted by shard, cut into
 * records, and each record is written into the transaction and kept in memory.
 * Fails for want of space or memory; the log then drops what was begun.
 * The log's owner's thread. */
#include "storage/due.h"
#include "storage/sharing.h"
#include "storage/writer.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

static hf_record *find_anywhere(const hf_log *log, uint64_t position)
{
    hf_record *r = hf_window_find(&log->window, position);
    for (uint32_t i = 0; !r && i < log->retired_count; i++)
        if (position >= log->retired[i]->base
            && position < log->retired[i]->base + log->retired[i]->count)
            r = log->retired[i];
    return r;
}

/* A message that is being folded, or was: its row has to go, so name it. */
static int name_done(hf_log *log, uint64_t first, uint32_t count)
{
    while (count) {
        hf_record *r = find_anywhere(log, first);
        if (!r || !r->data)
            return hf_error(HF_ECORRUPT, "message %llu ended twice", (unsigned long long)first);
        const uint8_t *at = r->data + hf_record_entries_at(r->runs), *end = r->data + r->size;
        for (uint32_t i = 0; count && i < r->count; i++) {
            hf_entry e;
            size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
            HF_ASSERT(size);
            at += size;
            if (r->base + i != first)
                continue;
            hf_entry ack = { .op = HF_OP_ACK, .to = e.to, .to_len = e.to_len, .hash = e.hash,
                             .id = e.op == HF_OP_DUE && e.id ? e.id : first, .place = first,
                             .name = "", .error = "", .from = "" };
            hf_due_end(&ack, &e);
            int err = hf_segment_add(&log->facts, &ack);
            if (err)
                return err;
            first++;
            count--;
        }
    }
    return HF_OK;
}

/* Below this position messages may have rows: sealed, or folded. */
static uint64_t sealed_end(const hf_log *log)
{
    return log->fold.now.stage != HF_FOLD_IDLE
        ? log->fold.end : hf_window_tail(&log->window, log->next);
}

int hf_pack_done(hf_log *log, const hf_group *g)
{
    uint64_t sealed = sealed_end(log);
    hf_segment *facts = &log->facts;
    facts->len = facts->count = facts->messages = facts->keeps = 0;
    facts->shard = HF_FACTS;
    for (uint32_t i = 0; i < g->done_count; i++) {
        hf_range range = g->done[i];
        uint32_t old = 0;
        if (range.first < sealed)
            old = sealed - range.first < range.count ? (uint32_t)(sealed - range.first)
                                                     : range.count;
        int err = old ? name_done(log, range.first, old) : HF_OK;
        hf_entry e = { .op = HF_OP_DONE, .hash = range.first + old, .count = range.count - old,
                       .to = "", .name = "", .error = "", .from = "" };
        if (!err && e.count)
            err = hf_segment_add(facts, &e);
        if (err)
            return err;
    }
    return HF_OK;
}

/* ---- Small pieces, while space is short
 *
 * A record larger than a page needs pages that lie side by side, and a store that is
 * full may have none, however many are free. What is small entry by entry can always
 * be written: a page at a time. */

/* Messages to a topic share a body: they stay together. */
static bool shares(const hf_segment *s)
{
    for (uint32_t at = 0; at < s->len;) {
        hf_entry e;
        uint32_t size = (uint32_t)hf_entry_decode(s->data + at, s->len - at, &e);
        HF_ASSERT(size);
        if (e.flags & HF_ENTRY_SHARES)
            return true;
        at += size;
    }
    return false;
}

static uint32_t pieces_of(const hf_segment *s)
{
    return s->len > HF_PIECE && !shares(s) ? 2 * (s->len / HF_PIECE) + 2 : 0;
}

static int make_room(hf_log *log, const hf_group *g)
{
    uint32_t need = g->segment_count + 1, pieces = 0;
    if (log->tight) {
        pieces = pieces_of(&log->facts);
        for (uint32_t i = 0; i < g->segment_count; i++)
            pieces += pieces_of(g->segments[i]);
    }
    need += pieces;
    if (need > log->sorted_room) {
        void *sorted = hf_mem_grow(log->sorted, need * 2 * sizeof(*log->sorted));
        if (!sorted)
            return hf_error(HF_ENOMEM, "a group");
        log->sorted = sorted;
        log->sorted_room = need * 2;
    }
    log->piece_count = 0;
    if (pieces > log->piece_room) {
        void *made = hf_mem_grow(log->pieces, pieces * sizeof *log->pieces);
        if (!made)
            return hf_error(HF_ENOMEM, "a group");
        log->pieces = made;
        log->piece_room = pieces;
    }
    return HF_OK;
}

/* Cut it between entries; returns how many pieces were added to `sorted`. */
static uint32_t cut(hf_log *log, hf_segment *whole, hf_segment **sorted)
{
    uint32_t n = 0;
    hf_segment *part = NULL;
    for (uint32_t at = 0; at < whole->len;) {
        hf_entry e;
        uint32_t size = (uint32_t)hf_entry_decode(whole->data + at, whole->len - at, &e);
        HF_ASSERT(size);
        if (!part || part->len + size > HF_PIECE) {
            hf_piece *piece = &log->pieces[log->piece_count++];
            *piece = (hf_piece){ { .data = whole->data + at, .shard = whole->shard },
                                 part ? NULL : whole };
            sorted[n++] = part = &piece->part;
        }
        part->len += size;
        part->count++;
        part->messages += hf_entry_waits(&e) ? 1 : 0;
        part->keeps += hf_entry_keeps(&e) || (e.dedupe_len && e.op == HF_OP_SEND) ? 1 : 0;
        at += size;
    }
    return n;
}

static uint32_t put_segment(hf_log *log, hf_segment *s, hf_segment **sorted)
{
    if (!s->count)
        return 0;
    log->hurries |= s->urgent; /* until a commit holds it */
    s->urgent = false;
    if (log->tight && pieces_of(s))
        return cut(log, s, sorted);
    *sorted = s;
    return 1;
}

/* Facts first, then shard by shard; inside each in the order they came. */
int hf_pack_sort(hf_log *log, const hf_group *g, uint32_t *count)
{
    int err = make_room(log, g);
    if (err)
        return err;
    uint32_t n = put_segment(log, &log->facts, log->sorted);
    for (uint32_t shard = 0; shard <= log->options.shards; shard++) {
        uint32_t wanted = shard ? shard - 1 : HF_FACTS;
        for (uint32_t i = 0; i < g->segment_count; i++)
            if (g->segments[i]->shard == wanted)
                n += put_segment(log, g->segments[i], log->sorted + n);
    }
    *count = n;
    return HF_OK;
}

static size_t record_limit(const hf_log *log)
{
    size_t limit = log->options.window / 16; /* a small window folds in small steps */
    if (log->tight)
        return HF_PIECE + HF_RECORD_HEAD + HF_RUN_SIZE;
    if (limit < HF_RECORD_TIGHT)
        return HF_RECORD_TIGHT;
    return limit < HF_RECORD_MAX ? limit : HF_RECORD_MAX;
}

/* How many of the segments fit in the next record, and how large it gets. */
static uint32_t measure(const hf_log *log, hf_segment *const *segments, uint32_t count,
                        hf_record_head *head)
{
    size_t limit = record_limit(log), size = HF_RECORD_HEAD;
    uint32_t n = 0;
    head->runs = head->count = 0;
    for (; n < count; n++) {
        bool run = n == 0 || segments[n]->shard != segments[n - 1]->shard;
        size_t more = segments[n]->len + (run ? HF_RUN_SIZE : 0u);
        if (n && size + more > limit)
            break;
        size += more;
        head->runs += run;
        head->count += segments[n]->count;
    }
    head->size = (uint32_t)size;
    return n;
}

static int note_fresh(hf_log *log, hf_record *r)
{
    if (log->fresh_count == log->fresh_room) {
        uint32_t room = log->fresh_room ? log->fresh_room * 2 : 64;
        void *fresh = hf_mem_grow(log->fresh, room * sizeof(*log->fresh));
        if (!fresh)
            return hf_error(HF_ENOMEM, "a group");
        log->fresh = fresh;
        log->fresh_room = room;
    }
    log->fresh[log->fresh_count++] = r;
    return HF_OK;
}

/* Copy the segments in, and tell each where it lies. */
static void fill(const hf_log *log, hf_record *r, uint8_t *chunk, hf_segment *const *segments,
                 uint32_t n, const hf_record_head *head)
{
    hf_run runs[HF_RECORD_MAX / HF_RUN_SIZE / 16];
    uint32_t at = (uint32_t)hf_record_entries_at(head->runs), count = 0, run = 0;
    HF_ASSERT(head->runs <= sizeof runs / sizeof *runs);
    for (uint32_t i = 0; i < n; i++) {
        hf_segment *s = segments[i];
        if (i == 0 || s->shard != segments[i - 1]->shard)
            runs[run++] = (hf_run){ s->shard, 0, 0, log->options.shards };
        runs[run - 1].count += s->count;
        runs[run - 1].bytes += s->len;
        memcpy(chunk + at, s->data, s->len);
        s->base = r->base + count;
        s->record = r;
        s->offset = at;
        r->live += s->messages;
        r->keep += s->keeps;
        r->pointed |= s->keeps && s->shard != HF_FACTS;
        at += s->len;
        count += s->count;
    }
    hf_record_seal(chunk, head, runs, r->base);
}

void hf_log_keep_time(hf_log *log, uint64_t base_ms, uint64_t mono_ns)
{
    log->time_base = base_ms;
    log->time_mono = mono_ns;
}

/* How far our own time is from the wall clock, if somebody set that. */
static int64_t skew_at(const hf_log *log, uint64_t wall_ms)
{
    if (!log->time_base)
        return log->last->skew_ms;
    uint64_t now = log->time_base + (hf_clock_mono_ns() - log->time_mono) / 1000000;
    int64_t skew = (int64_t)(now - wall_ms);
    return skew < HF_SKEW_LEAST && skew > -HF_SKEW_LEAST ? 0 : skew;
}

/* Build one record from the first segments and put it into the transaction. */
static int write_record(hf_log *log, hf_txn *txn, hf_segment *const *segments, uint32_t count,
                        uint64_t position, uint64_t waiting, uint32_t *used)
{
    hf_record_head head = { .time_ms = hf_clock_wall_ms(), .group = log->next, .waiting = waiting };
    head.skew_ms = skew_at(log, head.time_ms);
    size_t room;
    void *place;
    hf_key key;
    uint32_t n = measure(log, segments, count, &head);
    head.flags = n == count ? HF_RECORD_LAST : 0;
    uint8_t *chunk = hf_window_chunk(&log->window, head.size, &room);
    if (!chunk)
        return hf_error(HF_ENOMEM, "the window");
    hf_record *r = hf_window_record(&log->window, position, chunk, room, &head);
    if (!r) {
        hf_window_chunk_free(&log->window, chunk, room);
        return hf_error(HF_ENOMEM, "the window");
    }
    int err = note_fresh(log, r);
    if (err) {
        hf_record_free(&log->window, r);
        return err;
    }
    fill(log, r, chunk, segments, n, &head);
    hf_key_number(&key, position);
    err = hf_txn_append(txn, HF_IN_LOG, hf_key_bytes(&key), head.size, &place);
    if (!err)
        memcpy(place, chunk, head.size);
    *used = n;
    return err;
}

int hf_pack_write(hf_log *log, hf_txn *txn, uint32_t count, uint64_t *next, uint64_t waiting)
{
    uint64_t position = log->next;
    for (uint32_t done = 0, used = 0; done < count; done += used) {
        int err = write_record(log, txn, log->sorted + done, count - done, position, waiting,
                               &used);
        if (err)
            return err;
        position += log->fresh[log->fresh_count - 1]->count;
    }
    for (uint32_t i = 0; i < log->piece_count; i++) {
        const hf_piece *piece = &log->pieces[i];
        if (!piece->whole)
            continue;
        piece->whole->base = piece->part.base;
        piece->whole->record = piece->part.record;
        piece->whole->offset = piece->part.offset;
    }
    *next = position;
    return HF_OK;
}
