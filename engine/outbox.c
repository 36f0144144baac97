/* outbox.c - what a shard hands to the journal, and what comes back.
 *
 * Happy path: turns fill the open batch; it is submitted when it is large or
 * there is nothing else to do; settled, it marks a mile (below which position
 * it lies) and its memory is used again. Refused only when the engine stopped:
 * then nothing of it matters any more. The shard's thread. */
#include "engine/shard.h"

#include "engine/flush.h"
#include "engine/peek.h"
#include "engine/suspect.h"

#include "storage/memory.h"
#include "storage/testpoint.h"

static void batch_settled(hf_batch *batch, int err)
{
    hf_shard *shard = batch->owner;
    (void)err; /* a failure means that the engine stopped: nothing is released */
    pthread_mutex_lock(&shard->lock);
    batch->next = NULL;
    *shard->settled_end = batch;
    shard->settled_end = &batch->next;
    pthread_mutex_unlock(&shard->lock);
}

hf_batch *hf_shard_batch(hf_shard *shard)
{
    if (shard->batch)
        return shard->batch;
    hf_batch *batch = hf_batch_new(shard->engine);
    if (!batch)
        return NULL;
    batch->owner = shard;
    batch->settled = batch_settled;
    batch->sequence = ++shard->batch_number;
    return shard->batch = batch;
}

/* Does it hold nothing but acknowledgements and states? Nobody waits for those. */
static bool is_bare(const hf_shard *shard, const hf_batch *batch)
{
    return !batch->sends && !batch->fired && !batch->dead && !batch->replies
           && !hf_peeks_wait(shard) && shard->uncommitted < HF_UNCOMMITTED_MAX / 2;
}

void hf_shard_submit(hf_shard *shard)
{
    hf_batch *batch = shard->batch;
    if (!batch || hf_batch_is_empty(batch))
        return;
    shard->batch = NULL;
    shard->uncommitted += hf_batch_bytes(batch);
    batch->rides = is_bare(shard, batch);
    HF_TESTPOINT("shard.submit");
    /* Refused only when the engine has stopped: then nothing matters any more. */
    if (hf_journal_submit(shard->engine, batch)) {
        hf_batch_free(batch);
        hf_peeks_settled(shard);
    }
}

static void add_mile(hf_shard *shard, uint64_t batch, uint64_t end)
{
    if (shard->mile_count == shard->mile_slots) {
        uint32_t slots = shard->mile_slots ? shard->mile_slots * 2 : 256;
        hf_mile *miles = hf_mem_alloc(slots * sizeof *miles);
        if (!miles)
            return; /* actors just stay in memory a little longer */
        for (uint32_t i = 0; i < shard->mile_count; i++)
            miles[i] = shard->miles[(shard->mile_first + i) & (shard->mile_slots - 1)];
        hf_mem_free(shard->miles);
        shard->miles = miles;
        shard->mile_slots = slots;
        shard->mile_first = 0;
    }
    uint32_t at = (shard->mile_first + shard->mile_count++) & (shard->mile_slots - 1);
    shard->miles[at] = (hf_mile){ batch, end };
}

uint64_t hf_outbox_end(const hf_shard *shard, uint64_t batch)
{
    uint32_t low = 0, high = shard->mile_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (shard->miles[(shard->mile_first + mid) & (shard->mile_slots - 1)].batch < batch)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == shard->mile_count)
        return UINT64_MAX;
    return shard->miles[(shard->mile_first + low) & (shard->mile_slots - 1)].end;
}

void hf_outbox_settled(hf_shard *shard, hf_batch *list)
{
    while (list) {
        hf_batch *next = list->next;
        shard->uncommitted -= hf_batch_bytes(list);
        shard->committed = list->sequence;
        if (shard->burial_count)
            hf_suspects_committed(shard);
        add_mile(shard, list->sequence, list->end);
        hf_images_settled(shard, list);
        if (shard->dirty)
            hf_dirty_settled(shard, list);
        hf_batch_free(list);
        list = next;
    }
    if (hf_peeks_wait(shard))
        hf_peeks_settled(shard);
}
