/* error.c - what went wrong, in words, one text per thread.
 *
 * The happy path never comes here. A function that fails calls hf_error with
 * its code and the particulars, and returns the code; the text waits in memory
 * of the thread until the next failure or hf_error_clear. The words for the
 * codes themselves come from the one table in engine/holdfast.h.
 *
 * Nothing here can fail or allocate; text that is too long is cut off. errno is
 * left as it was. Any thread. */
#include "storage/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

enum { DETAIL_SIZE = 512 };

static _Thread_local char detail[DETAIL_SIZE];

int hf_error(int code, const char *format, ...)
{
    int saved = errno;
    char text[DETAIL_SIZE]; /* an argument may be the old detail itself */
    va_list args;

    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0)
        text[0] = 0;
    va_end(args);
    memcpy(detail, text, strlen(text) + 1);
    errno = saved;
    return code;
}

void hf_error_clear(void)
{
    detail[0] = 0;
}

const char *hf_error_detail(void)
{
    return detail;
}

const char *hf_detail(void)
{
    return hf_error_detail();
}

const char *hf_strerror(int err)
{
    switch (err) {
    case HF_OK:
        return "ok";
#define HF_TEXT(name, code, text) \
    case name:                    \
        return text;
        HF_ERRORS(HF_TEXT)
#undef HF_TEXT
    default:
        return err > 0 ? "error of a handler" : "unknown error";
    }
}
