/* rowset.h - what was put into one actor's table and is not in the tables yet.
 *
 * An ordered set of rows in memory, each with its value or the word that it is
 * gone. There is one for what a turn staged, and one an actor for what its turns
 * of this run left: memory is the only index over the window. */
#ifndef ENGINE_ROWSET_H
#define ENGINE_ROWSET_H

#include "engine/actor.h"

enum { HF_ROWSET_HEIGHT = 12 };

typedef struct hf_rowitem {
    struct hf_rowitem *older, *newer; /* by when they were put */
    uint64_t           batch;         /* that put it, as hf_actor.batch */
    uint32_t           len;           /* of the value */
    uint8_t            name_len, height;
    bool               gone;          /* there is no such row */
    struct hf_rowitem *next[];        /* height of them, then the name, then the value */
} hf_rowitem;

typedef struct hf_rowset {
    struct hf_rowset *next;           /* in its bucket of the shard */
    hf_actor         *actor;          /* NULL: a turn's */
    hf_rowitem       *oldest, *newest;
    size_t            count, bytes;
    uint64_t          chance;
    hf_rowitem       *head[HF_ROWSET_HEIGHT];
} hf_rowset;

hf_rowset *hf_rowset_new(void); /* NULL: out of memory */
void       hf_rowset_free(hf_rowset *set); /* with its items; NULL is fine */
void       hf_rowset_clear(hf_rowset *set);

/* A copy, not in the set yet. value.data NULL: gone. NULL: out of memory. */
hf_rowitem *hf_rowset_make(hf_rowset *set, hf_bytes name, hf_bytes value);
void        hf_rowitem_free(hf_rowitem *item); /* it is in no set */
size_t      hf_rowitem_bytes(const hf_rowitem *item);

/* Put it in; what had its name is out, and returned (NULL: nothing had). */
hf_rowitem *hf_rowset_put(hf_rowset *set, hf_rowitem *item);
/* Take the oldest out. NULL: empty. */
hf_rowitem *hf_rowset_take(hf_rowset *set);
/* The first whose name is not below `name`, or, `behind`, the first above it. */
hf_rowitem *hf_rowset_seek(const hf_rowset *set, hf_bytes name, bool behind);
hf_rowitem *hf_rowset_find(const hf_rowset *set, hf_bytes name);

int hf_rowset_compare(hf_bytes a, hf_bytes b);

static inline hf_bytes hf_rowitem_name(const hf_rowitem *item)
{
    return hf_view(item->next + item->height, item->name_len);
}
hf_bytes hf_rowitem_value(const hf_rowitem *item); /* aligned for any C type */

#endif
