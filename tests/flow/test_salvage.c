/* test_salvage.c - a damaged record in the window, and what refuses a salvage. */
#include "tests/support/core.h"
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"

#include "storage/marker.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { EACH = 40, MANY = 300 };

static atomic_int handled;

static int handle(hf_turn *turn, const hf_message *msg)
{
    atomic_fetch_add(&handled, 1);
    hf_save(turn, msg->body);
    return HF_OK;
}

static const hf_type types[] = { { .name = "work", .handle = handle }, { 0 } };

static const char *at(const char *name)
{
    static char paths[4][128];
    static int turn;
    char *path = paths[turn++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s", ring_path(name));
    return path;
}

/* EACH commits of a message that is too large to share a page, none of them handled. */
static void fill_for(const char *name, const char *to)
{
    static char body[3000];
    hf_engine *engine = ring_open(name, types);
    ring_ok(hf_pause(engine, "work", NULL, NULL));
    for (int i = 0; i < EACH; i++) {
        memset(body, 'a' + i % 26, sizeof body);
        ring_ok(hf_tell(engine, to, "go", hf_view(body, sizeof body)));
    }
    ring_ok(hf_close(engine, 10000));
}

static void fill(const char *name)
{
    fill_for(name, "work/1");
}

/* One bit of a body that was told once. */
static void damage(const char *name)
{
    static char text[8 << 20], wanted[2000];
    char file[192];
    (void)snprintf(file, sizeof file, "%s/data.mdb", at(name));
    int fd = open(file, O_RDWR);
    ssize_t len = pread(fd, text, sizeof text, 0);
    assert_true(len > 0);
    memset(wanted, 'a' + EACH / 2 % 26, sizeof wanted);
    for (char *found = memmem(text, (size_t)len, wanted, sizeof wanted); found;
         found = memmem(found + 1, (size_t)(text + len - found - 1), wanted, sizeof wanted)) {
        *found ^= 1;
        assert_int_equal(pwrite(fd, found, 1, found - text), 1);
    }
    (void)close(fd);
}

typedef struct told {
    int findings, sums;
} told;

static int note(void *user, hf_bytes row)
{
    told *t = user;
    t->findings += memmem(row.data, row.len, "finding", 7) != NULL;
    t->sums += memmem(row.data, row.len, "doubtful", 8) != NULL;
    return HF_OK;
}

static int stop(void *user, hf_bytes row)
{
    (void)user;
    (void)row;
    return HF_ECLOSED;
}

static bool there(const char *name)
{
    struct stat st;
    return stat(at(name), &st) == 0;
}

static void test_record(void **state)
{
    hf_engine *engine;
    told t = { 0 };
    (void)state;
    fill("window");
    damage("window");
    assert_int_equal(hf_open(&engine, at("window"), HF_OPTIONS(.types = types)), HF_ECORRUPT);
    assert_non_null(strstr(hf_detail(), "holdfast salvage"));
    ring_ok(hf_salvage(at("window"), at("salvaged"), note, &t));
    assert_true(t.findings >= 2); /* the record, and the pause */
    assert_int_equal(t.sums, 1);
    ring_ok(hf_verify(at("salvaged"), note, &t));
    engine = ring_open("salvaged", types);
    ring_ok(hf_resume(engine, "work"));
    usleep(20000);
    assert_int_equal(atomic_load(&handled), 0); /* it is paused for its loss */
    ring_ok(hf_resume(engine, "*"));
    ring_ok(hf_drain(engine, 10000));
    assert_int_equal(atomic_load(&handled), EACH - 1);
    ring_ok(hf_close(engine, 10000));
}

/* So many records that the log has a page above those that hold them. */
static void fill_pages(const char *name)
{
    static char body[300];
    hf_engine *engine = ring_open(name, types);
    ring_ok(hf_pause(engine, "work", NULL, NULL));
    for (int i = 0; i < MANY; i++) {
        memset(body, 'a' + i % 26, sizeof body);
        ring_ok(hf_tell(engine, "work/1", "go", hf_view(body, sizeof body)));
    }
    ring_ok(hf_close(engine, 10000));
}

/* Such a page leads to one of those below it twice, and to another one no more: its third
 * node gets the number in its fifth. */
static int misdirect(const char *name)
{
    enum { PAGE = 4096, HEAD = 16, BRANCH = 1, LEADS = 6 };
    char file[192];
    unsigned char page[PAGE];
    int damaged = 0;
    (void)snprintf(file, sizeof file, "%s/data.mdb", at(name));
    int fd = open(file, O_RDWR);
    for (off_t where = 2 * PAGE; pread(fd, page, PAGE, where) == PAGE; where += PAGE) {
        unsigned nodes = (unsigned)(page[12] | page[13] << 8) / 2 - HEAD / 2;
        unsigned third = (unsigned)(page[HEAD + 4] | page[HEAD + 5] << 8);
        unsigned fifth = (unsigned)(page[HEAD + 8] | page[HEAD + 9] << 8);
        if (page[10] != BRANCH || page[11] || nodes < 6 || nodes > 1000
            || third > PAGE - 16 || fifth > PAGE - 16 || page[third + LEADS] != 8)
            continue;
        memcpy(page + third, page + fifth, LEADS);
        assert_int_equal(pwrite(fd, page, PAGE, where), PAGE);
        damaged++;
    }
    (void)close(fd);
    return damaged;
}

static void test_misdirected(void **state)
{
    told t = { 0 };
    (void)state;
    fill_pages("pages");
    assert_true(misdirect("pages") > 0);
    ring_ok(hf_salvage(at("pages"), at("found"), note, &t));
    assert_true(t.findings >= 2);
    ring_ok(hf_verify(at("found"), note, &t));
    atomic_store(&handled, 0);
    hf_engine *engine = ring_open("found", types);
    (void)hf_resume(engine, "*");
    ring_ok(hf_resume(engine, "work"));
    ring_ok(hf_drain(engine, 10000));
    assert_int_equal(atomic_load(&handled), MANY);
    ring_ok(hf_close(engine, 10000));
}

/* Every row that says the seed, in use or not; one bit of its number. */
static void lose_seed(const char *name)
{
    static const char key[] = { 4, 0, 's', 'e', 'e', 'd' }; /* its length, and it */
    static char text[8 << 20];
    char file[192];
    int lost = 0;
    (void)snprintf(file, sizeof file, "%s/data.mdb", at(name));
    int fd = open(file, O_RDWR);
    ssize_t len = pread(fd, text, sizeof text, 0);
    assert_true(len > 0);
    for (char *found = text;
         (found = memmem(found, (size_t)(text + len - found), key, sizeof key));) {
        found += sizeof key + 2;
        *found ^= 1;
        assert_int_equal(pwrite(fd, found, 1, found - text), 1);
        lost++;
    }
    assert_true(lost > 0);
    (void)close(fd);
}

static const char *seed_from;
static bool        from_there;

static int note_seed(void *user, hf_bytes row)
{
    (void)user;
    from_there |= memmem(row.data, row.len, "seed lost", 9)
                  && memmem(row.data, row.len, seed_from, strlen(seed_from));
    return HF_OK;
}

/* All of it goes on behind a salvage that knows the seed from there. */
static void seed_comes(const char *name, const char *from)
{
    char again[32];
    told t = { 0 };
    (void)snprintf(again, sizeof again, "%s-again", name);
    lose_seed(name);
    seed_from = from;
    from_there = false;
    ring_ok(hf_salvage(at(name), at(again), note_seed, NULL));
    assert_true(from_there);
    ring_ok(hf_verify(at(again), note, &t));
    atomic_store(&handled, 0);
    hf_engine *engine = ring_open(again, types);
    (void)hf_resume(engine, "*");
    (void)hf_resume(engine, "work");
    ring_ok(hf_drain(engine, 10000));
    assert_int_equal(atomic_load(&handled), EACH);
    ring_ok(hf_close(engine, 10000));
}

static void test_seed(void **state)
{
    static const char far[] = "work/whose name is not short";
    (void)state;
    fill_for("seed", far);
    seed_comes("seed", "the marker has it");
    fill("seed-short");
    core_mark_seed(at("seed-short"), 0);
    seed_comes("seed-short", "it was worked out");
    fill("seed-other");
    core_mark_seed(at("seed-other"), 4711);
    seed_comes("seed-other", "it was worked out");
    fill_for("seed-none", far);
    core_mark_seed(at("seed-none"), 4711);
    lose_seed("seed-none");
    assert_int_equal(hf_salvage(at("seed-none"), at("none"), NULL, NULL), HF_ECORRUPT);
    assert_non_null(strstr(hf_detail(), "seed of its address hashes is lost"));
    assert_int_not_equal(access(at("none"), F_OK), 0);
}

static void test_refused(void **state)
{
    hf_marker newer = { .format = HF_FORMAT + 1 };
    struct rlimit limit, before;
    told t = { 0 };
    (void)state;
    fill("sound");
    hf_engine *engine = ring_open("sound", types);
    assert_int_equal(hf_salvage(at("sound"), at("new"), note, &t), HF_EBUSY);
    ring_ok(hf_close(engine, 10000));
    assert_int_equal(hf_salvage(at("nothing"), at("new"), note, &t), HF_ENOTFOUND);
    assert_int_equal(hf_salvage(at("sound"), at("sound"), note, &t), HF_EINVAL);
    damage("sound");
    assert_int_equal(hf_salvage(at("sound"), at("new"), stop, NULL), HF_ECLOSED);
    assert_int_equal(hf_salvage(NULL, at("new"), NULL, NULL), HF_EINVAL);

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 64 << 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int err = hf_salvage(at("sound"), at("new"), NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(err, HF_EFULL);

    char marker[192];
    (void)snprintf(marker, sizeof marker, "%s/" HF_MARKER_FILE, at("sound"));
    assert_int_equal(unlink(marker), 0);
    ring_ok(hf_marker_write(at("sound"), &newer));
    assert_int_equal(hf_salvage(at("sound"), at("new"), note, &t), HF_EVERSION);
    assert_false(there("new"));
    assert_int_equal(unlink(marker), 0);
    ring_ok(hf_salvage(at("sound"), at("new"), NULL, NULL));
    assert_true(there("new"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_misdirected),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
