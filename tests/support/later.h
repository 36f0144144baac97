/* later.h - what test_delays.c and test_alarms.c share: actors that do what the kind of a
 * message says, and note what came in which order. */
#ifndef SUPPORT_LATER_H
#define SUPPORT_LATER_H

#include "tests/support/ring.h"

#include "engine/alarms.h"
#include "engine/engine.h"
#include "recovery/holdfast_recovery.h"
#include "storage/clock.h"

#include <pthread.h>
#include <string.h>

#define BODY(text) hf_str(text)

static atomic_int turns, failures, notes, go;
static atomic_long early; /* messages that came before their time */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char order[4096];
static _Atomic uint64_t last_id, last_due;
static _Atomic int last_cause;

/* The wall clock of these tests: the system's, and what they set it by. */
static _Atomic int64_t set_by;

static inline uint64_t wall(void *user)
{
    struct timespec now;
    (void)user;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + atomic_load(&set_by));
}

static inline uint64_t mono(void *user)
{
    struct timespec now;
    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t now_ms(void)
{
    return wall(NULL);
}

static inline void forget_all(void)
{
    atomic_store(&turns, 0);
    atomic_store(&failures, 0);
    atomic_store(&notes, 0);
    atomic_store(&go, 0);
    atomic_store(&early, 0);
    order[0] = 0;
}

static inline void write_down(const char *word)
{
    pthread_mutex_lock(&lock);
    if (strlen(order) + strlen(word) + 2 < sizeof order)
        strcat(strcat(order, word), " ");
    pthread_mutex_unlock(&lock);
}

static inline bool says(const hf_message *msg, const char *kind)
{
    return strcmp(msg->kind, kind) == 0;
}

/* What to do stands in the kind; the rest is noted. */
static inline int work(hf_turn *turn, const hf_message *msg)
{
    char name[200];
    (void)snprintf(name, sizeof name, HF_FMT, (int)(msg->body.len < 190 ? msg->body.len : 190),
                   msg->body.len ? (const char *)msg->body.data : "");
    last_id = msg->id;
    last_due = msg->due;
    last_cause = (int)msg->cause;
    if (msg->due && now_ms() < msg->due)
        atomic_fetch_add(&early, 1);
    if (says(msg, "filler"))
        return HF_OK;
    write_down(msg->kind);
    atomic_fetch_add(&turns, 1);
    if (says(msg, "set"))
        hf_set_alarm(turn, name, 100, BODY(name));
    else if (says(msg, "set-soon"))
        hf_set_alarm(turn, name, 700, BODY(name));
    else if (says(msg, "set-now"))
        hf_set_alarm(turn, name, 0, BODY("now"));
    else if (says(msg, "set-late"))
        hf_set_alarm(turn, name, 100000, BODY("late"));
    else if (says(msg, "set-long"))
        hf_set_alarm(turn, name, UINT64_MAX, BODY("never"));
    else if (says(msg, "set-at"))
        hf_set_alarm_at(turn, "at", strtoull(name, NULL, 10), BODY(""));
    else if (says(msg, "cancel"))
        hf_cancel_alarm(turn, name);
    else if (says(msg, "forget"))
        hf_forget(turn);
    else if (says(msg, "set-forget"))
        hf_set_alarm(turn, name, 50, BODY("")), hf_forget(turn);
    else if (says(msg, "forget-set"))
        hf_forget(turn), hf_set_alarm(turn, name, 50, BODY(""));
    else if (says(msg, "set-cancel"))
        hf_set_alarm(turn, name, 50, BODY("")), hf_cancel_alarm(turn, name);
    else if (says(msg, "no-name"))
        hf_set_alarm(turn, NULL, 1, BODY(""));
    else if (says(msg, "odd-name"))
        hf_cancel_alarm(turn, "\x01x");
    else if (says(msg, "long-name"))
        hf_set_alarm(turn, "0123456789012345678901234567890123456789012345678901234567890123456789"
                     "01234567890123456789012345678901234567890123456789012345678901", 1, BODY(""));
    else if (says(msg, "large"))
        hf_set_alarm(turn, "large", 1, hf_view(order, (2 << 20)));
    else if (says(msg, "again") && atomic_fetch_add(&notes, 1) < 4)
        hf_set_alarm(turn, "again", 10, BODY(""));
    else if (says(msg, "fails-once") && msg->attempt == 1)
        return hf_set_alarm(turn, "fails-once", 1, BODY("")), hf_fail(turn, 7, "once");
    else if (says(msg, "dies"))
        return atomic_load(&go) ? HF_OK : hf_bury(turn, "dies");
    else if (says(msg, "hold"))
        while (!atomic_load(&go))
            usleep(500);
    return HF_OK;
}

static inline void failed(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&failures, 1);
}

static inline int note(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    write_down(msg->kind);
    atomic_fetch_add(&notes, 1);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "shop", .handle = work, .failed = failed, .dead_to = "note/dead", .tries = 3,
      .retry_ms = 1 },
    { .name = "pool", .handle = work, .failed = failed, .dead_to = "note/dead", .tries = 3,
      .retry_ms = 1, .threads = 2 },
    { .name = "note", .handle = note },
    { 0 },
};

static inline hf_engine *open_small(const char *name, uint32_t shards)
{
    hf_engine *engine = NULL;
    ring_ok(hf_open(&engine, ring_path(name), HF_OPTIONS(.types = types, .shards = shards,
                    .window = 64 << 10, .store_max = 256 << 20)));
    return engine;
}

static inline hf_stats stats_of(hf_engine *engine)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(engine, &stats));
    return stats;
}

/* The count is about right at any time, and right once all rests. */
static inline void wait_for_alarms(hf_engine *engine, uint64_t wanted)
{
    for (int i = 0; i < 5000 && stats_of(engine).alarms != wanted; i++)
        usleep(1000);
    assert_int_equal(stats_of(engine).alarms, wanted);
}

/* So much passes through the log that everything before it is folded. */
static inline void fold_all(hf_engine *engine)
{
    static char bytes[4000];
    uint64_t next = atomic_load(&engine->published);
    for (int i = 0; i < 4000 && hf_log_folded(engine->log) < next; i++) {
        ring_ok(hf_tell(engine, "shop/filler", "filler", hf_view(bytes, sizeof bytes)));
        if (i % 50 == 49)
            usleep(2000);
    }
    assert_true(hf_log_folded(engine->log) >= next);
}

static inline void wait_for(int wanted)
{
    ring_until(&turns, wanted);
    usleep(30000);
    assert_int_equal(atomic_load(&turns), wanted);
}

#endif
