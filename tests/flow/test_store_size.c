/* test_store_size.c - how large a store gets: what lives in it and some windows, however
 * much went through it, and however often it was killed. */
#include "tests/support/ring.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum {
    WINDOW = 4 << 20,
    ACTORS = 2000,
    BLOCK  = 500,
    /* The log, three windows and what turns add while outsiders wait; history, a quarter; rows,
     * twice; what lies between the pieces. Measured: three to nine. */
    WINDOWS_MOST = 12,
    /* And what is left of the backlogs of four lives, the larger the slower turns are beside
     * their senders (a sanitizer: twelve). */
    KILLED_MOST = 18,
};

/* A state that is another each time, and a letter to the next actor, now and then. */
static int handle(hf_turn *turn, const hf_message *msg)
{
    uint64_t image[8] = { 0 };
    hf_bytes found = hf_state(turn);
    if (found.len == sizeof image)
        memcpy(image, found.data, sizeof image);
    image[0]++;
    hf_save(turn, hf_view(image, sizeof image));
    if (image[0] % 16 == 0)
        hf_send(turn, "sink/1", "more", msg->body);
    return HF_OK;
}

static int swallow(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    return HF_OK;
}

static hf_engine *open_store(const char *name)
{
    static const hf_type types[] = {
        { .name = "source", .handle = handle },
        { .name = "sink", .handle = swallow },
        { 0 },
    };
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path(name), HF_OPTIONS(.types = types, .window = WINDOW)));
    return e;
}

/* About 300 bytes of log for each. */
static void post_many(hf_engine *e, int blocks)
{
    static char names[BLOCK][24];
    static const char body[100];
    hf_letter letters[BLOCK];
    for (int b = 0; b < blocks; b++) {
        for (int i = 0; i < BLOCK; i++) {
            (void)snprintf(names[i], sizeof names[i], "source/%d", (b * BLOCK + i) % ACTORS);
            letters[i] = (hf_letter){ .to = names[i], .body = hf_view(body, sizeof body) };
        }
        int err;
        while ((err = hf_post(e, letters, BLOCK, NULL, NULL)) == HF_EAGAIN)
            usleep(500);
        ring_ok(err);
    }
}

static uint64_t size_of(const char *name)
{
    char path[200];
    struct stat file;
    (void)snprintf(path, sizeof path, "%s/data.mdb", ring_path(name));
    assert_int_equal(stat(path, &file), 0);
    return (uint64_t)file.st_size;
}

static void is_small(const char *name, const char *when, uint64_t windows)
{
    uint64_t size = size_of(name);
    if (size > windows * WINDOW)
        fail_msg("%s: %llu bytes, %.1f windows", when, (unsigned long long)size,
                 (double)size / WINDOW);
}

static void test_steady(void **state)
{
    (void)state;
    hf_engine *e = open_store("steady");
    for (int round = 0; round < 3; round++) {
        post_many(e, 400); /* some fifteen windows */
        ring_ok(hf_drain(e, 60000));
        is_small("steady", "after a round", WINDOWS_MOST);
    }
    ring_ok(hf_close(e, 60000));
    is_small("steady", "closed", WINDOWS_MOST);
}

static void live_killed(int life)
{
    hf_engine *e = open_store("killed");
    post_many(e, 150);
    if (life < 4)
        (void)raise(SIGKILL); /* in the middle of the work */
    ring_ok(hf_drain(e, 60000));
    ring_ok(hf_close(e, 60000));
    _exit(0);
}

static void test_killed(void **state)
{
    (void)state;
    ring_lives(live_killed, 4);
    is_small("killed", "after four kills", KILLED_MOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady),
        cmocka_unit_test(test_killed),
    };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
