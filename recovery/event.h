/* event.h - what an entry of the log tells of a message, for who follows it.
 *
 * Everything lent lives as long as the snapshot. */
#ifndef RECOVERY_EVENT_H
#define RECOVERY_EVENT_H

#include "recovery/pen.h"
#include "recovery/where.h"

#include "storage/annals.h"

typedef struct hf_event {
    const char *what;     /* "sent", "done", ... */
    uint64_t    position; /* of the entry */
    uint64_t    at;       /* when its group was written */
    hf_entry    e;        /* as much of the message as is known */
    hf_status   status;
    bool        named;    /* an operator did it: */
    hf_note     note;
    uint32_t    unknown;  /* bits of hf_where_field: neither it nor the log say */
} hf_event;

/* The ops that tell something, for hf_annals_walk; DONE tells of several messages. */
extern const uint32_t hf_event_ops;

/* What any entry but DONE tells; looks the rest of the message up. */
int hf_event_read(hf_event *event, hf_txn *txn, const hf_annal *annal);

/* One message that `done` tells of: the one that stands at `place`, `sent` if the log still
 * has it, else NULL. */
void hf_event_done(hf_event *event, const hf_annal *done, uint64_t place, const hf_annal *sent);

bool hf_event_match(const hf_event *event, const hf_where *where);
void hf_event_put(const hf_event *event, hf_out *out); /* the fields of the open map */

#endif
