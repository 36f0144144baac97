/* actor_rows.h - the first rows of an actor's own table. */
#ifndef RECOVERY_ACTOR_ROWS_H
#define RECOVERY_ACTOR_ROWS_H

#include "recovery/out.h"

#include "storage/view.h"

typedef struct hf_actor_rows {
    hf_out   out;  /* elements of an array; end with hf_out_done */
    uint64_t told;
    bool     more; /* there are others */
} hf_actor_rows;

int  hf_actor_rows_read(hf_actor_rows *rows, hf_view_of *view, const char *actor, uint64_t limit);
void hf_actor_rows_put(hf_actor_rows *rows, hf_out *out); /* `rows`, `rows_more` */

#endif
