/* test_crews.c - several threads look through a large inbox: they tell what one of them
 * tells alone, whatever fails meanwhile, and no half of it. */
#include "tests/unit/asked.h"

#include "recovery/crew.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { TYPES = 40, ACTORS = 5010, LARGE = 6, LARGE_BYTES = 4 << 20 };

static char  path[200];
static core  c;
static hf_key bad_key; /* of a row in the midst */

/* ---- The machine */

#define HIDDEN     __attribute__((visibility("hidden")))
#define REAL(name) ((__typeof__(&name))(uintptr_t)dlsym(RTLD_NEXT, #name))

static struct {
    long     processors;
    unsigned threads;   /* so many can be made */
    bool     commits;   /* somebody writes as soon as the first one runs */
    unsigned made;
} machine;

HIDDEN long sysconf(int name)
{
    return name == _SC_NPROCESSORS_ONLN ? machine.processors : REAL(sysconf)(name);
}

HIDDEN int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*work)(void *),
                          void *argument)
{
    if (machine.made >= machine.threads)
        return EAGAIN;
    if (machine.commits && !machine.made) {
        hf_txn *txn;
        CORE_OK(hf_txn_write(c.disk, &txn));
        CORE_OK(hf_meta_put(txn, "test", machine.processors > 0));
        CORE_OK(hf_txn_commit(txn));
    }
    machine.made++;
    return REAL(pthread_create)(thread, how, work, argument);
}

/* The allocation that it counts down to fails, whichever thread's it is. */
static atomic_int left;
static int fails_once(void *user, size_t size)
{
    (void)user, (void)size;
    return atomic_fetch_sub(&left, 1) == 1;
}

/* ---- Asking */

static uint64_t sum_rows(void)
{
    uint64_t sum = asked.count;
    for (size_t i = 0; i < asked.count; i++) {
        hf_bytes row = hf_out_bytes(&asked.rows[i]);
        sum = hf_address_hash(sum, row.data, row.len);
    }
    return sum;
}

static hf_bytes arguments(const char *by, const char *where, bool bodies)
{
    hf_out_clear(&args);
    hf_out_map(&args, NULL);
    if (by)
        hf_out_text(&args, "by", hf_str(by));
    if (where)
        hf_out_text(&args, "where", hf_str(where));
    if (bodies)
        hf_out_bool(&args, "bodies", true);
    hf_out_uint(&args, "limit", 500);
    hf_out_end(&args);
    return hf_out_bytes(&args);
}

typedef struct question {
    const char *name, *by, *where;
    bool        bodies;
} question;

static int ask(const question *q, long processors, unsigned threads)
{
    machine.processors = processors;
    machine.threads = threads;
    machine.made = 0;
    return asked_of(q->name, arguments(q->by, q->where, q->bodies));
}

static uint64_t alone(const question *q)
{
    assert_int_equal(ask(q, 1, 9), HF_OK);
    assert_int_equal(machine.made, 0);
    return sum_rows();
}

static const question narrow[] = {
    { "messages", NULL, "type = t07", false },
    { "messages", NULL, "type = t07 and kind = k3", false },
    { "ls", "actors", "type = t07", false },
    { "messages", NULL, "type = large", true },
};

/* ---- Tests */

static void test_the_same(void **state)
{
    static const question of[] = {
        { "ls", "types", NULL, false },
        { "ls", "errors", NULL, false },
        { "messages", NULL, NULL, false },
        { "messages", NULL, "type = t39", false },
        { "messages", NULL, "type = none", false },
        { "messages", NULL, "type = large", true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        uint64_t want = alone(&of[i]);
        for (long processors = 2; processors < 5; processors += 2) {
            assert_int_equal(ask(&of[i], processors, 9), HF_OK);
            assert_true(machine.made < 4);
            if (sum_rows() != want)
                fail_msg("%s %zu by %u threads: other rows", of[i].name, i, machine.made + 1);
        }
    }
}

/* Fewer threads than one would like, or none, look just as well. */
static void test_no_threads(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        uint64_t want = alone(&narrow[i]);
        for (unsigned threads = 0; threads < 3; threads++) {
            assert_int_equal(ask(&narrow[i], 4, threads), HF_OK);
            assert_true(sum_rows() == want);
        }
    }
}

/* Whoever comes after a commit would see another moment: then it goes without. */
static void test_a_commit_between(void **state)
{
    (void)state;
    machine.commits = true;
    for (size_t i = 0; i < 4; i++) {
        uint64_t want = alone(&narrow[i]);
        assert_int_equal(ask(&narrow[i], 4, 9), HF_OK);
        assert_true(machine.made <= 1);
        assert_true(sum_rows() == want);
    }
    machine.commits = false;
}

static void test_no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        uint64_t want = alone(&narrow[i]);
        for (int n = 1, hit = 1; hit && n < 400; n += n < 60 ? 1 : 23) {
            atomic_store(&left, n);
            hf_mem_hook(fails_once, NULL);
            int err = ask(&narrow[i], 3, 9);
            hf_mem_hook(NULL, NULL);
            hit = atomic_load(&left) <= 0;
            assert_true(err == HF_OK || err == HF_ENOMEM);
            assert_true(err || sum_rows() == want);
        }
    }
}

/* A row that can't be read is told of, whoever meets it, and nothing else is. */
static void test_damage(void **state)
{
    hf_txn *txn;
    (void)state;
    static const question of[] = { { "messages", NULL, "type = t07 and kind = k3", false },
                                   { "ls", "actors", "type = t07", false },
                                   { "ls", "types", NULL, false } };
    CORE_OK(hf_txn_write(c.disk, &txn));
    asked_put(txn, HF_IN_INBOX, &bad_key, "12345678 nothing", 16);
    CORE_OK(hf_txn_commit(txn));
    for (size_t i = 0; i < 3; i++) {
        for (long processors = 1; processors < 5; processors += 3) {
            assert_int_equal(ask(&of[i], processors, 9), HF_ECORRUPT);
            asked_says("a message can't be read");
            assert_int_equal(asked.count, 0);
        }
    }
    CORE_OK(hf_txn_write(c.disk, &txn));
    CORE_OK(hf_txn_del(txn, HF_IN_INBOX, hf_key_bytes(&bad_key)));
    CORE_OK(hf_txn_commit(txn));
}

/* ---- The store */

static hf_key put_one(hf_txn *txn, const char *to, uint64_t place, hf_bytes body, hf_rowbuf *buf)
{
    static uint8_t room[LARGE_BYTES + 256];
    char kind[4];
    hf_key key;
    (void)snprintf(kind, sizeof kind, "k%d", (int)(place % 7));
    hf_entry e = core_entry(c.log, HF_OP_SEND, to);
    e.name = kind;
    e.name_len = 2;
    e.data = body;
    hf_put64(room, 1000 + place);
    size_t size = hf_entry_encode(&e, room + 8);
    hf_key_place(&key, to, e.to_len, e.hash, place);
    CORE_OK(hf_row_put(txn, HF_IN_INBOX, &key, hf_view(room, 8 + size), buf));
    return key;
}

static void fill(void)
{
    hf_rowbuf buf = { 0 };
    hf_txn *txn;
    char to[32];
    uint64_t place = 1000; /* beyond what the log gave */
    core_open(&c, path, &(hf_disk_options){ .store_max = MIB(512) }, NULL);
    (void)full_dead(&c, "t07/1", 5);
    full_put(&c, HF_OP_PAUSE, "t11", 0, "", "");
    CORE_OK(hf_log_fold_all(c.log));
    CORE_OK(hf_txn_write(c.disk, &txn));
    for (int type = 0; type < TYPES; type++) {
        for (int i = 0; i < ACTORS; i++) {
            (void)snprintf(to, sizeof to, "t%02d/%d", type, i / 2);
            (void)put_one(txn, to, place++, hf_str("x"), &buf);
        }
    }
    char *body = calloc(1, LARGE_BYTES);
    assert_non_null(body);
    for (int i = 0; i < LARGE; i++) {
        (void)snprintf(to, sizeof to, "large/%d", i);
        (void)put_one(txn, to, place++, hf_view(body, LARGE_BYTES), &buf);
    }
    free(body);
    bad_key = put_one(txn, "t07/bad", place, hf_str(""), &buf);
    CORE_OK(hf_txn_del(txn, HF_IN_INBOX, hf_key_bytes(&bad_key)));
    CORE_OK(hf_meta_put(txn, "next", place + 1));
    CORE_OK(hf_txn_commit(txn));
    hf_rowbuf_done(&buf);
    asked.disk = c.disk;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same),         cmocka_unit_test(test_no_threads),
        cmocka_unit_test(test_a_commit_between), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_damage),
    };
    machine.processors = 1;
    machine.threads = 9;
    (void)snprintf(path, sizeof path, "%s", core_directory("crews", true));
    fill();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    CORE_OK(hf_log_close(c.log, false));
    hf_disk_close(c.disk);
    core_remove(path);
    asked_done();
    return failed;
}
