/* test_limit.c - when a breaker opens and closes, when a rate has room: by a clock of
 * the test's own. And in which order lines and queues serve. */
#include "engine/breaker.h"
#include "engine/rate.h"
#include "engine/urgency.h"

#include "storage/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

static hf_breaker breaker_of(uint32_t after, uint32_t percent, uint32_t window_ms)
{
    hf_type type = { .break_after = after, .break_percent = percent,
                     .break_window_ms = window_ms, .break_ms = 1000 };
    hf_breaker b;
    hf_breaker_init(&b, &type);
    return b;
}

static bool turn(hf_breaker *b, hf_turn_says says, uint64_t now)
{
    assert_true(hf_breaker_may(b, now));
    return hf_breaker_ended(b, hf_breaker_begin(b, now), says, now);
}

static void test_row_of_failures(void **state)
{
    hf_breaker b = breaker_of(3, 0, 0);
    (void)state;
    assert_true(hf_breaker_is_set(&b));
    assert_true(turn(&b, HF_SAYS_FAILED, 1));
    assert_true(turn(&b, HF_SAYS_FAILED, 2));
    assert_false(turn(&b, HF_SAYS_NOTHING, 3)); /* neither counts nor breaks the row */
    assert_int_equal(b.row, 2);
    assert_true(turn(&b, HF_SAYS_WELL, 4));
    assert_int_equal(b.row, 0);
    assert_false(turn(&b, HF_SAYS_WELL, 5));
    for (int i = 0; i < 3; i++)
        assert_true(turn(&b, HF_SAYS_FAILED, 10));
    assert_int_equal(b.state, HF_BREAKER_OPEN);
    assert_false(hf_breaker_may(&b, 10 + 1000 * MS - 1));
    assert_true(hf_breaker_may(&b, 10 + 1000 * MS));
}

static void open_it(hf_breaker *b, uint64_t now)
{
    while (b->state != HF_BREAKER_OPEN)
        turn(b, HF_SAYS_FAILED, now);
}

static void test_probe(void **state)
{
    static const hf_turn_says says[] = { HF_SAYS_WELL, HF_SAYS_FAILED, HF_SAYS_NOTHING };
    (void)state;
    for (int i = 0; i < 3; i++) {
        hf_breaker b = breaker_of(3, 0, 0);
        uint32_t before = hf_breaker_begin(&b, 0), later = hf_breaker_begin(&b, 0);
        open_it(&b, 0);
        assert_false(hf_breaker_ended(&b, before, HF_SAYS_WELL, 1)); /* ran before: no news */
        assert_int_equal(b.state, HF_BREAKER_OPEN);
        uint32_t probe = hf_breaker_begin(&b, 1000 * MS);
        assert_false(hf_breaker_may(&b, 1000 * MS)); /* one, */
        assert_false(hf_breaker_may(&b, 9000 * MS)); /* however long it takes */
        assert_false(hf_breaker_ended(&b, later, HF_SAYS_FAILED, 8000 * MS));
        assert_int_equal(b.state, HF_BREAKER_PROBES);
        assert_true(hf_breaker_ended(&b, probe, says[i], 9000 * MS));
        assert_int_equal(b.state, i ? HF_BREAKER_OPEN : HF_BREAKER_CLOSED);
        assert_int_equal(hf_breaker_may(&b, 9999 * MS), !i);
        assert_true(hf_breaker_may(&b, 10000 * MS));
        assert_int_equal(b.row, i == 0 ? 0 : i == 1 ? 4 : 3);
    }
}

static void test_share_of_a_window(void **state)
{
    hf_breaker b = breaker_of(0, 50, 1000);
    (void)state;
    for (int i = 0; i < 19; i++)
        turn(&b, HF_SAYS_FAILED, 10 * MS);
    assert_int_equal(b.state, HF_BREAKER_CLOSED); /* too few to say */
    turn(&b, HF_SAYS_FAILED, 10 * MS);
    assert_int_equal(b.state, HF_BREAKER_OPEN);

    b = breaker_of(0, 50, 1000);
    for (int i = 0; i < 60; i++)
        turn(&b, i % 5 ? HF_SAYS_WELL : HF_SAYS_FAILED, 10 * MS); /* 20 of 100 */
    assert_int_equal(b.state, HF_BREAKER_CLOSED);
    for (int i = 0; i < 35; i++) /* 47 of 95 */
        turn(&b, HF_SAYS_FAILED, 20 * MS);
    assert_int_equal(b.state, HF_BREAKER_CLOSED);
    turn(&b, HF_SAYS_FAILED, 20 * MS);
    assert_int_equal(b.state, HF_BREAKER_OPEN); /* 48 of 96: half */
}

static void test_window_passes(void **state)
{
    hf_breaker b = breaker_of(0, 50, 1000);
    (void)state;
    for (int i = 0; i < 19; i++)
        turn(&b, HF_SAYS_FAILED, 10 * MS);
    for (int i = 0; i < 19; i++) /* the others are out of the window */
        turn(&b, HF_SAYS_FAILED, 1500 * MS);
    assert_int_equal(b.state, HF_BREAKER_CLOSED);
    turn(&b, HF_SAYS_FAILED, 1600 * MS);
    assert_int_equal(b.state, HF_BREAKER_OPEN);
}

static void test_breaker_is_kept(void **state)
{
    uint8_t row[HF_BREAKER_ROW];
    hf_breaker b = breaker_of(3, 0, 0), c;
    (void)state;
    assert_false(hf_breaker_put(&b, 0, 5000, row));
    turn(&b, HF_SAYS_FAILED, 0);
    assert_true(hf_breaker_put(&b, 0, 5000, row));
    c = breaker_of(3, 0, 0);
    assert_int_equal(hf_breaker_get(&c, hf_view(row, sizeof row), 77, 9000), HF_OK);
    assert_int_equal(c.row, 1);
    assert_int_equal(c.state, HF_BREAKER_CLOSED);
    open_it(&b, 0);
    assert_true(hf_breaker_put(&b, 100 * MS, 5100, row));
    c = breaker_of(3, 0, 0);
    assert_int_equal(hf_breaker_get(&c, hf_view(row, sizeof row), 7 * MS, 5500), HF_OK);
    assert_false(hf_breaker_may(&c, 507 * MS - 1)); /* 500 ms are left */
    assert_true(hf_breaker_may(&c, 507 * MS));
    c = breaker_of(3, 0, 0); /* the clock was set back: no longer than break_ms */
    assert_int_equal(hf_breaker_get(&c, hf_view(row, sizeof row), 0, 5), HF_OK);
    assert_true(hf_breaker_may(&c, 1000 * MS));
    (void)hf_breaker_begin(&b, 1000 * MS); /* a probe is lost with its process: open, and due */
    assert_true(hf_breaker_put(&b, 1000 * MS, 6000, row));
    c = breaker_of(3, 0, 0);
    assert_int_equal(hf_breaker_get(&c, hf_view(row, sizeof row), 0, 6001), HF_OK);
    assert_true(hf_breaker_may(&c, 0));
    (void)hf_breaker_begin(&c, 0);
    assert_false(hf_breaker_may(&c, 0));
    assert_int_equal(hf_breaker_get(&c, hf_view(row, 3), 0, 0), HF_ECORRUPT);
    row[0] = 9;
    assert_int_equal(hf_breaker_get(&c, hf_view(row, sizeof row), 0, 0), HF_EVERSION);
    row[0] = 0;
    assert_int_equal(hf_breaker_get(&c, hf_view(row, sizeof row), 0, 0), HF_ECORRUPT);
}

/* ---- Rates */

static void rate_of(hf_rate *r, uint32_t rate, uint32_t ms)
{
    hf_type type = { .rate = rate, .rate_ms = ms };
    hf_rate_init(r, &type);
}

static void test_rate(void **state)
{
    hf_rate r;
    (void)state;
    rate_of(&r, 3, 100);
    assert_int_equal(hf_rate_room(&r, 0), 3);
    hf_rate_reserve(&r);
    hf_rate_begin(&r, 10 * MS);
    hf_rate_reserve(&r);
    hf_rate_reserve(&r);
    assert_int_equal(hf_rate_room(&r, 10 * MS), 0);
    assert_int_equal(hf_rate_next(&r, 10 * MS), 110 * MS);
    hf_rate_release(&r); /* it did not begin */
    assert_int_equal(hf_rate_room(&r, 10 * MS), 1);
    hf_rate_begin(&r, 60 * MS);
    assert_int_equal(hf_rate_room(&r, 109 * MS), 1);
    assert_int_equal(hf_rate_room(&r, 110 * MS), 2);
    hf_rate_reserve(&r);
    hf_rate_reserve(&r);
    assert_int_equal(hf_rate_next(&r, 111 * MS), 160 * MS);
    assert_int_equal(hf_rate_room(&r, 160 * MS), 1);
    hf_rate_reserve(&r);
    assert_int_equal(hf_rate_next(&r, 160 * MS), UINT64_MAX); /* all wait to begin */
}

/* Take what there is as soon as it may be: never more than `rate` in any window. */
static void fill(uint32_t rate, uint32_t ms)
{
    enum { TURNS = 20000 };
    static uint64_t at[TURNS];
    static hf_rate r;
    uint64_t now = 1;
    rate_of(&r, rate, ms);
    for (uint32_t n = 0; n < TURNS;) {
        uint32_t room = hf_rate_room(&r, now);
        uint32_t take = room ? 1 + (uint32_t)rand() % room : 0;
        for (; take && n < TURNS; take--, n++) {
            hf_rate_reserve(&r);
            hf_rate_begin(&r, now);
            at[n] = now;
            if (n >= rate)
                assert_true(at[n] - at[n - rate] >= ms * MS);
        }
        uint64_t next = hf_rate_next(&r, now);
        assert_true(next != UINT64_MAX);
        now = next > now ? next : now + (uint64_t)rand() % (MS / 10);
    }
    /* And not much less either. */
    assert_true(at[TURNS - 1] < (TURNS / rate + 1) * (uint64_t)ms * MS * 102 / 100 + ms * MS);
}

static void test_no_burst(void **state)
{
    (void)state;
    fill(1, 10);
    fill(7, 100);
    fill(256, 1000);
    fill(257, 1000);
    fill(5000, 1000);
}

static void test_rate_is_kept(void **state)
{
    uint8_t row[HF_RATE_ROW];
    hf_rate r, s;
    bool closed;
    (void)state;
    rate_of(&r, 3, 1000);
    for (uint64_t at = 0; at < 2; at++) {
        hf_rate_reserve(&r);
        hf_rate_begin(&r, at * 100 * MS);
    }
    hf_rate_put(&r, true, 200 * MS, 7000, row);
    rate_of(&s, 3, 1000);
    assert_int_equal(hf_rate_get(&s, hf_view(row, sizeof row), 50000 * MS, 7300, &closed), HF_OK);
    assert_true(closed);
    assert_int_equal(hf_rate_room(&s, 50000 * MS), 1);
    assert_int_equal(hf_rate_room(&s, 50599 * MS), 1);
    assert_int_equal(hf_rate_room(&s, 50602 * MS), 3);
    rate_of(&s, 3, 1000); /* long ago */
    assert_int_equal(hf_rate_get(&s, hf_view(row, sizeof row), 1, 99000, &closed), HF_OK);
    assert_int_equal(hf_rate_room(&s, 1), 3);
    hf_rate_put(&r, false, 200 * MS, 7000, row); /* a crash: all of them, just now */
    rate_of(&s, 3, 1000);
    assert_int_equal(hf_rate_get(&s, hf_view(row, sizeof row), 50000 * MS, 99000, &closed), HF_OK);
    assert_false(closed);
    assert_int_equal(hf_rate_room(&s, 50999 * MS), 0);
    assert_int_equal(hf_rate_room(&s, 51000 * MS), 3);
    assert_int_equal(hf_rate_get(&s, hf_view(row, 5), 0, 0, &closed), HF_ECORRUPT);
    row[0] = 2;
    assert_int_equal(hf_rate_get(&s, hf_view(row, sizeof row), 0, 0, &closed), HF_EVERSION);
}

/* ---- Who is served */

static void test_line(void **state)
{
    hf_mailbox boxes[5] = { 0 };
    hf_line line = { 0 };
    (void)state;
    assert_null(hf_line_take(&line, 0));
    for (int i = 0; i < 5; i++) {
        hf_urgency_enter(&boxes[i], i == 2 ? 3 : i == 3 ? 9 : 0);
        hf_line_put(&line, &boxes[i], 1000);
    }
    assert_int_equal(line.count, 5);
    hf_urgency_enter(&boxes[4], 3);
    hf_line_raise(&boxes[4]); /* came later than 2 */
    assert_ptr_equal(hf_line_take(&line, 1000), &boxes[3]);
    assert_ptr_equal(hf_line_take(&line, 1000), &boxes[2]);
    hf_line_put(&line, &boxes[2], 1600);
    assert_ptr_equal(hf_line_take(&line, 1600), &boxes[4]);
    assert_ptr_equal(hf_line_take(&line, 1600), &boxes[2]);
    hf_line_put(&line, &boxes[2], 4001); /* 3 steps, but the others waited 3.001 s longer */
    assert_ptr_equal(hf_line_take(&line, 4001), &boxes[0]);
    assert_ptr_equal(hf_line_take(&line, 4001), &boxes[1]);
    assert_ptr_equal(hf_line_take(&line, 4001), &boxes[2]);
    assert_null(hf_line_take(&line, 4001));
    assert_int_equal(line.levels, 0);
    /* As urgent as the most urgent that is left. */
    hf_urgency_enter(&boxes[2], 5);
    assert_int_equal(boxes[2].urgency, 5);
    hf_urgency_leave(&boxes[2], 5);
    assert_int_equal(boxes[2].urgency, 3);
    hf_urgency_leave(&boxes[2], 3);
    assert_int_equal(boxes[2].urgency, 0);
    hf_urgency_leave(&boxes[2], 3);
    for (int i = 0; i < 5; i++)
        free(boxes[i].urgent);
}

static void test_queue(void **state)
{
    hf_parcel parcels[4] = { 0 };
    hf_queue queue = { 0 };
    (void)state;
    for (int i = 0; i < 4; i++)
        hf_queue_put(&queue, &parcels[i], i == 2 ? 4 : 0, 100);
    hf_queue_raise(&queue, &parcels[3], 8);
    assert_ptr_equal(hf_queue_next(&queue, NULL), &parcels[3]);
    assert_ptr_equal(hf_queue_next(&queue, &parcels[3]), &parcels[2]);
    assert_ptr_equal(hf_queue_next(&queue, &parcels[2]), &parcels[0]);
    assert_ptr_equal(hf_queue_next(&queue, &parcels[0]), &parcels[1]);
    assert_null(hf_queue_next(&queue, &parcels[1]));
    hf_queue_remove(&queue, &parcels[0]);
    assert_ptr_equal(hf_queue_take(&queue, 100), &parcels[3]);
    hf_queue_put(&queue, &parcels[3], 9, 9101); /* the first has waited 9.001 s by now */
    assert_ptr_equal(hf_queue_take(&queue, 9101), &parcels[2]);
    assert_ptr_equal(hf_queue_take(&queue, 9101), &parcels[1]);
    assert_ptr_equal(hf_queue_take(&queue, 9101), &parcels[3]);
    assert_null(hf_queue_take(&queue, 9101));
    hf_queue_raise(&queue, &parcels[3], 9); /* it runs: nothing happens */
    assert_int_equal(queue.levels, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row_of_failures), cmocka_unit_test(test_probe),
        cmocka_unit_test(test_share_of_a_window), cmocka_unit_test(test_window_passes),
        cmocka_unit_test(test_breaker_is_kept), cmocka_unit_test(test_rate),
        cmocka_unit_test(test_no_burst), cmocka_unit_test(test_rate_is_kept),
        cmocka_unit_test(test_line), cmocka_unit_test(test_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
