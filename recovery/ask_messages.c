/* ask_messages.c - the questions `messages` and `message`.
 *
 * Messages lie by actor, not by id, so a page is made by walking them all and
 * keeping the lowest ids: a heap whose top is the highest, bounded in rows and
 * in bytes. Happy path: walk, sort, tell, and say where the next page begins.
 * Any thread. */
#include "recovery/arguments.h"
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
    bool     bodies;
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

static void drop_highest(page *p)
{
    p->bytes -= p->heap[0].len;
    hf_mem_free(p->heap[0].row);
    p->heap[0] = p->heap[--p->count];
    sink(p, 0);
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

static int keep(void *user, const hf_sight *s)
{
    page *p = user;
    hf_out *out = &p->scan.inquiry->row;
    if (s->msg.id <= p->after)
        return HF_OK;
    p->matched++;
    bool full = p->count >= p->limit || p->bytes >= PAGE_BYTES;
    if (!p->limit || (full && p->count && s->msg.id > p->heap[0].id))
        return HF_OK;
    hf_out_map(out, NULL);
    hf_out_message(out, s, p->bodies);
    hf_out_end(out);
    int err = out->err ? out->err : push(p, s->msg.id, hf_out_bytes(out));
    hf_out_clear(out);
    while (!err && p->count > 1 && (p->count > p->limit || p->bytes > PAGE_BYTES))
        drop_highest(p);
    return err;
}

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
    hf_out_uint(&inquiry->row, "matched", p->matched);
    hf_out_bool(&inquiry->row, "more", p->matched > p->count);
    hf_out_uint(&inquiry->row, "next", p->count ? p->heap[p->count - 1].id : p->after);
    return hf_inquiry_tell(inquiry);
}

static int make_page(hf_inquiry *inquiry, page *p, const hf_where *where)
{
    int err = hf_scan_open(&p->scan, inquiry);
    if (err)
        return err;
    p->scan.where = where;
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
                           { .name = "bodies", .type = HF_ARG_BOOL } };
    hf_where *where = NULL;
    int err = hf_arguments_read("messages", arguments, args, 4);
    page p = { .limit = LIMIT, .after = args[1].number, .bodies = args[3].number };
    if (!err && args[2].given && args[2].number > LIMIT_MAX)
        err = hf_error(HF_EINVAL, "messages: `limit` is at most %d", LIMIT_MAX);
    if (!err && args[2].given)
        p.limit = args[2].number;
    if (!err)
        err = hf_where_argument(&where, &args[0]);
    if (!err)
        err = make_page(inquiry, &p, where);
    hf_where_free(where);
    return err;
}

/* ---- One message */

static void put_attempts(hf_out *out, const hf_sight *s)
{
    enum { SHOWN = 20 };
    size_t count = s->e.times.len / 8, from = count > SHOWN ? count - SHOWN : 0;
    const uint8_t *times = s->e.times.data;
    hf_out_array(out, "attempts");
    for (size_t i = from; i < count; i++) {
        hf_out_map(out, NULL);
        hf_out_uint(out, "at", hf_get64(times + 8 * i));
        if (i + 1 == count && s->msg.err) { /* only the last one's words are kept */
            hf_out_int(out, "err", s->msg.err);
            hf_out_text(out, "error", hf_str(s->msg.error));
        }
        hf_out_end(out);
    }
    hf_out_end(out);
}

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

static int describe(void *user, const hf_sight *s)
{
    hf_scan *scan = user;
    hf_inquiry *inquiry = scan->inquiry;
    const hf_living *living = inquiry->living;
    hf_out *out = &inquiry->row;
    uint32_t strikes = 0;
    uint64_t until;
    hf_out_map(out, NULL);
    hf_out_message(out, s, true);
    put_attempts(out, s);
    if (living && living->suspect(living->user, s->msg.id, &strikes, &until))
        hf_out_uint(out, "strikes", strikes);
    if (s->e.flags & HF_ENTRY_STEPS) {
        int err = put_steps(scan, out, s->msg.id);
        if (err)
            return err;
    }
    return hf_inquiry_tell(inquiry);
}

int hf_ask_message(hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument id = { .name = "id", .type = HF_ARG_UINT };
    hf_scan scan;
    int err = hf_arguments_read("message", arguments, &id, 1);
    if (!err && !id.given)
        err = hf_error(HF_EINVAL, "message: `id` is missing");
    if (!err)
        err = hf_scan_open(&scan, inquiry);
    if (err)
        return err;
    err = hf_scan_find(&scan, id.number, describe, &scan);
    hf_scan_close(&scan);
    return err;
}
