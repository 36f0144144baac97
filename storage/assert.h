/* assert.h - what must hold, checked in release builds too.
 *
 * Near the bytes on disk it is better to stop than to write nonsense, so
 * HF_ASSERT is never compiled out. It is for our own mistakes only: whatever a
 * caller or a disk can get wrong is an error code. Keep `expr` cheap. */
#ifndef STORAGE_ASSERT_H
#define STORAGE_ASSERT_H

#include <stdio.h>
#include <stdlib.h>

#define HF_ASSERT(expr) ((expr) ? (void)0 : hf_assert_failed(#expr, __FILE__, __LINE__))

_Noreturn static inline void hf_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "holdfast: %s:%d: this must hold: %s\n", file, line, expr);
    abort();
}

#endif
