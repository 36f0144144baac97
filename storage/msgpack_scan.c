/* msgpack_scan.c - one token at a time, every length checked before it is used.
 *
 * Happy path: the first byte says the kind and how many bytes of number or
 * length follow; those are read big-endian; a payload must lie inside what is
 * left. hf_msgpack_scan walks the tokens with a stack of "so many still to
 * come", one entry for each open array or map.
 *
 * It fails with HF_EINVAL and a detail that names the byte. Any thread. */
#include "storage/msgpack_scan.h"

#include "storage/error.h"

/* The bytes 0xc0 .. 0xdf: what they are and the width of what follows. */
static const struct head {
    uint8_t type;
    uint8_t width; /* bytes of the number or the length */
    uint8_t fixed; /* ext of a fixed size */
    uint8_t valid;
} heads[32] = {
    [0x00] = { HF_TOKEN_NIL, 0, 0, 1 },     [0x02] = { HF_TOKEN_BOOL, 0, 0, 1 },
    [0x03] = { HF_TOKEN_BOOL, 0, 0, 1 },    [0x04] = { HF_TOKEN_BIN, 1, 0, 1 },
    [0x05] = { HF_TOKEN_BIN, 2, 0, 1 },     [0x06] = { HF_TOKEN_BIN, 4, 0, 1 },
    [0x07] = { HF_TOKEN_EXT, 1, 0, 1 },     [0x08] = { HF_TOKEN_EXT, 2, 0, 1 },
    [0x09] = { HF_TOKEN_EXT, 4, 0, 1 },     [0x0a] = { HF_TOKEN_FLOAT32, 4, 0, 1 },
    [0x0b] = { HF_TOKEN_FLOAT64, 8, 0, 1 }, [0x0c] = { HF_TOKEN_UINT, 1, 0, 1 },
    [0x0d] = { HF_TOKEN_UINT, 2, 0, 1 },    [0x0e] = { HF_TOKEN_UINT, 4, 0, 1 },
    [0x0f] = { HF_TOKEN_UINT, 8, 0, 1 },    [0x10] = { HF_TOKEN_INT, 1, 0, 1 },
    [0x11] = { HF_TOKEN_INT, 2, 0, 1 },     [0x12] = { HF_TOKEN_INT, 4, 0, 1 },
    [0x13] = { HF_TOKEN_INT, 8, 0, 1 },     [0x14] = { HF_TOKEN_EXT, 0, 1, 1 },
    [0x15] = { HF_TOKEN_EXT, 0, 2, 1 },     [0x16] = { HF_TOKEN_EXT, 0, 4, 1 },
    [0x17] = { HF_TOKEN_EXT, 0, 8, 1 },     [0x18] = { HF_TOKEN_EXT, 0, 16, 1 },
    [0x19] = { HF_TOKEN_STR, 1, 0, 1 },     [0x1a] = { HF_TOKEN_STR, 2, 0, 1 },
    [0x1b] = { HF_TOKEN_STR, 4, 0, 1 },     [0x1c] = { HF_TOKEN_ARRAY, 2, 0, 1 },
    [0x1d] = { HF_TOKEN_ARRAY, 4, 0, 1 },   [0x1e] = { HF_TOKEN_MAP, 2, 0, 1 },
    [0x1f] = { HF_TOKEN_MAP, 4, 0, 1 },     /* 0x01 is never used */
};

static uint64_t big_endian(const uint8_t *at, size_t width)
{
    uint64_t value = 0;

    for (size_t i = 0; i < width; i++)
        value = value << 8 | at[i];
    return value;
}

static void read_int(uint64_t raw, size_t width, hf_token *token)
{
    unsigned shift = (unsigned)(64 - 8 * width);

    if (raw >> (8 * width - 1) == 0) { /* a signed type with a value >= 0 */
        token->type = HF_TOKEN_UINT;
        token->as.u = raw;
    } else {
        token->as.i = (int64_t)(raw << shift) >> shift;
    }
}

static void read_float(uint64_t raw, hf_token *token)
{
    if (token->type == HF_TOKEN_FLOAT32) {
        uint32_t bits = (uint32_t)raw;
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        token->as.f = (double)narrow;
    } else {
        memcpy(&token->as.f, &raw, sizeof token->as.f);
    }
}

/* `token->size` bytes are the head; `length` bytes of payload follow. */
static int take_bytes(hf_bytes rest, uint64_t length, hf_token *token)
{
    if (length > rest.len - token->size)
        return HF_EINVAL;
    token->as.bytes = hf_view((const uint8_t *)rest.data + token->size, (size_t)length);
    token->size += (size_t)length;
    return HF_OK;
}

/* Each element needs a byte at least, each pair two. */
static int take_count(hf_bytes rest, uint64_t count, hf_token *token)
{
    uint64_t least = token->type == HF_TOKEN_MAP ? 2 * count : count;

    if (least > rest.len - token->size)
        return HF_EINVAL;
    token->count = (uint32_t)count;
    return HF_OK;
}

/* The kinds whose number or length is in the first byte itself. */
static int short_token(hf_bytes rest, uint8_t first, hf_token *token)
{
    if (first < 0x80) {
        token->type = HF_TOKEN_UINT;
        token->as.u = first;
        return HF_OK;
    }
    if (first >= 0xe0) {
        token->type = HF_TOKEN_INT;
        token->as.i = (int64_t)first - 0x100;
        return HF_OK;
    }
    if (first >= 0xa0) {
        token->type = HF_TOKEN_STR;
        return take_bytes(rest, first & 0x1f, token);
    }
    token->type = first >= 0x90 ? HF_TOKEN_ARRAY : HF_TOKEN_MAP;
    return take_count(rest, first & 0x0f, token);
}

static int long_token(hf_bytes rest, uint8_t first, hf_token *token)
{
    const uint8_t *at = (const uint8_t *)rest.data + 1;
    const struct head *head = &heads[first - 0xc0];
    uint64_t raw;

    if (!head->valid || head->width > rest.len - 1)
        return HF_EINVAL;
    raw = big_endian(at, head->width);
    token->type = (hf_token_type)head->type;
    token->size += head->width;
    switch (token->type) {
    case HF_TOKEN_NIL:
        return HF_OK;
    case HF_TOKEN_BOOL:
        token->as.u = first == 0xc3;
        return HF_OK;
    case HF_TOKEN_UINT:
        token->as.u = raw;
        return HF_OK;
    case HF_TOKEN_INT:
        read_int(raw, head->width, token);
        return HF_OK;
    case HF_TOKEN_FLOAT32:
    case HF_TOKEN_FLOAT64:
        read_float(raw, token);
        return HF_OK;
    case HF_TOKEN_EXT:
        if (token->size >= rest.len)
            return HF_EINVAL;
        token->ext = (int8_t)at[head->width];
        token->size++;
        return take_bytes(rest, head->fixed ? head->fixed : raw, token);
    case HF_TOKEN_STR:
    case HF_TOKEN_BIN:
        return take_bytes(rest, raw, token);
    case HF_TOKEN_ARRAY:
    case HF_TOKEN_MAP:
        return take_count(rest, raw, token);
    }
    return HF_EINVAL;
}

int hf_msgpack_token(hf_bytes rest, hf_token *token)
{
    uint8_t first;

    memset(token, 0, sizeof *token);
    if (rest.len == 0)
        return HF_EINVAL;
    first = *(const uint8_t *)rest.data;
    token->size = 1;
    if (first >= 0xc0 && first < 0xe0)
        return long_token(rest, first, token);
    return short_token(rest, first, token);
}

int hf_msgpack_scan(hf_bytes body, hf_msgpack_shape *shape)
{
    uint64_t left[HF_MSGPACK_DEPTH + 1]; /* tokens still to come, by depth */
    unsigned depth = 0;
    size_t at = 0;
    hf_token token;

    memset(shape, 0, sizeof *shape);
    if (body.len == 0)
        return hf_error(HF_EINVAL, "msgpack: empty");
    left[0] = 1;
    for (;;) {
        while (left[depth] == 0) {
            if (depth-- == 0)
                return at == body.len ? HF_OK
                    : hf_error(HF_EINVAL, "msgpack: value ends at byte %zu of %zu", at, body.len);
        }
        if (hf_msgpack_token(hf_view((const uint8_t *)body.data + at, body.len - at), &token))
            return hf_error(HF_EINVAL, "msgpack: cut short or damaged at byte %zu of %zu", at,
                            body.len);
        at += token.size;
        left[depth]--;
        if (token.type != HF_TOKEN_ARRAY && token.type != HF_TOKEN_MAP)
            continue;
        if (depth == HF_MSGPACK_DEPTH)
            return hf_error(HF_EINVAL, "msgpack: deeper than %d at byte %zu", HF_MSGPACK_DEPTH, at);
        *(token.type == HF_TOKEN_MAP ? &shape->pairs : &shape->elements) += token.count;
        left[++depth] = token.type == HF_TOKEN_MAP ? 2 * (uint64_t)token.count : token.count;
    }
}
