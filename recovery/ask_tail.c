/* ask_tail.c - the question `tail`: what happened since a position of the log.
 *
 * Happy path: the log is read on from there in one snapshot, entry by entry; each event that
 * is selected becomes a row, and the last row says where the next question goes on. Rows,
 * entries and time of one answer are bounded; the snapshot ends before anything is told.
 * What was folded and dropped meanwhile is counted as skipped. Nobody keeps anything
 * between two questions, so the engine has no work with who follows. Any thread. */
#include "recovery/arguments.h"
#include "recovery/event.h"
#include "recovery/question.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/record.h"
#include "storage/row.h"

enum { LIMIT = 256, LIMIT_MAX = 1000, LOOKS = 64 << 10, SLICE_MS = 20 };
enum { STOP = 0x570a }; /* ends a walk; no code of ours */

typedef struct follower {
    hf_inquiry     *inquiry;
    const hf_where *where;
    hf_txn         *txn;
    uint64_t        after, part; /* of the entry behind `after` so many events are told */
    uint64_t        next, next_part;
    uint64_t        head;        /* the next position of the log */
    uint64_t        skipped, limit, looks, end_ns;
    bool            more;
    hf_out          rows;        /* one behind the other, */
    size_t         *ends;        /* each up to here */
    size_t          count;
} follower;

/* ---- Events */

static int take(follower *f, const hf_event *event)
{
    f->looks++;
    if (!hf_event_match(event, f->where))
        return HF_OK;
    hf_out_map(&f->rows, NULL);
    hf_event_put(event, &f->rows);
    hf_out_end(&f->rows);
    f->ends[f->count++] = f->rows.len;
    return f->rows.err;
}

/* At least one event was looked at: is it enough? */
static bool is_enough(follower *f)
{
    f->more = f->count >= f->limit || f->looks >= LOOKS || hf_clock_mono_ns() >= f->end_ns;
    return f->more;
}

typedef struct ended {
    follower       *f;
    const hf_annal *done;
    uint64_t        at, end; /* places that are not told yet */
} ended;

static int take_ended(ended *d, const hf_annal *sent)
{
    hf_event event;
    hf_event_done(&event, d->done, d->at++, sent);
    int err = take(d->f, &event);
    return !err && is_enough(d->f) ? STOP : err;
}

/* Up to this place nothing is known of them but that they are done. */
static int take_unknown(ended *d, uint64_t place)
{
    int err = HF_OK;
    while (!err && d->at < d->end && d->at < place)
        err = take_ended(d, NULL);
    return err;
}

static int see_ended(void *user, const hf_annal *sent)
{
    ended *d = user;
    int err = take_unknown(d, sent->position);
    if (err || d->at >= d->end)
        return err ? err : STOP;
    err = take_ended(d, sent);
    return !err && d->at >= d->end ? STOP : err;
}

/* All messages of a DONE, which lie side by side: one walk. */
static int see_done(follower *f, const hf_annal *done, uint64_t part)
{
    ended d = { f, done, done->e.hash + part, done->e.hash + done->e.count };
    const uint32_t ops = UINT32_C(1) << HF_OP_SEND | UINT32_C(1) << HF_OP_DUE | HF_ANNALS_PLAIN;
    int err = HF_OK;
    if (d.at < d.end)
        err = hf_annals_walk(f->txn, d.at, ops, see_ended, &d);
    if (!err || (err == STOP && !f->more))
        err = take_unknown(&d, UINT64_MAX);
    if (err && err != STOP)
        return err;
    f->next = d.at < d.end ? done->position - 1 : done->position;
    f->next_part = d.at < d.end ? d.at - done->e.hash : 0;
    return f->more ? STOP : HF_OK;
}

static int see(void *user, const hf_annal *a)
{
    follower *f = user;
    hf_event event;
    if (a->e.op == HF_OP_DONE)
        return see_done(f, a, a->position == f->after + 1 ? f->part : 0);
    int err = hf_event_read(&event, f->txn, a);
    if (!err)
        err = take(f, &event);
    if (err)
        return err;
    f->next = a->position;
    f->next_part = 0;
    return is_enough(f) ? STOP : HF_OK;
}

/* ---- The log */

/* Its first position and the next one; not below what ids were given already. */
static int find_ends(hf_txn *txn, uint64_t *first, uint64_t *head)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    uint64_t end = 0;
    int err = hf_meta_get(txn, "next", 0, head);
    if (!err)
        err = hf_cursor_open(txn, HF_IN_LOG, &cursor);
    if (err)
        return err;
    err = hf_cursor_last(cursor, &key, &value);
    if (!err && key.len == 8 && value.len >= HF_RECORD_HEAD)
        end = hf_get64_key(key.data) + hf_get32((const uint8_t *)value.data + 8);
    *head = end > *head ? end : *head;
    *first = *head;
    if (!err)
        err = hf_cursor_first(cursor, &key, &value);
    if (!err && key.len == 8)
        *first = hf_get64_key(key.data);
    hf_cursor_close(cursor);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static int look(follower *f, bool given)
{
    uint64_t first;
    int err = find_ends(f->txn, &first, &f->head);
    if (err)
        return err;
    uint64_t last = f->head ? f->head - 1 : 0;
    if (!given || f->after > last) { /* what was never given can't have been told */
        f->after = last;
        f->part = 0;
    }
    f->next = f->after;
    f->next_part = f->part;
    if (f->after && f->after + 1 < first)
        f->skipped = first - f->after - 1;
    if (f->after < last)
        err = hf_annals_walk(f->txn, f->after + 1, hf_event_ops, see, f);
    if (!err) {
        f->next = last;
        f->next_part = 0;
    }
    return err == STOP ? HF_OK : err;
}

/* ---- The answer */

static int tell(follower *f)
{
    hf_inquiry *inquiry = f->inquiry;
    size_t from = 0;
    int err = HF_OK;
    for (size_t i = 0; !err && i < f->count; from = f->ends[i++])
        err = inquiry->each(inquiry->user, hf_view(f->rows.data + from, f->ends[i] - from));
    if (err)
        return err;
    hf_out_map(&inquiry->row, NULL);
    hf_out_uint(&inquiry->row, "next", f->next);
    hf_out_uint(&inquiry->row, "next_part", f->next_part);
    hf_out_bool(&inquiry->row, "more", f->more);
    hf_out_time(&inquiry->row, "skipped", f->skipped);
    hf_out_text(&inquiry->row, "source", hf_str(inquiry->source));
    hf_out_time(&inquiry->row, "pid", inquiry->pid);
    return hf_inquiry_tell(inquiry);
}

static int make_page(follower *f, bool given)
{
    f->ends = hf_mem_alloc(f->limit * sizeof *f->ends);
    if (!f->ends)
        return hf_error(HF_ENOMEM, "events");
    f->end_ns = hf_clock_mono_ns() + (uint64_t)SLICE_MS * 1000000;
    int err = hf_txn_read(f->inquiry->disk, &f->txn);
    if (!err) {
        err = look(f, given);
        hf_txn_abort(f->txn); /* not kept while somebody reads */
    }
    if (!err)
        err = tell(f);
    hf_out_done(&f->rows);
    hf_mem_free(f->ends);
    return err;
}

int hf_ask_tail(hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument args[] = { { .name = "where", .type = HF_ARG_TEXT },
                           { .name = "after", .type = HF_ARG_UINT },
                           { .name = "part", .type = HF_ARG_UINT },
                           { .name = "limit", .type = HF_ARG_UINT } };
    hf_where *where = NULL;
    int err = hf_arguments_read("tail", arguments, args, 4);
    follower f = { .inquiry = inquiry, .after = args[1].number, .part = args[2].number,
                   .limit = LIMIT };
    if (!err && args[3].given && (!args[3].number || args[3].number > LIMIT_MAX))
        err = hf_error(HF_EINVAL, "tail: `limit` is 1 .. %d", LIMIT_MAX);
    if (!err && args[2].number > UINT32_MAX)
        err = hf_error(HF_EINVAL, "tail: `part` is too large");
    if (!err && args[3].given)
        f.limit = args[3].number;
    if (!err)
        err = hf_where_argument(&where, &args[0]);
    f.where = where;
    if (!err)
        err = make_page(&f, args[1].given);
    hf_where_free(where);
    return err;
}
