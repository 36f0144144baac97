/* record.c - seal and check the records of the log.
 *
 * A record is checked in full before anything in it is believed: magic,
 * version, sizes, checksum, and that its runs add up. Pure; any thread. */
#include "storage/record.h"

#include "storage/error.h"
#include "storage/store.h"
#include "storage/sum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static const uint8_t MAGIC[3] = { 'H', 'F', 'L' };

static uint64_t checksum(const uint8_t *data, size_t size, uint64_t key)
{
    /* The field itself lies last in the head, so two runs cover the rest. */
    uint64_t head = XXH3_64bits_withSeed(data, 56, key ^ ((uint64_t)HF_IN_LOG << 56));
    return hf_sum(data + HF_RECORD_HEAD, size - HF_RECORD_HEAD, head);
}

void hf_record_seal(uint8_t *data, const hf_record_head *head, const hf_run *runs, uint64_t key)
{
    memset(data, 0, HF_RECORD_HEAD);
    memcpy(data, MAGIC, sizeof MAGIC);
    data[3] = HF_RECORD_VERSION;
    hf_put32(data + 4, head->flags);
    hf_put32(data + 8, head->count);
    hf_put32(data + 12, head->size);
    hf_put64(data + 16, head->time_ms);
    hf_put64(data + 24, head->group);
    hf_put32(data + 32, head->runs);
    hf_put64(data + 40, head->waiting);
    hf_put64(data + 48, (uint64_t)head->skew_ms);
    for (uint32_t i = 0; i < head->runs; i++) {
        uint8_t *at = data + HF_RECORD_HEAD + i * HF_RUN_SIZE;
        hf_put32(at, runs[i].shard);
        hf_put32(at + 4, runs[i].count);
        hf_put32(at + 8, runs[i].bytes);
        hf_put32(at + 12, runs[i].shards);
    }
    hf_put64(data + 56, checksum(data, head->size, key));
}

hf_run hf_record_run(const uint8_t *data, uint32_t index)
{
    const uint8_t *at = data + HF_RECORD_HEAD + (size_t)index * HF_RUN_SIZE;
    return (hf_run){ hf_get32(at), hf_get32(at + 4), hf_get32(at + 8), hf_get32(at + 12) };
}

static int runs_add_up(const uint8_t *data, const hf_record_head *head)
{
    uint64_t count = 0, bytes = hf_record_entries_at(head->runs);
    if (bytes > head->size)
        return 0;
    for (uint32_t i = 0; i < head->runs; i++) {
        hf_run run = hf_record_run(data, i);
        if (run.count > run.bytes / 16) /* an entry has 16 bytes at least */
            return 0;
        count += run.count;
        bytes += run.bytes;
    }
    return count == head->count && bytes == head->size;
}

int hf_record_check(const uint8_t *data, size_t size, uint64_t key, hf_record_head *head)
{
    unsigned long long at = key;
    if (size < HF_RECORD_HEAD || memcmp(data, MAGIC, sizeof MAGIC) != 0)
        return hf_error(HF_ECORRUPT, "log record %llu: no record head", at);
    if (data[3] != HF_RECORD_VERSION)
        return hf_error(HF_EVERSION, "log record %llu has version %u, this library reads %u",
                        at, data[3], HF_RECORD_VERSION);
    head->flags = hf_get32(data + 4);
    head->count = hf_get32(data + 8);
    head->size = hf_get32(data + 12);
    head->time_ms = hf_get64(data + 16);
    head->group = hf_get64(data + 24);
    head->runs = hf_get32(data + 32);
    head->waiting = hf_get64(data + 40);
    head->skew_ms = (int64_t)hf_get64(data + 48);
    if (head->size != size)
        return hf_error(HF_ECORRUPT, "log record %llu: %zu bytes, its head says %u", at, size,
                        head->size);
    if (hf_get64(data + 56) != checksum(data, size, key))
        return hf_error(HF_ECORRUPT, "log record %llu: checksum does not match", at);
    if (head->group > key || !runs_add_up(data, head))
        return hf_error(HF_ECORRUPT, "log record %llu: runs do not add up", at);
    return HF_OK;
}
