/* change.c - plan a pause, a resume; who plans the other changes.
 *
 * Happy path: read the arguments, look in one snapshot at what they concern,
 * write absolute entries ("attempt = 0", never "one less") into a segment and the
 * result into a row. What needs no change makes no entry, so that an interrupted
 * run can be repeated. Any thread; nothing is written here. */
#include "recovery/change.h"

#include "recovery/arguments.h"

#include "storage/error.h"
#include "storage/memory.h"

void hf_plan_done(hf_plan *plan)
{
    hf_segment_done(&plan->facts);
    hf_segment_done(&plan->delayed);
    hf_segment_done(&plan->ending);
    hf_mem_free(plan->asked);
    hf_mem_free(plan->letters);
    hf_mem_free(plan->texts);
    hf_mem_free(plan->more);
    hf_out_done(&plan->row);
}

/* ---- pause, resume */

typedef struct covered {
    uint64_t waiting, running;
} covered;

static int count_one(void *user, const hf_sight *s)
{
    covered *c = user;
    c->running += s->msg.status == HF_RUNNING;
    c->waiting += s->msg.status != HF_RUNNING && s->msg.status != HF_DEAD && !s->delayed;
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

static int add_pause(hf_plan *plan, hf_view_of *view, uint8_t op, hf_bytes reason)
{
    hf_entry listed;
    uint8_t *list = hf_mem_alloc(HF_PEN_LIST);
    int err = list ? hf_pausing_list(view, &plan->pen, plan->what, list, &listed)
                   : hf_error(HF_ENOMEM, "a pause");
    if (!err)
        err = hf_segment_add(&plan->facts, &listed);
    hf_mem_free(list);
    if (err)
        return err;
    const char *what = *plan->what ? plan->what : HF_PAUSE_ALL;
    hf_entry e = { .op = op, .to = what, .to_len = (uint8_t)strlen(what), .name = "",
                   .error = "", .from = "", .data = reason };
    hf_pen_sign(&plan->pen, &e);
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

static int read_reason(hf_plan *plan, const char *change, const hf_argument *a)
{
    if (a->bytes.len > HF_ERROR_MAX)
        return hf_error(HF_EINVAL, "%s: `reason` is at most %d bytes", change, HF_ERROR_MAX);
    plan->pen.reason = a->bytes;
    return HF_OK;
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
    if (!err)
        err = read_reason(plan, "pause", &args[1]);
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
    if (!err && !already)
        err = add_pause(plan, scan.view, HF_OP_PAUSE, args[1].bytes);
    hf_scan_close(&scan);
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
    hf_argument args[] = { { .name = "what", .type = HF_ARG_TEXT },
                           { .name = "reason", .type = HF_ARG_TEXT } };
    hf_scan scan;
    covered c = { 0 };
    int err = hf_arguments_read("resume", arguments, args, 2);
    if (!err)
        err = read_what(plan, "resume", &args[0]);
    if (!err)
        err = read_reason(plan, "resume", &args[1]);
    if (!err)
        err = hf_scan_open(&scan, inquiry);
    if (err)
        return err;
    plan->resumes = true;
    bool paused = hf_pausings_exact(&scan.pausings, plan->what) != NULL;
    const char *still = still_paused(&scan.pausings, plan->what);
    err = count_covered(&scan, plan->what, &c);
    if (!err && paused)
        err = add_pause(plan, scan.view, HF_OP_RESUME, hf_view(NULL, 0));
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
    uint64_t known = 0; /* that were taken before */
    for (uint32_t i = 0; i < plan->count; i++)
        known += receipts[i].err == HF_EDUPLICATE;
    hf_out_time(out, "known", known);
    hf_out_end(out);
}

int hf_plan_make(hf_plan *plan, hf_inquiry *inquiry, const char *change, hf_bytes arguments)
{
    *plan = (hf_plan){ .facts = { .shard = HF_FACTS } };
    hf_pen_take(&plan->pen, inquiry->uid, change);
    if (strcmp(change, "send") == 0)
        return hf_plan_letters(plan, arguments);
    if (strcmp(change, "edit") == 0)
        return hf_plan_edit(plan, inquiry, arguments);
    int err = hf_plan_ids(plan, inquiry, change, arguments);
    if (err != HF_ENOTFOUND)
        return err;
    if (strcmp(change, "pause") == 0)
        return plan_pause(plan, inquiry, arguments);
    if (strcmp(change, "resume") == 0)
        return plan_resume(plan, inquiry, arguments);
    return hf_error(HF_EINVAL, "no such change: %.40s", change);
}
