/* control_client.c - one question over the control socket.
 *
 * Happy path: connect, send the request as one frame, read frames until the end
 * frame, telling each row. The socket never blocks; every wait is bounded by
 * the time the engine may be silent. What comes in is scanned before it is
 * believed. One thread. */
#include "recovery/control_client.h"
#include "recovery/out.h"

#include "storage/error.h"
#include "storage/memory.h"

#include "storage/msgpack_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_MAX = 33 << 20, REQUEST_MAX = 17 << 20 };

bool hf_control_locked(const char *path, uint64_t *pid)
{
    char file[PATH_MAX + 32], text[32];
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    *pid = 0;
    (void)snprintf(file, sizeof file, "%s/holdfast.lock", path);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    /* A salvage shares the lock with others that only look: no engine is there, and the pid in
     * the file is of one that died. */
    bool locked = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_WRLCK;
    ssize_t got = locked ? pread(fd, text, sizeof text - 1, 0) : 0;
    if (got > 0) {
        text[got] = 0;
        *pid = strtoull(text, NULL, 10);
    }
    (void)close(fd);
    return locked;
}

/* A path of a socket is at most 107 bytes, of a store it is not: go through a
 * descriptor of the directory. */
void hf_control_address(struct sockaddr_un *address, int directory)
{
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    (void)snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/control.sock",
                   directory);
}

int hf_control_connect(int *out, const char *path)
{
    struct sockaddr_un address;
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return hf_error(HF_EIO, "%s: %s", path, strerror(errno));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    hf_control_address(&address, directory);
    int failed = fd < 0 ? errno : 0;
    if (!failed && connect(fd, (struct sockaddr *)&address, sizeof address))
        failed = errno;
    if (!failed && fcntl(fd, F_SETFL, O_NONBLOCK))
        failed = errno;
    (void)close(directory);
    if (!failed) {
        *out = fd;
        return HF_OK;
    }
    if (fd >= 0)
        (void)close(fd);
    return hf_error(HF_ENOTFOUND, "%s/control.sock: %s", path, strerror(failed));
}

/* ---- Bytes out and in */

static int wait_for(int fd, short events, uint32_t silence_ms)
{
    struct pollfd p = { .fd = fd, .events = events };
    int timeout = silence_ms > INT_MAX ? INT_MAX : (int)silence_ms, got;
    do {
        got = poll(&p, 1, timeout);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return hf_error(HF_EIO, "poll: %s", strerror(errno));
    return got ? HF_OK : hf_error(HF_ETIMEDOUT, "the engine is silent for %u ms", silence_ms);
}

static int went_away(int number)
{
    return hf_error(HF_ECLOSED, "the engine hung up%s%s", number ? ": " : "",
                    number ? strerror(number) : "");
}

static int send_all(int fd, hf_bytes bytes, uint32_t silence_ms)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.len;
    while (left) {
        ssize_t sent = send(fd, at, left, MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            left -= (size_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int err = wait_for(fd, POLLOUT, silence_ms);
            if (err)
                return err;
        } else if (errno != EINTR) {
            return went_away(errno);
        }
    }
    return HF_OK;
}

static int receive_all(int fd, void *room, size_t len, uint32_t silence_ms)
{
    uint8_t *at = room;
    while (len) {
        ssize_t got = recv(fd, at, len, 0);
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        } else if (got == 0) {
            return went_away(0);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            int err = wait_for(fd, POLLIN, silence_ms);
            if (err)
                return err;
        } else if (errno != EINTR) {
            return went_away(errno);
        }
    }
    return HF_OK;
}

/* ---- Frames */

static int send_request(int fd, const hf_control_call *call)
{
    hf_out out = { 0 };
    static const uint8_t no_length[4];
    hf_out_raw(&out, NULL, hf_view(no_length, 4));
    hf_out_map(&out, NULL);
    hf_out_uint(&out, "v", 1);
    hf_out_text(&out, call->verb, hf_str(call->name));
    if (call->arguments.data)
        hf_out_raw(&out, "args", call->arguments);
    hf_out_end(&out);
    int err = out.err;
    size_t len = out.len - 4;
    if (!err && len > REQUEST_MAX)
        err = hf_error(HF_ETOOBIG, "a request of %zu bytes", len);
    if (!err) {
        for (int i = 0; i < 4; i++)
            out.data[i] = (uint8_t)(len >> (8 * i));
        err = send_all(fd, hf_out_bytes(&out), call->silence_ms);
    }
    hf_out_done(&out);
    return err;
}

static int nonsense(void)
{
    return hf_error(HF_EIO, "the engine's answer makes no sense");
}

static hf_bytes behind(hf_bytes bytes, size_t size)
{
    return hf_view((const uint8_t *)bytes.data + size, bytes.len - size);
}

static bool says(const hf_token *token, const char *word)
{
    return token->type == HF_TOKEN_STR && token->as.bytes.len == strlen(word)
        && memcmp(token->as.bytes.data, word, strlen(word)) == 0;
}

/* {"code": n, "detail": s} */
static int read_end(hf_bytes rest, int *code)
{
    hf_token map, key, value;
    char detail[512] = "";
    *code = HF_OK;
    if (hf_msgpack_token(rest, &map) || map.type != HF_TOKEN_MAP)
        return nonsense();
    rest = behind(rest, map.size);
    for (uint32_t i = 0; i < map.count; i++) {
        if (hf_msgpack_token(rest, &key))
            return nonsense();
        rest = behind(rest, key.size);
        if (hf_msgpack_token(rest, &value))
            return nonsense();
        rest = behind(rest, value.size);
        if (says(&key, "code") && value.type == HF_TOKEN_INT && value.as.i >= INT_MIN)
            *code = (int)value.as.i;
        else if (says(&key, "detail") && value.type == HF_TOKEN_STR)
            (void)snprintf(detail, sizeof detail, HF_FMT, HF_ARG(value.as.bytes));
        else if (value.type == HF_TOKEN_ARRAY || value.type == HF_TOKEN_MAP)
            return nonsense();
    }
    if (*code)
        (void)hf_error(*code, "%s", detail);
    return HF_OK;
}

/* HF_OK: go on. */
static int take_frame(hf_control_call *call, hf_bytes frame)
{
    hf_msgpack_shape shape;
    hf_token head, kind;
    int code;
    if (hf_msgpack_scan(frame, &shape) || hf_msgpack_token(frame, &head)
        || head.type != HF_TOKEN_ARRAY || head.count != 2)
        return nonsense();
    hf_bytes rest = behind(frame, head.size);
    if (hf_msgpack_token(rest, &kind))
        return nonsense();
    rest = behind(rest, kind.size);
    if (says(&kind, "row")) {
        call->rows++;
        int err = call->each ? call->each(call->user, rest) : HF_OK;
        call->ended = err != HF_OK;
        return err;
    }
    if (!says(&kind, "end"))
        return nonsense();
    int err = read_end(rest, &code);
    if (err)
        return err;
    call->ended = true;
    return code;
}

static int read_answer(int fd, hf_control_call *call)
{
    uint8_t *frame = NULL, head[4];
    size_t room = 0;
    int err = HF_OK;
    while (!err && !call->ended) {
        err = receive_all(fd, head, sizeof head, call->silence_ms);
        size_t len = (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16
            | (size_t)head[3] << 24;
        if (!err && (len == 0 || len > ANSWER_MAX))
            err = nonsense();
        if (!err && len > room) {
            uint8_t *more = hf_mem_grow(frame, len);
            if (!more)
                err = hf_error(HF_ENOMEM, "a row of %zu bytes", len);
            else
                frame = more;
            room = more ? len : room;
        }
        if (!err)
            err = receive_all(fd, frame, len, call->silence_ms);
        if (!err)
            err = take_frame(call, hf_view(frame, len));
    }
    hf_mem_free(frame);
    return err;
}

int hf_control_ask(int fd, hf_control_call *call)
{
    call->sent = call->ended = false;
    call->rows = 0;
    int err = send_request(fd, call);
    call->sent = !err;
    /* It may have said why before it hung up, for instance that it is too busy. */
    if (!err || err == HF_ECLOSED) {
        int answered = read_answer(fd, call);
        if (!err || call->ended)
            err = answered;
    }
    (void)close(fd);
    return err;
}
