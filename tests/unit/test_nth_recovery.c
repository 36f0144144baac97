/* test_nth_recovery.c - every call that a question or a change makes fails once: what it
 * answers then, and that the store is as it was, or as it was to be. */
#include "tests/unit/nth_ask.h"

#include "recovery/out.h"

static const char *path; /* of the store; on a disk of memory, if there is one */
static full_set    full;
static hf_out      args;

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

static void make_store(void)
{
    core c;
    core_remove(path);
    core_open(&c, path, NULL, NULL);
    full = full_fill(&c);
    core_close(&c, false);
}

static uint64_t sum_store(void)
{
    return full_sum_at(path);
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
