/* patch.c - put a value into a body, by its path.
 *
 * Happy path: one walk down the path; on each level all is copied but the one element that
 * the path names. Fails where the path does not fit what is there, and takes back what was
 * appended. Any thread; as deep as the path is long, which is bounded. */
#include "tools/patch.h"

#include <stdlib.h>

typedef struct patch {
    cli_buffer *out;
    hf_bytes    value;
    const char *why;
    int         depth;
} patch;

static bool put_at(patch *p, const char *path, const hf_bytes *old);

static bool wrong(patch *p, const char *why)
{
    p->why = why;
    return false;
}

/* The next key of the path: its length; 0: it is none. */
static size_t key_len(const char *path)
{
    return strcspn(path, ".[");
}

/* Behind a step: the end, or what begins the next one. */
static bool next_step(patch *p, const char **path)
{
    if (**path == '.' && (*path)[1] != 0 && (*path)[1] != '.' && (*path)[1] != '[') {
        ++*path;
        return true;
    }
    return **path == 0 || **path == '[' || wrong(p, "the path is no path, such as items[0].sku");
}

static bool put_in_map(patch *p, const char *path, const hf_bytes *old)
{
    size_t len = key_len(path), head = p->out->len;
    const char *behind = path + len;
    hf_bytes rest = old != NULL ? *old : hf_view(NULL, 0);
    cli_value map = { .kind = CLI_MAP }, key, value;
    bool met = false;
    if (old != NULL && (!cli_next_head(&rest, &map) || map.kind != CLI_MAP))
        return wrong(p, "the path asks for a key of something that is no map");
    if (!next_step(p, &behind))
        return false;
    cli_buffer pairs = { 0 }, *whole = p->out;
    uint64_t count = map.number;
    bool fine = true;
    p->out = &pairs;
    for (uint64_t i = 0; fine && i < map.number; i++) {
        hf_bytes from = rest;
        fine = cli_next(&rest, &key);
        hf_bytes at = rest;
        fine = fine && cli_next(&rest, &value);
        bool named = fine && key.kind == CLI_STR && key.bytes.len == len
            && memcmp(key.bytes.data, path, len) == 0;
        cli_buffer_add(&pairs, from.data, from.len - (named ? at.len : rest.len));
        hf_bytes inner = hf_view(at.data, at.len - rest.len);
        if (named)
            fine = put_at(p, behind, &inner);
        met |= named;
    }
    if (fine && !met) {
        cli_pack_str(&pairs, hf_view(path, len));
        fine = put_at(p, behind, NULL);
        count++;
    }
    p->out = whole;
    if (fine) {
        cli_pack_map(whole, (uint32_t)count);
        cli_buffer_add(whole, pairs.data, pairs.len);
    } else {
        whole->len = head;
    }
    cli_buffer_free(&pairs);
    return fine;
}

static bool put_in_array(patch *p, const char *path, const hf_bytes *old)
{
    char *behind;
    unsigned long long index = strtoull(path + 1, &behind, 10);
    hf_bytes rest = old != NULL ? *old : hf_view(NULL, 0);
    cli_value array = { .kind = CLI_ARRAY }, value;
    if (path[1] < '0' || path[1] > '9' || *behind != ']')
        return wrong(p, "an element is [n], such as items[0]");
    const char *step = behind + 1;
    if (old != NULL && (!cli_next_head(&rest, &array) || array.kind != CLI_ARRAY))
        return wrong(p, "the path asks for an element of something that is no array");
    if (index > array.number)
        return wrong(p, "the path asks for an element far behind the last one");
    if (!next_step(p, &step))
        return false;
    cli_pack_array(p->out, (uint32_t)(array.number + (index == array.number)));
    for (uint64_t i = 0; i < array.number; i++) {
        hf_bytes from = rest;
        if (!cli_next(&rest, &value))
            return wrong(p, "the body is damaged");
        hf_bytes inner = hf_view(from.data, from.len - rest.len);
        if (i != index)
            cli_buffer_add(p->out, inner.data, inner.len);
        else if (!put_at(p, step, &inner))
            return false;
    }
    return index < array.number || put_at(p, step, NULL);
}

/* What stands at the path from here on; old NULL: nothing does. */
static bool put_at(patch *p, const char *path, const hf_bytes *old)
{
    bool fine;
    if (*path == 0) {
        cli_buffer_add(p->out, p->value.data, p->value.len);
        return true;
    }
    if (++p->depth > CLI_DEPTH_MAX)
        return wrong(p, "the path is too long");
    fine = *path == '[' ? put_in_array(p, path, old) : put_in_map(p, path, old);
    p->depth--;
    return fine;
}

bool cli_patch(cli_buffer *out, hf_bytes body, const char *path, hf_bytes value, const char **why)
{
    patch p = { .out = out, .value = value };
    size_t before = out->len;
    if (strncmp(path, "body.", 5) == 0 || strncmp(path, "body[", 5) == 0)
        path += path[4] == '.' ? 5 : 4;
    bool fine = *path != 0 && *path != '.' && cli_msgpack_valid(body);
    if (!fine)
        p.why = cli_msgpack_valid(body) ? "the path is empty" : "the body is no msgpack";
    fine = fine && put_at(&p, path, &body);
    if (!fine)
        out->len = before;
    *why = p.why;
    return fine;
}
