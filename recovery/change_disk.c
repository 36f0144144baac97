/* change_disk.c - make a change in a store that no engine has open.
 *
 * Happy path: take the lock, replay, plan, append the one batch, fold everything
 * into the tables, note a clean end. Folding is what makes the next run quick:
 * an engine, or the next batch, has nothing to replay. Were the disk too full
 * for it, the batch stands all the same.
 *
 * HF_EBUSY: an engine has the store, or another tool; HF_EUNKNOWN: the commit's
 * outcome is not known. One thread. */
#include "recovery/change.h"

#include "recovery/replay.h"

#include "storage/error.h"
#include "storage/memory.h"

typedef struct bench {
    hf_disk   *disk;
    hf_log    *log;
    hf_plan    plan;
    hf_segment sends;
} bench;

static int add_letters(bench *b)
{
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < b->plan.count; i++) {
        const hf_letter *l = &b->plan.letters[i];
        size_t len = strlen(l->to);
        hf_entry e = { .op = HF_OP_SEND, .to = l->to, .to_len = (uint8_t)len, .name = "",
                       .error = "", .from = "", .data = l->body,
                       .hash = hf_address_hash(hf_log_seed(b->log), l->to, len) };
        if (l->kind) {
            e.name = l->kind;
            e.name_len = (uint8_t)strlen(l->kind);
        }
        err = hf_segment_add(&b->sends, &e);
    }
    return err;
}

static int append(bench *b)
{
    hf_group group = { 0 };
    int err = b->plan.facts.count ? hf_group_add(&group, &b->plan.facts) : HF_OK;
    if (!err && b->sends.count)
        err = hf_group_add(&group, &b->sends);
    if (!err && group.segment_count && !hf_log_room(b->log) && b->sends.count)
        err = hf_error(HF_EFULL, "%s", hf_disk_path(b->disk));
    if (!err && group.segment_count) {
        err = hf_log_append(b->log, &group);
        if (!err)
            (void)hf_log_fold_all(b->log);
    }
    hf_group_free(&group);
    return err;
}

static int put_result(bench *b)
{
    if (b->plan.pauses)
        hf_plan_paused(&b->plan, 0);
    if (!b->plan.count)
        return b->plan.row.err;
    hf_receipt *receipts = hf_mem_zero(b->plan.count, sizeof *receipts);
    if (!receipts)
        return HF_ENOMEM;
    for (uint32_t i = 0; i < b->plan.count; i++)
        receipts[i].id = b->sends.base + i;
    hf_plan_sent(&b->plan, receipts);
    hf_mem_free(receipts);
    return b->plan.row.err;
}

static int change(bench *b, const char *what, hf_bytes arguments)
{
    hf_inquiry inquiry = { .disk = b->disk, .source = "disk" };
    int err = hf_log_open(&b->log, b->disk, NULL);
    if (!err)
        err = hf_replay(b->log);
    if (!err)
        err = hf_plan_make(&b->plan, &inquiry, what, arguments);
    if (!err)
        err = add_letters(b);
    if (!err && (b->plan.facts.count || b->sends.count))
        err = hf_log_start(b->log);
    if (!err)
        err = append(b);
    if (err)
        return err;
    err = put_result(b);
    if (err && (b->plan.facts.count || b->sends.count)) /* it is done, and cannot be told */
        return hf_error(HF_EUNKNOWN, "out of memory after the commit");
    return err;
}

static int close_all(bench *b, bool wrote)
{
    int err = hf_log_close(b->log, wrote);
    hf_segment_done(&b->sends);
    hf_disk_close(b->disk);
    return err;
}

int hf_change_disk(const char *path, const char *what, hf_bytes arguments, hf_row_fn done,
                   void *user)
{
    bench b = { .sends = { .shard = 0 } };
    int err = hf_disk_open(&b.disk, path, NULL);
    if (err)
        return err;
    err = change(&b, what, arguments);
    bool wrote = !err && (b.plan.facts.count || b.sends.count);
    /* The change is on disk: if noting the clean end fails, the next open counts
     * on, that is all. */
    (void)close_all(&b, wrote);
    if (!err && done)
        err = done(user, hf_out_bytes(&b.plan.row));
    hf_plan_done(&b.plan);
    return err;
}
