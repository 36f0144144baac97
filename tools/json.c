/* json.c - JSON in, msgpack out.
 *
 * Happy path: one walk over the text with a stack of open arrays and objects.
 * An array's or object's head is one byte until it closes and its count is
 * known; then it is widened if it must be. An object of one pair whose key
 * begins with '$' is replaced by what it stands for as it closes.
 *
 * Fails with false, the byte where the text stops making sense and a reason in
 * words; what was appended is taken back. Any thread, no recursion. */
#include "tools/json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

typedef struct json_frame {
    size_t   start; /* of its msgpack head in out */
    size_t   from;  /* where it began in the text */
    uint32_t count;
    bool     object;
} json_frame;

typedef struct json_reader {
    cli_buffer *out;
    const char *text;
    size_t      len, at;
    const char *why;
    size_t      depth;
    json_frame  frames[CLI_DEPTH_MAX];
} json_reader;

static bool wrong(json_reader *in, size_t at, const char *why)
{
    in->at = at;
    in->why = why;
    return false;
}

static char peek(json_reader *in)
{
    while (in->at < in->len && strchr(" \t\r\n", in->text[in->at]) != NULL && in->text[in->at])
        in->at++;
    return in->at < in->len ? in->text[in->at] : 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Four hex digits at text[at]; -1 if they are not there. */
static int32_t unit_at(const json_reader *in, size_t at)
{
    int32_t unit = 0;
    if (in->len < 4 || at > in->len - 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_digit(in->text[at + i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static void add_point(cli_buffer *to, uint32_t point)
{
    if (point < 0x80) {
        cli_buffer_byte(to, (uint8_t)point);
        return;
    }
    unsigned more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t leads[] = { 0, 0xc0, 0xe0, 0xf0 };
    cli_buffer_byte(to, (uint8_t)(leads[more] | point >> (6 * more)));
    while (more-- > 0)
        cli_buffer_byte(to, (uint8_t)(0x80 | (point >> (6 * more) & 0x3f)));
}

/* What follows \u, surrogate pairs joined. */
static bool read_point(json_reader *in, cli_buffer *to)
{
    int32_t unit = unit_at(in, in->at);
    if (unit < 0)
        return wrong(in, in->at, "four hex digits are missing after \\u");
    in->at += 4;
    uint32_t point = (uint32_t)unit;
    if (unit >= 0xd800 && unit < 0xdc00) {
        bool pair = in->len - in->at >= 6 && in->text[in->at] == '\\'
                    && in->text[in->at + 1] == 'u';
        int32_t low = pair ? unit_at(in, in->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return wrong(in, in->at, "the second half of a surrogate pair is missing");
        in->at += 6;
        point = 0x10000 + ((point - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
    } else if (unit >= 0xdc00 && unit < 0xe000) {
        return wrong(in, in->at - 4, "half a surrogate pair stands alone");
    }
    add_point(to, point);
    return true;
}

static bool read_escape(json_reader *in, cli_buffer *to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    char c = in->at < in->len ? in->text[in->at] : 0;
    if (c == 'u') {
        in->at++;
        return read_point(in, to);
    }
    const char *found = c == 0 ? NULL : strchr(from, c);
    if (found == NULL)
        return wrong(in, in->at, "no such escape");
    in->at++;
    cli_buffer_byte(to, (uint8_t)into[found - from]);
    return true;
}

static bool read_string(json_reader *in, cli_buffer *to)
{
    size_t from = in->at++;
    for (;;) {
        if (in->at >= in->len)
            return wrong(in, from, "this string is not closed");
        uint8_t c = (uint8_t)in->text[in->at];
        if (c < 0x20)
            return wrong(in, in->at, "a control character in a string must be escaped");
        in->at++;
        if (c == '"')
            break;
        if (c != '\\')
            cli_buffer_byte(to, c);
        else if (!read_escape(in, to))
            return false;
    }
    if (!cli_utf8_valid(cli_buffer_bytes(to)))
        return wrong(in, from, "this string is not UTF-8");
    return true;
}

static bool pack_string(json_reader *in)
{
    cli_buffer text = { 0 };
    bool fine = read_string(in, &text);
    if (fine)
        cli_pack_str(in->out, cli_buffer_bytes(&text));
    cli_buffer_free(&text);
    return fine;
}

static size_t digits_at(const json_reader *in, size_t at)
{
    size_t count = 0;
    while (at + count < in->len && in->text[at + count] >= '0' && in->text[at + count] <= '9')
        count++;
    return count;
}

/* Where the number that begins at in->at ends, 0 if none does. */
static size_t number_end(const json_reader *in, bool *real)
{
    size_t at = in->at + (in->text[in->at] == '-');
    size_t whole = digits_at(in, at);
    if (whole == 0 || (whole > 1 && in->text[at] == '0'))
        return 0;
    at += whole;
    if (at < in->len && in->text[at] == '.') {
        size_t digits = digits_at(in, at + 1);
        if (digits == 0)
            return 0;
        at += 1 + digits;
        *real = true;
    }
    if (at < in->len && (in->text[at] == 'e' || in->text[at] == 'E')) {
        at++;
        at += at < in->len && (in->text[at] == '+' || in->text[at] == '-');
        size_t digits = digits_at(in, at);
        if (digits == 0)
            return 0;
        at += digits;
        *real = true;
    }
    return at;
}

static bool pack_number(json_reader *in)
{
    char text[400];
    bool real = false;
    size_t from = in->at, end = number_end(in, &real);
    if (end == 0)
        return wrong(in, from, "no JSON value begins like this");
    if (end - from >= sizeof text)
        return wrong(in, from, "this number is too long");
    memcpy(text, in->text + from, end - from);
    text[end - from] = 0;
    in->at = end;
    errno = 0;
    if (real) {
        double value = strtod(text, NULL);
        if (isinf(value))
            return wrong(in, from, "this number is too large");
        cli_pack_double(in->out, value);
    } else if (text[0] == '-') {
        cli_pack_int(in->out, strtoll(text, NULL, 10));
    } else {
        cli_pack_uint(in->out, strtoull(text, NULL, 10));
    }
    if (!real && errno == ERANGE)
        return wrong(in, from, "this integer does not fit 64 bits");
    return true;
}

static bool pack_word(json_reader *in)
{
    static const struct {
        const char *word;
        uint8_t     byte;
    } words[] = { { "null", 0xc0 }, { "false", 0xc2 }, { "true", 0xc3 } };
    for (size_t i = 0; i < 3; i++) {
        size_t len = strlen(words[i].word);
        if (in->len - in->at >= len && memcmp(in->text + in->at, words[i].word, len) == 0) {
            in->at += len;
            cli_buffer_byte(in->out, words[i].byte);
            return true;
        }
    }
    return wrong(in, in->at, "no JSON value begins like this");
}

/* ---- {"$bin":…} and its kin */

static bool is_name(const cli_value *key, const char *name)
{
    return key->bytes.len == strlen(name) && memcmp(key->bytes.data, name, key->bytes.len) == 0;
}

/* base64 `text` into out as bin, str or ext. */
static bool unwrap_base64(cli_buffer *out, const cli_value *text, cli_kind kind, int8_t type)
{
    cli_buffer bytes = { 0 };
    bool fine = text->kind == CLI_STR && cli_buffer_unbase64(&bytes, text->bytes) == 0;
    if (fine && kind == CLI_BIN)
        cli_pack_bin(out, cli_buffer_bytes(&bytes));
    else if (fine && kind == CLI_STR)
        cli_pack_str(out, cli_buffer_bytes(&bytes));
    else if (fine)
        cli_pack_ext(out, type, cli_buffer_bytes(&bytes));
    cli_buffer_free(&bytes);
    return fine;
}

static bool unwrap_ext(cli_buffer *out, const cli_value *list)
{
    cli_value type, data;
    hf_bytes rest = list->bytes;
    if (list->kind != CLI_ARRAY || list->number != 2 || !cli_next(&rest, &type)
        || !cli_next(&rest, &data))
        return false;
    bool fits = type.kind == CLI_UINT ? type.number <= INT8_MAX
                                      : type.kind == CLI_INT && type.integer >= INT8_MIN;
    int8_t number = (int8_t)(type.kind == CLI_UINT ? (int64_t)type.number : type.integer);
    return fits && unwrap_base64(out, &data, CLI_EXT, number);
}

static bool unwrap_map(cli_buffer *out, const cli_value *pairs)
{
    hf_bytes rest = pairs->bytes;
    if (pairs->kind != CLI_ARRAY)
        return false;
    cli_pack_map(out, (uint32_t)pairs->number);
    for (uint64_t i = 0; i < pairs->number; i++) {
        cli_value pair;
        if (!cli_next(&rest, &pair) || pair.kind != CLI_ARRAY || pair.number != 2)
            return false;
        cli_buffer_add(out, pair.bytes.data, pair.bytes.len);
    }
    return true;
}

static bool unwrap_float(cli_buffer *out, const cli_value *name)
{
    if (name->kind != CLI_STR)
        return false;
    if (is_name(name, "nan"))
        cli_pack_double(out, (double)NAN);
    else if (is_name(name, "inf"))
        cli_pack_double(out, (double)INFINITY);
    else if (is_name(name, "-inf"))
        cli_pack_double(out, (double)-INFINITY);
    else
        return false;
    return true;
}

/* The object that just closed has one pair: put what it stands for in its
 * place, if its key begins with '$'. */
static bool unwrap(json_reader *in, const json_frame *frame)
{
    hf_bytes rest = hf_view(in->out->data + frame->start, in->out->len - frame->start);
    cli_value map, key, value;
    if (!cli_next_head(&rest, &map) || !cli_next(&rest, &key) || !cli_next(&rest, &value))
        return wrong(in, frame->from, "this object is damaged");
    if (key.bytes.len == 0 || *(const char *)key.bytes.data != '$')
        return true;
    cli_buffer made = { 0 };
    bool fine = false;
    if (is_name(&key, "$bin"))
        fine = unwrap_base64(&made, &value, CLI_BIN, 0);
    else if (is_name(&key, "$str"))
        fine = unwrap_base64(&made, &value, CLI_STR, 0);
    else if (is_name(&key, "$ext"))
        fine = unwrap_ext(&made, &value);
    else if (is_name(&key, "$map"))
        fine = unwrap_map(&made, &value);
    else if (is_name(&key, "$float"))
        fine = unwrap_float(&made, &value);
    if (fine) {
        in->out->len = frame->start;
        cli_buffer_add(in->out, made.data, made.len);
    }
    cli_buffer_free(&made);
    return fine || wrong(in, frame->from, "an object whose only key begins with $ must be one of "
                                          "$bin $str $ext $map $float with its proper value");
}

/* ---- Arrays and objects */

static bool read_key(json_reader *in)
{
    if (peek(in) != '"')
        return wrong(in, in->at, "a key in \"quotes\" is missing");
    if (!pack_string(in))
        return false;
    if (peek(in) != ':')
        return wrong(in, in->at, "':' is missing");
    in->at++;
    return true;
}

static bool close_frame(json_reader *in)
{
    json_frame frame = in->frames[--in->depth];
    cli_buffer head = { 0 };
    in->at++;
    if (frame.object)
        cli_pack_map(&head, frame.count);
    else
        cli_pack_array(&head, frame.count);
    cli_buffer_insert(in->out, frame.start, head.len - 1);
    memcpy(in->out->data + frame.start, head.data, head.len);
    cli_buffer_free(&head);
    return !frame.object || frame.count != 1 || unwrap(in, &frame);
}

/* Begin a value. *whole: it is complete, else its elements come next. */
static bool begin_value(json_reader *in, bool *whole)
{
    char c = peek(in);
    *whole = true;
    if (c == '"')
        return pack_string(in);
    if (c == '-' || (c >= '0' && c <= '9'))
        return pack_number(in);
    if (c != '{' && c != '[')
        return pack_word(in);
    if (in->depth == CLI_DEPTH_MAX)
        return wrong(in, in->at, "nested too deep");
    json_frame frame = { .start = in->out->len, .from = in->at, .object = c == '{' };
    in->frames[in->depth++] = frame;
    in->at++;
    cli_buffer_byte(in->out, 0);
    if (peek(in) == (frame.object ? '}' : ']'))
        return close_frame(in);
    *whole = false;
    return !frame.object || read_key(in);
}

/* A value is complete: go to where the next one begins, or to the end. */
static bool end_value(json_reader *in)
{
    while (in->depth > 0) {
        json_frame *frame = &in->frames[in->depth - 1];
        frame->count++;
        char c = peek(in);
        if (c == ',') {
            in->at++;
            return !frame->object || read_key(in);
        }
        if (c != (frame->object ? '}' : ']'))
            return wrong(in, in->at, frame->object ? "',' or '}' is missing"
                                                   : "',' or ']' is missing");
        if (!close_frame(in))
            return false;
    }
    return true;
}

bool cli_json_pack(cli_buffer *out, hf_bytes json, size_t *at, const char **why)
{
    size_t before = out->len;
    json_reader in = { .out = out, .text = json.data, .len = json.len };
    bool fine = true, whole = false;
    do {
        fine = begin_value(&in, &whole) && (!whole || end_value(&in));
    } while (fine && in.depth > 0);
    if (fine && (peek(&in) != 0 || in.at < in.len))
        fine = wrong(&in, in.at, "something follows the JSON value");
    if (!fine) {
        out->len = before;
        *at = in.at;
        *why = in.why;
    }
    return fine;
}

static bool add_hex(cli_buffer *out, hf_bytes text)
{
    const char *digits = text.data;
    if (text.len % 2 != 0)
        return false;
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_digit(digits[i]), low = hex_digit(digits[i + 1]);
        if (high < 0 || low < 0)
            return false;
        cli_buffer_byte(out, (uint8_t)(high * 16 + low));
    }
    return true;
}

/* {"$text":"…"} or {"$hex":"…"}, a whole document of it; *raw: it was one. */
static bool read_raw(json_reader *in, cli_buffer *out, bool *raw)
{
    cli_buffer key = { 0 }, value = { 0 };
    bool fine = true;
    *raw = false;
    if (peek(in) == '{') {
        in->at++;
        *raw = peek(in) == '"' && read_string(in, &key)
               && ((key.len == 5 && memcmp(key.data, "$text", 5) == 0)
                   || (key.len == 4 && memcmp(key.data, "$hex", 4) == 0));
    }
    if (*raw) {
        fine = peek(in) == ':' && (in->at++, peek(in) == '"') && read_string(in, &value)
               && peek(in) == '}' && (in->at++, peek(in) == 0) && in->at == in->len;
        if (fine && key.len == 5)
            cli_buffer_add(out, value.data, value.len);
        else if (fine)
            fine = add_hex(out, cli_buffer_bytes(&value));
    }
    cli_buffer_free(&key);
    cli_buffer_free(&value);
    return fine || wrong(in, in->at, "$text or $hex takes one string and stands alone");
}

bool cli_json_body(cli_buffer *out, hf_bytes json, size_t *at, const char **why)
{
    size_t before = out->len;
    json_reader in = { .out = out, .text = json.data, .len = json.len };
    bool raw = false;
    if (!read_raw(&in, out, &raw)) {
        out->len = before;
        *at = in.at;
        *why = in.why;
        return false;
    }
    return raw || cli_json_pack(out, json, at, why);
}
