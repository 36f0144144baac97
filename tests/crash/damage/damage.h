/* damage.h - stores whose every byte is known, damaged, and what comes of it.
 *
 * All that is ever told or saved follows from an actor's number and a count, so that
 * whoever is handed something can say whether it was ever sent, and when. */
#ifndef DAMAGE_H
#define DAMAGE_H

#include "engine/holdfast.h"

#include "storage/msgpack_scan.h"

#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { PAGE = 4096 };

/* Actors, and what the stores hold of them. */
enum { WORK, IDLE, STEPPER, HELD, DYING, KINDS_OF_ACTOR };
enum { WORKS = 40, IDLES = 30, STEPPERS = 8, HELDS = 6, DYINGS = 16, ACTORS_MOST = 40 };
enum { WAITING = 8, HELD_EACH = 2 }; /* messages of each WORK and HELD actor */

typedef struct cast_of {
    const char *type;
    uint32_t    actors;
} cast_of;
extern const cast_of cast[KINDS_OF_ACTOR];

uint32_t done_before(uint32_t kind, uint32_t actor); /* messages that were handled */
uint32_t waits(uint32_t kind);                       /* that wait, of each actor */
uint32_t messages_left(void);                        /* in all, with the dead */

const char *address_of(uint32_t kind, uint32_t actor, char *room);
bool        address_known(const char *address, uint32_t *kind, uint32_t *actor);

enum { BYTES_MAX = 8192 };
hf_bytes body_of(uint8_t *room, uint32_t kind, uint32_t actor, uint32_t number);
/* Its number, or UINT32_MAX: nobody ever sent that to this actor. */
uint32_t body_number(hf_bytes body, uint32_t kind, uint32_t actor);
hf_bytes state_of(uint8_t *room, uint32_t kind, uint32_t actor, uint32_t count);
uint32_t state_count(hf_bytes state, uint32_t kind, uint32_t actor); /* UINT32_MAX */

/* ---- damage_store.c: the stores as they were before. */
typedef enum sort { IN_WINDOW, IN_BOTH, IN_TABLES, SORTS } sort;

typedef struct original {
    char     path[PATH_MAX];
    uint8_t *bytes, *older; /* of data.mdb, at the end and some time before */
    size_t   len, older_len;
    uint64_t log; /* sum over the log's records */
} original;

bool     original_make(original *o, sort what, const char *base); /* false: said why */
bool     read_file(const char *path, uint8_t **bytes, size_t *len);
uint64_t log_sum(const char *path, int *err);
int      engine_open(hf_engine **engine, const char *path, sort what, const hf_type *types,
                     hf_log_fn log);

/* damage_salvage.c: which rows hold what, learnt from the undamaged store. */
bool truth_learn(sort what, const original *o);

/* ---- damage_kinds.c */
typedef enum harm {
    ONE_BIT,
    RANDOM_PAGE,
    ZERO_PAGE,
    STALE_PAGE,
    TRUNCATED,
    HEADER_BIT,
    META_BIT,
    HARMS
} harm;
extern const char *const harm_names[HARMS];
/* Do it to a copy; *len may become less. Says what in `what`. */
void damage_do(harm how, const original *o, uint8_t *bytes, size_t *len, uint64_t *chance,
               char *what, size_t room);

/* ---- damage_engine.c, damage_tool.c: what came of it; in a child of its own each. */
typedef enum outcome {
    SAME,    /* everything is there */
    REFUSED, /* a clean error before anything ran */
    ASIDE,   /* some is set aside and said to be, the rest is there */
    STOPPED, /* a clean error later */
    MISSING, /* something is gone and nobody said so */
    OLD,     /* so is a state, or an older one is shown in its place */
    STUCK,   /* it does not come to rest, or LMDB goes round in circles */
    ABORTED,
    SEGMENT,
    BUS, /* LMDB died of it */
    BAD, /* what may not be, ever */
    OUTCOMES
} outcome;

typedef struct found {
    _Atomic uint32_t outcome;
    atomic_bool      bad;
    uint32_t         signal;
    bool             in_lmdb;
    char             why[600];
} found;

extern found *seen; /* shared with the parent */
void          note(outcome what, const char *format, ...) HF_PRINTF(2, 3); /* the worst stays */

void damage_engine(const char *path, sort what, const original *o, harm how);
extern bool     damage_released; /* whatever a salvage paused is let go */
extern bool     damage_unpaused; /* nor is it known any more what was paused */
extern uint64_t damage_first_id; /* below it nothing new may be called; 0: no matter */
void damage_tool(const char *path);
bool row_field(hf_bytes row, const char *name, hf_token *value); /* of an answer */

/* damage_salvage.c, in children of their own as well. */
void damage_verify(const char *path, sort what, const original *o, harm how);
void damage_salvage(const char *path, sort what, const original *o, harm how);

#endif
