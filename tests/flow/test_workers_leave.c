/* test_workers_leave.c - several messages of one actor end at once, and it leaves memory:
 * none of them comes again when it is back, whatever the order in which they came home. */
#include "tests/support/ring.h"

#include <string.h>

enum { MESSAGES = 3 };

static atomic_int begun[MESSAGES], ended[MESSAGES], gates[MESSAGES];
static atomic_int holds, held, fillers;

static bool soon(atomic_int *what, int much)
{
    for (int i = 0; atomic_load(what) < much && i < 60000; i++)
        usleep(1000);
    return atomic_load(what) >= much;
}

static int work(hf_turn *turn, const hf_message *msg)
{
    int number = atoi(msg->kind);
    (void)turn;
    atomic_fetch_add(&begun[number], 1);
    (void)soon(&gates[number], 1);
    atomic_fetch_add(&ended[number], 1);
    return HF_OK;
}

/* The only shard's thread stands here, while others hand it what they ended. */
static int hold(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_store(&held, 1);
    while (atomic_load(&holds))
        usleep(1000);
    atomic_store(&held, 0);
    return HF_OK;
}

static int fill(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&fillers, 1);
    return HF_OK;
}

static void push(hf_engine *e, int count)
{
    static char body[8000];
    memset(body, 'x', sizeof body - 1);
    for (int i = 0; i < count; i++)
        ring_ok(hf_tell(e, "filler/1", "x", hf_str(body)));
}

static uint64_t committed(hf_engine *e)
{
    hf_stats stats = HF_STATS;
    ring_ok(hf_stat(e, &stats));
    return stats.committed;
}

/* It ends, and its end is on disk, though its shard has not heard of it. */
static void let_end(hf_engine *e, int number)
{
    uint64_t before = committed(e);
    atomic_store(&gates[number], 1);
    assert_true(soon(&ended[number], 1));
    for (int i = 0; committed(e) == before && i < 60000; i++)
        usleep(1000);
    assert_true(committed(e) > before);
}

static hf_engine *open_one(const hf_type *types)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path("home"), HF_OPTIONS(.types = types, .shards = 1,
                                                      .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

static void test_home_in_any_order(void **state)
{
    (void)state;
    hf_type types[] = { { .name = "crew", .handle = work, .threads = 2, .workers = 2,
                          .idle_ms = 1 },
                        { .name = "hold", .handle = hold, .idle_ms = HF_NEVER },
                        { .name = "filler", .handle = fill, .idle_ms = HF_NEVER }, { 0 } };
    hf_engine *e = open_one(types);
    ring_ok(hf_pause(e, "crew", NULL, NULL));
    ring_ok(hf_tell(e, "crew/1", "0", hf_str("")));
    ring_ok(hf_tell(e, "crew/1", "1", hf_str("")));
    push(e, 60); /* the two are rows of the table now */
    assert_true(soon(&fillers, 60));
    ring_ok(hf_close(e, 60000));
    e = open_one(types); /* who comes into memory is looked up there from now on */
    ring_ok(hf_resume(e, "crew"));
    assert_true(soon(&begun[0], 1) && soon(&begun[1], 1));
    atomic_store(&holds, 1);
    ring_ok(hf_tell(e, "hold/1", "", hf_str("")));
    assert_true(soon(&held, 1));
    let_end(e, 0);
    push(e, 20); /* its end is folded, */
    let_end(e, 1); /* and that of this one is not */
    atomic_store(&holds, 0);
    assert_true(soon(&fillers, 80));
    sleep(3); /* it has left memory */
    atomic_store(&gates[2], 1);
    ring_ok(hf_tell(e, "crew/1", "2", hf_str("")));
    ring_ok(hf_drain(e, 60000));
    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(atomic_load(&begun[i]), 1);
    ring_ok(hf_close(e, 60000));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_home_in_any_order) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
