/* change_edit.c - plan an `edit`: messages get another body.
 *
 * Happy path: read ids and bodies, find the messages in one snapshot, write each anew,
 * whole, with the new body; behind it lies the first one it ever had. What waits in an
 * inbox becomes a REQUEUE at its place, a delayed letter a REQUEUE that stays in
 * alarm_names, a dead letter a DEAD. Id, key, place and everything else stay.
 *
 * Of an engine's own types a shard writes it, since only that can see to it that no turn
 * begins with the old body: those go to plan->ending. Any thread; nothing is written here. */
#include "recovery/change.h"

#include "recovery/arguments.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { EDITS_MAX = 1000, BODY_MAX = 8 << 20 };

typedef struct edit_of {
    uint64_t id;
    hf_bytes body;
    enum { MISSING, EDITED, UNCHANGED, RUNS } what;
} edit_of;

typedef struct editing {
    hf_plan         *plan;
    const hf_living *living;
    edit_of         *items;
    uint64_t        *ids;
    uint32_t         count;
} editing;

static int compare_edits(const void *pa, const void *pb)
{
    const edit_of *a = pa, *b = pb;
    return (a->id > b->id) - (a->id < b->id);
}

/* A message in the inbox is written once more, there is not one more of them. */
static int add_waiting(hf_segment *segment, const hf_entry *e)
{
    int err = hf_segment_add(segment, e);
    if (!err && !(e->flags & HF_ENTRY_DELAYED))
        segment->requeues--;
    return err;
}

static bool has_body(const hf_entry *e, hf_bytes body)
{
    return e->data.len == body.len && (!body.len || memcmp(e->data.data, body.data, body.len) == 0);
}

static int write_edit(editing *by, const hf_sight *s, hf_bytes body)
{
    hf_plan *plan = by->plan;
    hf_entry e = s->e;
    if (!e.first.data)
        e.first = e.data.len ? e.data : hf_view("", 0);
    e.data = body;
    e.place = e.place ? e.place : e.id;
    hf_pen_sign(&plan->pen, &e);
    if (s->msg.status == HF_DEAD) {
        e.op = HF_OP_DEAD;
        return hf_segment_add(&plan->facts, &e);
    }
    e.op = HF_OP_REQUEUE;
    e.flags &= (uint8_t)~(HF_ENTRY_DELAYED | HF_ENTRY_SHARES);
    if (s->delayed)
        e.flags |= HF_ENTRY_DELAYED;
    if (by->living && (s->delayed || by->living->defines(by->living->user, e.to, e.to_len)))
        return hf_segment_add(&plan->ending, &e);
    return add_waiting(&plan->facts, &e);
}

/* Not what has its end before it, what replaces each other, or what no handler sees. */
static bool may_edit(const hf_sight *s)
{
    const hf_entry *e = &s->e;
    bool conflates = e->flags & HF_ENTRY_CONFLATES && !e->attempt;
    return s->msg.status == HF_DEAD
        || (!e->phase && !conflates && e->cause != HF_CAUSE_ENDED
            && !(e->flags & HF_ENTRY_CONFLICT));
}

static int edit_one(void *user, const hf_sight *s)
{
    editing *by = user;
    edit_of wanted = { .id = s->msg.id };
    edit_of *one = bsearch(&wanted, by->items, by->count, sizeof wanted, compare_edits);
    if (!one)
        return HF_OK;
    if (s->msg.status == HF_RUNNING) {
        one->what = RUNS;
        return HF_OK;
    }
    one->what = may_edit(s) ? EDITED : UNCHANGED;
    if (one->what != EDITED || has_body(&s->e, one->body)) /* it has that body already */
        return HF_OK;
    return write_edit(by, s, one->body);
}

/* ---- Arguments, result */

static int read_edits(editing *by, const hf_argument *list)
{
    hf_bytes rest = list->bytes;
    if (!list->count || list->count > EDITS_MAX)
        return hf_error(HF_EINVAL, "edit: `edits` are 1 .. %d", EDITS_MAX);
    by->items = hf_mem_zero(list->count, sizeof *by->items);
    by->ids = hf_mem_zero(list->count, sizeof *by->ids);
    if (!by->items || !by->ids)
        return hf_error(HF_ENOMEM, "edit");
    for (; by->count < list->count; by->count++) {
        hf_argument args[] = { { .name = "id", .type = HF_ARG_UINT },
                               { .name = "body", .type = HF_ARG_BIN } };
        int err = hf_arguments_next("edit", &rest, args, 2);
        if (err)
            return err;
        if (!args[0].given || !args[1].given)
            return hf_error(HF_EINVAL, "edit: an edit has `id` and `body`");
        if (args[1].bytes.len > BODY_MAX)
            return hf_error(HF_ETOOBIG, "edit: a body of %zu bytes, the limit is %d",
                            args[1].bytes.len, BODY_MAX);
        by->items[by->count] = (edit_of){ args[0].number, args[1].bytes, MISSING };
    }
    qsort(by->items, by->count, sizeof *by->items, compare_edits);
    for (uint32_t i = 0; i < by->count; i++) {
        by->ids[i] = by->items[i].id;
        if (i && by->ids[i] == by->ids[i - 1])
            return hf_error(HF_EINVAL, "edit: message %llu comes twice",
                            (unsigned long long)by->ids[i]);
    }
    return HF_OK;
}

static void put_ids(const editing *by, const char *name, int what)
{
    hf_out *out = &by->plan->row;
    hf_out_array(out, name);
    for (uint32_t i = 0; i < by->count; i++)
        if ((int)by->items[i].what == what)
            hf_out_uint(out, NULL, by->items[i].id);
    hf_out_end(out);
}

static void put_result(const editing *by)
{
    hf_out *out = &by->plan->row;
    uint64_t edited = 0;
    for (uint32_t i = 0; i < by->count; i++)
        edited += by->items[i].what == EDITED;
    hf_out_map(out, NULL);
    hf_out_uint(out, "edited", edited);
    put_ids(by, "unchanged", UNCHANGED);
    put_ids(by, "running", RUNS);
    put_ids(by, "missing", MISSING);
    hf_out_end(out);
}

static int look(editing *by, hf_inquiry *inquiry)
{
    hf_scan scan;
    int err = hf_scan_open(&scan, inquiry);
    if (err)
        return err;
    err = hf_scan_some(&scan, by->ids, by->count, edit_one, by);
    hf_scan_close(&scan);
    return err;
}

int hf_plan_edit(hf_plan *plan, hf_inquiry *inquiry, hf_bytes arguments)
{
    editing by = { .plan = plan, .living = inquiry->living };
    hf_argument args[] = { { .name = "edits", .type = HF_ARG_ARRAY },
                           { .name = "reason", .type = HF_ARG_TEXT } };
    int err = hf_arguments_read("edit", arguments, args, 2);
    if (!err && args[1].bytes.len > HF_ERROR_MAX)
        err = hf_error(HF_EINVAL, "edit: `reason` is at most %d bytes", HF_ERROR_MAX);
    plan->pen.reason = args[1].bytes;
    if (!err)
        err = read_edits(&by, &args[0]);
    if (!err)
        err = look(&by, inquiry);
    if (!err)
        put_result(&by);
    hf_mem_free(by.items);
    hf_mem_free(by.ids);
    if (err == HF_ENOTFOUND)
        return hf_error(HF_ECORRUPT, "edit");
    return err ? err : plan->row.err;
}
