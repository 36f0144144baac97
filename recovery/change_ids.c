/* change_ids.c - plan what is asked for by ids: requeue, purge, cancel, undo.
 *
 * Happy path: read the ids, find them in one snapshot, write an absolute entry for
 * each ("attempt = 0", never "one less"). What needs no change makes no entry, so that
 * an interrupted run can be repeated.
 *
 * A message of phase 1 or more is never handled again: its steps are undone, last begun
 * first, then it is dead. So a cancel in a store without an engine marks the message,
 * and the next engine buries it, with all that follows from a death. Any thread;
 * nothing is written here. */
#include "recovery/change.h"

#include "recovery/arguments.h"

#include "storage/due.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <stdio.h>
#include <stdlib.h>

enum { IDS_MAX = 1000 };

#define LONGEST_MS ((uint64_t)100 * 366 * 24 * 3600 * 1000)

enum { IDS, REASON, KEEP_ATTEMPTS, DELAY, TO, ARGUMENTS };

/* Ids in an open array of the result. */
typedef struct id_list {
    hf_out   out;
    uint32_t count;
} id_list;

typedef struct by_id {
    const struct by_id_change *what;
    hf_plan    *plan;
    hf_argument args[ARGUMENTS];
    uint64_t   *ids;
    uint32_t    count, found;
    uint64_t   *seen;    /* those that were found, in the order met */
    uint64_t    changed;
    id_list     unchanged;
    const hf_living *living; /* NULL: no engine runs */
    uint64_t    seed, due;   /* requeue: not before, 0: now */
    char        to[HF_ADDRESS_MAX + 1]; /* requeue: another actor; "": the same */
    char        error[HF_ERROR_MAX + 1];
} by_id;

enum { UNCHANGED = 1, ASKED }; /* what a change says beside HF_OK and errors */

typedef struct by_id_change {
    const char *name, *done, *asked; /* asked: NULL if nothing is */
    size_t      arguments;
    int       (*one)(by_id *by, const hf_sight *s);
} by_id_change;

/* With who asked for it. */
static int add_signed(by_id *by, hf_segment *segment, hf_entry *e)
{
    hf_pen_sign(&by->plan->pen, e);
    return hf_segment_add(segment, e);
}

/* ---- requeue */

/* Back to the inbox at its old place, all of it. */
static hf_entry entry_of_dead(const by_id *by, const hf_sight *s, bool keeps)
{
    hf_entry e = s->e;
    e.op = HF_OP_REQUEUE;
    e.place = e.place ? e.place : e.id;
    e.due = by->due;
    e.died = e.expires = 0;
    e.reason = 0;
    if (*by->to) { /* its word was for the other one */
        e.to = by->to;
        e.to_len = (uint8_t)strlen(by->to);
        e.hash = hf_address_hash(by->seed, by->to, e.to_len);
        e.dedupe_len = 0;
    }
    if (!keeps) {
        e.attempt = 0;
        e.err = 0;
        e.error = by->args[REASON].given ? by->args[REASON].bytes.data : "";
        e.error_len = (uint32_t)by->args[REASON].bytes.len;
        e.times = hf_view(NULL, 0);
    }
    return e;
}

/* Only what changes of a message that waits. */
static hf_entry entry_of_retry(const hf_sight *s)
{
    hf_entry e = s->e;
    e.op = HF_OP_RETRY;
    e.data = hf_view(NULL, 0);
    e.name = e.from = "";
    e.name_len = 0;
    e.from_len = 0;
    e.due = e.sent = 0;
    e.cause = 0;
    return e;
}

/* Due now. What dies all the same keeps its reason. */
static hf_entry entry_of_waiting(const hf_sight *s, bool keeps)
{
    hf_entry e = entry_of_retry(s);
    if (!keeps && !e.phase) {
        e.attempt = 0;
        e.err = 0;
        e.error = "";
        e.error_len = 0;
        e.times = hf_view(NULL, 0);
    }
    return e;
}

/* Due now: a message; or, for an engine, the letter itself. */
static hf_entry entry_of_delayed(const by_id *by, const hf_sight *s)
{
    hf_entry e = s->e;
    if (!by->living)
        hf_due_make(&e, &s->e, s->e.id);
    return e;
}

static int requeue_one(by_id *by, const hf_sight *s)
{
    if ((*by->to && s->msg.status != HF_DEAD) || (by->due && s->delayed))
        return UNCHANGED;
    bool keeps = by->args[KEEP_ATTEMPTS].number;
    hf_entry e;
    if (s->delayed) {
        e = entry_of_delayed(by, s);
        if (by->living) /* its shard alone may let it go */
            return add_signed(by, &by->plan->delayed, &e);
    } else if (s->msg.status == HF_DEAD) {
        e = entry_of_dead(by, s, keeps);
    } else if (s->msg.status == HF_DELAYED || s->msg.status == HF_RETRYING) {
        e = entry_of_waiting(s, keeps);
        e.due = by->due;
    } else {
        return UNCHANGED;
    }
    return add_signed(by, &by->plan->facts, &e);
}

/* ---- purge */

static int purge_one(by_id *by, const hf_sight *s)
{
    hf_entry e = { .op = HF_OP_PURGE, .id = s->msg.id, .to = "", .name = "", .from = "",
                   .error = by->error, .error_len = (uint32_t)strlen(by->error),
                   .notes = s->e.notes };
    return s->msg.status == HF_DEAD ? add_signed(by, &by->plan->facts, &e) : UNCHANGED;
}

/* ---- cancel */

static void end_with(const by_id *by, hf_entry *e)
{
    e->phase = 1;
    e->err = HF_EDEAD;
    e->error = by->error;
    e->error_len = (uint32_t)strlen(by->error);
}

static int cancel_one(by_id *by, const hf_sight *s)
{
    hf_entry e = s->e;
    if (s->msg.status == HF_RUNNING)
        return ASKED;
    /* Those that replace each other end as one. */
    if (s->msg.status == HF_DEAD || e.phase || (e.flags & HF_ENTRY_CONFLATES && !e.attempt))
        return UNCHANGED;
    if (s->delayed && by->living)
        return add_signed(by, &by->plan->delayed, &e);
    if (s->delayed) {
        e = entry_of_delayed(by, s);
    } else if (by->living && by->living->defines(by->living->user, e.to, e.to_len)) {
        e.err = HF_EDEAD;
        e.error = by->error;
        e.error_len = (uint32_t)strlen(by->error);
        if (e.op == HF_OP_REQUEUE) /* there a REQUEUE is an edit */
            e.op = e.cause == HF_ALARM ? HF_OP_DUE : HF_OP_SEND;
        return add_signed(by, &by->plan->ending, &e);
    } else {
        e = entry_of_retry(s);
    }
    end_with(by, &e);
    return add_signed(by, &by->plan->facts, &e);
}

/* ---- undo */

static int undo_one(by_id *by, const hf_sight *s)
{
    if (s->msg.status != HF_DEAD || !(s->e.flags & HF_ENTRY_STEPS))
        return UNCHANGED;
    hf_entry e = entry_of_dead(by, s, true);
    e.phase = 1;
    return add_signed(by, &by->plan->facts, &e);
}

/* ---- All */

static const by_id_change changes[] = {
    { "requeue", "requeued", NULL, ARGUMENTS, requeue_one },
    { "purge", "purged", NULL, KEEP_ATTEMPTS, purge_one },
    { "cancel", "cancelled", "asked", KEEP_ATTEMPTS, cancel_one },
    { "undo", "undoing", NULL, KEEP_ATTEMPTS, undo_one },
};

static int note_id(id_list *list, uint64_t id)
{
    hf_out_uint(&list->out, NULL, id);
    list->count++;
    return list->out.err;
}

static int change_one(void *user, const hf_sight *s)
{
    by_id *by = user;
    by->seen[by->found++] = s->msg.id;
    int err = by->what->one(by, s);
    if (err == UNCHANGED)
        return note_id(&by->unchanged, s->msg.id);
    if (err == ASKED) {
        by->plan->asked[by->plan->asked_count++] = s->msg.id;
        return HF_OK;
    }
    by->changed += !err;
    return err;
}

static int compare_ids(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* "cancelled: why", or what a purge is for. */
static void put_error(by_id *by)
{
    hf_bytes reason = by->args[REASON].bytes;
    const char *before = strcmp(by->what->name, "cancel") == 0 ? "cancelled" : "";
    (void)snprintf(by->error, sizeof by->error, "%s%s" HF_FMT, before,
                   *before && reason.len ? ": " : "", HF_ARG(reason));
}

static int read_ids(by_id *by)
{
    const char *name = by->what->name;
    hf_bytes rest = by->args[IDS].bytes;
    uint32_t kept = 0;
    int err = HF_OK;
    if (!by->args[IDS].count || by->args[IDS].count > IDS_MAX)
        return hf_error(HF_EINVAL, "%s: `ids` are 1 .. %d", name, IDS_MAX);
    if (by->args[REASON].bytes.len > HF_ERROR_MAX)
        return hf_error(HF_EINVAL, "%s: `reason` is at most %d bytes", name, HF_ERROR_MAX);
    by->plan->pen.reason = by->args[REASON].bytes;
    by->count = by->args[IDS].count;
    by->ids = hf_mem_zero(by->count, sizeof *by->ids);
    by->seen = hf_mem_zero(by->count, sizeof *by->seen);
    by->plan->asked = hf_mem_zero(by->count, sizeof *by->plan->asked);
    if (!by->ids || !by->seen || !by->plan->asked)
        return hf_error(HF_ENOMEM, "%s", name);
    for (uint32_t i = 0; !err && i < by->count; i++)
        err = hf_arguments_uint(name, &rest, &by->ids[i]);
    qsort(by->ids, by->count, sizeof *by->ids, compare_ids);
    for (uint32_t i = 0; i < by->count; i++)
        if (!kept || by->ids[i] != by->ids[kept - 1])
            by->ids[kept++] = by->ids[i];
    by->count = kept;
    put_error(by);
    return err;
}

/* Where it goes, and when. */
static int read_way(by_id *by)
{
    const hf_argument *to = &by->args[TO];
    const hf_living *living = by->living;
    if (by->args[DELAY].number > LONGEST_MS)
        return hf_error(HF_EINVAL, "requeue: `delay_ms` is at most 100 years");
    if (!to->given)
        return HF_OK;
    if (!hf_address_ok(to->bytes.data, to->bytes.len))
        return hf_error(HF_EINVAL, "requeue: `to` is no address (type/key)");
    memcpy(by->to, to->bytes.data, to->bytes.len);
    by->to[to->bytes.len] = 0;
    if (living && !living->defines(living->user, by->to, to->bytes.len))
        return hf_error(HF_ENOTYPE, "%s", by->to);
    return HF_OK;
}

static void put_list(hf_out *out, const char *name, const id_list *list)
{
    hf_out_array(out, name);
    if (list->count)
        hf_out_raw(out, NULL, hf_out_bytes(&list->out));
    out->open[out->depth - 1].count = list->count;
    hf_out_end(out);
}

static void put_result(by_id *by)
{
    hf_out *out = &by->plan->row;
    qsort(by->seen, by->found, sizeof *by->seen, compare_ids);
    hf_out_map(out, NULL);
    hf_out_uint(out, by->what->done, by->changed);
    put_list(out, "unchanged", &by->unchanged);
    if (by->what->asked)
        hf_out_array(out, by->what->asked);
    for (uint32_t i = 0; by->what->asked && i < by->plan->asked_count; i++)
        hf_out_uint(out, NULL, by->plan->asked[i]);
    if (by->what->asked)
        hf_out_end(out);
    hf_out_array(out, "missing");
    for (uint32_t i = 0; i < by->count; i++)
        if (!by->found
            || !bsearch(&by->ids[i], by->seen, by->found, sizeof *by->seen, compare_ids))
            hf_out_uint(out, NULL, by->ids[i]);
    hf_out_end(out);
    hf_out_end(out);
}

static int plan(by_id *by, hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_scan scan;
    int err = hf_arguments_read(by->what->name, arguments, by->args, by->what->arguments);
    if (!err)
        err = read_ids(by);
    if (!err)
        err = read_way(by);
    if (!err)
        err = hf_scan_open(&scan, inquiry);
    if (err)
        return err;
    by->seed = hf_view_seed(scan.view);
    if (by->args[DELAY].number)
        by->due = hf_scan_time(&scan) + by->args[DELAY].number;
    err = hf_scan_some(&scan, by->ids, by->count, change_one, by);
    hf_scan_close(&scan);
    if (!err)
        put_result(by);
    return err ? err : by->plan->row.err;
}

int hf_plan_ids(hf_plan *made, hf_inquiry *inquiry, const char *change, hf_bytes arguments)
{
    by_id by = { .plan = made, .living = inquiry->living,
                 .args = { [IDS] = { .name = "ids", .type = HF_ARG_ARRAY },
                           [REASON] = { .name = "reason", .type = HF_ARG_TEXT },
                           [KEEP_ATTEMPTS] = { .name = "keep_attempts", .type = HF_ARG_BOOL },
                           [DELAY] = { .name = "delay_ms", .type = HF_ARG_UINT },
                           [TO] = { .name = "to", .type = HF_ARG_TEXT } } };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (strcmp(changes[i].name, change) == 0)
            by.what = &changes[i];
    if (!by.what)
        return HF_ENOTFOUND;
    int err = plan(&by, inquiry, arguments);
    hf_mem_free(by.ids);
    hf_mem_free(by.seen);
    hf_out_done(&by.unchanged.out);
    return err == HF_ENOTFOUND ? hf_error(HF_ECORRUPT, "%s", change) : err;
}
