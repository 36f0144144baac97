/* crew.c - several threads look through the messages that wait, in one moment.
 *
 * Happy path: the inbox is cut into parts where the hashes of a type's actors pass an
 * eighth, so that no actor is in two of them; each thread takes the next part that
 * nobody has, until there are none. When a commit comes between, a twin can't be had:
 * then it is tried again, and at last done by fewer threads, or by one.
 *
 * Fails as a walk does: the first error counts, and ends all of them. The caller's
 * thread takes part. */
#include "recovery/crew.h"

#include "storage/codec.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MATES = 3, LEAST_ROWS = 200000, SLICES = 8, TYPES = 32, PARTS = TYPES * SLICES + 1,
       TRIES = 20 };

typedef struct gang gang;

typedef struct mate {
    gang      *gang;
    hf_scan   *scan;    /* at the beginning of its copy of who asks */
    hf_inquiry inquiry;
    pthread_t  thread;
    int        err;
    char       detail[256];
} mate;

struct gang {
    hf_key      bounds[PARTS + 1]; /* part i: from bounds[i] to below bounds[i + 1] */
    uint32_t    parts;
    atomic_uint next;
    atomic_bool stop;
    mate        mates[MATES];
    uint32_t    count;
};

/* ---- Parts */

static void bound(gang *g, const void *bytes, size_t len)
{
    hf_key *key = &g->bounds[g->parts];
    if (len)
        memcpy(key->bytes, bytes, len);
    key->len = len;
}

static bool is_below(hf_bytes a, hf_bytes b)
{
    int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
    return order < 0 || (order == 0 && a.len < b.len);
}

/* Cut where the hashes of this type, whose name is key[0 .. len), pass an eighth. */
static void cut_type(gang *g, const uint8_t *key, size_t len)
{
    for (uint64_t slice = 1; slice <= SLICES && g->parts < PARTS - 1; slice++) {
        hf_key cut = { .len = len + 9 };
        memcpy(cut.bytes, key, len);
        cut.bytes[len] = slice == SLICES; /* the beginning of the next type */
        hf_put64_key(cut.bytes + len + 1, slice * (UINT64_MAX / SLICES + 1));
        if (slice == SLICES)
            cut.len = len + 1;
        g->parts++;
        bound(g, cut.bytes, cut.len);
    }
}

/* What only the facts know lies between two bounds like everything else. */
static int cut(gang *g, hf_txn *txn, hf_bytes from, hf_bytes to)
{
    hf_cursor *cursor;
    hf_bytes key, value;
    int err = hf_cursor_open(txn, HF_IN_INBOX, &cursor);
    if (err)
        return err;
    bound(g, from.data, from.len);
    while (!err && g->parts < PARTS - 1) {
        hf_bytes at = hf_key_bytes(&g->bounds[g->parts]);
        err = at.len ? hf_cursor_seek(cursor, at, &key, &value)
                     : hf_cursor_first(cursor, &key, &value);
        size_t len = err ? 0 : strnlen(key.data, key.len);
        if (err || (to.len && !is_below(key, to)) || len == key.len || len > HF_TYPE_MAX)
            break;
        cut_type(g, key.data, len);
    }
    hf_cursor_close(cursor);
    if (!to.len || is_below(hf_key_bytes(&g->bounds[g->parts]), to))
        g->parts++;
    bound(g, to.data, to.len); /* whatever the last cut was */
    return err == HF_ENOTFOUND ? HF_OK : err;
}

/* ---- Mates */

static int take_parts(gang *g, hf_scan *scan)
{
    int err = HF_OK;
    while (!err && !atomic_load(&g->stop)) {
        uint32_t part = atomic_fetch_add(&g->next, 1);
        if (part >= g->parts)
            break;
        err = hf_scan_part(scan, hf_key_bytes(&g->bounds[part]),
                           hf_key_bytes(&g->bounds[part + 1]));
    }
    if (err)
        atomic_store(&g->stop, true);
    return err;
}

static void *work(void *argument)
{
    mate *m = argument;
    m->err = take_parts(m->gang, m->scan);
    if (m->err)
        (void)snprintf(m->detail, sizeof m->detail, "%s", hf_error_detail());
    return NULL;
}

static int find_twin(const hf_scan *scan, hf_view_of **twin)
{
    int err = HF_EAGAIN;
    for (int i = 0; err == HF_EAGAIN && i < TRIES; i++)
        err = hf_view_twin(twin, scan->view, scan->inquiry->disk);
    return err;
}

/* False: it goes without one more. */
static bool add_mate(gang *g, const hf_scan *scan)
{
    mate *m = &g->mates[g->count];
    const hf_crew *crew = scan->crew;
    hf_view_of *twin;
    sigset_t all, before;
    if (find_twin(scan, &twin))
        return false;
    void *copy = hf_mem_alloc(crew->size);
    if (!copy) {
        hf_view_close(twin);
        return false;
    }
    memcpy(copy, scan, crew->size);
    crew->fresh(copy);
    *m = (mate){ .gang = g, .scan = copy, .inquiry = *scan->inquiry };
    memset(&m->inquiry.row, 0, sizeof m->inquiry.row);
    m->scan->inquiry = &m->inquiry;
    m->scan->view = twin;
    m->scan->user = copy;
    m->scan->scanned = 0;
    m->scan->standing.len = 0;
    sigfillset(&all); /* they are for the threads of the program */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&m->thread, NULL, work, m);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        hf_view_close(twin);
        (void)crew->merge(NULL, copy);
        hf_mem_free(copy);
        return false;
    }
    g->count++;
    return true;
}

static int dismiss(gang *g, hf_scan *scan, int err)
{
    for (uint32_t i = 0; i < g->count; i++) {
        mate *m = &g->mates[i];
        (void)pthread_join(m->thread, NULL);
        if (!err && m->err)
            err = hf_error(m->err, "%s", m->detail);
    }
    for (uint32_t i = 0; i < g->count; i++) {
        mate *m = &g->mates[i];
        scan->scanned += m->scan->scanned;
        int merged = scan->crew->merge(err ? NULL : scan, m->scan);
        err = err ? err : merged;
        hf_view_close(m->scan->view);
        hf_out_done(&m->inquiry.row);
        hf_mem_free(m->scan);
    }
    return err;
}

int hf_crew_walk(hf_scan *scan, hf_bytes from, hf_bytes to)
{
    uint64_t rows = 0;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int err = scan->crew ? hf_txn_count(hf_view_txn(scan->view), HF_IN_INBOX, &rows) : HF_OK;
    gang *g = !err && rows >= LEAST_ROWS && processors > 1 ? hf_mem_zero(1, sizeof *g) : NULL;
    if (err || !g)
        return err ? err : hf_scan_part(scan, from, to);
    err = cut(g, hf_view_txn(scan->view), from, to);
    while (!err && g->count < MATES && g->count + 1 < (unsigned long)processors
           && g->parts > 1 && add_mate(g, scan))
        continue;
    if (!err)
        err = take_parts(g, scan);
    err = dismiss(g, scan, err);
    hf_mem_free(g);
    return err;
}
