/* slabs.h - memory in large pieces, for what a busy engine touches all the time.
 *
 * A *slab* is 2 MiB, aligned to its size, so that the kernel can map it as one huge
 * page; it is cut into *units*, and who asks gets some that lie side by side. The first
 * slabs are ordinary memory: a small engine stays small. One thread. */
#ifndef STORAGE_SLABS_H
#define STORAGE_SLABS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__)
#define HF_SLABS_APART 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HF_SLABS_APART 1
#endif
#endif
#ifndef HF_SLABS_APART
#define HF_SLABS_APART 0 /* 1: each piece is a block of its own */
#endif

enum {
    HF_SLAB      = 2 << 20,
    HF_SLAB_UNIT = HF_SLAB / 64, /* an address inside one tells where it begins */
};

typedef struct hf_slab {
    uint8_t *base;
    uint64_t used; /* a bit a unit */
} hf_slab;

typedef struct hf_slabs {
    hf_slab *list;
    uint32_t count, room;
    uint32_t empty; /* slabs of which nothing is used; */
    uint32_t keep;  /* so many may be, before any goes back to the system */
} hf_slabs;

void  hf_slabs_init(hf_slabs *slabs, uint32_t keep);
void  hf_slabs_done(hf_slabs *slabs); /* whatever is still taken */

/* Up to HF_SLAB bytes, aligned to a unit. NULL: out of memory. */
void *hf_slabs_take(hf_slabs *slabs, size_t size);
void  hf_slabs_give(hf_slabs *slabs, void *memory, size_t size);

/* Bytes that are really used up by `size`. */
static inline size_t hf_slabs_room(size_t size)
{
    return (size + HF_SLAB_UNIT - 1) & ~(size_t)(HF_SLAB_UNIT - 1);
}

/* Nothing goes on just now: what is empty goes back to the system. */
void  hf_slabs_rest(hf_slabs *slabs);

#endif
