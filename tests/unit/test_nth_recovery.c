/* test_nth_recovery.c - every call that a question or a change makes fails once: what it
 * answers then, and that the store is as it was, or as it was to be. */
#include "tests/unit/full_set.h"
#include "tests/unit/nth_call.h"

#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include "storage/error.h"

static const char *path; /* of the store; on a disk of memory, if there is one */
static full_set    full;
static hf_out      args;

static const int lmdb_errors[] = { ENOMEM, LMDB_CORRUPTED, EIO };

/* ---- Arguments */

static hf_bytes begin(void)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    return hf_view(NULL, 0);
}

static hf_bytes end(void)
{
    hf_out_end(&args);
    assert_int_equal(args.err, HF_OK);
    return hf_out_bytes(&args);
}

static hf_bytes with_text(const char *name, const char *text)
{
    (void)begin();
    hf_out_text(&args, name, hf_str(text));
    return end();
}

static hf_bytes with_number(const char *name, uint64_t number)
{
    (void)begin();
    hf_out_uint(&args, name, number);
    return end();
}

static hf_bytes with_ids(const uint64_t *ids, size_t count)
{
    (void)begin();
    hf_out_array(&args, "ids");
    for (size_t i = 0; i < count; i++)
        hf_out_uint(&args, NULL, ids[i]);
    hf_out_end(&args);
    return end();
}

static hf_bytes with_letters(const char *to, int count)
{
    (void)begin();
    hf_out_array(&args, "letters");
    for (int i = 0; i < count; i++) {
        hf_out_map(&args, NULL);
        hf_out_text(&args, "to", hf_str(to));
        if (i % 2)
            hf_out_text(&args, "kind", hf_str(""));
        hf_out_end(&args);
    }
    hf_out_end(&args);
    return end();
}

/* ---- Questions */

static int sum_row(void *user, hf_bytes row)
{
    uint64_t *sum = user;
    *sum = hf_address_hash(*sum, row.data, row.len);
    return HF_OK;
}

static int sum_message(void *user, const hf_message *msg)
{
    uint64_t *sum = user;
    *sum = hf_address_hash(*sum + msg->id, msg->to, strlen(msg->to));
    *sum = hf_address_hash(*sum + msg->attempt, msg->body.data ? msg->body.data : "",
                           msg->body.len);
    return HF_OK;
}

typedef struct question {
    const char *name; /* NULL: hf_find */
    hf_bytes    arguments;
    bool        moves; /* its answer is another each time */
} question;

static int ask(hf_store *store, const question *q, uint64_t *sum)
{
    *sum = 1;
    return q->name ? hf_query(store, q->name, q->arguments, sum_row, sum)
                   : hf_find(store, "status = dead", sum_message, sum);
}

/* Where memory is short: HF_ENOMEM, or the answer; all the same what else fails. */
static void ask_once(hf_store *store, const question *q, int kind, uint64_t want)
{
    uint64_t sum;
    int err = ask(store, q, &sum);
    nth_off();
    if (err && !*hf_detail())
        fail_msg("%s: %d without a detail", q->name ? q->name : "find", err);
    if (err && kind == NTH_MEMORY && err != HF_ENOMEM)
        fail_msg("%s: %d, not HF_ENOMEM: %s", q->name ? q->name : "find", err, hf_detail());
    if (err && err != HF_ENOMEM && err != HF_EIO && err != HF_ECORRUPT && err != HF_EUNKNOWN
        && err != HF_EAGAIN && err != HF_EINVAL && err != HF_ENOTFOUND)
        fail_msg("%s: %d: %s", q->name ? q->name : "find", err, hf_detail());
    if (!err && !q->moves && kind == NTH_MEMORY)
        assert_true(sum == want);
    assert_int_equal(ask(store, q, &sum), HF_OK);
    if (!q->moves)
        assert_true(sum == want);
}

static void ask_each(hf_store *store, const question *q)
{
    uint64_t want;
    assert_int_equal(ask(store, q, &want), HF_OK);
    NTH_EACH(n, NTH_MEMORY, 0)
        ask_once(store, q, NTH_MEMORY, want);
    NTH_EACH(n, NTH_LMDB, lmdb_errors[n % 3])
        ask_once(store, q, NTH_LMDB, want);
    NTH_EACH(n, NTH_FILE, EIO)
        ask_once(store, q, NTH_FILE, want);
    NTH_EACH(n, NTH_SOCKET, EMFILE)
        ask_once(store, q, NTH_SOCKET, want);
}

static uint64_t still(void *user)
{
    (void)user;
    return 1800000000000;
}

static void make_store(void)
{
    core c;
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    full = full_fill(&c);
    core_close(&c, false);
}

static void test_questions(void **state)
{
    hf_clock clock = { .wall_ms = still, .mono_ns = still };
    hf_store *store;
    (void)state;
    make_store();
    hf_clock_use(&clock);
    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    ask_each(store, &(question){ "stats", hf_view(NULL, 0), true });
    ask_each(store, &(question){ "ls", with_text("by", "types"), false });
    ask_each(store, &(question){ "ls", with_text("by", "actors"), false });
    ask_each(store, &(question){ "ls", with_text("by", "errors"), false });
    ask_each(store, &(question){ "actor", with_text("actor", "order/1"), false });
    ask_each(store, &(question){ "messages", with_text("where", "type = order"), false });
    ask_each(store, &(question){ "message", with_number("id", full.retrying), false });
    ask_each(store, &(question){ NULL, hf_view(NULL, 0), false });
    hf_store_close(store);
    hf_clock_use(NULL);
}

static void test_opening_for_looking(void **state)
{
    hf_store *store = NULL;
    (void)state;
    make_store();
    NTH_EACH(n, NTH_MEMORY, 0) {
        int err = hf_store_open(&store, path, 0);
        nth_off();
        if (err && (err != HF_ENOMEM || !*hf_detail()))
            fail_msg("%d: %s", err, hf_detail());
        if (!err)
            hf_store_close(store);
    }
    assert_int_equal(hf_store_open(NULL, path, 0), HF_EINVAL);
    assert_int_equal(hf_store_open(&store, NULL, 0), HF_EINVAL);
    assert_int_equal(hf_query(NULL, "stats", hf_view(NULL, 0), sum_row, NULL), HF_EINVAL);
}

/* ---- Changes */

/* What was asked for is there, or nothing of it; and after HF_OK it is. */
static void change_once(hf_store *store, const char *what, hf_bytes arguments, int kind)
{
    uint64_t before = full_sum_at(path), row = 1;
    nth.kind = kind; /* what came before was not counted */
    hf_mem_hook(kind == NTH_MEMORY ? nth_memory : NULL, NULL);
    int err = hf_change(store, what, arguments, sum_row, &row);
    nth_off();
    uint64_t after = full_sum_at(path);
    if (err && !*hf_detail())
        fail_msg("%s: %d without a detail", what, err);
    if (err && kind == NTH_MEMORY && err != HF_ENOMEM && err != HF_EUNKNOWN)
        fail_msg("%s: %d, not HF_ENOMEM: %s", what, err, hf_detail());
    if (err && err != HF_EUNKNOWN && after != before)
        fail_msg("%s: %d (%s), and yet it was done", what, err, hf_detail());
    if (!err && (after == before || row == 1))
        fail_msg("%s: not done, and no error", what);
    if (after != before)
        make_store();
}

static void change_each(hf_store *store, const char *what, hf_bytes arguments)
{
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP) {
        nth_on(NTH_MEMORY, NULL, n, 0);
        nth_off();
        change_once(store, what, arguments, NTH_MEMORY);
    }
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP) {
        nth_on(NTH_LMDB, NULL, n, lmdb_errors[n % 3]);
        nth_off();
        change_once(store, what, arguments, NTH_LMDB);
    }
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP) {
        nth_on(NTH_FILE, NULL, n, EIO);
        nth_off();
        change_once(store, what, arguments, NTH_FILE);
    }
}

static void test_changes(void **state)
{
    hf_store *store;
    (void)state;
    make_store();
    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    uint64_t ids[] = { full.dead, full.folded_dead, full.retrying, full.delayed, full.waiting };
    change_each(store, "requeue", with_ids(ids, 5));
    change_each(store, "pause", with_text("what", "order"));
    change_each(store, "resume", with_text("what", "paid"));
    change_each(store, "send", with_letters("new/1", 3));
    hf_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_opening_for_looking),
        cmocka_unit_test(test_changes),
    };
    path = core_directory("nth-recovery", true);
    nth.pretend = true;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    hf_out_done(&args);
    return failed;
}
