/* address.c - check addresses, hash them, turn them into row keys and back.
 *
 * Pure functions; any thread. Nothing here allocates. */
#include "storage/address.h"

#include "storage/codec.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Eight bytes that are all printable ASCII: no high bit, none below a space, no DEL. */
static bool plain8(const uint8_t *at)
{
    const uint64_t ones = 0x0101010101010101;
    uint64_t x;
    memcpy(&x, at, 8);
    return ((x | (x - 0x20 * ones) | (x + ones)) & 0x80 * ones) == 0;
}

/* From `at` on; what stands between `text` and `at` is known to be ASCII. */
static bool utf8_ok(const uint8_t *text, const uint8_t *at, const uint8_t *end)
{
    while (end - at >= 8 && plain8(at))
        at += 8;
    if (end - at < 8 && end - text >= 8 && plain8(end - 8))
        return true;
    while (at < end) {
        uint8_t lead = *at++;
        uint32_t more, value;
        if (lead < 0x80) {
            if (lead < 0x20 || lead == 0x7f)
                return false;
            continue;
        }
        if (lead >= 0xc2 && lead <= 0xdf)
            more = 1, value = lead & 0x1fu;
        else if ((lead & 0xf0) == 0xe0)
            more = 2, value = lead & 0x0fu;
        else if (lead >= 0xf0 && lead <= 0xf4)
            more = 3, value = lead & 0x07u;
        else
            return false;
        if ((size_t)(end - at) < more)
            return false;
        for (uint32_t i = 0; i < more; i++, at++) {
            if ((*at & 0xc0) != 0x80)
                return false;
            value = value << 6 | (*at & 0x3fu);
        }
        if ((more == 2 && (value < 0x800 || (value >= 0xd800 && value <= 0xdfff)))
            || (more == 3 && (value < 0x10000 || value > 0x10ffff)))
            return false;
    }
    return true;
}

bool hf_address_type_ok(const char *text, size_t len)
{
    if (len < 1 || len > HF_TYPE_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return true;
}

size_t hf_address_type_len(const char *address, size_t len)
{
    const char *slash = memchr(address, '/', len);
    return slash ? (size_t)(slash - address) : len;
}

bool hf_address_key_ok(const char *text, size_t type_len, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)text;
    return len <= HF_ADDRESS_MAX && type_len + 1 < len && text[type_len] == '/'
        && utf8_ok(bytes, bytes + type_len + 1, bytes + len);
}

bool hf_address_split(const char *text, size_t len, size_t *type_len)
{
    if (len > HF_ADDRESS_MAX)
        return false;
    size_t type = hf_address_type_len(text, len);
    *type_len = type;
    if (!hf_address_type_ok(text, type))
        return false;
    return hf_address_key_ok(text, type, len);
}

bool hf_address_ok(const char *text, size_t len)
{
    size_t type;
    return hf_address_split(text, len, &type);
}

uint64_t hf_address_hash(uint64_t seed, const char *address, size_t len)
{
    return XXH3_64bits_withSeed(address, len, seed);
}

/* ---- The seed again, from a hash: every step that XXH3 takes with short texts has an
 * inverse. The numbers are the first ones of its secret and of its rounds. */

static uint64_t turned(uint64_t v, unsigned by)
{
    return v << by | v >> (64 - by);
}

/* What times `odd` is 1, modulo 2^64: each step doubles the bits that are right. */
static uint64_t inverse_of(uint64_t odd)
{
    uint64_t is = odd;
    for (int i = 0; i < 6; i++)
        is *= 2 - odd * is;
    return is;
}

/* v ^= v >> by, undone. */
static uint64_t unshifted(uint64_t v, unsigned by)
{
    uint64_t is = v;
    for (unsigned done = by; done < 64; done += by)
        is = v ^ is >> by;
    return is;
}

static uint64_t seed_of_three(uint64_t hash, const uint8_t *text, size_t len)
{
    uint64_t mixed = (uint64_t)text[0] << 16 | (uint64_t)text[len >> 1] << 24 | text[len - 1]
                     | (uint64_t)len << 8;
    hash = unshifted(hash, 32) * inverse_of(UINT64_C(0x165667B19E3779F9));
    hash = unshifted(hash, 29) * inverse_of(UINT64_C(0xC2B2AE3D27D4EB4F));
    return (unshifted(hash, 33) ^ mixed) - (0x396cfeb8u ^ 0xbe4ba423u);
}

static uint64_t seed_of_eight(uint64_t hash, const uint8_t *text, size_t len)
{
    const uint64_t round = inverse_of(UINT64_C(0x9FB21C651E98DF25));
    uint32_t first, last;
    memcpy(&first, text, 4);
    memcpy(&last, text + len - 4, 4);
    hash = unshifted(hash, 28) * round;
    hash = (hash ^ ((hash >> 35) + len)) * round;
    for (int i = 0; i < 63; i++) /* 64 times is what nobody did */
        hash ^= turned(hash, 49) ^ turned(hash, 24);
    uint64_t secret = UINT64_C(0x1cad21f72c81017c) ^ UINT64_C(0xdb979083e96dd4de);
    uint64_t seed = secret - (hash ^ (last + ((uint64_t)first << 32)));
    return seed ^ (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
}

bool hf_address_seed(uint64_t hash, const char *address, size_t len, uint64_t *seed)
{
    if (!len || len > 8)
        return false;
    const uint8_t *text = (const uint8_t *)address;
    *seed = len < 4 ? seed_of_three(hash, text, len) : seed_of_eight(hash, text, len);
    return hf_address_hash(*seed, address, len) == hash;
}

size_t hf_address_key(uint8_t *out, const char *address, size_t len, uint64_t hash)
{
    size_t type = hf_address_type_len(address, len);
    size_t key = len > type ? len - type - 1 : 0;
    memcpy(out, address, type);
    out[type] = 0;
    hf_put64_key(out + type + 1, hash);
    memcpy(out + type + 9, address + type + (key ? 1 : 0), key);
    return type + 9 + key;
}

size_t hf_address_of_key(char *out, const uint8_t *key, size_t len, uint64_t *hash)
{
    const uint8_t *zero = memchr(key, 0, len < HF_TYPE_MAX + 1 ? len : HF_TYPE_MAX + 1);
    if (!zero)
        return 0;
    size_t type = (size_t)(zero - key);
    if (len < type + 10 || len - 8 > HF_ADDRESS_MAX)
        return 0;
    size_t rest = len - type - 9;
    memcpy(out, key, type);
    out[type] = '/';
    memcpy(out + type + 1, key + type + 9, rest);
    out[type + 1 + rest] = 0;
    if (hash)
        *hash = hf_get64_key(key + type + 1);
    return type + 1 + rest;
}
