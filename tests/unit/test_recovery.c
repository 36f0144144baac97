/* test_recovery.c - questions and changes of a store that no engine has open. */
#include "tests/support/core.h"
#include "tests/support/stores.h"
#include "tests/unit/one_argument.h"

#include "recovery/arguments.h"
#include "recovery/holdfast_recovery.h"

#include "storage/clock.h"

#include <fcntl.h>

/* ---- Rows that were told */

static hf_out rows[64];
static size_t row_count;

static int keep_row(void *user, hf_bytes row)
{
    (void)user;
    assert_true(row_count < 64);
    hf_out_clear(&rows[row_count]);
    hf_out_raw(&rows[row_count++], NULL, row);
    return HF_OK;
}

static hf_argument field(size_t row, const char *name, hf_argument_type type)
{
    hf_argument a = { .name = name, .type = type };
    assert_true(row < row_count);
    assert_int_equal(hf_arguments_known("row", hf_out_bytes(&rows[row]), &a, 1), HF_OK);
    return a;
}

static uint64_t number(size_t row, const char *name)
{
    hf_argument a = field(row, name, HF_ARG_UINT);
    assert_true(a.given);
    return a.number;
}

static bool truth(size_t row, const char *name)
{
    hf_argument a = field(row, name, HF_ARG_BOOL);
    assert_true(a.given);
    return a.number;
}

static const char *words(size_t row, const char *name)
{
    static char text[4][300];
    static int turn;
    hf_argument a = field(row, name, HF_ARG_TEXT);
    if (!a.given)
        return NULL;
    char *out = text[turn++ % 4];
    (void)snprintf(out, sizeof text[0], HF_FMT, HF_ARG(a.bytes));
    return out;
}

static bool has(size_t row, const char *name)
{
    hf_argument a = { .name = name, .type = HF_ARG_TEXT };
    int err = hf_arguments_known("row", hf_out_bytes(&rows[row]), &a, 1);
    return err || a.given; /* of another type: it is there */
}

/* ---- Arguments: pairs of name and value until NULL; a name may say its type */

static hf_bytes ids_of(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t all[] = { a, b, c, d };
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "ids");
    for (int i = 0; i < 4; i++)
        if (all[i])
            hf_out_uint(&args, NULL, all[i]);
    hf_out_end(&args);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static const hf_bytes none;

static int ask(hf_store *store, const char *question, hf_bytes arguments)
{
    row_count = 0;
    return hf_query(store, question, arguments, keep_row, NULL);
}

static int change(hf_store *store, const char *what, hf_bytes arguments)
{
    row_count = 0;
    return hf_change(store, what, arguments, keep_row, NULL);
}

#define OK(call) assert_int_equal((call), HF_OK)

/* ---- A store with one of everything */

typedef struct filled {
    uint64_t waiting, second, retrying, dead, folded_dead, other, done;
    uint64_t retry_at;
} filled;

static hf_entry about(core *c, uint8_t op, const char *to, uint64_t id)
{
    hf_entry e = core_entry(c->log, op, to);
    e.id = e.place = id;
    return e;
}

static uint64_t kill_one(core *c, const char *to, const char *why, uint64_t died)
{
    uint64_t id = core_send(c, to, "place", hf_str("body"));
    hf_entry e = about(c, HF_OP_DEAD, to, id);
    e.name = "place";
    e.name_len = 5;
    e.data = hf_str("body");
    e.attempt = 3;
    e.err = 7;
    e.error = why;
    e.error_len = (uint32_t)strlen(why);
    e.died = died;
    e.sent = died - 10;
    core_put(c, HF_FACTS, &e);
    return id;
}

static void put_row(core *c, const char *name, size_t len, hf_bytes value)
{
    hf_entry e = core_entry(c->log, HF_OP_PUT, "order/1");
    e.name = name;
    e.name_len = (uint8_t)len;
    e.data = value;
    core_put(c, HF_FACTS, &e);
}

static void put_rows(core *c)
{
    static const char big[5000];
    put_row(c, "ua", 2, hf_str("one")), put_row(c, "ub\0c", 4, hf_str("two"));
    put_row(c, "ubig", 4, hf_view(big, sizeof big));
    put_row(c, "v", 1, hf_str("not shown")); /* not its handler's */
}

static filled fill(const char *path)
{
    filled f;
    core c;
    core_open(&c, path, NULL, NULL);
    f.folded_dead = kill_one(&c, "order/9", "no \"stock\"", 5000);
    core_put(&c, HF_FACTS, &(hf_entry){ .op = HF_OP_PAUSE, .to = "paid", .to_len = 4, .name = "",
                                        .error = "", .from = "", .data = hf_str("lunch") });
    CORE_OK(hf_log_fold_all(c.log));
    f.waiting = core_send(&c, "order/1", "place", hf_str("one"));
    f.second = core_send(&c, "order/1", "ship", hf_str("two"));
    f.retrying = core_send(&c, "order/2", "place", hf_str("three"));
    f.retry_at = hf_clock_wall_ms() + 3600000;
    hf_entry retry = about(&c, HF_OP_RETRY, "order/2", f.retrying);
    uint8_t times[16];
    hf_put64(times, 6000);
    hf_put64(times + 8, 7000);
    retry.attempt = 2;
    retry.due = f.retry_at;
    retry.err = -4;
    retry.error = "gone";
    retry.error_len = 4;
    retry.times = hf_view(times, sizeof times);
    core_put(&c, HF_FACTS, &retry);
    f.dead = kill_one(&c, "order/1", "no stock", 9000);
    f.other = core_send(&c, "paid/1", "", hf_str(""));
    f.done = core_send(&c, "order/3", "place", hf_str("x"));
    core_done(&c, f.done, 1);
    hf_entry save = core_entry(c.log, HF_OP_SAVE, "order/1");
    save.data = hf_str("its state");
    save.version = 9;
    core_put(&c, HF_FACTS, &save);
    put_rows(&c);
    core_close(&c, false);
    return f;
}

static hf_store *open_filled(const char *name, filled *f)
{
    hf_store *store = NULL;
    *f = fill(path_of(name));
    OK(hf_store_open(&store, path_of(name), 0));
    return store;
}

/* ---- Questions */

static void test_stats(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("stats", &f);
    OK(ask(store, "stats", none));
    assert_int_equal(row_count, 1);
    assert_string_equal(words(0, "source"), "disk");
    assert_int_equal(number(0, "waiting"), 4);
    assert_int_equal(number(0, "running"), 0);
    assert_int_equal(number(0, "dead_total"), 2);
    assert_true(number(0, "head") > f.done);
    assert_true(number(0, "tail") <= f.waiting);
    assert_true(number(0, "window_bytes") > 0);
    assert_int_equal(strlen(words(0, "uuid")), 32);
    assert_false(has(0, "pid"));
    assert_int_equal(ask(store, "stats", one_text("by", "x")), HF_EINVAL);
    assert_int_equal(ask(store, "statistics", none), HF_EINVAL);
    hf_store_close(store);
    assert_int_equal(hf_store_open(&store, path_of("nowhere"), 0), HF_ENOTFOUND);
}

static void test_ls(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("ls", &f);
    OK(ask(store, "ls", none));
    assert_int_equal(row_count, 3);
    assert_string_equal(words(0, "type"), "order");
    assert_int_equal(number(0, "waiting"), 2);
    assert_int_equal(number(0, "retrying"), 1);
    assert_int_equal(number(0, "dead"), 2);
    assert_int_equal(number(0, "actors"), 3);
    assert_string_equal(words(1, "type"), "paid");
    assert_int_equal(number(1, "paused"), 1);
    assert_true(has(1, "pause"));
    assert_int_equal(number(2, "scanned"), 6);
    assert_int_equal(number(2, "groups"), 2);

    OK(ask(store, "ls", one_text("by", "actors")));
    assert_int_equal(row_count, 5);
    assert_string_equal(words(0, "actor"), "order/1");
    assert_int_equal(number(0, "waiting"), 2);
    assert_int_equal(number(0, "dead"), 1);
    assert_true(number(0, "oldest") > 0);

    OK(ask(store, "ls", one_text("by", "errors")));
    assert_int_equal(row_count, 4); /* three texts */
    assert_string_equal(words(0, "error"), "gone");
    assert_int_equal(number(0, "first"), 7000);
    assert_string_equal(words(1, "error"), "no \"stock\"");
    assert_int_equal(number(1, "last"), 5000);
    assert_int_equal(number(1, "id"), f.folded_dead);

    OK(ask(store, "ls", one_text("where", "type = paid")));
    assert_int_equal(row_count, 2);
    assert_int_equal(number(1, "scanned"), 3); /* of the inbox only that type, and the dead */
    assert_int_equal(ask(store, "ls", one_text("where", "type ! paid")), HF_EINVAL);
    assert_int_equal(ask(store, "ls", one_text("by", "colours")), HF_EINVAL);
    hf_store_close(store);
}

static void test_messages(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("messages", &f);
    OK(ask(store, "messages", none));
    assert_int_equal(row_count, 7);
    uint64_t last = 0;
    for (size_t i = 0; i < 6; i++) {
        assert_true(number(i, "id") > last);
        last = number(i, "id");
        assert_false(has(i, "body"));
    }
    assert_int_equal(number(0, "id"), f.folded_dead);
    assert_string_equal(words(0, "status"), "dead");
    assert_int_equal(number(0, "died"), 5000);
    assert_string_equal(words(1, "status"), "waiting");
    assert_string_equal(words(1, "kind"), "place");
    assert_int_equal(number(1, "body_bytes"), 3);
    assert_string_equal(words(3, "status"), "retrying");
    assert_int_equal(number(3, "retry"), f.retry_at);
    assert_string_equal(words(5, "status"), "paused");
    assert_false(truth(6, "more"));
    assert_int_equal(number(6, "matched"), 6);

    uint64_t after = 0; /* pages of two */
    size_t seen = 0;
    bool more = true;
    while (more) {
        hf_out_clear(&args);
        hf_out_map(&args, NULL);
        hf_out_uint(&args, "after", after);
        hf_out_uint(&args, "limit", 2);
        hf_out_bool(&args, "bodies", true);
        hf_out_end(&args);
        OK(ask(store, "messages", hf_out_bytes(&args)));
        assert_true(row_count == 3);
        assert_int_equal(field(0, "body", HF_ARG_BIN).bytes.len, number(0, "body_bytes"));
        seen += row_count - 1;
        after = number(2, "next");
        more = truth(2, "more");
    }
    assert_int_equal(seen, 6);

    OK(ask(store, "messages", one_text("where", "status = dead and actor = order/1")));
    assert_int_equal(row_count, 2);
    assert_int_equal(number(0, "id"), f.dead);
    hf_store_close(store);
}

static int ask_id(hf_store *store, uint64_t id)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_uint(&args, "id", id);
    hf_out_end(&args);
    return ask(store, "message", hf_out_bytes(&args));
}

static void test_message(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("message", &f);
    OK(ask_id(store, f.retrying));
    assert_string_equal(words(0, "actor"), "order/2");
    assert_string_equal(words(0, "error"), "gone");
    assert_int_equal((int64_t)field(0, "err", HF_ARG_INT).number, -4);
    assert_int_equal(field(0, "attempts", HF_ARG_ARRAY).count, 2);
    assert_int_equal(field(0, "body", HF_ARG_BIN).bytes.len, 5);
    assert_int_equal(strlen(words(0, "key")), 32);
    OK(ask_id(store, f.dead));
    assert_string_equal(words(0, "status"), "dead");
    assert_int_equal(number(0, "attempt"), 3);
    OK(ask_id(store, f.done)); /* the log still knows how it ended */
    assert_string_equal(words(0, "status"), "done");
    assert_int_equal(ask_id(store, 1234567), HF_ENOTFOUND);
    assert_int_equal(ask(store, "message", none), HF_EINVAL);
    hf_store_close(store);
}

/* Keys as text or bytes, large values by their size alone. */
static void expect_rows(void)
{
    static const char *const keys[] = { "a", "b\0c", "big" };
    hf_argument rows_of = field(0, "rows", HF_ARG_ARRAY);
    assert_int_equal(rows_of.count, 3);
    assert_false(has(0, "rows_more"));
    for (int i = 0; i < 3; i++) {
        hf_argument row[] = { { .name = "key", .type = i == 1 ? HF_ARG_BIN : HF_ARG_TEXT },
                              { .name = "value_bytes", .type = HF_ARG_UINT },
                              { .name = "value", .type = HF_ARG_BIN } };
        OK(hf_arguments_next("row", &rows_of.bytes, row, 3));
        assert_int_equal(row[0].bytes.len, i ? 3 : 1);
        assert_memory_equal(row[0].bytes.data, keys[i], row[0].bytes.len);
        assert_int_equal(row[1].number, i == 2 ? 5000 : 3);
        assert_int_equal(row[2].given, i != 2);
        assert_true(i == 2 || memcmp(row[2].bytes.data, i ? "two" : "one", 3) == 0);
    }
}

static void expect_few_rows(hf_store *store)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_text(&args, "actor", hf_str("order/1"));
    hf_out_uint(&args, "limit", 2);
    hf_out_end(&args);
    OK(ask(store, "actor", hf_out_bytes(&args)));
    assert_int_equal(field(0, "rows", HF_ARG_ARRAY).count, 2);
    assert_true(truth(0, "rows_more"));
}

static void test_actor(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("actor", &f);
    OK(ask(store, "actor", one_text("actor", "order/1")));
    assert_true(truth(0, "known"));
    assert_int_equal(field(0, "state", HF_ARG_BIN).bytes.len, 9);
    assert_true(number(0, "state_position") > f.done);
    assert_int_equal(number(0, "state_version"), 9);
    expect_rows();
    assert_int_equal(field(0, "inbox", HF_ARG_ARRAY).count, 2);
    assert_int_equal(field(0, "dead_letters", HF_ARG_ARRAY).count, 1);
    assert_int_equal(number(0, "waiting"), 2);
    assert_string_equal(words(0, "why"), "stopped");
    expect_few_rows(store);
    OK(ask(store, "actor", one_text("actor", "paid/1")));
    assert_string_equal(words(0, "why"), "paused");
    assert_string_equal(words(0, "reason"), "lunch");
    OK(ask(store, "actor", one_text("actor", "order/3")));
    assert_false(truth(0, "known"));
    assert_string_equal(words(0, "why"), "nothing");
    assert_int_equal(ask(store, "actor", one_text("actor", "order")), HF_EINVAL);
    assert_int_equal(ask(store, "actor", none), HF_EINVAL);
    hf_store_close(store);
}

/* ---- Finding */

typedef struct found {
    hf_store *store;
    size_t    count;
    uint64_t  last;
} found;

static int find_one(void *user, const hf_message *msg)
{
    found *all = user;
    assert_true(msg->id > all->last);
    all->last = msg->id;
    all->count++;
    assert_int_equal((uintptr_t)msg->body.data % 8, 0);
    assert_int_equal(hf_query(all->store, "stats", none, keep_row, NULL), HF_EDEADLOCK);
    return msg->status == HF_PAUSED ? 77 : HF_OK;
}

static void test_find(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("find", &f);
    found all = { .store = store };
    assert_int_equal(hf_find(store, NULL, find_one, &all), 77);
    assert_int_equal(all.count, 6);
    all = (found){ .store = store };
    OK(hf_find(store, "error = 'no \"stock\"' and status = dead", find_one, &all));
    assert_int_equal(all.count, 1);
    assert_int_equal(all.last, f.folded_dead);
    assert_int_equal(hf_find(store, "nonsense", find_one, &all), HF_EINVAL);
    hf_store_close(store);
}

/* ---- Changes */

static void test_requeue(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("requeue", &f);
    for (int round = 0; round < 2; round++) { /* the second time nothing is left to do */
        OK(change(store, "requeue", ids_of(f.dead, f.retrying, f.waiting, f.done)));
        assert_int_equal(number(0, "requeued"), round ? 0 : 2);
        assert_int_equal(field(0, "unchanged", HF_ARG_ARRAY).count, round ? 3 : 1);
        assert_int_equal(field(0, "missing", HF_ARG_ARRAY).count, 1);
    }
    OK(ask(store, "actor", one_text("actor", "order/1")));
    assert_int_equal(number(0, "waiting"), 3);
    assert_int_equal(number(0, "dead"), 0);
    OK(ask_id(store, f.dead)); /* at its old place, with fresh tries */
    assert_string_equal(words(0, "status"), "waiting");
    assert_int_equal(number(0, "attempt"), 0);
    assert_string_equal(words(0, "kind"), "place");
    assert_int_equal(field(0, "body", HF_ARG_BIN).bytes.len, 4);
    OK(ask_id(store, f.retrying));
    assert_string_equal(words(0, "status"), "waiting");
    assert_int_equal(number(0, "attempt"), 0);
    assert_int_equal(number(0, "body_bytes"), 5);

    OK(hf_requeue(store, f.folded_dead));
    assert_int_equal(hf_requeue(store, f.folded_dead), HF_EINVAL);
    assert_int_equal(hf_requeue(store, f.done), HF_ENOTFOUND);
    assert_int_equal(change(store, "requeue", none), HF_EINVAL);
    assert_int_equal(change(store, "purge", none), HF_EINVAL);
    hf_store_close(store);
}

static void test_pause_and_resume(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("pause", &f);
    OK(change(store, "pause", one_text("what", "")));
    assert_int_equal(number(0, "waiting"), 4);
    assert_false(truth(0, "already"));
    assert_int_equal(number(0, "running"), 0);
    OK(change(store, "pause", one_text("what", "")));
    assert_true(truth(0, "already"));
    OK(ask(store, "ls", none));
    assert_int_equal(number(0, "paused"), 3);
    OK(change(store, "resume", one_text("what", "paid")));
    assert_true(truth(0, "paused"));
    assert_string_equal(words(0, "still"), "");
    OK(change(store, "resume", one_text("what", "")));
    assert_true(truth(0, "paused"));
    OK(change(store, "resume", one_text("what", "order/1")));
    assert_false(truth(0, "paused"));
    OK(ask(store, "ls", none));
    assert_int_equal(number(0, "paused"), 0);
    assert_int_equal(change(store, "pause", one_text("what", "Order!")), HF_EINVAL);
    assert_int_equal(change(store, "pause", none), HF_EINVAL);
    hf_store_close(store);
}

static hf_bytes letters(const char *to, int count)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "letters");
    for (int i = 0; i < count; i++) {
        hf_out_map(&args, NULL);
        hf_out_text(&args, "to", hf_str(to));
        hf_out_text(&args, "kind", hf_str("hello"));
        hf_out_bin(&args, "body", hf_str("abc"));
        hf_out_end(&args);
    }
    hf_out_end(&args);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static void test_send(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("send", &f);
    OK(change(store, "send", letters("new/1", 3)));
    assert_int_equal(field(0, "ids", HF_ARG_ARRAY).count, 3);
    OK(ask(store, "messages", one_text("where", "type = new")));
    assert_int_equal(row_count, 4);
    assert_true(number(0, "id") > f.done + (1 << 24)); /* the end was unclean */
    uint64_t first = number(0, "id");
    OK(change(store, "send", letters("new/1", 1)));
    OK(ask(store, "messages", one_text("where", "type = new")));
    assert_int_equal(row_count, 5);
    assert_true(number(3, "id") < first + 1000); /* and ours was clean */
    assert_int_equal(change(store, "send", letters("no address", 1)), HF_EINVAL);
    assert_int_equal(change(store, "send", letters("new/1", 0)), HF_EINVAL);
    OK(ask(store, "ls", none));
    assert_int_equal(number(row_count - 1, "scanned"), 10);
    hf_store_close(store);
}

/* Somebody has the store: looking works, changing does not. */
static void test_busy(void **state)
{
    (void)state;
    filled f;
    hf_store *store = open_filled("busy", &f);
    core c;
    core_open(&c, path_of("busy"), NULL, NULL);
    OK(ask(store, "stats", none));
    assert_string_equal(words(0, "source"), "hung");
    assert_int_equal(number(0, "pid"), getpid());
    assert_int_equal(change(store, "pause", one_text("what", "order")), HF_EBUSY);
    core_close(&c, true);
    OK(change(store, "pause", one_text("what", "order")));
    hf_store_close(store);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t      len;
    } bad[] = {
        { "", 0 },                           /* nothing */
        { "\xdf\xff\xff\xff\xff", 5 },       /* claims 2^32 pairs */
        { "\x81\xa2id", 4 },                 /* no value */
        { "\x81\xa2id\xa1x", 6 },            /* a text */
        { "\x82\xa2id\x01\xa2id\x02", 9 },   /* twice */
        { "\x81\x01\x02", 3 },               /* its name is a number */
        { "\x93\x01\x02\x03", 4 },           /* no map */
        { "\x81\xa2id\x01\x01", 6 },         /* bytes behind it */
    };
    filled f;
    hf_store *store = open_filled("bad", &f);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(ask(store, "message", hf_view(bad[i].bytes, bad[i].len)), HF_EINVAL);
    assert_int_equal(ask(store, "message", hf_view("\x81\xa2id\xc0", 5)), HF_EINVAL); /* nil */
    hf_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats),     cmocka_unit_test(test_ls),
        cmocka_unit_test(test_messages),  cmocka_unit_test(test_message),
        cmocka_unit_test(test_actor),     cmocka_unit_test(test_find),
        cmocka_unit_test(test_requeue),   cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_send),      cmocka_unit_test(test_busy),
        cmocka_unit_test(test_bad_arguments),
    };
    int failed = cmocka_run_group_tests(tests, make_root, remove_root);
    for (size_t i = 0; i < 64; i++)
        hf_out_done(&rows[i]);
    hf_out_done(&args);
    return failed;
}
