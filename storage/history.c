/* history.c - how much of the folded log stays, and when it goes.
 *
 * Happy path: the end of a fold leaves what the limits allow (kept.h), a commit now and
 * then deletes what became too old. When room is short, or the store small, nothing stays;
 * then all of it goes in commits of its own, before anybody is refused. A commit that
 * finds no room leaves the rest for later. The log's owner's thread. */
#include "storage/writer.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/testpoint.h"

enum { SLICE = 32 << 10, LARGE_SLICE = 1 << 20 };

int hf_history_open(hf_log *log, hf_txn *txn)
{
    uint64_t tail = 0, most = 0, ms = 0;
    int err = hf_kept_tail(txn, &tail);
    if (!err)
        err = hf_kept_load(&log->kept, txn, tail);
    if (!err)
        err = hf_meta_get(txn, "history", HF_NO_HISTORY, &most);
    if (!err)
        err = hf_meta_get(txn, "history_ms", 0, &ms);
    if (!log->options.history) {
        log->options.history = most;
        log->options.history_ms = ms;
    }
    log->fold.kept = &log->kept;
    return err;
}

int hf_history_start(hf_log *log, hf_txn *txn)
{
    const hf_log_options *o = &log->options;
    uint64_t most, ms;
    int err = hf_meta_get(txn, "history", HF_NO_HISTORY, &most);
    if (!err)
        err = hf_meta_get(txn, "history_ms", 0, &ms);
    if (err || (most == o->history && (ms == o->history_ms || most == HF_NO_HISTORY)))
        return err;
    err = hf_meta_put(txn, "history", o->history);
    return err ? err : hf_meta_put(txn, "history_ms", o->history_ms);
}

void hf_history_limit(hf_log *log)
{
    hf_kept_limit *limit = &log->fold.limit;
    uint64_t now = hf_clock_wall_ms(), ms = log->options.history_ms;
    *limit = (hf_kept_limit){ 0 };
    if (log->options.history == HF_NO_HISTORY || log->tight || !log->roomy || log->forgets)
        return;
    limit->bytes = log->options.window / 4;
    limit->messages = log->options.history;
    limit->since_ms = now > ms ? now - ms : 0;
}

int hf_history_slice(hf_log *log, hf_txn *txn, const uint64_t *next)
{
    uint64_t budget = SLICE;
    int err = HF_OK;
    if (!log->kept.count || log->fold.now.stage == HF_FOLD_DELETING)
        return HF_OK;
    hf_history_limit(log);
    bool any = hf_kept_exceeds(&log->kept, &log->fold.limit, 0, 0);
    while (!err && budget && hf_kept_exceeds(&log->kept, &log->fold.limit, 0, 0))
        err = hf_kept_drop(&log->kept, txn, &budget);
    /* The log may be empty now. */
    return err || !any ? err : hf_meta_put(txn, "next", *next);
}

static int forget_some(hf_log *log)
{
    uint64_t budget = LARGE_SLICE;
    hf_txn *txn;
    int err = hf_txn_write(log->disk, &txn);
    if (err)
        return err;
    log->kept_before = log->kept;
    while (!err && budget && log->kept.count)
        err = hf_kept_drop(&log->kept, txn, &budget);
    if (!err)
        err = hf_meta_put(txn, "next", log->next);
    HF_TESTPOINT("history.forget");
    if (err)
        hf_txn_abort(txn);
    else
        err = hf_txn_commit(txn);
    if (err)
        log->kept = log->kept_before;
    else
        log->commits++;
    return err;
}

int hf_history_forget(hf_log *log)
{
    int err = HF_OK;
    if (!log->kept.count)
        return HF_OK;
    log->forgets = true;
    while (!err && log->kept.count)
        err = forget_some(log);
    log->forgets = false;
    /* Pages that a commit freed may be used after the next one. */
    return hf_log_die(log, err ? err : hf_folding_turn(log));
}
