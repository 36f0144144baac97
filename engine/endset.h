/* endset.h - places of an inbox that were ended before older ones.
 *
 * A row stays in the table until the fold has come past its acknowledgement; whoever
 * reads rows must know by then that it is over. What is ended in order is known by
 * hf_actor.taken alone; this is for the rest. Owned by the shard's thread. */
#ifndef ENGINE_ENDSET_H
#define ENGINE_ENDSET_H

#include <stdbool.h>
#include <stdint.h>

/* Until the fold has come past that batch; HF_END_KEPT: until rows were looked at. */
#define HF_END_KEPT UINT64_MAX
typedef struct hf_end {
    uint64_t place, batch;
} hf_end;

typedef struct hf_endset {
    hf_end  *ends;   /* open addressing; place 0: free */
    uint32_t mask, count;
} hf_endset;

int  hf_endset_reserve(hf_endset *set, uint32_t more); /* so many can be put then; HF_ENOMEM */
void hf_endset_put(hf_endset *set, uint64_t place, uint64_t batch);
uint64_t hf_endset_batch(const hf_endset *set, uint64_t place); /* 0: it is not there */
bool hf_endset_has(const hf_endset *set, uint64_t place);
/* Those up to `looked`, and those whose batch is folded, go. */
void hf_endset_trim(hf_endset *set, uint64_t looked, uint64_t folded_batch);
void hf_endset_free(hf_endset *set);

#endif
