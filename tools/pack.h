/* pack.h - msgpack, written and read with every length checked.
 *
 * The reader never believes a length or a count: an element takes at least one
 * byte, so a count beyond the bytes that are left is refused. Nothing here
 * allocates while reading, nothing recurses. */
#ifndef TOOLS_PACK_H
#define TOOLS_PACK_H

#include "tools/buffer.h"

#include <stdbool.h>

enum { CLI_DEPTH_MAX = 64 };

/* ---- Writing */
void cli_pack_bool(cli_buffer *buffer, bool value);
void cli_pack_uint(cli_buffer *buffer, uint64_t value);
void cli_pack_int(cli_buffer *buffer, int64_t value);
void cli_pack_double(cli_buffer *buffer, double value);
void cli_pack_str(cli_buffer *buffer, hf_bytes text);
void cli_pack_text(cli_buffer *buffer, const char *text); /* NULL: nil */
void cli_pack_bin(cli_buffer *buffer, hf_bytes bytes);
void cli_pack_ext(cli_buffer *buffer, int8_t type, hf_bytes bytes);
void cli_pack_array(cli_buffer *buffer, uint32_t count); /* count values follow */
void cli_pack_map(cli_buffer *buffer, uint32_t count);   /* count pairs follow */

/* ---- Reading */
typedef enum cli_kind {
    CLI_NIL,
    CLI_BOOL,  /* number */
    CLI_UINT,  /* number: 0 and above, however it was written */
    CLI_INT,   /* integer: below 0 */
    CLI_REAL,  /* real */
    CLI_STR,   /* bytes */
    CLI_BIN,   /* bytes */
    CLI_EXT,   /* bytes, type */
    CLI_ARRAY, /* number elements follow */
    CLI_MAP,   /* number pairs follow */
} cli_kind;

typedef struct cli_value {
    cli_kind kind;
    int8_t   type;
    uint64_t number;
    int64_t  integer;
    double   real;
    hf_bytes bytes; /* text or data; of an array or map: all its elements */
} cli_value;

/* One whole valid value and nothing behind it, nested at most CLI_DEPTH_MAX. */
bool cli_msgpack_valid(hf_bytes bytes);

/* Take the head of the next value off `rest`; of an array or map only its head,
 * its elements come next. False when nothing sound is left. */
bool cli_next_head(hf_bytes *rest, cli_value *value);

/* Take the next whole value off `rest`; an array or map has its elements in
 * bytes. */
bool cli_next(hf_bytes *rest, cli_value *value);

/* A field of a map `row`; false if it is not there (or is nil). */
bool     cli_field(hf_bytes row, const char *name, cli_value *value);
uint64_t cli_field_uint(hf_bytes row, const char *name); /* 0 */
bool     cli_field_bool(hf_bytes row, const char *name); /* false */
hf_bytes cli_field_text(hf_bytes row, const char *name); /* "" */
/* The elements of an array or map: "" when there is none. */
hf_bytes cli_field_list(hf_bytes row, const char *name);
hf_bytes cli_field_map(hf_bytes row, const char *name); /* a row again */

#endif
