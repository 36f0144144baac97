/* tallies.h - counts of messages by name: a type, an actor, an error. */
#ifndef RECOVERY_TALLIES_H
#define RECOVERY_TALLIES_H

#include "recovery/question.h"

typedef struct hf_tally {
    char    *name;         /* a zero follows */
    size_t   len;          /* it may hold zeros itself */
    uint64_t hash;
    uint64_t by[HF_DONE];  /* by status */
    uint64_t oldest;       /* sent, of those that are not dead */
    uint64_t first, last;  /* failures */
    uint64_t newest;       /* id */
    uint64_t actors;
    uint64_t stuck;
} hf_tally;

typedef struct hf_tallies {
    hf_tally *items;
    uint32_t *slots;       /* index + 1 */
    size_t    count, room, mask;
    uint64_t *seen;        /* hashes of actors that were counted */
    size_t    seen_count, seen_mask;
} hf_tallies;

/* The tally of that name, a new one if need be; NULL: out of memory. It stays
 * where it is until the next call. */
hf_tally *hf_tallies_of(hf_tallies *tallies, const char *name, size_t len);
/* Was this actor not seen before? Notes it. HF_ENOMEM. */
int       hf_tallies_see(hf_tallies *tallies, uint64_t hash, bool *fresh);
bool      hf_tallies_saw(const hf_tallies *tallies, uint64_t hash);
void      hf_tally_add(hf_tally *tally, const hf_sight *sight);
/* What another thread counted. HF_ENOMEM. */
int       hf_tallies_merge(hf_tallies *tallies, const hf_tallies *other);
/* Biggest backlog first, then by name. No more hf_tallies_of after this. */
void      hf_tallies_sort(hf_tallies *tallies);
void      hf_tallies_done(hf_tallies *tallies);

#endif
