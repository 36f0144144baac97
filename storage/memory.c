/* memory.c - every allocation of ours.
 *
 * Happy path: straight to malloc; the hook costs one load and a branch. With a
 * hook, it decides for each allocation whether that one fails, which is how
 * tests walk every out-of-memory path one by one. Failure is NULL, never abort.
 * Asking for 0 bytes gives memory, so NULL always means failure. Any thread. */
#include "storage/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

static _Atomic(hf_mem_fails) hook;
static void                 *hook_user; /* written before `hook`, read after it */

static int fails(size_t size)
{
    hf_mem_fails ask = atomic_load_explicit(&hook, memory_order_acquire);

    return __builtin_expect(ask != NULL, 0) && ask(hook_user, size);
}

void *hf_mem_alloc(size_t size)
{
    return fails(size) ? NULL : malloc(size ? size : 1);
}

void *hf_mem_zero(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || fails(bytes))
        return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *hf_mem_grow(void *memory, size_t size)
{
    return fails(size) ? NULL : realloc(memory, size ? size : 1);
}

void hf_mem_free(void *memory)
{
    free(memory);
}

void hf_mem_hook(hf_mem_fails ask, void *user)
{
    hook_user = user;
    atomic_store_explicit(&hook, ask, memory_order_release);
}
