/* memory.h - every allocation of ours goes through here, so that a test can
 * make the nth one fail. Any thread. */
#ifndef STORAGE_MEMORY_H
#define STORAGE_MEMORY_H

#include <stddef.h>

void *hf_mem_alloc(size_t size);              /* aligned for any C type */
void *hf_mem_zero(size_t count, size_t size); /* all bytes 0 */
void *hf_mem_grow(void *memory, size_t size); /* like realloc */
void  hf_mem_free(void *memory);              /* NULL is fine */

/* `fails` is asked before each allocation; true makes it return NULL. NULL
 * takes the hook away. Call it while nothing of Holdfast runs. */
typedef int (*hf_mem_fails)(void *user, size_t size);
void hf_mem_hook(hf_mem_fails fails, void *user);

#endif
