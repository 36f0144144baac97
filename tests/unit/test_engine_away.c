/* test_engine_away.c - asking an engine that is silent, slow, gone, or talks nonsense: a
 * socket by hand plays it, whenever the client would wait. */
#include "tests/unit/full_set.h"
#include "tests/unit/nth_call.h"

#include "recovery/arguments.h"
#include "recovery/control_client.h"
#include "recovery/out.h"

#include "storage/error.h"

#include <sys/un.h>

static const char *path;

/* ---- The engine by hand: takes the call and says its piece when the client polls */

static struct {
    int         listener, fd;
    const void *says;
    size_t      len;
    bool        hangs_up;
    int         polls; /* how often the client waited */
} peer = { .listener = -1, .fd = -1 };

static void peer_listen(void)
{
    struct sockaddr_un at;
    char name[300];
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(directory >= 0);
    (void)snprintf(name, sizeof name, "%s/control.sock", path);
    (void)unlink(name);
    hf_control_address(&at, directory);
    peer.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(peer.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(peer.listener, 8), 0);
    (void)close(directory);
}

static void peer_gone(void)
{
    char name[300];
    if (peer.fd >= 0)
        (void)close(peer.fd);
    if (peer.listener >= 0)
        (void)close(peer.listener);
    peer.fd = peer.listener = -1;
    (void)snprintf(name, sizeof name, "%s/control.sock", path);
    (void)unlink(name);
}

static int peer_turn(struct pollfd *client)
{
    static char rest[1 << 16];
    peer.polls++;
    for (int fd; (fd = accept(peer.listener, NULL, NULL)) >= 0; peer.fd = fd)
        if (peer.fd >= 0) /* of a call that is over */
            (void)close(peer.fd);
    assert_true(peer.fd >= 0);
    if (client->events & POLLOUT)
        while (recv(peer.fd, rest, sizeof rest, MSG_DONTWAIT) > 0)
            ;
    if (peer.len)
        assert_int_equal(send(peer.fd, peer.says, peer.len, MSG_NOSIGNAL), (ssize_t)peer.len);
    if (peer.hangs_up) {
        (void)shutdown(peer.fd, SHUT_RDWR);
        (void)close(peer.fd);
        peer.fd = -1;
    }
    return peer.len || peer.hangs_up; /* 0: nothing came in time */
}

static void peer_says(const void *bytes, size_t len, bool hangs_up)
{
    peer.says = bytes;
    peer.len = len;
    peer.hangs_up = hangs_up;
    peer.polls = 0;
}

static int begin(void **state)
{
    (void)state;
    nth_off();
    nth.on_poll = peer_turn;
    peer_listen();
    return 0;
}

static int end(void **state)
{
    (void)state;
    nth_off();
    nth.on_poll = NULL;
    nth.on_nap = NULL;
    peer_gone();
    return 0;
}

/* ---- One call */

static int count_row(void *user, hf_bytes row)
{
    ++*(unsigned *)user;
    return row.len ? HF_OK : 99;
}

static hf_control_call made;

static int call(hf_bytes arguments)
{
    static unsigned rows;
    int fd;
    hf_error_clear();
    assert_int_equal(hf_control_connect(&fd, path), HF_OK);
    made = (hf_control_call){ .verb = "ask", .name = "stats", .arguments = arguments,
                              .silence_ms = UINT32_MAX, .each = count_row, .user = &rows };
    return hf_control_ask(fd, &made);
}

static void says(const char *words)
{
    if (!strstr(hf_error_detail(), words))
        fail_msg("\"%s\" is not in \"%s\"", words, hf_error_detail());
}

/* A row, then the end. */
#define ROW "\x06\x00\x00\x00\x92\xa3row\x80"
#define END "\x0c\x00\x00\x00\x92\xa3" "end\x81\xa4" "code\x00"

static void test_answers(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t      len;
        int         err;
        const char *words;
        unsigned    rows;
        bool        ended;
    } rows[] = {
        { ROW END, 26, HF_OK, "", 1, true },
        { END, 16, HF_OK, "", 0, true },
        { "\x0c\x00\x00\x00\x92\xa3" "end\x81\xa4" "code\xfe", 16, HF_EINVAL, "", 0, true },
        { "\x15\x00\x00\x00\x92\xa3" "end\x82\xa4" "code\xfe\xa6" "detail\xa1x", 25, HF_EINVAL, "x",
          0, true },
        /* a code that is none, a detail that is none: passed over */
        { "\x15\x00\x00\x00\x92\xa3" "end\x82\xa4" "code\xa1y\xa6" "detail\x01", 25, HF_OK, "", 0,
          true },
        { ROW, 10, HF_ECLOSED, "hung up", 1, false },
        { ROW "\x05\x00", 12, HF_ECLOSED, "hung up", 1, false },
        { "\x05\x00\x00\x00\x92", 5, HF_ECLOSED, "hung up", 0, false },
        { "\x00\x00\x00\x00", 4, HF_EIO, "makes no sense", 0, false },
        { "\xff\xff\xff\x7f", 4, HF_EIO, "makes no sense", 0, false },
        { "\x01\x00\x00\x00\xc1", 5, HF_EIO, "makes no sense", 0, false },
        { "\x01\x00\x00\x00\x01", 5, HF_EIO, "makes no sense", 0, false },       /* no list */
        { "\x05\x00\x00\x00\x91\xa3row", 9, HF_EIO, "makes no sense", 0, false }, /* of one */
        { "\x03\x00\x00\x00\x92\x01\x80", 7, HF_EIO, "makes no sense", 0, false },
        { "\x06\x00\x00\x00\x92\xa3" "end\x01", 10, HF_EIO, "makes no sense", 0, false },
        { "\x09\x00\x00\x00\x92\xa3" "end\x81\xa1" "a\x90", 13, HF_EIO, "makes no sense", 0,
          false },
        { "\x09\x00\x00\x00\x92\xa3" "end\x81\xa1" "a\x80", 13, HF_EIO, "makes no sense", 0,
          false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        peer_says(rows[i].bytes, rows[i].len, true);
        int err = call(hf_view(NULL, 0));
        if (err != rows[i].err)
            fail_msg("answer %zu: %d (%s), not %d", i, err, hf_error_detail(), rows[i].err);
        says(rows[i].words);
        assert_int_equal(made.rows, rows[i].rows);
        assert_int_equal(made.ended, rows[i].ended);
        assert_true(made.sent);
    }
}

static void test_silence_and_interruptions(void **state)
{
    (void)state;
    peer_says("", 0, false);
    assert_int_equal(call(hf_view(NULL, 0)), HF_ETIMEDOUT);
    says("silent for 4294967295 ms");
    static const struct {
        const char *name;
        int         error, err;
        const char *words;
    } rows[] = {
        { "poll", EINTR, HF_OK, "" },     { "poll", EINVAL, HF_EIO, "poll: Invalid" },
        { "recv", EINTR, HF_OK, "" },     { "recv", ECONNRESET, HF_ECLOSED, "reset by peer" },
        { "send", EINTR, HF_OK, "" },     { "send", EPIPE, HF_ECLOSED, "hung up" },
        { "send", EAGAIN, HF_OK, "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        peer_says(END, 16, true);
        nth_on(NTH_SOCKET, rows[i].name, 1, rows[i].error);
        int err = call(hf_view(NULL, 0));
        nth_off();
        assert_true(nth.hit);
        /* Whoever cannot send reads all the same: it may have been told why. */
        bool told = strcmp(rows[i].name, "send") == 0 && rows[i].error == EPIPE;
        if (err != (told ? HF_OK : rows[i].err))
            fail_msg("%s, %s: %d (%s)", rows[i].name, strerror(rows[i].error), err,
                     hf_error_detail());
        if (!told)
            says(rows[i].words);
    }
    peer_says("", 0, true); /* it hung up, and said nothing */
    nth_on(NTH_SOCKET, "send", 1, EPIPE);
    assert_int_equal(call(hf_view(NULL, 0)), HF_ECLOSED);
    assert_false(made.sent);
    /* The socket is full, and nobody reads. */
    peer_says("", 0, false);
    nth_on(NTH_SOCKET, "send", 1, EAGAIN);
    assert_int_equal(call(hf_view(NULL, 0)), HF_ETIMEDOUT);
    assert_false(made.sent);
}

static void test_too_large_a_request(void **state)
{
    (void)state;
    size_t len = (17u << 20) + 1;
    char *bytes = calloc(1, len);
    assert_non_null(bytes);
    assert_int_equal(call(hf_view(bytes, len)), HF_ETOOBIG);
    assert_false(made.sent);
    free(bytes);
}

static void test_no_memory(void **state)
{
    (void)state;
    NTH_EACH(n, NTH_MEMORY, 0) {
        peer_says(ROW END, 26, true);
        int err = call(hf_view(NULL, 0));
        nth_off();
        assert_int_equal(err, nth.hit ? HF_ENOMEM : HF_OK);
    }
}

static void test_nobody_there(void **state)
{
    int fd;
    (void)state;
    peer_gone();
    assert_int_equal(hf_control_connect(&fd, path), HF_ENOTFOUND);
    assert_int_equal(hf_control_connect(&fd, "/no/such/place"), HF_EIO);
    nth_on(NTH_SOCKET, "socket", 1, EMFILE);
    assert_int_equal(hf_control_connect(&fd, path), HF_ENOTFOUND);
    says("Too many open files");
    peer_listen();
    nth_on(NTH_FILE, "fcntl", 1, EINVAL);
    assert_int_equal(hf_control_connect(&fd, path), HF_ENOTFOUND);
    nth_off();
    uint64_t pid;
    assert_false(hf_control_locked("/no/such/place", &pid));
    assert_int_equal(pid, 0);
    /* A salvage has it: that is no engine. */
    char file[PATH_MAX + 32];
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };
    (void)snprintf(file, sizeof file, "%s/holdfast.lock", path);
    int held = open(file, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(fcntl(held, F_OFD_SETLK, &lock), 0);
    assert_false(hf_control_locked(path, &pid));
    assert_int_equal(pid, 0);
    assert_int_equal(close(held), 0);
}

/* ---- A question to a store whose engine does not answer */

static int read_source(void *user, hf_bytes row)
{
    hf_argument source = { .name = "source", .type = HF_ARG_TEXT };
    char *out = user;
    if (hf_arguments_known("stats", row, &source, 1) || !source.given)
        return HF_EIO;
    (void)snprintf(out, 20, HF_FMT, HF_ARG(source.bytes));
    return HF_OK;
}

static void test_questions_to_a_hung_engine(void **state)
{
    core c;
    hf_store *store;
    char source[20];
    (void)state;
    core_open(&c, path, NULL, NULL); /* it has the lock, and a pid */
    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    peer_says("", 0, false);
    assert_int_equal(hf_query(store, "stats", hf_view(NULL, 0), read_source, source), HF_OK);
    assert_string_equal(source, "hung");
    assert_int_equal(peer.polls, 1);
    assert_int_equal(hf_query(store, "stats", hf_view(NULL, 0), read_source, source), HF_OK);
    assert_int_equal(peer.polls, 1); /* not asked again so soon */
    char lock[300];
    (void)snprintf(lock, sizeof lock, "%s/holdfast.lock", path);
    assert_int_equal(truncate(lock, 0), 0); /* somebody has it, and does not say who */
    assert_int_equal(hf_query(store, "stats", hf_view(NULL, 0), read_source, source), HF_OK);
    assert_string_equal(source, "hung");
    hf_store_close(store);
    core_close(&c, true);

    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    peer_says("", 0, true); /* it hangs up, twice: then the disk is asked */
    assert_int_equal(hf_query(store, "stats", hf_view(NULL, 0), read_source, source), HF_OK);
    assert_string_equal(source, "disk");
    assert_int_equal(peer.polls, 2);
    peer_says(ROW, 10, true); /* in the middle: the rows were told already */
    unsigned rows = 0;
    assert_int_equal(hf_query(store, "ls", hf_view(NULL, 0), count_row, &rows), HF_ECLOSED);
    assert_int_equal(rows, 1);
    assert_int_equal(hf_query(store, "ls", hf_view(NULL, 0), NULL, NULL), HF_EINVAL);
    assert_int_equal(hf_query(store, NULL, hf_view(NULL, 0), count_row, &rows), HF_EINVAL);
    hf_store_close(store);
}

/* An answer of a later engine, or a damaged one, to those who want whole messages. */
static int nothing(void *user, const hf_message *msg)
{
    (void)user, (void)msg;
    return HF_OK;
}

static void test_finding_in_strange_answers(void **state)
{
    hf_store *store;
    (void)state;
    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    assert_int_equal(hf_find(store, NULL, NULL, NULL), HF_EINVAL);
    /* {"scanned": 1, "more": true, "next": 0}: more, but not further on: no end else */
    static const char stuck[] =
        "\x1b\x00\x00\x00\x92\xa3row\x83\xa7scanned\x01\xa4more\xc3\xa4next\x00" END;
    peer_says(stuck, sizeof stuck - 1, true);
    assert_int_equal(hf_find(store, NULL, nothing, NULL), HF_OK);
    assert_int_equal(peer.polls, 1);
    static const char odd[] = "\x0a\x00\x00\x00\x92\xa3row\x81\xa2id\xc3" END; /* its id: true */
    peer_says(odd, sizeof odd - 1, true);
    assert_int_equal(hf_find(store, NULL, nothing, NULL), HF_EINVAL);
    peer_says("\x06\x00\x00\x00\x92\xa3row\x01" END, 26, true);
    assert_int_equal(hf_requeue(store, 1), HF_EINVAL);
    peer_says(END, 16, true); /* it says that it did it, but not what */
    assert_int_equal(hf_requeue(store, 1), HF_EIO);
    hf_store_close(store);
}

/* ---- Changes: what an engine was asked for, whole, may have been done */

static int change(hf_store *store, const char *arguments, size_t len)
{
    unsigned rows = 0;
    return hf_change(store, "pause", hf_view(arguments, len), count_row, &rows);
}

#define PAUSE     "\x81\xa4what\xa5order", 12
#define PAUSE_MS  "\x82\xa4what\xa5order\xa7wait_ms\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 29

static void test_changes(void **state)
{
    hf_store *store;
    (void)state;
    assert_int_equal(hf_store_open(&store, path, 0), HF_OK);
    peer_says("", 0, false);
    assert_int_equal(change(store, PAUSE), HF_EUNKNOWN);
    says("does not answer");
    assert_int_equal(change(store, PAUSE_MS), HF_EUNKNOWN); /* waits long, but not for ever */
    peer_says("", 0, true);
    assert_int_equal(change(store, PAUSE), HF_EUNKNOWN);
    says("went away before it answered");
    peer_says("\x01\x00\x00\x00\xc1", 5, true);
    assert_int_equal(change(store, PAUSE), HF_EUNKNOWN);
    nth_on(NTH_SOCKET, "poll", 1, EINVAL);
    assert_int_equal(change(store, PAUSE), HF_EUNKNOWN);
    peer_says(ROW END, 26, true);
    nth_on(NTH_MEMORY, NULL, 2, 0); /* the request had some */
    assert_int_equal(change(store, PAUSE), HF_EUNKNOWN);
    says("no memory to read");
    peer_says(ROW END, 26, true);
    nth_on(NTH_MEMORY, NULL, 1, 0);
    assert_int_equal(change(store, PAUSE), HF_ENOMEM); /* it was not even asked */
    nth_off();
    peer_says("", 0, true);
    nth_on(NTH_SOCKET, "send", 1, EPIPE);
    assert_int_equal(change(store, PAUSE), HF_EBUSY); /* nothing was sent: try again */
    says("hung up");
    peer_says(ROW END, 26, true);
    assert_int_equal(change(store, PAUSE), HF_OK);
    assert_int_equal(hf_change(store, NULL, hf_view(NULL, 0), NULL, NULL), HF_EINVAL);
    /* What it refused is refused: also when it says that it is busy. */
    peer_says("\x0c\x00\x00\x00\x92\xa3" "end\x81\xa4" "code\xfb", 16, true);
    assert_int_equal(change(store, PAUSE), HF_EBUSY);
    assert_int_equal(peer.polls, 1);
    peer_says(END, 16, true);
    assert_int_equal(change(store, "\x81\xa4what\x05", 7), HF_OK); /* what it is, it judges */
    hf_store_close(store);
}

/* ---- Waiting for an engine that replays */

static int   naps;
static core *napping;

static void nap(void)
{
    if (++naps < 3)
        return;
    if (peer.listener < 0)
        peer_listen(); /* now it does */
    else if (napping) { /* or it goes away */
        core_close(napping, true);
        napping = NULL;
        peer_gone();
    }
}

static void test_waiting_for_the_engine(void **state)
{
    core c;
    hf_store *store;
    unsigned rows = 0;
    (void)state;
    peer_gone();
    core_open(&c, path, NULL, NULL);
    assert_int_equal(hf_store_open(&store, path, HF_NEVER), HF_OK);
    nth.on_nap = nap;
    naps = 0;
    peer_says(ROW END, 26, true);
    assert_int_equal(hf_query(store, "ls", hf_view(NULL, 0), count_row, &rows), HF_OK);
    assert_int_equal(naps, 3);
    assert_int_equal(rows, 1);
    naps = 0;
    napping = &c;
    peer_says("", 0, true); /* busy, till it goes */
    nth_on(NTH_SOCKET, "send", 1, EPIPE);
    nth.times = 3;
    assert_int_equal(change(store, PAUSE), HF_OK);
    assert_int_equal(naps, 3);
    nth_off();
    nth.on_nap = NULL;
    hf_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers, begin, end),
        cmocka_unit_test_setup_teardown(test_silence_and_interruptions, begin, end),
        cmocka_unit_test_setup_teardown(test_too_large_a_request, begin, end),
        cmocka_unit_test_setup_teardown(test_no_memory, begin, end),
        cmocka_unit_test_setup_teardown(test_nobody_there, begin, end),
        cmocka_unit_test_setup_teardown(test_questions_to_a_hung_engine, begin, end),
        cmocka_unit_test_setup_teardown(test_finding_in_strange_answers, begin, end),
        cmocka_unit_test_setup_teardown(test_changes, begin, end),
        cmocka_unit_test_setup_teardown(test_waiting_for_the_engine, begin, end),
    };
    core c;
    path = core_directory("away", true);
    nth.pretend = true;
    core_open(&c, path, NULL, NULL);
    (void)full_fill(&c);
    core_close(&c, true);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(path);
    return failed;
}
