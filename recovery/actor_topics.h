/* actor_topics.h - what an actor is subscribed to. */
#ifndef RECOVERY_ACTOR_TOPICS_H
#define RECOVERY_ACTOR_TOPICS_H

#include "recovery/out.h"

#include "storage/view.h"

typedef struct hf_actor_topics {
    hf_out   out;  /* elements of an array; end with hf_out_done */
    uint64_t told;
} hf_actor_topics;

int  hf_actor_topics_read(hf_actor_topics *topics, hf_view_of *view, const char *actor,
                          uint64_t limit);
void hf_actor_topics_put(hf_actor_topics *topics, hf_out *out); /* `topics` */

#endif
