/* pack.c - msgpack, written and read with every length checked.
 *
 * Happy path of reading: cli_msgpack_valid once on what came from outside,
 * then cli_next or cli_field on the parts. Each of them checks again what it
 * reads, so a caller that forgot the first is still safe. Fails with false.
 * Any thread; a buffer belongs to one. */
#include "tools/pack.h"

/* ---- Writing */

static void put_number(cli_buffer *buffer, uint8_t tag, uint64_t value, unsigned bytes)
{
    cli_buffer_byte(buffer, tag);
    for (unsigned i = bytes; i > 0; i--)
        cli_buffer_byte(buffer, (uint8_t)(value >> (8 * (i - 1))));
}

static void pack_nil(cli_buffer *buffer)
{
    cli_buffer_byte(buffer, 0xc0);
}

void cli_pack_bool(cli_buffer *buffer, bool value)
{
    cli_buffer_byte(buffer, value ? 0xc3 : 0xc2);
}

void cli_pack_uint(cli_buffer *buffer, uint64_t value)
{
    if (value < 0x80)
        cli_buffer_byte(buffer, (uint8_t)value);
    else if (value <= UINT8_MAX)
        put_number(buffer, 0xcc, value, 1);
    else if (value <= UINT16_MAX)
        put_number(buffer, 0xcd, value, 2);
    else if (value <= UINT32_MAX)
        put_number(buffer, 0xce, value, 4);
    else
        put_number(buffer, 0xcf, value, 8);
}

void cli_pack_int(cli_buffer *buffer, int64_t value)
{
    if (value >= 0)
        cli_pack_uint(buffer, (uint64_t)value);
    else if (value >= -32)
        cli_buffer_byte(buffer, (uint8_t)value);
    else if (value >= INT8_MIN)
        put_number(buffer, 0xd0, (uint64_t)value, 1);
    else if (value >= INT16_MIN)
        put_number(buffer, 0xd1, (uint64_t)value, 2);
    else if (value >= INT32_MIN)
        put_number(buffer, 0xd2, (uint64_t)value, 4);
    else
        put_number(buffer, 0xd3, (uint64_t)value, 8);
}

void cli_pack_double(cli_buffer *buffer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_number(buffer, 0xcb, bits, 8);
}

/* A length in the smallest of three forms; tag8 0: there is no such form. */
static void put_length(cli_buffer *buffer, uint8_t tag8, uint8_t tag16, uint8_t tag32, size_t len)
{
    if (len <= UINT8_MAX && tag8 != 0)
        put_number(buffer, tag8, len, 1);
    else if (len <= UINT16_MAX)
        put_number(buffer, tag16, len, 2);
    else
        put_number(buffer, tag32, len, 4);
}

void cli_pack_str(cli_buffer *buffer, hf_bytes text)
{
    if (text.len < 32)
        cli_buffer_byte(buffer, (uint8_t)(0xa0 | text.len));
    else
        put_length(buffer, 0xd9, 0xda, 0xdb, text.len);
    cli_buffer_add(buffer, text.data, text.len);
}

void cli_pack_text(cli_buffer *buffer, const char *text)
{
    if (text == NULL)
        pack_nil(buffer);
    else
        cli_pack_str(buffer, hf_str(text));
}

void cli_pack_bin(cli_buffer *buffer, hf_bytes bytes)
{
    put_length(buffer, 0xc4, 0xc5, 0xc6, bytes.len);
    cli_buffer_add(buffer, bytes.data, bytes.len);
}

void cli_pack_ext(cli_buffer *buffer, int8_t type, hf_bytes bytes)
{
    switch (bytes.len) {
    case 1:
        cli_buffer_byte(buffer, 0xd4);
        break;
    case 2:
        cli_buffer_byte(buffer, 0xd5);
        break;
    case 4:
        cli_buffer_byte(buffer, 0xd6);
        break;
    case 8:
        cli_buffer_byte(buffer, 0xd7);
        break;
    case 16:
        cli_buffer_byte(buffer, 0xd8);
        break;
    default:
        put_length(buffer, 0xc7, 0xc8, 0xc9, bytes.len);
    }
    cli_buffer_byte(buffer, (uint8_t)type);
    cli_buffer_add(buffer, bytes.data, bytes.len);
}

void cli_pack_array(cli_buffer *buffer, uint32_t count)
{
    if (count < 16)
        cli_buffer_byte(buffer, (uint8_t)(0x90 | count));
    else
        put_length(buffer, 0, 0xdc, 0xdd, count);
}

void cli_pack_map(cli_buffer *buffer, uint32_t count)
{
    if (count < 16)
        cli_buffer_byte(buffer, (uint8_t)(0x80 | count));
    else
        put_length(buffer, 0, 0xde, 0xdf, count);
}

/* ---- Reading */

static bool take(hf_bytes *rest, size_t len, hf_bytes *taken)
{
    if (rest->len < len)
        return false;
    *taken = hf_view(rest->data, len);
    *rest = hf_view((const uint8_t *)rest->data + len, rest->len - len);
    return true;
}

static bool take_number(hf_bytes *rest, size_t bytes, uint64_t *number)
{
    hf_bytes taken;
    if (!take(rest, bytes, &taken))
        return false;
    *number = 0;
    for (size_t i = 0; i < bytes; i++)
        *number = *number << 8 | ((const uint8_t *)taken.data)[i];
    return true;
}

static bool take_signed(hf_bytes *rest, size_t bytes, cli_value *value)
{
    uint64_t raw;
    if (!take_number(rest, bytes, &raw))
        return false;
    unsigned shift = (unsigned)(64 - 8 * bytes);
    value->integer = (int64_t)(raw << shift) >> shift;
    value->number = (uint64_t)value->integer;
    value->kind = value->integer < 0 ? CLI_INT : CLI_UINT;
    return true;
}

static bool take_real(hf_bytes *rest, size_t bytes, cli_value *value)
{
    uint64_t raw;
    if (!take_number(rest, bytes, &raw))
        return false;
    value->kind = CLI_REAL;
    if (bytes == 8) {
        memcpy(&value->real, &raw, sizeof value->real);
        return true;
    }
    uint32_t bits = (uint32_t)raw;
    float single;
    memcpy(&single, &bits, sizeof single);
    value->real = (double)single;
    return true;
}

static bool take_bytes(hf_bytes *rest, cli_kind kind, size_t length_bytes, uint64_t len,
                       cli_value *value)
{
    value->kind = kind;
    if (length_bytes > 0 && !take_number(rest, length_bytes, &len))
        return false;
    if (kind == CLI_EXT) {
        uint64_t type;
        if (!take_number(rest, 1, &type))
            return false;
        value->type = (int8_t)type;
    }
    return len <= rest->len && take(rest, (size_t)len, &value->bytes);
}

static bool take_count(hf_bytes *rest, cli_kind kind, size_t length_bytes, uint64_t count,
                       cli_value *value)
{
    value->kind = kind;
    if (length_bytes > 0 && !take_number(rest, length_bytes, &count))
        return false;
    value->number = count;
    return count <= (kind == CLI_MAP ? rest->len / 2 : rest->len);
}

static bool take_long_form(hf_bytes *rest, uint8_t tag, cli_value *value)
{
    switch (tag) {
    case 0xc0:
        value->kind = CLI_NIL;
        return true;
    case 0xc2:
    case 0xc3:
        value->kind = CLI_BOOL;
        value->number = tag == 0xc3;
        return true;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        return take_bytes(rest, CLI_BIN, (size_t)1 << (tag - 0xc4), 0, value);
    case 0xc7:
    case 0xc8:
    case 0xc9:
        return take_bytes(rest, CLI_EXT, (size_t)1 << (tag - 0xc7), 0, value);
    case 0xca:
    case 0xcb:
        return take_real(rest, tag == 0xca ? 4 : 8, value);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        value->kind = CLI_UINT;
        return take_number(rest, (size_t)1 << (tag - 0xcc), &value->number);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return take_signed(rest, (size_t)1 << (tag - 0xd0), value);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
        return take_bytes(rest, CLI_EXT, 0, UINT64_C(1) << (tag - 0xd4), value);
    case 0xd9:
    case 0xda:
    case 0xdb:
        return take_bytes(rest, CLI_STR, (size_t)1 << (tag - 0xd9), 0, value);
    case 0xdc:
    case 0xdd:
        return take_count(rest, CLI_ARRAY, tag == 0xdc ? 2 : 4, 0, value);
    case 0xde:
    case 0xdf:
        return take_count(rest, CLI_MAP, tag == 0xde ? 2 : 4, 0, value);
    default: /* 0xc1 is never used */
        return false;
    }
}

bool cli_next_head(hf_bytes *rest, cli_value *value)
{
    uint64_t tag;
    *value = (cli_value){ 0 };
    if (!take_number(rest, 1, &tag))
        return false;
    if (tag < 0x80 || tag >= 0xe0) {
        value->integer = tag < 0x80 ? (int64_t)tag : (int64_t)tag - 256;
        value->number = (uint64_t)value->integer;
        value->kind = tag < 0x80 ? CLI_UINT : CLI_INT;
        return true;
    }
    if (tag < 0x90)
        return take_count(rest, CLI_MAP, 0, tag & 15, value);
    if (tag < 0xa0)
        return take_count(rest, CLI_ARRAY, 0, tag & 15, value);
    if (tag < 0xc0)
        return take_bytes(rest, CLI_STR, 0, tag & 31, value);
    return take_long_form(rest, (uint8_t)tag, value);
}

static uint64_t elements(const cli_value *value)
{
    if (value->kind == CLI_MAP)
        return value->number * 2;
    return value->kind == CLI_ARRAY ? value->number : 0;
}

bool cli_next(hf_bytes *rest, cli_value *value)
{
    if (!cli_next_head(rest, value))
        return false;
    hf_bytes start = *rest;
    uint64_t open = elements(value);
    if (value->kind != CLI_ARRAY && value->kind != CLI_MAP)
        return true;
    while (open > 0) {
        cli_value inner;
        if (!cli_next_head(rest, &inner))
            return false;
        open += elements(&inner);
        open--;
        if (open > rest->len)
            return false;
    }
    value->bytes = hf_view(start.data, start.len - rest->len);
    return true;
}

bool cli_msgpack_valid(hf_bytes bytes)
{
    uint64_t left[CLI_DEPTH_MAX];
    size_t depth = 0;
    hf_bytes rest = bytes;
    do {
        cli_value value;
        if (!cli_next_head(&rest, &value))
            return false;
        if (depth > 0)
            left[depth - 1]--;
        uint64_t count = elements(&value);
        if ((value.kind == CLI_ARRAY || value.kind == CLI_MAP) && depth == CLI_DEPTH_MAX)
            return false; /* an empty one, too: as JSON it could not be read back */
        if (count > 0)
            left[depth++] = count;
        while (depth > 0 && left[depth - 1] == 0)
            depth--;
    } while (depth > 0);
    return rest.len == 0;
}

static bool same(hf_bytes text, const char *other)
{
    size_t len = strlen(other);
    return text.len == len && memcmp(text.data, other, len) == 0;
}

bool cli_field(hf_bytes row, const char *name, cli_value *value)
{
    cli_value map;
    if (!cli_next_head(&row, &map) || map.kind != CLI_MAP)
        return false;
    for (uint64_t i = 0; i < map.number; i++) {
        cli_value key;
        if (!cli_next(&row, &key) || !cli_next(&row, value))
            return false;
        if (key.kind == CLI_STR && same(key.bytes, name))
            return value->kind != CLI_NIL;
    }
    return false;
}

uint64_t cli_field_uint(hf_bytes row, const char *name)
{
    cli_value value;
    return cli_field(row, name, &value) && value.kind == CLI_UINT ? value.number : 0;
}

bool cli_field_bool(hf_bytes row, const char *name)
{
    cli_value value;
    return cli_field(row, name, &value) && value.kind == CLI_BOOL && value.number != 0;
}

hf_bytes cli_field_text(hf_bytes row, const char *name)
{
    cli_value value;
    return cli_field(row, name, &value) && value.kind == CLI_STR ? value.bytes : hf_str("");
}

hf_bytes cli_field_list(hf_bytes row, const char *name)
{
    cli_value value;
    bool found = cli_field(row, name, &value);
    return found && (value.kind == CLI_ARRAY || value.kind == CLI_MAP) ? value.bytes : hf_str("");
}

hf_bytes cli_field_map(hf_bytes row, const char *name)
{
    cli_value map;
    if (!cli_next_head(&row, &map) || map.kind != CLI_MAP)
        return hf_str("");
    for (uint64_t i = 0; i < map.number; i++) {
        cli_value key, value;
        if (!cli_next(&row, &key))
            break;
        hf_bytes start = row;
        if (!cli_next(&row, &value))
            break;
        if (key.kind == CLI_STR && same(key.bytes, name) && value.kind == CLI_MAP)
            return hf_view(start.data, start.len - row.len);
    }
    return hf_str("");
}
