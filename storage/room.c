/* room.c - how much can be written before the disk says no.
 *
 * Headroom is what a full store needs to become smaller: pages inside the file that
 * the next transaction may use, plus blocks allocated beyond its end. The free
 * pages are counted without walking the free list (see hf_env_spare), and only if
 * something was committed since and the last count is not plainly enough.
 *
 * hf_disk_space: any thread. The others: the journal. */
#include "storage/env.h"

#define TAIL_STEP (UINT64_C(1) << 20)

static uint64_t tail_bytes(hf_env *e, uint64_t file)
{
    uint64_t end = atomic_load_explicit(&e->tail.end, memory_order_relaxed);
    return end > file ? end - file : 0;
}

/* A changed row costs at most a few pages, many rows share them. */
bool hf_env_lacks_room(const hf_txn *txn)
{
    const hf_env *e = txn->env;
    uint64_t rows = txn->rows < 4096 ? txn->rows : 4096;
    uint64_t need = 2 * txn->bytes + (rows + 16) * e->page_size;
    uint64_t file = hf_env_file_bytes(e, NULL), most = hf_tail_file_max();
    uint64_t room = most > file ? most - file : 0;
    uint64_t left = hf_tail_disk_free(e->watch);
    return (left < room ? left : room) < need;
}

int hf_disk_space(hf_disk *disk, hf_space *space)
{
    hf_env *e = disk->env;
    int err = hf_env_usable(e);
    if (err)
        return err;
    space->file_bytes = hf_env_file_bytes(e, NULL);
    space->tail_bytes = tail_bytes(e, space->file_bytes);
    space->map_bytes = e->map_bytes;
    space->disk_free_bytes = hf_tail_disk_free(e->watch);
    return hf_env_spare(disk, &space->free_bytes);
}

bool hf_disk_headroom(hf_disk *disk, uint64_t want)
{
    hf_env *e = disk->env;
    size_t txn;

    if (hf_env_usable(e) || disk->look)
        return false;
    /* LMDB never uses the last page of the map. */
    uint64_t file = hf_env_file_bytes(e, &txn), most = e->map_bytes - e->page_size;
    uint64_t tail = tail_bytes(e, file);
    if (e->counted == txn && e->spare + tail >= want && !e->tail.cannot && !e->tail.cow
        && atomic_load_explicit(&e->tail.end, memory_order_relaxed) >= file)
        return true;
    if (hf_env_spare(disk, &e->spare))
        return false;
    e->counted = txn;

    /* Half as much again, so that not every commit comes back for a page. */
    uint64_t lacks = want > e->spare ? want - e->spare : 0;
    uint64_t good = lacks ? file + lacks + want / 2 : file;
    uint64_t end = hf_tail_reach(&e->tail, file + lacks, (good + TAIL_STEP - 1) & ~(TAIL_STEP - 1),
                                 most);
    tail = end > file ? end - file : 0;
    if (e->tail.cannot || e->tail.cow) {
        uint64_t left = hf_tail_disk_free(e->watch);
        if (e->tail.cannot)
            tail = file < most ? most - file : 0;
        if (tail > left)
            tail = left;
        if (e->tail.cow && e->spare > left)
            return e->spare + tail >= want && left >= want;
    }
    return e->spare + tail >= want;
}

/* After hf_disk_headroom, which has counted. */
bool hf_disk_admits(const hf_disk *disk, uint64_t want)
{
    const hf_env *e = disk->env;
    uint64_t file = hf_env_file_bytes(e, NULL), left = e->given > file ? e->given - file : 0;
    return e->map_bytes <= e->given || e->spare + left >= want;
}
