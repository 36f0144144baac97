/* test_replaced_states.c - a state that was saved again need not be folded, but only once the
 * newer one is on disk: whoever dies before finds the older. */
#include "tests/support/ring.h"

#include <signal.h>
#include <string.h>

enum { FILLERS = 600 };

typedef struct seen {
    atomic_int  second;    /* turns of the actor's second message */
    atomic_int  handled;   /* fillers */
    atomic_bool blocked, kept, dies;
    char        state[16]; /* as the last of those found it */
} seen;
static seen *shared;

/* The second message replaces what the first one saved; the third holds its shard, and with
 * that the batch in which the second one's state is. */
static int keep(hf_turn *turn, const hf_message *msg)
{
    hf_bytes state = hf_state(turn);
    if (strcmp(msg->kind, "second") == 0) {
        (void)snprintf(shared->state, sizeof shared->state, "%.*s", (int)state.len,
                       state.data ? (const char *)state.data : "");
        atomic_fetch_add(&shared->second, 1);
    }
    if (strcmp(msg->kind, "third") == 0) {
        atomic_store(&shared->blocked, true);
        while (atomic_load(&shared->dies))
            usleep(1000);
        atomic_store(&shared->kept, state.len == 6 && !memcmp(state.data, "second", 6));
        return HF_OK;
    }
    hf_save(turn, hf_str(msg->kind));
    return HF_OK;
}

static int fill(hf_turn *turn, const hf_message *msg)
{
    (void)turn;
    (void)msg;
    atomic_fetch_add(&shared->handled, 1);
    return HF_OK;
}

static hf_engine *open_two(void)
{
    static hf_type types[] = { { .name = "keeper", .handle = keep },
                               { .name = "filler", .handle = fill }, { 0 } };
    hf_engine *e = NULL;
    ring_ok(hf_open(&e, ring_path("one"), HF_OPTIONS(.types = types, .shards = 2,
                    .window = 64 << 10, .store_max = 64 << 20)));
    return e;
}

/* An actor on each shard: which keeper holds one of them shows which fillers go on. */
static void die_while_it_is_staged(void)
{
    static char body[4000];
    hf_engine *e = open_two();
    memset(body, 'x', sizeof body);
    ring_ok(hf_tell(e, "keeper/1", "first", hf_str("")));
    ring_ok(hf_drain(e, 60000));
    atomic_store(&shared->dies, true);
    hf_letter both[] = { *HF_LETTER(.to = "keeper/1", .kind = "second"),
                         *HF_LETTER(.to = "keeper/1", .kind = "third") };
    ring_ok(hf_mail(e, both, 2, NULL));
    while (!atomic_load(&shared->blocked))
        usleep(1000);
    /* Many windows come and go; about half of these wait behind the third message. */
    for (int i = 0; i < FILLERS; i++) {
        char to[32];
        hf_letter letter = *HF_LETTER(.to = to, .kind = "x", .body = { body, sizeof body });
        (void)snprintf(to, sizeof to, "filler/%d", i);
        while (hf_post(e, &letter, 1, NULL, NULL) == HF_EAGAIN)
            usleep(1000);
    }
    ring_ok(hf_sync(e, 60000));
    usleep(200000);
    (void)raise(SIGKILL);
}

static void test_death_before_the_newer_one(void **state)
{
    (void)state;
    int status = -1;
    shared = ring_shared(sizeof *shared);
    pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        die_while_it_is_staged();
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(atomic_load(&shared->second), 1);
    atomic_store(&shared->dies, false);
    hf_engine *e = open_two();
    ring_ok(hf_drain(e, 60000));
    assert_int_equal(atomic_load(&shared->second), 2); /* its turn was not committed */
    assert_string_equal(shared->state, "first");
    assert_true(atomic_load(&shared->kept));
    ring_ok(hf_close(e, 60000));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_death_before_the_newer_one) };
    return cmocka_run_group_tests(tests, ring_make_root, ring_remove_root);
}
