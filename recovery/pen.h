/* pen.h - who changed what, when and why: signed into the entry that makes the change.
 *
 * Each change by an operator (requeue, cancel, undo, purge, send, pause, edit, ...) leaves
 * a note. Notes of a message travel in its envelope (hf_entry.notes): so they live as long
 * as the message does, and in the history as long as that keeps its records. A pause has
 * its note in its own entry; pauses and resumes are also listed in one row of the store.
 *
 * To sign a change: plan->pen is ready in every plan (recovery/change.h). Set
 * plan->pen.reason when the arguments are read, make the entry out of the message as the
 * store has it (so that earlier notes stay), then
 *     hf_pen_sign(&plan->pen, &entry);
 * and add it to its segment before the pen signs again. */
#ifndef RECOVERY_PEN_H
#define RECOVERY_PEN_H

#include "recovery/out.h"

#include "storage/entry.h"

enum {
    HF_PEN_USER = 32,       /* bytes of a user's name */
    HF_PEN_LIST = 16 << 10, /* of the list of pauses and resumes */
};

typedef struct hf_pen {
    uint64_t    time_ms;
    uint32_t    uid;
    char        user[HF_PEN_USER + 1]; /* "": this machine knows no name for it */
    const char *change;                /* lent */
    hf_bytes    reason;                /* lent; at most HF_ERROR_MAX bytes count */
    uint8_t     notes[HF_NOTES_MAX];
} hf_pen;

/* One change, as it was noted. */
typedef struct hf_note {
    uint64_t time_ms;
    uint32_t uid;
    hf_bytes change, user, reason;
} hf_note;

/* It is now, and this user who changes something. Asks the system for the name. */
void hf_pen_take(hf_pen *pen, uint32_t uid, const char *change);

/* The entry's notes and this one; the oldest go when there are too many. */
void hf_pen_sign(hf_pen *pen, hf_entry *entry);

/* The same for a list of at most `room` bytes at `list`; returns the new length. */
size_t hf_pen_append(const hf_pen *pen, uint8_t *list, size_t len, size_t room);

/* The first note of the rest, oldest first; false: there is no more. */
bool hf_note_next(hf_bytes *rest, hf_note *note);

/* One note into the open map; all of them as an array `name`, nothing if there is none. */
void hf_out_note(hf_out *out, const hf_note *note);
void hf_out_notes(hf_out *out, const char *name, hf_bytes notes);

#endif
