/* fuzz.h - what the fuzzers share.
 *
 * A fuzzer is one LLVMFuzzerTestOneInput. It takes any bytes at all and ends the
 * program when something that must hold does not. replay_corpus.c runs it over the
 * files of tests/fuzz/corpus and over mutations of them; libFuzzer (HF_FUZZ=ON)
 * looks for new ones. One thread. */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "engine/holdfast.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for every input; never compiled out. */
#define FUZZ_CHECK(expr) ((expr) ? (void)0 : fuzz_failed(#expr, __FILE__, __LINE__))

_Noreturn static inline void fuzz_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "%s:%d: this must hold: %s\n", file, line, expr);
    abort();
}

/* Do all of these bytes lie inside those? */
static inline bool fuzz_within(hf_bytes part, const void *data, size_t size)
{
    const uint8_t *at = part.data, *from = data;
    return !part.len || (at >= from && part.len <= size && (size_t)(at - from) <= size - part.len);
}

static inline bool fuzz_same(hf_bytes a, hf_bytes b)
{
    return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

/* A number that follows from the input: which bit to flip, where to cut. */
static inline uint64_t fuzz_number(const uint8_t *data, size_t size)
{
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ data[i]) * UINT64_C(0x100000001b3);
    return sum ^ sum >> 29;
}

static inline void fuzz_flip(uint8_t *bytes, size_t size, uint64_t number)
{
    bytes[number / 8 % size] = (uint8_t)(bytes[number / 8 % size] ^ 1u << (number & 7));
}

/* A copy of exactly this size, so that a sanitizer sees every byte beyond. */
static inline uint8_t *fuzz_copy(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    FUZZ_CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    return copy;
}

/* The same with a zero behind it. */
static inline char *fuzz_text(const void *data, size_t size)
{
    char *copy = malloc(size + 1);
    FUZZ_CHECK(copy);
    if (size)
        memcpy(copy, data, size);
    copy[size] = 0;
    return copy;
}

#endif
