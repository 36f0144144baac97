/* patch.h - put a value into a body, by its path. */
#ifndef TOOLS_PATCH_H
#define TOOLS_PATCH_H

#include "tools/pack.h"

/* Append `body` (one msgpack value) to `out` with `value` at `path`: keys joined by dots,
 * [n] for an element: "items[0].sku", "body.total". A key that is not there is added, an
 * element only behind the last one. False: *why says what is wrong; `out` is as before. */
bool cli_patch(cli_buffer *out, hf_bytes body, const char *path, hf_bytes value, const char **why);

#endif
