/* test_breaker.c - a type whose service is down is held: exactly so many calls are made,
 * nothing dies, and all goes on when it is back; over restarts and deaths, too. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"
#include "storage/clock.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* Shared with children, which are killed. */
static struct shared {
    atomic_int  calls, done, dead, inside, most_inside;
    atomic_int  down;           /* the service */
    atomic_int  verdict;        /* what a handler does while it is: */
    atomic_int  gate, marks;    /* shut: calls wait in it */
    atomic_int  opened, closed, stays, gone, sent;
    _Atomic uint64_t at[4096];  /* ms of each call */
} *seen;

enum { FAILS, SNOOZES, BURIES, HANGS };

static void forget_all(void)
{
    memset(seen, 0, sizeof *seen);
}

static uint64_t now_ms(void)
{
    return hf_clock_mono_ns() / 1000000;
}

static int call_service(hf_turn *turn, const hf_message *msg)
{
    int n = atomic_fetch_add(&seen->calls, 1);
    if (n < 4096)
        atomic_store(&seen->at[n], now_ms());
    (void)msg;
    while (atomic_load(&seen->gate))
        usleep(500);
    if (!atomic_load(&seen->down)) {
        atomic_fetch_add(&seen->done, 1);
        return HF_OK;
    }
    switch (atomic_load(&seen->verdict)) {
    case SNOOZES: return hf_snooze(turn, 1);
    case BURIES: return hf_bury(turn, "no good");
    case HANGS:
        for (;;)
            usleep(1000);
    default: return hf_fail(turn, 1, "the service is down");
    }
}

static int mark(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&seen->marks, 1);
    return HF_OK;
}

static void on_failed(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (msg->status == HF_DEAD)
        atomic_fetch_add(&seen->dead, 1);
}

static void log_it(void *user, hf_level level, const char *text)
{
    (void)user;
    if (level != HF_WARN)
        return;
    if (strstr(text, "its breaker opened"))
        atomic_fetch_add(&seen->opened, 1);
    if (strstr(text, "its breaker closed"))
        atomic_fetch_add(&seen->closed, 1);
    if (strstr(text, "stays open"))
        atomic_fetch_add(&seen->stays, 1);
    if (strstr(text, "has no breaker any more"))
        atomic_fetch_add(&seen->gone, 1);
}

static hf_engine *open_with(const char *name, const hf_type *types)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2, .log = log_it,
                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

static void send(hf_engine *e, const char *type, int actors, int each)
{
    char to[32];
    for (int i = 0; i < actors * each; i++) {
        (void)snprintf(to, sizeof to, "%s/%d", type, i % actors);
        ring_ok(hf_post(e, HF_LETTER(.to = to, .kind = "place", .body = hf_str("an order")), 1,
                        NULL, NULL));
    }
    ring_ok(hf_sync(e, 10000));
}

static void until_at_least(atomic_int *what, int count)
{
    for (int i = 0; i < 20000 && atomic_load(what) < count; i++)
        usleep(1000);
    assert_true(atomic_load(what) >= count);
}

/* ---- The bar */

/* 1,000 orders, 20 threads, the service down for a while: what is called is what opens
 * it, what runs then, and one probe a break_ms. */
static void hold_orders(const char *name, uint32_t threads, int actors, uint32_t down_ms)
{
    enum { AFTER = 5, ORDERS = 1000 };
    const uint32_t pause = down_ms / 10 < 1000 ? down_ms / 10 : 1000;
    const hf_type types[] = { { .name = "order", .handle = call_service, .failed = on_failed,
                                .threads = threads, .retry_ms = 1, .retry_ms_max = 5, .tries = 20,
                                .break_after = AFTER, .break_ms = pause }, { 0 } };
    forget_all();
    hf_engine *e = open_with(name, types);
    atomic_store(&seen->down, 1);
    uint64_t start = now_ms();
    send(e, "order", actors, ORDERS / actors);
    until_at_least(&seen->opened, 1);
    while (now_ms() - start < down_ms)
        usleep(1000);
    int calls = atomic_load(&seen->calls), probes = atomic_load(&seen->stays);
    int most = (int)((now_ms() - start) / pause); /* probes: one a break_ms */
    atomic_store(&seen->down, 0);
    int running = threads ? (int)threads : 2; /* the shards */
    assert_true(calls >= AFTER);
    assert_true(calls <= AFTER + running + most);
    assert_true(probes >= 2 && probes <= most);
    assert_int_equal(atomic_load(&seen->done), 0);
    until_at_least(&seen->done, ORDERS);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen->done), ORDERS);
    assert_int_equal(atomic_load(&seen->dead), 0);
    assert_int_equal(atomic_load(&seen->opened), 1);
    assert_int_equal(atomic_load(&seen->closed), 1);
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.dead, 0);
    ring_ok(hf_close(e, HF_NEVER));
    print_message("%s: %d orders, down %u ms: %d calls, %d of them probes; at most %d; 0 dead\n",
                  name, ORDERS, down_ms, calls, probes, AFTER + running + most);
}

static void test_orders_of_a_pool(void **state)
{
    (void)state;
    hold_orders("pool", 20, 1000, 1500);
    hold_orders("pool-of-few", 20, 10, 1500);
}

static void test_orders_of_a_shard(void **state)
{
    (void)state;
    hold_orders("shard", 0, 1000, 1500);
    hold_orders("shard-of-few", 0, 10, 1500);
}

/* `test_breaker minute`: the same for as long as services really are down. */
static void test_minute(void **state)
{
    (void)state;
    hold_orders("minute-pool", 20, 1000, 60000);
    hold_orders("minute-shard", 0, 1000, 60000);
}

/* What stands in the pool's queue when it opens runs no more: what was called is what
 * opened it, and what ran then. */
static void test_queued_ones(void **state)
{
    enum { THREADS = 4, AFTER = 3, ORDERS = 100 };
    static const hf_type types[] = {
        { .name = "a", .handle = call_service, .threads = THREADS, .retry_ms = 60000,
          .break_after = AFTER, .break_ms = 60000 },
        { .name = "mark", .handle = mark }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = open_with("queued", types);
    atomic_store(&seen->down, 1);
    atomic_store(&seen->gate, 1);
    send(e, "a", ORDERS, 1);
    for (int i = 1; i <= 3; i++) { /* both shards took all that came before */
        send(e, "mark", 16, 1);
        until_at_least(&seen->marks, 16 * i);
    }
    until_at_least(&seen->calls, THREADS);
    atomic_store(&seen->gate, 0);
    until_at_least(&seen->opened, 1);
    usleep(50000);
    assert_int_equal(atomic_load(&seen->opened), 1);
    assert_true(atomic_load(&seen->calls) <= AFTER + THREADS);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Exactly */

static int status_of(void *user, hf_bytes row)
{
    char *text = user;
    size_t len = strlen(text);
    for (size_t i = 0; i < row.len && len < 4000; i++) { /* msgpack, its strings readable */
        char c = ((const char *)row.data)[i];
        text[len++] = c >= ' ' && c < 127 ? c : '.';
    }
    text[len] = 0;
    return HF_OK;
}

static void ask(const char *name, const char *question, const char *actor, char *text)
{
    hf_store *store;
    uint8_t args[64] = { 0x81, 0xa5, 'a', 'c', 't', 'o', 'r' };
    size_t len = actor ? strlen(actor) : 0;
    *text = 0;
    if (actor) {
        args[7] = (uint8_t)(0xa0 | len);
        memcpy(args + 8, actor, len);
    }
    ring_ok(hf_store_open(&store, ring_path(name), 5000));
    ring_ok(hf_query(store, question, actor ? hf_view(args, 8 + len) : hf_view(NULL, 0),
                     status_of, text));
    hf_store_close(store);
}

static void test_one_by_one(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = call_service, .threads = 1, .retry_ms = 1, .retry_ms_max = 1,
          .break_after = 3, .break_ms = 300 }, { 0 } };
    char text[4096];
    (void)state;
    forget_all();
    hf_engine *e = open_with("exact", types);
    atomic_store(&seen->down, 1);
    send(e, "a", 1, 10);
    until_at_least(&seen->stays, 2);
    atomic_store(&seen->down, 0);
    ring_ok(hf_drain(e, 1000)); /* what is held does not count */
    assert_int_equal(atomic_load(&seen->done), 0);
    ask("exact", "actor", "a/0", text);
    assert_non_null(strstr(text, "breaker"));
    assert_non_null(strstr(text, "failures"));
    assert_non_null(strstr(text, "held"));
    ask("exact", "stats", NULL, text);
    assert_non_null(strstr(text, "open"));
    until_at_least(&seen->done, 10);
    assert_int_equal(atomic_load(&seen->calls), 3 + 2 + 10);
    for (int i = 3; i < 6; i++) /* a probe is never early */
        assert_true(atomic_load(&seen->at[i]) - atomic_load(&seen->at[i - 1]) >= 299);
    until_at_least(&seen->closed, 1);
    ask("exact", "stats", NULL, text);
    assert_non_null(strstr(text, "closed"));
    ring_ok(hf_close(e, HF_NEVER));
}

/* What says nothing of the service neither counts nor breaks a row; as a probe it opens. */
static void test_snooze_and_bury(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = call_service, .retry_ms = 1, .retry_ms_max = 1, .break_after = 2,
          .break_ms = 200 }, { 0 } };
    (void)state;
    for (int verdict = SNOOZES; verdict <= BURIES; verdict++) {
        forget_all();
        hf_engine *e = open_with(verdict == SNOOZES ? "snooze" : "bury", types);
        atomic_store(&seen->verdict, verdict);
        atomic_store(&seen->down, 1);
        send(e, "a", 10, 1);
        until_at_least(&seen->calls, 10);
        usleep(20000);
        assert_int_equal(atomic_load(&seen->opened), 0);
        atomic_store(&seen->verdict, FAILS);
        send(e, "a", 5, 1);
        until_at_least(&seen->opened, 1);
        atomic_store(&seen->verdict, verdict);
        until_at_least(&seen->stays, 1);
        assert_int_equal(atomic_load(&seen->closed), 0);
        atomic_store(&seen->down, 0);
        until_at_least(&seen->closed, 1);
        ring_ok(hf_drain(e, 10000));
        ring_ok(hf_close(e, HF_NEVER));
    }
}

static void test_percent(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = call_service, .threads = 4, .tries = HF_NEVER, .retry_ms = 1,
          .retry_ms_max = 1, .break_percent = 50, .break_ms = 60000 }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = open_with("percent", types);
    send(e, "a", 15, 1);
    until_at_least(&seen->done, 15);
    atomic_store(&seen->down, 1);
    send(e, "a", 100, 1);
    until_at_least(&seen->opened, 1);
    usleep(50000);
    int calls = atomic_load(&seen->calls);
    assert_true(calls >= 30 && calls <= 30 + 4); /* 15 of 30, and what ran then */
    usleep(50000);
    assert_int_equal(atomic_load(&seen->calls), calls);
    ring_ok(hf_pause(e, "a", NULL, NULL)); /* nothing of it runs: at once */
    ring_ok(hf_resume(e, "a"));
    ring_ok(hf_close(e, 1000));
}

static void test_arguments(void **state)
{
    hf_engine *e = NULL;
    hf_type types[] = { { .name = "a", .handle = call_service, .break_percent = 101 }, { 0 } };
    (void)state;
    ring_err(hf_open(&e, ring_path("none"), HF_OPTIONS(.types = types)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), ".break_percent"));
    types[0].break_percent = 0;
    types[0].break_ms = HF_NEVER;
    ring_err(hf_open(&e, ring_path("none"), HF_OPTIONS(.types = types)), HF_EINVAL);
    types[0].break_ms = 0;
    types[0].rate_ms = HF_NEVER;
    ring_err(hf_open(&e, ring_path("none"), HF_OPTIONS(.types = types)), HF_EINVAL);
    types[0].rate_ms = 0;
    types[0].break_after = types[0].break_percent = types[0].rate = HF_NEVER; /* switched off */
    forget_all();
    atomic_store(&seen->down, 1);
    types[0].tries = 1;
    ring_ok(hf_open(&e, ring_path("off"), HF_OPTIONS(.types = types, .store_max = 256 << 20)));
    send(e, "a", 1, 100);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen->calls), 100);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Over restarts */

static hf_type typed(uint32_t threads, uint32_t after, uint32_t break_ms)
{
    return (hf_type){ .name = "a", .handle = call_service, .threads = threads, .retry_ms = 1,
                      .retry_ms_max = 1, .tries = HF_NEVER, .strikes = HF_NEVER,
                      .break_after = after, .break_ms = break_ms };
}

static void test_reopen(void **state)
{
    (void)state;
    for (uint32_t threads = 0; threads <= 4; threads += 4) {
        const char *name = threads ? "reopen-pool" : "reopen-shard";
        const hf_type types[] = { typed(threads, 3, 1500), { 0 } }, none[] = {
            typed(threads, 0, 0), { 0 } };
        forget_all();
        hf_engine *e = open_with(name, types);
        atomic_store(&seen->down, 1);
        send(e, "a", 1, 20);
        until_at_least(&seen->opened, 1);
        ring_ok(hf_close(e, HF_NEVER));
        assert_int_equal(atomic_load(&seen->calls), 3);
        e = open_with(name, types); /* holds on until its time */
        usleep(200000);
        assert_int_equal(atomic_load(&seen->calls), 3);
        until_at_least(&seen->calls, 4);
        assert_true(atomic_load(&seen->at[3]) - atomic_load(&seen->at[2]) >= 1490);
        until_at_least(&seen->stays, 1);
        ring_ok(hf_close(e, HF_NEVER));
        assert_int_equal(atomic_load(&seen->calls), 4);
        atomic_store(&seen->down, 0);
        e = open_with(name, none); /* it has no breaker any more: at once */
        assert_int_equal(atomic_load(&seen->gone), 1);
        ring_ok(hf_drain(e, 10000));
        assert_int_equal(atomic_load(&seen->done), 20);
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(name, types); /* and that was forgotten */
        assert_int_equal(atomic_load(&seen->gone), 1);
        send(e, "a", 1, 1);
        ring_ok(hf_drain(e, 10000));
        assert_int_equal(atomic_load(&seen->done), 21);
        ring_ok(hf_close(e, HF_NEVER));
    }
}

/* The count of failures in a row goes on, too. */
static void test_row_goes_on(void **state)
{
    const hf_type types[] = { { .name = "a", .handle = call_service, .retry_ms = 60000,
                                .break_after = 3, .break_ms = 60000 }, { 0 } };
    (void)state;
    forget_all();
    atomic_store(&seen->down, 1);
    hf_engine *e = open_with("row", types);
    send(e, "a", 2, 1);
    until_at_least(&seen->calls, 2);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_with("row", types);
    assert_int_equal(atomic_load(&seen->opened), 0);
    send(e, "a", 9, 1); /* two of these wait behind the first two */
    until_at_least(&seen->opened, 1);
    usleep(20000);
    assert_true(atomic_load(&seen->calls) <= 4); /* 3, and one on the other shard */
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Killed while it is open, and while it probes */

static pid_t run_child(const char *name, uint32_t threads, uint32_t break_ms)
{
    pid_t child = fork();
    if (child)
        return child;
    const hf_type types[] = { typed(threads, 3, break_ms), { 0 } };
    hf_engine *e = NULL;
    if (hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2, .log = log_it,
                                                .window = 64 << 10, .store_max = 64 << 20)))
        _exit(1);
    hf_letter letter = { .size = sizeof letter, .to = "a/1", .kind = "k" };
    for (int i = 0; i < 20; i++)
        if (hf_mail(e, &letter, 1, NULL))
            _exit(2);
    atomic_store(&seen->sent, 1);
    for (;;)
        usleep(1000);
}

static void kill_child(pid_t child)
{
    int status;
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void test_killed(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        uint32_t threads = round & 1 ? 4 : 0;
        bool probing = round & 2;
        char name[32];
        (void)snprintf(name, sizeof name, "killed-%d", round);
        forget_all();
        atomic_store(&seen->down, 1);
        pid_t child = run_child(name, threads, 1000);
        until_at_least(&seen->opened, 1);
        until_at_least(&seen->sent, 1);
        if (probing) {
            atomic_store(&seen->verdict, HANGS);
            until_at_least(&seen->calls, 4); /* the probe is lost in the crash */
        } else {
            usleep(100000); /* what opened it is on disk */
        }
        kill_child(child);
        atomic_store(&seen->verdict, FAILS);
        int before = atomic_load(&seen->calls);
        assert_int_equal(before, probing ? 4 : 3);
        const hf_type types[] = { typed(threads, 3, 1000), { 0 } };
        hf_engine *e = open_with(name, types);
        until_at_least(&seen->stays, 1); /* one is tried */
        assert_true(atomic_load(&seen->at[before]) - atomic_load(&seen->at[2]) >= 990);
        usleep(300000);
        assert_int_equal(atomic_load(&seen->calls), before + 1);
        atomic_store(&seen->down, 0);
        until_at_least(&seen->done, 20);
        ring_ok(hf_drain(e, 10000));
        assert_int_equal(atomic_load(&seen->done), 20);
        assert_int_equal(atomic_load(&seen->calls), before + 1 + 20);
        ring_ok(hf_close(e, HF_NEVER));
    }
}

/* The retry's own time holds, however short the breaker's. */
static void test_later_of_both(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = call_service, .retry_ms = 800, .break_after = 1, .break_ms = 50 },
        { 0 } };
    (void)state;
    forget_all();
    atomic_store(&seen->down, 1);
    hf_engine *e = open_with("later", types);
    send(e, "a", 1, 1);
    until_at_least(&seen->opened, 1);
    atomic_store(&seen->down, 0);
    until_at_least(&seen->done, 1);
    assert_int_equal(atomic_load(&seen->calls), 2);
    assert_true(atomic_load(&seen->at[1]) - atomic_load(&seen->at[0]) >= 590);
    ring_ok(hf_close(e, HF_NEVER));
}

/* The alarm's name, which tells whether it counts, ends with what waited for its retry. */
static int on_retried(hf_turn *turn, const hf_message *msg)
{
    if (msg->cause != HF_ALARM)
        hf_set_alarm(turn, "soon", 0, hf_str(""));
    else if (msg->attempt == 1)
        return hf_fail(turn, 1, "not yet");
    else
        atomic_fetch_add(&seen->done, 1);
    return HF_OK;
}

static void test_alarm_that_is_retried(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = on_retried, .break_after = 100, .retry_ms = 1 }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = open_with("retried", types);
    for (int i = 1; i <= 20; i++) {
        send(e, "a", 1, 1);
        until_at_least(&seen->done, i);
    }
    ring_ok(hf_close(e, HF_NEVER));
}

int main(int argc, char **argv)
{
    seen = ring_shared(sizeof *seen);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_one_by_one),
        cmocka_unit_test(test_orders_of_a_pool), cmocka_unit_test(test_orders_of_a_shard),
        cmocka_unit_test(test_queued_ones),
        cmocka_unit_test(test_snooze_and_bury), cmocka_unit_test(test_percent),
        cmocka_unit_test(test_later_of_both), cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_row_goes_on), cmocka_unit_test(test_killed),
        cmocka_unit_test(test_alarm_that_is_retried),
    };
    const struct CMUnitTest minute[] = { cmocka_unit_test(test_minute) };
    if (argc > 1 && strcmp(argv[1], "minute") == 0)
        return cmocka_run_group_tests(minute, ring_make_root, ring_remove_root);
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
