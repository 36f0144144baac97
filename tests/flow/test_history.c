/* test_history.c - the life of a message that is done: attempts, steps, what it came from
 * and what it sent; how long that is known; who changed it. */
#include "tests/support/ring.h"

#include "recovery/arguments.h"
#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include <string.h>

enum { ROW = 64 << 10 };

typedef struct row {
    uint8_t bytes[ROW];
    size_t  len;
} row;

static int keep(void *user, hf_bytes bytes)
{
    row *r = user;
    assert_true(bytes.len < sizeof r->bytes);
    memcpy(r->bytes, bytes.data, bytes.len);
    r->len = bytes.len;
    return HF_OK;
}

static int ask(const char *name, uint64_t id, row *r)
{
    hf_store *store;
    hf_out out = { 0 };
    r->len = 0;
    ring_ok(hf_store_open(&store, ring_path(name), 1000));
    hf_out_map(&out, NULL);
    hf_out_uint(&out, "id", id);
    hf_out_end(&out);
    int err = hf_query(store, "message", hf_out_bytes(&out), keep, r);
    hf_out_done(&out);
    hf_store_close(store);
    return err;
}

/* A text of the row's own, or a number. */
static hf_argument field(const row *r, const char *name, hf_argument_type type)
{
    hf_argument a = { .name = name, .type = type };
    ring_ok(hf_arguments_known("row", hf_view(r->bytes, r->len), &a, 1));
    return a;
}

static void says(const row *r, const char *name, const char *text)
{
    hf_argument a = field(r, name, HF_ARG_TEXT);
    assert_true(a.given);
    assert_int_equal(a.bytes.len, strlen(text));
    assert_memory_equal(a.bytes.data, text, a.bytes.len);
}

static uint64_t number(const row *r, const char *name)
{
    return field(r, name, HF_ARG_UINT).number;
}

static uint32_t many(const row *r, const char *name)
{
    return field(r, name, HF_ARG_ARRAY).count;
}

/* Element of an array of maps. */
static hf_argument of(const row *r, const char *list, uint32_t at, const char *name,
                      hf_argument_type type)
{
    hf_argument all = field(r, list, HF_ARG_ARRAY), a = { 0 };
    assert_true(at < all.count);
    hf_bytes rest = all.bytes;
    for (uint32_t i = 0; i <= at; i++) {
        hf_argument fields[] = { { .name = "id", .type = HF_ARG_UINT },
                                 { .name = "at", .type = HF_ARG_UINT },
                                 { .name = "took_ms", .type = HF_ARG_UINT },
                                 { .name = "err", .type = HF_ARG_INT },
                                 { .name = "error", .type = HF_ARG_TEXT },
                                 { .name = "actor", .type = HF_ARG_TEXT },
                                 { .name = "kind", .type = HF_ARG_TEXT },
                                 { .name = "status", .type = HF_ARG_TEXT },
                                 { .name = "sent", .type = HF_ARG_UINT },
                                 { .name = "name", .type = HF_ARG_TEXT },
                                 { .name = "result", .type = HF_ARG_BIN },
                                 { .name = "undone", .type = HF_ARG_BOOL },
                                 { .name = "change", .type = HF_ARG_TEXT },
                                 { .name = "uid", .type = HF_ARG_UINT },
                                 { .name = "user", .type = HF_ARG_TEXT },
                                 { .name = "reason", .type = HF_ARG_TEXT } };
        ring_ok(hf_arguments_next(list, &rest, fields, sizeof fields / sizeof *fields));
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
            if (strcmp(fields[f].name, name) == 0)
                a = fields[f];
    }
    assert_int_equal(a.type, type);
    return a;
}

static void is(hf_argument a, const char *text)
{
    assert_true(a.given);
    assert_int_equal(a.bytes.len, strlen(text));
    assert_memory_equal(a.bytes.data, text, a.bytes.len);
}

/* ---- Actors */

static int parent(hf_turn *turn, const hf_message *msg)
{
    if (msg->attempt == 1 && strcmp(msg->kind, "hard") == 0)
        return hf_fail(turn, 7, "not yet");
    for (int i = 0; i < (strcmp(msg->kind, "many") == 0 ? 103 : 2); i++)
        hf_send(turn, "child/1", "small", hf_str("x"));
    return HF_OK;
}

static int child(hf_turn *turn, const hf_message *msg)
{
    if (strcmp(msg->kind, "small") == 0)
        hf_send(turn, "leaf/1", "end", hf_str("y"));
    return HF_OK;
}

static int leaf(hf_turn *turn, const hf_message *msg)
{
    (void)turn, (void)msg;
    return HF_OK;
}

static int slow(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    hf_step step;
    if (hf_begin_step(turn, "charge", &step) == HF_TODO)
        (void)hf_end_step(turn, &step, hf_str("tx-9"));
    usleep(30000);
    return HF_OK;
}

static const hf_type types[] = {
    { .name = "parent", .handle = parent, .retry_ms = 1 },
    { .name = "child", .handle = child },
    { .name = "leaf", .handle = leaf },
    { .name = "slow", .handle = slow, .threads = 1 },
    { .name = "quiet", .handle = leaf, .history_ms = HF_NOW },
    { 0 },
};

static uint64_t tell(hf_engine *e, const char *to, const char *kind)
{
    hf_receipt receipt;
    hf_letter letter = { .size = sizeof letter, .to = to, .kind = kind, .body = hf_str("body") };
    ring_ok(hf_mail(e, &letter, 1, &receipt));
    return receipt.id;
}

static void test_life(void **state)
{
    row r;
    (void)state;
    hf_engine *e = ring_open("life", types);
    uint64_t id = tell(e, "parent/1", "hard");
    ring_ok(hf_drain(e, 10000));
    for (int closed = 0; closed < 2; closed++) { /* from the engine, then from disk */
        ring_ok(ask("life", id, &r));
        says(&r, "status", "done");
        says(&r, "actor", "parent/1");
        says(&r, "kind", "hard");
        assert_int_equal(number(&r, "attempt"), 2);
        assert_true(number(&r, "ended") >= number(&r, "sent") && number(&r, "sent"));
        assert_int_equal(many(&r, "attempts"), 2);
        is(of(&r, "attempts", 0, "error", HF_ARG_TEXT), "not yet");
        assert_false(of(&r, "attempts", 1, "error", HF_ARG_TEXT).given);
        assert_int_equal(many(&r, "children"), 2);
        is(of(&r, "children", 1, "actor", HF_ARG_TEXT), "child/1");
        is(of(&r, "children", 1, "status", HF_ARG_TEXT), "done");
        uint64_t second = of(&r, "children", 1, "id", HF_ARG_UINT).number;
        ring_ok(ask("life", second, &r));
        assert_int_equal(of(&r, "parents", 0, "id", HF_ARG_UINT).number, id);
        uint64_t third = of(&r, "children", 0, "id", HF_ARG_UINT).number;
        ring_ok(ask("life", third, &r));
        assert_int_equal(many(&r, "parents"), 2);
        assert_int_equal(of(&r, "parents", 1, "id", HF_ARG_UINT).number, id);
        assert_int_equal(many(&r, "children"), 0);
        if (!closed)
            ring_ok(hf_close(e, 10000));
    }
}

static void test_children_more(void **state)
{
    row r;
    (void)state;
    hf_engine *e = ring_open("more", types);
    uint64_t id = tell(e, "parent/1", "many");
    ring_ok(hf_drain(e, 10000));
    ring_ok(ask("more", id, &r));
    assert_int_equal(many(&r, "children"), 100);
    assert_int_equal(number(&r, "children_more"), 3);
    ring_ok(hf_close(e, 10000));
}

static void test_thread(void **state)
{
    row r;
    (void)state;
    hf_engine *e = ring_open("thread", types);
    uint64_t id = tell(e, "slow/1", "go");
    ring_ok(hf_drain(e, 10000));
    ring_ok(ask("thread", id, &r));
    says(&r, "status", "done");
    assert_in_range(of(&r, "attempts", 0, "took_ms", HF_ARG_UINT).number, 29, 9999);
    is(of(&r, "steps", 0, "name", HF_ARG_TEXT), "charge");
    is(of(&r, "steps", 0, "result", HF_ARG_BIN), "tx-9");
    ring_ok(hf_close(e, 10000));
}

/* A type may keep nothing; and what is not kept is not found. */
static void test_unknown(void **state)
{
    row r;
    (void)state;
    hf_engine *e = ring_open("unknown", types);
    uint64_t id = tell(e, "quiet/1", "go");
    ring_ok(hf_drain(e, 10000));
    ring_err(ask("unknown", id, &r), HF_ENOTFOUND);
    ring_err(ask("unknown", id + 1000000, &r), HF_ENOTFOUND);
    assert_non_null(strstr(hf_detail(), "finished, or never was"));
    ring_ok(hf_close(e, 10000));
}

/* Folded long ago, and still known; then there is too much of it. */
static void test_folded(void **state)
{
    row r;
    char body[1000] = { 0 };
    (void)state;
    hf_engine *e = ring_open("folded", types);
    uint64_t first = tell(e, "leaf/1", "go"), id = 0;
    for (int i = 0; i < 3000; i++) {
        hf_letter letter = { .size = sizeof letter, .to = "leaf/1", .kind = "big",
                             .body = hf_view(body, sizeof body) };
        hf_receipt receipt;
        ring_ok(hf_mail(e, &letter, 1, &receipt));
        id = receipt.id;
    }
    ring_ok(hf_drain(e, 10000));
    ring_ok(ask("folded", id, &r));
    ring_err(ask("folded", first, &r), HF_ENOTFOUND);
    hf_store *store;
    ring_ok(hf_store_open(&store, ring_path("folded"), 1000));
    ring_ok(hf_query(store, "stats", hf_view(NULL, 0), keep, &r));
    hf_store_close(store);
    assert_in_range(number(&r, "history_bytes"), 1, 64 << 10); /* a quarter of the window */
    uint64_t tail = number(&r, "tail");
    ring_ok(hf_close(e, 10000));
    uint32_t known = 0;
    for (uint64_t i = tail - 60; i < tail; i++)
        known += ask("folded", i, &r) == HF_OK;
    assert_true(known > 10); /* below the tail */
}

/* ---- Changes */

static int change(const char *name, const char *what, uint64_t id, const char *reason)
{
    hf_store *store;
    hf_out out = { 0 };
    ring_ok(hf_store_open(&store, ring_path(name), 1000));
    hf_out_map(&out, NULL);
    hf_out_array(&out, "ids");
    hf_out_uint(&out, NULL, id);
    hf_out_end(&out);
    hf_out_text(&out, "reason", hf_str(reason));
    hf_out_end(&out);
    int err = hf_change(store, what, hf_out_bytes(&out), NULL, NULL);
    hf_out_done(&out);
    hf_store_close(store);
    return err;
}

static atomic_int fails;

static int moody(hf_turn *turn, const hf_message *msg)
{
    (void)msg;
    return atomic_load(&fails) ? hf_bury(turn, "no") : HF_OK;
}

static const hf_type moods[] = { { .name = "moody", .handle = moody }, { 0 } };

static void changed(const row *r, uint32_t at, const char *what, const char *reason)
{
    is(of(r, "changes", at, "change", HF_ARG_TEXT), what);
    is(of(r, "changes", at, "reason", HF_ARG_TEXT), reason);
    assert_int_equal(of(r, "changes", at, "uid", HF_ARG_UINT).number, geteuid());
    assert_true(of(r, "changes", at, "at", HF_ARG_UINT).number > 0);
}

/* With an engine and without one; through death, and beyond the end. */
static void test_changes(void **state)
{
    row r;
    (void)state;
    atomic_store(&fails, 1);
    hf_engine *e = ring_open("changes", moods);
    uint64_t id = tell(e, "moody/1", "go");
    ring_ok(hf_drain(e, 10000));
    ring_ok(change("changes", "requeue", id, "first try"));
    ring_ok(hf_drain(e, 10000));
    ring_ok(ask("changes", id, &r));
    says(&r, "status", "dead");
    changed(&r, 0, "requeue", "first try");
    ring_ok(hf_close(e, 10000));
    ring_ok(change("changes", "requeue", id, "second try"));
    ring_ok(change("changes", "cancel", id, "no, rather not"));
    ring_ok(ask("changes", id, &r));
    assert_int_equal(many(&r, "changes"), 3);
    changed(&r, 1, "requeue", "second try");
    changed(&r, 2, "cancel", "no, rather not");
    atomic_store(&fails, 0);
    e = ring_open("changes", moods); /* buries it */
    ring_ok(hf_drain(e, 10000));
    ring_ok(ask("changes", id, &r));
    says(&r, "status", "dead");
    assert_int_equal(many(&r, "changes"), 3);
    ring_ok(change("changes", "requeue", id, "now"));
    ring_ok(hf_drain(e, 10000));
    ring_ok(ask("changes", id, &r));
    says(&r, "status", "done");
    assert_int_equal(many(&r, "changes"), 4);
    changed(&r, 3, "requeue", "now");
    ring_ok(hf_close(e, 10000));
}

static void test_purged(void **state)
{
    row r;
    (void)state;
    atomic_store(&fails, 1);
    hf_engine *e = ring_open("purged", moods);
    uint64_t id = tell(e, "moody/1", "go");
    ring_ok(hf_drain(e, 10000));
    ring_ok(change("purged", "purge", id, "test data"));
    ring_ok(ask("purged", id, &r));
    assert_true(field(&r, "purged", HF_ARG_BOOL).number);
    changed(&r, 0, "purge", "test data");
    is(of(&r, "attempts", 0, "error", HF_ARG_TEXT), "no");
    assert_int_equal(many(&r, "attempts"), 1);
    ring_ok(hf_close(e, 10000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),    cmocka_unit_test(test_children_more),
        cmocka_unit_test(test_thread),  cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_folded),  cmocka_unit_test(test_changes),
        cmocka_unit_test(test_purged),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
