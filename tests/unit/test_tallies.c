/* test_tallies.c - counts by name: what several threads counted adds up to what one would
 * have counted, in the same order, and nothing is lost where memory is short. */
#include "recovery/tallies.h"

#include "storage/error.h"
#include "storage/memory.h"

#include "tests/support/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { NAMES = 50, SIGHTS = 4000, THREADS = 3 };

/* A message as it might be met; of some nothing is known but that they are there. */
static hf_sight sight_of(uint64_t *chance, uint8_t times[16])
{
    hf_sight s = { .died = 0 };
    uint64_t dice = core_random(chance);
    s.msg.status = (hf_status)(dice % HF_DONE);
    s.msg.id = core_random(chance) % 100000 + 1;
    s.msg.sent = dice >> 8 & 3 ? core_random(chance) % 5000 + 1 : 0;
    s.stuck = dice >> 12 & 1;
    if (s.msg.status == HF_DEAD)
        s.died = dice >> 16 & 1 ? core_random(chance) % 9000 + 1 : 1;
    if (dice >> 20 & 1) {
        hf_put64(times, core_random(chance) % 9000 + 1);
        hf_put64(times + 8, core_random(chance) % 9000 + 1);
        s.e.times = hf_view(times, dice >> 24 & 1 ? 16 : 8);
    }
    return s;
}

static hf_tally *name_of(hf_tallies *t, uint64_t number)
{
    char name[32];
    int len = snprintf(name, sizeof name, "name-%llu", (unsigned long long)number);
    return hf_tallies_of(t, name, (size_t)len);
}

static void same(const hf_tally *a, const hf_tally *b)
{
    assert_string_equal(a->name, b->name);
    assert_memory_equal(a->by, b->by, sizeof a->by);
    assert_int_equal(a->oldest, b->oldest);
    assert_int_equal(a->first, b->first);
    assert_int_equal(a->last, b->last);
    assert_int_equal(a->newest, b->newest);
    assert_int_equal(a->actors, b->actors);
    assert_int_equal(a->stuck, b->stuck);
}

static void test_merge(void **state)
{
    hf_tallies whole = { 0 }, parts[THREADS] = { { 0 } }, sum = { 0 };
    uint64_t chance = 11;
    (void)state;
    for (int i = 0; i < SIGHTS; i++) {
        uint8_t times[16];
        uint64_t number = core_random(&chance) % NAMES;
        hf_sight s = sight_of(&chance, times);
        hf_tally *one = name_of(&whole, number), *part = name_of(&parts[i % THREADS], number);
        assert_true(one && part);
        hf_tally_add(one, &s);
        hf_tally_add(part, &s);
        one->actors++;
        part->actors++;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(hf_tallies_merge(&sum, &parts[i]), HF_OK);
    assert_int_equal(sum.count, whole.count);
    hf_tallies_sort(&sum);
    hf_tallies_sort(&whole);
    for (size_t i = 0; i < whole.count; i++)
        same(&sum.items[i], &whole.items[i]);
    for (int i = 0; i < THREADS; i++)
        hf_tallies_done(&parts[i]);
    hf_tallies_done(&whole);
    hf_tallies_done(&sum);
}

/* Names that begin alike, with zeros inside, and none at all. */
static void test_names(void **state)
{
    static const struct {
        const char *text;
        size_t      len;
    } names[] = { { "a", 1 }, { "a\0b", 3 }, { "a\0", 2 }, { "", 0 }, { "b", 1 } };
    hf_tallies t = { 0 };
    (void)state;
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < 5; i++) {
            hf_tally *one = hf_tallies_of(&t, names[i].text, names[i].len);
            assert_non_null(one);
            assert_int_equal(one->newest, round ? i + 1 : 0);
            one->newest = i + 1;
        }
    assert_int_equal(t.count, 5);
    hf_tallies_sort(&t);
    static const uint64_t order[] = { 4, 1, 3, 2, 5 };
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(t.items[i].newest, order[i]);
    hf_tallies_done(&t);
    hf_tallies_sort(&t);
    assert_int_equal(t.count, 0);
}

static void test_short_of_memory(void **state)
{
    hf_tallies from = { 0 };
    (void)state;
    for (uint64_t i = 0; i < NAMES; i++)
        assert_non_null(name_of(&from, i));
    bool full = false;
    for (int n = 0; !full; n++) {
        hf_tallies t = { 0 };
        int left = n;
        hf_mem_hook(core_fails_at, &left);
        int err = hf_tallies_merge(&t, &from);
        hf_mem_hook(NULL, NULL);
        full = left >= 0;
        assert_int_equal(err, full ? HF_OK : HF_ENOMEM);
        assert_int_equal(hf_tallies_merge(&t, &from), HF_OK); /* and then it goes */
        assert_int_equal(t.count, NAMES);
        hf_tallies_done(&t);
    }
    hf_tallies_done(&from);
}

static void test_seen(void **state)
{
    hf_tallies t = { 0 };
    uint64_t chance = 5, again = 5;
    bool fresh;
    (void)state;
    assert_false(hf_tallies_saw(&t, 0));
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(hf_tallies_see(&t, i ? core_random(&chance) : 0, &fresh), HF_OK);
        assert_true(fresh);
    }
    for (int i = 0; i < 3000; i++) {
        uint64_t hash = i ? core_random(&again) : 0;
        assert_true(hf_tallies_saw(&t, hash));
        assert_int_equal(hf_tallies_see(&t, hash, &fresh), HF_OK);
        assert_false(fresh);
        assert_false(hf_tallies_saw(&t, hash + 1) && i);
    }
    hf_tallies_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_short_of_memory),
        cmocka_unit_test(test_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
