/* laststop.h - the file `last-stop` in a store: why the engine stopped by itself. */
#ifndef STORAGE_LASTSTOP_H
#define STORAGE_LASTSTOP_H

#include <stddef.h>

/* Never fails: it is written when everything else has. */
void hf_laststop_write(const char *directory, int err, const char *text);

/* HF_ENOTFOUND when there is none. The text is cut to `size`. */
int  hf_laststop_read(const char *directory, char *text, size_t size);
void hf_laststop_remove(const char *directory);

#endif
