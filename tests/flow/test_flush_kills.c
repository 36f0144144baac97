/* test_flush_kills.c - what a kill, or a damaged row, makes of changes that were not flushed:
 * the next run finds them, and those alone; the tool says whose they are. */
#include "tests/support/flushing.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/replay.h"
#include "storage/row.h"

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
    while (stats_of(engine).flush_failed < 4)
        usleep(1000);
    ring_ok(hf_sync(engine, 10000)); /* whatever was noted of them is on disk */
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
        assert_true(db->rows[i].there == (i < 20)
                    && db->rows[i].count == db->rows[0].count * (i < 20));
    ring_ok(hf_close(engine, 10000));
}

/* Until then the log may know better than a row. */
static void fold_all(hf_disk *disk)
{
    hf_log *log;
    ring_ok(hf_log_open(&log, disk, NULL));
    ring_ok(hf_replay(log));
    ring_ok(hf_log_start(log));
    ring_ok(hf_log_fold_all(log));
    ring_ok(hf_log_close(log, true));
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
    fold_all(disk);
    ring_ok(hf_txn_write(disk, &txn));
    ring_ok(hf_cursor_open(txn, HF_IN_STATE, &cursor));
    ring_ok(hf_cursor_first(cursor, &key, &value));
    char address[HF_ADDRESS_MAX + 1];
    uint64_t hash;
    ring_ok(hf_cursor_next(cursor, &key, &value));
    assert_true(hf_address_of_key(address, key.data, key.len, &hash) > 2);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_kill_before_the_flush_loses_nothing, clear),
        cmocka_unit_test_setup(after_a_kill_only_what_is_left_comes, clear),
        cmocka_unit_test_setup(a_tombstone_does_not_outlive_a_new_state, clear),
        cmocka_unit_test_setup(the_tool_shows_who_is_dirty, clear),
        cmocka_unit_test_setup(a_kill_after_failures_loses_nothing, clear),
        cmocka_unit_test_setup(a_kill_in_the_flush_repeats_it, clear),
        cmocka_unit_test_setup(a_damaged_state_is_passed_over, clear),
        cmocka_unit_test_setup(pools_flush_too, clear),
        cmocka_unit_test_setup(killed_at_random, clear),
    };
    return cmocka_run_group_tests(tests, make_database, ring_remove_root);
}
