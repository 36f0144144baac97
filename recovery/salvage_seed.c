/* salvage_seed.c - the seed of address hashes, when no row says it any more.
 *
 * The marker says it. Rows and entries of actors hold the whole address and its hash: those
 * that are sound must agree; one that does not is the end of that guess, since the marker may
 * be another store's. Then, or without a marker, it is worked out from a short address, and
 * the others must agree with that. Any page counts, also those of no tree: the seed never
 * changes. Without a marker and a short address nothing is found. One thread. */
#include "recovery/salvage.h"

#include "storage/error.h"
#include "storage/record.h"

enum { ENOUGH = 1000, END = 0x5eed };

typedef struct seeking {
    uint64_t seed;
    uint32_t agreed; /* 0: there is no guess */
} seeking;

static int try_address(seeking *k, const char *address, size_t len, uint64_t hash)
{
    if (k->agreed && hf_address_hash(k->seed, address, len) == hash)
        k->agreed++;
    else
        k->agreed = hf_address_seed(hash, address, len, &k->seed);
    return k->agreed >= ENOUGH ? END : HF_OK;
}

static int try_record(seeking *k, uint64_t position, hf_bytes value)
{
    hf_record_head head;
    if (hf_record_check(value.data, value.len, position, &head))
        return HF_OK;
    const uint8_t *at = (const uint8_t *)value.data + hf_record_entries_at(head.runs);
    const uint8_t *end = (const uint8_t *)value.data + head.size;
    int err = HF_OK;
    for (uint32_t i = 0; !err && i < head.count; i++) {
        hf_entry e;
        size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
        if (!size)
            break;
        if (hf_entry_is_message(e.op) && e.to_len)
            err = try_address(k, e.to, e.to_len, e.hash);
        at += size;
    }
    return err;
}

static int see_row(void *user, uint64_t page, hf_bytes key, hf_bytes value)
{
    char address[HF_ADDRESS_MAX + 1];
    hf_bytes payload;
    (void)page;
    if (key.len == 8)
        return try_record(user, hf_get64_key(key.data), value);
    for (int t = 0; t < HF_TABLES; t++) {
        hf_table table = (hf_table)t;
        size_t len = key.len < sizeof((hf_key *)NULL)->bytes ? hf_salvage_actor(table, key, address)
                                                             : 0;
        if (!len || hf_row_open(table, key, value, &payload))
            continue;
        size_t type = hf_address_type_len(address, len);
        return try_address(user, address, len,
                           hf_get64_key((const uint8_t *)key.data + type + 1));
    }
    return HF_OK;
}

int hf_salvage_seek_seed(hf_salvaging *s, uint64_t *seed)
{
    seeking k = { .seed = s->seed, .agreed = s->seed != 0 };
    hf_finding f = { .name = "seed lost", .table = hf_table_name(HF_IN_META) };
    hf_pages_forget(s->pages); /* look into all of them */
    int err = hf_pages_orphans(s->pages, see_row, &k);
    hf_pages_forget(s->pages);
    if (err && err != END)
        return err;
    if (!k.agreed)
        return hf_error(HF_ECORRUPT,
                        "%s: the seed of its address hashes is lost, also with the marker, and no "
                        "address is short enough to work it out, so nothing can be put in its "
                        "place", s->checkup.path);
    *seed = k.seed;
    hf_checkup_found(&s->checkup, &f, k.seed == s->seed
                                          ? "the marker has it"
                                          : "it was worked out from the hashes of addresses");
    return s->checkup.err;
}
