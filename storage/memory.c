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
#include <string.h>
#include <sys/mman.h>

enum { CACHE_LINE = 64 };

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

void *hf_mem_aligned(size_t to, size_t size)
{
    return fails(size) ? NULL : aligned_alloc(to, size);
}

void *hf_mem_apart(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - CACHE_LINE)
        return NULL;
    bytes = (bytes / CACHE_LINE + 1) * CACHE_LINE;
    void *memory = hf_mem_aligned(CACHE_LINE, bytes);
    return memory ? memset(memory, 0, bytes) : NULL;
}

void *hf_mem_map(size_t size, int huge)
{
    if (fails(size))
        return NULL;
    /* Twice as much always holds an aligned part. */
    uint8_t *got = mmap(NULL, size * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED)
        return NULL;
    uint8_t *base = (uint8_t *)(((uintptr_t)got + size - 1) & ~(uintptr_t)(size - 1));
    if (base > got)
        (void)munmap(got, (size_t)(base - got));
    (void)munmap(base + size, (size_t)(got + size - base));
    (void)madvise(base, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return base;
}

void hf_mem_unmap(void *memory, size_t size)
{
    (void)munmap(memory, size);
}

void hf_mem_huge(void *memory, size_t size)
{
    const uintptr_t huge = (uintptr_t)2 << 20;
    uintptr_t from = ((uintptr_t)memory + huge - 1) & ~(huge - 1);
    uintptr_t to = ((uintptr_t)memory + size) & ~(huge - 1);
    if (memory && from < to)
        (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
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
