/* log.c - the single writer: groups into records, window, fold, commit.
 *
 * Happy path of an append: turn done ranges into entries, pack the segments by
 * shard into records, write them and a slice of the fold in one transaction,
 * commit; then mark what is done, link the records for the readers, trim.
 *
 * Fails: for want of space or memory the transaction is aborted, the new
 * records are dropped and the fold's progress taken back: as if never called.
 * A commit with unknown outcome, or damage found on the way, kills the log.
 * Owner's thread only, but for hf_log_folded. */
#include "storage/sharing.h"
#include "storage/writer.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

enum { UNCLEAN_STEP = 1 << 24, WINDOW_DEFAULT = 128 << 20 };

int hf_log_die(hf_log *log, int err)
{
    if (err != HF_OK && err != HF_EFULL && err != HF_ENOMEM && !log->dead)
        log->dead = err;
    return err;
}

/* ---- Life */

int hf_log_open(hf_log **out, hf_disk *disk, const hf_log_options *options)
{
    hf_txn *txn;
    hf_record_head none = { 0 };
    hf_log *log = hf_mem_zero(1, sizeof *log);
    if (!log)
        return hf_error(HF_ENOMEM, "the log");
    log->disk = disk;
    if (options)
        log->options = *options;
    if (!log->options.window)
        log->options.window = WINDOW_DEFAULT;
    if (!log->options.shards)
        log->options.shards = 1;
    log->hold = UINT64_MAX;
    log->slice_max = 1 << 20;
    hf_window_init(&log->window, log->options.readers);
    hf_fold_init(&log->fold);
    log->fold.repack.always = log->options.packs;
    atomic_init(&log->folded, 0);
    atomic_init(&log->past_now, NULL);
    log->stub = log->last = hf_window_record(&log->window, 0, NULL, 0, &none);
    int err = log->stub ? hf_txn_read(disk, &txn) : hf_error(HF_ENOMEM, "the log");
    if (!err) {
        err = hf_txn_count(txn, HF_IN_INBOX, &log->waiting); /* unless a record knows better */
        if (!err)
            err = hf_meta_get(txn, "seed", 0, &log->seed);
        if (!err)
            err = hf_meta_get(txn, "next", 1, &log->next);
        if (!err)
            err = hf_meta_get(txn, "folding", 0, &log->folding);
        if (!err)
            err = hf_history_open(log, txn);
        hf_txn_abort(txn);
    }
    log->roomy = !err && hf_folding_roomy(log);
    log->borrows = log->options.past && log->roomy;
    if (err) {
        hf_log_close(log, false);
        return err;
    }
    *out = log;
    return HF_OK;
}

void hf_log_free_retired(hf_log *log)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < log->retired_count; i++) {
        hf_record *r = log->retired[i];
        bool passed = atomic_load_explicit(&r->passed, memory_order_acquire)
            >= log->options.readers;
        if (passed && r != log->last && r->base + r->count <= log->releasable)
            hf_record_free(&log->window, r);
        else
            log->retired[kept++] = r;
    }
    log->retired_count = kept;
}

int hf_log_start(hf_log *log)
{
    hf_txn *txn;
    uint64_t clean;
    int err = hf_txn_write(log->disk, &txn);
    if (err)
        return hf_log_die(log, err);
    err = hf_meta_get(txn, "clean", 1, &clean);
    if (!err && !clean)
        log->next += UNCLEAN_STEP; /* ids may have been given that we don't see */
    if (!err)
        err = hf_meta_put(txn, "next", log->next);
    if (!err)
        err = hf_meta_put(txn, "clean", 0);
    if (!err)
        err = hf_history_start(log, txn);
    if (err) {
        hf_txn_abort(txn);
        return hf_log_die(log, err);
    }
    err = hf_txn_commit(txn);
    atomic_store(&log->folded, hf_window_tail(&log->window, log->next));
    if (!err && log->options.past)
        err = hf_past_begin(log);
    return hf_log_die(log, err);
}

static int note_clean(hf_log *log)
{
    hf_txn *txn;
    int err = hf_txn_write(log->disk, &txn);
    if (err)
        return err;
    err = hf_meta_put(txn, "next", log->next);
    if (!err)
        err = hf_meta_put(txn, "clean", 1);
    if (err)
        hf_txn_abort(txn);
    return err ? err : hf_txn_commit(txn);
}

int hf_log_close(hf_log *log, bool clean)
{
    if (!log)
        return HF_OK;
    int err = clean && !log->dead ? note_clean(log) : HF_OK;
    for (uint32_t i = 0; i < log->retired_count; i++)
        hf_record_free(&log->window, log->retired[i]);
    for (uint32_t i = 0; i < log->fresh_count; i++)
        hf_record_free(&log->window, log->fresh[i]);
    hf_fold_done(&log->fold);
    hf_past_done(log);
    if (log->stub)
        hf_record_free(&log->window, log->stub);
    hf_window_done(&log->window);
    hf_segment_done(&log->facts);
    hf_mem_free(log->retired);
    hf_mem_free(log->fresh);
    hf_mem_free(log->sorted);
    hf_mem_free(log->pieces);
    hf_mem_free(log);
    return err;
}

/* ---- Replay */

/* What an entry that lies in the log already says about the window. */
static int replay_entry(hf_log *log, const hf_entry *e, hf_record *r)
{
    uint32_t marked = 0;
    if (hf_entry_waits(e))
        r->live++;
    if (hf_entry_keeps(e) || (e->dedupe_len && e->op == HF_OP_SEND))
        r->keep++;
    if (e->op == HF_OP_DONE)
        marked = hf_window_mark(&log->window, e->hash, e->count);
    else if (e->op == HF_OP_ACK || e->op == HF_OP_DEAD)
        marked = hf_window_mark(&log->window, e->place, 1);
    return marked == HF_WINDOW_WRONG
        ? hf_error(HF_ECORRUPT, "the log ends a message that is none") : HF_OK;
}

int hf_log_adopt(hf_log *log, uint64_t position, hf_bytes data)
{
    hf_record_head head;
    uint32_t plain = 0;
    size_t room = 0;
    uint8_t *chunk = (uint8_t *)(uintptr_t)data.data;
    int err = hf_record_check(data.data, data.len, position, &head);
    if (err)
        return hf_log_die(log, err);
    /* A record of a page and more has pages to itself; a smaller one may share its page
     * with others, and moves when they are written. */
    if (!log->borrows || data.len < hf_disk_page(log->disk)) {
        chunk = hf_window_chunk(&log->window, data.len, &room);
        if (!chunk)
            return hf_error(HF_ENOMEM, "the window");
        memcpy(chunk, data.data, data.len);
    }
    hf_record *r = hf_window_record(&log->window, position, chunk, room, &head);
    if (!r) {
        if (room)
            hf_window_chunk_free(&log->window, chunk, room);
        return hf_error(HF_ENOMEM, "the window");
    }
    const uint8_t *at = chunk + hf_record_entries_at(head.runs), *end = chunk + head.size;
    const uint8_t *first = at;
    for (uint32_t i = 0; !err && i < head.count; i++) {
        hf_entry e;
        size_t size = hf_entry_plain(at, (size_t)(end - at));
        if (size) {
            r->live++;
            at += size;
            plain++;
            continue;
        }
        size = hf_entry_decode(at, (size_t)(end - at), &e);
        if (!size || !hf_sharing_resolve(first, at, &e))
            err = hf_error(HF_ECORRUPT, "entry %llu of the log can't be read",
                           (unsigned long long)(position + i));
        else
            err = replay_entry(log, &e, r);
        at += size;
    }
    r->plain = plain == head.count;
    r->keep += !err && head.count == 0;
    if (position < log->folding)
        r->keep++; /* its messages may have rows: the fold must see that they are done */
    if (!err)
        err = hf_window_push(&log->window, r);
    if (err) {
        hf_record_free(&log->window, r);
        return hf_log_die(log, err);
    }
    r->past = log->options.past;
    log->waiting = head.waiting;
    atomic_store_explicit(&log->last->next, r, memory_order_release);
    log->last = r;
    if (log->next < position + head.count)
        log->next = position + head.count;
    return HF_OK;
}

/* ---- Appending */

static void drop_fresh(hf_log *log)
{
    for (uint32_t i = 0; i < log->fresh_count; i++)
        hf_record_free(&log->window, log->fresh[i]);
    log->fresh_count = 0;
}

/* The group is on disk: now memory follows. */
static int publish(hf_log *log, const hf_group *g)
{
    hf_window *w = &log->window;
    for (uint32_t i = 0; i < g->done_count; i++)
        HF_ASSERT(hf_window_mark(w, g->done[i].first, g->done[i].count) != HF_WINDOW_WRONG);
    for (uint32_t i = 0; i < g->named_count; i++)
        HF_ASSERT(hf_window_mark(w, g->named[i].first, 1) != HF_WINDOW_WRONG);
    for (uint32_t i = 0; i < log->fresh_count; i++) {
        hf_record *r = log->fresh[i];
        int err = hf_window_push(w, r);
        if (err)
            return hf_log_die(log, HF_EUNKNOWN); /* on disk, but not in memory */
        atomic_store_explicit(&log->last->next, r, memory_order_release);
        log->last = r;
        log->written += r->size;
        log->unchecked += r->size;
    }
    log->fresh_count = 0;
    hf_window_trim(w);
    return HF_OK;
}

/* How many messages wait once the group is committed. */
static uint64_t waiting_after(const hf_log *log, const hf_group *g)
{
    uint64_t waiting = log->waiting - g->named_count;
    for (uint32_t i = 0; i < g->segment_count; i++)
        waiting += g->segments[i]->messages + g->segments[i]->requeues;
    for (uint32_t i = 0; i < g->done_count; i++)
        waiting -= g->done[i].count;
    return waiting;
}

static int write_group(hf_log *log, hf_txn *txn, const hf_group *g, uint64_t slice, uint64_t *next)
{
    uint32_t count = 0;
    int err = hf_pack_done(log, g);
    if (!err)
        err = hf_pack_sort(log, g, &count);
    if (!err)
        err = hf_pack_write(log, txn, count, next, waiting_after(log, g));
    if (!err) /* nothing may fail once it is committed */
        err = hf_window_reserve(&log->window, log->fresh_count);
    HF_TESTPOINT("log.written");
    hf_history_limit(log);
    if (!err && slice && log->fold.now.stage != HF_FOLD_IDLE)
        err = hf_fold_slice(&log->fold, txn, slice);
    if (!err && !count && log->fold.now.stage == HF_FOLD_DELETING)
        err = hf_meta_put(txn, "next", log->next); /* the log may be empty now */
    return err ? err : hf_history_slice(log, txn, next);
}

/* All of the group and `slice` of the fold, or nothing. */
static int try_append(hf_log *log, const hf_group *g, uint64_t slice)
{
    hf_txn *txn;
    uint64_t next = log->next;
    int err = hf_txn_write(log->disk, &txn);
    if (err)
        return hf_log_die(log, err);
    log->kept_before = log->kept;
    err = write_group(log, txn, g, slice, &next);
    if (err)
        hf_txn_abort(txn);
    else
        err = hf_txn_commit(txn);
    if (err) {
        hf_fold_undo(&log->fold);
        log->kept = log->kept_before;
        drop_fresh(log);
        return hf_log_die(log, err);
    }
    HF_TESTPOINT("log.committed");
    log->commits++;
    log->next = next;
    if (log->hurries)
        log->urgent = next;
    log->hurries = false;
    log->waiting = waiting_after(log, g);
    return publish(log, g);
}

/* While space is short the fold goes first. What a group takes comes back only when it is
 * folded, so hardly any of the log may be left before the next is added: else there is
 * no page any more to fold with. */
static int fold_first(hf_log *log)
{
    uint64_t enough = hf_folding_headroom(log) / 4;
    int err = HF_OK;
    while (!err && log->window.bytes > enough) {
        err = hf_folding_seal(log, false);
        if (!err)
            err = hf_folding_recollect(log);
        if (err || log->fold.now.stage == HF_FOLD_IDLE || hf_folding_waits(log))
            break;
        err = hf_folding_commit(log, hf_folding_slice(log, 0));
    }
    return err;
}

/* Space is short, and the fold found none (err) or did what it had to. May the group be
 * written? What it adds would be missing to the fold: so what turns did leaves some pages
 * as long as there is something to fold, and waits for a fold that cannot begin yet. Each
 * commit uses up a few even if it frees as many, while a reader stands on an older one; he
 * will pass. An operator's word is small and may use the last. */
static int mind_the_fold(hf_log *log, const hf_group *g, int err)
{
    if (err && err != HF_EFULL)
        return err;
    if (!g->leaves)
        return g->bytes <= HF_PIECE ? HF_OK : err;
    if (hf_folding_waits(log) && log->window.bytes > hf_folding_limit(log))
        return hf_error(HF_EFULL, "%s: what is folded is still being sorted",
                        hf_disk_path(log->disk));
    if ((!log->window.count && !err)
        || hf_disk_headroom(log->disk, g->bytes + hf_folding_headroom(log) / 4))
        return HF_OK;
    return err ? err : hf_error(HF_EFULL, "%s leaves no pages to fold with",
                                hf_disk_path(log->disk));
}

/* Last resort of a group that brings no messages: fold on till it fits. */
static int append_squeezed(hf_log *log, const hf_group *g)
{
    int err = try_append(log, g, 0);
    for (uint32_t i = 0; i < g->segment_count; i++)
        if (g->segments[i]->messages)
            return err;
    for (int turns = 0; err == HF_EFULL && turns < 2;) {
        bool folding = log->fold.now.stage != HF_FOLD_IDLE && !hf_folding_waits(log);
        int made = folding ? hf_folding_commit(log, hf_folding_slice(log, 0))
                           : hf_folding_turn(log);
        if (made)
            return made;
        turns += !folding;
        err = try_append(log, g, 0);
    }
    return err;
}

int hf_log_append(hf_log *log, hf_group *g)
{
    if (log->dead)
        return hf_error(log->dead, "the log stopped before");
    (void)hf_log_room(log);
    int err = hf_folding_seal(log, false);
    if (err)
        return hf_log_die(log, err);
    (void)hf_folding_recollect(log); /* the fold can wait, the group can't */
    if (log->tight)
        err = mind_the_fold(log, g, fold_first(log));
    if (err)
        return err;
    log->calm = g->calm;
    uint64_t slice = hf_folding_slice(log, g->bytes), began = hf_clock_mono_ns();
    err = try_append(log, g, slice);
    hf_folding_took(log, slice, hf_clock_mono_ns() - began);
    if (err == HF_EFULL) {
        hf_folding_squeezed(log);
        (void)hf_history_forget(log);
        err = log->dead ? log->dead : append_squeezed(log, g);
    }
    if (err)
        return err;
    hf_folding_keep(log);
    hf_lend_told(log);
    hf_log_free_retired(log);
    return HF_OK;
}

/* ---- Looking */

void hf_log_stat(const hf_log *log, hf_log_stats *stats)
{
    *stats = (hf_log_stats){
        .next = log->next,
        .waiting = log->waiting,
        .folded = hf_log_folded(log),
        .bytes = log->window.bytes,
        .weight = hf_folding_weight(log),
        .start = hf_folding_start(log),
        .limit = hf_folding_limit(log),
        .held = log->window.held,
        .history = log->kept.bytes,
        .commits = log->commits,
        .rows = log->fold.rows,
        .folds = log->folds,
        .written = log->written,
        .urgent = log->urgent,
        .folding = log->fold.now.stage != HF_FOLD_IDLE,
        .tight = log->tight,
        .roomy = log->roomy,
        .collecting = hf_folding_waits(log),
        .crowded = hf_folding_crowds(log),
    };
}

hf_disk *hf_log_disk(const hf_log *log)
{
    return log->disk;
}

uint64_t hf_log_seed(const hf_log *log)
{
    return log->seed;
}

int hf_log_state(const hf_log *log)
{
    return log->dead;
}

uint64_t hf_log_folded(const hf_log *log)
{
    return atomic_load_explicit(&log->folded, memory_order_acquire);
}

void hf_log_release(hf_log *log, uint64_t position)
{
    if (position > log->releasable) {
        log->releasable = position;
        if (log->past_end && position >= log->past_end)
            hf_past_done(log);
        hf_log_free_retired(log);
    }
}

hf_record *hf_log_start_of_chain(hf_log *log)
{
    return log->options.past ? log->last : log->stub;
}

const hf_window *hf_log_window(const hf_log *log)
{
    return &log->window;
}

void hf_log_rest(hf_log *log)
{
    hf_window_rest(&log->window);
}

void hf_log_hold(hf_log *log, uint64_t position)
{
    log->hold = position;
}

void hf_log_burden(hf_log *log, uint64_t bytes)
{
    log->burden = bytes;
}
