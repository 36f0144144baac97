/* nth_ask.h - each call of a question or a change fails once: what it answers then, and
 * that the store is as it was, or as it was to be. For one test program, in its one .c
 * file, which says how its store is made and what number stands for all that it holds. */
#ifndef UNIT_NTH_ASK_H
#define UNIT_NTH_ASK_H

#include "tests/unit/full_set.h"
#include "tests/unit/nth_call.h"

#include "recovery/holdfast_recovery.h"

#include "storage/error.h"

static void     make_store(void);
static uint64_t sum_store(void);

static const int lmdb_errors[] = { ENOMEM, LMDB_CORRUPTED, EIO };

/* ---- Questions */

static int sum_row(void *user, hf_bytes row)
{
    uint64_t *sum = user;
    *sum = hf_address_hash(*sum, row.data, row.len);
    return HF_OK;
}

static int sum_message(void *user, const hf_message *msg)
{
    uint64_t *sum = user;
    *sum = hf_address_hash(*sum + msg->id, msg->to, strlen(msg->to));
    *sum = hf_address_hash(*sum + msg->attempt, msg->body.data ? msg->body.data : "",
                           msg->body.len);
    return HF_OK;
}

typedef struct question {
    const char *name; /* NULL: hf_find */
    hf_bytes    arguments;
    bool        moves; /* its answer is another each time */
} question;

static int ask(hf_store *store, const question *q, uint64_t *sum)
{
    *sum = 1;
    return q->name ? hf_query(store, q->name, q->arguments, sum_row, sum)
                   : hf_find(store, "status = dead", sum_message, sum);
}

/* Where memory is short: HF_ENOMEM, or the answer; all the same what else fails. */
static void ask_once(hf_store *store, const question *q, int kind, uint64_t want)
{
    uint64_t sum;
    int err = ask(store, q, &sum);
    nth_off();
    if (err && !*hf_detail())
        fail_msg("%s: %d without a detail", q->name ? q->name : "find", err);
    if (err && kind == NTH_MEMORY && err != HF_ENOMEM)
        fail_msg("%s: %d, not HF_ENOMEM: %s", q->name ? q->name : "find", err, hf_detail());
    if (err && err != HF_ENOMEM && err != HF_EIO && err != HF_ECORRUPT && err != HF_EUNKNOWN
        && err != HF_EAGAIN && err != HF_EINVAL && err != HF_ENOTFOUND)
        fail_msg("%s: %d: %s", q->name ? q->name : "find", err, hf_detail());
    if (!err && !q->moves && kind == NTH_MEMORY)
        assert_true(sum == want);
    assert_int_equal(ask(store, q, &sum), HF_OK);
    if (!q->moves)
        assert_true(sum == want);
}

static void ask_each(hf_store *store, const question *q)
{
    uint64_t want;
    assert_int_equal(ask(store, q, &want), HF_OK);
    NTH_EACH(n, NTH_MEMORY, 0)
        ask_once(store, q, NTH_MEMORY, want);
    NTH_EACH(n, NTH_LMDB, lmdb_errors[n % 3])
        ask_once(store, q, NTH_LMDB, want);
    NTH_EACH(n, NTH_FILE, EIO)
        ask_once(store, q, NTH_FILE, want);
    NTH_EACH(n, NTH_SOCKET, EMFILE)
        ask_once(store, q, NTH_SOCKET, want);
}

static inline uint64_t still(void *user)
{
    (void)user;
    return 1800000000000;
}

/* ---- Changes */

static uint64_t held; /* what the store is known to hold; 0: it was made anew */

/* What was asked for is there, or nothing of it; and after HF_OK it is. */
static void change_once(hf_store *store, const char *what, hf_bytes arguments, int kind)
{
    uint64_t before = held ? held : sum_store(), row = 1;
    nth.kind = kind; /* what came before was not counted */
    hf_mem_hook(kind == NTH_MEMORY ? nth_memory : NULL, NULL);
    int err = hf_change(store, what, arguments, sum_row, &row);
    nth_off();
    uint64_t after = sum_store();
    if (err && !*hf_detail())
        fail_msg("%s: %d without a detail", what, err);
    if (err && kind == NTH_MEMORY && err != HF_ENOMEM && err != HF_EUNKNOWN)
        fail_msg("%s: %d, not HF_ENOMEM: %s", what, err, hf_detail());
    if (err && err != HF_EUNKNOWN && after != before)
        fail_msg("%s: %d (%s), and yet it was done", what, err, hf_detail());
    if (!err && (after == before || row == 1))
        fail_msg("%s: not done, and no error", what);
    held = after == before ? before : 0;
    if (!held)
        make_store();
}

static void change_each(hf_store *store, const char *what, hf_bytes arguments)
{
    held = 0;
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP) {
        nth_on(NTH_MEMORY, NULL, n, 0);
        nth_off();
        change_once(store, what, arguments, NTH_MEMORY);
    }
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP) {
        nth_on(NTH_LMDB, NULL, n, lmdb_errors[n % 3]);
        nth_off();
        change_once(store, what, arguments, NTH_LMDB);
    }
    for (int n = 1; n == 1 || nth.hit; n += NTH_STEP) {
        nth_on(NTH_FILE, NULL, n, EIO);
        nth_off();
        change_once(store, what, arguments, NTH_FILE);
    }
}

#endif
