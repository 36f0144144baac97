/* out.h - write msgpack rows, one value after the other.
 *
 * The first failure (memory) is kept in `err`; what follows does nothing. A name
 * makes the value a field of the open map, NULL an element of the open array. */
#ifndef RECOVERY_OUT_H
#define RECOVERY_OUT_H

#include "engine/holdfast.h"

#include <stdbool.h>

enum { HF_OUT_DEPTH = 8 };

typedef struct hf_out {
    uint8_t *data;
    size_t   len, room;
    int      err;
    uint32_t depth;
    struct {
        size_t   at;    /* of the head, whose count is filled in at the end */
        uint32_t count;
    } open[HF_OUT_DEPTH];
} hf_out;

void hf_out_clear(hf_out *out); /* empty again, memory kept */
void hf_out_done(hf_out *out);

void hf_out_map(hf_out *out, const char *name);
void hf_out_array(hf_out *out, const char *name);
void hf_out_end(hf_out *out); /* of the innermost of them */

void hf_out_uint(hf_out *out, const char *name, uint64_t value);
void hf_out_int(hf_out *out, const char *name, int64_t value);
void hf_out_bool(hf_out *out, const char *name, bool value);
void hf_out_text(hf_out *out, const char *name, hf_bytes text);
void hf_out_bin(hf_out *out, const char *name, hf_bytes bytes);
void hf_out_raw(hf_out *out, const char *name, hf_bytes value); /* msgpack already */

/* Left out when 0, or "". */
void hf_out_time(hf_out *out, const char *name, uint64_t ms);
void hf_out_words(hf_out *out, const char *name, const char *text);

static inline hf_bytes hf_out_bytes(const hf_out *out)
{
    return hf_view(out->data, out->len);
}

#endif
