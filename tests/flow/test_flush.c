/* test_flush.c - states are kept elsewhere, too: what reaches .flush, when, and what a
 * kill, a failure, a forgotten actor or a closed engine makes of it.
 *
 * The "database" lies in memory that outlives a killed child. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"
#include "storage/row.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
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

static database *db;
static hf_engine *live; /* for calls that flush must refuse */
static atomic_int refused;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* As a database would: only what is newer than the row. What is not must be the same. */
static int flush(void *user, const hf_image *images, size_t count)
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

static int refuses(void *user, const hf_image *images, size_t count)
{
    if (hf_drain(live, 10) == HF_EDEADLOCK && hf_close(live, 10) == HF_EDEADLOCK
        && hf_pause(live, NULL, NULL, NULL) == HF_EDEADLOCK)
        atomic_store(&refused, 1);
    return flush(user, images, count);
}

static int count(hf_turn *turn, const hf_message *msg)
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

static void on_log(void *user, hf_level level, const char *text)
{
    (void)user;
    if (level >= HF_WARN && strstr(text, "failed"))
        atomic_fetch_add(&db->warned, 1);
}

static hf_engine *start(const char *name, const hf_type *types)
{
    hf_engine *engine = NULL;
    ring_ok(hf_open(&engine, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                    .window = 64 << 10, .store_max = 64 << 20, .log = on_log)));
    live = engine;
    return engine;
}

static void tell(hf_engine *engine, int actor, const char *kind)
{
    char to[32];
    (void)snprintf(to, sizeof to, "c/%d", actor);
    ring_ok(hf_tell(engine, to, kind, hf_str("")));
}

/* So many actors get a letter each. */
static void tell_all(hf_engine *engine, int from, int to, const char *kind)
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

static hf_stats stats_of(hf_engine *engine)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(engine, &stats));
    return stats;
}

static void wait_committed(hf_engine *engine, uint64_t turns)
{
    for (int i = 0; i < 20000 && stats_of(engine).committed < turns; i++) {
        (void)hf_sync(engine, 1000);
        usleep(500);
    }
    assert_true(stats_of(engine).committed >= turns);
}

static void expect(int from, int to, uint64_t value)
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

static int clear(void **state)
{
    (void)state;
    memset((void *)db, 0, sizeof *db);
    return 0;
}

/* ---- */

static void many_changes_are_few_images(void **state)
{
    (void)state;
    hf_engine *engine = start("few", slow);
    for (int i = 0; i < 20; i++)
        tell_all(engine, 0, 50, "");
    wait_committed(engine, 1000);
    assert_int_equal(atomic_load(&db->calls), 0);
    assert_int_equal(stats_of(engine).dirty, 50);
    ring_ok(hf_drain(engine, 20000));
    expect(0, 50, 20);
    hf_stats stats = stats_of(engine);
    assert_int_equal(stats.dirty, 0);
    assert_int_equal(stats.flushed, 50);
    assert_int_equal(atomic_load(&db->largest), 50);
    ring_ok(hf_close(engine, 10000));
}

static void a_change_waits_for_flush_ms(void **state)
{
    (void)state;
    static const hf_type types[] = {
        { .name = "c", .handle = count, .flush = flush, .flush_ms = 400 }, { 0 } };
    hf_engine *engine = start("wait", types);
    usleep(50000); /* what an earlier run left was looked for */
    uint64_t began = now_ms();
    tell(engine, 1, "");
    ring_until(&db->images, 1);
    assert_in_range(now_ms() - began, 300, 9000);
    tell(engine, 1, "");
    wait_committed(engine, 2);
    ring_ok(hf_close(engine, 10000)); /* does not wait for it */
    expect(1, 2, 2);
}

static void what_fails_comes_again(void **state)
{
    (void)state;
    hf_engine *engine = start("again", fast);
    atomic_store(&db->fail, 3);
    tell_all(engine, 0, 10, "");
    for (int i = 0; i < 2000 && atomic_load(&db->calls) < 2; i++)
        usleep(1000);
    tell_all(engine, 5, 15, "");
    ring_ok(hf_drain(engine, 20000));
    expect(0, 5, 1);
    expect(5, 10, 2);
    expect(10, 15, 1);
    assert_int_equal(stats_of(engine).flush_failed, 3);
    assert_int_equal(atomic_load(&db->warned), 1);
    ring_ok(hf_close(engine, 10000));
}

static void the_forgotten_are_told(void **state)
{
    (void)state;
    hf_engine *engine = start("forget", fast);
    tell_all(engine, 0, 20, "");
    ring_ok(hf_drain(engine, 20000));
    tell_all(engine, 0, 10, "forget");
    tell_all(engine, 10, 15, "both");
    tell_all(engine, 15, 20, "twice");
    ring_ok(hf_drain(engine, 20000));
    expect(0, 10, 0);
    expect(10, 15, 2);
    expect(15, 20, 0);
    assert_int_equal(atomic_load(&db->gone), 15);
    tell_all(engine, 0, 5, "");
    ring_ok(hf_drain(engine, 20000));
    expect(0, 5, 1);
    ring_ok(hf_close(engine, 10000));
    int before = atomic_load(&db->gone);
    engine = start("forget", fast);
    ring_ok(hf_drain(engine, 20000));
    assert_int_equal(atomic_load(&db->gone), before); /* that is over */
    ring_ok(hf_close(engine, 10000));
}

static void failed_turns_change_nothing(void **state)
{
    (void)state;
    hf_engine *engine = start("failed", fast);
    tell(engine, 1, "");
    tell(engine, 1, "fail");
    ring_ok(hf_drain(engine, 20000));
    expect(1, 2, 1);
    ring_ok(hf_close(engine, 10000));
}

/* The child dies when all its turns are committed. */
static void die_after(const char *name, const hf_type *types, void (*life)(hf_engine *), int turns)
{
    pid_t pid = fork();
    if (!pid) {
        hf_engine *engine = start(name, types);
        life(engine);
        wait_committed(engine, (uint64_t)turns);
        (void)kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void changes_life(hf_engine *engine)
{
    tell_all(engine, 0, 2000, "");
    tell_all(engine, 0, 100, "");
    tell_all(engine, 50, 60, "forget");
    tell_all(engine, 2000, 2010, "");
    tell_all(engine, 2000, 2005, "twice");
}

static void a_kill_before_the_flush_loses_nothing(void **state)
{
    (void)state;
    die_after("kill", slow, changes_life, 2125);
    assert_int_equal(atomic_load(&db->images), 0);
    hf_engine *engine = start("kill", fast);
    ring_ok(hf_drain(engine, 60000));
    expect(0, 50, 2);
    expect(50, 60, 0);
    expect(60, 100, 2);
    expect(100, 2000, 1);
    expect(2000, 2005, 0);
    expect(2005, 2010, 1);
    assert_int_equal(atomic_load(&db->gone), 15);
    assert_int_equal(stats_of(engine).dirty, 0);
    ring_ok(hf_close(engine, 10000));
}

static void more_life(hf_engine *engine)
{
    tell_all(engine, 0, 20, "");
    tell_all(engine, 20, 25, "forget");
}

static void after_a_kill_only_what_is_left_comes(void **state)
{
    (void)state;
    hf_engine *engine = start("left", slow);
    tell_all(engine, 0, 1000, "");
    ring_ok(hf_drain(engine, 60000));
    ring_ok(hf_close(engine, 10000));
    assert_int_equal(atomic_load(&db->images), 1000);
    die_after("left", slow, more_life, 25);
    for (int run = 0; run < 2; run++) {
        engine = start("left", slow);
        ring_ok(hf_drain(engine, 60000));
        expect(0, 20, 2);
        expect(20, 25, 0);
        expect(25, 1000, 1);
        assert_int_equal(atomic_load(&db->images), 1020); /* and none in the second run */
        assert_int_equal(atomic_load(&db->gone), 5);
        ring_ok(hf_close(engine, 10000));
    }
}

static int find_dirty(void *user, hf_bytes answer)
{
    const uint8_t *at = memmem(answer.data, answer.len, "dirty", 5);
    *(int *)user = !at ? -1 : at[5] == 0xc3;
    return HF_OK;
}

/* As `holdfast actor` sees it: 1 dirty, 0 not, -1 its type flushes nothing. */
static int shown_dirty(const char *name, const char *actor)
{
    uint8_t args[64] = { 0x81, 0xa5, 'a', 'c', 't', 'o', 'r' };
    hf_store *store;
    int dirty = -2;
    args[7] = (uint8_t)(0xa0 | strlen(actor));
    memcpy(args + 8, actor, strlen(actor));
    ring_ok(hf_store_open(&store, ring_path(name), 0));
    ring_ok(hf_query(store, "actor", hf_view(args, 8 + strlen(actor)), find_dirty, &dirty));
    hf_store_close(store);
    return dirty;
}

static void the_tool_shows_who_is_dirty(void **state)
{
    (void)state;
    die_after("shown", slow, more_life, 25);
    assert_int_equal(shown_dirty("shown", "c/1"), 1);
    hf_engine *engine = start("shown", slow);
    ring_ok(hf_drain(engine, 20000));
    ring_ok(hf_close(engine, 10000));
    assert_int_equal(shown_dirty("shown", "c/1"), 0);
    engine = start("tellsnot", plain);
    tell(engine, 1, "");
    ring_ok(hf_drain(engine, 20000));
    ring_ok(hf_close(engine, 10000));
    assert_int_equal(shown_dirty("tellsnot", "c/1"), -1);
}

static void failing_life(hf_engine *engine)
{
    tell_all(engine, 0, 100, "");
    tell_all(engine, 90, 100, "forget");
    while (stats_of(engine).flush_failed < 3)
        usleep(1000);
}

static void a_kill_after_failures_loses_nothing(void **state)
{
    (void)state;
    atomic_store(&db->fail, 1 << 20);
    die_after("failures", fast, failing_life, 110);
    (void)clear(NULL); /* calls that failed did nothing */
    hf_engine *engine = start("failures", fast);
    ring_ok(hf_drain(engine, 60000));
    expect(0, 90, 1);
    assert_int_equal(atomic_load(&db->gone), 10);
    ring_ok(hf_close(engine, 10000));
}

static int dies(void *user, const hf_image *images, size_t n)
{
    (void)flush(user, images, n);
    return kill(getpid(), SIGKILL);
}

/* It has written and nobody knows: the same images come again, and are the same. */
static void a_kill_in_the_flush_repeats_it(void **state)
{
    (void)state;
    static const hf_type types[] = {
        { .name = "c", .handle = count, .flush = dies, .flush_ms = 20, .strikes = HF_NEVER },
        { 0 },
    };
    for (int run = 0; run < 3; run++)
        die_after("inside", types, more_life, 1 << 20);
    hf_engine *engine = start("inside", fast);
    ring_ok(hf_drain(engine, 60000));
    assert_int_equal(atomic_load(&db->bad), 0);
    for (int i = 1; i < 25; i++)
        assert_true(db->rows[i].there == (i < 20) && db->rows[i].count == db->rows[0].count * (i < 20));
    ring_ok(hf_close(engine, 10000));
}

/* A row of the table says what nobody saved: it is not flushed, all others are. */
static int damage_one(const char *name)
{
    hf_disk *disk;
    hf_txn *txn;
    hf_bytes key, value;
    hf_cursor *cursor;
    int number = 0;
    ring_ok(hf_disk_open(&disk, ring_path(name), &(hf_disk_options){ .store_max = 64 << 20 }));
    ring_ok(hf_txn_write(disk, &txn));
    ring_ok(hf_cursor_open(txn, HF_IN_STATE, &cursor));
    ring_ok(hf_cursor_first(cursor, &key, &value));
    char address[HF_ADDRESS_MAX + 1];
    uint64_t hash;
    do { /* one of the first: of the last the log's window may know better */
        ring_ok(hf_cursor_next(cursor, &key, &value));
        assert_true(hf_address_of_key(address, key.data, key.len, &hash) > 2);
    } while (atoi(address + 2) >= 1000);
    hf_key copy = { .len = key.len };
    uint8_t bytes[64] = { 0 };
    memcpy(copy.bytes, key.data, key.len);
    assert_true(value.len <= sizeof bytes);
    memcpy(bytes, value.data, value.len);
    bytes[10] ^= 1;
    number = atoi(address + 2);
    hf_cursor_close(cursor);
    ring_ok(hf_txn_put(txn, HF_IN_STATE, hf_key_bytes(&copy), hf_view(bytes, value.len)));
    ring_ok(hf_txn_commit(txn));
    hf_disk_close(disk);
    return number;
}

static void a_damaged_state_is_passed_over(void **state)
{
    (void)state;
    hf_engine *engine = start("damage", plain);
    for (int i = 0; i < 4; i++)
        tell_all(engine, 0, ACTORS, "");
    ring_ok(hf_drain(engine, 60000));
    ring_ok(hf_close(engine, 10000));
    int number = damage_one("damage");
    for (int run = 0; run < 2; run++) { /* what could not be flushed is looked at again */
        int before = atomic_load(&db->images);
        engine = start("damage", slow);
        ring_ok(hf_drain(engine, 60000));
        expect(0, number, 4);
        expect(number, number + 1, 0);
        expect(number + 1, ACTORS, 4);
        assert_int_equal(atomic_load(&db->images) - before, ACTORS - 1);
        ring_ok(hf_close(engine, 10000));
    }
}

static void forgotten_life(hf_engine *engine)
{
    tell_all(engine, 0, 10, "");
    (void)hf_sync(engine, 1000);
}

/* Forgotten before the kill, saved again by the next run before it looked. */
static void a_tombstone_does_not_outlive_a_new_state(void **state)
{
    (void)state;
    die_after("tomb", slow, more_life, 25);
    atomic_store(&db->fail, 2);
    hf_engine *engine = start("tomb", fast);
    tell_all(engine, 20, 22, "");
    ring_ok(hf_drain(engine, 60000));
    expect(0, 20, 1);
    expect(20, 22, 1);
    expect(22, 25, 0);
    ring_ok(hf_close(engine, 10000));
    die_after("tomb", slow, forgotten_life, 10);
    engine = start("tomb", fast);
    ring_ok(hf_drain(engine, 60000));
    expect(0, 10, 2);
    expect(10, 22, 1);
    expect(22, 25, 0);
    ring_ok(hf_close(engine, 10000));
}

static void a_type_that_begins_to_flush_hands_over_all(void **state)
{
    (void)state;
    hf_engine *engine = start("first", plain);
    tell_all(engine, 0, ACTORS, "");
    ring_ok(hf_drain(engine, 60000));
    ring_ok(hf_close(engine, 10000));
    assert_int_equal(atomic_load(&db->calls), 0);
    engine = start("first", slow);
    ring_ok(hf_drain(engine, 60000));
    expect(0, ACTORS, 1);
    ring_ok(hf_close(engine, 10000));
    engine = start("first", plain); /* a pause in which it does not flush */
    tell_all(engine, 7, 9, "");
    ring_ok(hf_drain(engine, 60000));
    ring_ok(hf_close(engine, 10000));
    expect(0, ACTORS, 1);
    engine = start("first", slow);
    ring_ok(hf_drain(engine, 60000));
    expect(7, 9, 2);
    assert_int_equal(atomic_load(&db->images), ACTORS + 2);
    ring_ok(hf_close(engine, 10000));
}

static void close_flushes_or_leaves_it(void **state)
{
    (void)state;
    hf_engine *engine = start("close", slow);
    tell_all(engine, 0, 100, "");
    wait_committed(engine, 100);
    ring_ok(hf_close(engine, 30000));
    expect(0, 100, 1);
    engine = start("close", slow);
    atomic_store(&db->fail, 1 << 20);
    tell_all(engine, 0, 100, "");
    wait_committed(engine, 100);
    uint64_t began = now_ms();
    ring_ok(hf_close(engine, 300));
    assert_in_range(now_ms() - began, 250, 30000);
    atomic_store(&db->fail, 0);
    memset((void *)db->rows, 0, sizeof db->rows); /* the calls that failed did nothing */
    engine = start("close", slow);
    ring_ok(hf_drain(engine, 30000));
    expect(0, 100, 2);
    ring_ok(hf_close(engine, 10000));
}

/* No room for anything that is sent: what was changed is handed over all the same, and if
 * that fails the engine is closed when its time is over. */
static void close_flushes_a_full_store(void **state)
{
    static const hf_type full[] = {
        { .name = "c", .handle = count, .flush = flush, .flush_ms = 600000, .strikes = HF_NEVER },
        { .name = "hoard", .handle = count },
        { 0 },
    };
    static char large[20000];
    hf_letter letter = { .size = sizeof letter, .to = "hoard/1",
                         .body = hf_view(large, sizeof large) };
    (void)state;
    for (uint64_t round = 1; round <= 3; round++) {
        hf_engine *engine = start("full", full);
        int err = HF_OK;
        ring_ok(hf_pause(engine, "hoard", NULL, NULL));
        atomic_store(&db->fail, round == 2 ? 1 << 20 : 0);
        if (round < 3)
            tell_all(engine, 0, 100, "");
        for (int i = 0; i < 10000 && stats_of(engine).dirty < (round < 3 ? 100 : 0); i++)
            usleep(1000);
        for (int i = 0; i < 100000 && err != HF_EFULL; i++)
            err = hf_mail(engine, &letter, 1, NULL);
        assert_int_equal(err, HF_EFULL);
        uint64_t began = now_ms();
        ring_ok(hf_close(engine, round == 2 ? 500 : 30000));
        assert_true(now_ms() - began < 30000);
        if (round == 2)
            memset((void *)db->rows, 0, sizeof db->rows); /* the calls that failed did nothing */
        else
            expect(0, 100, round == 1 ? 1 : 2);
    }
}

/* ---- HF_NOW */

static atomic_int answered, early;

static void on_answer(void *user, int err, hf_bytes answer)
{
    uint64_t value;
    int number = *(int *)user;
    memcpy(&value, answer.data, sizeof value);
    if (err || db->rows[number].count < value)
        atomic_fetch_add(&early, 1);
    atomic_fetch_add(&answered, 1);
}

static void replies_wait_for_the_row(void **state)
{
    (void)state;
    static int numbers[] = { 1, 2 };
    hf_engine *engine = start("now", now);
    atomic_store(&answered, 0);
    ring_ok(hf_drain(engine, 10000));
    for (int i = 0; i < 200; i++) {
        const char *to = i & 1 ? "p/2" : "c/1";
        if (i == 100)
            atomic_store(&db->slow_ms, 3);
        ring_ok(hf_ask(engine, HF_LETTER(.to = to), 20000, on_answer, &numbers[i & 1]));
        if (i % 10 == 9)
            ring_until(&answered, i + 1);
    }
    ring_until(&answered, 200);
    assert_int_equal(atomic_load(&early), 0);
    expect(1, 3, 100);
    atomic_store(&db->slow_ms, 0);
    ring_ok(hf_close(engine, 10000));
}

static void no_reply_while_the_row_fails(void **state)
{
    (void)state;
    static int number = 1;
    hf_engine *engine = start("nowfail", now);
    atomic_store(&answered, 0);
    ring_ok(hf_drain(engine, 10000));
    atomic_store(&db->fail, 1 << 20);
    ring_ok(hf_ask(engine, HF_LETTER(.to = "c/1"), 20000, on_answer, &number));
    for (int i = 0; i < 5000 && stats_of(engine).flush_failed < 3; i++)
        usleep(1000);
    assert_true(stats_of(engine).flush_failed >= 3);
    assert_int_equal(atomic_load(&answered), 0);
    atomic_store(&db->fail, 0);
    ring_until(&answered, 1);
    ring_ok(hf_close(engine, 10000));
}

/* Who asks again under the same word waits for the row as the first one does. */
static void no_second_reply_either(void **state)
{
    (void)state;
    static int number = 1;
    hf_engine *engine = start("nowtwice", now);
    atomic_store(&answered, 0);
    atomic_store(&early, 0);
    ring_ok(hf_drain(engine, 10000));
    atomic_store(&db->fail, 1 << 20);
    uint64_t failed = stats_of(engine).flush_failed;
    for (int i = 1; i < 4; i++) {
        ring_ok(hf_ask(engine, HF_LETTER(.to = "c/1", .dedupe = "once"), 20000, on_answer, &number));
        for (int n = 0; n < 10000 && stats_of(engine).flush_failed < failed + (uint64_t)i * 3; n++)
            usleep(1000);
        assert_int_equal(atomic_load(&answered), 0);
    }
    atomic_store(&db->fail, 0);
    ring_until(&answered, 3);
    /* And long afterwards. */
    ring_ok(hf_ask(engine, HF_LETTER(.to = "c/1", .dedupe = "once"), 20000, on_answer, &number));
    ring_until(&answered, 4);
    assert_int_equal(atomic_load(&early), 0);
    expect(1, 2, 1);
    ring_ok(hf_close(engine, 10000));
}

/* ---- More of it at once */

static void pools_flush_too(void **state)
{
    (void)state;
    die_after("pool", pooled, changes_life, 2125);
    hf_engine *engine = start("pool", pooled);
    for (int i = 0; i < 10; i++)
        tell_all(engine, 100, 150, "");
    ring_ok(hf_drain(engine, 60000));
    expect(0, 50, 2);
    expect(50, 60, 0);
    expect(60, 100, 2);
    expect(100, 150, 11);
    expect(150, 2000, 1);
    expect(2000, 2005, 0);
    expect(2005, 2010, 1);
    ring_ok(hf_close(engine, 10000));
}

/* Hot actors, a slow database that fails now and then, actors that leave memory. */
static void versions_only_grow(void **state)
{
    (void)state;
    hf_engine *engine = start("grow", fast);
    atomic_store(&db->slow_ms, 5);
    for (int i = 0; i < 60; i++) {
        if (i % 10 == 0)
            atomic_store(&db->fail, 1);
        tell_all(engine, i * 20, i * 20 + 40, "");
        for (int n = 0; n < 5; n++)
            tell_all(engine, 2900, 2950, "");
        tell_all(engine, 2950, 2960, i & 1 ? "forget" : "");
    }
    ring_ok(hf_drain(engine, 60000));
    expect(0, 20, 1);
    expect(20, 1200, 2);
    expect(1200, 1220, 1);
    expect(2900, 2950, 300);
    expect(2950, 2960, 0);
    atomic_store(&db->slow_ms, 0);
    ring_ok(hf_close(engine, 10000));
}

static void random_life(hf_engine *engine, unsigned seed)
{
    for (int i = 0; i < 2000; i++) {
        int at = rand_r(&seed) % (ACTORS - 20);
        tell_all(engine, at, at + rand_r(&seed) % 20, rand_r(&seed) % 8 ? "" : "forget");
    }
}

static uint64_t peeked[ACTORS];
static atomic_int peeks;

static void on_peek(void *user, int err, hf_bytes state)
{
    uint64_t *to = user;
    *to = 0;
    if (!err && state.len == sizeof *to)
        memcpy(to, state.data, sizeof *to);
    atomic_fetch_add(&peeks, 1);
}

/* Killed anywhere, again and again: at the end each row is as its actor's state. */
static void killed_at_random(void **state)
{
    (void)state;
    for (unsigned run = 0; run < 8; run++) {
        pid_t pid = fork();
        if (!pid) {
            random_life(start("random", run & 1 ? pooled : fast), run + 1);
            _exit(0);
        }
        usleep(100000 + (run * 7919 % 13) * 30000);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    hf_engine *engine = start("random", fast);
    ring_ok(hf_drain(engine, 60000));
    atomic_store(&peeks, 0);
    for (int i = 0; i < ACTORS; i++) {
        char to[32];
        (void)snprintf(to, sizeof to, "c/%d", i);
        ring_ok(hf_peek(engine, to, on_peek, &peeked[i]));
    }
    ring_until(&peeks, ACTORS);
    for (int i = 0; i < ACTORS; i++)
        expect(i, i + 1, peeked[i]);
    ring_ok(hf_close(engine, 10000));
}

/* ---- Refused */

static void bad_types_are_refused(void **state)
{
    (void)state;
    static const hf_type workers[] = {
        { .name = "c", .handle = count, .flush = flush, .threads = 2, .workers = 2 }, { 0 } };
    static const hf_type never[] = {
        { .name = "c", .handle = count, .flush = flush, .flush_ms = HF_NEVER }, { 0 } };
    hf_engine *engine;
    ring_err(hf_open(&engine, ring_path("bad"), HF_OPTIONS(.types = workers)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), ".workers"));
    ring_err(hf_open(&engine, ring_path("bad"), HF_OPTIONS(.types = never)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), ".flush_ms"));
}

static void a_flush_may_not_wait_for_itself(void **state)
{
    (void)state;
    static const hf_type types[] = {
        { .name = "c", .handle = count, .flush = refuses, .flush_ms = 1 }, { 0 } };
    hf_engine *engine = start("refuse", types);
    tell(engine, 1, "");
    ring_until(&refused, 1);
    ring_ok(hf_close(engine, 10000));
}

static void paused_types_are_flushed(void **state)
{
    (void)state;
    hf_engine *engine = start("paused", slow);
    tell(engine, 1, "");
    wait_committed(engine, 1);
    ring_ok(hf_pause(engine, "c", NULL, NULL));
    ring_ok(hf_drain(engine, 20000));
    expect(1, 2, 1);
    ring_ok(hf_close(engine, 10000));
}

int main(void)
{
    db = mmap(NULL, sizeof *db, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (db == MAP_FAILED)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(many_changes_are_few_images, clear),
        cmocka_unit_test_setup(a_change_waits_for_flush_ms, clear),
        cmocka_unit_test_setup(what_fails_comes_again, clear),
        cmocka_unit_test_setup(the_forgotten_are_told, clear),
        cmocka_unit_test_setup(failed_turns_change_nothing, clear),
        cmocka_unit_test_setup(a_kill_before_the_flush_loses_nothing, clear),
        cmocka_unit_test_setup(after_a_kill_only_what_is_left_comes, clear),
        cmocka_unit_test_setup(a_tombstone_does_not_outlive_a_new_state, clear),
        cmocka_unit_test_setup(the_tool_shows_who_is_dirty, clear),
        cmocka_unit_test_setup(a_kill_after_failures_loses_nothing, clear),
        cmocka_unit_test_setup(a_kill_in_the_flush_repeats_it, clear),
        cmocka_unit_test_setup(a_damaged_state_is_passed_over, clear),
        cmocka_unit_test_setup(a_type_that_begins_to_flush_hands_over_all, clear),
        cmocka_unit_test_setup(close_flushes_or_leaves_it, clear),
        cmocka_unit_test_setup(close_flushes_a_full_store, clear),
        cmocka_unit_test_setup(replies_wait_for_the_row, clear),
        cmocka_unit_test_setup(no_reply_while_the_row_fails, clear),
        cmocka_unit_test_setup(no_second_reply_either, clear),
        cmocka_unit_test_setup(pools_flush_too, clear),
        cmocka_unit_test_setup(versions_only_grow, clear),
        cmocka_unit_test_setup(killed_at_random, clear),
        cmocka_unit_test_setup(bad_types_are_refused, clear),
        cmocka_unit_test_setup(a_flush_may_not_wait_for_itself, clear),
        cmocka_unit_test_setup(paused_types_are_flushed, clear),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
