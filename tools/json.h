/* json.h - JSON in, msgpack out. */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include "tools/pack.h"

/* Append one JSON value as msgpack. Numbers without point and exponent are
 * integers and must fit 64 bits; the objects of tools/render.h ({"$bin":…})
 * become what they stand for. On a mistake: false, *at is the byte where it
 * is, *why says what; the buffer is as before. {"$text"} and {"$hex"} stand for
 * bytes that are not msgpack: they are refused inside a document. */
bool cli_json_pack(cli_buffer *out, hf_bytes json, size_t *at, const char **why);

/* The bytes of a body as tools/render.h writes it: a document {"$text":…} or
 * {"$hex":…} becomes those bytes, anything else msgpack. */
bool cli_json_body(cli_buffer *out, hf_bytes json, size_t *at, const char **why);

#endif
