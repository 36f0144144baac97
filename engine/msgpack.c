/* msgpack.c - msgpack-c's objects and packer in the memory of a turn.
 *
 * Happy path: hf_unpack walks the body once to check it and to count (see
 * msgpack_scan.h), takes one piece of turn memory for all elements, and walks
 * it again to fill them in; texts and binaries stay where they are in the body.
 * msgpack-c's own unpacker, which allocates what a length field claims, is
 * never called. hf_packer gives msgpack-c a place to write that doubles.
 *
 * How it fails: HF_EINVAL for bytes that are no single whole value, HF_ENOMEM.
 * A packer without memory takes nothing more and hands out nothing; the
 * hf_alloc that failed has failed the turn, so nothing half packed is kept.
 *
 * Runs on whichever thread has the turn. */
#include "engine/holdfast_msgpack.h"

#include "storage/msgpack_scan.h"
#include "storage/error.h"

/* ---- Unpacking */

/* An open array or map: the elements that are still to be filled. */
struct level {
    msgpack_object *slot;
    uint64_t        left;
};

static void fill_scalar(msgpack_object *object, const hf_token *token)
{
    hf_bytes bytes = token->as.bytes;

    switch (token->type) {
    case HF_TOKEN_BOOL:
        object->type = MSGPACK_OBJECT_BOOLEAN;
        object->via.boolean = token->as.u != 0;
        return;
    case HF_TOKEN_UINT:
        object->type = MSGPACK_OBJECT_POSITIVE_INTEGER;
        object->via.u64 = token->as.u;
        return;
    case HF_TOKEN_INT:
        object->type = MSGPACK_OBJECT_NEGATIVE_INTEGER;
        object->via.i64 = token->as.i;
        return;
    case HF_TOKEN_FLOAT32:
    case HF_TOKEN_FLOAT64:
        object->type = token->type == HF_TOKEN_FLOAT32 ? MSGPACK_OBJECT_FLOAT32
                                                       : MSGPACK_OBJECT_FLOAT64;
        object->via.f64 = token->as.f;
        return;
    case HF_TOKEN_STR:
        object->type = MSGPACK_OBJECT_STR;
        object->via.str = (msgpack_object_str){ (uint32_t)bytes.len, bytes.data };
        return;
    case HF_TOKEN_BIN:
        object->type = MSGPACK_OBJECT_BIN;
        object->via.bin = (msgpack_object_bin){ (uint32_t)bytes.len, bytes.data };
        return;
    case HF_TOKEN_EXT:
        object->type = MSGPACK_OBJECT_EXT;
        object->via.ext = (msgpack_object_ext){ token->ext, (uint32_t)bytes.len, bytes.data };
        return;
    case HF_TOKEN_NIL:
    case HF_TOKEN_ARRAY:
    case HF_TOKEN_MAP:
        object->type = MSGPACK_OBJECT_NIL;
    }
}

/* An array or map takes its elements from `room`; returns what is left of it.
 * A pair is two objects side by side, so both are filled alike. */
static msgpack_object *fill_container(msgpack_object *object, const hf_token *token,
                                      msgpack_object *room, struct level *level)
{
    level->slot = room;
    if (token->type == HF_TOKEN_ARRAY) {
        object->type = MSGPACK_OBJECT_ARRAY;
        object->via.array = (msgpack_object_array){ token->count, room };
        level->left = token->count;
    } else {
        object->type = MSGPACK_OBJECT_MAP;
        object->via.map = (msgpack_object_map){ token->count, (msgpack_object_kv *)(void *)room };
        level->left = 2 * (uint64_t)token->count;
    }
    return level->left ? room + level->left : room; /* empty: there may be no room at all */
}

/* `body` has been scanned: it is one whole value that fits `room`. */
static void fill(hf_bytes body, msgpack_object *value, msgpack_object *room)
{
    struct level levels[HF_MSGPACK_DEPTH + 1];
    unsigned depth = 0;
    size_t at = 0;
    hf_token token;

    levels[0] = (struct level){ value, 1 };
    while (at < body.len) {
        while (levels[depth].left == 0)
            depth--;
        if (hf_msgpack_token(hf_view((const uint8_t *)body.data + at, body.len - at), &token))
            return;
        at += token.size;
        msgpack_object *object = levels[depth].slot++;
        levels[depth].left--;
        if (token.type == HF_TOKEN_ARRAY || token.type == HF_TOKEN_MAP)
            room = fill_container(object, &token, room, &levels[++depth]);
        else
            fill_scalar(object, &token);
    }
}

_Static_assert(sizeof(msgpack_object_kv) == 2 * sizeof(msgpack_object),
               "a pair is two objects side by side");

int hf_unpack(hf_turn *turn, hf_bytes body, msgpack_object *value)
{
    hf_msgpack_shape shape;
    msgpack_object *room = NULL;
    size_t objects;
    int err;

    if (!turn || !value || (!body.data && body.len))
        return hf_error(HF_EINVAL, "hf_unpack: turn and value are needed");
    memset(value, 0, sizeof *value);
    err = hf_msgpack_scan(body, &shape);
    if (err)
        return err;
    objects = shape.elements + 2 * shape.pairs;
    if (objects) {
        room = hf_alloc(turn, objects * sizeof *room);
        if (!room)
            return hf_error(HF_ENOMEM, "msgpack: %zu elements", objects);
    }
    fill(body, value, room);
    return HF_OK;
}

/* ---- Looking */

const msgpack_object *hf_field(const msgpack_object *map, const char *name)
{
    size_t len;

    if (!map || !name || map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    len = strlen(name);
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *pair = &map->via.map.ptr[i];
        if (pair->key.type == MSGPACK_OBJECT_STR && pair->key.via.str.size == len
            && memcmp(pair->key.via.str.ptr, name, len) == 0)
            return &pair->val;
    }
    return NULL;
}

hf_bytes hf_text(const msgpack_object *map, const char *name)
{
    const msgpack_object *field = hf_field(map, name);

    if (!field || field->type != MSGPACK_OBJECT_STR)
        return hf_view(NULL, 0);
    return hf_view(field->via.str.ptr, field->via.str.size);
}

int hf_uint(const msgpack_object *map, const char *name, uint64_t *value)
{
    const msgpack_object *field = hf_field(map, name);

    if (!value || !field || field->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return hf_error(HF_EINVAL, "msgpack: no number \"%s\"", name ? name : "");
    *value = field->via.u64;
    return HF_OK;
}

/* ---- Packing */

/* What a packer's data points to. */
struct packed {
    msgpack_packer packer;
    hf_turn       *turn;
    char          *data;
    size_t         len, cap;
    int            lost; /* memory ran out: what came so far is no whole value */
};

static int packed_write(void *user, const char *bytes, size_t len)
{
    struct packed *packed = user;

    if (packed->lost)
        return -1;
    if (!len)
        return 0; /* of nothing there may be no address */
    if (len > packed->cap - packed->len) {
        size_t cap = packed->cap * 2 > packed->len + len ? packed->cap * 2 : packed->len + len;
        char *data = hf_alloc(packed->turn, cap);
        if (!data) {
            packed->lost = 1;
            return -1;
        }
        memcpy(data, packed->data, packed->len);
        packed->data = data;
        packed->cap = cap;
    }
    memcpy(packed->data + packed->len, bytes, len);
    packed->len += len;
    return 0;
}

static int refuse_write(void *user, const char *bytes, size_t len)
{
    (void)user;
    (void)bytes;
    (void)len;
    return -1;
}

msgpack_packer *hf_packer(hf_turn *turn)
{
    enum { FIRST = 256 };
    static msgpack_packer none = { NULL, refuse_write };
    struct packed *packed = turn ? hf_alloc(turn, sizeof *packed + FIRST) : NULL;

    if (!packed)
        return &none;
    *packed = (struct packed){ .turn = turn, .data = (char *)(packed + 1), .cap = FIRST };
    msgpack_packer_init(&packed->packer, packed, packed_write);
    return &packed->packer;
}

hf_bytes hf_packed(const msgpack_packer *packer)
{
    const struct packed *packed = packer ? packer->data : NULL;

    if (!packed || packed->lost)
        return hf_view(NULL, 0);
    return hf_view(packed->data, packed->len);
}

void hf_pack_text(msgpack_packer *packer, const char *name, hf_bytes text)
{
    size_t len = strlen(name);

    msgpack_pack_str(packer, len);
    msgpack_pack_str_body(packer, name, len);
    msgpack_pack_str(packer, text.len);
    if (text.len)
        msgpack_pack_str_body(packer, text.data, text.len);
}

void hf_pack_uint(msgpack_packer *packer, const char *name, uint64_t value)
{
    size_t len = strlen(name);

    msgpack_pack_str(packer, len);
    msgpack_pack_str_body(packer, name, len);
    msgpack_pack_uint64(packer, value);
}
