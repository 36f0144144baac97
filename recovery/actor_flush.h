/* actor_flush.h - is an actor's state flushed? */
#ifndef RECOVERY_ACTOR_FLUSH_H
#define RECOVERY_ACTOR_FLUSH_H

#include "storage/view.h"

/* *flushes: its type does; *dirty: and the state saved at `position` is not known to be
 * flushed. HF_ECORRUPT, HF_ENOMEM, … */
int hf_actor_flush_read(hf_view_of *view, const char *actor, uint64_t position, bool *flushes,
                        bool *dirty);

#endif
