/* error.h - say what went wrong, and where.
 *
 * Storage and recovery never log: they return a code of engine/holdfast.h and
 * leave the particulars (which file, which process, which field) in a text of
 * the calling thread, which hf_detail() shows. */
#ifndef STORAGE_ERROR_H
#define STORAGE_ERROR_H

#include "engine/holdfast.h"

/* Set this thread's detail and return `code`. */
int hf_error(int code, const char *format, ...) HF_PRINTF(2, 3);

/* Forget this thread's detail: the next failure has nothing to add. */
void hf_error_clear(void);

/* This thread's detail, "" when there is none. Lives until the next call. */
const char *hf_error_detail(void);

#endif
