/* test_peek.c - the last committed state of an actor, wherever it lies. */
#include "tests/support/ring.h"

#include "engine/engine.h"

#include <pthread.h>
#include <string.h>

/* ---- What a peek was told */

typedef struct told {
    atomic_int calls;
    int        err;
    bool       null, crooked;
    size_t     len;
    uint64_t   number;
} told;

static void note(void *user, int err, hf_bytes state)
{
    told *t = user;
    t->err = err;
    t->null = state.data == NULL;
    t->crooked = ((uintptr_t)state.data & 15) && state.len;
    t->len = state.len;
    t->number = 0;
    if (state.len >= 8)
        memcpy(&t->number, state.data, 8);
    atomic_fetch_add(&t->calls, 1);
}

static void peek(hf_engine *e, const char *actor, told *t)
{
    memset(t, 0, sizeof *t);
    ring_ok(hf_peek(e, actor, note, t));
    ring_until(&t->calls, 1);
    assert_false(t->crooked);
}

/* ---- Actors count in their state; the body says how large it gets */

static atomic_int turns;

static int count(hf_turn *turn, const hf_message *msg)
{
    uint64_t number = 0;
    hf_bytes before = hf_state(turn);
    atomic_fetch_add(&turns, 1);
    if (strcmp(msg->kind, "forget") == 0) {
        hf_forget(turn);
        return HF_OK;
    }
    if (strcmp(msg->kind, "empty") == 0) {
        hf_save(turn, hf_view("", 0));
        return HF_OK;
    }
    if (strcmp(msg->kind, "fail") == 0) {
        hf_save(turn, hf_str("never seen"));
        return hf_bury(turn, "no");
    }
    if (before.len >= 8)
        memcpy(&number, before.data, 8);
    number++;
    size_t len = 8;
    if (msg->body.len)
        len = strtoull(msg->body.data, NULL, 10);
    uint8_t *state = hf_alloc(turn, len);
    memset(state, 0x5a, len);
    memcpy(state, &number, 8);
    hf_save(turn, hf_view(state, len));
    return HF_OK;
}

static const hf_type types[] = { { .name = "s", .handle = count, .idle_ms = 500 },
                                 { .name = "p", .handle = count, .threads = 2 }, { 0 } };

static hf_engine *open_small(const char *name)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

static uint64_t accepted(hf_engine *e)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    return stats.bytes;
}

static void test_states(void **state)
{
    told t;
    (void)state;
    hf_engine *e = open_small("states");
    for (int i = 0; i < 2; i++) {
        const char *actor = i ? "p/1" : "s/1";
        peek(e, actor, &t);
        assert_int_equal(t.err, HF_OK);
        assert_true(t.null);
        for (uint64_t n = 1; n <= 5; n++) {
            ring_ok(hf_tell(e, actor, "add", hf_view(NULL, 0)));
            ring_ok(hf_drain(e, 10000));
            peek(e, actor, &t);
            assert_int_equal(t.number, n);
            assert_int_equal(t.len, 8);
        }
        ring_ok(hf_tell(e, actor, "fail", hf_view(NULL, 0)));
        ring_ok(hf_drain(e, 10000));
        peek(e, actor, &t);
        assert_int_equal(t.number, 5);
        ring_ok(hf_tell(e, actor, "empty", hf_view(NULL, 0)));
        ring_ok(hf_drain(e, 10000));
        peek(e, actor, &t);
        assert_int_equal(t.err, HF_OK);
        assert_false(t.null);
        assert_int_equal(t.len, 0);
        ring_ok(hf_tell(e, actor, "forget", hf_view(NULL, 0)));
        ring_ok(hf_drain(e, 10000));
        peek(e, actor, &t);
        assert_true(t.null);
    }
    ring_ok(hf_close(e, 10000));
}

static void test_arguments(void **state)
{
    char longer[300];
    told t = { .err = 0 };
    (void)state;
    memset(longer, 'k', sizeof longer);
    memcpy(longer, "s/", 2);
    longer[299] = 0;
    hf_engine *e = open_small("arguments");
    ring_err(hf_peek(NULL, "s/1", note, &t), HF_EINVAL);
    ring_err(hf_peek(e, NULL, note, &t), HF_EINVAL);
    ring_err(hf_peek(e, "s/1", NULL, &t), HF_EINVAL);
    ring_err(hf_peek(e, "s", note, &t), HF_EINVAL);
    ring_err(hf_peek(e, longer, note, &t), HF_EINVAL);
    ring_err(hf_peek(e, "other/1", note, &t), HF_ENOTYPE);
    ring_ok(hf_close(e, 10000));
    assert_int_equal(atomic_load(&t.calls), 0);
}

/* ---- Actors in tables, in the log of an earlier run, in memory */

static void test_everywhere(void **state)
{
    enum { ACTORS = 500 };
    told t;
    (void)state;
    hf_engine *e = open_small("everywhere");
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < ACTORS; i++) {
            char actor[32];
            (void)snprintf(actor, sizeof actor, "%s/%d", i % 2 ? "p" : "s", i);
            const hf_letter letter = { .size = sizeof letter, .to = actor, .kind = "add",
                                       .body = hf_str("200") };
            while (hf_post(e, &letter, 1, NULL, NULL) == HF_EAGAIN)
                usleep(1000);
        }
        ring_ok(hf_drain(e, 20000));
        if (round == 2) { /* nobody is in memory: nothing loads them either */
            ring_ok(hf_close(e, 10000));
            e = open_small("everywhere");
        }
        uint64_t before = accepted(e);
        int ran = atomic_load(&turns);
        for (int i = 0; i < ACTORS; i++) {
            char actor[32];
            (void)snprintf(actor, sizeof actor, "%s/%d", i % 2 ? "p" : "s", i);
            peek(e, actor, &t);
            assert_int_equal(t.err, HF_OK);
            assert_int_equal(t.len, 200);
            assert_int_equal(t.number, round);
        }
        assert_int_equal(accepted(e), before); /* writes nothing */
        assert_int_equal(atomic_load(&turns), ran);
        if (round == 2)
            for (uint32_t i = 0; i < e->shard_count; i++)
                assert_int_equal(e->shards[i].actors.count, 0); /* wakes nobody */
    }
    peek(e, "s/unknown", &t);
    assert_true(t.null);
    ring_ok(hf_close(e, 10000));
}

/* ---- What is told is committed: never more than a reopened store knows */

typedef struct reader {
    hf_engine *engine;
    atomic_bool stop;
    told       told;
    uint64_t   last, wrong, seen;
} reader;

static void *read_on(void *user)
{
    reader *r = user;
    while (!atomic_load(&r->stop)) {
        peek(r->engine, "s/hot", &r->told);
        if (r->told.err || r->told.number < r->last)
            r->wrong++;
        r->last = r->told.number;
        r->seen++;
    }
    return NULL;
}

/* The commit that holds the newest state fails: it must not have been told. */
static void test_only_what_is_committed(void **state)
{
    pthread_t threads[2];
    reader readers[2];
    told t;
    (void)state;
    memset(readers, 0, sizeof readers);
    hf_engine *e = open_small("committed");
    for (int i = 0; i < 2; i++) {
        readers[i].engine = e;
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers[i]), 0);
    }
    for (int i = 0; i < 3000; i++)
        ring_ok(i % 100 ? hf_post(e, HF_LETTER(.to = "s/hot", .kind = "add"), 1, NULL, NULL)
                        : hf_tell(e, "s/hot", "add", hf_view(NULL, 0)));
    ring_ok(hf_drain(e, 20000));
    peek(e, "s/hot", &t);
    assert_int_equal(t.number, 3000);
    for (int i = 0; i < 2; i++) {
        atomic_store(&readers[i].stop, true);
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].wrong, 0);
        assert_true(readers[i].seen > 0);
    }
    ring_ok(hf_close(e, 10000));
}

/* ---- Staged and not committed: told after the commit, or not at all */

typedef struct stop {
    atomic_int inside, leave;
} stop;

static void hold_journal(hf_batch *batch, int err)
{
    stop *s = batch->owner;
    (void)err;
    atomic_store(&s->inside, 1);
    while (!atomic_load(&s->leave))
        usleep(200);
    hf_batch_free(batch);
}

/* A batch whose settling keeps the journal's thread busy. */
static void stop_journal(hf_engine *e, stop *s)
{
    hf_batch *batch = hf_batch_new(e);
    hf_entry entry = { .op = HF_OP_FORGET, .to = "s/other", .to_len = 7, .name = "", .error = "",
                       .from = "" };
    entry.hash = hf_address_hash(e->seed, "s/other", 7);
    batch->owner = s;
    batch->settled = hold_journal;
    assert_int_equal(hf_segment_add(hf_batch_facts(batch), &entry), HF_OK);
    ring_ok(hf_journal_submit(e, batch));
}

static void test_staged(void **state)
{
    static told t, other;
    static stop first, second;
    (void)state;
    hf_engine *e = open_small("staged");
    ring_ok(hf_tell(e, "s/1", "add", hf_view(NULL, 0)));
    ring_ok(hf_tell(e, "s/2", "add", hf_view(NULL, 0)));
    ring_ok(hf_drain(e, 10000));
    /* The message is committed in one round with what stops the journal then: its turn
     * runs, and is not committed. */
    int before = atomic_load(&turns);
    stop_journal(e, &first);
    ring_until(&first.inside, 1);
    ring_ok(hf_post(e, HF_LETTER(.to = "s/1", .kind = "add"), 1, NULL, NULL));
    stop_journal(e, &second);
    atomic_store(&first.leave, 1);
    ring_until(&second.inside, 1);
    while (atomic_load(&turns) == before)
        peek(e, "s/2", &other);
    memset(&t, 0, sizeof t);
    ring_ok(hf_peek(e, "s/1", note, &t));
    peek(e, "s/2", &other);
    assert_int_equal(other.number, 1); /* not held up by it */
    usleep(100000);
    assert_int_equal(atomic_load(&t.calls), 0);
    atomic_store(&second.leave, 1);
    ring_until(&t.calls, 1);
    assert_int_equal(t.number, 2);
    ring_ok(hf_close(e, 10000));
}

/* The same, but the commit never comes. */
static void test_staged_and_lost(void **state)
{
    static told t, other;
    static stop first, second;
    (void)state;
    hf_engine *e = open_small("lost");
    ring_ok(hf_tell(e, "s/1", "add", hf_view(NULL, 0)));
    ring_ok(hf_drain(e, 10000));
    int before = atomic_load(&turns);
    stop_journal(e, &first);
    ring_until(&first.inside, 1);
    ring_ok(hf_post(e, HF_LETTER(.to = "s/1", .kind = "add"), 1, NULL, NULL));
    stop_journal(e, &second);
    atomic_store(&first.leave, 1);
    ring_until(&second.inside, 1);
    while (atomic_load(&turns) == before)
        peek(e, "s/2", &other);
    ring_ok(hf_peek(e, "s/1", note, &t));
    usleep(20000);
    hf_engine_stop(e, HF_EIO, "a test");
    atomic_store(&second.leave, 1);
    ring_ok(hf_close(e, 10000));
    assert_int_equal(atomic_load(&t.calls), 1);
    assert_int_equal(t.err, HF_EUNKNOWN);
    assert_true(t.null);
}

static void test_engine_stops(void **state)
{
    static told t;
    (void)state;
    hf_engine *e = open_small("stops");
    ring_ok(hf_tell(e, "s/1", "add", hf_view(NULL, 0)));
    ring_ok(hf_drain(e, 10000));
    hf_engine_stop(e, HF_EIO, "a test");
    ring_err(hf_peek(e, "s/1", note, &t), HF_EUNKNOWN);
    ring_ok(hf_close(e, 10000));
    assert_int_equal(atomic_load(&t.calls), 0);
}

/* ---- Many, and bounds */

typedef struct crowd {
    atomic_int calls, wrong;
    hf_engine *engine;
    atomic_int again;
} crowd;

static void note_crowd(void *user, int err, hf_bytes state)
{
    crowd *c = user;
    if (err || state.len != 8)
        atomic_fetch_add(&c->wrong, 1);
    if (atomic_fetch_sub(&c->again, 1) > 0
        && hf_peek(c->engine, "s/1", note_crowd, c)) /* out of a callback */
        atomic_fetch_add(&c->wrong, 1);
    atomic_fetch_add(&c->calls, 1);
}

static void *peek_many(void *user)
{
    crowd *c = user;
    for (int i = 0; i < 20000; i++) {
        char actor[32];
        (void)snprintf(actor, sizeof actor, "s/%d", i % 50);
        int err;
        while ((err = hf_peek(c->engine, actor, note_crowd, c)) == HF_EAGAIN)
            usleep(100);
        if (err)
            atomic_fetch_add(&c->wrong, 1);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    pthread_t threads[4];
    static crowd c;
    (void)state;
    c.engine = open_small("crowd");
    for (int i = 0; i < 50; i++) {
        char actor[32];
        (void)snprintf(actor, sizeof actor, "s/%d", i);
        ring_ok(hf_post(c.engine, HF_LETTER(.to = actor, .kind = "add"), 1, NULL, NULL));
    }
    ring_ok(hf_drain(c.engine, 10000));
    atomic_store(&c.again, 100);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, peek_many, &c), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ring_until(&c.calls, 4 * 20000 + 100);
    assert_int_equal(atomic_load(&c.wrong), 0);
    ring_ok(hf_close(c.engine, 10000));
    assert_int_equal(atomic_load(&c.calls), 4 * 20000 + 100);
}

static atomic_int slow_gate, slow_calls;

static void slow_note(void *user, int err, hf_bytes state)
{
    (void)user;
    (void)err;
    (void)state;
    while (!atomic_load(&slow_gate))
        usleep(500);
    atomic_fetch_add(&slow_calls, 1);
}

static void test_bounded(void **state)
{
    int sent = 0, err;
    (void)state;
    atomic_store(&slow_gate, 0);
    hf_engine *e = open_small("bounded");
    ring_ok(hf_tell(e, "s/1", "add", hf_str("2000")));
    ring_ok(hf_drain(e, 10000));
    while (!(err = hf_peek(e, "s/1", slow_note, NULL)))
        sent++;
    assert_int_equal(err, HF_EAGAIN);
    assert_in_range(sent, 10000, 100000);
    /* 2 kB each: far less than all of them is copied while nobody takes them. */
    usleep(200000);
    atomic_store(&slow_gate, 1);
    ring_until(&slow_calls, sent);
    ring_ok(hf_close(e, 10000));
}

static void test_close(void **state)
{
    static told t[300];
    (void)state;
    hf_engine *e = open_small("close");
    ring_ok(hf_tell(e, "s/1", "add", hf_view(NULL, 0)));
    for (int i = 0; i < 300; i++)
        ring_ok(hf_peek(e, i % 2 ? "s/1" : "p/1", note, &t[i]));
    ring_ok(hf_close(e, 10000));
    for (int i = 0; i < 300; i++) {
        assert_int_equal(atomic_load(&t[i].calls), 1);
        assert_true(t[i].err == HF_OK || t[i].err == HF_ECLOSED);
    }
}

/* ---- Damage is told, not shown as nothing */

static void test_damaged(void **state)
{
    told t;
    hf_txn *txn;
    hf_key key;
    (void)state;
    hf_engine *e = open_small("damaged");
    for (int i = 0; i < 2000; i++) /* through the window, so that s/bad lies in the tables */
        ring_ok(hf_post(e, HF_LETTER(.to = i ? "s/filler" : "s/bad", .kind = "add",
                                     .body = hf_str("300")), 1, NULL, NULL));
    ring_ok(hf_drain(e, 20000));
    uint64_t all = atomic_load(&e->published); /* on a loaded machine they were few commits */
    for (int i = 0; i < 5000 && hf_log_folded(e->log) < all; i++)
        ring_ok(hf_tell(e, "s/filler", "add", hf_str("300")));
    ring_ok(hf_drain(e, 20000));
    ring_ok(hf_close(e, 10000));
    hf_disk *disk;
    hf_disk_options options = { .store_max = 64 << 20 };
    ring_ok(hf_disk_open(&disk, ring_path("damaged"), &options));
    hf_log *log;
    hf_log_options log_options = { .window = 64 << 10, .shards = 1, .readers = 1 };
    ring_ok(hf_log_open(&log, disk, &log_options));
    hf_key_actor(&key, "s/bad", 5, hf_address_hash(hf_log_seed(log), "s/bad", 5));
    ring_ok(hf_log_close(log, true));
    ring_ok(hf_txn_write(disk, &txn));
    ring_ok(hf_txn_put(txn, HF_IN_STATE, hf_key_bytes(&key), hf_str("not a row at all")));
    ring_ok(hf_txn_commit(txn));
    hf_disk_close(disk);
    e = open_small("damaged");
    peek(e, "s/bad", &t);
    assert_int_equal(t.err, HF_ECORRUPT);
    assert_true(t.null);
    peek(e, "s/filler", &t);
    assert_int_equal(t.err, HF_OK);
    ring_ok(hf_tell(e, "s/bad", "add", hf_view(NULL, 0))); /* now it is in memory, set aside */
    ring_ok(hf_drain(e, 10000));
    peek(e, "s/bad", &t);
    assert_int_equal(t.err, HF_ECORRUPT);
    ring_ok(hf_close(e, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),     cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_everywhere), cmocka_unit_test(test_only_what_is_committed),
        cmocka_unit_test(test_staged),     cmocka_unit_test(test_staged_and_lost),
        cmocka_unit_test(test_engine_stops),
        cmocka_unit_test(test_crowd),      cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_close),      cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
