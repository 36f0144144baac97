/* test_rate.c - never more than `rate` turns of a type begin in any rate_ms: in a pool, on
 * the shards, for one actor and for many, over restarts and deaths. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"
#include "storage/clock.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum { TURNS = 8192 };

static struct shared {
    atomic_int turns, attempts, others;
    atomic_int hang;
    _Atomic uint64_t at[TURNS]; /* us; by number of the turn */
} *seen;

static void forget_all(void)
{
    memset(seen, 0, sizeof *seen);
}

static uint64_t now_us(void)
{
    return hf_clock_mono_ns() / 1000;
}

static int count(hf_turn *turn, const hf_message *msg)
{
    uint64_t at = now_us();
    int n = atomic_fetch_add(&seen->turns, 1);
    (void)turn;
    if (n < TURNS)
        atomic_store(&seen->at[n], at);
    if (msg->attempt > 1)
        atomic_fetch_add(&seen->attempts, 1);
    while (atomic_load(&seen->hang))
        usleep(1000);
    return HF_OK;
}

static int other(hf_turn *turn, const hf_message *msg)
{
    (void)turn, (void)msg;
    atomic_fetch_add(&seen->others, 1);
    return HF_OK;
}

static hf_engine *open_with(const char *name, const hf_type *types)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

static void send(hf_engine *e, int actors, int each)
{
    char to[32];
    for (int i = 0; i < actors * each; i++) {
        (void)snprintf(to, sizeof to, "a/%d", i % actors);
        ring_ok(hf_post(e, HF_LETTER(.to = to, .body = hf_str("a body")), 1, NULL, NULL));
    }
    ring_ok(hf_sync(e, 10000));
}

static void until_turns(int wanted)
{
    for (int i = 0; i < 30000 && atomic_load(&seen->turns) < wanted; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&seen->turns), wanted);
}

static int by_time(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;
    return (*a > *b) - (*a < *b);
}

/* The handler looks at the clock a moment after its turn began; of two turns the later one's
 * moment may be shorter. */
static void check(uint32_t rate, uint32_t rate_ms, int turns, uint32_t late_us)
{
    static uint64_t at[TURNS];
    for (int i = 0; i < turns; i++)
        at[i] = atomic_load(&seen->at[i]);
    qsort(at, (size_t)turns, sizeof *at, by_time);
    for (int i = (int)rate; i < turns; i++)
        assert_true(at[i] - at[i - (int)rate] + late_us >= (uint64_t)rate_ms * 1000);
    /* Nor much slower: a wake-up may be late on a busy machine. */
    uint64_t lasted = at[turns - 1] - at[0],
             ideal = (uint64_t)((turns - 1) / (int)rate) * rate_ms * 1000;
    assert_true(lasted < ideal * 3 + 2000000);
}

static void run(const char *name, uint32_t threads, uint32_t rate, uint32_t rate_ms, int actors,
                int each)
{
    const hf_type types[] = { { .name = "a", .handle = count, .threads = threads, .rate = rate,
                                .rate_ms = rate_ms }, { .name = "b", .handle = other }, { 0 } };
    forget_all();
    hf_engine *e = open_with(name, types);
    send(e, actors, each);
    until_turns(actors * each);
    check(rate, rate_ms, actors * each, 50000);
    assert_int_equal(atomic_load(&seen->attempts), 0); /* held work burns no try */
    ring_ok(hf_tell(e, "b/1", "", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen->others), 1);
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.waiting, 0);
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_shards(void **state)
{
    (void)state;
    run("shard-one", 0, 5, 200, 1, 30);
    run("shard-many", 0, 10, 200, 60, 1);
    run("shard-few", 0, 7, 200, 5, 9);
}

static void test_pools(void **state)
{
    (void)state;
    run("pool-one", 2, 5, 200, 1, 30);
    run("pool-many", 16, 10, 200, 60, 1);
    run("pool-fast", 4, 600, 300, 400, 5);
}

/* Turns that were admitted and wait for a thread are no burst when there is one. */
static void test_slow_threads(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = count, .threads = 2, .rate = 6,
                                       .rate_ms = 300 }, { 0 } };
    (void)state;
    forget_all();
    atomic_store(&seen->hang, 1);
    hf_engine *e = open_with("slow", types);
    send(e, 40, 1);
    until_turns(2);
    usleep(700000);
    assert_int_equal(atomic_load(&seen->turns), 2);
    atomic_store(&seen->hang, 0);
    until_turns(40);
    check(6, 300, 40, 50000);
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_close(e, HF_NEVER));
}

static int collect(void *user, hf_bytes row)
{
    char *text = user;
    size_t len = strlen(text);
    for (size_t i = 0; i < row.len && len < 4000; i++) {
        char c = ((const char *)row.data)[i];
        text[len++] = c >= ' ' && c < 127 ? c : '.';
    }
    text[len] = 0;
    return HF_OK;
}

static void test_held_and_shown(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = count, .rate = 2, .rate_ms = 60000 },
                                     { .name = "b", .handle = other }, { 0 } };
    static const uint8_t args[] = { 0x81, 0xa5, 'a', 'c', 't', 'o', 'r', 0xa3, 'a', '/', '0' };
    char text[4096] = "";
    hf_store *store;
    (void)state;
    forget_all();
    hf_engine *e = open_with("held", types);
    send(e, 1, 10);
    until_turns(2);
    for (int i = 0; i < 100; i++) /* others go on */
        ring_ok(hf_post(e, HF_LETTER(.to = "b/1"), 1, NULL, NULL));
    ring_ok(hf_sync(e, 10000));
    ring_ok(hf_drain(e, 10000)); /* what is held does not count */
    assert_int_equal(atomic_load(&seen->others), 100);
    assert_int_equal(atomic_load(&seen->turns), 2);
    ring_ok(hf_pause(e, "a", NULL, NULL));
    ring_ok(hf_resume(e, "a"));
    usleep(20000);
    assert_int_equal(atomic_load(&seen->turns), 2);
    ring_ok(hf_store_open(&store, ring_path("held"), 5000));
    ring_ok(hf_query(store, "actor", hf_view(args, sizeof args), collect, text));
    assert_non_null(strstr(text, "why.rate"));
    assert_non_null(strstr(text, "held"));
    text[0] = 0;
    ring_ok(hf_query(store, "stats", hf_view(NULL, 0), collect, text));
    assert_non_null(strstr(text, "limits"));
    assert_non_null(strstr(text, "rate_ms"));
    hf_store_close(store);
    ring_ok(hf_close(e, 1000)); /* nothing runs: at once */
}

/* ---- Over restarts */

static void test_reopen(void **state)
{
    (void)state;
    for (uint32_t threads = 0; threads <= 4; threads += 4) {
        const hf_type types[] = { { .name = "a", .handle = count, .threads = threads, .rate = 5,
                                    .rate_ms = 800 }, { 0 } },
                      none[] = { { .name = "a", .handle = count, .threads = threads }, { 0 } };
        const char *name = threads ? "reopen-pool" : "reopen-shard";
        forget_all();
        uint64_t start = now_us();
        hf_engine *e = open_with(name, types);
        send(e, 15, 1);
        until_turns(5); /* a new store: at once */
        assert_true(now_us() - start < 700000);
        for (int i = 0; i < 5; i++) {
            ring_ok(hf_close(e, HF_NEVER));
            e = open_with(name, types);
        }
        until_turns(15);
        check(5, 800, 15, 50000);
        ring_ok(hf_drain(e, 10000));
        usleep(900000);
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(name, types); /* long ago: no reason to wait */
        start = now_us();
        send(e, 5, 1);
        until_turns(20);
        assert_true(now_us() - start < 700000);
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(name, none); /* no limit any more */
        start = now_us();
        send(e, 100, 1);
        until_turns(120);
        assert_true(now_us() - start < 700000);
        ring_ok(hf_drain(e, 10000));
        ring_ok(hf_close(e, HF_NEVER));
    }
}

static void test_killed(void **state)
{
    (void)state;
    for (uint32_t threads = 0; threads <= 4; threads += 4) {
        const hf_type types[] = { { .name = "a", .handle = count, .threads = threads,
                                    .strikes = HF_NEVER, .rate = 5, .rate_ms = 350 }, { 0 } };
        const char *name = threads ? "killed-pool" : "killed-shard";
        forget_all();
        for (int life = 0; life < 4; life++) {
            pid_t child = fork();
            if (!child) {
                hf_engine *e = NULL;
                hf_letter letter = { .size = sizeof letter, .to = "a/1" };
                char to[16];
                if (hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                            .window = 64 << 10, .store_max = 64 << 20)))
                    _exit(1);
                for (int i = 0; i < 8; i++) {
                    (void)snprintf(to, sizeof to, "a/%d", life * 8 + i);
                    letter.to = to;
                    if (hf_mail(e, &letter, 1, NULL))
                        _exit(2);
                }
                for (;;)
                    usleep(1000);
            }
            int before = atomic_load(&seen->turns), status;
            for (int i = 0; i < 10000 && atomic_load(&seen->turns) < before + 5; i++)
                usleep(1000);
            assert_true(atomic_load(&seen->turns) >= before + 5);
            (void)kill(child, SIGKILL); /* at once: the turns may not be on disk */
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(WIFSIGNALED(status));
        }
        hf_engine *e = open_with(name, types);
        hf_stats stats = HF_STATS;
        do {
            usleep(10000);
            ring_ok(hf_stat(e, &stats));
        } while (stats.waiting);
        ring_ok(hf_close(e, HF_NEVER));
        assert_true(atomic_load(&seen->turns) >= 32);
        check(5, 350, atomic_load(&seen->turns), 50000);
    }
}

int main(void)
{
    seen = ring_shared(sizeof *seen);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards), cmocka_unit_test(test_pools),
        cmocka_unit_test(test_slow_threads), cmocka_unit_test(test_held_and_shown),
        cmocka_unit_test(test_reopen), cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
