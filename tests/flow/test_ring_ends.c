/* test_ring_ends.c - turns that fail, wait, run on threads, or take steps outside. */
#include "tests/support/seen.h"

#include "engine/holdfast_msgpack.h"

#include <sys/mman.h>
#include <sys/wait.h>

/* ---- Failing */

static int fail_twice(hf_turn *turn, const hf_message *msg)
{
    hf_save(turn, hf_str("must vanish"));
    if (hf_state(turn).len)
        return hf_bury(turn, "a failed turn left its state");
    if (strcmp(msg->kind, "bad") == 0 && msg->attempt <= 2) {
        atomic_fetch_add(&seen.fails, 1);
        if (msg->attempt == 2 && (msg->err != 41 || strcmp(msg->error, "try 1") != 0))
            return hf_bury(turn, "the second attempt does not know of the first");
        return hf_fail(turn, 41, "try %u", msg->attempt);
    }
    hf_forget(turn);
    return note(msg);
}

static void test_retry_order(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = fail_twice, .retry_ms = 20 },
        { .name = "o", .handle = fail_twice, .retry_ms = 50, .overtake = 1 }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = ring_open("retry", types);
    hf_letter l[3] = { { .size = sizeof l[0], .to = "a/1", .kind = "bad" },
                       { .to = "a/1", .kind = "x" }, { .to = "a/1", .kind = "y" } };
    ring_ok(hf_mail(e, l, 3, NULL));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen.order, "bad x y ");
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.failed, 2);
    assert_int_equal(stats.retried, 2);
    assert_int_equal(stats.dead, 0);
    seen.order[0] = 0;
    for (int i = 0; i < 3; i++)
        l[i].to = "o/1";
    ring_ok(hf_mail(e, l, 3, NULL));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(seen.order, "x y bad ");
    ring_ok(hf_close(e, HF_NEVER));
}

static int fail_always(hf_turn *turn, const hf_message *msg)
{
    atomic_fetch_add(&seen.fails, 1);
    if (strcmp(msg->kind, "bury") == 0)
        return hf_bury(turn, "no %s", "more");
    if (strcmp(msg->kind, "number") == 0)
        return 77;
    if (strcmp(msg->kind, "send") == 0) {
        hf_send(turn, "nobody/1", "k", hf_str(""));
        return HF_OK;
    }
    return hf_fail(turn, 5, "said so");
}

static void failed(hf_turn *turn, const hf_message *msg)
{
    hf_send(turn, "hook/1", msg->retry ? "retry" : "dead", hf_str(msg->error));
}

static int bury(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    memcpy(seen.note, msg->body.data, msg->body.len);
    seen.note_len = msg->body.len;
    atomic_fetch_add(&seen.notes, 1);
    return HF_OK;
}

static void check_note(const char *kind, const char *error, uint64_t attempts)
{
    msgpack_unpacked u;
    msgpack_unpacked_init(&u);
    assert_int_equal(msgpack_unpack_next(&u, seen.note, seen.note_len, NULL),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(u.data.type, MSGPACK_OBJECT_MAP);
    int found = 0;
    for (uint32_t i = 0; i < u.data.via.map.size; i++) {
        const msgpack_object *k = &u.data.via.map.ptr[i].key, *v = &u.data.via.map.ptr[i].val;
        bool text = v->type == MSGPACK_OBJECT_STR;
#define IS(name) \
    (k->via.str.size == strlen(name) && memcmp(k->via.str.ptr, name, strlen(name)) == 0)
        if (IS("kind"))
            found += text && v->via.str.size == strlen(kind)
                && memcmp(v->via.str.ptr, kind, strlen(kind)) == 0;
        if (IS("error"))
            found += text && memmem(v->via.str.ptr, v->via.str.size, error, strlen(error)) != NULL;
        if (IS("attempts"))
            found += v->via.u64 == attempts;
#undef IS
    }
    msgpack_unpacked_destroy(&u);
    assert_int_equal(found, 3);
}

static void test_dead(void **state)
{
    static const hf_type types[] = {
        { .name = "a", .handle = fail_always, .failed = failed, .tries = 3, .retry_ms = 1,
          .dead_to = "grave" },
        { .name = "grave", .handle = bury }, { .name = "hook", .handle = just_note }, { 0 } };
    static const struct { const char *kind, *error; int attempts; } cases[] = {
        { "fail", "said so", 3 }, { "bury", "no more", 1 }, { "number", "failed", 3 },
        { "send", "nobody/1", 3 } };
    (void)state;
    hf_engine *e = ring_open("dead", types);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forget_all();
        ring_ok(hf_tell(e, "a/7", cases[i].kind, hf_str("")));
        ring_ok(hf_drain(e, 10000));
        assert_int_equal(atomic_load(&seen.fails), cases[i].attempts);
        assert_int_equal(atomic_load(&seen.notes), 1);
        check_note(cases[i].kind, cases[i].error, (uint64_t)cases[i].attempts);
        assert_string_equal(seen.order, cases[i].attempts == 3 ? "retry retry dead " : "dead ");
        if (!strstr(seen.body, cases[i].error))
            fail_msg("the hook was told \"%s\"", seen.body);
    }
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.dead, 4);
    assert_int_equal(stats.waiting, 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Types with threads */

static atomic_int most, now_running, worker_bits;

static int work(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    int now = atomic_fetch_add(&now_running, 1) + 1, old = atomic_load(&most);
    while (old < now && !atomic_compare_exchange_weak(&most, &old, now))
        ;
    atomic_fetch_or(&worker_bits, 1 << msg->worker);
    for (int i = 0; msg->to[0] == 'w' && i < 10000 && atomic_load(&most) < 4; i++)
        usleep(1000); /* the others come, however busy the machine is */
    usleep(2000);
    atomic_fetch_sub(&now_running, 1);
    atomic_fetch_add(&seen.turns, 1);
    return HF_OK;
}

static void test_workers(void **state)
{
    static const hf_type types[] = {
        { .name = "w", .handle = work, .threads = 4, .workers = 4 },
        { .name = "one", .handle = work, .threads = 4 }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = ring_open("workers", types);
    for (int i = 0; i < 40; i++)
        ring_ok(hf_post(e, HF_LETTER(.to = "w/1"), 1, NULL, NULL));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen.turns), 40);
    assert_int_equal(atomic_load(&most), 4);
    assert_int_equal(atomic_load(&worker_bits), 2 + 4 + 8 + 16);
    atomic_store(&most, 0);
    for (int i = 0; i < 20; i++)
        ring_ok(hf_post(e, HF_LETTER(.to = "one/1"), 1, NULL, NULL));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen.turns), 60);
    assert_int_equal(atomic_load(&most), 1); /* one actor, one message at a time */
    ring_ok(hf_close(e, HF_NEVER));
}

static hf_turn *pending_turn;

static void *finish(void *user)
{
    (void)user;
    usleep(5000);
    hf_save(pending_turn, hf_str("later"));
    (void)hf_finish(pending_turn, HF_OK);
    return NULL;
}

static int pend(hf_turn *turn, const hf_message *msg)
{
    pthread_t thread;
    if (strcmp(msg->kind, "late") == 0) {
        pending_turn = turn;
        if (pthread_create(&thread, NULL, finish, NULL))
            return HF_ENOMEM;
        pthread_detach(thread);
    } else if (strcmp(msg->kind, "early") == 0) {
        (void)hf_finish(turn, HF_OK);
        atomic_store(&seen.errors[0], hf_finish(turn, HF_OK));
    } else {
        atomic_store(&seen.go, hf_state(turn).len == 5);
        return HF_OK;
    }
    atomic_fetch_add(&seen.turns, 1);
    return HF_PENDING;
}

static int pend_on_shard(hf_turn *turn, const hf_message *msg)
{
    (void)turn, (void)msg;
    return HF_PENDING;
}

static void test_pending(void **state)
{
    static const hf_type types[] = {
        { .name = "p", .handle = pend, .threads = 1 },
        { .name = "s", .handle = pend_on_shard, .tries = 1, .dead_to = "grave" },
        { .name = "grave", .handle = bury }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = ring_open("pending", types);
    ring_ok(hf_tell(e, "p/1", "late", hf_str("")));
    ring_ok(hf_tell(e, "p/1", "early", hf_str("")));
    ring_ok(hf_tell(e, "p/1", "look", hf_str("")));
    ring_ok(hf_tell(e, "s/1", "x", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&seen.turns), 2);
    assert_int_equal(atomic_load(&seen.go), 1);
    assert_int_equal(atomic_load(&seen.errors[0]), HF_EINVAL);
    assert_int_equal(atomic_load(&seen.notes), 1);
    check_note("x", "HF_PENDING", 1);
    ring_ok(hf_close(e, HF_NEVER));
}

static int snooze(hf_turn *turn, const hf_message *msg)
{
    if (atomic_fetch_add(&seen.fails, 1) < 3)
        return hf_snooze(turn, 2);
    return note(msg);
}

static void test_snooze(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = snooze, .tries = 1 },
                                     { .name = "p", .handle = snooze, .tries = 1, .threads = 1 },
                                     { 0 } };
    (void)state;
    hf_engine *e = ring_open("snooze", types);
    for (int i = 0; i < 2; i++) {
        forget_all();
        ring_ok(hf_tell(e, i ? "p/1" : "a/1", "k", hf_str("")));
        ring_ok(hf_drain(e, 10000));
        assert_int_equal(atomic_load(&seen.fails), 4);
        assert_int_equal(seen.last.attempt, 1);
    }
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Steps */

static char step_keys[3][40];
static char *outside; /* what the outside saw, shared with children */

static int buy(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    int err = hf_begin_step(turn, "reserve", &step);
    snprintf(step_keys[0], sizeof step_keys[0], "%s", step.key);
    if (err == HF_TODO) {
        strcat(outside, "reserve ");
        err = hf_end_step(turn, &step, hf_str("r-1"));
    }
    if (err || step.result.len != 3 || memcmp(step.result.data, "r-1", 3) != 0)
        return hf_bury(turn, "reserve: %d", err);
    err = hf_begin_step(turn, "pay", &step);
    snprintf(step_keys[1], sizeof step_keys[1], "%s", step.key);
    if (err != HF_TODO)
        return hf_bury(turn, "pay: %d", err);
    strcat(outside, "pay ");
    if (strcmp(msg->kind, "die") == 0 && !strstr(outside, "died")) {
        strcat(outside, "died ");
        _exit(9);
    }
    return msg->attempt == 1 ? hf_fail(turn, 1, "no answer") : hf_bury(turn, "no money");
}

static int unbuy(hf_turn *turn, const hf_message *msg, const hf_step *step)
{
    (void)msg;
    if (atomic_fetch_add(&seen.undone, 1) == 0)
        return hf_fail(turn, 1, "not yet");
    strcat(outside, "undo-");
    strcat(outside, step->name);
    strcat(outside, step->result.data ? "-done " : "-open ");
    return HF_OK;
}

static const hf_type shop[] = {
    { .name = "order", .handle = buy, .undo = unbuy, .threads = 1, .retry_ms = 1,
      .dead_to = "grave", .strikes = HF_NEVER },
    { .name = "grave", .handle = bury }, { 0 } };

static void test_steps(void **state)
{
    (void)state;
    forget_all();
    hf_engine *e = ring_open("steps", shop);
    ring_ok(hf_tell(e, "order/1", "buy", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(outside, "reserve pay pay undo-pay-open undo-reserve-done ");
    assert_int_equal(atomic_load(&seen.notes), 1);
    check_note("buy", "no money", 2);
    assert_string_not_equal(step_keys[0], step_keys[1]);
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_steps_crash(void **state)
{
    int status = -1;
    (void)state;
    forget_all();
    outside[0] = 0;
    pid_t child = fork();
    if (!child) {
        hf_engine *e = ring_open("crash", shop);
        (void)hf_tell(e, "order/1", "die", hf_str(""));
        (void)hf_drain(e, 10000);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 9);
    hf_engine *e = ring_open("crash", shop);
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(outside, "reserve pay died pay pay undo-pay-open undo-reserve-done ");
    assert_int_equal(atomic_load(&seen.notes), 1);
    ring_ok(hf_close(e, HF_NEVER));
}

static int setup(void **state)
{
    outside = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return outside == MAP_FAILED ? -1 : ring_make_root(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_order), cmocka_unit_test(test_dead),
        cmocka_unit_test(test_workers), cmocka_unit_test(test_pending),
        cmocka_unit_test(test_snooze), cmocka_unit_test(test_steps),
        cmocka_unit_test(test_steps_crash),
    };
    return cmocka_run_group_tests(tests, setup, ring_remove_root);
}
