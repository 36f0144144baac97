/* test_window.c - the deque of records: finding, marking, giving back, sealing. */
#include "storage/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { RECORDS = 200, EACH = 70, SIZE = 100 };

static uint64_t base_of(uint32_t i)
{
    return 1000 + (uint64_t)i * (EACH + 3); /* with gaps between the records */
}

static hf_record *push(hf_window *w, uint64_t base, uint32_t keep)
{
    hf_record_head head = { .count = EACH, .size = SIZE };
    size_t room;
    uint8_t *chunk = hf_window_chunk(w, SIZE, &room);
    assert_non_null(chunk);
    hf_record *r = hf_window_record(w, base, chunk, room, &head);
    assert_non_null(r);
    r->live = EACH;
    r->keep = keep;
    assert_int_equal(hf_window_push(w, r), HF_OK);
    return r;
}

static void fill(hf_window *w, uint32_t readers)
{
    hf_window_init(w, readers);
    for (uint32_t i = 0; i < RECORDS; i++)
        push(w, base_of(i), 0);
    assert_int_equal(w->bytes, RECORDS * SIZE);
}

static void test_find(void **state)
{
    (void)state;
    hf_window w;
    fill(&w, 0);
    assert_null(hf_window_find(&w, 0));
    for (uint32_t i = 0; i < RECORDS; i++) {
        for (uint32_t n = 0; n < EACH; n++)
            assert_ptr_equal(hf_window_find(&w, base_of(i) + n), hf_window_at(&w, i));
        assert_null(hf_window_find(&w, base_of(i) + EACH));
    }
    assert_int_equal(hf_window_tail(&w, 1), base_of(0));
    hf_window_done(&w);
    hf_window_init(&w, 0);
    assert_null(hf_window_find(&w, 1));
    assert_int_equal(hf_window_tail(&w, 77), 77);
    hf_window_done(&w);
}

/* Any range, over records and gaps and beyond both ends; each message counts once. */
static void test_mark(void **state)
{
    (void)state;
    hf_window w;
    bool done[RECORDS * (EACH + 3) + 200] = { false };
    fill(&w, 0);
    srand(1);
    for (int round = 0; round < 500; round++) {
        uint64_t first = 950 + (uint64_t)rand() % (sizeof done - 100);
        uint32_t count = (uint32_t)rand() % 300, fresh = 0;
        for (uint64_t at = first; at < first + count; at++)
            if (hf_window_find(&w, at) && !done[at - 950]) {
                done[at - 950] = true;
                fresh++;
            }
        assert_int_equal(hf_window_mark(&w, first, count), fresh);
    }
    for (uint32_t i = 0; i < RECORDS; i++) {
        const hf_record *r = hf_window_at(&w, i);
        uint32_t live = 0;
        for (uint32_t n = 0; n < EACH; n++) {
            assert_int_equal(hf_record_is_done(r, n), done[r->base + n - 950]);
            live += !done[r->base + n - 950];
        }
        assert_int_equal(r->live, live);
    }
    hf_window_done(&w);
}

/* Bytes go when nothing is left and every reader has passed; the record stays. */
static void test_trim(void **state)
{
    (void)state;
    hf_window w;
    hf_window_init(&w, 1);
    hf_record *a = push(&w, 1000, 0), *b = push(&w, 2000, 1), *c = push(&w, 3000, 0);
    uint64_t held = w.held;
    hf_window_mark(&w, 1000, 3000);
    hf_window_trim(&w);
    assert_true(a->data && b->data && c->data);
    atomic_store(&a->passed, 1);
    atomic_store(&b->passed, 1);
    hf_window_trim(&w);
    assert_true(!a->data && b->data && c->data); /* b holds something else */
    assert_true(w.held < held);
    hf_window_seal(&w, 0, UINT64_MAX, 0); /* now the fold reads what is left */
    atomic_store(&c->passed, 1);
    hf_window_trim(&w);
    assert_non_null(c->data);
    hf_window_unseal(&w);
    hf_window_trim(&w);
    assert_null(c->data);
    assert_int_equal(w.bytes, 3 * SIZE); /* they lie on disk all the same */
    hf_window_done(&w);
}

static void count_popped(void *user, hf_record *r)
{
    hf_window *w = user;
    hf_record_free(w, r);
}

static void test_seal(void **state)
{
    (void)state;
    hf_window w;
    fill(&w, 0);
    hf_window_seal(&w, 50 * SIZE, UINT64_MAX, 0);
    assert_int_equal(w.sealed, RECORDS - 50);
    assert_int_equal(hf_window_mark(&w, base_of(0), 1), 0); /* the fold reads those bits */
    assert_int_equal(hf_window_mark(&w, base_of(RECORDS - 50), 1), 1);
    hf_window_pop(&w, 100, count_popped, &w);
    assert_int_equal(w.count, RECORDS - 100);
    assert_int_equal(w.sealed, 50);
    assert_int_equal(w.bytes, (RECORDS - 100) * SIZE);
    assert_int_equal(hf_window_tail(&w, 0), base_of(100));
    assert_null(hf_window_find(&w, base_of(99)));
    hf_window_pop(&w, 50, count_popped, &w);
    assert_int_equal(w.sealed_bytes, 0);
    hf_window_seal(&w, UINT64_MAX, UINT64_MAX, 0);
    assert_int_equal(w.sealed, 0);
    hf_window_done(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_find), cmocka_unit_test(test_mark),
                                        cmocka_unit_test(test_trim), cmocka_unit_test(test_seal) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
