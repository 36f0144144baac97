/* test_overtaken.c - the fold overtakes a shard: its thread stands in a turn while many
 * windows come in and are folded.
 *
 * What it did not come to lies in the tables then, and it has to look for it there. What
 * it ended, but did not tell yet, the journal must be told before the shard lets go of
 * the records: nobody else knows who they were. */
#include "tests/support/ring.h"

#include <string.h>

/* A shard takes 4,096 entries from the log before it looks around, and hands in what it
 * ended 256 turns at a time (with the smallest window). Some of what it takes first is no
 * turn: so its look comes while a batch is open, of which the first part lies in records
 * that it has left behind. */
enum {
    HELD   = 100,       /* for an actor that is paused */
    FIRST  = 3900,      /* turns of the records before */
    LOOKS  = 4096 - HELD,
    COUNT  = 6000,
    LETTER = 200,       /* bytes; all of them are many windows */
    GATES  = 2,
};

/* The turn of that number stands in its gate until somebody opens it. */
static const int  gate_at[GATES] = { 1, LOOKS + 24 };
static atomic_int turns, opened, standing, twice, rested;
static atomic_int handled[COUNT + 100];

static int handle(hf_turn *turn, const hf_message *msg)
{
    uint32_t n;
    (void)turn;
    memcpy(&n, msg->body.data, sizeof n);
    if (atomic_fetch_add(&handled[n], 1))
        atomic_fetch_add(&twice, 1);
    int number = atomic_fetch_add(&turns, 1) + 1;
    for (int i = 0; i < GATES; i++)
        if (number == gate_at[i]) {
            atomic_store(&standing, i + 1);
            while (atomic_load(&opened) <= i)
                usleep(200);
        }
    return HF_OK;
}

static int rest(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&rested, 1);
    return HF_OK;
}

static const hf_type types[] = { { .name = "t", .handle = handle },
                                 { .name = "rest", .handle = rest }, { 0 } };

static hf_engine *open_it(void)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path("store"), HF_OPTIONS(.types = types, .shards = 1,
                    .window = 64 << 10, .store_max = (uint64_t)1 << 30)));
    assert_non_null(e);
    return e;
}

/* Each has an actor of its own, which nothing else would wake. */
static void send(hf_engine *e, uint32_t n, bool wait)
{
    uint8_t body[LETTER] = { 0 };
    char to[32];
    memcpy(body, &n, sizeof n);
    (void)snprintf(to, sizeof to, "t/%u", n);
    hf_letter letter = { .size = sizeof letter, .to = to, .kind = "n",
                         .body = hf_view(body, sizeof body) };
    ring_ok(wait ? hf_mail(e, &letter, 1, NULL) : hf_post(e, &letter, 1, NULL, NULL));
}

static void check_all(uint32_t count)
{
    for (uint32_t n = 0; n < count; n++)
        if (atomic_load(&handled[n]) != 1)
            fail_msg("message %u of %u was handled %d times", n, count, atomic_load(&handled[n]));
    assert_int_equal(atomic_load(&twice), 0);
}

static void send_held(hf_engine *e)
{
    for (int i = 0; i < HELD; i++)
        ring_ok(hf_post(e, HF_LETTER(.to = "rest/1", .body = hf_str("later")), 1, NULL, NULL));
}

static void test_overtaken(void **state)
{
    (void)state;
    uint32_t count = 0;
    hf_engine *e = open_it();
    ring_ok(hf_pause(e, "rest/1", NULL, NULL));
    send(e, count++, true);
    ring_until(&standing, 1);
    send_held(e);
    while (count < FIRST)
        send(e, count++, false);
    ring_ok(hf_sync(e, 60000));
    while (count < COUNT)
        send(e, count++, false);
    ring_ok(hf_sync(e, 60000));
    send(e, count++, true); /* comes in only when most of the others are folded */
    atomic_store(&opened, 1);
    ring_until(&standing, 2);
    for (int i = 0; i < 8; i++) /* with each commit the journal forgets what it may */
        send(e, count++, true);
    atomic_store(&opened, 2);
    ring_until(&turns, (int)count);
    ring_ok(hf_resume(e, "rest/1"));
    ring_ok(hf_drain(e, 20000));
    assert_int_equal(atomic_load(&rested), HELD);
    check_all(count);
    ring_ok(hf_close(e, HF_NEVER));
    e = open_it(); /* and all of it was told */
    ring_ok(hf_drain(e, 20000));
    check_all(count);
    ring_ok(hf_close(e, HF_NEVER));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_overtaken) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
