/* batch.c - make, fill and reuse batches.
 *
 * Happy path: new, segments filled by turn.c or send.c, done ranges noted,
 * submitted to journal.c, settled, cleared for the next use. Fails only for
 * want of memory. The thread that fills it. */
#include "engine/ask.h"

#include "storage/error.h"
#include "storage/memory.h"

enum { SHELF_MAX = 64, SHELF_BATCH_MAX = 512 << 10 };

int hf_shelf_init(hf_shelf *shelf)
{
    memset(shelf, 0, sizeof *shelf);
    return pthread_mutex_init(&shelf->lock, NULL) ? hf_error(HF_ENOMEM, "batches") : HF_OK;
}

static void destroy(hf_batch *b)
{
    for (uint32_t i = 0; b->segments && i <= b->shards; i++)
        hf_segment_done(&b->segments[i]);
    hf_mem_free(b->segments);
    hf_mem_free(b->done);
    hf_mem_free(b->named);
    hf_mem_free(b->replaced);
    hf_mem_free(b->notes);
    hf_mem_free(b);
}

void hf_shelf_done(hf_shelf *shelf)
{
    while (shelf->batches) {
        hf_batch *next = shelf->batches->next;
        destroy(shelf->batches);
        shelf->batches = next;
    }
    pthread_mutex_destroy(&shelf->lock);
}

static hf_batch *take(hf_shelf *shelf)
{
    pthread_mutex_lock(&shelf->lock);
    hf_batch *b = shelf->batches;
    if (b) {
        shelf->batches = b->next;
        shelf->count--;
    }
    pthread_mutex_unlock(&shelf->lock);
    return b;
}

static hf_batch *make(hf_engine *engine)
{
    uint32_t shards = engine->shard_count;
    hf_batch *b = hf_mem_apart(1, sizeof *b);
    if (!b)
        return NULL;
    b->shards = shards;
    b->segments = hf_mem_apart(shards + 1, sizeof *b->segments);
    if (!b->segments) {
        destroy(b);
        return NULL;
    }
    b->engine = engine;
    for (uint32_t i = 0; i < shards; i++)
        b->segments[i].shard = i;
    b->segments[shards].shard = HF_FACTS;
    return b;
}

/* Empty again, memory kept. */
static void clear(hf_batch *b)
{
    for (uint32_t i = 0; i <= b->shards; i++)
        hf_segment_cut(&b->segments[i], (hf_batch_mark){ 0 });
    if (b->note_count)
        hf_dedupe_cut(b, 0);
    b->decided = 0;
    b->signature = hf_view(NULL, 0);
    b->more = NULL;
    b->refusal = HF_OK;
    b->done_count = b->named_count = b->turns = b->dead = b->sends = 0;
    b->fired = b->replaced_count = 0;
    b->next = NULL;
    b->settled = NULL;
    b->owner = NULL;
    b->end = b->sequence = b->ask = b->reply_bytes = 0;
    b->rides = b->outside = b->waited = false;
}

hf_batch *hf_batch_new(hf_engine *engine)
{
    hf_batch *b = take(&engine->shelf);
    if (!b)
        return make(engine);
    clear(b);
    return b;
}

static size_t room_of(const hf_batch *b)
{
    size_t room = 0;
    for (uint32_t i = 0; i <= b->shards; i++)
        room += b->segments[i].room;
    return room;
}

void hf_batch_free(hf_batch *b)
{
    if (!b)
        return;
    if (b->replies)
        hf_replies_cut(b, NULL);
    if (b->note_count)
        hf_dedupe_cut(b, 0);
    hf_shelf *shelf = &b->engine->shelf;
    bool keep = room_of(b) <= SHELF_BATCH_MAX;
    pthread_mutex_lock(&shelf->lock);
    keep = keep && shelf->count < SHELF_MAX;
    if (keep) {
        b->next = shelf->batches;
        shelf->batches = b;
        shelf->count++;
    }
    pthread_mutex_unlock(&shelf->lock);
    if (!keep)
        destroy(b);
}

int hf_batch_done(hf_batch *b, uint64_t place)
{
    hf_range *last = b->done_count ? &b->done[b->done_count - 1] : NULL;
    if (last && last->first + last->count == place) {
        last->count++;
        return HF_OK;
    }
    if (b->done_count == b->done_room) {
        uint32_t room = b->done_room ? b->done_room * 2 : 64;
        hf_range *done = hf_mem_grow(b->done, room * sizeof *done);
        if (!done)
            return hf_error(HF_ENOMEM, "a batch");
        b->done = done;
        b->done_room = room;
    }
    b->done[b->done_count++] = (hf_range){ place, 1 };
    return HF_OK;
}

int hf_batch_named(hf_batch *b, uint64_t place)
{
    if (b->named_count == b->named_room) {
        uint32_t room = b->named_room ? b->named_room * 2 : 64;
        uint64_t *named = hf_mem_grow(b->named, room * sizeof *named);
        if (!named)
            return hf_error(HF_ENOMEM, "a batch");
        b->named = named;
        b->named_room = room;
    }
    b->named[b->named_count++] = place;
    return HF_OK;
}

uint64_t hf_batch_bytes(const hf_batch *b)
{
    uint64_t bytes = (uint64_t)b->done_count * HF_ENTRY_HEAD + b->reply_bytes;
    for (uint32_t i = 0; i <= b->shards; i++)
        bytes += b->segments[i].len;
    return bytes;
}

bool hf_batch_is_empty(const hf_batch *b)
{
    return hf_batch_bytes(b) == 0;
}
