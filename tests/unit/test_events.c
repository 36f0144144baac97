/* test_events.c - the question `tail`: what each entry of the log is told as, by whom, how
 * far one answer goes, and logs that are not as they should be. */
#include "tests/unit/asked.h"
#include "tests/unit/nth_call.h"

#include "recovery/event.h"

static char     path[200];
static core     c;
static uint64_t before; /* what was put next is told */
static hf_pen   pen;
static uint8_t  times[8];

static int begin(void **state)
{
    (void)state;
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    asked.disk = c.disk;
    (void)core_send(&c, "order/1", "old", hf_str("before all"));
    return 0;
}

static int end(void **state)
{
    (void)state;
    asked.stop = 0;
    nth_off();
    core_close(&c, true);
    return 0;
}

static hf_bytes after(uint64_t position, uint64_t part, const char *where, uint64_t limit)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_uint(&args, "after", position);
    hf_out_uint(&args, "part", part);
    if (where)
        hf_out_text(&args, "where", hf_str(where));
    if (limit)
        hf_out_uint(&args, "limit", limit);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static void tell_of(uint64_t position)
{
    assert_int_equal(asked_of("tail", after(position, 0, NULL, 0)), HF_OK);
}

/* An entry, with the word of an operator if there is one. */
static uint64_t put(hf_entry e, const char *change, uint64_t when)
{
    if (change) {
        pen = (hf_pen){ .time_ms = when, .uid = 7, .user = "ada", .change = change,
                        .reason = hf_str("so") };
        hf_pen_sign(&pen, &e);
    }
    before = core_put(&c, hf_entry_is_message(e.op) ? 0 : HF_FACTS, &e) - 1;
    return before + 1;
}

static hf_entry of(uint8_t op, uint64_t id)
{
    return full_entry(&c, op, "order/1", id, "", "");
}

static hf_entry fails(uint8_t op, uint64_t id, int err, const char *error, uint64_t when)
{
    hf_entry e = of(op, id);
    e.err = err;
    e.error = error;
    e.error_len = (uint32_t)strlen(error);
    e.attempt = 1;
    hf_put64(times, when);
    e.times = hf_view(times, when ? 8 : 0);
    return e;
}

/* The newest entry is told so. */
static void is_told(const char *what, bool named)
{
    tell_of(before);
    assert_int_equal(asked.count, 2);
    assert_string_equal(asked_text(0, "what"), what);
    assert_string_equal(asked_text(0, "user"), named ? "ada" : "");
    assert_string_equal(asked_text(0, "reason"), named ? "so" : "");
    assert_int_equal(asked_number(1, "next"), before + 1);
}

static void matches(const char *where, bool does)
{
    assert_int_equal(asked_of("tail", after(before, 0, where, 0)), HF_OK);
    if ((asked.count == 2) != does)
        fail_msg("%s: %zu rows", where, asked.count);
}

/* ---- What happened */

static void test_sent(void **state)
{
    (void)state;
    (void)put(of(HF_OP_SEND, 0), NULL, 0);
    is_told("sent", false);
    matches("status = waiting", true);
    (void)put(of(HF_OP_SEND, 0), "send", 5);
    is_told("sent", true);
    (void)put(of(HF_OP_SEND, 0), "import", 5);
    is_told("sent", true);
    (void)put(of(HF_OP_SEND, 0), "sand", 5); /* no word of ours */
    is_told("sent", false);
    hf_entry later = of(HF_OP_SEND, 0);
    later.flags = HF_ENTRY_DELAYED;
    later.due = 4000000000000;
    later.sent = 99;
    later.replaced = 3;
    later.from = "shop/9";
    later.from_len = 6;
    uint64_t id = put(later, NULL, 0);
    is_told("sent", false);
    matches("status = delayed and from = shop/9", true);
    assert_int_equal(asked_number(0, "due"), 4000000000000);
    assert_int_equal(asked_number(0, "replaced"), 3);
    hf_entry due = of(HF_OP_DUE, id);
    due.generation = id;
    (void)put(due, NULL, 0);
    is_told("due", false);
}

static void test_tried_again(void **state)
{
    (void)state;
    uint64_t id = put(of(HF_OP_SEND, 0), NULL, 0);
    (void)put(fails(HF_OP_RETRY, id, -4, "no answer", 100), NULL, 0);
    is_told("retry", false);
    assert_string_equal(asked_text(0, "error"), "no answer");
    matches("status = retrying and error = 'no answer'", true);
    (void)put(fails(HF_OP_RETRY, id, -4, "", 100), NULL, 0);
    is_told("retry", false);
    matches("error = ''", true);
    (void)put(fails(HF_OP_RETRY, id, 0, "", 0), NULL, 0);
    is_told("delayed", false);
    matches("status = delayed", true);
    (void)put(fails(HF_OP_RETRY, id, 0, "", 0), "requeue", 50);
    is_told("requeued", true);
    matches("status = waiting", true);
    (void)put(fails(HF_OP_RETRY, id, 0, "", 100), "requeue", 150);
    is_told("requeued", true);
    (void)put(fails(HF_OP_RETRY, id, -4, "once more", 200), "requeue", 150);
    is_told("retry", false); /* it was requeued, and failed since */
}

static void test_cancelled(void **state)
{
    (void)state;
    uint64_t id = put(of(HF_OP_SEND, 0), NULL, 0);
    for (int dead = 0; dead < 2; dead++) {
        uint8_t op = dead ? HF_OP_DEAD : HF_OP_RETRY;
        const char *not = dead ? "dead" : "retry";
        (void)put(fails(op, id, HF_EDEAD, "cancelled: why", 100), "cancel", 5);
        is_told("cancelled", true);
        (void)put(fails(op, id, HF_EDEAD, "cancelled", 100), "cancel", 5);
        is_told("cancelled", true);
        (void)put(fails(op, id, HF_EIO, "cancelled", 100), "cancel", 5);
        is_told(not, false);
        (void)put(fails(op, id, HF_EDEAD, "cancel", 100), "cancel", 5);
        is_told(not, false);
        (void)put(fails(op, id, HF_EDEAD, "cancelling", 100), "cancel", 5);
        is_told(not, false);
        (void)put(fails(op, id, HF_EDEAD, "cancelled", 100), NULL, 0);
        is_told(not, false);
    }
}

static void test_dead_and_edited(void **state)
{
    (void)state;
    uint64_t id = put(of(HF_OP_SEND, 0), NULL, 0);
    hf_entry dead = fails(HF_OP_DEAD, id, 7, "no stock", 100);
    dead.died = 1000;
    (void)put(dead, NULL, 0);
    is_told("dead", false);
    matches("status = dead and died >= 1970-01-01", true);
    (void)put(dead, "edit", 999); /* before it died */
    is_told("dead", false);
    (void)put(dead, "edit", 1001);
    is_told("edited", true);
    static const struct {
        const char *change, *what;
        bool        delayed;
    } rows[] = { { "edit", "edited", false },     { "undo", "undoing", false },
                 { "requeue", "requeued", true }, { NULL, "replaced", false } };
    for (size_t i = 0; i < 4; i++) {
        hf_entry e = of(HF_OP_REQUEUE, id);
        e.flags = rows[i].delayed ? HF_ENTRY_DELAYED : 0;
        (void)put(e, rows[i].change, 5);
        is_told(rows[i].what, rows[i].change != NULL);
        matches(rows[i].delayed ? "status = delayed" : "status = waiting", true);
    }
}

static void test_paused(void **state)
{
    (void)state;
    hf_entry e = full_entry(&c, HF_OP_PAUSE, "*", 0, "", "lunch");
    (void)put(e, "pause", 5);
    is_told("paused", true);
    assert_string_equal(asked_text(0, "actor"), "");
    assert_true(asked_field(0, "actor", HF_ARG_TEXT).given);
    matches("type = order", false);
    matches("kind = ''", false); /* it has none, not even an empty one */
    (void)put(full_entry(&c, HF_OP_PAUSE, "order", 0, "", ""), NULL, 0);
    is_told("paused", false);
    matches("type = order", true);
    (void)put(full_entry(&c, HF_OP_RESUME, "order", 0, "", ""), "resume", 5);
    is_told("resumed", true);
    assert_string_equal(asked_text(0, "actor"), "order");
}

/* What only its end is left of: what it was cannot be told, and is not guessed. */
static void test_ended(void **state)
{
    (void)state;
    uint64_t id = put(full_entry(&c, HF_OP_SEND, "order/1", 0, "pay", "x"), NULL, 0);
    hf_entry ack = of(HF_OP_ACK, id);
    ack.took = 12;
    (void)put(ack, NULL, 0);
    is_told("done", false);
    assert_string_equal(asked_text(0, "kind"), "pay");
    assert_int_equal(asked_number(0, "took_ms"), 12);
    matches("kind = pay", true);
    matches("attempts = 0", false);
    const uint64_t nothing[] = { 1u << 30, before + 1 }; /* beyond the log; the ACK itself */
    for (size_t i = 0; i < 2; i++) {
        (void)put(full_entry(&c, HF_OP_PURGE, "", nothing[i], "", ""), "purge", 5);
        is_told("purged", true);
        matches("kind = ''", false);
        matches("actor = ''", false);
    }
    (void)put(full_entry(&c, HF_OP_PURGE, "", id, "", ""), NULL, 0);
    is_told("purged", false);
    matches("actor = order/1 and kind = pay", true);
    (void)put(of(HF_OP_ACK, 1u << 30), NULL, 0);
    matches("actor = order/1", true); /* the entry says so much */
    matches("kind = ''", false);
}

/* ---- Many that ended at once */

/* Of ten messages every other one stands in the log as such. */
static uint64_t ten(void)
{
    uint64_t first = core_send(&c, "order/1", "plain", hf_str(""));
    for (int i = 1; i < 10; i++) {
        if (i % 2)
            full_put(&c, HF_OP_SAVE, "order/1", 0, "", "state");
        else
            (void)core_send(&c, "order/1", "plain", hf_str(""));
    }
    return first;
}

static uint64_t put_done(uint64_t first, uint32_t count)
{
    hf_entry done = { .op = HF_OP_DONE, .hash = first, .count = count, .to = "", .name = "",
                      .from = "", .error = "" };
    return core_put(&c, HF_FACTS, &done);
}

static void test_done(void **state)
{
    uint64_t first = ten(), done = put_done(first, 10), seen = 0, part = 0, at = done - 1;
    (void)state;
    tell_of(done - 1);
    assert_int_equal(asked.count, 11);
    for (uint64_t i = 0; i < 10; i++) {
        assert_string_equal(asked_text(i, "what"), "done");
        assert_int_equal(asked_number(i, "id"), first + i);
        assert_string_equal(asked_text(i, "kind"), i % 2 ? "" : "plain");
    }
    do { /* and so one by one, each once */
        assert_int_equal(asked_of("tail", after(at, part, NULL, 1)), HF_OK);
        assert_int_equal(asked_number(0, "id"), first + seen++);
        at = asked_number(1, "next");
        part = asked_number(1, "next_part");
    } while (asked_truth(1, "more") && seen < 10);
    assert_int_equal(seen, 10);
    assert_int_equal(at, done);
    assert_int_equal(part, 0);
    assert_int_equal(asked_of("tail", after(done - 1, 10, NULL, 0)), HF_OK);
    assert_int_equal(asked.count, 1); /* so many were told before */
    /* Some of which the log has no entry at all. */
    done = put_done(done + 1, 3);
    tell_of(done - 1);
    assert_int_equal(asked.count, 4);
    assert_string_equal(asked_text(2, "kind"), "");
    assert_int_equal(asked_number(2, "id"), done + 2);
}

/* ---- How far one answer goes */

static void test_arguments(void **state)
{
    (void)state;
    asked_refuses("tail", after(0, 1ull << 32, NULL, 0), HF_EINVAL, "`part`");
    asked_refuses("tail", after(0, 0, NULL, 1001), HF_EINVAL, "`limit` is 1 .. 1000");
    asked_refuses("tail", text_and_number("where", NULL, "limit", 0), HF_EINVAL, "1 .. 1000");
    asked_refuses("tail", after(0, 0, "id <", 0), HF_EINVAL, "");
    asked_refuses("tail", one_text("since", "x"), HF_EINVAL, "since");
    assert_int_equal(asked_of("tail", text_and_number("where", "id > 0", "limit", 5)), HF_OK);
    assert_int_equal(asked.count, 1); /* from now on */
    uint64_t now = asked_number(0, "next");
    assert_int_equal(asked_of("tail", after(now + 1000, 3, NULL, 0)), HF_OK);
    assert_int_equal(asked_number(0, "next"), now); /* what was never given was never told */
    tell_of(0);
    assert_int_equal(asked.count, 2);
    asked.stop = 55;
    assert_int_equal(asked_of("tail", after(0, 0, NULL, 0)), 55);
    assert_int_equal(asked.count, 1);
}

static uint64_t ticks;
static uint64_t tick(void *user)
{
    (void)user;
    return ticks += 30000000; /* 30 ms from one look to the next */
}

static uint64_t no_wall(void *user)
{
    (void)user;
    return 1000;
}

/* It ends when its time is over, and goes on from there. */
static void test_slices(void **state)
{
    (void)state;
    hf_clock slow = { .wall_ms = no_wall, .mono_ns = tick };
    uint64_t first = ten(), done = put_done(first, 10), at = first - 1, part = 0;
    unsigned told = 0, answers = 0;
    hf_clock_use(&slow);
    for (bool more = true; more; answers++) {
        assert_int_equal(asked_of("tail", after(at, part, "id > 0", 0)), HF_OK);
        size_t last = asked.count - 1;
        told += (unsigned)last;
        at = asked_number(last, "next");
        part = asked_number(last, "next_part");
        more = asked_truth(last, "more");
    }
    hf_clock_use(NULL);
    assert_int_equal(told, 5 + 10);
    assert_true(answers > 10);
    assert_int_equal(at, done);
}

/* As many looks as one answer takes; what it did not select is behind it, too. */
static void test_looks(void **state)
{
    (void)state;
    hf_clock clock = { .wall_ms = no_wall, .mono_ns = no_wall };
    uint64_t first = ten(), done = put_done(first, 70000);
    hf_clock_use(&clock);
    assert_int_equal(asked_of("tail", after(done - 1, 0, "kind = none", 0)), HF_OK);
    assert_int_equal(asked.count, 1);
    assert_true(asked_truth(0, "more"));
    assert_int_equal(asked_number(0, "next_part"), 65536);
    assert_int_equal(asked_of("tail", after(done - 1, 65536, "id > 1", 1000)), HF_OK);
    assert_int_equal(asked.count, 1001);
    assert_int_equal(asked_number(0, "id"), first + 65536);
    hf_clock_use(NULL);
}

/* Memory that ends among many is an error, and the row that ends the answer is not told. */
static void test_no_memory(void **state)
{
    hf_clock clock = { .wall_ms = no_wall, .mono_ns = no_wall };
    uint64_t first = ten(), done = put_done(first, 100);
    (void)state;
    for (int i = 0; i < 40; i++)
        full_put(&c, HF_OP_RESUME, "a/type-that-has-a-long-name-so-that-rows-are-long", 0, "", "");
    hf_clock_use(&clock);
    NTH_EACH(n, NTH_MEMORY, 0) {
        int err = asked_of("tail", after(done - 1, 0, NULL, 0));
        nth_off();
        if (err)
            assert_int_equal(err, HF_ENOMEM);
        assert_true(err ? asked.count <= 100 + 40 : asked.count == 100 + 40 + 1);
    }
    hf_clock_use(NULL);
}

/* The log can't be read just when the message that failed is looked up. */
static void test_unread(void **state)
{
    hf_disk_options look = { .flags = HF_LOOK };
    core own = c;
    (void)state;
    uint64_t id = put(of(HF_OP_SEND, 0), NULL, 0);
    (void)put(fails(HF_OP_RETRY, id, -4, "no answer", 100), NULL, 0);
    core_close(&own, true);
    NTH_EACH(n, NTH_LMDB, EIO) {
        nth.kind = NTH_NONE;
        CORE_OK(hf_disk_open(&asked.disk, path, &look)); /* an error ends its use */
        nth.kind = NTH_LMDB;
        int err = asked_of("tail", after(id, 0, NULL, 0));
        nth_off();
        assert_true(nth.hit ? err == HF_EIO || err == HF_EUNKNOWN || err == HF_ECORRUPT : !err);
        assert_int_equal(asked.count, err ? 0 : 2);
        hf_disk_close(asked.disk);
    }
    core_open(&c, path, NULL, NULL);
}

/* ---- Logs that are not as they should be */

static void put_raw(hf_bytes key, const void *value, size_t len)
{
    hf_txn *txn;
    CORE_OK(hf_log_close(c.log, true));
    CORE_OK(hf_txn_write(c.disk, &txn));
    CORE_OK(hf_txn_put(txn, HF_IN_LOG, key, hf_view(value, len)));
    CORE_OK(hf_txn_commit(txn));
}

static int reopen_end(void **state)
{
    (void)state;
    hf_disk_close(c.disk);
    return 0;
}

static void test_odd_keys(void **state)
{
    (void)state;
    tell_of(0);
    uint64_t head = asked_number(asked.count - 1, "next");
    put_raw(hf_view("\xff\xff", 2), "short", 5); /* behind the last record */
    assert_int_equal(asked_of("tail", hf_view(NULL, 0)), HF_OK);
    assert_int_equal(asked_number(0, "next"), head);
    asked_refuses("tail", after(head - 1, 0, NULL, 0), HF_ECORRUPT, "");
}

static void test_a_short_record(void **state)
{
    hf_key key;
    (void)state;
    hf_key_number(&key, 1u << 30);
    put_raw(hf_key_bytes(&key), "short", 5);
    assert_int_equal(asked_of("tail", hf_view(NULL, 0)), HF_OK);
    assert_true(asked_number(0, "next") < 1u << 30);
}

static void test_an_odd_first_key(void **state)
{
    (void)state;
    put_raw(hf_view("\0", 1), "short", 5);
    assert_int_equal(asked_of("tail", hf_view(NULL, 0)), HF_OK);
    assert_int_equal(asked.count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sent, begin, end),
        cmocka_unit_test_setup_teardown(test_tried_again, begin, end),
        cmocka_unit_test_setup_teardown(test_cancelled, begin, end),
        cmocka_unit_test_setup_teardown(test_dead_and_edited, begin, end),
        cmocka_unit_test_setup_teardown(test_paused, begin, end),
        cmocka_unit_test_setup_teardown(test_ended, begin, end),
        cmocka_unit_test_setup_teardown(test_done, begin, end),
        cmocka_unit_test_setup_teardown(test_arguments, begin, end),
        cmocka_unit_test_setup_teardown(test_slices, begin, end),
        cmocka_unit_test_setup_teardown(test_looks, begin, end),
        cmocka_unit_test_setup_teardown(test_no_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_unread, begin, end),
        cmocka_unit_test_setup_teardown(test_odd_keys, begin, reopen_end),
        cmocka_unit_test_setup_teardown(test_a_short_record, begin, reopen_end),
        cmocka_unit_test_setup_teardown(test_an_odd_first_key, begin, reopen_end),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("events", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    asked_done();
    return failed;
}
