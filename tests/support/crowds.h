/* crowds.h - what the tests of topics and joins share: large bodies, engines with small
 * windows, what is sent so that others leave the window, dead letters found and requeued. */
#ifndef SUPPORT_CROWDS_H
#define SUPPORT_CROWDS_H

#include "tests/support/ring.h"

#include "engine/engine.h"
#include "recovery/holdfast_recovery.h"
#include "storage/view.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum { BIG = 5000, CROWD = 10000 };

static atomic_int wrong; /* what handlers and threads saw that may not be */
static char big[BIG];

static inline void fill_big(void)
{
    for (int i = 0; i < BIG; i++)
        big[i] = (char)(i * 7);
}

static inline bool is_big(hf_bytes body)
{
    return body.len == BIG && memcmp(body.data, big, BIG) == 0;
}

static inline hf_engine *open_with(const char *name, const hf_type *types, uint64_t window)
{
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                    .window = window, .store_max = 512 << 20)));
    return e;
}

static inline void flush(hf_engine *e)
{
    ring_ok(hf_drain(e, 60000));
    assert_int_equal(atomic_load(&wrong), 0);
}

static inline int swallow(hf_turn *turn, const hf_message *msg)
{
    (void)turn, (void)msg;
    return HF_OK;
}

/* So much that whatever waits has left the window. */
static inline void fold_away(hf_engine *e)
{
    static char filler[4000];
    for (int i = 0; i < 100; i++)
        ring_ok(hf_tell(e, "flood/1", "x", hf_view(filler, sizeof filler)));
}

/* ---- Dead letters */

typedef struct heard {
    uint64_t ids[16];
    int      count, whole;
} heard;

static inline int hear(void *user, const hf_message *msg)
{
    heard *h = user;
    h->ids[h->count++] = msg->id;
    h->whole += is_big(msg->body);
    return HF_OK;
}

/* What is found there is requeued. */
static inline void requeue_all(const char *name, heard *h, const char *where)
{
    hf_store *store = NULL;
    ring_ok(hf_store_open(&store, ring_path(name), 1000));
    ring_ok(hf_find(store, where, hear, h));
    for (int i = 0; i < h->count; i++)
        ring_ok(hf_requeue(store, h->ids[i]));
    hf_store_close(store);
}

#endif
