/* histogram.c - count values in buckets whose bounds grow by an eighth of a
 * power of two, so that a percentile is right within 12 %. Any thread. */
#include "engine/histogram.h"

static uint32_t bucket_of(uint64_t value)
{
    if (value < 8)
        return (uint32_t)value;
    uint32_t power = 63 - (uint32_t)__builtin_clzll(value);
    uint32_t bucket = (power - 2) * 8 + (uint32_t)((value >> (power - 3)) & 7);
    return bucket < HF_BUCKETS ? bucket : HF_BUCKETS - 1;
}

static uint64_t value_of(uint32_t bucket)
{
    if (bucket < 8)
        return bucket;
    uint32_t power = bucket / 8 + 2;
    return ((uint64_t)8 + bucket % 8) << (power - 3);
}

void hf_histogram_add(hf_histogram *h, uint64_t value)
{
    atomic_fetch_add_explicit(&h->buckets[bucket_of(value)], 1, memory_order_relaxed);
}

uint64_t hf_histogram_at(const hf_histogram *h, uint32_t part)
{
    uint64_t total = 0, seen = 0;
    for (uint32_t i = 0; i < HF_BUCKETS; i++)
        total += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    for (uint32_t i = 0; i < HF_BUCKETS && total; i++) {
        seen += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        if (seen * 1000 >= total * part)
            return value_of(i);
    }
    return 0;
}

uint64_t hf_histogram_below(const hf_histogram *h, uint32_t power)
{
    uint32_t from = power ? bucket_of(UINT64_C(1) << (power - 1)) : 0;
    uint32_t to = bucket_of(UINT64_C(1) << power);
    uint64_t count = 0;
    if (power + 1 == HF_HISTOGRAM_POWERS)
        to = HF_BUCKETS;
    for (uint32_t i = from; i < to; i++)
        count += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    return count;
}

uint64_t hf_histogram_sum(const hf_histogram *h)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < HF_BUCKETS; i++) {
        uint64_t low = value_of(i), high = i + 1 < HF_BUCKETS ? value_of(i + 1) - 1 : low;
        sum += atomic_load_explicit(&h->buckets[i], memory_order_relaxed) * ((low + high) / 2);
    }
    return sum;
}
