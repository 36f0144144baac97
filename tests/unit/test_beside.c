/* test_beside.c - what is asked every second, and of what an engine alone knows: readers
 * that are gone, limits, how long finished messages are told; large pages; odd rows. */
#include "tests/unit/asked.h"
#include "tests/unit/rich_set.h"

#include <signal.h>
#include <sys/wait.h>

static char path[200];
static core c;

/* ---- An engine by hand */

static struct {
    uint64_t runs, also_runs, keeps;
    bool     probes, open;
} engine;

static const char *type_of(void *user, uint32_t number)
{
    (void)user;
    return number ? NULL : "order";
}

static bool defines(void *user, const char *address, size_t len)
{
    (void)user, (void)address, (void)len;
    return true;
}

static bool runs(void *user, const hf_entry *message, uint64_t *since, bool *stuck)
{
    (void)user;
    *since = message->id;
    *stuck = false;
    return message->id == engine.runs || message->id == engine.also_runs;
}

static bool resident(void *user, const char *actor, bool *is)
{
    (void)user, (void)actor;
    *is = true;
    return true;
}

static bool suspect(void *user, uint64_t id, uint32_t *strikes, uint64_t *until)
{
    (void)user, (void)id, (void)strikes, (void)until;
    return false;
}

static size_t note(void *user, uint64_t id, uint8_t *out)
{
    (void)user, (void)id, (void)out;
    return 0;
}

static uint64_t engine_time(void *user)
{
    (void)user;
    return hf_clock_wall_ms();
}

static bool full(void *user)
{
    (void)user;
    return false;
}

static bool limit(void *user, const char *address, size_t len, hf_limited *out)
{
    (void)user, (void)address, (void)len;
    *out = (hf_limited){ .breaker = true, .probes = engine.probes, .open = engine.open };
    return true;
}

static void stats(void *user, hf_out *row)
{
    (void)user;
    hf_out_uint(row, "waiting", 77);
}

static uint64_t history(void *user, const char *address, size_t len)
{
    (void)user, (void)address, (void)len;
    return engine.keeps;
}

static hf_living living = { .type = type_of, .defines = defines, .runs = runs,
                            .resident = resident, .suspect = suspect, .note = note,
                            .now = engine_time, .full = full, .limit = limit, .stats = stats };

static int begin(void **state)
{
    (void)state;
    memset(&engine, 0, sizeof engine);
    core_remove(path);
    core_open(&c, path, &(hf_disk_options){ .store_max = MIB(128) }, &rich_keeps);
    asked.disk = c.disk;
    asked.living = &living;
    return 0;
}

static int end(void **state)
{
    (void)state;
    living.history = NULL;
    core_close(&c, true);
    return 0;
}

/* ---- stats and top */

static const char *breaker(void)
{
    static char state[20];
    hf_argument one[] = {
        { .name = "type", .type = HF_ARG_TEXT }, { .name = "held", .type = HF_ARG_BOOL },
        { .name = "breaker", .type = HF_ARG_TEXT }, { .name = "failures", .type = HF_ARG_UINT } };
    assert_int_equal(asked_of("top", hf_view(NULL, 0)), HF_OK);
    hf_bytes rest = asked_field(0, "limits", HF_ARG_ARRAY).bytes;
    assert_int_equal(hf_arguments_next("limit", &rest, one, 4), HF_OK);
    (void)snprintf(state, sizeof state, HF_FMT, HF_ARG(one[2].bytes));
    return state;
}

static void test_top(void **state)
{
    (void)state;
    assert_string_equal(breaker(), "closed");
    engine.open = true;
    assert_string_equal(breaker(), "open");
    engine.probes = true;
    assert_string_equal(breaker(), "probes");
    assert_int_equal(asked_number(0, "waiting"), 77);
    asked.living = NULL;
    assert_int_equal(asked_of("top", hf_view(NULL, 0)), HF_OK);
    assert_false(asked_field(0, "waiting", HF_ARG_UINT).given); /* nobody counts them */
    asked_refuses("top", one_text("by", "types"), HF_EINVAL, "by");
    asked_refuses("stats", one_text("by", "types"), HF_EINVAL, "by");
    asked_refuses("tops", hf_view(NULL, 0), HF_EINVAL, "no such question: tops");
}

/* A process that died with a snapshot open is gone; of very many some are told. */
static void test_readers(void **state)
{
    enum { MORE = 70 };
    hf_txn *txn[MORE];
    int ready[2];
    char one;
    (void)state;
    core_close(&c, false);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        hf_disk_options look = { .flags = HF_LOOK };
        if (hf_disk_open(&c.disk, path, &look) || hf_txn_read(c.disk, &txn[0]))
            _exit(1);
        (void)!write(ready[1], "x", 1);
        for (;;)
            (void)pause();
    }
    assert_int_equal(read(ready[0], &one, 1), 1);
    asked.living = NULL;
    CORE_OK(hf_disk_open(&asked.disk, path, &(hf_disk_options){ .flags = HF_LOOK }));
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    (void)close(ready[0]);
    (void)close(ready[1]);
    assert_int_equal(asked_of("stats", hf_view(NULL, 0)), HF_OK);
    hf_argument reader[] = { { .name = "pid", .type = HF_ARG_UINT },
                             { .name = "behind", .type = HF_ARG_UINT },
                             { .name = "gone", .type = HF_ARG_BOOL } };
    hf_argument list = asked_field(0, "readers", HF_ARG_ARRAY);
    bool gone = false;
    for (uint32_t i = 0; i < list.count; i++) {
        for (int n = 0; n < 3; n++)
            reader[n].given = false;
        assert_int_equal(hf_arguments_next("reader", &list.bytes, reader, 3), HF_OK);
        if (reader[0].number == (uint64_t)child)
            gone = reader[2].number;
    }
    assert_true(gone);
    for (int i = 0; i < MORE; i++)
        CORE_OK(hf_txn_read(asked.disk, &txn[i]));
    assert_int_equal(asked_of("stats", hf_view(NULL, 0)), HF_OK);
    assert_int_equal(asked_field(0, "readers", HF_ARG_ARRAY).count, 64);
    for (int i = 0; i < MORE; i++)
        hf_txn_abort(txn[i]);
    hf_disk_close(asked.disk);
    core_open(&c, path, NULL, NULL);
}

static void put_raw(hf_table table, hf_bytes key, const char *value)
{
    hf_txn *txn;
    hf_key of = { .len = key.len };
    memcpy(of.bytes, key.data, key.len);
    CORE_OK(hf_txn_write(c.disk, &txn));
    if (table == HF_IN_LOG)
        CORE_OK(hf_txn_put(txn, table, key, hf_str(value)));
    else
        asked_put(txn, table, &of, value, strlen(value));
    CORE_OK(hf_txn_commit(txn));
}

static void test_odd_rows(void **state)
{
    hf_key key;
    (void)state;
    asked.living = NULL;
    hf_key_actor(&key, "order/1", 7, hf_address_hash(hf_log_seed(c.log), "order/1", 7));
    memcpy(key.bytes + key.len, "x", 2); /* longer than that of an alarm of its */
    key.len += 2;
    put_raw(HF_IN_ALARM_NAMES, hf_key_bytes(&key), "short");
    asked_refuses("stats", hf_view(NULL, 0), HF_ECORRUPT, "an alarm is cut short");
    assert_int_equal(asked_of("top", hf_view(NULL, 0)), HF_OK); /* it reads no rows */
    put_raw(HF_IN_LOG, hf_view("\1", 1), "short"); /* counted, and no place of the log */
    assert_int_equal(asked_of("top", hf_view(NULL, 0)), HF_OK);
    assert_true(asked_number(0, "window_bytes") >= 5);
    hf_txn *txn;
    CORE_OK(hf_txn_write(c.disk, &txn));
    CORE_OK(hf_txn_del(txn, HF_IN_LOG, hf_view("\1", 1)));
    CORE_OK(hf_txn_commit(txn));
}

/* ---- Messages */

/* So long as the type says they are told, and no longer. */
static void test_how_long(void **state)
{
    (void)state;
    uint64_t id = core_send(&c, "order/1", "pay", hf_str("x"));
    core_done(&c, id, 1);
    hf_bytes of = text_and_number(NULL, NULL, "id", id);
    assert_int_equal(asked_of("message", of), HF_OK); /* nobody says how long */
    living.history = history;
    asked_refuses("message", of, HF_ENOTFOUND, ".history_ms");
    engine.keeps = 3600000;
    assert_int_equal(asked_of("message", of), HF_OK);
    engine.keeps = UINT64_MAX;
    assert_int_equal(asked_of("message", of), HF_OK);
    assert_string_equal(asked_text(0, "status"), "done");
    engine.keeps = 1;
    while (asked_of("message", of) == HF_OK) /* a moment later */
        usleep(500);
    asked_says(".history_ms");
}

/* More bodies than one answer takes: it ends, and goes on from there. */
static void test_large_pages(void **state)
{
    enum { COUNT = 6, BYTES = 4 << 20 };
    static char body[BYTES];
    uint64_t after = 0, last = 0;
    unsigned seen = 0, answers = 0;
    (void)state;
    for (int i = 0; i < COUNT; i++)
        (void)core_send(&c, i % 2 ? "order/1" : "ship/x", "", hf_view(body, BYTES));
    CORE_OK(hf_log_fold_all(c.log));
    for (bool more = true; more; answers++) {
        hf_out_clear(&args);
        hf_out_map(&args, NULL);
        hf_out_uint(&args, "after", after);
        hf_out_bool(&args, "bodies", true);
        hf_out_end(&args);
        assert_int_equal(asked_of("messages", hf_out_bytes(&args)), HF_OK);
        for (size_t i = 0; i + 1 < asked.count; i++, seen++) {
            assert_true(asked_number(i, "id") > last);
            last = asked_number(i, "id");
            assert_int_equal(asked_field(i, "body", HF_ARG_BIN).bytes.len, BYTES);
        }
        more = asked_truth(asked.count - 1, "more");
        after = asked_number(asked.count - 1, "next");
    }
    assert_int_equal(seen, COUNT);
    assert_true(answers > 1);
}

/* Dead ones by id: who wants no count gets no look at all of them. */
static void test_brief(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        (void)full_dead(&c, "order/1", 7);
    for (int counts = 0; counts < 3; counts++) {
        hf_out_clear(&args);
        hf_out_map(&args, NULL);
        hf_out_text(&args, "where", hf_str("status = dead"));
        hf_out_uint(&args, "limit", 3);
        if (counts < 2)
            hf_out_bool(&args, "count", counts);
        hf_out_end(&args);
        assert_int_equal(asked_of("messages", hf_out_bytes(&args)), HF_OK);
        assert_int_equal(asked.count, 4);
        assert_true(asked_field(3, "matched", HF_ARG_UINT).given == (counts > 0));
    }
}

/* A step that lies under another message's number is not told of this one. */
static void test_steps_of_others(void **state)
{
    (void)state;
    uint64_t id = rich_dead_with_steps(&c, "order/1");
    full_step(&c, id + 5, 1, 2);
    CORE_OK(hf_log_fold_all(c.log));
    put_raw(HF_IN_STEPS, hf_view("\xff\xff", 2), "odd");
    assert_int_equal(asked_of("message", text_and_number(NULL, NULL, "id", id)), HF_OK);
    assert_int_equal(asked_field(0, "steps", HF_ARG_ARRAY).count, 1);
}

/* ---- An actor */

/* Of several that run at once the first is why it does not go on; a pause waits for it. */
static void test_running(void **state)
{
    (void)state;
    uint64_t first = core_send(&c, "order/1", "", hf_str("1"));
    engine.also_runs = core_send(&c, "order/1", "", hf_str("2"));
    engine.runs = core_send(&c, "order/1", "", hf_str("3"));
    full_put(&c, HF_OP_PAUSE, "order", 0, "", "lunch");
    assert_int_equal(asked_of("actor", one_text("actor", "order/1")), HF_OK);
    assert_string_equal(asked_text(0, "why"), "running");
    assert_int_equal(asked_number(0, "since"), engine.also_runs);
    assert_int_equal(asked_number(0, "running"), 2);
    core_done(&c, first, 1);
    engine.runs = engine.also_runs = 0;
    assert_int_equal(asked_of("actor", one_text("actor", "order/1")), HF_OK);
    assert_string_equal(asked_text(0, "why"), "paused");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_top, begin, end),
        cmocka_unit_test_setup_teardown(test_readers, begin, end),
        cmocka_unit_test_setup_teardown(test_odd_rows, begin, end),
        cmocka_unit_test_setup_teardown(test_how_long, begin, end),
        cmocka_unit_test_setup_teardown(test_large_pages, begin, end),
        cmocka_unit_test_setup_teardown(test_brief, begin, end),
        cmocka_unit_test_setup_teardown(test_steps_of_others, begin, end),
        cmocka_unit_test_setup_teardown(test_running, begin, end),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("beside", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    asked_done();
    return failed;
}
