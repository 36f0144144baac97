/* schema.h - the rows of `meta` that every store has from its first commit on. */
#ifndef STORAGE_SCHEMA_H
#define STORAGE_SCHEMA_H

#include "storage/store.h"

/* The first rows of a new store: its format and uuid. */
int hf_schema_write(hf_txn *txn, const uint8_t *uuid);

/* They must be what the marker says: HF_EVERSION, HF_ECORRUPT. */
int hf_schema_check(hf_txn *txn, const char *directory, const uint8_t *uuid);

#endif
