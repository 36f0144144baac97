/* past.c - the window of an earlier run, read as if its fold were over.
 *
 * Happy path: whoever opens a store adopts its log; the facts of it are sorted as the
 * tables are, and readers lay them over the tables (overlay.h) instead of following the
 * chain, which they enter behind them. So an open costs one window, however much waits,
 * and nothing is loaded beforehand. The records are folded later, with those of this
 * run: what was done by then needs no row.
 *
 * Where the store may grow, the records stay where LMDB has mapped them, not copied
 * (but for small ones, which share pages with others and move): their pages are used
 * again two commits after the one that deletes them, and the facts are withdrawn before
 * the first is deleted. Who begins a snapshot and then finds the
 * facts still there may use them as long as the snapshot lasts: it holds on to the
 * pages. Elsewhere they are copied, and folded in small parts.
 *
 * Fails for want of memory. Owner's thread, but for hf_log_past. */
#include "storage/writer.h"

#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

int hf_past_begin(hf_log *log)
{
    hf_window *w = &log->window;
    if (!w->count)
        return HF_OK;
    hf_record **records = hf_mem_alloc(w->count * sizeof(*records));
    if (!records)
        return hf_error(HF_ENOMEM, "the window of the last run");
    for (uint32_t i = 0; i < w->count; i++) {
        records[i] = hf_window_at(w, i);
        if (i + 1 < w->count) /* on the last one readers stand */
            atomic_store(&records[i]->passed, log->options.readers);
    }
    int err = hf_survivors_collect(&log->past, records, w->count, log->folding);
    hf_mem_free(records);
    if (err)
        return err;
    log->past_end = log->next;
    log->past_bytes = w->bytes;
    atomic_store(&log->past_now, &log->past);
    return HF_OK;
}

const hf_survivors *hf_log_past(const hf_log *log)
{
    return atomic_load(&log->past_now);
}

/* They may be withdrawn between the two: then this snapshot may be from before the fold's last
 * rows, and the next one is not. */
int hf_log_look(const hf_log *log, hf_txn **txn, const hf_survivors **facts)
{
    for (;;) {
        const hf_survivors *before = hf_log_past(log);
        int err = hf_txn_read(log->disk, txn);
        if (err)
            return err;
        HF_TESTPOINT("past.look");
        *facts = hf_log_past(log);
        if (*facts == before)
            return HF_OK;
        hf_txn_abort(*txn);
    }
}

/* After a commit: is all of it in the tables? */
void hf_past_withdraw(hf_log *log)
{
    if (log->past_end && log->fold.end >= log->past_end
        && log->fold.now.stage == HF_FOLD_DELETING)
        atomic_store(&log->past_now, NULL);
}

void hf_past_done(hf_log *log)
{
    if (log->past_end)
        hf_survivors_done(&log->past);
    log->past_end = 0;
}
