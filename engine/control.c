/* control.c - the control socket.
 *
 * Happy path: the loop sees a connection, checks whose it is, reads one request
 * frame and hands the connection to a worker. The worker answers, writing each
 * row itself and waiting for a slow reader at most 10 s, and gives the connection
 * back to the loop, which reads the next request.
 *
 * A peer that sends nonsense, too much, or belongs to somebody else is hung up
 * on. A connection belongs to the loop or to one worker, never to both. */
#include "engine/control.h"

#include "storage/msgpack_scan.h"
#include "engine/thread.h"

#include "recovery/control_client.h"
#include "recovery/out.h"
#include "storage/codec.h"
#include "storage/error.h"
#include "storage/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

enum {
    WORKERS = 2,
    PEERS = 32,
    REQUEST_MAX = 17 << 20,
    ANSWER_MAX = 33 << 20,
    SILENCE_MS = 10000, /* of a peer that does not read */
    READ_AT_ONCE = 64 << 10,
    NAME_MAX_LEN = 40,
};

typedef struct peer {
    uv_poll_t    poll;    /* first: closed, it frees the peer */
    hf_control  *control;
    struct peer *next;    /* in the queue of workers, or back to the loop */
    struct peer *newer;   /* all of them */
    int          fd;
    uint8_t     *data;    /* what was read and not answered */
    size_t       len, room;
    size_t       frame;   /* bytes of the request being answered, with its length */
    uint32_t     uid;     /* who it is */
    bool         hang_up; /* said by the worker */
    bool         working;
    hf_out       out;
} peer;

struct hf_control {
    uv_poll_t         listener;
    uv_async_t        back;       /* rung by workers */
    int               fd, directory;
    uint32_t          handles;    /* open ones of ours: the last one frees all */
    hf_control_answer answer;
    void             *user;
    peer             *peers;      /* the loop's */
    uint32_t          count;
    atomic_bool       stop;
    pthread_t         threads[WORKERS];
    uint32_t          started;
    pthread_mutex_t   lock;
    pthread_cond_t    wake;
    peer             *queue, **queue_end; /* under lock: for workers */
    peer             *done;               /* under lock: back to the loop */
};

/* ---- Writing, on a worker's thread */

/* Wait in short steps, so that closing never waits for a peer. */
static bool may_write(const peer *p)
{
    for (int waited = 0; waited < SILENCE_MS && !atomic_load(&p->control->stop); waited += 100) {
        struct pollfd fd = { .fd = p->fd, .events = POLLOUT };
        int got = poll(&fd, 1, 100);
        if (got > 0)
            return !(fd.revents & (POLLERR | POLLHUP | POLLNVAL));
        if (got < 0 && errno != EINTR)
            return false;
    }
    return false;
}

static int write_all(peer *p, hf_bytes bytes)
{
    const uint8_t *at = bytes.data;
    size_t left = bytes.len;
    while (left) {
        ssize_t sent = send(p->fd, at, left, MSG_NOSIGNAL);
        if (sent > 0) {
            at += sent;
            left -= (size_t)sent;
        } else if (errno == EINTR) {
            continue;
        } else if ((errno != EAGAIN && errno != EWOULDBLOCK) || !may_write(p)) {
            p->hang_up = true;
            return hf_error(HF_ECLOSED, "nobody listens any more");
        }
    }
    return HF_OK;
}

/* ["row", …] and ["end", …]: an array of two whose second is put by the caller. */
static void begin_frame(hf_out *out, const char *kind)
{
    static const uint8_t head[] = { 0, 0, 0, 0, 0x92 };
    hf_out_clear(out);
    hf_out_raw(out, NULL, hf_view(head, sizeof head));
    hf_out_text(out, NULL, hf_str(kind));
}

static int send_frame(peer *p)
{
    if (p->out.err)
        return p->out.err;
    size_t len = p->out.len - 4;
    if (len > ANSWER_MAX)
        return hf_error(HF_ETOOBIG, "a row of %zu bytes", len);
    hf_put32(p->out.data, (uint32_t)len);
    return write_all(p, hf_out_bytes(&p->out));
}

static int send_row(void *to, hf_bytes row)
{
    peer *p = to;
    if (atomic_load(&p->control->stop))
        return hf_error(HF_ECLOSED, "the engine closes");
    begin_frame(&p->out, "row");
    hf_out_raw(&p->out, NULL, row);
    return send_frame(p);
}

static void send_end(peer *p, int code)
{
    char detail[512];
    size_t len = strlen(hf_error_detail());
    len = len < sizeof detail ? len : sizeof detail - 1;
    memcpy(detail, hf_error_detail(), len);
    detail[len] = 0;
    begin_frame(&p->out, "end");
    hf_out_map(&p->out, NULL);
    hf_out_int(&p->out, "code", code);
    if (code)
        hf_out_words(&p->out, "detail", detail);
    hf_out_end(&p->out);
    if (send_frame(p))
        p->hang_up = true;
}

/* ---- One request */

typedef struct request {
    bool     known_version, change;
    uint32_t names;
    char     name[NAME_MAX_LEN + 1];
    hf_bytes arguments;
} request;

static hf_bytes behind(hf_bytes bytes, size_t size)
{
    return hf_view((const uint8_t *)bytes.data + size, bytes.len - size);
}

static bool says(const hf_token *token, const char *word)
{
    return token->type == HF_TOKEN_STR && token->as.bytes.len == strlen(word)
        && memcmp(token->as.bytes.data, word, strlen(word)) == 0;
}

/* The value at the start of `rest`, which was scanned before. */
static hf_bytes whole_value(hf_bytes rest)
{
    hf_bytes at = rest;
    for (uint64_t left = 1; left; left--) {
        hf_token token;
        if (hf_msgpack_token(at, &token))
            break;
        at = behind(at, token.size);
        left += token.type == HF_TOKEN_ARRAY ? token.count
            : token.type == HF_TOKEN_MAP ? 2 * (uint64_t)token.count : 0;
    }
    return hf_view(rest.data, rest.len - at.len);
}

static void take_pair(request *r, const hf_token *key, hf_bytes value)
{
    hf_token token;
    (void)hf_msgpack_token(value, &token);
    if (says(key, "v")) {
        r->known_version = token.type == HF_TOKEN_UINT && token.as.u == 1;
    } else if (says(key, "ask") || says(key, "change")) {
        r->change = says(key, "change");
        r->names++;
        bool fits = token.type == HF_TOKEN_STR && token.as.bytes.len <= NAME_MAX_LEN;
        size_t len = fits ? token.as.bytes.len : 0;
        if (len)
            memcpy(r->name, token.as.bytes.data, len);
        r->name[len] = 0;
    } else if (says(key, "args") && token.type != HF_TOKEN_NIL) {
        r->arguments = value;
    }
}

/* False: this is no msgpack. */
static bool read_request(hf_bytes frame, request *r)
{
    hf_msgpack_shape shape;
    hf_token map, key;
    *r = (request){ .names = 0 };
    if (hf_msgpack_scan(frame, &shape) || hf_msgpack_token(frame, &map)
        || map.type != HF_TOKEN_MAP)
        return false;
    hf_bytes rest = behind(frame, map.size);
    for (uint32_t i = 0; i < map.count; i++) {
        (void)hf_msgpack_token(rest, &key);
        hf_bytes name = whole_value(rest);
        hf_bytes value = whole_value(behind(rest, name.len));
        take_pair(r, &key, value);
        rest = behind(rest, name.len + value.len);
    }
    return true;
}

static void answer(peer *p)
{
    request r;
    int err;
    hf_error_clear();
    if (!read_request(hf_view(p->data + 4, p->frame - 4), &r)) {
        p->hang_up = true;
        return;
    }
    if (!r.known_version)
        err = hf_error(HF_EVERSION, "this engine speaks version 1");
    else if (r.names != 1)
        err = hf_error(HF_EINVAL, "a request has one of `ask` and `change`");
    else
        err = p->control->answer(p->control->user, r.change, r.name, r.arguments, send_row, p);
    if (!p->hang_up)
        send_end(p, err);
}

static void *work(void *user)
{
    hf_control *c = user;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->queue && !atomic_load(&c->stop))
            pthread_cond_wait(&c->wake, &c->lock);
        peer *p = c->queue;
        if (!p || atomic_load(&c->stop))
            break;
        c->queue = p->next;
        if (!c->queue)
            c->queue_end = &c->queue;
        pthread_mutex_unlock(&c->lock);
        answer(p);
        pthread_mutex_lock(&c->lock);
        p->next = c->done;
        c->done = p;
        (void)uv_async_send(&c->back);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- Connections, on the loop's thread */

static void free_control(hf_control *c)
{
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    if (c->directory >= 0)
        (void)close(c->directory);
    hf_mem_free(c);
}

static void handle_gone(hf_control *c)
{
    if (--c->handles == 0)
        free_control(c);
}

static void on_peer_closed(uv_handle_t *handle)
{
    peer *p = (peer *)handle;
    hf_control *c = p->control;
    (void)close(p->fd);
    hf_out_done(&p->out);
    hf_mem_free(p->data);
    hf_mem_free(p);
    handle_gone(c);
}

static void hang_up(peer *p)
{
    hf_control *c = p->control;
    peer **at = &c->peers;
    while (*at != p)
        at = &(*at)->newer;
    *at = p->newer;
    c->count--;
    (void)uv_poll_stop(&p->poll);
    uv_close((uv_handle_t *)&p->poll, on_peer_closed);
}

/* A whole request, or one that can never be: 0 not yet, -1 never. */
static int frame_ready(peer *p)
{
    if (p->len < 4)
        return 0;
    uint32_t len = hf_get32(p->data);
    if (len == 0 || len > REQUEST_MAX)
        return -1;
    if (p->len - 4 < len)
        return 0;
    p->frame = (size_t)len + 4;
    return 1;
}

static void give_to_worker(peer *p)
{
    hf_control *c = p->control;
    (void)uv_poll_stop(&p->poll);
    p->working = true;
    p->next = NULL;
    pthread_mutex_lock(&c->lock);
    *c->queue_end = p;
    c->queue_end = &p->next;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

static int make_room(peer *p)
{
    if (p->room - p->len >= READ_AT_ONCE)
        return HF_OK;
    size_t room = p->room * 2 < p->len + READ_AT_ONCE ? p->len + READ_AT_ONCE : p->room * 2;
    uint8_t *data = hf_mem_grow(p->data, room);
    if (!data)
        return HF_ENOMEM;
    p->data = data;
    p->room = room;
    return HF_OK;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    peer *p = (peer *)poll;
    (void)events;
    ssize_t got = -1;
    if (!status && !make_room(p))
        got = recv(p->fd, p->data + p->len, READ_AT_ONCE, 0);
    else
        errno = EIO;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (got <= 0) {
        hang_up(p);
        return;
    }
    p->len += (size_t)got;
    int ready = frame_ready(p);
    if (ready < 0)
        hang_up(p);
    else if (ready)
        give_to_worker(p);
}

static bool may_ask(int fd, uint32_t *uid)
{
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
        return false;
    *uid = (uint32_t)who.uid;
    return who.uid == geteuid() || who.uid == 0;
}

uint32_t hf_control_uid(const void *to)
{
    return ((const peer *)to)->uid;
}

/* One more than we take: it is told so, if it listens. */
static void refuse(int fd)
{
    peer p = { .fd = fd };
    begin_frame(&p.out, "end");
    hf_out_map(&p.out, NULL);
    hf_out_int(&p.out, "code", HF_EAGAIN);
    hf_out_text(&p.out, "detail", hf_str("too many connections"));
    hf_out_end(&p.out);
    if (!p.out.err) {
        hf_put32(p.out.data, (uint32_t)(p.out.len - 4));
        (void)send(fd, p.out.data, p.out.len, MSG_NOSIGNAL);
    }
    hf_out_done(&p.out);
    (void)close(fd);
}

static void welcome(hf_control *c, int fd, uint32_t uid)
{
    peer *p = hf_mem_zero(1, sizeof *p);
    if (!p || uv_poll_init(c->listener.loop, &p->poll, fd)) {
        hf_mem_free(p);
        (void)close(fd);
        return;
    }
    p->control = c;
    p->fd = fd;
    p->uid = uid;
    p->newer = c->peers;
    c->peers = p;
    c->count++;
    c->handles++;
    if (uv_poll_start(&p->poll, UV_READABLE, on_readable))
        hang_up(p);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    hf_control *c = poll->data;
    (void)status, (void)events;
    for (;;) {
        uint32_t uid;
        int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (!may_ask(fd, &uid))
            (void)close(fd);
        else if (c->count >= PEERS)
            refuse(fd);
        else
            welcome(c, fd, uid);
    }
}

/* A worker is through with it. */
static void take_back(peer *p)
{
    p->working = false;
    hf_out_done(&p->out);
    if (p->hang_up) {
        hang_up(p);
        return;
    }
    p->len -= p->frame;
    memmove(p->data, p->data + p->frame, p->len);
    int ready = frame_ready(p);
    if (ready > 0)
        give_to_worker(p);
    else if (ready < 0 || uv_poll_start(&p->poll, UV_READABLE, on_readable))
        hang_up(p);
}

static void on_back(uv_async_t *async)
{
    hf_control *c = async->data;
    pthread_mutex_lock(&c->lock);
    peer *p = c->done;
    c->done = NULL;
    pthread_mutex_unlock(&c->lock);
    while (p) {
        peer *next = p->next;
        take_back(p);
        p = next;
    }
}

/* ---- Opening and closing */

static int bind_socket(hf_control *c, const char *store)
{
    struct sockaddr_un address;
    c->directory = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->directory < 0)
        return hf_error(HF_EIO, "%s: %s", store, strerror(errno));
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return hf_error(HF_EIO, "a socket: %s", strerror(errno));
    /* What is there is of a process that died: we hold the lock. */
    (void)unlinkat(c->directory, "control.sock", 0);
    hf_control_address(&address, c->directory);
    /* The mode before the name, so that it is never open to others. */
    if (fchmod(c->fd, 0600) || bind(c->fd, (struct sockaddr *)&address, sizeof address)
        || listen(c->fd, PEERS)) {
        bool full = errno == ENOSPC || errno == EDQUOT;
        return hf_error(full ? HF_EFULL : HF_EIO, "%s/control.sock: %s", store, strerror(errno));
    }
    return HF_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

static void end_workers(hf_control *c)
{
    pthread_mutex_lock(&c->lock);
    atomic_store(&c->stop, true);
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    for (uint32_t i = 0; i < c->started; i++)
        pthread_join(c->threads[i], NULL);
}

static int start_workers(hf_control *c)
{
    int err = HF_OK;
    while (!err && c->started < WORKERS) {
        err = hf_thread_start(&c->threads[c->started], "hf-control", work, c);
        c->started += !err;
    }
    return err;
}

/* The handles of an idle loop: nothing was waited for yet. */
static int open_handles(hf_control *c, uv_loop_t *loop)
{
    if (uv_async_init(loop, &c->back, on_back))
        return hf_error(HF_EIO, "the loop takes no handle");
    c->back.data = c;
    c->handles++;
    if (uv_poll_init(loop, &c->listener, c->fd))
        return hf_error(HF_EIO, "the loop takes no socket");
    c->listener.data = c;
    c->handles++;
    if (uv_poll_start(&c->listener, UV_READABLE, on_connection))
        return hf_error(HF_EIO, "the loop takes no socket");
    return HF_OK;
}

int hf_control_open(hf_control **out, struct uv_loop_s *loop, const char *store,
                    hf_control_answer answer_fn, void *user)
{
    hf_control *c = hf_mem_zero(1, sizeof *c);
    if (!c)
        return hf_error(HF_ENOMEM, "the control socket");
    c->fd = c->directory = -1;
    c->answer = answer_fn;
    c->user = user;
    c->queue_end = &c->queue;
    atomic_init(&c->stop, false);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    int err = bind_socket(c, store);
    if (!err)
        err = open_handles(c, loop);
    if (!err)
        err = start_workers(c);
    if (err) {
        hf_control_close(c);
        return err;
    }
    *out = c;
    return HF_OK;
}

void hf_control_close(hf_control *c)
{
    if (!c)
        return;
    end_workers(c);
    if (c->fd >= 0)
        (void)unlinkat(c->directory, "control.sock", 0);
    uint32_t handles = c->handles - c->count;
    while (c->peers)
        hang_up(c->peers);
    if (handles > 1)
        uv_close((uv_handle_t *)&c->listener, on_handle_closed);
    /* Not before: until then the loop may name it, and a closed one's number is anybody's. */
    if (c->fd >= 0)
        (void)close(c->fd);
    /* The last of them frees c. */
    if (handles)
        uv_close((uv_handle_t *)&c->back, on_handle_closed);
    else
        free_control(c);
}
