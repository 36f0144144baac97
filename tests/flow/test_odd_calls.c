/* test_odd_calls.c - calls as nobody should make them: huge numbers, bytes at NULL, strings
 * without an end, kinds that look like the engine's own, hooks that call. Each is answered as
 * the header says, and nothing is read that is not the caller's. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

static atomic_int turns, seen_err;
static char seen_error[300];

static int count(hf_turn *turn, const hf_message *msg)
{
    (void)turn, (void)msg;
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static void note_error(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)snprintf(seen_error, sizeof seen_error, "%s", msg->error);
    atomic_store(&seen_err, msg->err);
}

/* ---- Kinds are the sender's, also those that begin as the ticks of a schedule do */

static void test_kind_like_a_tick(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = count },
                                     { .name = "p", .handle = count, .threads = 1 },
                                     { 0 } };
    static const char *const kinds[] = { "\x01x", "\x02x", "\x03x", "\x02", "\x03", "\x04" };
    (void)state;
    atomic_store(&turns, 0);
    hf_engine *e = ring_open("tick", types);
    for (int i = 0; i < 12; i++)
        ring_ok(
            hf_mail(e, HF_LETTER(.to = i % 2 ? "p/1" : "a/1", .kind = kinds[i / 2], .delay_ms = 20),
                    1, NULL));
    ring_until(&turns, 12);
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- A snooze for ever */

static int snooze(hf_turn *turn, const hf_message *msg)
{
    atomic_fetch_add(&turns, 1);
    return hf_snooze(turn, strtoull(msg->kind, NULL, 10));
}

static void test_snooze_for_ever(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = snooze },
                                     { .name = "p", .handle = snooze, .threads = 1 },
                                     { 0 } };
    static const char *const delays[] = { "18446744073709551615", "9223372036854775807",
                                          "18446744073710", "18446744073709551" };
    (void)state;
    atomic_store(&turns, 0);
    hf_engine *e = ring_open("snooze", types);
    for (int i = 0; i < 8; i++) {
        char to[20];
        (void)snprintf(to, sizeof to, "%c/%d", i % 2 ? 'p' : 'a', i);
        ring_ok(hf_tell(e, to, delays[i / 2], hf_str("")));
    }
    ring_until(&turns, 8);
    for (int life = 0; life < 2; life++) {
        ring_err(hf_drain(e, 100), HF_ETIMEDOUT);
        assert_int_equal(atomic_load(&turns), 8);
        ring_ok(hf_close(e, HF_NEVER));
        e = ring_open("snooze", types);
    }
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Bytes at NULL */

static int end_at_null(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    (void)msg;
    int err = hf_begin_step(turn, "pay", &step);
    if (err != HF_TODO)
        return hf_bury(turn, "begun before");
    err = hf_end_step(turn, &step, hf_view(NULL, 5));
    if (err != HF_EINVAL)
        return hf_bury(turn, "the step ended: %d", err);
    return hf_end_step(turn, &step, hf_view(NULL, 0));
}

static int save_at_null(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    hf_save(turn, hf_view(NULL, 5));
    return HF_OK;
}

static void test_bytes_at_null(void **state)
{
    static const hf_type types[] = {
        { .name = "p", .handle = end_at_null, .failed = note_error, .threads = 1, .tries = 1 },
        { .name = "a", .handle = save_at_null, .failed = note_error, .tries = 1 },
        { 0 }
    };
    (void)state;
    atomic_store(&seen_err, 0);
    hf_engine *e = ring_open("null", types);
    ring_ok(hf_tell(e, "p/1", "k", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen_err), 0);
    ring_ok(hf_tell(e, "a/1", "k", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen_err), HF_EINVAL);
    assert_non_null(strstr(seen_error, "at NULL"));
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- A step that the failed hook of the last attempt begins is undone as all others */

static int fail_always(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return hf_fail(turn, 1, "no");
}

static void note_outside(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    if (msg->status == HF_DEAD && hf_begin_step(turn, "complain", &step) == HF_TODO)
        (void)hf_end_step(turn, &step, hf_str("done"));
}

static int unsay(hf_turn *turn, const hf_message *msg, const hf_step *step)
{
    (void)turn, (void)msg;
    atomic_fetch_add(&turns, strcmp(step->name, "complain") == 0 && step->result.len == 4);
    return HF_OK;
}

static void test_step_of_a_hook(void **state)
{
    static const hf_type types[] = { { .name = "p",
                                       .handle = fail_always,
                                       .failed = note_outside,
                                       .undo = unsay,
                                       .threads = 1,
                                       .tries = 2,
                                       .retry_ms = 1 },
                                     { 0 } };
    hf_stats stats = HF_STATS;
    (void)state;
    atomic_store(&turns, 0);
    hf_engine *e = ring_open("hook", types);
    ring_ok(hf_tell(e, "p/1", "k", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(atomic_load(&turns), 1);
    assert_int_equal(stats.dead, 1);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Strings without an end: what lies behind them must not be looked at */

static const char *endless(char first, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    assert_int_equal(mprotect(at + page, page, PROT_NONE), 0);
    memset(at, 'k', page);
    at[page - len] = first;
    at[page - len + 1] = '/';
    return at + page - len;
}

static void nobody(void *user, int err, hf_bytes answer)
{
    (void)user, (void)err, (void)answer;
}

static void test_strings_without_end(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = count }, { 0 } };
    const char *address = endless('a', 256), *topic = endless('@', 129), *name = endless('n', 128);
    hf_engine *none = (hf_engine *)(void *)types;
    (void)state;
    hf_engine *e = ring_open("endless", types);
    ring_err(hf_tell(e, address, "k", hf_str("")), HF_EINVAL);
    ring_err(hf_ask(e, HF_LETTER(.to = address), 10, nobody, NULL), HF_EINVAL);
    ring_err(hf_peek(e, address, nobody, NULL), HF_EINVAL);
    ring_err(hf_pause(e, address, NULL, NULL), HF_EINVAL);
    ring_err(hf_subscribe(e, "@t", address), HF_EINVAL);
    ring_err(hf_subscribe(e, topic, "a/1"), HF_EINVAL);
    ring_err(hf_tell(e, topic, "k", hf_str("")), HF_EINVAL);
    ring_err(hf_tell(e, "a/1", name, hf_str("")), HF_EINVAL);
    ring_err(hf_mail(e, HF_LETTER(.to = "a/1", .dedupe = name), 1, NULL), HF_EINVAL);
    ring_ok(hf_close(e, HF_NEVER));
    ring_err(hf_open(&none, NULL, HF_OPTIONS(.types = types)), HF_EINVAL);
    assert_null(none);
}

/* ---- hf_stat in a hook, also in one of hf_close, where half of the engine is gone */

static hf_engine *watched;
static atomic_int hooked;

static void look(void *user, const char *actor, hf_bytes bytes)
{
    hf_stats stats = HF_STATS;
    (void)user, (void)actor, (void)bytes;
    if (hf_stat(watched, &stats) == HF_EDEADLOCK)
        atomic_fetch_add(&hooked, 1);
}

static void test_stat_in_hooks(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = count, .awake = look, .asleep = look }, { 0 }
    };
    (void)state;
    atomic_store(&hooked, 0);
    watched = ring_open("hooks", types);
    ring_ok(hf_tell(watched, "a/1", "k", hf_str("")));
    ring_ok(hf_drain(watched, 10000));
    assert_int_equal(atomic_load(&hooked), 1);
    ring_ok(hf_close(watched, HF_NEVER));
    assert_int_equal(atomic_load(&hooked), 2);
}

/* ---- What hf_pause and hf_find tell of a waiting message is what its turn will find */

typedef struct told {
    uint32_t count, urgency;
    uint64_t expires, due, retry;
} told;

static int tell(void *user, const hf_message *msg)
{
    told *t = user;
    t->count++;
    if (msg->expires) {
        t->expires = msg->expires;
        t->urgency = msg->urgency;
    }
    t->due |= msg->due;
    t->retry |= msg->retry;
    return HF_OK;
}

static void test_told_while_paused(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = count }, { 0 } };
    hf_stats stats = HF_STATS;
    hf_store *store;
    told paused = { 0 }, found = { 0 };
    (void)state;
    hf_engine *e = ring_open("told", types);
    ring_ok(hf_pause(e, "a", NULL, NULL));
    ring_ok(hf_mail(e, HF_LETTER(.to = "a/1", .expires_ms = 3600000, .urgency = 5), 1, NULL));
    ring_ok(hf_mail(e, HF_LETTER(.to = "a/1", .delay_ms = 10), 1, NULL));
    for (int i = 0; i < 10000 && stats.waiting < 2; i++) {
        usleep(1000);
        ring_ok(hf_stat(e, &stats));
    }
    ring_ok(hf_pause(e, "a", tell, &paused));
    ring_ok(hf_store_open(&store, ring_path("told"), 2000));
    ring_ok(hf_find(store, NULL, tell, &found));
    hf_store_close(store);
    assert_int_equal(paused.count, 2);
    assert_true(paused.expires > 3600000 && paused.due > 0);
    assert_int_equal(paused.urgency, 5);
    assert_int_equal(paused.retry, 0); /* neither was tried before */
    assert_int_equal(found.count, 2);
    assert_true(found.expires > 3600000 && found.due > 0);
    assert_int_equal(found.urgency, 5);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Too few descriptors: is said so, and not to be a want of memory */

static void open_with_few(const hf_type *types)
{
    struct rlimit few;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), said = 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &few), 0);
    (void)close(fd);
    for (int more = 4; more < 20; more++) {
        hf_engine *e = NULL;
        few.rlim_cur = (rlim_t)fd + (rlim_t)more;
        (void)setrlimit(RLIMIT_NOFILE, &few);
        int err = hf_open(&e, ring_path("few"), HF_OPTIONS(.types = types));
        if (!err)
            (void)hf_close(e, HF_NEVER);
        else if (err != HF_EIO || !strcasestr(hf_detail(), "too many open files"))
            _exit(more);
        else
            said++;
    }
    _exit(said ? 0 : 99);
}

static void test_few_descriptors(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = count }, { 0 } };
    int status = -1;
    (void)state;
    ring_ok(hf_close(ring_open("few", types), HF_NEVER));
    pid_t child = fork();
    if (!child)
        open_with_few(types);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kind_like_a_tick), cmocka_unit_test(test_snooze_for_ever),
        cmocka_unit_test(test_bytes_at_null),    cmocka_unit_test(test_strings_without_end),
        cmocka_unit_test(test_stat_in_hooks),    cmocka_unit_test(test_told_while_paused),
        cmocka_unit_test(test_few_descriptors),  cmocka_unit_test(test_step_of_a_hook),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
