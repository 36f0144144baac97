/* actor_flush.c - is an actor's state flushed, as far as the store knows?
 *
 * Happy path: the type's row says below which position all is; what was saved there or
 * above it is not, or not known to be. A type without that row flushes nothing. Fails on
 * a damaged row. Any thread. */
#include "recovery/actor_flush.h"

#include "storage/error.h"

#include <stdio.h>

int hf_actor_flush_read(hf_view_of *view, const char *actor, uint64_t position, bool *flushes,
                        bool *dirty)
{
    char to[HF_TYPE_MAX + 3];
    int type = (int)hf_address_type_len(actor, strlen(actor));
    hf_key key;
    hf_bytes payload;
    *flushes = *dirty = false;
    (void)snprintf(to, sizeof to, "%.*s/-", type, actor);
    hf_entry e = { .to = to, .to_len = (uint8_t)strlen(to), .name = HF_FLUSH_ROW,
                   .name_len = sizeof HF_FLUSH_ROW - 1,
                   .hash = hf_address_hash(hf_view_seed(view), to, strlen(to)) };
    hf_key_name(&key, &e);
    int err = hf_view_get(view, HF_IN_ROWS, hf_key_bytes(&key), &payload);
    if (err)
        return err == HF_ENOTFOUND ? HF_OK : err;
    if (payload.len < 8 + 16)
        return hf_error(HF_ECORRUPT, "what the type of %s flushed is cut short", actor);
    *flushes = true;
    *dirty = position >= hf_get64((const uint8_t *)payload.data + 16);
    return HF_OK;
}
