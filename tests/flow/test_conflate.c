/* test_conflate.c - of letters that replace each other only the newest is handled, and
 * tells how many it replaced: no more and no less, in the window, in the tables, through
 * retries, reopens and kills, on shards and in pools. */
#include "tests/support/ring.h"

#include "storage/view.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static atomic_int turns, go, fails;
static char seen[4096];

/* "kind:body+replaced " of each turn */
static int note(hf_turn *turn, const hf_message *msg)
{
    char text[128];
    (void)turn;
    (void)snprintf(text, sizeof text, "%s:" HF_FMT "+%u ", msg->kind, HF_ARG(msg->body),
                   msg->replaced);
    if (strlen(seen) + strlen(text) < sizeof seen)
        strcat(seen, text);
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static int fail_at_first(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "pos") == 0 && atomic_load(&fails) > 0) {
        atomic_fetch_sub(&fails, 1);
        return hf_fail(turn, 1, "not yet");
    }
    return note(turn, msg);
}

static int hold(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "block") == 0)
        while (!atomic_load(&go))
            usleep(500);
    return note(turn, msg);
}

static const hf_type TYPES[] = {
    { .name = "a", .handle = note },
    { .name = "p", .handle = note, .threads = 2 },
    { .name = "f", .handle = fail_at_first, .retry_ms = 50, .retry_ms_max = 50 },
    { .name = "pf", .handle = fail_at_first, .threads = 1, .retry_ms = 50, .retry_ms_max = 50 },
    { .name = "b", .handle = hold, .threads = 1 }, { 0 } };

static void forget(void)
{
    atomic_store(&turns, 0);
    atomic_store(&go, 0);
    atomic_store(&fails, 0);
    seen[0] = 0;
}

static hf_engine *open_with(const char *name, const hf_type *types, uint64_t window)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2, .window = window,
                                                   .store_max = 512 << 20)));
    return e;
}

static void put(hf_engine *e, const char *to, const char *kind, const char *body, uint32_t conflate)
{
    ring_ok(hf_mail(e, HF_LETTER(.to = to, .kind = kind, .body = hf_str(body),
                                 .conflate = conflate), 1, NULL));
}

/* ---- What replaces what */

static void check_order(const char *name, const char *to)
{
    forget();
    hf_engine *e = open_with(name, TYPES, 256 << 10);
    ring_ok(hf_pause(e, to, NULL, NULL));
    put(e, to, "x", "1", 0);
    put(e, to, "pos", "1", 1);
    put(e, to, "x", "2", 0);
    put(e, to, "pos", "2", 1);
    put(e, to, "fuel", "1", 1);
    put(e, to, "pos", "plain", 0); /* not sent so */
    put(e, to, "pos", "3", 1);
    put(e, to, "x", "3", 0);
    put(e, to, "fuel", "2", 1);
    put(e, to, "", "1", 1);
    put(e, to, "", "2", 1);
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_resume(e, to));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen, "x:1+0 pos:3+2 x:2+0 fuel:2+1 pos:plain+0 x:3+0 :2+1 ");
    put(e, to, "pos", "4", 1); /* nothing waits any more */
    ring_ok(hf_drain(e, 10000));
    assert_non_null(strstr(seen, "pos:4+0"));
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.waiting, 0);
    ring_ok(hf_close(e, HF_NEVER));
    forget();
    e = open_with(name, TYPES, 256 << 10);
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.waiting, 0);
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen, "");
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_order(void **state)
{
    (void)state;
    check_order("order", "a/1");
    check_order("order of a pool", "p/1");
}

static void test_arguments(void **state)
{
    (void)state;
    hf_engine *e = open_with("arguments", TYPES, 256 << 10);
    ring_err(hf_mail(e, HF_LETTER(.to = "a/1", .conflate = 1, .join = 1), 1, NULL), HF_EINVAL);
    ring_ok(hf_close(e, HF_NEVER));
}

/* In one call to an idle actor: they wait, too. */
static void test_one_call(void **state)
{
    (void)state;
    forget();
    hf_letter five[5] = { { 0 } };
    hf_engine *e = open_with("call", TYPES, 256 << 10);
    for (int i = 0; i < 5; i++)
        five[i] = (hf_letter){ .size = sizeof *five, .to = "a/1", .kind = "pos", .conflate = 1,
                               .body = hf_view(&"01234"[i], 1) };
    ring_ok(hf_mail(e, five, 5, NULL));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen, "pos:4+4 ");
    ring_ok(hf_close(e, HF_NEVER));
}

/* What was begun is not replaced, and keeps its count. */
static void check_retry(const char *name, const char *to, bool reopen)
{
    forget();
    hf_engine *e = open_with(name, TYPES, 256 << 10);
    ring_ok(hf_pause(e, to, NULL, NULL));
    put(e, to, "pos", "1", 1);
    put(e, to, "pos", "2", 1);
    ring_ok(hf_drain(e, 10000)); /* paused: its shard has seen them both */
    atomic_store(&fails, reopen ? 1000 : 2);
    ring_ok(hf_resume(e, to));
    while (atomic_load(&fails) > (reopen ? 999 : 1))
        usleep(200);
    put(e, to, "pos", "3", 1);
    put(e, to, "pos", "4", 1);
    put(e, to, "pos", "5", 1);
    if (reopen) {
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(name, TYPES, 256 << 10);
        put(e, to, "pos", "6", 1);
        usleep(100000); /* its shard has seen it */
        atomic_store(&fails, 0);
    }
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen, reopen ? "pos:2+1 pos:6+3 " : "pos:2+1 pos:5+2 ");
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_retry(void **state)
{
    (void)state;
    check_retry("retry", "f/1", false);
    check_retry("retry of a pool", "pf/1", false);
    check_retry("retry and reopen", "f/1", true);
    check_retry("retry of a pool and reopen", "pf/1", true);
}

static void test_running(void **state)
{
    (void)state;
    forget();
    hf_engine *e = open_with("running", TYPES, 256 << 10);
    put(e, "b/1", "block", "1", 1);
    usleep(50000);
    put(e, "b/1", "block", "2", 1);
    put(e, "b/1", "block", "3", 1);
    usleep(20000);
    atomic_store(&go, 1);
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen, "block:1+0 block:3+1 ");
    ring_ok(hf_close(e, HF_NEVER));
}

/* A dead letter keeps its count; requeued it is a message like others. */
static int die(hf_turn *turn, const hf_message *msg)
{
    if (atomic_load(&fails))
        return hf_bury(turn, "replaced %u", msg->replaced);
    return note(turn, msg);
}

static void test_dead(void **state)
{
    static const hf_type types[] = { { .name = "d", .handle = die }, { 0 } };
    (void)state;
    forget();
    atomic_store(&fails, 1);
    hf_engine *e = open_with("dead", types, 256 << 10);
    ring_ok(hf_pause(e, "d/1", NULL, NULL));
    for (int i = 0; i < 4; i++)
        put(e, "d/1", "pos", "x", 1);
    ring_ok(hf_resume(e, "d/1"));
    ring_ok(hf_drain(e, 10000));
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.dead, 1);
    assert_int_equal(stats.waiting, 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Very many */

static atomic_int handled, replaced_sum, last_number;

static int count_all(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (strcmp(msg->kind, "pos") == 0) {
        int number = 0;
        memcpy(&number, msg->body.data, sizeof number);
        atomic_store(&last_number, number);
        atomic_fetch_add(&replaced_sum, (int)msg->replaced);
    }
    atomic_fetch_add(&handled, 1);
    return HF_OK;
}

static const hf_type COUNTS[] = { { .name = "a", .handle = count_all },
                                  { .name = "p", .handle = count_all, .threads = 1 }, { 0 } };

enum { MANY = 100000, A_CALL = 500 };

/* Every `each`th is an ordinary message. */
static void mail_many(hf_engine *e, const char *to, int count, int each)
{
    static int numbers[A_CALL];
    static hf_letter letters[A_CALL];
    for (int i = 0; i < count; i += A_CALL) {
        for (int n = 0; n < A_CALL; n++) {
            bool plain = each && (i + n) % each == 0;
            numbers[n] = i + n;
            letters[n] = (hf_letter){ .size = sizeof *letters, .to = to,
                                      .kind = plain ? "x" : "pos", .conflate = !plain,
                                      .body = hf_view(&numbers[n], sizeof numbers[n]) };
        }
        ring_ok(hf_mail(e, letters, A_CALL, NULL));
    }
}

static void check_many(const char *name, const char *to, int each, bool reopen, uint64_t window)
{
    struct timespec t0, t1;
    int plain = each ? (MANY + each - 1) / each : 0;
    atomic_store(&handled, 0);
    atomic_store(&replaced_sum, 0);
    hf_engine *e = open_with(name, COUNTS, window);
    ring_ok(hf_pause(e, to, NULL, NULL));
    mail_many(e, to, MANY, each);
    if (reopen) {
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(name, COUNTS, window);
    }
    ring_ok(hf_drain(e, 60000)); /* its shard knows of all of them */
    hf_stats stats = HF_STATS;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
    ring_ok(hf_resume(e, to));
    ring_ok(hf_drain(e, HF_NEVER));
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
    assert_true(t1.tv_sec - t0.tv_sec < 30);
    assert_int_equal(atomic_load(&handled), plain + 1);
    assert_int_equal(atomic_load(&replaced_sum), MANY - plain - 1);
    assert_int_equal(atomic_load(&last_number), each == 3 ? MANY - 2 : MANY - 1);
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.waiting, 0);
    mail_many(e, to, A_CALL, 2);
    ring_ok(hf_drain(e, 10000));
    assert_true(atomic_load(&handled) >= plain + 1 + A_CALL / 2 + 1);
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_many(void **state)
{
    (void)state;
    check_many("many", "a/1", 0, false, 64 << 20);
    check_many("many in tables", "a/1", 0, false, 64 << 10);
    check_many("many of a pool", "p/1", 0, false, 64 << 10);
    check_many("many and reopen", "a/1", 0, true, 64 << 10);
    check_many("many among others", "a/1", 3, false, 64 << 10);
    check_many("many among others, reopen", "p/1", 10, true, 64 << 10);
    check_many("many in an old window", "a/1", 7, true, 64 << 20);
}

/* Rows of an actor that may not run, which nobody read yet: the fold goes by meanwhile,
 * and stops `before` messages later, where a letter waits that is no row yet. */
static void check_unread(const char *name, const char *to, int before)
{
    static char long_body[1001];
    memset(long_body, 'x', sizeof long_body - 1);
    hf_engine *e = open_with(name, TYPES, 64 << 10);
    ring_ok(hf_pause(e, to, NULL, NULL));
    put(e, to, "pos", "1", 1);
    put(e, to, "pos", "2", 1);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_with(name, TYPES, 64 << 10);
    for (int i = 0; i < before + 30; i++) {
        if (i == before)
            put(e, to, "pos", "3", 1);
        put(e, "a/2", "x", long_body, 0);
    }
    ring_ok(hf_drain(e, 10000));
    forget();
    put(e, to, "pos", "4", 1);
    ring_ok(hf_drain(e, 10000)); /* it was read when the actor goes on */
    ring_ok(hf_resume(e, to));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen, "pos:4+3 ");
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_unread(void **state)
{
    char name[32];
    (void)state;
    for (int before = 10; before < 90; before += 8) {
        (void)snprintf(name, sizeof name, "unread %d", before);
        check_unread(name, before % 16 == 10 ? "a/1" : "p/1", before);
    }
}

/* Very many kinds, two of each. */
static void test_many_kinds(void **state)
{
    (void)state;
    enum { KINDS = 20000 };
    static char kinds[A_CALL][12];
    static hf_letter letters[A_CALL];
    atomic_store(&handled, 0);
    hf_engine *e = open_with("kinds", COUNTS, 1 << 20);
    ring_ok(hf_pause(e, "a/1", NULL, NULL));
    for (int i = 0; i < 2 * KINDS; i += A_CALL) {
        for (int n = 0; n < A_CALL; n++) {
            (void)snprintf(kinds[n], sizeof *kinds, "k%d", (i + n) % KINDS);
            letters[n] = (hf_letter){ .size = sizeof *letters, .to = "a/1", .kind = kinds[n],
                                      .conflate = 1 };
        }
        ring_ok(hf_mail(e, letters, A_CALL, NULL));
    }
    ring_ok(hf_drain(e, 60000));
    ring_ok(hf_resume(e, "a/1"));
    ring_ok(hf_drain(e, 60000));
    assert_int_equal(atomic_load(&handled), KINDS);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Killed */

enum { ACTORS = 4, KILLS = 16 };
typedef struct sum {
    uint64_t letters, newest, plain, wrong;
} sum;
typedef struct shared {
    atomic_int ready;
    _Atomic uint64_t tried[ACTORS], taken[ACTORS], plain_tried[ACTORS], plain_taken[ACTORS];
} shared;

static int add_up(hf_turn *turn, const hf_message *msg)
{
    sum s = { 0 };
    hf_bytes old = hf_state(turn);
    uint64_t number = 0;
    if (old.len == sizeof s)
        memcpy(&s, old.data, sizeof s);
    memcpy(&number, msg->body.data, sizeof number);
    if (strcmp(msg->kind, "x") == 0) {
        s.wrong += number != s.plain + 1;
        s.plain = number;
    } else {
        s.letters += 1 + msg->replaced;
        s.wrong += number <= s.newest;
        s.newest = number;
    }
    hf_save(turn, hf_view(&s, sizeof s));
    if (number % 17 == 0 && msg->attempt == 1)
        return hf_fail(turn, 1, "again");
    if (msg->worker)
        usleep(300);
    return HF_OK;
}

static const hf_type SUMS[] = {
    { .name = "a", .handle = add_up, .retry_ms = 5, .retry_ms_max = 5, .strikes = HF_NEVER },
    { .name = "p", .handle = add_up, .threads = 2, .retry_ms = 5, .retry_ms_max = 5,
      .strikes = HF_NEVER }, { 0 } };

static void address_of(int actor, char to[8])
{
    (void)snprintf(to, 8, "%s/%d", actor % 2 ? "p" : "a", actor);
}

static void child(const char *path, shared *s)
{
    hf_engine *e = NULL;
    char to[8];
    if (hf_open(&e, path, HF_OPTIONS(.types = SUMS, .shards = 2, .window = 64 << 10,
                                     .store_max = 512 << 20)))
        _exit(2);
    atomic_store(&s->ready, 1);
    for (unsigned round = 0;; round++) {
        int i = (int)(round / 40 % ACTORS);
        uint64_t number, plain;
        hf_letter two[20] = { { 0 } };
        uint64_t numbers[20];
        address_of(i, to);
        number = atomic_load(&s->tried[i]);
        plain = atomic_load(&s->plain_tried[i]);
        for (int n = 0; n < 20; n++) {
            bool is_plain = n == 13 && round % 3 == 0;
            numbers[n] = is_plain ? ++plain : ++number;
            two[n] = (hf_letter){ .size = sizeof *two, .to = to, .kind = is_plain ? "x" : "pos",
                                  .conflate = !is_plain,
                                  .body = hf_view(&numbers[n], sizeof *numbers) };
        }
        atomic_store(&s->tried[i], number);
        atomic_store(&s->plain_tried[i], plain);
        if (round % 97 == 0)
            (void)hf_pause(e, to, NULL, NULL);
        if (hf_mail(e, two, 20, NULL))
            _exit(3);
        atomic_fetch_add(&s->taken[i], number - (number - 20 + (round % 3 == 0)));
        if (round % 97 == 60)
            for (int all = 0; all < ACTORS; all++) {
                address_of(all, to);
                (void)hf_resume(e, to);
            }
    }
}

/* What was in doubt at a kill is settled by asking the store: numbers go on from there. */
static void settle(shared *s, uint64_t wanted[ACTORS], const char *path)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, path, HF_OPTIONS(.types = SUMS, .shards = 2, .window = 64 << 10,
                                         .store_max = 512 << 20)));
    for (int i = 0; i < ACTORS; i++) {
        char to[8];
        address_of(i, to);
        (void)hf_resume(e, to);
    }
    ring_ok(hf_drain(e, 30000));
    ring_ok(hf_close(e, HF_NEVER));
    hf_disk *disk;
    hf_view_of *view;
    ring_ok(hf_disk_open(&disk, path, &(hf_disk_options){ .flags = HF_LOOK }));
    ring_ok(hf_view_open(&view, disk));
    for (int i = 0; i < ACTORS; i++) {
        char to[8];
        hf_bytes image;
        uint64_t version, tried = atomic_load(&s->tried[i]);
        sum got = { 0 };
        address_of(i, to);
        if (hf_view_state(view, to, &image, &version) == HF_OK)
            memcpy(&got, image.data, sizeof got);
        assert_int_equal(got.wrong, 0);
        /* all that was told to be taken, and at most the call that was in doubt */
        assert_true(got.letters >= wanted[i] + atomic_load(&s->taken[i]));
        assert_true(got.letters <= wanted[i] + atomic_load(&s->taken[i]) + 20);
        assert_true(got.newest <= tried);
        wanted[i] = got.letters;
        atomic_store(&s->tried[i], got.newest);
        atomic_store(&s->plain_tried[i], got.plain);
        atomic_store(&s->taken[i], 0);
    }
    hf_view_close(view);
    hf_disk_close(disk);
}

static void test_killed(void **state)
{
    (void)state;
    uint64_t wanted[ACTORS] = { 0 };
    shared *s = ring_shared(sizeof *s);
    srandom((unsigned)time(NULL));
    for (int i = 0; i < KILLS; i++) {
        atomic_store(&s->ready, 0);
        pid_t pid = fork();
        if (!pid)
            child(ring_path("killed"), s);
        for (int n = 0; n < 10000 && !atomic_load(&s->ready); n++)
            usleep(1000);
        usleep((useconds_t)(50000 + random() % 300000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        settle(s, wanted, ring_path("killed"));
    }
    munmap(s, sizeof *s);
}

/* The newest one's time may be over before its turn comes: it is dead, with those it replaced. */
static void check_expired(const char *name, const char *to, bool reopen)
{
    forget();
    hf_engine *e = open_with(name, TYPES, 256 << 10);
    ring_ok(hf_pause(e, to, NULL, NULL));
    put(e, to, "fuel", "1", 1);
    for (int i = 0; i < 3; i++)
        ring_ok(hf_mail(e, HF_LETTER(.to = to, .kind = i < 2 ? "fuel" : "alone", .conflate = 1,
                                     .expires_ms = 20), 1, NULL));
    ring_ok(hf_mail(e, HF_LETTER(.to = to, .kind = "pos", .conflate = 1, .expires_ms = 20), 1,
                    NULL));
    put(e, to, "pos", "2", 1);
    usleep(50000);
    if (reopen) {
        ring_ok(hf_close(e, HF_NEVER));
        e = open_with(name, TYPES, 256 << 10);
    }
    ring_ok(hf_resume(e, to));
    ring_ok(hf_drain(e, 30000));
    assert_string_equal(seen, "pos:2+1 ");
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.dead, 2);
    assert_int_equal(stats.waiting, 0);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_with(name, TYPES, 256 << 10);
    ring_ok(hf_drain(e, 30000));
    assert_string_equal(seen, "pos:2+1 ");
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_expired(void **state)
{
    (void)state;
    check_expired("expired", "a/1", false);
    check_expired("expired, opened", "a/1", true);
    check_expired("expired of a pool", "p/1", false);
    check_expired("expired of a pool, opened", "p/1", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),   cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_one_call), cmocka_unit_test(test_retry),
        cmocka_unit_test(test_running), cmocka_unit_test(test_dead),
        cmocka_unit_test(test_many),    cmocka_unit_test(test_many_kinds),
        cmocka_unit_test(test_killed),  cmocka_unit_test(test_unread),
        cmocka_unit_test(test_expired),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
