/* test_rowset.c - the ordered set of rows in memory, against a sorted array. */
#include "engine/rowset.h"

#include "storage/memory.h"
#include "storage/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NAMES = 300, STEPS = 60000 };

static char     names[NAMES][12];
static uint32_t there[NAMES]; /* the value; 0: no item; ODD: gone */
static uint64_t when[NAMES];  /* put last at that step */

static hf_bytes name_of(uint32_t i)
{
    return hf_str(names[i]);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void make_names(void)
{
    for (uint32_t i = 0; i < NAMES; i++)
        (void)snprintf(names[i], sizeof names[i], "%x", i * i * 7 + i);
    qsort(names, NAMES, sizeof *names, compare);
    for (uint32_t i = 1; i < NAMES; i++)
        assert_true(strcmp(names[i - 1], names[i]) < 0);
}

static void same_item(const hf_rowitem *item, uint32_t i)
{
    uint32_t value;
    assert_non_null(item);
    assert_int_equal(hf_rowset_compare(hf_rowitem_name(item), name_of(i)), 0);
    assert_int_equal(item->gone, there[i] & 1);
    if (!item->gone) {
        assert_int_equal((uintptr_t)hf_rowitem_value(item).data & 15, 0);
        assert_int_equal(hf_rowitem_value(item).len, sizeof value);
        memcpy(&value, hf_rowitem_value(item).data, sizeof value);
        assert_int_equal(value, there[i]);
    }
}

static void put(hf_rowset *set, uint32_t i, uint64_t step)
{
    uint32_t value = (uint32_t)step * 2 + 2, before = there[i];
    bool gone = step % 5 == 0;
    hf_rowitem *item = hf_rowset_make(set, name_of(i), gone ? hf_view(NULL, 0)
                                                            : hf_view(&value, sizeof value));
    hf_rowitem *old = hf_rowset_put(set, item);
    assert_int_equal(old != NULL, before != 0);
    if (old)
        same_item(old, i);
    hf_rowitem_free(old);
    there[i] = gone ? 1 : value;
    when[i] = step;
}

static void take(hf_rowset *set)
{
    uint32_t oldest = NAMES;
    for (uint32_t i = 0; i < NAMES; i++)
        if (there[i] && (oldest == NAMES || when[i] < when[oldest]))
            oldest = i;
    hf_rowitem *item = hf_rowset_take(set);
    assert_int_equal(item != NULL, oldest < NAMES);
    if (!item)
        return;
    same_item(item, oldest);
    hf_rowitem_free(item);
    there[oldest] = 0;
}

static void seek(const hf_rowset *set, uint32_t i, bool behind)
{
    uint32_t want = behind ? i + 1 : i;
    hf_rowitem *item = hf_rowset_seek(set, name_of(i), behind);
    while (want < NAMES && !there[want])
        want++;
    if (want == NAMES)
        assert_null(item);
    else
        same_item(item, want);
    item = hf_rowset_find(set, name_of(i));
    assert_int_equal(item != NULL, there[i] != 0);
}

static void whole(const hf_rowset *set)
{
    size_t count = 0, bytes = 0, chained = 0;
    const hf_rowitem *item = set->head[0];
    for (uint32_t i = 0; i < NAMES; i++) {
        if (!there[i])
            continue;
        same_item(item, i);
        count++;
        bytes += hf_rowitem_bytes(item);
        item = item->next[0];
    }
    assert_null(item);
    for (item = set->oldest; item; item = item->newer)
        chained++;
    assert_int_equal(set->count, count);
    assert_int_equal(set->bytes, bytes);
    assert_int_equal(chained, count);
}

static void test_against_array(void **state)
{
    (void)state;
    make_names();
    hf_random_seed(11);
    hf_rowset *set = hf_rowset_new();
    assert_non_null(set);
    for (uint64_t step = 1; step <= STEPS; step++) {
        uint64_t dice = hf_random();
        uint32_t i = (uint32_t)(dice >> 8) % NAMES;
        /* Sometimes it grows, sometimes it shrinks until it is empty. */
        if (dice % 16 < (step / 3000 % 2 ? 9u : 3u))
            take(set);
        else
            put(set, i, step);
        seek(set, i, dice & 16);
        if (step % 500 == 0)
            whole(set);
    }
    hf_rowset_clear(set);
    memset(there, 0, sizeof there);
    whole(set);
    put(set, 3, 1);
    hf_rowset_free(set);
    hf_rowset_free(NULL);
}

/* Names may hold any bytes, and be the beginning of one another. */
static void test_names(void **state)
{
    (void)state;
    hf_rowset *set = hf_rowset_new();
    const hf_bytes odd[] = { hf_view("", 1), hf_view("\0\0", 2), hf_view("a", 1),
                             hf_view("a\0", 2), hf_view("a\xff", 2), hf_view("\xff", 1) };
    for (int i = 5; i >= 0; i--)
        assert_null(hf_rowset_put(set, hf_rowset_make(set, odd[i], hf_str("v"))));
    const hf_rowitem *item = set->head[0];
    for (int i = 0; i < 6; i++, item = item->next[0])
        assert_int_equal(hf_rowset_compare(hf_rowitem_name(item), odd[i]), 0);
    hf_rowset_free(set);
}

static int never(void *user, size_t size)
{
    (void)user;
    (void)size;
    return 1;
}

static void test_no_memory(void **state)
{
    (void)state;
    hf_rowset *set = hf_rowset_new();
    hf_mem_hook(never, NULL);
    assert_null(hf_rowset_new());
    assert_null(hf_rowset_make(set, hf_str("a"), hf_str("b")));
    hf_mem_hook(NULL, NULL);
    assert_int_equal(set->count, 0);
    hf_rowset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_array),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
