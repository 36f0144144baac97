/* address.h - "type/key", and where an actor's rows stand in the tables.
 *
 * A row of an actor begins with   type 00 hash(8, big-endian) key
 * so that the rows of one type lie together and, inside a type, those of one
 * shard do (a shard owns a range of hashes). The hash is XXH3 of the whole
 * address, seeded per store so that nobody can choose keys that collide. */
#ifndef STORAGE_ADDRESS_H
#define STORAGE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HF_ADDRESS_MAX = 255, /* bytes, without the final NUL */
    HF_TYPE_MAX    = 31,
    HF_NAME_MAX    = 127, /* kinds, alarms, steps */
    /* type 00 hash key, then 00 name or a place */
    HF_ROW_NAME_MAX = 1 + HF_NAME_MAX, /* shelf, then a name: see entry.h */
    HF_KEY_MAX     = HF_ADDRESS_MAX + 9 + 1 + HF_ROW_NAME_MAX,
};

/* True if `text` is a type, or "type/key" as engine/holdfast.h describes it. */
bool hf_address_type_ok(const char *text, size_t len);
bool hf_address_ok(const char *text, size_t len);
/* The same; also tells how long its type is. */
bool hf_address_split(const char *text, size_t len, size_t *type_len);

/* Of a text that begins with a sound type of type_len bytes: is it an address? */
bool hf_address_key_ok(const char *text, size_t type_len, size_t len);

/* Bytes of the type at the start of an address. */
size_t hf_address_type_len(const char *address, size_t len);

uint64_t hf_address_hash(uint64_t seed, const char *address, size_t len);

/* The seed by which such an address has that hash; false: it can't be worked out, since
 * the address is longer than eight bytes, or there is none. */
bool hf_address_seed(uint64_t hash, const char *address, size_t len, uint64_t *seed);

/* Which of `shards` the hash belongs to: ranges, ascending. */
static inline uint32_t hf_address_shard(uint64_t hash, uint32_t shards)
{
    return (uint32_t)(((hash >> 32) * shards) >> 32);
}

/* Write the actor's row key; returns its length. */
size_t hf_address_key(uint8_t *out, const char *address, size_t len, uint64_t hash);

/* The other way: address text (NUL-terminated, out holds HF_ADDRESS_MAX + 1)
 * of a key whose actor part is `len` bytes. 0 if it cannot be one. */
size_t hf_address_of_key(char *out, const uint8_t *key, size_t len, uint64_t *hash);

#endif
