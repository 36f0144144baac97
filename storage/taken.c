/* taken.c - what the table dedupe says about a sender's word.
 *
 * Happy path: of all facts about the word find the one that counts; a SEND becomes a
 * new row, a PUT is the row, a DROP takes it away. A PUT or DROP that comes after the
 * word was used again, a day later, changes nothing: therefore those ask for the row.
 * Fails when that is damaged, or for want of memory. Any thread. */
#include "storage/taken.h"

#include "storage/error.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void hf_taken_sum(uint8_t sum[16], hf_bytes kind, hf_bytes body)
{
    uint64_t seed = XXH3_64bits(kind.len ? kind.data : "", kind.len);
    XXH128_hash_t hash = XXH3_128bits_withSeed(body.len ? body.data : "", body.len, seed);
    hf_put64(sum, hash.low64);
    hf_put64(sum + 8, hash.high64);
}

size_t hf_taken_encode(const hf_taken *taken, uint8_t *at)
{
    hf_put64(at, taken->id);
    hf_put64(at + 8, taken->time_ms);
    memcpy(at + 16, taken->sum, 16);
    at[32] = taken->outcome;
    if (taken->reply.len)
        memcpy(at + HF_TAKEN_SIZE, taken->reply.data, taken->reply.len);
    return HF_TAKEN_SIZE + taken->reply.len;
}

int hf_taken_decode(hf_bytes value, hf_taken *taken)
{
    const uint8_t *at = value.data;
    if (value.len < HF_TAKEN_SIZE)
        return hf_error(HF_ECORRUPT, "what was taken under a word is cut short");
    *taken = (hf_taken){ .id = hf_get64(at), .time_ms = hf_get64(at + 8), .outcome = at[32] };
    memcpy(taken->sum, at + 16, 16);
    taken->reply = hf_view(at + HF_TAKEN_SIZE, value.len - HF_TAKEN_SIZE);
    return HF_OK;
}

int hf_taken_of_row(hf_bytes payload, hf_taken *taken)
{
    if (payload.len < 8)
        return hf_error(HF_ECORRUPT, "what was taken under a word is cut short");
    return hf_taken_decode(hf_view((const uint8_t *)payload.data + 8, payload.len - 8), taken);
}

/* The letter that a fact is about. */
static int letter_of(const hf_survivors *s, const hf_survivor *item, const hf_entry *e,
                     uint64_t *id)
{
    hf_taken taken;
    *id = e->op == HF_OP_SEND ? hf_survivor_position(s, item) : e->id;
    if (e->op != HF_OP_PUT)
        return HF_OK;
    int err = hf_taken_decode(e->data, &taken);
    *id = taken.id;
    return err;
}

static int newest_fact(const hf_survivors *s, size_t from, size_t to, const hf_survivor **newest,
                       hf_entry *e, uint64_t *id)
{
    const hf_survivor *items = s->table[HF_IN_DEDUPE].items;
    *newest = NULL;
    for (size_t i = from; i < to; i++) {
        hf_entry other;
        uint64_t about;
        hf_survivor_entry(s, &items[i], &other);
        int err = letter_of(s, &items[i], &other, &about);
        if (err)
            return err;
        if (*newest && about < *id)
            continue;
        *newest = &items[i];
        *e = other;
        *id = about;
    }
    return HF_OK;
}

/* Does the table know of a newer letter under this word? */
static int is_outdated(const hf_key *key, hf_fate_load load, void *user, uint64_t id, bool *yes)
{
    hf_bytes payload;
    hf_taken row;
    *yes = false;
    int err = load(user, HF_IN_DEDUPE, key, &payload);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    err = hf_taken_of_row(payload, &row);
    *yes = !err && row.id > id;
    return err;
}

int hf_taken_fate(const hf_survivors *s, size_t from, size_t to, const hf_key *key,
                  hf_fate_load load, void *user, hf_rowbuf *buf, hf_fate *fate)
{
    const hf_survivor *item;
    hf_entry e = { .op = HF_OP_DROP };
    uint64_t id = 0;
    bool outdated = false;
    int err = newest_fact(s, from, to, &item, &e, &id);
    if (!err && e.op != HF_OP_SEND)
        err = is_outdated(key, load, user, id, &outdated);
    if (err || outdated)
        return err;
    fate->verdict = HF_FATE_GONE;
    if (e.op == HF_OP_DROP)
        return HF_OK;
    size_t size = e.op == HF_OP_PUT ? e.data.len : HF_TAKEN_SIZE;
    if ((err = hf_rowbuf_need(buf, 8 + size + HF_ROW_EXTRA)))
        return err;
    hf_put64(buf->bytes + 1, hf_survivor_position(s, item));
    if (e.op == HF_OP_PUT) {
        memcpy(buf->bytes + 9, e.data.data, e.data.len);
    } else {
        const hf_record *r = s->records[item->record];
        hf_taken taken = { .id = id, .time_ms = r->time_ms + (uint64_t)r->skew_ms };
        hf_taken_sum(taken.sum, hf_view(e.name, e.name_len), e.data);
        hf_taken_encode(&taken, buf->bytes + 9);
    }
    fate->len = 8 + size;
    fate->verdict = HF_FATE_PUT;
    return HF_OK;
}
