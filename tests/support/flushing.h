/* flushing.h - what the tests of .flush share: a "database" in memory that outlives a killed
 * child, actors that count, and what it must hold in the end. */
#ifndef SUPPORT_FLUSHING_H
#define SUPPORT_FLUSHING_H

#include "tests/support/ring.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

enum { ACTORS = 3000 };

typedef struct row {
    _Atomic uint64_t version, count;
    atomic_bool      there;
} row;

typedef struct database {
    row             rows[ACTORS];
    atomic_int      calls, images, gone, bad, fail, slow_ms, largest;
    atomic_uint     warned;
} database;

static database  *db;
static hf_engine *live; /* the last one that was started */

static inline uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* As a database would: only what is newer than the row. What is not must be the same. */
static inline int flush(void *user, const hf_image *images, size_t count)
{
    (void)user;
    atomic_fetch_add(&db->calls, 1);
    if (atomic_load(&db->slow_ms))
        usleep((useconds_t)atomic_load(&db->slow_ms) * 1000);
    if ((int)count > atomic_load(&db->largest))
        atomic_store(&db->largest, (int)count);
    for (size_t i = 0; i < count; i++) {
        int number = atoi(strchr(images[i].actor, '/') + 1);
        row *r = &db->rows[number];
        uint64_t value = 0;
        bool there = images[i].state.data != NULL;
        for (size_t n = 0; n < i && count < 200; n++)
            if (strcmp(images[n].actor, images[i].actor) == 0)
                atomic_fetch_add(&db->bad, 1); /* twice in a call */
        if (there)
            memcpy(&value, images[i].state.data, sizeof value);
        if (images[i].version < r->version
            || (images[i].version == r->version && (value != r->count || there != r->there)))
            atomic_fetch_add(&db->bad, 1); /* older, or two contents for a version */
        atomic_fetch_add(there ? &db->images : &db->gone, 1);
        if (images[i].version < r->version)
            continue;
        r->count = value;
        r->there = there;
        r->version = images[i].version;
    }
    if (atomic_load(&db->fail) > 0) {
        atomic_fetch_sub(&db->fail, 1);
        return 7;
    }
    return HF_OK;
}

static inline int count(hf_turn *turn, const hf_message *msg)
{
    uint64_t value = 0;
    hf_bytes state = hf_state(turn);
    if (state.len == sizeof value)
        memcpy(&value, state.data, sizeof value);
    value++;
    if (strcmp(msg->kind, "forget") == 0) {
        hf_forget(turn);
        return HF_OK;
    }
    if (strcmp(msg->kind, "both") == 0)
        hf_forget(turn);
    hf_save(turn, hf_view(&value, sizeof value));
    if (strcmp(msg->kind, "twice") == 0) {
        hf_forget(turn);
        hf_forget(turn);
    }
    hf_reply(turn, hf_view(&value, sizeof value));
    return strcmp(msg->kind, "fail") == 0 ? hf_bury(turn, "as told") : HF_OK;
}

static const hf_type slow[] = { /* nothing reaches it by itself */
    { .name = "c", .handle = count, .flush = flush, .flush_ms = 600000, .strikes = HF_NEVER },
    { 0 },
};
static const hf_type fast[] = {
    { .name = "c", .handle = count, .flush = flush, .flush_ms = 20, .retry_ms = 10,
      .retry_ms_max = 40, .idle_ms = 1, .strikes = HF_NEVER },
    { 0 },
};
static const hf_type pooled[] = {
    { .name = "c", .handle = count, .flush = flush, .flush_ms = 20, .retry_ms = 10,
      .retry_ms_max = 40, .threads = 3, .strikes = HF_NEVER },
    { 0 },
};
static const hf_type now[] = {
    { .name = "c", .handle = count, .flush = flush, .flush_ms = HF_NOW, .retry_ms = 30,
      .retry_ms_max = 30 },
    { .name = "p", .handle = count, .flush = flush, .flush_ms = HF_NOW, .threads = 2,
      .retry_ms = 30, .retry_ms_max = 30 },
    { 0 },
};
static const hf_type plain[] = { { .name = "c", .handle = count }, { 0 } };

static inline void on_log(void *user, hf_level level, const char *text)
{
    (void)user;
    if (level >= HF_WARN && strstr(text, "failed"))
        atomic_fetch_add(&db->warned, 1);
}

static inline hf_engine *start(const char *name, const hf_type *types)
{
    hf_engine *engine = NULL;
    ring_ok(hf_open(&engine, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                    .window = 64 << 10, .store_max = 64 << 20, .log = on_log)));
    live = engine;
    return engine;
}

static inline void tell(hf_engine *engine, int actor, const char *kind)
{
    char to[32];
    (void)snprintf(to, sizeof to, "c/%d", actor);
    ring_ok(hf_tell(engine, to, kind, hf_str("")));
}

/* So many actors get a letter each. */
static inline void tell_all(hf_engine *engine, int from, int to, const char *kind)
{
    enum { MANY = 100 };
    hf_letter letters[MANY];
    char names[MANY][32];
    for (int at = from; at < to;) {
        int n = 0;
        for (; n < MANY && at < to; n++, at++) {
            (void)snprintf(names[n], sizeof names[n], "c/%d", at);
            letters[n] = (hf_letter){ .size = sizeof(hf_letter), .to = names[n], .kind = kind };
        }
        ring_ok(hf_mail(engine, letters, (size_t)n, NULL));
    }
}

static inline hf_stats stats_of(hf_engine *engine)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(engine, &stats));
    return stats;
}

static inline void wait_committed(hf_engine *engine, uint64_t turns)
{
    for (int i = 0; i < 20000 && stats_of(engine).committed < turns; i++) {
        (void)hf_sync(engine, 1000);
        usleep(500);
    }
    assert_true(stats_of(engine).committed >= turns);
}

static inline void expect(int from, int to, uint64_t value)
{
    assert_int_equal(atomic_load(&db->bad), 0);
    for (int i = from; i < to; i++) {
        if (db->rows[i].count != value || db->rows[i].there != (value != 0))
            print_error("c/%d: %llu (%d), not %llu\n", i, (unsigned long long)db->rows[i].count,
                        db->rows[i].there, (unsigned long long)value);
        assert_int_equal(db->rows[i].count, value);
        assert_true(db->rows[i].there == (value != 0));
    }
}

static inline int clear(void **state)
{
    (void)state;
    memset((void *)db, 0, sizeof *db);
    return 0;
}

static inline int make_database(void **state)
{
    db = ring_shared(sizeof *db);
    return ring_make_root(state);
}

#endif
