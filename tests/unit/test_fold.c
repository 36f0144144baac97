/* test_fold.c - a fold in the smallest slices, cut short at each of them: what the
 * store shows never changes, however often parts of it are applied. */
#include "tests/support/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const hf_log_options options = { .window = 12288 };
static char path[300];

/* All rows that a view shows, as one number. */
static int add_row(void *user, hf_bytes key, hf_bytes payload)
{
    uint64_t *sum = user;
    for (size_t i = 0; i < key.len; i++)
        *sum = (*sum ^ ((const uint8_t *)key.data)[i]) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < payload.len; i++)
        *sum = (*sum ^ ((const uint8_t *)payload.data)[i]) * UINT64_C(0x100000001b3);
    return HF_OK;
}

static uint64_t sum_of(core *c)
{
    static const hf_table tables[] = { HF_IN_INBOX, HF_IN_STATE, HF_IN_ALARM_NAMES, HF_IN_DEAD,
                                       HF_IN_STEPS, HF_IN_PAUSES, HF_IN_ROWS, HF_IN_DEDUPE,
                                       HF_IN_TOPICS };
    hf_view_of *view;
    uint64_t sum = 7;
    CORE_OK(hf_view_open(&view, c->disk));
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        sum = (sum ^ i) * UINT64_C(0x100000001b3);
        CORE_OK(hf_view_walk(view, tables[i], hf_view(NULL, 0), add_row, &sum));
    }
    hf_view_close(view);
    return sum;
}

static void put_about(core *c, uint8_t op, const char *to, const char *name, uint64_t id)
{
    hf_entry e = core_entry(c->log, op, to);
    e.name = name;
    e.name_len = (uint8_t)strlen(name);
    e.id = e.place = id;
    e.attempt = op == HF_OP_RETRY ? 3 : 0;
    e.due = op == HF_OP_ALARM ? 1000 + id : 0;
    e.generation = op == HF_OP_DUE ? id : 0;
    if (op == HF_OP_DUE)
        e.id = e.place = 0;
    e.data = op == HF_OP_SAVE || op == HF_OP_DEAD || op == HF_OP_REQUEUE ? hf_str("some bytes")
                                                                         : hf_str("");
    core_put(c, hf_entry_is_message(op) ? 0 : HF_FACTS, &e);
}

/* Once it is time to fold, the next append would do it, and all of it at once. */
static bool is_time(core *c)
{
    hf_log_stats stats;
    hf_log_stat(c->log, &stats);
    assert_true(!stats.folding);
    return stats.bytes >= stats.start;
}

static void put_some(core *c, int i, int what, uint64_t *old, uint64_t *id)
{
    char to[16];
    (void)snprintf(to, sizeof to, "t%d/%d", i % 2, i);
    switch (what) {
    case 0: *id = core_send(c, to, "k", hf_str("a body that takes some room")); break;
    case 1: put_about(c, HF_OP_SAVE, to, "", 0); break;
    case 2: put_about(c, i % 3 ? HF_OP_ALARM : HF_OP_CANCEL, to, "wake", *id); break;
    case 3: put_about(c, HF_OP_STEP, "", "pay", *id); break;
    case 4:
        if (i % 4 == 0)
            put_about(c, i % 8 ? HF_OP_PAUSE : HF_OP_RESUME, to, "", 0);
        break;
    case 5:
        if (old[i] && i % 2)
            put_about(c, HF_OP_ACK, to, "", old[i]);
        else if (old[i])
            put_about(c, i % 4 ? HF_OP_RETRY : HF_OP_DEAD, to, "", old[i]);
        old[i] = *id;
        break;
    default: *id = core_send(c, to, "k", hf_str("soon done")); break;
    }
}

/* Something of everything, each round about what rounds before left in the tables;
 * until it is time to fold. */
static void fill(core *c, uint64_t *old)
{
    uint64_t id = 0, gone = 0;
    for (int i = 0; !is_time(c); i = (i + 1) % 12) {
        for (int what = 0; what < 6 && !is_time(c); what++)
            put_some(c, i, what, old, &id);
        if (!is_time(c))
            put_some(c, i, 6, old, &gone);
        if (!is_time(c))
            core_done(c, gone, 1);
    }
}

/* A fold in as many slices as it has rows and records, cut short after so many. */
static void test_cut_short_everywhere(void **state)
{
    (void)state;
    core c;
    uint64_t old[12] = { 0 };
    hf_log_stats stats;
    hf_log_options smaller = { .window = 512 }; /* a log cut short is still to be folded */
    for (int round = 0; round < 6; round++) {
        int slices = 0;
        core_open(&c, path, NULL, &options);
        CORE_OK(hf_log_fold_all(c.log));
        fill(&c, old);
        uint64_t want = sum_of(&c);
        for (;; slices += 1 + slices / 16) {
            for (int i = 0; i < slices; i++)
                CORE_OK(hf_log_fold(c.log, 1));
            hf_log_stat(c.log, &stats);
            assert_true(sum_of(&c) == want);
            if (slices && !stats.folding)
                break; /* so many slices are a whole fold */
            core_close(&c, round % 2);
            core_open(&c, path, NULL, &smaller);
            assert_true(sum_of(&c) == want);
        }
        assert_true(slices > 30);
        CORE_OK(hf_log_fold_all(c.log));
        assert_true(sum_of(&c) == want);
        hf_log_stat(c.log, &stats);
        assert_int_equal(stats.bytes, 0);
        core_close(&c, true);
    }
}

static int count_one(void *user, const hf_entry *e)
{
    (void)e;
    ++*(int *)user;
    return HF_OK;
}

static int waiting(core *c, const char *actor)
{
    hf_view_of *view;
    int count = 0;
    CORE_OK(hf_view_open(&view, c->disk));
    CORE_OK(hf_view_inbox(view, actor, 0, count_one, &count));
    hf_view_close(view);
    return count;
}

/* Messages that a fold cut short has already put in their table are done afterwards,
 * all of their record: the rows have to go with the next fold. */
static void test_done_after_a_cut(void **state)
{
    (void)state;
    core c;
    hf_log_options larger = { .window = 1 << 20 };
    hf_log_stats stats = { .bytes = 0 };
    for (int slices = 1; slices < 60; slices++) {
        uint64_t ids[200];
        int count = 0;
        core_open(&c, path, NULL, &options);
        CORE_OK(hf_log_fold_all(c.log));
        do { /* just until it is time to fold */
            ids[count++] = core_send(&c, "cut/1", "", hf_str("the body of a message"));
            hf_log_stat(c.log, &stats);
        } while (stats.bytes < stats.start);
        for (int i = 0; i < slices; i++)
            CORE_OK(hf_log_fold(c.log, 1));
        core_close(&c, false);
        core_open(&c, path, NULL, &larger); /* so that it is not folded at once */
        for (int i = 0; i < count; i++)
            if (ids[i] >= hf_log_folded(c.log))
                core_done(&c, ids[i], 1);
            else
                put_about(&c, HF_OP_ACK, "cut/1", "", ids[i]);
        assert_int_equal(waiting(&c, "cut/1"), 0);
        CORE_OK(hf_log_fold_all(c.log));
        assert_int_equal(waiting(&c, "cut/1"), 0);
        core_close(&c, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_cut_short_everywhere),
                                        cmocka_unit_test(test_done_after_a_cut) };
    const char *directory = core_directory("fold", true);
    (void)snprintf(path, sizeof path, "%s/store", directory);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(directory);
    return failed;
}
