/* sum.h - XXH3 of many bytes. */
#ifndef STORAGE_SUM_H
#define STORAGE_SUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t hf_sum(const void *data, size_t len, uint64_t seed);

#endif
