/* test_past.c - the window of an earlier run while it is folded, a row at a time: what
 * is laid over the tables never points into records that are gone, and is not taken
 * away before the tables say the same. */
#include "tests/support/core.h"

#include "storage/overlay.h"
#include "storage/testpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LETTERS = 12, SMALL = 60, LARGE = 5000 }; /* a large one has pages to itself */

static const hf_log_options options = { .window = 64 << 10, .past = true };
static char path[300];
static uint64_t ids[LETTERS];

static hf_bytes body_of(int number)
{
    static uint8_t bytes[LARGE];
    size_t len = number % 3 ? SMALL : LARGE;
    memset(bytes, 'a' + number, len);
    return hf_view(bytes, len);
}

static const char *actor_of(int number)
{
    static char text[16];
    (void)snprintf(text, sizeof text, "t/%d", number % 5);
    return text;
}

/* A life that ends with letters waiting, and states that were saved. */
static void live(void)
{
    core c;
    hf_log_stats stats;
    core_open(&c, path, NULL, &options);
    for (int i = 0; i < LETTERS; i++) {
        hf_entry save = core_entry(c.log, HF_OP_SAVE, actor_of(i));
        ids[i] = core_send(&c, actor_of(i), "k", body_of(i));
        save.data = body_of(i);
        core_put(&c, HF_FACTS, &save);
    }
    hf_log_stat(c.log, &stats);
    assert_true(!stats.folding && !stats.folds);
    core_close(&c, false);
}

typedef struct look {
    int letters, states;
} look;

static int see_letter(void *user, hf_bytes key, hf_bytes payload)
{
    look *l = user;
    hf_entry e;
    CORE_OK(hf_row_message_in(HF_IN_INBOX, key, payload, &e));
    for (int i = 0; i < LETTERS; i++) {
        if (ids[i] != e.id)
            continue;
        hf_bytes body = body_of(i);
        assert_int_equal(e.data.len, body.len);
        assert_memory_equal(e.data.data, body.data, body.len);
        l->letters++;
    }
    return HF_OK;
}

static int see_state(void *user, hf_bytes key, hf_bytes payload)
{
    look *l = user;
    const uint8_t *bytes = payload.data;
    (void)key;
    assert_true(payload.len == 8 + SMALL || payload.len == 8 + LARGE);
    /* Each of the five actors has what it saved last. */
    assert_true(bytes[8] >= 'a' + LETTERS - 5 && bytes[8] < 'a' + LETTERS);
    assert_int_equal(bytes[8], bytes[payload.len - 1]);
    l->states++;
    return HF_OK;
}

/* What an engine sees at this moment. */
static void check(core *c)
{
    hf_rowbuf buf = { 0 };
    hf_overlay over = { .buf = &buf };
    look seen = { 0, 0 };
    CORE_OK(hf_log_look(c->log, &over.txn, &over.facts));
    CORE_OK(hf_overlay_walk(&over, HF_IN_INBOX, hf_view(NULL, 0), see_letter, &seen));
    CORE_OK(hf_overlay_walk(&over, HF_IN_STATE, hf_view(NULL, 0), see_state, &seen));
    hf_txn_abort(over.txn);
    hf_rowbuf_done(&buf);
    assert_int_equal(seen.letters, LETTERS);
    assert_int_equal(seen.states, 5);
}

static bool is_there(core *c, uint64_t position)
{
    hf_txn *txn;
    hf_key key;
    hf_bytes value;
    hf_key_number(&key, position);
    CORE_OK(hf_txn_read(c->disk, &txn));
    int err = hf_txn_get(txn, HF_IN_LOG, hf_key_bytes(&key), &value);
    hf_txn_abort(txn);
    return err == HF_OK;
}

static void test_withdrawn_in_time(void **state)
{
    (void)state;
    core c;
    hf_log_stats stats;
    static uint8_t filler[1000];
    int slices = 0, between = 0;
    live();
    core_open(&c, path, NULL, &options);
    assert_non_null(hf_log_past(c.log));
    assert_int_equal(hf_window_at(hf_log_window(c.log), 0)->borrowed, true);
    check(&c);
    for (hf_log_stat(c.log, &stats); stats.bytes < stats.start; hf_log_stat(c.log, &stats))
        core_send(&c, "new/1", "", hf_view(filler, sizeof filler));
    do {
        bool before = hf_log_past(c.log) != NULL, was = is_there(&c, ids[0]);
        CORE_OK(hf_log_fold(c.log, 1));
        bool after = hf_log_past(c.log) != NULL, is = is_there(&c, ids[0]);
        /* Whoever found the facts has a commit's time to begin his snapshot. */
        if (was && !is)
            assert_false(before);
        assert_true(is || !after);
        between += !after && is;
        check(&c);
        hf_log_stat(c.log, &stats);
        slices++;
    } while (stats.folding);
    assert_null(hf_log_past(c.log));
    assert_true(slices > LETTERS); /* it was cut small */
    assert_true(between > 0);
    core_close(&c, true);
}

#ifdef HF_TESTPOINTS
static void fold_now(void *user, const char *name)
{
    core *c = user;
    if (strcmp(name, "past.look") != 0)
        return;
    hf_testpoint_hook(NULL, NULL);
    CORE_OK(hf_log_fold_all(c->log));
    assert_null(hf_log_past(c->log));
}

/* Who has begun his snapshot while the facts were there, and then finds them gone, would see
 * neither them nor their rows. */
static void test_withdrawn_while_looking(void **state)
{
    (void)state;
    core c;
    core_remove(path);
    live();
    core_open(&c, path, NULL, &options);
    assert_non_null(hf_log_past(c.log));
    hf_testpoint_hook(fold_now, &c);
    check(&c);
    assert_null(hf_log_past(c.log)); /* it was folded meanwhile */
    core_close(&c, true);
}
#endif

/* The same store after each number of slices and a crash. */
static void test_crash_between(void **state)
{
    (void)state;
    core c;
    hf_log_stats stats;
    static uint8_t filler[1000];
    for (int slices = 0;; slices++) {
        core_remove(path);
        live();
        core_open(&c, path, NULL, &options);
        for (hf_log_stat(c.log, &stats); stats.bytes < stats.start; hf_log_stat(c.log, &stats))
            core_send(&c, "new/1", "", hf_view(filler, sizeof filler));
        for (int i = 0; i < slices; i++)
            CORE_OK(hf_log_fold(c.log, 1));
        hf_log_stat(c.log, &stats);
        core_close(&c, false);
        core_open(&c, path, NULL, &options);
        check(&c);
        core_close(&c, false);
        if (slices && !stats.folding)
            break;
        slices += slices / 4; /* the first ones all, then some */
    }
}

/* ---- More than a fold takes at once */

enum { MANY = 4000 }; /* more than three windows: its end is young when the fold begins */

static int count_row(void *user, hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    CORE_OK(hf_row_message_in(HF_IN_INBOX, key, payload, &e));
    if (e.data.len == 8)
        *(int *)user += 1;
    return HF_OK;
}

static int count_many(core *c)
{
    hf_txn *txn;
    hf_rowbuf buf = { 0 };
    int count = 0;
    CORE_OK(hf_txn_read(c->disk, &txn));
    hf_overlay over = { .txn = txn, .facts = hf_log_past(c->log), .buf = &buf };
    CORE_OK(hf_overlay_walk(&over, HF_IN_INBOX, hf_view(NULL, 0), count_row, &count));
    hf_txn_abort(txn);
    hf_rowbuf_done(&buf);
    return count;
}

/* All of the last run's records are folded at once, however many they are: the facts of
 * the others would name records whose pages are used again. */
static void test_not_in_two(void **state)
{
    (void)state;
    core c;
    hf_log_stats stats;
    static uint8_t filler[1000];
    core_open(&c, path, NULL, &(hf_log_options){ .window = 1 << 20, .past = true });
    for (int i = 0; i < MANY; i++) {
        uint64_t id = core_send(&c, "t/1", "", hf_view("8 bytes", 8));
        ids[0] = i ? ids[0] : id;
    }
    hf_log_stat(c.log, &stats);
    assert_true(!stats.folds);
    core_close(&c, false);
    core_open(&c, path, NULL, &options);
    assert_non_null(hf_log_past(c.log));
    hf_log_stat(c.log, &stats);
    uint64_t end = stats.next;
    do {
        if (!stats.folding)
            core_send(&c, "new/1", "", hf_view(filler, sizeof filler));
        CORE_OK(hf_log_fold(c.log, 4096));
        assert_true(is_there(&c, ids[0]) || !hf_log_past(c.log));
        assert_int_equal(count_many(&c), MANY);
        hf_log_stat(c.log, &stats);
    } while (!stats.folds);
    assert_true(stats.folded >= end);
    assert_null(hf_log_past(c.log));
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
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup(test_withdrawn_in_time, clean),
                                        cmocka_unit_test_setup(test_crash_between, clean),
#ifdef HF_TESTPOINTS
                                        cmocka_unit_test_setup(test_withdrawn_while_looking, clean),
#endif
                                        cmocka_unit_test_setup(test_not_in_two, clean) };
    const char *directory = core_directory("past", true);
    (void)snprintf(path, sizeof path, "%s/store", directory);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(directory);
    return failed;
}
