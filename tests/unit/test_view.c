/* test_view.c - a store seen from outside: tables with the window laid over. */
#include "tests/support/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const hf_log_options options = { .window = 1 << 20 };
static char path[300];

typedef struct taken {
    uint64_t places[64];
    int      count, most;
} taken;

static int take(void *user, const hf_entry *e)
{
    taken *t = user;
    if (t->count == t->most)
        return 1; /* enough: a page */
    t->places[t->count++] = e->place;
    return HF_OK;
}

/* Pages of two, some of whose messages lie in the table, some in the window. */
static void test_pages(void **state)
{
    (void)state;
    core c;
    uint64_t ids[20];
    core_open(&c, path, NULL, &options);
    for (int i = 0; i < 20; i++) {
        ids[i] = core_send(&c, "page/1", "", hf_str("x"));
        core_send(&c, i % 2 ? "page/0" : "page/11", "", hf_str("of others"));
        if (i == 9)
            CORE_OK(hf_log_fold_all(c.log));
    }
    hf_entry ack = core_entry(c.log, HF_OP_ACK, "page/1");
    ack.id = ack.place = ids[3];
    core_put(&c, HF_FACTS, &ack);
    core_done(&c, ids[15], 1);
    hf_view_of *view;
    CORE_OK(hf_view_open(&view, c.disk));
    uint64_t after = 0;
    for (int i = 0; i < 20;) {
        taken t = { .most = 2 };
        (void)hf_view_inbox(view, "page/1", after, take, &t);
        assert_true(t.count > 0);
        for (int n = 0; n < t.count; n++, i++) {
            i += i == 3 || i == 15;
            assert_int_equal(t.places[n], ids[i]);
        }
        after = t.places[t.count - 1];
    }
    taken none = { .most = 2 };
    CORE_OK(hf_view_inbox(view, "page/1", after, take, &none));
    CORE_OK(hf_view_inbox(view, "page/9", 0, take, &none));
    assert_int_equal(none.count, 0);
    hf_view_close(view);
    core_close(&c, true);
}

static uint64_t put_step(core *c, uint64_t id, uint64_t number, const char *result)
{
    hf_entry e = core_entry(c->log, HF_OP_STEP, "");
    e.id = id;
    e.place = number;
    e.name = "s";
    e.name_len = 1;
    e.data = hf_str(result);
    return core_put(c, HF_FACTS, &e);
}

static int take_step(void *user, hf_bytes key, hf_bytes payload)
{
    hf_entry e;
    char *text = user;
    assert_int_equal(key.len, 24);
    assert_true(hf_entry_decode(payload.data, payload.len, &e));
    size_t len = strlen(text);
    (void)snprintf(text + len, 200 - len, "%d.%d=" HF_FMT " ", (int)e.id, (int)e.place,
                   HF_ARG(e.data));
    return HF_OK;
}

static void steps_are(core *c, uint64_t from, const char *want)
{
    char text[200] = "";
    hf_view_of *view;
    hf_key key;
    hf_key_number(&key, from);
    CORE_OK(hf_view_open(&view, c->disk));
    CORE_OK(hf_view_walk(view, HF_IN_STEPS, from ? hf_key_bytes(&key) : hf_view(NULL, 0),
                         take_step, text));
    hf_view_close(view);
    assert_string_equal(text, want);
}

static void test_steps(void **state)
{
    (void)state;
    core c;
    core_open(&c, path, NULL, &options);
    hf_entry purge = core_entry(c.log, HF_OP_PURGE, "t/1");
    put_step(&c, 1, 1, "a");
    put_step(&c, 1, 2, "b");
    put_step(&c, 2, 1, "c");
    put_step(&c, 3, 1, "d");
    steps_are(&c, 0, "1.1=a 1.2=b 2.1=c 3.1=d ");
    CORE_OK(hf_log_fold_all(c.log));
    put_step(&c, 1, 2, "B");
    put_step(&c, 3, 7, "e");
    steps_are(&c, 0, "1.1=a 1.2=B 2.1=c 3.1=d 3.7=e ");
    purge.id = 1;
    core_put(&c, HF_FACTS, &purge);
    purge.id = 3;
    core_put(&c, HF_FACTS, &purge);
    put_step(&c, 3, 2, "f");
    for (int twice = 0; twice < 2; twice++) {
        steps_are(&c, 0, "2.1=c 3.2=f ");
        steps_are(&c, 1, "2.1=c 3.2=f ");
        steps_are(&c, 3, "3.2=f ");
        CORE_OK(hf_log_fold_all(c.log));
    }
    core_close(&c, true);
}

/* Beside a living engine, and without one; a moment stays as it was. */
static void test_moment(void **state)
{
    (void)state;
    core c;
    hf_disk *look;
    hf_view_of *view;
    hf_disk_options looking = { .flags = HF_LOOK };
    taken t = { .most = 64 };
    core_open(&c, path, NULL, &options);
    uint64_t id = core_send(&c, "moment/1", "", hf_str("x"));
    CORE_OK(hf_disk_open(&look, path, &looking));
    CORE_OK(hf_view_open(&view, look));
    core_done(&c, id, 1);
    CORE_OK(hf_log_fold_all(c.log));
    CORE_OK(hf_view_inbox(view, "moment/1", 0, take, &t));
    assert_int_equal(t.count, 1);
    hf_view_close(view);
    CORE_OK(hf_view_open(&view, look));
    t.count = 0;
    CORE_OK(hf_view_inbox(view, "moment/1", 0, take, &t));
    assert_int_equal(t.count, 0);
    assert_true(hf_view_seed(view) == hf_log_seed(c.log));
    hf_view_close(view);
    hf_disk_close(look);
    core_close(&c, false);
    CORE_OK(hf_disk_open(&look, path, &looking));
    CORE_OK(hf_view_open(&view, look));
    assert_true(hf_view_next(view) > id);
    hf_bytes image;
    uint64_t version;
    assert_int_equal(hf_view_state(view, "moment/1", &image, &version), HF_ENOTFOUND);
    hf_view_close(view);
    hf_disk_close(look);
}

/* ---- States by name: of the table, of the window, of both, forgotten, of nobody */

enum { ACTORS = 400 };

static void actor_of(char text[32], const char *type, int i)
{
    (void)snprintf(text, 32, "%s/%d", type, i);
}

static void put_state(core *c, uint8_t op, const char *type, int i, const char *image)
{
    char actor[32];
    actor_of(actor, type, i);
    hf_entry e = core_entry(c->log, op, actor);
    e.data = op == HF_OP_SAVE ? hf_str(image) : hf_view(NULL, 0);
    core_put(c, HF_FACTS, &e);
}

/* Of three in the table the first is saved anew, the second forgotten. */
static void states_are(core *c, const char *type, bool there)
{
    hf_view_of *view;
    CORE_OK(hf_view_open(&view, c->disk));
    for (int i = 0; i < ACTORS; i++) {
        static const char *const images[] = { "newer", NULL, "older", "new", "new", "new" };
        char actor[32];
        hf_bytes image;
        uint64_t version;
        actor_of(actor, type, i);
        const char *want = there ? images[i % 6] : NULL;
        int err = hf_view_state(view, actor, &image, &version);
        assert_int_equal(err, want ? HF_OK : HF_ENOTFOUND);
        if (want) {
            assert_int_equal(image.len, strlen(want));
            assert_memory_equal(image.data, want, image.len);
        }
    }
    hf_view_close(view);
}

static void test_states(void **state)
{
    static const char *const types[] = { "b", "d", "dd" };
    static const char *const nobody[] = { "a", "bb", "d2", "e" };
    (void)state;
    for (size_t count = 1; count <= 3; count++) { /* one type alone, and several */
        core c;
        core_remove(path);
        core_open(&c, path, NULL, &options);
        for (size_t t = 0; t < count; t++)
            for (int i = 0; i < ACTORS; i++)
                if (i % 6 < 3)
                    put_state(&c, HF_OP_SAVE, types[t], i, "older");
        CORE_OK(hf_log_fold_all(c.log));
        for (size_t t = 0; t < count; t++) {
            for (int i = 0; i < ACTORS; i++) {
                if (i % 6 == 0)
                    put_state(&c, HF_OP_SAVE, types[t], i, "newer");
                else if (i % 6 == 1)
                    put_state(&c, HF_OP_FORGET, types[t], i, NULL);
                else if (i % 6 > 2)
                    put_state(&c, HF_OP_SAVE, types[t], i, "new");
            }
        }
        for (int twice = 0; twice < 2; twice++) {
            for (size_t t = 0; t < 3; t++)
                states_are(&c, types[t], t < count);
            for (size_t t = 0; t < sizeof nobody / sizeof *nobody; t++)
                states_are(&c, nobody[t], false);
            CORE_OK(hf_log_fold_all(c.log));
        }
        core_close(&c, true);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_pages), cmocka_unit_test(test_steps),
                                        cmocka_unit_test(test_moment),
                                        cmocka_unit_test(test_states) };
    const char *directory = core_directory("view", true);
    (void)snprintf(path, sizeof path, "%s/store", directory);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    core_remove(directory);
    return failed;
}
