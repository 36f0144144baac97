/* ring.h - an engine in a directory of this run, for tests of the public API. */
#ifndef SUPPORT_RING_H
#define SUPPORT_RING_H

#include "engine/holdfast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char ring_root[64];

static inline int ring_make_root(void **state)
{
    (void)state;
    (void)snprintf(ring_root, sizeof ring_root, "/tmp/holdfast-ring-XXXXXX");
    return mkdtemp(ring_root) ? 0 : -1;
}

static inline int ring_remove_root(void **state)
{
    char command[200];
    (void)state;
    (void)snprintf(command, sizeof command, "umount -l %s/mount 2>/dev/null; rm -rf %s",
                   ring_root, ring_root);
    return system(command);
}

static inline const char *ring_path(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", ring_root, name);
    return path;
}

#define ring_ok(call) ring_is((call), HF_OK, #call, __FILE__, __LINE__)
#define ring_err(call, err) ring_is((call), (err), #call, __FILE__, __LINE__)
static inline void ring_is(int got, int wanted, const char *call, const char *file, int line)
{
    if (got != wanted) {
        print_error("%s answers %d (%s: %s), not %d\n", call, got, hf_strerror(got), hf_detail(),
                    wanted);
        _fail(file, line);
    }
}

static inline hf_engine *ring_open(const char *name, const hf_type *types)
{
    hf_engine *engine = NULL;
    ring_ok(hf_open(&engine, ring_path(name), HF_OPTIONS(.types = types, .shards = 2,
                    .window = 256 << 10, .store_max = 64 << 20)));
    assert_non_null(engine);
    return engine;
}

/* Memory, all zeros, that this process shares with its children. */
static inline void *ring_shared(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(at != MAP_FAILED);
    return at;
}

/* Lives of one store, each in a child: all but the last are killed, that one ends well. */
static inline void ring_lives(void (*live)(int life), int deaths)
{
    int status = -1;
    for (int life = 0; life <= deaths; life++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (!child)
            live(life);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(WIFSIGNALED(status), life < deaths);
    }
    assert_int_equal(status, 0);
}

/* Wait, forty seconds at most, until `seen` is `wanted`. */
static inline void ring_until(atomic_int *seen, int wanted)
{
    for (int i = 0; i < 40000 && atomic_load(seen) != wanted; i++)
        usleep(1000);
    assert_int_equal(atomic_load(seen), wanted);
}

#endif
