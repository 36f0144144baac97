/* fuzz_msgpack.c - any bytes as msgpack: bodies, states, frames, rows.
 *
 * Three readers must agree: storage/msgpack_scan.c with hf_unpack on it, the tool's
 * own, and msgpack-c, which is asked only about what has been checked. The objects of
 * hf_unpack are those of msgpack-c. What the tool shows as JSON it reads back as the
 * same value, and bytes that are no msgpack as the same bytes.
 *
 * The turn is this file's own hf_alloc: memory and nothing else. */
#include "tests/fuzz/fuzz.h"

#include "engine/holdfast_msgpack.h"
#include "storage/error.h"
#include "storage/msgpack_scan.h"
#include "tools/json.h"
#include "tools/render.h"

enum { PIECES = 64 };
static void  *pieces[PIECES];
static size_t piece_count;

void *hf_alloc(hf_turn *turn, size_t size)
{
    FUZZ_CHECK(turn && piece_count < PIECES);
    return pieces[piece_count++] = malloc(size);
}

static void forget(void)
{
    while (piece_count)
        free(pieces[--piece_count]);
}

static hf_bytes pack(hf_turn *turn, const msgpack_object *object)
{
    msgpack_packer *packer = hf_packer(turn);
    FUZZ_CHECK(msgpack_pack_object(packer, *object) == 0);
    return hf_packed(packer);
}

/* Whole value: as msgpack-c sees it. */
static void check_objects(hf_bytes body)
{
    int thing;
    hf_turn *turn = (hf_turn *)(void *)&thing;
    msgpack_object ours;
    msgpack_unpacked theirs;
    size_t end = 0;
    FUZZ_CHECK(hf_unpack(turn, body, &ours) == HF_OK);
    msgpack_unpacked_init(&theirs);
    msgpack_unpack_return said = msgpack_unpack_next(&theirs, body.data, body.len, &end);
    FUZZ_CHECK(said == MSGPACK_UNPACK_SUCCESS && end == body.len);
    FUZZ_CHECK(fuzz_same(pack(turn, &ours), pack(turn, &theirs.data)));
    msgpack_unpacked_destroy(&theirs);
    forget();
}

/* Shown, read and shown again. */
static void check_shown(hf_bytes body, bool sound)
{
    cli_buffer shown = { 0 }, read = { 0 }, again = { 0 };
    size_t at = 0;
    const char *why = "";
    cli_render_body(&shown, body);
    FUZZ_CHECK(cli_utf8_valid(cli_buffer_bytes(&shown)));
    bool back = cli_json_body(&read, cli_buffer_bytes(&shown), &at, &why);
    FUZZ_CHECK(back || strstr(why, "deep")); /* what JSON lacks takes more levels there */
    if (!back)
        goto done;
    if (!sound)
        FUZZ_CHECK(fuzz_same(cli_buffer_bytes(&read), body));
    else
        FUZZ_CHECK(cli_msgpack_valid(cli_buffer_bytes(&read)));
    cli_render_body(&again, cli_buffer_bytes(&read));
    FUZZ_CHECK(fuzz_same(cli_buffer_bytes(&shown), cli_buffer_bytes(&again)));
done:
    shown.len = 0;
    cli_render_readable(&shown, body); /* nothing that moves a cursor */
    for (size_t i = 0; i < shown.len; i++)
        FUZZ_CHECK(shown.data[i] >= 0x20 && shown.data[i] != 0x7f);
    cli_buffer_free(&shown);
    cli_buffer_free(&read);
    cli_buffer_free(&again);
}

/* Nothing said about what is no value leads outside of it. */
static void check_pieces(hf_bytes body)
{
    cli_value value;
    hf_token token;
    hf_bytes rest = body;
    while (cli_next(&rest, &value)) {
        FUZZ_CHECK(fuzz_within(value.bytes, body.data, body.len));
        FUZZ_CHECK(fuzz_within(rest, body.data, body.len));
    }
    for (rest = body; rest.len && !hf_msgpack_token(rest, &token);) {
        FUZZ_CHECK(token.size > 0 && token.size <= rest.len);
        if (token.type == HF_TOKEN_STR || token.type == HF_TOKEN_BIN || token.type == HF_TOKEN_EXT)
            FUZZ_CHECK(fuzz_within(token.as.bytes, rest.data, token.size));
        FUZZ_CHECK((token.type == HF_TOKEN_MAP ? 2 : 1) * (uint64_t)token.count
                   <= rest.len - token.size);
        rest = hf_view((const uint8_t *)rest.data + token.size, rest.len - token.size);
    }
    (void)cli_field_uint(body, "id");
    (void)cli_field_bool(body, "more");
    FUZZ_CHECK(fuzz_within(cli_field_list(body, "ids"), body.data, body.len)
               || cli_field_list(body, "ids").len == 0);
    FUZZ_CHECK(fuzz_within(cli_field_map(body, "args"), body.data, body.len)
               || cli_field_map(body, "args").len == 0);
}

/* Arrays and maps inside each other, of a value that is sound. */
static size_t depth_of(hf_bytes rest)
{
    uint64_t left[CLI_DEPTH_MAX + 1] = { 1 };
    size_t depth = 0, deepest = 0;
    cli_value value;
    while (cli_next_head(&rest, &value)) {
        left[depth]--;
        if (value.kind == CLI_ARRAY || value.kind == CLI_MAP) {
            FUZZ_CHECK(depth < CLI_DEPTH_MAX);
            left[++depth] = value.number * (value.kind == CLI_MAP ? 2 : 1);
            deepest = depth > deepest ? depth : deepest;
        }
        while (depth && !left[depth])
            depth--;
    }
    return deepest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_bytes body = hf_view(data, size);
    hf_msgpack_shape shape;
    bool whole = hf_msgpack_scan(body, &shape) == HF_OK;
    bool sound = cli_msgpack_valid(body);
    if (whole)
        FUZZ_CHECK(sound && shape.elements + 2 * shape.pairs < size);
    else if (sound) /* the tool looks deeper than the engine does */
        FUZZ_CHECK(strstr(hf_error_detail(), "deeper"));
    if (sound)
        FUZZ_CHECK(whole == (depth_of(body) <= HF_MSGPACK_DEPTH));
    if (whole)
        check_objects(body);
    check_shown(body, sound);
    check_pieces(body);
    return 0;
}
