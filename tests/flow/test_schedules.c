/* test_schedules.c - what comes round comes when it should: once a tick, through failures,
 * reopened stores, clocks that are set and hours that are skipped. */
#include "tests/support/calendar.h"
#include "tests/support/ring.h"

#include "storage/clock.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#define MINUTE INT64_C(60000)
#define DAY    (24 * HOUR)

typedef struct seen_tick {
    char     kind[20], body[20];
    uint64_t due;
    uint32_t missed;
} seen_tick;

enum { TICKS = 4096 };
static pthread_mutex_t  lock = PTHREAD_MUTEX_INITIALIZER;
static seen_tick        ticks[TICKS];
static atomic_int       count, early, odd, deaths;
static _Atomic uint64_t next_due;

static void note_tick(const hf_message *msg)
{
    pthread_mutex_lock(&lock);
    int at = atomic_load(&count);
    if (at < TICKS) {
        seen_tick *t = &ticks[at];
        (void)snprintf(t->kind, sizeof t->kind, "%s", msg->kind);
        (void)snprintf(t->body, sizeof t->body, HF_FMT, HF_ARG(msg->body));
        t->due = msg->due;
        t->missed = msg->missed;
        atomic_fetch_add(&early, wall(NULL) < msg->due);
        atomic_fetch_add(&count, 1);
    }
    pthread_mutex_unlock(&lock);
}

static int kinds_seen(const char *kind)
{
    int seen = 0;
    for (int i = 0; i < atomic_load(&count); i++)
        seen += strcmp(ticks[i].kind, kind) == 0;
    return seen;
}

/* "name|schedule|missed": defined; without a schedule: ended. */
static void define(hf_turn *turn, const hf_message *msg)
{
    char text[300], *rest = text, *name, *words, *missed;
    (void)snprintf(text, sizeof text, HF_FMT, HF_ARG(msg->body));
    name = strsep(&rest, "|");
    words = strsep(&rest, "|");
    missed = strsep(&rest, "|");
    hf_every(turn, name, words && *words ? words : NULL, missed ? (uint32_t)atoi(missed) : 1,
             hf_str(name));
    next_due = hf_next_due(turn, name);
}

static int handle(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "define") == 0) {
        define(turn, msg);
    } else if (strcmp(msg->kind, "forget") == 0) {
        hf_forget(turn);
    } else if (strcmp(msg->kind, "next") == 0) {
        char name[30];
        (void)snprintf(name, sizeof name, HF_FMT, HF_ARG(msg->body));
        next_due = hf_next_due(turn, name);
    } else {
        atomic_fetch_add(&odd, msg->cause != HF_ALARM || *msg->from || !msg->due);
        if (msg->attempt == 1)
            note_tick(msg);
        if (strcmp(msg->kind, "fails") == 0)
            return hf_fail(turn, 3, "always");
    }
    return HF_OK;
}

static int bury(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&deaths, 1);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "clock", .handle = handle, .tries = 2, .retry_ms = 1, .dead_to = "grave/all" },
    { .name = "pool", .handle = handle, .tries = 2, .retry_ms = 1, .threads = 2 },
    { .name = "crew", .handle = handle, .tries = 1, .threads = 2, .workers = 2,
      .dead_to = "grave/all" },
    { .name = "grave", .handle = bury },
    { 0 },
};

static hf_engine *begin(const char *name)
{
    atomic_store(&count, 0);
    atomic_store(&early, 0);
    atomic_store(&odd, 0);
    atomic_store(&deaths, 0);
    return ring_open(name, types);
}

static void tell(hf_engine *engine, const char *to, const char *kind, const char *text)
{
    ring_ok(hf_tell(engine, to, kind, hf_str(text)));
    ring_ok(hf_drain(engine, 10000));
}

static void wait_ticks(int wanted)
{
    for (int i = 0; i < 20000 && atomic_load(&count) < wanted; i++)
        usleep(1000);
    assert_true(atomic_load(&count) >= wanted);
}

static void end(hf_engine *engine)
{
    ring_ok(hf_close(engine, 10000));
    assert_int_equal(atomic_load(&early), 0);
    assert_int_equal(atomic_load(&odd), 0);
}

/* ---- Intervals */

static void check_interval(const char *store, const char *to)
{
    hf_engine *engine = begin(store);
    tell(engine, to, "define", "beat|every 50ms");
    wait_ticks(6);
    tell(engine, to, "define", "beat|");
    usleep(150000);
    ring_ok(hf_drain(engine, 10000));
    int at_end = atomic_load(&count);
    usleep(200000);
    assert_int_equal(atomic_load(&count), at_end);
    for (int i = 0; i < at_end; i++) {
        assert_string_equal(ticks[i].kind, "beat");
        assert_string_equal(ticks[i].body, "beat");
        if (i)
            assert_int_equal((ticks[i].due - ticks[i - 1].due) % 50, 0);
        if (i)
            assert_true(ticks[i].due - ticks[i - 1].due == 50 * (ticks[i].missed + UINT64_C(1)));
    }
    end(engine);
}

static void test_interval(void **state)
{
    (void)state;
    check_interval("interval", "clock/1");
    check_interval("interval-pool", "pool/1");
}

/* ---- Defined again */

static void test_again(void **state)
{
    (void)state;
    hf_engine *engine = begin("again");
    tell(engine, "clock/1", "define", "close|0 18 * * * Europe/Rome");
    uint64_t first = next_due;
    assert_int_equal((first - BASE) % (uint64_t)DAY, 17 * HOUR);
    atomic_fetch_add(&ahead, HOUR);
    tell(engine, "clock/1", "define", "close|0 18 * * * Europe/Rome");
    assert_true(next_due == first);
    tell(engine, "clock/1", "define", "close|0 19 * * * Europe/Rome");
    assert_true(next_due == first + (uint64_t)HOUR);
    tell(engine, "clock/1", "define", "other|@daily");
    tell(engine, "clock/1", "forget", "");
    tell(engine, "clock/1", "next", "close");
    assert_true(next_due == 0);
    tell(engine, "clock/1", "define", "close|0 19 * * * Europe/Rome");
    assert_true(next_due == first + (uint64_t)HOUR); /* forgotten: defined anew */
    atomic_fetch_add(&ahead, DAY);
    wait_ticks(1);
    usleep(50000);
    assert_int_equal(atomic_load(&count), 1); /* `other` was forgotten */
    assert_true(ticks[0].due == first + (uint64_t)HOUR);
    end(engine);
}

/* Words that are the same change nothing: neither when the next tick is, nor that one is
 * overdue. */
static void test_said_again(void **state)
{
    (void)state;
    hf_engine *engine = begin("said-again");
    tell(engine, "clock/1", "define", "beat|every 10h");
    uint64_t first = next_due;
    for (int i = 0; i < 3; i++) {
        atomic_fetch_add(&ahead, 3 * HOUR);
        tell(engine, "clock/1", "define", "beat|every 10h");
        assert_true(next_due == first);
    }
    tell(engine, "clock/2", "define", "night|@daily");
    first = next_due;
    ring_ok(hf_pause(engine, "clock/2", NULL, NULL));
    ring_ok(hf_tell(engine, "clock/2", "define", hf_str("night|@daily")));
    atomic_fetch_add(&ahead, DAY);
    ring_ok(hf_resume(engine, "clock/2"));
    for (int i = 0; i < 20000 && !kinds_seen("night"); i++)
        usleep(1000);
    assert_int_equal(kinds_seen("night"), 1);
    for (int i = 0; i < atomic_load(&count); i++)
        assert_true(strcmp(ticks[i].kind, "night") != 0 || ticks[i].due == first);
    end(engine);
}

/* ---- Ticks that went by unseen */

static void test_missed(void **state)
{
    (void)state;
    hf_engine *engine = begin("missed");
    int64_t to_hour = HOUR - (int64_t)((wall(NULL) - BASE) % (uint64_t)HOUR);
    atomic_fetch_add(&ahead, to_hour + 30 * MINUTE); /* at half past some hour */
    uint64_t half = wall(NULL);
    tell(engine, "clock/none", "define", "none|@hourly|0");
    tell(engine, "clock/one", "define", "one|@hourly|1");
    tell(engine, "clock/three", "define", "three|@hourly|3");
    tell(engine, "clock/all", "define", "all|every 1h|1000");
    end(engine);
    atomic_fetch_add(&ahead, 10 * HOUR);
    engine = begin("missed");
    wait_ticks(14);
    usleep(100000);
    int seen[4] = { 0 };
    for (int i = 0; i < atomic_load(&count); i++) {
        const seen_tick *t = &ticks[i];
        if (strcmp(t->kind, "one") == 0) {
            assert_int_equal(t->missed, 9);
            assert_true(t->due > half + (uint64_t)(9 * HOUR) && seen[0]++ == 0);
        } else if (strcmp(t->kind, "three") == 0) {
            assert_int_equal(t->missed, seen[1] ? 0 : 7);
            seen[1]++;
        } else if (strcmp(t->kind, "all") == 0) {
            assert_int_equal(t->missed, 0);
            seen[2]++;
        } else {
            seen[3]++;
        }
    }
    assert_int_equal(seen[0], 1);
    assert_int_equal(seen[1], 3);
    assert_true(seen[2] == 10);
    assert_int_equal(seen[3], 0);
    atomic_fetch_add(&ahead, 30 * MINUTE); /* seen again, on time */
    int before = atomic_load(&count);
    wait_ticks(before + 3);
    for (int i = before; i < atomic_load(&count); i++) /* what nothing was told of counts now */
        assert_int_equal(ticks[i].missed, strcmp(ticks[i].kind, "none") == 0 ? 10 : 0);
    end(engine);
}

/* ---- The clock skips an hour; somebody sets it */

static void test_summer_time(void **state)
{
    (void)state;
    hf_engine *engine = begin("summer");
    atomic_fetch_add(&ahead, (int64_t)(BASE + (uint64_t)(20 * HOUR)) - (int64_t)wall(NULL));
    tell(engine, "clock/1", "define", "night|30 2 * * * Europe/Rome");
    assert_true(next_due == BASE + (uint64_t)(25 * HOUR)); /* 02:30 is no time that night */
    atomic_fetch_add(&ahead, 6 * HOUR);
    wait_ticks(1);
    assert_true(ticks[0].due == BASE + (uint64_t)(25 * HOUR));
    tell(engine, "clock/1", "next", "night");
    assert_true(next_due == BASE + (uint64_t)(48 * HOUR + 30 * MINUTE));
    end(engine);
}

static void test_clock_set(void **state)
{
    (void)state;
    hf_engine *engine = begin("set");
    tell(engine, "clock/1", "define", "daily|@daily|1");
    uint64_t first = next_due;
    atomic_fetch_add(&set_by, 3650 * DAY); /* ten years on: it is overdue */
    wait_ticks(1);
    assert_true(ticks[0].missed > 3000);
    tell(engine, "clock/1", "next", "daily");
    assert_true(next_due > first + (uint64_t)(3600 * DAY));
    atomic_fetch_sub(&set_by, 3650 * DAY); /* and right again */
    atomic_fetch_add(&ahead, HOUR + MINUTE);
    for (int i = 0; i < 10000 && next_due > first + (uint64_t)DAY; i++) {
        tell(engine, "clock/1", "next", "daily");
        usleep(1000);
    }
    assert_true(next_due <= first + (uint64_t)DAY);
    assert_int_equal(atomic_load(&count), 1);
    ring_ok(hf_close(engine, 10000));
}

/* Back by years, while a tick is near: it comes by what the clock says now. */
static void test_clock_set_back(void **state)
{
    (void)state;
    hf_engine *engine = begin("back");
    tell(engine, "clock/1", "define", "minute|* * * * *|1");
    uint64_t first = next_due;
    atomic_fetch_sub(&set_by, 3650 * DAY);
    atomic_fetch_add(&ahead, MINUTE + 2000);
    for (int i = 0; i < 3000 && next_due >= first; i++) {
        tell(engine, "clock/1", "next", "minute");
        usleep(1000);
    }
    assert_true(next_due < first - (uint64_t)(3649 * DAY));
    atomic_fetch_add(&ahead, MINUTE);
    tell(engine, "clock/1", "next", "minute"); /* it wakes, and looks */
    wait_ticks(1);
    ring_ok(hf_close(engine, 10000));
    atomic_fetch_add(&set_by, 3650 * DAY);
}

/* ---- Failures */

static void test_failing(void **state)
{
    (void)state;
    hf_engine *engine = begin("failing");
    tell(engine, "clock/1", "define", "fails|every 30ms");
    wait_ticks(5);
    tell(engine, "clock/1", "define", "fails|");
    for (int i = 0; i < 5000 && atomic_load(&deaths) < 5; i++)
        usleep(1000);
    assert_true(atomic_load(&deaths) >= 5);
    end(engine);
}

static void test_refused(void **state)
{
    static const char *const bad[] = { "x|61 * * * *", "x|every 0s", "x|* * *", "|@daily",
                                       "x|0 0 30 2 *", "x|@daily Mars/Olympus" };
    (void)state;
    hf_engine *engine = begin("refused");
    int wanted = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        tell(engine, "clock/1", "define", bad[i]);
        ring_until(&deaths, ++wanted);
    }
    tell(engine, "crew/1", "define", "x|@daily");
    ring_until(&deaths, ++wanted);
    tell(engine, "clock/1", "next", "x");
    assert_true(next_due == 0);
    end(engine);
}

/* Much of it lies in the tables, and the store is opened again and again. */
static void test_reopened(void **state)
{
    (void)state;
    char to[30];
    hf_engine *engine = begin("reopened");
    for (int i = 0; i < 300; i++) {
        (void)snprintf(to, sizeof to, "%s/%d", i % 2 ? "clock" : "pool", i);
        ring_ok(hf_tell(engine, to, "define", hf_str("h|@hourly|1000")));
    }
    ring_ok(hf_drain(engine, 10000));
    uint64_t first = 0;
    for (int round = 0; round < 4; round++) {
        int before = atomic_load(&count);
        atomic_fetch_add(&ahead, HOUR);
        wait_ticks(before + 300);
        ring_ok(hf_drain(engine, 10000));
        ring_ok(hf_close(engine, 10000));
        engine = ring_open("reopened", types);
    }
    usleep(50000);
    assert_int_equal(atomic_load(&count), 1200);
    first = ticks[0].due;
    for (int i = 0; i < 1200; i++)
        assert_true(ticks[i].due == first + (uint64_t)(i / 300 * HOUR) && !ticks[i].missed);
    end(engine);
}

static int set_up(void **state)
{
    began = mono(NULL);
    hf_clock_use(&(hf_clock){ wall, mono, NULL });
    return ring_make_root(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interval),       cmocka_unit_test(test_again),
        cmocka_unit_test(test_said_again),     cmocka_unit_test(test_missed),
        cmocka_unit_test(test_summer_time),    cmocka_unit_test(test_clock_set),
        cmocka_unit_test(test_clock_set_back), cmocka_unit_test(test_failing),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_reopened),
    };
    return cmocka_run_group_tests(tests, set_up, ring_remove_root);
}
