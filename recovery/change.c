/* change.c - plan a requeue, a pause, a resume.
 *
 * Happy path: read the arguments, look in one snapshot at what they concern,
 * write absolute entries ("attempt = 0", never "one less") into a segment and the
 * result into a row. What needs no change makes no entry, so that an interrupted
 * run can be repeated. Any thread; nothing is written here. */
#include "recovery/change.h"

#include "recovery/arguments.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <stdlib.h>

enum { IDS_MAX = 1000 };

void hf_plan_done(hf_plan *plan)
{
    hf_segment_done(&plan->facts);
    hf_mem_free(plan->letters);
    hf_mem_free(plan->texts);
    hf_out_done(&plan->row);
}

/* ---- requeue */

typedef struct requeue {
    hf_plan    *plan;
    hf_argument args[3]; /* ids, reason, keep_attempts */
    uint64_t   *ids;
    uint32_t    count, found;
    uint64_t   *seen;    /* those that were found, in the order met */
    uint64_t    requeued;
    hf_out      unchanged;
    uint32_t    unchanged_count;
} requeue;

/* Back to the inbox at its old place, all of it. */
static hf_entry entry_of_dead(const requeue *r, const hf_sight *s, bool keeps)
{
    hf_entry e = s->e;
    e.op = HF_OP_REQUEUE;
    e.place = e.place ? e.place : e.id;
    e.due = e.died = 0;
    e.reason = 0;
    if (!keeps) {
        e.attempt = 0;
        e.err = 0;
        e.error = r->args[1].given ? r->args[1].bytes.data : "";
        e.error_len = (uint32_t)r->args[1].bytes.len;
        e.times = hf_view(NULL, 0);
    }
    return e;
}

/* Due now: only what changes. */
static hf_entry entry_of_waiting(const hf_sight *s, bool keeps)
{
    hf_entry e = s->e;
    e.op = HF_OP_RETRY;
    e.data = hf_view(NULL, 0);
    e.name = e.from = "";
    e.name_len = 0;
    e.from_len = 0;
    e.due = e.sent = 0;
    e.cause = 0;
    if (!keeps) {
        e.attempt = 0;
        e.err = 0;
        e.error = "";
        e.error_len = 0;
        e.times = hf_view(NULL, 0);
    }
    return e;
}

static int requeue_one(void *user, const hf_sight *s)
{
    requeue *r = user;
    bool keeps = r->args[2].number;
    hf_entry e;
    r->seen[r->found++] = s->msg.id;
    if (s->msg.status == HF_DEAD) {
        e = entry_of_dead(r, s, keeps);
    } else if (s->msg.status == HF_DELAYED || s->msg.status == HF_RETRYING) {
        e = entry_of_waiting(s, keeps);
    } else {
        hf_out_uint(&r->unchanged, NULL, s->msg.id);
        r->unchanged_count++;
        return r->unchanged.err;
    }
    r->requeued++;
    return hf_segment_add(&r->plan->facts, &e);
}

static int compare_ids(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

static int read_ids(requeue *r)
{
    hf_bytes rest = r->args[0].bytes;
    uint32_t kept = 0;
    int err = HF_OK;
    if (!r->args[0].count || r->args[0].count > IDS_MAX)
        return hf_error(HF_EINVAL, "requeue: `ids` are 1 .. %d", IDS_MAX);
    if (r->args[1].bytes.len > HF_ERROR_MAX)
        return hf_error(HF_EINVAL, "requeue: `reason` is at most %d bytes", HF_ERROR_MAX);
    r->count = r->args[0].count;
    r->ids = hf_mem_zero(r->count, sizeof *r->ids);
    r->seen = hf_mem_zero(r->count, sizeof *r->seen);
    if (!r->ids || !r->seen)
        return hf_error(HF_ENOMEM, "requeue");
    for (uint32_t i = 0; !err && i < r->count; i++)
        err = hf_arguments_uint("requeue", &rest, &r->ids[i]);
    qsort(r->ids, r->count, sizeof *r->ids, compare_ids);
    for (uint32_t i = 0; i < r->count; i++)
        if (!kept || r->ids[i] != r->ids[kept - 1])
            r->ids[kept++] = r->ids[i];
    r->count = kept;
    return err;
}

static void put_requeued(requeue *r)
{
    hf_out *out = &r->plan->row;
    qsort(r->seen, r->found, sizeof *r->seen, compare_ids);
    hf_out_map(out, NULL);
    hf_out_uint(out, "requeued", r->requeued);
    hf_out_array(out, "unchanged");
    if (r->unchanged_count)
        hf_out_raw(out, NULL, hf_out_bytes(&r->unchanged));
    out->open[out->depth - 1].count = r->unchanged_count;
    hf_out_end(out);
    hf_out_array(out, "missing");
    for (uint32_t i = 0; i < r->count; i++)
        if (!r->found
            || !bsearch(&r->ids[i], r->seen, r->found, sizeof *r->seen, compare_ids))
            hf_out_uint(out, NULL, r->ids[i]);
    hf_out_end(out);
    hf_out_end(out);
}

static int plan_requeue(hf_plan *plan, hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_scan scan;
    requeue r = { .plan = plan,
                  .args = { { .name = "ids", .type = HF_ARG_ARRAY },
                            { .name = "reason", .type = HF_ARG_TEXT },
                            { .name = "keep_attempts", .type = HF_ARG_BOOL } } };
    int err = hf_arguments_read("requeue", arguments, r.args, 3);
    if (!err)
        err = read_ids(&r);
    if (!err)
        err = hf_scan_open(&scan, inquiry);
    if (!err) {
        err = hf_scan_some(&scan, r.ids, r.count, requeue_one, &r);
        hf_scan_close(&scan);
    }
    if (!err)
        put_requeued(&r);
    hf_mem_free(r.ids);
    hf_mem_free(r.seen);
    hf_out_done(&r.unchanged);
    return err ? err : plan->row.err;
}

/* ---- pause, resume */

typedef struct covered {
    uint64_t waiting, running;
} covered;

static int count_one(void *user, const hf_sight *s)
{
    covered *c = user;
    c->running += s->msg.status == HF_RUNNING;
    c->waiting += s->msg.status != HF_RUNNING && s->msg.status != HF_DEAD;
    return HF_OK;
}

static int count_covered(hf_scan *scan, const char *what, covered *c)
{
    hf_where *where = NULL;
    int err = *what ? hf_where_about(&where, strchr(what, '/') ? "actor" : "type", what) : HF_OK;
    scan->where = where;
    if (!err)
        err = hf_scan_all(scan, count_one, c);
    scan->where = NULL;
    hf_where_free(where);
    return err;
}

static int add_pause(hf_plan *plan, uint8_t op, hf_bytes reason)
{
    const char *what = *plan->what ? plan->what : HF_PAUSE_ALL;
    hf_entry e = { .op = op, .to = what, .to_len = (uint8_t)strlen(what), .name = "",
                   .error = "", .from = "", .data = reason };
    return hf_segment_add(&plan->facts, &e);
}

static int read_what(hf_plan *plan, const char *change, const hf_argument *a)
{
    if (!a->given)
        return hf_error(HF_EINVAL, "%s: `what` is missing", change);
    if (a->bytes.len > HF_ADDRESS_MAX)
        return hf_error(HF_EINVAL, "%s: `what` is too long", change);
    if (a->bytes.len)
        memcpy(plan->what, a->bytes.data, a->bytes.len);
    plan->what[a->bytes.len] = 0;
    return hf_pausing_check(plan->what);
}

static int plan_pause(hf_plan *plan, hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument args[] = { { .name = "what", .type = HF_ARG_TEXT },
                           { .name = "reason", .type = HF_ARG_TEXT },
                           { .name = "wait_ms", .type = HF_ARG_UINT } };
    hf_scan scan;
    covered c = { 0 };
    int err = hf_arguments_read("pause", arguments, args, 3);
    if (!err)
        err = read_what(plan, "pause", &args[0]);
    if (!err && args[1].bytes.len > HF_ERROR_MAX)
        err = hf_error(HF_EINVAL, "pause: `reason` is at most %d bytes", HF_ERROR_MAX);
    if (!err)
        err = hf_scan_open(&scan, inquiry);
    if (err)
        return err;
    const hf_living *living = inquiry->living;
    if (*plan->what && living && !living->defines(living->user, plan->what, strlen(plan->what))) {
        hf_scan_close(&scan); /* mistyped, most likely */
        return hf_error(HF_ENOTYPE, "%s", plan->what);
    }
    plan->wait_ms = args[2].number;
    plan->pauses = true;
    bool already = hf_pausings_exact(&scan.pausings, plan->what) != NULL;
    err = count_covered(&scan, plan->what, &c);
    hf_scan_close(&scan);
    if (!err && !already)
        err = add_pause(plan, HF_OP_PAUSE, args[1].bytes);
    hf_out_map(&plan->row, NULL);
    hf_out_text(&plan->row, "what", hf_str(plan->what));
    hf_out_uint(&plan->row, "waiting", c.waiting);
    hf_out_bool(&plan->row, "already", already);
    return err ? err : plan->row.err;
}

int hf_plan_running(hf_inquiry *inquiry, const char *what, uint64_t *running)
{
    hf_scan scan;
    covered c = { 0 };
    int err = hf_scan_open(&scan, inquiry);
    if (err)
        return err;
    err = count_covered(&scan, what, &c);
    hf_scan_close(&scan);
    *running = c.running;
    return err;
}

void hf_plan_paused(hf_plan *plan, uint64_t running)
{
    hf_out_uint(&plan->row, "running", running);
    hf_out_end(&plan->row);
}

/* What else pauses it, once its own pause is gone. */
static const char *still_paused(const hf_pausings *p, const char *what)
{
    char type[HF_ADDRESS_MAX + 1];
    size_t len = hf_address_type_len(what, strlen(what));
    if (!*what)
        return NULL;
    if (hf_pausings_exact(p, ""))
        return "";
    memcpy(type, what, len);
    type[len] = 0;
    const hf_pausing *one = strcmp(type, what) != 0 ? hf_pausings_exact(p, type) : NULL;
    return one ? one->what : NULL;
}

static int plan_resume(hf_plan *plan, hf_inquiry *inquiry, hf_bytes arguments)
{
    hf_argument what = { .name = "what", .type = HF_ARG_TEXT };
    hf_scan scan;
    covered c = { 0 };
    int err = hf_arguments_read("resume", arguments, &what, 1);
    if (!err)
        err = read_what(plan, "resume", &what);
    if (!err)
        err = hf_scan_open(&scan, inquiry);
    if (err)
        return err;
    plan->resumes = true;
    bool paused = hf_pausings_exact(&scan.pausings, plan->what) != NULL;
    const char *still = still_paused(&scan.pausings, plan->what);
    err = count_covered(&scan, plan->what, &c);
    if (!err && paused)
        err = add_pause(plan, HF_OP_RESUME, hf_view(NULL, 0));
    hf_out_map(&plan->row, NULL);
    hf_out_text(&plan->row, "what", hf_str(plan->what));
    hf_out_uint(&plan->row, "waiting", c.waiting);
    hf_out_bool(&plan->row, "paused", paused);
    if (still)
        hf_out_text(&plan->row, "still", hf_str(still));
    hf_out_end(&plan->row);
    hf_scan_close(&scan);
    return err ? err : plan->row.err;
}

/* ---- send */

void hf_plan_sent(hf_plan *plan, const hf_receipt *receipts)
{
    hf_out *out = &plan->row;
    hf_out_map(out, NULL);
    hf_out_array(out, "ids");
    for (uint32_t i = 0; i < plan->count; i++)
        hf_out_uint(out, NULL, receipts[i].id);
    hf_out_end(out);
    hf_out_end(out);
}

int hf_plan_make(hf_plan *plan, hf_inquiry *inquiry, const char *change, hf_bytes arguments)
{
    *plan = (hf_plan){ .facts = { .shard = HF_FACTS } };
    if (strcmp(change, "send") == 0)
        return hf_plan_letters(plan, arguments);
    if (strcmp(change, "requeue") == 0)
        return plan_requeue(plan, inquiry, arguments);
    if (strcmp(change, "pause") == 0)
        return plan_pause(plan, inquiry, arguments);
    if (strcmp(change, "resume") == 0)
        return plan_resume(plan, inquiry, arguments);
    return hf_error(HF_EINVAL, "no such change: %.40s", change);
}
