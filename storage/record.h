/* record.h - one value of the log: a head, a directory of runs, entries.
 *
 *    0  magic "HFL"(3) version(1)   4 flags(4): 1 = last record of its group
 *    8  entries(4)                 12 bytes of the whole record(4)
 *   16  time, Unix ms(8)           24 position of the group's first entry(8)
 *   32  runs(4)  0(4)              40 messages that wait after its group(8)
 *   48  engine time less that time, signed ms(8); 0: they go together
 *   56  XXH3 of the whole record with this field zero, seeded with the key(8)
 *   64  runs, 16 bytes each: shard(4) entries(4) bytes(4) shards then(4)
 *    …  entries, run after run
 *
 * A run holds what one shard pulls (the messages to its actors) or, with shard
 * HF_FACTS, what none does (states, acknowledgements, …). With how many shards
 * it was written is a hint; a reader with another number looks at every entry. */
#ifndef STORAGE_RECORD_H
#define STORAGE_RECORD_H

#include "storage/codec.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    HF_RECORD_VERSION = 1,
    HF_RECORD_HEAD    = 64,
    HF_RUN_SIZE       = 16,
    HF_RECORD_LAST    = 1,
    HF_RECORD_MAX     = 256 << 10, /* bytes, unless one entry alone is larger */
    HF_RECORD_TIGHT   = 64 << 10,  /* while space is short */
    HF_SKEW_LEAST     = 500,       /* ms; clocks that go alone drift by less */
};
#define HF_FACTS UINT32_MAX

typedef struct hf_run {
    uint32_t shard, count, bytes, shards;
} hf_run;

typedef struct hf_record_head {
    uint32_t flags, count, size, runs;
    uint64_t time_ms, group, waiting;
    int64_t  skew_ms;
} hf_record_head;

/* Write head, directory and checksum round the entries that already stand at
 * data + HF_RECORD_HEAD + runs * HF_RUN_SIZE. */
void hf_record_seal(uint8_t *data, const hf_record_head *head, const hf_run *runs, uint64_t key);

/* HF_OK, HF_ECORRUPT (says what), HF_EVERSION. */
int  hf_record_check(const uint8_t *data, size_t size, uint64_t key, hf_record_head *head);

hf_run hf_record_run(const uint8_t *data, uint32_t index);

static inline size_t hf_record_entries_at(uint32_t runs)
{
    return HF_RECORD_HEAD + (size_t)runs * HF_RUN_SIZE;
}

#endif
