/* pause.c - hold actors, types or everything, and let them go again.
 *
 * Happy path: a PAUSE entry is committed, memory follows, the shards let what
 * runs end and start nothing more of it; then the waiting messages are told
 * from a snapshot, oldest first. Pauses survive restarts. Fails before anything
 * is held, or, while telling, with the pause in force. The caller's thread. */
#include "engine/pause.h"
#include "engine/flush.h"
#include "engine/timebase.h"

#include "engine/limit.h"
#include "engine/schedule.h"
#include "engine/turn.h"

#include "storage/error.h"
#include "storage/memory.h"
#include "storage/view.h"

#include <stdlib.h>
#include <time.h>

/* ---- What is paused: any thread */

static bool matches(const char *what, const char *address, size_t len)
{
    size_t n = strlen(what);
    if (strcmp(what, HF_PAUSE_ALL) == 0)
        return true;
    if (n > len || memcmp(what, address, n) != 0)
        return false;
    return n == len || (!strchr(what, '/') && address[n] == '/');
}

bool hf_pauses_hold_slow(hf_engine *engine, const hf_actor *actor)
{
    hf_pauses *p = &engine->pauses;
    bool held = false;
    pthread_rwlock_rdlock(&p->lock);
    for (uint32_t i = 0; !held && i < p->count; i++)
        held = matches(p->what[i], actor->address, actor->len);
    pthread_rwlock_unlock(&p->lock);
    return held;
}

bool hf_pauses_rests(const hf_shard *shard)
{
    for (uint32_t i = 0; i < shard->timer_count; i++) {
        const hf_actor *actor = shard->timers[i]->actor;
        if (!actor->damaged && !hf_pauses_hold(shard->engine, actor)
            && !(actor->kind->limit && hf_limit_breaks(actor->kind->limit)))
            return true;
    }
    return false;
}

static int add_locked(hf_pauses *p, const char *what)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (strcmp(p->what[i], what) == 0)
            return HF_OK;
    if (p->count == p->room) {
        uint32_t room = p->room ? p->room * 2 : 16;
        void *grown = hf_mem_grow(p->what, room * sizeof(*p->what));
        if (!grown)
            return hf_error(HF_ENOMEM, "a pause");
        p->what = grown;
        p->room = room;
    }
    char *copy = hf_mem_alloc(strlen(what) + 1);
    if (!copy)
        return hf_error(HF_ENOMEM, "a pause");
    memcpy(copy, what, strlen(what) + 1);
    p->what[p->count++] = copy;
    atomic_store(&p->any, p->count);
    return HF_OK;
}

int hf_pauses_add(hf_engine *engine, const char *what)
{
    hf_pauses *p = &engine->pauses;
    pthread_rwlock_wrlock(&p->lock);
    int err = add_locked(p, what);
    pthread_rwlock_unlock(&p->lock);
    return err;
}

/* All mailboxes look again; rows nobody knows about are looked for. */
static void wake_all(hf_shard *shard, hf_errand *errand)
{
    for (hf_mailbox *box = shard->boxes; box; box = box->next_box)
        hf_dispatch_ready(shard, box);
    if (shard->rows_possible)
        hf_paging_scan_again(shard);
    hf_mem_free(errand);
}

static void wake_shards(hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        hf_errand *errand = hf_mem_zero(1, sizeof *errand);
        if (!errand) {
            hf_engine_log(engine, HF_ERROR,
                          "out of memory: some actors stay paused until the next open");
            return;
        }
        errand->run = wake_all;
        hf_shard_send_errand(&engine->shards[i], errand);
    }
}

static void remove_word(hf_pauses *p, const char *what)
{
    pthread_rwlock_wrlock(&p->lock);
    for (uint32_t i = 0; i < p->count; i++) {
        if (strcmp(p->what[i], what) != 0)
            continue;
        hf_mem_free(p->what[i]);
        p->what[i] = p->what[--p->count];
        break;
    }
    atomic_store(&p->any, p->count);
    pthread_rwlock_unlock(&p->lock);
}

static int load_row(hf_engine *engine, hf_bytes key)
{
    char what[HF_ADDRESS_MAX + 1];
    if (key.len > HF_ADDRESS_MAX)
        return hf_error(HF_ECORRUPT, "a pause of %zu bytes", key.len);
    memcpy(what, key.data, key.len);
    what[key.len] = 0;
    return hf_pauses_add(engine, what);
}

static int load_table(hf_engine *engine)
{
    hf_txn *txn;
    hf_cursor *cursor;
    hf_bytes key, value, payload;
    int err = hf_txn_read(engine->disk, &txn);
    if (err)
        return err;
    err = hf_cursor_open(txn, HF_IN_PAUSES, &cursor);
    if (!err) {
        for (err = hf_cursor_first(cursor, &key, &value); !err;
             err = hf_cursor_next(cursor, &key, &value)) {
            err = hf_row_open(HF_IN_PAUSES, key, value, &payload);
            if (!err)
                err = load_row(engine, key);
            if (err)
                break;
        }
        hf_cursor_close(cursor);
    }
    hf_txn_abort(txn);
    return err == HF_ENOTFOUND ? HF_OK : err;
}

static int load_fact(void *user, const hf_entry *e, uint64_t position)
{
    hf_engine *engine = user;
    (void)position;
    if (e->op == HF_OP_PAUSE)
        return hf_pauses_add(engine, e->to);
    if (e->op == HF_OP_RESUME)
        remove_word(&engine->pauses, e->to);
    return HF_OK;
}

void hf_pauses_remove(hf_engine *engine, const char *what)
{
    remove_word(&engine->pauses, what);
    wake_shards(engine);
}

int hf_pauses_load(hf_engine *engine)
{
    if (pthread_rwlock_init(&engine->pauses.lock, NULL)
        || pthread_mutex_init(&engine->pauses.order, NULL))
        return hf_error(HF_ENOMEM, "pauses");
    int err = load_table(engine);
    return err ? err : hf_window_facts(hf_log_window(engine->log), load_fact, engine);
}

void hf_pauses_done(hf_engine *engine)
{
    hf_pauses *p = &engine->pauses;
    for (uint32_t i = 0; i < p->count; i++)
        hf_mem_free(p->what[i]);
    hf_mem_free(p->what);
    pthread_rwlock_destroy(&p->lock);
    pthread_mutex_destroy(&p->order);
}

/* ---- The public calls */

static int commit_word(hf_engine *engine, hf_op op, const char *what)
{
    hf_batch *batch = hf_batch_new(engine);
    size_t len = strlen(what);
    hf_entry e = { .op = (uint8_t)op, .to = what, .to_len = (uint8_t)len, .name = "",
                   .error = "", .from = "" }; /* no hash: it need not be an actor's address */
    if (!batch)
        return hf_error(HF_ENOMEM, "a batch");
    batch->outside = true;
    int err = hf_segment_add(hf_batch_facts(batch), &e);
    if (!err)
        err = hf_journal_wait(engine, batch);
    hf_batch_free(batch);
    return err;
}

static int change(hf_engine *engine, hf_op op, const char *what)
{
    pthread_mutex_lock(&engine->pauses.order);
    int err = commit_word(engine, op, what);
    if (!err && op == HF_OP_PAUSE)
        err = hf_pauses_add(engine, what);
    else if (!err)
        hf_pauses_remove(engine, what);
    pthread_mutex_unlock(&engine->pauses.order);
    return err;
}

static int check(hf_engine *engine, const char **what)
{
    hf_error_clear();
    int err = hf_engine_check(engine);
    if (err)
        return err;
    if (!*what)
        *what = HF_PAUSE_ALL;
    size_t len = strnlen(*what, HF_ADDRESS_MAX + 1);
    if (strcmp(*what, HF_PAUSE_ALL) != 0 && !hf_address_type_ok(*what, len)
        && !hf_address_ok(*what, len))
        return hf_error(HF_EINVAL, "\"%.255s\" is neither a type nor an address", *what);
    if (strcmp(*what, HF_PAUSE_ALL) != 0 && !hf_types_find(&engine->types, *what, len))
        return hf_error(HF_ENOTYPE, "%s", *what);
    return HF_OK;
}

/* Does a shard still have something of it running or uncommitted? */
typedef struct settle_errand {
    hf_errand   errand;
    const char *what;
    atomic_int  answer; /* 0: none yet, 1: settled, 2: busy */
} settle_errand;

static void answer_settled(hf_shard *shard, hf_errand *errand)
{
    settle_errand *s = (settle_errand *)errand;
    bool busy = shard->uncommitted || (shard->batch && !hf_batch_is_empty(shard->batch));
    hf_shard_submit(shard);
    for (hf_mailbox *box = shard->boxes; box && !busy; box = box->next_box)
        busy = box->running && matches(s->what, box->actor->address, box->actor->len);
    atomic_store_explicit(&s->answer, busy ? 2 : 1, memory_order_release);
}

static bool shard_settled(hf_shard *shard, const char *what)
{
    settle_errand s = { .errand = { .run = answer_settled }, .what = what };
    atomic_init(&s.answer, 0);
    hf_shard_send_errand(shard, &s.errand);
    while (!atomic_load_explicit(&s.answer, memory_order_acquire)) {
        struct timespec pause = { 0, 200000 };
        nanosleep(&pause, NULL);
    }
    return atomic_load(&s.answer) == 1;
}

/* An engine that closes or has stopped may not commit what runs: nobody can say then that
 * all else waits. */
static int wait_settled(hf_engine *engine, const char *what)
{
    int err = hf_engine_check(engine);
    for (uint32_t i = 0; !err && i < engine->shard_count; i++) {
        while (!err && !shard_settled(&engine->shards[i], what)) {
            struct timespec pause = { 0, 1000000 };
            hf_journal_kick(engine);
            nanosleep(&pause, NULL);
            err = hf_engine_check(engine);
        }
    }
    return err;
}

/* ---- Telling what waits, oldest first */

typedef struct teller {
    hf_engine    *engine;
    const char   *what;
    struct waiting_at { uint64_t id; hf_key key; } *found;
    size_t        count, room;
    int           failed;
} teller;

static int note_waiting(void *user, hf_bytes key, hf_bytes payload)
{
    teller *t = user;
    char address[HF_ADDRESS_MAX + 1];
    hf_entry e;
    size_t len = key.len < 8 ? 0 : hf_address_of_key(address, key.data, key.len - 8, NULL);
    if (!len || !matches(t->what, address, len))
        return HF_OK;
    if (payload.len < 8 || !hf_entry_decode((const uint8_t *)payload.data + 8, payload.len - 8, &e))
        return hf_error(HF_ECORRUPT, "a message of %s can't be read", address);
    if (t->count == t->room) {
        size_t room = t->room ? t->room * 2 : 256;
        void *grown = hf_mem_grow(t->found, room * sizeof *t->found);
        if (!grown)
            return hf_error(HF_ENOMEM, "%zu waiting messages", room);
        t->found = grown;
        t->room = room;
    }
    t->found[t->count].id = e.id ? e.id : hf_get64_key((const uint8_t *)key.data + key.len - 8);
    memcpy(t->found[t->count].key.bytes, key.data, key.len);
    t->found[t->count++].key.len = key.len;
    return HF_OK;
}

static int by_id(const void *a, const void *b)
{
    const struct waiting_at *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int tell_one(teller *t, hf_view_of *view, const struct waiting_at *at,
                    hf_message_fn each, void *user)
{
    hf_bytes payload;
    hf_entry e;
    char key[33];
    int err = hf_view_get(view, HF_IN_INBOX, hf_key_bytes(&at->key), &payload);
    if (err)
        return err;
    const uint8_t *bytes = payload.data;
    hf_entry_decode(bytes + 8, payload.len - 8, &e);
    const hf_kind_of *kind = hf_types_find(&t->engine->types, e.to, e.to_len);
    hf_turn_key(t->engine, at->id, key);
    uint64_t due = e.reason ? e.due : hf_timebase_told(t->engine, e.due);
    hf_message msg = { .id = at->id, .key = key, .to = e.to, .from = e.from, .kind = e.name,
                       .body = e.data, .status = HF_PAUSED,
                       .cause = e.cause <= HF_GONE ? (hf_cause)e.cause : HF_SENT,
                       .joined = hf_entry_joined(&e), .lost = hf_entry_lost(&e),
                       .attempt = e.attempt, .sent = e.sent ? e.sent : hf_get64(bytes),
                       .err = e.err, .error = e.error, .due = due,
                       .retry = e.attempt ? due : 0,
                       .expires = hf_timebase_told(t->engine, e.expires),
                       .about = e.cause == HF_ANSWER || e.cause == HF_GONE ? e.about : 0,
                       .urgency = e.urgency, .replaced = e.replaced,
                       .user = kind ? kind->is.user : NULL };
    if (e.cause == HF_ALARM && e.about)
        hf_schedule_told(&msg, &e);
    return each(user, &msg);
}

static int tell_waiting(hf_engine *engine, const char *what, hf_message_fn each, void *user)
{
    teller t = { .engine = engine, .what = what };
    hf_view_of *view;
    int err = hf_view_open(&view, engine->disk);
    if (err)
        return err;
    err = hf_view_walk(view, HF_IN_INBOX, hf_view(NULL, 0), note_waiting, &t);
    if (!err && t.count)
        qsort(t.found, t.count, sizeof *t.found, by_id);
    for (size_t i = 0; !err && i < t.count; i++)
        err = tell_one(&t, view, &t.found[i], each, user);
    hf_mem_free(t.found);
    hf_view_close(view);
    return err;
}

/* Whose waiting messages this thread is telling: its callee may not close that engine. */
static _Thread_local const hf_engine *telling;

bool hf_pauses_inside(const hf_engine *engine)
{
    return telling == engine;
}

static int pause_it(hf_engine *engine, const char *what, hf_message_fn each, void *user)
{
    int err = check(engine, &what);
    if (!err && (hf_turn_current() || hf_callbacks_inside(&engine->callbacks) || hf_flush_inside()))
        err = hf_error(HF_EDEADLOCK, "hf_pause waits for turns; not in a turn or callback");
    if (!err)
        err = change(engine, HF_OP_PAUSE, what);
    if (!err)
        err = wait_settled(engine, what);
    if (err || !each)
        return err;
    const hf_engine *outer = telling;
    telling = engine;
    err = tell_waiting(engine, what, each, user);
    telling = outer;
    return err;
}

int hf_pause(hf_engine *engine, const char *what, hf_message_fn each, void *user)
{
    hf_engine_enter(engine);
    int err = pause_it(engine, what, each, user);
    hf_engine_leave(engine);
    return err;
}

int hf_resume(hf_engine *engine, const char *what)
{
    hf_engine_enter(engine);
    int err = check(engine, &what);
    const hf_turn *turn = hf_turn_current();
    if (!err && turn && turn->on_shard)
        err = hf_error(HF_EDEADLOCK, "hf_resume waits for the disk; not in a turn on a shard");
    if (!err)
        err = change(engine, HF_OP_RESUME, what);
    hf_engine_leave(engine);
    return err;
}
