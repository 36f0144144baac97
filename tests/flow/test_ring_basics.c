/* test_ring_basics.c - what each call of holdfast.h promises, one after another. */
#include "tests/support/seen.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <uv.h>

static const hf_type plain[] = { { .name = "a", .handle = just_note }, { 0 } };

/* ---- Calls from outside */

static void test_arguments(void **state)
{
    static char large[(1 << 20) + 1], address[300];
    hf_engine *e = NULL;
    (void)state;
    forget_all();
    ring_err(hf_open(NULL, "x", HF_OPTIONS(.types = plain)), HF_EINVAL);
    ring_err(hf_open(&e, ring_path("none"), NULL), HF_EINVAL);
    ring_err(hf_open(&e, ring_path("none"), HF_OPTIONS(.types = NULL)), HF_EINVAL);
    ring_err(hf_open(&e, ring_path("none"), HF_OPTIONS(.types = plain, .window = 1)), HF_EINVAL);
    const hf_type twice[] = { plain[0], plain[0], { 0 } };
    ring_err(hf_open(&e, ring_path("none"), HF_OPTIONS(.types = twice)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), "\"a\""));
    const hf_type lost[] = { { .name = "a", .handle = just_note, .next = "b" }, { 0 } };
    ring_err(hf_open(&e, ring_path("none"), HF_OPTIONS(.types = lost)), HF_EINVAL);
    assert_non_null(strstr(hf_detail(), ".next"));
    assert_null(e);

    e = ring_open("arguments", plain);
    ring_err(hf_tell(e, "b/1", "k", hf_str("")), HF_ENOTYPE);
    ring_err(hf_tell(e, "a", "k", hf_str("")), HF_EINVAL);
    ring_err(hf_tell(e, NULL, "k", hf_str("")), HF_EINVAL);
    ring_err(hf_tell(NULL, "a/1", "k", hf_str("")), HF_EINVAL);
    memset(address, 'a', 256);
    memcpy(address, "a/", 2);
    ring_err(hf_tell(e, address, "k", hf_str("")), HF_EINVAL);
    address[255] = 0;
    ring_ok(hf_tell(e, address, "k", hf_str("")));
    ring_err(hf_tell(e, "a/1", "k", hf_view(large, sizeof large)), HF_ETOOBIG);
    ring_ok(hf_tell(e, "a/1", "k", hf_view(large, sizeof large - 1)));
    ring_err(hf_mail(e, NULL, 1, NULL), HF_EINVAL);
    ring_err(hf_drain(NULL, 1), HF_EINVAL);
    hf_letter two[] = { { .to = "a/1" }, { .to = "nobody/1" } };
    two[0].size = sizeof two[0];
    ring_err(hf_mail(e, two, 2, NULL), HF_ENOTYPE); /* none of them */
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen.turns), 2);
    ring_ok(hf_close(e, HF_NEVER));
    ring_ok(hf_close(NULL, 0));
}

static void test_message(void **state)
{
    (void)state;
    forget_all();
    hf_engine *e = ring_open("message", plain);
    hf_letter letters[3] = {
        { .size = sizeof letters[0], .to = "a/x/y", .kind = "first", .body = hf_str("one") },
        { .to = "a/2", .kind = "second" },
        { .to = "a/x/y", .kind = "third" }
    };
    hf_receipt receipts[3] = { { 0 } };
    ring_ok(hf_mail(e, letters, 1, receipts));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(seen.last.id, receipts[0].id);
    assert_string_equal(seen.to, "a/x/y");
    assert_string_equal(seen.kind, "first");
    assert_string_equal(seen.body, "one");
    assert_int_equal(strlen(seen.key), 32);
    assert_int_equal(seen.last.attempt, 1);
    assert_int_equal(seen.last.status, HF_RUNNING);
    assert_int_equal(seen.last.err, 0);
    assert_true(seen.last.sent > 1700000000000);
    uint64_t first = receipts[0].id;
    ring_ok(hf_mail(e, letters, 3, receipts));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(receipts[i].err, HF_OK);
        assert_true(receipts[i].id > first);
        assert_true(receipts[i].id != receipts[(i + 1) % 3].id);
    }
    ring_ok(hf_drain(e, 10000));
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.accepted, 4);
    assert_int_equal(stats.committed, 4);
    assert_int_equal(stats.waiting, 0);
    assert_true(stats.commits > 0 && stats.bytes > 0 && stats.commit_p99_us > 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Callbacks */

static atomic_int called;
static pthread_t called_on;
static int in_callback[4];

static void posted(void *user, int err, const hf_receipt *receipts, size_t count)
{
    hf_engine *e = user;
    called_on = pthread_self();
    in_callback[0] = hf_tell(e, "a/1", "k", hf_str(""));
    in_callback[1] = hf_drain(e, 1);
    in_callback[2] = hf_close(e, 1);
    in_callback[3] = hf_pause(e, "a", NULL, NULL);
    assert_true(err || (count == 1 && receipts[0].id > 0));
    atomic_fetch_add(&called, 1);
}

static void check_in_callback(void)
{
    for (int i = 0; i < 4; i++)
        assert_int_equal(in_callback[i], HF_EDEADLOCK);
}

static void test_callback_thread(void **state)
{
    (void)state;
    forget_all();
    atomic_store(&called, 0);
    hf_engine *e = ring_open("callbacks", plain);
    ring_ok(hf_post(e, HF_LETTER(.to = "a/1", .kind = "k"), 1, posted, e));
    ring_err(hf_post(e, HF_LETTER(.to = "b/1"), 1, posted, e), HF_ENOTYPE);
    ring_ok(hf_sync(e, 10000));
    ring_until(&called, 1);
    assert_false(pthread_equal(called_on, pthread_self()));
    check_in_callback();
    ring_ok(hf_close(e, HF_NEVER));
    assert_int_equal(atomic_load(&called), 1);
}

static void test_callback_loop(void **state)
{
    uv_loop_t loop;
    hf_engine *e = NULL;
    (void)state;
    forget_all();
    atomic_store(&called, 0);
    assert_int_equal(uv_loop_init(&loop), 0);
    ring_ok(hf_open(&e, ring_path("loop"), HF_OPTIONS(.types = plain, .loop = &loop)));
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0); /* an idle engine holds no loop */
    ring_ok(hf_post(e, HF_LETTER(.to = "a/1", .kind = "k"), 1, posted, e));
    uv_run(&loop, UV_RUN_DEFAULT); /* until the callback was made */
    assert_int_equal(atomic_load(&called), 1);
    assert_true(pthread_equal(called_on, pthread_self()));
    check_in_callback();
    ring_ok(hf_close(e, HF_NEVER));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- What a turn must not do */

static int forbidden(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    atomic_store(&seen.errors[0], hf_tell(seen.engine, "a/1", "k", hf_str("")));
    atomic_store(&seen.errors[1], hf_drain(seen.engine, 1));
    atomic_store(&seen.errors[2], hf_close(seen.engine, 1));
    atomic_store(&seen.errors[3], hf_begin_step(turn, "s", &step));
    return note(msg);
}

static void test_deadlocks(void **state)
{
    static const hf_type types[] = { { .name = "shard", .handle = forbidden },
                                     { .name = "pool", .handle = forbidden, .threads = 1 },
                                     { .name = "a", .handle = just_note }, { 0 } };
    (void)state;
    forget_all();
    seen.engine = ring_open("deadlock", types);
    ring_ok(hf_tell(seen.engine, "shard/1", "k", hf_str("")));
    ring_ok(hf_drain(seen.engine, 10000));
    for (int i = 0; i < 4; i++)
        assert_int_equal(atomic_load(&seen.errors[i]), HF_EDEADLOCK);
    ring_ok(hf_tell(seen.engine, "pool/1", "k", hf_str("")));
    ring_ok(hf_drain(seen.engine, 10000));
    assert_int_equal(atomic_load(&seen.errors[0]), HF_OK);
    assert_int_equal(atomic_load(&seen.errors[1]), HF_EDEADLOCK);
    assert_int_equal(atomic_load(&seen.errors[2]), HF_EDEADLOCK);
    assert_int_equal(atomic_load(&seen.errors[3]), HF_TODO);
    ring_ok(hf_close(seen.engine, HF_NEVER));
}

/* ---- Opening what can't be opened */

static void test_second_engine(void **state)
{
    hf_engine *second = NULL;
    (void)state;
    hf_engine *e = ring_open("second", plain);
    ring_err(hf_open(&second, ring_path("second"), HF_OPTIONS(.types = plain)), HF_EBUSY);
    assert_null(second);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        int failed = hf_tell(e, "a/1", "k", hf_str("")) != HF_EFORK
            || hf_drain(e, 1) != HF_EFORK || hf_sync(e, 1) != HF_EFORK
            || hf_close(e, 1) != HF_EFORK
            || hf_open(&second, ring_path("second"), HF_OPTIONS(.types = plain)) != HF_EBUSY;
        _exit(failed);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    ring_ok(hf_tell(e, "a/1", "k", hf_str("")));
    ring_ok(hf_close(e, HF_NEVER));
}

/* In the child of a handler neither steps nor the end of its turn mean anything. */
static int fork_in_turn(hf_turn *turn, const hf_message *msg)
{
    hf_step step = { .name = "s" };
    int status = -1;
    (void)msg;
    int err = hf_begin_step(turn, "s", &step);
    pid_t child = fork();
    if (!child) {
        sigset_t none;
        (void)sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL); /* the engine's threads take no signals */
        (void)alarm(60);
        _exit(hf_end_step(turn, &step, hf_str("done")) != HF_EFORK
              || hf_begin_step(turn, "other", &step) != HF_EFORK
              || hf_progress(turn, hf_str("half")) != HF_EFORK
              || hf_finish(turn, HF_OK) != HF_EFORK);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        status = -1;
    atomic_store(&seen.errors[0], err);
    atomic_store(&seen.errors[1], status);
    return HF_OK;
}

static void test_fork_in_turn(void **state)
{
    static const hf_type types[] = { { .name = "f", .handle = fork_in_turn, .threads = 1 }, { 0 } };
    (void)state;
    hf_engine *e = ring_open("fork", types);
    ring_ok(hf_tell(e, "f/1", "k", hf_str("")));
    ring_ok(hf_drain(e, 60000));
    assert_int_equal(atomic_load(&seen.errors[0]), HF_TODO);
    assert_int_equal(atomic_load(&seen.errors[1]), 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* Overwrite every page of the data file that holds `mark`. */
static int damage(const char *store, const char *mark)
{
    char path[200], page[4096];
    int hits = 0;
    snprintf(path, sizeof path, "%s/data.mdb", store);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (off_t at = 0; pread(fd, page, sizeof page, at) == (ssize_t)sizeof page; at += 4096) {
        char *found = memmem(page, sizeof page, mark, strlen(mark));
        if (!found)
            continue;
        found[1] ^= 0x55;
        assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
        hits++;
    }
    close(fd);
    return hits;
}

static void test_damaged_window(void **state)
{
    hf_engine *e = NULL;
    (void)state;
    pid_t child = fork();
    if (!child) { /* dies, so that the window is replayed */
        e = ring_open("damaged", plain);
        if (hf_pause(e, NULL, NULL, NULL) || hf_tell(e, "a/1", "k", hf_str("a mark to be found")))
            _exit(1);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(damage(ring_path("damaged"), "a mark to be found") > 0);
    ring_err(hf_open(&e, ring_path("damaged"), HF_OPTIONS(.types = plain)), HF_ECORRUPT);
    if (!strstr(hf_detail(), "salvage"))
        fail_msg("salvage is not in \"%s\"", hf_detail());
}

/* ---- Sending on */

static int forward(hf_turn *turn, const hf_message *msg)
{
    hf_forward(turn, "on", msg->body);
    return HF_OK;
}

static void test_forward(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = forward, .next = "b" },
        { .name = "b", .handle = forward, .next = "c/fixed" },
        { .name = "c", .handle = just_note }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = ring_open("forward", types);
    ring_ok(hf_tell(e, "a/k/1", "x", hf_str("body")));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen.to, "c/fixed");
    assert_string_equal(seen.kind, "on");
    assert_string_equal(seen.body, "body");
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Closing */

static int wait_for_go(hf_turn *turn, const hf_message *msg)
{
    atomic_store(&seen.errors[0], (int)msg->attempt);
    atomic_fetch_add(&seen.fails, 1);
    while (!atomic_load(&seen.go)) {
        atomic_store(&seen.errors[1], hf_cancelled(turn));
        usleep(500);
    }
    return note(msg);
}

static void test_close(void **state)
{
    static const hf_type types[] = { { .name = "slow", .handle = wait_for_go, .threads = 1 },
                                     { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = ring_open("close", types);
    ring_ok(hf_tell(e, "slow/1", "one", hf_str("")));
    ring_ok(hf_tell(e, "slow/1", "two", hf_str("")));
    ring_until(&seen.fails, 1);
    assert_int_equal(atomic_load(&seen.errors[1]), 0);
    ring_err(hf_drain(e, 20), HF_ETIMEDOUT);
    ring_err(hf_close(e, 20), HF_ETIMEDOUT);
    ring_err(hf_tell(e, "slow/1", "k", hf_str("")), HF_ECLOSED);
    ring_until(&seen.errors[1], 1); /* cancelled */
    ring_err(hf_close(e, 0), HF_ETIMEDOUT);
    atomic_store(&seen.go, 1);
    ring_ok(hf_close(e, HF_NEVER));
    assert_string_equal(seen.order, "one ");
    e = ring_open("close", types);
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen.order, "one two ");
    assert_int_equal(atomic_load(&seen.errors[0]), 1); /* its first attempt */
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_held(void **state)
{
    static const hf_type both[] = { { .name = "a", .handle = just_note },
                                    { .name = "b", .handle = just_note }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = ring_open("held", both);
    ring_ok(hf_pause(e, NULL, NULL, NULL));
    ring_ok(hf_tell(e, "b/1", "for-b", hf_str("")));
    ring_ok(hf_tell(e, "a/1", "for-a", hf_str("")));
    ring_ok(hf_close(e, HF_NEVER));
    e = ring_open("held", plain);
    ring_ok(hf_resume(e, NULL));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen.order, "for-a ");
    ring_ok(hf_close(e, HF_NEVER));
    e = ring_open("held", both);
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen.order, "for-a for-b ");
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Pausing */

static int tell_waiting(void *user, const hf_message *msg)
{
    char *kinds = user;
    strcat(kinds, msg->kind);
    return msg->status == HF_PAUSED ? HF_OK : HF_EINVAL;
}

static void test_pause(void **state)
{
    char kinds[64] = "";
    (void)state;
    forget_all();
    hf_engine *e = ring_open("pause", plain);
    ring_err(hf_pause(e, "nobody", NULL, NULL), HF_ENOTYPE);
    ring_ok(hf_pause(e, "a/1", NULL, NULL));
    ring_ok(hf_tell(e, "a/1", "1", hf_str("")));
    ring_ok(hf_tell(e, "a/2", "x", hf_str("")));
    ring_ok(hf_tell(e, "a/1", "2", hf_str("")));
    ring_ok(hf_drain(e, 10000)); /* what is paused does not count */
    assert_string_equal(seen.order, "x ");
    ring_ok(hf_pause(e, "a", tell_waiting, kinds));
    assert_string_equal(kinds, "12");
    ring_ok(hf_close(e, HF_NEVER));
    e = ring_open("pause", plain);
    ring_ok(hf_tell(e, "a/3", "3", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_resume(e, "a"));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen.order, "x 3 ");
    ring_ok(hf_resume(e, "a/1"));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen.order, "x 3 1 2 ");
    ring_ok(hf_close(e, HF_NEVER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_message),
        cmocka_unit_test(test_callback_thread), cmocka_unit_test(test_callback_loop),
        cmocka_unit_test(test_deadlocks), cmocka_unit_test(test_second_engine),
        cmocka_unit_test(test_fork_in_turn),
        cmocka_unit_test(test_damaged_window), cmocka_unit_test(test_forward),
        cmocka_unit_test(test_close), cmocka_unit_test(test_held),
        cmocka_unit_test(test_pause),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
