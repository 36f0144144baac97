/* slurp.h - all of a file, or of stdin. */
#ifndef TOOLS_SLURP_H
#define TOOLS_SLURP_H

#include "tools/buffer.h"

/* Append what is in `file` ("-": stdin), at most 16 MiB: CLI_OK, or an exit code, said. */
int cli_slurp(const char *file, cli_buffer *to);

#endif
