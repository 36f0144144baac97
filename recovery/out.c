/* out.c - write msgpack rows.
 *
 * Happy path: each call appends to one growing buffer; maps and arrays get wide
 * heads whose counts are filled in when they end. Fails only for want of memory,
 * which whoever asks for the bytes looks up in `err`. One thread. */
#include "recovery/out.h"

#include "storage/assert.h"
#include "storage/error.h"
#include "storage/memory.h"

void hf_out_clear(hf_out *out)
{
    out->len = 0;
    out->depth = 0;
    out->err = HF_OK;
}

void hf_out_done(hf_out *out)
{
    hf_mem_free(out->data);
    memset(out, 0, sizeof *out);
}

static uint8_t *need(hf_out *out, size_t size)
{
    if (out->err)
        return NULL;
    if (size > out->room - out->len) {
        size_t room = out->room ? out->room * 2 : 1024;
        while (room - out->len < size)
            room *= 2;
        uint8_t *data = hf_mem_grow(out->data, room);
        if (!data) {
            out->err = hf_error(HF_ENOMEM, "a row of %zu bytes", room);
            return NULL;
        }
        out->data = data;
        out->room = room;
    }
    uint8_t *at = out->data + out->len;
    out->len += size;
    return at;
}

/* A head byte and a number of `width` bytes, big-endian. */
static void put_head(hf_out *out, uint8_t head, uint64_t number, size_t width)
{
    uint8_t *at = need(out, 1 + width);
    if (!at)
        return;
    at[0] = head;
    for (size_t i = 0; i < width; i++)
        at[1 + i] = (uint8_t)(number >> (8 * (width - 1 - i)));
}

static void put_bytes(hf_out *out, hf_bytes bytes)
{
    uint8_t *at = bytes.len ? need(out, bytes.len) : NULL;
    if (at)
        memcpy(at, bytes.data, bytes.len);
}

/* str or bin: heads of 8, 16 and 32 bits of length. */
static void put_sized(hf_out *out, hf_bytes bytes, uint8_t head)
{
    if (bytes.len > UINT32_MAX)
        out->err = out->err ? out->err : hf_error(HF_ETOOBIG, "a value of %zu bytes", bytes.len);
    else if (bytes.len <= UINT8_MAX)
        put_head(out, head, bytes.len, 1);
    else if (bytes.len <= UINT16_MAX)
        put_head(out, (uint8_t)(head + 1), bytes.len, 2);
    else
        put_head(out, (uint8_t)(head + 2), bytes.len, 4);
    put_bytes(out, bytes);
}

static void put_text(hf_out *out, hf_bytes text)
{
    if (text.len < 32) {
        put_head(out, (uint8_t)(0xa0 | text.len), 0, 0);
        put_bytes(out, text);
    } else {
        put_sized(out, text, 0xd9);
    }
}

static void put_uint(hf_out *out, uint64_t value)
{
    if (value < 128)
        put_head(out, (uint8_t)value, 0, 0);
    else if (value <= UINT8_MAX)
        put_head(out, 0xcc, value, 1);
    else if (value <= UINT16_MAX)
        put_head(out, 0xcd, value, 2);
    else if (value <= UINT32_MAX)
        put_head(out, 0xce, value, 4);
    else
        put_head(out, 0xcf, value, 8);
}

/* One more field or element of what is open. */
static void begin(hf_out *out, const char *name)
{
    if (out->depth)
        out->open[out->depth - 1].count++;
    if (name)
        put_text(out, hf_str(name));
}

static void open_one(hf_out *out, const char *name, uint8_t head)
{
    begin(out, name);
    HF_ASSERT(out->depth < HF_OUT_DEPTH);
    out->open[out->depth].at = out->len;
    out->open[out->depth++].count = 0;
    put_head(out, head, 0, 4);
}

void hf_out_map(hf_out *out, const char *name)
{
    open_one(out, name, 0xdf);
}

void hf_out_array(hf_out *out, const char *name)
{
    open_one(out, name, 0xdd);
}

void hf_out_end(hf_out *out)
{
    HF_ASSERT(out->depth > 0);
    out->depth--;
    if (out->err)
        return;
    uint32_t count = out->open[out->depth].count;
    uint8_t *at = out->data + out->open[out->depth].at + 1;
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(count >> (24 - 8 * i));
}

void hf_out_uint(hf_out *out, const char *name, uint64_t value)
{
    begin(out, name);
    put_uint(out, value);
}

void hf_out_int(hf_out *out, const char *name, int64_t value)
{
    begin(out, name);
    if (value >= 0)
        put_uint(out, (uint64_t)value);
    else
        put_head(out, 0xd3, (uint64_t)value, 8);
}

void hf_out_bool(hf_out *out, const char *name, bool value)
{
    begin(out, name);
    put_head(out, value ? 0xc3 : 0xc2, 0, 0);
}

void hf_out_text(hf_out *out, const char *name, hf_bytes text)
{
    begin(out, name);
    put_text(out, text);
}

void hf_out_bin(hf_out *out, const char *name, hf_bytes bytes)
{
    begin(out, name);
    put_sized(out, bytes, 0xc4);
}

void hf_out_raw(hf_out *out, const char *name, hf_bytes value)
{
    begin(out, name);
    put_bytes(out, value);
}

void hf_out_time(hf_out *out, const char *name, uint64_t ms)
{
    if (ms)
        hf_out_uint(out, name, ms);
}

void hf_out_words(hf_out *out, const char *name, const char *text)
{
    if (*text)
        hf_out_text(out, name, hf_str(text));
}
