/* arguments.c - read the arguments of a question or change.
 *
 * Happy path: scan the whole value once, so that nothing in it claims more than
 * there is; then take key after key and put its value where the caller wants it.
 * Everything unexpected is HF_EINVAL with the name in the detail. Any thread. */
#include "recovery/arguments.h"

#include "storage/error.h"
#include "storage/memory.h"

#include "storage/msgpack_scan.h"

static void skip(hf_bytes *rest, size_t size)
{
    *rest = hf_view((const uint8_t *)rest->data + size, rest->len - size);
}

/* Step over one whole value that was scanned before. */
static int skip_value(hf_bytes *rest)
{
    hf_token token;
    uint64_t left = 1;
    while (left) {
        int err = hf_msgpack_token(*rest, &token);
        if (err)
            return err;
        skip(rest, token.size);
        left--;
        if (token.type == HF_TOKEN_ARRAY)
            left += token.count;
        else if (token.type == HF_TOKEN_MAP)
            left += 2 * (uint64_t)token.count;
    }
    return HF_OK;
}

static const char *const type_names[] = { "a text", "bytes", "a number",
                                         "a number", "true or false", "a list" };

static int take(const char *what, hf_argument *a, hf_bytes *rest)
{
    hf_token token;
    hf_bytes start = *rest;
    int err = hf_msgpack_token(*rest, &token);
    if (!err)
        err = skip_value(rest);
    if (err || token.type == HF_TOKEN_NIL)
        return err;
    bool fits = (a->type == HF_ARG_TEXT && token.type == HF_TOKEN_STR)
        || (a->type == HF_ARG_BIN && (token.type == HF_TOKEN_BIN || token.type == HF_TOKEN_STR))
        || (a->type == HF_ARG_UINT && token.type == HF_TOKEN_UINT)
        || (a->type == HF_ARG_INT
            && (token.type == HF_TOKEN_INT || token.type == HF_TOKEN_UINT))
        || (a->type == HF_ARG_BOOL && token.type == HF_TOKEN_BOOL)
        || (a->type == HF_ARG_ARRAY && token.type == HF_TOKEN_ARRAY);
    if (!fits)
        return hf_error(HF_EINVAL, "%s: `%s` must be %s", what, a->name, type_names[a->type]);
    a->given = true;
    if (a->type == HF_ARG_TEXT || a->type == HF_ARG_BIN) {
        a->bytes = token.as.bytes;
        if (a->type == HF_ARG_TEXT && a->bytes.len && memchr(a->bytes.data, 0, a->bytes.len))
            return hf_error(HF_EINVAL, "%s: `%s` holds a zero byte", what, a->name);
    } else if (a->type == HF_ARG_ARRAY) {
        a->count = token.count;
        a->bytes = hf_view((const uint8_t *)start.data + token.size,
                           start.len - rest->len - token.size);
    } else if (token.type == HF_TOKEN_INT) {
        a->number = (uint64_t)token.as.i;
    } else {
        a->number = token.as.u;
    }
    return HF_OK;
}

static hf_argument *find(hf_argument *known, size_t count, hf_bytes name)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(known[i].name) == name.len && memcmp(known[i].name, name.data, name.len) == 0)
            return &known[i];
    return NULL;
}

static int read_map(const char *what, hf_bytes *rest, hf_argument *known, size_t count,
                    bool lenient)
{
    hf_token map, key;
    uint64_t seen = 0;
    int err = hf_msgpack_token(*rest, &map);
    if (err || map.type != HF_TOKEN_MAP)
        return err ? err : hf_error(HF_EINVAL, "%s: a map is wanted", what);
    skip(rest, map.size);
    for (uint32_t i = 0; i < map.count; i++) {
        err = hf_msgpack_token(*rest, &key);
        if (err || key.type != HF_TOKEN_STR)
            return err ? err : hf_error(HF_EINVAL, "%s: names of arguments are texts", what);
        skip(rest, key.size);
        hf_argument *a = find(known, count, key.as.bytes);
        if (!a && lenient && !skip_value(rest))
            continue;
        if (!a)
            return hf_error(HF_EINVAL, "%s takes no argument `" HF_FMT "`", what,
                            key.as.bytes.len > 40 ? 40 : (int)key.as.bytes.len,
                            (const char *)key.as.bytes.data);
        uint64_t bit = UINT64_C(1) << (a - known);
        if (seen & bit)
            return hf_error(HF_EINVAL, "%s: `%s` comes twice", what, a->name);
        seen |= bit;
        err = take(what, a, rest);
        if (err)
            return err;
    }
    return HF_OK;
}

int hf_arguments_next(const char *what, hf_bytes *rest, hf_argument *known, size_t count)
{
    return read_map(what, rest, known, count, false);
}

int hf_arguments_known(const char *what, hf_bytes map, hf_argument *known, size_t count)
{
    return read_map(what, &map, known, count, true);
}

int hf_arguments_read(const char *what, hf_bytes map, hf_argument *known, size_t count)
{
    hf_msgpack_shape shape;
    if (!map.data)
        return HF_OK;
    int err = hf_msgpack_scan(map, &shape);
    return err ? err : hf_arguments_next(what, &map, known, count);
}

int hf_arguments_uint(const char *what, hf_bytes *rest, uint64_t *value)
{
    hf_token token;
    int err = hf_msgpack_token(*rest, &token);
    if (err || token.type != HF_TOKEN_UINT)
        return err ? err : hf_error(HF_EINVAL, "%s: numbers are wanted", what);
    skip(rest, token.size);
    *value = token.as.u;
    return HF_OK;
}

char *hf_argument_copy(const hf_argument *a, int *err)
{
    *err = HF_OK;
    if (!a->given)
        return NULL;
    char *copy = hf_mem_alloc(a->bytes.len + 1);
    if (!copy) {
        *err = hf_error(HF_ENOMEM, "argument `%s`", a->name);
        return NULL;
    }
    if (a->bytes.len)
        memcpy(copy, a->bytes.data, a->bytes.len);
    copy[a->bytes.len] = 0;
    return copy;
}
