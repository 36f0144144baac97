/* sharing.c - find the body that a message shares with others.
 *
 * Happy path: step back by what the message says, and there is a BODY. Nothing is
 * believed of a record that was not checked: neither that the way back stays inside the
 * record, nor that an entry begins there. Pure functions; any thread. */
#include "storage/sharing.h"

#include "storage/assert.h"

static bool body_at(const uint8_t *at, size_t back, hf_entry *body)
{
    return hf_entry_decode(at - back, back, body) != 0 && body->op == HF_OP_BODY;
}

bool hf_sharing_find(const uint8_t *start, const uint8_t *at, hf_entry *e)
{
    hf_entry body;
    if (e->op != HF_OP_SEND || e->data.len || e->back < HF_ENTRY_HEAD || e->back % 16
        || e->back > (size_t)(at - start) || !body_at(at, e->back, &body))
        return false;
    e->data = body.data;
    e->flags &= (uint8_t)~HF_ENTRY_SHARES;
    e->back = 0;
    return true;
}

uint32_t hf_sharing_weight(const uint8_t *at)
{
    hf_entry e;
    size_t size = hf_entry_decode(at, SIZE_MAX, &e);
    HF_ASSERT(size && e.back);
    return hf_get32(at - e.back + 4);
}
