/* random.h - the only source of chance; a test may seed it. Any thread. */
#ifndef STORAGE_RANDOM_H
#define STORAGE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Unseeded, numbers come from the kernel's generator. */
uint64_t hf_random(void);
void     hf_random_bytes(void *out, size_t len);

/* From now on the numbers follow from `seed`. */
void hf_random_seed(uint64_t seed);

#endif
