/* test_letters.c - letters that are sent into a store nobody has open: what is refused and
 * why, words that were taken, times, and what comes in dead. */
#include "tests/unit/asked.h"

#include "recovery/holdfast_recovery.h"

#include "storage/due.h"

static char      path[200];
static hf_store *store;
static uint64_t  wall_ms = 1800000000000;

static uint64_t wall(void *user)
{
    (void)user;
    return wall_ms;
}

static uint64_t mono(void *user)
{
    (void)user;
    return wall_ms * 1000000;
}

static int begin(void **state)
{
    static const hf_clock clock = { .wall_ms = wall, .mono_ns = mono };
    core c;
    (void)state;
    hf_clock_use(&clock);
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    core_close(&c, true);
    CORE_OK(hf_store_open(&store, path, 0));
    return 0;
}

static int end(void **state)
{
    (void)state;
    hf_store_close(store);
    hf_clock_use(NULL);
    return 0;
}

/* ---- Letters */

static void open_letters(void)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "letters");
}

static void to(const char *address)
{
    hf_out_map(&args, NULL);
    hf_out_text(&args, "to", hf_str(address));
}

static hf_bytes close_letters(void)
{
    hf_out_end(&args);
    hf_out_end(&args);
    assert_int_equal(args.err, HF_OK);
    return hf_out_bytes(&args);
}

static hf_bytes one_with(const char *name, const char *text, uint64_t number)
{
    open_letters();
    to("order/1");
    if (text)
        hf_out_text(&args, name, hf_str(text));
    else
        hf_out_uint(&args, name, number);
    hf_out_end(&args);
    return close_letters();
}

static hf_bytes one_with_two(const char *name, uint64_t number, const char *other, uint64_t of)
{
    open_letters();
    to("order/1");
    hf_out_uint(&args, name, number);
    hf_out_uint(&args, other, of);
    hf_out_end(&args);
    return close_letters();
}

static int change(const char *what, hf_bytes arguments)
{
    asked.count = 0;
    return hf_change(store, what, arguments, asked_keep, NULL);
}

static int query(const char *question, hf_bytes arguments)
{
    asked.count = 0;
    return hf_query(store, question, arguments, asked_keep, NULL);
}

static int send_one(const char *address, const char *word, const char *body)
{
    open_letters();
    to(address);
    hf_out_bin(&args, "body", hf_str(body));
    if (word)
        hf_out_text(&args, "dedupe", hf_str(word));
    hf_out_end(&args);
    return change("send", close_letters());
}

static uint64_t sent_id(uint32_t n)
{
    hf_argument ids = asked_field(0, "ids", HF_ARG_ARRAY);
    uint64_t id = 0;
    for (uint32_t i = 0; i <= n; i++)
        assert_int_equal(hf_arguments_uint("ids", &ids.bytes, &id), HF_OK);
    return id;
}

static uint64_t waiting(void)
{
    assert_int_equal(query("messages", hf_view(NULL, 0)), HF_OK);
    return asked_number(asked.count - 1, "matched");
}

static void is_refused(hf_bytes arguments, int err, const char *words)
{
    assert_int_equal(change("send", arguments), err);
    asked_says(words);
    assert_int_equal(asked.count, 0);
    assert_int_equal(waiting(), 0); /* and nothing of it is there */
}

static void test_what_is_refused(void **state)
{
    static char longer[1002];
    (void)state;
    memset(longer, 'x', 1001);
    const uint64_t century = (uint64_t)100 * 366 * 24 * 3600 * 1000;
    is_refused(one_with("error", longer, 0), HF_EINVAL, "`error` is at most 1000");
    longer[128] = 0;
    is_refused(one_with("kind", longer, 0), HF_EINVAL, "`kind` is at most 127");
    is_refused(one_with("dedupe", longer, 0), HF_EINVAL, "`dedupe` is 1 .. 127");
    is_refused(one_with("dedupe", "", 0), HF_EINVAL, "`dedupe` is 1 .. 127");
    is_refused(one_with("delay_ms", NULL, century + 1), HF_EINVAL, "at most 100 years");
    is_refused(one_with("expires_ms", NULL, century + 1), HF_EINVAL, "at most 100 years");
    is_refused(one_with("urgency", NULL, 10), HF_EINVAL, "0 .. 9");
    is_refused(one_with("from", "nobody", 0), HF_EINVAL, "`from` is no address");
    is_refused(one_with("attempt", NULL, 1ull << 32), HF_EINVAL, "`attempt` is too large");
    is_refused(one_with_two("delay_ms", 1, "at", 1), HF_EINVAL, "`delay_ms` and `at`");
    is_refused(one_with("died", NULL, 5), HF_EINVAL, "a dead letter has `err`");
    is_refused(one_with_two("died", 5, "delay_ms", 1), HF_EINVAL, "not delayed");
    is_refused(one_with_two("died", 5, "at", 1), HF_EINVAL, "not delayed");
    is_refused(one_with_two("died", 5, "err", 1ull << 32), HF_EINVAL, "has `err`");
    is_refused(one_with("subject", "x", 0), HF_EINVAL, "subject");
    open_letters();
    to("order/1");
    hf_out_end(&args);
    hf_out_end(&args);
    longer[128] = 'x';
    hf_out_text(&args, "reason", hf_str(longer));
    hf_out_end(&args);
    is_refused(hf_out_bytes(&args), HF_EINVAL, "`reason` is at most 1000");
}

/* ---- Words */

static void test_words(void **state)
{
    (void)state;
    assert_int_equal(send_one("order/1", "once", "the same"), HF_OK);
    uint64_t id = sent_id(0);
    assert_int_equal(asked_number(0, "known"), 0);
    assert_int_equal(send_one("order/1", "once", "the same"), HF_OK);
    assert_int_equal(sent_id(0), id);
    assert_int_equal(asked_number(0, "known"), 1);
    assert_int_equal(waiting(), 1);
    assert_int_equal(send_one("order/1", "once", "another"), HF_ECONFLICT);
    asked_says("has taken another letter under \"once\"");
    assert_int_equal(waiting(), 1);
    assert_int_equal(send_one("order/2", "once", "another"), HF_OK);
    assert_int_equal(send_one("order/1", "twice", "another"), HF_OK);
    assert_int_equal(waiting(), 3);
    wall_ms += (uint64_t)24 * 3600 * 1000 - 1;
    assert_int_equal(send_one("order/1", "once", "the same"), HF_OK);
    assert_int_equal(sent_id(0), id);
    wall_ms += 1; /* a day later it is free again */
    assert_int_equal(send_one("order/1", "once", "another"), HF_OK);
    assert_true(sent_id(0) != id);
    assert_int_equal(waiting(), 4);
}

/* In one change: known ones, new ones and those without a word keep their order. */
static void test_words_of_one_change(void **state)
{
    (void)state;
    static const struct {
        const char *to, *word;
    } of[] = { { "order/1", NULL },  { "order/1", "a" }, { "order/2", "a" },
               { "order/1", "b" }, { "order/1", NULL } };
    assert_int_equal(send_one("order/2", "a", ""), HF_OK);
    uint64_t known = sent_id(0);
    open_letters();
    for (size_t i = 0; i < 5; i++) {
        to(of[i].to);
        if (of[i].word)
            hf_out_text(&args, "dedupe", hf_str(of[i].word));
        hf_out_end(&args);
    }
    assert_int_equal(change("send", close_letters()), HF_OK);
    assert_int_equal(asked_number(0, "known"), 1);
    assert_int_equal(sent_id(2), known);
    uint64_t first = sent_id(0);
    assert_int_equal(sent_id(1), first + 1);
    assert_int_equal(sent_id(3), first + 2);
    assert_int_equal(sent_id(4), first + 3);
    assert_int_equal(waiting(), 5);
    open_letters();
    for (int i = 0; i < 2; i++) {
        to("order/3");
        hf_out_text(&args, "dedupe", hf_str("c"));
        hf_out_end(&args);
    }
    assert_int_equal(change("send", close_letters()), HF_EINVAL);
    asked_says("two letters to order/3 with the word \"c\"");
    assert_int_equal(waiting(), 5);
}

/* A word whose row can't be read is no reason to take the letter twice. */
static void test_a_damaged_word(void **state)
{
    hf_txn *txn;
    hf_key key;
    core c;
    (void)state;
    core_open(&c, path, NULL, NULL);
    hf_entry e = core_entry(c.log, HF_OP_SEND, "order/1");
    e.name = "once";
    e.name_len = 4;
    hf_key_name(&key, &e);
    CORE_OK(hf_txn_write(c.disk, &txn));
    asked_put(txn, HF_IN_DEDUPE, &key, "short", 5);
    CORE_OK(hf_txn_commit(txn));
    core_close(&c, true);
    assert_int_equal(send_one("order/1", "once", ""), HF_ECORRUPT);
    assert_int_equal(waiting(), 0);
}

/* ---- Times */

static void check_times(const char *name, uint64_t number, const char *field, uint64_t wanted)
{
    assert_int_equal(change("send", one_with(name, NULL, number)), HF_OK);
    uint64_t id = sent_id(0);
    assert_int_equal(query("message", text_and_number(NULL, NULL, "id", id)), HF_OK);
    assert_int_equal(asked_number(0, field), wanted);
    assert_string_equal(asked_text(0, "status"),
                        strcmp(field, "due") == 0 && wanted ? "delayed" : "waiting");
}

static void test_times(void **state)
{
    (void)state;
    check_times("delay_ms", 5000, "due", wall_ms + 5000);
    check_times("at", wall_ms + 7000, "due", wall_ms + 7000);
    check_times("at", wall_ms, "due", 0); /* that was now */
    check_times("at", UINT64_MAX, "due", HF_DUE_MAX);
    check_times("expires_ms", 9000, "expires", wall_ms + 9000);
    check_times("urgency", 9, "urgency", 9);
}

/* The clock was set: that stays known, and what is due later goes by engine time. */
static void test_set_clock(void **state)
{
    core c;
    (void)state;
    core_open(&c, path, NULL, NULL);
    hf_log_keep_time(c.log, wall_ms - 3600000, wall_ms * 1000000);
    (void)core_send(&c, "order/1", "", hf_str("an hour ago, by its own clock"));
    core_close(&c, false);
    check_times("delay_ms", 5000, "due", wall_ms + 5000);
    CORE_OK(hf_disk_open(&c.disk, path, &(hf_disk_options){ .flags = HF_LOOK }));
    hf_view_of *view;
    CORE_OK(hf_view_open(&view, c.disk));
    assert_int_equal(hf_view_time(view), wall_ms - 3600000);
    hf_view_close(view);
    hf_disk_close(c.disk);
}

/* ---- What letters bring along */

static void test_brought_along(void **state)
{
    (void)state;
    open_letters();
    to("order/1");
    hf_out_text(&args, "from", hf_str("shop/1"));
    hf_out_uint(&args, "sent", 1234);
    hf_out_uint(&args, "attempt", 2);
    hf_out_int(&args, "err", -4);
    hf_out_text(&args, "error", hf_str("no answer"));
    hf_out_bin(&args, "first_body", hf_str("was"));
    hf_out_bin(&args, "body", hf_str("is"));
    hf_out_end(&args);
    to("order/2");
    hf_out_text(&args, "from", hf_str(""));
    hf_out_text(&args, "kind", hf_str("dead"));
    hf_out_uint(&args, "died", 99);
    hf_out_int(&args, "err", 7);
    hf_out_bin(&args, "first_body", hf_str(""));
    hf_out_end(&args);
    to("order/3");
    hf_out_text(&args, "error", hf_str("of no failure"));
    hf_out_end(&args);
    assert_int_equal(change("send", close_letters()), HF_OK);
    uint64_t id = sent_id(0);
    assert_int_equal(query("message", text_and_number(NULL, NULL, "id", id)), HF_OK);
    assert_string_equal(asked_text(0, "from"), "shop/1");
    assert_string_equal(asked_text(0, "error"), "no answer");
    assert_string_equal(asked_text(0, "status"), "retrying");
    assert_int_equal(asked_number(0, "sent"), 1234);
    assert_int_equal(asked_field(0, "first_body", HF_ARG_BIN).bytes.len, 3);
    assert_int_equal(query("message", text_and_number(NULL, NULL, "id", id + 1)), HF_OK);
    assert_string_equal(asked_text(0, "status"), "dead");
    assert_string_equal(asked_text(0, "from"), "");
    assert_int_equal(asked_number(0, "died"), 99);
    assert_true(asked_truth(0, "edited"));
    assert_int_equal(query("message", text_and_number(NULL, NULL, "id", id + 2)), HF_OK);
    assert_string_equal(asked_text(0, "status"), "waiting");
    assert_string_equal(asked_text(0, "error"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_words, begin, end),
        cmocka_unit_test_setup_teardown(test_words_of_one_change, begin, end),
        cmocka_unit_test_setup_teardown(test_a_damaged_word, begin, end),
        cmocka_unit_test_setup_teardown(test_times, begin, end),
        cmocka_unit_test_setup_teardown(test_set_clock, begin, end),
        cmocka_unit_test_setup_teardown(test_brought_along, begin, end),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("letters", true));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    asked_done();
    return failed;
}
