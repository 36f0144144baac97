/* rows.h - an actor's own table: what turns put there, and how they read it.
 *
 * A row's name is its shelf (one byte: whose it is) and its key. The calls of a
 * turn take the shelf, so that parts of the engine keep rows of an actor as its
 * handler does, apart from them. */
#ifndef ENGINE_ROWS_H
#define ENGINE_ROWS_H

#include "engine/rowset.h"
#include "engine/turn.h"

/* What a turn has to do with rows; made when it first has. */
typedef struct hf_turn_rows {
    const hf_rowset *left;     /* what earlier turns of the actor left; NULL: nothing */
    hf_rowset       *staged;
    hf_rowitem      *replaced; /* staged and staged anew: somebody may still look at it */
    hf_rowbuf        buf;
} hf_turn_rows;

/* The turn's thread. Each returns an error only after failing the turn with it, but for
 * HF_ENOTFOUND. value.data NULL deletes; a value that was got lives until the turn ends.
 * key: 1 to HF_NAME_MAX bytes, any. Not for types with .workers above 1, nor for shelf
 * HF_SHELF_TOPIC, which has a table of its own. */
int  hf_rows_put(hf_turn *turn, uint8_t shelf, hf_bytes key, hf_bytes value);
int  hf_rows_get(hf_turn *turn, uint8_t shelf, hf_bytes key, hf_bytes *value);
int  hf_rows_walk(hf_turn *turn, uint8_t shelf, hf_bytes from, hf_pair_fn each, void *user);
void hf_rows_forget(hf_turn *turn);      /* delete all that its handler put */
void hf_rows_cut(hf_turn_rows *rows);    /* what was staged did not happen */
void hf_rows_end(hf_turn_rows *rows);    /* frees; NULL is fine */

/* The shard's thread. What the turn staged is the actor's from now on; `batch`: its
 * batch's number, or as hf_resident_changed has it. Never fails. */
void hf_rows_keep(hf_shard *shard, hf_actor *actor, hf_turn_rows *rows, uint64_t batch);
/* For a turn on a pool: it may read this until it is taken back. NULL: nothing. */
const hf_rowset *hf_rows_lend(hf_shard *shard, hf_actor *actor);
void hf_rows_drop(hf_shard *shard, hf_actor *actor); /* it leaves memory */
void hf_rows_fold(hf_shard *shard);  /* forget what the fold has passed */
void hf_rows_done(hf_shard *shard);

/* At open: are there rows at all? */
int  hf_rows_look(hf_engine *engine);

#endif
