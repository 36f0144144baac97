/* buffer.c - bytes that grow, with base64, hex and UTF-8.
 *
 * Happy path: add, add, add, look at data and len, free. Fails by ending the
 * program with exit code 1: a tool that cannot get memory has nothing to save.
 * One thread a buffer. */
#include "tools/buffer.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void no_memory(size_t size)
{
    fprintf(stderr, "holdfast: out of memory (%zu bytes)\n", size);
    exit(1);
}

void *cli_grow(void *memory, size_t size)
{
    void *grown = realloc(memory, size == 0 ? 1 : size);
    if (grown == NULL)
        no_memory(size);
    return grown;
}

void *cli_alloc(size_t size)
{
    void *memory = cli_grow(NULL, size);
    memset(memory, 0, size);
    return memory;
}

static void reserve(cli_buffer *buffer, size_t len)
{
    if (buffer->room - buffer->len >= len)
        return;
    if (len > SIZE_MAX / 4 || buffer->len > SIZE_MAX / 4)
        no_memory(len);
    size_t room = buffer->room * 2 + 64;
    if (room < buffer->len + len)
        room = buffer->len + len;
    buffer->data = cli_grow(buffer->data, room);
    buffer->room = room;
}

void cli_buffer_add(cli_buffer *buffer, const void *data, size_t len)
{
    if (len == 0)
        return;
    reserve(buffer, len);
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
}

void cli_buffer_byte(cli_buffer *buffer, uint8_t byte)
{
    cli_buffer_add(buffer, &byte, 1);
}

void cli_buffer_text(cli_buffer *buffer, const char *text)
{
    cli_buffer_add(buffer, text, strlen(text));
}

void cli_buffer_format(cli_buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need > 0) {
        reserve(buffer, (size_t)need + 1);
        (void)vsnprintf((char *)buffer->data + buffer->len, (size_t)need + 1, format, again);
        buffer->len += (size_t)need;
    }
    va_end(again);
}

void cli_buffer_insert(cli_buffer *buffer, size_t at, size_t len)
{
    reserve(buffer, len);
    memmove(buffer->data + at + len, buffer->data + at, buffer->len - at);
    buffer->len += len;
}

hf_bytes cli_buffer_bytes(const cli_buffer *buffer)
{
    return hf_view(buffer->data, buffer->len);
}

void cli_buffer_free(cli_buffer *buffer)
{
    free(buffer->data);
    *buffer = (cli_buffer){ 0 };
}

void cli_buffer_hex(cli_buffer *buffer, hf_bytes bytes)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *data = bytes.data;
    for (size_t i = 0; i < bytes.len; i++) {
        cli_buffer_byte(buffer, (uint8_t)digits[data[i] >> 4]);
        cli_buffer_byte(buffer, (uint8_t)digits[data[i] & 15]);
    }
}

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void cli_buffer_base64(cli_buffer *buffer, hf_bytes bytes)
{
    const uint8_t *data = bytes.data;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t three = (uint32_t)data[i] << 16;
        if (left > 1)
            three |= (uint32_t)data[i + 1] << 8;
        if (left > 2)
            three |= data[i + 2];
        char four[4] = { alphabet[three >> 18], alphabet[three >> 12 & 63],
                         left > 1 ? alphabet[three >> 6 & 63] : '=',
                         left > 2 ? alphabet[three & 63] : '=' };
        cli_buffer_add(buffer, four, 4);
    }
}

static int sextet(char c)
{
    const char *at = c == 0 ? NULL : strchr(alphabet, c);
    return at == NULL ? -1 : (int)(at - alphabet);
}

int cli_buffer_unbase64(cli_buffer *buffer, hf_bytes text)
{
    const char *data = text.data;
    if (text.len % 4 != 0)
        return -1;
    for (size_t i = 0; i < text.len; i += 4) {
        bool last = i + 4 == text.len;
        size_t pad = last ? (size_t)(data[i + 3] == '=') + (size_t)(data[i + 2] == '=') : 0;
        if (pad == 2 && data[i + 3] != '=')
            return -1;
        if (pad == 1 && data[i + 3] != '=')
            return -1;
        uint32_t three = 0;
        for (size_t j = 0; j < 4; j++) {
            int six = j >= 4 - pad ? 0 : sextet(data[i + j]);
            if (six < 0)
                return -1;
            three = three << 6 | (uint32_t)six;
        }
        uint8_t bytes[3] = { (uint8_t)(three >> 16), (uint8_t)(three >> 8), (uint8_t)three };
        /* Bits beyond the last byte must be 0: one text for each value. */
        if ((pad == 1 && bytes[2] != 0) || (pad == 2 && bytes[1] != 0))
            return -1;
        cli_buffer_add(buffer, bytes, 3 - pad);
    }
    return 0;
}

/* Length of the sequence that `lead` begins, and the least code point that
 * needs so many bytes; 0 for a byte that begins none. */
static size_t sequence(uint8_t lead, uint32_t *least)
{
    if (lead < 0x80) {
        *least = 0;
        return 1;
    }
    if (lead >= 0xc2 && lead < 0xe0) {
        *least = 0x80;
        return 2;
    }
    if (lead >= 0xe0 && lead < 0xf0) {
        *least = 0x800;
        return 3;
    }
    if (lead >= 0xf0 && lead < 0xf5) {
        *least = 0x10000;
        return 4;
    }
    return 0;
}

int cli_utf8_valid(hf_bytes text)
{
    const uint8_t *data = text.data;
    for (size_t i = 0; i < text.len;) {
        uint32_t least = 0;
        size_t len = sequence(data[i], &least);
        if (len == 0 || text.len - i < len)
            return 0;
        uint32_t point = len == 1 ? data[i] : data[i] & (0x7fU >> len);
        for (size_t j = 1; j < len; j++) {
            if ((data[i + j] & 0xc0) != 0x80)
                return 0;
            point = point << 6 | (data[i + j] & 0x3fU);
        }
        if (point < least || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
            return 0;
        i += len;
    }
    return 1;
}

size_t cli_utf8_width(hf_bytes text)
{
    const uint8_t *data = text.data;
    size_t width = 0;
    for (size_t i = 0; i < text.len; i++)
        width += (data[i] & 0xc0) != 0x80;
    return width;
}
