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

#include "storage/clock.h"
#include "storage/due.h"
#include "storage/taken.h"
#include "storage/view.h"

#include "storage/error.h"
#include "storage/memory.h"

#include <unistd.h>

typedef struct bench {
    hf_disk   *disk;
    hf_log    *log;
    hf_plan    plan;
    hf_segment sends;
    hf_receipt *receipts;  /* one a letter; id 0: it is the next of the sends */
} bench;

/* As the engine would that opens the store next. */
static uint64_t own_time(const bench *b)
{
    return hf_window_time(hf_log_window(b->log), hf_clock_wall_ms());
}

static void set_times(const bench *b, const hf_letter *l, hf_entry *e)
{
    uint64_t now = hf_clock_wall_ms(), own = own_time(b);
    if (l->expires_ms)
        e->expires = own + l->expires_ms;
    bool later = l->delay_ms || l->at > now;
    if (!later)
        return;
    e->due = l->delay_ms ? own + l->delay_ms : l->at > HF_DUE_MAX ? HF_DUE_MAX : l->at;
    e->reason = l->delay_ms ? 0 : HF_DUE_WALL;
    e->flags |= HF_ENTRY_DELAYED;
    e->sent = now;
}

/* Was this letter taken under its word? Then its id is told. HF_ECONFLICT: another was. */
static int find_taken(const bench *b, hf_view_of *view, const hf_entry *e, hf_receipt *receipt)
{
    hf_key key;
    hf_bytes payload;
    hf_taken taken;
    uint8_t sum[16];
    hf_entry named = *e;
    hf_taken_name(HF_IN_DEDUPE, &named);
    hf_key_name(&key, &named);
    int err = hf_view_get(view, HF_IN_DEDUPE, hf_key_bytes(&key), &payload);
    if (!err)
        err = hf_taken_of_row(payload, &taken);
    if (err || hf_taken_is_over(taken.time_ms, own_time(b)))
        return err == HF_ENOTFOUND ? HF_OK : err;
    hf_taken_sum(sum, hf_view(e->name, e->name_len), e->data);
    if (memcmp(sum, taken.sum, sizeof sum) != 0)
        return hf_error(HF_ECONFLICT, "%s has taken another letter under \"%s\"", e->to, e->dedupe);
    *receipt = (hf_receipt){ .id = taken.id, .err = HF_EDUPLICATE };
    return HF_OK;
}

/* The same word twice in one change: the store does not know the first one yet. */
static bool comes_again(const bench *b, uint32_t i)
{
    const hf_letter *l = &b->plan.letters[i];
    for (uint32_t n = 0; n < i; n++) {
        const hf_letter *other = &b->plan.letters[n];
        if (other->dedupe && strcmp(other->dedupe, l->dedupe) == 0 && strcmp(other->to, l->to) == 0)
            return true;
    }
    return false;
}

static int add_letters(bench *b)
{
    hf_view_of *view = NULL;
    b->receipts = hf_mem_zero(b->plan.count + 1, sizeof *b->receipts);
    int err = b->receipts ? HF_OK : hf_error(HF_ENOMEM, "receipts");
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
        e.urgency = l->urgency;
        set_times(b, l, &e);
        hf_letter_dress(&b->plan.more[i], &e);
        if (l->dedupe) {
            e.dedupe = l->dedupe;
            e.dedupe_len = (uint32_t)strlen(l->dedupe);
            if (comes_again(b, i))
                err = hf_error(HF_EINVAL, "two letters to %s with the word \"%s\"", l->to,
                               l->dedupe);
            else
                err = view ? HF_OK : hf_view_open(&view, b->disk);
            if (!err)
                err = find_taken(b, view, &e, &b->receipts[i]);
        }
        hf_pen_sign(&b->plan.pen, &e);
        if (!err && !b->receipts[i].id)
            err = hf_segment_add(&b->sends, &e);
    }
    hf_view_close(view);
    return err;
}

/* What comes in dead is dead at once. Without this the next engine would bury it. */
static int bury(bench *b)
{
    hf_segment deaths = { .shard = HF_FACTS };
    hf_group group = { 0 };
    const uint8_t *at = b->sends.data;
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < b->sends.count; i++) {
        hf_entry e;
        at += hf_entry_decode(at, SIZE_MAX, &e);
        if (!e.died)
            continue;
        e.op = HF_OP_DEAD;
        e.id = e.place = b->sends.base + i;
        e.phase = 0;
        err = hf_segment_add(&deaths, &e);
        if (!err)
            err = hf_group_named(&group, e.place);
    }
    if (!err && deaths.count)
        err = hf_group_add(&group, &deaths);
    if (!err && deaths.count)
        err = hf_log_append(b->log, &group);
    hf_group_free(&group);
    hf_segment_done(&deaths);
    return err;
}

/* The newest record says what somebody set the clock by: it must not be folded. */
static bool clock_was_set(const bench *b)
{
    const hf_window *w = hf_log_window(b->log);
    return w->count && hf_window_at(w, w->count - 1)->skew_ms != 0;
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
        if (!err && b->sends.count)
            (void)bury(b); /* the message stands, and what becomes of it */
        if (!err && !clock_was_set(b))
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
    uint64_t next = b->sends.base;
    for (uint32_t i = 0; i < b->plan.count; i++)
        if (!b->receipts[i].id)
            b->receipts[i].id = next++;
    hf_plan_sent(&b->plan, b->receipts);
    return b->plan.row.err;
}

static int change(bench *b, const char *what, hf_bytes arguments)
{
    hf_inquiry inquiry = { .disk = b->disk, .source = "disk", .uid = (uint32_t)geteuid() };
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
    hf_mem_free(b->receipts);
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
