/* endset.c - a hash set of places.
 *
 * Happy path: room is reserved before anything is staged, so that putting cannot fail;
 * trimming copies what is left. Without memory to trim the set just stays larger. The
 * shard's thread. */
#include "engine/endset.h"

#include "storage/error.h"
#include "storage/memory.h"

enum { SLOTS_MIN = 64 };

static uint32_t slot_of(const hf_end *ends, uint32_t mask, uint64_t place)
{
    uint32_t i = (uint32_t)(place * 0x9e3779b97f4a7c15 >> 32) & mask;
    while (ends[i].place && ends[i].place != place)
        i = (i + 1) & mask;
    return i;
}

/* Into a table of its own size, without those that `looked` and `folded` make unneeded. */
static bool rebuild(hf_endset *set, uint32_t slots, uint64_t looked, uint64_t folded)
{
    hf_end *ends = hf_mem_zero(slots, sizeof *ends);
    uint32_t count = 0;
    if (!ends)
        return false;
    for (uint32_t i = 0; set->ends && i <= set->mask; i++) {
        hf_end end = set->ends[i];
        if (!end.place || end.place <= looked || (end.batch != HF_END_KEPT && end.batch <= folded))
            continue;
        ends[slot_of(ends, slots - 1, end.place)] = end;
        count++;
    }
    hf_mem_free(set->ends);
    set->ends = ends;
    set->mask = slots - 1;
    set->count = count;
    return true;
}

int hf_endset_reserve(hf_endset *set, uint32_t more)
{
    uint64_t need = (uint64_t)(set->count + more) * 2,
             slots = set->ends ? set->mask + 1 : SLOTS_MIN;
    while (need > slots)
        slots *= 2;
    if (set->ends && slots == (uint64_t)set->mask + 1)
        return HF_OK;
    if (slots > UINT32_MAX || !rebuild(set, (uint32_t)slots, 0, 0))
        return hf_error(HF_ENOMEM, "letters that were replaced");
    return HF_OK;
}

void hf_endset_put(hf_endset *set, uint64_t place, uint64_t batch)
{
    uint32_t i = slot_of(set->ends, set->mask, place);
    set->count += !set->ends[i].place;
    set->ends[i] = (hf_end){ place, batch };
}

uint64_t hf_endset_batch(const hf_endset *set, uint64_t place)
{
    return set->ends ? set->ends[slot_of(set->ends, set->mask, place)].batch : 0;
}

bool hf_endset_has(const hf_endset *set, uint64_t place)
{
    return set->ends && set->ends[slot_of(set->ends, set->mask, place)].place;
}

void hf_endset_trim(hf_endset *set, uint64_t looked, uint64_t folded_batch)
{
    if (!set->count)
        return;
    if (rebuild(set, set->mask + 1, looked, folded_batch) && !set->count)
        hf_endset_free(set);
}

void hf_endset_free(hf_endset *set)
{
    hf_mem_free(set->ends);
    *set = (hf_endset){ 0 };
}
