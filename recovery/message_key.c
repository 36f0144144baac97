/* message_key.c - the idempotency key of a message. Pure functions; any thread. */
#include "recovery/message_key.h"

static void put_hex(char *at, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        at[2 * i] = digits[bytes[i] >> 4];
        at[2 * i + 1] = digits[bytes[i] & 15];
    }
    at[2 * len] = 0;
}

/* Both halves of the random uuid, so that neither half alone decides. */
void hf_message_key_prefix(char prefix[17], const uint8_t *uuid)
{
    uint8_t folded[8];
    for (int i = 0; i < 8; i++)
        folded[i] = uuid[i] ^ uuid[8 + i];
    put_hex(prefix, folded, 8);
}

void hf_message_key(char key[33], const char *prefix, uint64_t id)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(id >> (56 - 8 * i));
    memcpy(key, prefix, 16);
    put_hex(key + 16, bytes, 8);
}
