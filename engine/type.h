/* type.h - the actor types of an engine, checked, copied, defaults filled in. */
#ifndef ENGINE_TYPE_H
#define ENGINE_TYPE_H

#include "engine/holdfast.h"

#include <stdbool.h>

typedef struct hf_pool hf_pool;
typedef struct hf_limit hf_limit;

typedef struct hf_kind_of {
    hf_type  is;       /* names point into copies of ours; defaults filled in */
    uint32_t index;
    size_t   name_len;
    bool     pooled;   /* has threads of its own */
    bool     apart;    /* its messages are never run straight from the log: pooled or limited */
    bool     stale_breaker, stale_rate; /* the store has one that the type has no more */
    hf_pool *pool;     /* of those */
    struct hf_flush *flush; /* NULL: its states are kept nowhere else */
    bool     stale_flush;  /* the store says that all was flushed below: no more */
    uint64_t flushed;
    hf_limit *limit;   /* breaker and rate; NULL: it has neither */
} hf_kind_of;

typedef struct hf_types {
    hf_kind_of *kinds;
    uint32_t    count;
    char       *names; /* what all the copies lie in */
} hf_types;

/* Copy the table (ends with an all-zero entry, entries type_size apart).
 * HF_EINVAL names the type and the field; HF_ENOMEM. */
int  hf_types_copy(hf_types *types, const hf_type *table, size_t type_size);
void hf_types_done(hf_types *types);

/* Of an address or a bare type; NULL: not defined. */
hf_kind_of *hf_types_find(const hf_types *types, const char *address, size_t len);
/* The same, when the length of the type is known. */
hf_kind_of *hf_types_named(const hf_types *types, const char *type, size_t len);

/* Shall the store keep finished messages for `show`? For how long at most. */
bool hf_types_history(const hf_types *types, uint64_t *ms);

#endif
