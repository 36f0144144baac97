/* msgpack_scan.h - read msgpack without believing it.
 *
 * msgpack-c allocates what a length field claims: five bytes can ask for 2^32
 * elements. So nothing from outside is unpacked before hf_msgpack_scan has
 * walked it. Pure functions: no memory, no recursion, any thread. */
#ifndef STORAGE_MSGPACK_SCAN_H
#define STORAGE_MSGPACK_SCAN_H

#include "engine/holdfast.h"

enum { HF_MSGPACK_DEPTH = 32 }; /* arrays and maps inside each other */

typedef enum hf_token_type {
    HF_TOKEN_NIL, HF_TOKEN_BOOL, HF_TOKEN_UINT, HF_TOKEN_INT, HF_TOKEN_FLOAT32,
    HF_TOKEN_FLOAT64, HF_TOKEN_STR, HF_TOKEN_BIN, HF_TOKEN_EXT, HF_TOKEN_ARRAY,
    HF_TOKEN_MAP
} hf_token_type;

/* One value; of an array or map only its head: its elements are the next
 * tokens (of a map 2 x count: key, value, key, ...). */
typedef struct hf_token {
    hf_token_type type;
    uint32_t      count;  /* ARRAY, MAP: elements, pairs */
    int8_t        ext;    /* EXT: its type */
    size_t        size;   /* bytes of the token, with text but without elements */
    union {
        uint64_t u;       /* UINT, BOOL */
        int64_t  i;       /* INT: below 0 */
        double   f;       /* FLOAT32, FLOAT64 */
        hf_bytes bytes;   /* STR, BIN, EXT: into what was read */
    } as;
} hf_token;

/* Read the token at the start of `rest`. HF_EINVAL: cut short, no msgpack, or
 * it claims more elements than bytes are left. */
int hf_msgpack_token(hf_bytes rest, hf_token *token);

/* How much a value holds. */
typedef struct hf_msgpack_shape {
    size_t elements; /* of all arrays */
    size_t pairs;    /* of all maps */
} hf_msgpack_shape;

/* Is `body` exactly one whole value, at most HF_MSGPACK_DEPTH deep? HF_EINVAL
 * (with detail) if not. elements + 2 x pairs < body.len. */
int hf_msgpack_scan(hf_bytes body, hf_msgpack_shape *shape);

#endif
