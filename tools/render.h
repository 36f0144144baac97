/* render.h - bytes of a store as JSON or as something a person can read.
 *
 * JSON without loss: integers are exact to 64 bits, and what JSON lacks is an
 * object with one key that begins with '$':
 *   {"$bin":"base64"}        binary
 *   {"$ext":[type,"base64"]} an extension
 *   {"$str":"base64"}        a string that is not UTF-8
 *   {"$map":[[key,value],…]} a map that is no JSON object: keys that are not
 *                            text, come twice, or would look like one of these
 *   {"$float":"nan"}         nan, inf, -inf
 * Bytes that are not msgpack: {"$text":"…"} if they are printable UTF-8, else
 * {"$hex":"…"}. tools/json.h reads all of them again. */
#ifndef TOOLS_RENDER_H
#define TOOLS_RENDER_H

#include "tools/pack.h"

/* A JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD. */
void cli_render_string(cli_buffer *out, hf_bytes text);

/* One msgpack value as JSON; false, and nothing added, if it is not sound. */
bool cli_render_json(cli_buffer *out, hf_bytes msgpack);

/* A row of a question: times as ISO-8601, bodies and states as their content. */
bool cli_render_row(cli_buffer *out, hf_bytes row);

/* A body or state as JSON. */
void cli_render_body(cli_buffer *out, hf_bytes body);

/* And for people: msgpack as JSON, text as it is, anything else 0x…. What could
 * move the cursor or colour the screen is escaped. */
void cli_render_readable(cli_buffer *out, hf_bytes body);
void cli_render_safe(cli_buffer *out, hf_bytes text);

#endif
