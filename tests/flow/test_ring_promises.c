/* test_ring_promises.c - promises that only show at one moment: what a shard may not
 * see yet, what a close, a requeue, a death and a suspect leave of order and tries. */
#include "tests/support/ring.h"

#include "engine/engine.h"
#include "recovery/holdfast_recovery.h"
#include "storage/view.h"

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

static atomic_int turns, go, notes, attempt;
static char order[256];

static void forget_all(void)
{
    atomic_store(&turns, 0);
    atomic_store(&go, 0);
    atomic_store(&notes, 0);
    atomic_store(&attempt, 0);
    order[0] = 0;
}

static int note(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (strlen(order) + strlen(msg->kind) + 2 < sizeof order)
        strcat(strcat(order, msg->kind), " ");
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

/* ---- Journal first */

/* 1: a sync waits, 2: that one goes on and the next one waits (3), 0: none does */
static atomic_int gate, waits_there;

/* liblmdb finds this one before the C library's. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))(uintptr_t)dlsym(RTLD_NEXT, "fdatasync");
    int two = 2;
    if (atomic_load(&gate) == 1) {
        atomic_store(&waits_there, 1);
        while (atomic_load(&gate) == 1)
            usleep(200);
    } else {
        (void)atomic_compare_exchange_strong(&gate, &two, 3);
        while (atomic_load(&gate) == 3)
            usleep(200);
    }
    return real(fd);
}

/* Keeps its shard awake: what may be seen is looked at every millisecond. */
static int tick(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return atomic_load(&go) ? HF_OK : hf_snooze(turn, 1);
}

static void test_not_before_the_sync(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = note },
                                     { .name = "p", .handle = note, .threads = 1 },
                                     { .name = "tick", .handle = tick }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path("first"), HF_OPTIONS(.types = types, .shards = 1,
                                                       .store_max = 256 << 20)));
    ring_ok(hf_tell(e, "a/1", "warm", hf_str("")));
    ring_ok(hf_tell(e, "p/1", "warm", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_tell(e, "tick/1", "", hf_str("")));
    atomic_store(&waits_there, 0);
    atomic_store(&gate, 1);
    ring_until(&waits_there, 1); /* with the clock's own entries: those before ours */
    ring_ok(hf_post(e, HF_LETTER(.to = "a/1", .kind = "x"), 1, NULL, NULL));
    ring_ok(hf_post(e, HF_LETTER(.to = "p/1", .kind = "x"), 1, NULL, NULL));
    atomic_store(&gate, 2);
    ring_until(&gate, 3); /* that one is through, the next one waits: it holds ours */
    usleep(50000);
    int early = atomic_load(&turns);
    atomic_store(&gate, 0);
    assert_int_equal(early, 2);
    atomic_store(&go, 1);
    ring_ok(hf_drain(e, 10000));
    assert_int_equal(atomic_load(&turns), 4);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- Closing burns no try */

static int hold(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->to, "slow/2") == 0)
        atomic_store(&attempt, (int)msg->attempt);
    atomic_fetch_add(&notes, 1);
    while (!atomic_load(&go))
        usleep(500);
    return note(turn, msg);
}

static void test_close_burns_no_try(void **state)
{
    static const hf_type types[] = {
        { .name = "slow", .handle = hold, .threads = 1, .retry_ms = 1 }, { 0 } };
    (void)state;
    forget_all();
    hf_engine *e = ring_open("close", types);
    ring_ok(hf_tell(e, "slow/1", "one", hf_str("")));
    ring_until(&notes, 1);
    ring_ok(hf_tell(e, "slow/2", "two", hf_str(""))); /* waits for the only thread */
    usleep(20000);
    ring_err(hf_close(e, 20), HF_ETIMEDOUT);
    atomic_store(&go, 1);
    ring_ok(hf_close(e, HF_NEVER));
    assert_string_equal(order, "one ");
    e = ring_open("close", types);
    ring_ok(hf_drain(e, 10000));
    assert_string_equal(order, "one two ");
    assert_int_equal(atomic_load(&attempt), 1);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- A requeued message: at its old place, and once */

static atomic_int spoiled;

static int picky(hf_turn *turn, const hf_message *msg)
{
    if (atomic_load(&spoiled))
        return hf_bury(turn, "not today");
    return note(turn, msg);
}

static int swallow(hf_turn *turn, const hf_message *msg)
{
    (void)turn, (void)msg;
    return HF_OK;
}

static const hf_type pickers[] = { { .name = "a", .handle = picky },
                                   { .name = "flood", .handle = swallow }, { 0 } };

static hf_engine *open_small(const char *name)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = pickers, .shards = 1,
                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

/* All that lies in the log now is moved into the tables. */
static void fold_away(hf_engine *e)
{
    static const uint8_t body[4000];
    for (int i = 0; i < 100; i++)
        ring_ok(hf_tell(e, "flood/1", "", hf_view(body, sizeof body)));
    ring_ok(hf_drain(e, 10000));
}

static void test_requeued(void **state)
{
    hf_receipt dead;
    hf_store *store;
    (void)state;
    for (int folded = 0; folded < 2; folded++) {
        const char *name = folded ? "requeue-folded" : "requeue";
        forget_all();
        atomic_store(&spoiled, 1);
        hf_engine *e = open_small(name);
        ring_ok(hf_mail(e, HF_LETTER(.to = "a/1", .kind = "first"), 1, &dead));
        ring_ok(hf_drain(e, 10000));
        ring_ok(hf_close(e, HF_NEVER));
        atomic_store(&spoiled, 0);
        e = open_small(name);
        ring_ok(hf_pause(e, "a/1", NULL, NULL));
        ring_ok(hf_tell(e, "a/1", "second", hf_str("")));
        ring_ok(hf_tell(e, "a/1", "third", hf_str("")));
        ring_ok(hf_store_open(&store, ring_path(name), 1000));
        ring_ok(hf_requeue(store, dead.id));
        hf_store_close(store);
        if (folded)
            fold_away(e);
        ring_ok(hf_resume(e, "a/1"));
        ring_ok(hf_drain(e, 10000));
        assert_string_equal(order, "first second third ");
        ring_ok(hf_close(e, HF_NEVER));
    }
}

/* ---- A step that ended is known to the next run, also from its table */

static atomic_int calls;

static int call_out(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    int err = hf_begin_step(turn, "call", &step);
    (void)msg;
    if (err == HF_TODO) {
        atomic_fetch_add(&calls, 1);
        err = hf_end_step(turn, &step, hf_str("came of it"));
    }
    if (err || step.result.len != 10)
        return hf_bury(turn, "%d", err);
    atomic_fetch_add(&turns, 1);
    return atomic_load(&go) ? HF_OK : hf_fail(turn, 1, "not yet");
}

static hf_engine *open_callers(void)
{
    static const hf_type types[] = {
        { .name = "c", .handle = call_out, .threads = 1, .retry_ms = 1, .tries = HF_NEVER },
        { .name = "flood", .handle = swallow }, { 0 } };
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path("steps"), HF_OPTIONS(.types = types, .shards = 1,
                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

static void test_step_of_another_run(void **state)
{
    hf_stats stats = HF_STATS;
    (void)state;
    forget_all();
    atomic_store(&calls, 0);
    hf_engine *e = open_callers();
    ring_ok(hf_tell(e, "c/1", "x", hf_str("")));
    for (int i = 0; i < 10000 && !atomic_load(&turns); i++)
        usleep(1000);
    ring_ok(hf_pause(e, "c/1", NULL, NULL));
    fold_away(e);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_callers();
    fold_away(e);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_callers();
    atomic_store(&go, 1);
    ring_ok(hf_resume(e, "c/1"));
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_stat(e, &stats));
    assert_int_equal(stats.waiting, 0);
    assert_int_equal(stats.dead, 0);
    assert_int_equal(atomic_load(&calls), 1);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- .dead_to is told in the commit of the death */

enum { CONDEMNED = 300, CELLS = 16 };
static hf_engine *witness;
static atomic_int before_death;

static int condemn(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    usleep(50); /* what does not wait for the turn's commit is through before it */
    return hf_bury(turn, "all of them");
}

static int count_row(void *user, hf_bytes key, hf_bytes payload)
{
    (void)key, (void)payload;
    ++*(int *)user;
    return HF_OK;
}

/* As many must lie in the store as dead as were told of. */
static int mourn(hf_turn *turn, const hf_message *msg)
{
    int told = atomic_fetch_add(&notes, 1) + 1, dead = 0;
    hf_view_of *view;
    (void)turn, (void)msg;
    if (told % 5 != 1)
        return HF_OK;
    if (hf_view_open(&view, witness->disk))
        return HF_ENOMEM;
    int err = hf_view_walk(view, HF_IN_DEAD, hf_view(NULL, 0), count_row, &dead);
    hf_view_close(view);
    if (err || dead < told)
        atomic_fetch_add(&before_death, 1);
    return HF_OK;
}

static void test_dead_to_is_told_with_the_death(void **state)
{
    static const hf_type types[] = { { .name = "a", .handle = condemn, .dead_to = "grave" },
                                     { .name = "grave", .handle = mourn }, { 0 } };
    static hf_letter letters[CONDEMNED];
    static char to[CELLS][8];
    (void)state;
    forget_all();
    for (int i = 0; i < CONDEMNED; i++) {
        (void)snprintf(to[i % CELLS], sizeof to[0], "a/%d", i % CELLS);
        letters[i] = (hf_letter){ .size = sizeof(hf_letter), .to = to[i % CELLS], .kind = "x" };
    }
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path("deaths"), HF_OPTIONS(.types = types, .shards = 2)));
    witness = e;
    ring_ok(hf_mail(e, letters, CONDEMNED, NULL));
    ring_ok(hf_drain(e, 20000));
    assert_int_equal(atomic_load(&notes), CONDEMNED);
    assert_int_equal(atomic_load(&before_death), 0);
    ring_ok(hf_close(e, HF_NEVER));
}

/* ---- A suspect of two deaths runs alone */

enum { BYSTANDERS = 40, DEATHS = 2 };

typedef struct scene { /* shared with the children */
    atomic_int deaths, inside, alone, together, done;
} scene;

static scene *scene_of;

static int act(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (strcmp(msg->kind, "killer") == 0) {
        bool dies = atomic_fetch_add(&scene_of->deaths, 1) < DEATHS;
        usleep(dies ? 250000 : 0); /* those who began with it end, others begin */
        if (dies)
            (void)kill(getpid(), SIGKILL);
        for (int i = 0; i < 20; i++) {
            if (atomic_load(&scene_of->inside))
                atomic_store(&scene_of->together, 1);
            usleep(2000);
        }
        atomic_fetch_add(&scene_of->alone, 1);
        return HF_OK;
    }
    atomic_fetch_add(&scene_of->inside, 1);
    usleep((useconds_t)(5 + atoi(msg->to + 2) * 37 % 200) * 1000); /* they end one by one */
    atomic_fetch_sub(&scene_of->inside, 1);
    atomic_fetch_add(&scene_of->done, 1);
    return HF_OK;
}

static const hf_type actors[] = { { .name = "a", .handle = act, .threads = 8 }, { 0 } };

/* In the second life the killer is paused while it runs, so that in the third others
 * run before it. */
static _Noreturn void live(int number)
{
    hf_letter letters[BYSTANDERS + 1];
    static char to[BYSTANDERS + 1][16];
    hf_engine *e = NULL;
    atomic_store(&scene_of->inside, 0);
    if (hf_open(&e, ring_path("suspect"), HF_OPTIONS(.types = actors, .shards = 2)))
        _exit(1);
    for (int i = 0; i <= BYSTANDERS; i++) {
        (void)snprintf(to[i], sizeof to[i], "a/%d", i);
        letters[i] = (hf_letter){ .size = sizeof *letters, .to = to[i],
                                  .kind = i == 6 ? "killer" : "x" };
    }
    if (number == 0 && hf_mail(e, letters, BYSTANDERS + 1, NULL))
        _exit(1);
    letters[6] = letters[7];
    if (number == DEATHS && hf_mail(e, letters, BYSTANDERS + 1, NULL))
        _exit(1);
    while (number == 1 && atomic_load(&scene_of->deaths) < DEATHS)
        usleep(1000);
    if (number == 1)
        (void)hf_pause(e, "a/6", NULL, NULL);
    if (number == DEATHS) {
        usleep(30000);
        if (atomic_load(&scene_of->alone) || hf_resume(e, "a/6"))
            _exit(1);
    }
    int err = hf_drain(e, 60000);
    if (!err)
        err = hf_close(e, HF_NEVER);
    _exit(err ? 1 : 0);
}

static void test_suspect_runs_alone(void **state)
{
    (void)state;
    scene_of = ring_shared(sizeof *scene_of);
    ring_lives(live, DEATHS);
    assert_int_equal(atomic_load(&scene_of->alone), 1);
    assert_int_equal(atomic_load(&scene_of->together), 0);
    assert_true(atomic_load(&scene_of->done) >= BYSTANDERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_before_the_sync),
        cmocka_unit_test(test_close_burns_no_try),
        cmocka_unit_test(test_requeued),
        cmocka_unit_test(test_step_of_another_run),
        cmocka_unit_test(test_dead_to_is_told_with_the_death),
        cmocka_unit_test(test_suspect_runs_alone),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
