/* test_alarm_budget.c - setting many alarms costs no more memory than the window may: words
 * about them weigh as its bytes do, few of them are unread, no batch of them is large. */
#include "tests/support/ring.h"

#include "engine/alarms.h"
#include "engine/engine.h"

enum {
    WINDOW = 4 << 20,
    SETS   = 100,   /* in a turn */
    ACTORS = 40,
    ALARMS = 60000, /* all of them take 40 MB as words of the window */
    SLOP   = 3 << 20, /* what is set before a busy machine says stop */
    WAITING = 8000, EACH = 6, /* actors, and what each sets */
    CROWD = 40000,  /* alarms of one turn */
};

static atomic_int turns;
static _Atomic uint64_t most_burden, most_unread, most_staged;

static void note(_Atomic uint64_t *most, uint64_t now)
{
    uint64_t seen = atomic_load(most);
    while (now > seen && !atomic_compare_exchange_weak(most, &seen, now))
        ;
}

/* On the shard's thread: what is there as it begins. */
static int set(hf_turn *turn, const hf_message *msg)
{
    uint32_t first;
    const hf_engine *engine = turn->engine;
    const hf_shard *shard = &engine->shards[hf_address_shard(turn->e->hash, engine->shard_count)];
    memcpy(&first, msg->body.data, sizeof first);
    note(&most_burden, hf_alarms_burden(engine));
    note(&most_unread, shard->alarms->unread);
    note(&most_staged, turn->batch->segments[shard->index].len);
    for (uint32_t i = first; i < first + SETS; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%u", i);
        hf_set_alarm(turn, name, 3600000 + i * 7919 % 100000, hf_view(&i, sizeof i));
    }
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static int set_some(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    for (int i = 0; i < EACH; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%d", i);
        hf_set_alarm(turn, name, 3600000, hf_str(""));
    }
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static const hf_type types[] = { { .name = "a", .handle = set }, { 0 } };

static hf_engine *open_it(const char *name, uint64_t window)
{
    hf_engine *engine;
    ring_ok(hf_open(&engine, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                                                         .window = window)));
    return engine;
}

static uint64_t set_now(hf_engine *engine)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(engine, &stats));
    return stats.alarms;
}

/* What replaces a row is not counted twice for long. */
static void wait_till_set(hf_engine *engine, uint64_t wanted)
{
    for (int i = 0; i < 10000 && set_now(engine) != wanted; i++)
        usleep(1000);
    assert_int_equal(set_now(engine), wanted);
}

/* All letters at once: they lie in the log before any word. */
static void set_all(hf_engine *engine)
{
    static hf_letter letters[ALARMS / SETS];
    static uint32_t first[ALARMS / SETS];
    static char to[ALARMS / SETS][8];
    for (uint32_t i = 0; i < ALARMS / SETS; i++) {
        first[i] = i * SETS;
        (void)snprintf(to[i], sizeof to[i], "a/%u", i % ACTORS);
        letters[i] = (hf_letter){ .size = sizeof(hf_letter), .to = to[i],
                                  .body = hf_view(&first[i], sizeof first[i]) };
    }
    ring_ok(hf_mail(engine, letters, ALARMS / SETS, NULL));
    ring_ok(hf_drain(engine, 60000));
}

static void test_many_words(void **state)
{
    (void)state;
    hf_engine *engine = open_it("many", WINDOW);
    set_all(engine);
    assert_int_equal(atomic_load(&turns), ALARMS / SETS);
    uint64_t unread = engine->shards[0].alarms->unread_most;
    assert_true(unread * 8 < ALARMS); /* or this shows nothing */
    assert_true(most_burden <= WINDOW * 2 + SLOP);
    assert_true(most_unread <= unread + SETS);
    for (uint32_t i = 0; i < engine->shard_count; i++) {
        assert_int_equal(engine->shards[i].alarms->unread, 0);
        assert_false(engine->shards[i].reads_on);
    }
    wait_till_set(engine, ALARMS);
    set_all(engine); /* each replaces one, in a row or in the window */
    wait_till_set(engine, ALARMS);
    ring_ok(hf_close(engine, 10000));
    engine = open_it("many", WINDOW);
    wait_till_set(engine, ALARMS);
    ring_ok(hf_close(engine, 10000));
}

/* Here they might be unread by the hundred thousand bytes. */
static void test_small_batches(void **state)
{
    (void)state;
    hf_engine *engine = open_it("batches", 64 << 20);
    atomic_store(&most_staged, 0);
    set_all(engine);
    assert_true(engine->shards[0].alarms->unread_most * 50 > engine->batch_bytes * 4);
    assert_true(most_staged < engine->batch_bytes);
    ring_ok(hf_close(engine, 10000));
}

/* A backlog whose turns set more than may be unread before their batch is large: it goes to
 * the log all the same, though more actors are to be looked for. */
static void test_backlog(void **state)
{
    static const hf_type shards[] = { { .name = "b", .handle = set_some }, { 0 } };
    hf_engine *engine;
    (void)state;
    for (int run = 0; run < 2; run++) {
        atomic_store(&turns, 0);
        ring_ok(hf_open(&engine, ring_path("backlog"), HF_OPTIONS(.types = shards, .shards = 4,
                        .window = WINDOW)));
        if (run == 0)
            ring_ok(hf_pause(engine, "b", NULL, NULL));
        for (int i = 0; run == 0 && i < WAITING; i++) {
            char to[16];
            (void)snprintf(to, sizeof to, "b/%d", i);
            ring_ok(hf_post(engine, HF_LETTER(.to = to, .kind = "k"), 1, NULL, NULL));
        }
        if (run == 0)
            ring_ok(hf_sync(engine, 20000));
        else
            ring_ok(hf_resume(engine, "b"));
        if (run == 1)
            ring_until(&turns, WAITING);
        ring_ok(hf_close(engine, 20000));
    }
}

static atomic_int standing, opened, others;

static int set_or_stand(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "set") == 0)
        for (uint32_t i = 0; i < CROWD; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "%u", i);
            hf_set_alarm(turn, name, 3600000, hf_str(""));
        }
    else if (strcmp(msg->kind, "stand") == 0)
        for (atomic_store(&standing, 1); !atomic_load(&opened);)
            usleep(200);
    else
        atomic_fetch_add(&others, 1);
    return HF_OK;
}

/* Sets all, then stands before it is told that they are folded; false: it was told before. */
static bool stands(hf_engine *engine, char to[2][16])
{
    for (int i = 0; i < 100; i++) {
        char a[16];
        (void)snprintf(a, sizeof a, "a/%d", i);
        memcpy(to[hf_address_shard(hf_address_hash(engine->seed, a, strlen(a)), 2)], a, sizeof a);
    }
    hf_letter letters[2] = { { .size = sizeof(hf_letter), .to = to[0], .kind = "set" },
                             { .size = sizeof(hf_letter), .to = to[0], .kind = "stand" } };
    ring_ok(hf_mail(engine, letters, 2, NULL));
    ring_until(&standing, 1);
    ring_ok(hf_post(engine, HF_LETTER(.to = to[1], .kind = "k"), 1, NULL, NULL));
    for (int i = 0; i < 5000 && hf_log_folded(engine->log) < CROWD; i++)
        usleep(1000);
    assert_true(hf_log_folded(engine->log) >= CROWD); /* or this shows nothing */
    return atomic_load(&engine->shards[0].alarms->burden) > WINDOW * 3;
}

/* A shard stands in a turn and can't let go of what was folded: the other one works on. */
static void test_one_stands(void **state)
{
    static const hf_type two[] = { { .name = "a", .handle = set_or_stand }, { 0 } };
    bool stood = false;
    (void)state;
    for (int try = 0; try < 10 && !stood; try++) {
        char to[2][16] = { "", "" }, name[24];
        hf_engine *engine;
        (void)snprintf(name, sizeof name, "stands%d", try);
        ring_ok(hf_open(&engine, ring_path(name), HF_OPTIONS(.types = two, .shards = 2,
                                                             .window = WINDOW)));
        atomic_store(&standing, 0);
        atomic_store(&opened, 0);
        atomic_store(&others, 0);
        stood = stands(engine, to);
        for (int i = 0; i < 100; i++)
            ring_ok(hf_post(engine, HF_LETTER(.to = to[1], .kind = "k"), 1, NULL, NULL));
        for (int i = 0; i < 5000 && atomic_load(&others) < 101; i++)
            usleep(1000);
        int came = atomic_load(&others);
        atomic_store(&opened, 1);
        assert_int_equal(came, 101);
        ring_ok(hf_drain(engine, 20000));
        ring_ok(hf_close(engine, 10000));
    }
    assert_true(stood);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_words),
        cmocka_unit_test(test_small_batches),
        cmocka_unit_test(test_backlog),
        cmocka_unit_test(test_one_stands),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
