/* ask_messages.c - the questions `messages` and `message`.
 *
 * Messages lie by actor, not by id, so a page is made by walking them all and
 * keeping the lowest ids: a heap whose top is the highest, bounded in rows and
 * in bytes. Happy path: walk, sort, tell, and say where the next page begins. Once there
 * is something behind the page, and nobody wants it counted, what is behind is passed over
 * by its id alone: of a backlog that is nearly all. Any thread. */
#include "recovery/arguments.h"
#include "recovery/crew.h"
#include "recovery/life.h"
#include "recovery/message_key.h"
#include "recovery/pen.h"
#include "recovery/question.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { LIMIT = 1000, LIMIT_MAX = 100000, PAGE_BYTES = 16 << 20 };

typedef struct kept {
    uint64_t id;
    uint8_t *row;
    size_t   len;
} kept;

typedef struct page {
    hf_scan  scan;
    kept    *heap;
    size_t   count, room, limit;
    size_t   bytes;
    uint64_t after, matched;
    uint64_t behind;  /* ids from here on belong to other pages; UINT64_MAX: none is known */
    bool     bodies;
    hf_status status; /* plain: only these count; HF_DONE: all */
    bool     brief;   /* what is behind the page is not counted */
    bool     by_id;   /* brief, and they come by id */
} page;

static void swap(page *p, size_t a, size_t b)
{
    kept k = p->heap[a];
    p->heap[a] = p->heap[b];
    p->heap[b] = k;
}

static void sink(page *p, size_t at)
{
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= p->count)
            return;
        if (child + 1 < p->count && p->heap[child + 1].id > p->heap[child].id)
            child++;
        if (p->heap[at].id >= p->heap[child].id)
            return;
        swap(p, at, child);
        at = child;
    }
}

static bool is_full(const page *p)
{
    return p->count >= p->limit || p->bytes >= PAGE_BYTES;
}

/* This one belongs to another page, and all above it do: also if there is room again, since
 * the next page begins behind the last one told. */
static void put_behind(page *p, uint64_t id)
{
    if (is_full(p) && p->count)
        id = p->heap[0].id + 1;
    if (id < p->behind)
        p->behind = id;
    if (p->brief)
        p->scan.before = p->behind;
}

static void drop_highest(page *p)
{
    uint64_t id = p->heap[0].id;
    p->bytes -= p->heap[0].len;
    hf_mem_free(p->heap[0].row);
    p->heap[0] = p->heap[--p->count];
    sink(p, 0);
    put_behind(p, id);
}

static bool is_too_much(const page *p)
{
    return p->count > 1
        && (p->count > p->limit || p->bytes > PAGE_BYTES || p->heap[0].id >= p->behind);
}

static int push(page *p, uint64_t id, hf_bytes row)
{
    if (p->count == p->room) {
        size_t room = p->room ? p->room * 2 : 256;
        kept *heap = hf_mem_grow(p->heap, room * sizeof *heap);
        if (!heap)
            return hf_error(HF_ENOMEM, "a page of messages");
        p->heap = heap;
        p->room = room;
    }
    uint8_t *copy = hf_mem_alloc(row.len);
    if (!copy)
        return hf_error(HF_ENOMEM, "a page of messages");
    memcpy(copy, row.data, row.len);
    size_t at = p->count++;
    p->heap[at] = (kept){ id, copy, row.len };
    p->bytes += row.len;
    for (; at && p->heap[(at - 1) / 2].id < p->heap[at].id; at = (at - 1) / 2)
        swap(p, at, (at - 1) / 2);
    return HF_OK;
}

static bool is_behind(page *p, uint64_t id)
{
    if (id < p->behind && p->limit && !(is_full(p) && p->count && id > p->heap[0].id))
        return false;
    put_behind(p, id);
    return true;
}

static int keep(void *user, const hf_sight *s)
{
    page *p = user;
    hf_out *out = &p->scan.inquiry->row;
    if (s->msg.id <= p->after)
        return HF_OK;
    p->matched++;
    if (is_behind(p, s->msg.id))
        return p->by_id ? HF_SCAN_STOP : HF_OK;
    hf_out_map(out, NULL);
    hf_out_message(out, s, p->bodies);
    hf_out_end(out);
    int err = out->err ? out->err : push(p, s->msg.id, hf_out_bytes(out));
    hf_out_clear(out);
    while (!err && is_too_much(p))
        drop_highest(p);
    return err;
}

/* Most of a backlog is behind the page: counted, and not looked at any closer. */
static bool pass(void *user, const hf_standing *actor, hf_status status, uint64_t id,
                 uint64_t sent)
{
    page *p = user;
    (void)actor;
    (void)sent;
    if (id <= p->after || (p->status != HF_DONE && status != p->status))
        return true;
    if (!is_behind(p, id))
        return false;
    p->matched++;
    return true;
}

/* For another thread. */
static void begin_anew(void *user)
{
    page *p = user;
    p->heap = NULL;
    p->count = p->room = p->bytes = 0;
    p->matched = 0;
}

static int take_over(void *user, void *other)
{
    page *p = user, *o = other;
    int err = HF_OK;
    if (p)
        p->matched += o->matched;
    if (p && o->behind < p->behind)
        p->behind = o->behind;
    for (size_t i = 0; i < o->count; i++) {
        if (p && !err)
            err = push(p, o->heap[i].id, hf_view(o->heap[i].row, o->heap[i].len));
        hf_mem_free(o->heap[i].row);
    }
    while (p && is_too_much(p))
        drop_highest(p);
    hf_mem_free(o->heap);
    return err;
}

static const hf_crew crew = { sizeof(page), begin_anew, take_over };

static int compare(const void *pa, const void *pb)
{
    const kept *a = pa, *b = pb;
    return (a->id > b->id) - (a->id < b->id);
}

static int tell(page *p)
{
    hf_inquiry *inquiry = p->scan.inquiry;
    int err = HF_OK;
    if (p->count)
        qsort(p->heap, p->count, sizeof *p->heap, compare);
    for (size_t i = 0; !err && i < p->count; i++)
        err = inquiry->each(inquiry->user, hf_view(p->heap[i].row, p->heap[i].len));
    if (err)
        return err;
    hf_out_map(&inquiry->row, NULL);
    hf_out_uint(&inquiry->row, "scanned", p->scan.scanned);
    bool more = p->behind < UINT64_MAX;
    if (!more || !p->brief)
        hf_out_uint(&inquiry->row, "matched", p->matched);
    hf_out_bool(&inquiry->row, "more", more);
    hf_out_uint(&inquiry->row, "next", p->count ? p->heap[p->count - 1].id : p->after);
    return hf_inquiry_tell(inquiry);
}

static int make_page(hf_inquiry *inquiry, page *p, const hf_where *where)
{
    int err = hf_scan_open(&p->scan, inquiry);
    if (err)
        return err;
    p->scan.where = where;
    p->scan.after = p->after;
    p->scan.crew = &crew;
    if (hf_where_plain(where, &p->status))
        p->scan.plain = pass;
    err = hf_scan_all(&p->scan, keep, p);
    hf_scan_close(&p->scan); /* the snapshot is not kept while somebody reads */
    if (!err)
        err = tell(p);
    for (size_t i = 0; i < p->count; i++)
        hf_mem_free(p->heap[i].row);
    hf_mem_free(p->heap);
    return err;
}

int hf_ask_messages(hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument args[] = { { .name = "where", .type = HF_ARG_TEXT },
                           { .name = "after", .type = HF_ARG_UINT },
                           { .name = "limit", .type = HF_ARG_UINT },
                           { .name = "bodies", .type = HF_ARG_BOOL },
                           { .name = "count", .type = HF_ARG_BOOL } };
    hf_where *where = NULL;
    int err = hf_arguments_read("messages", arguments, args, 5);
    page p = { .limit = LIMIT, .after = args[1].number, .behind = UINT64_MAX,
               .bodies = args[3].number, .brief = args[4].given && !args[4].number };
    if (!err && args[2].given && args[2].number > LIMIT_MAX)
        err = hf_error(HF_EINVAL, "messages: `limit` is at most %d", LIMIT_MAX);
    if (!err && args[2].given)
        p.limit = args[2].number;
    if (!err)
        err = hf_where_argument(&where, &args[0]);
    uint64_t status;
    p.by_id = p.brief && hf_where_fixes(where, HF_BY_STATUS, NULL, &status) && status == HF_DEAD;
    if (!err)
        err = make_page(inquiry, &p, where);
    hf_where_free(where);
    return err;
}

/* ---- One message */

enum { STEP_BEGUN = 1, STEP_ENDED, STEP_UNDONE }; /* phases of a STEP entry */

typedef struct step_walk {
    hf_out  *out;
    uint64_t id;
} step_walk;

static int put_step(void *user, hf_bytes key, hf_bytes payload)
{
    step_walk *w = user;
    hf_entry e;
    if (key.len != 24 || hf_get64_key(key.data) != w->id)
        return 1;
    if (!hf_entry_decode(payload.data, payload.len, &e))
        return hf_error(HF_ECORRUPT, "a step can't be read");
    hf_out_map(w->out, NULL);
    hf_out_text(w->out, "name", hf_view(e.name, e.name_len));
    if (e.phase != STEP_BEGUN)
        hf_out_bin(w->out, "result", e.data);
    if (e.phase == STEP_UNDONE)
        hf_out_bool(w->out, "undone", true);
    hf_out_end(w->out);
    return HF_OK;
}

static int put_steps(hf_scan *scan, hf_out *out, uint64_t id)
{
    step_walk w = { .out = out, .id = id };
    hf_key from;
    hf_key_step(&from, id, 0, 0);
    hf_out_array(out, "steps");
    int err = hf_view_walk(scan->view, HF_IN_STEPS, hf_key_bytes(&from), put_step, &w);
    hf_out_end(out);
    return err == 1 ? HF_OK : err;
}

typedef struct telling {
    hf_scan scan;
    hf_life life;
} telling;

/* What both have, who live and who ended. */
static int put_life(telling *t, const hf_sight *s)
{
    hf_out *out = &t->scan.inquiry->row;
    uint64_t parent = s->e.parent;
    hf_out_message(out, s, true);
    hf_life_put_attempts(&t->life, out, s);
    hf_out_notes(out, "changes", t->life.notes.len ? t->life.notes : s->e.notes);
    return hf_life_put_kin(&t->life, &t->scan, out, parent);
}

static int describe(void *user, const hf_sight *s)
{
    telling *t = user;
    hf_inquiry *inquiry = t->scan.inquiry;
    const hf_living *living = inquiry->living;
    hf_out *out = &inquiry->row;
    bool has_steps = s->e.flags & HF_ENTRY_STEPS;
    uint64_t id = s->msg.id, until;
    uint32_t strikes = 0;
    hf_out_map(out, NULL);
    if (living && living->suspect(living->user, id, &strikes, &until))
        hf_out_uint(out, "strikes", strikes);
    int err = put_life(t, s);
    if (!err && has_steps)
        err = put_steps(&t->scan, out, id);
    return err ? err : hf_inquiry_tell(inquiry);
}

/* It ended; the log still knows of it. */
static int describe_ended(telling *t)
{
    const hf_life *l = &t->life;
    hf_scan *scan = &t->scan;
    const hf_living *living = scan->inquiry->living;
    hf_out *out = &scan->inquiry->row;
    const hf_entry *e = &l->whole;
    uint64_t keeps = living && living->history
        ? living->history(living->user, e->to, e->to_len) : UINT64_MAX;
    if (!keeps || (keeps < scan->now && l->end_ms < scan->now - keeps))
        return HF_ENOTFOUND;
    hf_sight s = { .e = *e };
    hf_message_key(s.key, hf_prefix_of(&scan->prefixes, l->id), l->id);
    s.msg = (hf_message){
        .id = l->id, .key = s.key, .to = e->to, .from = e->from, .kind = e->name,
        .body = e->data, .cause = (hf_cause)e->cause, .status = HF_DONE, .error = "",
        .attempt = l->attempts + !l->purged, .sent = e->sent ? e->sent : l->sent.time_ms,
        .expires = e->expires, .about = e->cause == HF_JOINED ? 0 : e->about,
        .urgency = e->urgency, .replaced = e->replaced,
        .joined = hf_entry_joined(e), .lost = hf_entry_lost(e),
    };
    s.e.times = hf_view(NULL, 0); /* the log has them */
    hf_out_map(out, NULL);
    hf_out_time(out, "ended", l->end_ms);
    if (l->purged)
        hf_out_bool(out, "purged", true);
    int err = put_life(t, &s);
    hf_life_put_steps(l, out);
    return err ? err : hf_inquiry_tell(scan->inquiry);
}

static int tell_life(telling *t, uint64_t id)
{
    int err = hf_life_read(&t->life, hf_view_txn(t->scan.view), id);
    if (err)
        return err;
    if (!t->life.sent_known)
        err = hf_scan_find(&t->scan, id, describe, t);
    else
        err = hf_scan_known(&t->scan, &t->life.sent.e, describe, t);
    if (err == HF_ENOTFOUND && t->life.sent_known && t->life.whole.op == HF_OP_REQUEUE) {
        hf_entry moved = t->life.whole; /* to another actor, perhaps */
        err = hf_scan_known(&t->scan, &moved, describe, t);
    }
    if (err == HF_ENOTFOUND && t->life.sent_known)
        err = describe_ended(t);
    if (err == HF_ENOTFOUND)
        return hf_error(err, "message %llu finished, or never was; finished ones are known for "
                        "a time, see .history_ms", (unsigned long long)id);
    return err;
}

int hf_ask_message(hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument id = { .name = "id", .type = HF_ARG_UINT };
    int err = hf_arguments_read("message", arguments, &id, 1);
    if (!err && !id.given)
        err = hf_error(HF_EINVAL, "message: `id` is missing");
    if (err)
        return err;
    telling *t = hf_mem_zero(1, sizeof *t);
    if (!t)
        return hf_error(HF_ENOMEM, "a message");
    err = hf_scan_open(&t->scan, inquiry);
    if (!err) {
        err = tell_life(t, id.number);
        hf_scan_close(&t->scan);
    }
    hf_mem_free(t);
    return err;
}
