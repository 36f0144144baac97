/* render.c - bytes of a store as JSON or as something a person can read.
 *
 * Happy path: the bytes are checked once as msgpack, then written value by
 * value with a stack of at most CLI_DEPTH_MAX open arrays and maps; nothing
 * recurses. What is not msgpack is shown as text or hex, so that nothing found
 * in a store, however hostile, can make a tool fail. Any thread. */
#include "tools/render.h"
#include "tools/times.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum render_mode { AS_ARRAY, AS_OBJECT, AS_PAIRS } render_mode;

typedef struct render_frame {
    render_mode mode;
    uint64_t    left;  /* values still to come, keys counted */
    bool        first; /* none was written yet */
    bool        key;   /* the next value is a key */
    hf_bytes    name;  /* the last key, if it was text */
} render_frame;

typedef struct renderer {
    cli_buffer  *out;
    bool         row; /* a row of ours: times and bodies have their own look */
    size_t       depth;
    render_frame frames[CLI_DEPTH_MAX];
} renderer;

static bool one_of(hf_bytes name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (name.len == strlen(*names) && memcmp(name.data, *names, name.len) == 0)
            return true;
    }
    return false;
}

/* A row's field that is a time: "due". */
static bool is_time(hf_bytes name)
{
    static const char *const times[] = { "now",  "started", "oldest", "since", "until",
                                         "held_until", "first", "last", "due", "died",
                                         "retry", "sent", "at", "expires", "ended", NULL };
    return one_of(name, times);
}

static bool is_body(hf_bytes name)
{
    static const char *const bodies[] = { "body",   "first_body", "before", "after", "state",
                                          "result", "progress",   "key",    "value", NULL };
    return one_of(name, bodies);
}

void cli_render_string(cli_buffer *out, hf_bytes text)
{
    const uint8_t *data = text.data;
    bool sound = cli_utf8_valid(text);
    cli_buffer_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = data[i];
        if (c == '"' || c == '\\')
            cli_buffer_byte(out, '\\');
        if (c == '\n')
            cli_buffer_text(out, "\\n");
        else if (c == '\t')
            cli_buffer_text(out, "\\t");
        else if (c == '\r')
            cli_buffer_text(out, "\\r");
        else if (c < 0x20 || c == 0x7f)
            cli_buffer_format(out, "\\u%04x", c);
        else if (c >= 0x80 && !sound)
            cli_buffer_text(out, "\xef\xbf\xbd");
        else
            cli_buffer_byte(out, c);
    }
    cli_buffer_byte(out, '"');
}

static void wrap(cli_buffer *out, const char *name, hf_bytes bytes)
{
    cli_buffer_format(out, "{\"%s\":\"", name);
    cli_buffer_base64(out, bytes);
    cli_buffer_text(out, "\"}");
}

/* The shortest text that reads back as the same number, always with a point or
 * an exponent so that it stays a floating-point number. */
static void render_real(cli_buffer *out, double value)
{
    char text[40];
    if (isnan(value) || isinf(value)) {
        cli_buffer_format(out, "{\"$float\":\"%s\"}",
                          isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    cli_buffer_text(out, text);
    if (strpbrk(text, ".e") == NULL)
        cli_buffer_text(out, ".0");
}

static int compare_bytes(const void *left, const void *right)
{
    const hf_bytes *a = left, *b = right;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return a->len == 0 ? 0 : memcmp(a->data, b->data, a->len);
}

/* Would an object that begins with this key be read as one of ours? A body that
 * begins with $text or $hex is, whatever follows. */
static bool means_more(hf_bytes first, uint64_t count)
{
    static const char *const bodies[] = { "$text", "$hex", NULL };
    bool dollar = first.len > 0 && *(const char *)first.data == '$';
    return dollar && (count == 1 || one_of(first, bodies));
}

/* Can these pairs be a JSON object without losing anything? */
static bool is_object(hf_bytes pairs, uint64_t count)
{
    if (count == 0)
        return true;
    hf_bytes *keys = cli_alloc((size_t)count * sizeof *keys);
    bool fits = true;
    for (uint64_t i = 0; fits && i < count; i++) {
        cli_value key, value;
        fits = cli_next(&pairs, &key) && cli_next(&pairs, &value) && key.kind == CLI_STR
               && cli_utf8_valid(key.bytes);
        keys[i] = key.bytes;
    }
    if (fits)
        fits = !means_more(keys[0], count);
    if (fits && count > 1) {
        qsort(keys, (size_t)count, sizeof *keys, compare_bytes);
        for (uint64_t i = 1; fits && i < count; i++)
            fits = compare_bytes(&keys[i - 1], &keys[i]) != 0;
    }
    free(keys);
    return fits;
}

/* What stands between the last value and the next one. */
static void before_value(renderer *to)
{
    if (to->depth == 0)
        return;
    render_frame *frame = &to->frames[to->depth - 1];
    bool starts_element = frame->mode == AS_ARRAY || frame->key;
    if (starts_element && !frame->first)
        cli_buffer_byte(to->out, ',');
    if (starts_element && frame->mode == AS_PAIRS)
        cli_buffer_byte(to->out, '[');
    if (!starts_element)
        cli_buffer_byte(to->out, frame->mode == AS_OBJECT ? ':' : ',');
    frame->first = false;
}

/* A value is complete: close what it completed. */
static void after_value(renderer *to)
{
    while (to->depth > 0) {
        render_frame *frame = &to->frames[to->depth - 1];
        if (frame->left > 0) {
            frame->left--;
            if (frame->mode == AS_PAIRS && !frame->key)
                cli_buffer_byte(to->out, ']');
            if (frame->mode != AS_ARRAY)
                frame->key = !frame->key;
        }
        if (frame->left > 0)
            return;
        cli_buffer_text(to->out, frame->mode == AS_ARRAY    ? "]"
                                 : frame->mode == AS_OBJECT ? "}"
                                                            : "]}");
        to->depth--;
    }
}

static void open_frame(renderer *to, const cli_value *value, hf_bytes rest)
{
    render_frame frame = { .left = value->number, .first = true };
    if (value->kind == CLI_MAP) {
        frame.left *= 2;
        frame.key = true;
        frame.mode = is_object(rest, value->number) ? AS_OBJECT : AS_PAIRS;
    }
    cli_buffer_text(to->out, frame.mode == AS_ARRAY    ? "["
                             : frame.mode == AS_OBJECT ? "{"
                                                       : "{\"$map\":[");
    to->frames[to->depth++] = frame;
}

static void render_text(renderer *to, hf_bytes text)
{
    if (to->depth > 0 && to->frames[to->depth - 1].key)
        to->frames[to->depth - 1].name = text;
    if (cli_utf8_valid(text))
        cli_render_string(to->out, text);
    else
        wrap(to->out, "$str", text);
}

/* A time or body of a row of ours; false if it is neither. */
static bool render_special(renderer *to, const cli_value *value)
{
    if (!to->row || to->depth == 0)
        return false;
    const render_frame *frame = &to->frames[to->depth - 1];
    if (frame->mode != AS_OBJECT || frame->key)
        return false;
    if (value->kind == CLI_BIN && is_body(frame->name)) {
        cli_render_body(to->out, value->bytes);
        return true;
    }
    char iso[CLI_TIME_ROOM];
    if (value->kind != CLI_UINT || !is_time(frame->name) || !cli_time_iso(iso, value->number))
        return false;
    cli_buffer_format(to->out, "\"%s\"", iso);
    return true;
}

static void render_scalar(renderer *to, const cli_value *value)
{
    if (render_special(to, value))
        return;
    switch (value->kind) {
    case CLI_NIL:
        cli_buffer_text(to->out, "null");
        break;
    case CLI_BOOL:
        cli_buffer_text(to->out, value->number ? "true" : "false");
        break;
    case CLI_UINT:
        cli_buffer_format(to->out, "%llu", (unsigned long long)value->number);
        break;
    case CLI_INT:
        cli_buffer_format(to->out, "%lld", (long long)value->integer);
        break;
    case CLI_REAL:
        render_real(to->out, value->real);
        break;
    case CLI_STR:
        render_text(to, value->bytes);
        break;
    case CLI_BIN:
        wrap(to->out, "$bin", value->bytes);
        break;
    case CLI_EXT:
        cli_buffer_format(to->out, "{\"$ext\":[%d,\"", value->type);
        cli_buffer_base64(to->out, value->bytes);
        cli_buffer_text(to->out, "\"]}");
        break;
    case CLI_ARRAY:
    case CLI_MAP:
        break;
    }
}

static bool render(cli_buffer *out, hf_bytes msgpack, bool row)
{
    if (!cli_msgpack_valid(msgpack))
        return false;
    renderer to = { .out = out, .row = row };
    do {
        cli_value value;
        if (!cli_next_head(&msgpack, &value))
            return false;
        before_value(&to);
        if ((value.kind == CLI_ARRAY || value.kind == CLI_MAP) && value.number > 0) {
            open_frame(&to, &value, msgpack);
            continue;
        }
        if (value.kind == CLI_ARRAY)
            cli_buffer_text(out, "[]");
        else if (value.kind == CLI_MAP)
            cli_buffer_text(out, "{}");
        else
            render_scalar(&to, &value);
        after_value(&to);
    } while (to.depth > 0);
    return true;
}

bool cli_render_json(cli_buffer *out, hf_bytes msgpack)
{
    return render(out, msgpack, false);
}

bool cli_render_row(cli_buffer *out, hf_bytes row)
{
    return render(out, row, true);
}

/* UTF-8 that moves no cursor. */
static bool is_printable(hf_bytes text)
{
    const uint8_t *data = text.data;
    for (size_t i = 0; i < text.len; i++) {
        bool blank = data[i] == '\n' || data[i] == '\t' || data[i] == '\r';
        if ((data[i] < 0x20 && !blank) || data[i] == 0x7f)
            return false;
    }
    return cli_utf8_valid(text);
}

void cli_render_body(cli_buffer *out, hf_bytes body)
{
    if (cli_render_json(out, body))
        return;
    if (is_printable(body)) {
        cli_buffer_text(out, "{\"$text\":");
        cli_render_string(out, body);
        cli_buffer_byte(out, '}');
        return;
    }
    cli_buffer_text(out, "{\"$hex\":\"");
    cli_buffer_hex(out, body);
    cli_buffer_text(out, "\"}");
}

void cli_render_safe(cli_buffer *out, hf_bytes text)
{
    const uint8_t *data = text.data;
    bool sound = cli_utf8_valid(text);
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = data[i];
        /* C2 80 .. C2 9F are control characters too. */
        bool control = c == 0xc2 && i + 1 < text.len && data[i + 1] < 0xa0;
        if (c == '\n')
            cli_buffer_text(out, "\\n");
        else if (c == '\t')
            cli_buffer_text(out, "\\t");
        else if (c < 0x20 || c == 0x7f || (c >= 0x80 && !sound))
            cli_buffer_format(out, "\\x%02x", c);
        else if (control && sound)
            cli_buffer_format(out, "\\x%02x", data[++i]);
        else
            cli_buffer_byte(out, c);
    }
}

void cli_render_readable(cli_buffer *out, hf_bytes body)
{
    cli_buffer json = { 0 };
    if (cli_render_json(&json, body)) {
        cli_render_safe(out, cli_buffer_bytes(&json));
    } else if (is_printable(body)) {
        cli_render_safe(out, body);
    } else {
        cli_buffer_text(out, "0x");
        cli_buffer_hex(out, body);
    }
    cli_buffer_free(&json);
}
