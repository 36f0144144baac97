/* test_set_clock.c - somebody sets the wall clock: ids that were taken stay taken for a day
 * of engine time, requeues wait as long as they were told, and what tools and turns are told
 * of due times is by the clock on the wall. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"
#include "storage/clock.h"

#include <msgpack.h>
#include <string.h>
#include <time.h>

#define YEARS INT64_C(315360000000)

enum { HOUR = 3600 * 1000, DAY = 24 * HOUR };

/* `passed` goes by for both clocks; the wall clock was set by `set_by`. */
static _Atomic int64_t passed, set_by;

static uint64_t mono(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return ((uint64_t)t.tv_sec * 1000 + (uint64_t)atomic_load(&passed)) * 1000000
           + (uint64_t)t.tv_nsec;
}

static uint64_t wall(void *user)
{
    struct timespec t;
    (void)user;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000
           + (uint64_t)(atomic_load(&passed) + atomic_load(&set_by));
}

static atomic_int turns, alarms;

static int handle(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "set") == 0) {
        hf_set_alarm(turn, "soon", HOUR, hf_str(""));
        hf_set_alarm_at(turn, "later", wall(NULL) + 2 * HOUR, hf_str(""));
        hf_every(turn, "beat", "every 3h", 1, hf_str(""));
    }
    if (strcmp(msg->kind, "bury") == 0)
        return hf_bury(turn, "as it says");
    if (msg->cause == HF_ALARM)
        atomic_fetch_add(&alarms, 1);
    atomic_fetch_add(&turns, 1);
    return HF_OK;
}

static const hf_type types[] = { { .name = "a", .handle = handle },
                                 { .name = "p", .handle = handle, .threads = 2 }, { 0 } };

static hf_engine *open_small(const char *name)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                                                   .window = 64 << 10, .store_max = 256 << 20)));
    return e;
}

/* Push everything that lies in the window into the tables. */
static void fold_all(hf_engine *e)
{
    static const char big[4000];
    for (int i = 0; i < 400; i++) {
        ring_ok(hf_tell(e, "a/fold", "", hf_view(big, sizeof big)));
        if (i % 200 == 199)
            ring_ok(hf_drain(e, 20000));
    }
}

/* ---- Ids that were taken */

static void take(hf_engine *e, const char *to, const char *word, int err, hf_receipt *r)
{
    ring_ok(hf_mail(e, HF_LETTER(.to = to, .kind = "k", .dedupe = word), 1, r));
    assert_int_equal(r->err, err);
}

static void is_known(hf_engine *e, const char *to, const char *word, uint64_t id)
{
    hf_receipt r;
    take(e, to, word, HF_EDUPLICATE, &r);
    assert_int_equal(r.id, id);
}

static void words_last_a_day(const char *name, int64_t set)
{
    hf_receipt before, then, slow, r;
    atomic_store(&set_by, 0);
    hf_engine *e = open_small(name);
    take(e, "a/1", "before", HF_OK, &before);
    ring_ok(hf_pause(e, "p/1", NULL, NULL));
    take(e, "p/1", "slow", HF_OK, &slow);
    atomic_store(&set_by, set);
    is_known(e, "a/1", "before", before.id); /* in the window, */
    take(e, "a/1", "then", HF_OK, &then);
    fold_all(e);
    is_known(e, "a/1", "before", before.id); /* in the table, */
    is_known(e, "a/1", "then", then.id);
    ring_ok(hf_resume(e, "p/1")); /* it ends by another clock than it was sent by */
    ring_ok(hf_drain(e, 10000));
    fold_all(e);
    is_known(e, "p/1", "slow", slow.id);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_small(name); /* after a restart, */
    is_known(e, "a/1", "before", before.id);
    atomic_store(&set_by, 0); /* and when the clock is right again */
    is_known(e, "a/1", "then", then.id);
    is_known(e, "p/1", "slow", slow.id);
    atomic_fetch_add(&passed, DAY - 60000);
    is_known(e, "a/1", "before", before.id);
    atomic_fetch_add(&passed, 61000);
    take(e, "a/1", "before", HF_OK, &r); /* a day it was, not ten years */
    take(e, "a/1", "then", HF_OK, &r);
    take(e, "p/1", "slow", HF_OK, &r);
    ring_ok(hf_close(e, HF_NEVER));
}

static void test_words(void **state)
{
    (void)state;
    words_last_a_day("forward", YEARS);
    words_last_a_day("back", -YEARS);
    words_last_a_day("hour", -HOUR);
    words_last_a_day("1970", -1000 * (int64_t)time(NULL));
}

/* ---- What tools say, and are told */

typedef struct told {
    uint64_t soon, later, letter, beat;
    int      rows;
} told;

static uint64_t uint_of(const msgpack_object *map, const char *name)
{
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.via.str.size == strlen(name)
            && memcmp(kv->key.via.str.ptr, name, strlen(name)) == 0)
            return kv->val.type == MSGPACK_OBJECT_POSITIVE_INTEGER ? kv->val.via.u64 : 0;
    }
    return 0;
}

static bool says(const msgpack_object *map, const char *name, const char *text)
{
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->val.type == MSGPACK_OBJECT_STR && kv->key.via.str.size == strlen(name)
            && memcmp(kv->key.via.str.ptr, name, strlen(name)) == 0)
            return kv->val.via.str.size == strlen(text)
                   && memcmp(kv->val.via.str.ptr, text, strlen(text)) == 0;
    }
    return false;
}

static int on_alarm(void *user, hf_bytes row)
{
    told *t = user;
    msgpack_unpacked value;
    size_t at = 0;
    msgpack_unpacked_init(&value);
    assert_int_equal(msgpack_unpack_next(&value, row.data, row.len, &at), MSGPACK_UNPACK_SUCCESS);
    uint64_t due = uint_of(&value.data, "due");
    t->rows += due != 0;
    if (says(&value.data, "name", "soon"))
        t->soon = due;
    if (says(&value.data, "name", "later"))
        t->later = due;
    if (says(&value.data, "name", "beat"))
        t->beat = due;
    if (says(&value.data, "what", "message"))
        t->letter = due;
    msgpack_unpacked_destroy(&value);
    return HF_OK;
}

static int on_message(void *user, const hf_message *msg)
{
    told *t = user;
    t->letter = msg->due;
    t->rows++;
    assert_int_equal(msg->status, HF_DELAYED);
    return HF_OK;
}

static void near(uint64_t due, int64_t from_now)
{
    int64_t off = (int64_t)(due - wall(NULL)) - from_now;
    if (off < -30000 || off > 30000)
        fail_msg("%lld ms from now, not %lld", (long long)(off + from_now), (long long)from_now);
}

/* Set an hour ahead: what goes by the wall clock is due an hour sooner, all else when it was. */
static void look_at(const char *name)
{
    hf_store *store;
    told t = { 0 }, m = { 0 };
    ring_ok(hf_store_open(&store, ring_path(name), 5000));
    ring_ok(hf_query(store, "alarms", hf_view(NULL, 0), on_alarm, &t));
    assert_int_equal(t.rows, 4);
    near(t.soon, HOUR);
    near(t.later, HOUR);
    near(t.beat, 3 * HOUR);
    near(t.letter, HOUR / 2);
    ring_ok(hf_find(store, "actor = a/2 and due > 2000-01-01", on_message, &m));
    assert_int_equal(m.rows, 1);
    near(m.letter, HOUR / 2);
    hf_store_close(store);
}

static void test_told(void **state)
{
    (void)state;
    atomic_store(&set_by, 0);
    hf_engine *e = open_small("told");
    ring_ok(hf_tell(e, "a/1", "set", hf_str("")));
    ring_ok(hf_mail(e, HF_LETTER(.to = "a/2", .delay_ms = HOUR / 2), 1, NULL));
    ring_ok(hf_drain(e, 10000));
    atomic_store(&set_by, HOUR);
    look_at("told"); /* before any record knows of it, */
    ring_ok(hf_tell(e, "a/3", "", hf_str("")));
    ring_ok(hf_drain(e, 10000));
    look_at("told");
    ring_ok(hf_close(e, HF_NEVER));
    look_at("told"); /* and when nobody has it open */
}

/* A minute is a minute, whoever asks for it. */
static void test_requeue(void **state)
{
    hf_receipt r;
    hf_store *store;
    uint8_t args[64], *at = args;
    (void)state;
    for (int disk = 0; disk < 2; disk++) {
        const char *name = disk ? "requeue-disk" : "requeue";
        atomic_store(&set_by, 0);
        hf_engine *e = open_small(name);
        ring_ok(hf_mail(e, HF_LETTER(.to = "a/1", .kind = "bury"), 1, &r));
        ring_ok(hf_drain(e, 10000));
        atomic_store(&set_by, -YEARS);
        ring_ok(hf_tell(e, "a/2", "", hf_str("")));
        ring_ok(hf_drain(e, 10000));
        if (disk)
            ring_ok(hf_close(e, HF_NEVER));
        at = args;
        *at++ = 0x82;
        memcpy(at, "\xa3ids\x91\xcf", 6), at += 6;
        for (int i = 7; i >= 0; i--)
            *at++ = (uint8_t)(r.id >> 8 * i);
        memcpy(at, "\xa8" "delay_ms\xcd\xea\x60", 12), at += 12; /* 60000 */
        ring_ok(hf_store_open(&store, ring_path(name), 5000));
        ring_ok(hf_change(store, "requeue", hf_view(args, (size_t)(at - args)), NULL, NULL));
        told m = { 0 };
        ring_ok(hf_find(store, "actor = a/1 and due > 1980-01-01", on_message, &m));
        assert_int_equal(m.rows, 1);
        near(m.letter, 60000);
        hf_store_close(store);
        if (disk)
            e = open_small(name);
        hf_stats stats = HF_STATS;
        ring_ok(hf_stat(e, &stats));
        assert_int_equal(stats.waiting, 1); /* it rests */
        ring_ok(hf_close(e, HF_NEVER));
    }
}

static int set_up(void **state)
{
    hf_clock_use(&(hf_clock){ wall, mono, NULL });
    return ring_make_root(state);
}

/* ---- In a turn */

static _Atomic uint64_t next_due, ticked, expires, retry;

static int look_in_turn(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "beat") == 0)
        atomic_store(&ticked, msg->due);
    if (strcmp(msg->kind, "look") != 0)
        return HF_OK;
    hf_every(turn, "beat", "every 3h", 1, hf_str(""));
    atomic_store(&next_due, hf_next_due(turn, "beat"));
    if (msg->attempt == 1) /* then it has begun */
        atomic_store(&expires, msg->expires);
    return msg->attempt == 1 ? hf_fail(turn, 1, "again") : HF_OK;
}

static void note_retry(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    atomic_store(&retry, msg->retry);
}

static void test_in_turn(void **state)
{
    static const hf_type lookers[] = {
        { .name = "a", .handle = look_in_turn, .failed = note_retry, .retry_ms = 1 }, { 0 }
    };
    (void)state;
    atomic_store(&set_by, 0);
    hf_engine *e = ring_open("turn", lookers);
    atomic_store(&set_by, 10 * (int64_t)DAY);
    ring_ok(hf_mail(e, HF_LETTER(.to = "a/1", .kind = "look", .expires_ms = 5 * HOUR), 1, NULL));
    ring_ok(hf_drain(e, 60000));
    near(atomic_load(&next_due), 3 * HOUR);
    near(atomic_load(&expires), 5 * HOUR);
    near(atomic_load(&retry), 0);
    uint64_t due = atomic_load(&next_due);
    atomic_fetch_add(&passed, 3 * HOUR);
    for (int i = 0; i < 30000 && !atomic_load(&ticked); i++)
        usleep(1000);
    assert_true(atomic_load(&ticked) == due);
    ring_ok(hf_close(e, HF_NEVER));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_told),
        cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_requeue),
    };
    return cmocka_run_group_tests(tests, set_up, ring_remove_root);
}
