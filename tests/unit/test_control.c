/* test_control.c - the control socket: frames, limits, peers that misbehave. */
#include "tests/support/stores.h"

#include "engine/control.h"
#include "engine/thread.h"
#include "recovery/control_client.h"
#include "recovery/out.h"

#include <poll.h>
#include <sys/socket.h>
#include <uv.h>

typedef struct server {
    uv_loop_t   loop;
    uv_async_t  stop;
    hf_control *control;
    pthread_t   thread;
} server;

static char store[512];

/* "rows": as many as it says in the arguments; "echo": these; "big": too big. */
static int answer(void *user, bool change, const char *name, hf_bytes arguments,
                  hf_control_row row, void *to)
{
    static uint8_t body[1 << 20];
    hf_out out = { 0 };
    int err = HF_OK;
    (void)user;
    if (strcmp(name, "echo") == 0)
        return row(to, arguments);
    if (strcmp(name, "rows") != 0)
        return hf_error(HF_EINVAL, "no such %s: %s", change ? "change" : "question", name);
    for (uint64_t i = 0; !err && i < 64; i++) {
        hf_out_clear(&out);
        hf_out_map(&out, NULL);
        hf_out_uint(&out, "number", i);
        hf_out_bin(&out, "body", hf_view(body, sizeof body));
        hf_out_end(&out);
        err = out.err ? out.err : row(to, hf_out_bytes(&out));
    }
    hf_out_done(&out);
    return err;
}

static void on_stop(uv_async_t *async)
{
    server *s = async->data;
    hf_control_close(s->control);
    uv_close((uv_handle_t *)async, NULL);
}

static void *run(void *user)
{
    server *s = user;
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void start(server *s)
{
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(hf_control_open(&s->control, &s->loop, store, answer, NULL), HF_OK);
    assert_int_equal(uv_async_init(&s->loop, &s->stop, on_stop), 0);
    s->stop.data = s;
    assert_int_equal(hf_thread_start(&s->thread, "test-loop", run, s), HF_OK);
}

static void stop(server *s)
{
    char path[600];
    assert_int_equal(uv_async_send(&s->stop), 0);
    pthread_join(s->thread, NULL);
    assert_int_equal(uv_run(&s->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&s->loop), 0); /* nothing is left on it */
    (void)snprintf(path, sizeof path, "%s/control.sock", store);
    assert_int_not_equal(access(path, F_OK), 0);
}

static int connect_ok(void)
{
    int fd = -1;
    assert_int_equal(hf_control_connect(&fd, store), HF_OK);
    return fd;
}

static int count_row(void *user, hf_bytes row)
{
    uint64_t *bytes = user;
    *bytes += row.len;
    return HF_OK;
}

static int call(const char *verb, const char *name, hf_bytes arguments, uint64_t *bytes)
{
    hf_control_call c = { .verb = verb, .name = name, .arguments = arguments,
                          .silence_ms = 5000, .each = count_row, .user = bytes };
    int err = hf_control_ask(connect_ok(), &c);
    assert_true(c.sent);
    assert_true(c.ended);
    return err;
}

static void test_answers(void **state)
{
    (void)state;
    server s;
    struct stat st;
    char path[600];
    uint64_t bytes = 0;
    start(&s);
    (void)snprintf(path, sizeof path, "%s/control.sock", store);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(call("ask", "echo", hf_view("\x81\xa1x\x01", 4), &bytes), HF_OK);
    assert_int_equal(bytes, 4);
    bytes = 0;
    assert_int_equal(call("ask", "rows", hf_view(NULL, 0), &bytes), HF_OK);
    assert_true(bytes > 64 << 20);
    assert_int_equal(call("change", "weather", hf_view(NULL, 0), &bytes), HF_EINVAL);
    assert_string_equal(hf_error_detail(), "no such change: weather");
    stop(&s);
    int fd;
    assert_int_equal(hf_control_connect(&fd, store), HF_ENOTFOUND);
}

/* Everything the peer sends, in small pieces; what comes back until it hangs up. */
static size_t talk(hf_bytes bytes, uint8_t *room, size_t size)
{
    int fd = connect_ok();
    size_t got = 0;
    for (size_t i = 0; i < bytes.len; i++)
        if (send(fd, (const uint8_t *)bytes.data + i, 1, MSG_NOSIGNAL) != 1)
            break;
    (void)shutdown(fd, SHUT_WR);
    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        if (poll(&p, 1, 5000) != 1)
            fail_msg("the engine does not hang up");
        ssize_t n = recv(fd, room + got, size - got, 0);
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    (void)close(fd);
    return got;
}

static bool holds(const uint8_t *room, size_t len, const char *word)
{
    return memmem(room, len, word, strlen(word)) != NULL;
}

#define TALK(bytes) talk(hf_view(bytes, sizeof bytes - 1), room, sizeof room)

static void test_nonsense(void **state)
{
    (void)state;
    server s;
    uint8_t room[4096];
    start(&s);
    assert_int_equal(TALK("\0\0\0\0"), 0);                         /* no length */
    assert_int_equal(TALK("\x01\0\x10\x01"), 0);                   /* above 17 MiB */
    assert_int_equal(TALK("\xff\xff\xff\xff"), 0);
    assert_int_equal(TALK("\x05\0\0\0\xdf\xff\xff\xff\xff"), 0);   /* claims 2^32 pairs */
    assert_int_equal(TALK("\x01\0\0\0\x90"), 0);                   /* no map */
    assert_int_equal(TALK("\x05\0\0\0\x80"), 0);                   /* cut short */
    size_t len = TALK("\x01\0\0\0\x80");                           /* no version */
    assert_true(holds(room, len, "speaks version 1"));
    len = TALK("\x04\0\0\0\x81\xa1v\x01");                         /* nothing asked */
    assert_true(holds(room, len, "one of"));
    len = TALK("\x13\0\0\0\x83\xa1v\x01\xa3" "ask\xa1x\xa6" "change\xa1y"); /* both */
    assert_true(holds(room, len, "one of"));
    stop(&s);
}

/* Two requests on one connection, sent at once: answered one after the other. */
static void test_next_request(void **state)
{
    (void)state;
    server s;
    uint8_t room[4096];
    start(&s);
#define ASK_ECHO "\x16\0\0\0\x83\xa1v\x01\xa3" "ask\xa4" "echo\xa4" "args\x81\xa1"
    size_t len = TALK(ASK_ECHO "a\x01" ASK_ECHO "b\x02");
    assert_true(holds(room, len, "row\x81\xa1" "a\x01"));
    assert_true(holds(room, len, "row\x81\xa1" "b\x02"));
    stop(&s);
}

static void test_too_many(void **state)
{
    (void)state;
    server s;
    int fds[32];
    uint64_t bytes = 0;
    start(&s);
    for (int i = 0; i < 32; i++)
        fds[i] = connect_ok();
    usleep(50000);
    hf_control_call c = { .verb = "ask", .name = "echo", .arguments = hf_view("\x80", 1),
                          .silence_ms = 5000, .each = count_row, .user = &bytes };
    assert_int_equal(hf_control_ask(connect_ok(), &c), HF_EAGAIN);
    assert_true(c.ended);
    (void)close(fds[7]);
    usleep(50000);
    assert_int_equal(hf_control_ask(connect_ok(), &c), HF_OK);
    for (int i = 0; i < 32; i++)
        if (i != 7)
            (void)close(fds[i]);
    stop(&s);
}

/* Closing waits neither for idle peers nor for one that does not read. */
static void test_closing(void **state)
{
    (void)state;
    server s;
    start(&s);
    int idle = connect_ok(), deaf = connect_ok();
    static const char rows[] = "\x0d\0\0\0\x82\xa1v\x01\xa3" "ask\xa4" "rows";
    assert_int_equal(send(deaf, rows, sizeof rows - 1, 0), sizeof rows - 1);
    usleep(100000);
    uint64_t before = uv_hrtime();
    stop(&s);
    assert_true(uv_hrtime() - before < UINT64_C(3000000000));
    (void)close(idle);
    (void)close(deaf);
}

/* A store too deep for a socket's address. */
static int make_store(void **state)
{
    if (make_root(state))
        return -1;
    (void)snprintf(store, sizeof store, "%s", root);
    for (int i = 0; i < 4; i++) {
        (void)strcat(store, "/a-directory-with-a-name-that-is-rather-long-for-what-it-holds");
        if (mkdir(store, 0700))
            return -1;
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),      cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_next_request), cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_closing),
    };
    return cmocka_run_group_tests(tests, make_store, remove_root);
}
