/* test_delays.c - delayed messages and such that expire: when they come, how often, in which
 * order, and what a crash, a fold, a reopen and a clock that is set make of it. */
#include "tests/support/later.h"

#include <signal.h>
#include <sys/wait.h>

/* ---- Delays */

static void test_letters_with_bad_times(void **state)
{
    (void)state;
    forget_all();
    hf_engine *engine = ring_open("bad", types);
    ring_err(hf_mail(engine, HF_LETTER(.to = "shop/1", .delay_ms = 1, .at = 1), 1, NULL),
             HF_EINVAL);
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .delay_ms = UINT64_MAX), 1, NULL));
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .at = UINT64_MAX), 1, NULL));
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .at = UINT64_C(2147483648000) * 2), 1, NULL));
    ring_ok(
        hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "x", .expires_ms = UINT64_MAX), 1, NULL));
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "y", .at = 1), 1, NULL));
    wait_for(2);
    ring_ok(hf_drain(engine, 5000));
    hf_stats stats = stats_of(engine);
    wait_for_alarms(engine, 3);
    assert_int_equal(stats.waiting, 0);
    ring_ok(hf_close(engine, 5000));
}

static void delayed_in_order(const char *store, const char *to)
{
    forget_all();
    hf_engine *engine = ring_open(store, types);
    hf_receipt receipt;
    uint64_t start = now_ms();
    ring_ok(hf_mail(engine, HF_LETTER(.to = to, .kind = "c", .delay_ms = 150), 1, &receipt));
    ring_ok(hf_mail(engine, HF_LETTER(.to = to, .kind = "a", .delay_ms = 50), 1, NULL));
    ring_ok(hf_mail(engine, HF_LETTER(.to = to, .kind = "b", .at = start + 100), 1, NULL));
    ring_ok(hf_tell(engine, to, "first", BODY("")));
    wait_for(4);
    assert_string_equal(order, "first a b c ");
    assert_int_equal(atomic_load(&early), 0);
    assert_true(now_ms() - start >= 150 && now_ms() - start < 5000);
    assert_int_equal(last_id, receipt.id);
    assert_true(last_due >= start + 150);
    assert_int_equal(last_cause, HF_SENT);
    ring_ok(hf_drain(engine, 5000));
    wait_for_alarms(engine, 0);
    assert_int_equal(stats_of(engine).waiting, 0);
    ring_ok(hf_close(engine, 5000));
}

static void test_delayed_in_order(void **state)
{
    (void)state;
    delayed_in_order("delayed", "shop/1");
    delayed_in_order("delayed-pool", "pool/1");
}

/* Half of it was due while nobody had the store open. */
static void test_overdue_in_order(void **state)
{
    char wanted[2000] = "", kind[16];
    (void)state;
    forget_all();
    uint64_t start = now_ms();
    hf_engine *engine = open_small("overdue", 1);
    for (int i = 0; i < 40; i++) { /* by both clocks, in a jumble */
        int n = i * 17 % 40;
        (void)snprintf(kind, sizeof kind, "%02d", n);
        uint64_t at = start + 4000 + (uint64_t)n * 20;
        hf_letter letter = { .size = sizeof letter, .to = "shop/1", .kind = kind };
        if (n % 2)
            letter.delay_ms = at - now_ms();
        else
            letter.at = at;
        ring_ok(hf_mail(engine, &letter, 1, NULL));
        if (i == 20)
            fold_all(engine);
    }
    bool late = atomic_load(&turns) != 0;
    ring_ok(hf_close(engine, 5000));
    if (late)
        skip(); /* this machine was too slow for the times above */
    for (int n = 0; n < 40; n++) {
        (void)snprintf(kind, sizeof kind, "%02d", n);
        strcat(strcat(wanted, kind), " ");
    }
    usleep(5000000);
    engine = open_small("overdue", 1);
    ring_ok(hf_drain(engine, 10000)); /* what is overdue counts */
    assert_int_equal(atomic_load(&turns), 40);
    assert_string_equal(order, wanted);
    ring_ok(hf_close(engine, 5000));
}

enum { MANY = 3000 };

/* Most of them become rows, and come from there. */
static void test_through_the_tables(void **state)
{
    (void)state;
    forget_all();
    hf_engine *engine = open_small("tables", 2);
    for (int i = 0; i < MANY; i++) {
        char to[20], body[60] = "fill";
        (void)snprintf(to, sizeof to, "%s/%d", i % 3 ? "shop" : "pool", i % 7);
        ring_ok(hf_post(engine,
                        HF_LETTER(.to = to, .kind = "t", .delay_ms = 500 + (uint64_t)(i % 1500),
                                  .body = hf_view(body, sizeof body)),
                        1, NULL, NULL));
    }
    fold_all(engine);
    wait_for(MANY);
    ring_ok(hf_drain(engine, 10000));
    assert_int_equal(atomic_load(&early), 0);
    assert_int_equal(stats_of(engine).waiting, 0);
    ring_ok(hf_close(engine, 5000));
    engine = open_small("tables", 2);
    ring_ok(hf_drain(engine, 5000));
    wait_for(MANY);
    wait_for_alarms(engine, 0);
    ring_ok(hf_close(engine, 5000));
}

enum { UNREAD = 9000 }; /* more than a shard takes from the log in one go */

/* The shard is held up, and the fold passes words about letters that it never read. */
static void test_overtaken_by_the_fold(void **state)
{
    static hf_letter letters[100];
    (void)state;
    forget_all();
    hf_engine *engine = open_small("overtaken", 1);
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "first", .delay_ms = 1), 1, NULL));
    wait_for(1);
    ring_ok(hf_tell(engine, "shop/2", "hold", BODY("")));
    ring_until(&turns, 2);
    for (int i = 0; i < UNREAD / 100; i++) {
        for (int k = 0; k < 100; k++)
            letters[k] = (hf_letter){ .size = sizeof(hf_letter), .kind = "t",
                                      .to = k % 2 ? "shop/1" : "pool/1",
                                      .delay_ms = 1 + (uint64_t)(k * 7 % 500) };
        ring_ok(hf_mail(engine, letters, 100, NULL));
    }
    fold_all(engine);
    atomic_store(&go, 1);
    wait_for(2 + UNREAD);
    ring_ok(hf_drain(engine, 20000));
    ring_ok(hf_close(engine, 5000));
    engine = open_small("overtaken", 1);
    ring_ok(hf_drain(engine, 5000));
    wait_for(2 + UNREAD);
    wait_for_alarms(engine, 0);
    ring_ok(hf_close(engine, 5000));
}

/* The same twice, before the shard has read on: in a handler it says so itself, on its own
 * thread, as its rounds do. What was looked for the first time is not looked for again. */
static int overtaken(hf_turn *turn, const hf_message *msg)
{
    hf_shard *shard = &turn->engine->shards[0];
    if (!says(msg, "overtaken"))
        return work(turn, msg);
    uint64_t mine = shard->at->base + (shard->at_done ? shard->at->count : shard->at_index);
    for (int seen = 0; seen < 2; seen++) {
        atomic_fetch_add(&notes, 1);
        while (atomic_load(&go) == seen)
            usleep(500);
        shard->folded = hf_log_folded(turn->engine->log);
        hf_alarms_fold(shard, shard->folded, mine);
    }
    return HF_OK;
}

static void test_overtaken_twice(void **state)
{
    static const hf_type slow[] = { { .name = "shop", .handle = overtaken }, { 0 } };
    hf_engine *engine;
    (void)state;
    forget_all();
    ring_ok(hf_open(&engine, ring_path("twice"), HF_OPTIONS(.types = slow, .shards = 1,
                    .window = 64 << 10, .store_max = 256 << 20)));
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "first", .delay_ms = 1), 1, NULL));
    wait_for(1);
    ring_ok(hf_tell(engine, "shop/2", "overtaken", BODY("")));
    for (int i = 0; i < 2; i++) {
        ring_until(&notes, i + 1);
        ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "t", .delay_ms = 1), 1, NULL));
        fold_all(engine);
        atomic_fetch_add(&go, 1);
    }
    wait_for(3);
    ring_ok(hf_drain(engine, 5000));
    usleep(20000);
    wait_for(3);
    assert_string_equal(order, "first t t ");
    wait_for_alarms(engine, 0);
    ring_ok(hf_close(engine, 5000));
}

/* ---- Expiry */

static void expires(const char *store, const char *to, bool opens)
{
    forget_all();
    hf_engine *engine = open_small(store, 2);
    hf_receipt receipt;
    ring_ok(hf_mail(engine, HF_LETTER(.to = to, .kind = "in-time", .expires_ms = 60000), 1, NULL));
    ring_ok(hf_mail(engine, HF_LETTER(.to = to, .kind = "both", .expires_ms = 1, .delay_ms = 50), 1,
                    NULL));
    wait_for(1);
    ring_until(&notes, 1);
    ring_ok(hf_pause(engine, to, NULL, NULL));
    ring_ok(hf_mail(engine, HF_LETTER(.to = to, .kind = "late", .expires_ms = 50), 1, &receipt));
    ring_ok(hf_mail(engine, HF_LETTER(.to = to, .kind = "fine", .expires_ms = 60000), 1, NULL));
    usleep(100000);
    if (opens) {
        fold_all(engine);
        ring_ok(hf_close(engine, 5000));
        engine = open_small(store, 2);
    }
    ring_ok(hf_resume(engine, to));
    wait_for(2);
    ring_until(&notes, 2); /* .dead_to was told, the hook not */
    ring_ok(hf_drain(engine, 5000));
    assert_int_equal(atomic_load(&failures), 0);
    assert_int_equal(stats_of(engine).waiting, 0);
    hf_store *look;
    ring_ok(hf_store_open(&look, ring_path(store), 5000));
    ring_ok(hf_requeue(look, receipt.id)); /* then its time does not matter any more */
    wait_for(3);
    hf_store_close(look);
    assert_non_null(strstr(order, "late "));
    ring_ok(hf_close(engine, 5000));
}

static int see_expired(void *user, const hf_message *msg)
{
    assert_int_equal(msg->status, HF_DEAD);
    assert_string_equal(msg->error, "expired");
    assert_int_equal(msg->attempt, 0);
    ++*(int *)user;
    return HF_OK;
}

static void test_expiry(void **state)
{
    int seen = 0;
    (void)state;
    expires("expire", "shop/1", false);
    expires("expire-pool", "pool/1", false);
    expires("expire-open", "shop/1", true);
    expires("expire-open-pool", "pool/1", true);
    hf_store *look;
    ring_ok(hf_store_open(&look, ring_path("expire"), 5000));
    ring_ok(hf_find(look, "status = dead", see_expired, &seen));
    assert_int_equal(seen, 1); /* `both`: its time was over when it was due */
    hf_store_close(look);
}

/* ---- Operating */

static int see_delayed(void *user, const hf_message *msg)
{
    assert_int_equal(msg->status, HF_DELAYED);
    assert_true(msg->due > now_ms());
    *(uint64_t *)user = msg->id;
    return HF_OK;
}

static void test_operating(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) { /* in the window, in the tables, without an engine */
        char name[20];
        uint64_t id = 0;
        hf_receipt receipt;
        hf_store *look;
        forget_all();
        (void)snprintf(name, sizeof name, "operate%d", i);
        hf_engine *engine = open_small(name, 2);
        ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "x", .delay_ms = 100000), 1,
                        &receipt));
        ring_ok(
            hf_mail(engine, HF_LETTER(.to = "pool/1", .kind = "y", .delay_ms = 200000), 1, NULL));
        ring_ok(hf_drain(engine, 5000));
        if (i == 1)
            fold_all(engine);
        if (i == 2)
            ring_ok(hf_close(engine, 5000));
        ring_ok(hf_store_open(&look, ring_path(name), 5000));
        ring_ok(hf_find(look, "actor = shop/1", see_delayed, &id));
        assert_int_equal(id, receipt.id);
        ring_ok(hf_requeue(look, id));
        if (i == 2)
            engine = open_small(name, 2);
        wait_for(1);
        assert_int_equal(last_id, id);
        ring_ok(hf_drain(engine, 5000));
        hf_store_close(look);
        wait_for_alarms(engine, 1);
        ring_ok(hf_close(engine, 5000));
        engine = open_small(name, 2);
        ring_ok(hf_drain(engine, 5000));
        wait_for(1);
        wait_for_alarms(engine, 1);
        ring_ok(hf_close(engine, 5000));
    }
}

/* ---- Clocks that are set */

static void on_warning(void *user, hf_level level, const char *text)
{
    (void)user;
    if (level == HF_WARN && strstr(text, "wall clock was set"))
        atomic_fetch_add(&notes, 1);
}

static void test_set_clock(void **state)
{
    const hf_clock clock = { wall, mono, NULL };
    const int64_t hour = 3600 * 1000;
    char at[30];
    hf_engine *engine = NULL;
    (void)state;
    forget_all();
    hf_clock_use(&clock);
    ring_ok(hf_open(&engine, ring_path("clock"), HF_OPTIONS(.types = types, .shards = 2,
                    .window = 256 << 10, .store_max = 64 << 20, .log = on_warning)));
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "hour", .delay_ms = (uint64_t)hour),
                    1, NULL));
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "soon", .delay_ms = 1500), 1, NULL));
    ring_ok(hf_mail(engine,
                    HF_LETTER(.to = "shop/1", .kind = "noon", .at = now_ms() + (uint64_t)hour), 1,
                    NULL));
    (void)snprintf(at, sizeof at, "%llu", (unsigned long long)now_ms() + 500);
    ring_ok(hf_tell(engine, "shop/1", "set-at", BODY(at)));
    wait_for(1);
    atomic_fetch_sub(&set_by, 2 * hour); /* back: neither is early, nor is a delay late */
    ring_until(&turns, 2);
    assert_string_equal(order, "set-at soon ");
    atomic_fetch_add(&set_by, 2 * hour);
    ring_until(&turns, 3);
    assert_string_equal(order, "set-at soon at ");
    atomic_fetch_add(&set_by, hour + 1000);
    ring_until(&turns, 4);
    usleep(50000);
    assert_string_equal(order, "set-at soon at noon "); /* not `hour` */
    for (int i = 0; i < 5000 && atomic_load(&notes) < 2; i++)
        usleep(1000);
    assert_true(atomic_load(&notes) >= 2); /* two jumps may be seen as one */
    ring_ok(hf_close(engine, 5000));
    /* A machine without a clock comes up in 1970: delays go on from what the store knows. */
    int64_t before = atomic_load(&set_by);
    ring_ok(hf_open(&engine, ring_path("clock"), HF_OPTIONS(.types = types, .shards = 1)));
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "later", .delay_ms = 300), 1, NULL));
    ring_ok(hf_close(engine, 5000));
    atomic_store(&set_by, -1000 * (int64_t)time(NULL));
    ring_ok(hf_open(&engine, ring_path("clock"), HF_OPTIONS(.types = types, .shards = 1)));
    for (int i = 0; i < 5000 && !strstr(order, "later"); i++)
        usleep(1000);
    assert_non_null(strstr(order, "later"));
    ring_ok(hf_close(engine, 5000));
    atomic_store(&set_by, before * 0);
    hf_clock_use(NULL);
}

/* Whoever set the clock before the engine ended: a delay counts what passed, not that. */
static void set_and_open(const char *store, int64_t before_ms, int64_t at_open_ms)
{
    hf_engine *engine = NULL;
    forget_all();
    atomic_store(&set_by, 0);
    hf_clock_use(&(hf_clock){ wall, mono, NULL });
    ring_ok(hf_open(&engine, ring_path(store), HF_OPTIONS(.types = types, .shards = 1)));
    ring_ok(
        hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "hour", .delay_ms = 3600000), 1, NULL));
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "soon", .delay_ms = 1500), 1, NULL));
    atomic_store(&set_by, before_ms);
    ring_ok(hf_tell(engine, "shop/1", "set-long", BODY("never"))); /* a record knows of it */
    ring_until(&turns, 1);
    ring_ok(hf_close(engine, 5000));
    atomic_store(&set_by, at_open_ms);
    ring_ok(hf_open(&engine, ring_path(store), HF_OPTIONS(.types = types, .shards = 1)));
    ring_until(&turns, 2);
    usleep(50000);
    assert_string_equal(order, "set-long soon "); /* not `hour`; and `soon` not in ten years */
    ring_ok(hf_tell(engine, "shop/1", "forget", BODY("")));
    ring_ok(hf_drain(engine, 5000));
    ring_ok(hf_close(engine, 5000));
    hf_clock_use(NULL);
}

static void test_set_clock_over_a_restart(void **state)
{
    const int64_t years = INT64_C(315360000000);
    (void)state;
    set_and_open("skew-1", years, years);
    set_and_open("skew-2", years, 0);
    set_and_open("skew-3", -years, -years);
    set_and_open("skew-4", -1000 * (int64_t)time(NULL), -1000 * (int64_t)time(NULL));
    atomic_store(&set_by, 0);
}

/* ---- Crashes */

enum { ACTORS = 20, LETTERS = 20000, DEATHS = 5 };

typedef struct scene {
    atomic_int  done, sums;
    _Atomic uint64_t total;
} scene;
static scene *scene_of;

/* Its state counts what it was told, so it counts each once. */
static int count_one(hf_turn *turn, const hf_message *msg)
{
    uint32_t count[2] = { 0, 0 };
    hf_bytes state = hf_state(turn);
    if (state.len == sizeof count)
        memcpy(count, state.data, sizeof count);
    if (says(msg, "sum")) {
        atomic_fetch_add(&scene_of->total, count[0]);
        atomic_fetch_add(&scene_of->sums, 1);
        return HF_OK;
    }
    count[0] += msg->cause == HF_SENT;
    if (msg->cause == HF_ALARM && ++count[1] > 50)
        return HF_OK;
    if (msg->cause == HF_ALARM || says(msg, "start"))
        hf_set_alarm(turn, "tick", 20, BODY(""));
    hf_save(turn, hf_view(count, sizeof count));
    atomic_fetch_add(&scene_of->done, 1);
    return HF_OK;
}

static const hf_type counters[] = {
    { .name = "count", .handle = count_one, .strikes = HF_NEVER },
    { .name = "slow", .handle = count_one, .strikes = HF_NEVER, .threads = 2 },
    { 0 },
};

static _Noreturn void live(int lives)
{
    hf_engine *engine = NULL;
    if (hf_open(&engine, ring_path("kill"), HF_OPTIONS(.types = counters, .shards = 2,
                .window = 256 << 10, .store_max = 512 << 20)))
        _exit(1);
    if (lives < 1) {
        static hf_letter letters[ACTORS];
        static char to[ACTORS][20];
        for (int i = 0; i < LETTERS; i += ACTORS) {
            for (int k = 0; k < ACTORS; k++) {
                (void)snprintf(to[k], sizeof to[k], "%s/%d", k % 4 ? "count" : "slow", k);
                letters[k] = (hf_letter){ .size = sizeof(hf_letter),
                                          .to = to[k],
                                          .kind = i ? "" : "start",
                                          .delay_ms = 1 + (uint64_t)((i * 7919 + k * 13) % 2000) };
            }
            if (hf_mail(engine, letters, ACTORS, NULL))
                _exit(2);
        }
    }
    if (lives < DEATHS) {
        usleep(100000u + 150000u * (unsigned)lives);
        (void)kill(getpid(), SIGKILL);
    }
    usleep(2200000); /* all is due now, and the ticks have ended */
    for (int i = 0; i < 20 && hf_drain(engine, 60000); i++)
        ;
    for (int k = 0; k < ACTORS; k++) {
        char to[20];
        (void)snprintf(to, sizeof to, "%s/%d", k % 4 ? "count" : "slow", k);
        if (hf_tell(engine, to, "sum", BODY("")))
            _exit(3);
    }
    if (hf_drain(engine, 60000) || hf_close(engine, 60000))
        _exit(4);
    _exit(0);
}

static void test_each_once_however_often_killed(void **state)
{
    (void)state;
    scene_of = ring_shared(sizeof *scene_of);
    ring_lives(live, DEATHS);
    assert_int_equal(atomic_load(&scene_of->sums), ACTORS);
    assert_int_equal(atomic_load(&scene_of->total), LETTERS);
    munmap(scene_of, sizeof *scene_of);
}

/* ---- Memory */

enum { FAR = 200000 };

static void test_far_ones_cost_no_memory(void **state)
{
    static hf_letter letters[1000];
    (void)state;
    forget_all();
    hf_engine *engine = open_small("far", 2);
    for (int i = 0; i < FAR / 1000; i++) {
        for (int k = 0; k < 1000; k++)
            letters[k] = (hf_letter){ .size = sizeof(hf_letter), .to = k % 2 ? "shop/1" : "shop/22",
                                      .delay_ms = 3600000 + (uint64_t)(k * 31 % 997) * 1000 };
        ring_ok(hf_mail(engine, letters, 1000, NULL));
    }
    ring_ok(hf_mail(engine, HF_LETTER(.to = "shop/1", .kind = "near", .delay_ms = 300), 1, NULL));
    fold_all(engine);
    wait_for(1);
    ring_ok(hf_drain(engine, 20000));
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        hf_alarms *a = engine->shards[i].alarms;
        pthread_mutex_lock(&a->lock);
        assert_true(a->queues[0].count < FAR / 20);
        pthread_mutex_unlock(&a->lock);
    }
    ring_ok(hf_close(engine, 5000));
    engine = open_small("far", 2);
    ring_ok(hf_drain(engine, 5000));
    wait_for_alarms(engine, FAR);
    assert_int_equal(stats_of(engine).waiting, 0);
    for (uint32_t i = 0; i < engine->shard_count; i++)
        assert_true(engine->shards[i].alarms->queues[0].count < FAR / 20);
    ring_ok(hf_close(engine, 5000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_letters_with_bad_times),
        cmocka_unit_test(test_delayed_in_order),
        cmocka_unit_test(test_overdue_in_order),
        cmocka_unit_test(test_through_the_tables),
        cmocka_unit_test(test_overtaken_by_the_fold),
        cmocka_unit_test(test_overtaken_twice),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_operating),
        cmocka_unit_test(test_set_clock),
        cmocka_unit_test(test_set_clock_over_a_restart),
        cmocka_unit_test(test_each_once_however_often_killed),
        cmocka_unit_test(test_far_ones_cost_no_memory),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
