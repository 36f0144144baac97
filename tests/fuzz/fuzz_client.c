/* fuzz_client.c - any bytes as what an engine answers over the control socket.
 *
 * The tool's side asks and gets the input for an answer. It never waits for more,
 * says HF_OK only when an end frame came that says so, and every row it tells is one
 * whole value, whose fields the tool finds inside it and shows as JSON that can be
 * read. The request itself is one whole frame. */
#include "tests/fuzz/fuzz.h"

#include "recovery/arguments.h"
#include "recovery/control_client.h"
#include "storage/codec.h"
#include "storage/msgpack_scan.h"
#include "tools/json.h"
#include "tools/render.h"

#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_MOST = 100000 };

static void check_shown(hf_bytes row)
{
    cli_buffer shown = { 0 }, read = { 0 };
    size_t at;
    const char *why = "";
    FUZZ_CHECK(cli_render_row(&shown, row));
    FUZZ_CHECK(cli_utf8_valid(cli_buffer_bytes(&shown)));
    if (!cli_json_pack(&read, cli_buffer_bytes(&shown), &at, &why)) /* a body in a row is deep, */
        FUZZ_CHECK(strstr(why, "deep") || strchr((char *)shown.data, '$')); /* or no msgpack */
    cli_buffer_free(&shown);
    cli_buffer_free(&read);
}

static int take_row(void *user, hf_bytes row)
{
    hf_msgpack_shape shape;
    hf_argument known[] = { { .name = "id", .type = HF_ARG_UINT },
                            { .name = "actor", .type = HF_ARG_TEXT },
                            { .name = "body", .type = HF_ARG_BIN },
                            { .name = "ids", .type = HF_ARG_ARRAY } };
    uint64_t *rows = user;
    FUZZ_CHECK(hf_msgpack_scan(row, &shape) == HF_OK);
    if (hf_arguments_known("row", row, known, 4) == HF_OK)
        for (int i = 0; i < 4; i++)
            FUZZ_CHECK(fuzz_within(known[i].bytes, row.data, row.len));
    (void)cli_field_uint(row, "id");
    (void)cli_field_text(row, "actor");
    check_shown(row);
    return ++*rows == 100 ? 17 : HF_OK;
}

static void check_request(int fd)
{
    uint8_t room[200];
    hf_msgpack_shape shape;
    ssize_t len = recv(fd, room, sizeof room, MSG_DONTWAIT);
    FUZZ_CHECK(len > 4 && hf_get32(room) == (size_t)len - 4);
    FUZZ_CHECK(hf_msgpack_scan(hf_view(room + 4, (size_t)len - 4), &shape) == HF_OK);
    FUZZ_CHECK(shape.pairs >= 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fds[2];
    uint64_t rows = 0;
    hf_control_call call = { .verb = "ask", .name = "messages", .silence_ms = 1000,
                             .each = take_row, .user = &rows };
    if (size > ANSWER_MOST)
        return 0;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    FUZZ_CHECK(!size || send(fds[1], data, size, MSG_NOSIGNAL) == (ssize_t)size);
    FUZZ_CHECK(shutdown(fds[1], SHUT_WR) == 0);
    int err = hf_control_ask(fds[0], &call);
    FUZZ_CHECK(call.sent && call.rows == rows);
    FUZZ_CHECK(err != HF_OK || call.ended);
    FUZZ_CHECK(call.ended || err == HF_ECLOSED || err == HF_EIO);
    FUZZ_CHECK(err <= 0 || (err == 17 && rows == 100));
    check_request(fds[1]);
    (void)close(fds[1]);
    return 0;
}
