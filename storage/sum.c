/* sum.c - XXH3 of many bytes.
 *
 * Where xxHash brings one for each kind of vector unit, the processor's best is taken, at
 * run time: twice as fast as what every processor of its family has. Keys and rows are
 * too short for that to matter. Pure; any thread. */
#include "storage/sum.h"

#ifdef HF_SUM_DISPATCH
#include <xxh_x86dispatch.h>
#else
#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

uint64_t hf_sum(const void *data, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, len, seed);
}
