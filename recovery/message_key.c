/* message_key.c - the idempotency key of a message. Pure functions; any thread. */
#include "recovery/message_key.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static void put_number(char at[17], uint64_t number)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++)
        at[i] = digits[number >> (60 - 4 * i) & 15];
    at[16] = 0;
}

void hf_message_key_prefix(char prefix[17], const uint8_t *uuid)
{
    put_number(prefix, XXH3_64bits(uuid, 16));
}

void hf_message_key(char key[33], const char *prefix, uint64_t id)
{
    memcpy(key, prefix, 16);
    put_number(key + 16, id);
}
