/* join.h - a parent that waits until all its children have ended.
 *
 * A letter with .join carries the id of the parent's message as `join`. Its end - done
 * or dead - is a small message to the parent, in the child's own commit, with the cause
 * HF_CAUSE_ENDED: the engine counts it in a row of the parent's and, at the last, sends
 * what hf_join was given. So joins need nothing that messages and rows don't promise. */
#ifndef ENGINE_JOIN_H
#define ENGINE_JOIN_H

#include "engine/turn.h"

/* Of hf_turn.joins: why join.c is asked when the handler has returned. */
enum {
    HF_JOINS_ENTRY    = 1, /* it is somebody's child, or tells of one */
    HF_JOINS_CHILDREN = 2, /* it sent letters with .join */
    HF_JOINS_CALLED   = 4, /* and called hf_join */
};

static inline bool hf_join_is_note(const hf_entry *e)
{
    return e->cause == HF_CAUSE_ENDED;
}

/* Is its end to be told? */
static inline bool hf_join_is_child(const hf_entry *e)
{
    return e->join && !hf_join_is_note(e);
}

/* A letter with .join is about to be staged: number it. HF_EINVAL. */
int  hf_join_child(hf_turn *turn, const hf_letter *letter, hf_entry *entry);
/* So many were staged. */
void hf_join_sent(hf_turn *turn, uint32_t children);
/* The turn of a note, instead of its handler: count. */
int  hf_join_count(hf_turn *turn);
/* The handler is through and all is well so far: may fail the turn. */
void hf_join_turn_ends(hf_turn *turn);
/* A child is being buried in the turn's batch. HF_ENOMEM. */
int  hf_join_lost(hf_turn *turn, const hf_entry *child);

#endif
