/* turns.h - turns that a test runs one by one, of a type on the shards and one with
 * threads, and what rows they put and see. */
#ifndef SUPPORT_TURNS_H
#define SUPPORT_TURNS_H

#include "tests/support/ring.h"

#include <string.h>

#define CHECK(x)                                                             \
    do {                                                                     \
        if (!(x)) {                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);          \
            abort();                                                         \
        }                                                                    \
    } while (0)

static atomic_int turns, failures;
static int  (*job)(hf_turn *turn, const hf_message *msg);
static char   error[512];
static int    with; /* what a job wants to know, or found */

static inline int handle(hf_turn *turn, const hf_message *msg)
{
    atomic_fetch_add(&turns, 1);
    return job(turn, msg);
}

static inline int noted(hf_turn *turn, const hf_message *msg);

static inline void failed(hf_turn *turn, const hf_message *msg)
{
    (void)snprintf(error, sizeof error, "%s", msg->error);
    atomic_fetch_add(&failures, 1);
    (void)noted(turn, msg);
}

static const hf_type types[] = {
    { .name = "a", .handle = handle, .failed = failed, .tries = 1, .idle_ms = 1 },
    { .name = "p", .handle = handle, .failed = failed, .tries = 1, .idle_ms = 1, .threads = 2 },
    { .name = "w", .handle = handle, .failed = failed, .tries = 1, .threads = 2, .workers = 2 },
    { 0 }
};
static const char *const kinds_of_turn[] = { "a/1", "p/1" };

static inline hf_engine *open_it(const char *name)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                                                    .window = 64 << 10, .store_max = 512 << 20)));
    return e;
}

/* One turn of that actor; how often it failed. */
static inline int run(hf_engine *e, const char *to, int (*what)(hf_turn *, const hf_message *))
{
    int before = atomic_load(&failures);
    error[0] = 0;
    job = what;
    ring_ok(hf_tell(e, to, "do", hf_str("")));
    ring_ok(hf_drain(e, 60000));
    return atomic_load(&failures) - before;
}

static inline hf_bytes key_of(int i)
{
    static _Thread_local char text[4][16];
    static _Thread_local int turn_of;
    char *at = text[turn_of++ & 3];
    return hf_view(at, (size_t)snprintf(at, 16, "k%06d", i));
}

static inline bool is(hf_turn *turn, const char *key, const char *value)
{
    hf_bytes found;
    int err = hf_get(turn, hf_str(key), &found);
    if (!value)
        return err == HF_ENOTFOUND && !found.data;
    return err == HF_OK && found.len == strlen(value) && found.data
        && memcmp(found.data, value, found.len) == 0;
}

static inline int count_rows(void *user, hf_bytes key, hf_bytes value)
{
    (void)key;
    CHECK(value.data);
    CHECK(((uintptr_t)value.data & 15) == 0);
    ++*(int *)user;
    return HF_OK;
}

static inline int rows_in(hf_turn *turn)
{
    int count = 0;
    CHECK(hf_walk(turn, hf_str(""), count_rows, &count) == HF_OK);
    return count;
}

static inline int noted(hf_turn *turn, const hf_message *msg)
{
    hf_put(turn, hf_str("~failed"), hf_str(msg->error));
    return HF_OK;
}

/* ---- In one turn */

static inline int put_some(hf_turn *turn, const hf_message *msg)
{
    hf_bytes first, second;
    (void)msg;
    CHECK(is(turn, "x", NULL));
    hf_put(turn, hf_str("x"), hf_str("one"));
    CHECK(hf_get(turn, hf_str("x"), &first) == HF_OK);
    hf_put(turn, hf_str("x"), hf_str("two"));
    CHECK(hf_get(turn, hf_str("x"), &second) == HF_OK);
    hf_put(turn, hf_str("x"), hf_view(NULL, 0));
    CHECK(is(turn, "x", NULL));
    hf_put(turn, hf_str("x"), hf_str("three"));
    CHECK(memcmp(first.data, "one", 3) == 0); /* lent until the turn ends */
    CHECK(memcmp(second.data, "two", 3) == 0);
    CHECK(((uintptr_t)first.data & 15) == 0);
    hf_put(turn, hf_str("empty"), hf_str(""));
    CHECK(is(turn, "empty", ""));
    hf_put(turn, hf_str("y"), hf_str("why"));
    CHECK(rows_in(turn) == 3);
    return HF_OK;
}

static inline int see_some(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    CHECK(is(turn, "x", "three"));
    CHECK(is(turn, "empty", ""));
    CHECK(is(turn, "y", "why"));
    CHECK(is(turn, "z", NULL));
    return HF_OK;
}

static inline int see_nothing(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    CHECK(rows_in(turn) == 0);
    CHECK(is(turn, "x", NULL));
    return HF_OK;
}

static inline int forget_it(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    hf_save(turn, hf_str("state"));
    hf_forget(turn);
    CHECK(rows_in(turn) == 0);
    if (with)
        return hf_fail(turn, 1, "no");
    hf_put(turn, hf_str("after"), hf_str("life"));
    CHECK(rows_in(turn) == 1);
    return HF_OK;
}

static inline int see_after(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    CHECK(!hf_state(turn).data);
    CHECK(rows_in(turn) == 1 && is(turn, "after", "life"));
    return HF_OK;
}

#endif
