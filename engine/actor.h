/* actor.h - actors in memory, of one shard.
 *
 * A resident actor is its address, its newest state (also one that is staged
 * but not committed yet: nothing leaves before the commit) and, only while
 * messages wait, a mailbox. Owned by its shard's thread. */
#ifndef ENGINE_ACTOR_H
#define ENGINE_ACTOR_H

#include "engine/cells.h"
#include "engine/type.h"

#include "storage/entry.h"

typedef struct hf_mailbox hf_mailbox;

typedef struct hf_actor {
    uint64_t         hash;
    struct hf_actor *newer, *older; /* by last use */
    hf_kind_of      *kind;
    hf_mailbox      *mailbox;       /* NULL: nothing waits or runs */
    uint8_t         *state;         /* NULL: none */
    uint32_t         state_len;
    uint32_t         used;          /* shard's seconds at last use */
    uint64_t         batch;         /* shard's newest batch that changed it */
    uint64_t         taken;         /* highest place handed out */
    uint64_t         image;         /* its newest one in the log; images.c */
    uint64_t         checked;       /* spills it knows about: see shard.h */
    uint8_t          len;           /* of address */
    uint8_t          room;          /* for a state behind the address */
    bool             damaged;       /* state or a row can't be read: runs no turns */
    bool             rows;          /* has messages in the inbox table */
    uint8_t          version;       /* of its state's form */
    bool             rowed : 1;     /* rows it put are not folded yet: rowed.c */
    bool             awake : 1;     /* its type's hook was told */
    bool             flushes : 1;   /* changed since it came, and its type flushes */
    char             address[];
} hf_actor;

typedef struct hf_actors {
    uint64_t *slots;        /* pointer with 16 bits of the hash on top */
    uint32_t  mask, count;
    hf_actor *newest, *oldest;
    uint64_t  bytes;
    hf_cells  cells;
    uint8_t   hint;         /* bytes of the last state of an actor that had none */
} hf_actors;

int       hf_actors_init(hf_actors *actors);
void      hf_actors_done(hf_actors *actors);

hf_actor *hf_actors_find(const hf_actors *actors, uint64_t hash, const char *address, size_t len);
/* Not there before. NULL: out of memory. */
hf_actor *hf_actors_add(hf_actors *actors, uint64_t hash, const char *address, size_t len);
void      hf_actors_remove(hf_actors *actors, hf_actor *actor);
void      hf_actors_touch(hf_actors *actors, hf_actor *actor); /* used just now */

/* Replace its state; data NULL: none. HF_ENOMEM leaves the old one. */
int       hf_actor_set_state(hf_actors *actors, hf_actor *actor, hf_bytes state);

/* The bits of a slot that are a pointer; above them stand those of the hash. */
#define HF_SLOT_POINTER ((UINT64_C(1) << 48) - 1)

/* Whoever has that hash, most likely; the actor itself is not looked at. */
static inline hf_actor *hf_actors_near(const hf_actors *actors, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & actors->mask;
    while (actors->slots[i] && (actors->slots[i] ^ hash) & ~HF_SLOT_POINTER)
        i = (i + 1) & actors->mask;
    return (hf_actor *)(uintptr_t)(actors->slots[i] & HF_SLOT_POINTER);
}

/* Bring near what a look-up will touch: the slot; once that is here, the actor; then its
 * state. Only hints. One that waits for the page tables holds up what comes after it, and of
 * more than some twenty lines at once a processor may drop the rest: ask for few at a time. */
#define hf_actors_prefetch(actors, hash)                                           \
    __builtin_prefetch(&(actors)->slots[(hash) & (actors)->mask])
#define hf_actors_prefetch_actor(actors, hash)                                     \
    do {                                                                           \
        const uint8_t *near_ = (const uint8_t *)hf_actors_near(actors, hash);      \
        __builtin_prefetch(near_);                                                 \
        __builtin_prefetch(near_ + 64);                                            \
        __builtin_prefetch(near_ + 128);                                           \
    } while (0)
#define hf_actors_prefetch_state(actors, hash)                                     \
    do {                                                                           \
        const hf_actor *near_ = hf_actors_near(actors, hash);                      \
        if (near_) {                                                               \
            __builtin_prefetch(near_->state);                                      \
            __builtin_prefetch(near_->state + 63);                                 \
        }                                                                          \
    } while (0)

#endif
