/* memory.h - every allocation of ours goes through here, so that a test can
 * make the nth one fail. Any thread. */
#ifndef STORAGE_MEMORY_H
#define STORAGE_MEMORY_H

#include <stddef.h>

void *hf_mem_alloc(size_t size);              /* aligned for any C type */
void *hf_mem_zero(size_t count, size_t size); /* all bytes 0 */
void *hf_mem_grow(void *memory, size_t size); /* like realloc */
void  hf_mem_free(void *memory);              /* NULL is fine */
/* All bytes 0, on cache lines of its own: for what one thread writes all the time, and
 * another thread something beside it. */
void *hf_mem_apart(size_t count, size_t size);
void *hf_mem_aligned(size_t to, size_t size); /* both powers of two, or size a multiple */

/* Whole pages from the system, all bytes 0, aligned to `size`, a power of two; `huge`: the
 * kernel may map them as huge pages. Back with hf_mem_unmap. */
void *hf_mem_map(size_t size, int huge);
void  hf_mem_unmap(void *memory, size_t size);
/* Large memory that is read and written all over: huge pages would help. A hint. */
void  hf_mem_huge(void *memory, size_t size);

/* `fails` is asked before each allocation; true makes it return NULL. NULL
 * takes the hook away. Call it while nothing of Holdfast runs. */
typedef int (*hf_mem_fails)(void *user, size_t size);
void hf_mem_hook(hf_mem_fails fails, void *user);

#endif
