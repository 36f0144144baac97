/* segment.c - gather entries for a commit.
 *
 * A segment is a buffer of whole entries for one shard, made by whoever has
 * something to say; a group lists the segments of one commit. Both fail only
 * for want of memory, and are then as they were. Any thread, one at a time. */
#include "storage/log.h"
#include "storage/sharing.h"

#include "storage/error.h"
#include "storage/memory.h"

/* Room for an entry of `size` bytes. */
static int make_room(hf_segment *segment, size_t size)
{
    if (size <= segment->room - segment->len)
        return HF_OK;
    if (size > UINT32_MAX - segment->len)
        return hf_error(HF_ETOOBIG, "an entry of %zu bytes", size);
    size_t room = segment->room ? (size_t)segment->room * 2 : 256;
    if (room < segment->len + size)
        room = segment->len + size;
    uint8_t *data = hf_mem_grow(segment->data, room);
    if (!data)
        return hf_error(HF_ENOMEM, "a batch of %zu bytes", room);
    segment->data = data;
    segment->room = (uint32_t)room;
    return HF_OK;
}

int hf_segment_add_plain(hf_segment *segment, const hf_plain *plain)
{
    int err = make_room(segment, hf_plain_size(plain));
    if (err)
        return err;
    segment->len += (uint32_t)hf_plain_encode(plain, segment->data + segment->len);
    segment->count++;
    segment->messages++;
    return HF_OK;
}

int hf_segment_add(hf_segment *segment, const hf_entry *entry)
{
    int err = make_room(segment, hf_entry_size(entry));
    if (err)
        return err;
    segment->len += (uint32_t)hf_entry_encode(entry, segment->data + segment->len);
    segment->count++;
    if (hf_entry_waits(entry))
        segment->messages++;
    if (entry->urgency)
        segment->urgent = true;
    if (entry->op == HF_OP_REQUEUE && !(entry->flags & HF_ENTRY_DELAYED))
        segment->requeues++;
    if (hf_entry_keeps(entry) || entry->dedupe_len)
        segment->keeps++;
    return HF_OK;
}

void hf_segment_done(hf_segment *segment)
{
    hf_mem_free(segment->data);
    memset(segment, 0, sizeof *segment);
}

static int grow(void *array, uint32_t count, uint32_t *room, size_t size)
{
    void *old, *grown;
    if (count < *room)
        return HF_OK;
    memcpy(&old, array, sizeof old);
    uint32_t more = *room ? *room * 2 : 64;
    grown = hf_mem_grow(old, more * size);
    if (!grown)
        return hf_error(HF_ENOMEM, "a group");
    memcpy(array, &grown, sizeof grown);
    *room = more;
    return HF_OK;
}

int hf_group_add(hf_group *g, hf_segment *segment)
{
    int err = grow(&g->segments, g->segment_count, &g->segment_room, sizeof(*g->segments));
    if (err)
        return err;
    g->segments[g->segment_count++] = segment;
    g->bytes += segment->len;
    return HF_OK;
}

int hf_group_done(hf_group *g, uint64_t first, uint32_t count)
{
    int err = grow(&g->done, g->done_count, &g->done_room, sizeof *g->done);
    if (err)
        return err;
    g->done[g->done_count++] = (hf_range){ first, count };
    g->bytes += HF_ENTRY_HEAD;
    return HF_OK;
}

int hf_group_named(hf_group *g, uint64_t id)
{
    int err = grow(&g->named, g->named_count, &g->named_room, sizeof *g->named);
    if (err)
        return err;
    g->named[g->named_count++] = (hf_range){ id, 1 };
    return HF_OK;
}

void hf_group_clear(hf_group *g)
{
    g->segment_count = g->done_count = g->named_count = 0;
    g->bytes = 0;
    g->leaves = false;
}

void hf_group_free(hf_group *g)
{
    hf_mem_free(g->segments);
    hf_mem_free(g->done);
    hf_mem_free(g->named);
    memset(g, 0, sizeof *g);
}
