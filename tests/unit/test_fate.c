/* test_fate.c - what facts make of one row, whether or not they were applied before. */
#include "tests/support/facts.h"

static facts     f;
static hf_rowbuf made, stored;
static size_t    stored_len; /* 0: no such row */

static int load(void *user, hf_table table, const hf_key *key, hf_bytes *payload)
{
    (void)user, (void)table, (void)key;
    if (!stored_len)
        return HF_ENOTFOUND;
    *payload = hf_view(stored.bytes, stored_len);
    return HF_OK;
}

/* All facts of the table are about one row: its fate. */
static hf_fate fate(hf_table table, uint64_t applied)
{
    hf_key key;
    hf_fate found;
    facts_collect(&f, applied);
    size_t count = f.survivors.table[table].count;
    if (!count) {
        hf_survivors_done(&f.survivors);
        return (hf_fate){ HF_FATE_NONE, 0, 0, 0 };
    }
    assert_int_equal(hf_survivors_run(&f.survivors, table, 0, &key), count);
    assert_int_equal(hf_fate_of(&f.survivors, table, 0, count, &key, load, NULL, &made, &found),
                     HF_OK);
    hf_survivors_done(&f.survivors);
    return found;
}

/* What the facts made is the row now. */
static void store(hf_fate found)
{
    stored_len = found.verdict == HF_FATE_PUT ? found.len : 0;
    if (!stored_len)
        return;
    assert_int_equal(hf_rowbuf_need(&stored, stored_len), HF_OK);
    memcpy(stored.bytes, made.bytes + 1, stored_len);
}

static hf_entry message_of(hf_fate found)
{
    hf_entry e;
    assert_int_equal(found.verdict, HF_FATE_PUT);
    assert_true(hf_entry_decode(made.bytes + 9, found.len - 8, &e));
    return e;
}

static int reset(void **state)
{
    (void)state;
    if (f.count)
        facts_done(&f);
    stored_len = 0;
    return 0;
}

static void about_message(uint8_t op, uint64_t id, uint32_t attempt)
{
    hf_entry e = fact(op, "t/1");
    e.id = e.place = id;
    e.attempt = attempt;
    if (op == HF_OP_REQUEUE || op == HF_OP_DEAD)
        e.data = hf_str("body");
    facts_add(&f, &e);
}

static uint64_t send(void)
{
    hf_entry e = fact(HF_OP_SEND, "t/1");
    e.data = hf_str("body");
    return facts_add(&f, &e);
}

static void test_message(void **state)
{
    (void)state;
    uint64_t id = send();
    hf_fate found = fate(HF_IN_INBOX, 0);
    assert_int_equal(message_of(found).attempt, 0);
    assert_int_equal(hf_get64(made.bytes + 1), id * 10); /* the time of its record */
    about_message(HF_OP_RETRY, id, 2);
    about_message(HF_OP_RETRY, id, 3);
    for (int twice = 0; twice < 2; twice++) {
        found = fate(HF_IN_INBOX, 0);
        hf_entry e = message_of(found);
        assert_int_equal(e.attempt, 3);
        assert_true(e.id == id && e.data.len == 4);
        store(found); /* and applied once more */
    }
    about_message(HF_OP_ACK, id, 0);
    hf_window_mark(&f.window, id, 1);
    /* Sent and done in here, so there is no row; or there may be one. */
    assert_int_equal(fate(HF_IN_INBOX, 0).verdict == HF_FATE_PUT, 0);
    assert_int_equal(fate(HF_IN_INBOX, id + 1).verdict, HF_FATE_GONE);
}

static void test_row_of_before(void **state)
{
    (void)state;
    uint64_t id = send();
    store(fate(HF_IN_INBOX, 0));
    facts_done(&f);
    about_message(HF_OP_RETRY, id, 7); /* only now a fact about it is in the window */
    hf_fate found = fate(HF_IN_INBOX, 0);
    assert_int_equal(message_of(found).attempt, 7);
    assert_int_equal(hf_get64(made.bytes + 1), id * 10);
    stored_len = 0; /* a retry of a message that is over brings nothing back */
    assert_int_equal(fate(HF_IN_INBOX, 0).verdict, HF_FATE_NONE);
}

static void test_dead_and_back(void **state)
{
    (void)state;
    about_message(HF_OP_DEAD, 50, 3);
    assert_int_equal(fate(HF_IN_INBOX, 0).verdict, HF_FATE_GONE);
    assert_int_equal(fate(HF_IN_DEAD, 0).verdict, HF_FATE_PUT);
    about_message(HF_OP_REQUEUE, 50, 0);
    assert_int_equal(message_of(fate(HF_IN_INBOX, 0)).id, 50);
    assert_int_equal(fate(HF_IN_DEAD, 0).verdict, HF_FATE_GONE);
    about_message(HF_OP_ACK, 50, 0);
    assert_int_equal(fate(HF_IN_INBOX, 0).verdict, HF_FATE_GONE);
}

static uint64_t alarm_fact(uint8_t op, uint64_t due, uint64_t generation)
{
    hf_entry e = fact(op, "t/1");
    e.name = "wake";
    e.name_len = 4;
    e.due = due;
    e.generation = generation;
    return facts_add(&f, &e);
}

static void test_alarm(void **state)
{
    (void)state;
    uint64_t first = alarm_fact(HF_OP_ALARM, 5, 0);
    hf_fate found = fate(HF_IN_ALARM_NAMES, 0);
    assert_true(found.verdict == HF_FATE_PUT && found.due == 5 && found.generation == first);
    store(found);
    facts_done(&f);
    send(); /* so that positions go on */
    uint64_t due = alarm_fact(HF_OP_DUE, 0, first);
    found = fate(HF_IN_ALARM_NAMES, 0); /* its message waits: the row stays, without a time */
    assert_true(found.verdict == HF_FATE_PUT && found.due == 0 && found.generation == first);
    store(found);
    found = fate(HF_IN_ALARM_NAMES, 0); /* the same again */
    assert_true(found.verdict == HF_FATE_PUT && found.due == 0 && found.generation == first);
    facts_done(&f);
    send();
    alarm_fact(HF_OP_ACK, 0, first + 1); /* the message of another setting ended */
    assert_int_equal(fate(HF_IN_ALARM_NAMES, 0).verdict, HF_FATE_NONE);
    alarm_fact(HF_OP_ACK, 0, first);
    assert_int_equal(fate(HF_IN_ALARM_NAMES, 0).verdict, HF_FATE_GONE);
    facts_done(&f);
    for (int i = 0; i < 5; i++)
        send();
    due = alarm_fact(HF_OP_DUE, 0, first);
    stored_len = 0; /* the same again, with the row gone already */
    assert_int_equal(fate(HF_IN_ALARM_NAMES, 0).verdict, HF_FATE_NONE);
    uint64_t second = alarm_fact(HF_OP_ALARM, 9, 0);
    assert_true(second > due);
    alarm_fact(HF_OP_DUE, 0, first); /* late: it was set anew */
    found = fate(HF_IN_ALARM_NAMES, 0);
    assert_true(found.verdict == HF_FATE_PUT && found.generation == second && found.due == 9);
    store(found);
    assert_int_equal(fate(HF_IN_ALARM_NAMES, 0).generation, second);
    alarm_fact(HF_OP_CANCEL, 0, 0);
    assert_int_equal(fate(HF_IN_ALARM_NAMES, 0).verdict, HF_FATE_GONE);
}

static void test_state(void **state)
{
    (void)state;
    hf_entry e = fact(HF_OP_SAVE, "t/1");
    e.data = hf_str("one");
    facts_add(&f, &e);
    e.data = hf_str("");
    uint64_t second = facts_add(&f, &e);
    hf_fate found = fate(HF_IN_STATE, 0);
    assert_true(found.verdict == HF_FATE_PUT && found.len == 8); /* empty is not none */
    assert_int_equal(hf_get64(made.bytes + 1), second);
    e = fact(HF_OP_FORGET, "t/1");
    facts_add(&f, &e);
    assert_int_equal(fate(HF_IN_STATE, 0).verdict, HF_FATE_GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup(test_message, reset),
                                        cmocka_unit_test_setup(test_row_of_before, reset),
                                        cmocka_unit_test_setup(test_dead_and_back, reset),
                                        cmocka_unit_test_setup(test_alarm, reset),
                                        cmocka_unit_test_setup(test_state, reset) };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (f.count)
        facts_done(&f);
    hf_rowbuf_done(&made);
    hf_rowbuf_done(&stored);
    return failed;
}
