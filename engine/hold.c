/* hold.c - which turns wait while the store is full.
 *
 * Happy path: there is room, nobody waits. While there is none a turn that sends waits
 * in its mailbox, no try burnt, unless what it sends is small beside its own message:
 * then the fold gives back more than it adds, and it may go as one that only acknowledges
 * may. A quarter, not all: rows that move to another actor may take several times the
 * pages, until the pages that they left are empty; turns that hand on the whole of what
 * they got used up the headroom (measured), and then nothing can be written any more.
 *
 * Not judged by this: what a turn saves. Shards' threads, and pools'. */
#include "engine/turn.h"

enum {
    PART  = 4,
    ROW   = 256, /* what a message takes besides its bytes */
};

bool hf_turn_must_wait(const hf_turn *turn)
{
    const hf_engine *engine = turn->engine;
    const hf_batch *batch = turn->batch;
    if (!turn->sends || !atomic_load_explicit(&engine->tight, memory_order_relaxed))
        return false;
    uint64_t takes = (uint64_t)turn->sends * ROW, gives = ROW + hf_entry_size(turn->e);
    for (uint32_t i = 0; i < batch->shards; i++)
        takes += batch->segments[i].len - turn->marks[i].len;
    return takes * PART > gives
        || takes > atomic_load_explicit(&engine->parcel, memory_order_relaxed);
}
