/* holdfast_msgpack.h - msgpack-c for bodies and states, with the turn's memory.
 *
 * What hf_unpack, hf_packer and hf_packed hand out is lent until the turn ends.
 * A turn in HF_PENDING may use them from whichever thread has the turn. */
#ifndef HOLDFAST_MSGPACK_H
#define HOLDFAST_MSGPACK_H

#include "holdfast.h"

#include <msgpack.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Unpack one whole value. HF_EINVAL (hf_detail says why): it is cut short, has
 * bytes behind its end, is deeper than 32 arrays and maps, or claims more
 * elements than there are bytes. HF_ENOMEM. Texts and binaries point into
 * `body`, which must live as long as *value is used. */
HF_API int hf_unpack(hf_turn *turn, hf_bytes body, msgpack_object *value);

/* A field of a map by its name, the first if it comes twice. NULL, {0} or
 * HF_EINVAL: no map, not there, or of another type. `map` may be NULL. */
HF_API const msgpack_object *hf_field(const msgpack_object *map, const char *name);
HF_API hf_bytes hf_text(const msgpack_object *map, const char *name);
HF_API int      hf_uint(const msgpack_object *map, const char *name, uint64_t *value);

/* A packer whose bytes live as long as the turn; use it with msgpack_pack_*.
 * Never NULL: without memory it takes nothing and the turn fails. */
HF_API msgpack_packer *hf_packer(hf_turn *turn);

/* What was packed so far, of a packer from hf_packer. */
HF_API hf_bytes hf_packed(const msgpack_packer *packer);

/* A name and its value, two of the elements of a map; on any packer. */
HF_API void hf_pack_text(msgpack_packer *packer, const char *name, hf_bytes text);
HF_API void hf_pack_uint(msgpack_packer *packer, const char *name, uint64_t value);

#ifdef __cplusplus
}
#endif
#endif
