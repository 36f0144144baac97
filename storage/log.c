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
#include "storage/writer.h"

#include "storage/assert.h"
#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

enum { UNCLEAN_STEP = 1 << 24, WINDOW_DEFAULT = 128 << 20, HEADROOM_MIN = 256 << 10 };

static int die(hf_log *log, int err)
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
    hf_window_init(&log->window, log->options.readers);
    hf_fold_init(&log->fold);
    atomic_init(&log->folded, 0);
    log->stub = log->last = hf_window_record(&log->window, 0, NULL, 0, &none);
    int err = log->stub ? hf_txn_read(disk, &txn) : hf_error(HF_ENOMEM, "the log");
    if (!err) {
        err = hf_meta_get(txn, "seed", 0, &log->seed);
        if (!err)
            err = hf_meta_get(txn, "next", 1, &log->next);
        if (!err)
            err = hf_meta_get(txn, "folding", 0, &log->folding);
        hf_txn_abort(txn);
    }
    if (err) {
        hf_log_close(log, false);
        return err;
    }
    *out = log;
    return HF_OK;
}

static void free_retired(hf_log *log)
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
        return die(log, err);
    err = hf_meta_get(txn, "clean", 1, &clean);
    if (!err && !clean)
        log->next += UNCLEAN_STEP; /* ids may have been given that we don't see */
    if (!err)
        err = hf_meta_put(txn, "next", log->next);
    if (!err)
        err = hf_meta_put(txn, "clean", 0);
    if (err) {
        hf_txn_abort(txn);
        return die(log, err);
    }
    atomic_store(&log->folded, hf_window_tail(&log->window, log->next));
    return die(log, hf_txn_commit(txn));
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
    if (log->stub)
        hf_record_free(&log->window, log->stub);
    hf_window_done(&log->window);
    hf_segment_done(&log->facts);
    hf_mem_free(log->retired);
    hf_mem_free(log->fresh);
    hf_mem_free(log->sorted);
    hf_mem_free(log);
    return err;
}

/* ---- Replay */

/* What an entry that lies in the log already says about the window. */
static void replay_entry(hf_log *log, const hf_entry *e, hf_record *r)
{
    if (hf_entry_is_message(e->op))
        r->live++;
    if (e->op != HF_OP_SEND && e->op != HF_OP_DONE)
        r->keep++;
    if (e->op == HF_OP_DONE)
        hf_window_mark(&log->window, e->hash, e->count);
    else if (e->op == HF_OP_ACK || e->op == HF_OP_DEAD)
        hf_window_mark(&log->window, e->id, 1);
}

int hf_log_adopt(hf_log *log, uint64_t position, hf_bytes data)
{
    hf_record_head head;
    size_t room;
    int err = hf_record_check(data.data, data.len, position, &head);
    if (err)
        return die(log, err);
    uint8_t *chunk = hf_window_chunk(&log->window, data.len, &room);
    if (!chunk)
        return hf_error(HF_ENOMEM, "the window");
    memcpy(chunk, data.data, data.len);
    hf_record *r = hf_window_record(&log->window, position, chunk, room, &head);
    if (!r) {
        hf_window_chunk_free(&log->window, chunk, room);
        return hf_error(HF_ENOMEM, "the window");
    }
    r->replayed = true;
    const uint8_t *at = chunk + hf_record_entries_at(head.runs), *end = chunk + head.size;
    for (uint32_t i = 0; !err && i < head.count; i++) {
        hf_entry e;
        size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
        if (!size)
            err = hf_error(HF_ECORRUPT, "entry %llu of the log can't be read",
                           (unsigned long long)(position + i));
        else
            replay_entry(log, &e, r);
        at += size;
    }
    r->keep += !err && head.count == 0;
    if (!err)
        err = hf_window_push(&log->window, r);
    if (err) {
        hf_record_free(&log->window, r);
        return die(log, err);
    }
    atomic_store_explicit(&log->last->next, r, memory_order_release);
    log->last = r;
    if (log->next < position + head.count)
        log->next = position + head.count;
    return HF_OK;
}

/* ---- Sealing and folding */

/* Up to a fifth more than the budget's half is sealed; the youngest eighth is
 * left out, since most of what it holds will soon be done. */
static int maybe_seal(hf_log *log, bool all)
{
    hf_window *w = &log->window;
    uint64_t young = log->options.window / 8, full = log->options.window * 3 / 4;
    if (log->fold.now.stage != HF_FOLD_IDLE || !w->count)
        return HF_OK;
    if (all) {
        young = 0;
    } else if (log->tight) {
        young = w->bytes > HEADROOM_MIN / 2 ? w->bytes - HEADROOM_MIN / 2 : 0;
    } else if (w->bytes < full) {
        return HF_OK;
    }
    hf_window_seal(w, young);
    if (!w->sealed)
        return HF_OK;
    hf_record **records = hf_mem_alloc(w->sealed * sizeof(*records));
    uint64_t end = w->sealed < w->count ? hf_window_at(w, w->sealed)->base : log->next;
    int err = records ? HF_OK : hf_error(HF_ENOMEM, "records to fold");
    for (uint32_t i = 0; !err && i < w->sealed; i++)
        records[i] = hf_window_at(w, i);
    if (!err)
        err = hf_fold_begin(&log->fold, records, w->sealed, end, log->folding);
    hf_mem_free(records);
    if (err) {
        hf_window_unseal(w);
        return err;
    }
    if (log->options.offload)
        log->options.offload(log->options.user, hf_fold_collect, &log->fold);
    else
        hf_fold_collect(&log->fold);
    return HF_OK;
}

static void retire(void *user, hf_record *record)
{
    hf_log *log = user;
    log->retired[log->retired_count++] = record;
}

/* The fold's last commit is through: its records leave the window. */
static int finish_fold(hf_log *log)
{
    hf_window *w = &log->window;
    uint32_t need = log->retired_count + w->sealed;
    if (need > log->retired_room) {
        void *retired = hf_mem_grow(log->retired, need * 2 * sizeof(*log->retired));
        if (!retired)
            return HF_ENOMEM; /* tried again after the next commit */
        log->retired = retired;
        log->retired_room = need * 2;
    }
    uint64_t end = log->fold.end;
    hf_window_pop(w, w->sealed, retire, log);
    hf_fold_end(&log->fold);
    log->folds++;
    atomic_store_explicit(&log->folded, end, memory_order_release);
    if (!log->options.readers)
        log->releasable = end;
    HF_TESTPOINT("log.folded");
    free_retired(log);
    return HF_OK;
}

/* After a commit that carried a slice of the fold. */
static void keep_fold(hf_log *log)
{
    if (log->fold.now.stage == HF_FOLD_IDLE)
        return;
    hf_fold_keep(&log->fold);
    if (log->fold.now.stage != HF_FOLD_COLLECTING)
        log->folding = log->fold.end;
    if (hf_fold_is_over(&log->fold))
        (void)finish_fold(log);
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
        hf_window_mark(w, g->done[i].first, g->done[i].count);
    for (uint32_t i = 0; i < g->named_count; i++)
        hf_window_mark(w, g->named[i].first, 1);
    for (uint32_t i = 0; i < log->fresh_count; i++) {
        hf_record *r = log->fresh[i];
        int err = hf_window_push(w, r);
        if (err)
            return die(log, HF_EUNKNOWN); /* on disk, but not in memory */
        atomic_store_explicit(&log->last->next, r, memory_order_release);
        log->last = r;
        log->written += r->size;
        log->unchecked += r->size;
    }
    log->fresh_count = 0;
    hf_window_trim(w);
    return HF_OK;
}

static int write_group(hf_log *log, hf_txn *txn, const hf_group *g, uint64_t *next)
{
    uint32_t count = 0;
    int err = hf_pack_done(log, g);
    if (!err)
        err = hf_pack_sort(log, g, &count);
    if (!err)
        err = hf_pack_write(log, txn, count, next);
    HF_TESTPOINT("log.written");
    /* Twice what was added, so that the fold always wins the race. */
    if (!err && log->fold.now.stage != HF_FOLD_IDLE)
        err = hf_fold_slice(&log->fold, txn, g->bytes * 2 + 64 * 1024);
    return err;
}

int hf_log_append(hf_log *log, hf_group *g)
{
    hf_txn *txn;
    uint64_t next = log->next;
    if (log->dead)
        return hf_error(log->dead, "the log stopped before");
    int err = maybe_seal(log, false);
    if (err)
        return die(log, err);
    err = hf_txn_write(log->disk, &txn);
    if (err)
        return die(log, err);
    err = write_group(log, txn, g, &next);
    if (err)
        hf_txn_abort(txn);
    else
        err = hf_txn_commit(txn);
    if (err) {
        hf_fold_undo(&log->fold);
        drop_fresh(log);
        return die(log, err);
    }
    HF_TESTPOINT("log.committed");
    log->commits++;
    log->next = next;
    err = publish(log, g);
    keep_fold(log);
    free_retired(log);
    return err;
}

static int fold_commit(hf_log *log, uint64_t budget)
{
    hf_txn *txn;
    int err = hf_txn_write(log->disk, &txn);
    if (err)
        return die(log, err);
    err = hf_fold_slice(&log->fold, txn, budget);
    /* The log may become empty: the next position must be known without it. */
    if (!err && log->fold.now.stage == HF_FOLD_DELETING)
        err = hf_meta_put(txn, "next", log->next);
    if (err)
        hf_txn_abort(txn);
    else
        err = hf_txn_commit(txn);
    if (err) {
        hf_fold_undo(&log->fold);
        return die(log, err);
    }
    log->commits++;
    keep_fold(log);
    return HF_OK;
}

static bool collecting(const hf_log *log)
{
    return log->fold.now.stage == HF_FOLD_COLLECTING
        && atomic_load_explicit(&log->fold.collected, memory_order_acquire) == 0;
}

int hf_log_fold(hf_log *log, uint64_t budget)
{
    if (log->dead)
        return hf_error(log->dead, "the log stopped before");
    int err = maybe_seal(log, false);
    if (err)
        return die(log, err);
    free_retired(log);
    if (log->fold.now.stage == HF_FOLD_IDLE || collecting(log))
        return HF_OK;
    return fold_commit(log, budget);
}

int hf_log_fold_all(hf_log *log)
{
    int err = log->dead ? hf_error(log->dead, "the log stopped before") : HF_OK;
    while (!err && log->window.count) {
        err = maybe_seal(log, true);
        while (!err && log->fold.now.stage != HF_FOLD_IDLE)
            if (!collecting(log))
                err = fold_commit(log, 1 << 20);
    }
    return err;
}

/* ---- Looking */

bool hf_log_room(hf_log *log)
{
    uint64_t want = log->options.window / 4, now = hf_clock_mono_ns();
    if (want < HEADROOM_MIN)
        want = HEADROOM_MIN;
    bool due = log->tight ? now - log->checked_ns > 10000000 : log->unchecked > want / 4;
    if (due || !log->checked_ns) {
        log->tight = !hf_disk_headroom(log->disk, want);
        log->unchecked = 0;
        log->checked_ns = now;
    }
    return !log->tight;
}

void hf_log_stat(const hf_log *log, hf_log_stats *stats)
{
    *stats = (hf_log_stats){
        .next = log->next,
        .folded = hf_log_folded(log),
        .bytes = log->window.bytes,
        .held = log->window.held,
        .commits = log->commits,
        .rows = log->fold.rows,
        .folds = log->folds,
        .written = log->written,
        .folding = log->fold.now.stage != HF_FOLD_IDLE,
        .tight = log->tight,
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
        free_retired(log);
    }
}

hf_record *hf_log_start_of_chain(hf_log *log)
{
    return log->stub;
}

const hf_window *hf_log_window(const hf_log *log)
{
    return &log->window;
}
