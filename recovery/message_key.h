/* message_key.h - the idempotency key of a message: 32 hex digits.
 *
 * The first half is the store's, the second the message's id. */
#ifndef RECOVERY_MESSAGE_KEY_H
#define RECOVERY_MESSAGE_KEY_H

#include "engine/holdfast.h"

/* 16 hex digits and a zero, out of the uuid (hf_disk_uuid). */
void hf_message_key_prefix(char prefix[17], const uint8_t *uuid);
void hf_message_key(char key[33], const char *prefix, uint64_t id);

#endif
