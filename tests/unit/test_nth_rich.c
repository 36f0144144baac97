/* test_nth_rich.c - every call that a question or a change makes fails once, in a store
 * where actors have all there is: rows, topics, schedules, kin, a history. */
#include "tests/unit/nth_ask.h"
#include "tests/unit/one_argument.h"
#include "tests/unit/rich_set.h"

static const char *path;
static rich_set    rich;

static void make_store(void)
{
    core_remove(path);
    rich_fill(path, &rich);
}

static uint64_t sum_store(void)
{
    return rich_sum_at(path);
}

/* ---- Arguments; lent until the next */

static hf_bytes one_number(const char *name, uint64_t number)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_uint(&args, name, number);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static hf_bytes brief(const char *where)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_text(&args, "where", hf_str(where));
    hf_out_uint(&args, "limit", 2);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static hf_bytes ids(const uint64_t *of, size_t count)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "ids");
    for (size_t i = 0; i < count; i++)
        hf_out_uint(&args, NULL, of[i]);
    hf_out_end(&args);
    hf_out_text(&args, "reason", hf_str("a test"));
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

static hf_bytes edits(const uint64_t *of, size_t count)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "edits");
    for (size_t i = 0; i < count; i++) {
        hf_out_map(&args, NULL);
        hf_out_uint(&args, "id", of[i]);
        hf_out_bin(&args, "body", hf_str("another"));
        hf_out_end(&args);
    }
    hf_out_end(&args);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

/* Three: one with a word, one that is to wait, one that comes in dead. */
static hf_bytes letters(void)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_array(&args, "letters");
    for (int i = 0; i < 3; i++) {
        hf_out_map(&args, NULL);
        hf_out_text(&args, "to", hf_str("new/1"));
        if (i == 0)
            hf_out_text(&args, "dedupe", hf_str("fresh"));
        if (i == 1)
            hf_out_uint(&args, "delay_ms", 1000);
        if (i == 2) {
            hf_out_uint(&args, "died", 5);
            hf_out_int(&args, "err", -3);
        }
        hf_out_end(&args);
    }
    hf_out_end(&args);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

/* ---- Questions */

static hf_store *open_still(void)
{
    static const hf_clock clock = { .wall_ms = still, .mono_ns = still };
    hf_store *store;
    make_store();
    hf_clock_use(&clock);
    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    return store;
}

static void close_still(hf_store *store)
{
    hf_store_close(store);
    hf_clock_use(NULL);
}

static void test_lists(void **state)
{
    hf_store *store = open_still();
    (void)state;
    ask_each(store, &(question){ "top", hf_view(NULL, 0), true });
    ask_each(store, &(question){ "alarms", hf_view(NULL, 0), false });
    ask_each(store, &(question){ "alarms", brief("type = order"), false });
    ask_each(store, &(question){ "ls", one_text("where", "status = delayed"), false });
    ask_each(store, &(question){ "messages", brief("status = dead"), false });
    close_still(store);
}

static void test_tail(void **state)
{
    hf_store *store = open_still();
    (void)state;
    ask_each(store, &(question){ "tail", one_number("after", 1), false });
    close_still(store);
}

static void test_actor(void **state)
{
    hf_store *store = open_still();
    (void)state;
    ask_each(store, &(question){ "actor", one_text("actor", "order/1"), false });
    close_still(store);
}

/* Whose parents and children are told, who is dead, or ended. */
static void test_lives(void **state)
{
    hf_store *store = open_still();
    (void)state;
    const uint64_t of[] = { rich.child, rich.stepped, rich.ended };
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        ask_each(store, &(question){ "message", one_number("id", of[i]), false });
    close_still(store);
}

/* ---- Changes */

static hf_store *open_rich(void **state)
{
    hf_store *store;
    (void)state;
    make_store();
    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    return store;
}

static void test_edits(void **state)
{
    hf_store *store = open_rich(state);
    const uint64_t of[] = { rich.parent, rich.stepped, rich.later, rich.edited };
    change_each(store, "edit", edits(of, 4));
    hf_store_close(store);
}

static void test_cancels(void **state)
{
    hf_store *store = open_rich(state);
    const uint64_t of[] = { rich.parent, rich.stepped, rich.later, rich.full.retrying };
    change_each(store, "cancel", ids(of, 4));
    hf_store_close(store);
}

static void test_letters(void **state)
{
    hf_store *store = open_rich(state);
    change_each(store, "send", letters());
    hf_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),  cmocka_unit_test(test_tail),
        cmocka_unit_test(test_actor),  cmocka_unit_test(test_lives),
        cmocka_unit_test(test_edits),  cmocka_unit_test(test_cancels),
        cmocka_unit_test(test_letters),
    };
    path = core_directory("nth-rich", true);
    nth.pretend = true;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    hf_out_done(&args);
    return failed;
}
