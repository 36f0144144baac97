/* test_lend.c - facts that only the fold will read: whose bytes lie on disk, and that what
 * is folded from there is right while pages are used again. */
#include "tests/support/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SMALL = 60, LARGE = 5000, ACTORS = 5, ROUNDS = 300 };

static char path[300];

static hf_bytes body_of(int number, size_t len)
{
    static uint8_t bytes[LARGE];
    memset(bytes, 1 + number % 250, len);
    return hf_view(bytes, len);
}

static const char *actor_of(int number)
{
    static char text[16];
    (void)snprintf(text, sizeof text, "t/%d", number % ACTORS);
    return text;
}

static uint64_t save(core *c, int number, size_t len)
{
    hf_entry e = core_entry(c->log, HF_OP_SAVE, actor_of(number));
    e.data = body_of(number, len);
    return core_put(c, HF_FACTS, &e);
}

static hf_record *record_of(const core *c, uint64_t position)
{
    hf_record *r = hf_window_find(hf_log_window(c->log), position);
    assert_non_null(r);
    return r;
}

/* Those of a page and more, of which no message waits and to which nobody may point. */
static void test_which(void **state)
{
    (void)state;
    core c;
    static const hf_log_options options = { .window = 1 << 20, .past = true };
    core_open(&c, path, NULL, &options);
    uint64_t large = save(&c, 1, LARGE), small = save(&c, 2, SMALL);
    uint64_t letter = core_send(&c, "t/3", "k", body_of(3, LARGE));
    hf_entry alarm = core_entry(c.log, HF_OP_ALARM, "t/4");
    alarm.name = "wake";
    alarm.name_len = 4;
    alarm.due = 1000;
    alarm.data = body_of(4, LARGE);
    uint64_t word = core_put(&c, 0, &alarm);
    (void)save(&c, 5, SMALL);
    assert_true(record_of(&c, large)->borrowed);
    assert_false(record_of(&c, small)->borrowed);
    assert_false(record_of(&c, letter)->borrowed);
    assert_false(record_of(&c, word)->borrowed);
    assert_true(hf_log_window(c.log)->held < 4 * LARGE);
    core_close(&c, true);
}

/* Not before the last reader came past, and never while the fold may read them. */
static struct {
    void (*work)(void *); /* put off */
    void  *arg;
    bool   at_once;
} sorter;

static void offload(void *user, void (*work)(void *), void *arg)
{
    (void)user;
    if (sorter.at_once) {
        work(arg);
        return;
    }
    sorter.work = work;
    sorter.arg = arg;
}

static void test_when(void **state)
{
    (void)state;
    core c;
    static const hf_log_options options = { .window = 64 << 10, .past = true, .readers = 1,
                                            .offload = offload };
    core_open(&c, path, NULL, &options);
    uint64_t first = save(&c, 0, LARGE), second = save(&c, 1, LARGE), last = second;
    assert_false(record_of(&c, first)->borrowed);
    atomic_fetch_add(&record_of(&c, first)->passed, 1);
    last = save(&c, 2, LARGE);
    assert_true(record_of(&c, first)->borrowed);
    assert_false(record_of(&c, second)->borrowed);
    for (int i = 3; !sorter.work; i++)
        last = save(&c, i, LARGE);
    const hf_window *w = hf_log_window(c.log);
    assert_true(w->sealed > 2 && record_of(&c, second)->base < hf_window_at(w, w->sealed)->base);
    for (uint32_t i = 0; i < w->count; i++)
        atomic_store(&hf_window_at(w, i)->passed, 1);
    (void)save(&c, 7, LARGE);
    for (uint32_t i = 1; i < w->sealed; i++)
        assert_false(hf_window_at(w, i)->borrowed);
    assert_true(record_of(&c, last)->borrowed);
    sorter.at_once = true;
    sorter.work(sorter.arg);
    CORE_OK(hf_log_fold_all(c.log));
    core_close(&c, true);
}

typedef struct seen {
    int count, newest[ACTORS];
} seen;

static int see_state(void *user, hf_bytes key, hf_bytes payload)
{
    seen *s = user;
    const uint8_t *bytes = payload.data;
    int actor = ((const char *)key.data)[key.len - 1] - '0';
    assert_int_equal(payload.len, 8 + LARGE);
    assert_int_equal(bytes[8], 1 + s->newest[actor] % 250);
    assert_int_equal(bytes[payload.len - 1], bytes[8]);
    s->count++;
    return HF_OK;
}

/* Folded a row at a time while the pages of older records are written again. */
static void test_folded(void **state)
{
    (void)state;
    core c;
    static const hf_log_options options = { .window = 64 << 10, .past = true };
    hf_view_of *view;
    seen s = { 0 };
    core_open(&c, path, NULL, &options);
    for (int i = 0; i < ROUNDS; i++) {
        s.newest[i % ACTORS] = i;
        (void)save(&c, i, LARGE);
        CORE_OK(hf_log_fold(c.log, 1));
        if (i < ACTORS || i % 7)
            continue;
        s.count = 0;
        CORE_OK(hf_view_open(&view, c.disk));
        CORE_OK(hf_view_walk(view, HF_IN_STATE, hf_view(NULL, 0), see_state, &s));
        hf_view_close(view);
        assert_int_equal(s.count, ACTORS);
    }
    hf_log_stats stats;
    hf_log_stat(c.log, &stats);
    assert_true(stats.folds > 3);
    core_close(&c, true);
}

static int clean(void **state)
{
    (void)state;
    core_remove(path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup(test_which, clean),
                                        cmocka_unit_test_setup(test_when, clean),
                                        cmocka_unit_test_setup(test_folded, clean) };
    const char *directory = core_directory("lend", true);
    (void)snprintf(path, sizeof path, "%s/store", directory);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(directory);
    return failed;
}
