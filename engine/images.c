/* images.c - which states in the log are not their actor's newest: the fold leaves them out.
 *
 * Happy path: an actor remembers which entry of which batch was its last image; the turn
 * that saves the next notes that one in its own batch; once this is committed, and not
 * before, the older one is marked in the record that holds it. What an actor in memory saves
 * again and again so never reaches the table.
 *
 * Nothing fails: an image that is not marked is folded, as if it were the newest, and the newer
 * one after it. Not for types that flush, whose rows are also looked at by position.
 * The shard's thread. */
#include "engine/turn.h"

#include "storage/memory.h"

/* An image: the batch's number, and which of its facts. Of so many batches it is known where
 * they lie. */
enum { INDEX_BITS = 20, PLACES = 4096 };

typedef struct hf_image_place {
    uint64_t  batch;
    uint64_t  base;         /* position of its first fact */
    uint64_t *stale;        /* bits of the record that holds it, */
    uint32_t  first, count; /* which of them is the first fact's; all of them */
} hf_image_place;

static bool note_replaced(hf_batch *b, uint64_t image)
{
    if (b->replaced_count == b->replaced_room) {
        uint32_t room = b->replaced_room ? b->replaced_room * 2 : 64;
        uint64_t *replaced = hf_mem_grow(b->replaced, room * sizeof *replaced);
        if (!replaced)
            return false;
        b->replaced = replaced;
        b->replaced_room = room;
    }
    b->replaced[b->replaced_count++] = image;
    return true;
}

/* Records below `folded` may be gone. */
static void mark(const hf_shard *shard, uint64_t image)
{
    uint64_t batch = image >> INDEX_BITS;
    const hf_image_place *p = &shard->images[batch & (PLACES - 1)];
    uint32_t index = p->first + (uint32_t)(image & ((1 << INDEX_BITS) - 1));
    if (p->batch == batch && p->base >= shard->folded && index < p->count)
        hf_record_outdate(p->stale, index);
}

void hf_images_saved(hf_actor *actor, const hf_turn *turn)
{
    uint64_t index = turn->save_index, older = actor->image;
    if (actor->kind->flush)
        return;
    actor->image = turn->saved && index >> INDEX_BITS == 0
        ? turn->batch->sequence << INDEX_BITS | index : 0;
    if (older)
        (void)note_replaced(turn->batch, older);
}

/* Where is what the batch saved? */
static void note_place(hf_shard *shard, const hf_batch *batch, const hf_segment *facts)
{
    const hf_record *r = facts->record;
    if (!shard->images)
        shard->images = hf_mem_zero(PLACES, sizeof *shard->images);
    if (shard->images)
        shard->images[batch->sequence & (PLACES - 1)] = (hf_image_place){
            batch->sequence, facts->base, r->stale, (uint32_t)(facts->base - r->base), r->count };
}

void hf_images_settled(hf_shard *shard, const hf_batch *batch)
{
    const hf_segment *facts = &batch->segments[batch->shards];
    if (!batch->end) /* the engine stopped */
        return;
    if (facts->count && facts->base >= shard->folded)
        note_place(shard, batch, facts);
    for (uint32_t i = 0; shard->images && i < batch->replaced_count; i++)
        mark(shard, batch->replaced[i]);
}
