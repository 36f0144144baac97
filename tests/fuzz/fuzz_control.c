/* fuzz_control.c - any bytes as what a peer sends to the control socket.
 *
 * The engine's side is built into this program, without its loop: frames are taken
 * off the input as the loop would, answered as a worker would, and what comes back
 * has to be whole frames, rows first, then one end, as docs/control.md says.
 * Behind it stands a small store, so that every question's and change's arguments
 * are read, too; of a change only the plan is made. */
#include "tests/fuzz/fuzz.h"

#include "engine/control.c" /* frames and requests are its own */

#include "recovery/change.h"
#include "tests/support/core.h"

static core        store;
static const char *directory;

static void remove_store(void)
{
    core_close(&store, true);
    core_remove(directory);
}

static void put(uint8_t op, const char *to, uint64_t id, uint64_t due, uint64_t died)
{
    hf_entry e = core_entry(store.log, op, to);
    e.id = e.place = id;
    e.due = due;
    e.died = died;
    e.attempt = id ? 3 : 0;
    e.error = "oops";
    e.error_len = id ? 4 : 0;
    e.err = id ? 7 : 0;
    e.data = op == HF_OP_SEND || op == HF_OP_SAVE || op == HF_OP_DEAD ? hf_view("\x81\xa1n\x01", 4)
                                                                      : hf_view(NULL, 0);
    e.name = op == HF_OP_ALARM ? "wake" : "";
    e.name_len = (uint8_t)strlen(e.name);
    (void)core_put(&store, op == HF_OP_SEND ? 0 : HF_FACTS, &e);
}

static void make_store(void)
{
    static char path[600];
    directory = core_directory("fuzz-control", true);
    (void)snprintf(path, sizeof path, "%s/store", directory);
    core_open(&store, path, NULL, NULL);
    uint64_t first = core_send(&store, "order/1", "place", hf_str("text"));
    put(HF_OP_SEND, "order/1", 0, 0, 0);
    put(HF_OP_SEND, "mail/2", 0, UINT64_C(4102444800000), 0);
    put(HF_OP_RETRY, "order/1", first, UINT64_C(4102444800000), 0);
    put(HF_OP_SAVE, "order/1", 0, 0, 0);
    put(HF_OP_ALARM, "order/1", 0, UINT64_C(4102444800000), 0);
    put(HF_OP_DEAD, "mail/2", core_send(&store, "mail/2", "", hf_str("")), 0, 1700000000000);
    put(HF_OP_PAUSE, "mail", 0, 0, 0);
    (void)atexit(remove_store);
}

/* ---- What is behind the socket */

typedef struct teller {
    hf_control_row row;
    void          *to;
} teller;

static int tell(void *user, hf_bytes row)
{
    teller *t = user;
    return t->row(t->to, row);
}

static void check_facts(const hf_segment *facts)
{
    if (!facts->count)
        return;
    const uint8_t *at = facts->data, *end = at + facts->len;
    for (uint32_t i = 0; i < facts->count; i++) {
        hf_entry e;
        size_t size = hf_entry_decode(at, (size_t)(end - at), &e);
        FUZZ_CHECK(size > 0);
        at += size;
    }
    FUZZ_CHECK(at == end);
}

static int plan(hf_inquiry *inquiry, const char *name, hf_bytes arguments, teller *t)
{
    hf_plan made;
    int err = hf_plan_make(&made, inquiry, name, arguments);
    if (!err) {
        check_facts(&made.facts);
        for (uint32_t i = 0; i < made.count; i++)
            FUZZ_CHECK(made.letters[i].to && fuzz_number(made.letters[i].body.data,
                                                         made.letters[i].body.len));
        hf_receipt *receipts = calloc(made.count + 1u, sizeof *receipts);
        FUZZ_CHECK(receipts);
        if (strcmp(name, "send") == 0)
            hf_plan_sent(&made, receipts);
        if (made.pauses)
            hf_plan_paused(&made, 0);
        free(receipts);
        err = made.row.err ? made.row.err : tell(t, hf_out_bytes(&made.row));
    }
    hf_plan_done(&made);
    return err;
}

static int answer_from_store(void *user, bool change, const char *name, hf_bytes arguments,
                             hf_control_row row, void *to)
{
    teller t = { row, to };
    hf_inquiry inquiry = { .disk = store.disk, .source = "disk", .each = tell, .user = &t };
    hf_msgpack_shape shape;
    (void)user;
    FUZZ_CHECK(!arguments.data || hf_msgpack_scan(arguments, &shape) == HF_OK);
    FUZZ_CHECK(strlen(name) <= NAME_MAX_LEN);
    return change ? plan(&inquiry, name, arguments, &t) : hf_inquire(&inquiry, name, arguments);
}

/* ---- What comes back */

/* One frame off `rest`; true: it was the end. */
static bool take_end(hf_bytes *rest)
{
    hf_msgpack_shape shape;
    hf_token head, kind, what;
    FUZZ_CHECK(rest->len >= 4);
    size_t len = hf_get32(rest->data);
    FUZZ_CHECK(len > 0 && len <= rest->len - 4);
    hf_bytes frame = hf_view((const uint8_t *)rest->data + 4, len);
    FUZZ_CHECK(hf_msgpack_scan(frame, &shape) == HF_OK);
    FUZZ_CHECK(hf_msgpack_token(frame, &head) == HF_OK);
    FUZZ_CHECK(head.type == HF_TOKEN_ARRAY && head.count == 2);
    FUZZ_CHECK(hf_msgpack_token(behind(frame, head.size), &kind) == HF_OK);
    FUZZ_CHECK(hf_msgpack_token(behind(frame, head.size + kind.size), &what) == HF_OK);
    FUZZ_CHECK(what.type == HF_TOKEN_MAP && (says(&kind, "row") || says(&kind, "end")));
    *rest = behind(*rest, 4 + len);
    return says(&kind, "end");
}

static void check_answer(int fd)
{
    static uint8_t room[1 << 20];
    size_t len = 0;
    for (;;) {
        ssize_t got = recv(fd, room + len, sizeof room - len, MSG_DONTWAIT);
        if (got <= 0)
            break;
        len += (size_t)got;
        FUZZ_CHECK(len < sizeof room);
    }
    hf_bytes rest = hf_view(room, len);
    while (!take_end(&rest))
        ;
    FUZZ_CHECK(rest.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hf_control control = { .answer = answer_from_store };
    peer p = { .control = &control };
    int fds[2];
    if (!store.disk)
        make_store();
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    p.fd = fds[0];
    while (!p.hang_up) {
        p.data = fuzz_copy(data, size); /* so that it ends where it ends */
        p.len = size;
        if (frame_ready(&p) <= 0)
            break;
        FUZZ_CHECK(p.frame > 4 && p.frame <= size);
        answer(&p);
        if (!p.hang_up)
            check_answer(fds[1]);
        hf_out_done(&p.out);
        free(p.data);
        data += p.frame;
        size -= p.frame;
        p.data = NULL;
    }
    free(p.data);
    (void)close(fds[0]);
    (void)close(fds[1]);
    return 0;
}
