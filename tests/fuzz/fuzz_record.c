/* fuzz_record.c - any bytes as a record of the log, first as they are, then sealed.
 *
 * An accepted record has as many bytes as its head says, its runs add up to it, and
 * the entries that can be read lie inside. Sealed as its parts say, by hf_record_seal, it is the
 * same record; with one bit flipped, a byte less, or under another key, it is refused. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_seal.h"

#include "storage/sharing.h"

/* As replay does: all entries, one behind the other. True: each can be read. */
static bool walk(const uint8_t *record, const hf_record_head *head)
{
    const uint8_t *first = record + hf_record_entries_at(head->runs), *end = record + head->size;
    const uint8_t *at = first;
    for (uint32_t i = 0; i < head->count; i++) {
        hf_entry e;
        size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
        if (!size)
            return false;
        FUZZ_CHECK(size <= (size_t)(end - at));
        FUZZ_CHECK(fuzz_within(e.data, at, size));
        if (!hf_sharing_resolve(first, at, &e))
            return false;
        FUZZ_CHECK(fuzz_within(e.data, first, (size_t)(end - first)));
        at += size;
    }
    return true;
}

static void check_runs(const uint8_t *record, const hf_record_head *head)
{
    uint64_t count = 0, bytes = hf_record_entries_at(head->runs);
    for (uint32_t i = 0; i < head->runs; i++) {
        hf_run run = hf_record_run(record, i);
        count += run.count;
        bytes += run.bytes;
    }
    FUZZ_CHECK(count == head->count && bytes == head->size);
}

static void check_again(const uint8_t *record, size_t size, uint64_t key,
                        const hf_record_head *head)
{
    uint8_t *copy = fuzz_copy(record, size);
    hf_run *runs = malloc((head->runs + 1) * sizeof *runs);
    hf_record_head again;
    FUZZ_CHECK(runs);
    for (uint32_t i = 0; i < head->runs; i++)
        runs[i] = hf_record_run(record, i);
    hf_record_seal(copy, head, runs, key);
    FUZZ_CHECK(hf_record_check(copy, size, key, &again) == HF_OK);
    FUZZ_CHECK(again.flags == head->flags && again.count == head->count
               && again.size == head->size && again.runs == head->runs
               && again.time_ms == head->time_ms && again.group == head->group
               && again.skew_ms == head->skew_ms);
    FUZZ_CHECK(memcmp(copy + HF_RECORD_HEAD, record + HF_RECORD_HEAD, size - HF_RECORD_HEAD) == 0);
    FUZZ_CHECK(hf_record_check(copy, size, key + 1, &again) == HF_ECORRUPT);
    FUZZ_CHECK(hf_record_check(copy, size - 1, key, &again) == HF_ECORRUPT);
    fuzz_flip(copy, size, fuzz_number(record, size));
    FUZZ_CHECK(hf_record_check(copy, size, key, &again) != HF_OK);
    free(runs);
    free(copy);
}

/* The key, then the record. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_record_head head;
    if (size < 8 + HF_RECORD_HEAD)
        return 0;
    uint64_t key = hf_get64(data);
    uint8_t *record = fuzz_copy(data + 8, size - 8);
    size -= 8;
    (void)hf_record_check(record, size, key, &head);
    fuzz_seal(record, size, key);
    if (hf_record_check(record, size, key, &head) == HF_OK) {
        FUZZ_CHECK(head.size == size && head.group <= key);
        check_runs(record, &head);
        (void)walk(record, &head);
        check_again(record, size, key, &head);
    }
    free(record);
    return 0;
}
