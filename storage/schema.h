/* schema.h - the rows of `meta` that every store has from its first commit on. */
#ifndef STORAGE_SCHEMA_H
#define STORAGE_SCHEMA_H

#include "storage/marker.h"
#include "storage/store.h"

/* The first rows of a new store: its format, seed and uuid. */
int hf_schema_write(hf_txn *txn, const uint8_t *uuid);

/* The seed of address hashes, for the marker: should the data be damaged, it still knows. */
int hf_schema_seed(hf_disk *disk, uint64_t *seed);

/* They must be what the marker says: HF_EVERSION, HF_ECORRUPT. */
int hf_schema_check(hf_txn *txn, const char *directory, const hf_marker *marker);

#endif
