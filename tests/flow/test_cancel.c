/* test_cancel.c - messages that an operator cancels, undoes, purges: what follows from it,
 * live and in a store that nobody has. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"

#include <string.h>

static atomic_int handled, buried, undone, heals, gate;

static int handle(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&handled, 1);
    return HF_OK;
}

static int note_death(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    if (strcmp(msg->kind, "dead") == 0)
        atomic_fetch_add(&buried, 1);
    return HF_OK;
}

/* Begins a step, then fails for good, or for an hour. */
static int travel(hf_turn *turn, const hf_message *msg)
{
    hf_step step;
    int err = hf_begin_step(turn, "hotel", &step);
    if (err == HF_TODO)
        err = hf_end_step(turn, &step, hf_str("room 7"));
    if (err)
        return err;
    return strcmp(msg->kind, "later") == 0 ? hf_fail(turn, 7, "fully booked")
                                           : hf_bury(turn, "no such place");
}

static int give_back(hf_turn *turn, const hf_message *msg, const hf_step *step)
{
    (void)msg;
    if (!atomic_load(&heals))
        return hf_bury(turn, "the hotel does not answer");
    assert_int_equal(step->result.len, 6);
    atomic_fetch_add(&undone, 1);
    return HF_OK;
}

static int wait_here(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    while (!hf_cancelled(turn))
        usleep(500);
    atomic_fetch_add(&gate, 1);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "mail", .handle = handle, .dead_to = "grave/1" },
    { .name = "grave", .handle = note_death },
    { .name = "trip", .handle = travel, .undo = give_back, .threads = 1, .tries = 9,
      .retry_ms = 3600000 },
    { .name = "slow", .handle = wait_here, .threads = 1 },
    { 0 },
};

/* ---- Changes and questions */

typedef struct answer {
    char   text[8192];
    size_t len;
} answer;

static int keep(void *user, hf_bytes row)
{
    answer *a = user;
    a->len = row.len < sizeof a->text ? row.len : sizeof a->text;
    memcpy(a->text, row.data, a->len);
    return HF_OK;
}

static bool says(const answer *a, const char *name, const char *text)
{
    char both[64];
    int len = snprintf(both, sizeof both, "%s%s", name, text);
    return memmem(a->text, a->len, both, (size_t)len) != NULL;
}

static size_t put_id(uint8_t *at, uint64_t id)
{
    at[0] = 0xcf;
    for (int i = 0; i < 8; i++)
        at[1 + i] = (uint8_t)(id >> (56 - 8 * i));
    return 9;
}

/* How many it did, of one. */
static int change(const char *name, const char *path, uint64_t id, const char *done)
{
    uint8_t args[32] = { 0x81, 0xa3, 'i', 'd', 's', 0x91 };
    answer a = { .len = 0 };
    hf_store *store;
    ring_ok(hf_store_open(&store, ring_path(path), 5000));
    ring_ok(hf_change(store, name, hf_view(args, 6 + put_id(args + 6, id)), keep, &a));
    hf_store_close(store);
    char one[32];
    (void)snprintf(one, sizeof one, "%c%s", (char)(0xa0 + strlen(done)), done);
    return says(&a, one, "\x01");
}

static bool is(const char *path, uint64_t id, const char *status)
{
    uint8_t args[32] = { 0x81, 0xa2, 'i', 'd' };
    answer a = { .len = 0 };
    hf_store *store;
    ring_ok(hf_store_open(&store, ring_path(path), 5000));
    int err = hf_query(store, "message", hf_view(args, 4 + put_id(args + 4, id)), keep, &a);
    hf_store_close(store);
    return err == HF_OK && says(&a, "status", "") && says(&a, status, "");
}

static void becomes(const char *path, uint64_t id, const char *status)
{
    for (int i = 0; i < 500 && !is(path, id, status); i++)
        usleep(10000);
    assert_true(is(path, id, status));
}

static uint64_t send_one(hf_engine *engine, const char *to, const char *kind, uint64_t delay_ms)
{
    hf_receipt receipt;
    hf_letter letter = { .size = sizeof letter, .to = to, .kind = kind, .delay_ms = delay_ms };
    ring_ok(hf_mail(engine, &letter, 1, &receipt));
    return receipt.id;
}

/* ---- Cancel */

static void test_dead_to_hears_of_it(void **state)
{
    (void)state;
    hf_engine *engine = ring_open("told", types);
    atomic_store(&handled, 0);
    atomic_store(&buried, 0);
    ring_ok(hf_pause(engine, "mail", NULL, NULL));
    uint64_t ids[5];
    for (int i = 0; i < 4; i++)
        ids[i] = send_one(engine, "mail/1", "k", 0);
    ids[4] = send_one(engine, "mail/1", "k", 3600000);
    assert_true(change("cancel", "told", ids[1], "cancelled"));
    assert_true(is("told", ids[1], "dead"));
    ring_until(&buried, 1);
    assert_false(change("cancel", "told", ids[1], "cancelled"));
    assert_true(change("cancel", "told", ids[4], "cancelled")); /* it was delayed */
    assert_true(is("told", ids[4], "dead"));
    ring_until(&buried, 2);
    ring_ok(hf_close(engine, 10000));

    /* Marked by a tool; the next engine buries it. */
    assert_true(change("cancel", "told", ids[2], "cancelled"));
    assert_false(change("cancel", "told", ids[2], "cancelled"));
    engine = ring_open("told", types);
    ring_ok(hf_resume(engine, "mail"));
    ring_until(&buried, 3);
    ring_until(&handled, 2);
    becomes("told", ids[2], "dead");
    ring_ok(hf_drain(engine, 10000));
    assert_int_equal(atomic_load(&handled), 2); /* the first and the last */
    ring_ok(hf_close(engine, 10000));
    engine = ring_open("told", types);
    ring_ok(hf_drain(engine, 10000));
    assert_int_equal(atomic_load(&handled), 2);
    assert_int_equal(atomic_load(&buried), 3);
    ring_ok(hf_close(engine, 10000));
}

/* Many of one actor, some of them rows, some in the log; every second one goes. */
static void test_never_run_afterwards(void **state)
{
    (void)state;
    enum { ALL = 400 };
    static uint64_t ids[ALL];
    hf_engine *engine = ring_open("many", types);
    atomic_store(&handled, 0);
    atomic_store(&buried, 0);
    ring_ok(hf_pause(engine, "mail/9", NULL, NULL));
    for (int i = 0; i < ALL; i++)
        ids[i] = send_one(engine, "mail/9", "k", 0);
    for (int i = 0; i < ALL; i += 8)
        assert_true(change("cancel", "many", ids[i], "cancelled"));
    ring_ok(hf_resume(engine, "mail/9"));
    ring_ok(hf_drain(engine, 10000));
    assert_int_equal(atomic_load(&handled), ALL - ALL / 8);
    assert_int_equal(atomic_load(&buried), ALL / 8);
    ring_ok(hf_close(engine, 10000));
}

static void test_running_is_asked(void **state)
{
    (void)state;
    hf_engine *engine = ring_open("runs", types);
    uint64_t id = send_one(engine, "slow/1", "k", 0);
    becomes("runs", id, "running");
    assert_false(change("cancel", "runs", id, "cancelled"));
    ring_until(&gate, 1);
    ring_ok(hf_drain(engine, 10000));
    ring_ok(hf_close(engine, 10000));
}

/* ---- Undo */

static void test_steps_are_undone(void **state)
{
    (void)state;
    hf_engine *engine = ring_open("trips", types);
    atomic_store(&heals, 0);
    uint64_t id = send_one(engine, "trip/1", "k", 0);
    becomes("trips", id, "dead");
    assert_int_equal(atomic_load(&undone), 0);
    atomic_store(&heals, 1);
    assert_true(change("undo", "trips", id, "undoing"));
    ring_until(&undone, 1);
    becomes("trips", id, "dead");
    uint64_t rests = send_one(engine, "trip/2", "later", 0);
    becomes("trips", rests, "retrying");
    assert_true(change("cancel", "trips", rests, "cancelled"));
    ring_until(&undone, 2);
    becomes("trips", rests, "dead");
    assert_true(is("trips", rests, "cancelled"));
    uint64_t marked = send_one(engine, "trip/3", "later", 0);
    becomes("trips", marked, "retrying");
    ring_ok(hf_close(engine, 10000));
    assert_true(change("cancel", "trips", marked, "cancelled"));
    engine = ring_open("trips", types);
    ring_until(&undone, 3);
    becomes("trips", marked, "dead");
    assert_true(is("trips", marked, "cancelled"));
    ring_ok(hf_close(engine, 10000));
    assert_true(change("purge", "trips", marked, "purged"));
    assert_false(change("purge", "trips", marked, "purged"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead_to_hears_of_it),
        cmocka_unit_test(test_never_run_afterwards),
        cmocka_unit_test(test_running_is_asked),
        cmocka_unit_test(test_steps_are_undone),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
