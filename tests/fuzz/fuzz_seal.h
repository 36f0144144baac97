/* fuzz_seal.h - make a record of the log out of any bytes: true magic, version,
 * size and checksum round whatever the fuzzer thought of, so that what lies behind
 * the checksum is reached, too. */
#ifndef FUZZ_FUZZ_SEAL_H
#define FUZZ_FUZZ_SEAL_H

#include "storage/record.h"

#include "storage/store.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* As record.h has it; `size` is at least HF_RECORD_HEAD. */
static inline void fuzz_seal(uint8_t *record, size_t size, uint64_t key)
{
    memcpy(record, "HFL", 3);
    record[3] = HF_RECORD_VERSION;
    hf_put32(record + 12, (uint32_t)size);
    uint64_t head = XXH3_64bits_withSeed(record, 56, key ^ ((uint64_t)HF_IN_LOG << 56));
    hf_put64(record + 56,
             XXH3_64bits_withSeed(record + HF_RECORD_HEAD, size - HF_RECORD_HEAD, head));
}

#endif
