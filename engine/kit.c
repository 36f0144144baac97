/* kit.c - the test kit: hf_test_open, hf_test_run, hf_test_advance, hf_test_crash.
 *
 * Happy path: a clock that stands still is put in, and an engine opened in a store of its
 * own. Running waits until the engine rests; advancing moves the clock to when it says it
 * has something to do, again and again. After a crash the engine is closed, which it
 * survives as it does every stop by itself, and the store opened again.
 *
 * Fails as the engine does, and with HF_ETIMEDOUT when it never rests. One thread at a
 * time calls, but the clock is read by all. */
#include "engine/holdfast_test.h"

#include "engine/kit.h"
#include "engine/flush.h"
#include "engine/turn.h"

#include "storage/clock.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MS       UINT64_C(1000000)
#define PATIENCE_MS 20000
#define BEGIN_MS UINT64_C(1767225600000) /* 2026-01-01 00:00 UTC */
#define BEGIN_NS (3600 * 1000 * MS)      /* of the monotonic clock; not 0, which says "never" */
#define MOST_MS  (UINT64_C(36525) * 24 * 3600 * 1000)
#define TIGHT_NS (10 * MS)

struct hf_test {
    hf_kit           kit;
    hf_engine       *engine;  /* NULL: it could not be opened again */
    hf_options       options;
    hf_types         types;   /* whose strings are ours, */
    hf_type         *table;   /* and as hf_open wants them */
    char            *folder, *path;
    uint32_t         crashes;
    bool             closing;
    uint32_t         patience_ms; /* real time */
    _Atomic uint64_t flows;   /* since then time does, real ns; 0: it stands still */
    _Atomic uint64_t ahead;   /* how far it was moved, ns */
};

static atomic_flag taken = ATOMIC_FLAG_INIT;

/* ---- Time */

static uint64_t mono_ns(void *user)
{
    const hf_test *t = user;
    uint64_t flows = atomic_load(&t->flows);
    return BEGIN_NS + atomic_load(&t->ahead) + (flows ? hf_clock_real_ns() - flows : 0);
}

static uint64_t wall_ms(void *user)
{
    return BEGIN_MS + (mono_ns(user) - BEGIN_NS) / MS;
}

static void jump(hf_test *t, uint64_t to_ns)
{
    uint64_t now = mono_ns(t);
    if (to_ns <= now)
        return;
    atomic_fetch_add(&t->ahead, to_ns - now);
    hf_shards_wake(t->engine);
}

static void nap(uint64_t ns)
{
    struct timespec pause = { 0, (long)ns };
    (void)nanosleep(&pause, NULL);
}

/* ---- The engine */

static int start(hf_test *t)
{
    atomic_store(&t->kit.down, false);
    int err = hf_open(&t->engine, t->path, &t->options);
    if (err)
        return err;
    atomic_store(&t->engine->kit, &t->kit);
    hf_shards_wake(t->engine); /* they may rest already and have told nobody */
    return HF_OK;
}

/* After a crash it is closed, and opened again. */
static int stand_up(hf_test *t)
{
    if (!t->engine)
        return start(t);
    int err = hf_engine_check(t->engine);
    if (err != HF_EUNKNOWN || !atomic_load(&t->kit.down))
        return err;
    err = hf_close(t->engine, t->patience_ms);
    if (err)
        return err;
    t->engine = NULL;
    t->crashes++;
    return start(t);
}

/* Until idle; *next_ns: when it goes on. */
static int settle(hf_test *t, uint64_t *next_ns)
{
    uint64_t began = hf_clock_real_ns(), sleep_ns = 20000;
    for (;;) {
        int err = stand_up(t);
        if (err)
            return err;
        if (hf_kit_is_idle(t->engine, next_ns))
            return HF_OK;
        if (atomic_load(&t->engine->tight))
            jump(t,
                 mono_ns(t)
                     + TIGHT_NS); /* whether there is room again is looked up from time to time */
        if (t->patience_ms != HF_NEVER && hf_clock_real_ns() - began > t->patience_ms * MS)
            return hf_error(HF_ETIMEDOUT, "it does not come to rest; %" PRIu64 " messages wait",
                            atomic_load(&t->engine->count.waiting));
        hf_journal_kick(t->engine);
        nap(sleep_ns);
        sleep_ns = sleep_ns < MS ? sleep_ns * 2 : sleep_ns;
    }
}

static int may_call(const hf_test *t)
{
    hf_error_clear();
    if (!t || t->closing)
        return hf_error(t ? HF_ECLOSED : HF_EINVAL, "no test");
    if (t->engine && (hf_turn_current() || hf_callbacks_inside(&t->engine->callbacks)
                      || hf_flush_inside()))
        return hf_error(HF_EDEADLOCK, "a turn or callback can't wait for the end of all turns");
    int err = t->engine ? hf_engine_check(t->engine) : HF_OK;
    return err == HF_EUNKNOWN ? HF_OK : err;
}

int hf_test_run(hf_test *t)
{
    uint64_t next_ns;
    int err = may_call(t);
    return err ? err : settle(t, &next_ns);
}

int hf_test_advance(hf_test *t, uint64_t ms)
{
    uint64_t next_ns, end_ns = 0;
    int err = may_call(t);
    if (!err && (ms > MOST_MS || hf_test_now(t) + ms > BEGIN_MS + MOST_MS))
        err = hf_error(HF_EINVAL, "100 years from the begin are all there is");
    if (!err)
        err = settle(t, &next_ns);
    if (!err)
        end_ns = mono_ns(t) + ms * MS;
    while (!err && mono_ns(t) < end_ns) {
        jump(t, next_ns < end_ns ? next_ns : end_ns);
        err = settle(t, &next_ns);
    }
    return err;
}

uint64_t hf_test_now(const hf_test *t)
{
    return t ? wall_ms((void *)(uintptr_t)t) : 0;
}

int hf_test_crash(hf_test *t)
{
    int err = may_call(t);
    if (err)
        return err;
    atomic_store(&t->kit.plan, 0);
    atomic_store(&t->kit.down, true);
    if (t->engine)
        hf_engine_stop(t->engine, HF_EUNKNOWN, "the test stopped the machine");
    return stand_up(t);
}

int hf_test_crash_at(hf_test *t, uint32_t commits, hf_test_moment moment)
{
    int err = may_call(t);
    if (err)
        return err;
    if (moment != HF_TEST_BEFORE && moment != HF_TEST_AFTER)
        return hf_error(HF_EINVAL, "a crash is before a commit or after it");
    atomic_store(&t->kit.plan,
                 commits ? (uint64_t)commits * 2 + (moment == HF_TEST_AFTER ? 1 : 0) : 0);
    return HF_OK;
}

int hf_test_patience(hf_test *t, uint32_t ms)
{
    hf_error_clear();
    if (!t || !ms)
        return hf_error(HF_EINVAL, t ? "no patience at all" : "no test");
    t->patience_ms = ms;
    return HF_OK;
}

hf_engine *hf_test_engine(const hf_test *t)
{
    return t ? t->engine : NULL;
}

const char *hf_test_path(const hf_test *t)
{
    return t ? t->path : NULL;
}

uint32_t hf_test_crashes(const hf_test *t)
{
    return t ? t->crashes : 0;
}

/* ---- Life */

static int copy_options(hf_test *t, const hf_options *options)
{
    size_t size = options ? options->size : 0;
    if (!options || size < offsetof(hf_options, shards) || size > 4096 || !options->type_size
        || !options->types)
        return hf_error(HF_EINVAL, "options: fill them with HF_OPTIONS(.types = ...)");
    memcpy(&t->options, options, size < sizeof t->options ? size : sizeof t->options);
    if (t->options.loop)
        return hf_error(HF_EINVAL, "options.loop: in a test callbacks come on a thread of ours");
    int err = hf_types_copy(&t->types, options->types, options->type_size);
    if (err)
        return err;
    t->table = hf_mem_zero(t->types.count + 1, sizeof *t->table);
    if (!t->table)
        return hf_error(HF_ENOMEM, "the test");
    for (uint32_t i = 0; i < t->types.count; i++)
        t->table[i] = t->types.kinds[i].is;
    t->options.types = t->table;
    t->options.size = sizeof t->options;
    t->options.type_size = sizeof *t->table;
    t->options.stopped = NULL;
    return HF_OK;
}

static int make_folder(hf_test *t)
{
    const char *in = getenv("TMPDIR");
    in = in && *in ? in : "/tmp";
    size_t size = strlen(in) + sizeof "/holdfast-XXXXXX/store";
    char *folder = hf_mem_alloc(size);
    t->path = hf_mem_alloc(size);
    if (!folder || !t->path) {
        hf_mem_free(folder);
        return hf_error(HF_ENOMEM, "the test");
    }
    (void)snprintf(folder, size, "%s/holdfast-XXXXXX", in);
    if (!mkdtemp(folder)) {
        int err = hf_error(HF_EIO, "cannot make %s: %s", folder, strerror(errno));
        hf_mem_free(folder);
        return err;
    }
    t->folder = folder;
    (void)snprintf(t->path, size, "%s/store", folder);
    return HF_OK;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    (void)remove(path);
    return 0;
}

static void done(hf_test *t)
{
    hf_clock_use(NULL);
    hf_outcome_exact(false);
    if (t->folder)
        (void)nftw(t->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    hf_mem_free(t->folder);
    hf_mem_free(t->path);
    hf_mem_free(t->table);
    hf_types_done(&t->types);
    hf_mem_free(t);
    atomic_flag_clear(&taken);
}

int hf_test_open(hf_test **out, const hf_options *options)
{
    hf_error_clear();
    if (!out)
        return hf_error(HF_EINVAL, "hf_test_open needs where to put the test");
    *out = NULL;
    if (atomic_flag_test_and_set(&taken))
        return hf_error(HF_EBUSY, "a test is open in this process");
    hf_test *t = hf_mem_zero(1, sizeof *t);
    if (!t) {
        atomic_flag_clear(&taken);
        return hf_error(HF_ENOMEM, "the test");
    }
    int err = copy_options(t, options);
    if (!err)
        err = make_folder(t);
    if (!err) {
        t->patience_ms = PATIENCE_MS;
        hf_outcome_exact(true);
        hf_clock_use(&(hf_clock){ .wall_ms = wall_ms, .mono_ns = mono_ns, .user = t });
        *out = t;
        err = start(t);
    }
    if (err) {
        *out = NULL;
        done(t);
    }
    return err;
}

int hf_test_close(hf_test *t)
{
    hf_error_clear();
    if (!t)
        return HF_OK;
    int err = t->closing ? HF_OK : may_call(t);
    if (err)
        return err;
    atomic_store(&t->kit.plan, 0);
    if (!t->closing) /* what is written elsewhere, too, may need some time for that */
        atomic_store(&t->flows, hf_clock_real_ns());
    t->closing = true;
    err = hf_close(t->engine, t->patience_ms);
    if (!err)
        done(t);
    return err;
}
