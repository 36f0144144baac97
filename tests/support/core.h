/* core.h - the storage core as a test drives it: a disk, its log, small groups.
 *
 * Whatever is not expected ends the program with the place, the code and the
 * detail. One thread. */
#ifndef SUPPORT_CORE_H
#define SUPPORT_CORE_H

#include "storage/log.h"
#include "storage/view.h"

typedef struct core {
    hf_disk *disk;
    hf_log  *log;
} core;

/* `call` must answer HF_OK. */
#define CORE_OK(call) core_ok((call), #call, __FILE__, __LINE__)
void core_ok(int err, const char *call, const char *file, int line);

/* Say why and end the program with status 1. */
_Noreturn void core_fail(const char *format, ...) HF_PRINTF(1, 2);

/* Open, replay, start. NULL options: store_max 64 MiB, one shard. */
void core_open(core *core, const char *path, const hf_disk_options *disk,
               const hf_log_options *log);
/* clean false: as if the process had died here. */
void core_close(core *core, bool clean);

/* An entry about an actor; everything else is zero or "". */
hf_entry core_entry(const hf_log *log, uint8_t op, const char *to);

/* One entry in a group of its own; returns its position. */
uint64_t core_put(core *core, uint32_t shard, const hf_entry *entry);
uint64_t core_send(core *core, const char *to, const char *kind, hf_bytes body);
void     core_done(core *core, uint64_t first, uint32_t count);

/* A directory of this process: in /dev/shm if there is one and `fast`, else in
 * the working directory. Made empty; the text lives as long as the program. */
const char *core_directory(const char *name, bool fast);
void        core_remove(const char *directory);

/* The store's marker says another seed of address hashes; 0: none. */
void core_mark_seed(const char *store, uint64_t seed);

/* A hook for hf_mem_hook: of the allocations the one fails that *left, an int, counts down to. */
int core_fails_at(void *left, size_t size);

/* Numbers that follow from a seed (splitmix64). */
uint64_t core_random(uint64_t *state);

#endif
