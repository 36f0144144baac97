/* codec.h - numbers on disk: little-endian in values, big-endian in keys
 * (so that keys sort as numbers do). Unaligned access is fine. */
#ifndef STORAGE_CODEC_H
#define STORAGE_CODEC_H

#include <stdint.h>
#include <string.h>

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#define HF_SWAP16(v) __builtin_bswap16(v)
#define HF_SWAP32(v) __builtin_bswap32(v)
#define HF_SWAP64(v) __builtin_bswap64(v)
#define HF_KEEP64(v) (v)
#else
#define HF_SWAP16(v) (v)
#define HF_SWAP32(v) (v)
#define HF_SWAP64(v) (v)
#define HF_KEEP64(v) __builtin_bswap64(v)
#endif

static inline uint16_t hf_get16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return HF_SWAP16(v);
}
static inline uint32_t hf_get32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return HF_SWAP32(v);
}
static inline uint64_t hf_get64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return HF_SWAP64(v);
}
static inline void hf_put16(uint8_t *at, uint16_t v)
{
    v = HF_SWAP16(v);
    memcpy(at, &v, sizeof v);
}
static inline void hf_put32(uint8_t *at, uint32_t v)
{
    v = HF_SWAP32(v);
    memcpy(at, &v, sizeof v);
}
static inline void hf_put64(uint8_t *at, uint64_t v)
{
    v = HF_SWAP64(v);
    memcpy(at, &v, sizeof v);
}
static inline uint64_t hf_get64_key(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return HF_KEEP64(v);
}
static inline void hf_put64_key(uint8_t *at, uint64_t v)
{
    v = HF_KEEP64(v);
    memcpy(at, &v, sizeof v);
}

#endif
