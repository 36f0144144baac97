/* fuzz_json.c - any text as the JSON of a body, as `holdfast send` takes it.
 *
 * What is accepted is msgpack that the tool and, but for its depth, the engine take;
 * shown as JSON and read again it is the same msgpack, byte for byte. What is refused
 * leaves the buffer alone and names a byte of the text. */
#include "tests/fuzz/fuzz.h"

#include "storage/error.h"
#include "storage/msgpack_scan.h"
#include "tools/json.h"
#include "tools/render.h"

static void check_refused(const cli_buffer *out, size_t size, size_t at, const char *why)
{
    FUZZ_CHECK(out->len == 3 && memcmp(out->data, "abc", 3) == 0);
    FUZZ_CHECK(at <= size);
    FUZZ_CHECK(why && *why);
}

static void check_value(hf_bytes value)
{
    hf_msgpack_shape shape;
    cli_buffer shown = { 0 }, again = { 0 };
    size_t at;
    const char *why;
    FUZZ_CHECK(cli_msgpack_valid(value));
    if (hf_msgpack_scan(value, &shape))
        FUZZ_CHECK(strstr(hf_error_detail(), "deeper"));
    FUZZ_CHECK(cli_render_json(&shown, value));
    FUZZ_CHECK(cli_json_pack(&again, cli_buffer_bytes(&shown), &at, &why));
    FUZZ_CHECK(fuzz_same(cli_buffer_bytes(&again), value));
    cli_buffer_free(&shown);
    cli_buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cli_buffer out = { 0 };
    hf_bytes text = hf_view(data, size);
    size_t at = SIZE_MAX;
    const char *why = NULL;
    cli_buffer_text(&out, "abc");
    bool packed = cli_json_pack(&out, text, &at, &why);
    if (packed)
        check_value(hf_view(out.data + 3, out.len - 3));
    else
        check_refused(&out, size, at, why);
    out.len = 3;
    bool body = cli_json_body(&out, text, &at, &why);
    if (packed && !body) /* an object that begins as a body of text or bytes does */
        FUZZ_CHECK(strstr(why, "$text"));
    if (!body)
        check_refused(&out, size, at, why);
    cli_buffer_free(&out);
    return 0;
}
