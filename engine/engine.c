/* engine.c - hf_open, hf_close, hf_drain: an engine comes and goes.
 *
 * Happy path of opening: check the options, open the store (its lock makes us
 * the only one), replay the window, then start callbacks, journal, pools,
 * shards and the loop; *engine is set before the first turn. Closing takes no
 * more work, lets turns end, writes what they did, and notes a clean end.
 *
 * Fails: opening undoes what it began and says what was wrong; closing may time
 * out and be called again. The engine may also stop by itself (hf_engine_stop):
 * then nothing more is answered or released, and close still frees it. */
#include "engine/turn.h"

#include "engine/ask.h"
#include "engine/flush.h"
#include "engine/limit.h"
#include "engine/loop.h"
#include "engine/peek.h"
#include "engine/pool.h"
#include "engine/step.h"
#include "engine/suspect.h"
#include "engine/timebase.h"

#include "recovery/control_client.h"
#include "recovery/lineage.h"
#include "recovery/message_key.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"
#include "storage/testpoint.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

const char *hf_version(void)
{
#define HF_TEXT_OF(x) #x
#define HF_TEXT(x) HF_TEXT_OF(x)
    return HF_TEXT(HF_VERSION_MAJOR) "." HF_TEXT(HF_VERSION_MINOR) "." HF_TEXT(HF_VERSION_PATCH);
}

void hf_log_stderr(void *user, hf_level level, const char *text)
{
    static const char *const names[] = { "debug", "info", "warning", "error" };
    (void)user;
    fprintf(stderr, "holdfast: %s: %s\n", names[level <= HF_ERROR ? level : HF_ERROR], text);
}

/* This thread is in the log hook, or in one about residents. It may be any of ours, with
 * anything locked. */
static _Thread_local bool telling;

void hf_engine_hook(bool inside)
{
    telling = inside;
}

int hf_engine_hooked(void)
{
    return telling ? hf_error(HF_EDEADLOCK, "this hook may not call the engine") : HF_OK;
}

void hf_engine_log(hf_engine *engine, hf_level level, const char *format, ...)
{
    char text[1024];
    va_list args;
    if (!engine->options.log)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    telling = true;
    engine->options.log(engine->options.user, level, text);
    telling = false;
}

int hf_engine_check(const hf_engine *engine)
{
    if (!engine)
        return hf_error(HF_EINVAL, "no engine");
    int err = hf_disk_forked(engine->disk);
    if (err)
        return err;
    if ((err = hf_engine_hooked()))
        return err;
    switch (atomic_load_explicit(&engine->phase, memory_order_acquire)) {
    case HF_STOPPED: return hf_error(HF_EUNKNOWN, "the engine stopped; see last-stop in %s",
                                     hf_disk_path(engine->disk));
    case HF_CLOSING: return hf_error(HF_ECLOSED, "%s", hf_disk_path(engine->disk));
    default: return HF_OK;
    }
}

static void run_stopped(hf_callback *callback)
{
    hf_engine *engine = (hf_engine *)(void *)((char *)callback - offsetof(hf_engine, stopped));
    engine->options.stopped(engine->options.user, engine->stopped_err);
}

void hf_engine_stop(hf_engine *engine, int err, const char *why)
{
    int phase = atomic_exchange(&engine->phase, HF_STOPPED);
    if (phase == HF_STOPPED)
        return;
    hf_disk_note_stop(engine->disk, err, why);
    hf_engine_log(engine, HF_ERROR, "the engine of %s stopped: %s (%s)",
                  hf_disk_path(engine->disk), hf_strerror(err), why);
    engine->stopped_err = err;
    if (engine->options.stopped && engine->callbacks.queue) {
        engine->stopped.run = run_stopped;
        hf_callbacks_reserve(&engine->callbacks);
        hf_callbacks_queue(&engine->callbacks, &engine->stopped);
    }
    hf_asks_stop(engine, HF_EUNKNOWN);
    if (engine->shards)
        hf_shards_wake(engine);
}

/* ---- Opening */

static int copy_options(hf_engine *engine, const hf_options *options)
{
    hf_options *o = &engine->options;
    size_t size = options ? options->size : 0;
    if (!options || size < offsetof(hf_options, shards) || size > 4096 || !options->type_size)
        return hf_error(HF_EINVAL, "options: fill them with HF_OPTIONS(.types = ...)");
    memcpy(o, options, size < sizeof *o ? size : sizeof *o);
    if (!o->types)
        return hf_error(HF_EINVAL, "options.types is missing");
    if (!o->shards) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        o->shards = cores > 0 ? (uint32_t)cores : 1;
    }
    if (o->shards > 256)
        return hf_error(HF_EINVAL, "options.shards is %u, at most 256", o->shards);
    o->body_max = o->body_max ? o->body_max : 1 << 20;
    if (o->body_max > 8 << 20)
        return hf_error(HF_EINVAL, "options.body_max is %u, at most 8 MiB", o->body_max);
    o->window = o->window ? o->window : (uint64_t)128 << 20;
    if (o->window < 64 << 10 || o->window > (uint64_t)64 << 30)
        return hf_error(HF_EINVAL, "options.window is %llu, 64 KiB to 64 GiB",
                        (unsigned long long)o->window);
    o->store_max = o->store_max ? o->store_max : (uint64_t)64 << 30;
    o->history = o->history ? o->history : 100000;
    o->priority = !o->priority ? 20 : o->priority == HF_NEVER ? 0 : o->priority;
    if (o->history == HF_NO_HISTORY) /* as many as there is room for */
        o->history--;
    if (o->store_max < o->window)
        return hf_error(HF_EINVAL, "options.store_max is smaller than the window");
    engine->shard_count = o->shards;
    return hf_types_copy(&engine->types, o->types, o->type_size);
}

static int check_targets(const hf_engine *engine)
{
    for (uint32_t i = 0; i < engine->types.count; i++) {
        const hf_type *t = &engine->types.kinds[i].is;
        const char *names[2] = { t->next, t->dead_to }, *fields[2] = { "next", "dead_to" };
        for (int n = 0; n < 2; n++)
            if (names[n] && !hf_types_find(&engine->types, names[n], strlen(names[n])))
                return hf_error(HF_EINVAL, "type \"%s\": .%s names \"%s\", which is not defined",
                                t->name, fields[n], names[n]);
    }
    return HF_OK;
}

/* A tool that changes a store has its lock for one batch at a time: worth waiting
 * for. An engine is not, and that is who answers. */
static int open_disk(hf_engine *engine, const char *path)
{
    enum { WAIT_MS = 3000 };
    hf_disk_options options = { .store_max = engine->options.store_max };
    uint64_t start = hf_clock_mono_ns();
    for (;;) {
        struct timespec pause = { 0, 5000000 };
        int fd, err = hf_disk_open(&engine->disk, path, &options);
        if (err != HF_EBUSY || hf_clock_mono_ns() - start > WAIT_MS * UINT64_C(1000000))
            return err;
        if (hf_control_connect(&fd, path) == HF_OK) {
            (void)close(fd);
            return err;
        }
        (void)nanosleep(&pause, NULL);
    }
}

/* Keys of before a restore begin otherwise; most stores have none. */
static int read_ancestors(hf_engine *engine)
{
    hf_message_key_prefix(engine->key_prefix, hf_disk_uuid(engine->disk));
    engine->ancestors = hf_mem_zero(1, sizeof *engine->ancestors);
    int err = engine->ancestors ? hf_prefixes_read(engine->ancestors, engine->disk)
                                : hf_error(HF_ENOMEM, "the keys of a store");
    if (err || !engine->ancestors->count) {
        hf_mem_free(engine->ancestors);
        engine->ancestors = NULL;
    }
    return err;
}

static int open_store(hf_engine *engine, const char *path)
{
    int err = open_disk(engine, path);
    if (err)
        return err;
    err = read_ancestors(engine);
    if (!err)
        err = hf_strikes_open(&engine->strikes, path);
    if (!err)
        hf_suspects_init(engine);
    if (!err)
        err = hf_sorter_start(&engine->sorter);
    if (err)
        return err;
    hf_log_options log = { .window = engine->options.window, .shards = engine->shard_count,
                           .readers = engine->shard_count, .past = true, .offload = hf_sorter_run,
                           .user = engine->sorter };
    log.history = hf_types_history(&engine->types, &log.history_ms)
        ? engine->options.history : HF_NO_HISTORY;
    err = hf_log_open(&engine->log, engine->disk, &log);
    if (!err)
        err = hf_replay(engine->log);
    if (!err)
        err = hf_log_start(engine->log);
    if (err)
        return err;
    hf_log_stats stats;
    hf_log_stat(engine->log, &stats);
    /* Also when space is short a batch of acknowledgements has to fit. */
    uint64_t room = engine->options.window / 4;
    room = room < 256 << 10 ? 256 << 10 : room > 8 << 20 ? 8 << 20 : room;
    engine->batch_turns = (uint32_t)(room / 1024);
    engine->batch_bytes = room / 8 < 128 << 10 ? (uint32_t)(room / 8) : 128 << 10;
    engine->seed = hf_log_seed(engine->log);
    hf_timebase_open(engine);
    engine->first_id = stats.next;
    const hf_window *w = hf_log_window(engine->log);
    if (w->count) {
        const hf_record *last = hf_window_at(w, w->count - 1);
        atomic_store(&engine->published, last->base + last->count);
    }
    atomic_store(&engine->count.waiting, stats.waiting);
    atomic_store(&engine->settled, stats.next);
    err = hf_steps_load(engine);
    if (!err)
        err = hf_pauses_load(engine);
    if (!err)
        err = hf_limits_load(engine);
    if (!err)
        err = hf_flushes_load(engine);
    return err ? err : hf_topics_load(engine);
}

static int start_threads(hf_engine *engine)
{
    int err = hf_callbacks_start(&engine->callbacks, engine->options.loop);
    if (!err)
        err = hf_shards_make(engine);
    if (!err)
        err = hf_peeks_make(engine);
    if (!err)
        err = hf_flushes_make(engine);
    if (!err)
        err = hf_pools_start(engine);
    if (!err)
        err = hf_journal_start(engine);
    if (!err)
        err = hf_limits_start(engine);
    if (!err)
        err = hf_flushes_begin(engine);
    int opening = HF_OPENING; /* or stopped already */
    atomic_compare_exchange_strong(&engine->phase, &opening, HF_LIVE);
    if (!err)
        err = hf_shards_start(engine);
    if (!err)
        err = hf_flushes_start(engine);
    if (!err)
        err = hf_loop_start(engine);
    return err;
}

static void tear_down(hf_engine *engine, bool clean)
{
    hf_loop_stop(engine);
    hf_flushes_stop(engine, clean);
    hf_shards_stop(engine); /* before the pools: they queue turns there */
    hf_pools_stop(engine);
    if (clean)
        hf_limits_close(engine);
    hf_journal_stop(engine);
    hf_asks_stop(engine, HF_ECLOSED);
    hf_peeks_stop(engine);
    hf_callbacks_stop(&engine->callbacks);
    hf_asks_free(engine);
    hf_peeks_free(engine);
    hf_sorter_stop(engine->sorter);
    hf_shards_done(engine);
    hf_flushes_done(engine);
    HF_TESTPOINT("close.threads");
    (void)hf_log_close(engine->log, clean);
    HF_TESTPOINT("close.clean");
    hf_strikes_close(&engine->strikes, true); /* the process lives on */
    hf_pauses_done(engine);
    hf_topics_done(engine);
    hf_steps_done(engine);
    hf_journal_done(&engine->journal);
    hf_shelf_done(&engine->shelf);
    hf_dedupe_done(engine);
    hf_inboxes_done(engine);
    pthread_mutex_destroy(&engine->notes_lock);
    hf_disk_close(engine->disk);
    hf_limits_done(engine);
    hf_types_done(&engine->types);
    hf_mem_free(engine->ancestors);
    hf_mem_free(engine);
}

int hf_open(hf_engine **out, const char *path, const hf_options *options)
{
    hf_error_clear();
    if (out)
        *out = NULL;
    if (!out || !path || !*path)
        return hf_error(HF_EINVAL, "hf_open needs where to put the engine, and a path");
    hf_engine *engine = hf_mem_apart(1, sizeof *engine);
    if (!engine)
        return hf_error(HF_ENOMEM, "the engine");
    engine->opened_ms = hf_clock_wall_ms();
    pthread_mutex_init(&engine->notes_lock, NULL);
    int err = hf_journal_init(&engine->journal);
    if (!err)
        err = hf_shelf_init(&engine->shelf);
    if (!err)
        err = hf_asks_make(engine);
    if (!err)
        err = hf_dedupe_init(engine);
    if (!err)
        err = hf_inboxes_init(engine);
    if (!err)
        err = copy_options(engine, options);
    if (!err)
        err = check_targets(engine);
    if (!err)
        err = open_store(engine, path);
    if (!err) {
        *out = engine;
        err = start_threads(engine);
    }
    if (err) {
        char why[512];
        bool lost = err == HF_ECORRUPT && !strstr(hf_error_detail(), "salvage");
        snprintf(why, sizeof why, "%s%s", *hf_error_detail() ? hf_error_detail() : path,
                 lost ? "; see holdfast salvage" : "");
        *out = NULL;
        int phase = atomic_load(&engine->phase);
        while (phase != HF_STOPPED
               && !atomic_compare_exchange_weak(&engine->phase, &phase, HF_CLOSING))
            ;
        tear_down(engine, false);
        /* Nothing was sent yet, so nothing of the caller's is in doubt. */
        return hf_error(err == HF_EUNKNOWN ? HF_EIO : err, "%s", why);
    }
    return HF_OK;
}

/* ---- Calls that may wait */

void hf_engine_enter(hf_engine *engine)
{
    if (engine)
        atomic_fetch_add(&engine->callers, 1);
}

void hf_engine_leave(hf_engine *engine)
{
    if (engine)
        atomic_fetch_sub(&engine->callers, 1);
}

/* ---- Draining */

/* A sum that changes whenever any part of the engine does something. */
static uint64_t activity(const hf_engine *engine)
{
    uint64_t sum = atomic_load(&engine->count.commits);
    for (uint32_t i = 0; i < engine->shard_count; i++)
        sum += atomic_load(&engine->shards[i].activity);
    return sum;
}

static bool looks_idle(hf_engine *engine)
{
    if (atomic_load(&engine->journal.inflight))
        return false;
    for (uint32_t i = 0; i < engine->shard_count; i++)
        if (!hf_shard_is_quiet(&engine->shards[i]))
            return false;
    return !atomic_load(&engine->count.running) && hf_flushes_rest(engine);
}

/* Idle means: every part was idle, and none of them stirred while we looked. */
static bool is_idle(hf_engine *engine)
{
    uint64_t before = activity(engine);
    return looks_idle(engine) && activity(engine) == before && looks_idle(engine);
}

static int drain(hf_engine *engine, uint32_t timeout_ms)
{
    uint64_t start = hf_clock_real_ns();
    hf_error_clear();
    int err = hf_engine_check(engine);
    if (!err && (hf_turn_current() || hf_callbacks_inside(&engine->callbacks) || hf_flush_inside()))
        err = hf_error(HF_EDEADLOCK, "hf_drain waits for turns; not in a turn or callback");
    uint64_t sleep_ns = 20000;
    while (!err && !is_idle(engine)) {
        struct timespec pause = { 0, (long)sleep_ns };
        if (timeout_ms != HF_NEVER
            && hf_clock_real_ns() - start > (uint64_t)timeout_ms * 1000000)
            return hf_error(HF_ETIMEDOUT, "%llu messages wait",
                            (unsigned long long)atomic_load(&engine->count.waiting));
        hf_journal_kick(engine);
        nanosleep(&pause, NULL);
        sleep_ns = sleep_ns < 2000000 ? sleep_ns * 2 : sleep_ns;
        err = hf_engine_check(engine);
    }
    return err;
}

int hf_drain(hf_engine *engine, uint32_t timeout_ms)
{
    hf_engine_enter(engine);
    int err = drain(engine, timeout_ms);
    hf_engine_leave(engine);
    return err;
}

/* ---- Closing */

/* A turn on a shard must not block, and who waits is about to be told: they have this long in
 * any case. */
enum { SHARD_TURN_MS = 1000 };

static int wait_for_turns(hf_engine *engine, uint32_t timeout_ms)
{
    uint64_t start = hf_clock_real_ns(), sleep_ns = 20000;
    for (;;) {
        uint32_t in_turns, pools = hf_pools_halt(engine);
        uint32_t shards = hf_shards_halt(engine, &in_turns);
        uint32_t callers = atomic_load(&engine->callers);
        if (!pools && !shards && !callers)
            return HF_OK;
        uint64_t waited = (hf_clock_real_ns() - start) / 1000000;
        if (timeout_ms != HF_NEVER && waited >= timeout_ms
            && (pools || ((in_turns || callers) && waited >= SHARD_TURN_MS)))
            return hf_error(HF_ETIMEDOUT, "%s", pools || in_turns ? "turns still run"
                                                : "calls of other threads have not ended");
        struct timespec pause = { 0, (long)sleep_ns };
        nanosleep(&pause, NULL);
        sleep_ns = sleep_ns < 1000000 ? sleep_ns * 2 : sleep_ns;
    }
}

int hf_close(hf_engine *engine, uint32_t timeout_ms)
{
    hf_error_clear();
    if (!engine)
        return HF_OK;
    int err = hf_disk_forked(engine->disk);
    if (!err)
        err = hf_engine_hooked();
    if (err)
        return err;
    if (hf_turn_current() || hf_callbacks_inside(&engine->callbacks) || hf_flush_inside()
        || hf_pauses_inside(engine))
        return hf_error(HF_EDEADLOCK, "hf_close waits for turns; not in a turn or callback");
    int live = HF_LIVE;
    atomic_compare_exchange_strong(&engine->phase, &live, HF_CLOSING);
    uint64_t start = hf_clock_mono_ns();
    err = wait_for_turns(engine, timeout_ms);
    if (err)
        return err;
    if (engine->flushes)
        hf_flushes_close(engine, timeout_ms == HF_NEVER ? UINT64_MAX
                                 : start + (uint64_t)timeout_ms * 1000000);
    HF_TESTPOINT("close.begun");
    tear_down(engine, atomic_load(&engine->phase) == HF_CLOSING);
    return HF_OK;
}
