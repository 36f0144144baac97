/* test_follow.c - the question `tail`: nothing twice, nothing left out, however small the
 * answers; what the log has dropped is said to be skipped; what nobody knows is not selected. */
#include "tests/support/ring.h"

#include "recovery/arguments.h"
#include "recovery/holdfast_recovery.h"
#include "recovery/out.h"

#include <string.h>

enum { MOST = 8000 };

typedef struct told {
    uint64_t ids[MOST], positions[MOST];
    uint32_t count, nameless;
    uint64_t next, part, skipped;
    bool     more;
} told;

static told all, some;

static int note(void *user, hf_bytes row)
{
    told *t = user;
    enum { NEXT, PART, MORE, SKIPPED, WHAT, ID, POSITION, KIND, AT, FIELDS };
    hf_argument f[FIELDS] = {
        { .name = "next", .type = HF_ARG_UINT },     { .name = "next_part", .type = HF_ARG_UINT },
        { .name = "more", .type = HF_ARG_BOOL },     { .name = "skipped", .type = HF_ARG_UINT },
        { .name = "what", .type = HF_ARG_TEXT },     { .name = "id", .type = HF_ARG_UINT },
        { .name = "position", .type = HF_ARG_UINT }, { .name = "kind", .type = HF_ARG_TEXT },
        { .name = "at", .type = HF_ARG_UINT },
    };
    ring_ok(hf_arguments_known("row", row, f, FIELDS));
    if (f[NEXT].given) {
        t->next = f[NEXT].number;
        t->part = f[PART].number;
        t->more = f[MORE].number;
        t->skipped += f[SKIPPED].number;
        return HF_OK;
    }
    assert_true(f[WHAT].given && f[POSITION].given && f[AT].number);
    assert_true(t->count < MOST);
    t->ids[t->count] = f[ID].number;
    t->positions[t->count] = f[POSITION].number;
    assert_true(!t->count || t->positions[t->count - 1] <= t->positions[t->count]);
    t->count++;
    t->nameless += !f[KIND].given;
    return HF_OK;
}

static int ask(hf_store *store, const char *where, bool given, uint64_t limit, told *t)
{
    hf_out out = { 0 };
    hf_out_map(&out, NULL);
    if (where)
        hf_out_text(&out, "where", hf_str(where));
    if (given) {
        hf_out_uint(&out, "after", t->next);
        hf_out_uint(&out, "part", t->part);
    }
    hf_out_uint(&out, "limit", limit);
    hf_out_end(&out);
    int err = hf_query(store, "tail", hf_out_bytes(&out), note, t);
    hf_out_done(&out);
    return err;
}

/* Page by page to the end. */
static void follow(hf_store *store, const char *where, uint64_t after, uint64_t limit, told *t)
{
    memset(t, 0, sizeof *t);
    t->next = after;
    do {
        uint32_t before = t->count;
        ring_ok(ask(store, where, true, limit, t));
        assert_true(t->count - before <= limit);
    } while (t->more);
}

static int leaf(hf_turn *turn, const hf_message *msg)
{
    (void)turn, (void)msg;
    return HF_OK;
}

static const hf_type types[] = { { .name = "leaf", .handle = leaf }, { 0 } };

static uint64_t tell(hf_engine *e, uint32_t count, size_t size)
{
    static const char body[1000];
    hf_letter letters[100];
    hf_receipt receipts[100];
    uint64_t first = 0;
    for (uint32_t i = 0; i < count; i += 100) {
        for (uint32_t n = 0; n < 100; n++)
            letters[n] = (hf_letter){ .size = sizeof letters[n], .to = n % 2 ? "leaf/1" : "leaf/2",
                                      .kind = "go", .body = hf_view(body, size) };
        ring_ok(hf_mail(e, letters, 100, receipts));
        first = first ? first : receipts[0].id;
    }
    return first;
}

static void same(void)
{
    assert_int_equal(all.count, some.count);
    assert_memory_equal(all.ids, some.ids, all.count * sizeof *all.ids);
    assert_memory_equal(all.positions, some.positions, all.count * sizeof *all.positions);
}

static void test_pages(void **state)
{
    hf_store *store;
    (void)state;
    hf_engine *e = ring_open("pages", types);
    ring_ok(hf_store_open(&store, ring_path("pages"), 1000));
    memset(&all, 0, sizeof all);
    ring_ok(ask(store, NULL, false, 1000, &all)); /* from now on */
    uint64_t start = all.next;
    assert_int_equal(all.count, 0);
    tell(e, 200, 10);
    ring_ok(hf_drain(e, 10000));
    for (int closed = 0; closed < 2; closed++) {
        follow(store, NULL, start, 1000, &all);
        assert_int_equal(all.count, 400); /* each sent and done */
        assert_int_equal(all.skipped, 0);
        assert_int_equal(all.nameless, 0);
        const uint64_t limits[] = { 1, 3, 7, 64 }; /* into the midst of a DONE, too */
        for (int i = closed ? 3 : 0; i < 4; i++) {
            follow(store, NULL, start, limits[i], &some);
            same();
        }
        follow(store, "status = done and actor = leaf/1 and kind = go", start, 1000, &some);
        assert_int_equal(some.count, 100);
        follow(store, "not attempts = 9", start, 1000, &some);
        assert_int_equal(some.count, 400);
        follow(store, "attempts != 9", start, 1000, &some); /* of what is done nobody knows */
        assert_int_equal(some.count, 200);
        uint64_t end = all.next;
        all.next = end + 1000000; /* never given: from the end on */
        all.part = 0;
        ring_ok(ask(store, NULL, true, 1000, &all));
        assert_int_equal(all.next, end);
        ring_err(ask(store, NULL, true, 0, &all), HF_EINVAL);
        ring_err(ask(store, NULL, true, 1001, &all), HF_EINVAL);
        ring_err(ask(store, "kind >", true, 1, &all), HF_EINVAL);
        if (!closed)
            ring_ok(hf_close(e, 10000));
    }
    hf_store_close(store);
}

/* Far more than the window and its history hold. */
static void test_skipped(void **state)
{
    hf_store *store;
    (void)state;
    hf_engine *e = ring_open("skipped", types);
    uint64_t first = tell(e, 100, 10);
    tell(e, 3000, 1000);
    ring_ok(hf_drain(e, 10000));
    ring_ok(hf_store_open(&store, ring_path("skipped"), 1000));
    follow(store, NULL, first, 1000, &all);
    assert_true(all.skipped >= 100);
    ring_ok(hf_close(e, 10000)); /* it drops more of it as long as it lives */
    follow(store, NULL, first, 1000, &all);
    assert_in_range(all.skipped, 100, all.next - first);
    assert_true(all.count && all.count < 6200);
    assert_true(all.positions[0] > first + 100);
    assert_true(all.positions[0] >= first + all.skipped);
    follow(store, NULL, first, 7, &some);
    same();
    assert_int_equal(all.skipped, some.skipped); /* said once */
    follow(store, NULL, 0, 1000, &some); /* from the beginning, wherever that is */
    same();
    assert_int_equal(some.skipped, 0);
    /* Those whose sending is gone are told, but selected only by what is known. */
    uint32_t nameless = all.nameless, count = all.count;
    follow(store, "kind = go or kind != go", first, 1000, &some);
    assert_int_equal(some.count + nameless, count);
    follow(store, "status in (waiting, done)", first, 1000, &some);
    same();
    hf_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_skipped),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
