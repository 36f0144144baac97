/* histogram.h - how long something took, in buckets an eighth apart. */
#ifndef ENGINE_HISTOGRAM_H
#define ENGINE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum { HF_BUCKETS = 8 * 40 };

typedef struct hf_histogram {
    _Atomic uint64_t buckets[HF_BUCKETS];
} hf_histogram;

void     hf_histogram_add(hf_histogram *histogram, uint64_t value);
/* How many values are below 2^power, and not below the power of two before. */
enum { HF_HISTOGRAM_POWERS = 43 };
uint64_t hf_histogram_below(const hf_histogram *histogram, uint32_t power);
uint64_t hf_histogram_sum(const hf_histogram *histogram); /* of all, about */

/* The value below which `part` of 1000 lie; 0 when there is none. */
uint64_t hf_histogram_at(const hf_histogram *histogram, uint32_t part);

#endif
