/* order_json.c - a strict JSON reader for one line at a time.
 *
 * Happy path: the caller knows what it wants and asks for it piece by piece;
 * each call skips white space, takes its piece and moves on. Nothing is
 * allocated and nothing recurses, so a hostile line costs its own length.
 *
 * How it fails: -1, and json->why holds a sentence with the column. */
#include "examples/orders/order_json.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void json_init(json_reader *json, const char *text, size_t len)
{
    *json = (json_reader){ .start = text, .at = text, .end = text + len };
}

int json_wrong(json_reader *json, const char *what)
{
    snprintf(json->why, sizeof json->why, "%s at column %zu", what,
             (size_t)(json->at - json->start) + 1);
    return -1;
}

static void skip_space(json_reader *json)
{
    while (json->at < json->end && strchr(" \t\r\n", *json->at) && *json->at)
        json->at++;
}

int json_expect(json_reader *json, char c)
{
    char what[] = "'?' is missing";

    skip_space(json);
    if (json->at == json->end || *json->at != c) {
        what[1] = c;
        return json_wrong(json, what);
    }
    json->at++;
    return 0;
}

int json_more(json_reader *json, char close, int *first)
{
    skip_space(json);
    if (json->at < json->end && *json->at == close) {
        json->at++;
        return 0;
    }
    if (*first) {
        *first = 0;
        return 1;
    }
    return json_expect(json, ',') ? -1 : 1;
}

int json_null(json_reader *json)
{
    skip_space(json);
    if (json->end - json->at < 4 || memcmp(json->at, "null", 4) != 0)
        return 0;
    json->at += 4;
    return 1;
}

int json_end(json_reader *json)
{
    skip_space(json);
    return json->at == json->end ? 0 : json_wrong(json, "something follows the order");
}

/* ---- Strings */

static int hex4(json_reader *json, uint32_t *unit)
{
    *unit = 0;
    if (json->end - json->at < 4)
        return json_wrong(json, "\\u wants four hex digits");
    for (int i = 0; i < 4; i++, json->at++) {
        static const char digits[] = "0123456789abcdef";
        char c = *json->at;
        const char *digit = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
        if (!digit)
            return json_wrong(json, "\\u wants four hex digits");
        *unit = *unit << 4 | (uint32_t)(digit - digits);
    }
    return 0;
}

static size_t utf8_put(uint32_t point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3f));
    out[0] = (char)((0xf00 >> n & 0xff) | point);
    return n;
}

/* Behind "\u": one code point, from two units if it needs them. */
static int escaped_point(json_reader *json, uint32_t *point)
{
    uint32_t low;

    if (hex4(json, point))
        return -1;
    if (*point == 0)
        return json_wrong(json, "\\u0000 is not allowed");
    if (*point < 0xd800 || *point > 0xdfff)
        return 0;
    if (*point > 0xdbff || json->end - json->at < 2 || memcmp(json->at, "\\u", 2) != 0)
        return json_wrong(json, "half a surrogate pair");
    json->at += 2;
    if (hex4(json, &low))
        return -1;
    if (low < 0xdc00 || low > 0xdfff)
        return json_wrong(json, "half a surrogate pair");
    *point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
    return 0;
}

/* Behind a backslash: what it stands for. */
static int escape(json_reader *json, char out[4], size_t *len)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *which;
    uint32_t point;

    if (json->at == json->end)
        return json_wrong(json, "string without an end");
    if (*json->at == 'u') {
        json->at++;
        if (escaped_point(json, &point))
            return -1;
        *len = utf8_put(point, out);
        return 0;
    }
    which = *json->at ? strchr(from, *json->at) : NULL;
    if (!which)
        return json_wrong(json, "unknown escape");
    json->at++;
    out[0] = to[which - from];
    *len = 1;
    return 0;
}

/* The bytes of the character at `at`; 0 if it is no valid UTF-8 (also none that
 * is written longer than needed, a surrogate, or beyond U+10FFFF). */
static size_t utf8_len(const char *at, const char *end)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint8_t first = (uint8_t)*at;
    size_t n = first < 0x80       ? 1
               : first >> 5 == 6  ? 2
               : first >> 4 == 14 ? 3
               : first >> 3 == 30 ? 4
                                  : 0;
    uint32_t point = n == 1 ? first : first & (0x7fu >> n);

    if (n == 0 || (size_t)(end - at) < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (((uint8_t)at[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | ((uint8_t)at[i] & 0x3f);
    }
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    return n;
}

int json_string(json_reader *json, char *out, size_t size)
{
    size_t used = 0;

    if (json_expect(json, '"'))
        return json_wrong(json, "a text in \"\" is wanted");
    for (;;) {
        char piece[4];
        size_t len = 0;
        if (json->at == json->end)
            return json_wrong(json, "string without an end");
        if (*json->at == '"')
            break;
        if (*json->at == '\\') {
            json->at++;
            if (escape(json, piece, &len))
                return -1;
        } else {
            len = (uint8_t)*json->at < 0x20 ? 0 : utf8_len(json->at, json->end);
            if (len == 0)
                return json_wrong(json, "control character or damaged UTF-8");
            memcpy(piece, json->at, len);
            json->at += len;
        }
        if (len >= size - used)
            return json_wrong(json, "text is too long");
        memcpy(out + used, piece, len);
        used += len;
    }
    json->at++;
    out[used] = 0;
    return 0;
}

/* ---- Numbers */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int json_uint(json_reader *json, uint64_t max, uint64_t *value)
{
    const char *digits;

    skip_space(json);
    digits = json->at;
    *value = 0;
    while (json->at < json->end && is_digit(*json->at)) {
        uint64_t digit = (uint64_t)(*json->at - '0');
        if (*value > (UINT64_MAX - digit) / 10)
            return json_wrong(json, "number is too large");
        *value = *value * 10 + digit;
        json->at++;
    }
    if (json->at == digits || (json->at - digits > 1 && *digits == '0')
        || (json->at < json->end && *json->at && strchr(".eE+-", *json->at)))
        return json_wrong(json, "a whole number is wanted");
    if (*value > max)
        return json_wrong(json, "number is too large");
    return 0;
}
