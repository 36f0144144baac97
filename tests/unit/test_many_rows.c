/* test_many_rows.c - questions about more than one page, table or row of an answer holds. */
#include "tests/unit/full_set.h"

#include "recovery/arguments.h"
#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

enum { ACTORS = 2600, MOVED = 20, TYPES = 130, LARGE = 7, LARGE_BYTES = 4 << 20 };

static char      path[200];
static hf_store *store;
static hf_out    args, last;
static size_t    row_count;

static int keep_last(void *user, hf_bytes row)
{
    (void)user;
    row_count++;
    hf_out_clear(&last);
    hf_out_raw(&last, NULL, row);
    return HF_OK;
}

static uint64_t number(const char *name)
{
    hf_argument a = { .name = name, .type = HF_ARG_UINT };
    assert_int_equal(hf_arguments_known("row", hf_out_bytes(&last), &a, 1), HF_OK);
    assert_true(a.given);
    return a.number;
}

static bool more(void)
{
    hf_argument a = { .name = "more", .type = HF_ARG_BOOL };
    assert_int_equal(hf_arguments_known("row", hf_out_bytes(&last), &a, 1), HF_OK);
    return a.number;
}

static void ask(const char *question, const char *name, const char *text)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_text(&args, name, hf_str(text));
    hf_out_end(&args);
    row_count = 0;
    assert_int_equal(hf_query(store, question, hf_out_bytes(&args), keep_last, NULL), HF_OK);
}

typedef struct walk {
    uint64_t last, count, bytes, stop_at;
} walk;

static int found(void *user, const hf_message *msg)
{
    walk *w = user;
    assert_true(msg->id > w->last); /* by id, none twice */
    w->last = msg->id;
    w->count++;
    w->bytes += msg->body.len;
    return w->count == w->stop_at ? 42 : HF_OK;
}

/* More than two pages of messages, in the order of their ids. */
static void test_find(void **state)
{
    (void)state;
    walk all = { .count = 0 }, some = { .stop_at = 1700 }, none = { .count = 0 };
    assert_int_equal(hf_find(store, "kind = small", found, &all), HF_OK);
    assert_int_equal(all.count, ACTORS);
    assert_int_equal(hf_find(store, "kind = small", found, &some), 42);
    assert_int_equal(some.count, 1700);
    assert_int_equal(hf_find(store, "kind = none", found, &none), HF_OK);
    assert_int_equal(none.count, 0);
}

/* Bodies that do not all fit in one answer. */
static void test_large_bodies(void **state)
{
    (void)state;
    walk all = { .count = 0 };
    assert_int_equal(hf_find(store, "kind = large", found, &all), HF_OK);
    assert_int_equal(all.count, LARGE);
    assert_int_equal(all.bytes, (uint64_t)LARGE * LARGE_BYTES);
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    hf_out_text(&args, "where", hf_str("kind = large"));
    hf_out_bool(&args, "bodies", true);
    hf_out_end(&args);
    row_count = 0;
    assert_int_equal(hf_query(store, "messages", hf_out_bytes(&args), keep_last, NULL), HF_OK);
    assert_true(row_count > 1 && row_count - 1 < LARGE);
    assert_int_equal(number("matched"), LARGE);
    assert_true(more());
}

/* What had no room in one answer is in the next, and nothing behind it was told before. */
static void test_large_and_small(void **state)
{
    (void)state;
    walk all = { .count = 0 };
    assert_int_equal(hf_find(store, NULL, found, &all), HF_OK);
    assert_int_equal(all.count, LARGE + ACTORS);
}

/* Page after page by its number: the same with and without a count. */
static void test_pages_uncounted(void **state)
{
    (void)state;
    uint64_t pages[2][ACTORS / 70 + 2];
    for (int counted = 0; counted < 2; counted++) {
        uint64_t after = 0, told = 0;
        size_t n = 0;
        do {
            hf_out_clear(&args);
            hf_out_map(&args, NULL);
            hf_out_text(&args, "where", hf_str("type = t7 or kind = small"));
            hf_out_uint(&args, "after", after);
            hf_out_uint(&args, "limit", 70);
            hf_out_bool(&args, "count", counted);
            hf_out_end(&args);
            row_count = 0;
            assert_int_equal(hf_query(store, "messages", hf_out_bytes(&args), keep_last, NULL),
                             HF_OK);
            after = pages[counted][n++] = number("next");
            told += row_count - 1;
            assert_int_equal(number("scanned"), ACTORS + LARGE);
        } while (more());
        assert_int_equal(told, ACTORS);
        assert_int_equal(number("matched"), ACTORS % 70 ? ACTORS % 70 : 70);
        assert_int_equal(n, (ACTORS + 69) / 70);
    }
    assert_memory_equal(pages[0], pages[1], (ACTORS + 69) / 70 * sizeof pages[0][0]);
}

static void test_lists(void **state)
{
    (void)state;
    ask("ls", "by", "types");
    assert_int_equal(row_count, TYPES + 1 + 1);
    assert_int_equal(number("groups"), TYPES + 1);
    assert_int_equal(number("scanned"), ACTORS + LARGE);
    ask("ls", "where", "type = t0");
    assert_int_equal(row_count, 2);
    ask("ls", "by", "actors");
    assert_int_equal(number("groups"), ACTORS + 1);
    ask("messages", "where", "type = t7");
    assert_int_equal(row_count, ACTORS / TYPES + 1);
}

static int count_actors(void *user, hf_bytes row)
{
    hf_argument actors = { .name = "actors", .type = HF_ARG_UINT };
    int err = hf_arguments_known("row", row, &actors, 1);
    *(uint64_t *)user += actors.number;
    return err;
}

static void test_actors_of_types(void **state)
{
    uint64_t actors = 0;
    (void)state;
    assert_int_equal(hf_query(store, "ls", hf_view(NULL, 0), count_actors, &actors), HF_OK);
    assert_int_equal(actors, ACTORS + 1);
}

/* A pause for each of them: what covers an actor is found among many. */
static void test_pauses(void **state)
{
    (void)state;
    char what[32];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(what, sizeof what, i % 2 ? "t%d" : "t%d/%d", i, i);
        hf_out_clear(&args);
        hf_out_map(&args, NULL);
        hf_out_text(&args, "what", hf_str(what));
        hf_out_end(&args);
        assert_int_equal(hf_change(store, "pause", hf_out_bytes(&args), keep_last, NULL), HF_OK);
        assert_int_equal(number("waiting"), i % 2 ? ACTORS / TYPES : 1);
    }
    ask("messages", "where", "status = paused");
    assert_int_equal(number("matched"), 10 + 10 * (ACTORS / TYPES));
}

/* Dead and requeued at a later place: it keeps its id. */
static void send_moved(core *c, const char *to, uint64_t number)
{
    uint64_t id = core_send(c, to, "small", hf_str("x"));
    hf_entry e = full_entry(c, HF_OP_DEAD, to, id, "small", "x");
    e.err = 7;
    core_put(c, HF_FACTS, &e);
    e = full_entry(c, HF_OP_REQUEUE, to, id, "small", "x");
    e.place = (UINT64_C(1) << 40) + number;
    core_put(c, HF_FACTS, &e);
}

static void fill(void)
{
    core c;
    char to[32];
    hf_group group = { 0 };
    hf_segment sends = { .shard = 0 };
    static char *body;
    core_open(&c, path, &(hf_disk_options){ .store_max = MIB(256) }, NULL);
    body = calloc(1, LARGE_BYTES);
    assert_non_null(body);
    for (int i = 0; i < LARGE; i++)
        (void)core_send(&c, "large/1", "large", hf_view(body, LARGE_BYTES));
    free(body);
    for (int i = 0; i < ACTORS; i++) {
        (void)snprintf(to, sizeof to, "t%d/%d", i % TYPES, i);
        if (i < MOVED) {
            send_moved(&c, to, (uint64_t)i);
            continue;
        }
        hf_entry e = full_entry(&c, HF_OP_SEND, to, 0, "small", "x");
        CORE_OK(hf_segment_add(&sends, &e));
    }
    CORE_OK(hf_group_add(&group, &sends));
    CORE_OK(hf_log_append(c.log, &group));
    hf_group_free(&group);
    hf_segment_done(&sends);
    CORE_OK(hf_log_fold_all(c.log)); /* into the tables */
    core_close(&c, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),   cmocka_unit_test(test_large_bodies),
        cmocka_unit_test(test_large_and_small), cmocka_unit_test(test_pages_uncounted),
        cmocka_unit_test(test_lists),  cmocka_unit_test(test_actors_of_types),
        cmocka_unit_test(test_pauses),
    };
    (void)snprintf(path, sizeof path, "%s", core_directory("many", true));
    fill();
    CORE_OK(hf_store_open(&store, path, 0));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hf_store_close(store);
    core_remove(path);
    hf_out_done(&args);
    hf_out_done(&last);
    return failed;
}
