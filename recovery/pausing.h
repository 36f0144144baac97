/* pausing.h - what is paused in a store, by whom it is covered. */
#ifndef RECOVERY_PAUSING_H
#define RECOVERY_PAUSING_H

#include "recovery/out.h"
#include "recovery/pen.h"

#include "storage/view.h"

/* In the store a pause of everything is one of "*", which is no type. The
 * reason, if one was given, is the PAUSE entry's data. */
#define HF_PAUSE_ALL "*"

typedef struct hf_pausing {
    char     what[HF_ADDRESS_MAX + 1]; /* "" is everything */
    uint64_t since;
    char    *reason;                   /* "" when none was given */
    uint32_t uid;                      /* of the operator who did, */
    char     user[HF_PEN_USER + 1];    /* and his name; "": it was the program */
} hf_pausing;

typedef struct hf_pausings {
    hf_pausing *items;
    size_t      count, room;
} hf_pausings;

int  hf_pausings_load(hf_pausings *pausings, hf_view_of *view);
void hf_pausings_done(hf_pausings *pausings);

/* What pauses this actor or type, the widest first; NULL: it is not paused. */
const hf_pausing *hf_pausings_find(const hf_pausings *pausings, const char *address, size_t len);
/* The pause of exactly this; NULL: there is none. */
const hf_pausing *hf_pausings_exact(const hf_pausings *pausings, const char *what);

/* "type", "type/key" or "": HF_EINVAL if it is none of them. */
int hf_pausing_check(const char *what);

/* The newest pauses and resumes by operators are listed in one row. Add what plan->pen
 * says, about `what`, to a list read before (empty: none yet) and make the entry that
 * puts it; `list` holds HF_PEN_LIST bytes and lends them to the entry. */
int  hf_pausing_list(hf_view_of *view, const hf_pen *pen, const char *what, uint8_t *list,
                     hf_entry *entry);
/* Those that cover the actor, as the array `pauses`; nothing if there are none. */
int  hf_out_pausings(hf_out *out, hf_view_of *view, const char *actor);

/* The field `pause`; pausing NULL: nothing. */
void hf_out_pausing(hf_out *out, const hf_pausing *pausing);

#endif
