/* test_salvage.c - a damaged record in the window, and what refuses a salvage. */
#include "tests/support/ring.h"

#include "recovery/holdfast_recovery.h"

#include "storage/marker.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { EACH = 40 };

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
    static int  turn;
    char       *path = paths[turn++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s", ring_path(name));
    return path;
}

/* EACH commits of a message that is too large to share a page, none of them handled. */
static void fill(const char *name)
{
    static char body[3000];
    hf_engine  *engine = ring_open(name, types);
    ring_ok(hf_pause(engine, "work", NULL, NULL));
    for (int i = 0; i < EACH; i++) {
        memset(body, 'a' + i % 26, sizeof body);
        ring_ok(hf_tell(engine, "work/1", "go", hf_view(body, sizeof body)));
    }
    ring_ok(hf_close(engine, 10000));
}

/* One bit of a body that was told once. */
static void damage(const char *name)
{
    static char text[8 << 20], wanted[2000];
    char        file[192];
    (void)snprintf(file, sizeof file, "%s/data.mdb", at(name));
    int     fd = open(file, O_RDWR);
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
    told       t = { 0 };
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

static void test_refused(void **state)
{
    hf_marker     newer = { .format = HF_FORMAT + 1 };
    struct rlimit limit, before;
    told          t = { 0 };
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
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
