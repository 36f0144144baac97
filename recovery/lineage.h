/* lineage.h - which stores a restored one comes from, and what that means for keys.
 *
 * A store that was restored or salvaged has a uuid of its own for what it sends from
 * then on; messages of before keep the keys that the outside knows them by. */
#ifndef RECOVERY_LINEAGE_H
#define RECOVERY_LINEAGE_H

#include "storage/store.h"

enum { HF_LINEAGE_MAX = 128 };

typedef struct hf_ancestor {
    uint64_t below; /* ids below it, and not below the one before, */
    uint8_t  uuid[16]; /* were given by this store */
} hf_ancestor;

typedef struct hf_lineage {
    uint32_t    count; /* ascending; most stores have none */
    hf_ancestor of[HF_LINEAGE_MAX];
} hf_lineage;

/* From the payload of the row `lineage` of meta, and back: 24 bytes each. */
int hf_lineage_parse(hf_lineage *lineage, hf_bytes payload);
int hf_lineage_write(hf_txn *txn, const hf_lineage *lineage);
/* One more: HF_EINVAL when there is no room. */
int hf_lineage_add(hf_lineage *lineage, uint64_t below, const uint8_t *uuid);

/* First halves of message keys, 16 hex digits. */
typedef struct hf_prefixes {
    char     own[17];
    uint32_t count;
    struct {
        uint64_t below;
        char     digits[16];
    } of[HF_LINEAGE_MAX];
} hf_prefixes;

int hf_prefixes_read(hf_prefixes *prefixes, hf_disk *disk);
const char *hf_prefix_inherited(const hf_prefixes *prefixes, uint64_t id);

/* Of this message's key; not terminated. */
static inline const char *hf_prefix_of(const hf_prefixes *prefixes, uint64_t id)
{
    return prefixes->count ? hf_prefix_inherited(prefixes, id) : prefixes->own;
}

#endif
