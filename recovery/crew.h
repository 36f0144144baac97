/* crew.h - several threads look through the messages that wait.
 *
 * Each has a copy of whoever asks and a twin of the view, and takes parts of the inbox
 * that hold whole actors; in the end they are made one. */
#ifndef RECOVERY_CREW_H
#define RECOVERY_CREW_H

#include "recovery/question.h"

/* How to copy who asks: a struct of `size` bytes that begins with its hf_scan. */
struct hf_crew {
    size_t size;
    void (*fresh)(void *user);              /* a copy: it has seen nothing yet */
    int  (*merge)(void *user, void *other); /* what the copy saw is seen; the copy goes.
                                               user NULL: it only goes */
};

/* Walk the inbox from `from` to below `to` (empty: to the end), by as many threads as
 * there are processors if that is worth while. Also with one thread, scan->crew is set. */
int hf_crew_walk(hf_scan *scan, hf_bytes from, hf_bytes to);

/* scan.c: the same by this thread alone. */
int hf_scan_part(hf_scan *scan, hf_bytes from, hf_bytes to);

#endif
