/* test_rules_meet.c - rules that meet each other: a dead letter as large as may be and .dead_to,
 * schedules and what an operator does to their ticks, or a machine that lost a time zone. */
#include "tests/support/calendar.h"
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"
#include "storage/clock.h"

#include <string.h>
#include <time.h>

enum { BODY_MAX = 4000 };

static char             body[BODY_MAX];
static size_t           schedule_len;
static const char      *words;
static atomic_int       told, ticks, odd, still;
static atomic_bool      refuse;
static _Atomic size_t   told_len;
static _Atomic uint64_t due;
static _Atomic uint32_t missed;

static int die(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return hf_bury(turn, "no");
}

/* What its hook stages is no reason not to tell of the death. */
static void fill(hf_turn *turn, const hf_message *msg)
{
    for (int i = 0; i < 4190 && strcmp(msg->kind, "fill") == 0; i++)
        hf_send(turn, "grave/2", "filler", hf_view(body, sizeof body));
}

static int mourn(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (strcmp(msg->kind, "dead") == 0) {
        atomic_store(&told_len, msg->body.len);
        atomic_fetch_add(&told, 1);
    }
    return HF_OK;
}

static int keep_time(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "define") == 0) {
        hf_every(turn, "tick", words, 1, hf_view(body, schedule_len));
        return HF_OK;
    }
    if (msg->cause != HF_ALARM)
        return HF_OK;
    atomic_fetch_add(&odd, strcmp(msg->kind, "tick") != 0 || msg->body.len != schedule_len
                               || msg->replaced);
    atomic_store(&due, msg->due);
    atomic_store(&missed, msg->missed);
    atomic_fetch_add(&ticks, 1);
    return atomic_load(&refuse) ? hf_bury(turn, "not now") : HF_OK;
}

static const hf_type types[] = {
    { .name = "mortal", .handle = die, .failed = fill, .tries = 1, .dead_to = "grave/1" },
    { .name = "m", .handle = die, .tries = 1, .dead_to = "grave" },
    { .name = "grave", .handle = mourn },
    { .name = "clock", .handle = keep_time, .tries = 1 },
    { 0 },
};

static atomic_int nobody; /* that a .dead_to could not be told */

static void log_line(void *user, hf_level level, const char *text)
{
    (void)user;
    atomic_fetch_add(&nobody, level == HF_ERROR && strstr(text, ".dead_to") != NULL);
    atomic_fetch_add(&still, level == HF_ERROR && strstr(text, "stands still") != NULL);
}

static hf_engine *open_with(const char *name, uint32_t body_max)
{
    hf_engine *engine = NULL;
    ring_ok(hf_open(&engine, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                    .window = 256 << 10, .store_max = 256 << 20, .body_max = body_max,
                    .log = log_line)));
    return engine;
}

static hf_engine *begin(const char *name, const char *schedule, size_t len)
{
    words = schedule;
    schedule_len = len;
    atomic_store(&ticks, 0);
    atomic_store(&odd, 0);
    atomic_store(&refuse, false);
    hf_engine *engine = open_with(name, BODY_MAX);
    if (schedule) {
        ring_ok(hf_tell(engine, "clock/1", "define", hf_str("")));
        ring_ok(hf_drain(engine, 30000));
    }
    return engine;
}

static void end(hf_engine *engine)
{
    ring_ok(hf_close(engine, 30000));
    assert_int_equal(atomic_load(&odd), 0);
}

/* Alarms are looked at when something comes. */
static void later(hf_engine *engine, int64_t ms)
{
    atomic_fetch_add(&ahead, ms);
    ring_ok(hf_tell(engine, "clock/1", "wake", hf_str("")));
    ring_ok(hf_tell(engine, "clock/2", "wake", hf_str("")));
}

static void until(atomic_int *seen, int wanted)
{
    for (int i = 0; i < 40000 && atomic_load(seen) < wanted; i++)
        usleep(1000);
    assert_true(atomic_load(seen) >= wanted);
}

/* ---- Operators */

static uint64_t found[8];
static int      found_count;

static int note(void *user, const hf_message *msg)
{
    (void)user;
    if (strcmp(msg->to, "clock/1") == 0 && found_count < 8)
        found[found_count++] = msg->id;
    return HF_OK;
}

static int find(const char *name, const char *where)
{
    hf_store *store;
    found_count = 0;
    ring_ok(hf_store_open(&store, ring_path(name), 30000));
    ring_ok(hf_find(store, where, note, NULL));
    hf_store_close(store);
    return found_count;
}

static void change(const char *name, const char *what)
{
    hf_store *store;
    hf_out args = { 0 };
    hf_out_map(&args, NULL);
    hf_out_array(&args, "ids");
    for (int i = 0; i < found_count; i++)
        hf_out_uint(&args, NULL, found[i]);
    hf_out_end(&args);
    hf_out_end(&args);
    ring_ok(hf_store_open(&store, ring_path(name), 30000));
    ring_ok(hf_change(store, what, hf_out_bytes(&args), NULL, NULL));
    hf_store_close(store);
    hf_out_done(&args);
}

/* ---- .dead_to */

static void test_dead_to(void **state)
{
    (void)state;
    hf_engine *engine = begin("dead-to", NULL, 0);
    atomic_store(&told, 0);
    ring_ok(hf_tell(engine, "mortal/1", "say", hf_view(body, BODY_MAX)));
    ring_ok(hf_drain(engine, 30000));
    assert_int_equal(atomic_load(&told), 1);
    assert_true(atomic_load(&told_len) > BODY_MAX);
    ring_ok(hf_tell(engine, "mortal/1", "fill", hf_view(body, BODY_MAX)));
    ring_ok(hf_drain(engine, 30000));
    assert_int_equal(atomic_load(&told), 2);
    assert_int_equal(atomic_load(&nobody), 0);
    char to[256];
    (void)snprintf(to, sizeof to, "m/%0253d", 1);
    ring_ok(hf_tell(engine, to, "say", hf_str("")));
    ring_ok(hf_drain(engine, 30000));
    assert_int_equal(atomic_load(&nobody), 1); /* "grave" with that key is too long */
    end(engine);
}

/* ---- Schedules */

/* A body as large as may be, also where less may be later. */
static void test_large_body(void **state)
{
    (void)state;
    hf_engine *engine = begin("large", "@hourly", BODY_MAX);
    later(engine, HOUR);
    until(&ticks, 1);
    end(engine);
    engine = open_with("large", BODY_MAX / 4);
    later(engine, HOUR);
    until(&ticks, 2);
    ring_ok(hf_drain(engine, 30000));
    later(engine, HOUR);
    until(&ticks, 3);
    end(engine);
}

/* A tick that is dead and requeued says again when it was due and what it stands for. */
static void test_requeued(void **state)
{
    (void)state;
    hf_engine *engine = begin("requeued", "@hourly", 0);
    atomic_store(&refuse, true);
    later(engine, 5 * HOUR);
    until(&ticks, 1);
    ring_ok(hf_drain(engine, 30000));
    uint64_t was = atomic_load(&due);
    assert_true(was >= BASE && atomic_load(&missed) == 4);
    atomic_store(&refuse, false);
    atomic_store(&due, 0);
    assert_int_equal(find("requeued", "status = dead"), 1);
    change("requeued", "requeue");
    until(&ticks, 2);
    assert_true(atomic_load(&due) == was);
    assert_int_equal(atomic_load(&missed), 4);
    end(engine);
}

/* What sets it going waits behind a pause, and is cancelled: requeued it goes on, and no
 * handler sees it; so it does when the schedule is defined again with the same words. */
static void check_cancelled(const char *name, bool again)
{
    hf_engine *engine = begin(name, "@hourly", 0);
    ring_ok(hf_pause(engine, "clock/1", NULL, NULL));
    later(engine, HOUR + 2000);
    for (int i = 0; i < 4000 && find(name, "status = paused and kind != wake") < 2; i++)
        usleep(10000);
    assert_int_equal(found_count, 2);
    change(name, "cancel");
    ring_ok(hf_resume(engine, "clock/1"));
    later(engine, HOUR);
    ring_ok(hf_drain(engine, 30000));
    if (again)
        ring_ok(hf_tell(engine, "clock/1", "define", hf_str("")));
    else
        change(name, "requeue");
    until(&ticks, 1);
    assert_int_equal(atomic_load(&missed), 1);
    ring_ok(hf_drain(engine, 30000));
    later(engine, HOUR);
    until(&ticks, 2);
    ring_ok(hf_drain(engine, 30000));
    assert_int_equal(atomic_load(&ticks), 2);
    end(engine);
}

static void test_cancelled(void **state)
{
    (void)state;
    check_cancelled("cancelled", false);
    check_cancelled("cancelled-again", true);
}

/* A machine without its time zone: it stands still, and goes on when the zone is back. */
static void test_no_zone(void **state)
{
    (void)state;
    char empty[160];
    (void)snprintf(empty, sizeof empty, "%s", ring_path("empty"));
    hf_engine *engine = begin("zone", "0 * * * * Europe/Rome", 0);
    end(engine);
    setenv("TZDIR", empty, 1);
    atomic_fetch_add(&ahead, HOUR);
    engine = open_with("zone", BODY_MAX);
    until(&still, 1);
    ring_ok(hf_drain(engine, 30000));
    end(engine);
    assert_int_equal(atomic_load(&ticks), 0);
    unsetenv("TZDIR");
    atomic_fetch_add(&ahead, HOUR + 2000);
    engine = open_with("zone", BODY_MAX);
    until(&ticks, 1);
    assert_int_equal(atomic_load(&missed), 1);
    assert_int_equal(find("zone", "status = dead"), 0);
    end(engine);
}

static int set_up(void **state)
{
    began = mono(NULL);
    hf_clock_use(&(hf_clock){ wall, mono, NULL });
    return ring_make_root(state);
}

static int tear_down(void **state)
{
    hf_clock_use(NULL);
    return ring_remove_root(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead_to),   cmocka_unit_test(test_large_body),
        cmocka_unit_test(test_requeued),  cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_no_zone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
