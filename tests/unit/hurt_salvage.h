/* hurt_salvage.h - stores that keep all their old pages, and what a salvage of them says and
 * leaves. For one test program, in its one .c file. */
#ifndef UNIT_HURT_SALVAGE_H
#define UNIT_HURT_SALVAGE_H

#include "tests/unit/hurt_store.h"

static const hf_log_options few = { .window = 64 << 10, .shards = 2 };

static core    c;
static hf_disk *pinned;
static hf_txn  *pin;

/* ---- Stores none of whose pages was ever written twice */

static inline void begin(void)
{
    core_remove(hurt_path("store"));
    core_open(&c, hurt_path("store"), NULL, &few);
    CORE_OK(hf_disk_open(&pinned, hurt_path("store"), &(hf_disk_options){ .flags = HF_LOOK }));
    CORE_OK(hf_txn_read(pinned, &pin));
}

static inline void finish(void)
{
    hf_txn_abort(pin);
    hf_disk_close(pinned);
    core_close(&c, false);
}

static inline void fold(void)
{
    CORE_OK(hf_log_fold_all(c.log));
}

/* ---- What a salvage says and leaves */

static char told[64 << 10];

static inline int keep(void *user, hf_bytes row)
{
    size_t len = strlen(told), room = sizeof told - len - 1;
    (void)user;
    for (size_t i = 0; i < row.len && i < room; i++) {
        char byte = ((const char *)row.data)[i];
        told[len + i] = byte >= ' ' ? byte : '.';
        told[len + i + 1] = '\0';
    }
    return HF_OK;
}

static inline void salvage(uint64_t rows[HF_TABLES])
{
    told[0] = '\0';
    core_remove(hurt_path("to"));
    int err = hf_salvage(hurt_path("store"), hurt_path("to"), keep, NULL);
    if (err)
        fail_msg("%d: %s", err, hf_error_detail());
    hurt_verify(hurt_path("to"));
    (void)hurt_sum(hurt_path("to"), rows);
}

static inline void says(const char *words)
{
    if (!strstr(told, words))
        fail_msg("\"%s\" is not in \"%.2000s\"", words, told);
}

static inline bool has_row(hf_table table, const hf_key *key, const char *data)
{
    hf_disk_options look = { .flags = HF_LOOK };
    hf_disk *disk;
    hf_txn *txn;
    hf_bytes payload;
    CORE_OK(hf_disk_open(&disk, hurt_path("to"), &look));
    CORE_OK(hf_txn_read(disk, &txn));
    int err = hf_row_get(txn, table, key, &payload);
    bool is = !err && memmem(payload.data, payload.len, data, strlen(data)) != NULL;
    hf_txn_abort(txn);
    hf_disk_close(disk);
    return is;
}

static inline hf_key actor_key(const char *actor, const char *behind, size_t len)
{
    uint64_t seed = hurt_number("to", "seed");
    hf_key key;
    hf_key_actor(&key, actor, strlen(actor), hf_address_hash(seed, actor, strlen(actor)));
    memcpy(key.bytes + key.len, behind, len);
    key.len += len;
    return key;
}

#endif
