/* folding.c - when the log folds, and how much at a time.
 *
 * Happy path: the window passes its budget, its older part is sealed and collected, and
 * each append takes a slice along; hf_log_fold goes on without one.
 *
 * While space is short (hf_log_room) slices are small enough to fit surely, and a
 * commit that did not fit is tried again smaller: what the last commit freed may be
 * used after the next, so even an empty one helps. Fails with HF_EFULL only when one
 * row is too much: when it takes several pages and none that are free lie side by side.
 * Then the fold is *blocked*: it begins anew with all that is in the window, as after a
 * crash, so that what ended since needs no row, and deletes rows before it writes any.
 * The log's owner's thread. */
#include "storage/writer.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

enum {
    HEADROOM_MIN = 256 << 10,
    ROW_GROWTH   = 256, /* bytes, besides thrice its own, or whole pages */
    SLICE_MIN    = 64 << 10,
    SLICE_MAX    = 1 << 20,
    COMMIT_LONG  = 4000000, /* ns, what commits take without a slice among them: the next */
    COMMIT_SHORT = 2000000, /* slice must be smaller; it may be larger */
    PRESSED_MIN  = 1 << 19, /* a slice when outsiders would have to wait soon */
    ENTRY_SHARE  = 80,      /* an entry that is sealed for so many bytes of the window, */
    ENTRIES_MIN  = 64 << 10, /* or so many */
};

/* ---- Sealing and folding */

static void collect(hf_log *log)
{
    if (log->options.offload && !log->tight) /* then the journal waits for it anyway */
        log->options.offload(log->options.user, hf_fold_collect, &log->fold);
    else
        hf_fold_collect(&log->fold);
}

/* Memory was short when the sealed records were looked at: once more. */
int hf_folding_recollect(hf_log *log)
{
    hf_fold *fold = &log->fold;
    if (fold->now.stage != HF_FOLD_COLLECTING
        || atomic_load_explicit(&fold->collected, memory_order_acquire) != HF_ENOMEM)
        return HF_OK;
    atomic_store(&fold->collected, 0);
    collect(log);
    return atomic_load_explicit(&fold->collected, memory_order_acquire) == HF_ENOMEM
        ? HF_ENOMEM : HF_OK;
}

/* Room for the sealed records when they retire: the fold's end must not fail. */
static int reserve_retired(hf_log *log, uint32_t more)
{
    uint32_t need = log->retired_count + more;
    if (need <= log->retired_room)
        return HF_OK;
    void *retired = hf_mem_grow(log->retired, need * 2 * sizeof(*log->retired));
    if (!retired)
        return hf_error(HF_ENOMEM, "records to fold");
    log->retired = retired;
    log->retired_room = need * 2;
    return HF_OK;
}

int hf_folding_begin(hf_log *log)
{
    hf_window *w = &log->window;
    hf_record **records = hf_mem_alloc(w->sealed * sizeof(*records));
    uint64_t end = w->sealed < w->count ? hf_window_at(w, w->sealed)->base : log->next;
    int err = records ? reserve_retired(log, w->sealed) : hf_error(HF_ENOMEM, "records to fold");
    for (uint32_t i = 0; !err && i < w->sealed; i++)
        records[i] = hf_window_at(w, i);
    if (!err)
        err = hf_fold_begin(&log->fold, records, w->sealed, end, log->folding);
    log->fold.gated = log->borrows && hf_log_past(log);
    log->fold.spares = log->blocked;
    log->fold.roomy = log->roomy && !log->tight && !log->blocked;
    hf_mem_free(records);
    if (err)
        hf_window_unseal(w);
    return err;
}

/* What of the log may be lent (lend.c, which costs little memory) beyond its budget: a window,
 * and two more the more of its states were saved again, if there is ample room. */
static uint64_t lendable(const hf_log *log)
{
    uint64_t most = log->ample, window = log->options.window;
    uint64_t more = window + (uint64_t)((double)window * log->replaced * 8);
    return more < most ? more : most;
}

/* Where the store may not grow by some windows more, folding begins early and the log is
 * kept short. Elsewhere it holds what may be lent, too, half of it before folding begins: the
 * longer it is the more of its states are saved again before they are folded. What an earlier
 * run left waits for half a window of this one, in which much of it will be done; but not for
 * ever, if run follows run. */
uint64_t hf_folding_start(const hf_log *log)
{
    uint64_t window = log->options.window, past = log->past_bytes + window / 2;
    uint64_t lent = log->window.lent, most = lendable(log) / 2;
    if (!log->roomy)
        return window * 3 / 4;
    if (hf_log_past(log) && past >= window)
        return past < window * 6 ? past : window * 6;
    return window + (lent < most ? lent : most);
}

uint64_t hf_folding_limit(const hf_log *log)
{
    uint64_t window = log->options.window, lent = log->window.lent, most = lendable(log);
    if (!log->roomy)
        return window * 5 / 4;
    if (hf_log_past(log) && log->past_bytes > window)
        return hf_folding_start(log) + window / 4;
    return window * 2 + (lent < most ? lent : most);
}

uint64_t hf_folding_weight(const hf_log *log)
{
    return log->window.bytes + log->burden;
}

/* Of bytes: what they weigh, as the window is now. */
static uint64_t weigh(const hf_log *log, uint64_t bytes)
{
    double more = log->window.bytes ? (double)log->burden / (double)log->window.bytes : 0;
    return bytes + (uint64_t)((double)bytes * more);
}

/* What readers remember is nearly all of it, and more than the fold makes room for: the
 * further it comes the more there may be. */
bool hf_folding_crowds(const hf_log *log)
{
    uint64_t start = hf_folding_start(log), room = hf_folding_limit(log) - start;
    uint64_t left = hf_fold_left(&log->fold), all = left + log->fold.now.spent;
    uint64_t most = start + room / 4;
    if (left)
        most += (uint64_t)((double)room * 0.75 * (double)log->fold.now.spent / (double)all);
    return log->burden > most / 2 && hf_folding_weight(log) > most;
}

/* So much stays unsealed if entries are small: to sort them takes memory for each. Turns of
 * a backlog leave many windows of acknowledgements before the first fold is over. */
static uint64_t beyond(const hf_log *log, uint64_t young)
{
    const hf_window *w = &log->window;
    uint64_t entries = 0, bytes = 0, most = log->options.window / ENTRY_SHARE;
    most = most > ENTRIES_MIN ? most : ENTRIES_MIN;
    for (uint32_t i = 0; i < w->count && (!i || entries < most); i++) {
        entries += hf_window_at(w, i)->live + hf_window_at(w, i)->keep;
        bytes += hf_window_at(w, i)->size;
    }
    return w->bytes - bytes > young ? w->bytes - bytes : young;
}

/* Once the budget is used up all but the youngest sixteenth is sealed: most of what that
 * holds will soon be done. The more is sealed at once the more often an actor's images
 * coincide, and the more rows share a page. */
int hf_folding_seal(hf_log *log, bool all)
{
    hf_window *w = &log->window;
    uint64_t young = log->options.window / (log->roomy ? 16 : 8);
    young = (uint64_t)((double)young * (double)w->bytes / (double)(hf_folding_weight(log) + 1));
    if (log->fold.now.stage != HF_FOLD_IDLE || !w->count)
        return HF_OK;
    if (all || log->blocked) {
        young = 0;
    } else if (log->tight) {
        young = w->bytes > HEADROOM_MIN / 2 ? w->bytes - HEADROOM_MIN / 2 : 0;
    } else if (hf_folding_weight(log) < hf_folding_start(log)) {
        return HF_OK;
    } else {
        young = beyond(log, young);
    }
    /* Far over its budget, or where outsiders have to wait, the window is folded whether
     * readers came so far or not. */
    bool pressed = all || log->tight || w->bytes > hf_folding_start(log) * 5 / 4
        || hf_folding_weight(log) > hf_folding_limit(log);
    uint64_t must = log->borrows && hf_log_past(log) ? log->past_end : 0;
    hf_window_seal(w, young, pressed ? UINT64_MAX : log->hold, must);
    if (!w->sealed && hf_folding_crowds(log)) /* readers wait for it in the middle of a record */
        hf_window_seal(w, young, UINT64_MAX, must);
    if (!w->sealed)
        return HF_OK;
    int err = hf_folding_begin(log);
    if (!err)
        collect(log);
    return err;
}

static void retire(void *user, hf_record *record)
{
    hf_log *log = user;
    log->retired[log->retired_count++] = record;
}

/* The fold's last commit is through: its records leave the window. They are freed
 * later: the group that is being appended may still name their messages. */
static void finish_fold(hf_log *log)
{
    hf_window *w = &log->window;
    uint64_t end = log->fold.end;
    for (uint32_t i = log->fold.now.deleted; i < log->fold.count; i++)
        hf_kept_add(&log->kept, log->fold.records[i]);
    hf_window_pop(w, w->sealed, retire, log);
    hf_fold_end(&log->fold);
    log->blocked = false;
    log->folds++;
    atomic_store_explicit(&log->folded, end, memory_order_release);
    if (!log->options.readers)
        log->releasable = end;
    HF_TESTPOINT("log.folded");
}

/* After a commit that carried a slice of the fold. */
void hf_folding_keep(hf_log *log)
{
    if (log->fold.now.stage == HF_FOLD_IDLE)
        return;
    hf_fold_keep(&log->fold);
    if (log->fold.now.stage != HF_FOLD_COLLECTING && log->folding < log->fold.end)
        log->folding = log->fold.end;
    hf_past_withdraw(log);
    if (hf_fold_is_over(&log->fold))
        finish_fold(log);
}

/* ---- Room */

/* What acknowledgements and a small step of the fold need at any time. */
uint64_t hf_folding_headroom(const hf_log *log)
{
    uint64_t want = log->options.window / 4;
    return want < HEADROOM_MIN ? HEADROOM_MIN : want;
}

/* How much the store grows when what waits in the window moves into the tables: rows
 * have keys and checksums, they split pages all over the table, and those are half
 * empty at first (measured: 350 bytes a row of 100, a page a row of 1,400). */
static uint64_t growth_of_row(uint64_t size)
{
    uint64_t whole = (size + 256 + 4095) & ~(uint64_t)4095; /* pages of its own */
    return (size > 2048 ? whole : size * 3) + ROW_GROWTH;
}

/* Sets how much of it was saved again, too. */
static uint64_t growth(hf_log *log)
{
    uint64_t bytes = 0, all = 0, replaced = 0;
    for (uint32_t i = 0; i < log->window.count; i++) {
        const hf_record *r = hf_window_at(&log->window, i);
        uint64_t rows = r->live + r->keep, stale = log->roomy ? hf_record_stale_count(r) : 0;
        all += rows;
        replaced += stale;
        rows -= stale < rows ? stale : rows; /* elsewhere more than needed does no harm */
        if (rows)
            bytes += rows * growth_of_row(r->size / (r->count > rows ? r->count : rows));
    }
    log->replaced = all ? (double)replaced / (double)all : 0;
    return log->roomy ? bytes / 2 : bytes; /* there it need not be sure */
}

static void get_tight(hf_log *log, bool tight)
{
    log->tight = tight;
    log->fold.row_cost = tight ? HF_FOLD_ROW_MOST : HF_FOLD_ROW;
    log->fold.packs = log->fold.packs && !tight;
}

/* The disk has just said so itself: believe it for a while. */
void hf_folding_squeezed(hf_log *log)
{
    get_tight(log, true);
    log->checked_ns = hf_clock_mono_ns();
}

/* What the fold does in a commit that adds `bytes`: its even share, and a quarter more,
 * of what must be done before the window holds all it may (then outsiders wait);
 * but not so much that the commit takes long. Where the store may not grow by some
 * windows more the log is kept short instead, and while space is short already: what
 * surely fits. */
uint64_t hf_folding_slice(const hf_log *log, uint64_t bytes)
{
    uint64_t left = hf_fold_left(&log->fold), held = hf_folding_weight(log);
    uint64_t limit = hf_folding_limit(log), room = log->options.window / 8;
    if (log->tight)
        return hf_folding_headroom(log) / 8;
    if (!log->roomy)
        return bytes * 3 + 64 * 1024; /* HF_FOLD_ROW is more than twice the smallest entry */
    if (held + room < limit)
        room = limit - held;
    uint64_t share = (uint64_t)((double)weigh(log, bytes) * (double)left / (double)room * 1.25)
                     + 16 * 1024;
    uint64_t max = log->slice_max;
    if (!log->calm && max < PRESSED_MIN && held + log->options.window / 8 > limit)
        max = PRESSED_MIN; /* a long commit is shorter than waiting for all of the fold */
    return share > max ? max : share;
}

/* A commit with a slice of `budget` took so long: how much may the next one be? What it
 * takes without one is the disk's affair, and that of others who use it: smaller slices
 * only make more commits of it then, and outsiders wait longer. While there are none
 * commits go before the fold: what turns end meanwhile needs no row. */
void hf_folding_took(hf_log *log, uint64_t budget, uint64_t ns)
{
    uint64_t max = log->slice_max, plain = log->plain_ns;
    uint64_t mean = log->calm ? 0 : plain;
    bool idle = log->fold.now.stage == HF_FOLD_IDLE || hf_folding_waits(log);
    if (idle || budget <= SLICE_MIN)
        log->plain_ns = plain = plain ? plain - plain / 8 + ns / 8 : ns;
    if (idle)
        return;
    uint64_t more = mean / 2 > COMMIT_SHORT ? mean / 2 : COMMIT_SHORT;
    if (ns > COMMIT_LONG && ns > mean + more && budget <= max)
        max -= max / 4;
    else if ((ns < COMMIT_SHORT || ns < mean + more / 2) && budget == max)
        max += max / 4;
    log->slice_max = max < SLICE_MIN ? SLICE_MIN : max > SLICE_MAX ? SLICE_MAX : max;
}

bool hf_folding_waits(const hf_log *log)
{
    return log->fold.now.stage == HF_FOLD_COLLECTING
        && atomic_load_explicit(&log->fold.collected, memory_order_acquire) == 0;
}

/* ---- Commits of its own */

static int fold_once(hf_log *log, uint64_t budget)
{
    hf_txn *txn;
    int err = hf_txn_write(log->disk, &txn);
    if (err)
        return hf_log_die(log, err);
    log->kept_before = log->kept;
    hf_history_limit(log);
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
        log->kept = log->kept_before;
        return hf_log_die(log, err);
    }
    log->commits++;
    hf_folding_keep(log);
    return HF_OK;
}

/* A commit that changes next to nothing: pages that the last one freed may be used
 * only after it. */
int hf_folding_turn(hf_log *log)
{
    hf_txn *txn;
    int err = hf_txn_write(log->disk, &txn);
    if (err)
        return hf_log_die(log, err);
    err = hf_meta_put(txn, "next", log->next);
    if (err)
        hf_txn_abort(txn);
    else
        err = hf_txn_commit(txn);
    return hf_log_die(log, err);
}

/* Not one row more can be written. Once more from the beginning, if anything came since.
 * Some rows of these records are written: they may not be dropped before the fold has
 * seen that their messages are done. */
static void start_over(hf_log *log)
{
    hf_window *w = &log->window;
    if (log->fold.now.stage > HF_FOLD_WRITING || (log->blocked && log->blocked_at == log->next))
        return;
    for (uint32_t i = 0; i < w->sealed; i++) {
        hf_record *r = hf_window_at(w, i);
        if (r->data && !r->keep && r->base < log->folding)
            r->keep = 1;
    }
    hf_fold_end(&log->fold);
    hf_window_unseal(w);
    log->blocked = true;
    log->blocked_at = log->next;
}

/* A slice that was too large for what is left is tried again as a small one. */
int hf_folding_commit(hf_log *log, uint64_t budget)
{
    uint64_t small = hf_folding_slice(log, 0);
    int err = fold_once(log, log->tight && small < budget ? small : budget);
    if (err != HF_EFULL)
        return err;
    hf_folding_squeezed(log);
    err = log->kept.count ? hf_history_forget(log) : hf_folding_turn(log);
    if (err == HF_EFULL)
        err = hf_folding_turn(log);
    if (!err)
        err = fold_once(log, hf_folding_slice(log, 0));
    if (err == HF_EFULL && !(err = hf_folding_turn(log)))
        err = fold_once(log, 1);
    if (err == HF_EFULL)
        start_over(log);
    return err;
}

int hf_log_fold(hf_log *log, uint64_t budget)
{
    if (log->dead)
        return hf_error(log->dead, "the log stopped before");
    int err = hf_folding_seal(log, false);
    if (!err)
        err = hf_folding_recollect(log);
    if (err)
        return hf_log_die(log, err);
    if (log->fold.now.stage != HF_FOLD_IDLE && !hf_folding_waits(log)) {
        uint64_t slice = budget < log->slice_max ? budget : log->slice_max;
        uint64_t began = hf_clock_mono_ns();
        err = hf_folding_commit(log, slice);
        hf_folding_took(log, slice, hf_clock_mono_ns() - began);
    }
    hf_log_free_retired(log);
    return err;
}

int hf_log_fold_all(hf_log *log)
{
    int err = log->dead ? hf_error(log->dead, "the log stopped before") : HF_OK;
    while (!err && log->window.count) {
        err = hf_folding_seal(log, true);
        while (!err && log->fold.now.stage != HF_FOLD_IDLE) {
            err = hf_folding_recollect(log);
            if (!err && !hf_folding_waits(log))
                err = hf_folding_commit(log, 1 << 20);
        }
    }
    hf_log_free_retired(log);
    return err;
}

/* Could the store grow by some windows? Then it does not matter how long the log is; the
 * longer, the more rows may come of it (growth). */
bool hf_folding_roomy(hf_log *log)
{
    uint64_t window = log->options.window, plenty = window * 9;
    hf_space space;
    if (hf_disk_space(log->disk, &space))
        return false;
    uint64_t map = space.map_bytes - space.file_bytes, disk = space.disk_free_bytes;
    uint64_t room = (map < disk ? map : disk) + space.free_bytes;
    if (room <= plenty)
        return false;
    log->ample = window + (room - plenty) / 4;
    log->ample = log->ample < window * 3 ? log->ample : window * 3;
    return true;
}

/* Half the headroom is for what frees room at once: rows that move from one actor to
 * another may need twice their pages for a while. A record of one page is always found
 * room for, and a larger one if the fold just wrote what it had to. */
uint64_t hf_log_parcel(hf_log *log)
{
    uint64_t room = hf_folding_headroom(log);
    if (log->tight && !hf_disk_headroom(log->disk, room / 2 + growth(log)))
        return 0;
    return log->blocked ? HF_PIECE : room / 16;
}

static bool has_room(hf_log *log, uint64_t want)
{
    return hf_disk_headroom(log->disk, want) && hf_disk_admits(log->disk, want);
}

bool hf_log_room(hf_log *log)
{
    uint64_t want = hf_folding_headroom(log), now = hf_clock_mono_ns();
    /* What comes in unchecked grows, too, when it is folded. */
    uint64_t blind = log->roomy ? want / 4 : want / 16;
    bool due = log->tight ? now - log->checked_ns > 10000000 : log->unchecked > blind;
    if (due || !log->checked_ns) {
        log->roomy = hf_folding_roomy(log);
        uint64_t sure = want + blind * 3 + growth(log);
        bool room = has_room(log, sure);
        if (log->kept.count && (!room || !log->roomy || log->blocked)) { /* goes first */
            (void)hf_history_forget(log);
            room = has_room(log, sure);
        }
        get_tight(log, !room || log->blocked);
        log->unchecked = 0;
        log->checked_ns = now;
    }
    return !log->tight;
}
