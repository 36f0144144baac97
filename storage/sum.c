/* sum.c - XXH3 of many bytes.
 *
 * Where xxHash brings one for each kind of vector unit, the processor's best is taken, at
 * run time: twice as fast as what every processor of its family has. Keys and rows are
 * too short for that to matter. Pure; any thread. */
#include "storage/sum.h"

#ifdef HF_SUM_DISPATCH
#define XXH_DISPATCH_DISABLE_REPLACE
#include <xxh_x86dispatch.h>
#pragma weak XXH3_64bits_withSeed_dispatch /* the static libxxhash may come without */
#else
#define XXH_INLINE_ALL
#include <xxhash.h>
#endif

uint64_t hf_sum(const void *data, size_t len, uint64_t seed)
{
#ifdef HF_SUM_DISPATCH
    if (XXH3_64bits_withSeed_dispatch)
        return XXH3_64bits_withSeed_dispatch(data, len, seed);
#endif
    return XXH3_64bits_withSeed(data, len, seed);
}
